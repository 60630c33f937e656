use std::{fmt, str::FromStr};

/// The version of a server: any text of 1 to 255 characters that names one version, semantic or
/// not.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Version(String);

/// Why a text is no version.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// Begins or ends with a blank, by which two versions would look the same.
    #[error("begins or ends with a blank")]
    Blank,
    /// Has a control character.
    #[error("has a control character")]
    Control,
    /// Is empty.
    #[error("is empty")]
    Empty,
    /// Names a set of versions, such as `^1.2` or `1.x`.
    #[error("looks like a range; name one version")]
    Range,
    /// Is `latest`, which stands for whichever version is the latest.
    #[error("is \"latest\", which is reserved")]
    Reserved,
    /// Has more than 255 characters.
    #[error("is longer than 255 characters")]
    TooLong,
}

const MAX_CHARS: usize = 255;

impl Version {
    /// The version as it was published.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the version may be chosen for a caller who names none: everything but a semantic
    /// prerelease (Semantic Versioning 2.0.0, section 9).
    pub fn is_stable(&self) -> bool {
        self.semantic().is_none_or(|version| version.pre.is_empty())
    }

    /// Whether it says by itself which of two is the later one (Semantic Versioning 2.0.0; a leading
    /// `v` is fine).
    pub fn is_semantic(&self) -> bool {
        self.semantic().is_some()
    }

    /// A text whose byte order is the order of versions: semantic ones by precedence (Semantic
    /// Versioning 2.0.0, section 11), above all others; those by the time of their publication, in
    /// microseconds since the Unix epoch. Lets the database find the latest version by itself.
    pub fn sort_key(&self, published_at_micros: u64) -> String {
        let Some(version) = self.semantic() else {
            return format!("0{published_at_micros:020}");
        };
        let pre = if version.pre.is_empty() {
            // Above every identifier: a release follows its prereleases.
            "~".to_owned()
        } else {
            version
                .pre
                .split('.')
                .map(prerelease_key)
                .collect::<Vec<_>>()
                // Below every character of an identifier: a shorter list comes first.
                .join(" ")
        };
        format!(
            "1{:020}{:020}{:020}{pre}",
            version.major, version.minor, version.patch
        )
    }

    fn semantic(&self) -> Option<semver::Version> {
        semver::Version::parse(self.0.strip_prefix('v').unwrap_or(&self.0)).ok()
    }
}

fn prerelease_key(identifier: &str) -> String {
    if identifier.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("0{:03}{identifier}", identifier.len())
    } else {
        format!("1{identifier}")
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        if text.is_empty() {
            return Err(VersionError::Empty);
        }
        if text.chars().count() > MAX_CHARS {
            return Err(VersionError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(VersionError::Control);
        }
        if text.trim() != text {
            return Err(VersionError::Blank);
        }
        if text == "latest" {
            return Err(VersionError::Reserved);
        }
        if is_range(text) {
            return Err(VersionError::Range);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_range(text: &str) -> bool {
    let wildcard = text.contains('.')
        && text
            .split('.')
            .all(|part| matches!(part, "x" | "X" | "*") || part.parse::<u64>().is_ok())
        && text.split('.').any(|part| matches!(part, "x" | "X" | "*"));
    text.starts_with(['^', '~', '<', '>', '='])
        || text.contains(" - ")
        || text.contains("||")
        || text == "*"
        || wildcard
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn refuses_what_names_no_single_version() {
        for (text, error) in [
            ("", VersionError::Empty),
            ("latest", VersionError::Reserved),
            ("^1.2.3", VersionError::Range),
            (">=1.0", VersionError::Range),
            ("1.x", VersionError::Range),
            ("1.2.*", VersionError::Range),
            ("*", VersionError::Range),
            ("1.0.0 - 2.0.0", VersionError::Range),
            ("1.0 || 2.0", VersionError::Range),
            ("1.0\n", VersionError::Control),
            (" 1.0", VersionError::Blank),
            ("1.0\u{3000}", VersionError::Blank),
        ] {
            assert_eq!(text.parse::<Version>(), Err(error), "{text}");
        }
        assert_eq!(
            "1".repeat(256).parse::<Version>(),
            Err(VersionError::TooLong)
        );
    }

    #[test]
    fn accepts_what_real_servers_publish() {
        for text in [
            "1.0.0",
            "{{VERSION}}",
            "1.0.1º",
            "2025.11.17.0704",
            "mcp",
            "v1.2.3",
            "x.ai",
        ] {
            assert!(text.parse::<Version>().is_ok(), "{text}");
        }
    }

    #[test]
    fn only_semantic_prereleases_are_unstable() {
        assert!(version("1.0.0").is_stable());
        assert!(version("1.0.0+build").is_stable());
        assert!(version("nightly").is_stable());
        assert!(!version("1.0.0-rc.1").is_stable());
        assert!(!version("v2.0.0-beta").is_stable());
        assert!(version("v2.0.0").is_semantic());
        assert!(!version("2025.11.17.0704").is_semantic());
    }

    #[test]
    fn semantic_versions_come_after_all_others_whenever_published() {
        assert!(version("0.0.1").sort_key(0) > version("snapshot").sort_key(u64::MAX));
        assert!(version("snapshot").sort_key(2) > version("2025.11.17.0704").sort_key(1));
    }

    proptest! {
        #[test]
        fn the_sort_key_orders_as_semantic_versioning_does(
            a in "[0-9]{1,2}\\.[0-9]\\.1[0-9]?(-(alpha|0|[1-9][0-9]{0,2}|a-b)(\\.(beta|1|[1-9][0-9]{0,3}))?)?",
            b in "[0-9]{1,2}\\.[0-9]\\.1[0-9]?(-(alpha|0|[1-9][0-9]{0,2}|a-b)(\\.(beta|1|[1-9][0-9]{0,3}))?)?",
        ) {
            if let (Ok(x), Ok(y)) = (semver::Version::parse(&a), semver::Version::parse(&b)) {
                prop_assert_eq!(
                    version(&a).sort_key(7).cmp(&version(&b).sort_key(3)),
                    x.cmp_precedence(&y)
                );
            }
        }
    }
}

use std::{fmt, str::FromStr};

use crate::text::{is_dot_segment, is_invisible};

/// The version of a server: any text of 1 to 255 bytes of visible characters that names one version,
/// semantic or not, and that is no segment of a path such as `..`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Version(String);

/// Why a text is no version.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// Is `.` or `..`, percent-encoded or not, which clients remove from paths.
    #[error("is \".\" or \"..\", which no path can carry")]
    DotSegment,
    /// Is empty.
    #[error("is empty")]
    Empty,
    /// Has a control, format or blank character, by which two versions would look the same.
    #[error("has U+{0:04X}, a control, format or blank character")]
    Invisible(u32),
    /// Names a set of versions, such as `^1.2` or `1.x`.
    #[error("looks like a range; name one version")]
    Range,
    /// Is `latest`, which stands for whichever version is the latest.
    #[error("is \"latest\", which is reserved")]
    Reserved,
    /// Has more than 255 bytes in UTF-8.
    #[error("is longer than 255 bytes in UTF-8")]
    TooLong,
}

const MAX_BYTES: usize = 255;

impl Version {
    /// The version as it was published.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the version may be chosen for a caller who names none: everything but a semantic
    /// prerelease (Semantic Versioning 2.0.0, section 9).
    pub fn is_stable(&self) -> bool {
        self.semantic()
            .is_none_or(|version| version.identifiers.is_empty())
    }

    /// Whether it says by itself which of two is the later one (Semantic Versioning 2.0.0; a leading
    /// `v` is fine).
    pub fn is_semantic(&self) -> bool {
        self.semantic().is_some()
    }

    /// A text whose byte order is the order of versions: semantic ones by precedence (Semantic
    /// Versioning 2.0.0, section 11), above all others; those by the time of their publication, in
    /// microseconds since the Unix epoch. Lets the database find the latest version by itself. Of
    /// versions with equal keys, which only differ in what says how they were built, the one that
    /// was published first stays the latest.
    pub fn sort_key(&self, published_at_micros: u64) -> String {
        sort_key(&self.0, published_at_micros)
    }

    fn semantic(&self) -> Option<Semantic<'_>> {
        Semantic::parse(&self.0)
    }
}

/// What orders a semantic version. Its numbers stay texts, for they may be of any size.
struct Semantic<'a> {
    numbers: Vec<&'a str>,
    /// Without those of a release.
    identifiers: Vec<&'a str>,
}

impl<'a> Semantic<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = split_once(text, '+');
        let (numbers, identifiers) = split_once(text, '-');
        let numbers: Vec<&str> = numbers.split('.').collect();
        let is_semantic = numbers.len() == 3
            && numbers
                .iter()
                .all(|number| is_digits(number) && !is_padded(number))
            && identifiers
                .iter()
                .chain(&build)
                .all(|part| is_identifier(part))
            && !identifiers.iter().any(|part| is_padded(part));
        is_semantic.then_some(Self {
            numbers,
            identifiers,
        })
    }
}

fn split_once(text: &str, separator: char) -> (&str, Vec<&str>) {
    text.split_once(separator)
        .map_or((text, Vec::new()), |(before, after)| {
            (before, after.split('.').collect())
        })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_padded(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && is_digits(text)
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn sort_key(text: &str, published_at_micros: u64) -> String {
    let Some(version) = Semantic::parse(text) else {
        return format!("0{published_at_micros:020}");
    };
    let mut key = "1".to_owned();
    key.extend(version.numbers.into_iter().map(number_key));
    if version.identifiers.is_empty() {
        // Above every identifier: a release follows its prereleases.
        key.push('~');
    }
    // A blank is below every character of an identifier: a shorter list comes first.
    let identifiers: Vec<String> = version
        .identifiers
        .into_iter()
        .map(prerelease_key)
        .collect();
    key + &identifiers.join(" ")
}

fn number_key(digits: &str) -> String {
    if digits.len() > 20 {
        // A colon follows the digits.
        format!(":{:03}{digits}", digits.len())
    } else {
        format!("{digits:0>20}")
    }
}

fn prerelease_key(identifier: &str) -> String {
    if is_digits(identifier) {
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
        if text.len() > MAX_BYTES {
            return Err(VersionError::TooLong);
        }
        if text == "latest" {
            return Err(VersionError::Reserved);
        }
        if is_range(text) {
            return Err(VersionError::Range);
        }
        if let Some(invisible) = text.chars().find(|c| is_invisible(*c)) {
            return Err(VersionError::Invisible(invisible.into()));
        }
        if is_dot_segment(text) {
            return Err(VersionError::DotSegment);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text names a set of versions, in one of the notations of package managers.
pub(crate) fn is_range(text: &str) -> bool {
    let text = text.trim();
    let compared = [">=", "<=", "^", "~", ">", "<", "="]
        .iter()
        .find_map(|operator| text.strip_prefix(operator));
    let spanned = text
        .split_once(char::is_whitespace)
        .and_then(|(from, rest)| Some((from, rest.strip_prefix('-')?.trim_start())));
    compared.is_some_and(|bound| is_dotted_number(bound.trim_start()))
        || spanned.is_some_and(|(from, to)| is_dotted_number(from) && is_dotted_number(to))
        || (text.contains("||") && text.split("||").all(|one| is_dotted_number(one.trim())))
        || is_wildcard(text)
}

/// One to four numbers, perhaps after a `v`, perhaps with a prerelease.
fn is_dotted_number(text: &str) -> bool {
    let (numbers, pre) = split_prerelease(text.strip_prefix('v').unwrap_or(text));
    pre && numbers.len() <= 4 && numbers.into_iter().all(is_digits)
}

/// `1.x`, `1.2.*`, … An `x` in a prerelease is none.
fn is_wildcard(text: &str) -> bool {
    let is_any = |part: &&str| matches!(*part, "x" | "X" | "*");
    let (parts, pre) = split_prerelease(text.strip_prefix('v').unwrap_or(text));
    text == "*"
        || (pre
            && (2..=3).contains(&parts.len())
            && parts.iter().any(is_any)
            && parts.iter().all(|part| is_any(part) || is_digits(part)))
}

/// What is before the prerelease, and whether that is one.
fn split_prerelease(text: &str) -> (Vec<&str>, bool) {
    let (numbers, pre) = text.split_once('-').unwrap_or((text, "0"));
    let is_pre = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    (
        numbers.split('.').collect(),
        !pre.is_empty() && pre.bytes().all(is_pre),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conformance::shared;

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
            ("~ v1.2", VersionError::Range),
            ("v1.*", VersionError::Range),
            ("x.1", VersionError::Range),
            ("1.x-rc.1", VersionError::Range),
            ("1.0\n", VersionError::Invisible(0xa)),
            (" 1.0.0-a", VersionError::Invisible(0x20)),
            ("1.0 - beta", VersionError::Invisible(0x20)),
            ("1.0\u{3000}", VersionError::Invisible(0x3000)),
            ("1.0.0\u{202e}", VersionError::Invisible(0x202e)),
            ("1\u{200b}.0", VersionError::Invisible(0x200b)),
            ("1.0\0", VersionError::Invisible(0)),
            (".", VersionError::DotSegment),
            ("..", VersionError::DotSegment),
            ("%2E%2e", VersionError::DotSegment),
            (".%2e", VersionError::DotSegment),
        ] {
            assert_eq!(text.parse::<Version>(), Err(error), "{text}");
        }
        for long in ["1".repeat(256), "é".repeat(128), "\u{1f600}".repeat(64)] {
            assert_eq!(long.parse::<Version>(), Err(VersionError::TooLong));
        }
        for longest in ["1".repeat(255), "\u{1f600}".repeat(63)] {
            assert!(longest.parse::<Version>().is_ok());
        }
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
            "1.0.0-next.1",
            "~nightly",
            "2025.11.17.x.1",
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

    #[test]
    fn numbers_of_any_size_are_in_order() {
        let zeros = "0".repeat(60);
        let in_order = [
            "1.0.0-alpha".to_owned(),
            format!("1.0.0-alpha.1{zeros}"),
            "1.0.0".to_owned(),
            "18446744073709551615.0.0".to_owned(),
            "99999999999999999999.0.0".to_owned(),
            "100000000000000000000.0.0".to_owned(),
            "100000000000000000000.0.1".to_owned(),
            format!("1{zeros}.9.0"),
            format!("1{zeros}.1{zeros}.0"),
            format!("1{zeros}.1{zeros}.1{zeros}-rc.1{zeros}"),
            format!("1{zeros}.1{zeros}.1{zeros}"),
        ];
        for pair in in_order.windows(2) {
            let [low, high] = pair else { unreachable!() };
            assert!(version(low).is_semantic(), "{low}");
            assert!(sort_key(low, 9) < sort_key(high, 1), "{low} {high}");
        }
    }

    #[test]
    fn how_a_version_was_built_orders_nothing() {
        for (a, b) in [("1.0.0", "1.0.0+build.01"), ("1.0.0-a", "v1.0.0-a+x")] {
            assert_eq!(sort_key(a, 1), sort_key(b, 2));
        }
        assert!(!version("1.0.0+").is_semantic());
        assert!(!version("1.0.0+a..b").is_semantic());
    }

    #[test]
    fn versions_are_ordered_as_in_the_official_registry() {
        let Some(cases) = shared("conformance/registry/version-cases.json") else {
            return;
        };
        for case in cases["is_semver"].as_array().unwrap() {
            let semantic = Semantic::parse(case["version"].as_str().unwrap()).is_some();
            assert_eq!(semantic, case["want"], "{case}");
        }
        let lists = ["compare_semver", "compare_any"].map(|list| cases[list].as_array().unwrap());
        for case in lists.into_iter().flatten() {
            let key = |version: &str, seconds: &str| {
                let seconds = 1_000_000 + case[seconds].as_i64().unwrap_or(0);
                let micros = u64::try_from(seconds * 1_000_000).unwrap();
                sort_key(case[version].as_str().unwrap(), micros)
            };
            let order = key("a", "t1").cmp(&key("b", "t2")) as i64;
            assert_eq!(order, case["want"].as_i64().unwrap(), "{case}");
        }
    }

    proptest! {
        #[test]
        fn semantic_is_what_others_take_for_it(
            text in "v?[0-9]{1,3}(\\.[0-9]{1,2}){1,3}(-[0-9a-z.-]{0,6})?(\\+[0-9A-Z.-]{0,4})?",
        ) {
            let parsed = semver::Version::parse(text.strip_prefix('v').unwrap_or(&text));
            prop_assert_eq!(Semantic::parse(&text).is_some(), parsed.is_ok());
        }

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

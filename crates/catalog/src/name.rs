use std::{fmt, str::FromStr};

use mcp_connect_strict_json as strict_json;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Version, VersionError};

/// A server's name: `namespace/name`, 3 to 200 characters, case-sensitive. Both halves consist of
/// letters, digits, `.`, `-` (and `_` in the second), begin and end with a letter or digit, and
/// have at least two characters.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServerName(String);

/// Why a text is no server name or server reference.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The half after the slash breaks the rules.
    #[error(
        "the name after \"/\" must be two or more letters, digits, \".\", \"-\" or \"_\", beginning and ending with a letter or digit"
    )]
    Name,
    /// The half before the slash breaks the rules.
    #[error(
        "the namespace before \"/\" must be two or more letters, digits, \".\" or \"-\", beginning and ending with a letter or digit"
    )]
    Namespace,
    /// There is not exactly one slash.
    #[error("must be of the form \"namespace/name\"")]
    Shape,
    /// More than 200 characters.
    #[error("is longer than 200 characters")]
    TooLong,
    /// What follows the `@` is no version.
    #[error("the version after \"@\" {0}")]
    Version(#[from] VersionError),
}

const MAX_NAME_CHARS: usize = 200;

impl ServerName {
    /// `namespace/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The half before the slash.
    pub fn namespace(&self) -> &str {
        self.0
            .split_once('/')
            .map_or(self.as_str(), |(namespace, _)| namespace)
    }
}

/// Whose servers they are: the half of a [`ServerName`] before the slash, such as
/// `com.example` or `io.github.example`.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(into = "String")]
pub struct Namespace(String);

impl Namespace {
    /// The namespace as it stands before the slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Namespace {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME_CHARS {
            return Err(NameError::TooLong);
        }
        if !is_label(text, b".-") {
            return Err(NameError::Namespace);
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Namespace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        strict_json::parsed(deserializer)
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        namespace.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ServerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME_CHARS {
            return Err(NameError::TooLong);
        }
        let (namespace, name) = text.split_once('/').ok_or(NameError::Shape)?;
        if name.contains('/') {
            return Err(NameError::Shape);
        }
        if !is_label(namespace, b".-") {
            return Err(NameError::Namespace);
        }
        if !is_label(name, b"._-") {
            return Err(NameError::Name);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(text: &str, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    bytes.len() >= 2
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || inner.contains(byte))
}

/// Which server a caller means: `namespace/name`, or one version of it: `namespace/name@version`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[allow(clippy::exhaustive_structs)] // two halves of one notation
pub struct ServerRef {
    /// The server.
    pub name: ServerName,
    /// One version; without it, the latest stable one is meant.
    pub version: Option<Version>,
}

impl FromStr for ServerRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version.parse()?)),
            None => (text, None),
        };
        Ok(Self {
            name: name.parse()?,
            version,
        })
    }
}

impl fmt::Display for ServerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_real_names() {
        for name in [
            "ai.exa/exa",
            "io.github.Artin0123/gemini-image",
            "ab/c_d",
            "a1/b2",
        ] {
            let parsed = name.parse::<ServerName>().unwrap();
            assert_eq!(parsed.as_str(), name);
            let namespace: Namespace = parsed.namespace().parse().unwrap();
            assert!(name.starts_with(&format!("{namespace}/")));
        }
    }

    #[test]
    fn names_what_is_wrong() {
        for (name, error) in [
            ("", NameError::Shape),
            ("ai.exa", NameError::Shape),
            ("ai/exa/x", NameError::Shape),
            ("a/bc", NameError::Namespace),
            ("a_b/cd", NameError::Namespace),
            (".ab/cd", NameError::Namespace),
            ("ab/c", NameError::Name),
            ("ab/cd-", NameError::Name),
            ("ab/c d", NameError::Name),
            ("ab/c%64", NameError::Name),
        ] {
            assert_eq!(name.parse::<ServerName>(), Err(error), "{name}");
        }
        assert_eq!("ab_".parse::<Namespace>(), Err(NameError::Namespace));
        assert_eq!("ab/*".parse::<Namespace>(), Err(NameError::Namespace));
        let long = format!("ab/{}", "c".repeat(198));
        assert_eq!(long.parse::<ServerName>(), Err(NameError::TooLong));
    }

    #[test]
    fn a_reference_may_name_a_version() {
        let reference: ServerRef = "ab/cd@1.0.0-rc@1".parse().unwrap();
        assert_eq!(reference.version.unwrap().as_str(), "1.0.0-rc@1");
        assert_eq!(
            "ab/cd@".parse::<ServerRef>(),
            Err(NameError::Version(VersionError::Empty))
        );
    }

    proptest! {
        #[test]
        fn a_reference_survives_a_round_trip(
            name in "[a-z0-9]{2,9}/[a-z0-9]{2,9}",
            version in proptest::option::of("[0-9]\\.[0-9]\\.[0-9](-[a-z@]{1,5})?"),
        ) {
            let text = version.map_or(name.clone(), |version| format!("{name}@{version}"));
            let reference: ServerRef = text.parse().unwrap();
            prop_assert_eq!(reference.to_string(), text);
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = text.parse::<ServerRef>();
        }
    }
}

//! Many servers by one word, as policies name them.

use std::{fmt, str::FromStr};

use mcp_connect_catalog::{Namespace, ServerName};

/// `*`, `namespace/*` or, with all namespaces below it, `namespace/**`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ServerPattern(String);

/// One server, or all that a pattern matches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target<T> {
    One(T),
    Many(ServerPattern),
}

impl ServerPattern {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches a name as it is spelled. The authority finds every spelling.
    pub(crate) fn matches_exactly(&self, name: &ServerName) -> bool {
        let name = name.as_str();
        match (self.0.strip_suffix("/**"), self.0.strip_suffix('*')) {
            (Some(namespace), _) => name
                .strip_prefix(namespace)
                .is_some_and(|rest| rest.starts_with(['.', '/'])),
            (None, Some(start)) => name.starts_with(start),
            (None, None) => false,
        }
    }
}

impl FromStr for ServerPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let namespace = text.strip_suffix("/**").or_else(|| text.strip_suffix("/*"));
        let problem = match namespace {
            None if text == "*" => None,
            None => Some("it ends otherwise".to_owned()),
            Some(namespace) => namespace
                .parse::<Namespace>()
                .err()
                .map(|error| error.to_string()),
        };
        match problem {
            None => Ok(Self(text.to_owned())),
            Some(problem) => Err(format!(
                "is none of \"*\", \"namespace/*\" and \"namespace/**\": {problem}"
            )),
        }
    }
}

impl fmt::Display for ServerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T: FromStr<Err: fmt::Display>> FromStr for Target<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('*') {
            return text.parse().map(Self::Many);
        }
        text.parse()
            .map(Self::One)
            .map_err(|error: T::Err| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_whole_namespaces() {
        for good in ["*", "com.evil/*", "com.evil/**"] {
            assert!(
                matches!(good.parse(), Ok(Target::<ServerName>::Many(_))),
                "{good}"
            );
        }
        for bad in [
            "",
            "com.evil*",
            "com.*",
            "com.evil/a*",
            "**",
            "/*",
            "*/*",
            "com.evil/***",
            "com.evil/*@1",
        ] {
            assert!(bad.parse::<Target<ServerName>>().is_err(), "{bad}");
        }
        let one = "com.evil/a1".parse();
        assert_eq!(
            one,
            Ok(Target::One("com.evil/a1".parse::<ServerName>().unwrap()))
        );
    }

    #[test]
    fn what_widens_goes_by_the_letter() {
        let matches = |pattern: &str, name: &str| {
            let pattern: ServerPattern = pattern.parse().unwrap();
            pattern.matches_exactly(&name.parse().unwrap())
        };
        for (pattern, name, is_match) in [
            ("*", "com.a1/b1", true),
            ("com.a1/*", "com.a1/b1", true),
            ("com.a1/*", "com.a1.sub/b1", false),
            ("com.a1/**", "com.a1.sub/b1", true),
            ("com.a1/**", "com.a1/b1", true),
            ("com.a1/**", "com.a1x/b1", false),
            ("com.a1/**", "com.A1/b1", false),
            ("com.a1/*", "COM.a1/b1", false),
        ] {
            assert_eq!(matches(pattern, name), is_match, "{pattern} {name}");
        }
    }
}

use std::{collections::BTreeMap, str::FromStr};

use serde::Deserialize;

/// How strictly the layer asks for descriptors (docs/protocol.md, section 4).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Mode {
    /// Every request needs a good descriptor.
    #[default]
    Required,
    /// A request without a descriptor passes ungoverned, which shows in that it has no
    /// [`Verified`](crate::Verified) among its extensions. A bad descriptor is refused.
    Optional,
    /// Nothing is refused and no stream ended: what would have been is logged.
    Report,
    /// Nothing is looked at. The descriptor is removed nevertheless, so that it is never passed on.
    Off,
}

/// There is no mode of that name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be \"required\", \"optional\", \"report\" or \"off\"")]
#[non_exhaustive]
pub struct UnknownMode;

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, UnknownMode> {
        match name {
            "required" => Ok(Self::Required),
            "optional" => Ok(Self::Optional),
            "report" => Ok(Self::Report),
            "off" => Ok(Self::Off),
            _ => Err(UnknownMode),
        }
    }
}

impl Mode {
    const STRICTEST_FIRST: [Self; 4] = [Self::Required, Self::Optional, Self::Report, Self::Off];
}

/// Which mode holds for which path. A rule is for its path and everything below it; the longest one
/// that fits counts.
#[derive(Clone, Debug)]
pub(crate) struct Modes {
    otherwise: Mode,
    /// Longest first.
    rules: Vec<(String, Mode)>,
    strictest: Mode,
}

impl Modes {
    pub(crate) fn new(otherwise: Mode, rules: &BTreeMap<String, Mode>) -> Self {
        let in_use = |mode: &Mode| *mode == otherwise || rules.values().any(|it| it == mode);
        let strictest = Mode::STRICTEST_FIRST.into_iter().find(in_use);
        let mut rules: Vec<_> = rules
            .iter()
            .map(|(path, mode)| (path.clone(), *mode))
            .collect();
        rules.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self {
            otherwise,
            rules,
            strictest: strictest.unwrap_or_default(),
        }
    }

    /// A path that somebody behind could read as another one gets the strictest mode of all.
    pub(crate) fn of(&self, path: &str) -> Mode {
        if self.rules.is_empty() {
            return self.otherwise;
        }
        if !is_plain(path) {
            return self.strictest;
        }
        let rule = self.rules.iter().find(|(prefix, _)| {
            let below = path.strip_prefix(prefix.as_str());
            below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        });
        rule.map_or(self.otherwise, |(_, mode)| *mode)
    }
}

/// Whether a path means the same to everyone: no escapes, dot segments, empty segments, parameters
/// or backslashes (RFC 3986, sections 3.3 and 6.2.2). It may end in a slash.
pub(crate) fn is_plain(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/') else {
        return false;
    };
    let segments = segments.strip_suffix('/').unwrap_or(segments);
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\' | b';');
    path.bytes().all(plain)
        && (path == "/" || !segments.split('/').any(|it| matches!(it, "" | "." | "..")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_by_name() {
        for mode in Mode::STRICTEST_FIRST {
            let name = format!("{mode:?}").to_lowercase();
            assert_eq!(name.parse(), Ok(mode));
            assert_eq!(serde_json::from_value::<Mode>(name.into()).ok(), Some(mode));
        }
        for name in ["", "Required", "none"] {
            assert_eq!(name.parse::<Mode>(), Err(UnknownMode));
        }
    }

    #[test]
    fn the_longest_rule_counts_and_odd_paths_get_the_strictest_mode() {
        let rules = [
            ("/mcp", Mode::Optional),
            ("/mcp/admin", Mode::Required),
            ("/mcp/admin/ping", Mode::Off),
        ];
        let rules = rules.map(|(path, mode)| (path.to_owned(), mode));
        let modes = Modes::new(Mode::Report, &rules.into());
        for (path, mode) in [
            ("/", Mode::Report),
            ("/mc", Mode::Report),
            ("/mcpx", Mode::Report),
            ("/MCP", Mode::Report),
            ("/mcp", Mode::Optional),
            ("/mcp/", Mode::Optional),
            ("/mcp/x", Mode::Optional),
            ("/mcp/administrators", Mode::Optional),
            ("/mcp/admin", Mode::Required),
            ("/mcp/admin/x", Mode::Required),
            ("/mcp/admin/ping", Mode::Off),
            ("/mcp/admin/ping/x", Mode::Off),
            ("/mcp/admin/ping/../x", Mode::Required),
            ("/mcp/admin/ping/./x", Mode::Required),
            ("/mcp/admin/ping//x", Mode::Required),
            ("/mcp/admin/ping/%2e%2e/x", Mode::Required),
            ("/mcp/admin/ping/..;/x", Mode::Required),
            ("/mcp/admin/ping/..\\x", Mode::Required),
            ("//mcp", Mode::Required),
            ("*", Mode::Required),
            ("", Mode::Required),
        ] {
            assert_eq!(modes.of(path), mode, "{path}");
        }
    }

    #[test]
    fn without_rules_paths_dont_matter() {
        let modes = Modes::new(Mode::Report, &BTreeMap::new());
        assert_eq!(modes.of("/a/../b"), Mode::Report);
    }
}

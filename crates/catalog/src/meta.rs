use serde_json::{Map, Value, json};

use crate::{VersionStatus, date::format_date};

/// The member of `_meta` beside server.json in which registries say what state a version is in.
pub const OFFICIAL_META: &str = "io.modelcontextprotocol.registry/official";

/// The only member of `_meta` inside server.json: what else its publisher has to say.
pub const PUBLISHER_META: &str = "io.modelcontextprotocol.registry/publisher-provided";

/// The member of `_meta` beside server.json in which a connect authority says what it knows of a
/// version: never another authority's, always that of whoever serves it.
pub const AUTHORITY_META: &str = "org.mcp-connect/authority";

/// What a registry says of the state of a version. Dates are microseconds since the Unix epoch.
#[derive(Clone, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_structs)] // the store fills it in, row by row
pub struct Official {
    /// What its publisher says of it.
    pub status: VersionStatus,
    /// Why, in the publisher's words.
    pub status_message: Option<String>,
    /// When the status became what it is.
    pub status_changed_at: u64,
    /// When it was published.
    pub published_at: u64,
    /// When something of this was last changed.
    pub updated_at: u64,
    /// Whether it is the latest version of its name.
    pub is_latest: bool,
}

/// Whether a member is a registry's or an authority's own to readers that fold case, as Go's do.
pub(crate) fn is_own(name: &str) -> bool {
    [OFFICIAL_META, AUTHORITY_META]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own))
}

impl Official {
    /// `_meta` as it is served beside server.json: the members of others, given as
    /// [`crate::Entry::meta`] has them, untouched, then this and what the authority says. Readers that
    /// take names for equal where we don't believe the last.
    pub fn with_others(&self, authority: &Value, others: Option<&str>) -> String {
        let ours = json!({ OFFICIAL_META: self.to_json(), AUTHORITY_META: authority }).to_string();
        let inside = |object: &str| {
            let inside = object.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
            (!inside.is_empty()).then(|| inside.to_owned())
        };
        match (inside(&ours), others.and_then(inside)) {
            (Some(ours), Some(others)) => format!("{{{others},{ours}}}"),
            _ => ours,
        }
    }

    fn to_json(&self) -> Value {
        let mut members = Map::new();
        let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
        set("status", self.status.as_str().into());
        if let Some(message) = &self.status_message {
            set("statusMessage", message.as_str().into());
        }
        set(
            "statusChangedAt",
            format_date(self.status_changed_at).into(),
        );
        set("publishedAt", format_date(self.published_at).into());
        set("updatedAt", format_date(self.updated_at).into());
        set("isLatest", self.is_latest.into());
        members.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn official() -> Official {
        Official {
            status: VersionStatus::Deprecated,
            status_message: Some("say \"no\"".to_owned()),
            status_changed_at: 1_764_780_312_148_830,
            published_at: 1_000_000,
            updated_at: 1_764_780_312_148_830,
            is_latest: false,
        }
    }

    fn served(others: Option<&str>) -> Value {
        let text = official().with_others(&json!({"verified": "none"}), others);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn all_members_are_shown() {
        assert_eq!(
            served(None),
            json!({
                OFFICIAL_META: {
                    "status": "deprecated",
                    "statusMessage": "say \"no\"",
                    "statusChangedAt": "2025-12-03T16:45:12.14883Z",
                    "publishedAt": "1970-01-01T00:00:01Z",
                    "updatedAt": "2025-12-03T16:45:12.14883Z",
                    "isLatest": false,
                },
                AUTHORITY_META: {"verified": "none"},
            })
        );
        let silent = Official {
            status_message: None,
            ..official()
        };
        assert!(
            !silent
                .with_others(&Value::Null, None)
                .contains("statusMessage")
        );
    }

    #[test]
    fn what_others_say_is_served_as_it_came() {
        let others = r#"{ "com.example/x": {"n": 1.00, "big": 12345678901234567890123} }"#;
        let text = official().with_others(&json!({}), Some(others));
        assert!(text.contains(r#"{"n": 1.00, "big": 12345678901234567890123}"#));
        assert!(served(Some(others)).as_object().unwrap().len() == 3);
        assert!(text.find(OFFICIAL_META) > text.find("com.example/x"));
        assert_eq!(served(Some("{ }")), served(None));
    }
}

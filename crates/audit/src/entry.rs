use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ChainHash;

/// One change, as it goes over the wire: who did what to whom, when and why.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)] // its members are what is hashed
pub struct AuditEntry {
    /// Its place in the trail: 1, 2, 3 …, without a gap.
    pub seq: u64,
    /// When (RFC 3339, in milliseconds and UTC).
    pub at: String,
    /// The administrator, or `authority` for what the authority did by itself.
    pub actor: String,
    /// What was done, such as `server.revoke`.
    pub action: String,
    /// To whom or what.
    pub subject: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it was changed to, where the action does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Its link of the chain, as the authority stored it. None: not sealed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<ChainHash>,
}

impl AuditEntry {
    /// What is hashed: the JSON array `[seq, at, actor, action, subject, reason, detail]` in UTF-8
    /// without blanks, `null` for what is missing, strings as RFC 8785 writes them. The hash is no
    /// part of it.
    pub fn canonical(&self) -> Vec<u8> {
        json!([
            self.seq,
            self.at,
            self.actor,
            self.action,
            self.subject,
            self.reason,
            self.detail,
        ])
        .to_string()
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Implementations in other languages agree on this one.
    #[test]
    fn the_canonical_bytes_and_the_hash_are_those_of_the_documentation() {
        let entry = AuditEntry {
            seq: 1,
            at: "2026-11-23T07:29:32.001Z".into(),
            actor: "alice@example.com".into(),
            action: "server.revoke".into(),
            subject: "com.example/weather".into(),
            reason: Some("says \"hi\" – \u{1f}\u{7f}/".into()),
            detail: None,
            hash: None,
        };
        let canonical = String::from_utf8(entry.canonical()).unwrap();
        assert_eq!(
            canonical,
            "[1,\"2026-11-23T07:29:32.001Z\",\"alice@example.com\",\"server.revoke\",\
             \"com.example/weather\",\"says \\\"hi\\\" – \\u001f\u{7f}/\",null]"
        );
        assert_eq!(
            ChainHash::START.seal(&entry).to_string(),
            "uKzHNQWM0jq4auVpBJPoDkD6l0xMiT-YONqf2OFMqpA"
        );
    }

    #[test]
    fn the_wire_form_leaves_out_what_is_missing_and_reads_it_back() {
        let json =
            r#"{"seq":2,"at":"2026-11-23T07:29:32.001Z","actor":"a","action":"b","subject":"c"}"#;
        let entry: AuditEntry = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&entry).unwrap(), json);
        let wrong = json.replace("\"seq\"", "\"hash\":\"short\",\"seq\"");
        assert!(serde_json::from_str::<AuditEntry>(&wrong).is_err());
    }
}

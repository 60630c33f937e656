//! What publishers say of the state of what they published.

use mcp_connect_catalog::{
    Action, Fault, MAX_STATUS_MESSAGE_CHARS, VersionStatus, find_hidden, name_hidden,
};
use serde_json::Value;

use super::{
    Refusal,
    body::{Checked, author, body, check_room, writer},
    entry::shown,
    publish::refused,
    refusal::fault,
    servers::{required_level, server_response},
};
use crate::{
    api::{call::Call, copies, document},
    platform::http::Response,
    store::{Connectable, LATEST, StatusChange, StatusChanged, Written},
};

/// Line breaks, and what emoji and some scripts need between letters: a message is a text of its publisher's.
const SHOWN_IN_MESSAGES: [char; 6] = ['\n', '\r', '\t', '\u{200c}', '\u{200d}', '\u{fe0f}'];

/// `PATCH /servers/{name}/versions/{version}/status`.
pub(in crate::api) async fn set(call: &Call) -> Result<Response, Refusal> {
    let (name, version) = (call.member("name"), call.member("version"));
    change(call, Some(version)).await?;
    let found = call.app.store.registry_version(name, version, true).await?;
    let found = found.ok_or_else(not_found)?;
    Ok(server_response(&call.app, &found).await)
}

/// `PATCH /servers/{name}/status`: of all versions, in one transaction. Of those that changed, as many are
/// shown as fit into one answer.
pub(in crate::api) async fn set_all(call: &Call) -> Result<Response, Refusal> {
    let changed = change(call, None).await?;
    let required = required_level(&call.app);
    let versions = call.app.store.registry_by_id(&changed.with_room).await?;
    let servers: Vec<String> = versions
        .iter()
        .map(|version| shown(version, required, None))
        .collect();
    let body = format!(
        r#"{{"updatedCount":{},"servers":[{}]}}"#,
        changed.count,
        servers.join(",")
    );
    Ok(document("application/json", body.into_bytes()))
}

/// Changes the state of these versions, and says which are in another one now.
async fn change(call: &Call, version: Option<&str>) -> Result<StatusChanged, Refusal> {
    let body = body(call, Checked::ForWriters, status_faults)?;
    let publisher = writer(call).await?;
    let (name, store) = (call.member("name"), &call.app.store);
    // A name alone may be changed, and a version; but none by what only stands for one.
    let found = store
        .registry_version(name, version.unwrap_or(LATEST), true)
        .await?;
    if found.is_none() || version == Some(LATEST) {
        return Err(match version {
            Some(_) => not_found(),
            None => Refusal::not_found("Server not found"),
        });
    }
    if !publisher.may(Action::Publish, name) && !publisher.may(Action::Edit, name) {
        return Err(Refusal::forbidden(
            "You do not have publish or edit permissions for this server",
        ));
    }
    let (status, message) = wanted(&body);
    if status == VersionStatus::Active && message.is_some() {
        return Err(Refusal::bad_request(
            "status_message cannot be provided when setting status to active",
        ));
    }
    if status != VersionStatus::Deleted {
        check_room(call)?;
    }
    let (actor, owner) = (publisher.actor(), publisher.owner(name));
    let change = StatusChange {
        status,
        message,
        by: author(call, &actor, &owner)?,
        connectable: Connectable::when(call.app.settings.require_verified().unwrap_or(false)),
    };
    match copies::renewed(&call.app, name, store.set_status(name, version, change)).await? {
        Written::Done(changed) => Ok(changed),
        Written::Unchanged if version.is_some() => Err(Refusal::bad_request(
            "No changes to apply: status and message are already set to the provided values",
        )),
        Written::Unchanged => Err(Refusal::bad_request(
            "No changes to apply: all versions already have the requested status and message",
        )),
        Written::Refused(obstacle) => {
            Err(refused("Failed to update server status", name, obstacle))
        }
    }
}

fn not_found() -> Refusal {
    Refusal::not_found("Server version not found")
}

/// Of a body without faults.
fn wanted(body: &Value) -> (VersionStatus, Option<&str>) {
    let text = |member: &str| body.get(member).and_then(Value::as_str);
    let status = text("status").and_then(status);
    let message = text("statusMessage").filter(|message| !message.is_empty());
    (status.unwrap_or_default(), message)
}

fn status(text: &str) -> Option<VersionStatus> {
    [
        VersionStatus::Active,
        VersionStatus::Deprecated,
        VersionStatus::Deleted,
    ]
    .into_iter()
    .find(|status| status.as_str() == text)
}

fn status_faults(body: &Value) -> Vec<Fault> {
    let Some(members) = body.as_object() else {
        return vec![fault("body", "expected object", None)];
    };
    let mut faults = Vec::new();
    let mut find = |location: &str, message: &str, value: Option<&Value>| {
        let value = value.filter(|value| !value.is_object() && !value.is_array());
        faults.push(fault(location, message, value));
    };
    match members.get("status") {
        None => find(
            "body",
            "expected required property status to be present",
            None,
        ),
        Some(value) if value.as_str().and_then(status).is_none() => find(
            "body.status",
            "expected value to be one of \"active, deprecated, deleted\"",
            Some(value),
        ),
        Some(_) => {}
    }
    match members.get("statusMessage") {
        Some(Value::String(text)) if text.chars().count() > MAX_STATUS_MESSAGE_CHARS => {
            find("body.statusMessage", "expected length <= 500", None);
        }
        Some(Value::String(text)) => {
            if let Some(hidden) = find_hidden(text, &SHOWN_IN_MESSAGES) {
                let message = format!("has {}; leave it out", name_hidden(hidden));
                find("body.statusMessage", &message, None);
            }
        }
        None => {}
        other => find("body.statusMessage", "expected string", other),
    }
    for (member, value) in members {
        if !["status", "statusMessage", "$schema"].contains(&member.as_str()) {
            find(
                &format!("body.{member}"),
                "unexpected property",
                Some(value),
            );
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_status_must_be_is_told() {
        for (body, location) in [
            (json!([]), "body"),
            (json!({}), "body"),
            (json!({"status": "gone"}), "body.status"),
            (json!({"status": null}), "body.status"),
            (
                json!({"status": "active", "statusMessage": 7}),
                "body.statusMessage",
            ),
            (
                json!({"status": "active", "statusMessage": "é".repeat(501)}),
                "body.statusMessage",
            ),
            (
                json!({"status": "deleted", "statusMessage": "a\0"}),
                "body.statusMessage",
            ),
            (
                json!({"status": "deleted", "statusMessage": "a\u{202e}b"}),
                "body.statusMessage",
            ),
            (
                json!({"status": "deprecated", "statusMessage": "a\u{fffe}"}),
                "body.statusMessage",
            ),
            (json!({"status": "active", "reason": "x"}), "body.reason"),
        ] {
            let faults = status_faults(&body);
            let locations: Vec<_> = faults.iter().map(|fault| &*fault.location).collect();
            assert_eq!(locations, [location], "{body}");
        }
        let joined =
            json!({"status": "deleted", "statusMessage": "⚠\u{fe0f} 👩\u{200d}💻\n\tdone"});
        assert!(status_faults(&joined).is_empty());
        let longest = json!({"status": "deleted", "statusMessage": "é".repeat(500)});
        assert!(status_faults(&longest).is_empty());
        assert_eq!(wanted(&longest).0, VersionStatus::Deleted);
        assert_eq!(
            wanted(&json!({"status": "active", "statusMessage": ""})).1,
            None
        );
    }
}

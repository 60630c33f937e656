//! A version as registries show it: its server.json, and beside that what is said of it.

use mcp_connect_catalog::VersionStatus;
use serde_json::json;

use crate::{
    authority::{Health, Level, Moderation},
    store::RegistryVersion,
};

/// `required` is the level below which nobody is let in, if somebody is; `health` what is known of the endpoint, if
/// that was looked up.
pub(super) fn shown(
    version: &RegistryVersion,
    required: Option<Level>,
    health: Option<Health>,
) -> String {
    let connectable = version.official.status != VersionStatus::Deleted
        && version.moderation == Moderation::Active
        && version.endpoint.is_some()
        && required.is_some_and(|required| version.level >= required);
    let mut standing = json!({
        "verified": version.level,
        "connectable": connectable,
        "moderation": version.moderation,
    });
    if let (Some(health), Some(members)) = (health, standing.as_object_mut()) {
        members.insert("health".to_owned(), json!(health));
    }
    let meta = version
        .official
        .with_others(&standing, version.meta.as_deref());
    format!(r#"{{"server":{},"_meta":{meta}}}"#, version.server_json)
}

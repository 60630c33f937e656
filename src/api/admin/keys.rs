use http::StatusCode;
use mcp_connect_descriptor::{Algorithm, KeyStatus};
use serde::Serialize;

use crate::{
    api::{
        call::{Auditor, Call},
        problem::Problem,
        respond,
    },
    platform::http::Response,
};

#[derive(Serialize)]
struct List {
    keys: Vec<Key>,
}

/// Nothing of it is secret.
#[derive(Serialize)]
struct Key {
    kid: String,
    alg: Algorithm,
    status: KeyStatus,
    /// Since when it has this status, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    /// Whether it signs now.
    signs: bool,
    revoked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_reason: Option<String>,
}

/// The keys that the authority holds, and what was withdrawn of them.
pub(crate) async fn list(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let keys = call.app.settings.signing_keys()?;
    let mut revoked = call.app.store.revoked_keys(keys).await?;
    let signer = keys
        .signer(|key_id| revoked.iter().any(|entry| entry.id == key_id))
        .map(|key| key.id().to_owned());
    let keys = keys
        .iter()
        .map(|entry| {
            let kid = entry.key.id();
            let position = revoked.iter().position(|revoked| revoked.id == kid);
            let revocation = position.map(|position| revoked.swap_remove(position));
            let is_revoked = revocation.is_some();
            let (revoked_at, revoked_reason) = revocation
                .map(|revocation| (revocation.revoked_at, revocation.reason))
                .unzip();
            Key {
                kid: kid.to_owned(),
                alg: entry.key.algorithm(),
                status: entry.status,
                since: entry.since,
                signs: signer.as_deref() == Some(kid),
                revoked: is_revoked,
                revoked_at,
                revoked_reason,
            }
        })
        .collect();
    respond(StatusCode::OK, &List { keys })
}

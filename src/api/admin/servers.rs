use axum::{
    Json,
    response::{IntoResponse, Response},
};
use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_catalog::{Endpoint, ServerName};
use serde::{Deserialize, Serialize};

use super::{ReasonBody, check_reason};
use crate::{
    api::{
        App,
        extract::{JsonBody, Moderator, NamePath},
        no_store,
        problem::Problem,
    },
    platform::log,
    store::{Identity, ServerChange, ServerSummary},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyBody {
    reason: String,
    jwks_uri: Option<String>,
    tls_pin_sha256: Option<String>,
}

#[derive(Serialize)]
struct Changed {
    #[serde(flatten)]
    server: ServerSummary,
    changed: bool,
}

pub(crate) async fn verify(
    app: App,
    moderator: Moderator,
    NamePath(name): NamePath,
    JsonBody(body): JsonBody<VerifyBody>,
) -> Result<impl IntoResponse, Problem> {
    let jwks_uri = body
        .jwks_uri
        .map(|uri| Endpoint::parse(&uri, app.settings.endpoint_rules()))
        .transpose()
        .map_err(|error| Problem::request_invalid(format!("jwks_uri: {error}")))?;
    if let Some(pin) = &body.tls_pin_sha256
        && Base64UrlUnpadded::decode_vec(pin).map_or(0, |bytes| bytes.len()) != 32
    {
        return Err(Problem::request_invalid(
            "tls_pin_sha256: must be 32 bytes of base64url, unpadded: the SHA-256 of the server's SPKI",
        ));
    }
    let identity = Identity {
        jwks_uri: jwks_uri.as_ref().map(Endpoint::as_str),
        tls_pin_sha256: body.tls_pin_sha256.as_deref(),
    };
    change(
        app,
        moderator,
        name,
        ServerChange::Verify(identity),
        &body.reason,
    )
    .await
}

pub(crate) async fn unverify(
    app: App,
    moderator: Moderator,
    NamePath(name): NamePath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<impl IntoResponse, Problem> {
    change(app, moderator, name, ServerChange::Unverify, &body.reason).await
}

pub(crate) async fn revoke(
    app: App,
    moderator: Moderator,
    NamePath(name): NamePath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<impl IntoResponse, Problem> {
    change(app, moderator, name, ServerChange::Revoke, &body.reason).await
}

pub(crate) async fn reinstate(
    app: App,
    moderator: Moderator,
    NamePath(name): NamePath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<impl IntoResponse, Problem> {
    change(app, moderator, name, ServerChange::Reinstate, &body.reason).await
}

async fn change(
    app: App,
    moderator: Moderator,
    name: ServerName,
    change: ServerChange<'_>,
    reason: &str,
) -> Result<Response, Problem> {
    let reason = check_reason(reason)?;
    let (server, changed) = app
        .store
        .change_server(&name, change, moderator.actor(), reason)
        .await?
        .ok_or_else(Problem::server_not_found)?;
    // The change itself holds already; the copy would be at most a minute old.
    if let Err(error) = app.store.drop_edge_copy(&name).await {
        log::error("edge_copy_failed", &[("problem", &error.to_string())]);
    }
    Ok(([no_store()], Json(Changed { server, changed })).into_response())
}

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_catalog::{Endpoint, ServerName};
use serde::Deserialize;

use super::{Changed, ReasonBody, check_reason, drop_edge_copy};
use crate::{
    api::{
        App,
        extract::{JsonBody, Moderator, NamePath},
        no_store,
        problem::Problem,
    },
    store::{Identity, ServerChange},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyBody {
    reason: String,
    jwks_uri: Option<String>,
    tls_pin_sha256: Option<String>,
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
    drop_edge_copy(&app, &name).await;
    Ok((
        [no_store()],
        Json(Changed {
            subject: server,
            changed,
        }),
    )
        .into_response())
}

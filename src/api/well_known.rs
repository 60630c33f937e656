use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG},
};
use mcp_connect_descriptor::SigningKeys;
use serde_json::{Value, json};

use super::{
    App,
    caching::{etag, matches_etag},
    problem::Problem,
};
use crate::platform::{MAX_LIFETIME, MIN_LIFETIME, signer};

/// Verifiers refresh at half of this, so a key is known everywhere a minute after it was added.
const CACHEABLE: &str = "public, max-age=60";

/// Read from D1 each time: a key whose withdrawal is acknowledged is not in it.
pub(crate) async fn jwks(app: App, headers: HeaderMap) -> Result<Response, Problem> {
    let keys = app.settings.signing_keys()?;
    signer::check(keys).await?;
    let revoked = app.store.revoked_keys().await?;
    let public = keys
        .published(|key_id| revoked.iter().any(|entry| entry.id == key_id))
        .to_string();
    let etag = etag(&public);
    let caching = [(CACHE_CONTROL, CACHEABLE), (ETAG, &etag)];
    if matches_etag(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let content_type = [(CONTENT_TYPE, "application/jwk-set+json")];
    Ok((caching, content_type, public).into_response())
}

pub(crate) async fn authority(app: App) -> Result<impl IntoResponse, Problem> {
    let issuer = app.settings.issuer()?;
    let lifetime = app.settings.descriptor_lifetime()?;
    let algorithms = app.settings.signing_keys().map(SigningKeys::algorithms);
    let mut caller_authentication = vec!["api_key"];
    if app.settings.allow_anonymous()? {
        caller_authentication.push("anonymous");
    }
    let metadata: Value = json!({
        "issuer": issuer,
        "connect_endpoint": format!("{issuer}/v1/connect"),
        "servers_endpoint": format!("{issuer}/v1/servers"),
        "revocations_endpoint": format!("{issuer}/v1/revocations"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "descriptor_lifetime_seconds": lifetime,
        "descriptor_lifetime_seconds_min": MIN_LIFETIME.min(lifetime),
        "descriptor_lifetime_seconds_max": MAX_LIFETIME,
        "signing_alg_values_supported": algorithms.unwrap_or_default(),
        "caller_auth_methods_supported": caller_authentication,
        "transports_supported": ["streamable_http"],
    });
    Ok(([(CACHE_CONTROL, CACHEABLE)], Json(metadata)))
}

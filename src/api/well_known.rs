use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use serde_json::{Value, json};

use super::{App, problem::Problem};
use crate::platform::{MAX_LIFETIME, MIN_LIFETIME};

/// Verifiers refresh at half of this, so a key is known everywhere a minute after it was added.
const CACHEABLE: &str = "public, max-age=60";

pub(crate) async fn jwks(app: App, headers: HeaderMap) -> Result<Response, Problem> {
    let signing = app.settings.signing()?;
    let caching = [(CACHE_CONTROL, CACHEABLE), (ETAG, &signing.etag)];
    if matches_etag(&headers, &signing.etag) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let content_type = [(CONTENT_TYPE, "application/jwk-set+json")];
    Ok((caching, content_type, signing.public.clone()).into_response())
}

/// RFC 9110, section 13.1.2: the weak comparison.
fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(',')
                .map(str::trim)
                .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
        })
}

pub(crate) async fn authority(app: App) -> Result<impl IntoResponse, Problem> {
    let issuer = app.settings.issuer()?;
    let lifetime = app.settings.descriptor_lifetime()?;
    let mut caller_authentication = vec!["api_key"];
    if app.settings.allow_anonymous()? {
        caller_authentication.push("anonymous");
    }
    let metadata: Value = json!({
        "issuer": issuer,
        "connect_endpoint": format!("{issuer}/v1/connect"),
        "servers_endpoint": format!("{issuer}/v1/servers"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "descriptor_lifetime_seconds": lifetime,
        "descriptor_lifetime_seconds_min": MIN_LIFETIME.min(lifetime),
        "descriptor_lifetime_seconds_max": MAX_LIFETIME,
        "signing_alg_values_supported": ["EdDSA"],
        "caller_auth_methods_supported": caller_authentication,
        "transports_supported": ["streamable_http"],
    });
    Ok(([(CACHE_CONTROL, CACHEABLE)], Json(metadata)))
}

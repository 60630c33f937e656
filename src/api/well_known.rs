use axum::{
    Json,
    response::{IntoResponse, Response},
};
use base64ct::{Base64UrlUnpadded, Encoding};
use http::{
    HeaderMap, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use mcp_connect_descriptor::SigningKeys;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{App, problem::Problem};
use crate::platform::{MAX_LIFETIME, MIN_LIFETIME, signer};

/// Verifiers refresh at half of this, so a key is known everywhere a minute after it was added.
const CACHEABLE: &str = "public, max-age=60";

pub(crate) async fn jwks(app: App, headers: HeaderMap) -> Result<Response, Problem> {
    let keys = app.settings.signing_keys()?;
    signer::check(keys).await?;
    let public = keys.published(|_| false).to_string();
    let etag = etag(public.as_bytes());
    let caching = [(CACHE_CONTROL, CACHEABLE), (ETAG, &etag)];
    if matches_etag(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let content_type = [(CONTENT_TYPE, "application/jwk-set+json")];
    Ok((caching, content_type, public).into_response())
}

fn etag(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    format!("\"{}\"", Base64UrlUnpadded::encode_string(&digest))
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
    let algorithms = app.settings.signing_keys().map(SigningKeys::algorithms);
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
        "signing_alg_values_supported": algorithms.unwrap_or_default(),
        "caller_auth_methods_supported": caller_authentication,
        "transports_supported": ["streamable_http"],
    });
    Ok(([(CACHE_CONTROL, CACHEABLE)], Json(metadata)))
}

use http::StatusCode;
use mcp_connect_descriptor::SigningKeys;
use serde_json::{Value, json};

use super::{caching::cacheable, call::Call, document, problem::Problem, respond, shared::KEY_SET};
use crate::platform::{MAX_LIFETIME, MIN_LIFETIME, http::Response, signer};

/// Verifiers refresh at half of this, so a key is known everywhere a minute after it was added.
const CACHEABLE: &str = "public, max-age=60";

/// A key whose withdrawal was acknowledged a second ago is not in it.
pub(crate) async fn jwks(call: &Call) -> Result<Response, Problem> {
    KEY_SET.answer(call, key_set(call)).await
}

async fn key_set(call: &Call) -> Result<Response, Problem> {
    let keys = call.app.settings.signing_keys()?;
    signer::check(keys).await?;
    let revoked = call.app.store.revoked_keys(keys).await?;
    let public = keys
        .published(|key_id| revoked.iter().any(|entry| entry.id == key_id))
        .to_string();
    let key_set = document(KEY_SET.content_type, public.into_bytes());
    Ok(cacheable(key_set, KEY_SET.caching))
}

pub(crate) async fn authority(call: &Call) -> Result<Response, Problem> {
    let issuer = call.app.settings.issuer()?;
    let lifetime = call.app.settings.descriptor_lifetime()?;
    let algorithms = call
        .app
        .settings
        .signing_keys()
        .map(SigningKeys::algorithms);
    let mut caller_authentication = vec!["api_key", "access_token"];
    if call.app.settings.allow_anonymous()? {
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
        "dpop_signing_alg_values_supported": ["EdDSA", "ES256"],
        "caller_auth_methods_supported": caller_authentication,
        "transports_supported": ["streamable_http"],
    });
    Ok(cacheable(respond(StatusCode::OK, &metadata)?, CACHEABLE))
}

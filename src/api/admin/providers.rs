use http::StatusCode;
use mcp_connect_catalog::Endpoint;
use serde::Deserialize;
use serde_json::json;

use super::{
    check_reason,
    tenants::{self, tenant_id},
};
use crate::{
    api::{
        App,
        call::{Call, Moderator, Operator},
        problem::Problem,
        provider_keys, respond,
    },
    authority::KeySource,
    platform::http::Response,
    store::{MAX_PROVIDERS, NewProvider, StoreError},
};

const MAX_CHARS: usize = 512;
const MAX_CLIENT_CLAIMS: usize = 4;
const MAX_CLAIM_CHARS: usize = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddBody {
    issuer: String,
    audience: String,
    jwks_uri: Option<String>,
    #[serde(default = "usual_client_claims")]
    client_claims: Vec<String>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveBody {
    issuer: String,
    audience: String,
    reason: String,
}

/// The one is of RFC 9068, the other of `OpenID` Connect.
fn usual_client_claims() -> Vec<String> {
    vec!["client_id".into(), "azp".into()]
}

/// Nothing is stored unless the provider's keys could be got.
pub(crate) async fn add(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let tenant_id = tenant_id(call)?;
    let body: AddBody = call.json()?;
    let reason = check_reason(&body.reason)?;
    check_issuer(&call.app, &body.issuer)?;
    check_audience(&body.audience)?;
    check_client_claims(&body.client_claims)?;
    let jwks_uri = body
        .jwks_uri
        .map(|uri| Endpoint::parse(&uri, call.app.settings.endpoint_rules()))
        .transpose()
        .map_err(|error| Problem::request_invalid(format!("jwks_uri: {error}")))?
        .map(|uri| uri.as_str().to_owned());
    let source = KeySource {
        issuer: body.issuer,
        jwks_uri,
    };
    provider_keys::try_out(&call.app, &source)
        .await
        .map_err(|problem| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "provider_unusable",
                format!("nothing was stored, since the provider's keys can't be used: {problem}"),
            )
        })?;
    let provider = NewProvider {
        issuer: &source.issuer,
        audience: &body.audience,
        tenant_id,
        jwks_uri: source.jwks_uri.as_deref(),
        client_claims: &body.client_claims,
    };
    let provider = call
        .app
        .store
        .add_provider(&provider, operator.actor(), reason)
        .await
        .map_err(|error| match error {
            StoreError::Conflict(constraint) if constraint.contains("identity_providers.") => {
                Problem::new(
                    StatusCode::CONFLICT,
                    "provider_exists",
                    "issuer, audience: this pair is registered already, and can belong to one tenant only",
                )
            }
            other => other.into(),
        })?;
    match provider {
        Some(provider) => respond(StatusCode::CREATED, &provider),
        None => match call.app.store.list_providers(tenant_id).await? {
            None => Err(tenants::not_found()),
            Some(_) => Err(Problem::new(
                StatusCode::CONFLICT,
                "too_many_providers",
                format!("the tenant has {MAX_PROVIDERS} identity providers; remove one first"),
            )),
        },
    }
}

pub(crate) async fn list(call: &Call, _: &Moderator) -> Result<Response, Problem> {
    let tenant_id = tenant_id(call)?;
    let providers = call
        .app
        .store
        .list_providers(tenant_id)
        .await?
        .ok_or_else(tenants::not_found)?;
    let body = json!({ "identity_providers": providers });
    respond(StatusCode::OK, &body)
}

pub(crate) async fn remove(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let tenant_id = tenant_id(call)?;
    let body: RemoveBody = call.json()?;
    let reason = check_reason(&body.reason)?;
    let (issuer, audience) = (&body.issuer, &body.audience);
    let changed = call
        .app
        .store
        .remove_provider(tenant_id, issuer, audience, operator.actor(), reason)
        .await?;
    let body = json!({ "issuer": issuer, "audience": audience, "changed": changed });
    respond(StatusCode::OK, &body)
}

/// An issuer is compared to the letter, so it is kept as it is; it only has to be a URL that could
/// be asked.
fn check_issuer(app: &App, issuer: &str) -> Result<(), Problem> {
    let fault = |problem: &str| Problem::request_invalid(format!("issuer: {problem}"));
    if issuer.len() > MAX_CHARS {
        return Err(fault("is longer than 512 characters"));
    }
    Endpoint::parse(issuer, app.settings.endpoint_rules())
        .map_err(|error| fault(&error.to_string()))?;
    if issuer.contains('?') || !issuer.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fault("has a query or a blank"));
    }
    Ok(())
}

fn check_audience(audience: &str) -> Result<(), Problem> {
    let is_plain = audience.bytes().all(|byte| byte.is_ascii_graphic());
    if (1..=MAX_CHARS).contains(&audience.len()) && is_plain {
        return Ok(());
    }
    Err(Problem::request_invalid(
        "audience: must be 1 to 512 printable ASCII characters without blanks",
    ))
}

/// Names that SQL's JSON operators take for names, not for paths.
fn check_client_claims(claims: &[String]) -> Result<(), Problem> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
    let is_name =
        |claim: &String| (1..=MAX_CLAIM_CHARS).contains(&claim.len()) && claim.bytes().all(allowed);
    if (1..=MAX_CLIENT_CLAIMS).contains(&claims.len()) && claims.iter().all(is_name) {
        return Ok(());
    }
    Err(Problem::request_invalid(
        "client_claims: must be 1 to 4 names of up to 128 letters, digits, \".\", \"_\", \":\", \"/\" or \"-\"",
    ))
}

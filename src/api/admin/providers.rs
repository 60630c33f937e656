use std::collections::BTreeMap;

use http::StatusCode;
use mcp_connect_catalog::{Endpoint, is_dot_segment};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    check_reason,
    tenants::{self, tenant_id},
};
use crate::{
    api::{
        App,
        call::{Auditor, Call, Operator},
        problem::Problem,
        provider_keys::{self, Examined},
        respond,
    },
    authority::{ALGORITHM_NAMES, AUDIENCE_CLAIM, KeySource, SkippedKey, TokenRules},
    platform::http::Response,
    store::{MAX_BY_CLAIM, MAX_PROVIDERS, NewProvider, Row, StoreError},
};

const MAX_CHARS: usize = 512;
const MAX_CLIENT_CLAIMS: usize = 4;
const MAX_CLAIM_CHARS: usize = 128;
const MAX_REQUIRED_CLAIMS: usize = 8;
const MAX_VALUE_CHARS: usize = 256;
const TOKEN_TYPES: [&str; 2] = ["at+jwt", "jwt"];
/// How many keys or providers a problem tells of.
const MAX_TOLD: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddBody {
    issuer: String,
    audience: String,
    jwks_uri: Option<String>,
    #[serde(default = "usual_client_claims")]
    client_claims: Vec<String>,
    audience_claim: Option<String>,
    #[serde(default)]
    required_claims: BTreeMap<String, Option<String>>,
    token_type: Option<String>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveBody {
    issuer: String,
    audience: String,
    reason: String,
}

#[derive(Serialize)]
struct Added {
    #[serde(flatten)]
    provider: Row,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped_keys: Vec<SkippedKey>,
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
    let rules = TokenRules {
        audience_claim: body.audience_claim.filter(|claim| claim != AUDIENCE_CLAIM),
        required_claims: body.required_claims,
        token_type: body.token_type,
    };
    check_rules(&rules)?;
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
    let examined = usable_keys(&call.app, &source).await?;
    let provider = NewProvider {
        issuer: &source.issuer,
        audience: &body.audience,
        tenant_id,
        jwks_uri: source.jwks_uri.as_deref(),
        client_claims: &body.client_claims,
        rules: &rules,
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
        Some(provider) => {
            let skipped_keys = examined.skipped;
            respond(
                StatusCode::CREATED,
                &Added {
                    provider,
                    skipped_keys,
                },
            )
        }
        None => match call.app.store.list_providers(tenant_id).await? {
            None => Err(tenants::not_found()),
            Some(_) => Err(Problem::new(
                StatusCode::CONFLICT,
                "too_many_providers",
                format!(
                    "the tenant has {MAX_PROVIDERS} identity providers, or there are {MAX_BY_CLAIM} with this issuer whose audience is in another claim than aud; remove one first"
                ),
            )),
        },
    }
}

pub(crate) async fn list(call: &Call, _: &Auditor) -> Result<Response, Problem> {
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
    let store = &call.app.store;
    let changed = store
        .remove_provider(tenant_id, issuer, audience, operator.actor(), reason)
        .await?;
    if !changed {
        let providers = store.list_providers(tenant_id).await?;
        return Err(no_such_provider(&providers.ok_or_else(tenants::not_found)?));
    }
    let body = json!({ "issuer": issuer, "audience": audience, "changed": changed });
    respond(StatusCode::OK, &body)
}

/// Names what the tenant has: a slip in the issuer must not leave a provider that was to go.
fn no_such_provider(providers: &[Row]) -> Problem {
    let named: Vec<String> = providers
        .iter()
        .take(MAX_TOLD)
        .map(|provider| {
            format!(
                "{} for {}",
                provider.text("issuer"),
                provider.text("audience")
            )
        })
        .collect();
    let has = match providers.len().checked_sub(named.len()) {
        _ if named.is_empty() => "no identity provider at all".to_owned(),
        None | Some(0) => named.join(", "),
        Some(more) => format!("{} and {more} more", named.join(", ")),
    };
    Problem::new(
        StatusCode::NOT_FOUND,
        "provider_not_found",
        format!(
            "issuer, audience: the tenant has no such pair, so nothing was removed; it has {has}"
        ),
    )
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
    if (1..=MAX_CHARS).contains(&audience.len()) && is_plain && !is_dot_segment(audience) {
        return Ok(());
    }
    Err(Problem::request_invalid(
        "audience: must be 1 to 512 visible ASCII characters, and not \".\" or \"..\" alone",
    ))
}

/// Fetches the provider's keys, of which at least one has to be good for something.
async fn usable_keys(app: &App, source: &KeySource) -> Result<Examined, Problem> {
    let unusable = |problem: String| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "provider_unusable",
            format!("nothing was stored, since the provider's keys can't be used: {problem}"),
        )
    };
    let examined = provider_keys::examine(app, source)
        .await
        .map_err(unusable)?;
    if examined.usable > 0 {
        return Ok(examined);
    }
    let mut problem =
        format!("the provider's key set has no key that can check signatures by {ALGORITHM_NAMES}");
    for SkippedKey {
        index,
        problem: why,
        ..
    } in examined.skipped.iter().take(MAX_TOLD)
    {
        problem = format!("{problem}; keys[{index}]: {why}");
    }
    Err(unusable(problem))
}

fn check_rules(rules: &TokenRules) -> Result<(), Problem> {
    // The issuer of a token never says whom it is for.
    let is_audience = |claim: &String| is_claim_name(claim) && claim != "iss";
    if !rules.audience_claim.as_ref().is_none_or(is_audience) {
        return Err(Problem::request_invalid(format!(
            "audience_claim: must be {CLAIM_NAME}, and not \"iss\""
        )));
    }
    if rules.required_claims.len() > MAX_REQUIRED_CLAIMS {
        return Err(Problem::request_invalid(format!(
            "required_claims: has more than {MAX_REQUIRED_CLAIMS} claims"
        )));
    }
    let is_value = |value: &String| {
        (1..=MAX_VALUE_CHARS).contains(&value.len()) && !value.chars().any(char::is_control)
    };
    for (claim, value) in &rules.required_claims {
        if !is_claim_name(claim) {
            return Err(Problem::request_invalid(format!(
                "required_claims: a name must be {CLAIM_NAME}"
            )));
        }
        if !value.as_ref().is_none_or(is_value) {
            return Err(Problem::request_invalid(format!(
                "required_claims.{claim}: must be null, for any value, or a text of 1 to {MAX_VALUE_CHARS} bytes without control characters"
            )));
        }
    }
    let is_type = |typ: &String| TOKEN_TYPES.contains(&&**typ);
    if rules.token_type.as_ref().is_none_or(is_type) {
        return Ok(());
    }
    Err(Problem::request_invalid(
        "token_type: must be \"at+jwt\" or \"jwt\"; leave it out to accept both, and tokens without typ",
    ))
}

const CLAIM_NAME: &str = "a name of 1 to 128 letters, digits, \".\", \"_\", \":\", \"/\" or \"-\"";

/// Names that SQL's JSON operators take for names, not for paths.
fn is_claim_name(claim: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
    (1..=MAX_CLAIM_CHARS).contains(&claim.len())
        && claim.bytes().all(allowed)
        && !is_dot_segment(claim)
}

fn check_client_claims(claims: &[String]) -> Result<(), Problem> {
    if (1..=MAX_CLIENT_CLAIMS).contains(&claims.len())
        && claims.iter().all(|claim| is_claim_name(claim))
    {
        return Ok(());
    }
    Err(Problem::request_invalid(
        "client_claims: must be 1 to 4 names of up to 128 letters, digits, \".\", \"_\", \":\", \"/\" or \"-\"",
    ))
}

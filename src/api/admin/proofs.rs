//! How servers are verified: proven by their publishers, or decided by an operator.

use base64ct::{Base64UrlUnpadded, Encoding};
use http::StatusCode;
use mcp_connect_catalog::{Endpoint, ServerName, lies_under};
use serde::Deserialize;
use serde_json::json;

use super::{Changed, check_reason, check_reason_given};
use crate::{
    api::{
        App,
        call::{Auditor, Call, Moderator},
        copies,
        problem::Problem,
        respond,
    },
    authority::{Challenge, Found, Level, Provable, Unprovable},
    platform::http::Response,
    store::{Identity, Method, ServerSummary, StoreError, Verified},
    upkeep,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyBody {
    reason: String,
    /// The origin that was looked at.
    origin: Option<String>,
    jwks_uri: Option<String>,
    tls_pin_sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnverifyBody {
    reason: String,
    /// All, where it is left out.
    level: Option<Level>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProveBody {
    level: Provable,
    reason: Option<String>,
}

pub(crate) async fn list(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let name = call.server_name()?;
    let (verification, proofs) = call
        .app
        .store
        .proofs(&name)
        .await?
        .ok_or_else(Problem::server_not_found)?;
    let body = json!({ "id": name.as_str(), "verification": verification, "proofs": proofs });
    respond(StatusCode::OK, &body)
}

pub(crate) async fn verify(call: &Call, moderator: &Moderator) -> Result<Response, Problem> {
    let name = call.server_name()?;
    let body: VerifyBody = call.json()?;
    let url = |member: &str, url: Option<&String>| {
        url.map(|url| Endpoint::parse(url, call.app.settings.endpoint_rules()))
            .transpose()
            .map_err(|error| Problem::request_invalid(format!("{member}: {error}")))
    };
    let origin = url("origin", body.origin.as_ref())?.map(|url| url.origin());
    let jwks_uri = url("jwks_uri", body.jwks_uri.as_ref())?;
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
    let reason = check_reason(&body.reason)?;
    let changed = call
        .app
        .store
        .verify_server(
            &name,
            origin.as_deref(),
            identity,
            moderator.actor(),
            reason,
        )
        .await;
    let changed = match changed {
        Ok(Some(Verified::Elsewhere(now_at))) => {
            return Err(elsewhere(&name, origin.as_deref(), &now_at));
        }
        Ok(Some(Verified::Done(subject, changed))) => Ok(Some((subject, changed))),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    answer(&call.app, &name, changed).await
}

/// Says where the server is reached, for whoever looked at it elsewhere.
fn elsewhere(name: &ServerName, origin: Option<&str>, now_at: &str) -> Problem {
    let now_at = match now_at {
        "" => "without an endpoint",
        origin => origin,
    };
    let looked_at = origin.unwrap_or_default();
    let detail = format!(
        "origin: the default version of {name} is {now_at} now, not {looked_at}; look at it there, then name that origin"
    );
    Problem::new(StatusCode::CONFLICT, "origin_changed", detail)
}

pub(crate) async fn unverify(call: &Call, moderator: &Moderator) -> Result<Response, Problem> {
    let name = call.server_name()?;
    let body: UnverifyBody = call.json()?;
    if body.level == Some(Level::None) {
        return Err(Problem::request_invalid(
            "level: is none of \"namespace\", \"endpoint\" and \"operator\"; leave it out to take all away",
        ));
    }
    let reason = check_reason(&body.reason)?;
    let changed = call
        .app
        .store
        .unverify_server(&name, body.level, moderator.actor(), reason)
        .await;
    answer(&call.app, &name, changed).await
}

/// Asks the publisher's host now; what it does not prove changes nothing.
pub(crate) async fn prove(call: &Call, moderator: &Moderator) -> Result<Response, Problem> {
    let name = call.server_name()?;
    let body: ProveBody = call.json()?;
    let reason = check_reason_given(body.reason.as_deref())?;
    let (issuer, rules) = (
        call.app.settings.issuer()?,
        call.app.settings.endpoint_rules(),
    );
    let candidate = call
        .app
        .store
        .candidate(&name)
        .await?
        .ok_or_else(Problem::server_not_found)?;
    let namespace = Challenge::of_namespace(issuer, &name, rules);
    let (challenge, is_below_domain) = match body.level {
        Provable::Namespace => (namespace.map_err(|why| unprovable(body.level, why))?, false),
        Provable::Endpoint => {
            let (endpoint, origin) = candidate
                .endpoint
                .as_deref()
                .and_then(|endpoint| Endpoint::parse(endpoint, rules).ok())
                .zip(candidate.origin.as_deref())
                .ok_or_else(|| unprovable(body.level, Unprovable::NoEndpoint))?;
            let is_below_domain = candidate.namespace_is_proven
                && namespace.is_ok_and(|proven| lies_under(&endpoint.host(), &proven.subject));
            (Challenge::of_origin(issuer, &name, origin), is_below_domain)
        }
    };
    let method = if is_below_domain {
        Method::Domain
    } else {
        match upkeep::proofs::ask(&challenge, rules).await {
            Found::Holds => Method::Challenge,
            Found::Gone(found) | Found::Unclear(found) => {
                return Err(unproven(body.level, &challenge, &found));
            }
        }
    };
    let changed = call
        .app
        .store
        .prove_server(
            &name,
            body.level,
            &challenge.subject,
            method,
            moderator.actor(),
            reason,
        )
        .await;
    answer(&call.app, &name, changed).await
}

async fn answer(
    app: &App,
    name: &ServerName,
    changed: Result<Option<(ServerSummary, bool)>, StoreError>,
) -> Result<Response, Problem> {
    let is_known = matches!(changed, Ok(Some(_)));
    let changed = copies::renew_after(app, name.as_str(), is_known, changed).await?;
    let (subject, changed) = changed.ok_or_else(Problem::server_not_found)?;
    respond(StatusCode::OK, &Changed { subject, changed })
}

fn unprovable(level: Provable, why: Unprovable) -> Problem {
    let detail = format!("level {}: {why}", level.as_str());
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "proof_failed", detail)
}

fn unproven(level: Provable, challenge: &Challenge, found: &str) -> Problem {
    let detail = format!(
        "level {}: {}: {found}; serve the line {} there, as text",
        level.as_str(),
        challenge.url,
        challenge.token,
    );
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "proof_failed", detail)
}

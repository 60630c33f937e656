use std::collections::BTreeMap;

use axum::{Json, response::IntoResponse};
use mcp_connect_catalog::ServerRef;
use serde::{Deserialize, Serialize};

use super::{
    App, access_tokens,
    extract::{Credential, JsonBody},
    key_use, no_store,
    problem::Problem,
    signing_key,
};
use crate::{
    authority::{
        Caller, ConnectRequest, Denial, Presented, Ticket, admit, authenticate, decide, mint,
    },
    platform::{log, now_millis, random_bytes, signer},
    upkeep,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    server_ref: String,
    client_id: Option<String>,
    tenant_id: Option<String>,
    /// A map, since a derived struct would accept a list of its members, too.
    client: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Serialize)]
struct Answer {
    descriptor: String,
    endpoint: String,
    expires_in: u64,
    refresh_after: u64,
    server: Server,
}

#[derive(Serialize)]
struct Server {
    id: String,
    version: String,
    transport: &'static str,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<String>,
}

pub(crate) async fn connect(
    app: App,
    Credential(presented): Credential,
    body: Result<JsonBody<Body>, Problem>,
) -> Result<impl IntoResponse, Problem> {
    let issuing = app.settings.issuing()?;
    let admission = issuing.admission;
    // A stranger costs no query.
    admit(&presented, admission).inspect_err(|denial| log_denial(None, None, denial))?;
    let JsonBody(body) = body?;
    let request = ConnectRequest::try_from(body)?;

    // From before the facts are read: no descriptor looks younger than what it was decided by.
    let now = now_millis();
    let mut facts = app.store.connect_facts(&request, &presented).await?;
    let caller = match &presented {
        Presented::AccessToken(token) => {
            access_tokens::authenticate(&app, token, facts.provider.take()).await?
        }
        other => authenticate(other, facts.key.take(), admission, now),
    }
    .inspect_err(|denial| log_denial(Some(&request), None, denial))?;
    if let Presented::ApiKey(key) = &presented {
        key_use::note(&app, key.key_id());
    }
    let grant = decide(&request, &caller, &facts, admission, now)
        .inspect_err(|denial| log_denial(Some(&request), Some(&caller), denial))?;
    let key = signing_key(issuing.keys, &facts.revoked_keys)?;
    upkeep::health::admit(
        issuing.health_gating,
        &grant.endpoint,
        app.settings.endpoint_rules(),
        &app.store,
        &app.context,
    )
    .await
    .inspect_err(|denial| log_denial(Some(&request), Some(&caller), denial))?;
    let ticket = mint(
        grant,
        issuing.issuer,
        key,
        issuing.lifetime,
        now / 1000,
        random_bytes()?,
    )
    .map_err(|error| Problem::authority_unavailable("minting_failed", &error.to_string()))?;

    let descriptor = signer::sign(issuing.keys, key, &ticket.unsigned).await?;

    log_grant(&ticket);
    Ok(([no_store()], Json(Answer::new(descriptor, ticket))))
}

impl TryFrom<Body> for ConnectRequest {
    type Error = Problem;

    fn try_from(body: Body) -> Result<Self, Problem> {
        let server_ref: ServerRef = body
            .server_ref
            .parse()
            .map_err(|error| Problem::request_invalid(format!("server_ref: {error}")))?;
        let mut nested = body.client.unwrap_or_default();
        let (client_id, tenant_id) = (nested.remove("client_id"), nested.remove("tenant_id"));
        if let Some(unknown) = nested.keys().next() {
            let detail = format!("client.{unknown}: there is no such member");
            return Err(Problem::request_invalid(detail));
        }
        Ok(Self {
            server_ref,
            client_id: one_of("client_id", body.client_id, client_id.flatten())?,
            tenant_id: one_of("tenant_id", body.tenant_id, tenant_id.flatten())?,
        })
    }
}

/// A member may stand at the top or within `client`, not in both.
fn one_of(
    member: &str,
    top: Option<String>,
    nested: Option<String>,
) -> Result<Option<String>, Problem> {
    if top.is_some() && nested.is_some() {
        let detail = format!("{member}: given twice, at the top and within client");
        return Err(Problem::request_invalid(detail));
    }
    Ok(top.or(nested))
}

impl Answer {
    fn new(descriptor: String, ticket: Ticket) -> Self {
        let server = ticket.claims.server;
        Self {
            descriptor,
            endpoint: ticket.claims.endpoint,
            expires_in: ticket.expires_in,
            refresh_after: ticket.refresh_after,
            server: Server {
                id: server.id,
                version: server.version,
                transport: "streamable_http",
                verified: server.verified,
                jwks_uri: server.jwks_uri,
            },
        }
    }
}

fn log_grant(ticket: &Ticket) {
    let claims = &ticket.claims;
    log::info(
        "connect",
        &[
            ("decision", "granted"),
            ("code", "ok"),
            ("jti", &claims.jti),
            ("server_id", &claims.server.id),
            ("version", &claims.server.version),
            ("client_id", claims.client_id.as_deref().unwrap_or_default()),
            ("tenant_id", claims.tenant_id.as_deref().unwrap_or_default()),
        ],
    );
}

/// The caller is named only where it proved to be that.
fn log_denial(request: Option<&ConnectRequest>, caller: Option<&Caller>, denial: &Denial) {
    let server_id = request.map_or("", |request| request.server_ref.name.as_str());
    let client_id = caller.and_then(|caller| caller.client_id.as_deref());
    let tenant_id = caller.and_then(|caller| caller.tenant_id.as_deref());
    let rule = denial.rule();
    let mut members = vec![
        ("decision", "denied"),
        ("code", denial.code()),
        ("server_id", server_id),
        ("client_id", client_id.unwrap_or_default()),
        ("tenant_id", tenant_id.unwrap_or_default()),
    ];
    members.extend(rule.as_deref().map(|rule| ("rule", rule)));
    log::info("connect", &members);
}

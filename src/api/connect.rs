use axum::{Json, response::IntoResponse};
use mcp_connect_catalog::ServerRef;
use serde::{Deserialize, Serialize};

use super::{
    extract::{Caller, JsonBody},
    no_store,
    problem::Problem,
};
use crate::{
    authority::{ConnectRequest, Denial, Policy, Ticket, decide, mint},
    platform::{App, log, now_seconds, random_bytes},
};

const MAX_ID_CHARS: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    server_ref: String,
    client_id: Option<String>,
    tenant_id: Option<String>,
    client: Option<Client>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    client_id: Option<String>,
    tenant_id: Option<String>,
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
    Caller(presented): Caller,
    JsonBody(body): JsonBody<Body>,
) -> Result<impl IntoResponse, Problem> {
    let request = ConnectRequest::try_from(body)?;
    let issuing = app.settings.issuing()?;
    let policy = Policy {
        require_verified: issuing.require_verified,
        allow_anonymous: issuing.allow_anonymous,
    };

    let facts = app.store.connect_facts(&request, &presented).await?;
    let client_id = facts.caller.as_ref().map(|caller| caller.client_id.clone());
    let grant = decide(&request, &presented, facts, policy)
        .inspect_err(|denial| log_denial(&request, client_id.as_deref(), denial))?;
    let ticket = mint(
        grant,
        issuing.issuer,
        issuing.keys.active(),
        issuing.lifetime,
        now_seconds(),
        random_bytes()?,
    )
    .map_err(|error| Problem::authority_unavailable("minting_failed", &error.to_string()))?;

    log_grant(&ticket);
    Ok(([no_store()], Json(Answer::from(ticket))))
}

impl TryFrom<Body> for ConnectRequest {
    type Error = Problem;

    fn try_from(body: Body) -> Result<Self, Problem> {
        let server_ref: ServerRef = body
            .server_ref
            .parse()
            .map_err(|error| Problem::request_invalid(format!("server_ref: {error}")))?;
        let (nested_client, nested_tenant) = body
            .client
            .map_or((None, None), |client| (client.client_id, client.tenant_id));
        Ok(Self {
            server_ref,
            client_id: one_of("client_id", body.client_id, nested_client)?,
            tenant_id: one_of("tenant_id", body.tenant_id, nested_tenant)?,
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
    let value = top.or(nested);
    if value
        .as_ref()
        .is_some_and(|id| id.chars().count() > MAX_ID_CHARS)
    {
        let detail = format!("{member}: is longer than {MAX_ID_CHARS} characters");
        return Err(Problem::request_invalid(detail));
    }
    Ok(value)
}

impl From<Ticket> for Answer {
    fn from(ticket: Ticket) -> Self {
        let server = ticket.claims.server;
        Self {
            descriptor: ticket.descriptor,
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

/// The client is named only where it proved to be that client.
fn log_denial(request: &ConnectRequest, client_id: Option<&str>, denial: &Denial) {
    let known = *denial != Denial::CallerUnauthenticated;
    log::info(
        "connect",
        &[
            ("decision", "denied"),
            ("code", denial.code()),
            ("server_id", request.server_ref.name.as_str()),
            ("client_id", client_id.filter(|_| known).unwrap_or_default()),
        ],
    );
}

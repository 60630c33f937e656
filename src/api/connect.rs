use std::collections::BTreeMap;

use http::StatusCode;
use mcp_connect_catalog::ServerRef;
use mcp_connect_descriptor::Confirmation;
use serde::{Deserialize, Serialize};

use super::{
    App, access_tokens, call::Call, gating, key_use, limits::Visitor, problem::Problem, respond,
    signing_key,
};
use crate::{
    authority::{
        Caller, ConnectRequest, Possession, PossessionFault, Presented, Ticket, admit,
        authenticate, bind_to_certificate, decide, mint,
    },
    platform::{
        http::{Response, certificate_facts},
        log,
        metrics::{self, DataPoint},
        now_millis, random_bytes, signer,
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    server_ref: String,
    client_id: Option<String>,
    tenant_id: Option<String>,
    /// A map, since a derived struct would accept a list of its members, too.
    client: Option<BTreeMap<String, Option<String>>>,
    bind: Option<String>,
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

pub(crate) async fn connect(call: &Call) -> Result<Response, Problem> {
    let begun = now_millis();
    let mut record = Record::default();
    let answer = answer(call, &mut record).await;
    let problem = answer.as_ref().err();
    record.write(&call.app, problem, now_millis().saturating_sub(begun));
    respond(StatusCode::OK, &answer?)
}

/// Counts a connect that a limit stopped before it was looked at.
pub(crate) fn refused_on_entry(app: &App, visitor: &Visitor, limited: &Problem, begun: u64) {
    let record = Record {
        caller: visitor.client(),
        ..Record::default()
    };
    record.write(app, Some(limited), now_millis().saturating_sub(begun));
}

async fn answer(call: &Call, record: &mut Record) -> Result<Answer, Problem> {
    let (app, visitor, presented) = (&call.app, &call.visitor, &call.credential());
    let issuing = app.settings.issuing()?;
    let admission = issuing.admission;
    // A stranger costs no query.
    admit(presented, admission)?;
    // From before the facts are read: no descriptor looks younger than what it was decided by.
    let now = now_millis();
    let body = call.json::<Body>()?;
    let endpoint = format!("{}/v1/connect", issuing.issuer);
    let possession = Possession::read(
        call.head.dpop.as_deref(),
        body.bind.as_deref(),
        &endpoint,
        now / 1000,
    )?;
    let request = ConnectRequest::try_from(body)?;
    record.server_id = request.server_ref.name.to_string();

    let mut facts = app
        .store
        .connect_facts(&request, presented, issuing.keys)
        .await?;
    let caller = match presented {
        Presented::AccessToken(token) => {
            access_tokens::authenticate(app, token, &facts.provider).await?
        }
        other => authenticate(other, facts.key.take(), admission, now),
    }
    .inspect_err(|_| visitor.is_nobody())?;
    if let Presented::ApiKey(key) = presented {
        key_use::note(app, key.key_id());
    }
    let caller = record.caller.insert(caller);
    if let Some(client_id) = &caller.client_id {
        let tenant_id = caller.tenant_id.as_deref();
        visitor.is_client(app, client_id, tenant_id).await?;
    }
    let grant = decide(&request, caller, &facts, admission, now)
        .inspect_err(|denial| record.rule = denial.rule())?;
    let key = signing_key(issuing.keys, &facts.revoked_keys)?;
    gating::admit(app, issuing.health_gating, &grant.endpoint).await?;
    let ticket = mint(
        grant,
        prove(call, possession).await?,
        issuing.issuer,
        key,
        issuing.lifetime,
        now / 1000,
        random_bytes()?,
    )
    .map_err(|error| Problem::authority_unavailable("minting_failed", &error.to_string()))?;

    let descriptor = signer::sign(issuing.keys, key, &ticket.unsigned).await?;
    let claims = &ticket.claims;
    record.granted = Some((claims.jti.clone(), claims.server.version.clone()));
    Ok(Answer::new(descriptor, ticket))
}

/// What the descriptor is bound to, proven.
async fn prove(call: &Call, possession: Possession<'_>) -> Result<Option<Confirmation>, Problem> {
    Ok(match possession {
        Possession::Nothing => None,
        Possession::Certificate => Some(bind_to_certificate(&certificate_facts(&call.request))?),
        Possession::Key(proof) if signer::is_signed(&proof).await => {
            Some(Confirmation::Jkt(proof.thumbprint()))
        }
        Possession::Key(_) => return Err(PossessionFault::signature().into()),
    })
}

impl From<PossessionFault> for Problem {
    fn from(fault: PossessionFault) -> Self {
        Self::request_invalid(fault.to_string())
    }
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

/// What is known of a connect by the time of its answer.
#[derive(Default)]
struct Record {
    server_id: String,
    /// Only where it proved to be that.
    caller: Option<Caller>,
    /// Of what denied it.
    rule: Option<String>,
    /// The descriptor's id, and the version it is for.
    granted: Option<(String, String)>,
}

impl Record {
    /// One line in the log, one data point, and the counters.
    fn write(&self, app: &App, problem: Option<&Problem>, milliseconds: u64) {
        let code = problem.map_or("ok", Problem::code);
        let caller = self.caller.as_ref();
        let client_id = caller.and_then(|caller| caller.client_id.as_deref());
        let tenant_id = caller.and_then(|caller| caller.tenant_id.as_deref());
        let (client_id, tenant_id) = (client_id.unwrap_or_default(), tenant_id.unwrap_or_default());

        metrics::count(metrics::connected(code));
        metrics::connect_took(milliseconds);
        app.dataset.write(&DataPoint {
            code,
            // What nobody has registered is anybody's invention.
            server_id: if code == "server_not_found" {
                ""
            } else {
                &self.server_id
            },
            client_id,
            tenant_id,
            milliseconds,
        });

        let decision = match problem {
            // The limits log that, now and then.
            Some(problem) if problem.is_rate_limited() => return,
            Some(problem) if problem.is_ours() => "failed",
            Some(_) => "denied",
            None => "granted",
        };
        let mut members = vec![
            ("decision", decision),
            ("code", code),
            ("server_id", &self.server_id),
            ("client_id", client_id),
            ("tenant_id", tenant_id),
        ];
        members.extend(self.rule.as_deref().map(|rule| ("rule", rule)));
        if let Some((jti, version)) = &self.granted {
            members.extend([("jti", jti.as_str()), ("version", version)]);
        }
        log::info("connect", &members);
    }
}

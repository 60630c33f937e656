//! The policy for all, and each tenant's: the same endpoints, with the tenant in the path.

use http::StatusCode;
use mcp_connect_catalog::ServerRef;
use mcp_connect_descriptor::strict_json;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::to_raw_value};

use super::{
    Changed, check_reason,
    clients::{check_client_id, check_id},
    list_answer,
    tenants::{self, tenant_id},
};
use crate::{
    api::{
        App,
        call::{Auditor, Call, Operator},
        gating,
        problem::Problem,
        respond, signing_key,
    },
    authority::{
        Caller, ConnectRequest, Denial, Facts, Finding, Grant, Level, Obstacle, PolicyDocument,
        Presented, Scope, authenticate, decide, policy_findings,
    },
    platform::{Issuing, http::Response, iso_date, now_millis},
    store::{NewPolicy, PolicyScope, PolicyVersion, PolicyWrite, Row},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteBody {
    #[serde(deserialize_with = "strict_json::object")]
    policy: PolicyDocument,
    reason: String,
    /// The version that this policy was made of.
    if_version: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainBody {
    server_ref: String,
    client_id: Option<String>,
    tenant_id: Option<String>,
}

/// What connect would say now, and why.
#[derive(Serialize)]
struct Explanation {
    decision: &'static str,
    code: &'static str,
    /// What the caller is told of a denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The rule that decided, where one of a policy did.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// What denied: that rule, or the state that stood before all rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    caller: ExplainedCaller,
    server: ExplainedServer,
    /// What each group of rules says, decisive or not.
    findings: Vec<ExplainedFinding>,
}

#[derive(Serialize)]
struct ExplainedCaller {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
}

#[derive(Serialize)]
struct ExplainedServer {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// How far it was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
}

#[derive(Serialize)]
struct ExplainedFinding {
    scope: &'static str,
    group: &'static str,
    permits: bool,
    because: String,
}

pub(crate) async fn show(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let scope = scope(call)?;
    let version = call
        .query("version")?
        .map(|version| version.parse::<u32>())
        .transpose()
        .map_err(|_| Problem::request_invalid("version: must be a whole number"))?;
    let policy = match call.app.store.policy(scope, version).await? {
        Some(policy) => policy,
        None if version.unwrap_or(0) == 0 => {
            check_exists(scope, &call.app).await?;
            unwritten()?
        }
        None => {
            check_exists(scope, &call.app).await?;
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "policy_not_found",
                "version: the policy has no such version; its history lists those that it has",
            ));
        }
    };
    respond(StatusCode::OK, &policy)
}

pub(crate) async fn history(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let scope = scope(call)?;
    let limit = call.page_size()?;
    let before = call
        .query("cursor")?
        .map(|cursor| cursor.parse::<u32>())
        .transpose()
        .map_err(|_| Problem::request_invalid("cursor: is not one of this list"))?;
    let page = call.app.store.policy_history(scope, before, limit).await?;
    if page.rows.is_empty() {
        check_exists(scope, &call.app).await?;
    }
    list_answer("versions", page, |head| {
        head.number("version").unwrap_or_default().to_string()
    })
}

pub(crate) async fn write(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let scope = scope(call)?;
    let body: WriteBody = call.json()?;
    let reason = check_reason(&body.reason)?;
    let unwritable =
        |error: serde_json::Error| Problem::request_invalid(format!("policy: {error}"));
    let (document, digest) = body.policy.to_text().map_err(unwritable)?;
    let pins = body.policy.pins();
    let pins = (!pins.is_empty()).then(|| json!(pins).to_string());
    // What connect will make of it must be possible.
    body.policy
        .check_clients()
        .and_then(|()| body.policy.compile())
        .map_err(|error| Problem::request_invalid(format!("policy: {error}")))?;
    let policy = NewPolicy {
        document: &document,
        digest: &digest,
        pins: pins.as_deref(),
        if_version: body.if_version,
    };
    let written = call
        .app
        .store
        .write_policy(scope, &policy, operator.actor(), reason)
        .await?;
    let (subject, changed) = match written {
        PolicyWrite::Written(head) => (head, true),
        PolicyWrite::Unchanged(head) => (head, false),
        PolicyWrite::NoSuchTenant => return Err(tenants::not_found()),
        PolicyWrite::Outdated(version) => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "policy_changed",
                format!(
                    "if_version: the policy is at version {version} now; look at what changed, and say again what should hold"
                ),
            ));
        }
    };
    respond(StatusCode::OK, &Changed { subject, changed })
}

/// Asks the very code that decides on a connect, about the caller that is named, and goes on as connect would.
pub(crate) async fn explain(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let body: ExplainBody = call.json()?;
    let server_ref: ServerRef = body
        .server_ref
        .parse()
        .map_err(|error| Problem::request_invalid(format!("server_ref: {error}")))?;
    let request = ConnectRequest {
        server_ref,
        client_id: None,
        tenant_id: None,
    };
    if let Some(client_id) = &body.client_id {
        check_client_id("client_id", client_id)?;
    }
    if let Some(tenant_id) = &body.tenant_id {
        check_id("tenant_id", tenant_id)?;
    }
    let issuing = call.app.settings.issuing()?;
    let admission = issuing.admission;
    let (facts, registered) = call
        .app
        .store
        .facts_about(
            &request,
            body.client_id.as_deref(),
            body.tenant_id.as_deref(),
            issuing.keys,
        )
        .await?;
    let now = now_millis();
    let (caller, decision) = match (body.client_id, body.tenant_id) {
        (None, None) => {
            let caller = authenticate(&Presented::Nothing, None, admission, now);
            (Caller::default(), caller)
        }
        (client_id, tenant_id) => {
            let caller = named(client_id, tenant_id, &facts, registered)?;
            (caller.clone(), Ok(caller))
        }
    };
    let decision = decision.and_then(|caller| decide(&request, &caller, &facts, admission, now));
    let verdict = match Verdict::of(&call.app, &issuing, &facts, decision).await {
        Ok(verdict) => verdict,
        Err(denial) => Verdict::denied(&facts, denial),
    };
    let mut findings: Vec<ExplainedFinding> = verdict
        .obstacle
        .iter()
        .map(ExplainedFinding::from)
        .collect();
    if let Some(version) = &facts.version {
        let rules = policy_findings(&request, &caller, &facts, version, admission);
        findings.extend(rules.into_iter().map(ExplainedFinding::from));
    }
    respond(
        StatusCode::OK,
        &Explanation::new(&request, caller, &facts, verdict, findings),
    )
}

/// What connect answers, and what made it.
struct Verdict {
    code: &'static str,
    detail: Option<String>,
    rule: Option<String>,
    obstacle: Option<Obstacle>,
}

impl Verdict {
    /// Goes on as connect does once the rules have decided: a key has to be there that signs, and the endpoint has to
    /// answer if that is wanted.
    async fn of(
        app: &App,
        issuing: &Issuing<'_>,
        facts: &Facts,
        decision: Result<Grant, Denial>,
    ) -> Result<Self, Denial> {
        let grant = decision?;
        if let Err(problem) = signing_key(issuing.keys, &facts.revoked_keys) {
            return Ok(Self {
                code: problem.code(),
                detail: Some(problem.into_parts().1),
                rule: None,
                obstacle: Some(Obstacle::no_signing_key()),
            });
        }
        gating::admit(app, issuing.health_gating, &grant.endpoint).await?;
        Ok(Self {
            code: "ok",
            detail: None,
            rule: None,
            obstacle: None,
        })
    }

    fn denied(facts: &Facts, denial: Denial) -> Self {
        let obstacle = Obstacle::behind(&denial, facts, iso_date);
        Self {
            code: denial.code(),
            rule: denial.rule(),
            detail: Some(Problem::from(denial).into_parts().1),
            obstacle,
        }
    }
}

/// A registered client is of its own tenant; one that its tenant's identity provider vouches for
/// need not be registered.
fn named(
    client_id: Option<String>,
    tenant_id: Option<String>,
    facts: &Facts,
    registered: Option<Caller>,
) -> Result<Caller, Problem> {
    match (registered, tenant_id) {
        (Some(client), Some(tenant_id)) if client.tenant_id.as_ref() != Some(&tenant_id) => {
            Err(Problem::request_invalid(
                "tenant_id: the client is registered with another tenant; leave tenant_id out",
            ))
        }
        (Some(client), _) => Ok(client),
        (None, None) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "client_not_found",
            "client_id: no such client is registered; name the tenant, too, for one of its identity provider",
        )),
        (None, Some(_)) if facts.tenant.is_none() => Err(tenants::not_found()),
        (None, tenant_id) => Ok(Caller {
            client_id,
            tenant_id,
            is_suspended: false,
        }),
    }
}

impl Explanation {
    fn new(
        request: &ConnectRequest,
        caller: Caller,
        facts: &Facts,
        verdict: Verdict,
        findings: Vec<ExplainedFinding>,
    ) -> Self {
        let version = facts.version.as_ref();
        let Verdict {
            code,
            detail,
            rule,
            obstacle,
        } = verdict;
        let decided_by = obstacle.map(|obstacle| obstacle.because);
        Self {
            decision: if code == "ok" { "granted" } else { "denied" },
            code,
            detail,
            decided_by: decided_by.or_else(|| rule.clone()),
            rule,
            caller: ExplainedCaller {
                client_id: caller.client_id,
                tenant_id: caller.tenant_id,
            },
            server: ExplainedServer {
                id: request.server_ref.name.to_string(),
                version: version.map(|version| version.version.clone()),
                level: version.map(|version| version.level),
            },
            findings,
        }
    }
}

impl From<&Obstacle> for ExplainedFinding {
    fn from(obstacle: &Obstacle) -> Self {
        Self {
            scope: "state",
            group: obstacle.subject.as_str(),
            permits: false,
            because: obstacle.because.clone(),
        }
    }
}

impl From<(Scope, Finding<'_>)> for ExplainedFinding {
    fn from((scope, finding): (Scope, Finding<'_>)) -> Self {
        Self {
            scope: scope.as_str(),
            group: finding.group.as_str(),
            permits: finding.permits,
            because: finding.to_string(),
        }
    }
}

/// What held before the first version was written.
fn unwritten() -> Result<PolicyVersion, Problem> {
    let policy = to_raw_value(&PolicyDocument::allow_all())
        .map_err(|error| Problem::authority_unavailable("internal_fault", &error.to_string()))?;
    Ok(PolicyVersion {
        head: Row::default().with("version", 0),
        policy,
    })
}

/// Of the tenant in the path, where there is one.
fn scope(call: &Call) -> Result<PolicyScope<'_>, Problem> {
    if call.has_member("tenant_id") {
        tenant_id(call).map(PolicyScope::Tenant)
    } else {
        Ok(PolicyScope::Authority)
    }
}

async fn check_exists(scope: PolicyScope<'_>, app: &App) -> Result<(), Problem> {
    match scope {
        PolicyScope::Tenant(tenant_id) if app.store.tenant(tenant_id).await?.is_none() => {
            Err(tenants::not_found())
        }
        PolicyScope::Authority | PolicyScope::Tenant(_) => Ok(()),
    }
}

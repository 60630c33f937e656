//! The policy for all, and each tenant's: the same endpoints, with the tenant in the path.

use axum::{
    Json,
    extract::{FromRequestParts, RawPathParams},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use mcp_connect_catalog::ServerRef;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::to_raw_value};

use super::{Changed, ListQuery, check_reason, clients::check_id, list_answer, tenants};
use crate::{
    api::{
        App,
        extract::{JsonBody, Moderator, Operator, UrlQuery, page_size},
        no_store,
        problem::Problem,
    },
    authority::{
        Caller, ConnectRequest, Denial, Facts, Finding, Grant, Group, Level, PolicyDocument,
        Presented, Scope, authenticate, decide, policy_findings,
    },
    platform::now_millis,
    store::{NewPolicy, PolicyHead, PolicyScope, PolicyVersion, PolicyWrite},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteBody {
    policy: PolicyDocument,
    reason: String,
    /// The version that this policy was made of.
    if_version: Option<u32>,
}

#[derive(Deserialize)]
pub(crate) struct ShowQuery {
    version: Option<String>,
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
    scope: Scope,
    group: Group,
    permits: bool,
    because: String,
}

pub(crate) async fn show(
    app: App,
    _: Moderator,
    path: ScopePath,
    UrlQuery(query): UrlQuery<ShowQuery>,
) -> Result<Response, Problem> {
    let version = query
        .version
        .map(|version| version.parse::<u32>())
        .transpose()
        .map_err(|_| Problem::request_invalid("version: must be a whole number"))?;
    let policy = match app.store.policy(path.scope(), version).await? {
        Some(policy) => policy,
        None if version.unwrap_or(0) == 0 => {
            path.check_exists(&app).await?;
            unwritten()?
        }
        None => {
            path.check_exists(&app).await?;
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "policy_not_found",
                "version: the policy has no such version; its history lists those that it has",
            ));
        }
    };
    Ok(([no_store()], Json(policy)).into_response())
}

pub(crate) async fn history(
    app: App,
    _: Moderator,
    path: ScopePath,
    UrlQuery(query): UrlQuery<ListQuery>,
) -> Result<impl IntoResponse, Problem> {
    let limit = page_size(query.limit.as_deref())?;
    let before = query
        .cursor
        .map(|cursor| cursor.parse::<u32>())
        .transpose()
        .map_err(|_| Problem::request_invalid("cursor: is not one of this list"))?;
    let page = app
        .store
        .policy_history(path.scope(), before, limit)
        .await?;
    if page.rows.is_empty() {
        path.check_exists(&app).await?;
    }
    Ok(list_answer("versions", page, |head| {
        head.version.to_string()
    }))
}

pub(crate) async fn write(
    app: App,
    operator: Operator,
    path: ScopePath,
    JsonBody(body): JsonBody<WriteBody>,
) -> Result<impl IntoResponse, Problem> {
    let reason = check_reason(&body.reason)?;
    let unwritable =
        |error: serde_json::Error| Problem::request_invalid(format!("policy: {error}"));
    let (document, digest) = body.policy.to_text().map_err(unwritable)?;
    let pins = body.policy.pins();
    let pins = (!pins.is_empty()).then(|| json!(pins).to_string());
    // What connect will make of it must be possible.
    body.policy
        .compile()
        .map_err(|error| Problem::request_invalid(format!("policy: {error}")))?;
    let policy = NewPolicy {
        document: &document,
        digest: &digest,
        pins: pins.as_deref(),
        if_version: body.if_version,
    };
    let written = app
        .store
        .write_policy(path.scope(), &policy, operator.actor(), reason)
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
    Ok(([no_store()], Json(Changed { subject, changed })))
}

/// Asks the very code that decides on a connect, about the caller that is named.
pub(crate) async fn explain(
    app: App,
    _: Moderator,
    JsonBody(body): JsonBody<ExplainBody>,
) -> Result<impl IntoResponse, Problem> {
    let server_ref: ServerRef = body
        .server_ref
        .parse()
        .map_err(|error| Problem::request_invalid(format!("server_ref: {error}")))?;
    let request = ConnectRequest {
        server_ref,
        client_id: None,
        tenant_id: None,
    };
    for (member, id) in [
        ("client_id", &body.client_id),
        ("tenant_id", &body.tenant_id),
    ] {
        if let Some(id) = id {
            check_id(member, id)?;
        }
    }
    let admission = app.settings.issuing()?.admission;
    let (facts, registered) = app
        .store
        .facts_about(
            &request,
            body.client_id.as_deref(),
            body.tenant_id.as_deref(),
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
    let findings = facts.version.as_ref().map(|version| {
        policy_findings(&request, &caller, &facts, version, admission)
            .into_iter()
            .map(ExplainedFinding::from)
            .collect()
    });
    let explanation = Explanation::new(
        &request,
        caller,
        &facts,
        &decision,
        findings.unwrap_or_default(),
    );
    Ok(([no_store()], Json(explanation)))
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
        decision: &Result<Grant, Denial>,
        findings: Vec<ExplainedFinding>,
    ) -> Self {
        let version = facts.version.as_ref();
        let denial = decision.as_ref().err();
        Self {
            decision: denial.map_or("granted", |_| "denied"),
            code: denial.map_or("ok", Denial::code),
            detail: denial.map(ToString::to_string),
            rule: denial.and_then(Denial::rule),
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

impl From<(Scope, Finding<'_>)> for ExplainedFinding {
    fn from((scope, finding): (Scope, Finding<'_>)) -> Self {
        Self {
            scope,
            group: finding.group,
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
        head: PolicyHead::default(),
        policy,
    })
}

/// `{tenant_id}` of a path that has it.
pub(crate) struct ScopePath(Option<String>);

impl ScopePath {
    fn scope(&self) -> PolicyScope<'_> {
        self.0
            .as_deref()
            .map_or(PolicyScope::Authority, PolicyScope::Tenant)
    }

    async fn check_exists(&self, app: &App) -> Result<(), Problem> {
        match &self.0 {
            Some(tenant_id) if app.store.tenant(tenant_id).await?.is_none() => {
                Err(tenants::not_found())
            }
            _ => Ok(()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ScopePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|error| {
                Problem::request_invalid(format!("the path: {}", error.body_text()))
            })?;
        let tenant_id = params.iter().find(|(name, _)| *name == "tenant_id");
        let Some((_, tenant_id)) = tenant_id else {
            return Ok(Self(None));
        };
        check_id("tenant_id", tenant_id)?;
        Ok(Self(Some(tenant_id.to_owned())))
    }
}

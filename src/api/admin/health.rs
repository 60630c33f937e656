//! Whether a server's endpoint answers as an MCP server.

use http::StatusCode;
use mcp_connect_catalog::ServerName;
use serde_json::json;

use crate::{
    api::{
        App,
        call::{Auditor, Call, Moderator},
        problem::Problem,
        respond,
    },
    authority::{Denial, Verdict},
    platform::{http::Response, iso_date},
    upkeep,
};

/// What the last probe said, if there was one.
pub(crate) async fn show(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let name = call.server_name()?;
    let endpoint = endpoint(&call.app, &name).await?;
    let verdict = call.app.store.verdict(&endpoint).await;
    answer(&call.app, &name, &endpoint, verdict.as_ref())
}

/// Asks now. A failure counts as one of the cron's would.
pub(crate) async fn probe(call: &Call, _: &Moderator) -> Result<Response, Problem> {
    let name = call.server_name()?;
    let endpoint = endpoint(&call.app, &name).await?;
    let known = call.app.store.verdict(&endpoint).await;
    let rules = call.app.settings.endpoint_rules();
    let renewed = upkeep::health::renew(&endpoint, known.as_ref(), rules).await;
    if let Some(renewed) = &renewed {
        call.app.store.keep_verdict(&endpoint, renewed).await;
    }
    answer(&call.app, &name, &endpoint, renewed.or(known).as_ref())
}

/// Of the default version.
async fn endpoint(app: &App, name: &ServerName) -> Result<String, Problem> {
    app.store
        .candidate(name)
        .await?
        .ok_or_else(Problem::server_not_found)?
        .endpoint
        .ok_or_else(|| Denial::TransportNotSupported.into())
}

fn answer(
    app: &App,
    name: &ServerName,
    endpoint: &str,
    verdict: Option<&Verdict>,
) -> Result<Response, Problem> {
    let mut body = json!({
        "id": name.as_str(),
        "endpoint": endpoint,
        "gating": app.settings.health_gating()?,
        "health": "unknown",
    });
    if let (Some(verdict), Some(members)) = (verdict, body.as_object_mut()) {
        members.insert("health".into(), json!(verdict.health()));
        members.insert("checked_at".into(), iso_date(verdict.checked_at).into());
        members.insert("failures".into(), verdict.failures.into());
        if let Some(at) = verdict.last_success {
            members.insert("last_success".into(), iso_date(at).into());
        }
        if let Some(reason) = &verdict.reason {
            members.insert("reason".into(), reason.as_str().into());
        }
    }
    respond(StatusCode::OK, &body)
}

//! Whether a server's endpoint answers as an MCP server.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use mcp_connect_catalog::ServerName;
use serde_json::json;

use crate::{
    api::{
        App,
        extract::{Moderator, NamePath},
        no_store,
        problem::Problem,
    },
    authority::{Denial, Verdict},
    platform::iso_date,
    upkeep,
};

/// What the last probe said, if there was one.
pub(crate) async fn show(
    app: App,
    _: Moderator,
    NamePath(name): NamePath,
) -> Result<Response, Problem> {
    let endpoint = endpoint(&app, &name).await?;
    let verdict = app.store.verdict(&endpoint).await;
    answer(&app, &name, &endpoint, verdict.as_ref())
}

/// Asks now. A failure counts as one of the cron's would.
pub(crate) async fn probe(
    app: App,
    _: Moderator,
    NamePath(name): NamePath,
) -> Result<Response, Problem> {
    let endpoint = endpoint(&app, &name).await?;
    let known = app.store.verdict(&endpoint).await;
    let rules = app.settings.endpoint_rules();
    let renewed = upkeep::health::renew(&endpoint, known.as_ref(), rules).await;
    if let Some(renewed) = &renewed {
        app.store.keep_verdict(&endpoint, renewed).await;
    }
    answer(&app, &name, &endpoint, renewed.or(known).as_ref())
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
    Ok(([no_store()], Json(body)).into_response())
}

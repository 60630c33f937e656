use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use mcp_connect_catalog::ServerRef;
use serde::Deserialize;

use super::{Changed, ReasonBody, check_reason, drop_edge_copy, expiry, list_answer};
use crate::{
    api::{
        App,
        extract::{JsonBody, Moderator, RefPath, UrlQuery, page_size},
        no_store,
        problem::Problem,
    },
    store::{ModerationChange, ModerationFilter, ModerationOutcome},
};

const MAX_NAMESPACE_CHARS: usize = 200;

/// A hold that ends by itself is a quarantine; a revocation takes somebody to end it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuarantineBody {
    reason: String,
    expires_in: Option<u64>,
    expires_at: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    state: Option<String>,
    namespace: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

pub(crate) async fn quarantine(
    app: App,
    moderator: Moderator,
    RefPath(reference): RefPath,
    JsonBody(body): JsonBody<QuarantineBody>,
) -> Result<Response, Problem> {
    let until = expiry(body.expires_at.as_deref(), body.expires_in)?;
    let change = ModerationChange::Quarantine(until);
    moderate(&app, &moderator, &reference, change, &body.reason).await
}

pub(crate) async fn revoke(
    app: App,
    moderator: Moderator,
    RefPath(reference): RefPath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<Response, Problem> {
    let change = ModerationChange::Revoke;
    moderate(&app, &moderator, &reference, change, &body.reason).await
}

pub(crate) async fn reinstate(
    app: App,
    moderator: Moderator,
    RefPath(reference): RefPath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<Response, Problem> {
    let change = ModerationChange::Reinstate;
    moderate(&app, &moderator, &reference, change, &body.reason).await
}

async fn moderate(
    app: &App,
    moderator: &Moderator,
    reference: &ServerRef,
    change: ModerationChange,
    reason: &str,
) -> Result<Response, Problem> {
    let reason = check_reason(reason)?;
    let outcome = app
        .store
        .moderate(reference, change, moderator.actor(), reason)
        .await?
        .ok_or_else(Problem::server_not_found)?;
    let (subject, changed) = match outcome {
        ModerationOutcome::Done(subject, changed) => (subject, changed),
        ModerationOutcome::IsRevoked => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "already_revoked",
                "it is revoked, which is more than a quarantine; reinstate it first",
            ));
        }
    };
    drop_edge_copy(app, &reference.name).await;
    Ok(([no_store()], Json(Changed { subject, changed })).into_response())
}

pub(crate) async fn list(
    app: App,
    _: Moderator,
    UrlQuery(query): UrlQuery<ListQuery>,
) -> Result<impl IntoResponse, Problem> {
    let limit = page_size(query.limit.as_deref())?;
    let state = query.state.as_deref();
    if state.is_some_and(|state| !matches!(state, "quarantined" | "revoked")) {
        return Err(Problem::request_invalid(
            "state: must be \"quarantined\" or \"revoked\"",
        ));
    }
    let namespace = query.namespace.as_deref();
    if namespace.is_some_and(|namespace| {
        namespace.is_empty() || namespace.len() > MAX_NAMESPACE_CHARS || namespace.contains('/')
    }) {
        return Err(Problem::request_invalid(
            "namespace: must be what stands before the \"/\" of a server's name",
        ));
    }
    let after: Option<ServerRef> = query
        .cursor
        .map(|cursor| cursor.parse())
        .transpose()
        .map_err(|_| Problem::request_invalid("cursor: is not one of this list"))?;
    let filter = ModerationFilter {
        state,
        namespace,
        after: after.as_ref(),
    };
    let page = app.store.list_moderated(&filter, limit).await?;
    Ok(list_answer("moderated", page, |last| {
        last.server_ref.clone()
    }))
}

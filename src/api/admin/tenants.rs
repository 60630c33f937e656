use axum::{
    Json,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use serde::Deserialize;

use super::{
    Changed, ListQuery, ReasonBody, check_name, check_reason, clients::check_id, list_answer,
};
use crate::{
    api::{
        App,
        extract::{JsonBody, Moderator, Operator, UrlQuery, page_size, path_members},
        no_store,
        problem::Problem,
    },
    store::{Status, StoreError},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    tenant_id: String,
    name: Option<String>,
}

pub(crate) async fn create(
    app: App,
    operator: Operator,
    JsonBody(body): JsonBody<CreateBody>,
) -> Result<impl IntoResponse, Problem> {
    check_id("tenant_id", &body.tenant_id)?;
    if let Some(name) = &body.name {
        check_name("name", name)?;
    }
    let tenant = app
        .store
        .create_tenant(&body.tenant_id, body.name.as_deref(), operator.actor())
        .await
        .map_err(|error| match error {
            StoreError::Conflict(constraint) if constraint.contains("tenants.tenant_id") => {
                Problem::new(
                    StatusCode::CONFLICT,
                    "tenant_exists",
                    "tenant_id: is taken; choose another",
                )
            }
            other => other.into(),
        })?;
    Ok((StatusCode::CREATED, [no_store()], Json(tenant)))
}

pub(crate) async fn list(
    app: App,
    _: Moderator,
    UrlQuery(query): UrlQuery<ListQuery>,
) -> Result<impl IntoResponse, Problem> {
    let limit = page_size(query.limit.as_deref())?;
    if let Some(cursor) = &query.cursor {
        check_id("cursor", cursor)?;
    }
    let page = app
        .store
        .list_tenants(query.cursor.as_deref(), limit)
        .await?;
    Ok(list_answer("tenants", page, |tenant| {
        tenant.tenant_id.clone()
    }))
}

pub(crate) async fn show(
    app: App,
    _: Moderator,
    TenantPath(tenant_id): TenantPath,
) -> Result<impl IntoResponse, Problem> {
    let tenant = app.store.tenant(&tenant_id).await?;
    Ok(([no_store()], Json(tenant.ok_or_else(not_found)?)))
}

pub(crate) async fn suspend(
    app: App,
    operator: Operator,
    TenantPath(tenant_id): TenantPath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<impl IntoResponse, Problem> {
    set_status(app, operator, &tenant_id, Status::Suspended, &body).await
}

pub(crate) async fn resume(
    app: App,
    operator: Operator,
    TenantPath(tenant_id): TenantPath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<impl IntoResponse, Problem> {
    set_status(app, operator, &tenant_id, Status::Active, &body).await
}

async fn set_status(
    app: App,
    operator: Operator,
    tenant_id: &str,
    status: Status,
    body: &ReasonBody,
) -> Result<Response, Problem> {
    let reason = check_reason(&body.reason)?;
    let (subject, changed) = app
        .store
        .set_tenant_status(tenant_id, status, operator.actor(), reason)
        .await?
        .ok_or_else(not_found)?;
    Ok(([no_store()], Json(Changed { subject, changed })).into_response())
}

pub(super) fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "tenant_not_found",
        "no such tenant; create it first, with POST /v1/admin/tenants",
    )
}

/// `{tenant_id}` of a path.
pub(crate) struct TenantPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for TenantPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let tenant_id: String = path_members(parts, state).await?;
        check_id("tenant_id", &tenant_id)?;
        Ok(Self(tenant_id))
    }
}

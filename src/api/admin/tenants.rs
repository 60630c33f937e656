use http::StatusCode;
use serde::Deserialize;

use super::{
    Changed, ReasonBody, check_name, check_reason, check_reason_given, clients::check_id,
    list_answer,
};
use crate::{
    api::{
        call::{Auditor, Call, Operator},
        problem::Problem,
        respond,
    },
    platform::http::Response,
    store::{Status, StoreError},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    tenant_id: String,
    name: Option<String>,
    reason: Option<String>,
}

pub(crate) async fn create(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let body: CreateBody = call.json()?;
    check_id("tenant_id", &body.tenant_id)?;
    if let Some(name) = &body.name {
        check_name("name", name)?;
    }
    let reason = check_reason_given(body.reason.as_deref())?;
    let tenant = call
        .app
        .store
        .create_tenant(
            &body.tenant_id,
            body.name.as_deref(),
            operator.actor(),
            reason,
        )
        .await
        .map_err(|error| match error {
            StoreError::Conflict(constraint) if constraint.contains("tenants.tenant_id") => {
                Problem::new(
                    StatusCode::CONFLICT,
                    "tenant_exists",
                    format!(
                        "the tenant_id {} is taken: there is already such a tenant",
                        body.tenant_id
                    ),
                )
            }
            other => other.into(),
        })?;
    respond(StatusCode::CREATED, &tenant)
}

pub(crate) async fn list(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let limit = call.page_size()?;
    let cursor = call.query("cursor")?;
    if let Some(cursor) = &cursor {
        check_id("cursor", cursor)?;
    }
    let page = call
        .app
        .store
        .list_tenants(cursor.as_deref(), limit)
        .await?;
    list_answer("tenants", page, |tenant| {
        tenant.text("tenant_id").to_owned()
    })
}

pub(crate) async fn show(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let tenant_id = tenant_id(call)?;
    let tenant = call.app.store.tenant(tenant_id).await?;
    respond(StatusCode::OK, &tenant.ok_or_else(not_found)?)
}

pub(crate) async fn suspend(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    set_status(call, operator, Status::Suspended).await
}

pub(crate) async fn resume(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    set_status(call, operator, Status::Active).await
}

async fn set_status(call: &Call, operator: &Operator, status: Status) -> Result<Response, Problem> {
    let tenant_id = tenant_id(call)?;
    let body: ReasonBody = call.json()?;
    let reason = check_reason(&body.reason)?;
    let (subject, changed) = call
        .app
        .store
        .set_tenant_status(tenant_id, status, operator.actor(), reason)
        .await?
        .ok_or_else(not_found)?;
    respond(StatusCode::OK, &Changed { subject, changed })
}

pub(super) fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "tenant_not_found",
        "no such tenant; create it first, or look for it in GET /v1/admin/tenants",
    )
}

/// `{tenant_id}` of the path.
pub(super) fn tenant_id(call: &Call) -> Result<&str, Problem> {
    let tenant_id = call.member("tenant_id");
    check_id("tenant_id", tenant_id)?;
    Ok(tenant_id)
}

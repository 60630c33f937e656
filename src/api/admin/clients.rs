use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{
    Changed, ReasonBody, check_name, check_reason, check_reason_given, list_answer, new_key,
    tenants,
};
use crate::{
    api::{
        call::{Auditor, Call, Moderator, Operator},
        problem::Problem,
        respond,
    },
    authority::{ApiKey, CLIENT_ID_FORM, is_client_id, is_id},
    platform::{http::Response, iso_date, random_bytes},
    store::{NewClient, Row, Status, StoreError},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    client_id: String,
    tenant_id: Option<String>,
    name: Option<String>,
    /// `false`: none, for clients that show access tokens of an identity provider.
    #[serde(default = "yes")]
    api_key: bool,
    /// Of the key, as in [`KeyBody`](super::KeyBody).
    label: Option<String>,
    expires_in: Option<u64>,
    expires_at: Option<String>,
    reason: Option<String>,
}

const fn yes() -> bool {
    true
}

#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    client: Row,
    /// Shown here and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    /// What the key is for, and when it ends, if that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

pub(crate) async fn create(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let body: CreateBody = call.json()?;
    check_client_id("client_id", &body.client_id)?;
    if let Some(tenant_id) = &body.tenant_id {
        check_id("tenant_id", tenant_id)?;
    }
    if let Some(name) = &body.name {
        check_name("name", name)?;
    }
    let reason = check_reason_given(body.reason.as_deref())?;
    let key = if body.api_key {
        Some(ApiKey::from_random(random_bytes()?, random_bytes()?))
    } else {
        None
    };
    let new_key = match &key {
        Some(key) => Some(new_key(
            key,
            body.label.as_deref(),
            body.expires_at.as_deref(),
            body.expires_in,
        )?),
        None if body.label.is_some() || body.expires_at.is_some() || body.expires_in.is_some() => {
            return Err(Problem::request_invalid(
                "api_key: is false, so there is no key for label, expires_in or expires_at; leave them out",
            ));
        }
        None => None,
    };
    let client = NewClient {
        client_id: &body.client_id,
        tenant_id: body.tenant_id.as_deref(),
        name: body.name.as_deref(),
        reason,
    };
    let client = call
        .app
        .store
        .create_client(&client, new_key.as_ref(), operator.actor())
        .await
        .map_err(|error| match error {
            StoreError::Conflict(constraint) if constraint.contains("clients.client_id") => {
                Problem::new(
                    StatusCode::CONFLICT,
                    "client_exists",
                    format!(
                        "there is already a client with the client_id {}",
                        client.client_id
                    ),
                )
            }
            StoreError::Conflict(reason) if reason.contains("no such tenant") => {
                tenants::not_found()
            }
            other => other.into(),
        })?;
    let created = Created {
        client,
        api_key: key.as_ref().map(ApiKey::reveal),
        label: new_key
            .as_ref()
            .and_then(|key| key.label.map(str::to_owned)),
        expires_at: new_key.and_then(|key| key.expires_at).map(iso_date),
    };
    respond(StatusCode::CREATED, &created)
}

pub(crate) async fn list(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let limit = call.page_size()?;
    let cursor = call.query("cursor")?;
    if let Some(cursor) = &cursor {
        check_client_id("cursor", cursor)?;
    }
    let page = call
        .app
        .store
        .list_clients(cursor.as_deref(), limit)
        .await?;
    list_answer("clients", page, |client| {
        client.text("client_id").to_owned()
    })
}

pub(crate) async fn suspend(call: &Call, moderator: &Moderator) -> Result<Response, Problem> {
    set_status(call, moderator, Status::Suspended).await
}

pub(crate) async fn resume(call: &Call, moderator: &Moderator) -> Result<Response, Problem> {
    set_status(call, moderator, Status::Active).await
}

async fn set_status(
    call: &Call,
    moderator: &Moderator,
    status: Status,
) -> Result<Response, Problem> {
    let client_id = client_id(call)?;
    let body: ReasonBody = call.json()?;
    let reason = check_reason(&body.reason)?;
    let (subject, changed) = call
        .app
        .store
        .set_client_status(client_id, status, moderator.actor(), reason)
        .await?
        .ok_or_else(client_not_found)?;
    respond(StatusCode::OK, &Changed { subject, changed })
}

/// `{client_id}` of the path.
pub(super) fn client_id(call: &Call) -> Result<&str, Problem> {
    let client_id = call.member("client_id");
    check_client_id("client_id", client_id)?;
    Ok(client_id)
}

pub(super) fn client_not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "client_not_found", "no such client")
}

pub(super) fn check_client_id(member: &str, id: &str) -> Result<(), Problem> {
    if is_client_id(id) {
        return Ok(());
    }
    Err(Problem::request_invalid(format!(
        "{member}: must be {CLIENT_ID_FORM}"
    )))
}

pub(super) fn check_id(member: &str, id: &str) -> Result<(), Problem> {
    if is_id(id) {
        return Ok(());
    }
    Err(Problem::request_invalid(format!(
        "{member}: must be 1 to 128 letters, digits, \".\", \"_\", \":\" or \"-\", and not \".\" or \"..\" alone"
    )))
}

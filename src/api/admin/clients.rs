use axum::{
    Json,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use serde::{Deserialize, Serialize};

use super::{Changed, ListQuery, ReasonBody, check_name, check_reason, list_answer, tenants};
use crate::{
    api::{
        App,
        extract::{JsonBody, Moderator, Operator, UrlQuery, page_size, path_members},
        no_store,
        problem::Problem,
    },
    authority::{ApiKey, NewKey, is_id},
    platform::random_bytes,
    store::{Client, NewClient, Status, StoreError},
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
}

const fn yes() -> bool {
    true
}

#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    client: Client,
    /// Shown here and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
}

pub(crate) async fn create(
    app: App,
    operator: Operator,
    JsonBody(body): JsonBody<CreateBody>,
) -> Result<impl IntoResponse, Problem> {
    check_id("client_id", &body.client_id)?;
    if let Some(tenant_id) = &body.tenant_id {
        check_id("tenant_id", tenant_id)?;
    }
    if let Some(name) = &body.name {
        check_name("name", name)?;
    }
    let key = if body.api_key {
        Some(ApiKey::from_random(random_bytes()?, random_bytes()?))
    } else {
        None
    };
    let new_key = key.as_ref().map(|key| NewKey {
        key,
        label: None,
        expires_at: None,
    });
    let client = NewClient {
        client_id: &body.client_id,
        tenant_id: body.tenant_id.as_deref(),
        name: body.name.as_deref(),
    };
    let client = app
        .store
        .create_client(&client, new_key.as_ref(), operator.actor())
        .await
        .map_err(|error| match error {
            StoreError::Conflict(constraint) if constraint.contains("clients.client_id") => {
                Problem::new(
                    StatusCode::CONFLICT,
                    "client_exists",
                    "client_id: is taken; choose another",
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
    };
    Ok((StatusCode::CREATED, [no_store()], Json(created)))
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
        .list_clients(query.cursor.as_deref(), limit)
        .await?;
    Ok(list_answer("clients", page, |client| {
        client.client_id.clone()
    }))
}

pub(crate) async fn suspend(
    app: App,
    moderator: Moderator,
    ClientPath(client_id): ClientPath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<impl IntoResponse, Problem> {
    set_status(app, moderator, &client_id, Status::Suspended, &body).await
}

pub(crate) async fn resume(
    app: App,
    moderator: Moderator,
    ClientPath(client_id): ClientPath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<impl IntoResponse, Problem> {
    set_status(app, moderator, &client_id, Status::Active, &body).await
}

async fn set_status(
    app: App,
    moderator: Moderator,
    client_id: &str,
    status: Status,
    body: &ReasonBody,
) -> Result<Response, Problem> {
    let reason = check_reason(&body.reason)?;
    let (client, changed) = app
        .store
        .set_client_status(client_id, status, moderator.actor(), reason)
        .await?
        .ok_or_else(client_not_found)?;
    Ok((
        [no_store()],
        Json(Changed {
            subject: client,
            changed,
        }),
    )
        .into_response())
}

/// `{client_id}` of a path.
pub(crate) struct ClientPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for ClientPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let client_id: String = path_members(parts, state).await?;
        check_id("client_id", &client_id)?;
        Ok(Self(client_id))
    }
}

pub(super) fn client_not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "client_not_found", "no such client")
}

pub(super) fn check_id(member: &str, id: &str) -> Result<(), Problem> {
    if is_id(id) {
        return Ok(());
    }
    Err(Problem::request_invalid(format!(
        "{member}: must be 1 to 128 letters, digits, \".\", \"_\", \":\" or \"-\""
    )))
}

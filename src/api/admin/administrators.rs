use axum::{
    Json,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Changed, KeyBody, ListQuery, ReasonBody, check_reason, list_answer, new_key};
use crate::{
    api::{
        App,
        extract::{JsonBody, Moderator, Operator, UrlQuery, page_size, path_members},
        no_store,
        problem::Problem,
    },
    authority::{AdministratorKey, Role, check_administrator_name, is_access_identity, is_key_id},
    platform::random_bytes,
    store::{AdministratorChange, StoreError},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    name: String,
    role: Role,
    /// Of the first key, as in [`KeyBody`].
    label: Option<String>,
    expires_in: Option<u64>,
    expires_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleBody {
    role: Role,
    reason: String,
}

/// Something new, with its key: shown here and never again.
#[derive(Serialize)]
struct Created<T> {
    #[serde(flatten)]
    subject: T,
    key: String,
}

pub(crate) async fn whoami(administrator: Moderator) -> impl IntoResponse {
    let body = json!({ "name": administrator.actor(), "role": administrator.role() });
    ([no_store()], Json(body))
}

pub(crate) async fn create(
    app: App,
    operator: Operator,
    JsonBody(body): JsonBody<CreateBody>,
) -> Result<impl IntoResponse, Problem> {
    check_administrator("name", &body.name)?;
    let secret = AdministratorKey::from_random(random_bytes()?, random_bytes()?);
    let key = new_key(
        &secret,
        body.label.as_deref(),
        body.expires_at.as_deref(),
        body.expires_in,
    )?;
    let subject = app
        .store
        .create_administrator(&body.name, body.role, &key, operator.actor())
        .await
        .map_err(|error| match error {
            StoreError::Conflict(constraint) if constraint.contains("administrators.name") => {
                Problem::new(
                    StatusCode::CONFLICT,
                    "administrator_exists",
                    "name: is taken; choose another",
                )
            }
            other => other.into(),
        })?;
    let key = secret.reveal();
    let created = Created { subject, key };
    Ok((StatusCode::CREATED, [no_store()], Json(created)))
}

pub(crate) async fn list(
    app: App,
    _: Moderator,
    UrlQuery(query): UrlQuery<ListQuery>,
) -> Result<impl IntoResponse, Problem> {
    let limit = page_size(query.limit.as_deref())?;
    if let Some(cursor) = &query.cursor {
        check_administrator("cursor", cursor)?;
    }
    let page = app
        .store
        .list_administrators(query.cursor.as_deref(), limit)
        .await?;
    Ok(list_answer("administrators", page, |record| {
        record.name.clone()
    }))
}

pub(crate) async fn suspend(
    app: App,
    operator: Operator,
    AdministratorPath(name): AdministratorPath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<Response, Problem> {
    let change = AdministratorChange::Suspend;
    self::change(&app, &operator, &name, change, &body.reason).await
}

pub(crate) async fn resume(
    app: App,
    operator: Operator,
    AdministratorPath(name): AdministratorPath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<Response, Problem> {
    let change = AdministratorChange::Resume;
    self::change(&app, &operator, &name, change, &body.reason).await
}

pub(crate) async fn set_role(
    app: App,
    operator: Operator,
    AdministratorPath(name): AdministratorPath,
    JsonBody(body): JsonBody<RoleBody>,
) -> Result<Response, Problem> {
    let change = AdministratorChange::Role(body.role);
    self::change(&app, &operator, &name, change, &body.reason).await
}

/// Left out: Cloudflare Access lets the administrator in no more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessBody {
    access_identity: Option<String>,
    reason: String,
}

pub(crate) async fn set_access_identity(
    app: App,
    operator: Operator,
    AdministratorPath(name): AdministratorPath,
    JsonBody(body): JsonBody<AccessBody>,
) -> Result<Response, Problem> {
    let reason = check_reason(&body.reason)?;
    let identity = body
        .access_identity
        .map(|identity| identity.to_ascii_lowercase());
    if !identity.as_deref().is_none_or(is_access_identity) {
        return Err(Problem::request_invalid(
            "access_identity: must be an e-mail address or the name of a service token, at most 254 characters",
        ));
    }
    let (subject, changed) = app
        .store
        .set_access_identity(
            &name,
            identity.as_deref(),
            app.doors(),
            operator.actor(),
            reason,
        )
        .await
        .map_err(|error| match error {
            StoreError::Conflict(constraint) if constraint.contains("access_identity") => {
                Problem::new(
                    StatusCode::CONFLICT,
                    "access_identity_taken",
                    "access_identity: is another administrator's",
                )
            }
            other => other.into(),
        })?
        .ok_or_else(administrator_not_found)?;
    Ok(([no_store()], Json(Changed { subject, changed })).into_response())
}

async fn change(
    app: &App,
    operator: &Operator,
    name: &str,
    change: AdministratorChange,
    reason: &str,
) -> Result<Response, Problem> {
    let reason = check_reason(reason)?;
    let (subject, changed) = app
        .store
        .change_administrator(name, change, app.doors(), operator.actor(), reason)
        .await?
        .ok_or_else(administrator_not_found)?;
    Ok(([no_store()], Json(Changed { subject, changed })).into_response())
}

pub(crate) async fn create_key(
    app: App,
    operator: Operator,
    AdministratorPath(name): AdministratorPath,
    JsonBody(body): JsonBody<KeyBody>,
) -> Result<impl IntoResponse, Problem> {
    let secret = AdministratorKey::from_random(random_bytes()?, random_bytes()?);
    let key = new_key(
        &secret,
        body.label.as_deref(),
        body.expires_at.as_deref(),
        body.expires_in,
    )?;
    let subject = app
        .store
        .create_administrator_key(&name, &key, operator.actor())
        .await?
        .ok_or_else(administrator_not_found)?;
    let key = secret.reveal();
    let created = Created { subject, key };
    Ok((StatusCode::CREATED, [no_store()], Json(created)))
}

pub(crate) async fn list_keys(
    app: App,
    _: Moderator,
    AdministratorPath(name): AdministratorPath,
) -> Result<impl IntoResponse, Problem> {
    let keys = app
        .store
        .list_administrator_keys(&name)
        .await?
        .ok_or_else(administrator_not_found)?;
    Ok(([no_store()], Json(json!({ "keys": keys }))))
}

pub(crate) async fn revoke_key(
    app: App,
    operator: Operator,
    KeyPath { name, key_id }: KeyPath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<impl IntoResponse, Problem> {
    let reason = check_reason(&body.reason)?;
    let (subject, changed) = app
        .store
        .revoke_administrator_key(&name, &key_id, app.doors(), operator.actor(), reason)
        .await?
        .ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "key_not_found",
                "the administrator has no such key",
            )
        })?;
    Ok(([no_store()], Json(Changed { subject, changed })))
}

fn administrator_not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "administrator_not_found",
        "no such administrator",
    )
}

fn check_administrator(member: &str, name: &str) -> Result<(), Problem> {
    check_administrator_name(name)
        .map_err(|error| Problem::request_invalid(format!("{member}: {error}")))
}

/// `{name}` of a path.
pub(crate) struct AdministratorPath(String);

impl<S: Send + Sync> FromRequestParts<S> for AdministratorPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let name: String = path_members(parts, state).await?;
        check_administrator("name", &name)?;
        Ok(Self(name))
    }
}

/// `{name}/keys/{key_id}` of a path.
pub(crate) struct KeyPath {
    name: String,
    key_id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (name, key_id): (String, String) = path_members(parts, state).await?;
        check_administrator("name", &name)?;
        if !is_key_id(&key_id) {
            return Err(Problem::request_invalid(
                "key_id: is the 16 characters after \"mcpa_\" of a key",
            ));
        }
        Ok(Self { name, key_id })
    }
}

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Changed, KeyBody, ReasonBody, check_reason, check_reason_given, list_answer, new_key, rotation,
};
use crate::{
    api::{
        call::{Auditor, Call, MetricsReader, Operator},
        problem::Problem,
        respond,
    },
    authority::{
        AdministratorKey, NewKey, Role, check_administrator_name, is_access_identity, is_key_id,
    },
    platform::{http::Response, random_bytes},
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
    reason: Option<String>,
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

pub(crate) async fn whoami(_: &Call, administrator: &MetricsReader) -> Result<Response, Problem> {
    let body = json!({ "name": administrator.name(), "role": administrator.role() });
    respond(StatusCode::OK, &body)
}

pub(crate) async fn create(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let body: CreateBody = call.json()?;
    check_administrator("name", &body.name)?;
    let reason = check_reason_given(body.reason.as_deref())?;
    let secret = AdministratorKey::from_random(random_bytes()?, random_bytes()?);
    let key = new_key(
        &secret,
        body.label.as_deref(),
        body.expires_at.as_deref(),
        body.expires_in,
    )?;
    let subject = call
        .app
        .store
        .create_administrator(&body.name, body.role, &key, operator.actor(), reason)
        .await
        .map_err(|error| match error {
            StoreError::Conflict(constraint) if constraint.contains("administrators.name") => {
                Problem::new(
                    StatusCode::CONFLICT,
                    "administrator_exists",
                    format!("there is already an administrator named {}", body.name),
                )
            }
            other => other.into(),
        })?;
    let key = secret.reveal();
    let created = Created { subject, key };
    respond(StatusCode::CREATED, &created)
}

pub(crate) async fn list(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let limit = call.page_size()?;
    let cursor = call.query("cursor")?;
    if let Some(cursor) = &cursor {
        check_administrator("cursor", cursor)?;
    }
    let page = call
        .app
        .store
        .list_administrators(cursor.as_deref(), limit)
        .await?;
    list_answer("administrators", page, |record| {
        record.text("name").to_owned()
    })
}

pub(crate) async fn suspend(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let body: ReasonBody = call.json()?;
    let change = AdministratorChange::Suspend;
    self::change(call, operator, change, &body.reason).await
}

pub(crate) async fn resume(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let body: ReasonBody = call.json()?;
    let change = AdministratorChange::Resume;
    self::change(call, operator, change, &body.reason).await
}

pub(crate) async fn set_role(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let body: RoleBody = call.json()?;
    let change = AdministratorChange::Role(body.role);
    self::change(call, operator, change, &body.reason).await
}

/// Left out: Cloudflare Access lets the administrator in no more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessBody {
    access_identity: Option<String>,
    reason: String,
}

pub(crate) async fn set_access_identity(
    call: &Call,
    operator: &Operator,
) -> Result<Response, Problem> {
    let name = administrator_name(call)?;
    let body: AccessBody = call.json()?;
    let reason = check_reason(&body.reason)?;
    let identity = body
        .access_identity
        .map(|identity| identity.to_ascii_lowercase());
    if !identity.as_deref().is_none_or(is_access_identity) {
        return Err(Problem::request_invalid(
            "access_identity: must be an e-mail address or the name of a service token, at most 254 characters",
        ));
    }
    let (subject, changed) = call
        .app
        .store
        .set_access_identity(
            name,
            identity.as_deref(),
            call.app.doors(),
            operator.actor(),
            reason,
        )
        .await
        .map_err(|error| match error {
            StoreError::Conflict(constraint) if constraint.contains("access_identity") => {
                Problem::new(
                    StatusCode::CONFLICT,
                    "access_identity_taken",
                    "access_identity: belongs to another administrator already; one identity can be one administrator's only",
                )
            }
            other => other.into(),
        })?
        .ok_or_else(administrator_not_found)?;
    respond(StatusCode::OK, &Changed { subject, changed })
}

async fn change(
    call: &Call,
    operator: &Operator,
    change: AdministratorChange,
    reason: &str,
) -> Result<Response, Problem> {
    let name = administrator_name(call)?;
    let reason = check_reason(reason)?;
    let (subject, changed) = call
        .app
        .store
        .change_administrator(name, change, call.app.doors(), operator.actor(), reason)
        .await?
        .ok_or_else(administrator_not_found)?;
    respond(StatusCode::OK, &Changed { subject, changed })
}

pub(crate) async fn create_key(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let name = administrator_name(call)?;
    let body: KeyBody = call.json()?;
    let reason = check_reason_given(body.reason.as_deref())?;
    let secret = AdministratorKey::from_random(random_bytes()?, random_bytes()?);
    let key = new_key(
        &secret,
        body.label.as_deref(),
        body.expires_at.as_deref(),
        body.expires_in,
    )?;
    let subject = call
        .app
        .store
        .create_administrator_key(name, &key, operator.actor(), reason)
        .await?
        .ok_or_else(administrator_not_found)?;
    let key = secret.reveal();
    let created = Created { subject, key };
    respond(StatusCode::CREATED, &created)
}

pub(crate) async fn rotate_keys(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let name = administrator_name(call)?;
    let body: rotation::Body = call.json()?;
    let store = &call.app.store;
    let past = store
        .past_administrator_keys(name)
        .await?
        .ok_or_else(administrator_not_found)?;
    let rotation = body.plan(&past)?;
    let secret = AdministratorKey::from_random(random_bytes()?, random_bytes()?);
    let key = NewKey {
        key: &secret,
        label: rotation.label,
        expires_at: rotation.expires_at,
    };
    let subject = store
        .rotate_administrator_keys(
            name,
            &key,
            rotation.others_end,
            operator.actor(),
            rotation.reason,
        )
        .await?
        .ok_or_else(administrator_not_found)?;
    let key = secret.reveal();
    respond(StatusCode::CREATED, &Created { subject, key })
}

pub(crate) async fn list_keys(call: &Call, _: &Auditor) -> Result<Response, Problem> {
    let name = administrator_name(call)?;
    let keys = call
        .app
        .store
        .list_administrator_keys(name)
        .await?
        .ok_or_else(administrator_not_found)?;
    respond(StatusCode::OK, &json!({ "keys": keys }))
}

pub(crate) async fn revoke_key(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let name = administrator_name(call)?;
    let key_id = key_id(call)?;
    let body: ReasonBody = call.json()?;
    let reason = check_reason(&body.reason)?;
    let (subject, changed) = call
        .app
        .store
        .revoke_administrator_key(name, key_id, call.app.doors(), operator.actor(), reason)
        .await?
        .ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "key_not_found",
                "the administrator has no such key",
            )
        })?;
    respond(StatusCode::OK, &Changed { subject, changed })
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

/// `{name}` of the path.
fn administrator_name(call: &Call) -> Result<&str, Problem> {
    let name = call.member("name");
    check_administrator("name", name)?;
    Ok(name)
}

/// `{key_id}` of the path.
fn key_id(call: &Call) -> Result<&str, Problem> {
    let key_id = call.member("key_id");
    if is_key_id(key_id) {
        return Ok(key_id);
    }
    Err(Problem::request_invalid(
        "key_id: is the 16 characters after \"mcpa_\" of a key",
    ))
}

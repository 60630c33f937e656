use axum::{Json, extract::FromRequestParts, response::IntoResponse};
use http::{StatusCode, request::Parts};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Changed, KeyBody, ReasonBody, check_reason,
    clients::{ClientPath, check_id, client_not_found},
    new_key,
};
use crate::{
    api::{
        App,
        extract::{JsonBody, Moderator, Operator, path_members},
        no_store,
        problem::Problem,
    },
    authority::{ApiKey, is_key_id},
    platform::{now_millis, random_bytes},
    store::{KeyCreation, KeyRecord, MAX_LIVE_KEYS},
};

/// 30 days: who needs more wants two keys, not a rotation.
const MAX_OVERLAP_SECONDS: u64 = 30 * 24 * 60 * 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateBody {
    /// How long the other keys go on working.
    overlap_seconds: u64,
    label: Option<String>,
    expires_in: Option<u64>,
    expires_at: Option<String>,
    reason: String,
}

#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    record: KeyRecord,
    /// Shown here and never again.
    api_key: String,
}

pub(crate) async fn create(
    app: App,
    operator: Operator,
    ClientPath(client_id): ClientPath,
    JsonBody(body): JsonBody<KeyBody>,
) -> Result<impl IntoResponse, Problem> {
    let key = ApiKey::from_random(random_bytes()?, random_bytes()?);
    let new = new_key(
        &key,
        body.label.as_deref(),
        body.expires_at.as_deref(),
        body.expires_in,
    )?;
    let creation = app
        .store
        .create_api_key(&client_id, &new, operator.actor())
        .await?;
    created(creation, &key)
}

pub(crate) async fn rotate(
    app: App,
    operator: Operator,
    ClientPath(client_id): ClientPath,
    JsonBody(body): JsonBody<RotateBody>,
) -> Result<impl IntoResponse, Problem> {
    let reason = check_reason(&body.reason)?;
    if body.overlap_seconds > MAX_OVERLAP_SECONDS {
        return Err(Problem::request_invalid(
            "overlap_seconds: must be 0 to 2592000, which is 30 days",
        ));
    }
    let key = ApiKey::from_random(random_bytes()?, random_bytes()?);
    let new = new_key(
        &key,
        body.label.as_deref(),
        body.expires_at.as_deref(),
        body.expires_in,
    )?;
    let others_end = now_millis() + body.overlap_seconds * 1000;
    let creation = app
        .store
        .rotate_api_keys(&client_id, &new, others_end, operator.actor(), reason)
        .await?;
    created(creation, &key)
}

pub(crate) async fn list(
    app: App,
    _: Moderator,
    ClientPath(client_id): ClientPath,
) -> Result<impl IntoResponse, Problem> {
    let keys = app
        .store
        .list_api_keys(&client_id)
        .await?
        .ok_or_else(client_not_found)?;
    Ok(([no_store()], Json(json!({ "keys": keys }))))
}

pub(crate) async fn revoke(
    app: App,
    operator: Operator,
    KeyPath { client_id, key_id }: KeyPath,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<impl IntoResponse, Problem> {
    let reason = check_reason(&body.reason)?;
    let (subject, changed) = app
        .store
        .revoke_api_key(&client_id, &key_id, operator.actor(), reason)
        .await?
        .ok_or_else(|| {
            let detail = "the client has no such key";
            Problem::new(StatusCode::NOT_FOUND, "key_not_found", detail)
        })?;
    Ok(([no_store()], Json(Changed { subject, changed })))
}

fn created(creation: KeyCreation, key: &ApiKey) -> Result<impl IntoResponse + use<>, Problem> {
    match creation {
        KeyCreation::Created(record) => {
            let api_key = key.reveal();
            let created = Created { record, api_key };
            Ok((StatusCode::CREATED, [no_store()], Json(created)))
        }
        KeyCreation::NoClient => Err(client_not_found()),
        KeyCreation::TooMany => Err(Problem::new(
            StatusCode::CONFLICT,
            "too_many_keys",
            format!("the client has {MAX_LIVE_KEYS} keys that work; revoke one first"),
        )),
    }
}

/// `{client_id}/keys/{key_id}` of a path.
pub(crate) struct KeyPath {
    client_id: String,
    key_id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (client_id, key_id): (String, String) = path_members(parts, state).await?;
        check_id("client_id", &client_id)?;
        if !is_key_id(&key_id) {
            return Err(Problem::request_invalid(
                "key_id: is the 16 characters after \"mcpk_\" of a key",
            ));
        }
        Ok(Self { client_id, key_id })
    }
}

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Changed, KeyBody, ReasonBody, check_reason,
    clients::{client_id, client_not_found},
    new_key,
};
use crate::{
    api::{
        call::{Call, Moderator, Operator},
        problem::Problem,
        respond,
    },
    authority::{ApiKey, is_key_id},
    platform::{http::Response, now_millis, random_bytes},
    store::{KeyCreation, MAX_LIVE_KEYS, Row},
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
    record: Row,
    /// Shown here and never again.
    api_key: String,
}

pub(crate) async fn create(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let client_id = client_id(call)?;
    let body: KeyBody = call.json()?;
    let key = ApiKey::from_random(random_bytes()?, random_bytes()?);
    let new = new_key(
        &key,
        body.label.as_deref(),
        body.expires_at.as_deref(),
        body.expires_in,
    )?;
    let creation = call
        .app
        .store
        .create_api_key(client_id, &new, operator.actor())
        .await?;
    created(creation, &key)
}

pub(crate) async fn rotate(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let client_id = client_id(call)?;
    let body: RotateBody = call.json()?;
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
    let creation = call
        .app
        .store
        .rotate_api_keys(client_id, &new, others_end, operator.actor(), reason)
        .await?;
    created(creation, &key)
}

pub(crate) async fn list(call: &Call, _: &Moderator) -> Result<Response, Problem> {
    let client_id = client_id(call)?;
    let keys = call
        .app
        .store
        .list_api_keys(client_id)
        .await?
        .ok_or_else(client_not_found)?;
    respond(StatusCode::OK, &json!({ "keys": keys }))
}

pub(crate) async fn revoke(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let client_id = client_id(call)?;
    let key_id = key_id(call)?;
    let body: ReasonBody = call.json()?;
    let reason = check_reason(&body.reason)?;
    let (subject, changed) = call
        .app
        .store
        .revoke_api_key(client_id, key_id, operator.actor(), reason)
        .await?
        .ok_or_else(|| {
            let detail = "the client has no such key";
            Problem::new(StatusCode::NOT_FOUND, "key_not_found", detail)
        })?;
    respond(StatusCode::OK, &Changed { subject, changed })
}

fn created(creation: KeyCreation, key: &ApiKey) -> Result<Response, Problem> {
    match creation {
        KeyCreation::Created(record) => {
            let api_key = key.reveal();
            let created = Created { record, api_key };
            respond(StatusCode::CREATED, &created)
        }
        KeyCreation::NoClient => Err(client_not_found()),
        KeyCreation::TooMany => Err(Problem::new(
            StatusCode::CONFLICT,
            "too_many_keys",
            format!("the client has {MAX_LIVE_KEYS} keys that work; revoke one first"),
        )),
    }
}

/// `{key_id}` of the path.
fn key_id(call: &Call) -> Result<&str, Problem> {
    let key_id = call.member("key_id");
    if is_key_id(key_id) {
        return Ok(key_id);
    }
    Err(Problem::request_invalid(
        "key_id: is the 16 characters after \"mcpk_\" of a key",
    ))
}

use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::{
    Changed, KeyBody, ReasonBody, check_reason, check_reason_given,
    clients::{client_id, client_not_found},
    new_key, rotation,
};
use crate::{
    api::{
        call::{Auditor, Call, Operator},
        problem::Problem,
        respond,
    },
    authority::{ApiKey, NewKey, is_key_id},
    platform::{http::Response, random_bytes},
    store::{KeyCreation, MAX_LIVE_KEYS, Row},
};

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
    let reason = check_reason_given(body.reason.as_deref())?;
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
        .create_api_key(client_id, &new, operator.actor(), reason)
        .await?;
    created(creation, &key)
}

pub(crate) async fn rotate(call: &Call, operator: &Operator) -> Result<Response, Problem> {
    let client_id = client_id(call)?;
    let body: rotation::Body = call.json()?;
    let store = &call.app.store;
    let past = store
        .past_api_keys(client_id)
        .await?
        .ok_or_else(client_not_found)?;
    let rotation = body.plan(&past)?;
    let key = ApiKey::from_random(random_bytes()?, random_bytes()?);
    let new = NewKey {
        key: &key,
        label: rotation.label,
        expires_at: rotation.expires_at,
    };
    let creation = store
        .rotate_api_keys(
            client_id,
            &new,
            rotation.others_end,
            operator.actor(),
            rotation.reason,
        )
        .await?;
    created(creation, &key)
}

pub(crate) async fn list(call: &Call, _: &Auditor) -> Result<Response, Problem> {
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

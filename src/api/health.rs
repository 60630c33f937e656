use http::StatusCode;
use serde_json::{Value, json};

use super::{call::Call, problem::Problem, respond};
use crate::platform::{http::Response, log, signer};

/// Says which settings are wrong, without their values.
pub(crate) async fn health(call: &Call) -> Result<Response, Problem> {
    let app = &call.app;
    let mut faults = app.settings.faults();
    if let Ok(keys) = app.settings.signing_keys() {
        faults.extend(signer::check(keys).await.err());
    }
    let mut faults: Vec<Value> = faults
        .into_iter()
        .chain(app.limiter.faults())
        .map(|fault| json!({ "setting": fault.setting, "problem": fault.problem }))
        .collect();
    let mut stored = app.store.check().await;
    if stored.is_ok() && matches!(app.settings.operator_token(), Ok(None)) {
        match app.store.has_operator(app.doors()).await {
            Ok(true) => {}
            Ok(false) => faults.push(json!({
                "setting": "OPERATOR_TOKEN",
                "problem": "is not set, and no operator has a key, or a way in through Cloudflare Access: nobody can administrate",
            })),
            Err(error) => stored = Err(error),
        }
    }
    if let (Ok(()), Ok(keys)) = (&stored, app.settings.signing_keys()) {
        match app.store.revoked_keys(keys).await {
            Ok(revoked) => {
                if keys
                    .signer(|key_id| revoked.iter().any(|key| key.id == key_id))
                    .is_none()
                {
                    faults.push(json!({
                        "setting": "SIGNING_KEYS",
                        "problem": "its active key was revoked, and there is no next one: put another set",
                    }));
                }
            }
            Err(error) => stored = Err(error),
        }
    }
    if let Err(error) = stored {
        log::error("storage_failed", &[("problem", &error.to_string())]);
        faults.push(json!({
            "setting": "DB",
            "problem": "does not answer; is the binding there, and were the migrations applied?",
        }));
    }
    if faults.is_empty() {
        respond(StatusCode::OK, &json!({ "status": "ok" }))
    } else {
        let body = json!({ "status": "faulty", "faults": faults });
        respond(StatusCode::SERVICE_UNAVAILABLE, &body)
    }
}

//! What the registry says of itself.

use http::StatusCode;
use serde_json::json;

use super::Refusal;
use crate::{
    api::{call::Call, respond},
    platform::http::Response,
};

pub(in crate::api) async fn health(call: &Call) -> Result<Response, Refusal> {
    let mut body = json!({ "status": "ok" });
    let publishing = call.app.settings.publishing();
    // By this app publishers' tools log in at GitHub.
    if let Some(client_id) = publishing
        .ok()
        .and_then(|it| it.github_client_id.as_deref())
        && let Some(members) = body.as_object_mut()
    {
        members.insert("github_client_id".to_owned(), client_id.into());
    }
    Ok(respond(StatusCode::OK, &body)?)
}

pub(in crate::api) async fn ping(_: &Call) -> Result<Response, Refusal> {
    Ok(respond(StatusCode::OK, &json!({ "pong": true }))?)
}

pub(in crate::api) async fn version(_: &Call) -> Result<Response, Refusal> {
    // Of the commit that it is built from, if there is one.
    let given = |value: Option<&'static str>| value.unwrap_or("unknown");
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "git_commit": given(option_env!("GIT_COMMIT")),
        "build_time": given(option_env!("BUILD_TIME")),
    });
    Ok(respond(StatusCode::OK, &body)?)
}

/// What registries may offer and this one does not.
pub(in crate::api) async fn not_offered(_: &Call) -> Result<Response, Refusal> {
    Err(Refusal::new(
        StatusCode::NOT_IMPLEMENTED,
        "This registry does not delete versions; set the status to deleted instead",
    ))
}

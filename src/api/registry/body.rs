//! What is sent to the registry. What breaks the form of a request is told before it is looked at who
//! sent it, and all of it at once.

use http::StatusCode;
use mcp_connect_catalog::Fault;
use mcp_connect_descriptor::strict_json;
use serde_json::Value;

use super::{Refusal, refusal::fault};
use crate::{
    api::{
        call::Call,
        limits::limit_publisher,
        publishers::{NotPublisher, publisher},
    },
    authority::Publisher,
    store::{Author, database_bytes},
};

/// Whom a request is from.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Checked {
    ForAnyone,
    /// Who must show a token, whatever that is worth.
    ForWriters,
}

/// A JSON body; `check` says what is wrong with it.
pub(super) fn body(
    call: &Call,
    checked: Checked,
    check: impl FnOnce(&Value) -> Vec<Fault>,
) -> Result<Value, Refusal> {
    let mut faults = Vec::new();
    if checked == Checked::ForWriters && call.head.authorization.is_none() {
        let message = "required header parameter is missing";
        faults.push(fault("header.Authorization", message, None));
    }
    if call.body.is_empty() {
        return Err(Refusal::bad_request("request body is required"));
    }
    // With a member twice, others would read another thing in it.
    let body = match strict_json::from_slice(&call.body) {
        Ok(body) => body,
        Err(strict_json::Fault::NotAnObject) if is_json(&call.body) => {
            faults.push(fault("body", "expected object", None));
            return Err(Refusal::invalid(faults));
        }
        Err(error) => {
            let found = fault("body", error.to_string(), None);
            return Err(Refusal::bad_request("validation failed").with(found));
        }
    };
    faults.extend(check(&body));
    if faults.is_empty() {
        Ok(body)
    } else {
        Err(Refusal::invalid(faults))
    }
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok()
}

/// Who shows a token of ours, and may still change something now.
pub(super) async fn writer(call: &Call) -> Result<Publisher, Refusal> {
    let writer = publisher(call).await.map_err(|refusal| match refusal {
        NotPublisher::NoToken | NotPublisher::NotBearer => {
            Refusal::unauthorized("Invalid Authorization header format. Expected 'Bearer <token>'")
        }
        NotPublisher::BadToken => Refusal::unauthorized("Invalid or expired Registry JWT token"),
        NotPublisher::Unknown(problem) => problem.into(),
    })?;
    limit_publisher(&call.app, &writer).await?;
    if !call.app.settings.publishing()?.logins.has(&writer.method) {
        return Err(Refusal::forbidden(
            "This registry is closed to publishers who log in as you did; its operator opens ways to log in by \
             the setting PUBLISH_LOGINS",
        ));
    }
    Ok(writer)
}

/// For whom a change of this server counts.
pub(super) fn author<'a>(
    call: &Call,
    actor: &'a str,
    owner: &'a str,
) -> Result<Author<'a>, Refusal> {
    let quota = call.app.settings.publishing()?.quota;
    Ok(Author {
        actor,
        owner,
        quota,
    })
}

/// Refuses what makes the database grow, once only the reserve of administrators is left.
pub(super) fn check_room(call: &Call) -> Result<(), Refusal> {
    let limit = call.app.settings.database()?;
    if database_bytes().is_some_and(|bytes| limit.is_reached(bytes)) {
        let detail = "The database of this registry is nearly full: nothing more is published until its operator \
                      has made room. What is published can still be deleted";
        return Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, detail));
    }
    Ok(())
}

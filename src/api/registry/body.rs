//! What is sent to the registry. What breaks the form of a request is told before it is looked at who
//! sent it, and all of it at once.

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
    Ok(writer)
}

//! For operators: every handler takes an `Operator`, and every change leaves an audit row in the
//! transaction that makes it.

mod audit;
mod clients;
mod import;
mod servers;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};

use super::{MAX_BODY_BYTES, problem::Problem};

pub(crate) fn router() -> Router {
    Router::new()
        .route("/clients", get(clients::list).post(clients::create))
        .route("/clients/{client_id}/suspend", post(clients::suspend))
        .route("/clients/{client_id}/resume", post(clients::resume))
        .route("/servers/{namespace}/{name}/verify", post(servers::verify))
        .route(
            "/servers/{namespace}/{name}/unverify",
            post(servers::unverify),
        )
        .route("/servers/{namespace}/{name}/revoke", post(servers::revoke))
        .route(
            "/servers/{namespace}/{name}/reinstate",
            post(servers::reinstate),
        )
        .route(
            "/import",
            post(import::import).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)),
        )
        .route("/audit", get(audit::list))
}

const MAX_REASON_CHARS: usize = 500;

/// Why a change is made, for the audit trail.
fn check_reason(reason: &str) -> Result<&str, Problem> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON_CHARS {
        return Err(Problem::request_invalid(
            "reason: say why, in 1 to 500 characters; it goes into the audit trail",
        ));
    }
    if reason.chars().any(char::is_control) {
        return Err(Problem::request_invalid("reason: has a control character"));
    }
    Ok(reason)
}

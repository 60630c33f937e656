//! For operators: every handler takes an `Operator`, and every change leaves an audit row in the
//! transaction that makes it.

mod audit;
mod clients;
mod import;
mod servers;

use axum::{
    Router,
    routing::{get, post},
};
use serde::Deserialize;

use super::problem::Problem;

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
        .route("/import", post(import::import))
        .route("/audit", get(audit::list))
}

const MAX_REASON_CHARS: usize = 500;

#[derive(Deserialize)]
struct ListQuery {
    cursor: Option<String>,
    limit: Option<String>,
}

/// Why a change is made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonBody {
    reason: String,
}

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

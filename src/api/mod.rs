//! One file per family of endpoints: parse the request, ask the store, let the authority decide,
//! answer. Whether an endpoint needs an operator, a caller or nobody is visible in its handler's
//! signature.

mod admin;
mod connect;
mod extract;
mod health;
mod problem;
mod servers;
mod well_known;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};

use self::problem::Problem;

/// No request body may be larger; most endpoints allow less.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;

const MAX_CONNECT_BYTES: usize = 8 * 1024;

/// Every endpoint that there is.
pub(crate) fn router() -> Router {
    Router::new()
        .route(
            "/v1/connect",
            post(connect::connect).layer(DefaultBodyLimit::max(MAX_CONNECT_BYTES)),
        )
        .route("/v1/servers", get(servers::list))
        .route("/v1/servers/{namespace}/{name}", get(servers::detail))
        .route("/.well-known/jwks.json", get(well_known::jwks))
        .route(
            "/.well-known/mcp-connect-authority",
            get(well_known::authority),
        )
        .route("/healthz", get(health::health))
        .route("/openapi.yaml", get(openapi))
        .nest("/v1/admin", admin::router())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

async fn openapi() -> Response {
    const DOCUMENT: &str = include_str!("../../schema/openapi.yaml");
    ([(CONTENT_TYPE, "application/yaml")], DOCUMENT).into_response()
}

async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is no such endpoint; see /openapi.yaml",
    )
}

/// axum adds the header Allow.
async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this endpoint knows other methods; see the header Allow",
    )
}

pub(crate) fn method_unknown() -> Problem {
    Problem::new(
        StatusCode::NOT_IMPLEMENTED,
        "method_not_allowed",
        "this is no method of HTTP",
    )
}

pub(crate) fn target_malformed() -> Problem {
    Problem::request_invalid("the path or query has a character that must be percent-encoded")
}

pub(crate) fn header_malformed(name: &HeaderName) -> Problem {
    Problem::request_invalid(format!("the header {name} has a control character"))
}

pub(crate) fn body_too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "request_invalid",
        format!("the body is larger than {limit} bytes"),
    )
}

/// For answers that hold a secret or a decision of this moment.
fn no_store() -> (HeaderName, HeaderValue) {
    (
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    )
}

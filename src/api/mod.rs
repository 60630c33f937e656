//! One file per family of endpoints: parse the request, ask the store, let the authority decide,
//! answer. Whether an endpoint needs an operator, a moderator, a caller or nobody is visible in its
//! handler's signature.

mod access_tokens;
mod admin;
mod authenticate;
mod caching;
mod connect;
mod extract;
mod gating;
mod health;
mod key_use;
mod limits;
mod problem;
mod provider_keys;
mod revocations;
mod servers;
mod well_known;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::DefaultBodyLimit,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{
    HeaderName, HeaderValue, Method, Request, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
};
use mcp_connect_descriptor::{SigningKey, SigningKeys};
use tower_service::Service;
use worker::Context;

pub(crate) use self::authenticate::authenticate;
use self::{limits::Visitor, problem::Problem};
use crate::{
    platform::{
        Settings,
        http::Unreadable,
        limiter::Limiter,
        log,
        metrics::{self, Dataset, HANDED_OVER_EVERY},
        now_millis, sleep,
    },
    store::{Doors, Store},
};

const MAX_BODY_BYTES: usize = 8 * 1024;
const MAX_IMPORT_BYTES: usize = 1024 * 1024;
const MAX_POLICY_BYTES: usize = 256 * 1024;

const ADMIN: &str = "/v1/admin";

/// What a request's handler works with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) settings: Arc<Settings>,
    pub(crate) store: Store,
    pub(crate) limiter: Limiter,
    pub(crate) dataset: Dataset,
    pub(crate) context: Arc<Context>,
}

impl App {
    /// By what administrators could get in beside their keys.
    fn doors(&self) -> Doors {
        Doors {
            token: matches!(self.settings.operator_token(), Ok(Some(_))),
            access: matches!(self.settings.access(), Ok(Some(_))),
        }
    }
}

/// Every endpoint that there is.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/v1/connect", post(connect::connect))
        .route("/v1/servers", get(servers::list))
        .route("/v1/servers/{namespace}/{name}", get(servers::detail))
        .route("/v1/revocations", get(revocations::feed_of_all))
        .route(
            "/v1/servers/{namespace}/{name}/challenge",
            get(servers::challenge),
        )
        .route("/.well-known/jwks.json", get(well_known::jwks))
        .route(
            "/.well-known/mcp-connect-authority",
            get(well_known::authority),
        )
        .route("/healthz", get(health::health))
        .route("/openapi.yaml", get(openapi))
        .nest(ADMIN, admin::router())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::disable()) // body_limit has seen to it
}

fn is_administration(path: &str) -> bool {
    path.strip_prefix(ADMIN)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How many bytes of a body are worth reading, before any is: a stranger can make the Worker hold
/// little. Of the head of a request that was seen by [`authenticate`].
pub(crate) fn body_limit(head: &Parts) -> usize {
    let path = head.uri.path();
    if head.method != Method::POST {
        0
    } else if is_administration(path) {
        match path.strip_prefix(ADMIN) {
            _ if !authenticate::is_administrator(head) => 0,
            Some("/import") => MAX_IMPORT_BYTES,
            Some(path) if path.ends_with("/policy") => MAX_POLICY_BYTES,
            _ => MAX_BODY_BYTES,
        }
    } else {
        MAX_BODY_BYTES
    }
}

/// Whether the request may go on, before its body is read. It then goes on knowing its visitor.
pub(crate) async fn enter(head: &mut Parts, app: &App) -> Result<(), Response> {
    let begun = now_millis();
    let mut visitor = Visitor::of(head);
    match visitor.enter(head, app).await {
        Ok(()) => {
            head.extensions.insert(visitor);
            Ok(())
        }
        Err(limited) => {
            if limits::family(head.uri.path()) == "connect" {
                connect::refused_on_entry(app, &visitor, &limited, begun);
            }
            Err(limited.into_response())
        }
    }
}

pub(crate) async fn answer(mut router: Router, app: App, head: Parts, body: Vec<u8>) -> Response {
    let is_change = head.method == Method::POST && is_administration(head.uri.path());
    let changed = is_change.then(|| app.clone());
    let mut request = Request::from_parts(head, Body::from(body));
    request.extensions_mut().insert(app);
    let response = router
        .call(request)
        .await
        .unwrap_or_else(|never| match never {});
    if let Some(app) = changed.filter(|_| response.status().is_success()) {
        seal_audit(&app);
    }
    response
}

/// After the answer: the change and its audit row are stored already, and whoever seals next seals
/// what this one could not.
fn seal_audit(app: &App) {
    let store = app.store.clone();
    app.context.wait_until(async move {
        if let Err(error) = store.seal_audit().await {
            log::error("audit_unsealed", &[("problem", &error.to_string())]);
        }
    });
}

/// Counts an answer, and sees to it that what was counted reaches the store: some time after the
/// answer, and by one request of many.
pub(crate) fn account(app: &App, path: &str, response: &Response) {
    let status = match response.status().as_u16() {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    metrics::count(metrics::answered(limits::family(path), status));
    if !metrics::must_hand_over(now_millis()) {
        return;
    }
    let store = app.store.clone();
    app.context.wait_until(async move {
        sleep(HANDED_OVER_EVERY).await;
        let sums = metrics::take();
        if let Err(error) = store.add_counters(&sums).await {
            log::error("counters_failed", &[("problem", &error.to_string())]);
            // A second time, if D1 has them and could not say so: too many is better than none.
            metrics::put_back(sums);
        }
    });
}

/// Answers what no handler can read.
pub(crate) fn refuse(unreadable: &Unreadable) -> Response {
    match unreadable {
        Unreadable::BodyTooLarge => Problem::body_too_large(),
        Unreadable::Header(name) => {
            Problem::request_invalid(format!("the header {name} has a control character"))
        }
        Unreadable::Method => Problem::request_invalid("the method is none of HTTP"),
        Unreadable::Target => Problem::request_invalid(
            "the path or query has a character that must be percent-encoded",
        ),
    }
    .into_response()
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

/// The key that signs: the active one; where that was withdrawn, the next.
fn signing_key<'a>(keys: &'a SigningKeys, revoked: &[String]) -> Result<&'a SigningKey, Problem> {
    keys.signer(|key_id| revoked.iter().any(|revoked| revoked == key_id))
        .ok_or_else(|| {
            Problem::authority_unavailable(
                "no_signing_key",
                "the active key was revoked, and there is no next one",
            )
        })
}

/// For answers that hold a secret or a decision of this moment.
fn no_store() -> (HeaderName, HeaderValue) {
    (CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

//! One file per family of endpoints: parse the request, ask the store, let the authority decide,
//! answer. `routes` has them all; whether one is for operators, for moderators or for anyone is said
//! there, and in its handler's signature.

mod access_tokens;
mod admin;
mod authenticate;
mod caching;
mod call;
mod changes;
mod connect;
mod copies;
mod gating;
mod health;
mod json_path;
mod key_use;
mod limits;
mod problem;
mod provider_keys;
mod publishers;
mod registry;
mod revocations;
mod routes;
mod servers;
mod well_known;

use std::sync::Arc;

use http::{Method, StatusCode};
use mcp_connect_descriptor::{SigningKey, SigningKeys};
use serde::Serialize;
use worker::Context;

use self::{call::Call, limits::Visitor, problem::Problem, registry::Refusal, routes::Router};
use crate::{
    platform::{
        Settings,
        http::{Head, Response, read_body, read_head},
        limiter::Limiter,
        log,
        metrics::{self, Dataset, HANDED_OVER_EVERY},
        now_millis, sleep,
    },
    store::{Doors, Store},
};

const ADMIN: &str = "/v1/admin";

thread_local! {
    // Built once: it holds nothing that may be lost.
    static ROUTER: Router = Router::new();
}

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

fn is_administration(path: &str) -> bool {
    path.strip_prefix(ADMIN)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(crate) async fn answer(request: &web_sys::Request, app: App) -> Response {
    let head = match read_head(request) {
        Ok(Ok(head)) => head,
        Ok(Err(unreadable)) => return Problem::from(unreadable).into_response(),
        Err(error) => return Problem::from(error).into_response(),
    };
    let (method, family) = (
        head.method.clone(),
        limits::family(&head.method, &head.target),
    );
    let is_registry = registry::is_registry(head.path());
    let may_change = !method.is_safe() && (family == "admin" || registry::is_change(&head));
    let known = head.if_none_match.clone();
    let response = match handle(request, head, app.clone()).await {
        Ok(response) => response,
        Err(problem) if is_registry => Refusal::from(problem).into_response(),
        Err(problem) => problem.into_response(),
    };
    let mut response = caching::conditional(known.as_deref(), response);
    if is_registry {
        registry::open_to_browsers(&mut response);
    }
    if may_change && response.status.is_success() {
        seal_audit(&app);
    }
    account(&app, family, response.status);
    if method == Method::HEAD {
        response.body.clear();
    }
    response
}

/// Limits come first, then who administers; the body is read only where it is wanted.
async fn handle(request: &web_sys::Request, head: Head, app: App) -> Result<Response, Problem> {
    let begun = now_millis();
    let mut visitor = Visitor::of(&head);
    if let Err(limited) = visitor.enter(&head, &app).await {
        if limits::family(&head.method, &head.target) == "connect" {
            connect::refused_on_entry(&app, &visitor, &limited, begun);
        }
        return Err(limited);
    }
    if let Some(answer) = registry::at_the_door(&head) {
        return Ok(answer);
    }
    let found = ROUTER.with(|router| router.find(&head.method, head.path()))?;
    let admitted = authenticate::admit(found.handler, found.route, &head, &app, &visitor).await?;
    let body = read_body(request, found.max_body_bytes).await??;
    let call = Call {
        app,
        head,
        members: found.members,
        body,
        visitor,
        // The handle: its own `clone` would copy the body.
        request: Clone::clone(request),
    };
    admitted.handle(&call).await
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
fn account(app: &App, family: &'static str, status: StatusCode) {
    let status = match status.as_u16() {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    metrics::count(metrics::answered(family, status));
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

/// An answer with a body of this type. It is not to be cached: `caching::cacheable` makes it so.
fn document(content_type: &'static str, body: Vec<u8>) -> Response {
    Response {
        status: StatusCode::OK,
        headers: vec![
            ("content-type", content_type.into()),
            ("cache-control", "no-store".into()),
        ],
        body,
    }
}

fn respond(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(body)
        .map_err(|error| Problem::authority_unavailable("internal_fault", &error.to_string()))?;
    Ok(Response {
        status,
        ..document("application/json", body)
    })
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

//! One file per family of endpoints: parse the request, ask the store, let the authority decide,
//! answer. `routes` has them all; whether one is for operators, for moderators or for anyone is said
//! there, and in its handler's signature.

mod access_tokens;
mod address;
mod admin;
mod authenticate;
mod browsers;
mod caching;
mod call;
mod changes;
mod connect;
mod copies;
mod front_page;
mod gating;
mod health;
mod key_use;
mod limits;
mod parameters;
mod problem;
mod provider_keys;
mod publishers;
mod registry;
mod revocations;
mod routes;
mod servers;
mod shared;
mod well_known;

use std::sync::Arc;

use http::{Method, StatusCode};
use mcp_connect_descriptor::{SigningKey, SigningKeys};
use serde::Serialize;
use worker::Context;

use self::{
    address::Address, browsers::Readers, call::Call, limits::Visitor, problem::Problem,
    registry::Refusal, routes::Router,
};
use crate::{
    platform::{
        Outlasting, Settings,
        http::{Head, Response, read_body, read_head, target},
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
    match read_head(request) {
        Ok(Ok(head)) => answer_readable(request, head, app).await,
        Ok(Err(unreadable)) => unread(request, &app, unreadable.into()),
        Err(error) => unread(request, &app, error.into()),
    }
}

/// Refuses what can't be read; pages may read why.
fn unread(request: &web_sys::Request, app: &App, problem: Problem) -> Response {
    let url = request.url();
    let path = target(&url).split('?').next().unwrap_or_default();
    let mut response = problem.into_response();
    Readers::of(path).let_in(&mut response, None, &app.settings);
    response
}

async fn answer_readable(request: &web_sys::Request, mut head: Head, app: App) -> Response {
    let is_known = ROUTER.with(|router| router.knows(head.path()));
    let mut moved = None;
    match address::read(head.path(), is_known) {
        Address::AsWritten => {}
        Address::SameAs(path) => {
            if let Ok(target) = head.target_at(&path).parse() {
                head.target = target;
            }
        }
        Address::MovedTo(path) => moved = Some(path),
    }
    let (method, family, origin) = (
        head.method.clone(),
        limits::family(&head.method, &head.target),
        head.origin.clone(),
    );
    let readers = Readers::of(moved.as_deref().unwrap_or(head.path()));
    let is_registry = registry::is_registry(head.path());
    let may_change = !method.is_safe() && (family == "admin" || registry::is_change(&head));
    let known = head.if_none_match.clone();
    // A change goes on to its end, its copy renewed, though its client breaks off.
    let change = may_change.then(|| Outlasting::new(&app.context));
    let response = match handle(request, head, moved, readers, app.clone()).await {
        Ok(response) => response,
        Err(problem) if is_registry => Refusal::from(problem).into_response(),
        Err(problem) => problem.into_response(),
    };
    drop(change);
    let mut response = caching::conditional(known.as_deref(), response);
    readers.let_in(&mut response, origin.as_deref(), &app.settings);
    if may_change && response.status.is_success() {
        shared::forget(&app).await;
        seal_audit(&app);
    }
    account(&app, family, response.status);
    if method == Method::HEAD {
        response.body.clear();
    }
    response
}

/// Limits come first, then who administers; the body is read only where it is wanted. `moved` is where the
/// endpoint is, if not at this path.
async fn handle(
    request: &web_sys::Request,
    head: Head,
    moved: Option<String>,
    readers: Readers,
    app: App,
) -> Result<Response, Problem> {
    let begun = now_millis();
    let mut visitor = Visitor::of(&head);
    if let Err(limited) = visitor.enter(&head, &app).await {
        if limits::family(&head.method, &head.target) == "connect" {
            connect::refused_on_entry(&app, &visitor, &limited, begun);
        }
        return Err(limited);
    }
    // A browser follows no redirect of a preflight, so that is answered first.
    if let Some(answer) = registry::refuse_nul(&head)
        .or_else(|| front_page::show(request, &head))
        .or_else(|| readers.preflight(&head, &app.settings))
        .or_else(|| moved.map(|path| redirect(head.target_at(&path))))
    {
        return Ok(answer);
    }
    let found = ROUTER
        .with(|router| router.find(&head.method, head.path()))
        .map_err(|fault| Problem::no_endpoint(head.path(), fault))?;
    let admitted = authenticate::admit(found.handler, found.route, &head, &app, &visitor).await?;
    found.parameters.check(head.target.query())?;
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

/// To be asked again there, by the same method and with the same body.
fn redirect(location: String) -> Response {
    Response {
        status: StatusCode::PERMANENT_REDIRECT,
        headers: vec![("location", location.into())],
        body: Vec::new(),
    }
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

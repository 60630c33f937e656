//! The MCP connect authority as a Cloudflare Worker: it decides at connect time who may connect to
//! which MCP server, and signs the descriptor that says so. No traffic passes through it.
//!
//! This file holds the door and nothing else. A request goes from [`platform`] through the router
//! in [`api`], which asks the [`store`] for facts and lets the [`authority`] decide.

mod api;
mod authority;
mod platform;
mod store;

use std::cell::OnceCell;

use worker::{Context, Env, event};

use crate::platform::{App, http};

thread_local! {
    // Both hold nothing that may be lost: after a crash the isolate builds them anew.
    static ROUTER: axum::Router = api::router();
    static SETTINGS: OnceCell<platform::SharedSettings> = const { OnceCell::new() };
}

#[event(fetch)]
async fn fetch(
    request: web_sys::Request,
    env: Env,
    context: Context,
) -> worker::Result<web_sys::Response> {
    let settings = SETTINGS.with(|cell| cell.get_or_init(|| platform::read_settings(&env)).clone());
    let app = App::new(settings, &env, context);
    http::serve(request, app, ROUTER.with(Clone::clone)).await
}

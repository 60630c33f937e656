//! The MCP connect authority as a Cloudflare Worker: it decides at connect time who may connect to
//! which MCP server, and signs the descriptor that says so. No traffic passes through it.
//!
//! This file holds the doors and nothing else. A request goes from `platform` through the router
//! in `api`, which asks the `store` for facts and lets the `authority` decide; a cron goes to `upkeep`.

mod api;
mod authority;
mod platform;
mod store;
mod upkeep;

use std::{cell::OnceCell, panic, sync::Arc};

use worker::{Context, Env, ScheduleContext, ScheduledEvent, event};

use crate::{
    api::App,
    platform::{Settings, files, http::write, limiter::Limiter, metrics::Dataset},
    store::Store,
};

thread_local! {
    // Holds nothing that may be lost: after a crash the isolate reads it anew.
    static SETTINGS: OnceCell<Arc<Settings>> = const { OnceCell::new() };
}

/// Tells a panic to the log with its message, place and stack, and then lets the `worker` crate's own hook mark the
/// isolate for a restart. Either may be installed first: each calls the one that it finds.
#[event(start)]
fn start() {
    let found = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        console_error_panic_hook::hook(info);
        found(info);
    }));
}

#[event(fetch)]
async fn fetch(
    request: web_sys::Request,
    env: Env,
    context: Context,
) -> worker::Result<web_sys::Response> {
    if let Some(file) = files::serve(&request, &env).await {
        return Ok(file);
    }
    let app = App {
        settings: settings(&env),
        store: Store::new(&env),
        limiter: Limiter::new(&env),
        dataset: Dataset::new(&env),
        context: Arc::new(context),
    };
    write(&api::answer(&request, app).await)
}

#[event(scheduled)]
async fn scheduled(event: ScheduledEvent, env: Env, _: ScheduleContext) {
    upkeep::run(&event.cron(), &settings(&env), &Store::new(&env)).await;
}

fn settings(env: &Env) -> Arc<Settings> {
    SETTINGS.with(|cell| {
        cell.get_or_init(|| Arc::new(platform::read_settings(env)))
            .clone()
    })
}

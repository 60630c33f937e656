//! What the Workers platform gives: HTTP, settings and secrets, the clock, randomness, the log.

mod clock;
pub(crate) mod http;
pub(crate) mod log;
mod random;
mod settings;

use std::sync::Arc;

use worker::{Context, Env};

pub(crate) use self::{
    clock::{now_millis, now_seconds},
    random::{RandomnessError, random_bytes},
    settings::{Fault, MAX_LIFETIME, MIN_LIFETIME, Settings},
};
use crate::store::Store;

pub(crate) type SharedSettings = Arc<Settings>;

/// What a request's handler works with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) settings: SharedSettings,
    pub(crate) store: Store,
    pub(crate) context: Arc<Context>,
}

impl App {
    pub(crate) fn new(settings: SharedSettings, env: &Env, context: Context) -> Self {
        Self {
            settings,
            store: Store::new(env),
            context: Arc::new(context),
        }
    }
}

/// Reads vars and secrets, and logs each fault once per isolate.
pub(crate) fn read_settings(env: &Env) -> SharedSettings {
    let settings = Settings::read(|name| {
        // Secrets are vars to the runtime.
        env.var(name).ok().map(|value| value.to_string())
    });
    for Fault { setting, problem } in settings.faults() {
        log::error(
            "configuration_fault",
            &[("setting", setting), ("problem", &problem)],
        );
    }
    Arc::new(settings)
}

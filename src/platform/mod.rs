//! What the Workers platform gives: HTTP, settings and secrets, the clock, randomness, the way out,
//! rate limits, counting, memory of
//! late, the log.

mod clock;
pub(crate) mod edge_cache;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod limiter;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod outbound;
mod outlasting;
mod random;
mod recent;
mod settings;
mod signature;
pub(crate) mod signer;

use worker::Env;

pub(crate) use self::{
    clock::{iso_date, now_millis, read_date, sleep, within},
    outlasting::Outlasting,
    random::{RandomnessError, random_bytes},
    recent::Recent,
    settings::{
        Access, DatabaseLimit, Fault, Issuing, MAX_LIFETIME, MIN_LIFETIME, Publishing, Settings,
    },
    signature::{SignatureError, VerifyingKey, has_signed},
};

/// Reads vars and secrets, and logs each fault once per isolate.
pub(crate) fn read_settings(env: &Env) -> Settings {
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
    settings
}

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn now_seconds() -> u64 {
    now_micros() / 1_000_000
}

/// Since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
pub(crate) fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        since.as_secs() * 1_000_000 + u64::from(since.subsec_micros())
    })
}

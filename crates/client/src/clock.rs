use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch. A clock before it makes every descriptor "not yet valid".
#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

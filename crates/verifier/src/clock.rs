use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the Unix epoch. A clock that is set before 1970 stands at 0: nothing is valid yet.
#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

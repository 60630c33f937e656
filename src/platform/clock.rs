use worker::Date;

/// Milliseconds since the Unix epoch. In workerd, time stands still between two I/O operations.
#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
pub(crate) fn now_millis() -> u64 {
    Date::now().as_millis()
}

/// Seconds since the Unix epoch.
pub(crate) fn now_seconds() -> u64 {
    now_millis() / 1000
}

//! This machine's clocks, and how far the one that can be set is from the authority's.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mcp_connect_descriptor::MAX_LEEWAY_SECONDS;

/// Seconds since the Unix epoch, by this machine's clock, which may be wrong.
#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A moment by two clocks: one that nobody sets, and one that goes on while a machine sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    pub(crate) unix: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            instant: Instant::now(),
            unix: unix_now(),
        }
    }

    /// The time that has passed by the clock that says more: setting the clock ahead costs a refresh,
    /// and a machine that slept knows that its descriptor has expired.
    pub(crate) fn until(&self, later: &Self) -> Duration {
        let by_instant = later.instant.saturating_duration_since(self.instant);
        by_instant.max(Duration::from_secs(later.unix.saturating_sub(self.unix)))
    }
}

/// By how much this machine's clock differs from the authority's.
///
/// Its `Display` is "this machine's clock is 300 s behind the authority's".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClockOffset {
    seconds: i64,
}

impl ClockOffset {
    /// Between this machine's clock and a date by the authority's, both in seconds since the Unix
    /// epoch.
    pub(crate) fn between(machine: u64, authority: u64) -> Self {
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        Self {
            seconds: signed(machine).saturating_sub(signed(authority)),
        }
    }

    /// How many seconds this machine's clock is ahead; negative if it is behind.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Whether it is more than servers forgive: proofs that are dated by this machine's clock, and
    /// certificates, may then be refused.
    pub const fn matters(self) -> bool {
        self.seconds.unsigned_abs() > MAX_LEEWAY_SECONDS
    }
}

impl fmt::Display for ClockOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.seconds < 0 {
            "behind"
        } else {
            "ahead of"
        };
        write!(
            f,
            "this machine's clock is {} s {direction} the authority's",
            self.seconds.unsigned_abs()
        )
    }
}

/// The authority's clock, as its last answer told it.
#[derive(Debug, Default)]
pub(crate) struct AuthorityClock {
    offset: Mutex<Option<ClockOffset>>,
}

impl AuthorityClock {
    /// Takes note of a date by the authority's clock that was read at this moment.
    pub(crate) fn learn(&self, authority: u64, at: &Moment) -> ClockOffset {
        let offset = ClockOffset::between(at.unix, authority);
        let mut held = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = held.is_none_or(|held| !held.matters());
        *held = Some(offset);
        drop(held);
        if offset.matters() && is_news {
            tracing::warn!(offset_seconds = offset.seconds, "{offset}");
        }
        offset
    }

    /// How far this machine's clock is off, as far as is known.
    pub(crate) fn offset(&self) -> Option<ClockOffset> {
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the time is by the authority's clock: what proofs are dated by, since who checks them has
    /// the right time.
    pub(crate) fn unix_now(&self) -> u64 {
        let seconds = self.offset().map_or(0, ClockOffset::seconds);
        unix_now().saturating_add_signed(seconds.saturating_neg())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_told_in_words() {
        for (machine, authority, matters, text) in [
            (700, 1000, true, "300 s behind the authority's"),
            (1060, 1000, true, "60 s ahead of the authority's"),
            (1005, 1000, false, "5 s ahead of the authority's"),
            (994, 1000, true, "6 s behind the authority's"),
            (0, u64::MAX, true, "behind"),
        ] {
            let offset = ClockOffset::between(machine, authority);
            assert_eq!(offset.matters(), matters, "{offset}");
            assert!(offset.to_string().contains(text), "{offset}");
        }
    }

    #[test]
    fn the_authoritys_time_is_told_whatever_this_machine_believes() {
        let clock = AuthorityClock::default();
        let now = Moment::now();
        for offset in [-300, 0, 300] {
            clock.learn(now.unix.saturating_add_signed(offset), &now);
            let told = clock
                .unix_now()
                .abs_diff(now.unix.saturating_add_signed(offset));
            assert!(told <= 2, "{offset}: {told}");
        }
    }

    #[test]
    fn a_machine_that_slept_has_aged_and_a_clock_set_back_changes_nothing() {
        let start = Moment::now();
        for (unix, age) in [(5, 5), (50, 50), (-50, 5)] {
            let later = Moment {
                instant: start.instant + Duration::from_secs(5),
                unix: start.unix.saturating_add_signed(unix),
            };
            assert_eq!(start.until(&later), Duration::from_secs(age));
        }
    }
}

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

/// Time since the Unix epoch. A clock that is set before 1970 stands at 0: nothing is valid yet.
#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Good enough to spread what many servers do at the same time, and for nothing else.
pub(crate) fn dice() -> u64 {
    RandomState::new().hash_one(())
}

/// A moment by two clocks: one that nobody sets, and one that goes on while a machine sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    pub(crate) since_epoch: Duration,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            instant: Instant::now(),
            since_epoch: now(),
        }
    }

    /// The time that has passed by the clock that says more.
    pub(crate) fn until(&self, later: &Self) -> Duration {
        let by_instant = later.instant.saturating_duration_since(self.instant);
        by_instant.max(later.since_epoch.saturating_sub(self.since_epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_slept_has_aged_and_a_clock_set_back_changes_nothing() {
        let seconds = Duration::from_secs;
        let start = Moment {
            instant: Instant::now(),
            since_epoch: seconds(1000),
        };
        for (since_epoch, age) in [(1005, 5), (1050, 50), (950, 5)] {
            let later = Moment {
                instant: start.instant + seconds(5),
                since_epoch: seconds(since_epoch),
            };
            assert_eq!(start.until(&later), seconds(age));
        }
    }
}

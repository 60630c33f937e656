//! When the authority is to be asked again. Plain functions of what came before.

use std::time::Duration;

use tokio::time::Instant;

const BETWEEN_ON_DEMAND: Duration = Duration::from_secs(5);
const SHORTEST_REFRESH: Duration = Duration::from_secs(30);
const LONGEST_REFRESH: Duration = Duration::from_mins(10);
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);
/// What an authority may ask for by `Retry-After`: one wrong answer must not silence a server.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(1);
/// Without a usable key set: whoever looks whether the server is ready sends no descriptors.
const LONGEST_BACK_OFF_IN_NEED: Duration = Duration::from_secs(5);

/// When the key set is to be fetched next.
pub(crate) struct Schedule {
    refresh_at: Instant,
    on_demand_from: Instant,
    back_off: Duration,
}

impl Schedule {
    /// The first fetch is due at once.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            refresh_at: now,
            on_demand_from: now,
            back_off: FIRST_BACK_OFF,
        }
    }

    /// The time of the next fetch; an earlier one if somebody waits for it.
    pub(crate) fn due(&self, wanted: bool) -> Instant {
        if wanted {
            self.refresh_at.min(self.on_demand_from)
        } else {
            self.refresh_at
        }
    }

    pub(crate) fn fetched(&mut self, at: Instant, refresh_after: Duration) {
        let on_demand = at < self.refresh_at;
        if on_demand {
            self.on_demand_from = at + BETWEEN_ON_DEMAND;
        }
        self.refresh_at = at + refresh_after;
        self.back_off = FIRST_BACK_OFF;
    }

    /// `wanted` is the pause that the authority asks for.
    pub(crate) fn failed(
        &mut self,
        requested_at: Instant,
        now: Instant,
        in_need: bool,
        wanted: Option<Duration>,
        dice: u64,
    ) {
        let longest = if in_need {
            LONGEST_BACK_OFF_IN_NEED
        } else {
            LONGEST_BACK_OFF
        };
        let wanted = wanted.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        self.refresh_at = now + spread(self.back_off.min(longest), dice).max(wanted);
        self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
        self.on_demand_from = (requested_at + BETWEEN_ON_DEMAND).max(now + wanted);
    }
}

/// Half the lifetime of a key set, within bounds (docs/protocol.md, section 7).
pub(crate) fn refresh_after(lifetime: Duration) -> Duration {
    (lifetime / 2).clamp(SHORTEST_REFRESH, LONGEST_REFRESH)
}

/// The pause until the next poll of the feed, after that many failures in a row, the last of which
/// asked for a pause of `wanted`: an interval is never exceeded as long as polls succeed.
pub(crate) fn poll_after(
    interval: Duration,
    failures: u32,
    wanted: Option<Duration>,
    dice: u64,
) -> Duration {
    let longest = interval.max(LONGEST_BACK_OFF);
    let pause = interval.saturating_mul(1 << failures.min(16)).min(longest);
    let wanted = wanted.unwrap_or_default().min(LONGEST_RETRY_AFTER);
    spread(pause, dice).max(wanted)
}

/// Up to a fifth less, so that those who began together don't go on together.
fn spread(pause: Duration, dice: u64) -> Duration {
    const STEPS: u32 = 1000;
    let steps = u32::try_from(dice % u64::from(STEPS + 1)).unwrap_or_default();
    pause.saturating_sub(pause / 5 / STEPS * steps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn fetches_at_once_then_when_the_answer_has_aged() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        assert_eq!(schedule.due(false), start);
        schedule.fetched(start, 150 * SECOND);
        assert_eq!(schedule.due(false), start + 150 * SECOND);
    }

    #[test]
    fn fetches_on_demand_every_five_seconds_at_most() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.fetched(start, 150 * SECOND);
        assert!(
            schedule.due(true) <= start,
            "a rotation right after the start is seen"
        );
        schedule.fetched(start + SECOND, 150 * SECOND);
        assert_eq!(schedule.due(true), start + 6 * SECOND);
    }

    #[test]
    fn backs_off_after_failures_and_forgets_them_after_a_success() {
        let start = Instant::now();
        for (in_need, pauses) in [
            (false, [1, 2, 4, 8, 16, 30, 30]),
            (true, [1, 2, 4, 5, 5, 5, 5]),
        ] {
            let mut schedule = Schedule::new(start);
            for seconds in pauses {
                schedule.failed(start, start, in_need, None, 0);
                assert_eq!(schedule.due(false), start + seconds * SECOND);
                assert_eq!(schedule.due(true), start + seconds.min(5) * SECOND);
            }
            schedule.fetched(start, 150 * SECOND);
            schedule.failed(start, start, in_need, None, 0);
            assert_eq!(schedule.due(false), start + SECOND);
        }
    }

    #[test]
    fn leaves_the_authority_alone_for_as_long_as_it_wants_within_a_minute() {
        let start = Instant::now();
        for (wanted, seconds) in [(0, 1), (1, 1), (20, 20), (60, 60), (61, 60), (u64::MAX, 60)] {
            let wanted = Some(Duration::from_secs(wanted));
            let mut schedule = Schedule::new(start);
            schedule.failed(start, start, true, wanted, 0);
            assert_eq!(schedule.due(false), start + seconds * SECOND);
            assert_eq!(schedule.due(true), start + seconds * SECOND);
            assert_eq!(poll_after(SECOND, 0, wanted, 0), seconds * SECOND);
        }
    }

    #[test]
    fn refreshes_at_half_the_lifetime_within_bounds() {
        for (lifetime, seconds) in [
            (0, 30),
            (1, 30),
            (60, 30),
            (300, 150),
            (1200, 600),
            (u64::MAX, 600),
        ] {
            let refresh_after = refresh_after(Duration::from_secs(lifetime));
            assert_eq!(refresh_after, Duration::from_secs(seconds), "{lifetime}");
        }
    }

    #[test]
    fn polls_back_off_to_half_a_minute_or_their_interval() {
        for (interval, pauses) in [(5, [5, 10, 20, 30, 30]), (60, [60; 5])] {
            for (failures, seconds) in (0..).zip(pauses) {
                let pause = poll_after(interval * SECOND, failures, None, 0);
                assert_eq!(pause, seconds * SECOND);
            }
        }
        assert_eq!(poll_after(SECOND, u32::MAX, None, 0), 30 * SECOND);
    }

    proptest! {
        /// However fetches go, those for the sake of unknown keys keep their distance.
        #[test]
        fn demand_alone_never_causes_two_fetches_within_five_seconds(
            results in proptest::collection::vec(any::<bool>(), 1..40),
            took_millis in 0u64..3000,
        ) {
            let start = Instant::now();
            let mut schedule = Schedule::new(start);
            let (mut now, mut last_on_demand) = (start, None::<Instant>);
            for good in results {
                let due = schedule.due(true).max(now);
                if due < schedule.due(false) {
                    if let Some(last) = last_on_demand {
                        prop_assert!(due.duration_since(last) >= BETWEEN_ON_DEMAND);
                    }
                    last_on_demand = Some(due);
                }
                now = due + Duration::from_millis(took_millis);
                if good {
                    schedule.fetched(due, 150 * SECOND);
                } else {
                    schedule.failed(due, now, false, None, 0);
                }
            }
        }

        #[test]
        fn spreads_by_a_fifth_at_most(seconds in 0u64..1000, dice in any::<u64>()) {
            let pause = Duration::from_secs(seconds);
            let spread = spread(pause, dice);
            prop_assert!(spread <= pause && spread >= pause / 5 * 4);
        }
    }
}

use std::time::Duration;

use tokio::time::Instant;

const BETWEEN_ON_DEMAND: Duration = Duration::from_secs(5);
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

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

    pub(crate) fn may_fetch_on_demand(&self, now: Instant) -> bool {
        now >= self.on_demand_from
    }

    pub(crate) fn fetched(&mut self, at: Instant, refresh_after: Duration) {
        let on_demand = at < self.refresh_at;
        if on_demand {
            self.on_demand_from = at + BETWEEN_ON_DEMAND;
        }
        self.refresh_at = at + refresh_after;
        self.back_off = FIRST_BACK_OFF;
    }

    pub(crate) fn failed(&mut self, requested_at: Instant, now: Instant) {
        self.refresh_at = now + self.back_off;
        self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
        self.on_demand_from = requested_at + BETWEEN_ON_DEMAND;
    }
}

#[cfg(test)]
mod tests {
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
        assert!(!schedule.may_fetch_on_demand(start + 5 * SECOND));
        assert!(schedule.may_fetch_on_demand(start + 6 * SECOND));
    }

    #[test]
    fn backs_off_after_failures_and_forgets_them_after_a_success() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            schedule.failed(start, start);
            assert_eq!(schedule.due(false), start + seconds * SECOND);
            assert!(!schedule.may_fetch_on_demand(start + 4 * SECOND));
        }
        schedule.fetched(start, 150 * SECOND);
        schedule.failed(start, start);
        assert_eq!(schedule.due(false), start + SECOND);
    }
}

//! When to fetch the next descriptor. No clock in here: every moment comes in.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// A refresh begins this long before the end, so that its retries still come in time.
const MARGIN: Duration = Duration::from_secs(20);

const SHORTEST_USE: Duration = Duration::from_secs(1);

const WINDOW: Duration = Duration::from_mins(1);
const ATTEMPTS_PER_WINDOW: usize = 3;

const FIRST_BACK_OFF: Duration = Duration::from_secs(2);
const LONGEST_BACK_OFF: Duration = WINDOW;

/// A `Retry-After` beyond this is cut, so that one wrong answer can't silence a client for good.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// How long a descriptor of which `left` remains is used before it is replaced: until 20 s before
/// its end, at most two thirds of it, or sooner where the authority wants that; at least a third and
/// a second, so that short lifetimes don't turn into a flood.
pub(crate) fn refresh_after(left: Duration, authority_wants: Option<Duration>) -> Duration {
    let latest = left.saturating_sub(MARGIN).min(left * 2 / 3);
    authority_wants
        .map_or(latest, |wanted| wanted.min(latest))
        .max(left / 3)
        .max(SHORTEST_USE)
}

/// Why a refresh is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trigger {
    /// Its time has come.
    Due,
    /// The server refused the descriptor, or it has run out.
    Demanded,
}

/// The refreshes of the last minute: at most three that failed or were demanded.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    recent: VecDeque<Instant>,
    failures: u32,
    back_off_until: Option<Instant>,
}

impl Attempts {
    /// From when such an attempt may be made; none: at any time. Only failures delay one that is
    /// due: demands of the server can't keep a client from refreshing.
    pub(crate) fn allowed_from(&self, trigger: Trigger) -> Option<Instant> {
        if trigger == Trigger::Due && self.failures == 0 {
            return None;
        }
        let window_opens = if self.recent.len() < ATTEMPTS_PER_WINDOW {
            None
        } else {
            self.recent.front().map(|&oldest| oldest + WINDOW)
        };
        window_opens.max(self.back_off_until)
    }

    pub(crate) fn succeeded(&mut self, trigger: Trigger, now: Instant) {
        self.failures = 0;
        self.back_off_until = None;
        if trigger == Trigger::Demanded {
            self.record(now);
        }
    }

    pub(crate) fn failed(&mut self, now: Instant, retry_after: Option<Duration>) {
        let back_off = FIRST_BACK_OFF
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(LONGEST_BACK_OFF);
        let wanted = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        self.failures = self.failures.saturating_add(1);
        self.back_off_until = Some(now + back_off.max(wanted));
        self.record(now);
    }

    fn record(&mut self, now: Instant) {
        if self.recent.len() == ATTEMPTS_PER_WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn refreshes_ahead_of_expiry() {
        for (left, wanted, after) in [
            (120, None, 80),
            (60, None, 40),
            (45, None, 25),
            (30, None, 10),
            (21, None, 7),
            (3, None, 1),
            (1, None, 1),
            (60, Some(30), 30),
            (60, Some(50), 40),
            (60, Some(0), 20),
        ] {
            assert_eq!(
                refresh_after(s(left), wanted.map(s)),
                s(after),
                "{left} s left, {wanted:?} wanted"
            );
        }
    }

    /// Runs a background refresh that is due at 0 and fails again and again.
    fn failing(retry_after: &[Option<u64>]) -> Vec<u64> {
        let start = Instant::now();
        let mut attempts = Attempts::default();
        let mut now = start;
        retry_after
            .iter()
            .map(|wanted| {
                now = attempts.allowed_from(Trigger::Due).unwrap_or(start);
                attempts.failed(now, wanted.map(s));
                (now - start).as_secs()
            })
            .collect()
    }

    #[test]
    fn backs_off_by_doubling_within_three_attempts_a_minute() {
        assert_eq!(
            failing(&[None; 8]),
            // 0, 2, 6, then the window holds back, then the back-off of a minute.
            [0, 2, 6, 60, 76, 108, 168, 228]
        );
    }

    #[test]
    fn honours_retry_after_within_reason() {
        for (wanted, second_attempt) in [(1, 2), (7, 7), (300, 300), (u64::MAX, 3600)] {
            assert_eq!(
                failing(&[Some(wanted), None]),
                [0, second_attempt],
                "Retry-After: {wanted}"
            );
        }
    }

    #[test]
    fn demands_are_limited_and_due_refreshes_are_not() {
        let start = Instant::now();
        let mut attempts = Attempts::default();
        for second in [0, 1, 2] {
            assert_eq!(attempts.allowed_from(Trigger::Demanded), None);
            attempts.succeeded(Trigger::Demanded, start + s(second));
        }
        let window_opens = Some(start + s(60));
        assert_eq!(attempts.allowed_from(Trigger::Demanded), window_opens);
        assert_eq!(attempts.allowed_from(Trigger::Due), None);

        attempts.succeeded(Trigger::Due, start + s(10));
        assert_eq!(attempts.allowed_from(Trigger::Demanded), window_opens);
    }

    #[test]
    fn success_clears_the_back_off_and_a_due_one_leaves_no_trace() {
        let start = Instant::now();
        let mut attempts = Attempts::default();
        attempts.failed(start, Some(s(30)));
        assert_eq!(attempts.allowed_from(Trigger::Due), Some(start + s(30)));
        attempts.succeeded(Trigger::Due, start + s(30));
        assert_eq!(attempts.allowed_from(Trigger::Demanded), None);
        for minute in 1..10 {
            attempts.succeeded(Trigger::Due, start + s(60 * minute));
            assert_eq!(attempts.allowed_from(Trigger::Demanded), None);
        }
    }
}

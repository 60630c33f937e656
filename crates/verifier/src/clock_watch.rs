//! Watches how far this machine's clock is from the authority's.
//!
//! A descriptor's dates are compared with this machine's clock. If that is wrong by more than the
//! leeway, good descriptors are refused one by one, and nothing in a single refusal says why. The
//! authority dates its answers and signs dates, so the difference can be told.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::telemetry;

/// An error that lasts is told again this long after the last time.
const TELL_AGAIN_AFTER: Duration = Duration::from_mins(10);
/// How old a signed feed may be when it arrives: shared caching, the time limit of its request, and
/// the fraction of a second that its date leaves out.
const OLDEST_FEED: Duration = Duration::from_secs(6);

/// How far this machine's clock is ahead of the authority's: two bounds, in milliseconds, negative
/// where it is behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Reading {
    least: i64,
    most: i64,
}

impl Reading {
    /// From the `Date` and `Age` of an answer (RFC 9110, section 6.6.1; RFC 9111, section 5.1), between
    /// two looks at this machine's clock. Both are whole seconds, so they say up to one too little.
    pub(crate) fn of_answer(date: u64, age: Option<u64>, asked: Duration, now: Duration) -> Self {
        let date = Duration::from_secs(date.saturating_add(age.unwrap_or_default()));
        let rounding = Duration::from_secs(if age.is_some() { 2 } else { 1 });
        Self {
            least: difference(asked, date.saturating_add(rounding)),
            most: difference(now, date),
        }
    }

    /// From the date of a signed feed that has just been asked for.
    pub(crate) fn of_feed(issued_at: u64, asked: Duration, now: Duration) -> Self {
        let issued_at = Duration::from_secs(issued_at);
        Self {
            least: difference(asked, issued_at.saturating_add(OLDEST_FEED)),
            most: difference(now, issued_at),
        }
    }

    /// From a signed date that lies ahead of this machine's clock: the clock is behind by that much
    /// at least.
    pub(crate) fn of_date_ahead(signed: u64, now: Duration) -> Self {
        let behind = difference(
            Duration::from_secs(now.as_secs()),
            Duration::from_secs(signed),
        );
        Self {
            least: behind,
            most: behind,
        }
    }

    /// Whether the clocks differ by more than this for certain.
    fn exceeds(self, leeway: Duration) -> bool {
        let leeway = i64::try_from(leeway.as_millis()).unwrap_or(i64::MAX);
        self.least > leeway || self.most < -leeway
    }

    /// The middle, in whole seconds.
    const fn seconds(self) -> i64 {
        let middle = self.least.midpoint(self.most);
        middle.saturating_add(500).div_euclid(1000)
    }
}

/// In milliseconds: negative if the second is the later one.
fn difference(one: Duration, other: Duration) -> i64 {
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    millis(one).saturating_sub(millis(other))
}

/// How far this machine's clock is from the authority's, as far as is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClockStatus {
    /// By how many seconds this machine's clock is ahead; negative if it is behind.
    pub offset_seconds: i64,
    /// Whether the clocks differ by more than the leeway, so that good descriptors are refused.
    pub wrong: bool,
}

impl fmt::Display for ClockStatus {
    /// "this machine's clock is 300 s behind the authority's"
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.offset_seconds < 0 {
            "behind"
        } else {
            "ahead of"
        };
        write!(
            f,
            "this machine's clock is {} s {direction} the authority's",
            self.offset_seconds.unsigned_abs()
        )
    }
}

/// Keeps the newest reading, and tells the operator when it gets bad, and when it is good again.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    leeway: Duration,
    told: Mutex<Told>,
    is_wrong: AtomicBool,
    /// The second in which a refused descriptor's signature was last checked.
    examined: AtomicU64,
}

#[derive(Debug, Default)]
struct Told {
    latest: Option<ClockStatus>,
    wrong_at: Option<Instant>,
    is_open: bool,
}

/// What the operator is to be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum News {
    RightAgain,
    Wrong,
}

impl Told {
    /// At most one error each ten minutes, however the readings change.
    fn take(&mut self, status: ClockStatus, now: Instant) -> Option<News> {
        self.latest = Some(status);
        let is_due = |at: &Instant| now.saturating_duration_since(*at) >= TELL_AGAIN_AFTER;
        if status.wrong && self.wrong_at.as_ref().is_none_or(is_due) {
            self.wrong_at = Some(now);
            self.is_open = true;
            Some(News::Wrong)
        } else if !status.wrong && self.is_open {
            self.is_open = false;
            Some(News::RightAgain)
        } else {
            None
        }
    }
}

impl ClockWatch {
    pub(crate) fn new(leeway: Duration) -> Self {
        Self {
            leeway,
            told: Mutex::default(),
            is_wrong: AtomicBool::new(false),
            examined: AtomicU64::new(0),
        }
    }

    /// Takes note of a reading, and tells of it if it is news.
    pub(crate) fn take(&self, reading: Reading, now: Instant) {
        let status = ClockStatus {
            offset_seconds: reading.seconds(),
            wrong: reading.exceeds(self.leeway),
        };
        self.is_wrong.store(status.wrong, Ordering::Relaxed);
        telemetry::clock_compared(status.offset_seconds);
        // No code under the lock can leave it half changed.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let news = told.take(status, now);
        drop(told);
        match news {
            Some(News::Wrong) => tracing::error!(
                offset_seconds = status.offset_seconds,
                leeway_seconds = self.leeway.as_secs(),
                "{status}, which is more than the leeway: good descriptors are refused until the \
                 clock is set",
            ),
            Some(News::RightAgain) => tracing::info!(
                offset_seconds = status.offset_seconds,
                "this machine's clock is right again",
            ),
            None => {}
        }
    }

    pub(crate) fn status(&self) -> Option<ClockStatus> {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .latest
    }

    /// Whether good descriptors are refused for it at present.
    pub(crate) fn is_wrong(&self) -> bool {
        self.is_wrong.load(Ordering::Relaxed)
    }

    /// Whether it is worth a signature check to find out that a descriptor from the future is
    /// authentic: once a second at most.
    pub(crate) fn wants_evidence(&self, now: Duration) -> bool {
        self.examined.swap(now.as_secs(), Ordering::Relaxed) != now.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const LEEWAY: Duration = Duration::from_secs(5);

    #[test]
    fn a_difference_is_told_in_words() {
        for (offset_seconds, text) in [
            (-300, "this machine's clock is 300 s behind the authority's"),
            (60, "this machine's clock is 60 s ahead of the authority's"),
        ] {
            let status = ClockStatus {
                offset_seconds,
                wrong: true,
            };
            assert_eq!(status.to_string(), text);
        }
    }

    #[test]
    fn dates_ahead_say_how_much_the_clock_is_behind() {
        let reading = Reading::of_date_ahead(1_306, ms(1_000_900));
        assert_eq!(reading.seconds(), -306);
        assert!(reading.exceeds(LEEWAY));
    }

    #[test]
    fn an_error_is_told_once_in_ten_minutes_and_its_end_once() {
        let start = Instant::now();
        let mut told = Told::default();
        let mut take = |seconds: u64, wrong: bool| {
            let status = ClockStatus {
                offset_seconds: -300,
                wrong,
            };
            told.take(status, start + Duration::from_secs(seconds))
        };
        assert_eq!(take(0, false), None);
        assert_eq!(take(1, true), Some(News::Wrong));
        for second in 2..600 {
            assert_eq!(take(second, true), None);
        }
        assert_eq!(take(601, true), Some(News::Wrong));
        assert_eq!(take(602, false), Some(News::RightAgain));
        assert_eq!(take(603, false), None);
        // It comes and goes, which is told no oftener.
        assert_eq!(take(604, true), None);
        assert_eq!(take(605, false), None);
        assert_eq!(take(1201, true), Some(News::Wrong));
    }

    #[test]
    fn one_signature_a_second_is_checked_for_evidence() {
        let watch = ClockWatch::new(LEEWAY);
        let asked: Vec<_> = [1000, 1001, 1999, 2000, 2000]
            .map(|millis| watch.wants_evidence(ms(millis)))
            .into();
        assert_eq!(asked, [true, false, false, true, false]);
    }

    proptest! {
        /// However slow answers are: a clock within the leeway is never called wrong, and one that is
        /// wrong by more than the leeway and what can't be known always is.
        #[test]
        fn only_a_wrong_clock_is_called_wrong(
            authority in 1_000_000u64..2_000_000, there in 0u64..3000, back in 0u64..3000,
            offset in -900_000i64..900_000, age in proptest::option::of(0u64..100),
        ) {
            let machine = |at: u64| ms(at.checked_add_signed(offset).unwrap());
            let (asked, answered) = (authority - there, authority + back);
            let date = authority / 1000 - age.unwrap_or_default();
            let reading = Reading::of_answer(date, age, machine(asked), machine(answered));
            let unknown = i64::try_from(there + back).unwrap() + 2000;
            if offset.abs() <= 5000 {
                prop_assert!(!reading.exceeds(LEEWAY));
            }
            if offset.abs() > 5000 + unknown {
                prop_assert!(reading.exceeds(LEEWAY));
                prop_assert!((reading.seconds() * 1000 - offset).abs() <= unknown);
            }
            let feed = Reading::of_feed(authority / 1000, machine(authority), machine(answered));
            if offset.abs() <= 5000 {
                prop_assert!(!feed.exceeds(LEEWAY));
            }
        }
    }
}

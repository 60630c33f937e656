//! When a provider's keys are good enough, and when they are looked for again. All times are
//! milliseconds since the Unix epoch.

/// A key that the provider has removed is refused after this at the latest, while the provider
/// answers.
const FRESH_MILLIS: u64 = 10 * 60_000;

/// From here on keys are renewed while they are used, so that nobody waits for it.
const RENEW_MILLIS: u64 = FRESH_MILLIS / 2;

/// How long the last keys are used of a provider that doesn't answer.
pub(crate) const KEPT_MILLIS: u64 = 60 * 60_000;

/// Between two looks for the keys of one provider, whatever is asked for: no flood of made-up key
/// ids gets through to it. A key that was not published beforehand may have to wait for as long.
const LOOK_AGAIN_MILLIS: u64 = 30_000;

/// A look that takes longer has died.
const LOOK_LIMIT_MILLIS: u64 = 10_000;

/// By how much the clocks of two places may differ.
const CLOCK_SKEW_MILLIS: u64 = 60_000;

/// What is known of when.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Holding {
    /// When the keys that are held were got from the provider, if any are held.
    pub(crate) fetched_at: Option<u64>,
    /// When somebody last looked for newer ones.
    pub(crate) looked_at: Option<u64>,
    /// Whether that somebody is still at it.
    pub(crate) looking: bool,
}

/// What to do for a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Check it with the key that fits.
    Use,
    /// … and look for newer keys meanwhile.
    UseAndLook,
    /// Look for newer keys, and ask again.
    Look,
    /// Somebody is looking; ask again in a moment.
    Wait,
    /// No key of the provider fits.
    Refuse,
    /// Nothing can be said of the provider's keys.
    Unavailable,
}

impl Holding {
    /// `fits`: whether one of the keys held fits the token.
    pub(crate) fn step(&self, fits: bool, now: u64) -> Step {
        // A date ahead by more than clocks differ is nobody's: keys under it are never used.
        let since = |at: Option<u64>| {
            at.filter(|at| *at <= now.saturating_add(CLOCK_SKEW_MILLIS))
                .map_or(u64::MAX, |at| now.saturating_sub(at))
        };
        let (age, looked) = (since(self.fetched_at), since(self.looked_at));
        let looking = self.looking && looked < LOOK_LIMIT_MILLIS;
        let may_look = !looking && (self.looking || looked >= LOOK_AGAIN_MILLIS);
        match (fits, age) {
            (true, ..RENEW_MILLIS) => Step::Use,
            (true, ..FRESH_MILLIS) if may_look => Step::UseAndLook,
            (true, ..FRESH_MILLIS) => Step::Use,
            _ if may_look => Step::Look,
            (true, ..KEPT_MILLIS) => Step::Use,
            _ if looking => Step::Wait,
            (false, ..KEPT_MILLIS) => Step::Refuse,
            _ => Step::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const MINUTE: u64 = 60_000;

    fn held(age: u64, looked: u64, looking: bool) -> Holding {
        Holding {
            fetched_at: Some(NOW - age),
            looked_at: Some(NOW - looked),
            looking,
        }
    }

    #[test]
    fn a_key_that_fits_is_used_while_it_is_fresh_and_renewed_before_it_isnt() {
        for (age, looked, looking, step) in [
            (0, 0, false, Step::Use),
            (5 * MINUTE - 1, 5 * MINUTE, false, Step::Use),
            (5 * MINUTE, 5 * MINUTE, false, Step::UseAndLook),
            (5 * MINUTE, 29_999, false, Step::Use),
            (5 * MINUTE, 1, true, Step::Use),
            (10 * MINUTE, 30_000, false, Step::Look),
            // The provider doesn't answer: what is held is used, for an hour.
            (10 * MINUTE, 29_999, false, Step::Use),
            (60 * MINUTE - 1, 1, false, Step::Use),
            (60 * MINUTE, 1, false, Step::Unavailable),
            (60 * MINUTE, 1, true, Step::Wait),
            // Who looked has died.
            (60 * MINUTE, 10_000, true, Step::Look),
        ] {
            assert_eq!(
                held(age, looked, looking).step(true, NOW),
                step,
                "{age} {looked}"
            );
        }
    }

    #[test]
    fn a_key_that_nobody_has_is_looked_for_now_and_then() {
        for (age, looked, looking, step) in [
            (0, 30_000, false, Step::Look),
            (0, 29_999, false, Step::Refuse),
            (0, 1, true, Step::Wait),
            (0, 10_000, true, Step::Look),
            (60 * MINUTE, 1, false, Step::Unavailable),
        ] {
            assert_eq!(
                held(age, looked, looking).step(false, NOW),
                step,
                "{age} {looked}"
            );
        }
        let nothing = Holding::default();
        assert_eq!(nothing.step(false, NOW), Step::Look);
        let failed = Holding {
            looked_at: Some(NOW - 1),
            ..nothing
        };
        assert_eq!(failed.step(false, NOW), Step::Unavailable);
    }

    #[test]
    fn keys_from_the_future_are_never_used() {
        let ahead = |millis| Holding {
            fetched_at: Some(NOW + millis),
            looked_at: Some(NOW),
            looking: false,
        };
        assert_eq!(ahead(CLOCK_SKEW_MILLIS).step(true, NOW), Step::Use);
        let poisoned = ahead(CLOCK_SKEW_MILLIS + 1);
        assert_eq!(poisoned.step(true, NOW), Step::Unavailable);
    }

    proptest! {
        /// Whatever is asked for, looks are apart, and no key is used for more than an hour.
        #[test]
        fn the_provider_is_left_in_peace(
            age in 0..2 * KEPT_MILLIS,
            looked in 0..2 * LOOK_AGAIN_MILLIS,
            looking: bool,
            fits: bool,
        ) {
            let step = held(age, looked, looking).step(fits, NOW);
            if matches!(step, Step::Look | Step::UseAndLook) {
                prop_assert!(looked >= LOOK_AGAIN_MILLIS || (looking && looked >= LOOK_LIMIT_MILLIS));
            }
            if matches!(step, Step::Use | Step::UseAndLook) {
                prop_assert!(fits && age < KEPT_MILLIS);
            }
        }
    }
}

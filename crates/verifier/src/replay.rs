//! Which proofs were shown already: each is good once.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hash, RandomState},
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mcp_connect_descriptor::{MAX_LEEWAY_SECONDS, MAX_PROOF_AGE_SECONDS};
use tokio::time::Instant;

/// Longer than any proof is good for: from when a clock ahead of ours made it, through its last
/// second.
const REMEMBER: Duration = Duration::from_secs(MAX_LEEWAY_SECONDS + MAX_PROOF_AGE_SECONDS + 2);
/// One caller may fill this part of the memory. What the others have left is theirs.
const CALLER_SHARE: usize = 4;

/// A bounded memory of proofs. Nothing is forgotten while it could be shown again: where there is no
/// room, what is new is refused.
#[derive(Debug)]
pub(crate) struct ReplayCache {
    capacity: usize,
    /// Its keys are random: nobody can find a proof that would pass for another's.
    hasher: RandomState,
    generations: Mutex<Generations>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ReplayFault {
    #[error("the caller has shown as many proofs within a minute as can be remembered of one")]
    CallerFull,
    #[error("as many proofs were shown within a minute as can be remembered")]
    Full,
    #[error("it was shown before")]
    Seen,
}

/// What was seen is forgotten a whole generation at a time: no timers, and no dates to keep.
#[derive(Debug)]
struct Generations {
    current: Generation,
    previous: Generation,
    /// When the current one began.
    since: Instant,
}

#[derive(Debug, Default)]
struct Generation {
    seen: HashSet<u64>,
    of_caller: HashMap<u64, usize>,
}

impl ReplayCache {
    /// Remembers at most `capacity` proofs.
    pub(crate) fn new(capacity: usize, now: Instant) -> Self {
        Self {
            capacity,
            hasher: RandomState::new(),
            generations: Mutex::new(Generations {
                current: Generation::default(),
                previous: Generation::default(),
                since: now,
            }),
        }
    }

    /// Takes note of a proof, named by what makes it unique, that was found good otherwise.
    pub(crate) fn admit(
        &self,
        proof: impl Hash,
        caller: impl Hash,
        now: Instant,
    ) -> Result<(), ReplayFault> {
        let (proof, caller) = (self.hasher.hash_one(proof), self.hasher.hash_one(caller));
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        generations.turn(now);
        let Generations {
            current, previous, ..
        } = &mut *generations;

        if current.seen.contains(&proof) || previous.seen.contains(&proof) {
            return Err(ReplayFault::Seen);
        }
        if current.of(caller) + previous.of(caller) >= self.capacity.div_ceil(CALLER_SHARE) {
            return Err(ReplayFault::CallerFull);
        }
        if current.seen.len() + previous.seen.len() >= self.capacity {
            return Err(ReplayFault::Full);
        }
        current.seen.insert(proof);
        *current.of_caller.entry(caller).or_default() += 1;
        Ok(())
    }
}

impl Generations {
    /// A generation begins when the one before has lasted for as long as a proof is remembered.
    fn turn(&mut self, now: Instant) {
        let lasted = now.saturating_duration_since(self.since);
        if lasted < REMEMBER {
            return;
        }
        self.previous = mem::take(&mut self.current);
        if lasted >= 2 * REMEMBER {
            self.previous = Generation::default();
        }
        self.since = now;
    }
}

impl Generation {
    fn of(&self, caller: u64) -> usize {
        self.of_caller.get(&caller).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_proof_is_good_once_for_as_long_as_it_could_be_shown() {
        let begin = Instant::now();
        let cache = ReplayCache::new(100, begin);
        for first in [0, 1, 30, 66, 67, 68, 200] {
            let at = |seconds: u64| {
                begin
                    + SECOND * 1000 * u32::try_from(first).unwrap()
                    + SECOND * u32::try_from(seconds).unwrap()
            };
            assert_eq!(cache.admit(first, "a", at(first)), Ok(()));
            for later in [0, 1, 33, 65, 66] {
                let again = cache.admit(first, "a", at(first + later));
                assert_eq!(again, Err(ReplayFault::Seen), "{first} + {later}");
            }
        }
    }

    #[test]
    fn proofs_are_forgotten_in_the_end() {
        let begin = Instant::now();
        let cache = ReplayCache::new(4, begin);
        let mut now = begin;
        for proof in 0..100 {
            assert_eq!(cache.admit(proof, proof, now), Ok(()), "{proof}");
            now += REMEMBER / 2;
        }
        let generations = cache.generations.lock().unwrap();
        assert!(generations.current.seen.len() + generations.previous.seen.len() <= 4);
        assert!(generations.current.of_caller.len() + generations.previous.of_caller.len() <= 4);
    }

    #[test]
    fn a_flood_of_one_caller_lets_no_replay_through_and_shuts_nobody_out() {
        let begin = Instant::now();
        let cache = ReplayCache::new(100, begin);
        assert_eq!(cache.admit("first", "flooder", begin), Ok(()));
        let refused = (0..1000)
            .filter(|proof| cache.admit(proof, "flooder", begin) == Err(ReplayFault::CallerFull))
            .count();
        assert_eq!(refused, 976);
        assert_eq!(
            cache.admit("first", "flooder", begin),
            Err(ReplayFault::Seen)
        );
        assert_eq!(cache.admit("another", "somebody else", begin), Ok(()));
        // Still so in the second half of their memory.
        let later = begin + REMEMBER;
        assert_eq!(
            cache.admit("first", "flooder", later),
            Err(ReplayFault::Seen)
        );
        assert_eq!(
            cache.admit("new", "flooder", later),
            Err(ReplayFault::CallerFull)
        );
    }

    #[test]
    fn where_there_is_no_room_what_is_new_is_refused() {
        let begin = Instant::now();
        let cache = ReplayCache::new(8, begin);
        for proof in 0..8 {
            assert_eq!(cache.admit(proof, proof, begin), Ok(()));
        }
        assert_eq!(cache.admit(8, 8, begin), Err(ReplayFault::Full));
        assert_eq!(cache.admit(0, 0, begin), Err(ReplayFault::Seen));
        assert_eq!(cache.admit(8, 8, begin + 2 * REMEMBER), Ok(()));
    }

    proptest! {
        /// Against a memory without bounds.
        #[test]
        fn no_proof_is_admitted_twice_within_its_life(
            shown in prop::collection::vec((0_u8..20, 0_u8..5, 0_u64..40), 0..200),
            capacity in 1_usize..40,
        ) {
            let mut now = Instant::now();
            let cache = ReplayCache::new(capacity, now);
            let mut admitted = HashMap::new();
            for (proof, caller, pause) in shown {
                now += SECOND * u32::try_from(pause).unwrap();
                if cache.admit(proof, caller, now).is_ok()
                    && let Some(before) = admitted.insert(proof, now)
                {
                    prop_assert!(now - before >= REMEMBER);
                }
                let generations = cache.generations.lock().unwrap();
                let kept = generations.current.seen.len() + generations.previous.seen.len();
                prop_assert!(kept <= capacity);
            }
        }
    }
}

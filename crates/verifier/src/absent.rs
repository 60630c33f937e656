use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

const MAX_ABSENT: usize = 1024;
/// Short, so that a key id can't be kept out by naming it before its key is published.
const ABSENT_FOR: Duration = Duration::from_secs(10);

/// Key ids that a fetch has shown not to exist, oldest first.
#[derive(Default)]
pub(crate) struct Absent(VecDeque<(String, Instant)>);

impl Absent {
    pub(crate) fn contains(&mut self, key_id: &str, now: Instant) -> bool {
        while self
            .0
            .front()
            .is_some_and(|(_, since)| now.duration_since(*since) >= ABSENT_FOR)
        {
            self.0.pop_front();
        }
        self.0.iter().any(|(absent, _)| absent == key_id)
    }

    pub(crate) fn insert(&mut self, key_id: String, now: Instant) {
        if self.contains(&key_id, now) {
            return;
        }
        if self.0.len() == MAX_ABSENT {
            self.0.pop_front();
        }
        self.0.push_back((key_id, now));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn absent_keys_are_bounded_in_number_and_time() {
        let start = Instant::now();
        let mut absent = Absent::default();
        for number in 0..=MAX_ABSENT {
            absent.insert(format!("kid-{number}"), start);
        }
        assert_eq!(absent.0.len(), MAX_ABSENT);
        assert!(!absent.contains("kid-0", start));
        assert!(absent.contains("kid-1", start));
        assert!(absent.contains("kid-1", start + Duration::from_millis(9999)));
        assert!(!absent.contains("kid-1", start + Duration::from_secs(10)));
        assert!(absent.0.is_empty());
    }

    proptest! {
        /// Below its capacity it is a map with expiry, whose dates aren't renewed: a key id that is
        /// named again and again is looked up again in time.
        #[test]
        fn remembers_exactly_as_long_as_it_should(
            steps in proptest::collection::vec((0u8..4, 0u64..4000, any::<bool>()), 1..60),
        ) {
            let mut now = Instant::now();
            let mut absent = Absent::default();
            let mut model: HashMap<u8, Instant> = HashMap::new();
            for (key, pause, insert) in steps {
                now += Duration::from_millis(pause);
                model.retain(|_, since| now.duration_since(*since) < ABSENT_FOR);
                if insert {
                    absent.insert(key.to_string(), now);
                    model.entry(key).or_insert(now);
                }
                prop_assert_eq!(absent.contains(&key.to_string(), now), model.contains_key(&key));
            }
        }
    }
}

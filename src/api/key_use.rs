//! When API keys were last used, to the hour: collected in the isolate, written now and then behind
//! an answer. An isolate that ends may take a minute of it along.

use std::{cell::RefCell, collections::HashSet};

use super::App;
use crate::platform::{log, now_millis};

const HOUR_MILLIS: u64 = 60 * 60 * 1000;
const FLUSH_MILLIS: u64 = 60_000;
/// Beyond that, some are written twice in an hour.
const MAX_KNOWN: usize = 10_000;

thread_local! {
    static USES: RefCell<Uses> = RefCell::default();
}

#[derive(Default)]
struct Uses {
    /// When it began.
    hour: u64,
    /// Keys whose use in this hour is written, or will be.
    known: HashSet<String>,
    pending: Vec<String>,
    flushed_at: u64,
}

/// That this key has just proven its client.
pub(crate) fn note(app: &App, key_id: &str) {
    let due = USES.with_borrow_mut(|uses| uses.note(key_id, now_millis()));
    if let Some((hour, keys)) = due {
        let store = app.store.clone();
        app.context.wait_until(async move {
            if let Err(error) = store.touch_keys(&keys, hour).await {
                log::error("key_use_failed", &[("problem", &error.to_string())]);
                USES.with_borrow_mut(|uses| uses.put_back(hour, keys));
            }
        });
    }
}

impl Uses {
    /// What is to be written now: an hour, and the keys used in it.
    fn note(&mut self, key_id: &str, now: u64) -> Option<(u64, Vec<String>)> {
        let hour = now - now % HOUR_MILLIS;
        let mut left = None;
        if self.hour != hour {
            left = Some((self.hour, std::mem::take(&mut self.pending)));
            self.hour = hour;
            self.known.clear();
        } else if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        if !self.known.contains(key_id) {
            self.known.insert(key_id.to_owned());
            self.pending.push(key_id.to_owned());
        }
        let left = left.filter(|(_, keys)| !keys.is_empty());
        if left.is_some() {
            return left;
        }
        if self.pending.is_empty() || now.saturating_sub(self.flushed_at) < FLUSH_MILLIS {
            return None;
        }
        self.flushed_at = now;
        Some((hour, std::mem::take(&mut self.pending)))
    }

    /// What could not be written is tried again, unless it is of an hour that has passed.
    fn put_back(&mut self, hour: u64, keys: Vec<String>) {
        if self.hour == hour && self.pending.len() < MAX_KNOWN {
            self.pending.extend(keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 500_000 * HOUR_MILLIS;

    #[test]
    fn a_key_is_written_once_an_hour_and_not_each_minute() {
        let mut uses = Uses::default();
        let mut note = |key: &str, at| uses.note(key, HOUR + at);
        assert_eq!(note("a", 5), Some((HOUR, vec!["a".to_owned()])));
        for at in [6, 59_999, 120_000, HOUR_MILLIS - 1] {
            assert_eq!(note("a", at), None);
        }
        let next = HOUR + HOUR_MILLIS;
        assert_eq!(note("a", HOUR_MILLIS), Some((next, vec!["a".to_owned()])));
    }

    #[test]
    fn what_comes_between_is_written_together() {
        let mut uses = Uses::default();
        let mut note = |key: &str, at| uses.note(key, HOUR + at);
        assert!(note("a", 0).is_some());
        assert_eq!(note("b", 1), None);
        assert_eq!(note("c", 2), None);
        assert_eq!(note("b", 59_999), None);
        let keys = ["b", "c"].map(str::to_owned).to_vec();
        assert_eq!(note("a", 60_000), Some((HOUR, keys)));
        assert_eq!(note("a", 120_000), None);
    }

    #[test]
    fn what_is_left_of_an_hour_is_written_as_of_that_hour() {
        let mut uses = Uses::default();
        let mut note = |key: &str, at| uses.note(key, HOUR + at);
        assert!(note("a", 0).is_some());
        assert_eq!(note("b", 1), None);
        let later = 5 * HOUR_MILLIS;
        assert_eq!(note("a", later), Some((HOUR, vec!["b".to_owned()])));
        assert_eq!(
            note("a", later + 1),
            Some((HOUR + later, vec!["a".to_owned()]))
        );
    }

    #[test]
    fn what_could_not_be_written_is_tried_again_within_its_hour() {
        let mut uses = Uses::default();
        let (hour, keys) = uses.note("a", HOUR).unwrap();
        uses.put_back(hour, keys);
        assert_eq!(uses.note("a", HOUR + 59_999), None);
        let again = uses.note("a", HOUR + 60_000);
        assert_eq!(again, Some((HOUR, vec!["a".to_owned()])));

        let (hour, keys) = again.unwrap();
        let next = HOUR + HOUR_MILLIS;
        uses.note("b", next);
        uses.put_back(hour, keys);
        assert!(uses.pending.is_empty());
    }

    #[test]
    fn the_memory_has_an_end() {
        let mut uses = Uses::default();
        for n in 0..3 * MAX_KNOWN {
            uses.note(&n.to_string(), HOUR + n as u64 * FLUSH_MILLIS / 1000);
            assert!(uses.known.len() <= MAX_KNOWN && uses.pending.len() <= MAX_KNOWN);
        }
    }
}

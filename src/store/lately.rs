//! The latest changes of servers that this isolate knows of. They tell whether a copy is as its server is,
//! whatever KV shows of it: each copy has the number of the last change before it was loaded.

use std::{cell::RefCell, collections::HashMap};

use super::Row;

/// What was learned so long ago is asked for anew, before a copy is believed.
const LEARNED_FOR_MILLIS: u64 = 1_000;
/// The most changes that are followed one by one, and the most servers that are remembered.
const MAX_FOLLOWED: usize = 100;
const MAX_REMEMBERED: usize = 2_000;
/// How long a copy is not written again, unless its server changed.
const KEPT_MILLIS: u64 = 2_000;
/// The longest that a renewal takes which began.
const RENEWAL_MILLIS: u64 = 20_000;

thread_local! {
    static LATELY: RefCell<Lately> = RefCell::default();
}

#[derive(Default)]
struct Lately {
    /// The newest question that was answered: when it was put, in milliseconds since the Unix epoch, and its turn.
    asked_at: u64,
    answered: u64,
    /// Counts questions and changes in the order in which they come.
    turn: u64,
    /// Every change after `since` and up to `seq` is known.
    since: u64,
    seq: u64,
    /// The last known change of a server.
    changed: HashMap<String, u64>,
    /// Servers that were changed since D1 was asked last, and at which turn.
    in_doubt: HashMap<String, u64>,
    /// Servers whose copies are about to be renewed, and since when.
    renewing: HashMap<String, u64>,
    /// Servers whose copies were kept for readers: with which number, and when.
    kept: HashMap<String, (u64, u64)>,
}

impl Lately {
    /// Whether a copy with this number is as its server was when D1 was asked last. One with a later number than
    /// D1 told of is not: its database was restored from an earlier state meanwhile.
    fn is_current(&self, name: &str, seq: u64) -> bool {
        seq <= self.seq && seq >= self.since && !self.is_outdated(name, seq)
    }

    /// Whether its server is known to have changed since.
    fn is_outdated(&self, name: &str, seq: u64) -> bool {
        self.in_doubt.contains_key(name) || self.changed.get(name).is_some_and(|last| seq < *last)
    }

    fn ask(&mut self, now: u64) -> Question {
        self.turn += 1;
        Question {
            after: self.seq,
            asked_at: now,
            turn: self.turn,
        }
    }

    fn doubt(&mut self, name: &str) {
        self.turn += 1;
        self.in_doubt.insert(name.to_owned(), self.turn);
    }

    /// Takes in an answer: `head` is the number of the last change that there is, and `changes` are the newest, each
    /// with its server.
    fn learn(&mut self, question: &Question, head: u64, changes: &[(&str, u64)]) {
        // Less than what was known before: the database was restored from an earlier state.
        if head < self.seq && question.turn > self.answered {
            self.since = self.since.min(head);
            self.seq = head;
            self.changed.clear();
        }
        if changes.len() >= MAX_FOLLOWED
            && let Some((_, oldest)) = changes.last()
        {
            self.since = self.since.max(oldest.saturating_sub(1));
        }
        for (name, seq) in changes {
            let last = self.changed.entry((*name).to_owned()).or_default();
            *last = (*last).max(*seq);
        }
        self.seq = self.seq.max(head);
        self.asked_at = self.asked_at.max(question.asked_at);
        self.answered = self.answered.max(question.turn);
        self.in_doubt.retain(|_, turn| *turn > question.turn);
        if self.changed.len() > MAX_REMEMBERED {
            self.since = self.seq;
            self.changed.clear();
        }
    }

    fn wants_copy(&mut self, name: &str, seq: u64, now: u64) -> bool {
        let is_there = self.kept.get(name).is_some_and(|(kept, at)| {
            now.saturating_sub(*at) < KEPT_MILLIS && !self.is_outdated(name, *kept)
        });
        if !is_there {
            if self.kept.len() >= MAX_REMEMBERED {
                self.kept.clear();
            }
            self.kept.insert(name.to_owned(), (seq, now));
        }
        !is_there
    }
}

/// What D1 is asked for: the newest changes after those that are known, newest first, and the number of the last one.
pub(super) struct Question {
    pub(super) after: u64,
    asked_at: u64,
    turn: u64,
}

impl Question {
    pub(super) fn put(now: u64) -> Self {
        LATELY.with_borrow_mut(|lately| lately.ask(now))
    }

    /// With `after` as its parameter.
    pub(super) fn sql() -> String {
        format!(
            "SELECT coalesce(max(seq), 0) AS head, NULL AS name, 0 AS seq FROM changes UNION ALL
             SELECT * FROM (SELECT 0, s.name, c.seq
               FROM (SELECT seq, server_id FROM changes WHERE seq > ?1 ORDER BY seq DESC LIMIT {MAX_FOLLOWED}) c
               CROSS JOIN servers s ON s.id = c.server_id ORDER BY c.seq DESC)"
        )
    }

    /// Takes in the answer, and gives the number of the last change that there was.
    pub(super) fn learn(&self, rows: &[Row]) -> u64 {
        let head = rows.first().and_then(|row| row.number("head")).unwrap_or(0);
        let changes: Vec<(&str, u64)> = rows
            .iter()
            .filter_map(|row| row.optional("name").zip(row.number("seq")))
            .collect();
        LATELY.with_borrow_mut(|lately| lately.learn(self, head, &changes));
        head
    }
}

/// Notes that a server was changed. Its copies are in doubt until D1 answers what was asked afterwards.
pub(super) fn doubt(name: &str) {
    LATELY.with_borrow_mut(|lately| lately.doubt(name));
}

/// Whether a copy with this number is current. `None`: D1 must be asked first.
pub(super) fn is_current(name: &str, seq: u64, now: u64) -> Option<bool> {
    LATELY.with_borrow(|lately| {
        let is_known =
            now.saturating_sub(lately.asked_at) < LEARNED_FOR_MILLIS && seq <= lately.seq;
        if is_known {
            Some(lately.is_current(name, seq))
        } else {
            lately.is_outdated(name, seq).then_some(false)
        }
    })
}

/// Whether a copy was current when D1 was asked last.
pub(super) fn was_current(name: &str, seq: u64) -> bool {
    LATELY.with_borrow(|lately| lately.is_current(name, seq))
}

/// Whether this isolate knows of a later change.
pub(super) fn is_outdated(name: &str, seq: u64) -> bool {
    LATELY.with_borrow(|lately| lately.is_outdated(name, seq))
}

/// The number of the last change that this isolate knows of.
pub(super) fn seq() -> u64 {
    LATELY.with_borrow(|lately| lately.seq)
}

/// Whether a copy that was loaded for a reader has to be written.
pub(super) fn wants_copy(name: &str, seq: u64, now: u64) -> bool {
    LATELY.with_borrow_mut(|lately| lately.wants_copy(name, seq, now))
}

/// Whether the renewal of a copy is the caller's. If not, another request of this isolate is going to renew it,
/// and has not asked D1 yet.
pub(super) fn begin_renewal(name: &str, now: u64) -> bool {
    LATELY.with_borrow_mut(|lately| {
        let began_at = lately.renewing.get(name);
        let is_free =
            began_at.is_none_or(|began_at| now.saturating_sub(*began_at) > RENEWAL_MILLIS);
        if is_free {
            lately.renewing.insert(name.to_owned(), now);
        }
        is_free
    })
}

/// Leaves the next renewal to others, before D1 is asked for this one.
pub(super) fn end_renewal(name: &str) {
    LATELY.with_borrow_mut(|lately| lately.renewing.remove(name));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D1's list of changes, each server once, as a question reads it.
    #[derive(Default)]
    struct Log(Vec<(String, u64)>);

    impl Log {
        fn change(&mut self, name: &str) -> u64 {
            let seq = self.head() + 1;
            self.0.retain(|(changed, _)| changed != name);
            self.0.push((name.to_owned(), seq));
            seq
        }

        fn head(&self) -> u64 {
            self.0.last().map_or(0, |(_, seq)| *seq)
        }

        fn answer(&self, lately: &mut Lately, question: &Question) {
            let changes: Vec<(&str, u64)> = self
                .0
                .iter()
                .rev()
                .filter(|(_, seq)| *seq > question.after)
                .map(|(name, seq)| (name.as_str(), *seq))
                .take(MAX_FOLLOWED)
                .collect();
            lately.learn(question, self.head(), &changes);
        }

        fn tell(&self, lately: &mut Lately) {
            let question = lately.ask(0);
            self.answer(lately, &question);
        }
    }

    /// The same numbers each time.
    fn numbers(mut state: u64) -> impl FnMut(u64) -> u64 {
        move |below| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        }
    }

    #[test]
    fn no_copy_from_before_a_change_is_current() {
        for seed in 0..50 {
            let mut next = numbers(seed);
            let (mut log, mut lately) = (Log::default(), Lately::default());
            let mut copies: Vec<(String, u64)> = Vec::new();
            for _ in 0..400 {
                let name = format!("s{}", next(300));
                match next(4) {
                    0 => (0..next(150)).for_each(|_| {
                        log.change(&format!("s{}", next(300)));
                    }),
                    1 => copies.push((name, log.head())),
                    2 => {
                        log.change(&name);
                    }
                    _ => {
                        log.tell(&mut lately);
                        for (name, seq) in &copies {
                            let last = log.0.iter().find(|(changed, _)| changed == name);
                            let is_old = last.is_some_and(|(_, last)| last > seq);
                            assert!(!(is_old && lately.is_current(name, *seq)), "{seed} {name}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_copy_stays_current_through_changes_of_others() {
        let (mut log, mut lately) = (Log::default(), Lately::default());
        log.change("one");
        let seq = log.head();
        log.tell(&mut lately);
        log.change("two");
        log.tell(&mut lately);
        assert!(lately.is_current("one", seq));
        let renewed = log.change("one");
        log.tell(&mut lately);
        assert!(!lately.is_current("one", seq) && lately.is_outdated("one", seq));
        assert!(lately.is_current("one", renewed));
    }

    #[test]
    fn a_change_of_its_own_is_in_doubt_until_d1_answers_what_was_asked_afterwards() {
        let (mut log, mut lately) = (Log::default(), Lately::default());
        let before = lately.ask(0);
        let seq = log.change("one");
        lately.doubt("one");
        let afterwards = lately.ask(0);
        log.answer(&mut lately, &before);
        assert!(lately.is_outdated("one", seq));
        log.answer(&mut lately, &afterwards);
        assert!(lately.is_current("one", seq));
    }

    #[test]
    fn an_answer_that_comes_late_takes_nothing_away() {
        let (mut log, mut lately) = (Log::default(), Lately::default());
        let question = lately.ask(0);
        let old = log.change("one");
        log.change("one");
        log.tell(&mut lately);
        lately.learn(&question, old, &[("one", old)]);
        assert!(lately.is_outdated("one", old));
        assert_eq!(lately.seq, log.head());
    }

    #[test]
    fn a_copy_is_written_once_until_its_server_changes() {
        let (mut log, mut lately) = (Log::default(), Lately::default());
        let seq = log.change("one");
        log.tell(&mut lately);
        assert!(lately.wants_copy("one", seq, 0));
        assert!(!lately.wants_copy("one", seq, 1));
        assert!(lately.wants_copy("two", seq, 1));
        assert!(lately.wants_copy("one", seq, KEPT_MILLIS));
        let renewed = log.change("one");
        log.tell(&mut lately);
        assert!(lately.wants_copy("one", renewed, KEPT_MILLIS + 1));
        assert!(!lately.wants_copy("one", renewed, KEPT_MILLIS + 2));
    }

    #[test]
    fn a_database_that_was_restored_is_followed_from_where_it_is() {
        let (mut log, mut lately) = (Log::default(), Lately::default());
        for _ in 0..10 {
            log.change("one");
        }
        log.tell(&mut lately);
        let mut restored = Log::default();
        restored.change("two");
        restored.tell(&mut lately);
        let seq = restored.change("two");
        restored.tell(&mut lately);
        assert!(lately.is_outdated("two", seq - 1) && lately.is_current("two", seq));
    }
}

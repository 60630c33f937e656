//! The authority's key set, kept fresh by one task.
//!
//! Readers take a snapshot and never wait, unless they ask for a key that the snapshot hasn't: then
//! they put a [`Question`] to the task and look again when it has let go of it.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use mcp_connect_descriptor::KeySet;
use tokio::{
    runtime::Handle,
    select,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{key_set_endpoint::KeySetEndpoint, schedule::Schedule, verified::Signed};

/// The most requests that may wait for an unknown key; further ones are refused at once.
const MAX_WAITING: usize = 1024;
const MAX_ABSENT: usize = 1024;
/// Short, so that a key id can't be kept out by naming it before its key is published.
const ABSENT_FOR: Duration = Duration::from_secs(30);

pub(crate) struct KeyCache {
    store: Arc<Store>,
    questions: mpsc::Sender<Question>,
}

/// "Is there a key of this id?" The answer is that the sender is dropped: look again.
struct Question {
    key_id: String,
    _answered: oneshot::Sender<()>,
}

struct Store {
    latest: ArcSwapOption<Snapshot>,
    max_staleness: Duration,
}

pub(crate) struct Snapshot {
    pub(crate) keys: KeySet,
    requested_at: Instant,
}

impl KeyCache {
    pub(crate) fn start(
        runtime: &Handle,
        endpoint: KeySetEndpoint,
        max_staleness: Duration,
    ) -> Self {
        let store = Arc::new(Store {
            latest: ArcSwapOption::empty(),
            max_staleness,
        });
        let (questions, asked) = mpsc::channel(MAX_WAITING);
        let keeper = Keeper {
            store: Arc::clone(&store),
            endpoint,
            schedule: Schedule::new(Instant::now()),
            waiting: Vec::new(),
            absent: Absent::default(),
        };
        runtime.spawn(keeper.run(asked));
        Self { store, questions }
    }

    /// The key set, unless there is none or it is too old to be trusted.
    pub(crate) fn usable(&self) -> Option<Arc<Snapshot>> {
        self.store.usable()
    }

    /// Whether the key that signed a descriptor has left the key set in its lifetime, as it does
    /// when it is taken back; a rotation keeps it for longer (docs/protocol.md, section 7).
    pub(crate) fn has_lost_key_of(&self, signed: &Signed, now: Duration) -> bool {
        now.as_secs() < signed.expires_at
            && self
                .usable()
                .is_some_and(|snapshot| !snapshot.keys.contains(&signed.key_id))
    }

    /// Waits until the key set has been looked up for this key, where that may be done soon.
    pub(crate) async fn look_up(&self, key_id: String) {
        let (answered, answer) = oneshot::channel();
        let question = Question {
            key_id,
            _answered: answered,
        };
        if self.questions.try_send(question).is_ok() {
            // Nothing is ever sent: the end of the sender is the answer.
            let _ = answer.await;
        }
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").finish_non_exhaustive()
    }
}

impl Store {
    fn usable(&self) -> Option<Arc<Snapshot>> {
        self.latest
            .load_full()
            .filter(|snapshot| snapshot.requested_at.elapsed() < self.max_staleness)
    }
}

/// The task that fetches. It ends when the last [`KeyCache`] is dropped.
struct Keeper {
    store: Arc<Store>,
    endpoint: KeySetEndpoint,
    schedule: Schedule,
    waiting: Vec<Question>,
    absent: Absent,
}

impl Keeper {
    async fn run(mut self, mut asked: mpsc::Receiver<Question>) {
        loop {
            select! {
                // The fetch comes first, so that a flood of questions can't put it off.
                biased;
                () = sleep_until(self.schedule.due(!self.waiting.is_empty())) => self.fetch().await,
                question = asked.recv() => match question {
                    Some(question) => self.consider(question),
                    None => return,
                },
            }
        }
    }

    /// Keeps a question for the next fetch, or lets go of it at once.
    fn consider(&mut self, question: Question) {
        let now = Instant::now();
        let worth_waiting = match self.store.usable() {
            Some(snapshot) => {
                !snapshot.keys.contains(&question.key_id)
                    && !self.absent.contains(&question.key_id, now)
            }
            None => self.schedule.may_fetch_on_demand(now),
        };
        if worth_waiting && self.waiting.len() < MAX_WAITING {
            self.waiting.push(question);
        }
    }

    async fn fetch(&mut self) {
        let requested_at = Instant::now();
        match self.endpoint.fetch().await {
            Ok(fetched) => {
                for Question { key_id, .. } in self.waiting.drain(..) {
                    if !fetched.keys.contains(&key_id) {
                        self.absent.insert(key_id, requested_at);
                    }
                }
                let refresh_after = fetched.refresh_after.min(self.store.max_staleness / 2);
                self.schedule.fetched(requested_at, refresh_after);
                self.store.latest.store(Some(Arc::new(Snapshot {
                    keys: fetched.keys,
                    requested_at,
                })));
            }
            Err(error) => {
                self.schedule.failed(requested_at, Instant::now());
                tracing::warn!(
                    url = %self.endpoint.url(),
                    %error,
                    usable = self.store.usable().is_some(),
                    "the authority's key set can't be fetched",
                );
                self.waiting.clear();
            }
        }
    }
}

/// Key ids that a fetch has shown not to exist, oldest first.
#[derive(Default)]
struct Absent(VecDeque<(String, Instant)>);

impl Absent {
    fn contains(&mut self, key_id: &str, now: Instant) -> bool {
        while self
            .0
            .front()
            .is_some_and(|(_, since)| now.duration_since(*since) >= ABSENT_FOR)
        {
            self.0.pop_front();
        }
        self.0.iter().any(|(absent, _)| absent == key_id)
    }

    fn insert(&mut self, key_id: String, now: Instant) {
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
        assert!(absent.contains("kid-1", start + ABSENT_FOR - Duration::from_millis(1)));
        assert!(!absent.contains("kid-1", start + ABSENT_FOR));
        assert!(absent.0.is_empty());
    }
}

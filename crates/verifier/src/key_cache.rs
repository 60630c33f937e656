//! The authority's key set, kept fresh by one task (docs/protocol.md, section 7).
//!
//! Readers take a snapshot and never wait, unless they ask for a key that the snapshot hasn't: then
//! they put a [`Question`] to the task and look again when it has let go of it.

use std::{fmt, mem, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use mcp_connect_descriptor::{KeySet, KeySetError};
use tokio::{
    runtime::Handle,
    select,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    absent::Absent,
    clock::{Moment, dice},
    endpoint::{Endpoint, FetchError},
    schedule::{Schedule, refresh_after},
    telemetry,
    verified::Signed,
    withdrawn::Withdrawn,
};

/// The most requests that may wait for an unknown key; further ones are refused at once.
const MAX_WAITING: usize = 1024;
/// A fetch that may have to keep its distance from the last one, and then takes its time.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

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
    /// When it was asked for: what happened later may not show in it.
    pub(crate) asked_at: Moment,
}

#[derive(Debug, thiserror::Error)]
enum KeySetFault {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("it answered with an unusable key set: {0}")]
    KeySet(#[from] KeySetError),
}

impl KeyCache {
    /// Begins with the seed, as if it had been fetched now, and fetches at once. What has left the
    /// key set starts a new generation of `withdrawn`.
    pub(crate) fn start(
        runtime: &Handle,
        endpoint: Endpoint,
        max_staleness: Duration,
        seed: Option<KeySet>,
        withdrawn: Withdrawn,
    ) -> Self {
        let asked_at = Moment::now();
        let seed = seed.map(|keys| Arc::new(Snapshot { keys, asked_at }));
        let store = Arc::new(Store {
            latest: ArcSwapOption::new(seed),
            max_staleness,
        });
        let (questions, asked) = mpsc::channel(MAX_WAITING);
        let keeper = Keeper {
            store: Arc::clone(&store),
            endpoint,
            withdrawn,
            asked,
            schedule: Schedule::new(asked_at.instant),
            waiting: Vec::new(),
            absent: Absent::default(),
            failing: false,
        };
        runtime.spawn(keeper.run());
        Self { store, questions }
    }

    /// The key set, unless there is none or it is too old to be trusted.
    pub(crate) fn usable(&self, now: &Moment) -> Option<Arc<Snapshot>> {
        self.is_usable(now)
            .then(|| self.store.latest.load_full())
            .flatten()
    }

    /// … without the cost of sharing it.
    pub(crate) fn is_usable(&self, now: &Moment) -> bool {
        self.store.is_usable(now)
    }

    /// The key set, however old it is.
    pub(crate) fn latest(&self) -> Option<Arc<Snapshot>> {
        self.store.latest.load_full()
    }

    /// Whether the key that signed a descriptor has left the key set in its lifetime, as it does
    /// when it is taken back; a rotation keeps it for longer (docs/protocol.md, section 7).
    pub(crate) fn has_lost_key_of(&self, signed: &Signed, now: Duration) -> bool {
        now.as_secs() < signed.expires_at
            && self
                .usable(&Moment::now())
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
            // Nothing is ever sent: the end of the sender, or of patience, is the answer.
            let _ = timeout(LONGEST_WAIT, answer).await;
        }
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").finish_non_exhaustive()
    }
}

impl Store {
    fn is_usable(&self, now: &Moment) -> bool {
        let latest = self.latest.load();
        latest
            .as_ref()
            .is_some_and(|snapshot| snapshot.asked_at.until(now) < self.max_staleness)
    }
}

/// The task that fetches. It ends when the last [`KeyCache`] is dropped.
struct Keeper {
    store: Arc<Store>,
    endpoint: Endpoint,
    withdrawn: Withdrawn,
    asked: mpsc::Receiver<Question>,
    schedule: Schedule,
    waiting: Vec<Question>,
    absent: Absent,
    failing: bool,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            select! {
                // The fetch comes first, so that a flood of questions can't put it off.
                biased;
                () = sleep_until(self.schedule.due(!self.waiting.is_empty())) => self.renew().await,
                question = self.asked.recv() => match question {
                    Some(question) => self.consider(question),
                    None => return,
                },
            }
        }
    }

    /// Keeps a question for the next fetch, or lets go of it at once. Without a usable key set every
    /// question waits: the next fetch is never far, and nothing can be said before.
    fn consider(&mut self, question: Question) {
        let now = Instant::now();
        let latest = self.store.latest.load();
        let is_known = latest
            .as_ref()
            .filter(|_| self.store.is_usable(&Moment::now()))
            .is_some_and(|snapshot| {
                snapshot.keys.contains(&question.key_id)
                    || self.absent.contains(&question.key_id, now)
            });
        if !is_known && self.waiting.len() < MAX_WAITING {
            self.waiting.push(question);
        }
    }

    async fn renew(&mut self) {
        let asked_at = Moment::now();
        match self.fetch().await {
            Ok((keys, lifetime)) => {
                for Question { key_id, .. } in mem::take(&mut self.waiting) {
                    if !keys.contains(&key_id) {
                        self.absent.insert(key_id, asked_at.instant);
                    }
                }
                let refresh_after = refresh_after(lifetime).min(self.store.max_staleness / 2);
                self.schedule.fetched(asked_at.instant, refresh_after);
                self.replace(Snapshot { keys, asked_at });
                telemetry::key_set_fetched(asked_at.since_epoch);
                if mem::take(&mut self.failing) {
                    tracing::info!(url = %self.endpoint.url(), "the authority's key set is back");
                }
            }
            Err(fault) => {
                let now = Moment::now();
                let usable = self.store.is_usable(&now);
                let wanted = match &fault {
                    KeySetFault::Fetch(error) => error.retry_after(),
                    KeySetFault::KeySet(_) => None,
                };
                self.schedule
                    .failed(asked_at.instant, now.instant, !usable, wanted, dice());
                telemetry::key_set_fetch_failed();
                self.failing = true;
                let (url, error) = (self.endpoint.url(), fault);
                if usable {
                    tracing::warn!(%url, %error, usable, "the authority's key set can't be fetched");
                } else {
                    tracing::warn!(
                        %url,
                        %error,
                        usable,
                        "the authority's key set can't be fetched: until it is, every descriptor is \
                         refused with 503 authority_unreachable. Does the authority run, and is \
                         issuer (or key_set_url) right?",
                    );
                }
                self.waiting.clear();
                // Who asked meanwhile has been answered as well: there is nothing else to say.
                while !usable && self.asked.try_recv().is_ok() {}
            }
        }
    }

    async fn fetch(&self) -> Result<(KeySet, Duration), KeySetFault> {
        let document = self.endpoint.get().await?;
        Ok((KeySet::parse(&document.body)?, document.lifetime))
    }

    /// Takes a good set whole, in the place of the one before.
    fn replace(&self, snapshot: Snapshot) {
        let latest = Arc::new(snapshot);
        let before = self.store.latest.swap(Some(Arc::clone(&latest)));
        if before.is_some_and(|before| before.keys != latest.keys) {
            self.withdrawn.next_generation();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock_watch::ClockWatch;

    fn question(key_id: String) -> (Question, oneshot::Receiver<()>) {
        let (answered, answer) = oneshot::channel();
        let question = Question {
            key_id,
            _answered: answered,
        };
        (question, answer)
    }

    #[tokio::test]
    async fn so_many_wait_for_a_key_and_who_comes_on_top_is_answered_at_once() {
        let store = Arc::new(Store {
            latest: ArcSwapOption::empty(),
            max_staleness: Duration::from_mins(1),
        });
        let url = "http://127.0.0.1:1".parse().unwrap();
        let mut keeper = Keeper {
            store,
            endpoint: Endpoint::new(
                url,
                true,
                "application/json",
                1,
                Arc::new(ClockWatch::new(Duration::ZERO)),
            )
            .unwrap(),
            withdrawn: Withdrawn::default(),
            asked: mpsc::channel(1).1,
            schedule: Schedule::new(Instant::now()),
            waiting: Vec::new(),
            absent: Absent::default(),
            failing: false,
        };
        let mut answers = Vec::new();
        for number in 0..MAX_WAITING + 10 {
            let (question, answer) = question(format!("kid-{number}"));
            keeper.consider(question);
            answers.push(answer);
        }
        assert_eq!(keeper.waiting.len(), MAX_WAITING);
        let closed = Err(oneshot::error::TryRecvError::Closed);
        answers.retain_mut(|answer| answer.try_recv() == closed);
        assert_eq!(answers.len(), 10);
    }
}

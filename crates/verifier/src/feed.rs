//! Follows the authority's revocation feed (docs/protocol.md, section 6).

use std::{str, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::HeaderValue;
use mcp_connect_descriptor::{Refusal, RevocationFeed, UnverifiedFeed};
use serde::Deserialize;
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    clock::{self, Moment, dice},
    clock_watch::{ClockWatch, Reading},
    endpoint::{Document, Endpoint, FetchError},
    key_cache::KeyCache,
    schedule::poll_after,
    status::FeedStatus,
    telemetry::{self, FeedPoll},
    withdrawn::Withdrawn,
};

/// Whether, and where, the revocation feed is followed.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
#[non_exhaustive]
pub enum FeedSource {
    /// At `<issuer>/v1/revocations`.
    #[default]
    Issuer,
    /// Not at all: a descriptor is good until it expires, whatever was withdrawn.
    Off,
    /// At this URL: https, or http on a loopback host.
    Url(String),
}

impl From<String> for FeedSource {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&str> for FeedSource {
    /// `on`, `off`, or a URL.
    fn from(text: &str) -> Self {
        match text {
            "on" => Self::Issuer,
            "off" => Self::Off,
            url => Self::Url(url.to_owned()),
        }
    }
}

/// A feed that is being followed, for as long as this is there.
#[derive(Debug)]
pub(crate) struct Feed {
    progress: Arc<ArcSwap<Progress>>,
    /// Aborted when it is dropped.
    _follower: JoinSet<()>,
}

/// How it went so far.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// When the last good answer was asked for.
    current_at: Option<Moment>,
    entries: usize,
    /// `None`: there was no answer yet.
    failing: Option<bool>,
}

/// Of which authority, and for which server.
#[derive(Debug)]
pub(crate) struct FeedScope {
    pub(crate) issuer: String,
    pub(crate) server_id: String,
}

impl Feed {
    /// Asks at once, then at most `interval` after the last time, as long as answers are good.
    pub(crate) fn follow(
        runtime: &Handle,
        endpoint: Endpoint,
        interval: Duration,
        scope: FeedScope,
        keys: Arc<KeyCache>,
        withdrawn: Withdrawn,
        clock: Arc<ClockWatch>,
    ) -> Self {
        let progress = Arc::<ArcSwap<Progress>>::default();
        let follower = Follower {
            endpoint,
            interval,
            scope,
            keys,
            withdrawn,
            clock,
            held: None,
            failures: 0,
            wanted_pause: None,
            progress: Arc::clone(&progress),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn_on(follower.run(), runtime);
        Self {
            progress,
            _follower: tasks,
        }
    }

    pub(crate) fn status(&self, now: &Moment) -> FeedStatus {
        let progress = self.progress.load();
        FeedStatus {
            age: progress.current_at.map(|at| at.until(now)),
            entries: progress.entries,
            failing: progress.failing == Some(true),
        }
    }
}

struct Follower {
    endpoint: Endpoint,
    interval: Duration,
    scope: FeedScope,
    keys: Arc<KeyCache>,
    withdrawn: Withdrawn,
    clock: Arc<ClockWatch>,
    held: Option<Held>,
    failures: u32,
    /// By `Retry-After` of the last answer.
    wanted_pause: Option<Duration>,
    progress: Arc<ArcSwap<Progress>>,
}

/// What has to be known of the feed that was applied last.
struct Held {
    etag: Option<HeaderValue>,
    issued_at: u64,
    expires_at: u64,
}

/// Why a poll has brought nothing.
#[derive(Debug, thiserror::Error)]
enum PollFault {
    #[error("it answered with an unusable feed: {0}")]
    Feed(#[from] Refusal),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("it answered with an unusable feed: not text")]
    NotText,
    #[error(
        "it answered with an unusable feed: issued at {issued_at}, before the one that is held, at \
         {held}"
    )]
    Older { issued_at: u64, held: u64 },
    /// Whoever stole the key would like to have it forgotten.
    #[error("it answered with an unusable feed: signed by a key that was revoked")]
    WithdrawnKey,
}

impl Follower {
    async fn run(mut self) {
        loop {
            let asked_at = Moment::now();
            let polled = self.poll().await;
            self.take_note(polled, asked_at);
            let pause = poll_after(self.interval, self.failures, self.wanted_pause, dice());
            let from = if self.failures == 0 {
                asked_at.instant
            } else {
                Instant::now()
            };
            sleep_until(from + pause).await;
        }
    }

    /// The number of entries of a feed that is new; `None` where nothing has changed.
    async fn poll(&mut self) -> Result<Option<usize>, PollFault> {
        // "Nothing has changed" is not signed: it counts no longer than what was.
        let asked = clock::now();
        let etag = self
            .held
            .as_ref()
            .filter(|held| asked.as_secs() < held.expires_at)
            .and_then(|held| held.etag.as_ref());
        let document = match etag {
            Some(etag) => self.endpoint.get_unless(etag).await?,
            None => Some(self.endpoint.get().await?),
        };
        let Some(Document {
            body,
            etag,
            is_dated,
            ..
        }) = document
        else {
            return Ok(None);
        };
        let token = str::from_utf8(&body).map_err(|_| PollFault::NotText)?;
        let feed = self.verify(token, asked, is_dated).await?;
        if let Some(held) = self.held.as_ref().map(|held| held.issued_at)
            && feed.issued_at < held
        {
            let issued_at = feed.issued_at;
            return Err(PollFault::Older { issued_at, held });
        }
        self.held = Some(Held {
            etag,
            issued_at: feed.issued_at,
            expires_at: feed.expires_at,
        });
        let entries = feed.entries();
        self.withdrawn.apply(feed, &self.scope.server_id);
        Ok(Some(entries))
    }

    async fn verify(
        &self,
        token: &str,
        asked: Duration,
        is_dated: bool,
    ) -> Result<RevocationFeed, PollFault> {
        let unverified = UnverifiedFeed::parse(token)?;
        let key_id = unverified.key_id();
        if self.withdrawn.names_key(key_id) {
            return Err(PollFault::WithdrawnKey);
        }
        let known = || {
            let snapshot = self.keys.usable(&Moment::now())?;
            snapshot.keys.contains(key_id).then_some(snapshot)
        };
        let snapshot = if let Some(snapshot) = known() {
            snapshot
        } else {
            self.keys.look_up(key_id.to_owned()).await;
            known().ok_or(Refusal::UnknownKey)?
        };
        let now = Moment::now();
        let verify = |unverified: UnverifiedFeed<'_>, at| {
            unverified.verify(&snapshot.keys, &self.scope.issuer, at)
        };
        let verified = verify(unverified, now.since_epoch.as_secs());
        // If only the dates are wrong, it is authentic, and says what time it is.
        let authentic_at = |at| {
            let feed = UnverifiedFeed::parse(token).and_then(|feed| verify(feed, at));
            feed.ok().map(|feed| feed.issued_at)
        };
        match &verified {
            Err(Refusal::NotYetValid { not_before, .. }) => {
                if let Some(issued_at) = authentic_at(*not_before) {
                    let reading = Reading::of_date_ahead(issued_at, now.since_epoch);
                    self.clock.take(reading, now.instant);
                }
            }
            // The date of the answer itself says more, where it has one.
            _ if is_dated => {}
            Ok(feed) => self.compare(feed.issued_at, asked, now),
            Err(Refusal::Expired { expires_at, .. }) => {
                if let Some(issued_at) = authentic_at(expires_at.saturating_sub(1)) {
                    self.compare(issued_at, asked, now);
                }
            }
            Err(_) => {}
        }
        Ok(verified?)
    }

    fn compare(&self, issued_at: u64, asked: Duration, now: Moment) {
        let reading = Reading::of_feed(issued_at, asked, now.since_epoch);
        self.clock.take(reading, now.instant);
    }

    fn take_note(&mut self, polled: Result<Option<usize>, PollFault>, asked_at: Moment) {
        let before = **self.progress.load();
        let mut progress = Progress {
            failing: Some(polled.is_err()),
            ..before
        };
        let is_news = progress.failing != before.failing;
        self.wanted_pause = match &polled {
            Err(PollFault::Fetch(error)) => error.retry_after(),
            _ => None,
        };
        let outcome = match polled {
            Ok(entries) => {
                self.failures = 0;
                progress.current_at = Some(asked_at);
                progress.entries = entries.unwrap_or(before.entries);
                if is_news {
                    tracing::info!(url = %self.endpoint.url(), "the revocation feed is followed");
                }
                if entries.is_some() {
                    FeedPoll::Applied
                } else {
                    FeedPoll::Unchanged
                }
            }
            Err(fault) => {
                self.failures = self.failures.saturating_add(1);
                if is_news {
                    tracing::warn!(
                        url = %self.endpoint.url(),
                        error = %fault,
                        "the revocation feed can't be followed: meanwhile, what is withdrawn is \
                         good until it expires",
                    );
                } else {
                    tracing::debug!(error = %fault, "the revocation feed still can't be followed");
                }
                FeedPoll::Failed
            }
        };
        self.progress.store(Arc::new(progress));
        telemetry::feed_polled(outcome, asked_at.since_epoch);
    }
}

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::{Sleep, sleep};

use crate::{clock, session_key::SessionKey, verified::Signed};

/// What keeps a session, or a single request and its stream, open: the newest descriptor seen for it.
pub(crate) struct Lease {
    session: Option<SessionKey>,
    newest: ArcSwap<Signed>,
    /// Leeway and grace.
    tolerance: Duration,
    end_reported: AtomicBool,
}

/// Why a session can't be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SessionRefusal {
    AnotherCaller,
    Ended,
}

impl Lease {
    pub(crate) fn new(
        session: Option<SessionKey>,
        descriptor: &Arc<Signed>,
        tolerance: Duration,
    ) -> Self {
        Self {
            session,
            newest: ArcSwap::new(Arc::clone(descriptor)),
            tolerance,
            end_reported: AtomicBool::new(false),
        }
    }

    /// The time left, unless the newest descriptor has been expired for longer than the grace.
    /// `now` is the time since the Unix epoch.
    pub(crate) fn remaining(&self, now: Duration) -> Option<Duration> {
        self.ends_at()
            .checked_sub(now)
            .filter(|remaining| !remaining.is_zero())
    }

    /// The time since the Unix epoch at which it ends, unless it is renewed.
    pub(crate) fn ends_at(&self) -> Duration {
        Duration::from_secs(self.newest.load().expires_at).saturating_add(self.tolerance)
    }

    /// Ready when the lease has ended. The alarm belongs to whoever waits; when it goes off, the
    /// lease may have been renewed since it was set.
    pub(crate) fn poll_end(
        &self,
        mut alarm: Pin<&mut Option<Sleep>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while let Some(remaining) = self.remaining(clock::now()) {
            match alarm.as_mut().as_pin_mut() {
                Some(set) => {
                    ready!(set.poll(cx));
                    alarm.set(None);
                }
                None => alarm.set(Some(sleep(remaining))),
            }
        }
        Poll::Ready(())
    }

    /// Goes on with a newer descriptor of the same caller.
    pub(crate) fn renew(
        &self,
        descriptor: &Arc<Signed>,
        now: Duration,
    ) -> Result<(), SessionRefusal> {
        let ended = self.remaining(now).is_none();
        if ended {
            self.report_end();
        }
        let bound = self.newest.load();
        // The server is the verifier's own in every descriptor.
        if (&bound.client_id, &bound.tenant_id) != (&descriptor.client_id, &descriptor.tenant_id) {
            return Err(SessionRefusal::AnotherCaller);
        }
        if ended {
            return Err(SessionRefusal::Ended);
        }
        if bound.expires_at < descriptor.expires_at {
            self.newest.rcu(|newest| {
                if newest.expires_at < descriptor.expires_at {
                    Arc::clone(descriptor)
                } else {
                    Arc::clone(newest)
                }
            });
        }
        Ok(())
    }

    /// Logs the end of the lease, once, whoever notices it first.
    pub(crate) fn report_end(&self) {
        if self.end_reported.swap(true, Ordering::Relaxed) {
            return;
        }
        let descriptor = self.newest.load();
        tracing::info!(
            reason = "refresh_timeout",
            session = self.session.map(tracing::field::display),
            jti = descriptor.jti,
            client_id = descriptor.client_id,
            "ended: no newer descriptor came in time",
        );
    }
}

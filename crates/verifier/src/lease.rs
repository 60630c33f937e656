//! How long a session, or a single request, is kept open, and why it ends.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{select, sync::watch, time::sleep};

use crate::{clock, telemetry, verified::Signed};

/// What keeps a session, or a single request and its stream, open: the newest descriptor seen for
/// it, until that has been expired for too long or is revoked.
pub(crate) struct Lease {
    terms: Arc<Terms>,
    subject: Subject,
    newest: ArcSwap<Signed>,
    /// In milliseconds since the Unix epoch; `NEVER` as long as it isn't.
    revoked_at: AtomicU64,
    /// Why no newer descriptor could be had, as far as was seen since the newest one came.
    setback: AtomicU8,
    end_reported: AtomicBool,
}

const NEVER: u64 = u64::MAX;

/// A renewal whose descriptor was checked just before it was revoked may come just after the look.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a lease keeps open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    Request,
    /// Not enforced where it began in a mode that only reports.
    Session {
        enforced: bool,
    },
}

pub(crate) type IsRevoked = Box<dyn Fn(&Signed, Duration) -> bool + Send + Sync>;

/// What holds for all leases of a verifier.
pub(crate) struct Terms {
    /// Leeway and grace.
    pub(crate) tolerance: Duration,
    /// How much longer calls may take that were let in before the end.
    pub(crate) call_grace: Duration,
    /// Whether a descriptor that was good is so no longer, at a time since the Unix epoch.
    pub(crate) is_revoked: IsRevoked,
    /// Changes whenever `is_revoked` may have another answer than before.
    pub(crate) revocations: watch::Receiver<u64>,
}

/// Why something has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum EndReason {
    /// No newer descriptor came in time, but bad ones did.
    AuthFailed,
    /// No newer descriptor came in time, but those of another client or tenant did.
    PolicyDenied,
    /// No newer descriptor came in time.
    RefreshTimeout,
    /// The newest descriptor was withdrawn, or its key.
    Revoked,
    /// The client ended its session.
    Deleted,
    /// There was no room for the session.
    Forgotten,
}

/// Why a session can't be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SessionRefusal {
    AnotherCaller,
    Ended,
}

impl EndReason {
    const SETBACKS: [Self; 4] = [
        Self::RefreshTimeout,
        Self::AuthFailed,
        Self::PolicyDenied,
        Self::Revoked,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::AuthFailed => "auth_failed",
            Self::PolicyDenied => "policy_denied",
            Self::RefreshTimeout => "refresh_timeout",
            Self::Revoked => "revoked",
            Self::Deleted => "deleted",
            Self::Forgotten => "forgotten",
        }
    }
}

impl Lease {
    pub(crate) fn new(terms: &Arc<Terms>, subject: Subject, descriptor: &Arc<Signed>) -> Self {
        if matches!(subject, Subject::Session { .. }) {
            telemetry::session_began();
        }
        Self {
            terms: Arc::clone(terms),
            subject,
            newest: ArcSwap::new(Arc::clone(descriptor)),
            revoked_at: AtomicU64::new(NEVER),
            setback: AtomicU8::new(0),
            end_reported: AtomicBool::new(false),
        }
    }

    pub(crate) fn newest(&self) -> Arc<Signed> {
        self.newest.load_full()
    }

    /// The time since the Unix epoch at which it ends, unless it is renewed.
    pub(crate) fn ends_at(&self) -> Duration {
        let expires_at = Duration::from_secs(self.newest.load().expires_at);
        let revoked_at = Duration::from_millis(self.revoked_at.load(Ordering::Acquire));
        expires_at
            .saturating_add(self.terms.tolerance)
            .min(revoked_at)
    }

    /// A revocation is for good: a clock that is set back takes it back for nobody.
    pub(crate) fn has_ended(&self, now: Duration) -> bool {
        self.is_revoked() || self.ends_at() <= now
    }

    fn is_revoked(&self) -> bool {
        self.revoked_at.load(Ordering::Acquire) != NEVER
    }

    /// Why it has ended, or would if it did now.
    pub(crate) fn end_reason(&self) -> EndReason {
        if self.is_revoked() {
            return EndReason::Revoked;
        }
        let setback = usize::from(self.setback.load(Ordering::Relaxed));
        let setback = EndReason::SETBACKS.get(setback).copied();
        setback.unwrap_or(EndReason::RefreshTimeout)
    }

    /// Goes on with a newer descriptor of the same caller; an older one takes nothing away.
    pub(crate) fn renew(
        &self,
        descriptor: &Arc<Signed>,
        now: Duration,
    ) -> Result<(), SessionRefusal> {
        let ended = self.has_ended(now);
        if ended {
            self.report_end();
        }
        let bound = self.newest.load();
        // The server is the verifier's own in every descriptor.
        if (&bound.client_id, &bound.tenant_id) != (&descriptor.client_id, &descriptor.tenant_id) {
            self.note_setback(EndReason::PolicyDenied);
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
            self.note_setback(EndReason::RefreshTimeout);
        }
        Ok(())
    }

    /// Remembers why no newer descriptor may come, for the audit.
    pub(crate) fn note_setback(&self, reason: EndReason) {
        let number = EndReason::SETBACKS.iter().position(|it| *it == reason);
        if let Some(number) = number.and_then(|number| u8::try_from(number).ok()) {
            self.setback.store(number, Ordering::Relaxed);
        }
    }

    /// Ends now, and for good, if the newest descriptor has been revoked.
    pub(crate) fn look_for_revocation(&self, now: Duration) {
        if !self.has_ended(now) && (self.terms.is_revoked)(&self.newest.load(), now) {
            let now = u64::try_from(now.as_millis()).unwrap_or(NEVER);
            self.revoked_at.fetch_min(now, Ordering::AcqRel);
        }
    }

    /// A number that changes when the lease is to be looked at again.
    pub(crate) fn revocations(&self) -> u64 {
        *self.terms.revocations.borrow()
    }

    /// How long calls that were let in may go on after the end.
    pub(crate) fn call_grace(&self) -> Duration {
        self.terms.call_grace
    }

    /// Waits until the lease has ended, and for the time of `grace` after that. It is woken when its
    /// time is up, when something was revoked and a moment after that, and in between by nothing.
    pub(crate) async fn end(self: Arc<Self>, grace: Duration) {
        let mut revocations = self.terms.revocations.clone();
        revocations.mark_unchanged();
        let mut pause = Duration::MAX;
        loop {
            let now = clock::now();
            self.look_for_revocation(now);
            let remaining = self.ends_at().saturating_add(grace).saturating_sub(now);
            if remaining.is_zero() {
                return;
            }
            pause = select! {
                () = sleep(remaining.min(pause)) => Duration::MAX,
                Ok(()) = revocations.changed() => LOOK_AGAIN_AFTER,
            };
        }
    }

    /// Logs and counts the end, once, whoever notices it first.
    pub(crate) fn report_end(&self) {
        self.report(self.end_reason());
    }

    /// Logs and counts that a session is no longer looked after, unless it has ended before.
    pub(crate) fn report(&self, reason: EndReason) {
        if self.end_reported.swap(true, Ordering::Relaxed) {
            return;
        }
        let newest = self.newest.load();
        let message = match self.subject {
            Subject::Request => "stream or call ended",
            Subject::Session { enforced: true } => "session ended",
            Subject::Session { enforced: false } => "session would have ended in mode \"required\"",
        };
        tracing::info!(
            reason = reason.as_str(),
            client_id = newest.client_id,
            tenant_id = newest.tenant_id,
            jti = newest.jti,
            server_id = newest.server.id,
            "{message}",
        );
        if let Subject::Session { enforced } = self.subject {
            telemetry::session_ended(reason.as_str(), enforced);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let is_live = !*self.end_reported.get_mut();
        if is_live && matches!(self.subject, Subject::Session { .. }) {
            telemetry::session_dropped();
        }
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms")
            .field("tolerance", &self.tolerance)
            .field("call_grace", &self.call_grace)
            .finish_non_exhaustive()
    }
}

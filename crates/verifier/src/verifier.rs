use std::sync::Arc;

use mcp_connect_descriptor::{
    Expected, KeySet, Refusal, RefusalCode, UnverifiedDescriptor, Withdrawal,
};

use crate::{
    clock::Moment,
    clock_watch::{ClockWatch, Reading},
    feed::Feed,
    key_cache::KeyCache,
    sender::{Sender, SenderCheck, SenderFault},
    session_header::HeaderFault,
    sessions::Sessions,
    settings::Settings,
    status::{KeysStatus, Status},
    telemetry,
    tokens::Tokens,
    verified::{Signed, Verified},
    withdrawn::Withdrawn,
};

/// A hundredth of a gigabyte when they are all there.
const MAX_PROOFS: usize = 500_000;

/// Checks connect descriptors for one MCP server. Cheap to clone; clones share their keys and
/// sessions.
#[derive(Clone, Debug)]
pub struct Verifier {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    keys: Arc<KeyCache>,
    tokens: Tokens,
    withdrawn: Withdrawn,
    feed: Option<Feed>,
    sessions: Sessions,
    senders: SenderCheck,
    clock: Arc<ClockWatch>,
}

impl Verifier {
    pub(crate) fn new(
        settings: Settings,
        keys: Arc<KeyCache>,
        tokens: Tokens,
        withdrawn: Withdrawn,
        feed: Option<Feed>,
        sessions: Sessions,
        clock: Arc<ClockWatch>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                senders: SenderCheck::new(&settings.audience, MAX_PROOFS),
                settings,
                keys,
                tokens,
                withdrawn,
                feed,
                sessions,
                clock,
            }),
        }
    }

    /// The canonical endpoint URI of the server that descriptors must be for.
    pub fn audience(&self) -> &str {
        &self.inner.settings.audience
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    /// Whether this machine's clock is known to be wrong by more than the leeway.
    pub(crate) fn clock_is_wrong(&self) -> bool {
        self.inner.clock.is_wrong()
    }

    /// How it stands with the authority: what a health endpoint may show.
    pub fn status(&self) -> Status {
        let now = Moment::now();
        let latest = self.inner.keys.latest();
        Status {
            clock: self.inner.clock.status(),
            keys: KeysStatus {
                age: latest.as_ref().map(|latest| latest.asked_at.until(&now)),
                count: latest.map_or(0, |latest| latest.keys.len()),
                usable: self.inner.keys.is_usable(&now),
            },
            feed: self.inner.feed.as_ref().map(|feed| feed.status(&now)),
        }
    }

    /// The authority whose descriptors are accepted.
    pub fn issuer(&self) -> &str {
        &self.inner.settings.issuer
    }

    /// The id of that server: `namespace/name`.
    pub fn server_id(&self) -> &str {
        &self.inner.settings.server_id
    }

    /// Checks a descriptor in its compact form. Waits only where its key is not known yet: for at
    /// most one fetch of the key set, which may have to keep 5 seconds distance from the last one,
    /// and never longer than 8 seconds.
    ///
    /// A descriptor that is bound to its sender (`cnf`) is refused, since nothing is known of the
    /// sender here: only a [`ConnectLayer`](crate::ConnectLayer) sees the whole request.
    pub async fn verify(&self, descriptor: &str) -> Result<Verified, Rejection> {
        self.verify_from(&Sender::unknown(), descriptor).await
    }

    /// … of a request, which shows more of its sender.
    pub(crate) async fn verify_from(
        &self,
        sender: &Sender,
        descriptor: &str,
    ) -> Result<Verified, Rejection> {
        let key_id = match self.attempt(sender, descriptor) {
            Attempt::Done(result) => return result,
            Attempt::UnknownKey(key_id) => key_id,
        };
        self.inner.keys.look_up(key_id).await;
        match self.attempt(sender, descriptor) {
            Attempt::Done(result) => result,
            Attempt::UnknownKey(_) => counted(Err(if self.inner.keys.is_usable(&Moment::now()) {
                Refusal::UnknownKey.into()
            } else {
                Reason::NoKeySet.into()
            })),
        }
    }

    /// Checks a descriptor as far as that needs no waiting.
    pub(crate) fn attempt(&self, sender: &Sender, descriptor: &str) -> Attempt {
        match self.check(descriptor) {
            Attempt::Done(checked) => Attempt::Done(counted(checked.and_then(|verified| {
                let senders = &self.inner.senders;
                senders.check(&verified, descriptor, sender)?;
                Ok(verified)
            }))),
            unknown @ Attempt::UnknownKey(_) => unknown,
        }
    }

    /// What holds of the descriptor whoever shows it, and may be remembered.
    fn check(&self, descriptor: &str) -> Attempt {
        let inner = &*self.inner;
        let now = Moment::now();
        // Before anything is looked at: when that changes, what was found by it is forgotten.
        let generation = inner.withdrawn.generation();
        let seconds = now.since_epoch.as_secs();
        if inner.keys.is_usable(&now) {
            let remembered = inner.tokens.get(descriptor, generation, seconds);
            telemetry::token_cache_looked_up(remembered.is_some());
            if let Some(verified) = remembered {
                return Attempt::Done(Ok(verified));
            }
        }
        let unverified = match UnverifiedDescriptor::parse(descriptor) {
            Ok(unverified) => unverified,
            Err(refusal) => return Attempt::Done(Err(refusal.into())),
        };
        let key_id = unverified.key_id();
        // It may have left the key set as well: no reason to look for it there.
        if inner.withdrawn.names_key(key_id) {
            return Attempt::Done(Err(Reason::Withdrawn(Withdrawal::Key).into()));
        }
        match inner.keys.usable(&now) {
            Some(snapshot) if snapshot.keys.contains(key_id) => {
                let checked = self.verify_with(&snapshot.keys, unverified, seconds);
                if let Err(Rejection(Reason::Descriptor(Refusal::NotYetValid {
                    not_before, ..
                }))) = &checked
                {
                    self.examine_clock(descriptor, &snapshot.keys, *not_before, &now);
                }
                if let Ok(verified) = &checked {
                    let leeway = inner.settings.leeway_seconds;
                    inner
                        .tokens
                        .insert(descriptor, verified, generation, leeway);
                }
                Attempt::Done(checked)
            }
            _ => Attempt::UnknownKey(key_id.to_owned()),
        }
    }

    /// Finds out whether a descriptor that is not valid yet is authentic: then this machine's clock is
    /// behind that of the authority which dated it.
    fn examine_clock(&self, descriptor: &str, keys: &KeySet, not_before: u64, now: &Moment) {
        let clock = &self.inner.clock;
        if !clock.wants_evidence(now.since_epoch) {
            return;
        }
        let Ok(unverified) = UnverifiedDescriptor::parse(descriptor) else {
            return;
        };
        if let Ok(authentic) = self.verify_with(keys, unverified, not_before)
            && authentic.issued_at > now.since_epoch.as_secs()
        {
            let reading = Reading::of_date_ahead(authentic.issued_at, now.since_epoch);
            clock.take(reading, now.instant);
        }
    }

    fn verify_with(
        &self,
        keys: &KeySet,
        unverified: UnverifiedDescriptor<'_>,
        now: u64,
    ) -> Result<Verified, Rejection> {
        let settings = &self.inner.settings;
        let expected = Expected::new(&settings.issuer, &settings.server_id)
            .audience(&settings.audience)
            .leeway(settings.leeway_seconds);
        let key_id = unverified.key_id().to_owned();
        let signed = Signed {
            descriptor: unverified.verify(keys, &expected, now)?,
            key_id,
        };
        match self.inner.withdrawn.names(&signed) {
            Some(withdrawal) => Err(Reason::Withdrawn(withdrawal).into()),
            None => Ok(Verified::new(signed)),
        }
    }
}

fn counted(checked: Result<Verified, Rejection>) -> Result<Verified, Rejection> {
    telemetry::checked(checked.as_ref().err().map(Rejection::code));
    checked
}

pub(crate) enum Attempt {
    Done(Result<Verified, Rejection>),
    /// No usable key set has a key of this id.
    UnknownKey(String),
}

/// A refusal: a public code for the caller, and in its `Display` the private reason for the
/// operator's log, which never shows the token.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Rejection(Reason);

impl Rejection {
    pub(crate) const fn reason(&self) -> &Reason {
        &self.0
    }

    /// What the caller is told.
    pub const fn code(&self) -> RefusalCode {
        match &self.0 {
            Reason::Descriptor(refusal) => refusal.code(),
            Reason::Missing => RefusalCode::Missing,
            Reason::NoKeySet => RefusalCode::AuthorityUnreachable,
            Reason::Withdrawn(_) | Reason::WithdrawnMeanwhile => RefusalCode::Revoked,
            Reason::AnotherCaller
            | Reason::Header(_)
            | Reason::Outlived
            | Reason::Sender(_)
            | Reason::SessionHeader(_) => RefusalCode::Invalid,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Reason {
    #[error("the session belongs to another client or tenant")]
    AnotherCaller,
    #[error(transparent)]
    Descriptor(#[from] Refusal),
    #[error("the MCP-Connect header {0}")]
    Header(&'static str),
    #[error("no MCP-Connect header")]
    Missing,
    /// Not "expired": the call may have had effects, and must not be repeated by itself.
    #[error("the call outlived its descriptor by more than leeway and grace")]
    Outlived,
    #[error("no key set of the authority can be had, or it is past the maximum staleness")]
    NoKeySet,
    #[error(transparent)]
    Sender(#[from] SenderFault),
    #[error(transparent)]
    SessionHeader(#[from] HeaderFault),
    #[error("withdrawn by the revocation feed: {0}")]
    Withdrawn(Withdrawal),
    #[error("the call's descriptor was withdrawn while it ran")]
    WithdrawnMeanwhile,
}

impl<R: Into<Reason>> From<R> for Rejection {
    fn from(reason: R) -> Self {
        Self(reason.into())
    }
}

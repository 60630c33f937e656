use std::sync::Arc;

use mcp_connect_descriptor::{
    Expected, KeySet, Refusal, RefusalCode, UnverifiedDescriptor, Withdrawal,
};

use crate::{
    clock,
    key_cache::KeyCache,
    sessions::Sessions,
    settings::Settings,
    verified::{Signed, Verified},
    withdrawn::Withdrawn,
};

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
    sessions: Sessions,
    withdrawn: Withdrawn,
}

impl Verifier {
    pub(crate) fn new(
        settings: Settings,
        keys: Arc<KeyCache>,
        sessions: Sessions,
        withdrawn: Withdrawn,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                keys,
                sessions,
                withdrawn,
            }),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    /// Checks a descriptor in its compact form. Waits only where its key is not known yet: for at
    /// most one fetch of the key set, which may have to keep 5 seconds distance from the last one.
    pub async fn verify(&self, descriptor: &str) -> Result<Verified, Rejection> {
        match self.attempt(descriptor) {
            Attempt::Done(result) => result,
            Attempt::UnknownKey(key_id) => {
                self.inner.keys.look_up(key_id).await;
                match self.attempt(descriptor) {
                    Attempt::Done(result) => result,
                    Attempt::UnknownKey(_) if self.inner.keys.usable().is_some() => {
                        Err(Refusal::UnknownKey.into())
                    }
                    Attempt::UnknownKey(_) => Err(Reason::NoKeySet.into()),
                }
            }
        }
    }

    /// Checks a descriptor as far as that needs no waiting.
    pub(crate) fn attempt(&self, descriptor: &str) -> Attempt {
        let unverified = match UnverifiedDescriptor::parse(descriptor) {
            Ok(unverified) => unverified,
            Err(refusal) => return Attempt::Done(Err(refusal.into())),
        };
        match self.inner.keys.usable() {
            Some(snapshot) if snapshot.keys.contains(unverified.key_id()) => {
                Attempt::Done(self.check(unverified, &snapshot.keys))
            }
            _ => Attempt::UnknownKey(unverified.key_id().to_owned()),
        }
    }

    fn check(
        &self,
        unverified: UnverifiedDescriptor<'_>,
        keys: &KeySet,
    ) -> Result<Verified, Rejection> {
        let settings = &self.inner.settings;
        let expected = Expected::new(&settings.issuer, &settings.server_id)
            .audience(&settings.audience)
            .leeway(settings.leeway_seconds);
        let key_id = unverified.key_id().to_owned();
        let signed = Signed {
            descriptor: unverified.verify(keys, &expected, clock::now().as_secs())?,
            key_id,
        };
        if signed.confirmation.is_some() {
            return Err(Reason::SenderConstraint.into());
        }
        if let Some(withdrawal) = self.inner.withdrawn.names(&signed) {
            return Err(Reason::Withdrawn(withdrawal).into());
        }
        Ok(Verified::new(signed))
    }
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
            | Reason::SenderConstraint
            | Reason::SeveralSessionIds => RefusalCode::Invalid,
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
    /// To let it pass unchecked would make the constraint worthless.
    #[error("bound to a key of its sender (cnf), which this version can't check")]
    SenderConstraint,
    #[error("the Mcp-Session-Id header is there more than once")]
    SeveralSessionIds,
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

use std::{ops::Deref, sync::Arc};

use mcp_connect_descriptor::{
    Descriptor, Expected, KeySet, Refusal, RefusalCode, UnverifiedDescriptor,
};

use crate::{Mode, VerifierBuilder, clock, key_cache::KeyCache, sessions::Sessions};

/// Checks connect descriptors for one MCP server. Cheap to clone; clones share their keys and
/// sessions.
#[derive(Clone, Debug)]
pub struct Verifier {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    keys: KeyCache,
    sessions: Sessions,
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) server_id: String,
    pub(crate) leeway_seconds: u64,
    pub(crate) mode: Mode,
}

impl Verifier {
    /// A verifier for descriptors that `issuer`, the authority, gives out for one server: its
    /// canonical endpoint URI is `audience` (RFC 8707, section 2), its id `namespace/name`.
    pub fn builder(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        server_id: impl Into<String>,
    ) -> VerifierBuilder {
        VerifierBuilder::new(issuer.into(), audience.into(), server_id.into())
    }

    pub(crate) fn new(settings: Settings, keys: KeyCache, sessions: Sessions) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                keys,
                sessions,
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
        let descriptor = unverified.verify(keys, &expected, clock::now().as_secs())?;
        if descriptor.confirmation.is_some() {
            return Err(Reason::SenderConstraint.into());
        }
        Ok(Verified(Arc::new(descriptor)))
    }
}

pub(crate) enum Attempt {
    Done(Result<Verified, Rejection>),
    /// No usable key set has a key of this id.
    UnknownKey(String),
}

/// A descriptor that a [`Verifier`] found good. Among the extensions of a request, it says who is
/// connecting; there is no other way to make one.
#[derive(Clone, Debug)]
pub struct Verified(Arc<Descriptor>);

impl Verified {
    pub(crate) fn shared(&self) -> &Arc<Descriptor> {
        &self.0
    }
}

impl Deref for Verified {
    type Target = Descriptor;

    fn deref(&self) -> &Descriptor {
        &self.0
    }
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
}

impl<R: Into<Reason>> From<R> for Rejection {
    fn from(reason: R) -> Self {
        Self(reason.into())
    }
}

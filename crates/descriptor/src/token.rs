//! What is checked of a descriptor beside its form and its signature.

use crate::{
    Descriptor, KeySet, MAX_LEEWAY_SECONDS, RefusalCode, claims::Payload, jws::Jws,
    unsigned::DESCRIPTOR_FORM,
};

/// What a verifier expects of a descriptor.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    issuer: &'a str,
    server_id: &'a str,
    audience: Option<&'a str>,
    leeway: u64,
}

impl<'a> Expected<'a> {
    /// A descriptor of `issuer`, for the server `namespace/name`.
    pub const fn new(issuer: &'a str, server_id: &'a str) -> Self {
        Self {
            issuer,
            server_id,
            audience: None,
            leeway: MAX_LEEWAY_SECONDS,
        }
    }

    /// … and for this endpoint. A server always demands it; a client learns the endpoint from the
    /// descriptor.
    #[must_use]
    pub const fn audience(mut self, audience: &'a str) -> Self {
        self.audience = Some(audience);
        self
    }

    /// Clock skew to forgive, in seconds; at most, and by default, [`MAX_LEEWAY_SECONDS`].
    #[must_use]
    pub const fn leeway(mut self, seconds: u64) -> Self {
        self.leeway = if seconds < MAX_LEEWAY_SECONDS {
            seconds
        } else {
            MAX_LEEWAY_SECONDS
        };
        self
    }
}

/// Why a descriptor was refused. For the operator's log: a caller learns only [`Self::code`].
/// Beside dates, it shows nothing of what the token says.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The signature is not one of the named key over this token.
    #[error("the signature does not match")]
    BadSignature,
    /// Good, but past `exp` plus leeway.
    #[error("expired at {expires_at}, now is {now}")]
    Expired {
        /// `exp` of the descriptor.
        expires_at: u64,
        /// The time it was checked at.
        now: u64,
    },
    /// Not a descriptor, before any signature work.
    #[error("malformed {part}: {problem}")]
    #[non_exhaustive]
    Malformed {
        /// Of the token: itself, its `header`, its `payload`, its `signature`.
        part: &'static str,
        /// What is wrong with it. A text of this crate: nothing of the token is in it.
        problem: &'static str,
    },
    /// `iat` or `nbf` lies ahead, past the leeway.
    #[error("not valid before {not_before}, now is {now}")]
    NotYetValid {
        /// The later of `iat` and `nbf`.
        not_before: u64,
        /// The time it was checked at.
        now: u64,
    },
    /// `kid` names no key of the set.
    #[error("no key of the key set has this kid")]
    UnknownKey,
    /// Signed for another endpoint or another server; the text says which claim tells it.
    #[error("for another server: {0}")]
    WrongAudience(&'static str),
    /// In the name of another issuer.
    #[error("the issuer is another")]
    WrongIssuer,
}

impl Refusal {
    /// What the caller is told.
    pub const fn code(&self) -> RefusalCode {
        match self {
            Self::Expired { .. } => RefusalCode::Expired,
            Self::WrongAudience(_) => RefusalCode::WrongAudience,
            Self::BadSignature
            | Self::Malformed { .. }
            | Self::NotYetValid { .. }
            | Self::UnknownKey
            | Self::WrongIssuer => RefusalCode::Invalid,
        }
    }

    pub(crate) const fn malformed(part: &'static str, problem: &'static str) -> Self {
        Self::Malformed { part, problem }
    }
}

/// A token that has the form of a descriptor. Nothing of it is to be believed yet.
///
/// Does not check the signature, the issuer, the audience, or that it is valid now.
pub struct UnverifiedDescriptor<'a> {
    token: Jws<'a>,
    payload: Payload,
}

impl<'a> UnverifiedDescriptor<'a> {
    /// Reads a compact JWS, refusing everything that is not exactly a descriptor's form.
    pub fn parse(compact: &'a str) -> Result<Self, Refusal> {
        let (token, payload): (_, Payload) = Jws::parse(compact, DESCRIPTOR_FORM)?;
        payload
            .check()
            .map_err(|problem| Refusal::malformed("payload", problem))?;
        Ok(Self { token, payload })
    }

    /// `kid`: the key that is said to have signed.
    pub fn key_id(&self) -> &str {
        self.token.key_id()
    }

    /// The second from which on its dates call it valid. For who can't tell the time, and knows
    /// otherwise that the token is fresh.
    pub fn first_valid_at(&self) -> u64 {
        self.payload.first_valid_at()
    }

    /// What the token says, for showing it to a person. Not to be acted on.
    pub fn into_claims_unverified(self) -> Descriptor {
        self.payload.into()
    }

    /// Checks it against the key set and what is expected. `now` is in seconds since the Unix epoch.
    ///
    /// What makes it [`RefusalCode::Invalid`] whoever signed it is checked before the signature; what
    /// has a code of its own, after it: that is told of authentic descriptors only.
    pub fn verify(
        self,
        keys: &KeySet,
        expected: &Expected<'_>,
        now: u64,
    ) -> Result<Descriptor, Refusal> {
        let endpoint_matches = self.payload.endpoint_matches();
        let descriptor = Descriptor::from(self.payload);
        if descriptor.issuer != expected.issuer {
            return Err(Refusal::WrongIssuer);
        }
        let not_before = descriptor.not_before.max(descriptor.issued_at);
        if not_before > now.saturating_add(expected.leeway) {
            return Err(Refusal::NotYetValid { not_before, now });
        }

        self.token.verify(keys)?;

        if descriptor.server.id != expected.server_id {
            return Err(Refusal::WrongAudience("mcp.server.id"));
        }
        if expected
            .audience
            .is_some_and(|audience| audience != descriptor.endpoint)
        {
            return Err(Refusal::WrongAudience("aud"));
        }
        if !endpoint_matches {
            return Err(Refusal::WrongAudience("mcp.endpoint is not aud"));
        }
        if now >= descriptor.expires_at.saturating_add(expected.leeway) {
            return Err(Refusal::Expired {
                expires_at: descriptor.expires_at,
                now,
            });
        }
        Ok(descriptor)
    }
}

/// Checks a token against a key set. `now` is in seconds since the Unix epoch.
pub fn verify(
    token: &str,
    keys: &KeySet,
    expected: &Expected<'_>,
    now: u64,
) -> Result<Descriptor, Refusal> {
    UnverifiedDescriptor::parse(token)?.verify(keys, expected, now)
}

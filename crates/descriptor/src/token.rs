//! The strict profile around the JWT library: what is refused before any signature work, and what
//! is checked after it.

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding};
use jwt_compact::{
    AlgorithmExt, Claims, Empty, Header, UntrustedToken, ValidationError, alg::Ed25519,
};
use serde_json::{Map, Value};

use crate::{
    Descriptor, KeySet, MAX_KEY_ID_CHARS, MAX_LEEWAY_SECONDS, MAX_TOKEN_BYTES, RefusalCode,
    SigningKey, TOKEN_TYPE, claims::Payload, strict_json,
};

/// Header members that change what a signature means or where its key comes from (RFC 7515,
/// section 4.1; RFC 7797). A descriptor has none of them, whatever their value.
const FORBIDDEN_HEADER_MEMBERS: [&str; 8] =
    ["crit", "b64", "zip", "cty", "jku", "jwk", "x5u", "x5c"];

const SIGNATURE_BYTES: usize = 64;

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
    #[error("malformed: {0}")]
    Malformed(Cow<'static, str>),
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
    /// Signed for another endpoint or another server.
    #[error("for another server: {0}")]
    WrongAudience(String),
    /// Signed by the right key, in the name of another issuer.
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
            | Self::Malformed(_)
            | Self::NotYetValid { .. }
            | Self::UnknownKey
            | Self::WrongIssuer => RefusalCode::Invalid,
        }
    }

    const fn malformed(reason: &'static str) -> Self {
        Self::Malformed(Cow::Borrowed(reason))
    }
}

/// A token that has the form of a descriptor. Nothing of it is to be believed yet.
///
/// Does not check the signature, the issuer, the audience, or that it is valid now.
pub struct UnverifiedDescriptor<'a> {
    compact: &'a str,
    algorithm: SignatureName,
    key_id: String,
    payload: Payload,
}

/// The two names of Ed25519 in a header: RFC 8037's and RFC 9864's.
#[derive(Clone, Copy)]
enum SignatureName {
    EdDsa,
    Ed25519,
}

impl<'a> UnverifiedDescriptor<'a> {
    /// Reads a compact JWS, refusing everything that is not exactly a descriptor's form.
    pub fn parse(compact: &'a str) -> Result<Self, Refusal> {
        if compact.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::malformed("longer than 8 KiB"));
        }
        let mut parts = compact.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::malformed("not three parts"));
        };

        let (algorithm, key_id) = parse_header(&decode(header, "header")?)?;
        let payload: Payload = strict_json::from_slice(&decode(payload, "payload")?)
            .map_err(|error| Refusal::Malformed(format!("payload: {error}").into()))?;
        if decode(signature, "signature")?.len() != SIGNATURE_BYTES {
            return Err(Refusal::malformed("signature is not 64 bytes"));
        }
        if let Err(problem) = payload.check() {
            return Err(Refusal::malformed(problem));
        }
        Ok(Self {
            compact,
            algorithm,
            key_id,
            payload,
        })
    }

    /// `kid`: the key that is said to have signed.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// What the token says, for showing it to a person. Not to be acted on.
    pub fn into_claims_unverified(self) -> Descriptor {
        self.payload.into()
    }

    /// Checks the signature against the key set, then everything else. `now` is in seconds since
    /// the Unix epoch.
    pub fn verify(
        self,
        keys: &KeySet,
        expected: &Expected<'_>,
        now: u64,
    ) -> Result<Descriptor, Refusal> {
        let key = keys.get(&self.key_id).ok_or(Refusal::UnknownKey)?;
        check_signature(self.compact, self.algorithm, key)?;

        let subject_matches = self.payload.subject_matches();
        let endpoint_matches = self.payload.endpoint_matches();
        let descriptor = Descriptor::from(self.payload);

        if descriptor.issuer != expected.issuer {
            return Err(Refusal::WrongIssuer);
        }
        if descriptor.server.id != expected.server_id {
            return Err(Refusal::WrongAudience(descriptor.server.id));
        }
        if expected
            .audience
            .is_some_and(|audience| audience != descriptor.endpoint)
        {
            return Err(Refusal::WrongAudience(descriptor.endpoint));
        }
        if !endpoint_matches {
            return Err(Refusal::WrongAudience(
                "mcp.endpoint differs from aud".into(),
            ));
        }
        if !subject_matches {
            return Err(Refusal::malformed("sub differs from mcp.server.id"));
        }
        let not_before = descriptor.not_before.max(descriptor.issued_at);
        if not_before > now.saturating_add(expected.leeway) {
            return Err(Refusal::NotYetValid { not_before, now });
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

/// A descriptor that would be refused by every verifier was not signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// A claim breaks the rules; the text says which.
    #[error("{0}")]
    Claims(&'static str),
    /// The claims are too long for a token of 8 KiB.
    #[error("the claims do not fit into a descriptor")]
    TooLarge,
}

impl Descriptor {
    /// Signs the descriptor: a JWS in compact form, header exactly `alg`, `kid`, `typ`.
    pub fn mint(&self, key: &SigningKey) -> Result<String, MintError> {
        let payload = Payload::from(self);
        payload.check().map_err(MintError::Claims)?;
        let header = Header::empty()
            .with_key_id(key.id())
            .with_token_type(TOKEN_TYPE);
        let token = Ed25519
            .token(&header, &Claims::new(payload), key.dalek())
            .map_err(|_| MintError::TooLarge)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(MintError::TooLarge);
        }
        Ok(token)
    }
}

fn decode(part: &str, name: &'static str) -> Result<Vec<u8>, Refusal> {
    if part.is_empty() {
        return Err(Refusal::Malformed(format!("{name} is empty").into()));
    }
    Base64UrlUnpadded::decode_vec(part)
        .map_err(|_| Refusal::Malformed(format!("{name} is not canonical base64url").into()))
}

fn parse_header(json: &[u8]) -> Result<(SignatureName, String), Refusal> {
    let header: Map<String, Value> = strict_json::from_slice(json)
        .map_err(|error| Refusal::Malformed(format!("header: {error}").into()))?;
    if let Some(member) = FORBIDDEN_HEADER_MEMBERS
        .iter()
        .find(|&&member| header.contains_key(member))
    {
        return Err(Refusal::Malformed(format!("header has {member}").into()));
    }
    if header.get("typ").and_then(Value::as_str) != Some(TOKEN_TYPE) {
        return Err(Refusal::malformed("typ is not mcp-connect+jwt"));
    }
    let algorithm = match header.get("alg").and_then(Value::as_str) {
        Some("EdDSA") => SignatureName::EdDsa,
        Some("Ed25519") => SignatureName::Ed25519,
        _ => return Err(Refusal::malformed("alg is neither EdDSA nor Ed25519")),
    };
    match header.get("kid").and_then(Value::as_str) {
        Some(kid) if (1..=MAX_KEY_ID_CHARS).contains(&kid.len()) => Ok((algorithm, kid.to_owned())),
        _ => Err(Refusal::malformed(
            "kid is missing, no string or longer than 256",
        )),
    }
}

fn check_signature(
    compact: &str,
    algorithm: SignatureName,
    key: &ed25519_dalek::VerifyingKey,
) -> Result<(), Refusal> {
    let token = UntrustedToken::new(compact)
        .map_err(|error| Refusal::Malformed(error.to_string().into()))?;
    let checked = match algorithm {
        SignatureName::EdDsa => Ed25519.validator::<Empty>(key).validate(&token),
        SignatureName::Ed25519 => Ed25519::with_specific_name()
            .validator::<Empty>(key)
            .validate(&token),
    };
    match checked {
        Ok(_) => Ok(()),
        Err(ValidationError::InvalidSignature | ValidationError::MalformedSignature(_)) => {
            Err(Refusal::BadSignature)
        }
        Err(error) => Err(Refusal::Malformed(error.to_string().into())),
    }
}

//! What is signed, made ready for whoever signs: a key of this crate, or WebCrypto.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Serialize;

use crate::{Algorithm, Descriptor, MAX_TOKEN_BYTES, SigningKey, TOKEN_TYPE, claims::Payload};

/// Of both algorithms.
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// What a token of some kind must look like.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    /// `typ`.
    pub(crate) token_type: &'static str,
    pub(crate) max_bytes: usize,
}

pub(crate) const DESCRIPTOR_FORM: Form = Form {
    token_type: TOKEN_TYPE,
    max_bytes: MAX_TOKEN_BYTES,
};

/// Header and claims as they will be signed; a signature makes the token of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unsigned(String);

/// In the order in which they are written.
#[derive(Serialize)]
struct Header<'a> {
    alg: Algorithm,
    kid: &'a str,
    typ: &'static str,
}

impl Unsigned {
    /// `None`: longer than the form allows, with its signature.
    pub(crate) fn new(claims: &impl Serialize, key: &SigningKey, form: Form) -> Option<Self> {
        let header = Header {
            alg: key.algorithm(),
            kid: key.id(),
            typ: form.token_type,
        };
        Self::of_parts(&header, claims, form.max_bytes)
    }

    /// Claims of a token of the authority's own that is neither a descriptor nor a feed. `None`: longer than
    /// `max_bytes`, with its signature.
    pub fn of_claims(
        claims: &impl Serialize,
        key: &SigningKey,
        token_type: &'static str,
        max_bytes: usize,
    ) -> Option<Self> {
        let form = Form {
            token_type,
            max_bytes,
        };
        Self::new(claims, key, form)
    }

    /// … with a header of another kind.
    pub(crate) fn of_parts(
        header: &impl Serialize,
        claims: &impl Serialize,
        max_bytes: usize,
    ) -> Option<Self> {
        let encode = |json: Vec<u8>| Base64UrlUnpadded::encode_string(&json);
        let header = encode(serde_json::to_vec(header).ok()?);
        let claims = encode(serde_json::to_vec(claims).ok()?);
        let signature_chars = (SIGNATURE_BYTES * 8).div_ceil(6);
        let length = header.len() + 1 + claims.len() + 1 + signature_chars;
        (length <= max_bytes).then(|| Self(format!("{header}.{claims}")))
    }

    /// What is to be signed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The token in its compact form.
    #[must_use]
    pub fn with_signature(&self, signature: &[u8; SIGNATURE_BYTES]) -> String {
        format!("{}.{}", self.0, Base64UrlUnpadded::encode_string(signature))
    }
}

/// A descriptor that would be refused by every verifier was not signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// A claim breaks the rules; the text says which.
    #[error("{0}")]
    Claims(&'static str),
    /// The key can't sign.
    #[error("the key {0}")]
    Key(&'static str),
    /// The claims are too long for a token of 8 KiB.
    #[error("the claims do not fit into a descriptor")]
    TooLarge,
}

impl Descriptor {
    /// What the key is to sign: a header of exactly `alg`, `kid`, `typ`, and the claims.
    pub fn to_unsigned(&self, key: &SigningKey) -> Result<Unsigned, MintError> {
        let payload = Payload::from(self);
        payload.check().map_err(MintError::Claims)?;
        Unsigned::new(&payload, key, DESCRIPTOR_FORM).ok_or(MintError::TooLarge)
    }
}

//! The strict profile of a JWS in compact form: what is refused before any signature work, and
//! whether a key has signed.

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding};
use jwt_compact::UntrustedToken;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use crate::{
    Algorithm, KeySet, MAX_KEY_ID_BYTES, Refusal,
    key_set::PublicKey,
    strict_json::{self, Fault},
    unsigned::{Form, SIGNATURE_BYTES},
};

#[cfg(test)]
mod conformance;

/// A token of the right form. Nothing of it is to be believed yet.
pub(crate) struct Jws<'a> {
    token: UntrustedToken<'a>,
    /// Header and payload, as they were signed.
    signed: &'a str,
    algorithm: Algorithm,
}

/// The dates of a token (RFC 7519, section 4.1), in whole seconds. jwt-compact reads them apart from
/// the other claims, and would round a fraction down.
#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Dates {
    pub(crate) iat: u64,
    #[serde(default, deserialize_with = "strict_json::present")]
    pub(crate) nbf: Option<u64>,
    pub(crate) exp: u64,
}

/// Claims that have dates among them.
pub(crate) trait Dated: DeserializeOwned {
    /// Takes the dates; `None` if one is missing that these claims must have.
    fn with_dates(self, dates: Dates) -> Option<Self>;
}

impl<'a> Jws<'a> {
    /// Reads a token and its claims.
    ///
    /// The strict profile comes first. What it lets pass, `jwt-compact` reads.
    pub(crate) fn parse<T: Dated>(compact: &'a str, form: Form) -> Result<(Self, T), Refusal> {
        if compact.len() > form.max_bytes {
            return Err(Refusal::malformed("token", "longer than its kind may be"));
        }
        let parts = Parts::split(compact)?;
        let algorithm = read_header(&parts.header, form.token_type)?;
        let dates: Dates = strict_json::from_slice(&parts.payload)
            .map_err(|fault| Refusal::malformed("payload", fault.as_str()))?;
        let token = Self::read(compact, parts.signed, algorithm)?;
        let claims = token
            .token
            .deserialize_claims_unchecked()
            .ok()
            .and_then(|claims| T::with_dates(claims.custom, dates))
            .ok_or(Refusal::malformed("payload", Fault::Shape.as_str()))?;
        Ok((token, claims))
    }

    /// Has the library read a token whose header and payload the strict profile lets pass.
    fn read(compact: &'a str, signed: &'a str, algorithm: Algorithm) -> Result<Self, Refusal> {
        let malformed = |problem| Refusal::malformed("signature", problem);
        let token =
            UntrustedToken::new(compact).map_err(|_| malformed("not canonical base64url"))?;
        if token.signature_bytes().len() != SIGNATURE_BYTES {
            return Err(malformed("not 64 bytes"));
        }
        Ok(Self {
            token,
            signed,
            algorithm,
        })
    }

    /// `kid`: the key that is said to have signed.
    pub(crate) fn key_id(&self) -> &str {
        self.token.header().key_id.as_deref().unwrap_or_default()
    }

    /// Whether the named key signed this token, by the algorithm that is the key's own.
    pub(crate) fn verify(&self, keys: &KeySet) -> Result<(), Refusal> {
        self.verify_by(keys.get(self.key_id()).ok_or(Refusal::UnknownKey)?)
    }

    fn verify_by(&self, key: &PublicKey) -> Result<(), Refusal> {
        if key.algorithm() != self.algorithm {
            return Err(Refusal::malformed("header", "alg is not that of the key"));
        }
        let signature = <[u8; SIGNATURE_BYTES]>::try_from(self.token.signature_bytes());
        if signature.is_ok_and(|signature| key.has_signed(self.signed.as_bytes(), &signature)) {
            Ok(())
        } else {
            Err(Refusal::BadSignature)
        }
    }
}

/// Three parts (RFC 7515, section 3.1), of which what the strict reader looks at is decoded.
struct Parts<'a> {
    signed: &'a str,
    header: Vec<u8>,
    payload: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn split(compact: &'a str) -> Result<Self, Refusal> {
        let not_three = || Refusal::malformed("token", "not three parts");
        let (signed, signature) = compact.rsplit_once('.').ok_or_else(not_three)?;
        let (header, payload) = signed.split_once('.').ok_or_else(not_three)?;
        if payload.contains('.') {
            return Err(not_three());
        }
        if signature.is_empty() {
            return Err(Refusal::malformed("signature", "empty"));
        }
        Ok(Self {
            signed,
            header: decode(header, "header")?,
            payload: decode(payload, "payload")?,
        })
    }
}

fn decode(part: &str, name: &'static str) -> Result<Vec<u8>, Refusal> {
    if part.is_empty() {
        return Err(Refusal::malformed(name, "empty"));
    }
    Base64UrlUnpadded::decode_vec(part)
        .map_err(|_| Refusal::malformed(name, "not canonical base64url"))
}

/// The algorithm that the header names, if it is one that a token of this type may have.
fn read_header(json: &[u8], token_type: &str) -> Result<Algorithm, Refusal> {
    let malformed = |problem| Refusal::malformed("header", problem);
    let header: HeaderMembers =
        strict_json::from_slice(json).map_err(|fault| malformed(fault.as_str()))?;
    if let Some(problem) = header.forbidden() {
        return Err(malformed(problem));
    }
    if header.typ != token_type {
        return Err(malformed("typ is not that of this kind of token"));
    }
    if !(1..=MAX_KEY_ID_BYTES).contains(&header.kid.len()) {
        return Err(malformed("kid is empty or longer than 256 bytes"));
    }
    algorithm(&header.alg).ok_or_else(|| malformed("alg is none of EdDSA, Ed25519, ES256"))
}

/// Ed25519 has two names: RFC 8037's and RFC 9864's.
fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
        "ES256" => Some(Algorithm::Es256),
        _ => None,
    }
}

#[derive(Deserialize)]
struct HeaderMembers<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Cow<'a, str>,
    #[serde(borrow)]
    typ: Cow<'a, str>,
    #[serde(default, deserialize_with = "strict_json::present")]
    crit: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict_json::present")]
    b64: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict_json::present")]
    zip: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict_json::present")]
    cty: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict_json::present")]
    jku: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict_json::present")]
    jwk: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict_json::present")]
    x5u: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict_json::present")]
    x5c: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "strict_json::present")]
    x5t: Option<IgnoredAny>,
    #[serde(
        default,
        rename = "x5t#S256",
        deserialize_with = "strict_json::present"
    )]
    x5t_s256: Option<IgnoredAny>,
}

impl HeaderMembers<'_> {
    /// Members that change what a signature means or where its key comes from (RFC 7515, section
    /// 4.1; RFC 7797). Tokens have none of them, whatever their value.
    fn forbidden(&self) -> Option<&'static str> {
        [
            (&self.crit, "has crit"),
            (&self.b64, "has b64"),
            (&self.zip, "has zip"),
            (&self.cty, "has cty"),
            (&self.jku, "has jku"),
            (&self.jwk, "has jwk"),
            (&self.x5u, "has x5u"),
            (&self.x5c, "has x5c"),
            (&self.x5t, "has x5t"),
            (&self.x5t_s256, "has x5t#S256"),
        ]
        .into_iter()
        .find_map(|(member, problem)| member.is_some().then_some(problem))
    }
}

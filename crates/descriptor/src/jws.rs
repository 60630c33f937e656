//! The strict profile of a JWS in compact form: what is refused before any signature work, and
//! whether a key has signed.

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use crate::{
    Algorithm, KeySet, MAX_KEY_ID_BYTES, Refusal, strict_json,
    unsigned::{Form, SIGNATURE_BYTES},
};

#[cfg(test)]
mod conformance;

/// A token of the right form. Nothing of it is to be believed yet.
pub(crate) struct Jws<'a> {
    /// Header and payload, as they were signed.
    signed: &'a str,
    signature: [u8; SIGNATURE_BYTES],
    algorithm: Algorithm,
    pub(crate) key_id: String,
}

impl<'a> Jws<'a> {
    /// The token and its payload, or why it is none.
    pub(crate) fn parse<T: DeserializeOwned>(
        compact: &'a str,
        form: Form,
    ) -> Result<(Self, T), Refusal> {
        if compact.len() > form.max_bytes {
            return Err(Refusal::malformed("token", "longer than its kind may be"));
        }
        let parts = Parts::split(compact)?;
        let header = Header::parse(&parts.header, form.token_type)?;
        let payload = strict_json::from_slice(&parts.payload)
            .map_err(|fault| Refusal::malformed("payload", fault.as_str()))?;
        let token = Self {
            signed: parts.signed,
            signature: parts.signature,
            algorithm: header.algorithm,
            key_id: header.key_id,
        };
        Ok((token, payload))
    }

    /// Whether the named key signed this token, by the algorithm that is the key's own.
    pub(crate) fn verify(&self, keys: &KeySet) -> Result<(), Refusal> {
        let key = keys.get(&self.key_id).ok_or(Refusal::UnknownKey)?;
        if key.algorithm() != self.algorithm {
            return Err(Refusal::malformed("header", "alg is not that of the key"));
        }
        if key.has_signed(self.signed.as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(Refusal::BadSignature)
        }
    }
}

/// Three parts of canonical base64url (RFC 7515, section 3.1), decoded.
struct Parts<'a> {
    signed: &'a str,
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: [u8; SIGNATURE_BYTES],
}

impl<'a> Parts<'a> {
    fn split(compact: &'a str) -> Result<Self, Refusal> {
        let not_three = || Refusal::malformed("token", "not three parts");
        let (signed, signature) = compact.rsplit_once('.').ok_or_else(not_three)?;
        let (header, payload) = signed.split_once('.').ok_or_else(not_three)?;
        if payload.contains('.') {
            return Err(not_three());
        }
        Ok(Self {
            signed,
            header: decode(header, "header")?,
            payload: decode(payload, "payload")?,
            signature: decode(signature, "signature")?
                .try_into()
                .map_err(|_| Refusal::malformed("signature", "not 64 bytes"))?,
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

struct Header {
    algorithm: Algorithm,
    key_id: String,
}

impl Header {
    fn parse(json: &[u8], token_type: &str) -> Result<Self, Refusal> {
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
        Ok(Self {
            algorithm: algorithm(&header.alg)
                .ok_or_else(|| malformed("alg is none of EdDSA, Ed25519, ES256"))?,
            key_id: header.kid.into_owned(),
        })
    }
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
        ]
        .into_iter()
        .find_map(|(member, problem)| member.is_some().then_some(problem))
    }
}

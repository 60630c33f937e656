use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    Algorithm, MAX_KEY_ID_BYTES, MAX_KEY_SET_BYTES, MAX_KEYS, SigningKeys,
    jwk::{PublicJwk, published_set},
    strict_json,
    unsigned::SIGNATURE_BYTES,
    verifying_key::VerifyingKey,
};

/// An authority's public keys, by key id.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeySet {
    keys: BTreeMap<String, PublicKey>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PublicKey {
    jwk: PublicJwk,
    key: VerifyingKey,
}

/// Why a fetched key set can't be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// Two keys have one id.
    #[error("two keys have the same kid")]
    DuplicateKeyId,
    /// A signature key of ours without a usable `kid`, `x` or `y`.
    #[error("keys[{index}].{member} is missing or malformed")]
    Key {
        /// Which key.
        index: usize,
        /// Which member of it.
        member: &'static str,
    },
    /// Not JSON, with duplicate members, or without a list `keys`.
    #[error("not a JWK Set")]
    NotASet,
    /// Contains a private key: whoever serves it has lost it.
    #[error("keys[{0}] is a private key")]
    Private(usize),
    /// More than 64 KiB or 32 keys.
    #[error("more than 64 KiB or 32 keys")]
    TooLarge,
}

impl KeySet {
    /// Reads a JWK Set (RFC 7517, section 5). Keys for something else than checking signatures with
    /// Ed25519 or ES256 are skipped, as the RFC wants; one of those that is broken makes the whole set
    /// unusable.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > MAX_KEY_SET_BYTES {
            return Err(KeySetError::TooLarge);
        }
        let set: Map<String, Value> =
            strict_json::from_slice(json).map_err(|_| KeySetError::NotASet)?;
        let jwks = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeySetError::NotASet)?;
        if jwks.len() > MAX_KEYS {
            return Err(KeySetError::TooLarge);
        }

        let mut keys = BTreeMap::new();
        for (index, jwk) in jwks.iter().enumerate() {
            if !jwk.is_object() {
                return Err(KeySetError::NotASet);
            }
            if jwk.get("d").is_some() {
                return Err(KeySetError::Private(index));
            }
            if !is_for_signatures(jwk) {
                continue;
            }
            let fault = |member| KeySetError::Key { index, member };
            let public = match PublicJwk::parse(jwk) {
                Ok(public) => public,
                Err(("kty" | "crv" | "alg", _)) => continue,
                Err((member, _)) => return Err(fault(member)),
            };
            let key_id = jwk
                .get("kid")
                .and_then(Value::as_str)
                .filter(|kid| (1..=MAX_KEY_ID_BYTES).contains(&kid.len()))
                .ok_or(fault("kid"))?;
            let key = PublicKey::new(public).ok_or(fault("x"))?;
            if keys.insert(key_id.to_owned(), key).is_some() {
                return Err(KeySetError::DuplicateKeyId);
            }
        }
        Ok(Self { keys })
    }

    /// The JWK Set as it is published.
    pub fn to_json(&self) -> Value {
        published_set(
            self.keys
                .iter()
                .map(|(key_id, key)| (key_id.as_str(), key.jwk)),
        )
    }

    /// The algorithm of the key of that id.
    pub fn algorithm(&self, key_id: &str) -> Option<Algorithm> {
        self.keys.get(key_id).map(|key| key.jwk.algorithm())
    }

    /// Whether the set has a key of that id.
    pub fn contains(&self, key_id: &str) -> bool {
        self.keys.contains_key(key_id)
    }

    /// How many keys there are. A set without any revokes everything.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn get(&self, key_id: &str) -> Option<&PublicKey> {
        self.keys.get(key_id)
    }
}

impl SigningKeys {
    /// The public halves of all keys, for checking what they signed.
    pub fn public(&self) -> KeySet {
        KeySet {
            keys: self
                .iter()
                .filter_map(|entry| {
                    Some((
                        entry.key.id().to_owned(),
                        PublicKey::new(entry.key.public())?,
                    ))
                })
                .collect(),
        }
    }
}

impl PublicKey {
    pub(crate) const fn algorithm(&self) -> Algorithm {
        self.jwk.algorithm()
    }

    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        self.key.has_signed(message, signature)
    }

    /// `None`: not a key that could be trusted to tell its signatures from others.
    fn new(jwk: PublicJwk) -> Option<Self> {
        let key = VerifyingKey::new(jwk)?;
        Some(Self { jwk, key })
    }
}

/// `use` and `key_ops` (RFC 7517, sections 4.2 and 4.3): for checking signatures, where it is said.
fn is_for_signatures(jwk: &Value) -> bool {
    let is_signing = |usage: &Value| usage == "sig";
    let may_verify = |operations: &Value| {
        operations
            .as_array()
            .is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
    };
    jwk.get("use").is_none_or(is_signing) && jwk.get("key_ops").is_none_or(may_verify)
}

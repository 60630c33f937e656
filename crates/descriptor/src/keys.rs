use std::{collections::BTreeMap, fmt};

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::VerifyingKey;
use jwt_compact::jwk::JsonWebKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use crate::{MAX_KEY_ID_CHARS, MAX_KEY_SET_BYTES, strict_json};

const MAX_KEYS: usize = 32;

/// Where a signing key stands in its life: `next`, then `active`, then `retired`, then gone.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyStatus {
    /// Signs. There is exactly one.
    Active,
    /// Published, so that verifiers know it before it signs.
    Next,
    /// Published for as long as descriptors that it signed may live.
    Retired,
}

/// The private half of one key. Its memory is wiped when it is dropped.
pub struct SigningKey {
    id: String,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// The key of a 32-byte Ed25519 seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let id = thumbprint(&key.verifying_key());
        Self { id, key }
    }

    /// `kid`: the key's thumbprint (RFC 7638).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The private JWK (RFC 8037, section 2) with its status: secret.
    pub fn to_private_jwk(&self, status: KeyStatus) -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "use": "sig",
            "kid": self.id,
            "status": status,
            "x": Base64UrlUnpadded::encode_string(self.key.verifying_key().as_bytes()),
            "d": Base64UrlUnpadded::encode_string(self.key.as_bytes()),
        })
    }

    pub(crate) const fn dalek(&self) -> &ed25519_dalek::SigningKey {
        &self.key
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The authority's private JWK Set: one key signs, every public half is published.
#[derive(Debug)]
pub struct SigningKeys {
    keys: Vec<(KeyStatus, SigningKey)>,
    active: usize,
}

/// What is wrong with a private JWK Set. Names the member, never shows key material.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeysError {
    /// No key is `active`, or more than one.
    #[error("keys: {0} of them have status \"active\"; exactly one must")]
    ActiveCount(usize),
    /// Two entries are the same key.
    #[error("keys[{0}] is the same key as an earlier one")]
    Duplicate(usize),
    /// A member of one key is missing or wrong.
    #[error("keys[{index}].{member}: {problem}")]
    Member {
        /// Which key.
        index: usize,
        /// Which member of it.
        member: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Not a JSON object with a list `keys` of at most 32.
    #[error("not a JWK Set: {0}")]
    NotASet(&'static str),
}

impl SigningKeys {
    /// Reads `{"keys": [{"kty": "OKP", "crv": "Ed25519", "x", "d", "status"}, …]}`. `kid` may be
    /// left out; where it is given, it must be the key's thumbprint.
    pub fn parse(json: &str) -> Result<Self, SigningKeysError> {
        let set: Value = strict_json::from_slice(json.as_bytes())
            .map_err(|_| SigningKeysError::NotASet("not JSON, or with duplicate members"))?;
        let entries = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(SigningKeysError::NotASet("it has no list \"keys\""))?;
        if entries.len() > MAX_KEYS {
            return Err(SigningKeysError::NotASet("it has more than 32 keys"));
        }

        let mut keys: Vec<(KeyStatus, SigningKey)> = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let (status, key) =
                parse_private_key(entry).map_err(|(member, problem)| SigningKeysError::Member {
                    index,
                    member,
                    problem,
                })?;
            if keys.iter().any(|(_, earlier)| earlier.id == key.id) {
                return Err(SigningKeysError::Duplicate(index));
            }
            keys.push((status, key));
        }

        let mut active = keys
            .iter()
            .enumerate()
            .filter(|(_, (status, _))| *status == KeyStatus::Active)
            .map(|(index, _)| index);
        match (active.next(), active.count()) {
            (Some(active), 0) => Ok(Self { keys, active }),
            (None, _) => Err(SigningKeysError::ActiveCount(0)),
            (Some(_), others) => Err(SigningKeysError::ActiveCount(others + 1)),
        }
    }

    /// The key that signs.
    #[expect(
        clippy::indexing_slicing,
        reason = "parse found the index in this very list"
    )]
    pub fn active(&self) -> &SigningKey {
        &self.keys[self.active].1
    }

    /// Every key with its status, in the order of the set.
    pub fn iter(&self) -> impl Iterator<Item = (KeyStatus, &SigningKey)> {
        self.keys.iter().map(|(status, key)| (*status, key))
    }

    /// The public halves of all keys.
    pub fn public(&self) -> KeySet {
        KeySet {
            keys: self
                .keys
                .iter()
                .map(|(_, key)| (key.id.clone(), key.key.verifying_key()))
                .collect(),
        }
    }
}

fn parse_private_key(
    entry: &Value,
) -> Result<(KeyStatus, SigningKey), (&'static str, &'static str)> {
    let text = |member| entry.get(member).and_then(Value::as_str);
    if text("kty") != Some("OKP") {
        return Err(("kty", "must be \"OKP\""));
    }
    if text("crv") != Some("Ed25519") {
        return Err(("crv", "must be \"Ed25519\""));
    }
    if !matches!(text("alg"), None | Some("EdDSA" | "Ed25519")) {
        return Err(("alg", "must be \"EdDSA\" where it is given"));
    }
    let status = match text("status") {
        Some("active") => KeyStatus::Active,
        Some("next") => KeyStatus::Next,
        Some("retired") => KeyStatus::Retired,
        _ => return Err(("status", "must be \"active\", \"next\" or \"retired\"")),
    };
    let mut seed = [0; 32];
    decode_32(text("d"), &mut seed).ok_or(("d", "must be 32 bytes of base64url, unpadded"))?;
    let mut public = [0; 32];
    decode_32(text("x"), &mut public).ok_or(("x", "must be 32 bytes of base64url, unpadded"))?;

    let key = SigningKey::from_seed(&seed);
    if key.key.verifying_key().as_bytes() != &public {
        return Err(("x", "does not belong to d"));
    }
    match entry.get("kid") {
        Some(kid) if kid.as_str() != Some(key.id.as_str()) => Err((
            "kid",
            "must be the key's RFC 7638 thumbprint, or be left out",
        )),
        _ => Ok((status, key)),
    }
}

fn decode_32(text: Option<&str>, into: &mut [u8; 32]) -> Option<()> {
    let decoded = Base64UrlUnpadded::decode(text?, into.as_mut_slice()).ok()?;
    (decoded.len() == 32).then_some(())
}

/// An authority's public keys, by key id.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeySet {
    keys: BTreeMap<String, VerifyingKey>,
}

/// Why a fetched key set can't be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// Two keys have one id.
    #[error("two keys have the same kid")]
    DuplicateKeyId,
    /// An Ed25519 signature key without a usable `kid` or `x`.
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
    /// Reads a JWK Set (RFC 7517, section 5). Keys for something else than Ed25519 signatures are
    /// skipped, as the RFC wants; an Ed25519 key that is broken makes the whole set unusable.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > MAX_KEY_SET_BYTES {
            return Err(KeySetError::TooLarge);
        }
        let set: Map<String, Value> =
            strict_json::from_slice(json).map_err(|_| KeySetError::NotASet)?;
        let entries = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeySetError::NotASet)?;
        if entries.len() > MAX_KEYS {
            return Err(KeySetError::TooLarge);
        }

        let mut keys = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            if !entry.is_object() {
                return Err(KeySetError::NotASet);
            }
            if entry.get("d").is_some() {
                return Err(KeySetError::Private(index));
            }
            if !is_ed25519_signature_key(entry) {
                continue;
            }
            let kid = entry
                .get("kid")
                .and_then(Value::as_str)
                .filter(|kid| (1..=MAX_KEY_ID_CHARS).contains(&kid.len()))
                .ok_or(KeySetError::Key {
                    index,
                    member: "kid",
                })?;
            let key = parse_public_key(entry).ok_or(KeySetError::Key { index, member: "x" })?;
            if keys.insert(kid.to_owned(), key).is_some() {
                return Err(KeySetError::DuplicateKeyId);
            }
        }
        Ok(Self { keys })
    }

    /// The JWK Set as it is published.
    pub fn to_json(&self) -> Value {
        let keys: Vec<Value> = self
            .keys
            .iter()
            .map(|(kid, key)| {
                json!({
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "alg": "EdDSA",
                    "use": "sig",
                    "kid": kid,
                    "x": Base64UrlUnpadded::encode_string(key.as_bytes()),
                })
            })
            .collect();
        json!({ "keys": keys })
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

    pub(crate) fn get(&self, key_id: &str) -> Option<&VerifyingKey> {
        self.keys.get(key_id)
    }
}

fn is_ed25519_signature_key(entry: &Value) -> bool {
    let text = |member| entry.get(member).and_then(Value::as_str);
    text("kty") == Some("OKP")
        && text("crv") == Some("Ed25519")
        && matches!(text("use"), None | Some("sig"))
        && matches!(text("alg"), None | Some("EdDSA" | "Ed25519"))
}

fn parse_public_key(entry: &Value) -> Option<VerifyingKey> {
    let mut bytes = [0; 32];
    decode_32(entry.get("x").and_then(Value::as_str), &mut bytes)?;
    let key = VerifyingKey::from_bytes(&bytes).ok()?;
    // Under a key of small order one signature fits many messages.
    (!key.is_weak()).then_some(key)
}

fn thumbprint(key: &VerifyingKey) -> String {
    Base64UrlUnpadded::encode_string(&JsonWebKey::from(key).thumbprint::<Sha256>())
}

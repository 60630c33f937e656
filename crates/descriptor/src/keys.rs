//! The authority's private keys: read and checked for their form, which needs no arithmetic. Those
//! who compile this with `sign` are also told whether the halves of a pair belong together.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{
    Algorithm, LATEST_DATE, MAX_KEYS,
    jwk::{MemberFault, PublicJwk, decode_32, published_set},
    strict_json,
};

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

impl KeyStatus {
    /// The name in a private JWK.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Next => "next",
            Self::Retired => "retired",
        }
    }

    /// How many seconds a key must have had this status before the next step of a rotation is safe; `None`: the step
    /// waits for another key.
    pub const fn settles_after(self) -> Option<u64> {
        match self {
            Self::Active => None,
            Self::Next => Some(PUBLISH_SECONDS),
            Self::Retired => Some(RETIRE_SECONDS),
        }
    }
}

/// How long verifiers may not know a new key: the longest refresh interval of a key cache, and how long a key set may be
/// kept on its way to them.
const PUBLISH_SECONDS: u64 = 600 + 60;

/// How long a descriptor has effects after its key has stopped signing: its longest lifetime, leeway and grace.
const RETIRE_SECONDS: u64 = 120 + 5 + 30;

/// The private half of one key. Its memory is wiped when it is dropped.
pub struct SigningKey {
    id: String,
    public: PublicJwk,
    secret: Zeroizing<[u8; 32]>,
}

impl SigningKey {
    pub(crate) fn new(public: PublicJwk, secret: Zeroizing<[u8; 32]>) -> Self {
        Self {
            id: public.thumbprint(),
            public,
            secret,
        }
    }

    /// `kid`: the key's thumbprint (RFC 7638).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it signs.
    pub const fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// The public JWK, of the members that make the key alone.
    pub fn to_public_jwk(&self) -> Value {
        Value::Object(self.public.to_json())
    }

    /// The private JWK (RFC 8037, section 2; RFC 7518, section 6.2.2) with its status: secret.
    pub fn to_private_jwk(&self, status: KeyStatus) -> Value {
        let mut jwk: Map<String, Value> = self.public.to_published(&self.id);
        jwk.insert("status".into(), status.as_str().into());
        let secret = Base64UrlUnpadded::encode_string(self.secret.as_slice());
        jwk.insert("d".into(), secret.into());
        Value::Object(jwk)
    }

    #[cfg(feature = "arithmetic")]
    pub(crate) const fn public(&self) -> PublicJwk {
        self.public
    }

    #[cfg(feature = "sign")]
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// One key of the authority's set.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyEntry {
    /// Where it stands in its life.
    pub status: KeyStatus,
    /// Since when, in seconds since the Unix epoch, where the set says it.
    pub since: Option<u64>,
    /// The key itself.
    pub key: SigningKey,
}

/// The authority's private JWK Set: one key signs, every public half is published.
#[derive(Debug)]
pub struct SigningKeys {
    entries: Vec<KeyEntry>,
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

impl SigningKeysError {
    /// The halves of one key don't belong together.
    pub const fn not_a_pair(index: usize) -> Self {
        Self::Member {
            index,
            member: NOT_A_PAIR.0,
            problem: NOT_A_PAIR.1,
        }
    }
}

const NOT_A_PAIR: MemberFault = ("x", "does not belong to d");

impl SigningKeys {
    /// Reads `{"keys": [{"kty", "crv", "x", "d", "status"}, …]}`, with `y` for P-256. `kid` may be
    /// left out; where it is given, it must be the key's thumbprint.
    ///
    /// Without the feature `sign`, whether `x` belongs to `d` is left to whoever signs.
    pub fn parse(json: &str) -> Result<Self, SigningKeysError> {
        let set: Value = strict_json::from_slice(json.as_bytes())
            .map_err(|_| SigningKeysError::NotASet("not JSON, or with duplicate members"))?;
        let jwks = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(SigningKeysError::NotASet("it has no list \"keys\""))?;
        if jwks.len() > MAX_KEYS {
            return Err(SigningKeysError::NotASet("it has more than 32 keys"));
        }

        let mut entries: Vec<KeyEntry> = Vec::with_capacity(jwks.len());
        for (index, jwk) in jwks.iter().enumerate() {
            let entry = parse_entry(jwk).map_err(|(member, problem)| SigningKeysError::Member {
                index,
                member,
                problem,
            })?;
            if entries.iter().any(|earlier| earlier.key.id == entry.key.id) {
                return Err(SigningKeysError::Duplicate(index));
            }
            entries.push(entry);
        }

        let mut active = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.status == KeyStatus::Active)
            .map(|(index, _)| index);
        match (active.next(), active.count()) {
            (Some(active), 0) => Ok(Self { entries, active }),
            (None, _) => Err(SigningKeysError::ActiveCount(0)),
            (Some(_), others) => Err(SigningKeysError::ActiveCount(others + 1)),
        }
    }

    /// The key that signs, where none was revoked.
    #[expect(
        clippy::indexing_slicing,
        reason = "parse found the index in this very list"
    )]
    pub fn active(&self) -> &SigningKey {
        &self.entries[self.active].key
    }

    /// The key that signs: the active one; where that was revoked, the first that was to be next.
    pub fn signer(&self, is_revoked: impl Fn(&str) -> bool) -> Option<&SigningKey> {
        let next = self
            .entries
            .iter()
            .filter(|entry| entry.status == KeyStatus::Next)
            .map(|entry| &entry.key);
        std::iter::once(self.active())
            .chain(next)
            .find(|key| !is_revoked(&key.id))
    }

    /// Every key, in the order of the set.
    pub fn iter(&self) -> impl Iterator<Item = &KeyEntry> {
        self.entries.iter()
    }

    /// What the keys sign with, each once.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        [Algorithm::EdDsa, Algorithm::Es256]
            .into_iter()
            .filter(|algorithm| {
                let is_of = |entry: &KeyEntry| entry.key.algorithm() == *algorithm;
                self.entries.iter().any(is_of)
            })
            .collect()
    }

    /// The JWK Set as it is published: the public halves of all keys that were not revoked.
    pub fn published(&self, is_revoked: impl Fn(&str) -> bool) -> Value {
        published_set(
            self.entries
                .iter()
                .map(|entry| (entry.key.id.as_str(), entry.key.public))
                .filter(|(key_id, _)| !is_revoked(key_id)),
        )
    }
}

fn parse_entry(jwk: &Value) -> Result<KeyEntry, MemberFault> {
    let public = PublicJwk::parse(jwk)?;
    let status = match jwk.get("status").and_then(Value::as_str) {
        Some("active") => KeyStatus::Active,
        Some("next") => KeyStatus::Next,
        Some("retired") => KeyStatus::Retired,
        _ => return Err(("status", "must be \"active\", \"next\" or \"retired\"")),
    };
    let since = match jwk.get("since") {
        None => None,
        Some(since) => match since.as_u64() {
            Some(seconds @ 0..=LATEST_DATE) => Some(seconds),
            _ => return Err(("since", "must be whole seconds since 1970, or be left out")),
        },
    };
    let key = SigningKey::new(public, Zeroizing::new(decode_32(jwk, "d")?));
    #[cfg(feature = "sign")]
    if !crate::sign::is_pair(&key) {
        return Err(NOT_A_PAIR);
    }
    match jwk.get("kid") {
        Some(kid) if kid.as_str() != Some(key.id.as_str()) => Err((
            "kid",
            "must be the key's RFC 7638 thumbprint, or be left out",
        )),
        _ => Ok(KeyEntry { status, since, key }),
    }
}

//! JSON Web Keys of the two kinds that sign, read and written without arithmetic on curves.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// How a key signs. It belongs to the key; a token never chooses it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub enum Algorithm {
    /// `EdDSA` over Ed25519 (RFC 8037).
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA over P-256 with SHA-256 (RFC 7518, section 3.4).
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    /// The name in a header and a JWK.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The public half of a key, as it is written. Whether it lies on its curve is not known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PublicJwk {
    Ed25519 { x: [u8; 32] },
    P256 { x: [u8; 32], y: [u8; 32] },
}

/// Which member of a JWK is wrong, and why.
pub(crate) type MemberFault = (&'static str, &'static str);

const NOT_32_BYTES: &str = "must be 32 bytes of base64url, unpadded";

impl PublicJwk {
    pub(crate) fn parse(jwk: &Value) -> Result<Self, MemberFault> {
        let text = |member| jwk.get(member).and_then(Value::as_str);
        let is_ed25519 = text("kty") == Some("OKP");
        let alg_is = |names: &[&str]| {
            jwk.get("alg")
                .is_none_or(|alg| names.iter().any(|name| alg == name))
        };
        if !is_ed25519 && text("kty") != Some("EC") {
            return Err(("kty", "must be \"OKP\" or \"EC\""));
        }
        let x = || decode_32(jwk, "x");
        if is_ed25519 {
            if text("crv") != Some("Ed25519") {
                return Err(("crv", "must be \"Ed25519\" with kty \"OKP\""));
            }
            if !alg_is(&["EdDSA", "Ed25519"]) {
                return Err(("alg", "must be \"EdDSA\" where it is given for Ed25519"));
            }
            Ok(Self::Ed25519 { x: x()? })
        } else {
            if text("crv") != Some("P-256") {
                return Err(("crv", "must be \"P-256\" with kty \"EC\""));
            }
            if !alg_is(&["ES256"]) {
                return Err(("alg", "must be \"ES256\" where it is given for P-256"));
            }
            let y = decode_32(jwk, "y")?;
            Ok(Self::P256 { x: x()?, y })
        }
    }

    pub(crate) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519 { .. } => Algorithm::EdDsa,
            Self::P256 { .. } => Algorithm::Es256,
        }
    }

    /// The members that make the key, and no other.
    pub(crate) fn to_json(self) -> Map<String, Value> {
        let coordinate = |bytes: [u8; 32]| Value::from(Base64UrlUnpadded::encode_string(&bytes));
        let (kty, crv, x, y) = match self {
            Self::Ed25519 { x } => ("OKP", "Ed25519", x, None),
            Self::P256 { x, y } => ("EC", "P-256", x, Some(y)),
        };
        let mut jwk = Map::new();
        jwk.insert("kty".into(), kty.into());
        jwk.insert("crv".into(), crv.into());
        jwk.insert("x".into(), coordinate(x));
        if let Some(y) = y {
            jwk.insert("y".into(), coordinate(y));
        }
        jwk
    }

    /// … with what says how it is used.
    pub(crate) fn to_published(self, key_id: &str) -> Map<String, Value> {
        let mut jwk = self.to_json();
        jwk.insert("alg".into(), self.algorithm().as_str().into());
        jwk.insert("use".into(), "sig".into());
        jwk.insert("kid".into(), key_id.into());
        jwk
    }

    /// RFC 7638: the hash of the required members in the order of their names.
    pub(crate) fn thumbprint(self) -> String {
        let encode = |bytes: [u8; 32]| Base64UrlUnpadded::encode_string(&bytes);
        let members = match self {
            Self::Ed25519 { x } => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(x))
            }
            Self::P256 { x, y } => format!(
                r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
                encode(x),
                encode(y)
            ),
        };
        Base64UrlUnpadded::encode_string(&Sha256::digest(members))
    }
}

pub(crate) fn decode_32(jwk: &Value, member: &'static str) -> Result<[u8; 32], MemberFault> {
    let mut bytes = [0; 32];
    let text = jwk.get(member).and_then(Value::as_str).unwrap_or_default();
    match Base64UrlUnpadded::decode(text, &mut bytes) {
        Ok(decoded) if decoded.len() == 32 => Ok(bytes),
        _ => Err((member, NOT_32_BYTES)),
    }
}

/// The JWK Set (RFC 7517, section 5) as it is published.
pub(crate) fn published_set<'a>(keys: impl Iterator<Item = (&'a str, PublicJwk)>) -> Value {
    let keys: Vec<Value> = keys
        .map(|(key_id, jwk)| Value::Object(jwk.to_published(key_id)))
        .collect();
    json!({ "keys": keys })
}

//! The public keys of an identity provider: which of a JWK Set can check signatures here, and which
//! of those a token may have been signed with. A key carries its algorithm; the token never chooses.

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_descriptor::{MAX_KEY_SET_BYTES, strict_json};
use serde_json::{Map, Value, json};

const MAX_KEYS: usize = 64;
const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = 8192;

/// The signatures that are accepted: no HMAC, nothing unsigned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SignatureAlgorithm {
    Rs256,
    Ps256,
    Es256,
    Ed25519,
}

impl SignatureAlgorithm {
    /// By its name in a header or a key (RFC 7518, RFC 8037, RFC 9864).
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::Ed25519),
            _ => None,
        }
    }

    /// Whether a signature of so many bytes can be one of these.
    pub(crate) fn may_sign_with(self, bytes: usize) -> bool {
        match self {
            Self::Rs256 | Self::Ps256 => (MIN_RSA_BITS / 8..=MAX_RSA_BITS / 8).contains(&bytes),
            Self::Es256 | Self::Ed25519 => bytes == 64,
        }
    }

    const fn family(self) -> Family {
        match self {
            Self::Rs256 | Self::Ps256 => Family::Rsa,
            Self::Es256 => Family::P256,
            Self::Ed25519 => Family::Ed25519,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Family {
    Rsa,
    P256,
    Ed25519,
}

/// What a token says of the key that signed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct KeyHint {
    pub(crate) id: Option<String>,
    pub(crate) algorithm: SignatureAlgorithm,
}

/// The usable keys of a provider.
#[derive(Debug)]
pub(crate) struct ProviderKeys(Vec<ProviderKey>);

#[derive(Debug)]
pub(crate) struct ProviderKey {
    id: Option<String>,
    family: Family,
    /// Where the key is for one algorithm only.
    algorithm: Option<SignatureAlgorithm>,
    /// What of the key makes it: nothing that was not checked.
    jwk: Value,
}

/// Why a key set can't be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ProviderKeysFault {
    #[error("it is no JWK Set: a JSON object with unique members and a list \"keys\"")]
    NotASet,
    #[error("keys[{0}] is a private or a symmetric key: whoever serves it has lost it")]
    Private(usize),
    #[error("it has more than 64 KiB or 64 keys")]
    TooLarge,
}

/// Why no key fits a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoKey {
    /// The provider may have a newer one.
    Unknown,
    /// More than one fits, and the token doesn't say which it is.
    Ambiguous,
}

impl ProviderKeys {
    /// Reads a JWK Set (RFC 7517, section 5). Keys that can't check signatures here are skipped, as
    /// the RFC wants.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, ProviderKeysFault> {
        if json.len() > MAX_KEY_SET_BYTES {
            return Err(ProviderKeysFault::TooLarge);
        }
        let set: Map<String, Value> =
            strict_json::from_slice(json).map_err(|_| ProviderKeysFault::NotASet)?;
        let entries = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(ProviderKeysFault::NotASet)?;
        if entries.len() > MAX_KEYS {
            return Err(ProviderKeysFault::TooLarge);
        }
        if let Some(lost) = entries
            .iter()
            .position(|entry| entry.get("d").is_some() || entry.get("k").is_some())
        {
            return Err(ProviderKeysFault::Private(lost));
        }
        Ok(Self(entries.iter().filter_map(ProviderKey::read).collect()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one key that can have signed a token that says so, by its place in the set.
    pub(crate) fn find(&self, hint: &KeyHint) -> Result<(usize, &ProviderKey), NoKey> {
        let mut fitting = self.0.iter().enumerate().filter(|(_, key)| {
            (hint.id.is_none() || key.id == hint.id)
                && key.family == hint.algorithm.family()
                && key.algorithm.is_none_or(|only| only == hint.algorithm)
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(NoKey::Ambiguous),
            (None, _) => Err(NoKey::Unknown),
        }
    }
}

impl ProviderKey {
    /// The members that make the public key, for importing it.
    pub(crate) fn jwk(&self) -> String {
        self.jwk.to_string()
    }

    /// `None`: not a key for our signatures, or broken.
    fn read(entry: &Value) -> Option<Self> {
        let text = |member| entry.get(member).and_then(Value::as_str);
        if !matches!(
            entry.get("use").map(Value::as_str),
            None | Some(Some("sig"))
        ) {
            return None;
        }
        if let Some(operations) = entry.get("key_ops")
            && !operations
                .as_array()?
                .iter()
                .any(|operation| operation == "verify")
        {
            return None;
        }
        let (family, jwk) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (n, e) = (text("n")?, text("e")?);
                check_rsa(n, e)?;
                (Family::Rsa, json!({ "kty": "RSA", "n": n, "e": e }))
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (text("x")?, text("y")?);
                check_length(x, 32)?;
                check_length(y, 32)?;
                (
                    Family::P256,
                    json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }),
                )
            }
            ("OKP", Some("Ed25519")) => {
                let x = text("x")?;
                check_length(x, 32)?;
                (
                    Family::Ed25519,
                    json!({ "kty": "OKP", "crv": "Ed25519", "x": x }),
                )
            }
            _ => return None,
        };
        let algorithm = match entry.get("alg") {
            None => None,
            Some(name) => {
                let only = SignatureAlgorithm::from_name(name.as_str()?)?;
                (only.family() == family).then_some(Some(only))?
            }
        };
        let id = match entry.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str()?.to_owned()),
        };
        Some(Self {
            id,
            family,
            algorithm,
            jwk,
        })
    }
}

fn check_length(text: &str, bytes: usize) -> Option<()> {
    let decoded = Base64UrlUnpadded::decode_vec(text).ok()?;
    (decoded.len() == bytes).then_some(())
}

fn check_rsa(modulus: &str, exponent: &str) -> Option<()> {
    let modulus = Base64UrlUnpadded::decode_vec(modulus).ok()?;
    let leading = modulus.iter().take_while(|byte| **byte == 0).count();
    let zeros = modulus.get(leading)?.leading_zeros() as usize;
    let bits = (modulus.len() - leading) * 8 - zeros;
    let exponent = Base64UrlUnpadded::decode_vec(exponent).ok()?;
    let is_odd = exponent.last()? % 2 == 1;
    // 1 would make every message its own signature.
    let is_one =
        exponent.iter().rev().skip(1).all(|byte| *byte == 0) && exponent.last() == Some(&1);
    ((MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) && exponent.len() <= 4 && is_odd && !is_one)
        .then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        Base64UrlUnpadded::encode_string(bytes.as_ref())
    }

    fn rsa(bits: usize) -> Value {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= (8 - bits % 8) % 8;
        json!({ "kty": "RSA", "kid": "r", "n": encode(modulus), "e": "AQAB" })
    }

    fn ec() -> Value {
        json!({ "kty": "EC", "crv": "P-256", "kid": "e", "x": encode([1; 32]), "y": encode([2; 32]) })
    }

    fn okp() -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "o", "x": encode([1; 32]) })
    }

    fn with(mut value: Value, member: &str, new: Value) -> Value {
        value[member] = new;
        value
    }

    fn set(keys: &[Value]) -> Result<ProviderKeys, ProviderKeysFault> {
        ProviderKeys::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn hint(id: Option<&str>, algorithm: SignatureAlgorithm) -> KeyHint {
        let id = id.map(str::to_owned);
        KeyHint { id, algorithm }
    }

    const ALL: [SignatureAlgorithm; 4] = [
        SignatureAlgorithm::Rs256,
        SignatureAlgorithm::Ps256,
        SignatureAlgorithm::Es256,
        SignatureAlgorithm::Ed25519,
    ];

    /// The algorithms for which a set of this one key has a key.
    fn algorithms(key: Value) -> Vec<SignatureAlgorithm> {
        let keys = set(&[key]).unwrap();
        let has = |algorithm: &SignatureAlgorithm| keys.find(&hint(None, *algorithm)).is_ok();
        ALL.into_iter().filter(has).collect()
    }

    #[test]
    fn a_key_is_for_the_algorithms_of_its_kind_only() {
        use SignatureAlgorithm::{Ed25519, Es256, Ps256, Rs256};
        for (key, expected) in [
            (rsa(2048), vec![Rs256, Ps256]),
            (rsa(8192), vec![Rs256, Ps256]),
            (with(rsa(2048), "alg", "PS256".into()), vec![Ps256]),
            (ec(), vec![Es256]),
            (with(ec(), "alg", "ES256".into()), vec![Es256]),
            (okp(), vec![Ed25519]),
            (with(okp(), "alg", "EdDSA".into()), vec![Ed25519]),
            (with(okp(), "alg", "Ed25519".into()), vec![Ed25519]),
            (with(ec(), "use", "sig".into()), vec![Es256]),
            (with(ec(), "key_ops", json!(["verify"])), vec![Es256]),
        ] {
            assert_eq!(algorithms(key.clone()), expected, "{key}");
        }
    }

    #[test]
    fn keys_for_something_else_and_weak_ones_are_skipped() {
        for key in [
            rsa(2047),
            rsa(1024),
            rsa(8193),
            with(rsa(2048), "e", "AQ".into()),
            with(rsa(2048), "e", "AA".into()),
            with(rsa(2048), "e", "Ag".into()),
            with(rsa(2048), "e", "AAAB".into()),
            with(rsa(2048), "e", "AQAAAAAB".into()),
            with(rsa(2048), "n", "".into()),
            with(rsa(2048), "n", encode([0; 256]).into()),
            with(rsa(2048), "n", "not base64url!".into()),
            with(rsa(2048), "alg", "RS512".into()),
            with(rsa(2048), "alg", "RSA-OAEP".into()),
            with(rsa(2048), "alg", "ES256".into()),
            with(rsa(2048), "alg", "HS256".into()),
            with(rsa(2048), "alg", "none".into()),
            with(rsa(2048), "alg", Value::Null),
            with(rsa(2048), "use", "enc".into()),
            with(rsa(2048), "use", Value::Null),
            with(rsa(2048), "key_ops", json!(["encrypt"])),
            with(rsa(2048), "key_ops", "verify".into()),
            with(rsa(2048), "kid", 7.into()),
            with(rsa(2048), "kty", "rsa".into()),
            with(ec(), "crv", "P-384".into()),
            with(ec(), "x", encode([1; 31]).into()),
            with(okp(), "crv", "X25519".into()),
            with(okp(), "x", encode([1; 33]).into()),
            json!({}),
            json!("key"),
        ] {
            assert!(set(std::slice::from_ref(&key)).unwrap().is_empty(), "{key}");
            let keys = set(&[key, okp()]).unwrap();
            assert!(
                keys.find(&hint(Some("o"), SignatureAlgorithm::Ed25519))
                    .is_ok()
            );
        }
    }

    #[test]
    fn a_set_with_a_secret_in_it_is_none() {
        for secret in [
            with(okp(), "d", "AA".into()),
            json!({ "kty": "oct", "k": "AA" }),
        ] {
            assert_eq!(
                set(&[ec(), secret]).unwrap_err(),
                ProviderKeysFault::Private(1)
            );
        }
        for json in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
            let fault = ProviderKeys::parse(json.as_bytes()).unwrap_err();
            assert_eq!(fault, ProviderKeysFault::NotASet, "{json}");
        }
        assert_eq!(
            set(&vec![json!({}); 65]).unwrap_err(),
            ProviderKeysFault::TooLarge
        );
        let long = ProviderKeys::parse(&vec![b' '; MAX_KEY_SET_BYTES + 1]).unwrap_err();
        assert_eq!(long, ProviderKeysFault::TooLarge);
    }

    #[test]
    fn one_key_fits_or_none_does() {
        use SignatureAlgorithm::{Ed25519, Es256, Rs256};
        let other = with(okp(), "kid", "o2".into());
        let keys = set(&[rsa(2048), ec(), okp(), other]).unwrap();
        let found = |key_id, algorithm| keys.find(&hint(key_id, algorithm)).map(|(index, _)| index);
        assert_eq!(found(Some("o2"), Ed25519), Ok(3));
        assert_eq!(found(Some("e"), Es256), Ok(1));
        assert_eq!(found(None, Rs256), Ok(0));
        assert_eq!(found(None, Ed25519), Err(NoKey::Ambiguous));
        assert_eq!(found(Some("e"), Rs256), Err(NoKey::Unknown));
        assert_eq!(found(Some("x"), Es256), Err(NoKey::Unknown));
        assert_eq!(
            set(&[]).unwrap().find(&hint(None, Es256)).unwrap_err(),
            NoKey::Unknown
        );
        // RFC 7517, section 4.5: different kinds of keys may share an id.
        let shared = set(&[ec(), with(okp(), "kid", "e".into())]).unwrap();
        assert!(shared.find(&hint(Some("e"), Es256)).is_ok());
    }

    #[test]
    fn what_is_imported_is_what_was_checked() {
        let keys = set(&[with(okp(), "x5c", json!(["evil"]))]).unwrap();
        let (_, key) = keys
            .find(&hint(Some("o"), SignatureAlgorithm::Ed25519))
            .unwrap();
        let jwk: Value = serde_json::from_str(&key.jwk()).unwrap();
        assert_eq!(
            jwk,
            json!({ "kty": "OKP", "crv": "Ed25519", "x": encode([1; 32]) })
        );
    }

    proptest! {
        #[test]
        fn any_set_is_answered(json in ".*", n in ".*", e in ".*") {
            let _ = ProviderKeys::parse(json.as_bytes());
            let _ = set(&[json!({ "kty": "RSA", "n": n, "e": e })]);
        }
    }
}

//! The public keys of an identity provider: which of a JWK Set can check signatures here, and which
//! of those a token may have been signed with. A key carries its algorithm; the token never chooses.

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_descriptor::MAX_KEY_SET_BYTES;
use serde::Serialize;
use serde_json::{Value, json};

use super::discovery::{ServedFault, read_served};

const MAX_KEYS: usize = 64;
/// The most keys that are tried for one token. More than that fit only if a provider names none of
/// many keys.
pub(crate) const MAX_CANDIDATES: usize = 8;
const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = 8192;
/// The longest text of a provider that an administrator is shown.
const MAX_SHOWN_CHARS: usize = 256;

/// The names of all algorithms that are accepted.
pub(crate) const ALGORITHM_NAMES: &str =
    "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA";

/// The signatures that are accepted: no HMAC, nothing unsigned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SignatureAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    Ed25519,
}

impl SignatureAlgorithm {
    /// By its name in a header or a key (RFC 7518, RFC 8037, RFC 9864).
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "EdDSA" | "Ed25519" => Self::Ed25519,
            _ => return None,
        })
    }

    /// Whether a signature of so many bytes can be one of these.
    pub(crate) fn may_sign_with(self, bytes: usize) -> bool {
        match self.family() {
            Family::Rsa => (MIN_RSA_BITS / 8..=MAX_RSA_BITS / 8).contains(&bytes),
            Family::P256 | Family::Ed25519 => bytes == 64,
            Family::P384 => bytes == 96,
            Family::P521 => bytes == 132,
        }
    }

    const fn family(self) -> Family {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                Family::Rsa
            }
            Self::Es256 => Family::P256,
            Self::Es384 => Family::P384,
            Self::Es512 => Family::P521,
            Self::Ed25519 => Family::Ed25519,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Family {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

impl Family {
    /// The curves of JWKs (RFC 7518, section 6.2.1.1), with the bytes of a coordinate.
    fn of_curve(name: &str) -> Option<(Self, usize)> {
        Some(match name {
            "P-256" => (Self::P256, 32),
            "P-384" => (Self::P384, 48),
            "P-521" => (Self::P521, 66),
            _ => return None,
        })
    }

    /// An algorithm with which a key that names none can be tried.
    const fn usual_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::Rsa => SignatureAlgorithm::Rs256,
            Self::P256 => SignatureAlgorithm::Es256,
            Self::P384 => SignatureAlgorithm::Es384,
            Self::P521 => SignatureAlgorithm::Es512,
            Self::Ed25519 => SignatureAlgorithm::Ed25519,
        }
    }
}

/// What a token says of the key that signed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct KeyHint {
    pub(crate) id: Option<String>,
    pub(crate) algorithm: SignatureAlgorithm,
}

/// The keys of a provider.
#[derive(Debug)]
pub(crate) struct ProviderKeys {
    usable: Vec<ProviderKey>,
    skipped: Vec<SkippedKey>,
}

#[derive(Debug)]
pub(crate) struct ProviderKey {
    /// Its place in the provider's set.
    pub(crate) index: usize,
    id: Option<String>,
    family: Family,
    /// Where the key is for one algorithm only.
    algorithm: Option<SignatureAlgorithm>,
    /// What of the key makes it: nothing that was not checked.
    jwk: Value,
}

/// A key of a provider that checks no token here, for administrators.
#[derive(Debug, Serialize)]
pub(crate) struct SkippedKey {
    /// Its place in the provider's set.
    pub(crate) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kid: Option<String>,
    pub(crate) problem: String,
}

/// Why a key set can't be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ProviderKeysFault {
    #[error("it is no JWK Set: a JSON object with a list \"keys\"")]
    NotASet,
    #[error("it {0}")]
    Unreadable(ServedFault),
    #[error("keys[{0}] is a private or a symmetric key: whoever serves it has lost it")]
    Private(usize),
    #[error("it has more than 64 KiB or 64 keys")]
    TooLarge,
}

impl ProviderKeys {
    /// Reads a JWK Set (RFC 7517, section 5). Keys that can't check signatures here are skipped, as
    /// the RFC wants.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, ProviderKeysFault> {
        if json.len() > MAX_KEY_SET_BYTES {
            return Err(ProviderKeysFault::TooLarge);
        }
        let set = read_served(json).map_err(ProviderKeysFault::Unreadable)?;
        let entries = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(ProviderKeysFault::NotASet)?;
        if entries.len() > MAX_KEYS {
            return Err(ProviderKeysFault::TooLarge);
        }
        if let Some(lost) = entries
            .iter()
            .position(|entry| member(entry, "d").is_some() || member(entry, "k").is_some())
        {
            return Err(ProviderKeysFault::Private(lost));
        }
        let (mut usable, mut skipped) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            match ProviderKey::read(index, entry) {
                Ok(key) => usable.push(key),
                Err(problem) => skipped.push(SkippedKey {
                    index,
                    kid: entry.get("kid").and_then(Value::as_str).map(shown),
                    problem,
                }),
            }
        }
        Ok(Self { usable, skipped })
    }

    pub(crate) fn usable(&self) -> &[ProviderKey] {
        &self.usable
    }

    /// The keys that check no token here, with the reason.
    pub(crate) fn into_skipped(self) -> Vec<SkippedKey> {
        self.skipped
    }

    /// Whether a key can have signed a token that says so.
    pub(crate) fn fits(&self, hint: &KeyHint) -> bool {
        !self.candidates(hint).is_empty()
    }

    /// The keys that can have signed a token that says so: those that have its `kid`; failing that,
    /// those without one; for a token without `kid`, all of the right kind. Equal keys count once.
    pub(crate) fn candidates(&self, hint: &KeyHint) -> Vec<&ProviderKey> {
        let fitting = || {
            self.usable
                .iter()
                .filter(|key| key.may_have_signed(hint.algorithm))
        };
        let is_named = hint.id.is_some() && fitting().any(|key| key.id == hint.id);
        let mut candidates: Vec<&ProviderKey> = Vec::new();
        for key in fitting() {
            let is_meant = match &hint.id {
                None => true,
                Some(_) if is_named => key.id == hint.id,
                Some(_) => key.id.is_none(),
            };
            if is_meant && !candidates.iter().any(|known| known.jwk == key.jwk) {
                candidates.push(key);
            }
        }
        candidates
    }
}

impl ProviderKey {
    /// The members that make the public key, for importing it.
    pub(crate) fn jwk(&self) -> String {
        self.jwk.to_string()
    }

    /// The algorithm that the key is for, or else a usual one of its kind.
    pub(crate) fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm.unwrap_or(self.family.usual_algorithm())
    }

    /// The key as one that is skipped after all.
    pub(crate) fn skipped(&self, problem: String) -> SkippedKey {
        SkippedKey {
            index: self.index,
            kid: self.id.as_deref().map(shown),
            problem,
        }
    }

    fn may_have_signed(&self, algorithm: SignatureAlgorithm) -> bool {
        self.family == algorithm.family() && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// The error says why the key checks no signature here.
    fn read(index: usize, entry: &Value) -> Result<Self, String> {
        check_purpose(entry)?;
        let (family, jwk) = read_public_key(entry)?;
        let algorithm = match member(entry, "alg") {
            None => None,
            Some(name) => Some(read_algorithm(name, family)?),
        };
        let id = match member(entry, "kid") {
            None => None,
            Some(kid) => Some(kid.as_str().ok_or("kid: is not a string")?.to_owned()),
        };
        Ok(Self {
            index,
            id,
            family,
            algorithm,
            jwk,
        })
    }
}

/// A member of a key. Some serializers write `null` for one that is absent.
fn member<'a>(entry: &'a Value, name: &str) -> Option<&'a Value> {
    entry.get(name).filter(|value| !value.is_null())
}

/// A text that somebody else chose, at a length that can be shown.
fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).collect()
}

/// A value that somebody else chose, as JSON.
fn quoted(value: &Value) -> String {
    shown(&value.to_string())
}

fn check_purpose(entry: &Value) -> Result<(), String> {
    if let Some(purpose) = member(entry, "use").filter(|purpose| *purpose != "sig") {
        return Err(format!("use: {} is not \"sig\"", quoted(purpose)));
    }
    let Some(operations) = member(entry, "key_ops") else {
        return Ok(());
    };
    let mut listed = operations.as_array().into_iter().flatten();
    if listed.any(|operation| operation == "verify") {
        return Ok(());
    }
    Err(format!("key_ops: {} has no \"verify\"", quoted(operations)))
}

fn read_algorithm(name: &Value, family: Family) -> Result<SignatureAlgorithm, String> {
    let known = name.as_str().and_then(SignatureAlgorithm::from_name);
    let known = known.ok_or_else(|| {
        format!(
            "alg: {} is not supported; supported are {ALGORITHM_NAMES}",
            quoted(name)
        )
    })?;
    if known.family() != family {
        return Err(format!(
            "alg: {} is not for a key of this kind",
            quoted(name)
        ));
    }
    Ok(known)
}

/// The members that make the key, and nothing else of the entry.
fn read_public_key(entry: &Value) -> Result<(Family, Value), String> {
    let text = |member: &str| {
        let value = entry.get(member).and_then(Value::as_str);
        value.ok_or_else(|| format!("{member}: is missing or not a string"))
    };
    let coordinate = |member: &str, bytes: usize| {
        let value = text(member)?;
        let length = Base64UrlUnpadded::decode_vec(value).map(|decoded| decoded.len());
        if length == Ok(bytes) {
            return Ok(value);
        }
        Err(format!("{member}: is not base64url of {bytes} bytes"))
    };
    match text("kty")? {
        "RSA" => {
            let (n, e) = (text("n")?, text("e")?);
            check_rsa(n, e)?;
            Ok((Family::Rsa, json!({ "kty": "RSA", "n": n, "e": e })))
        }
        "EC" => {
            let crv = text("crv")?;
            let (family, bytes) = Family::of_curve(crv).ok_or_else(|| unsupported("crv", crv))?;
            let (x, y) = (coordinate("x", bytes)?, coordinate("y", bytes)?);
            Ok((family, json!({ "kty": "EC", "crv": crv, "x": x, "y": y })))
        }
        "OKP" => {
            let crv = text("crv")?;
            if crv != "Ed25519" {
                return Err(unsupported("crv", crv));
            }
            let x = coordinate("x", 32)?;
            Ok((Family::Ed25519, json!({ "kty": "OKP", "crv": crv, "x": x })))
        }
        kty => Err(unsupported("kty", kty)),
    }
}

fn unsupported(member: &str, value: &str) -> String {
    format!(
        "{member}: {:?} is not supported; supported are keys for {ALGORITHM_NAMES}",
        shown(value)
    )
}

fn check_rsa(modulus: &str, exponent: &str) -> Result<(), String> {
    let bits = rsa_bits(modulus).ok_or("n: is not base64url of a number")?;
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(format!(
            "n: the key has {bits} bits; accepted are {MIN_RSA_BITS} to {MAX_RSA_BITS}"
        ));
    }
    if !is_rsa_exponent(exponent) {
        return Err("e: is not an odd number from 3 to 2^32".to_owned());
    }
    Ok(())
}

fn rsa_bits(modulus: &str) -> Option<usize> {
    let modulus = Base64UrlUnpadded::decode_vec(modulus).ok()?;
    let leading = modulus.iter().take_while(|byte| **byte == 0).count();
    let zeros = modulus.get(leading)?.leading_zeros() as usize;
    Some((modulus.len() - leading) * 8 - zeros)
}

/// With 1 every message would be its own signature.
fn is_rsa_exponent(exponent: &str) -> bool {
    let Ok(exponent) = Base64UrlUnpadded::decode_vec(exponent) else {
        return false;
    };
    let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
    let is_one =
        exponent.iter().rev().skip(1).all(|byte| *byte == 0) && exponent.last() == Some(&1);
    exponent.len() <= 4 && is_odd && !is_one
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

    const ALL: [SignatureAlgorithm; 10] = [
        SignatureAlgorithm::Rs256,
        SignatureAlgorithm::Rs384,
        SignatureAlgorithm::Rs512,
        SignatureAlgorithm::Ps256,
        SignatureAlgorithm::Ps384,
        SignatureAlgorithm::Ps512,
        SignatureAlgorithm::Es256,
        SignatureAlgorithm::Es384,
        SignatureAlgorithm::Es512,
        SignatureAlgorithm::Ed25519,
    ];

    fn curve(name: &str, bytes: usize) -> Value {
        let [x, y] = [1, 2].map(|byte| encode(vec![byte; bytes]));
        json!({ "kty": "EC", "crv": name, "kid": "e", "x": x, "y": y })
    }

    /// The places of the keys that are tried for a token.
    fn tried(keys: &ProviderKeys, id: Option<&str>, algorithm: SignatureAlgorithm) -> Vec<usize> {
        keys.candidates(&hint(id, algorithm))
            .iter()
            .map(|key| key.index)
            .collect()
    }

    /// The algorithms for which a set of this one key has a key.
    fn algorithms(key: Value) -> Vec<SignatureAlgorithm> {
        let keys = set(&[key]).unwrap();
        let has = |algorithm: &SignatureAlgorithm| keys.fits(&hint(None, *algorithm));
        ALL.into_iter().filter(has).collect()
    }

    #[test]
    fn a_key_is_for_the_algorithms_of_its_kind_only() {
        use SignatureAlgorithm::{
            Ed25519, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512,
        };
        let of_rsa = vec![Rs256, Rs384, Rs512, Ps256, Ps384, Ps512];
        for (key, expected) in [
            (rsa(2048), of_rsa.clone()),
            (rsa(8192), of_rsa),
            (with(rsa(2048), "alg", "RS512".into()), vec![Rs512]),
            (with(rsa(2048), "alg", "PS384".into()), vec![Ps384]),
            (curve("P-384", 48), vec![Es384]),
            (curve("P-521", 66), vec![Es512]),
            (with(curve("P-384", 48), "alg", "ES384".into()), vec![Es384]),
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
            with(rsa(2048), "alg", "RS1".into()),
            with(rsa(2048), "alg", "RSA-OAEP".into()),
            with(rsa(2048), "alg", "ES256".into()),
            with(rsa(2048), "alg", "HS256".into()),
            with(rsa(2048), "alg", "none".into()),
            with(rsa(2048), "use", "enc".into()),
            with(rsa(2048), "key_ops", json!(["encrypt"])),
            with(rsa(2048), "key_ops", "verify".into()),
            with(rsa(2048), "kid", 7.into()),
            with(rsa(2048), "kty", "rsa".into()),
            with(ec(), "crv", "P-384".into()),
            with(ec(), "alg", "ES384".into()),
            with(curve("P-384", 48), "alg", "ES512".into()),
            curve("P-384", 47),
            curve("P-521", 65),
            curve("secp256k1", 32),
            with(ec(), "x", encode([1; 31]).into()),
            with(okp(), "crv", "X25519".into()),
            with(okp(), "x", encode([1; 33]).into()),
            json!({}),
            json!("key"),
        ] {
            let alone = set(std::slice::from_ref(&key)).unwrap();
            assert!(alone.usable().is_empty(), "{key}");
            let keys = set(&[key, okp()]).unwrap();
            assert!(keys.fits(&hint(Some("o"), SignatureAlgorithm::Ed25519)));
        }
    }

    #[test]
    fn a_skipped_key_is_told_with_its_place_and_the_reason() {
        for (key, kid, problem) in [
            (
                with(rsa(2048), "use", "enc".into()),
                Some("r"),
                "use: \"enc\" is not",
            ),
            (
                with(rsa(2048), "key_ops", json!(["sign"])),
                Some("r"),
                "key_ops: [\"sign\"]",
            ),
            (
                with(ec(), "alg", "ES256K".into()),
                Some("e"),
                "alg: \"ES256K\" is not supported",
            ),
            (
                with(ec(), "alg", "RS256".into()),
                Some("e"),
                "alg: \"RS256\" is not for",
            ),
            (
                curve("secp256k1", 32),
                Some("e"),
                "crv: \"secp256k1\" is not supported",
            ),
            (
                json!({ "kty": "AKP", "alg": "ML-DSA-44" }),
                None,
                "kty: \"AKP\" is not supported",
            ),
            (rsa(1024), Some("r"), "n: the key has 1024 bits"),
            (with(rsa(2048), "e", "AQ".into()), Some("r"), "e: is not"),
            (
                with(ec(), "x", "AA".into()),
                Some("e"),
                "x: is not base64url of 32 bytes",
            ),
            (json!({ "kid": "k".repeat(9000) }), None, "kty: is missing"),
            (json!(7), None, "kty: is missing"),
        ] {
            let skipped = set(&[okp(), key.clone()]).unwrap().into_skipped();
            let [only] = &*skipped else { panic!("{key}") };
            assert_eq!(only.index, 1);
            assert!(only.problem.starts_with(problem), "{}", only.problem);
            if let Some(kid) = kid {
                assert_eq!(only.kid.as_deref(), Some(kid));
            }
            assert!(only.kid.as_deref().unwrap_or_default().len() <= MAX_SHOWN_CHARS);
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
        for (json, problem) in [
            ("{}", "a list \"keys\""),
            (r#"{"keys":{}}"#, "a list \"keys\""),
            (r#"{"keys":null}"#, "a list \"keys\""),
            ("", "empty"),
            ("[]", "not a JSON object"),
            ("null", "not a JSON object"),
            ("{", "not JSON"),
            (r#"{"keys":[],"keys":[]}"#, "two members of one name"),
            ("<!DOCTYPE html><title>Sign in</title>", "HTML"),
            ("\u{feff}\n <html>", "HTML"),
        ] {
            let fault = ProviderKeys::parse(json.as_bytes()).unwrap_err();
            assert!(fault.to_string().contains(problem), "{json}: {fault}");
        }
        assert_eq!(
            set(&vec![json!({}); 65]).unwrap_err(),
            ProviderKeysFault::TooLarge
        );
        let long = ProviderKeys::parse(&vec![b' '; MAX_KEY_SET_BYTES + 1]).unwrap_err();
        assert_eq!(long, ProviderKeysFault::TooLarge);
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        let json = format!("\u{feff}{}", json!({ "keys": [okp()] }));
        assert_eq!(
            ProviderKeys::parse(json.as_bytes()).unwrap().usable().len(),
            1
        );
    }

    #[test]
    fn null_is_absent() {
        use SignatureAlgorithm::{Ed25519, Es256};
        let mut keys = [ec(), okp()];
        for key in &mut keys {
            for name in ["kid", "use", "alg", "key_ops", "d", "k", "x5c"] {
                key[name] = Value::Null;
            }
        }
        let keys = set(&keys).unwrap();
        assert!(keys.skipped.is_empty(), "{:?}", keys.skipped);
        assert_eq!(tried(&keys, Some("any"), Es256), [0]);
        assert_eq!(tried(&keys, None, Ed25519), [1]);
        // What makes the key must be there.
        let without_x = set(&[with(okp(), "x", Value::Null)]).unwrap();
        assert_eq!(
            without_x.skipped[0].problem,
            "x: is missing or not a string"
        );
    }

    #[test]
    fn the_keys_that_fit_are_tried() {
        use SignatureAlgorithm::{Ed25519, Es256, Rs256};
        let okp_with = |byte: u8, id: Option<&str>| {
            let mut key = okp();
            key["x"] = encode([byte; 32]).into();
            match id {
                Some(id) => key["kid"] = id.into(),
                None => drop(key.as_object_mut().unwrap().remove("kid")),
            }
            key
        };
        let keys = set(&[rsa(2048), ec(), okp(), okp_with(2, Some("o2"))]).unwrap();
        for (id, algorithm, expected) in [
            (Some("o2"), Ed25519, &[3][..]),
            (Some("e"), Es256, &[1]),
            (None, Rs256, &[0]),
            // A token that names no key may be of each.
            (None, Ed25519, &[2, 3]),
            (Some("e"), Rs256, &[]),
            (Some("x"), Es256, &[]),
        ] {
            assert_eq!(tried(&keys, id, algorithm), expected, "{id:?}");
        }
        assert!(!set(&[]).unwrap().fits(&hint(None, Es256)));

        // RFC 7517, section 4.5: different kinds of keys may share an id.
        let shared = set(&[ec(), with(okp(), "kid", "e".into())]).unwrap();
        assert_eq!(tried(&shared, Some("e"), Es256), [0]);

        // One id on two keys: both. Equal keys: one of them.
        let twice = set(&[okp_with(2, Some("o")), okp(), okp()]).unwrap();
        assert_eq!(tried(&twice, Some("o"), Ed25519), [0, 1]);
        let renamed = set(&[okp_with(1, Some("a")), okp_with(1, Some("b"))]).unwrap();
        assert_eq!(tried(&renamed, None, Ed25519), [0]);
        assert_eq!(tried(&renamed, Some("b"), Ed25519), [1]);

        // Keys without an id fit each token whose key isn't there by name.
        let nameless = set(&[okp_with(2, None), okp(), okp_with(3, None), ec()]).unwrap();
        assert_eq!(tried(&nameless, Some("x"), Ed25519), [0, 2]);
        assert_eq!(tried(&nameless, Some("o"), Ed25519), [1]);
        assert_eq!(tried(&nameless, None, Ed25519), [0, 1, 2]);
        assert_eq!(tried(&nameless, Some("x"), Es256), [0; 0]);
    }

    #[test]
    fn what_is_imported_is_what_was_checked() {
        let keys = set(&[with(okp(), "x5c", json!(["evil"]))]).unwrap();
        let jwk: Value = serde_json::from_str(&keys.usable()[0].jwk()).unwrap();
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

//! The key with which the owner of a domain signs the time of a login.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64ct::{Base64, Encoding};

pub(crate) enum DomainKey {
    Ed25519(Ed25519KeyPair),
    P384(EcdsaKeyPair),
}

/// RFC 5915, of a P-384 key without its public half; the scalar follows.
const P384_BEFORE: [u8; 7] = [0x30, 0x3e, 0x02, 0x01, 0x01, 0x04, 0x30];
const P384_AFTER: [u8; 9] = [0xa0, 0x07, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

impl DomainKey {
    /// A private key in PEM (PKCS #8), or in hexadecimal: the seed of an Ed25519 key, 32 bytes, or the
    /// scalar of a P-384 key, 48 bytes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(secret) = from_hex(text) {
            return match secret.len() {
                32 => Ed25519KeyPair::from_seed_unchecked(&secret)
                    .ok()
                    .map(Self::Ed25519),
                48 => p384(&[&P384_BEFORE[..], &secret, &P384_AFTER].concat()),
                _ => None,
            };
        }
        let der = from_pem(text)?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .ok()
            .map(Self::Ed25519)
            .or_else(|| p384(&der))
    }

    /// What the domain has to publish.
    pub(crate) fn record(&self) -> String {
        let (kind, key) = match self {
            Self::Ed25519(key) => ("ed25519", key.public_key().as_ref().to_vec()),
            Self::P384(key) => ("ecdsap384", compressed(key.public_key().as_ref())),
        };
        format!("v=MCPv1; k={kind}; p={}", Base64::encode_string(&key))
    }

    /// The signature in hexadecimal.
    pub(crate) fn sign(&self, message: &str) -> Option<String> {
        let message = message.as_bytes();
        let signature = match self {
            Self::Ed25519(key) => key.sign(message),
            Self::P384(key) => key.sign(&SystemRandom::new(), message).ok()?,
        };
        let digits = signature.as_ref().iter().map(|byte| format!("{byte:02x}"));
        Some(digits.collect())
    }
}

fn p384(der: &[u8]) -> Option<DomainKey> {
    EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_FIXED_SIGNING, der)
        .ok()
        .map(DomainKey::P384)
}

/// SEC 1, section 2.3.3: of *y* only whether it is odd.
fn compressed(point: &[u8]) -> Vec<u8> {
    let x = point.get(1..49).unwrap_or_default();
    let is_odd = point.last().is_some_and(|last| last & 1 == 1);
    [&[2 + u8::from(is_odd)], x].concat()
}

fn from_pem(text: &str) -> Option<Vec<u8>> {
    let body = text
        .strip_prefix("-----BEGIN PRIVATE KEY-----")?
        .strip_suffix("-----END PRIVATE KEY-----")?;
    let body: String = body.split_ascii_whitespace().collect();
    Base64::decode_vec(&body).ok()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|c| c.to_digit(16));
    let digits: Vec<u32> = digits.collect::<Option<_>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from((high << 4) | low).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P384_SHA384_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm,
    };

    use super::*;

    /// RFC 8032, section 7.1, and RFC 6979, section A.2.6.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const ED25519_KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const SCALAR: &str = "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5";
    const P384_KEY: &str = "02EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64DEF8F0EA9055866064A254515480BC13";

    #[test]
    fn both_kinds_sign_what_their_record_verifies() {
        let ed25519: (_, _, _, &dyn VerificationAlgorithm) =
            (SEED, "ed25519", ED25519_KEY, &ED25519);
        let p384: (_, _, _, &dyn VerificationAlgorithm) =
            (SCALAR, "ecdsap384", P384_KEY, &ECDSA_P384_SHA384_FIXED);
        for (secret, kind, public, algorithm) in [ed25519, p384] {
            let key = DomainKey::parse(&format!("{secret}\n")).unwrap();
            let public = from_hex(public).unwrap();
            let record = format!("v=MCPv1; k={kind}; p={}", Base64::encode_string(&public));
            assert_eq!(key.record(), record);
            let signature = from_hex(&key.sign("2026-01-02T03:04:05Z").unwrap()).unwrap();
            let public = UnparsedPublicKey::new(algorithm, public);
            assert!(public.verify(b"2026-01-02T03:04:05Z", &signature).is_ok());
            assert!(public.verify(b"2026-01-02T03:04:06Z", &signature).is_err());
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        let zero = "0".repeat(96);
        for text in [
            "",
            "zz",
            "00",
            &SEED[1..],
            &zero,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ] {
            assert!(DomainKey::parse(text).is_none(), "{text}");
        }
    }
}

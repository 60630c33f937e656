//! Tokens of any kind, right and wrong.

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use curve25519_dalek::{EdwardsPoint, Scalar, constants::EIGHT_TORSION, scalar::clamp_integer};
use ed25519_dalek::Signer as _;
use hmac::{Hmac, Mac};
use mcp_connect_descriptor::{Algorithm, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

use super::{ED25519_SEED, ed25519, es256, public_jwk, stranger, text};

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

pub(crate) fn header(key: &SigningKey, typ: &str) -> Value {
    json!({ "alg": key.algorithm().as_str(), "kid": key.id(), "typ": typ })
}

/// Signs any header and payload, as bytes.
pub(crate) fn sign(
    key: &SigningKey,
    header: impl AsRef<[u8]>,
    payload: impl AsRef<[u8]>,
) -> String {
    sign_text(key, &format!("{}.{}", encode(header), encode(payload)))
}

pub(crate) fn sign_json(key: &SigningKey, header: &Value, payload: &Value) -> String {
    sign(key, text(header), text(payload))
}

/// Signs what need not even be base64url.
pub(crate) fn sign_text(key: &SigningKey, signed: &str) -> String {
    format!("{signed}.{}", encode(signature(key, signed)))
}

pub(crate) fn signature(key: &SigningKey, message: &str) -> [u8; 64] {
    let secret = match key.algorithm() {
        Algorithm::Es256 => {
            assert_eq!(key.id(), es256().id());
            let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
            let signature: p256::ecdsa::Signature = key.sign(message.as_bytes());
            return signature.to_bytes().into();
        }
        _ if key.id() == ed25519().id() => ED25519_SEED,
        _ if key.id() == stranger().id() => [8; 32],
        _ => unreachable!("one of the three test keys"),
    };
    ed25519_dalek::SigningKey::from_bytes(&secret)
        .sign(message.as_bytes())
        .to_bytes()
}

/// Header and payload, with another signature.
pub(crate) fn with_signature(token: &str, signature: impl AsRef<[u8]>) -> String {
    format!("{}.{}", signed(token), encode(signature))
}

/// What of a token is signed.
pub(crate) fn signed(token: &str) -> &str {
    token.rsplit_once('.').unwrap().0
}

pub(crate) fn signature_of(token: &str) -> [u8; 64] {
    let signature = token.rsplit_once('.').unwrap().1;
    Base64UrlUnpadded::decode_vec(signature)
        .unwrap()
        .try_into()
        .unwrap()
}

/// L, the order of Ed25519's base point, little-endian.
pub(crate) const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Adds to `S` what changes nothing modulo the order, or a bit that careless parsers clear.
pub(crate) fn add_to_s(signature: [u8; 64], addend: &[u8; 32]) -> [u8; 64] {
    let mut sum = signature;
    let mut carry = 0_u16;
    for (byte, addend) in sum[32..].iter_mut().zip(addend) {
        let total = u16::from(*byte) + u16::from(*addend) + carry;
        *byte = total.to_le_bytes()[0];
        carry = total >> 8;
    }
    sum
}

/// A signature by the Ed25519 test key whose `R` is written so, and lies so many eighths off `r·B`.
pub(crate) fn ed25519_with_r(
    message: &str,
    nonce: u64,
    torsion: usize,
    spelling: Option<[u8; 32]>,
) -> [u8; 64] {
    let digest: [u8; 64] = Sha512::digest(ED25519_SEED).into();
    let secret = Scalar::from_bytes_mod_order(clamp_integer(digest[..32].try_into().unwrap()));
    let nonce = Scalar::from(nonce);
    let point = EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[torsion];
    let r = spelling.unwrap_or_else(|| point.compress().to_bytes());
    let challenge = Sha512::new()
        .chain_update(r)
        .chain_update(EdwardsPoint::mul_base(&secret).compress().as_bytes())
        .chain_update(message)
        .finalize();
    let s = nonce + Scalar::from_bytes_mod_order_wide(&challenge.into()) * secret;
    [r, s.to_bytes()].concat().try_into().unwrap()
}

/// p + y, the second spelling of a small y (p = 2^255 - 19), little-endian.
pub(crate) fn second_spelling(y: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = 0xed + y;
    bytes[31] = 0x7f;
    bytes
}

/// The other of the two *s* that fit.
pub(crate) fn es256_mirrored(signature: [u8; 64]) -> [u8; 64] {
    let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
    let (r, s) = signature.split_scalars();
    let mirrored = p256::ecdsa::Signature::from_scalars(*r, -*s).unwrap();
    mirrored.to_bytes().into()
}

pub(crate) fn es256_has_high_s(signature: [u8; 64]) -> bool {
    p256::ecdsa::Signature::from_slice(&signature)
        .unwrap()
        .normalize_s()
        .is_some()
}

pub(crate) fn es256_der(signature: [u8; 64]) -> Vec<u8> {
    p256::ecdsa::Signature::from_slice(&signature)
        .unwrap()
        .to_der()
        .as_bytes()
        .to_vec()
}

/// The forms in which a library may take a public key for a secret.
pub(crate) fn public_key_as_secret() -> [(&'static str, Vec<u8>); 5] {
    let jwk = public_jwk(&ed25519());
    let x = jwk["x"].as_str().unwrap().to_owned();
    let raw = Base64UrlUnpadded::decode_vec(&x).unwrap();
    // SubjectPublicKeyInfo of RFC 8410, section 4.
    let prefix = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    let der = [&prefix[..], &raw].concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        Base64::encode_string(&der)
    );
    [
        ("raw", raw),
        ("base64url", x.into_bytes()),
        ("der", der),
        ("pem", pem.into_bytes()),
        ("jwk", text(&jwk).into_bytes()),
    ]
}

pub(crate) fn hs256(secret: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn hs512(secret: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(secret).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// With the last character's unused bits set, as lenient decoders ignore them.
pub(crate) fn stray_bits(part: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert_ne!(part.len() % 4, 0, "no unused bits");
    let (head, last) = part.split_at(part.len() - 1);
    let index = ALPHABET.find(last).unwrap();
    format!("{head}{}", &ALPHABET[index + 1..index + 2])
}

/// Signed, and with unknown members so long that the token has just this length.
pub(crate) fn sign_padded(
    key: &SigningKey,
    header: &Value,
    claims: &Value,
    length: usize,
) -> String {
    let padded = |value: &Value, count: usize| {
        let mut padded = value.clone();
        padded["pad"] = "x".repeat(count).into();
        text(&padded)
    };
    let encoded = |bytes: usize| (bytes * 8).div_ceil(6);
    let of_claims = text(claims).len() + r#""pad":"","#.len();
    let (header, count) = (0..3)
        .map(|count| padded(header, count))
        .find_map(|header| {
            let rest = length.checked_sub(encoded(header.len()) + 2 + encoded(64))?;
            let count = (rest * 6 / 8).checked_sub(of_claims)?;
            (encoded(of_claims + count) == rest).then_some((header, count))
        })
        .unwrap();
    let token = sign(key, header, padded(claims, count));
    assert_eq!(token.len(), length);
    token
}

//! Whether a key made a signature. `jwt-compact` checks it, and what it leaves open is closed here.

use jwt_compact::{
    Algorithm, AlgorithmSignature as _,
    alg::{Ed25519, Es256},
};

use crate::{jwk::PublicJwk, unsigned::SIGNATURE_BYTES};

/// A point of its curve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum VerifyingKey {
    Ed25519(ed25519_dalek::VerifyingKey),
    // Boxed: it is five times as large.
    P256(Box<p256::ecdsa::VerifyingKey>),
}

impl VerifyingKey {
    /// `None`: no point of its curve, one that is written in another way than the one there is (RFC
    /// 8032, section 5.1.3), or one under which a signature fits many messages.
    pub(crate) fn new(jwk: PublicJwk) -> Option<Self> {
        match jwk {
            PublicJwk::Ed25519 { x } => {
                let key = ed25519_dalek::VerifyingKey::from_bytes(&x).ok()?;
                let is_canonical = key.to_edwards().compress().to_bytes() == x;
                (is_canonical && !key.is_weak()).then_some(Self::Ed25519(key))
            }
            PublicJwk::P256 { x, y } => {
                let point =
                    p256::EncodedPoint::from_affine_coordinates(&x.into(), &y.into(), false);
                let key = p256::ecdsa::VerifyingKey::from_encoded_point(&point).ok()?;
                Some(Self::P256(Box::new(key)))
            }
        }
    }

    /// Whether this key made the signature of the message: Ed25519 with `S` below the order, `R`
    /// written in the one way there is and of no small order; or *r* and *s* of ES256.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        match self {
            Self::Ed25519(key) => {
                !has_small_order_r(signature) && is_signed(&Ed25519, key, message, signature)
            }
            Self::P256(key) => is_signed(&Es256, key.as_ref(), message, signature),
        }
    }
}

fn is_signed<A: Algorithm>(
    algorithm: &A,
    key: &A::VerifyingKey,
    message: &[u8],
    signature: &[u8],
) -> bool {
    A::Signature::try_from_slice(signature)
        .is_ok_and(|signature| algorithm.verify_signature(&signature, key, message))
}

/// Whether `R` is a point of small order, which `verify_strict` of `ed25519-dalek` refuses and
/// `jwt-compact` lets pass. `R` is compared by its bytes, so there is one way to write each point.
fn has_small_order_r(signature: &[u8; SIGNATURE_BYTES]) -> bool {
    let mut r = *signature.first_chunk::<32>().unwrap_or(&[0; 32]);
    if let Some(last) = r.last_mut() {
        *last &= 0x7f;
    }
    SMALL_ORDER.contains(&r)
}

/// The points of small order as they are written (RFC 8032, section 5.1.2), without the bit that
/// tells two apart that have one *y*.
const SMALL_ORDER: [[u8; 32]; 5] = [
    // The neutral element, the point of order 2, the two of order 4, the four of order 8.
    [
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x7f,
    ],
    [0; 32],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use curve25519_dalek::{
        EdwardsPoint, Scalar,
        constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION},
    };
    use ed25519_dalek::Verifier as _;
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha512};

    use super::*;

    #[test]
    fn the_table_has_all_points_of_small_order() {
        let written = EIGHT_TORSION.map(|point| {
            let mut bytes = point.compress().to_bytes();
            bytes[31] &= 0x7f;
            bytes
        });
        assert_eq!(BTreeSet::from(written), BTreeSet::from(SMALL_ORDER));
    }

    /// `S` that makes a signature of `R` fit, whatever point `R` is.
    fn fit(secret: Scalar, r: EdwardsPoint, discrete_log_of_r: Scalar, message: &[u8]) -> [u8; 64] {
        let public = (ED25519_BASEPOINT_POINT * secret).compress();
        let r = r.compress();
        let hash = Sha512::new()
            .chain_update(r.as_bytes())
            .chain_update(public.as_bytes())
            .chain_update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let s = discrete_log_of_r + k * secret;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(r.as_bytes());
        signature[32..].copy_from_slice(s.as_bytes());
        signature
    }

    fn key_of(secret: Scalar) -> ed25519_dalek::VerifyingKey {
        let public = (ED25519_BASEPOINT_POINT * secret).compress();
        ed25519_dalek::VerifyingKey::from_bytes(public.as_bytes()).unwrap()
    }

    /// The neutral element is the one `R` of small order for which somebody who knows the secret can
    /// make a signature that the library takes.
    #[test]
    fn what_the_library_lets_pass_is_refused() {
        let secret = Scalar::from(7u64);
        let neutral = EdwardsPoint::default();
        let signature = fit(secret, neutral, Scalar::ZERO, b"message");
        let key = key_of(secret);
        assert!(is_signed(&Ed25519, &key, b"message", &signature));
        assert!(!VerifyingKey::Ed25519(key).has_signed(b"message", &signature));
    }

    proptest! {
        /// What is taken is what `verify_strict` takes: for good signatures, for those with an `R` of
        /// small order, and for those in which a bit is another.
        #[test]
        fn it_is_as_strict_as_verify_strict(
            secret: [u8; 32],
            nonce: [u8; 32],
            torsion in 0..8usize,
            small: bool,
            flipped in proptest::option::of(0..512usize),
            message: [u8; 8],
        ) {
            let secret = Scalar::from_bytes_mod_order(secret);
            let key = key_of(secret);
            prop_assume!(!key.is_weak());
            let nonce = if small { Scalar::ZERO } else { Scalar::from_bytes_mod_order(nonce) };
            let r = ED25519_BASEPOINT_POINT * nonce + EIGHT_TORSION[torsion];
            let mut signature = fit(secret, r, nonce, &message);
            if let Some(bit) = flipped {
                signature[bit / 8] ^= 1 << (bit % 8);
            }
            let strict = key.verify_strict(&message, &(&signature).into()).is_ok();
            prop_assert_eq!(VerifyingKey::Ed25519(key).has_signed(&message, &signature), strict);
            let lenient = key.verify(&message, &(&signature).into()).is_ok();
            prop_assert_eq!(lenient, torsion == 0 && flipped.is_none());
        }
    }
}

//! Whether a key made a signature: the arithmetic, and the choice of who does it.

use p256::ecdsa::signature::Verifier as _;

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
            Self::Ed25519(key) => key.verify_strict(message, &signature.into()).is_ok(),
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }
}

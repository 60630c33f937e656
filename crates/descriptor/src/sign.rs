//! Signing in Rust, for tools and tests. The Worker signs by WebCrypto.

use jwt_compact::{
    Algorithm as _,
    alg::{Ed25519, Es256},
};
use zeroize::Zeroizing;

use crate::{Algorithm, Descriptor, MintError, SigningKey, Unsigned, jwk::PublicJwk};

impl SigningKey {
    /// The Ed25519 key of a seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let x = key.verifying_key().to_bytes();
        Self::new(PublicJwk::Ed25519 { x }, Zeroizing::new(*seed))
    }

    /// The key of 32 secret bytes: an Ed25519 seed, or a P-256 scalar. Of random bytes, one in 2^32
    /// is no scalar of P-256.
    pub fn from_secret(algorithm: Algorithm, secret: &[u8; 32]) -> Option<Self> {
        match algorithm {
            Algorithm::EdDsa => Some(Self::from_seed(secret)),
            Algorithm::Es256 => {
                let key = p256::ecdsa::SigningKey::from_slice(secret).ok()?;
                let point = key.verifying_key().to_encoded_point(false);
                let (x, y) = ((*point.x()?).into(), (*point.y()?).into());
                Some(Self::new(PublicJwk::P256 { x, y }, Zeroizing::new(*secret)))
            }
        }
    }

    /// Signs in Rust.
    pub fn sign(&self, unsigned: &Unsigned) -> Option<[u8; 64]> {
        let message = unsigned.as_bytes();
        match self.algorithm() {
            Algorithm::EdDsa => {
                let key = ed25519_dalek::SigningKey::from_bytes(self.secret());
                Some(Ed25519.sign(&key, message).to_bytes())
            }
            Algorithm::Es256 => {
                let key = p256::ecdsa::SigningKey::from_slice(self.secret()).ok()?;
                Some(Es256.sign(&key, message).to_bytes().into())
            }
        }
    }
}

pub(crate) fn is_pair(key: &SigningKey) -> bool {
    SigningKey::from_secret(key.algorithm(), key.secret())
        .is_some_and(|pair| pair.public() == key.public())
}

impl Descriptor {
    /// Signs the descriptor in Rust.
    pub fn mint(&self, key: &SigningKey) -> Result<String, MintError> {
        let unsigned = self.to_unsigned(key)?;
        let signature = key
            .sign(&unsigned)
            .ok_or(MintError::Key("is no key of its curve"))?;
        Ok(unsigned.with_signature(&signature))
    }
}

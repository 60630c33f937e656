//! Signatures of others, checked by the platform's own cryptography (WebCrypto).

use js_sys::{Array, JSON, Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::CryptoKey;

use super::signer::{named, subtle};
use crate::authority::{
    AccessToken, DomainKey, ProviderKey, SignatureAlgorithm, SignedTime, SignedToken,
};

/// A key that checks signatures of one algorithm.
#[derive(Clone)]
pub(crate) struct VerifyingKey {
    algorithm: SignatureAlgorithm,
    key: CryptoKey,
}

/// The platform can't do it. The text is for the log.
#[derive(Debug, thiserror::Error)]
#[error("WebCrypto: {0}")]
pub(crate) struct SignatureError(String);

impl VerifyingKey {
    pub(crate) async fn import(
        key: &ProviderKey,
        algorithm: SignatureAlgorithm,
    ) -> Result<Self, SignatureError> {
        let jwk: Object = JSON::parse(&key.jwk())?.unchecked_into();
        let usages = Array::of1(&JsValue::from_str("verify"));
        let importing = subtle()?.import_key_with_object(
            "jwk",
            &jwk,
            &parameters(algorithm)?,
            false,
            &usages,
        )?;
        let key = JsFuture::from(importing).await?.unchecked_into();
        Ok(Self { algorithm, key })
    }

    pub(crate) const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// `None`: this key did not sign it.
    pub(crate) async fn check<'a>(
        &self,
        token: &'a AccessToken,
    ) -> Result<Option<SignedToken<'a>>, SignatureError> {
        let checking = subtle()?.verify_with_object_and_js_u8_array_and_js_u8_array(
            &parameters(self.algorithm)?,
            &self.key,
            &Uint8Array::from(token.signature()),
            &Uint8Array::from(token.signed()),
        )?;
        let is_good = JsFuture::from(checking).await? == JsValue::TRUE;
        Ok(is_good.then(|| SignedToken::new(token)))
    }
}

/// Whether a domain's key has signed it. A key that can't be imported has not: that of a point which
/// does not lie on its curve.
pub(crate) async fn has_signed(key: &DomainKey, proof: &SignedTime) -> bool {
    proof.may_be_of(key) && verify(key, proof).await.unwrap_or(false)
}

async fn verify(key: &DomainKey, proof: &SignedTime) -> Result<bool, JsValue> {
    let members: &[(&str, &str)] = match key {
        DomainKey::Ed25519(_) => &[("name", "Ed25519")],
        DomainKey::P384(_) => &[
            ("name", "ECDSA"),
            ("namedCurve", "P-384"),
            ("hash", "SHA-384"),
        ],
    };
    let parameters = named(members)?;
    // workerd reads compressed points, too.
    let importing = subtle()?.import_key_with_object(
        "raw",
        &Uint8Array::from(key.as_bytes()),
        &parameters,
        false,
        &Array::of1(&JsValue::from_str("verify")),
    )?;
    let checking = subtle()?.verify_with_object_and_js_u8_array_and_js_u8_array(
        &parameters,
        &JsFuture::from(importing).await?.unchecked_into(),
        &Uint8Array::from(proof.signature()),
        &Uint8Array::from(proof.signed()),
    )?;
    Ok(JsFuture::from(checking).await?.is_truthy())
}

/// The algorithm as WebCrypto names it, for importing a key and for checking with it.
fn parameters(algorithm: SignatureAlgorithm) -> Result<Object, JsValue> {
    let parameters = Object::new();
    let set = |name: &str, value: &JsValue| Reflect::set(&parameters, &name.into(), value);
    // A salt is as long as the hash (RFC 7518, section 3.5).
    let (name, hash, curve, salt_bytes) = match algorithm {
        SignatureAlgorithm::Rs256 => ("RSASSA-PKCS1-v1_5", "SHA-256", "", 0),
        SignatureAlgorithm::Rs384 => ("RSASSA-PKCS1-v1_5", "SHA-384", "", 0),
        SignatureAlgorithm::Rs512 => ("RSASSA-PKCS1-v1_5", "SHA-512", "", 0),
        SignatureAlgorithm::Ps256 => ("RSA-PSS", "SHA-256", "", 32),
        SignatureAlgorithm::Ps384 => ("RSA-PSS", "SHA-384", "", 48),
        SignatureAlgorithm::Ps512 => ("RSA-PSS", "SHA-512", "", 64),
        SignatureAlgorithm::Es256 => ("ECDSA", "SHA-256", "P-256", 0),
        SignatureAlgorithm::Es384 => ("ECDSA", "SHA-384", "P-384", 0),
        SignatureAlgorithm::Es512 => ("ECDSA", "SHA-512", "P-521", 0),
        SignatureAlgorithm::Ed25519 => ("Ed25519", "", "", 0),
    };
    set("name", &name.into())?;
    set("hash", &hash.into())?;
    set("namedCurve", &curve.into())?;
    set("saltLength", &salt_bytes.into())?;
    Ok(parameters)
}

impl From<JsValue> for SignatureError {
    fn from(error: JsValue) -> Self {
        let text = error
            .dyn_ref::<js_sys::Error>()
            .map_or_else(|| format!("{error:?}"), |error| error.message().into());
        Self(text)
    }
}

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
    let name = match algorithm {
        SignatureAlgorithm::Rs256 => "RSASSA-PKCS1-v1_5",
        SignatureAlgorithm::Ps256 => "RSA-PSS",
        SignatureAlgorithm::Es256 => "ECDSA",
        SignatureAlgorithm::Ed25519 => "Ed25519",
    };
    set("name", &name.into())?;
    set("hash", &"SHA-256".into())?;
    set("namedCurve", &"P-256".into())?;
    set("saltLength", &32.into())?;
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

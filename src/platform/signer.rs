//! Signing, and checking what others signed in our profiles, by WebCrypto: its keys can't be read back, it is faster than Rust in wasm, and knows both
//! algorithms in none of the bundle's bytes.

use std::{cell::OnceCell, collections::BTreeMap, rc::Rc};

use js_sys::{Array, JSON, Object, Reflect, Uint8Array};
use mcp_connect_descriptor::{
    Algorithm, KeyEntry, SigningKey, SigningKeys, SigningKeysError, Unsigned, UnverifiedProof,
};
use serde_json::Value;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{CryptoKey, SubtleCrypto, WorkerGlobalScope};

use super::{Fault, log};
use crate::authority::{AccessToken, SignatureAlgorithm, SignedToken};

/// By key id.
type Imported = Rc<BTreeMap<String, CryptoKey>>;

thread_local! {
    // Of an isolate's one set of keys; built anew after a crash.
    static IMPORTED: OnceCell<Result<Imported, Fault>> = const { OnceCell::new() };
}

/// Whether every key can sign what its public half verifies.
pub(crate) async fn check(keys: &SigningKeys) -> Result<(), Fault> {
    imported(keys).await.map(drop)
}

/// The token, signed by one of the keys.
pub(crate) async fn sign(
    keys: &SigningKeys,
    key: &SigningKey,
    unsigned: &Unsigned,
) -> Result<String, Fault> {
    let imported = imported(keys).await?;
    let private = imported
        .get(key.id())
        .ok_or_else(|| fault("has lost a key"))?;
    let signature = sign_bytes(key.algorithm(), private, unsigned.as_bytes())
        .await
        .map_err(|_| fault("has a key that can't sign"))?;
    Ok(unsigned.with_signature(&signature))
}

/// Found out once per isolate.
async fn imported(keys: &SigningKeys) -> Result<Imported, Fault> {
    if let Some(imported) = IMPORTED.with(|cell| cell.get().cloned()) {
        return imported;
    }
    // No request waits for another's: what belongs to one can't be awaited by the next.
    let imported = import_all(keys).await;
    IMPORTED.with(|cell| {
        cell.get_or_init(|| {
            imported.inspect_err(|Fault { setting, problem }| {
                log::error(
                    "configuration_fault",
                    &[("setting", setting), ("problem", problem)],
                );
            })
        })
        .clone()
    })
}

async fn import_all(keys: &SigningKeys) -> Result<Imported, Fault> {
    let mut imported = BTreeMap::new();
    for (index, entry) in keys.iter().enumerate() {
        let private = import_pair(entry)
            .await
            .ok()
            .flatten()
            .ok_or_else(|| fault(SigningKeysError::not_a_pair(index).to_string()))?;
        imported.insert(entry.key.id().to_owned(), private);
    }
    Ok(Rc::new(imported))
}

/// The private half, if what it signs is verified by the public one.
async fn import_pair(entry: &KeyEntry) -> Result<Option<CryptoKey>, JsValue> {
    const PROBE: &[u8] = b"Do the halves of this key belong together?";
    let (key, algorithm) = (&entry.key, entry.key.algorithm());
    let private = import(&key.to_private_jwk(entry.status), algorithm, "sign").await?;
    let signature = sign_bytes(algorithm, &private, PROBE).await?;
    let is_pair = has_signed(&key.to_public_jwk(), algorithm, &signature, PROBE).await?;
    Ok(is_pair.then_some(private))
}

/// Whether the holder of a proof's key has signed it. A key that can't be imported has not.
pub(crate) async fn is_signed(proof: &UnverifiedProof<'_>) -> bool {
    has_signed(
        &proof.public_jwk(),
        proof.algorithm(),
        proof.signature(),
        proof.signed(),
    )
    .await
    .unwrap_or(false)
}

/// The token, if this key of ours has signed it.
pub(crate) async fn signed_by<'a>(
    key: &SigningKey,
    token: &'a AccessToken,
) -> Option<SignedToken<'a>> {
    let algorithm = key.algorithm();
    if SignatureAlgorithm::from_name(algorithm.as_str())
        != token.key().ok().map(|hint| hint.algorithm)
    {
        return None;
    }
    let jwk = key.to_public_jwk();
    let is_good = has_signed(&jwk, algorithm, token.signature(), token.signed()).await;
    is_good.unwrap_or(false).then(|| SignedToken::new(token))
}

async fn has_signed(
    public_jwk: &Value,
    algorithm: Algorithm,
    signature: &[u8],
    message: &[u8],
) -> Result<bool, JsValue> {
    let public = import(public_jwk, algorithm, "verify").await?;
    let verified = subtle()?.verify_with_object_and_js_u8_array_and_js_u8_array(
        &parameters(algorithm)?,
        &public,
        &Uint8Array::from(signature),
        &Uint8Array::from(message),
    )?;
    Ok(JsFuture::from(verified).await?.is_truthy())
}

async fn import(jwk: &Value, algorithm: Algorithm, usage: &str) -> Result<CryptoKey, JsValue> {
    let jwk: Object = JSON::parse(&jwk.to_string())?.unchecked_into();
    let imported = subtle()?.import_key_with_object(
        "jwk",
        &jwk,
        &parameters(algorithm)?,
        false,
        &Array::of1(&JsValue::from_str(usage)),
    )?;
    Ok(JsFuture::from(imported).await?.unchecked_into())
}

async fn sign_bytes(
    algorithm: Algorithm,
    private: &CryptoKey,
    bytes: &[u8],
) -> Result<[u8; 64], JsValue> {
    let signed = subtle()?.sign_with_object_and_js_u8_array(
        &parameters(algorithm)?,
        private,
        &Uint8Array::from(bytes),
    )?;
    let signature = Uint8Array::new(&JsFuture::from(signed).await?).to_vec();
    signature
        .try_into()
        .map_err(|_| JsValue::from_str("the signature has another length"))
}

/// What importing, signing and verifying want to know; each takes what it needs.
fn parameters(algorithm: Algorithm) -> Result<Object, JsValue> {
    let members: &[(&str, &str)] = match algorithm {
        Algorithm::Es256 => &[
            ("name", "ECDSA"),
            ("namedCurve", "P-256"),
            ("hash", "SHA-256"),
        ],
        _ => &[("name", "Ed25519")],
    };
    named(members)
}

/// An object of texts.
pub(super) fn named(members: &[(&str, &str)]) -> Result<Object, JsValue> {
    let parameters = Object::new();
    for (name, value) in members {
        Reflect::set(
            &parameters,
            &JsValue::from_str(name),
            &JsValue::from_str(value),
        )?;
    }
    Ok(parameters)
}

pub(super) fn subtle() -> Result<SubtleCrypto, JsValue> {
    let global: WorkerGlobalScope = js_sys::global().unchecked_into();
    Ok(global.crypto()?.subtle())
}

fn fault(problem: impl Into<String>) -> Fault {
    Fault::new("SIGNING_KEYS", problem)
}

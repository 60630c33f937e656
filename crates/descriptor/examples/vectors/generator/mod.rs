//! Makes the vectors, the same on every run: the keys are fixed, and both algorithms sign without
//! randomness. What each is to give is said here by hand, not by the verifier.

#![expect(
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a tool for developers, over constants"
)]

mod descriptors;
mod feeds;
mod forge;
mod key_sets;

use std::path::PathBuf;

use mcp_connect_descriptor::{Algorithm, KeyStatus, SigningKey};
use serde_json::{Map, Value, json};

/// When descriptors and feeds were issued.
pub(crate) const ISSUED_AT: u64 = 1_800_000_000;
/// When they are checked, where nothing else is said.
pub(crate) const NOW: u64 = ISSUED_AT + 30;
pub(crate) const ISSUER: &str = "https://authority.example";

/// Every file, by name.
pub(crate) fn files() -> [(&'static str, String); 4] {
    [
        ("descriptors.json", descriptors::file()),
        ("feeds.json", feeds::file()),
        ("key-sets.json", key_sets::file()),
        ("test-keys.json", test_keys()),
    ]
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schema/vectors")
}

/// The Ed25519 key of RFC 8037, appendix A. Everybody knows it.
pub(crate) fn ed25519() -> SigningKey {
    SigningKey::from_seed(&ED25519_SEED)
}

pub(crate) const ED25519_SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

/// An ES256 key that everybody can make.
pub(crate) fn es256() -> SigningKey {
    SigningKey::from_secret(Algorithm::Es256, &[7; 32]).unwrap()
}

/// A key that is in no key set.
pub(crate) fn stranger() -> SigningKey {
    SigningKey::from_seed(&[8; 32])
}

fn test_keys() -> String {
    let key = |name: &str, key: &SigningKey| {
        let mut jwk = key.to_private_jwk(KeyStatus::Active);
        jwk.as_object_mut().unwrap().remove("status");
        json!({ "name": name, "jwk": jwk })
    };
    let keys = [
        key("ed25519", &ed25519()),
        key("es256", &es256()),
        key("stranger", &stranger()),
    ];
    document(
        "The private keys of these vectors. TEST KEYS: everybody has them. Never trust what they sign.",
        &[],
        "keys",
        &keys,
    )
}

/// The public JWK of a key, as authorities publish it.
pub(crate) fn public_jwk(key: &SigningKey) -> Value {
    let mut jwk = key.to_private_jwk(KeyStatus::Active);
    let members = jwk.as_object_mut().unwrap();
    members.remove("d");
    members.remove("status");
    jwk
}

pub(crate) fn changed(mut value: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut value);
    value
}

pub(crate) fn without(value: Value, member: &str) -> Value {
    changed(value, |value| {
        value.as_object_mut().unwrap().remove(member).unwrap();
    })
}

/// A file: its members, and a list with an entry per line.
fn document(about: &str, members: &[(&str, Value)], list: &str, entries: &[Value]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("  {}: {},\n", json!(name), text(value)))
        .collect();
    let members = members.concat();
    let entries: Vec<String> = entries
        .iter()
        .map(|entry| format!("    {}", text(entry)))
        .collect();
    format!(
        "{{\n  \"about\": {},\n  \"format\": 1,\n{members}  {}: [\n{}\n  ]\n}}\n",
        json!(about),
        json!(list),
        entries.join(",\n")
    )
}

/// JSON with sorted members: whether `serde_json` sorts them depends on who else uses it.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(text).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let members: Vec<String> = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", json!(name), text(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}

/// What a verifier makes of an accepted token: the members that it knows.
fn known(claims: &Value, names: &[&str]) -> Map<String, Value> {
    names
        .iter()
        .filter_map(|&name| Some((name.to_owned(), claims.get(name)?.clone())))
        .collect()
}

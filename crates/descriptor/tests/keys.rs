//! The authority's private key set and the public sets that verifiers fetch.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

use mcp_connect_descriptor::{
    KeySet, KeySetError, KeyStatus, SigningKey, SigningKeys, SigningKeysError,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn private(seed: u8, status: &str) -> Value {
    let mut jwk = SigningKey::from_seed(&[seed; 32]).to_private_jwk(KeyStatus::Active);
    jwk["status"] = json!(status);
    jwk
}

fn parse(keys: &[Value]) -> Result<SigningKeys, SigningKeysError> {
    SigningKeys::parse(&json!({ "keys": keys }).to_string())
}

/// RFC 8037, appendix A.1 to A.3: the key and its thumbprint.
#[test]
fn the_key_id_is_the_thumbprint_of_rfc_8037() {
    let keys = parse(&[json!({
        "kty": "OKP", "crv": "Ed25519", "status": "active",
        "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    })])
    .unwrap();
    assert_eq!(
        keys.active().id(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}

#[test]
fn one_key_signs_and_all_are_published() {
    let keys = parse(&[
        private(1, "retired"),
        private(2, "active"),
        private(3, "next"),
    ])
    .unwrap();
    assert_eq!(keys.active().id(), SigningKey::from_seed(&[2; 32]).id());
    let published = keys.public().to_json();
    assert_eq!(published["keys"].as_array().unwrap().len(), 3);
    assert!(!published.to_string().contains("\"d\""));
    assert!(!published.to_string().contains("status"));
    assert_eq!(
        KeySet::parse(published.to_string().as_bytes()),
        Ok(keys.public())
    );
}

#[test]
fn a_wrong_member_is_named_and_no_key_material_shown() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 14] = [
        ("keys[0].kty", |k| k["kty"] = json!("RSA")),
        ("keys[0].crv", |k| k["kty"] = json!("EC")),
        ("keys[0].crv", |k| k["crv"] = json!("X25519")),
        ("keys[0].alg", |k| k["alg"] = json!("ES256")),
        ("keys[0].status", |k| k["status"] = json!("primary")),
        ("keys[0].status", |k| {
            k.as_object_mut().unwrap().remove("status");
        }),
        ("keys[0].d", |k| k["d"] = json!("AAAA")),
        ("keys[0].d", |k| {
            k.as_object_mut().unwrap().remove("d");
        }),
        ("keys[0].x", |k| k["x"] = json!("not base64url!")),
        ("keys[0].x", |k| k["x"] = private(9, "active")["x"].clone()),
        ("keys[0].kid", |k| k["kid"] = json!("my-key")),
        ("keys[0].since", |k| k["since"] = json!("yesterday")),
        ("keys[0].since", |k| k["since"] = json!(-1)),
        ("keys[0].since", |k| k["since"] = json!(u64::MAX)),
    ];
    let secret = private(1, "active")["d"].as_str().unwrap().to_owned();
    for (member, change) in cases {
        let mut key = private(1, "active");
        change(&mut key);
        let error = parse(&[key]).unwrap_err();
        assert!(error.to_string().starts_with(member), "{error}");
        assert!(!format!("{error} {error:?}").contains(&secret));
    }
}

#[test]
fn ambiguous_sets_are_refused() {
    let active = |count| SigningKeysError::ActiveCount(count);
    assert_eq!(parse(&[]).unwrap_err(), active(0));
    assert_eq!(parse(&[private(1, "next")]).unwrap_err(), active(0));
    assert_eq!(
        parse(&[private(1, "active"), private(2, "active")]).unwrap_err(),
        active(2)
    );
    assert_eq!(
        parse(&[private(1, "active"), private(1, "retired")]).unwrap_err(),
        SigningKeysError::Duplicate(1)
    );
    for text in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(
            matches!(SigningKeys::parse(text), Err(SigningKeysError::NotASet(_))),
            "{text}"
        );
    }
}

#[test]
fn debug_output_has_no_secret() {
    let keys = parse(&[private(1, "active")]).unwrap();
    let shown = format!("{keys:?}");
    assert!(shown.contains(keys.active().id()));
    assert!(
        !shown.contains("[1, 1, 1") && !shown.contains(private(1, "active")["d"].as_str().unwrap())
    );
}

fn public(seed: u8) -> Value {
    let mut jwk = private(seed, "active");
    jwk.as_object_mut()
        .unwrap()
        .retain(|name, _| name != "d" && name != "status");
    jwk
}

fn parse_public(keys: &[Value]) -> Result<KeySet, KeySetError> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

#[test]
fn keys_for_other_purposes_are_skipped() {
    let set = parse_public(&[
        json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "r" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": "AAAA", "kid": "x" }),
        json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "o" }),
        {
            let mut key = public(2);
            key["use"] = json!("enc");
            key
        },
        {
            let mut key = public(3);
            key["alg"] = json!("HS256");
            key
        },
        {
            let mut key = public(4);
            key["alg"] = json!(null);
            key
        },
        {
            let mut key = public(5);
            key["use"] = json!(["sig"]);
            key
        },
        {
            let mut key = public(6);
            key["key_ops"] = json!(["sign"]);
            key
        },
        {
            let mut key = public(7);
            key["key_ops"] = json!("verify");
            key
        },
        {
            let mut key = public(1);
            key["key_ops"] = json!(["sign", "verify"]);
            key
        },
    ])
    .unwrap();
    assert_eq!(set.len(), 1);
    assert!(set.contains(SigningKey::from_seed(&[1; 32]).id()));
    assert!(parse_public(&[]).unwrap().is_empty());
}

#[test]
fn a_set_with_a_broken_key_of_ours_is_unusable() {
    let with = |member: &str, value: Value| {
        let mut key = public(1);
        key[member] = value;
        parse_public(&[public(2), key]).unwrap_err()
    };
    assert_eq!(
        with("kid", json!(null)),
        KeySetError::Key {
            index: 1,
            member: "kid"
        }
    );
    assert_eq!(
        with("kid", json!("")),
        KeySetError::Key {
            index: 1,
            member: "kid"
        }
    );
    assert_eq!(
        with("x", json!("AAAA")),
        KeySetError::Key {
            index: 1,
            member: "x"
        }
    );
    assert_eq!(
        with("kid", public(2)["kid"].clone()),
        KeySetError::DuplicateKeyId
    );
    assert_eq!(with("d", json!("AAAA")), KeySetError::Private(1));
    // The neutral element, a point of small order.
    let weak = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(
        with("x", json!(weak)),
        KeySetError::Key {
            index: 1,
            member: "x"
        }
    );
}

#[test]
fn sets_are_bounded() {
    let many: Vec<Value> = (0..33).map(public).collect();
    assert_eq!(parse_public(&many), Err(KeySetError::TooLarge));
    assert!(parse_public(&many[..32]).is_ok());
    let padded = format!(r#"{{"keys":[],"pad":"{}"}}"#, "x".repeat(64 * 1024));
    assert_eq!(KeySet::parse(padded.as_bytes()), Err(KeySetError::TooLarge));
    for text in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"keys":[7]}"#,
        r#"{"keys":[],"keys":[]}"#,
    ] {
        assert_eq!(
            KeySet::parse(text.as_bytes()),
            Err(KeySetError::NotASet),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in ".*") {
        let _ = KeySet::parse(&bytes);
        let _ = SigningKeys::parse(&text);
        let _ = mcp_connect_descriptor::UnverifiedDescriptor::parse(&text);
    }
}

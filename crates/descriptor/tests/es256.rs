//! ES256 beside EdDSA: keys, tokens, and that a token never chooses its algorithm. Runs natively and,
//! under wasm-bindgen's test runner, in wasm.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_descriptor::{
    Algorithm, Descriptor, Expected, KeySet, KeySetError, KeyStatus, Refusal, ServerIdentity,
    SigningKey, SigningKeys, verify,
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

const NOW: u64 = 1_800_000_000;

fn es256() -> SigningKey {
    SigningKey::from_secret(Algorithm::Es256, &[7; 32]).unwrap()
}

fn ed25519() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn private(key: &SigningKey, status: &str) -> Value {
    let mut jwk = key.to_private_jwk(KeyStatus::Active);
    jwk["status"] = json!(status);
    jwk
}

fn set(keys: &[Value]) -> Result<SigningKeys, String> {
    SigningKeys::parse(&json!({ "keys": keys }).to_string()).map_err(|error| error.to_string())
}

fn both() -> SigningKeys {
    set(&[private(&ed25519(), "active"), private(&es256(), "next")]).unwrap()
}

fn descriptor() -> Descriptor {
    Descriptor {
        issuer: "https://authority.example".into(),
        endpoint: "https://mcp.example/mcp".into(),
        server: ServerIdentity {
            id: "com.example/weather".into(),
            version: "1.2.0".into(),
            verified: true,
            jwks_uri: None,
            tls_pin_sha256: None,
        },
        issued_at: NOW,
        not_before: NOW,
        expires_at: NOW + 60,
        jti: "q3VYb2h1S2FmT0l5dUtQZA".into(),
        client_id: None,
        tenant_id: None,
        confirmation: None,
    }
}

fn check(token: &str) -> Result<Descriptor, Refusal> {
    let expected = Expected::new("https://authority.example", "com.example/weather");
    verify(token, &both().public(), &expected, NOW)
}

/// With this header in the place of its own, and this signature.
fn forged(token: &str, header: &Value, signature: &[u8]) -> String {
    let payload = token.split('.').nth(1).unwrap();
    let header = Base64UrlUnpadded::encode_string(header.to_string().as_bytes());
    let signature = Base64UrlUnpadded::encode_string(signature);
    format!("{header}.{payload}.{signature}")
}

fn header(key: &SigningKey, alg: &str) -> Value {
    json!({ "alg": alg, "kid": key.id(), "typ": "mcp-connect+jwt" })
}

/// RFC 7515, appendix A.3: the key; the thumbprint as `jose` computes it.
#[wasm_bindgen_test(unsupported = test)]
fn the_key_of_rfc_7515_is_read_and_has_its_thumbprint() {
    let keys = set(&[json!({
        "kty": "EC", "crv": "P-256", "status": "active",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
    })])
    .unwrap();
    assert_eq!(keys.active().algorithm(), Algorithm::Es256);
    assert_eq!(
        keys.active().id(),
        "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn each_key_signs_with_its_algorithm_and_is_published_with_it() {
    for key in [ed25519(), es256()] {
        let token = descriptor().mint(&key).unwrap();
        let header_part = token.split('.').next().unwrap();
        let decoded: Value =
            serde_json::from_slice(&Base64UrlUnpadded::decode_vec(header_part).unwrap()).unwrap();
        assert_eq!(decoded, header(&key, key.algorithm().as_str()));
        assert_eq!(check(&token), Ok(descriptor()));
    }
    let published = both().published(|_| false);
    assert_eq!(both().algorithms(), [Algorithm::EdDsa, Algorithm::Es256]);
    let parsed = KeySet::parse(published.to_string().as_bytes()).unwrap();
    assert_eq!(parsed, both().public());
    assert_eq!(parsed.algorithm(es256().id()), Some(Algorithm::Es256));
    let members: Vec<&str> = published["keys"][1]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
}

#[wasm_bindgen_test(unsupported = test)]
fn the_algorithm_of_a_token_must_be_that_of_its_key() {
    let token = descriptor().mint(&es256()).unwrap();
    let signature = Base64UrlUnpadded::decode_vec(token.rsplit('.').next().unwrap()).unwrap();
    for (key, alg) in [
        (es256(), "EdDSA"),
        (es256(), "Ed25519"),
        (ed25519(), "ES256"),
    ] {
        let refusal = check(&forged(&token, &header(&key, alg), &signature)).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "malformed header: alg is not that of the key"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn signatures_of_another_form_are_refused() {
    let token = descriptor().mint(&es256()).unwrap();
    let header = header(&es256(), "ES256");
    let good = Base64UrlUnpadded::decode_vec(token.rsplit('.').next().unwrap()).unwrap();
    let [r, s] = [&good[..32], &good[32..]];
    let zero = [0; 32];
    for (what, signature) in [
        ("r zero", [zero.as_slice(), s].concat()),
        ("s zero", [r, zero.as_slice()].concat()),
        ("both zero", vec![0; 64]),
        (
            "r as large as the order",
            [[0xff; 32].as_slice(), s].concat(),
        ),
        ("swapped", [s, r].concat()),
    ] {
        assert_eq!(
            check(&forged(&token, &header, &signature)),
            Err(Refusal::BadSignature),
            "{what}"
        );
    }
    for length in [0, 63, 65, 70] {
        let signature: Vec<u8> = good.iter().copied().cycle().take(length).collect();
        let refusal = check(&forged(&token, &header, &signature)).unwrap_err();
        assert!(
            matches!(refusal, Refusal::Malformed { .. }),
            "{length} bytes"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_high_s_is_accepted_as_rfc_7518_has_it() {
    let token = descriptor().mint(&es256()).unwrap();
    let signature = Base64UrlUnpadded::decode_vec(token.rsplit('.').next().unwrap()).unwrap();
    let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
    let (r, s) = signature.split_scalars();
    let mirrored = p256::ecdsa::Signature::from_scalars(*r, -*s).unwrap();
    let header = header(&es256(), "ES256");
    assert_eq!(
        check(&forged(&token, &header, &mirrored.to_bytes())),
        Ok(descriptor())
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn broken_keys_are_named() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 8] = [
        ("keys[0].crv", |k| k["crv"] = json!("P-384")),
        ("keys[0].alg", |k| k["alg"] = json!("EdDSA")),
        ("keys[0].y", |k| k["y"] = json!("AAAA")),
        ("keys[0].y", |k| {
            k.as_object_mut().unwrap().remove("y");
        }),
        ("keys[0].d", |k| k["d"] = json!("AAAA")),
        ("keys[0].x", |k| {
            k["x"] = ed25519().to_public_jwk()["x"].clone()
        }),
        ("keys[0].x", |k| {
            k["d"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        }),
        ("keys[0].kid", |k| k["kid"] = json!(ed25519().id())),
    ];
    for (member, change) in cases {
        let mut key = private(&es256(), "active");
        change(&mut key);
        let error = set(&[key]).unwrap_err();
        assert!(error.starts_with(member), "{member}: {error}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_public_set_with_a_broken_point_is_unusable_and_other_curves_are_skipped() {
    let parse = |change: fn(&mut Value)| {
        let mut published = both().published(|_| false);
        change(&mut published["keys"][1]);
        KeySet::parse(published.to_string().as_bytes())
    };
    let fault = |member| Err(KeySetError::Key { index: 1, member });
    let off_the_curve = parse(|k| k["y"] = k["x"].clone());
    assert_eq!(off_the_curve, fault("x"));
    assert_eq!(parse(|k| k["y"] = json!("AAAA")), fault("y"));
    assert_eq!(parse(|k| k["kid"] = json!(7)), fault("kid"));
    for skipped in [
        parse(|k| k["crv"] = json!("P-384")),
        parse(|k| k["alg"] = json!("ES384")),
        parse(|k| k["use"] = json!("enc")),
    ] {
        assert_eq!(skipped.unwrap().len(), 1);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_revoked_key_neither_signs_nor_is_published() {
    let (first, second) = (ed25519(), es256());
    let keys = both();
    let signer = |revoked: &[&str]| {
        keys.signer(|kid| revoked.contains(&kid))
            .map(|key| key.id().to_owned())
    };
    assert_eq!(signer(&[]), Some(first.id().to_owned()));
    assert_eq!(signer(&[second.id()]), Some(first.id().to_owned()));
    assert_eq!(signer(&[first.id()]), Some(second.id().to_owned()));
    assert_eq!(signer(&[first.id(), second.id()]), None);
    let published = keys.published(|kid| kid == first.id());
    assert_eq!(published["keys"].as_array().unwrap().len(), 1);
    assert_eq!(published["keys"][0]["kid"], second.id());
    let retired = set(&[private(&first, "active"), private(&second, "retired")]).unwrap();
    assert!(retired.signer(|kid| kid == first.id()).is_none());
}

//! Public vectors: Wycheproof, the RFCs of JOSE, its cookbook. They are no part of this repository;
//! where they lie beside the checkout, all run that say something about this profile or its parts.
//!
//! Not usable, and counted so: encryption (JWE, ECDH-ES), the JSON serialization where there is no
//! compact one, and the thumbprints of RSA keys: nothing here reads them. Of algorithms that sign no
//! descriptor (HMAC, RSA, other curves), every token is run, and must be refused, the valid ones too.

use std::{fs, path::PathBuf};

use serde_json::{Map, Value, json};

use super::*;
use crate::{SigningKeys, jwk::PublicJwk, unsigned::DESCRIPTOR_FORM, verifying_key::VerifyingKey};

/// `None`, and said so: the vectors are not there.
fn read(name: &str) -> Option<Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/jose");
    let Ok(text) = fs::read_to_string(folder.join(name)) else {
        println!("SKIPPED: {name} is not in {}", folder.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

#[derive(Debug, Default)]
struct Count {
    accepted: usize,
    refused: usize,
    not_usable: usize,
}

/// Whether this crate's code takes the token, of any payload, for signed by a key of the set. The
/// vectors have no `typ`, and few a `kid`: it is given to them.
fn accepts(compact: &str, jwks: &[Value]) -> bool {
    let named: Vec<Value> = jwks
        .iter()
        .map(|jwk| {
            let mut jwk = jwk.clone();
            let kid = jwk.get("kid").cloned().unwrap_or_else(|| json!("k"));
            jwk["kid"] = kid;
            jwk
        })
        .collect();
    let Ok(keys) = KeySet::parse(json!({ "keys": named }).to_string().as_bytes()) else {
        return false;
    };
    let Ok(parts) = Parts::split(compact) else {
        return false;
    };
    let Ok(mut header) = strict_json::from_slice::<Map<String, Value>>(&parts.header) else {
        return false;
    };
    header.entry("kid").or_insert(json!("k"));
    header.insert("typ".into(), json!(DESCRIPTOR_FORM.token_type));
    let key = header.get("kid").and_then(Value::as_str);
    let key = key.and_then(|key_id| keys.get(key_id));
    let header = Value::Object(header).to_string();
    let token = read_header(header.as_bytes(), DESCRIPTOR_FORM.token_type)
        .and_then(|algorithm| Jws::read(compact, parts.signed, algorithm));
    matches!((token, key), (Ok(token), Some(key)) if token.verify_by(key).is_ok())
}

fn keys_of(group: &Value) -> Vec<Value> {
    let jwk = group.get("public").unwrap_or(&group["private"]);
    match jwk.get("keys") {
        Some(keys) => keys.as_array().unwrap().clone(),
        None => vec![jwk.clone()],
    }
}

fn is_ours(jwk: &Value) -> bool {
    jwk["crv"] == "P-256" || jwk["crv"] == "Ed25519"
}

#[test]
fn wycheproof_ed25519() {
    let Some(file) = read("wycheproof/ed25519_test.json") else {
        return;
    };
    let bytes = |value: &Value| -> Vec<u8> {
        let hex = value.as_str().unwrap();
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    let mut count = Count::default();
    for group in file["testGroups"].as_array().unwrap() {
        let jwk = PublicJwk::parse(&group["publicKeyJwk"]).unwrap();
        let key = VerifyingKey::new(jwk).unwrap();
        for test in group["tests"].as_array().unwrap() {
            let message = bytes(&test["msg"]);
            let signed = <[u8; SIGNATURE_BYTES]>::try_from(bytes(&test["sig"]))
                .is_ok_and(|signature| key.has_signed(&message, &signature));
            assert_eq!(signed, test["result"] == "valid", "{}", test["tcId"]);
            if signed {
                count.accepted += 1;
            } else {
                count.refused += 1;
            }
        }
    }
    println!("Wycheproof, Ed25519: {count:?}");
    assert!(count.accepted >= 80 && count.accepted + count.refused >= 150);
}

#[test]
fn wycheproof_jws() {
    for (name, ours) in [
        ("json_web_signature_test.json", 2),
        ("json_web_crypto_test.json", 1),
        ("json_web_key_test.json", 0),
    ] {
        let Some(file) = read(&format!("wycheproof/{name}")) else {
            return;
        };
        let mut count = Count::default();
        for group in file["testGroups"].as_array().unwrap() {
            let keys = keys_of(group);
            for test in group["tests"].as_array().unwrap() {
                let Some(compact) = test["jws"].as_str() else {
                    count.not_usable += 1;
                    continue;
                };
                let may_accept = test["result"] == "valid" && keys.iter().all(is_ours);
                assert_eq!(
                    accepts(compact, &keys),
                    may_accept,
                    "{name}, {}",
                    test["tcId"]
                );
                if may_accept {
                    count.accepted += 1;
                } else {
                    count.refused += 1;
                }
            }
        }
        println!("Wycheproof, {name}: {count:?}");
        assert!(count.accepted >= ours && count.refused >= 20);
    }
}

/// The MACs can't be checked; how their tokens are written can.
#[test]
fn wycheproof_base64url() {
    /// Valid for those who skip foreign characters. Here they are refused.
    const LENIENT: [&str; 2] = [
        "InvalidCharacterInsertedInHeader",
        "InvalidCharacterInsertedInPayload",
    ];
    let Some(file) = read("wycheproof/json_web_signature_test.json") else {
        return;
    };
    let mut count = Count::default();
    let groups = file["testGroups"].as_array().unwrap();
    let group = groups.iter().find(|group| group["comment"] == "base64");
    let tests = group.unwrap()["tests"].as_array().unwrap();
    let valid = |test: &Value| test["result"] == "valid";
    for test in tests {
        let compact = test["jws"].as_str().unwrap();
        // Two of the vectors have lost the padding that they are about.
        if !valid(test)
            && tests
                .iter()
                .any(|other| valid(other) && other["jws"] == test["jws"])
        {
            count.not_usable += 1;
            continue;
        }
        let is_canonical = compact.split('.').all(|part| decode(part, "part").is_ok());
        let is_lenient = LENIENT.contains(&test["comment"].as_str().unwrap());
        assert_eq!(is_canonical, valid(test) && !is_lenient, "{}", test["tcId"]);
        if is_canonical {
            count.accepted += 1;
        } else {
            count.refused += 1;
        }
    }
    println!("Wycheproof, base64url: {count:?}");
    assert!(count.accepted >= 5 && count.refused >= 10);
}

#[test]
fn rfc_7515_7638_8037() {
    let Some(file) = read("rfc/rfc_jws_jwk_vectors.json") else {
        return;
    };
    let mut count = Count::default();
    for vector in file.as_array().unwrap() {
        let (jwk, source) = (&vector["jwk"], &vector["source"]);
        if let (Some(thumbprint), true) = (vector["thumbprint_sha256"].as_str(), is_ours(jwk)) {
            assert_eq!(
                PublicJwk::parse(jwk).unwrap().thumbprint(),
                thumbprint,
                "{source}"
            );
            count.accepted += 1;
        }
        let Some(compact) = vector["jws"].as_str() else {
            count.not_usable += 1;
            continue;
        };
        let mut public = jwk.clone();
        if let Some(members) = public.as_object_mut() {
            members.remove("d");
        }
        let may_accept = vector["result"] == "valid" && is_ours(jwk);
        assert_eq!(accepts(compact, &[public]), may_accept, "{source}");
        // The private half, where it is told, makes the same public one.
        if let Some(d) = jwk.get("d") {
            let mut private = PublicJwk::parse(jwk).unwrap().to_json();
            private.insert("d".into(), d.clone());
            private.insert("status".into(), json!("active"));
            let set = json!({ "keys": [private] }).to_string();
            assert!(SigningKeys::parse(&set).is_ok(), "{source}");
        }
        if may_accept {
            count.accepted += 1;
        } else {
            count.refused += 1;
        }
    }
    println!("RFC 7515, 7638, 8037: {count:?}");
    assert!(count.accepted >= 3 && count.refused >= 3);
}

#[test]
fn jose_cookbook() {
    let mut count = Count::default();
    for name in [
        "curve25519/jws.json",
        "curve25519/ecdh-es.json",
        "jws/4_1.rsa_v15_signature.json",
        "jws/4_2.rsa-pss_signature.json",
        "jws/4_3.ecdsa_signature.json",
        "jws/4_4.hmac-sha2_integrity_protection.json",
        "jws/4_5.signature_with_detached_content.json",
        "jws/4_6.protecting_specific_header_fields.json",
        "jws/4_7.protecting_content_only.json",
        "jws/4_8.multiple_signatures.json",
    ] {
        let Some(file) = read(&format!("cookbook/{name}")) else {
            return;
        };
        let compact = file["output"]["compact"].as_str();
        let Some(compact) = compact.filter(|_| file.get("signing").is_some()) else {
            count.not_usable += 1;
            continue;
        };
        let mut key = file["input"]["key"].clone();
        let may_accept = is_ours(&key);
        key.as_object_mut().unwrap().remove("d");
        assert_eq!(accepts(compact, &[key]), may_accept, "{name}");
        if may_accept {
            count.accepted += 1;
        } else {
            count.refused += 1;
        }
    }
    println!("JOSE cookbook: {count:?}");
    assert!(count.accepted >= 1 && count.refused >= 5);
}

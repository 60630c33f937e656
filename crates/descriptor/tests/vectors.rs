//! `schema/vectors/`: the files are what the generator makes, and this crate gives every result.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

#[path = "../examples/vectors/generator/mod.rs"]
mod generator;

use std::collections::HashSet;

use mcp_connect_descriptor::{
    Confirmation, Descriptor, Expected, KeySet, RevocationFeed, ServerIdentity, Withdrawal, verify,
    verify_feed,
};
use serde_json::{Value, json};

fn read(name: &str) -> Value {
    let text = std::fs::read_to_string(generator::folder().join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn vectors(file: &Value, list: &str) -> Vec<Value> {
    let vectors = file[list].as_array().unwrap().clone();
    let ids: HashSet<&str> = vectors.iter().map(|v| v["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), vectors.len(), "an id stands twice");
    vectors
}

fn keys(file: &Value, vector: &Value) -> KeySet {
    let set = &file["key_sets"][vector["key_set"].as_str().unwrap()];
    KeySet::parse(set.to_string().as_bytes()).unwrap()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap()
}

fn result(accepted: Option<Value>, code: Option<&str>) -> Value {
    match accepted {
        Some(claims) => json!({ "claims": claims }),
        None => json!({ "refused": code }),
    }
}

/// The descriptor, as its claims stand in a token.
fn claims(descriptor: &Descriptor) -> Value {
    let mut claims = json!({
        "iss": descriptor.issuer, "aud": descriptor.endpoint,
        "sub": format!("server:{}", descriptor.server.id),
        "iat": descriptor.issued_at, "nbf": descriptor.not_before, "exp": descriptor.expires_at,
        "jti": descriptor.jti,
        "mcp": {
            "transport": "streamable_http", "endpoint": descriptor.endpoint,
            "server": descriptor.server,
        },
    });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            claims[name] = value;
        }
    };
    set("client_id", descriptor.client_id.clone().map(Value::from));
    set("tenant_id", descriptor.tenant_id.clone().map(Value::from));
    set(
        "cnf",
        descriptor.confirmation.as_ref().map(|cnf| match cnf {
            Confirmation::Jkt(thumbprint) => json!({ "jkt": thumbprint }),
            Confirmation::X5tS256(thumbprint) => json!({ "x5t#S256": thumbprint }),
            _ => unreachable!("no other constraint"),
        }),
    );
    claims
}

#[test]
fn the_files_are_what_the_generator_makes() {
    for (name, text) in generator::files() {
        let committed = std::fs::read_to_string(generator::folder().join(name)).unwrap();
        assert!(
            committed == text,
            "{name} is another: run `cargo run -p mcp-connect-descriptor --example vectors`"
        );
    }
}

#[test]
fn every_descriptor_gets_its_result() {
    let file = read("descriptors.json");
    let vectors = vectors(&file, "vectors");
    for vector in &vectors {
        let mut expected = Expected::new(text(vector, "issuer"), text(vector, "server_id"))
            .leeway(vector["leeway"].as_u64().unwrap());
        if let Some(audience) = vector["audience"].as_str() {
            expected = expected.audience(audience);
        }
        let verified = verify(
            text(vector, "token"),
            &keys(&file, vector),
            &expected,
            vector["now"].as_u64().unwrap(),
        );
        let code = verified
            .as_ref()
            .err()
            .map(|refusal| refusal.code().as_str());
        assert_eq!(
            result(verified.as_ref().ok().map(claims), code),
            vector["result"],
            "{}: {verified:?}",
            vector["id"]
        );
    }
    let accepted = vectors.iter().filter(|v| v["result"]["claims"].is_object());
    println!(
        "descriptors: {} vectors, {} accepted",
        vectors.len(),
        accepted.count()
    );
    assert!(vectors.len() > 300);
}

#[test]
fn every_key_set_gets_its_result() {
    let file = read("key-sets.json");
    let vectors = vectors(&file, "vectors");
    for vector in &vectors {
        let set = KeySet::parse(text(vector, "key_set").as_bytes());
        let expected = match set {
            Ok(set) => {
                let keys: Vec<Value> = set.to_json()["keys"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|key| json!({ "kid": key["kid"], "alg": key["alg"] }))
                    .collect();
                json!({ "keys": keys })
            }
            Err(_) => json!({ "refused": "malformed" }),
        };
        assert_eq!(expected, vector["result"], "{}", vector["id"]);
    }
    println!("key sets: {} vectors", vectors.len());
    assert!(vectors.len() > 50);
}

#[test]
fn every_feed_gets_its_result() {
    let file = read("feeds.json");
    let vectors = vectors(&file, "vectors");
    for vector in &vectors {
        let verified = verify_feed(
            text(vector, "token"),
            &keys(&file, vector),
            text(vector, "issuer"),
            vector["now"].as_u64().unwrap(),
        );
        let code = verified
            .as_ref()
            .err()
            .map(|refusal| refusal.code().as_str());
        let claims = |feed: &RevocationFeed| serde_json::to_value(feed).unwrap();
        assert_eq!(
            result(verified.as_ref().ok().map(claims), code),
            vector["result"],
            "{}",
            vector["id"]
        );
    }
    println!("feeds: {} vectors", vectors.len());
    assert!(vectors.len() > 50);
}

#[test]
fn every_feed_names_whom_it_is_to_name() {
    let file = read("feeds.json");
    for vector in vectors(&file, "names") {
        let feed: RevocationFeed = serde_json::from_value(vector["feed"].clone()).unwrap();
        let of = &vector["descriptor"];
        let iat = of["iat"].as_u64().unwrap();
        let optional = |name: &str| of[name].as_str().map(str::to_owned);
        let descriptor = Descriptor {
            issuer: generator::ISSUER.into(),
            endpoint: "https://mcp.example/mcp".into(),
            server: ServerIdentity {
                id: text(of, "server_id").into(),
                version: text(of, "version").into(),
                verified: true,
                jwks_uri: None,
                tls_pin_sha256: None,
            },
            issued_at: iat,
            not_before: iat,
            expires_at: iat + 60,
            jti: text(of, "jti").into(),
            client_id: optional("client_id"),
            tenant_id: optional("tenant_id"),
            confirmation: None,
        };
        let named = feed.revokes(&descriptor, text(of, "kid"));
        assert_eq!(
            named.map(Withdrawal::as_str),
            vector["named_by"].as_str(),
            "{}",
            vector["id"]
        );
    }
}

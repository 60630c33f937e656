//! Any bytes as a key set: what is accepted is bounded, has no private key, and says the same when
//! it is published again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_connect_descriptor::{Algorithm, KeySet};
use mcp_connect_fuzz::{decode, object};
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let Ok(keys) = KeySet::parse(input) else {
        return;
    };
    assert!(input.len() <= 64 * 1024);
    let set = object(input).expect("an object");
    let jwks = set["keys"].as_array().expect("keys");
    assert!(jwks.len() <= 32 && keys.len() <= jwks.len());
    assert!(
        jwks.iter()
            .all(|jwk| jwk.is_object() && jwk.get("d").is_none())
    );

    let published = keys.to_json();
    let published_keys = published["keys"].as_array().expect("keys");
    assert_eq!(published_keys.len(), keys.len());
    for jwk in published_keys {
        let key_id = jwk["kid"].as_str().expect("kid");
        assert!((1..=256).contains(&key_id.len()));
        let algorithm = keys.algorithm(key_id).expect("it has it");
        assert_eq!(jwk["alg"], algorithm.as_str());
        // The very key, not one made of it.
        let is_source = |it: &&Value| {
            let same = |member| it.get(member) == jwk.get(member);
            same("kid") && same("x") && (algorithm != Algorithm::Es256 || same("y"))
        };
        assert!(jwks.iter().any(|it| is_source(&it)));
        let x = decode(jwk["x"].as_str().expect("x")).expect("canonical");
        assert_eq!(x.len(), 32);
    }
    let again = KeySet::parse(published.to_string().as_bytes());
    assert_eq!(again, Ok(keys));
});

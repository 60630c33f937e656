//! Proofs of possession: RFC 9449's own examples, and everything that is no proof. Runs natively and,
//! under wasm-bindgen's test runner, in wasm.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_descriptor::{
    Algorithm, MAX_PROOF_BYTES, Proof, ProofContext, SigningKey, TargetUri, UnverifiedProof,
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

const NOW: u64 = 1_800_000_000;
const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.e30.c2ln";

/// RFC 9449, section 6.1.
const RFC_THUMBPRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
/// RFC 9449, section 5.
const RFC_AT_TOKEN_ENDPOINT: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
/// RFC 9449, section 7.
const RFC_AT_RESOURCE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
const RFC_ACCESS_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

fn keys() -> [SigningKey; 2] {
    [Algorithm::EdDsa, Algorithm::Es256]
        .map(|algorithm| SigningKey::from_secret(algorithm, &[7; 32]).unwrap())
}

fn endpoint() -> TargetUri {
    TargetUri::parse("https://mcp.example/mcp").unwrap()
}

fn check(proof: &str) -> Result<Proof, String> {
    check_at(proof, NOW)
}

fn check_at(proof: &str, now: u64) -> Result<Proof, String> {
    let endpoint = endpoint();
    let context = ProofContext::new("POST", &endpoint).with_token(TOKEN);
    UnverifiedProof::parse(proof)
        .and_then(|proof| proof.verify(&context, now))
        .map_err(|fault| fault.to_string())
}

fn proof(key: &SigningKey) -> String {
    let endpoint = endpoint();
    let context = ProofContext::new("POST", &endpoint).with_token(TOKEN);
    context.prove(key, NOW, &[1; 16]).unwrap()
}

fn parts(proof: &str) -> [Value; 2] {
    let mut parts = proof.split('.');
    [(); 2].map(|()| {
        let part = Base64UrlUnpadded::decode_vec(parts.next().unwrap()).unwrap();
        serde_json::from_slice(&part).unwrap()
    })
}

/// Signs any header and payload with the Ed25519 key.
fn sign(header: &str, payload: &str) -> String {
    use ed25519_dalek::Signer as _;
    let encode = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    let signed = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(payload.as_bytes())
    );
    let signature = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).sign(signed.as_bytes());
    format!("{signed}.{}", encode(&signature.to_bytes()))
}

/// The good proof with one member of its header changed; null removes it.
fn with_header(member: &str, value: Value) -> String {
    let [mut header, claims] = parts(&proof(&keys()[0]));
    set(&mut header, member, value);
    sign(&header.to_string(), &claims.to_string())
}

fn with_claim(member: &str, value: Value) -> String {
    let [header, mut claims] = parts(&proof(&keys()[0]));
    set(&mut claims, member, value);
    sign(&header.to_string(), &claims.to_string())
}

fn set(object: &mut Value, member: &str, value: Value) {
    if value.is_null() {
        object.as_object_mut().unwrap().remove(member);
    } else {
        object[member] = value;
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_examples_of_rfc_9449_hold() {
    let target = TargetUri::parse("https://server.example.com/token").unwrap();
    let proof = UnverifiedProof::parse(RFC_AT_TOKEN_ENDPOINT).unwrap();
    let context = ProofContext::new("POST", &target);
    let proof = proof.verify(&context, 1_562_262_616).unwrap();
    assert_eq!(proof.thumbprint, RFC_THUMBPRINT);
    assert_eq!(proof.jti, "-BwC3ESc6acc2lTc");

    let target = TargetUri::parse("https://resource.example.org/protectedresource").unwrap();
    let context = ProofContext::new("GET", &target);
    let at_resource = |context: &ProofContext<'_>| {
        UnverifiedProof::parse(RFC_AT_RESOURCE)
            .unwrap()
            .verify(context, 1_562_262_618)
    };
    let proof = at_resource(&context.with_token(RFC_ACCESS_TOKEN)).unwrap();
    assert_eq!(proof.thumbprint, RFC_THUMBPRINT);
    assert_eq!(proof.jti, "e1j3V_bKic8-LAEB");
    assert!(at_resource(&context.with_token("another")).is_err());
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_proven_is_found_good_by_either_algorithm() {
    for key in keys() {
        let proof = proof(&key);
        let [header, claims] = parts(&proof);
        assert_eq!(header["alg"], key.algorithm().as_str());
        assert_eq!(header["jwk"], key.to_public_jwk());
        assert_eq!(header.as_object().unwrap().len(), 3);
        assert_eq!(claims["htu"], "https://mcp.example/mcp");
        assert_eq!(claims.as_object().unwrap().len(), 5);
        assert_eq!(check(&proof).unwrap().thumbprint, key.id());
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn is_good_for_its_request_alone() {
    for (claim, value, problem) in [
        ("htm", json!("GET"), "htm is another method"),
        ("htm", json!("post"), "htm is another method"),
        (
            "htu",
            json!("https://mcp.example/other"),
            "htu is another URI",
        ),
        ("htu", json!("http://mcp.example/mcp"), "htu is another URI"),
        (
            "htu",
            json!("https://mcp.example:8443/mcp"),
            "htu is another URI",
        ),
        ("htu", json!("/mcp"), "htu is another URI"),
        ("ath", json!(null), "ath is missing"),
        ("ath", json!(""), "ath is of another descriptor"),
        (
            "ath",
            json!("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"),
            "ath is of another descriptor",
        ),
        ("iat", json!(NOW + 6), "iat lies ahead"),
        ("iat", json!(u64::MAX), "iat lies ahead"),
        ("iat", json!(NOW - 61), "iat is more than 60 s ago"),
        ("iat", json!(0), "iat is more than 60 s ago"),
    ] {
        let proof = with_claim(claim, value.clone());
        assert_eq!(check(&proof).unwrap_err(), problem, "{claim}: {value}");
    }
    for (claim, value) in [
        ("iat", json!(NOW + 5)),
        ("iat", json!(NOW - 60)),
        ("htu", json!("HTTPS://MCP.example:443/mcp?x=y#z")),
        ("htu", json!("https://mcp.example/%6dcp")),
        ("nonce", json!("not asked for, not looked at")),
    ] {
        let proof = with_claim(claim, value.clone());
        assert!(check(&proof).is_ok(), "{claim}: {value}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn claims_have_their_types() {
    for (claim, value) in [
        ("jti", json!(null)),
        ("jti", json!("")),
        ("jti", json!("x".repeat(257))),
        ("jti", json!(7)),
        ("htm", json!(null)),
        ("htu", json!(null)),
        ("htu", json!(["https://mcp.example/mcp"])),
        ("iat", json!(null)),
        ("iat", json!("1800000000")),
        ("iat", json!(1_800_000_000.0)),
        ("iat", json!(-1)),
        ("ath", json!(7)),
    ] {
        let proof = with_claim(claim, value.clone());
        assert!(UnverifiedProof::parse(&proof).is_err(), "{claim}: {value}");
    }
    let good = parts(&proof(&keys()[0])).map(|part| part.to_string());
    for payload in [
        "[]",
        "null",
        "",
        "{}",
        &good[1].replacen('{', r#"{"iat":1,"#, 1),
    ] {
        let proof = sign(&good[0], payload);
        assert!(UnverifiedProof::parse(&proof).is_err(), "{payload}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_header_is_that_of_a_proof() {
    let (ed25519, es256) = (keys()[0].to_public_jwk(), keys()[1].to_public_jwk());
    let jwk = |member: &str, value: Value| {
        let mut jwk = ed25519.clone();
        set(&mut jwk, member, value);
        jwk
    };
    for (member, value) in [
        ("typ", json!(null)),
        ("typ", json!("JWT")),
        ("typ", json!("DPOP+JWT")),
        ("typ", json!("application/dpop+jwt")),
        ("typ", json!("mcp-connect+jwt")),
        ("alg", json!(null)),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("ES256")),
        ("alg", json!("eddsa")),
        ("jwk", json!(null)),
        ("jwk", json!("x")),
        ("jwk", json!([ed25519])),
        ("jwk", es256),
        (
            "jwk",
            jwk("d", json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")),
        ),
        ("jwk", jwk("d", json!(""))),
        ("jwk", jwk("k", json!("AAAA"))),
        ("jwk", jwk("x", json!("AAAA"))),
        ("jwk", jwk("crv", json!("X25519"))),
        ("jwk", jwk("alg", json!("ES256"))),
        ("jwk", json!({"kty": "oct", "k": "AAAA"})),
        ("crit", json!(["exp"])),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/x.pem")),
        ("x5c", json!([])),
    ] {
        let proof = with_header(member, value.clone());
        assert!(UnverifiedProof::parse(&proof).is_err(), "{member}: {value}");
    }
    assert!(check(&with_header("alg", json!("Ed25519"))).is_ok());
    assert!(check(&with_header("kid", json!("anything"))).is_ok());
}

#[wasm_bindgen_test(unsupported = test)]
fn only_the_key_that_it_shows_can_have_signed() {
    for key in keys() {
        let proof = proof(&key);
        let (signed, signature) = proof.rsplit_once('.').unwrap();
        let mut bytes = Base64UrlUnpadded::decode_vec(signature).unwrap();
        bytes[40] ^= 1;
        let forged = format!("{signed}.{}", Base64UrlUnpadded::encode_string(&bytes));
        assert_eq!(check(&forged).unwrap_err(), "the signature does not match");
        for count in [0, 63, 65] {
            let cut = Base64UrlUnpadded::encode_string(&vec![1; count]);
            assert!(UnverifiedProof::parse(&format!("{signed}.{cut}")).is_err());
        }
    }
    let mut another = keys()[0].to_public_jwk();
    another["x"] = json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let stolen = with_header("jwk", another.clone());
    assert_eq!(check(&stolen).unwrap_err(), "the signature does not match");
    // The neutral element, under which one signature fits every message.
    another["x"] = json!("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert!(
        check(&with_header("jwk", another))
            .unwrap_err()
            .contains("weak")
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn a_compact_form_has_one_spelling() {
    let good = proof(&keys()[0]);
    let (header, rest) = good.split_once('.').unwrap();
    for proof in [
        String::new(),
        ".".into(),
        "..".into(),
        header.to_owned(),
        rest.to_owned(),
        format!("{good}."),
        format!("{good}.e30"),
        format!("{good}="),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        good.replacen('.', "..", 1),
        "x".repeat(MAX_PROOF_BYTES + 1),
    ] {
        assert!(UnverifiedProof::parse(&proof).is_err(), "{proof}");
    }
    // 64 bytes leave four bits of the last character, which must be zero.
    let mut stray = good.clone();
    stray.pop();
    for last in ["B", "C", "E", "h", "x"] {
        assert!(UnverifiedProof::parse(&format!("{stray}{last}")).is_err());
    }
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn garbage_is_no_proof(text in "[ -~]{0,200}") {
            prop_assert!(UnverifiedProof::parse(&text).is_err());
        }

        #[test]
        fn one_changed_byte_spoils_a_proof(index in any::<prop::sample::Index>(), to in 33_u8..127) {
            let good = proof(&keys()[0]);
            let mut bytes = good.clone().into_bytes();
            let at = index.index(bytes.len());
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            prop_assert!(check(&String::from_utf8(bytes).unwrap()).is_err());
        }

        #[test]
        fn a_proof_is_good_for_65_seconds(now in NOW - 200..NOW + 200) {
            let is_good = check_at(&proof(&keys()[0]), now).is_ok();
            prop_assert_eq!(is_good, (NOW - 5..=NOW + 60).contains(&now));
        }
    }
}

//! The protocol's section 3, line by line: what a descriptor is, and everything that it is not.
//! Runs natively and, under wasm-bindgen's test runner, in wasm.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, Mac};
use mcp_connect_descriptor::{
    Confirmation, Descriptor, Expected, KeySet, MintError, Refusal, RefusalCode, ServerIdentity,
    SigningKey, UnverifiedDescriptor, verify,
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://authority.example";
const SERVER: &str = "com.example/weather";
const ENDPOINT: &str = "https://mcp.example/mcp";

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn keys() -> KeySet {
    let set = json!({ "keys": [public_jwk(&key())] });
    KeySet::parse(set.to_string().as_bytes()).unwrap()
}

fn public_jwk(key: &SigningKey) -> Value {
    let mut jwk = key.to_private_jwk(mcp_connect_descriptor::KeyStatus::Active);
    let members = jwk.as_object_mut().unwrap();
    members.remove("d");
    members.remove("status");
    jwk
}

fn descriptor() -> Descriptor {
    Descriptor {
        issuer: ISSUER.into(),
        endpoint: ENDPOINT.into(),
        server: ServerIdentity {
            id: SERVER.into(),
            version: "1.2.0".into(),
            verified: true,
            jwks_uri: None,
            tls_pin_sha256: None,
        },
        issued_at: NOW,
        not_before: NOW,
        expires_at: NOW + 60,
        jti: "q3VYb2h1S2FmT0l5dUtQZA".into(),
        client_id: Some("desktop".into()),
        tenant_id: Some("acme".into()),
        confirmation: None,
    }
}

fn expected() -> Expected<'static> {
    Expected::new(ISSUER, SERVER).audience(ENDPOINT)
}

fn check(token: &str) -> Result<Descriptor, Refusal> {
    verify(token, &keys(), &expected(), NOW)
}

fn claims() -> Value {
    let token = descriptor().mint(&key()).unwrap();
    part(&token, 1)
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(part).unwrap()).unwrap()
}

/// Signs any header and payload with the good key.
fn sign(header: &str, payload: &str) -> String {
    use ed25519_dalek::Signer as _;
    let signed = format!(
        "{}.{}",
        Base64UrlUnpadded::encode_string(header.as_bytes()),
        Base64UrlUnpadded::encode_string(payload.as_bytes())
    );
    let signature = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).sign(signed.as_bytes());
    format!(
        "{signed}.{}",
        Base64UrlUnpadded::encode_string(&signature.to_bytes())
    )
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "typ": "mcp-connect+jwt", "kid": key().id() })
}

fn with_header(member: &str, value: Value) -> String {
    let mut header = header();
    header[member] = value;
    sign(&header.to_string(), &claims().to_string())
}

fn with_claims(change: impl FnOnce(&mut Value)) -> String {
    let mut claims = claims();
    change(&mut claims);
    sign(&header().to_string(), &claims.to_string())
}

#[wasm_bindgen_test(unsupported = test)]
fn header_and_claims_are_exactly_the_protocols() {
    let token = descriptor().mint(&key()).unwrap();
    assert_eq!(part(&token, 0), header());
    assert_eq!(
        part(&token, 1),
        json!({
            "iss": ISSUER, "aud": ENDPOINT, "sub": "server:com.example/weather",
            "iat": NOW, "nbf": NOW, "exp": NOW + 60, "jti": "q3VYb2h1S2FmT0l5dUtQZA",
            "client_id": "desktop", "tenant_id": "acme",
            "mcp": {
                "transport": "streamable_http", "endpoint": ENDPOINT,
                "server": { "id": SERVER, "version": "1.2.0", "verified": true }
            }
        })
    );
    assert!(token.len() < 1024);
}

#[wasm_bindgen_test(unsupported = test)]
fn what_was_minted_verifies_with_every_claim() {
    let full = Descriptor {
        server: ServerIdentity {
            jwks_uri: Some("https://mcp.example/jwks.json".into()),
            tls_pin_sha256: Some("cGlu".into()),
            ..descriptor().server
        },
        confirmation: Some(Confirmation::Jkt(key().id().into())),
        ..descriptor()
    };
    let anonymous = Descriptor {
        client_id: None,
        tenant_id: None,
        ..descriptor()
    };
    for descriptor in [descriptor(), full, anonymous] {
        assert_eq!(check(&descriptor.mint(&key()).unwrap()), Ok(descriptor));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn both_names_of_the_algorithm_are_accepted() {
    assert!(check(&with_header("alg", json!("Ed25519"))).is_ok());
    assert!(check(&with_header("alg", json!("EdDSA"))).is_ok());
}

#[wasm_bindgen_test(unsupported = test)]
fn headers_that_are_refused_before_any_signature_work() {
    for (member, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JSON")),
        ("jku", json!("https://evil.example/jwks.json")),
        ("jwk", public_jwk(&key())),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("dGhpcyBpcyBhIFNIQTEgdGVzdCE")),
        ("x5t", json!(7)),
        (
            "x5t#S256",
            json!("MV9b23bQeMQ7isAGTkoBZGErH853yGk0W_yUx1iU7dM"),
        ),
        ("x5t#S256", json!(null)),
        ("typ", json!("JWT")),
        ("typ", json!("application/mcp-connect+jwt")),
        ("typ", json!("MCP-Connect+JWT")),
        ("typ", json!(1)),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("ES384")),
        ("alg", json!("eddsa")),
        ("alg", json!(null)),
        ("kid", json!(7)),
        ("kid", json!("")),
        ("kid", json!("k".repeat(257))),
    ] {
        let token = with_header(member, value.clone());
        let refusal = UnverifiedDescriptor::parse(&token).err();
        assert!(
            matches!(refusal, Some(Refusal::Malformed { .. })),
            "{member}: {value}"
        );
    }
    for member in ["alg", "typ", "kid"] {
        let mut header = header();
        header.as_object_mut().unwrap().remove(member);
        let token = sign(&header.to_string(), &claims().to_string());
        assert!(
            UnverifiedDescriptor::parse(&token).is_err(),
            "without {member}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn forms_that_are_refused_before_any_signature_work() {
    let good = descriptor().mint(&key()).unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let [h, p, s] = parts[..] else { unreachable!() };
    let payload = claims().to_string();
    let list = format!("[{payload}]");
    let duplicate = payload.replacen('{', r#"{"iss":"https://evil.example","#, 1);
    let nested_duplicate = payload.replacen(r#""mcp":{"#, r#""mcp":{"x":{"a":1,"a":2},"#, 1);
    let duplicate_header = header().to_string().replacen('{', r#"{"alg":"none","#, 1);
    assert_ne!(payload, nested_duplicate);
    for (what, token) in [
        ("empty", String::new()),
        ("two parts", format!("{h}.{p}")),
        ("four parts", format!("{h}.{p}.{s}.{s}")),
        ("empty header", format!(".{p}.{s}")),
        ("empty payload", format!("{h}..{s}")),
        ("empty signature", format!("{h}.{p}.")),
        ("padding", format!("{h}.{p}.{s}==")),
        ("leading blank", format!(" {good}")),
        ("trailing newline", format!("{good}\n")),
        ("inner blank", format!("{h}. {p}.{s}")),
        ("standard base64", format!("{h}.{p}.{}", "+/".repeat(43))),
        ("stray bits", format!("{h}.{p}.{}", stray_bits(s))),
        ("short signature", format!("{h}.{p}.{}", encode(&[0; 63]))),
        ("long signature", format!("{h}.{p}.{}", encode(&[0; 65]))),
        ("payload a list", sign(&header().to_string(), &list)),
        ("payload a string", sign(&header().to_string(), "\"x\"")),
        ("payload no JSON", sign(&header().to_string(), "{")),
        (
            "payload no UTF-8",
            format!("{h}.{}.{s}", encode(b"{\"a\":\"\xff\"}")),
        ),
        ("duplicate member", sign(&header().to_string(), &duplicate)),
        (
            "nested duplicate",
            sign(&header().to_string(), &nested_duplicate),
        ),
        ("duplicate in header", sign(&duplicate_header, &payload)),
        ("header a list", sign("[]", &payload)),
        (
            "over 8 KiB",
            with_claims(|claims| claims["pad"] = json!("x".repeat(8192))),
        ),
    ] {
        let refusal = UnverifiedDescriptor::parse(&token).err();
        assert!(matches!(refusal, Some(Refusal::Malformed { .. })), "{what}");
    }
}

/// The last character of 64 bytes carries four bits that must be zero.
fn stray_bits(signature: &str) -> String {
    let (head, last) = signature.split_at(signature.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let index = alphabet.find(last).unwrap();
    format!("{head}{}", &alphabet[index + 1..index + 2])
}

fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

#[wasm_bindgen_test(unsupported = test)]
fn claims_that_are_refused() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 42] = [
        ("exp missing", |c| {
            c.as_object_mut().unwrap().remove("exp");
        }),
        ("nbf missing", |c| {
            c.as_object_mut().unwrap().remove("nbf");
        }),
        ("iat missing", |c| {
            c.as_object_mut().unwrap().remove("iat");
        }),
        ("jti missing", |c| {
            c.as_object_mut().unwrap().remove("jti");
        }),
        ("jti empty", |c| c["jti"] = json!("")),
        ("exp a float", |c| c["exp"] = json!(1_800_000_060.5)),
        ("exp a whole float", |c| c["exp"] = json!(1_800_000_060.0)),
        ("exp a string", |c| c["exp"] = json!("1800000060")),
        ("exp negative", |c| c["exp"] = json!(-1)),
        ("nbf negative", |c| c["nbf"] = json!(i64::MIN)),
        ("dates huge", |c| {
            c["exp"] = json!(u64::MAX);
            c["iat"] = json!(u64::MAX - 60);
        }),
        ("nbf huge", |c| c["nbf"] = json!(u64::MAX)),
        ("lifetime 0", |c| c["exp"] = json!(NOW)),
        ("lifetime 121", |c| c["exp"] = json!(NOW + 121)),
        ("exp before iat", |c| c["exp"] = json!(NOW - 1)),
        ("two audiences", |c| {
            c["aud"] = json!([ENDPOINT, "https://x.example/"])
        }),
        ("no audience", |c| c["aud"] = json!([])),
        ("another transport", |c| {
            c["mcp"]["transport"] = json!("stdio")
        }),
        ("mcp a list", |c| {
            c["mcp"] = json!(["streamable_http", ENDPOINT, c["mcp"]["server"]])
        }),
        ("server a list", |c| {
            c["mcp"]["server"] = json!([SERVER, "1.2.0", true])
        }),
        ("verified a string", |c| {
            c["mcp"]["server"]["verified"] = json!("true")
        }),
        ("cnf of two", |c| {
            c["cnf"] = json!({ "jkt": "a", "x5t#S256": "b" })
        }),
        ("cnf unknown", |c| c["cnf"] = json!({ "jwk": {} })),
        ("cnf with a guest", |c| {
            c["cnf"] = json!({ "jkt": key().id(), "kid": "k" })
        }),
        ("cnf empty", |c| c["cnf"] = json!({})),
        ("cnf null", |c| c["cnf"] = json!(null)),
        ("cnf a string", |c| c["cnf"] = json!("jkt")),
        ("cnf a list", |c| c["cnf"] = json!(["jkt", key().id()])),
        ("jkt null", |c| c["cnf"] = json!({ "jkt": null })),
        ("jkt no thumbprint", |c| c["cnf"] = json!({ "jkt": "AAAA" })),
        ("jkt padded", |c| {
            c["cnf"] = json!({ "jkt": format!("{}=", key().id()) })
        }),
        ("x5t#S256 in hexadecimal", |c| {
            c["cnf"] = json!({ "x5t#S256": "00".repeat(32) })
        }),
        ("client_id null", |c| c["client_id"] = json!(null)),
        ("client_id empty", |c| c["client_id"] = json!("")),
        ("tenant_id null", |c| c["tenant_id"] = json!(null)),
        ("tenant_id a number", |c| c["tenant_id"] = json!(7)),
        ("jwks_uri null", |c| {
            c["mcp"]["server"]["jwks_uri"] = json!(null)
        }),
        ("transport an object", |c| {
            c["mcp"]["transport"] = json!({ "streamable_http": null })
        }),
        ("sub another's", |c| {
            c["sub"] = json!("server:com.example/other")
        }),
        ("nbf far in the past", |c| c["nbf"] = json!(0)),
        ("nbf 6 s before iat", |c| c["nbf"] = json!(NOW - 6)),
        ("nbf at exp", |c| c["nbf"] = json!(NOW + 60)),
    ];
    for (what, change) in cases {
        let refusal = check(&with_claims(change)).unwrap_err();
        assert!(
            matches!(refusal, Refusal::Malformed { .. }),
            "{what}: {refusal}"
        );
        assert_eq!(refusal.code(), RefusalCode::Invalid);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn one_audience_in_a_list_and_unknown_members_are_accepted() {
    assert!(check(&with_claims(|c| c["aud"] = json!([ENDPOINT]))).is_ok());
    assert!(check(&with_claims(|c| c["new"] = json!({ "a": [1] }))).is_ok());
    assert!(check(&with_claims(|c| c["mcp"]["new"] = json!(1))).is_ok());
}

#[wasm_bindgen_test(unsupported = test)]
fn another_servers_descriptor_is_the_wrong_audience() {
    for change in [
        |c: &mut Value| {
            c["aud"] = json!("https://mcp.example/mcp/");
            c["mcp"]["endpoint"] = json!("https://mcp.example/mcp/");
        },
        |c: &mut Value| c["mcp"]["endpoint"] = json!("https://other.example/mcp"),
        |c: &mut Value| c["aud"] = json!("https://other.example/mcp"),
        |c: &mut Value| {
            c["sub"] = json!("server:com.example/other");
            c["mcp"]["server"]["id"] = json!("com.example/other");
        },
    ] {
        let refusal = check(&with_claims(change)).unwrap_err();
        assert_eq!(refusal.code(), RefusalCode::WrongAudience, "{refusal}");
    }
}

/// Numbers that JSON's readers take for the same, or cut to fit.
#[wasm_bindgen_test(unsupported = test)]
fn dates_are_digits_alone() {
    let payload = claims().to_string();
    let exp = format!("\"exp\":{}", NOW + 60);
    assert!(payload.contains(&exp));
    for spelled in [
        "1800000060.0",
        "1.80000006e9",
        "180000006e1",
        "1800000060e0",
        "01800000060",
        "+1800000060",
        "0x6B49D23C",
        "-0",
        "18446744073709551616",
        "1800000060000000000000000000000000000000000000000",
        "1e999",
        "NaN",
        "true",
        "[1800000060]",
    ] {
        let payload = payload.replace(&exp, &format!("\"exp\":{spelled}"));
        let refusal = check(&sign(&header().to_string(), &payload)).unwrap_err();
        assert!(matches!(refusal, Refusal::Malformed { .. }), "{spelled}");
    }
    for (exp, is_good) in [(253_402_300_799_u64, true), (253_402_300_800, false)] {
        let token = with_claims(|c| {
            c["iat"] = json!(exp - 60);
            c["nbf"] = json!(exp - 60);
            c["exp"] = json!(exp);
        });
        let result = verify(&token, &keys(), &expected(), exp - 30);
        assert_eq!(result.is_ok(), is_good, "{exp}: {result:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_date_ahead_is_not_mended_by_an_nbf_before_it() {
    let token = with_claims(|c| {
        c["iat"] = json!(NOW + 6);
        c["nbf"] = json!(NOW + 1);
    });
    assert!(matches!(check(&token), Err(Refusal::NotYetValid { .. })));
}

/// What is refused whoever signed it costs no signature check: here, none could succeed.
#[wasm_bindgen_test(unsupported = test)]
fn what_needs_no_signature_to_be_refused_is_refused_before_it() {
    let nobody = KeySet::default();
    let early = |token: &str, now| verify(token, &nobody, &expected(), now).unwrap_err();
    assert_eq!(
        early(&with_claims(|c| c["iss"] = json!("https://x.example")), NOW),
        Refusal::WrongIssuer
    );
    let good = with_claims(|_| {});
    assert!(matches!(early(&good, NOW - 6), Refusal::NotYetValid { .. }));
    assert_eq!(early(&good, NOW + 500), Refusal::UnknownKey);
}

/// By the caller's token, whatever it is, nothing can be written into the operator's log.
#[wasm_bindgen_test(unsupported = test)]
fn reasons_carry_nothing_of_the_token() {
    const MARK: &str = "mark-of-the-caller";
    let payload = claims().to_string();
    let mut tokens = vec![
        MARK.to_owned(),
        format!("{MARK}.{MARK}.{MARK}"),
        sign(MARK, &payload),
        sign(&format!("{{\"{MARK}\":{MARK}"), &payload),
        sign(&header().to_string(), MARK),
        sign(
            &header().to_string(),
            &format!("{{\"{MARK}\":1,\"{MARK}\":2}}"),
        ),
        sign(&header().to_string(), &format!("{{\"iss\":\"{MARK}\"}}")),
    ];
    for member in ["alg", "typ", "kid", "crit", "jku"] {
        tokens.push(with_header(member, json!(MARK)));
        tokens.push(with_header(member, json!([MARK])));
        tokens.push(with_header(member, json!(MARK.repeat(20))));
    }
    for name in claims().as_object().unwrap().keys() {
        for value in [json!(MARK), json!([MARK]), json!({ MARK: MARK })] {
            tokens.push(with_claims(|c| c[name] = value));
        }
    }
    for name in ["transport", "endpoint", "server"] {
        for value in [json!(MARK), json!({ MARK: MARK })] {
            tokens.push(with_claims(|c| c["mcp"][name] = value));
        }
    }
    tokens.push(with_claims(|c| {
        c["mcp"]["server"]["id"] = json!(MARK);
        c["sub"] = json!(format!("server:{MARK}"));
    }));
    tokens.push(with_claims(|c| {
        c["mcp"]["endpoint"] = json!(MARK);
        c["aud"] = json!(MARK);
    }));
    let mut refused = 0;
    for token in &tokens {
        if let Err(refusal) = check(token) {
            let told = format!("{refusal} {refusal:?} {}", refusal.code());
            assert!(!told.contains("mark"), "{told}");
            refused += 1;
        }
    }
    assert!(refused > 55, "{refused} of {}", tokens.len());
}

/// The public key is public: a MAC with it, in whatever form a library may take it, says nothing.
#[wasm_bindgen_test(unsupported = test)]
fn a_mac_with_the_public_key_is_no_signature() {
    let x = public_jwk(&key())["x"].as_str().unwrap().to_owned();
    let raw = Base64UrlUnpadded::decode_vec(&x).unwrap();
    let der = [hex("302a300506032b6570032100").as_slice(), &raw].concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64ct::Base64::encode_string(&der)
    );
    let forms = [
        raw,
        x.into_bytes(),
        der,
        pem.clone().into_bytes(),
        pem.trim_end().as_bytes().to_vec(),
        public_jwk(&key()).to_string().into_bytes(),
        key().to_public_jwk().to_string().into_bytes(),
        Vec::new(),
    ];
    let payload = claims().to_string();
    for secret in &forms {
        for alg in ["HS256", "HS384", "HS512", "EdDSA", "Ed25519", "none"] {
            let header = json!({ "alg": alg, "typ": "mcp-connect+jwt", "kid": key().id() });
            let signed = format!(
                "{}.{}",
                encode(header.to_string().as_bytes()),
                encode(payload.as_bytes())
            );
            for mac in [hmac_sha256(secret, &signed), hmac_sha512(secret, &signed)] {
                let refusal = check(&format!("{signed}.{}", encode(&mac))).unwrap_err();
                assert_eq!(refusal.code(), RefusalCode::Invalid, "{alg}");
                let is_named_so = matches!(alg, "EdDSA" | "Ed25519");
                assert_eq!(
                    refusal == Refusal::BadSignature,
                    is_named_so && mac.len() == 64,
                    "{alg}: {refusal}"
                );
            }
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn hmac_sha256(secret: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hmac_sha512(secret: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<sha2::Sha512>::new_from_slice(secret).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[wasm_bindgen_test(unsupported = test)]
fn another_issuer_is_refused_as_an_exact_string() {
    for issuer in [
        "https://authority.example/",
        "https://AUTHORITY.example",
        "authority.example",
    ] {
        let token = with_claims(|c| c["iss"] = json!(issuer));
        assert_eq!(check(&token), Err(Refusal::WrongIssuer));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn time_bounds_are_exact() {
    let token = descriptor().mint(&key()).unwrap();
    let at = |now, leeway| verify(&token, &keys(), &expected().leeway(leeway), now);
    assert!(at(NOW, 0).is_ok());
    assert!(at(NOW + 59, 0).is_ok());
    assert_eq!(at(NOW + 60, 0).unwrap_err().code(), RefusalCode::Expired);
    assert!(at(NOW + 64, 5).is_ok());
    assert_eq!(at(NOW + 65, 5).unwrap_err().code(), RefusalCode::Expired);
    assert!(at(NOW + 65, 3600).is_err(), "leeway is capped at 5 s");
    assert!(at(NOW - 5, 5).is_ok());
    assert_eq!(at(NOW - 6, 5).unwrap_err().code(), RefusalCode::Invalid);
    assert_eq!(at(NOW - 1, 0).unwrap_err().code(), RefusalCode::Invalid);
}

#[wasm_bindgen_test(unsupported = test)]
fn expiry_is_told_only_of_an_otherwise_good_descriptor() {
    let late = |token: &str| {
        verify(token, &keys(), &expected(), NOW + 500)
            .unwrap_err()
            .code()
    };
    assert_eq!(late(&with_claims(|_| {})), RefusalCode::Expired);
    assert_eq!(
        late(&with_claims(|c| c["iss"] = json!("x"))),
        RefusalCode::Invalid
    );
    let other = SigningKey::from_seed(&[8; 32]);
    assert_eq!(
        late(&descriptor().mint(&other).unwrap()),
        RefusalCode::Invalid
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn a_key_is_found_by_id_only_and_must_have_signed() {
    let other = SigningKey::from_seed(&[8; 32]);
    assert_eq!(
        check(&descriptor().mint(&other).unwrap()),
        Err(Refusal::UnknownKey)
    );

    let mut jwk = public_jwk(&other);
    jwk["kid"] = json!(key().id());
    let swapped = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
    let token = descriptor().mint(&key()).unwrap();
    assert_eq!(
        verify(&token, &swapped, &expected(), NOW),
        Err(Refusal::BadSignature)
    );
    assert_eq!(
        verify(&token, &KeySet::default(), &expected(), NOW),
        Err(Refusal::UnknownKey)
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn every_flipped_bit_is_refused() {
    let token = descriptor().mint(&key()).unwrap().into_bytes();
    for index in 0..token.len() {
        for bit in 0..8 {
            let mut flipped = token.clone();
            flipped[index] ^= 1 << bit;
            if let Ok(flipped) = std::str::from_utf8(&flipped) {
                assert!(check(flipped).is_err(), "byte {index}, bit {bit}");
            }
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_no_verifier_would_accept_is_not_minted() {
    for expires_at in [NOW - 1, NOW, NOW + 121] {
        let descriptor = Descriptor {
            expires_at,
            ..descriptor()
        };
        assert!(matches!(descriptor.mint(&key()), Err(MintError::Claims(_))));
    }
    let long = Descriptor {
        jti: "j".repeat(9000),
        ..descriptor()
    };
    assert_eq!(long.mint(&key()), Err(MintError::TooLarge));
}

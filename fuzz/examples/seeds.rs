//! Writes the seeds, the same every time: `cargo run --example seeds` in this folder.

use std::{fs, path::Path};

use mcp_connect_descriptor::{
    FEED_TYPE, MAX_PROOF_AGE_SECONDS, PROOF_TYPE, RevocationFeed, TOKEN_TYPE,
};
use mcp_connect_fuzz::{
    AUDIENCE, Authority, LEEWAY, NOW, Signer, decode, descriptor, encode, feed, sha256,
};
use serde_json::{Value, json};

fn main() {
    let authority = Authority::new();
    let [ed25519, p256] = &authority.signers;
    let full = {
        let mut full = descriptor();
        full.server.jwks_uri = Some("https://mcp.example/jwks.json".into());
        full.server.tls_pin_sha256 = Some("y6d8".into());
        full
    };

    for (name, signer) in [("ed25519", ed25519), ("p256", p256)] {
        let token = descriptor().mint(&signer.key).unwrap();
        write("token", name, token.as_bytes());
        write("token_signed", name, &opened(&token));
        let feed = sealed(&feed(), signer);
        write("feed", name, &opened(&feed));
        write("token", &format!("{name}_feed"), feed.as_bytes());
    }
    let full = full.mint(&ed25519.key).unwrap();
    write("token_signed", "full", &opened(&full));
    let [_, payload] = parts(&full);
    let thumbprint = ed25519.key.id();
    for (name, cnf) in [
        ("jkt", json!({ "jkt": thumbprint })),
        ("x5t", json!({ "x5t#S256": thumbprint })),
    ] {
        let mut claims: Value = serde_json::from_slice(&payload).unwrap();
        claims["cnf"] = cnf;
        claims["aud"] = json!([claims["aud"]]);
        let header = header(ed25519, "Ed25519", TOKEN_TYPE);
        write("token_signed", name, &lines(&header, &claims));
    }
    for (name, [iat, nbf, exp]) in boundaries() {
        let mut claims: Value = serde_json::from_slice(&payload).unwrap();
        (claims["iat"], claims["nbf"], claims["exp"]) = (iat.into(), nbf.into(), exp.into());
        let of_token = header(ed25519, "EdDSA", TOKEN_TYPE);
        write("token_signed", name, &lines(&of_token, &claims));
        let mut claims = serde_json::to_value(feed()).unwrap();
        (claims["iat"], claims["exp"]) = (iat.into(), exp.into());
        let of_feed = header(ed25519, "EdDSA", FEED_TYPE);
        write("feed", name, &lines(&of_feed, &claims));
    }
    let empty = json!({
        "iss": feed().issuer, "iat": feed().issued_at, "exp": feed().expires_at,
        "window_seconds": 160,
        "servers": [], "versions": [], "tenants": [], "clients": [], "keys": [], "jtis": [],
    });
    let header = header(p256, "ES256", FEED_TYPE);
    write("feed", "empty", &lines(&header, &empty));

    for (name, edits) in [
        ("edit_put_in", b"-\x00\x00\x10A"),
        ("edit_replaced", b"=\x01\x01\x00A"),
        ("edit_left_out", b"-\x02\x00\x90 "),
        ("edit_appended", b"-\x03\x00\x00A"),
    ] {
        write("token", name, edits);
    }

    for (name, key, alg) in [("ed25519", "$ED25519", "EdDSA"), ("p256", "$P256", "ES256")] {
        write("proof", name, &proof(key, alg, NOW - 1));
    }
    for (name, issued_at) in [
        ("newest", NOW + LEEWAY),
        ("too_new", NOW + LEEWAY + 1),
        ("oldest", NOW - MAX_PROOF_AGE_SECONDS),
        ("too_old", NOW - MAX_PROOF_AGE_SECONDS - 1),
    ] {
        write("proof", name, &proof("$ED25519", "Ed25519", issued_at));
    }
    write(
        "proof",
        "uri",
        b"\nHTTPS://MCP.Example:443/a/%2e%2E/%6d%63p?a=b#c",
    );

    let both = json!({ "keys": [ed25519.published(), p256.published()] });
    write("key_set", "both", both.to_string().as_bytes());
    write("key_set", "none", br#"{"keys":[]}"#);
    let others = json!({ "keys": [
        { "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "rsa", "use": "sig" },
        { "kty": "EC", "crv": "P-384", "x": "", "y": "", "kid": "p384" },
        { "kty": "OKP", "crv": "X25519", "x": "", "kid": "x", "use": "enc" },
        { "kty": "OKP", "crv": "Ed25519", "x": ed25519.published()["x"], "kid": "k",
          "key_ops": ["verify"], "alg": "Ed25519" },
    ] });
    write("key_set", "others", others.to_string().as_bytes());

    write(
        "json",
        "nested",
        br#"{"a":{"a":[{"b":null},{"b":-1.5e3}]},"\u0061b":"\"\\","c":true}"#,
    );
    write("json", "duplicate", br#"{"x":[{"a":1,"\u0061":2}]}"#);
    write("json", "claims", &payload);
}

/// Dates at, and just beyond, what is good.
fn boundaries() -> [(&'static str, [u64; 3]); 6] {
    [
        ("newest", [NOW + LEEWAY, NOW + LEEWAY, NOW + 60]),
        ("too_new", [NOW + LEEWAY + 1, NOW + LEEWAY + 1, NOW + 60]),
        ("oldest", [NOW - 60, NOW - 60, NOW - LEEWAY + 1]),
        ("too_old", [NOW - 60, NOW - 60, NOW - LEEWAY]),
        ("longest", [NOW - 60, NOW - 60 - LEEWAY, NOW + 60]),
        ("too_long", [NOW - 60, NOW - 60 - LEEWAY - 1, NOW + 61]),
    ]
}

fn proof(key: &str, alg: &str, issued_at: u64) -> Vec<u8> {
    let header = format!(r#"{{"alg":"{alg}","jwk":{key},"typ":"{PROOF_TYPE}"}}"#);
    let claims = json!({
        "ath": encode(&sha256(b"a.descriptor.here")), "htm": "POST", "htu": AUDIENCE,
        "iat": issued_at, "jti": "q3VYb2h1S2FmT0l5dUtQZA",
    });
    format!("{header}\n{claims}").into_bytes()
}

fn header(signer: &Signer, alg: &str, token_type: &str) -> Value {
    json!({ "alg": alg, "kid": signer.key.id(), "typ": token_type })
}

fn sealed(feed: &RevocationFeed, signer: &Signer) -> String {
    let unsigned = feed.to_unsigned(&signer.key).unwrap();
    unsigned.with_signature(&signer.sign(unsigned.as_bytes()))
}

/// Header and payload of a token.
fn parts(token: &str) -> [Vec<u8>; 2] {
    let mut parts = token.split('.').map(|part| decode(part).unwrap());
    [parts.next().unwrap(), parts.next().unwrap()]
}

/// The form of an input that a target signs itself.
fn opened(token: &str) -> Vec<u8> {
    parts(token).join(&b'\n')
}

fn lines(header: &Value, payload: &Value) -> Vec<u8> {
    format!("{header}\n{payload}").into_bytes()
}

fn write(target: &str, name: &str, input: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), input).unwrap();
}

//! What checking a descriptor costs that was never seen before: this crate, the libraries that
//! servers know, and the signature alone, by each of three backends.
//! `cargo bench -p mcp-connect-descriptor`
//!
//! All of them check the same token for the same things: algorithm, `typ`, signature, issuer,
//! audience, `exp`, `nbf`, the longest lifetime; and all of them read the same claims. What a library
//! has no setting for is checked after it. None of the others refuses duplicate members, and they are
//! handed their key, where this crate looks it up by `kid`.

#![expect(clippy::unwrap_used, reason = "over constants")]

use std::{
    collections::HashSet,
    hint::black_box,
    time::{Duration, Instant},
};

use aws_lc_rs::signature as aws_lc;
use criterion::Criterion;
use ed25519_dalek::Verifier as _;
use jwt_compact::{AlgorithmExt as _, TimeOptions, UntrustedToken, alg::Ed25519};
use jwt_simple::prelude::{Ed25519PublicKey, EdDSAPublicKeyLike as _, VerificationOptions};
use mcp_connect_descriptor::{
    Descriptor, Expected, KeySet, KeyStatus, ServerIdentity, SigningKey, TOKEN_TYPE, verify,
};
use ring::signature as ring;
use serde::Deserialize;

const ISSUER: &str = "https://authority.example";
const SERVER: &str = "com.example/weather";
const ENDPOINT: &str = "https://mcp.example/mcp";
const LIFETIME: u64 = 120;

type Contender = (&'static str, Box<dyn Fn()>);

fn main() {
    let contenders = contenders();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for (name, check) in &contenders {
        criterion.bench_function(name, |bencher| bencher.iter(check));
    }
    criterion.final_summary();
    if !std::env::args().any(|argument| argument == "--test") {
        compare(&contenders);
    }
}

/// All of them in turns, so that what else the machine does falls on all of them alike; and the
/// lowest decile of their times, which is what they cost where it does nothing else.
fn compare(contenders: &[Contender]) {
    const ROUNDS: usize = 600;
    const CHECKS: u32 = 20;
    let mut times = vec![Vec::with_capacity(ROUNDS); contenders.len()];
    for _ in 0..ROUNDS {
        for ((_, check), times) in contenders.iter().zip(&mut times) {
            let begun = Instant::now();
            for _ in 0..CHECKS {
                check();
            }
            times.push(begun.elapsed() / CHECKS);
        }
    }
    let decile = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times.get(ROUNDS / 10).unwrap().as_secs_f64() * 1e6
    };
    let times: Vec<f64> = times.into_iter().map(decile).collect();
    let bare = times.first().unwrap();
    println!("\n| check | time | to the bare check |\n|---|---|---|");
    for ((name, _), time) in contenders.iter().zip(&times) {
        println!("| {name} | {time:.1} µs | {:.2} |", time / bare);
    }
}

fn contenders() -> Vec<Contender> {
    let key = SigningKey::from_seed(&[7; 32]);
    // jsonwebtoken has no clock but the machine's.
    let issued_at = jsonwebtoken::get_current_timestamp();
    let token = descriptor(issued_at).mint(&key).unwrap();
    let public = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
    let mut contenders = bare_checks(&token, &public);
    contenders.extend([
        (
            "mcp-connect-descriptor",
            ours(token.clone(), &key, issued_at + 1),
        ),
        (
            "jsonwebtoken (aws-lc-rs)",
            json_web_token(token.clone(), &key),
        ),
        (
            "jwt-simple (pure-rust)",
            jwt_simple(token.clone(), &public, issued_at + 1),
        ),
        (
            "jwt-compact (ed25519-dalek)",
            jwt_compact(token, public, issued_at + 1),
        ),
    ]);
    contenders
}

fn descriptor(issued_at: u64) -> Descriptor {
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
        issued_at,
        not_before: issued_at,
        expires_at: issued_at + LIFETIME,
        jti: "q3VYb2h1S2FmT0l5dUtQZA".into(),
        client_id: Some("desktop".into()),
        tenant_id: Some("acme".into()),
        confirmation: None,
    }
}

fn bare_checks(token: &str, public: &ed25519_dalek::VerifyingKey) -> Vec<Contender> {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = {
        use base64ct::{Base64UrlUnpadded, Encoding};
        let bytes = Base64UrlUnpadded::decode_vec(signature).unwrap();
        <[u8; 64]>::try_from(bytes).unwrap()
    };
    let (public, raw) = (*public, public.to_bytes());
    let of_ring = ring::UnparsedPublicKey::new(&ring::ED25519, raw);
    let of_aws_lc = aws_lc::ParsedPublicKey::new(&aws_lc::ED25519, raw).unwrap();
    let of_dalek = ed25519_dalek::Signature::from_bytes(&signature);
    let message = || black_box(signed.as_bytes().to_vec());
    let messages = [message(), message(), message(), message()];
    let [strict, plain, for_ring, for_aws_lc] = messages;
    vec![
        (
            "bare: ed25519-dalek, verify_strict",
            Box::new(move || public.verify_strict(&strict, &of_dalek).unwrap()),
        ),
        (
            "bare: ed25519-dalek, verify",
            Box::new(move || public.verify(&plain, &of_dalek).unwrap()),
        ),
        (
            "bare: ring",
            Box::new(move || of_ring.verify(&for_ring, &signature).unwrap()),
        ),
        (
            "bare: aws-lc-rs",
            Box::new(move || of_aws_lc.verify_sig(&for_aws_lc, &signature).unwrap()),
        ),
    ]
}

fn ours(token: String, key: &SigningKey, now: u64) -> Box<dyn Fn()> {
    let mut jwk = key.to_private_jwk(KeyStatus::Active);
    jwk.as_object_mut().unwrap().remove("d");
    let set = serde_json::json!({ "keys": [jwk] }).to_string();
    let keys = KeySet::parse(set.as_bytes()).unwrap();
    Box::new(move || {
        let expected = Expected::new(ISSUER, SERVER).audience(ENDPOINT);
        black_box(verify(black_box(&token), &keys, &expected, now).unwrap());
    })
}

#[derive(Deserialize)]
struct Mcp {
    transport: String,
    endpoint: String,
    server: ServerIdentity,
}

impl Mcp {
    /// What no library has a setting for.
    fn check(&self, subject: &str) {
        assert!(self.transport == "streamable_http" && self.endpoint == ENDPOINT);
        assert!(self.server.id == SERVER && subject.strip_prefix("server:") == Some(SERVER));
    }
}

fn json_web_token(token: String, key: &SigningKey) -> Box<dyn Fn()> {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read, as ours reads them")]
    struct Claims {
        iss: String,
        aud: String,
        sub: String,
        iat: u64,
        nbf: u64,
        exp: u64,
        jti: String,
        client_id: Option<String>,
        tenant_id: Option<String>,
        mcp: Mcp,
    }

    let jwk = key.to_public_jwk();
    let key = DecodingKey::from_ed_components(jwk.get("x").unwrap().as_str().unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[ENDPOINT]);
    validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    validation.validate_nbf = true;
    // The bench runs for longer than the token lives.
    validation.leeway = 3600;
    Box::new(move || {
        let decoded = decode::<Claims>(black_box(&token), &key, &validation).unwrap();
        assert_eq!(decoded.header.typ.as_deref(), Some(TOKEN_TYPE));
        assert!(decoded.claims.exp - decoded.claims.iat <= LIFETIME);
        decoded.claims.mcp.check(&decoded.claims.sub);
        black_box(decoded);
    })
}

fn jwt_simple(token: String, public: &ed25519_dalek::VerifyingKey, now: u64) -> Box<dyn Fn()> {
    use jwt_simple::prelude::{Duration, UnixTimeStamp};

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read, as ours reads them")]
    struct Claims {
        client_id: Option<String>,
        tenant_id: Option<String>,
        mcp: Mcp,
    }

    let key = Ed25519PublicKey::from_bytes(public.as_bytes()).unwrap();
    let options = VerificationOptions {
        allowed_issuers: Some(HashSet::from([ISSUER.to_owned()])),
        allowed_audiences: Some(HashSet::from([ENDPOINT.to_owned()])),
        required_signature_type: Some(TOKEN_TYPE.to_owned()),
        time_tolerance: Some(Duration::from_secs(5)),
        max_validity: Some(Duration::from_secs(LIFETIME)),
        artificial_time: Some(UnixTimeStamp::from_secs(now)),
        ..VerificationOptions::default()
    };
    Box::new(move || {
        let claims = key
            .verify_token::<Claims>(black_box(&token), Some(options.clone()))
            .unwrap();
        claims.custom.mcp.check(claims.subject.as_deref().unwrap());
        black_box(claims);
    })
}

fn jwt_compact(token: String, public: ed25519_dalek::VerifyingKey, now: u64) -> Box<dyn Fn()> {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read, as ours reads them")]
    struct Claims {
        iss: String,
        aud: String,
        sub: String,
        jti: String,
        client_id: Option<String>,
        tenant_id: Option<String>,
        mcp: Mcp,
    }

    let now = chrono::DateTime::from_timestamp(i64::try_from(now).unwrap(), 0).unwrap();
    let times = TimeOptions::new(chrono::Duration::seconds(5), move || now);
    Box::new(move || {
        let untrusted = UntrustedToken::new(black_box(&token)).unwrap();
        let token_type = untrusted.header().token_type.as_deref();
        assert_eq!(token_type, Some(TOKEN_TYPE));
        let verified = Ed25519
            .validator::<Claims>(&public)
            .validate(&untrusted)
            .unwrap();
        let claims = verified.claims();
        claims.validate_expiration(&times).unwrap();
        claims.validate_maturity(&times).unwrap();
        let lifetime = claims.expiration.unwrap() - claims.issued_at.unwrap();
        assert!(lifetime.num_seconds() <= i64::try_from(LIFETIME).unwrap());
        assert!(claims.custom.iss == ISSUER && claims.custom.aud == ENDPOINT);
        claims.custom.mcp.check(&claims.custom.sub);
        black_box(verified);
    })
}

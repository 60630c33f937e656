//! What it costs to check a descriptor: for the first time (cold), and again (warm).
//!
//! `cargo bench -p mcp-connect-verifier --bench warm`
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use std::{
    future::ready,
    hint::black_box,
    pin::pin,
    sync::Barrier,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{Router, routing::get};
use criterion::{Criterion, criterion_group, criterion_main};
use mcp_connect_descriptor::{Descriptor, KeyStatus, ServerIdentity, SigningKey};
use mcp_connect_verifier::{Verified, Verifier};
use tokio::{net::TcpListener, runtime::Runtime};

const AUDIENCE: &str = "https://mcp.example/mcp";
const SERVER_ID: &str = "com.example/weather";
const TOKENS: usize = 5000;

fn benchmarks(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let key = SigningKey::from_seed(&[1; 32]);
    let issuer = runtime.block_on(authority(&key));
    // They live for two minutes: renewed before each measurement.
    let tokens = || -> Vec<String> { (0..TOKENS).map(|jti| token(&issuer, &key, jti)).collect() };

    let cold = verifier(&runtime, &issuer, 0);
    let fresh = tokens();
    println!("a token has {} bytes", fresh.first().unwrap().len());
    criterion.bench_function("cold", |bencher| {
        bencher.iter(|| check(&cold, black_box(fresh.first().unwrap())));
    });

    let warm = verifier(&runtime, &issuer, 2 * TOKENS);
    let fresh = tokens();
    for token in &fresh {
        check(&warm, token);
    }
    criterion.bench_function("warm, one descriptor", |bencher| {
        bencher.iter(|| check(&warm, black_box(fresh.first().unwrap())));
    });
    criterion.bench_function("warm, 5000 descriptors in turn", |bencher| {
        let mut turn = fresh.iter().cycle();
        bencher.iter(|| check(&warm, black_box(turn.next().unwrap())));
    });
    let fresh = tokens();
    for threads in [2, 8] {
        criterion.bench_function(&format!("warm, {threads} threads at once"), |bencher| {
            bencher.iter_custom(|rounds| in_parallel(threads, rounds, &warm, &fresh));
        });
    }
}

/// The time of so many rounds in each thread, all at once.
fn in_parallel(threads: usize, rounds: u64, verifier: &Verifier, tokens: &[String]) -> Duration {
    let barrier = Barrier::new(threads + 1);
    thread::scope(|scope| {
        for number in 0..threads {
            let (barrier, mut turn) = (&barrier, tokens.iter().cycle().skip(number * 7));
            scope.spawn(move || {
                barrier.wait();
                for _ in 0..rounds {
                    check(verifier, black_box(turn.next().unwrap()));
                }
                barrier.wait();
            });
        }
        barrier.wait();
        let start = Instant::now();
        barrier.wait();
        start.elapsed()
    })
}

/// All that is known already: nothing to wait for.
fn check(verifier: &Verifier, token: &str) -> Verified {
    let verification = pin!(verifier.verify(token));
    match verification.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(checked) => checked.unwrap(),
        Poll::Pending => panic!("waits"),
    }
}

fn verifier(runtime: &Runtime, issuer: &str, max_tokens: usize) -> Verifier {
    runtime.block_on(async {
        let verifier = Verifier::builder(issuer, AUDIENCE, SERVER_ID)
            .revocation_feed("off")
            .max_tokens(max_tokens)
            .build()
            .unwrap();
        while !verifier.status().keys.usable {
            tokio::task::yield_now().await;
        }
        verifier
    })
}

fn token(issuer: &str, key: &SigningKey, jti: usize) -> String {
    let descriptor = Descriptor {
        issuer: issuer.into(),
        endpoint: AUDIENCE.into(),
        server: ServerIdentity {
            id: SERVER_ID.into(),
            version: "1.0.0".into(),
            verified: true,
            jwks_uri: None,
            tls_pin_sha256: None,
        },
        issued_at: now(),
        not_before: now(),
        expires_at: now() + 120,
        jti: format!("{jti:022}"),
        client_id: Some("desktop".into()),
        tenant_id: Some("acme".into()),
        confirmation: None,
    };
    descriptor.mint(key).unwrap()
}

async fn authority(key: &SigningKey) -> String {
    let mut jwk = key.to_private_jwk(KeyStatus::Active);
    jwk.as_object_mut().unwrap().remove("d");
    let set = serde_json::json!({ "keys": [jwk] }).to_string();
    let app = Router::new().route("/.well-known/jwks.json", get(move || ready(set)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

#[expect(clippy::disallowed_methods, reason = "a benchmark runs now")]
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

criterion_group!(all, benchmarks);
criterion_main!(all);

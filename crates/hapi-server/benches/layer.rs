//! The reference server's tool `add`, with the verifier's layer and without: `cargo bench -p
//! hapi-server`. Both are in one process, on loopback, and take turns; the load shares their machine.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    dead_code,
    reason = "a bench, of a part of the server"
)]

#[path = "../src/tools.rs"]
mod tools;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{Json, Router, routing::get};
use mcp_connect_descriptor::{Descriptor, KeyStatus, ServerIdentity, SigningKey};
use mcp_connect_verifier::{ConnectLayer, Verifier};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

const SERVER_ID: &str = "com.example/hapi";
const ENDPOINT: &str = "https://hapi.example/mcp";
const CALLERS: usize = 16;
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(700);
const AT_LEAST: f64 = 0.97;

#[tokio::main]
async fn main() {
    let key = SigningKey::from_seed(&[1; 32]);
    let mut jwk = key.to_private_jwk(KeyStatus::Active);
    jwk.as_object_mut().unwrap().remove("d");
    let keys = json!({ "keys": [jwk] });
    let published = get(async move || Json(keys));
    let issuer = serve(Router::new().route("/.well-known/jwks.json", published)).await;

    let verifier = Verifier::builder(&issuer, ENDPOINT, SERVER_ID)
        .revocation_feed("off")
        .build()
        .unwrap();
    let with = serve(router().route_layer(ConnectLayer::new(verifier))).await;
    let without = serve(router()).await;

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut shares = Vec::new();
    for round in 0..=ROUNDS {
        let token = token(&key, &issuer);
        let mut calls = [0; 2];
        // Whoever comes second finds the machine in another state: each is once.
        for which in [0, 1, 1, 0] {
            calls[which] += load(&client, [&with, &without][which], &token).await;
        }
        // The first warms up.
        if round > 0 {
            shares.push(f64::from(calls[0]) / f64::from(calls[1]));
        }
    }
    shares.sort_unstable_by(f64::total_cmp);
    let at = |quarter: usize| shares[(shares.len() - 1) * quarter / 4];
    println!(
        "throughput with the layer / without   {:.3} (half of the rounds within {:.2} to {:.2}); \
         the target is at least {AT_LEAST}: {}",
        at(2),
        at(1),
        at(3),
        if at(2) >= AT_LEAST { "met" } else { "missed" },
    );
}

fn router() -> Router {
    let service = StreamableHttpService::new(
        || Ok(tools::Tools::new(SERVER_ID)),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    Router::new().route_service("/mcp", service)
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[expect(clippy::disallowed_methods, reason = "a bench has a clock")]
fn token(key: &SigningKey, issuer: &str) -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = since_epoch.as_secs();
    Descriptor {
        issuer: issuer.into(),
        endpoint: ENDPOINT.into(),
        server: ServerIdentity {
            id: SERVER_ID.into(),
            version: "1.0.0".into(),
            verified: true,
            jwks_uri: None,
            tls_pin_sha256: None,
        },
        issued_at: now,
        not_before: now,
        expires_at: now + 60,
        jti: "bench".into(),
        client_id: Some("desktop".into()),
        tenant_id: Some("acme".into()),
        confirmation: None,
    }
    .mint(key)
    .unwrap()
}

/// How many calls were answered.
async fn load(client: &reqwest::Client, origin: &str, token: &str) -> u32 {
    let until = Instant::now() + ROUND;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (client, url, token) = (client.clone(), format!("{origin}/mcp"), token.to_owned());
        callers.spawn(async move {
            let call = call();
            let mut calls = 0;
            while Instant::now() < until {
                let request = client
                    .post(&url)
                    .header("accept", "application/json, text/event-stream")
                    .header("mcp-connect", &token)
                    .header("mcp-protocol-version", "2026-07-28")
                    .header("mcp-method", "tools/call")
                    .header("mcp-name", "add")
                    .json(&call);
                let answer = request.send().await.unwrap().error_for_status().unwrap();
                assert!(answer.text().await.unwrap().contains("42"));
                calls += 1;
            }
            calls
        });
    }
    callers.join_all().await.into_iter().sum()
}

/// As MCP 2026-07-28 wants it: everything in one request, no session.
fn call() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "add",
            "arguments": { "a": 2, "b": 40 },
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": { "name": "bench", "version": "1" },
            },
        },
    })
}

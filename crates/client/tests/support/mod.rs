//! An authority on loopback that really signs, and does what a test tells it.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use mcp_connect_client::Authority;
use mcp_connect_descriptor::{
    Confirmation, Descriptor, KeySet, ProofContext, ServerIdentity, SigningKey, SigningKeys,
    TargetUri, UnverifiedProof,
};
use serde_json::{Value, json};

pub(crate) const SERVER_ID: &str = "com.example/weather";
pub(crate) const API_KEY: &str = "mcpk_0123456789abcdef_secret";

/// Status, headers and body.
pub(crate) type Refusal = (u16, Vec<(&'static str, String)>, Value);

/// What descriptors are bound to.
pub(crate) enum Bound {
    /// To the key of the proof, where one came.
    AsProven,
    To(Option<Confirmation>),
}

/// What the authority does. Tests change it while it runs.
pub(crate) struct Script {
    pub(crate) issuer: String,
    pub(crate) metadata: Value,
    pub(crate) signed_by: u8,
    pub(crate) published: Vec<u8>,
    pub(crate) lifetime: u64,
    /// By how many seconds the authority's clock is ahead of this machine's.
    pub(crate) ahead: i64,
    /// Whether it says how long a descriptor is good, and what time it is.
    pub(crate) says_life: bool,
    pub(crate) endpoint: String,
    pub(crate) answered_endpoint: Option<String>,
    pub(crate) server_id: String,
    pub(crate) version: String,
    pub(crate) verified: bool,
    pub(crate) padding: usize,
    pub(crate) bound: Bound,
    pub(crate) refuse: Option<Refusal>,
    pub(crate) connects: u32,
    pub(crate) key_fetches: u32,
    pub(crate) requests: Vec<(String, Option<String>)>,
}

impl Script {
    pub(crate) fn refuse_with(&mut self, status: u16, code: &str) {
        let problem = json!({"type": "about:blank", "title": "No", "status": status, "code": code,
            "detail": format!("because of {code}")});
        self.refuse = Some((status, Vec::new(), problem));
    }

    /// What the authority takes for the time.
    fn now(&self) -> u64 {
        unix_now().saturating_add_signed(self.ahead)
    }

    fn descriptor(&self) -> Descriptor {
        let now = self.now();
        Descriptor {
            issuer: self.issuer.clone(),
            endpoint: self.endpoint.clone(),
            server: ServerIdentity {
                id: self.server_id.clone(),
                version: self.version.clone(),
                verified: self.verified,
                jwks_uri: None,
                tls_pin_sha256: None,
            },
            issued_at: now,
            not_before: now,
            expires_at: now + self.lifetime,
            jti: format!("jti-{}", self.connects),
            client_id: Some("desktop".into()),
            tenant_id: None,
            confirmation: None,
        }
    }
}

#[derive(Clone)]
pub(crate) struct TestAuthority {
    pub(crate) url: String,
    script: Arc<Mutex<Script>>,
}

impl TestAuthority {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let authority = Self {
            script: Arc::new(Mutex::new(Script {
                issuer: url.clone(),
                metadata: json!({
                    "issuer": url,
                    "connect_endpoint": format!("{url}/v1/connect"),
                    "servers_endpoint": format!("{url}/v1/servers"),
                    "jwks_uri": format!("{url}/.well-known/jwks.json"),
                }),
                signed_by: 1,
                published: vec![1],
                lifetime: 60,
                ahead: 0,
                says_life: true,
                endpoint: "https://weather.example/mcp".into(),
                answered_endpoint: None,
                server_id: SERVER_ID.into(),
                version: "1.2.0".into(),
                verified: true,
                padding: 0,
                bound: Bound::AsProven,
                refuse: None,
                connects: 0,
                key_fetches: 0,
                requests: Vec::new(),
            })),
            url,
        };
        let router = Router::new()
            .route("/.well-known/mcp-connect-authority", get(metadata))
            .route("/.well-known/jwks.json", get(keys))
            .route("/v1/connect", post(connect))
            .route("/v1/servers", get(search))
            .fallback(other)
            .with_state(authority.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        authority
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub(crate) fn client(&self) -> Authority {
        Authority::new(&self.url)
            .unwrap()
            .with_credential(API_KEY)
            .unwrap()
    }

    pub(crate) fn connects(&self) -> u32 {
        self.script().connects
    }
}

#[expect(clippy::disallowed_methods, reason = "tests run now")]
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

pub(crate) fn key_set(seeds: &[u8]) -> KeySet {
    let keys: Vec<Value> = seeds
        .iter()
        .map(|&seed| {
            let mut jwk = SigningKey::from_seed(&[seed; 32])
                .to_private_jwk(mcp_connect_descriptor::KeyStatus::Retired);
            if seed == seeds[0] {
                jwk["status"] = "active".into();
            }
            jwk
        })
        .collect();
    SigningKeys::parse(&json!({ "keys": keys }).to_string())
        .unwrap()
        .public()
}

async fn metadata(State(authority): State<TestAuthority>) -> Response {
    let script = authority.script();
    dated(Json(script.metadata.clone()).into_response(), script.now())
}

fn dated(mut response: Response, now: u64) -> Response {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now));
    let headers = response.headers_mut();
    headers.insert(header::DATE, date.parse().unwrap());
    response
}

async fn keys(State(authority): State<TestAuthority>) -> Json<Value> {
    let mut script = authority.script();
    script.key_fetches += 1;
    Json(key_set(&script.published).to_json())
}

async fn connect(
    State(authority): State<TestAuthority>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let mut script = authority.script();
    script.connects += 1;
    let credential = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap().to_owned());
    script.requests.push((body.to_string(), credential));
    if let Some((status, headers, body)) = &script.refuse {
        let mut response =
            (StatusCode::from_u16(*status).unwrap(), Json(body.clone())).into_response();
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        return response;
    }
    let mut descriptor = script.descriptor();
    descriptor.confirmation = match &script.bound {
        Bound::To(confirmation) => confirmation.clone(),
        Bound::AsProven => headers.get("dpop").map(|proof| {
            let target = TargetUri::parse(&format!("{}/v1/connect", script.issuer)).unwrap();
            UnverifiedProof::parse(proof.to_str().unwrap())
                .and_then(|proof| proof.verify(&ProofContext::new("POST", &target), script.now()))
                .map(|proof| Confirmation::Jkt(proof.thumbprint))
                .unwrap()
        }),
    };
    let token = descriptor
        .mint(&SigningKey::from_seed(&[script.signed_by; 32]))
        .unwrap();
    let mut answer = json!({
        "descriptor": token,
        "endpoint": script.answered_endpoint.as_ref().unwrap_or(&script.endpoint),
        "refresh_after": script.lifetime * 2 / 3,
        "server": {"id": script.server_id, "version": script.version, "transport": "streamable_http",
            "verified": script.verified},
        "padding": "x".repeat(script.padding),
    });
    if script.says_life {
        answer["expires_in"] = script.lifetime.into();
    }
    dated(Json(answer).into_response(), script.now())
}

async fn search(
    State(authority): State<TestAuthority>,
    Query(query): Query<std::collections::BTreeMap<String, String>>,
) -> Json<Value> {
    authority
        .script()
        .requests
        .push((json!(query).to_string(), None));
    Json(json!({
        "servers": [{"id": SERVER_ID, "version": "1.2.0", "description": "Weather", "verified": true,
            "status": "active", "of_later_versions": 1}],
        "next_cursor": "c2",
    }))
}

/// Shows what else was asked for.
async fn other(State(authority): State<TestAuthority>, request: Request) -> Json<Value> {
    authority
        .script()
        .requests
        .push((request.uri().to_string(), None));
    Json(json!({
        "id": SERVER_ID, "version": "1.2.0", "description": "Weather", "verified": false,
        "status": "revoked", "status_reason": "malware", "server": {"name": SERVER_ID},
        "versions": [{"version": "1.2.0", "status": "revoked"}],
    }))
}

/// Moves tokio's clock ahead at once; sockets go on in real time.
pub(crate) async fn advance(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

/// Waits in real time until it holds; panics after five seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! An authority that can misbehave, and descriptors of it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    future::{pending, ready},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use mcp_connect_descriptor::{Descriptor, KeyStatus, ServerIdentity, SigningKey};
use mcp_connect_verifier::{Verifier, VerifierBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const AUDIENCE: &str = "https://mcp.example/mcp";
pub(crate) const SERVER_ID: &str = "com.example/weather";

/// How the authority answers when it is asked for its key set.
#[derive(Clone)]
pub(crate) enum Answer {
    Body(String),
    /// More than 64 KiB of an otherwise good set, in chunks without a Content-Length.
    Endless,
    Hang,
    /// To a place where the good set is.
    Redirect(String),
    Slow(Duration, String),
    Status(u16),
}

pub(crate) struct Authority {
    pub(crate) issuer: String,
    answer: Arc<Mutex<Answer>>,
    fetches: Arc<AtomicUsize>,
}

impl Authority {
    pub(crate) async fn start(answer: Answer) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let fetches = Arc::new(AtomicUsize::new(0));
        let app = Router::new().route(
            "/.well-known/jwks.json",
            get({
                let (answer, fetches) = (Arc::clone(&answer), Arc::clone(&fetches));
                move || {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    let answer = answer.lock().unwrap().clone();
                    respond(answer)
                }
            }),
        );
        // Where the redirect leads to.
        let app = app.route("/elsewhere", get(|| ready(key_set(&[&key(1)]))));
        let address = serve(app).await;
        Self {
            issuer: format!("http://{address}"),
            answer,
            fetches,
        }
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn publishes(&self, keys: &[&SigningKey]) {
        self.answers(Answer::Body(key_set(keys)));
    }

    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    pub(crate) fn verifier(&self) -> VerifierBuilder {
        Verifier::builder(&self.issuer, AUDIENCE, SERVER_ID)
    }

    /// A good descriptor that expires in `seconds`.
    pub(crate) fn descriptor(&self, seconds: u64) -> Descriptor {
        let now = now().as_secs();
        let expires_at = now + seconds;
        Descriptor {
            issuer: self.issuer.clone(),
            endpoint: AUDIENCE.into(),
            server: ServerIdentity {
                id: SERVER_ID.into(),
                version: "1.0.0".into(),
                verified: true,
                jwks_uri: None,
                tls_pin_sha256: None,
            },
            issued_at: expires_at - 60,
            not_before: expires_at - 60,
            expires_at,
            jti: "q3VYb2h1S2FmT0l5dUtQZA".into(),
            client_id: Some("desktop".into()),
            tenant_id: Some("acme".into()),
            confirmation: None,
        }
    }

    pub(crate) fn token(&self) -> String {
        self.descriptor(60).mint(&key(1)).unwrap()
    }
}

async fn respond(answer: Answer) -> Response {
    let json = |body: String| ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    match answer {
        Answer::Body(body) => json(body),
        Answer::Endless => axum::body::Body::new(Endless).into_response(),
        Answer::Hang => pending().await,
        Answer::Redirect(to) => Redirect::temporary(&to).into_response(),
        Answer::Slow(delay, body) => {
            tokio::time::sleep(delay).await;
            json(body)
        }
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
    }
}

/// Spaces without end.
struct Endless;

impl http_body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        let spaces = bytes::Bytes::from_static(&[b' '; 4096]);
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(spaces))))
    }
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(crate) fn key_set(keys: &[&SigningKey]) -> String {
    let keys: Vec<Value> = keys
        .iter()
        .map(|key| {
            let mut jwk = key.to_private_jwk(KeyStatus::Active);
            jwk.as_object_mut().unwrap().remove("d");
            jwk
        })
        .collect();
    json!({ "keys": keys }).to_string()
}

/// Serves on a port of its own for as long as the test runs.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[expect(clippy::disallowed_methods, reason = "tests run now")]
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Tries until it holds; gives up after ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(tokio::time::Instant::now() < until, "never so: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

//! An authority that can misbehave, and descriptors of it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    convert::Infallible,
    future::{pending, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use bytes::Bytes;
use http_body::Frame;
use mcp_connect_descriptor::{Descriptor, KeyStatus, RevocationFeed, ServerIdentity, SigningKey};
use mcp_connect_verifier::{Verifier, VerifierBuilder};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{Sleep, sleep},
};

pub(crate) const AUDIENCE: &str = "https://mcp.example/mcp";
pub(crate) const SERVER_ID: &str = "com.example/weather";

/// How the authority answers when it is asked for its key set, or its feed.
#[derive(Clone)]
pub(crate) enum Answer {
    Body(String),
    /// As an authority whose clock is ahead of this machine's by so many seconds.
    Dated(i64, String),
    /// A byte now and then, and no end within 3 s.
    Drip(String),
    /// More than 64 KiB of an otherwise good set, in chunks without a Content-Length.
    Endless,
    /// The first half of what it said it would send.
    Half(String),
    Hang,
    /// To a place where the good set is.
    Redirect(String),
    Slow(Duration, String),
    Status(u16),
    /// With an `ETag`, by which it can be asked for.
    Tagged(&'static str, String),
}

pub(crate) struct Authority {
    pub(crate) issuer: String,
    keys: Served,
    feed: Served,
}

/// A document of the authority, and how often it was asked for.
#[derive(Clone)]
struct Served {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    unchanged: Arc<AtomicUsize>,
}

impl Served {
    fn new(answer: Answer) -> Self {
        Self {
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
            unchanged: Arc::default(),
        }
    }

    async fn respond(self, headers: HeaderMap) -> Response {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        if let Answer::Tagged(etag, _) = answer
            && headers
                .get(header::IF_NONE_MATCH)
                .is_some_and(|it| it == etag)
        {
            self.unchanged.fetch_add(1, Ordering::SeqCst);
            return StatusCode::NOT_MODIFIED.into_response();
        }
        respond(answer).await
    }
}

impl Authority {
    pub(crate) async fn start(answer: Answer) -> Self {
        let (keys, feed) = (Served::new(answer), Served::new(Answer::Status(404)));
        let served = |served: &Served| {
            let served = served.clone();
            get(move |headers: HeaderMap| served.respond(headers))
        };
        let app = Router::new()
            .route("/.well-known/jwks.json", served(&keys))
            .route("/v1/revocations", served(&feed));
        // Where the redirect leads to.
        let app = app.route("/elsewhere", get(|| ready(key_set(&[&key(1)]))));
        let address = serve(app).await;
        Self {
            issuer: format!("http://{address}"),
            keys,
            feed,
        }
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.keys.answer.lock().unwrap() = answer;
    }

    pub(crate) fn publishes(&self, keys: &[&SigningKey]) {
        self.answers(Answer::Body(key_set(keys)));
    }

    pub(crate) fn fetches(&self) -> usize {
        self.keys.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn answers_for_feed(&self, answer: Answer) {
        *self.feed.answer.lock().unwrap() = answer;
    }

    /// How often the feed was asked for.
    pub(crate) fn polls(&self) -> usize {
        self.feed.asked.load(Ordering::SeqCst)
    }

    /// How often the feed was the one that was held already.
    pub(crate) fn unchanged_polls(&self) -> usize {
        self.feed.unchanged.load(Ordering::SeqCst)
    }

    /// A feed that is good for a minute and names nothing.
    pub(crate) fn empty_feed(&self) -> RevocationFeed {
        let issued_at = now().as_secs();
        RevocationFeed {
            issuer: self.issuer.clone(),
            issued_at,
            expires_at: issued_at + 60,
            window_seconds: 160,
            ..RevocationFeed::default()
        }
    }

    pub(crate) fn tells(&self, feed: &RevocationFeed) {
        self.answers_for_feed(Answer::Body(signed_feed(feed, &key(1))));
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

pub(crate) fn signed_feed(feed: &RevocationFeed, key: &SigningKey) -> String {
    let unsigned = feed.to_unsigned(key).unwrap();
    unsigned.with_signature(&key.sign(&unsigned).unwrap())
}

async fn respond(answer: Answer) -> Response {
    let json = |body: String| ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    match answer {
        Answer::Body(body) => json(body),
        Answer::Dated(ahead, body) => {
            let seconds = now().as_secs().checked_add_signed(ahead).unwrap();
            let date = UNIX_EPOCH + Duration::from_secs(seconds);
            ([(header::DATE, httpdate::fmt_http_date(date))], body).into_response()
        }
        Answer::Drip(body) => {
            let length = [(header::CONTENT_LENGTH, body.len())];
            let body = axum::body::Body::new(Drip {
                bytes: body.into(),
                pause: Box::pin(sleep(Duration::ZERO)),
            });
            (
                length.map(|(name, length)| (name, length.to_string())),
                body,
            )
                .into_response()
        }
        Answer::Half(body) => {
            let length = [(header::CONTENT_LENGTH, body.len().to_string())];
            let half = body[..body.len() / 2].to_owned();
            (length, axum::body::Body::new(Half(Some(half)))).into_response()
        }
        Answer::Endless => axum::body::Body::new(Endless).into_response(),
        Answer::Hang => pending().await,
        Answer::Redirect(to) => Redirect::temporary(&to).into_response(),
        Answer::Slow(delay, body) => {
            sleep(delay).await;
            json(body)
        }
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::Tagged(etag, body) => ([(header::ETAG, etag)], body).into_response(),
    }
}

/// Some bytes, and then a connection that is cut.
struct Half(Option<String>);

impl http_body::Body for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(match self.0.take() {
            Some(half) => Ok(Frame::data(half.into())),
            None => Err(io::ErrorKind::ConnectionAborted.into()),
        }))
    }
}

/// Ten bytes a second.
struct Drip {
    bytes: Bytes,
    pause: Pin<Box<Sleep>>,
}

impl http_body::Body for Drip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        ready!(self.pause.as_mut().poll(cx));
        self.pause = Box::pin(sleep(Duration::from_millis(100)));
        Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(1)))))
    }
}

/// Spaces without end.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let spaces = Bytes::from_static(&[b' '; 4096]);
        Poll::Ready(Some(Ok(Frame::data(spaces))))
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

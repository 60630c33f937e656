//! What the operator's log says, and what it must never say.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::{
    convert::Infallible,
    io::{self, Write},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, http::HeaderMap, http::HeaderValue, routing::any};
use bytes::Bytes;
use http_body::Frame;
use mcp_connect_verifier::{ConnectLayer, HEADER, Mode};
use serde_json::{Value, json};
use support::{Answer, Authority, eventually, key, key_set, serve};
use tracing::subscriber::DefaultGuard;

const SESSION_ID: &str = "d0c3a5f2-very-secret";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Takes down what this test logs for as long as the guard is held.
    fn of_this_test() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn events(&self) -> Vec<Value> {
        let text = self.text();
        let events = text.lines().map(serde_json::from_str::<Value>);
        events
            .map(Result::unwrap)
            .filter(|event| event["target"].as_str().unwrap().starts_with("mcp_connect"))
            .map(|mut event| event["fields"].take())
            .collect()
    }

    fn ends(&self) -> Vec<Value> {
        let mut events = self.events();
        events.retain(|event| event["message"].as_str().unwrap().starts_with("session "));
        events
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A server that knows every session.
async fn gives_out_what_was_asked_for(headers: HeaderMap) -> [(&'static str, HeaderValue); 1] {
    [("mcp-session-id", headers["mcp-session-id"].clone())]
}

#[tokio::test]
async fn names_reasons_and_ends_but_no_token_and_no_session_id() {
    let (log, _guard) = Log::of_this_test();

    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let short = authority.descriptor(1);
    let tokens = [
        authority.token(),
        short.mint(&key(1)).unwrap(),
        authority.descriptor(60).mint(&key(9)).unwrap(),
        format!("{},", authority.token()),
    ];
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for mode in [Mode::Required, Mode::Report] {
        let verifier = authority
            .verifier()
            .mode(mode)
            .leeway(Duration::ZERO)
            .grace(Duration::ZERO)
            .build()
            .unwrap();
        let app = Router::new()
            .route("/mcp", any(gives_out_what_was_asked_for))
            .layer(ConnectLayer::new(verifier));
        let url = format!("http://{}/mcp", serve(app).await);
        let send = async |token: &str, session: &str| {
            let request = client.post(&url).header(HEADER, token);
            let response = request.header("mcp-session-id", session).send().await;
            response.unwrap().status()
        };
        for token in &tokens {
            send(token, "another").await;
        }
        if mode == Mode::Required {
            let live = authority.descriptor(2).mint(&key(1)).unwrap();
            assert_eq!(send(&live, SESSION_ID).await, 200);
            eventually("the session has ended", async || {
                let fresh = authority.descriptor(60);
                let mut another = fresh.clone();
                another.client_id = None;
                assert_eq!(send(&another.mint(&key(1)).unwrap(), SESSION_ID).await, 403);
                support::now().as_secs() >= short.expires_at + 2
            })
            .await;
            assert_eq!(send(&authority.token(), SESSION_ID).await, 404);
            assert_eq!(send(&authority.token(), SESSION_ID).await, 404);
        }
    }

    let text = log.text();
    assert!(!text.contains(SESSION_ID));
    for token in &tokens {
        let signature = token.trim_end_matches(',').rsplit('.').next().unwrap();
        assert!(!text.contains(signature), "{text}");
    }
    let events = log.events();
    let ends = log.ends();
    // Another client showed its descriptors for the session, and its own showed none.
    assert_eq!(
        ends,
        [json!({
            "message": "session ended",
            "reason": "policy_denied",
            "client_id": "desktop",
            "tenant_id": "acme",
            "jti": short.jti,
            "server_id": support::SERVER_ID,
        })]
    );
    for (message, code, reason) in [
        (
            "refused",
            "descriptor_invalid",
            "no key of the key set has this kid",
        ),
        (
            "refused",
            "descriptor_invalid",
            "the session belongs to another client or tenant",
        ),
        (
            "would have been refused in mode \"required\"",
            "descriptor_invalid",
            "the MCP-Connect header has a comma",
        ),
    ] {
        let logged = events.iter().any(|event| {
            event["message"] == message && event["code"] == code && event["reason"] == reason
        });
        assert!(logged, "{message}, {code}, {reason}: {events:?}");
    }
}

/// Begins a session that ends at once when its descriptor expires, and waits for that.
async fn ended_session(authority: &Authority) -> (reqwest::Client, String) {
    session_that_expired(authority, Mode::Required).await
}

async fn session_that_expired(authority: &Authority, mode: Mode) -> (reqwest::Client, String) {
    let verifier = authority
        .verifier()
        .mode(mode)
        .leeway(Duration::ZERO)
        .grace(Duration::ZERO)
        .build()
        .unwrap();
    let app = Router::new()
        .route("/mcp", any(gives_out_what_was_asked_for))
        .layer(ConnectLayer::new(verifier));
    let url = format!("http://{}/mcp", serve(app).await);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let short = authority.descriptor(2);
    let request = client
        .post(&url)
        .header(HEADER, short.mint(&key(1)).unwrap());
    let begun = request.header("mcp-session-id", SESSION_ID).send().await;
    assert_eq!(begun.unwrap().status(), 200);
    eventually("the descriptor has expired", async || {
        support::now().as_secs() >= short.expires_at
    })
    .await;
    (client, url)
}

#[tokio::test]
async fn a_session_that_nobody_asks_for_again_is_reported_once() {
    let (log, _guard) = Log::of_this_test();
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let (client, url) = ended_session(&authority).await;
    assert!(log.ends().is_empty());

    for _ in 0..2 {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(31)).await;
        tokio::time::resume();
        eventually("the end is in the log", async || !log.ends().is_empty()).await;
    }
    let late = client.post(&url).header(HEADER, authority.token());
    let late = late.header("mcp-session-id", SESSION_ID).send().await;
    assert_eq!(late.unwrap().status(), 404);
    assert_eq!(log.ends().len(), 1, "{:?}", log.ends());
}

#[tokio::test]
async fn a_request_of_another_caller_shows_the_end_too() {
    let (log, _guard) = Log::of_this_test();
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let (client, url) = ended_session(&authority).await;
    let mut another = authority.descriptor(60);
    another.client_id = Some("another".into());
    let request = client
        .post(&url)
        .header(HEADER, another.mint(&key(1)).unwrap());
    let refused = request.header("mcp-session-id", SESSION_ID).send().await;
    assert_eq!(refused.unwrap().status(), 403);
    assert_eq!(log.ends().len(), 1, "{:?}", log.ends());
}

#[tokio::test]
async fn a_feed_that_comes_and_goes_is_reported_once_each_time() {
    let (log, _guard) = Log::of_this_test();
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority
        .verifier()
        .revocation_feed_interval(Duration::from_secs(1))
        .build()
        .unwrap();
    let reports = || {
        let mut messages = Vec::new();
        for event in log.events() {
            let message = event["message"].as_str().unwrap_or_default().to_owned();
            if message.starts_with("the revocation feed") && !message.contains("still") {
                messages.push(message);
            }
        }
        messages
    };
    eventually("it has failed twice", async || authority.polls() >= 3).await;
    assert_eq!(reports().len(), 1, "{:?}", reports());
    assert!(reports()[0].contains("can't be followed"));

    authority.tells(&authority.empty_feed());
    eventually("it is there", async || reports().len() == 2).await;
    let polls = authority.polls();
    eventually("it is polled", async || authority.polls() >= polls + 2).await;
    assert!(reports()[1].contains("is followed"));

    authority.answers_for_feed(Answer::Status(503));
    eventually("it is gone", async || reports().len() == 3).await;
    drop(verifier);
}

#[tokio::test]
async fn what_report_would_have_ended_says_so() {
    let (log, _guard) = Log::of_this_test();
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let (client, url) = session_that_expired(&authority, Mode::Report).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    eventually("it is in the log", async || !log.ends().is_empty()).await;
    let late = client.post(&url).header(HEADER, authority.token());
    let late = late.header("mcp-session-id", SESSION_ID).send().await;
    assert_eq!(late.unwrap().status(), 200);
    let ends = log.ends();
    assert_eq!(ends.len(), 1, "{ends:?}");
    let message = "session would have ended in mode \"required\"";
    assert_eq!(ends[0]["message"], message);
    assert_eq!(ends[0]["reason"], "refresh_timeout");
}

/// What is logged of this machine's clock.
fn told_of_the_clock(log: &Log) -> Vec<Value> {
    let mut events = log.events();
    events.retain(|event| {
        event["message"]
            .as_str()
            .unwrap()
            .contains("machine's clock")
    });
    events
}

#[tokio::test]
async fn a_clock_that_differs_from_the_authoritys_is_told_once() {
    for (ahead, words) in [(300, "300 s behind"), (-300, "300 s ahead of")] {
        let (log, _guard) = Log::of_this_test();
        let keys = key_set(&[&key(1)]);
        let authority = Authority::start(Answer::Dated(ahead, keys)).await;
        let feed = support::signed_feed(&authority.empty_feed(), &key(1));
        authority.answers_for_feed(Answer::Dated(ahead, feed));
        let verifier = authority
            .verifier()
            .revocation_feed_interval(Duration::from_secs(1))
            .build()
            .unwrap();
        eventually("it has asked often", async || authority.polls() >= 3).await;
        let clock = verifier.status().clock.unwrap();
        assert!(
            clock.wrong && (clock.offset_seconds + ahead).abs() <= 1,
            "{clock:?}"
        );
        let told = told_of_the_clock(&log);
        assert_eq!(told.len(), 1, "{told:?}");
        // A second may pass between the two looks at the clock.
        let message = told[0]["message"].as_str().unwrap();
        let offset = told[0]["offset_seconds"].as_i64().unwrap();
        assert!((offset + ahead).abs() <= 1, "{offset}");
        assert!(message.contains(words) || offset != -ahead, "{message}");

        // It comes right: once more.
        authority.publishes(&[&key(1)]);
        authority.tells(&authority.empty_feed());
        eventually("it is right", async || told_of_the_clock(&log).len() == 2).await;
        assert!(!verifier.status().clock.unwrap().wrong);
    }
}

#[tokio::test]
async fn authentic_descriptors_from_the_future_are_told_once_and_forged_ones_not() {
    let (log, _guard) = Log::of_this_test();
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    // The first fetch has dated the clock already, and there is no other.
    let verifier = authority.verifier().revocation_feed("off").build().unwrap();
    assert!(verifier.verify(&authority.token()).await.is_ok());
    let app = Router::new()
        .route("/mcp", any(async || "ok"))
        .layer(ConnectLayer::new(verifier.clone()));
    let url = format!("http://{}/mcp", serve(app).await);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut descriptor = authority.descriptor(360);
    descriptor.tenant_id = None;
    let show = async |seed: u8| {
        let token = descriptor.mint(&key(seed)).unwrap();
        let mut forged = token.clone();
        forged.replace_range(token.len() - 8..token.len() - 4, "AAAA");
        let token = if seed == 1 { token } else { forged };
        let request = client.post(&url).header(HEADER, token);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 403);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["data"]["code"], "descriptor_invalid");
    };
    show(9).await;
    assert!(!verifier.status().clock.unwrap().wrong);
    let told_one_by_one = || {
        let text = log.text();
        let lines = text
            .lines()
            .filter(|line| line.contains("not valid before"));
        lines.filter(|line| line.contains("\"INFO\"")).count()
    };
    // The one before may have used up this second's check.
    eventually("the clock is known to be wrong", async || {
        show(1).await;
        verifier.status().clock.unwrap().wrong
    })
    .await;
    let before = told_one_by_one();
    for _ in 0..20 {
        show(1).await;
    }
    assert_eq!(told_one_by_one(), before);
    let clock = verifier.status().clock.unwrap();
    assert!((-301..=-299).contains(&clock.offset_seconds), "{clock:?}");
    assert_eq!(told_of_the_clock(&log).len(), 1);
}

/// An answer that is made while it is sent.
struct Logs;

impl http_body::Body for Logs {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        tracing::info!("from the body");
        Poll::Ready(None)
    }
}

#[tokio::test]
async fn what_a_handler_logs_stands_in_a_span_of_its_caller() {
    let (log, _guard) = Log::of_this_test();
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority.verifier().build().unwrap();
    let app = Router::new()
        .route(
            "/mcp",
            any(async || {
                tokio::task::yield_now().await;
                tracing::info!("from the handler");
                Body::new(Logs)
            }),
        )
        .layer(ConnectLayer::new(verifier));
    let url = format!("http://{}/mcp", serve(app).await);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let token = authority.token();
    let sent = client.post(url).header(HEADER, &token).send().await;
    assert_eq!(sent.unwrap().bytes().await.unwrap(), "");
    let text = log.text();
    for message in ["from the handler", "from the body"] {
        let line = text.lines().find(|line| line.contains(message));
        let event: Value = serde_json::from_str(line.unwrap()).unwrap();
        assert_eq!(
            event["span"],
            json!({
                "name": "mcp_connect",
                "client_id": "desktop",
                "tenant_id": "acme",
                "jti": authority.descriptor(60).jti,
                "server_id": support::SERVER_ID,
            }),
            "{message}"
        );
    }
    assert!(!text.contains(token.rsplit('.').next().unwrap()));
}

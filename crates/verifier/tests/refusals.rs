//! What the layer answers over real HTTP, in every mode.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::time::Duration;

use axum::{Extension, Router, http::HeaderMap, routing::any};
use mcp_connect_descriptor::{Confirmation, Descriptor};
use mcp_connect_verifier::{ConnectLayer, HEADER, Mode, Verified};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use support::{Answer, Authority, SERVER_ID, key, key_set, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Says whether the request came governed, and with the header that must never arrive.
async fn inner(verified: Option<Extension<Verified>>, headers: HeaderMap) -> axum::Json<Value> {
    axum::Json(json!({
        "jti": verified.map(|Extension(verified)| verified.jti.clone()),
        "header": headers.contains_key(HEADER),
    }))
}

struct Server {
    authority: Authority,
    url: String,
}

impl Server {
    async fn start(mode: Mode) -> Self {
        Self::with(Answer::Body(key_set(&[&key(1)])), mode).await
    }

    async fn with(answer: Answer, mode: Mode) -> Self {
        let authority = Authority::start(answer).await;
        let verifier = authority.verifier().mode(mode).build().unwrap();
        let app = Router::new()
            .route("/mcp", any(inner))
            .layer(ConnectLayer::new(verifier));
        let url = format!("http://{}/mcp", serve(app).await);
        Self { authority, url }
    }

    fn request(&self) -> RequestBuilder {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.post(&self.url)
    }

    async fn show(&self, descriptor: &str) -> Response {
        let request = self.request().header(HEADER, descriptor);
        request.send().await.unwrap()
    }
}

struct Expected {
    status: u16,
    code: &'static str,
    json_rpc_code: i32,
    retryable: bool,
}

const MISSING: Expected = Expected {
    status: 401,
    code: "descriptor_missing",
    json_rpc_code: -32001,
    retryable: true,
};
const EXPIRED: Expected = Expected {
    status: 401,
    code: "descriptor_expired",
    json_rpc_code: -32002,
    retryable: true,
};
const INVALID: Expected = Expected {
    status: 403,
    code: "descriptor_invalid",
    json_rpc_code: -32003,
    retryable: false,
};
const WRONG_AUDIENCE: Expected = Expected {
    status: 403,
    code: "descriptor_wrong_audience",
    json_rpc_code: -32004,
    retryable: false,
};
const UNREACHABLE: Expected = Expected {
    status: 503,
    code: "authority_unreachable",
    json_rpc_code: -32006,
    retryable: true,
};

async fn assert_refused(name: &str, response: Response, issuer: &str, expected: &Expected) {
    assert_eq!(response.status(), expected.status, "{name}");
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    assert_eq!(header("cache-control").unwrap(), "no-store", "{name}");
    assert_eq!(
        header("content-type").unwrap(),
        "application/json",
        "{name}"
    );
    let challenge = format!(
        "MCP-Connect error=\"{}\", authority=\"{issuer}\", server_ref=\"{SERVER_ID}\"",
        expected.code
    );
    let challenge = (expected.status == 401).then_some(challenge);
    assert_eq!(header("www-authenticate"), challenge, "{name}");
    let retry_after = (expected.status == 503).then(|| "5".to_owned());
    assert_eq!(header("retry-after"), retry_after, "{name}");

    let body: Value = response.json().await.unwrap();
    assert_eq!(body["jsonrpc"], "2.0", "{name}");
    assert!(
        body["id"].is_null() && body.as_object().unwrap().contains_key("id"),
        "{name}"
    );
    assert_eq!(body["error"]["code"], expected.json_rpc_code, "{name}");
    assert!(
        !body["error"]["message"].as_str().unwrap().is_empty(),
        "{name}"
    );
    let data = json!({
        "code": expected.code,
        "authority": issuer,
        "server_ref": SERVER_ID,
        "retryable": expected.retryable,
    });
    assert_eq!(body["error"]["data"], data, "{name}");
}

#[tokio::test]
async fn every_refusal() {
    let server = Server::start(Mode::Required).await;
    let good = server.authority.descriptor(60);
    let issuer = good.issuer.clone();
    let token = |change: fn(&mut Descriptor)| {
        let mut descriptor = good.clone();
        change(&mut descriptor);
        descriptor.mint(&key(1)).unwrap()
    };
    let minted = good.mint(&key(1)).unwrap();
    let (signed, _) = minted.rsplit_once('.').unwrap();
    let another = token(|it| it.jti = "another".into());
    let (_, another_signature) = another.rsplit_once('.').unwrap();

    for (name, token, expected) in [
        ("empty", String::new(), INVALID),
        ("garbage", "garbage".into(), INVALID),
        ("comma", format!("{minted},{minted}"), INVALID),
        ("too long", "a".repeat(8193), INVALID),
        ("unsigned", format!("{signed}."), INVALID),
        (
            "signature of another",
            format!("{signed}.{another_signature}"),
            INVALID,
        ),
        ("unknown key", good.mint(&key(9)).unwrap(), INVALID),
        ("issuer", token(|it| it.issuer.push('x')), INVALID),
        (
            "from the future",
            token(|it| {
                it.issued_at += 90;
                it.not_before += 90;
                it.expires_at += 90;
            }),
            INVALID,
        ),
        (
            "bound to its sender",
            token(|it| it.confirmation = Some(Confirmation::Jkt(key(1).id().into()))),
            INVALID,
        ),
        (
            "endpoint",
            token(|it| it.endpoint.push('x')),
            WRONG_AUDIENCE,
        ),
        ("server", token(|it| it.server.id.push('x')), WRONG_AUDIENCE),
        (
            "expired",
            token(|it| {
                it.issued_at -= 66;
                it.expires_at -= 66;
                it.not_before -= 66;
            }),
            EXPIRED,
        ),
    ] {
        assert_refused(name, server.show(&token).await, &issuer, &expected).await;
    }

    let missing = server.request().send().await.unwrap();
    assert_refused("missing", missing, &issuer, &MISSING).await;
    let twice = server
        .request()
        .header(HEADER, &minted)
        .header(HEADER, &minted);
    assert_refused("twice", twice.send().await.unwrap(), &issuer, &INVALID).await;
    let binary = server.request().header(HEADER, &b"\xc3\xa4"[..]);
    assert_refused("binary", binary.send().await.unwrap(), &issuer, &INVALID).await;
    let sessions = server.request().header(HEADER, &minted);
    let sessions = sessions
        .header("mcp-session-id", "a")
        .header("mcp-session-id", "b");
    assert_refused(
        "two sessions",
        sessions.send().await.unwrap(),
        &issuer,
        &INVALID,
    )
    .await;

    let accepted = server.show(&minted).await;
    assert_eq!(accepted.status(), 200);
    let body: Value = accepted.json().await.unwrap();
    assert_eq!(body, json!({ "jti": good.jti, "header": false }));
}

#[tokio::test]
async fn an_unreachable_authority_is_worth_a_retry() {
    let server = Server::with(Answer::Status(500), Mode::Required).await;
    let response = server.show(&server.authority.token()).await;
    let issuer = &server.authority.issuer;
    assert_refused("unreachable", response, issuer, &UNREACHABLE).await;
}

#[tokio::test]
async fn the_leeway_forgives_no_more_than_it_says() {
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let mut descriptor = authority.descriptor(60);
    // Two seconds past its end, so that neither second can tip the scale while the test runs.
    descriptor.issued_at -= 62;
    descriptor.not_before -= 62;
    descriptor.expires_at -= 62;
    let token = descriptor.mint(&key(1)).unwrap();
    for (leeway, accepted) in [(0, false), (1, false), (5, true)] {
        let verifier = authority.verifier().leeway(Duration::from_secs(leeway));
        let verifier = verifier.build().unwrap();
        assert_eq!(verifier.verify(&token).await.is_ok(), accepted, "{leeway}");
    }
}

#[tokio::test]
async fn optional_lets_requests_without_a_descriptor_pass_ungoverned() {
    let server = Server::start(Mode::Optional).await;
    let ungoverned = server.request().send().await.unwrap();
    assert_eq!(ungoverned.status(), 200);
    let body: Value = ungoverned.json().await.unwrap();
    assert_eq!(body, json!({ "jti": null, "header": false }));

    let governed = server.show(&server.authority.token()).await;
    let body: Value = governed.json().await.unwrap();
    assert!(body["jti"].is_string() && body["header"] == false);

    let issuer = &server.authority.issuer;
    assert_refused("bad", server.show("garbage").await, issuer, &INVALID).await;
}

#[tokio::test]
async fn report_refuses_nothing_and_still_removes_the_header() {
    let server = Server::start(Mode::Report).await;
    let unknown = server.authority.descriptor(60).mint(&key(9)).unwrap();
    for descriptor in ["garbage", "a,b", "", &unknown] {
        let response = server.show(descriptor).await;
        assert_eq!(response.status(), 200, "{descriptor}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            body,
            json!({ "jti": null, "header": false }),
            "{descriptor}"
        );
    }
    let twice = server.request().header(HEADER, "a").header(HEADER, "b");
    let body: Value = twice.send().await.unwrap().json().await.unwrap();
    assert_eq!(body, json!({ "jti": null, "header": false }));
    let body: Value = server
        .show(&server.authority.token())
        .await
        .json()
        .await
        .unwrap();
    assert!(body["jti"].is_string() && body["header"] == false);
}

#[tokio::test]
async fn modes_by_path() {
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority
        .verifier()
        .path("/healthz", Mode::Off)
        .path("/trial", Mode::Report)
        .path("/trial/strict", Mode::Required)
        .build()
        .unwrap();
    let app = Router::new()
        .fallback(inner)
        .layer(ConnectLayer::new(verifier));
    let base = format!("http://{}", serve(app).await);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let good = authority.token();
    for (path, without, with_garbage) in [
        ("/", 401, 403),
        ("/mcp", 401, 403),
        ("/healthz", 200, 200),
        ("/healthz/live", 200, 200),
        ("/healthzz", 401, 403),
        ("/healthz/%2e%2e/mcp", 401, 403),
        ("/healthz//mcp", 401, 403),
        ("/trial", 200, 200),
        ("/trial/x", 200, 200),
        ("/trial/strict", 401, 403),
        ("/trial/strict/x?/healthz", 401, 403),
    ] {
        let request = || client.post(format!("{base}{path}"));
        assert_eq!(request().send().await.unwrap().status(), without, "{path}");
        let garbage = request().header(HEADER, "garbage").send().await.unwrap();
        assert_eq!(garbage.status(), with_garbage, "{path}");
        let accepted = request().header(HEADER, &good).send().await.unwrap();
        let body: Value = accepted.json().await.unwrap();
        assert_eq!(body["header"], false, "{path}");
        assert_eq!(
            body["jti"].is_null(),
            path.starts_with("/healthz") && without == 200
        );
    }
}

#[tokio::test]
async fn nobody_outside_says_who_is_connecting() {
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority.verifier().build().unwrap();
    // The outer layer takes the header away: to the inner one the request is without a descriptor.
    let app = Router::new()
        .route("/mcp", any(inner))
        .layer(ConnectLayer::new(verifier.clone()).mode(Mode::Optional))
        .layer(ConnectLayer::new(verifier));
    let url = format!("http://{}/mcp", serve(app).await);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(url).header(HEADER, authority.token());
    let body: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(body, json!({ "jti": null, "header": false }));
}

/// What the server writes on a connection of its own, until it closes it.
async fn exchange(url: &str, head: &str, body: &[u8]) -> String {
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut connection = TcpStream::connect(host).await.unwrap();
    let head = format!("POST /{path} HTTP/1.1\r\nhost: {host}\r\n{head}\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    let read = connection.read_to_end(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(10), read).await;
    assert!(read.is_ok(), "the connection stays open");
    read.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_refusal_waits_for_no_body_and_takes_none_for_a_request() {
    let server = Server::start(Mode::Required).await;
    // The body that was promised never comes.
    let silent = exchange(&server.url, "content-length: 1000000\r\n", b"").await;
    assert!(silent.starts_with("HTTP/1.1 401 "), "{silent}");
    assert!(silent.contains("descriptor_missing"));
    // Nobody asks for it.
    let asking = "content-length: 1000000\r\nexpect: 100-continue\r\n";
    let asking = exchange(&server.url, asking, b"").await;
    assert!(asking.starts_with("HTTP/1.1 401 "), "{asking}");
    // What comes of it is no second request.
    let smuggled = b"POST /mcp HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let smuggled = exchange(&server.url, "content-length: 1000000\r\n", &smuggled).await;
    assert_eq!(smuggled.matches("HTTP/1.1 ").count(), 1, "{smuggled}");
    let chunked = exchange(&server.url, "transfer-encoding: chunked\r\n", b"5\r\nhello").await;
    assert!(chunked.starts_with("HTTP/1.1 401 "), "{chunked}");
}

#[tokio::test]
async fn a_connection_goes_on_after_a_refusal_whose_request_was_whole() {
    let server = Server::start(Mode::Required).await;
    let (_, path) = server
        .url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let next = format!(
        "helloPOST /{path} HTTP/1.1\r\nhost: x\r\n{HEADER}: {}\r\nconnection: close\r\n\r\n",
        server.authority.token(),
    );
    let answers = exchange(&server.url, "content-length: 5\r\n", next.as_bytes()).await;
    assert!(answers.starts_with("HTTP/1.1 401 "), "{answers}");
    assert!(answers.contains("HTTP/1.1 200 "), "{answers}");
}

//! Sessions and open streams live as long as descriptors keep coming for them.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;
use http_body::Frame;
use mcp_connect_descriptor::{Descriptor, Withdrawn};
use mcp_connect_verifier::{ConnectLayer, HEADER, Mode, VerifierBuilder};
use reqwest::RequestBuilder;
use serde_json::Value;
use support::{Answer, Authority, key, key_set, now, serve};

const SESSION: &str = "mcp-session-id";
const GRACE: Duration = Duration::from_secs(1);

/// Never ends by itself. A chatty one always has a frame ready, a silent one only its first.
struct Stream {
    chatty: bool,
    begun: bool,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.begun && !self.chatty {
            return Poll::Pending;
        }
        self.begun = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'\n'; 16384])))))
    }
}

/// Does as its headers say: hangs, begins a session, answers with a status, or streams.
async fn inner(method: Method, headers: HeaderMap) -> Response {
    if let Some(id) = headers.get("x-begin") {
        return [(SESSION, id.clone())].into_response();
    }
    if let Some(status) = headers.get("x-status") {
        let status = status.to_str().unwrap().parse().unwrap();
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    if headers.contains_key("x-show") {
        let shown = ["mcp-session-id", "last-event-id"].map(|name| headers.contains_key(name));
        return format!("{shown:?}").into_response();
    }
    if headers.contains_key("x-hang") {
        pending::<()>().await;
    }
    if method == Method::GET || headers.contains_key("x-stream") {
        let chatty = headers.contains_key("x-chatty");
        return Body::new(Stream {
            chatty,
            begun: false,
        })
        .into_response();
    }
    "ok".into_response()
}

struct Server {
    authority: Authority,
    url: String,
    client: reqwest::Client,
}

impl Server {
    async fn start(mode: Mode) -> Self {
        Self::with(|builder| builder.mode(mode)).await
    }

    async fn with(change: impl FnOnce(VerifierBuilder) -> VerifierBuilder) -> Self {
        let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
        let builder = authority.verifier().leeway(Duration::ZERO).grace(GRACE);
        let verifier = change(builder).build().unwrap();
        let app = Router::new()
            .route("/mcp", any(inner))
            .layer(ConnectLayer::new(verifier));
        Self {
            authority,
            url: format!("http://{}/mcp", serve(app).await),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    fn request(&self, method: Method, descriptor: &Descriptor) -> RequestBuilder {
        self.client
            .request(method, &self.url)
            .header(HEADER, descriptor.mint(&key(1)).unwrap())
    }

    async fn begin(&self, id: &str, descriptor: &Descriptor) {
        let request = self.request(Method::POST, descriptor).header("x-begin", id);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()[SESSION], id);
    }

    async fn status(&self, method: Method, id: &str, descriptor: &Descriptor) -> u16 {
        let request = self.request(method, descriptor).header(SESSION, id);
        request.send().await.unwrap().status().as_u16()
    }

    /// A good descriptor of another client.
    fn of_another_client(&self) -> Descriptor {
        let mut descriptor = self.authority.descriptor(60);
        descriptor.client_id = Some("another".into());
        descriptor
    }
}

/// Reads to the end, which must be clean, and says when that was.
async fn end_of(mut response: reqwest::Response) -> Duration {
    while response.chunk().await.unwrap().is_some() {}
    now()
}

fn assert_ended_in_time(ended: Duration, expires_at: u64) {
    let due = Duration::from_secs(expires_at) + GRACE;
    assert!(ended >= due, "{:?} early", due.checked_sub(ended));
    let late = ended.checked_sub(due).unwrap();
    assert!(late < Duration::from_secs(2), "{late:?} late");
}

#[tokio::test]
async fn a_stream_without_a_session_ends_with_its_own_descriptor() {
    let server = Server::start(Mode::Required).await;
    let descriptor = server.authority.descriptor(2);
    let silent = server.request(Method::GET, &descriptor);
    let chatty = server
        .request(Method::GET, &descriptor)
        .header("x-chatty", "1");
    let (silent, chatty) = (silent.send().await.unwrap(), chatty.send().await.unwrap());
    let (silent, chatty) = tokio::join!(end_of(silent), end_of(chatty));
    assert_ended_in_time(silent, descriptor.expires_at);
    assert_ended_in_time(chatty, descriptor.expires_at);
}

#[tokio::test]
async fn a_refreshed_session_goes_on_and_ends_when_no_refresh_comes() {
    let server = Server::start(Mode::Required).await;
    let first = server.authority.descriptor(2);
    server.begin("s", &first).await;
    let stream = server.request(Method::GET, &first).header(SESSION, "s");
    let stream = tokio::spawn(end_of(stream.send().await.unwrap()));

    let newest = server.authority.descriptor(4);
    assert_eq!(server.status(Method::POST, "s", &newest).await, 200);
    // One that expires sooner takes nothing away.
    let sooner = server.authority.descriptor(3);
    assert_eq!(server.status(Method::POST, "s", &sooner).await, 200);
    assert_ended_in_time(stream.await.unwrap(), newest.expires_at);

    let fresh = server.authority.descriptor(60);
    let late = server.request(Method::POST, &fresh).header(SESSION, "s");
    let late = late.send().await.unwrap();
    assert_eq!(late.status(), 404);
    let body: Value = late.json().await.unwrap();
    assert_eq!(body["error"]["data"]["code"], "session_ended");
    assert_eq!(body["jsonrpc"], "2.0");
    // Starting afresh works.
    server.begin("t", &fresh).await;
    assert_eq!(server.status(Method::POST, "t", &fresh).await, 200);
}

#[tokio::test]
async fn a_call_without_an_answer_ends_like_a_stream() {
    let server = Server::start(Mode::Required).await;
    let descriptor = server.authority.descriptor(2);
    server.begin("s", &descriptor).await;
    let alone = server
        .request(Method::POST, &descriptor)
        .header("x-hang", "1");
    let in_session = alone.try_clone().unwrap().header(SESSION, "s");
    let ended = async |request: RequestBuilder, status: u16, code: &str| {
        let response = request.send().await.unwrap();
        assert_ended_in_time(now(), descriptor.expires_at);
        assert_eq!(response.status(), status);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["data"]["code"], code);
    };
    tokio::join!(
        ended(alone, 403, "descriptor_invalid"),
        ended(in_session, 404, "session_ended"),
    );
}

#[tokio::test]
async fn a_session_belongs_to_the_caller_who_began_it() {
    let server = Server::start(Mode::Required).await;
    let own = server.authority.descriptor(60);
    server.begin("s", &own).await;
    assert_eq!(server.status(Method::POST, "s", &own).await, 200);

    let changes: [fn(&mut Descriptor); 4] = [
        |it| it.client_id = Some("another".into()),
        |it| it.client_id = None,
        |it| it.tenant_id = Some("another".into()),
        |it| it.tenant_id = None,
    ];
    for change in changes {
        let mut descriptor = own.clone();
        change(&mut descriptor);
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let request = server.request(method, &descriptor).header(SESSION, "s");
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 403);
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["error"]["data"]["code"], "descriptor_invalid");
        }
    }
}

#[tokio::test]
async fn a_session_id_that_the_server_gives_out_twice_is_withheld() {
    let server = Server::start(Mode::Required).await;
    server.begin("s", &server.authority.descriptor(60)).await;
    let request = server.request(Method::POST, &server.of_another_client());
    let response = request.header("x-begin", "s").send().await.unwrap();
    assert_eq!(response.status(), 403);
    assert!(!response.headers().contains_key(SESSION));
}

#[tokio::test]
async fn a_session_id_that_a_client_made_up_is_the_servers_to_judge_and_binds_nobody() {
    let server = Server::start(Mode::Required).await;
    let own = server.authority.descriptor(60);
    let another = server.of_another_client();
    let unknown = server.request(Method::POST, &own).header(SESSION, "s");
    let unknown = unknown.header("x-status", "404").send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    assert!(
        unknown.bytes().await.unwrap().is_empty(),
        "the server's own answer"
    );

    assert_eq!(server.status(Method::POST, "s", &another).await, 200);
    assert_eq!(server.status(Method::POST, "s", &own).await, 200);
}

#[tokio::test]
async fn several_session_ids_are_refused_whoever_shows_them() {
    let server = Server::start(Mode::Required).await;
    server.begin("s", &server.authority.descriptor(60)).await;
    let another = server.of_another_client();
    server.begin("t", &another).await;
    let request = server.request(Method::POST, &another);
    let request = request.header(SESSION, "t").header(SESSION, "s");
    assert_eq!(request.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn several_session_ids_are_refused_without_a_descriptor_too() {
    let server = Server::start(Mode::Optional).await;
    server.begin("s", &server.authority.descriptor(60)).await;
    let request = server.client.post(&server.url);
    let request = request.header(SESSION, "junk").header(SESSION, "s");
    assert!(!request.send().await.unwrap().status().is_success());
}

#[tokio::test]
async fn a_session_id_that_a_server_could_read_as_another_is_refused() {
    let required = Server::start(Mode::Required).await;
    let optional = Server::start(Mode::Optional).await;
    for server in [&required, &optional] {
        server.begin("s", &server.authority.descriptor(60)).await;
    }
    let another = required.of_another_client();
    let id = |bytes: &[u8]| HeaderValue::from_bytes(bytes).unwrap();
    for odd in [
        &b"s, x"[..],
        b"x, s",
        b"x,s",
        b"s,",
        b",s",
        b"\"s\"",
        b"s\"",
        b"'s'",
        b"`s`",
        b"\\s",
        b"s;x",
        b"s x",
        b"s\tx",
        b"s\xa0",
        b"s\xff",
        b"",
    ] {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let request = required.request(method, &another).header(SESSION, id(odd));
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 403, "{odd:?}");
            let body: Value = response.json().await.unwrap();
            let error = &body["error"];
            assert_eq!(error["data"]["code"], "descriptor_invalid");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("Mcp-Session-Id"), "{message}");
        }
        let ungoverned = optional.client.post(&optional.url).header(SESSION, id(odd));
        assert_eq!(ungoverned.send().await.unwrap().status(), 403, "{odd:?}");
    }
    for plain in ["t", "a-b_c.d~e", "a+/b==", "a:b|d%e", "!#$%&*@"] {
        assert_eq!(required.status(Method::POST, plain, &another).await, 200);
    }
    let request = required.request(Method::GET, &another);
    let request = request
        .header("last-event-id", "1")
        .header("last-event-id", "2");
    assert_eq!(request.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_session_id_of_the_server_that_could_be_read_as_another_is_withheld() {
    let server = Server::start(Mode::Required).await;
    let request = server.request(Method::POST, &server.authority.descriptor(60));
    let response = request.header("x-begin", "s, t").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key(SESSION));
}

#[tokio::test]
async fn revisions_without_sessions_ignore_them_and_so_does_the_server_behind() {
    let server = Server::start(Mode::Required).await;
    let short = server.authority.descriptor(1);
    server.begin("ended", &short).await;
    let own = server.authority.descriptor(60);
    server.begin("another", &server.of_another_client()).await;
    // A request of it before would renew it.
    support::eventually("a session has ended", async || {
        now() > Duration::from_secs(short.expires_at) + GRACE
    })
    .await;
    assert_eq!(server.status(Method::POST, "ended", &own).await, 404);
    let shown = async |version: &str, id: &str| {
        let request = server
            .request(Method::POST, &own)
            .header("mcp-protocol-version", version)
            .header(SESSION, id)
            .header("last-event-id", "1");
        let response = request.header("x-show", "1").send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.text().await.unwrap())
    };
    let ignored = (200, "[false, false]".to_owned());
    for id in ["ended", "another", "unknown", "a, b"] {
        assert_eq!(shown("2026-07-28", id).await, ignored, "{id}");
    }
    assert_eq!(shown("2025-11-25", "ended").await.0, 404);
    assert_eq!(shown("2025-11-25", "another").await.0, 403);
    let passed = (200, "[true, true]".to_owned());
    assert_eq!(shown("2025-11-25", "unknown").await, passed);
}

#[tokio::test]
async fn only_a_delete_that_succeeds_forgets_the_session() {
    let server = Server::start(Mode::Required).await;
    let own = server.authority.descriptor(60);
    server.begin("s", &own).await;
    let failed = server.request(Method::DELETE, &own).header(SESSION, "s");
    let failed = failed.header("x-status", "405").send().await.unwrap();
    assert_eq!(failed.status(), 405);
    let another = server.of_another_client();
    assert_eq!(server.status(Method::POST, "s", &another).await, 403);
    assert_eq!(server.status(Method::DELETE, "s", &own).await, 200);
    assert_eq!(server.status(Method::POST, "s", &another).await, 200);
}

#[tokio::test]
async fn optional_wants_a_descriptor_for_a_session_that_began_with_one() {
    let server = Server::start(Mode::Optional).await;
    server.begin("s", &server.authority.descriptor(60)).await;
    let without = |id: &str| server.client.post(&server.url).header(SESSION, id).send();
    assert_eq!(without("s").await.unwrap().status(), 401);
    assert_eq!(without("ungoverned").await.unwrap().status(), 200);
}

#[tokio::test]
async fn report_ends_nothing() {
    let server = Server::start(Mode::Report).await;
    let short = server.authority.descriptor(1);
    server.begin("s", &short).await;
    assert_eq!(
        server
            .status(Method::POST, "s", &server.of_another_client())
            .await,
        200
    );
    let stream = server.request(Method::GET, &short).header(SESSION, "s");
    let stream = end_of(stream.send().await.unwrap());
    let due = Duration::from_secs(short.expires_at) + GRACE + Duration::from_millis(500);
    let hanging = server.request(Method::POST, &short).header("x-hang", "1");
    let hanging = tokio::spawn(hanging.send());
    let still_open = tokio::time::timeout(due.saturating_sub(now()), stream).await;
    assert!(still_open.is_err() && !hanging.is_finished());
    assert_eq!(
        server
            .status(Method::POST, "s", &server.authority.descriptor(60))
            .await,
        200
    );
}

#[tokio::test]
async fn calls_may_finish_for_as_long_as_they_are_let() {
    const CALL_GRACE: Duration = Duration::from_secs(2);
    let server = Server::with(|builder| builder.call_grace(CALL_GRACE)).await;
    let descriptor = server.authority.descriptor(2);
    server.begin("s", &descriptor).await;
    let request = |method, header: &str| {
        let request = server.request(method, &descriptor);
        request.header(SESSION, "s").header(header, "1").send()
    };
    let listening = end_of(request(Method::GET, "x-stream").await.unwrap());
    let streamed = end_of(request(Method::POST, "x-stream").await.unwrap());
    let unanswered = async {
        let response = request(Method::POST, "x-hang").await.unwrap();
        assert_eq!(response.status(), 404);
        now()
    };
    let (listening, streamed, unanswered) = tokio::join!(listening, streamed, unanswered);
    assert_ended_in_time(listening, descriptor.expires_at);
    assert_ended_in_time(streamed, descriptor.expires_at + CALL_GRACE.as_secs());
    assert_ended_in_time(unanswered, descriptor.expires_at + CALL_GRACE.as_secs());
    // But nothing new begins.
    let fresh = server.authority.descriptor(60);
    assert_eq!(server.status(Method::POST, "s", &fresh).await, 404);
}

fn withdraws_client(authority: &Authority, client: &str) {
    let mut feed = authority.empty_feed();
    feed.clients = vec![Withdrawn {
        id: client.into(),
        tenant_id: Some("acme".into()),
        at: now().as_secs(),
        ..Withdrawn::default()
    }];
    authority.tells(&feed);
}

#[tokio::test]
async fn what_the_feed_names_ends_at_once_and_stays_ended() {
    let server = Server::with(|builder| builder.revocation_feed_interval(GRACE)).await;
    server.authority.tells(&server.authority.empty_feed());
    let own = server.authority.descriptor(60);
    let another = server.of_another_client();
    for (id, descriptor) in [("s", &own), ("t", &another)] {
        server.begin(id, descriptor).await;
    }
    let open = async |descriptor: &Descriptor, session: Option<&str>, header: &str| {
        let mut request = server.request(Method::GET, descriptor).header(header, "1");
        if let Some(session) = session {
            request = request.header(SESSION, session);
        }
        request.send().await.unwrap()
    };
    let mut ending = Vec::new();
    for session in [Some("s"), None] {
        for header in ["x-silent", "x-chatty"] {
            ending.push(tokio::spawn(end_of(open(&own, session, header).await)));
        }
    }
    let staying = [
        tokio::spawn(end_of(open(&another, Some("t"), "x-silent").await)),
        tokio::spawn(end_of(open(&another, None, "x-chatty").await)),
    ];
    let hanging = server.request(Method::POST, &own).header("x-hang", "1");
    let hanging = tokio::spawn(hanging.send());
    support::eventually("the feed is followed", async || {
        server.authority.polls() >= 2
    })
    .await;

    let withdrawn_at = now();
    withdraws_client(&server.authority, "desktop");
    for stream in ending {
        let took = stream.await.unwrap().checked_sub(withdrawn_at).unwrap();
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    let hanging = hanging.await.unwrap().unwrap();
    assert_eq!(hanging.status(), 403);
    let body: Value = hanging.json().await.unwrap();
    let data = &body["error"]["data"];
    assert_eq!(data["code"], "descriptor_revoked");
    // Nobody may repeat it unasked: it may have had effects.
    assert_eq!(
        (&data["cancelled"], &data["retryable"]),
        (&true.into(), &false.into())
    );
    let refused = server.request(Method::POST, &own).header(SESSION, "s");
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let body: Value = refused.json().await.unwrap();
    let data = &body["error"]["data"];
    assert_eq!(data["code"], "descriptor_revoked");
    assert_eq!(
        (data.get("cancelled"), &data["retryable"]),
        (None, &true.into())
    );
    // The client is let in again: a descriptor of later, but not the session.
    support::eventually("a second later", async || {
        now().as_secs() > withdrawn_at.as_secs() + 1
    })
    .await;
    let later = server.authority.descriptor(60);
    assert_eq!(server.status(Method::POST, "s", &later).await, 404);
    server.begin("u", &later).await;
    server.authority.tells(&server.authority.empty_feed());
    let polls = server.authority.polls();
    support::eventually("forgotten by the feed", async || {
        server.authority.polls() >= polls + 2
    })
    .await;
    assert_eq!(server.status(Method::POST, "s", &own).await, 404);
    // Nobody else is any the worse.
    assert_eq!(server.status(Method::POST, "t", &another).await, 200);
    assert!(staying.iter().all(|stream| !stream.is_finished()));
}

#[tokio::test]
async fn what_a_removed_key_has_signed_ends_at_once() {
    let server = Server::start(Mode::Required).await;
    let own = server.authority.descriptor(60);
    server.begin("s", &own).await;
    let stream = server.request(Method::GET, &own).header(SESSION, "s");
    let stream = tokio::spawn(end_of(stream.send().await.unwrap()));
    server.authority.publishes(&[&key(2)]);
    // A token of the new key has the set fetched.
    let newest = own.mint(&key(2)).unwrap();
    let fetched_at = now();
    let request = server.client.post(&server.url).header(HEADER, &newest);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let took = stream.await.unwrap().checked_sub(fetched_at).unwrap();
    assert!(took < Duration::from_secs(7), "{took:?}");
    let request = server.client.post(&server.url).header(HEADER, &newest);
    let late = request.header(SESSION, "s").send().await.unwrap();
    assert_eq!(late.status(), 404);
}

#[tokio::test]
async fn a_key_that_leaves_when_what_it_signed_has_expired_ends_nothing() {
    let server = Server::with(|builder| builder.grace(Duration::from_mins(1))).await;
    let own = server.authority.descriptor(1);
    server.begin("s", &own).await;
    support::eventually("it has expired", async || now().as_secs() > own.expires_at).await;
    server.authority.publishes(&[&key(2)]);
    // A token of the new key has the set fetched.
    let newest = server.authority.descriptor(60).mint(&key(2)).unwrap();
    let request = || server.client.post(&server.url).header(HEADER, &newest);
    assert_eq!(request().send().await.unwrap().status(), 200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = request().header(SESSION, "s").send().await.unwrap();
    assert_eq!(late.status(), 200);
}

#[tokio::test]
async fn report_ends_nothing_of_what_is_revoked() {
    let server = Server::with(|builder| {
        builder
            .mode(Mode::Report)
            .revocation_feed_interval(Duration::from_secs(1))
    })
    .await;
    let own = server.authority.descriptor(60);
    server.begin("s", &own).await;
    let stream = server.request(Method::GET, &own).header(SESSION, "s");
    let stream = tokio::spawn(end_of(stream.send().await.unwrap()));
    withdraws_client(&server.authority, "desktop");
    let polls = server.authority.polls();
    support::eventually("the feed is followed", async || {
        server.authority.polls() >= polls + 3
    })
    .await;
    assert_eq!(server.status(Method::POST, "s", &own).await, 200);
    assert!(!stream.is_finished());
}

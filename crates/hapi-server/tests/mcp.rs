//! The whole server over real HTTP, in both eras of the transport.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{Json, Router, routing::get};
use hapi_server::{Options, Server};
use mcp_connect_descriptor::{
    Descriptor, KeyStatus, RevocationFeed, ServerIdentity, SigningKey, Withdrawn,
};
use mcp_connect_verifier::Mode;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};

const SERVER_ID: &str = "com.example/hapi";
const SESSION: &str = "mcp-session-id";

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

/// Publishes its keys, and a feed of what it has withdrawn.
struct Authority {
    issuer: String,
    feed: Arc<Mutex<RevocationFeed>>,
}

impl Authority {
    async fn start() -> Self {
        let mut jwk = key().to_private_jwk(KeyStatus::Active);
        jwk.as_object_mut().unwrap().remove("d");
        let keys = json!({ "keys": [jwk] });
        let feed = Arc::new(Mutex::new(RevocationFeed::default()));
        let told = Arc::clone(&feed);
        let app = Router::new()
            .route("/.well-known/jwks.json", get(async move || Json(keys)))
            .route(
                "/v1/revocations",
                get(async move || {
                    let unsigned = told.lock().unwrap().to_unsigned(&key()).unwrap();
                    let signature = key().sign(&unsigned).unwrap();
                    unsigned.with_signature(&signature)
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let authority = Self { issuer, feed };
        authority.tells(|_| {});
        authority
    }

    fn tells(&self, change: impl FnOnce(&mut RevocationFeed)) {
        let now = unix_seconds();
        let mut feed = RevocationFeed {
            issuer: self.issuer.clone(),
            issued_at: now,
            expires_at: now + 120,
            window_seconds: 160,
            ..RevocationFeed::default()
        };
        change(&mut feed);
        *self.feed.lock().unwrap() = feed;
    }
}

#[expect(clippy::disallowed_methods, reason = "tests run now")]
fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn options(authority: &str) -> Options {
    Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        config: None,
        authority: Some(authority.into()),
        server_id: Some(SERVER_ID.into()),
        endpoint: None,
        grace_seconds: Some(0),
        leeway_seconds: Some(0),
        mode: None,
    }
}

struct Running {
    client: reqwest::Client,
    base: String,
    endpoint: String,
    authority: Authority,
    stop: oneshot::Sender<()>,
    run: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let authority = Authority::start().await;
        let mut options = options(&authority.issuer);
        change(&mut options);
        let server = Server::bind(&options).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        Self {
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: format!("http://{}", server.address()),
            endpoint: server.endpoint().to_owned(),
            authority,
            stop,
            run: tokio::spawn(server.run(async move {
                let _ = stopped.await;
            })),
        }
    }

    fn token(&self, jti: &str, seconds: u64) -> String {
        let expires_at = unix_seconds() + seconds;
        let descriptor = Descriptor {
            issuer: self.authority.issuer.clone(),
            endpoint: self.endpoint.clone(),
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
            jti: jti.into(),
            client_id: Some("desktop".into()),
            tenant_id: Some("acme".into()),
            confirmation: None,
        };
        descriptor.mint(&key()).unwrap()
    }

    fn post(&self, body: &Value) -> RequestBuilder {
        self.client
            .post(format!("{}/mcp", self.base))
            .header("accept", "application/json, text/event-stream")
            .header("mcp-connect", self.token("first", 60))
            .json(body)
    }

    /// A call as MCP 2026-07-28 wants it: everything in one request, no session.
    fn modern(&self, method: &str, mut params: Value) -> RequestBuilder {
        let meta = &mut params["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
        meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "test", "version": "1" });
        let name = params["name"].as_str().map(str::to_owned);
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let request = self
            .post(&body)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method);
        match name {
            Some(name) => request.header("mcp-name", name),
            None => request,
        }
    }

    /// Begins a session as MCP 2025-11-25 wants it.
    async fn session(&self) -> String {
        let initialize = json!({
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": { "name": "test", "version": "1" },
            },
        });
        let response = self.post(&initialize).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let session = response.headers()[SESSION].to_str().unwrap().to_owned();
        let result = &answer(response, 1).await["result"];
        assert_eq!(result["protocolVersion"], "2025-11-25");
        assert_eq!(result["serverInfo"]["name"], "hapi-server");

        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let response = self
            .in_session(&session, &initialized)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        session
    }

    fn in_session(&self, session: &str, body: &Value) -> RequestBuilder {
        self.post(body)
            .header(SESSION, session)
            .header("mcp-protocol-version", "2025-11-25")
    }
}

fn call(id: u32, tool: &str, arguments: &Value) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": id,
        "method": "tools/call",
        "params": { "name": tool, "arguments": arguments },
    })
}

/// Every JSON-RPC message of an answer, be it JSON or an event stream.
async fn messages(response: Response) -> Vec<Value> {
    let is_stream = response.headers()["content-type"] == "text/event-stream";
    let body = response.text().await.unwrap();
    if !is_stream {
        return vec![serde_json::from_str(&body).unwrap()];
    }
    body.lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .filter_map(|data| serde_json::from_str(data.trim()).ok())
        .collect()
}

async fn answer(response: Response, id: u32) -> Value {
    let messages = messages(response).await;
    let answer = messages.iter().find(|message| message["id"] == id);
    answer
        .unwrap_or_else(|| panic!("no answer in {messages:?}"))
        .clone()
}

#[tokio::test]
async fn health_is_open_and_mcp_is_not() {
    let server = Running::start().await;
    let health = server.client.get(format!("{}/health", server.base));
    let health = health.send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    assert_eq!(
        health.json::<Value>().await.unwrap(),
        json!({ "status": "ok" })
    );

    let without = server.client.post(format!("{}/mcp", server.base));
    let without = without.send().await.unwrap();
    assert_eq!(without.status(), StatusCode::UNAUTHORIZED);
    let challenge = without.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains(&server.authority.issuer) && challenge.contains(SERVER_ID));
    let body: Value = without.json().await.unwrap();
    assert_eq!(body["error"]["data"]["code"], "descriptor_missing");
}

#[tokio::test]
async fn health_names_a_clock_that_is_wrong() {
    let server = Running::start().await;
    // Signed five minutes from now: this machine's clock is behind the authority's.
    server.authority.tells(|feed| {
        feed.issued_at += 300;
        feed.expires_at += 300;
    });
    let url = format!("{}/health", server.base);
    let told = timeout(Duration::from_secs(20), async {
        loop {
            let health = server.client.get(&url).send().await.unwrap();
            if health.status() == StatusCode::SERVICE_UNAVAILABLE {
                return health.json::<Value>().await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let told = told.await.unwrap();
    assert_eq!(told["status"], "unavailable");
    let problem = told["problem"].as_str().unwrap();
    assert!(problem.starts_with("this machine's clock is"), "{problem}");
    assert!(problem.ends_with("s behind the authority's"), "{problem}");
}

#[tokio::test]
async fn serves_a_session() {
    let server = Running::start().await;
    let session = server.session().await;
    let ask = async |body: Value| {
        let request = server.in_session(&session, &body);
        answer(request.send().await.unwrap(), 2).await["result"].clone()
    };

    let list = ask(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" })).await;
    let mut names: Vec<_> = list["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["add", "echo", "tick", "whoami"]);

    let echo = ask(call(2, "echo", &json!({ "text": "grüezi" }))).await;
    assert_eq!(echo["content"][0]["text"], "grüezi");
    let add = ask(call(2, "add", &json!({ "a": 40, "b": 2 }))).await;
    assert_eq!(add["structuredContent"], json!({ "sum": 42 }));
    let overflow = ask(call(2, "add", &json!({ "a": i64::MAX, "b": 1 }))).await;
    assert_eq!(overflow["isError"], true);

    let delete = server.client.delete(format!("{}/mcp", server.base));
    let delete = delete.header(SESSION, &session);
    let delete = delete.header("mcp-connect", server.token("last", 60));
    assert!(delete.send().await.unwrap().status().is_success());
    let gone = server.in_session(&session, &call(2, "whoami", &json!({})));
    assert_eq!(gone.send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn whoami_tells_of_the_descriptor_of_this_very_request() {
    let server = Running::start().await;
    let session = server.session().await;
    let request = server.in_session(&session, &call(3, "whoami", &json!({})));
    let (client, request) = request.build_split();
    let mut request = request.unwrap();
    let newer = server.token("second", 50).parse().unwrap();
    request.headers_mut().insert("mcp-connect", newer);
    let response = client.execute(request).await.unwrap();
    let whoami = answer(response, 3).await["result"]["structuredContent"].clone();
    assert_eq!(whoami["server_id"], SERVER_ID);
    let descriptor = &whoami["descriptor"];
    assert_eq!(descriptor["jti"], "second");
    assert_eq!(descriptor["client_id"], "desktop");
    assert_eq!(descriptor["tenant_id"], "acme");
    let seconds_left = descriptor["seconds_left"].as_u64().unwrap();
    assert!((40..=50).contains(&seconds_left), "{seconds_left}");
}

#[tokio::test]
async fn serves_without_a_session() {
    let server = Running::start().await;
    let whoami = server.modern("tools/call", json!({ "name": "whoami", "arguments": {} }));
    let response = whoami.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key(SESSION));
    let whoami = answer(response, 7).await;
    let descriptor = &whoami["result"]["structuredContent"]["descriptor"];
    assert_eq!(descriptor["jti"], "first");

    let list = server.modern("tools/list", json!({})).send().await.unwrap();
    let list = answer(list, 7).await;
    assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn optional_lets_an_ungoverned_caller_in_and_says_so() {
    let server = Running::with(|options| options.mode = Some(Mode::Optional)).await;
    let whoami = server.modern("tools/call", json!({ "name": "whoami", "arguments": {} }));
    let (client, request) = whoami.build_split();
    let mut request = request.unwrap();
    request.headers_mut().remove("mcp-connect");
    let whoami = answer(client.execute(request).await.unwrap(), 7).await;
    let whoami = &whoami["result"]["structuredContent"];
    assert_eq!(
        *whoami,
        json!({ "server_id": SERVER_ID, "descriptor": null })
    );
}

#[tokio::test]
async fn tick_reports_its_progress_in_both_eras() {
    let server = Running::start().await;
    let params = json!({
        "name": "tick",
        "arguments": { "seconds": 2 },
        "_meta": { "progressToken": "mine" },
    });
    let modern = server.modern("tools/call", params.clone());
    let session = server.session().await;
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    let legacy = server.in_session(&session, &body);
    for request in [modern, legacy] {
        let began = Instant::now();
        let messages = messages(request.send().await.unwrap()).await;
        assert!(began.elapsed() >= Duration::from_secs(2));
        let progress: Vec<_> = messages
            .iter()
            .filter(|message| message["method"] == "notifications/progress")
            .map(|message| &message["params"])
            .collect();
        assert_eq!(progress.len(), 2, "{messages:?}");
        for (params, tick) in progress.iter().zip(1..) {
            assert_eq!(params["progressToken"], "mine");
            assert_eq!(params["progress"].as_f64(), Some(f64::from(tick)));
            assert_eq!(params["total"].as_f64(), Some(2.0));
        }
        let last = &messages.last().unwrap()["result"];
        assert_eq!(last["structuredContent"], json!({ "ticks": 2 }));
    }
}

#[tokio::test]
async fn tick_has_bounds() {
    let server = Running::start().await;
    for seconds in [0, 601] {
        let arguments = json!({ "seconds": seconds });
        let tick = server.modern(
            "tools/call",
            json!({ "name": "tick", "arguments": arguments }),
        );
        let answer = answer(tick.send().await.unwrap(), 7).await;
        assert_eq!(answer["error"]["code"], -32602, "{seconds}");
    }
}

#[tokio::test]
async fn tick_can_be_cancelled() {
    let server = Running::start().await;
    let session = server.session().await;
    let tick = server.in_session(&session, &call(9, "tick", &json!({ "seconds": 600 })));
    let tick = tick.send().await.unwrap();
    let cancel = json!({
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": { "requestId": 9 },
    });
    let cancelled = server.in_session(&session, &cancel).send().await.unwrap();
    assert_eq!(cancelled.status(), StatusCode::ACCEPTED);
    let ended = timeout(Duration::from_secs(10), messages(tick))
        .await
        .unwrap();
    assert!(
        ended.iter().all(|message| message["result"].is_null()),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_long_call_ends_with_its_descriptor() {
    let server = Running::start().await;
    // rmcp answers with the head of a stream once there is something to send, and not before.
    for (progress_token, status) in [
        (json!("mine"), StatusCode::OK),
        (json!(null), StatusCode::FORBIDDEN),
    ] {
        let mut tick = json!({ "name": "tick", "arguments": { "seconds": 600 } });
        if progress_token.is_string() {
            tick["_meta"]["progressToken"] = progress_token;
        }
        let (client, request) = server.modern("tools/call", tick).build_split();
        let mut request = request.unwrap();
        let short = server.token("short", 3).parse().unwrap();
        request.headers_mut().insert("mcp-connect", short);
        let response = client.execute(request);
        let response = timeout(Duration::from_secs(10), response).await.unwrap();
        let response = response.unwrap();
        assert_eq!(response.status(), status);
        let sent = timeout(Duration::from_secs(10), messages(response)).await;
        let sent = sent.unwrap();
        assert!(
            sent.iter().all(|message| message["result"].is_null()),
            "{sent:?}"
        );
    }
}

#[tokio::test]
async fn a_revocation_ends_sessions_streams_and_calls_in_both_eras() {
    let server = Running::start().await;
    let session = server.session().await;
    let tick = json!({
        "name": "tick",
        "arguments": { "seconds": 600 },
        "_meta": { "progressToken": "mine" },
    });
    let legacy = json!({ "jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": tick });
    let listening = server
        .client
        .get(format!("{}/mcp", server.base))
        .header("accept", "text/event-stream")
        .header("mcp-connect", server.token("first", 60))
        .header(SESSION, &session);
    let mut open = Vec::new();
    for request in [
        listening,
        server.in_session(&session, &legacy),
        server.modern("tools/call", tick),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        open.push(tokio::spawn(response.text()));
    }

    let at = unix_seconds();
    server.authority.tells(|feed| {
        feed.tenants = vec![Withdrawn {
            id: "acme".into(),
            at,
            ..Withdrawn::default()
        }];
    });
    // The default interval of the feed is 5 s.
    for stream in open {
        let ended = timeout(Duration::from_secs(8), stream).await;
        let sent = ended.unwrap().unwrap().unwrap();
        assert!(!sent.contains("\"result\""), "{sent}");
    }
    while unix_seconds() <= at {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What the tenant gets after it was let in again is good, but not for the session.
    let late = server.in_session(&session, &call(5, "whoami", &json!({})));
    let late = late.send().await.unwrap();
    assert_eq!(late.status(), StatusCode::NOT_FOUND);
    let body: Value = late.json().await.unwrap();
    assert_eq!(body["error"]["data"]["code"], "session_ended");
    let afresh = server.session().await;
    let request = server.in_session(&afresh, &call(6, "echo", &json!({ "text": "hello" })));
    let echo = answer(request.send().await.unwrap(), 6).await;
    assert_eq!(echo["result"]["content"][0]["text"], "hello");
}

#[tokio::test]
async fn answers_only_to_its_own_names() {
    let server = Running::with(|options| {
        options.endpoint = Some("https://hapi.example/mcp".into());
    })
    .await;
    let status = async |host: &str, origin: &str| {
        let list = server.modern("tools/list", json!({}));
        let list = list.header("host", host).header("origin", origin);
        list.send().await.unwrap().status()
    };
    let own = "https://hapi.example";
    assert_eq!(status("hapi.example", own).await, StatusCode::OK);
    assert_eq!(status("localhost", own).await, StatusCode::OK);
    assert_eq!(status("evil.example", own).await, StatusCode::FORBIDDEN);
    assert_eq!(
        status("hapi.example", "https://evil.example").await,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn stops_though_streams_are_open() {
    let server = Running::start().await;
    let session = server.session().await;
    let stream = server
        .client
        .get(format!("{}/mcp", server.base))
        .header("accept", "text/event-stream")
        .header("mcp-connect", server.token("first", 60))
        .header(SESSION, &session);
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    let tick = json!({ "name": "tick", "arguments": { "seconds": 600 } });
    let tick = server.in_session(
        &session,
        &json!({
            "jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": tick,
        }),
    );
    let tick = tick.send().await.unwrap();
    assert_eq!(tick.status(), StatusCode::OK);

    server.stop.send(()).unwrap();
    let ran = timeout(Duration::from_secs(8), server.run).await;
    ran.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn says_which_option_is_wrong() {
    let mut wrong = options("http://authority.example");
    let problem = format!("{:#}", Server::bind(&wrong).await.unwrap_err());
    assert!(problem.contains("issuer must be https"), "{problem}");
    wrong = options("https://authority.example");
    wrong.listen = "0.0.0.0:0".parse().unwrap();
    let problem = format!("{:#}", Server::bind(&wrong).await.unwrap_err());
    assert!(problem.contains("audience must be https"), "{problem}");
}

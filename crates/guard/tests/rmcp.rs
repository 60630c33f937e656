//! A real rmcp server that knows nothing of descriptors, behind the guard, in both eras of the
//! transport.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::{sync::Arc, time::Duration};

use axum::Router;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::wrapper::Parameters,
    model::{ProgressNotificationParam, ServerCapabilities, ServerConfig},
    schemars,
    service::RequestContext,
    tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use support::{CONNECT, Guard, serve};
use tokio::time::timeout;

const SESSION: &str = "mcp-session-id";

#[derive(Clone)]
struct Tools;

#[derive(schemars::JsonSchema, serde::Deserialize)]
struct Steps {
    steps: u16,
}

#[tool_router]
impl Tools {
    #[tool(description = "Takes so many tenths of a second, and reports each.")]
    async fn walk(
        &self,
        Parameters(Steps { steps }): Parameters<Steps>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        for step in 1..=steps {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if let Some(token) = context.meta.get_progress_token() {
                let progress = ProgressNotificationParam::new(token, step.into());
                let _ = context.peer.notify_progress(progress).await;
            }
        }
        Ok(format!("{steps} steps"))
    }
}

#[tool_handler]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

/// The server as its makers set it up: it answers to loopback names alone.
async fn guard() -> Guard {
    let service = StreamableHttpService::new(
        || Ok(Tools),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let backend = serve(Router::new().route_service("/", service)).await;
    Guard::without_tolerance(&format!("http://{backend}/")).await
}

fn post(guard: &Guard, token: &str, body: &Value) -> RequestBuilder {
    guard
        .ungoverned(Method::POST)
        .header("host", "mcp.example")
        .header("accept", "application/json, text/event-stream")
        .header(CONNECT, token)
        .json(body)
}

fn in_session(guard: &Guard, token: &str, session: &str, body: &Value) -> RequestBuilder {
    post(guard, token, body)
        .header(SESSION, session)
        .header("mcp-protocol-version", "2025-11-25")
}

async fn session(guard: &Guard, token: &str) -> String {
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
    let response = post(guard, token, &initialize).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let session = response.headers()[SESSION].to_str().unwrap().to_owned();
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let noted = in_session(guard, token, &session, &initialized)
        .send()
        .await
        .unwrap();
    assert_eq!(noted.status(), StatusCode::ACCEPTED);
    session
}

fn walk(steps: u16) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {
            "name": "walk",
            "arguments": { "steps": steps },
            "_meta": { "progressToken": "mine" },
        },
    })
}

fn messages(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .filter_map(|data| serde_json::from_str(data.trim()).ok())
        .collect()
}

/// Each message when it arrives, until the call is answered.
async fn assert_walked(mut response: Response, steps: usize) {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut arrived = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        arrived.push(messages(std::str::from_utf8(&chunk).unwrap()));
    }
    let parts = arrived.iter().filter(|messages| !messages.is_empty());
    assert!(parts.count() > steps, "not one by one: {arrived:?}");
    let answer = arrived.concat().pop().unwrap();
    let text = &answer["result"]["content"][0]["text"];
    assert_eq!(*text, format!("{steps} steps"));
}

#[tokio::test]
async fn a_session_is_served_and_ends_when_no_newer_descriptor_comes() {
    let guard = guard().await;
    let token = guard.token(4);
    let session = session(&guard, &token).await;
    let call = in_session(&guard, &token, &session, &walk(3)).send().await;
    assert_walked(call.unwrap(), 3).await;

    let stranger = guard.token_of("mallory", 60);
    let stolen = in_session(&guard, &stranger, &session, &walk(1))
        .send()
        .await;
    assert_eq!(stolen.unwrap().status(), StatusCode::FORBIDDEN);

    let listening = guard
        .ungoverned(Method::GET)
        .header("accept", "text/event-stream")
        .header(CONNECT, &token)
        .header(SESSION, &session)
        .header("mcp-protocol-version", "2025-11-25");
    let listening = listening.send().await.unwrap();
    assert_eq!(listening.status(), StatusCode::OK);
    let ended = timeout(Duration::from_secs(8), listening.bytes()).await;
    assert!(ended.unwrap().is_ok());

    // Not even with a fresh one: the client has to start anew.
    let fresh = guard.token(60);
    let late = in_session(&guard, &fresh, &session, &walk(1)).send().await;
    assert_eq!(late.unwrap().status(), StatusCode::NOT_FOUND);
    let session = self::session(&guard, &fresh).await;
    let call = in_session(&guard, &fresh, &session, &walk(1)).send().await;
    assert_walked(call.unwrap(), 1).await;
}

#[tokio::test]
async fn a_newer_descriptor_keeps_a_session() {
    let guard = guard().await;
    let session = session(&guard, &guard.token(3)).await;
    let renewed = guard.token(60);
    let call = in_session(&guard, &renewed, &session, &walk(1))
        .send()
        .await;
    assert_walked(call.unwrap(), 1).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let call = in_session(&guard, &renewed, &session, &walk(1))
        .send()
        .await;
    assert_walked(call.unwrap(), 1).await;
}

#[tokio::test]
async fn a_call_without_session_is_served() {
    let guard = guard().await;
    let mut body = walk(3);
    let meta = &mut body["params"]["_meta"];
    meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "test", "version": "1" });
    let modern = |token: &str| {
        post(&guard, token, &body)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", "walk")
    };
    let call = modern(&guard.token(60)).send().await.unwrap();
    assert_walked(call, 3).await;
    let expired = modern(&guard.token(0)).send().await.unwrap();
    assert_eq!(expired.status(), StatusCode::UNAUTHORIZED);
}

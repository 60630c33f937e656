//! rmcp's client through a connection, directly to an MCP server that demands descriptors.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use mcp_connect_client::{Algorithm, Connection, SenderKey, State as ConnectionState};
use mcp_connect_descriptor::{
    Confirmation, Descriptor, Expected, HEADER, PROOF_HEADER, ProofContext, TargetUri,
    UnverifiedProof,
};
use rmcp::{
    ClientServiceExt, RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
        ProtocolVersion, ServerCapabilities, ServerConfig,
    },
    service::{ClientLifecycleMode, RequestContext},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::json;
use support::{SERVER_ID, TestAuthority, advance, eventually, key_set, unix_now};

/// Answers the name of the tool, and `wait` never.
#[derive(Clone)]
struct Tools;

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if request.name == "wait" {
            std::future::pending::<()>().await;
        }
        Ok(CallToolResult::success(vec![ContentBlock::text(request.name)]).into())
    }
}

/// An MCP server that wants a good descriptor, and keeps a record of what it was shown.
#[derive(Clone)]
struct Governed {
    authority: TestAuthority,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    methods: Vec<Method>,
    last_jti: String,
    /// Of the proofs that the sender holds its key.
    proofs: Vec<String>,
    /// Refuses descriptors as expired while they have this `jti`.
    expired: Option<String>,
    always_expired: bool,
    /// Refuses descriptors as revoked while they have this `jti`.
    revoked: Option<String>,
    always_revoked: bool,
    /// Says that the call had begun when the descriptor was revoked.
    cancels: bool,
}

impl Governed {
    /// Starts it, and makes it the endpoint that the authority signs.
    async fn start() -> Self {
        let governed = Self {
            authority: TestAuthority::start().await,
            seen: Arc::default(),
        };
        let mcp = StreamableHttpService::<_, LocalSessionManager>::new(
            || Ok(Tools),
            Arc::default(),
            StreamableHttpServerConfig::default(),
        );
        let router = Router::new()
            .nest_service("/mcp", mcp)
            .layer(middleware::from_fn_with_state(governed.clone(), demand));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        governed.authority.script().endpoint =
            format!("http://{}/mcp", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        governed
    }

    async fn open(&self) -> Connection {
        Connection::open(self.authority.client(), SERVER_ID)
            .await
            .unwrap()
    }

    fn last_jti(&self) -> String {
        self.seen.lock().unwrap().last_jti.clone()
    }
}

async fn demand(State(governed): State<Governed>, request: Request, next: Next) -> Response {
    let shown: Vec<_> = request.headers().get_all(HEADER).iter().collect();
    assert_eq!(shown.len(), 1, "one descriptor on every request");
    let (issuer, endpoint) = {
        let script = governed.authority.script();
        (script.issuer.clone(), script.endpoint.clone())
    };
    let expected = Expected::new(&issuer, SERVER_ID).audience(&endpoint);
    let token = shown[0].to_str().unwrap();
    let descriptor =
        mcp_connect_descriptor::verify(token, &key_set(&[1]), &expected, unix_now()).unwrap();
    check_proof(&governed, &request, &descriptor, token);
    let (refused, revoked, cancelled) = {
        let mut seen = governed.seen.lock().unwrap();
        seen.methods.push(request.method().clone());
        seen.last_jti.clone_from(&descriptor.jti);
        (
            seen.always_expired || seen.expired.as_ref() == Some(&descriptor.jti),
            seen.always_revoked || seen.revoked.as_ref() == Some(&descriptor.jti),
            seen.cancels,
        )
    };
    if revoked {
        let mut data = json!({"code": "descriptor_revoked", "authority": issuer,
            "server_ref": SERVER_ID, "retryable": !cancelled});
        if cancelled {
            data["cancelled"] = true.into();
        }
        let body = Json(json!({"jsonrpc": "2.0", "id": null,
            "error": {"code": -32005, "message": "revoked", "data": data}}));
        return (StatusCode::FORBIDDEN, body).into_response();
    }
    if refused {
        let challenge = format!(
            r#"MCP-Connect error="descriptor_expired", authority="{issuer}", server_ref="{SERVER_ID}""#
        );
        let body = Json(json!({"jsonrpc": "2.0", "id": null,
            "error": {"code": -32002, "message": "expired", "data": {"code": "descriptor_expired"}}}));
        return (
            StatusCode::UNAUTHORIZED,
            [("www-authenticate", challenge)],
            body,
        )
            .into_response();
    }
    next.run(request).await
}

/// A bound descriptor comes with a new proof on each request, any other with none.
fn check_proof(governed: &Governed, request: &Request, descriptor: &Descriptor, token: &str) {
    let shown: Vec<_> = request.headers().get_all(PROOF_HEADER).iter().collect();
    let Some(confirmation) = &descriptor.confirmation else {
        return assert!(shown.is_empty());
    };
    assert_eq!(shown.len(), 1, "one proof on every request");
    let target = TargetUri::parse(&descriptor.endpoint).unwrap();
    let context = ProofContext::new(request.method().as_str(), &target).with_token(token);
    let proof = UnverifiedProof::parse(shown[0].to_str().unwrap())
        .and_then(|proof| proof.verify(&context, unix_now()))
        .unwrap();
    assert_eq!(*confirmation, Confirmation::Jkt(proof.thumbprint));
    let mut seen = governed.seen.lock().unwrap();
    assert!(!seen.proofs.contains(&proof.jti), "shown before");
    seen.proofs.push(proof.jti);
}

fn tool(name: &'static str) -> CallToolRequestParams {
    CallToolRequestParams::new(name)
}

fn text(result: &CallToolResult) -> &str {
    &result.content[0].as_text().unwrap().text
}

#[tokio::test]
async fn shows_the_descriptor_on_every_request_of_a_session() {
    let server = Governed::start().await;
    let connection = server.open().await;
    let client = ().serve(connection.transport()).await.unwrap();
    assert_eq!(text(&client.call_tool(tool("sun")).await.unwrap()), "sun");
    eventually("the session's stream", || {
        server.seen.lock().unwrap().methods.contains(&Method::GET)
    })
    .await;

    // A session outlives its first descriptor.
    advance(Duration::from_secs(41)).await;
    eventually("refresh", || server.authority.connects() == 2).await;
    eventually("the new grant", || {
        connection.current().unwrap().claims().jti == "jti-2"
    })
    .await;
    assert_eq!(text(&client.call_tool(tool("rain")).await.unwrap()), "rain");
    assert_eq!(server.last_jti(), "jti-2");

    client.cancel().await.unwrap();
    assert_eq!(
        server.seen.lock().unwrap().methods.last(),
        Some(&Method::DELETE)
    );
}

#[tokio::test]
async fn proves_on_every_request_that_it_holds_the_key_of_its_descriptors() {
    let server = Governed::start().await;
    let key = SenderKey::generate(Algorithm::Es256).unwrap();
    let authority = server.authority.client().bound_to_key(key);
    let connection = Connection::open(authority, SERVER_ID).await.unwrap();
    let client = ().serve(connection.transport()).await.unwrap();
    assert_eq!(text(&client.call_tool(tool("sun")).await.unwrap()), "sun");
    // The request that is sent again with a fresh descriptor has a fresh proof.
    server.seen.lock().unwrap().expired = Some("jti-1".into());
    assert_eq!(text(&client.call_tool(tool("rain")).await.unwrap()), "rain");
    assert_eq!(server.authority.connects(), 2);
    client.cancel().await.unwrap();
    let seen = server.seen.lock().unwrap();
    assert!(seen.methods.contains(&Method::DELETE));
    assert_eq!(seen.proofs.len(), seen.methods.len());
}

#[tokio::test]
async fn works_without_sessions_in_the_2026_era() {
    let server = Governed::start().await;
    let connection = server.open().await;
    let lifecycle = ClientLifecycleMode::Discover {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
    };
    let client = ().serve_with_lifecycle(connection.transport(), lifecycle).await.unwrap();
    assert_eq!(text(&client.call_tool(tool("sun")).await.unwrap()), "sun");
    let methods = server.seen.lock().unwrap().methods.clone();
    assert_eq!(methods, [Method::POST, Method::POST]);
    client.cancel().await.unwrap();
}

#[tokio::test]
async fn fetches_a_fresh_descriptor_when_the_server_finds_it_expired() {
    let server = Governed::start().await;
    let connection = server.open().await;
    let client = ().serve(connection.transport()).await.unwrap();
    server.seen.lock().unwrap().expired = Some("jti-1".into());
    assert_eq!(text(&client.call_tool(tool("sun")).await.unwrap()), "sun");
    assert_eq!(server.last_jti(), "jti-2");
    assert_eq!(server.authority.connects(), 2);
}

#[tokio::test]
async fn fetches_a_fresh_descriptor_once_when_the_server_finds_it_revoked() {
    let server = Governed::start().await;
    let connection = server.open().await;
    let client = ().serve(connection.transport()).await.unwrap();
    eventually("the session's stream", || {
        server.seen.lock().unwrap().methods.contains(&Method::GET)
    })
    .await;
    server.seen.lock().unwrap().revoked = Some("jti-1".into());
    assert_eq!(text(&client.call_tool(tool("sun")).await.unwrap()), "sun");
    assert_eq!(server.last_jti(), "jti-2");
    assert_eq!(server.authority.connects(), 2);

    // A server that finds everything revoked is no reason to loop.
    server.seen.lock().unwrap().always_revoked = true;
    let before = server.seen.lock().unwrap().methods.len();
    client.call_tool(tool("sun")).await.unwrap_err();
    assert_eq!(server.seen.lock().unwrap().methods.len(), before + 2);
    for _ in 0..6 {
        client.call_tool(tool("sun")).await.unwrap_err();
    }
    assert_eq!(server.authority.connects(), 4);
}

#[tokio::test]
async fn a_call_that_had_begun_when_it_was_revoked_is_not_repeated() {
    let server = Governed::start().await;
    let connection = server.open().await;
    let client = ().serve(connection.transport()).await.unwrap();
    eventually("the session's stream", || {
        server.seen.lock().unwrap().methods.contains(&Method::GET)
    })
    .await;
    {
        let mut seen = server.seen.lock().unwrap();
        seen.always_revoked = true;
        seen.cancels = true;
    }
    client.call_tool(tool("sun")).await.unwrap_err();
    assert_eq!(server.authority.connects(), 1);
}

#[tokio::test]
async fn whether_there_is_a_fresh_descriptor_is_the_authoritys_to_say() {
    let server = Governed::start().await;
    let connection = server.open().await;
    let client = ().serve(connection.transport()).await.unwrap();
    eventually("the session's stream", || {
        server.seen.lock().unwrap().methods.contains(&Method::GET)
    })
    .await;
    server.seen.lock().unwrap().always_revoked = true;
    server.authority.script().refuse_with(403, "server_revoked");
    let error = client.call_tool(tool("sun")).await.unwrap_err().to_string();
    assert!(error.contains("server_revoked"), "{error}");
    let state = connection.watch().borrow().clone();
    assert!(matches!(state, ConnectionState::Ended(_)), "{state:?}");
    assert_eq!(server.authority.connects(), 2);
}

#[tokio::test]
async fn a_server_that_finds_everything_expired_costs_three_refreshes_a_minute() {
    let server = Governed::start().await;
    let connection = server.open().await;
    let client = ().serve(connection.transport()).await.unwrap();
    server.seen.lock().unwrap().always_expired = true;
    for _ in 0..6 {
        client.call_tool(tool("sun")).await.unwrap_err();
    }
    assert_eq!(server.authority.connects(), 4);
    let error = format!("{:?}", client.call_tool(tool("sun")).await.unwrap_err());
    assert!(error.contains("NoFreshDescriptor"), "{error}");
}

#[tokio::test]
async fn ends_with_the_revocation() {
    let server = Governed::start().await;
    let connection = server.open().await;
    let client = ().serve(connection.transport()).await.unwrap();
    let peer = client.peer().clone();
    let waiting = tokio::spawn(async move { peer.call_tool(tool("wait")).await });
    eventually("the call and the stream are open", || {
        server.seen.lock().unwrap().methods.len() >= 4
    })
    .await;

    server.authority.script().refuse_with(403, "server_revoked");
    let mut watch = connection.watch();
    advance(Duration::from_secs(41)).await;
    watch
        .wait_for(|state| matches!(state, ConnectionState::Ended(_)))
        .await
        .unwrap();

    // The open answer is cut, new requests fail, and nothing is tried again.
    let cut = tokio::time::timeout(Duration::from_secs(5), waiting)
        .await
        .unwrap()
        .unwrap();
    cut.unwrap_err();
    let error = client.call_tool(tool("sun")).await.unwrap_err().to_string();
    assert!(error.contains("server_revoked"), "{error}");
    let requests = server.seen.lock().unwrap().methods.len();
    for _ in 0..10 {
        advance(Duration::from_mins(1)).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.seen.lock().unwrap().methods.len(), requests);
    assert_eq!(server.authority.connects(), 2);
}

#[tokio::test]
async fn never_shows_the_descriptor_to_another_endpoint() {
    use rmcp::transport::streamable_http_client::{
        StreamableHttpClient, StreamableHttpClientTransportConfig,
    };
    let server = Governed::start().await;
    let elsewhere = Governed::start().await;
    let connection = server.open().await;

    // The configured URI is replaced by the signed one.
    let endpoint = elsewhere.authority.script().endpoint.clone();
    let config = StreamableHttpClientTransportConfig::with_uri(endpoint.clone());
    let client = ().serve(connection.transport_with(config)).await.unwrap();
    client.cancel().await.unwrap();
    assert!(elsewhere.seen.lock().unwrap().methods.is_empty());
    assert!(!server.seen.lock().unwrap().methods.is_empty());

    let error = connection
        .http_client()
        .delete_session(endpoint.into(), "s".into(), None, HashMap::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("another endpoint"), "{error}");
    assert!(elsewhere.seen.lock().unwrap().methods.is_empty());
}

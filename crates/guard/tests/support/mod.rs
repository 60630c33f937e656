//! The real binary between a real client and a real backend, with an authority beside them.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Json, Router, response::Response, routing::get};
use mcp_connect_descriptor::{Descriptor, KeyStatus, ServerIdentity, SigningKey};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::timeout,
};

pub(crate) const AUDIENCE: &str = "https://mcp.example/mcp";
pub(crate) const SERVER_ID: &str = "com.example/weather";
pub(crate) const CONNECT: &str = "mcp-connect";

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

/// Serves on a port of its own for as long as the test runs.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// An authority's key set; its issuer.
pub(crate) async fn authority() -> String {
    authority_ahead_by(Duration::ZERO).await
}

fn dated(mut response: Response, ahead: Duration) -> Response {
    #[expect(clippy::disallowed_methods, reason = "tests run now")]
    let date = httpdate::fmt_http_date(SystemTime::now() + ahead);
    response.headers_mut().insert("date", date.parse().unwrap());
    response
}

/// … whose clock is ahead of this machine's.
pub(crate) async fn authority_ahead_by(ahead: Duration) -> String {
    let mut jwk = key().to_private_jwk(KeyStatus::Active);
    jwk.as_object_mut().unwrap().remove("d");
    let keys = json!({ "keys": [jwk] });
    let date = axum::middleware::map_response(move |response: Response| {
        std::future::ready(dated(response, ahead))
    });
    let app = Router::new()
        .route("/.well-known/jwks.json", get(async move || Json(keys)))
        .layer(date);
    format!("http://{}", serve(app).await)
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-connect-guard"));
    command.env_clear().kill_on_drop(true);
    command
}

/// A guard that runs until it is dropped.
pub(crate) struct Guard {
    pub(crate) client: reqwest::Client,
    pub(crate) address: SocketAddr,
    pub(crate) health: Option<SocketAddr>,
    pub(crate) issuer: String,
    process: Child,
}

impl Guard {
    pub(crate) async fn before(backend: SocketAddr) -> Self {
        Self::with(&format!("http://{backend}/inner"), &[]).await
    }

    pub(crate) async fn with(backend: &str, arguments: &[&str]) -> Self {
        Self::with_variables(backend, arguments, &[]).await
    }

    /// … whose streams and sessions end the moment their descriptor does.
    pub(crate) async fn without_tolerance(backend: &str) -> Self {
        let variables = [
            ("MCP_CONNECT_LEEWAY_SECONDS", "0"),
            ("MCP_CONNECT_GRACE_SECONDS", "0"),
        ];
        Self::with_variables(backend, &[], &variables).await
    }

    /// … of this authority.
    pub(crate) async fn of_issuer(issuer: String, backend: &str, arguments: &[&str]) -> Self {
        Self::start(issuer, backend, arguments, &[]).await
    }

    async fn with_variables(backend: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start(authority().await, backend, arguments, variables).await
    }

    async fn start(
        issuer: String,
        backend: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut process = command()
            .args(["--listen", "127.0.0.1:0", "--backend", backend])
            .args(["--issuer", &issuer, "--audience", AUDIENCE])
            .args(["--server-id", SERVER_ID])
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address_after = async |prefix: &str| {
            let line = lines.next_line().await.unwrap();
            let line = line.expect("it says where it listens");
            let rest = line.strip_prefix(prefix).unwrap();
            rest.trim_end_matches("/healthz").parse().unwrap()
        };
        let address = address_after("listening on http://").await;
        let health = if arguments.contains(&"--health-listen") {
            Some(address_after("health on http://").await)
        } else {
            None
        };
        Self {
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            address,
            health,
            issuer,
            process,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// A request without descriptor.
    pub(crate) fn ungoverned(&self, method: Method) -> RequestBuilder {
        self.client.request(method, self.url())
    }

    /// A request with a good descriptor.
    pub(crate) fn governed(&self, method: Method) -> RequestBuilder {
        self.ungoverned(method).header(CONNECT, self.token(60))
    }

    pub(crate) fn token(&self, seconds: u64) -> String {
        self.token_of("desktop", seconds)
    }

    #[expect(clippy::disallowed_methods, reason = "tests run now")]
    pub(crate) fn token_of(&self, client_id: &str, seconds: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let expires_at = now.as_secs() + seconds;
        let descriptor = Descriptor {
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
            client_id: Some(client_id.into()),
            tenant_id: Some("acme".into()),
            confirmation: None,
        };
        descriptor.mint(&key()).unwrap()
    }

    /// The most memory that it had at once, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let id = self.process.id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }

    pub(crate) async fn signal(&self, name: &str) {
        let id = self.process.id().unwrap().to_string();
        let told = Command::new("kill").args(["-s", name, &id]).status();
        assert!(told.await.unwrap().success());
    }

    /// Waits for its end; what it has logged.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let status = timeout(Duration::from_secs(10), self.process.wait()).await;
        let mut log = String::new();
        let mut stderr = self.process.stderr.take().unwrap();
        stderr.read_to_string(&mut log).await.unwrap();
        (status.expect("it did not stop").unwrap(), log)
    }

    /// Tells it to stop and waits; what it has logged.
    pub(crate) async fn log(self) -> String {
        self.signal("TERM").await;
        self.ended().await.1
    }
}

/// Tries until it holds; gives up after ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(tokio::time::Instant::now() < until, "never so: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a backend saw of a request, as its answer.
pub(crate) async fn echo(request: axum::extract::Request) -> Json<serde_json::Value> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let headers: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    Json(json!({
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    }))
}

/// The values of a header, as [`echo`] saw them.
pub(crate) fn seen<'a>(echo: &'a serde_json::Value, name: &str) -> Vec<&'a str> {
    let headers = echo["headers"].as_array().unwrap();
    headers
        .iter()
        .filter(|header| header[0] == name)
        .map(|header| header[1].as_str().unwrap())
        .collect()
}

/// Sends these bytes, and reads until the guard closes the connection.
pub(crate) async fn raw(address: SocketAddr, request: String) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    // A reset ends a connection, too.
    let _ = read.expect("the guard closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use axum::{
    Json, Router,
    http::{StatusCode, Uri},
    routing::{MethodRouter, get},
};
use mcp_connect_verifier::{ConnectLayer, CorsLayer, Verifier};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, select, time::sleep};

use crate::{
    Options,
    tools::{LONGEST_TICK, Tools},
};

/// How long open requests may take to end when the server is told to stop.
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(5);

/// A server that has its address, and runs when told so.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    verifier: Verifier,
    mcp: StreamableHttpServerConfig,
    cors: Option<CorsLayer>,
}

/// The pages of browsers that may connect.
#[derive(Debug)]
pub struct Pages {
    origins: Vec<String>,
    cors: CorsLayer,
}

impl Pages {
    /// Pages of these origins, such as `https://app.example`.
    pub fn of_origins(origins: &[String]) -> anyhow::Result<Self> {
        let cors =
            CorsLayer::new(origins).map_err(|problem| anyhow!("--cors-origins: {problem}"))?;
        Ok(Self {
            origins: origins.to_vec(),
            cors,
        })
    }
}

impl Server {
    /// Takes its address and starts to fetch the authority's keys. An error says which option is
    /// wrong.
    pub async fn bind(options: &Options) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(options.listen).await.map_err(|error| {
            let why = why_not(&error);
            anyhow!("can't listen on {} (--listen): {why}", options.listen)
        })?;
        let address = listener
            .local_addr()
            .context("the listener has no address")?;
        let verifier = options
            .verifier(address)
            .context("can't verify descriptors")?;
        Ok(Self {
            listener,
            address,
            mcp: mcp_config(verifier.audience())?,
            verifier,
            cors: None,
        })
    }

    /// Lets pages connect.
    #[must_use]
    pub fn allow_pages(mut self, pages: Pages) -> Self {
        self.mcp.allowed_origins.extend(pages.origins);
        self.cors = Some(pages.cors);
        self
    }

    fn router(&self) -> Router {
        let tools = Tools::new(self.verifier.server_id());
        let service = StreamableHttpService::new(
            move || Ok(tools.clone()),
            Arc::new(session_manager()),
            self.mcp.clone(),
        );
        let verifier = self.verifier.clone();
        let router = Router::new()
            .route_service("/mcp", service)
            .route_layer(ConnectLayer::new(verifier.clone()))
            .route("/health", health_of(&verifier))
            .route("/healthz", health_of(&verifier));
        match &self.cors {
            Some(cors) => router.layer(cors.clone()),
            None => router,
        }
    }

    /// Where the server listens, with the port that it got.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's canonical URI: the audience of its descriptors.
    pub fn endpoint(&self) -> &str {
        self.verifier.audience()
    }

    /// The server's name in the registry.
    pub fn server_id(&self) -> &str {
        self.verifier.server_id()
    }

    /// Serves until `stop` is ready, then ends its sessions and waits at most five seconds for what
    /// is still open.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
        let router = self.router();
        let stopping = self.mcp.cancellation_token;
        let stopped = stopping.clone();
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(async move {
            stop.await;
            stopping.cancel();
        });
        select! {
            served = async { serving.await } => served.context("the server broke down"),
            () = async { stopped.cancelled().await; sleep(LONGEST_SHUTDOWN).await } => {
                tracing::warn!("stopped with requests still open");
                Ok(())
            }
        }
    }
}

fn health_of(verifier: &Verifier) -> MethodRouter {
    let verifier = verifier.clone();
    get(async move || health(&verifier))
}

/// Says that the process answers; and if this machine's clock is wrong, that it can't be used.
fn health(verifier: &Verifier) -> (StatusCode, Json<Value>) {
    match verifier.status().clock {
        Some(clock) if clock.wrong => {
            let body = json!({ "status": "unavailable", "problem": clock.to_string() });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
        _ => (StatusCode::OK, Json(json!({ "status": "ok" }))),
    }
}

fn why_not(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there; stop that, or choose another port".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        io::ErrorKind::PermissionDenied => {
            "this user may not use that port; choose one above 1023".into()
        }
        _ => error.to_string(),
    }
}

/// Beside the loopback names that rmcp allows by default, `Host` may name the endpoint's host; a
/// browser's `Origin` must be the endpoint's own. Both stop DNS rebinding.
fn mcp_config(endpoint: &str) -> anyhow::Result<StreamableHttpServerConfig> {
    let uri: Uri = endpoint.parse().context("the endpoint is no URI")?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        anyhow::bail!("the endpoint {endpoint} is no absolute URI");
    };
    let mut config = StreamableHttpServerConfig::default()
        .with_allowed_origins([format!("{scheme}://{authority}")])
        .enforce_origin_validation();
    config.allowed_hosts.push(authority.host().to_owned());
    Ok(config)
}

/// A session may be silent for as long as the longest call.
fn session_manager() -> LocalSessionManager {
    let mut manager = LocalSessionManager::default();
    manager.session_config.keep_alive = Some(LONGEST_TICK + Duration::from_mins(1));
    manager
}

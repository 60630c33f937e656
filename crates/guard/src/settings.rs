//! What the operator says: flags over the environment over a file.

#![allow(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "they are what --help shows, which is plain text"
)]

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::{Args, Parser};
use http::{HeaderValue, uri::Authority};
use mcp_connect_verifier::{CorsLayer, VerifierBuilder};
use serde::Deserialize;

use crate::BackendAddress;

const MAX_FILE_BYTES: u64 = 64 * 1024;
const MAX_NAMES: usize = 100;

/// Puts a connect verifier in front of an MCP server that can't be changed, on the same host.
///
/// Every setting of the verifier can be given in the environment as `MCP_CONNECT_...`, or in the
/// file; the commonest are flags, too.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "mcp-connect-guard", version)]
pub struct Options {
    /// Checks the configuration and exits: 0 when it can be used
    #[arg(long)]
    pub check: bool,

    /// A TOML file with tables `guard` and `verifier`
    #[arg(long, env = "MCP_CONNECT_GUARD_CONFIG")]
    pub config: Option<PathBuf>,

    /// The guard's own settings.
    #[command(flatten)]
    pub guard: GuardOptions,

    /// Settings of the verifier.
    #[command(flatten)]
    pub verifier: VerifierOptions,
}

/// The guard's own settings, of one source; what is not set there is left to the next one.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::exhaustive_structs, reason = "of a binary")]
pub struct GuardOptions {
    /// The MCP server: `http://127.0.0.1:3000/mcp`, or `unix:/run/mcp.sock:/mcp`
    #[arg(long, env = "MCP_CONNECT_GUARD_BACKEND", value_name = "ADDRESS")]
    pub backend: Option<BackendAddress>,

    /// Allows a backend on another host, by plain http: whoever reaches it there gets past the guard
    #[arg(long, env = "MCP_CONNECT_GUARD_ALLOW_REMOTE_BACKEND", num_args = 0..=1,
        require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub allow_remote_backend: Option<bool>,

    /// What the backend is told as Host [default: its own address]
    #[arg(long, env = "MCP_CONNECT_GUARD_BACKEND_HOST", value_name = "HOST")]
    pub backend_host: Option<String>,

    /// How long connecting to the backend may take, 1 to 60 [default: 5]
    #[arg(
        long,
        env = "MCP_CONNECT_GUARD_CONNECT_SECONDS",
        value_name = "SECONDS"
    )]
    pub connect_seconds: Option<u64>,

    /// The address to listen on; with port 0, any free port [default: 127.0.0.1:8788]
    #[arg(long, env = "MCP_CONNECT_GUARD_LISTEN", value_name = "ADDRESS",
        value_parser = parse_address)]
    pub listen: Option<SocketAddr>,

    /// An address for probes to ask for /healthz [default: none]
    #[arg(long, env = "MCP_CONNECT_GUARD_HEALTH_LISTEN", value_name = "ADDRESS",
        value_parser = parse_address)]
    pub health_listen: Option<SocketAddr>,

    /// Host names that clients use, beside the audience's and loopback ones
    #[arg(
        long,
        env = "MCP_CONNECT_GUARD_HOSTS",
        value_delimiter = ',',
        value_name = "HOST"
    )]
    pub hosts: Option<Vec<String>>,

    /// Paths that anybody may read at the backend, for instance
    /// /.well-known/oauth-protected-resource/mcp
    #[arg(
        long,
        env = "MCP_CONNECT_GUARD_OPEN_PATHS",
        value_delimiter = ',',
        value_name = "PATH"
    )]
    pub open_paths: Option<Vec<String>>,

    /// Origins whose pages may connect, like https://app.example: the guard answers their preflight
    /// requests, and lets them read answers
    #[arg(
        long,
        env = "MCP_CONNECT_GUARD_CORS_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    pub cors_origins: Option<Vec<String>>,

    /// Passes Forwarded and X-Forwarded-* on, from a proxy in front that sets them, instead of
    /// replacing them
    #[arg(long, env = "MCP_CONNECT_GUARD_TRUST_FORWARDED", num_args = 0..=1,
        require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub trust_forwarded: Option<bool>,

    /// Tells the backend who is governed: MCP-Connect-Client, -Tenant and -Jti
    #[arg(long, env = "MCP_CONNECT_GUARD_IDENTITY_HEADERS", num_args = 0..=1,
        require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub identity_headers: Option<bool>,

    /// Open connections of clients, and requests in progress; more have to wait, 1 to 100000
    /// [default: 1024]
    #[arg(long, env = "MCP_CONNECT_GUARD_MAX_CONNECTIONS", value_name = "NUMBER")]
    pub max_connections: Option<usize>,

    /// How long a connection may be without a request, and the head of a request may take, 1 to 3600
    /// [default: 75]
    #[arg(long, env = "MCP_CONNECT_GUARD_IDLE_SECONDS", value_name = "SECONDS")]
    pub idle_seconds: Option<u64>,

    /// How long calls may go on when the guard is told to stop, 0 to 3600 [default: 10]
    #[arg(long, env = "MCP_CONNECT_GUARD_DRAIN_SECONDS", value_name = "SECONDS")]
    pub drain_seconds: Option<u64>,
}

/// The settings of the verifier that have flags. The environment is read by the verifier itself.
#[derive(Args, Clone, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "of a binary")]
pub struct VerifierOptions {
    /// The authority whose descriptors are accepted [env: `MCP_CONNECT_ISSUER`]
    #[arg(long, value_name = "URL")]
    pub issuer: Option<OsString>,

    /// The URL of this server as clients and the registry know it [env: `MCP_CONNECT_AUDIENCE`]
    #[arg(long, value_name = "URL")]
    pub audience: Option<OsString>,

    /// This server's name in the registry: namespace/name [env: `MCP_CONNECT_SERVER_ID`]
    #[arg(long, value_name = "ID")]
    pub server_id: Option<OsString>,

    /// required, optional or report [env: `MCP_CONNECT_MODE`]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<OsString>,
}

/// What a file says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileOptions {
    guard: GuardOptions,
    verifier: VerifierBuilder,
}

/// Everything that there is to know, each value within its bounds.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) backend: BackendAddress,
    pub(crate) connect_limit: Duration,
    pub(crate) listen: SocketAddr,
    pub(crate) health_listen: Option<SocketAddr>,
    pub(crate) hosts: Vec<String>,
    pub(crate) open_paths: Vec<String>,
    pub(crate) cors: CorsLayer,
    pub(crate) trusts_forwarded: bool,
    pub(crate) tells_identity: bool,
    pub(crate) max_connections: usize,
    pub(crate) longest_idle: Duration,
    pub(crate) longest_drain: Duration,
    pub(crate) verifier: VerifierBuilder,
}

impl Settings {
    pub(crate) fn load(options: Options) -> anyhow::Result<Self> {
        let file = match &options.config {
            Some(path) => {
                read(path).with_context(|| format!("the configuration file {}", path.display()))?
            }
            None => FileOptions::default(),
        };
        let flags = options.verifier;
        let verifier = file
            .verifier
            .overridden_by(|name| flags.get(name).cloned().or_else(|| env::var_os(name)))?;
        options.guard.or(file.guard).resolve(verifier)
    }
}

fn read(path: &Path) -> anyhow::Result<FileOptions> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| anyhow!("can't be read: {}", why_unreadable(&error)))?;
    ensure!(text.len() as u64 <= MAX_FILE_BYTES, "is longer than 64 KiB");
    Ok(toml::from_str(&text)?)
}

fn why_unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::IsADirectory => "it is a directory".into(),
        io::ErrorKind::PermissionDenied => "this user may not read it".into(),
        io::ErrorKind::InvalidData => "it is not text in UTF-8".into(),
        _ => error.to_string(),
    }
}

impl VerifierOptions {
    /// The flag that stands for this variable of the verifier.
    fn get(&self, variable: &str) -> Option<&OsString> {
        match variable {
            "MCP_CONNECT_ISSUER" => self.issuer.as_ref(),
            "MCP_CONNECT_AUDIENCE" => self.audience.as_ref(),
            "MCP_CONNECT_SERVER_ID" => self.server_id.as_ref(),
            "MCP_CONNECT_MODE" => self.mode.as_ref(),
            _ => None,
        }
    }
}

impl GuardOptions {
    fn or(self, other: Self) -> Self {
        Self {
            backend: self.backend.or(other.backend),
            allow_remote_backend: self.allow_remote_backend.or(other.allow_remote_backend),
            backend_host: self.backend_host.or(other.backend_host),
            connect_seconds: self.connect_seconds.or(other.connect_seconds),
            listen: self.listen.or(other.listen),
            health_listen: self.health_listen.or(other.health_listen),
            hosts: self.hosts.or(other.hosts),
            open_paths: self.open_paths.or(other.open_paths),
            cors_origins: self.cors_origins.or(other.cors_origins),
            trust_forwarded: self.trust_forwarded.or(other.trust_forwarded),
            identity_headers: self.identity_headers.or(other.identity_headers),
            max_connections: self.max_connections.or(other.max_connections),
            idle_seconds: self.idle_seconds.or(other.idle_seconds),
            drain_seconds: self.drain_seconds.or(other.drain_seconds),
        }
    }

    fn resolve(self, verifier: VerifierBuilder) -> anyhow::Result<Settings> {
        let mut backend = self.backend.context(
            "backend must be set, like http://127.0.0.1:3000/mcp or unix:/run/mcp.sock:/mcp",
        )?;
        ensure!(
            backend.is_on_this_host() || self.allow_remote_backend == Some(true),
            "backend must be on a loopback address or a Unix socket: on another host it can be \
             reached past the guard, and is spoken to in the clear; allow_remote_backend allows it \
             all the same",
        );
        if let Some(host) = self.backend_host {
            let is_host = !host.contains('@') && host.parse::<Authority>().is_ok();
            ensure!(is_host, "backend_host must be a host, with or without port");
            backend.host = HeaderValue::try_from(host)?;
        }
        let hosts = self.hosts.unwrap_or_default();
        let is_name = |host: &String| {
            host.parse::<Authority>()
                .is_ok_and(|host_only| host_only.host() == host)
        };
        ensure!(
            hosts.len() <= MAX_NAMES && hosts.iter().all(is_name),
            "hosts must be at most {MAX_NAMES} host names without port",
        );
        let open_paths = self.open_paths.unwrap_or_default();
        let is_path = |path: &String| {
            path.starts_with('/')
                && !path.contains(['?', '#'])
                && path.parse::<http::uri::PathAndQuery>().is_ok()
        };
        ensure!(
            open_paths.len() <= MAX_NAMES && open_paths.iter().all(is_path),
            "open_paths must be at most {MAX_NAMES} absolute paths without query",
        );
        let cors = CorsLayer::new(self.cors_origins.unwrap_or_default())
            .map_err(|problem| anyhow!("cors_origins: {problem}"))?;
        let max_connections = self.max_connections.unwrap_or(1024);
        ensure!(
            (1..=100_000).contains(&max_connections),
            "max_connections must be 1 to 100000"
        );
        Ok(Settings {
            backend,
            connect_limit: seconds("connect_seconds", self.connect_seconds, 5, 1..=60)?,
            listen: self.listen.unwrap_or(([127, 0, 0, 1], 8788).into()),
            health_listen: self.health_listen,
            hosts,
            open_paths,
            cors,
            trusts_forwarded: self.trust_forwarded == Some(true),
            tells_identity: self.identity_headers == Some(true),
            max_connections,
            longest_idle: seconds("idle_seconds", self.idle_seconds, 75, 1..=3600)?,
            longest_drain: seconds("drain_seconds", self.drain_seconds, 10, 0..=3600)?,
            verifier,
        })
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "write an IP address and a port, like 127.0.0.1:8788 or [::1]:8788")
}

fn seconds(
    name: &str,
    value: Option<u64>,
    default: u64,
    bounds: std::ops::RangeInclusive<u64>,
) -> anyhow::Result<Duration> {
    let value = value.unwrap_or(default);
    if !bounds.contains(&value) {
        bail!("{name} must be {} to {}", bounds.start(), bounds.end());
    }
    Ok(Duration::from_secs(value))
}

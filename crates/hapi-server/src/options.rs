use std::{env, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use mcp_connect_verifier::{ConfigError, Mode, Verifier, VerifierBuilder};

const DEFAULT_AUTHORITY: &str = "http://127.0.0.1:8787";

/// The reference MCP server behind a connect verifier.
///
/// Every setting of the verifier that has no option here can be given by its variable, such as
/// `MCP_CONNECT_MAX_STALENESS_SECONDS`, or in the file of --config: docs/verifier.md lists them. An
/// option stands over a variable, and a variable over the file.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Options {
    /// The address to listen on; with port 0, any free port.
    #[arg(long, env = "HAPI_LISTEN", default_value = "127.0.0.1:8788")]
    pub listen: SocketAddr,

    /// A file with settings of the verifier, JSON or TOML. With it, the two defaults below don't
    /// hold.
    #[arg(long, env = "MCP_CONNECT_CONFIG")]
    pub config: Option<PathBuf>,

    /// The authority whose descriptors are accepted: its issuer, exactly. By default
    /// `MCP_CONNECT_ISSUER`, or `http://127.0.0.1:8787`.
    #[arg(long)]
    pub authority: Option<String>,

    /// This server's name in the registry, namespace/name; by default `MCP_CONNECT_SERVER_ID`.
    #[arg(long)]
    pub server_id: Option<String>,

    /// This server's canonical URI, as published in the registry; by default `MCP_CONNECT_AUDIENCE`,
    /// or /mcp on the address that it listens on.
    #[arg(long)]
    pub endpoint: Option<String>,

    /// How long a stream or session may outlive its newest descriptor.
    #[arg(long)]
    pub grace_seconds: Option<u64>,

    /// Clock skew to forgive, 0 to 5.
    #[arg(long)]
    pub leeway_seconds: Option<u64>,

    /// How strictly descriptors are asked for: required, optional, report or off.
    #[arg(long)]
    pub mode: Option<Mode>,
}

impl Options {
    /// The verifier of a server that listens on `address`.
    pub(crate) fn verifier(&self, address: SocketAddr) -> Result<Verifier, ConfigError> {
        let builder = match &self.config {
            Some(path) => VerifierBuilder::from_file(path)?,
            None => Verifier::builder(DEFAULT_AUTHORITY, format!("http://{address}/mcp"), ""),
        };
        let mut builder = builder.overridden_by(|name| env::var_os(name))?;
        if let Some(authority) = &self.authority {
            builder = builder.issuer(authority);
        }
        if let Some(server_id) = &self.server_id {
            builder = builder.server_id(server_id);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.audience(endpoint);
        }
        if let Some(seconds) = self.grace_seconds {
            builder = builder.grace(Duration::from_secs(seconds));
        }
        if let Some(seconds) = self.leeway_seconds {
            builder = builder.leeway(Duration::from_secs(seconds));
        }
        if let Some(mode) = self.mode {
            builder = builder.mode(mode);
        }
        builder.build()
    }
}

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use mcp_connect_verifier::{ConfigError, Mode, Verifier};

/// The reference MCP server behind a connect verifier.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Options {
    /// The address to listen on; with port 0, any free port.
    #[arg(long, env = "HAPI_LISTEN", default_value = "127.0.0.1:8788")]
    pub listen: SocketAddr,

    /// The authority whose descriptors are accepted: its issuer, exactly.
    #[arg(long, env = "HAPI_AUTHORITY", default_value = "http://127.0.0.1:8787")]
    pub authority: String,

    /// This server's name in the registry: namespace/name.
    #[arg(long, env = "HAPI_SERVER_ID")]
    pub server_id: String,

    /// This server's canonical URI, as published in the registry; by default /mcp on the address
    /// that it listens on.
    #[arg(long, env = "HAPI_ENDPOINT")]
    pub endpoint: Option<String>,

    /// The authority's key set; by default /.well-known/jwks.json of the authority.
    #[arg(long, env = "HAPI_JWKS_URI")]
    pub jwks_uri: Option<String>,

    /// How long a stream or session may outlive its newest descriptor.
    #[arg(long, env = "HAPI_GRACE_SECONDS", default_value_t = 30)]
    pub grace_seconds: u64,

    /// Clock skew to forgive, 0 to 5.
    #[arg(long, env = "HAPI_LEEWAY_SECONDS", default_value_t = 5)]
    pub leeway_seconds: u64,

    /// How strictly descriptors are asked for: required, optional or report.
    #[arg(long, env = "HAPI_MODE", default_value = "required")]
    pub mode: Mode,
}

impl Options {
    /// The verifier of a server that is reached at `endpoint`.
    pub(crate) fn verifier(&self, endpoint: &str) -> Result<Verifier, ConfigError> {
        let mut builder = Verifier::builder(&self.authority, endpoint, &self.server_id)
            .grace(Duration::from_secs(self.grace_seconds))
            .leeway(Duration::from_secs(self.leeway_seconds))
            .mode(self.mode);
        if let Some(jwks_uri) = &self.jwks_uri {
            builder = builder.key_set_url(jwks_uri);
        }
        builder.build()
    }
}

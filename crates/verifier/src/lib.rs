//! Protects an MCP server: only requests with a good connect descriptor reach it.
//!
//! A [`Verifier`] checks descriptors offline against the authority's keys, which it keeps fresh in
//! the background; a [`ConnectLayer`] puts it in front of the server. What a request was let in
//! with is the [`Verified`] among its extensions.
//!
//! ```no_run
//! use axum::{Extension, Router, routing::post};
//! use mcp_connect_verifier::{ConnectLayer, Verified, Verifier};
//!
//! # async fn handle(Extension(verified): Extension<Verified>) -> String { verified.jti.clone() }
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let verifier = Verifier::builder(
//!         "https://authority.example",
//!         "https://weather.example/mcp",
//!         "com.example/weather",
//!     )
//!     .build()?;
//!     let app = Router::new()
//!         .route("/mcp", post(handle))
//!         .layer(ConnectLayer::new(verifier));
//!     let listener = tokio::net::TcpListener::bind("0.0.0.0:8788").await?;
//!     Ok(axum::serve(listener, app).await?)
//! }
//! ```
//!
//! # What the layer sees to
//!
//! - The `MCP-Connect` header is checked, and removed before the server sees the request.
//! - A descriptor that is bound to its sender (`cnf`) is good only with a new proof on each request, in
//!   the header `MCP-Connect-Proof`, which is removed as well; or with the [`PeerCertificate`] of its
//!   connection.
//! - A refusal is a JSON-RPC error with the status of its [`RefusalCode`]; one with status 401 says
//!   in `WWW-Authenticate` where to get a descriptor.
//! - A session id is one value of visible ASCII without comma, semicolon, quote, backslash or space; anything else is refused,
//!   since the server could read it as the id of another session. Requests of MCP 2026-07-28, which
//!   has no sessions, lose theirs.
//! - A session (`Mcp-Session-Id`, MCP 2025-11-25 and before) belongs to the client and tenant whose
//!   descriptor it began with, and ends, with 404, when its newest descriptor has been expired for
//!   longer than the leeway and the grace, or at once when that is withdrawn.
//! - An open stream, or a call that has not been answered yet, ends at that same time; without a
//!   session, the descriptor of its own request counts.
//! - When no key set can be had for longer than the maximum staleness, everything is refused.
//!
//! In [`Mode::Report`] nothing is refused or ended, only logged (by `tracing`). Tokens and session
//! ids are never logged. docs/verifier.md tells of all settings, modes, metrics and ends.
//!
//! # Features
//!
//! None is on by default; none changes what the others do.
//!
//! - `axum`: [`Verified`] can be taken by axum's handlers, as it is or as an `Option`.
//! - `metrics`: counters and gauges by the facade of the crate `metrics`.
//! - `toml`: [`VerifierBuilder::from_file`] reads TOML, beside JSON.

mod absent;
mod admission;
mod body;
mod clock;
mod clock_watch;
mod config;
mod config_error;
mod config_sources;
mod cors;
mod endpoint;
#[cfg(feature = "axum")]
mod extract;
mod feed;
mod key_cache;
mod layer;
mod lease;
mod mode;
mod refusal;
mod replay;
mod retry_after;
mod schedule;
mod seed;
mod sender;
mod session_header;
mod session_key;
mod sessions;
mod settings;
mod status;
mod telemetry;
mod tenure;
mod tokens;
mod verified;
mod verifier;
mod withdrawn;

pub use body::ConnectBody;
pub use clock_watch::ClockStatus;
pub use config::VerifierBuilder;
pub use config_error::{ConfigError, WrongSetting};
pub use cors::{CorsFuture, CorsLayer, CorsService, InvalidOrigin};
#[cfg(feature = "axum")]
pub use extract::Ungoverned;
pub use feed::FeedSource;
pub use layer::{ConnectFuture, ConnectLayer, ConnectService};
pub use mcp_connect_descriptor::{Descriptor, HEADER, PROOF_HEADER, RefusalCode, ServerIdentity};
pub use mode::{Mode, UnknownMode};
pub use sender::PeerCertificate;
pub use status::{FeedStatus, KeysStatus, Status};
pub use verified::Verified;
pub use verifier::{Rejection, Verifier};

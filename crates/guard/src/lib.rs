//! Puts a connect verifier in front of an MCP server that can't be changed, as a streaming reverse
//! proxy on the same host. docs/guard.md says how to run it, and what it does not do.
//!
//! The program is `mcp-connect-guard`; this library is what it consists of. The feature `prometheus`
//! adds `/metrics` beside `/healthz`.

mod address;
mod backend;
mod connections;
mod fault;
mod guard;
mod headers;
mod health;
mod metrics;
mod route;
mod settings;

pub use address::{AddressError, BackendAddress};
pub use guard::{Guard, check};
pub use settings::{GuardOptions, Options, VerifierOptions};

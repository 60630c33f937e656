//! The reference HAPI-style MCP server: an API's operations as MCP tools over streamable HTTP, in
//! both of the transport's eras, behind a connect verifier.
//!
//! `/mcp` is governed by connect descriptors; `/health`, which is `/healthz` too, is open to everyone
//! and says only that the process answers, or that this machine's clock is wrong.

mod options;
mod server;
mod tools;

pub use options::Options;
pub use server::{Pages, Server};

/// What docs/verifier.md shows is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/verifier.md")]
struct VerifierGuide;

//! For MCP clients: discover a server, ask a connect authority for the permission to connect,
//! then speak **directly** to the endpoint that the authority has signed.
//!
//! [`Authority`] searches and fetches one verified [`Grant`]. [`Connection`] keeps a grant fresh for
//! as long as it is in use, and stops for good when the authority says so. Its
//! [`transport`](Connection::transport) shows the current descriptor to the server on every request.
//!
//! ```no_run
//! use mcp_connect_client::{Authority, Connection};
//! use rmcp::ServiceExt;
//!
//! # async fn example(api_key: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Authority::new("https://authority.example")?.with_credential(api_key)?;
//! let connection = Connection::open(authority, "com.example/weather").await?;
//! let server = ().serve(connection.transport()).await?;
//! println!("{:?}", server.list_all_tools().await?);
//! # Ok(())
//! # }
//! ```
//!
//! # Descriptors that nobody else can use
//!
//! A descriptor is good for whoever holds it. [`Authority::bound_to_key`] has each one bound to a key
//! that never leaves the client: every request to the server then comes with a proof that its sender
//! holds the key, good for this one request. [`Authority::bound_to_certificate`] does it by a TLS client
//! certificate.
//!
//! ```no_run
//! # use mcp_connect_client::{Algorithm, Authority, SenderKey};
//! # fn example() -> Result<(), mcp_connect_client::ConnectError> {
//! let authority = Authority::new("https://authority.example")?
//!     .bound_to_key(SenderKey::generate(Algorithm::EdDsa)?);
//! # Ok(())
//! # }
//! ```

mod authority;
mod binding;
mod clock;
mod connection;
mod error;
mod exchange;
mod fault;
mod grant;
mod randomness;
mod schedule;
mod server;
mod transport;

pub use authority::Authority;
pub use binding::{ClientCertificate, SenderKey};
pub use clock::ClockOffset;
pub use connection::{Connection, EndReason, NotConnected, State};
pub use error::{ConnectError, Denial, DenialCode};
pub use exchange::{json_object, network_reason};
pub use fault::{ServerFault, ServerRefusal};
pub use grant::Grant;
pub use mcp_connect_descriptor::{Algorithm, Descriptor, ServerIdentity};
pub use server::{Server, ServerDetail, ServerPage, ServerVersion};
pub use transport::GovernedHttpClient;

//! What a **connect descriptor** is: the short-lived signed token with which a connect authority
//! permits one client to attempt a connection to one MCP server now.
//!
//! Everything here is plain functions over plain data: no I/O, no clock, no randomness. Times are
//! seconds since the Unix epoch and come in as arguments.
//!
//! Two features, both on by default, bring the arithmetic of Ed25519 and P-256: `verify` checks
//! signatures, `sign` makes them. Without them, keys and claims are read, checked for their form and
//! made ready to be signed by somebody else: in the Worker, by WebCrypto.
//!
//! ```
//! use mcp_connect_descriptor::{Descriptor, Expected, ServerIdentity, SigningKeys, verify};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = SigningKeys::parse(
//!     r#"{"keys":[{"kty":"OKP","crv":"Ed25519","status":"active",
//!         "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
//!         "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
//! )?;
//! let descriptor = Descriptor {
//!     issuer: "https://authority.example".into(),
//!     endpoint: "https://mcp.example/mcp".into(),
//!     server: ServerIdentity {
//!         id: "com.example/weather".into(),
//!         version: "1.0.0".into(),
//!         verified: true,
//!         jwks_uri: None,
//!         tls_pin_sha256: None,
//!     },
//!     issued_at: 1_800_000_000,
//!     not_before: 1_800_000_000,
//!     expires_at: 1_800_000_060,
//!     jti: "q3VYb2h1S2FmT0l5dUtQZA".into(),
//!     client_id: Some("desktop".into()),
//!     tenant_id: None,
//!     confirmation: None,
//! };
//! let token = descriptor.mint(keys.active())?;
//!
//! let expected = Expected::new("https://authority.example", "com.example/weather")
//!     .audience("https://mcp.example/mcp");
//! assert_eq!(verify(&token, &keys.public(), &expected, 1_800_000_030)?, descriptor);
//! # Ok(())
//! # }
//! ```

mod claims;
mod code;
mod dpop;
mod feed;
mod jwk;
#[cfg(feature = "verify")]
mod jws;
#[cfg(feature = "verify")]
mod key_set;
mod keys;
#[cfg(feature = "sign")]
mod sign;
mod target_uri;
#[cfg(feature = "verify")]
mod token;
mod unsigned;
#[cfg(feature = "verify")]
mod verifying_key;

pub use claims::{Confirmation, Descriptor, ServerIdentity};
pub use code::RefusalCode;
pub use dpop::{
    MAX_PROOF_AGE_SECONDS, MAX_PROOF_BYTES, PROOF_HEADER, PROOF_TYPE, Proof, ProofContext,
    ProofFault, UnverifiedProof,
};
pub use feed::{MAX_FEED_ENTRIES, RevocationFeed, Withdrawal, Withdrawn};
#[cfg(feature = "verify")]
pub use feed::{UnverifiedFeed, verify_feed};
pub use jwk::Algorithm;
#[cfg(feature = "verify")]
pub use key_set::{KeySet, KeySetError};
pub use keys::{KeyEntry, KeyStatus, SigningKey, SigningKeys, SigningKeysError};
pub use mcp_connect_strict_json as strict_json;
pub use target_uri::TargetUri;
#[cfg(feature = "verify")]
pub use token::{Expected, Refusal, UnverifiedDescriptor, verify};
pub use unsigned::{MintError, Unsigned};

/// The header in which a client shows its descriptor to an MCP server.
pub const HEADER: &str = "mcp-connect";

/// The longest lifetime of a descriptor, in seconds.
pub const MAX_LIFETIME_SECONDS: u64 = 120;

/// The most clock skew that a verifier may forgive, in seconds.
pub const MAX_LEEWAY_SECONDS: u64 = 5;

/// The most bytes of a `kid`.
#[cfg(feature = "verify")]
const MAX_KEY_ID_BYTES: usize = 256;

/// The most keys of a set, private or public.
const MAX_KEYS: usize = 32;

/// 9999-12-31T23:59:59Z: later dates are nobody's, and overflow date libraries.
const LATEST_DATE: u64 = 253_402_300_799;

/// The most bytes that a descriptor may have in its compact form.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The most bytes that a key set may have that is read from somewhere else.
pub const MAX_KEY_SET_BYTES: usize = 64 * 1024;

/// `typ` of a descriptor's header (RFC 8725, section 3.11).
pub const TOKEN_TYPE: &str = "mcp-connect+jwt";

/// The most bytes that a revocation feed may have in its compact form.
pub const MAX_FEED_BYTES: usize = 64 * 1024;

/// `typ` of a revocation feed's header.
pub const FEED_TYPE: &str = "mcp-revocations+jwt";

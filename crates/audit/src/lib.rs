//! The audit trail of an MCP connect authority: what an entry is, and the hash chain over all of
//! them. Plain functions over plain data.
//!
//! The hash of an entry is SHA-256 over the 32 bytes of the hash before it (zeros before the first
//! one), followed by the entry's [canonical bytes](AuditEntry::canonical). So who knows the newest
//! hash knows whether any entry up to there was changed, taken away or put in between.

mod action;
mod chain;
mod entry;
mod hash;

pub use action::ACTIONS;
pub use chain::{Broken, Head, verify_chain};
pub use entry::AuditEntry;
pub use hash::{ChainHash, ChainHashError};

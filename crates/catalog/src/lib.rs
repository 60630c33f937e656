//! What an MCP server is to a registry: its name and versions, its `server.json`, where it can be
//! reached, how it is searched for, and who may publish it. Plain functions over plain data.

mod claim;
#[cfg(test)]
mod conformance;
mod cursor;
mod date;
mod domain;
mod endpoint;
mod entry;
mod json_path;
mod meta;
mod misread;
mod model;
mod name;
mod permission;
mod rules;
mod search;
mod template;
mod text;
mod url;
mod version;
mod vocabulary;

pub use claim::Claim;
pub use cursor::{CursorError, ListCursor, ListFilter, Position, SearchCursor};
pub use date::{DateError, date_micros, day_micros, format_date, query_date};
pub use domain::{Domain, DomainError, lies_under};
pub use endpoint::{Endpoint, EndpointError, EndpointRules};
pub use entry::{Entry, EntryError, VersionStatus, canonical_server_json};
pub use meta::{AUTHORITY_META, OFFICIAL_META, Official, PUBLISHER_META};
pub use misread::misread;
pub use name::{NameError, Namespace, ServerName, ServerRef};
pub use permission::{Action, Permission};
pub use rules::{
    Depth, Fault, Issue, IssueKind, Severity, excess_remotes, faults, issues, other_spelling,
    oversized_publisher_meta, unconnectable_remotes,
};
pub use search::{QueryError, SearchQuery};
pub use text::{
    find_hidden, has_nul, is_dot_segment, is_format, is_invisible, is_label, name_hidden, shown,
};
pub use version::{Version, VersionError};
pub use vocabulary::Vocabulary;

/// The most versions that a name may have.
pub const MAX_VERSIONS: usize = 10_000;

/// The most characters of what a publisher says of a status.
pub const MAX_STATUS_MESSAGE_CHARS: usize = 500;

/// The most remotes of what is published.
pub const MAX_REMOTES: usize = 100;

/// The most bytes of what a publisher has to say in `_meta` inside server.json.
pub const MAX_PUBLISHER_META_BYTES: usize = 4096;

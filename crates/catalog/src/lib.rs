//! What an MCP server is to a registry: its name and versions, its `server.json`, where it can be
//! reached, and how it is searched for. Plain functions over plain data.

mod cursor;
mod date;
mod endpoint;
mod entry;
mod name;
mod search;
mod version;

pub use cursor::{CursorError, SearchCursor};
pub use date::date_micros;
pub use endpoint::{Endpoint, EndpointError, EndpointRules};
pub use entry::{Entry, EntryError, VersionStatus};
pub use name::{NameError, Namespace, ServerName, ServerRef};
pub use search::{QueryError, SearchQuery};
pub use version::{Version, VersionError};

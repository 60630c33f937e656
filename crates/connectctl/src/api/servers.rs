//! Asks the authority for servers as administrators find them.

use mcp_connect_catalog::ServerName;
use mcp_connect_client::ConnectError;
use serde::{Deserialize, Serialize};

use super::{Admin, query};
use crate::paging::Page;

/// A server as administrators find it.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct FoundServer {
    #[serde(with = "as_text")]
    pub(crate) id: ServerName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<String>,
    pub(crate) state: String,
    pub(crate) level: String,
    pub(crate) source: String,
}

/// The name goes into paths, so it is checked as it comes in.
mod as_text {
    use mcp_connect_catalog::ServerName;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        name: &ServerName,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ServerName, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// Which servers to find.
#[derive(Clone, Copy, Default)]
pub(crate) struct ServerFilter<'a> {
    pub(crate) servers: Option<&'a str>,
    pub(crate) state: Option<&'a str>,
    pub(crate) level: Option<&'a str>,
    pub(crate) source: Option<&'a str>,
}

#[derive(Deserialize)]
struct ServerPage {
    servers: Vec<FoundServer>,
    next_cursor: Option<String>,
}

impl Admin {
    /// The first servers, at most `limit`; with `all`, every one. Pages may be empty and lead on: the authority looks
    /// at a bounded number of servers for each.
    pub(crate) async fn find_servers(
        &self,
        filter: ServerFilter<'_>,
        limit: u32,
        all: bool,
    ) -> Result<Page<FoundServer>, ConnectError> {
        let limit = limit.to_string();
        let mut found = Page {
            items: Vec::new(),
            next_cursor: None,
        };
        loop {
            let path = query(
                "/v1/admin/servers",
                &[
                    ("limit", Some(&limit)),
                    ("servers", filter.servers),
                    ("state", filter.state),
                    ("level", filter.level),
                    ("source", filter.source),
                    ("cursor", found.next_cursor.as_deref()),
                ],
            );
            let page: ServerPage = self.get(&path).await?;
            if page.next_cursor.is_some() && page.next_cursor == found.next_cursor {
                return Err(ConnectError::InvalidAnswer(
                    "the list of servers leads in a circle".to_owned(),
                ));
            }
            found.items.extend(page.servers);
            found.next_cursor = page.next_cursor;
            if found.next_cursor.is_none() || !(all || found.items.is_empty()) {
                return Ok(found);
            }
        }
    }
}

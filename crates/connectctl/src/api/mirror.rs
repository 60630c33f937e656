use mcp_connect_client::ConnectError;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Admin, with_reason};
use crate::paging::Page;

/// How an upstream registry is followed.
#[derive(Deserialize, Serialize)]
pub(crate) struct Mirror {
    pub(crate) following: bool,
    pub(crate) upstream: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heard_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ran_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    pub(crate) servers: u64,
    #[serde(rename = "poison")]
    pub(crate) rejected: u64,
    pub(crate) crawls: Vec<Crawl>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Crawl {
    #[serde(rename = "crawl")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) began_at: Option<String>,
    pub(crate) pages: u64,
    pub(crate) entries: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) completed_at: Option<String>,
}

/// What a run did.
#[derive(Deserialize, Serialize)]
pub(crate) struct Followed {
    pub(crate) pages: u64,
    pub(crate) imported: u64,
    pub(crate) updated: u64,
    pub(crate) refused: u64,
    pub(crate) done: bool,
}

/// An upstream's entry that could not be taken in.
#[derive(Deserialize, Serialize)]
pub(crate) struct RejectedEntry {
    pub(crate) subject: String,
    pub(crate) reason: String,
    pub(crate) since: String,
    pub(crate) seen_at: String,
}

#[derive(Deserialize)]
struct RejectedPage {
    #[serde(rename = "poison")]
    entries: Vec<RejectedEntry>,
    next_cursor: Option<String>,
}

impl Admin {
    pub(crate) async fn mirror(&self) -> Result<Mirror, ConnectError> {
        self.get("/v1/admin/mirror").await
    }

    pub(crate) async fn sync_mirror(
        &self,
        sweep: bool,
        reason: Option<&str>,
    ) -> Result<Followed, ConnectError> {
        let path = "/v1/admin/mirror/sync";
        self.post(path, &with_reason(json!({ "sweep": sweep }), reason))
            .await
    }

    pub(crate) async fn rejected(
        &self,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<RejectedEntry>, ConnectError> {
        let path = "/v1/admin/mirror/poison";
        let page: RejectedPage = self.page(path, cursor, limit).await?;
        Ok(Page {
            items: page.entries,
            next_cursor: page.next_cursor,
        })
    }
}

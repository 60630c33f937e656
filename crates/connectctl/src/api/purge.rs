//! Asks the authority to purge what could never be connected to.

use mcp_connect_client::ConnectError;
use serde::{Deserialize, Serialize};

use super::Admin;

#[derive(Serialize)]
pub(crate) struct PurgeRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) published_before: Option<&'a str>,
    pub(crate) dry_run: bool,
    pub(crate) after: &'a str,
    pub(crate) reason: &'a str,
}

/// What a call took out, or would.
#[derive(Deserialize)]
pub(crate) struct PurgePart {
    pub(crate) servers: Vec<PurgedServer>,
    pub(crate) purged: u64,
    pub(crate) next: Option<String>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct PurgedServer {
    pub(crate) name: String,
    pub(crate) versions: u64,
    pub(crate) bytes: u64,
}

impl Admin {
    pub(crate) async fn purge(
        &self,
        request: &PurgeRequest<'_>,
    ) -> Result<PurgePart, ConnectError> {
        self.post("/v1/admin/purge", request).await
    }
}

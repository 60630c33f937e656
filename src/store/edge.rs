//! Copies in KV of what discovery reads most: near everyone, at most a minute old while D1 answers,
//! and still there for a day when it doesn't.

use mcp_connect_catalog::ServerName;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Store, StoreError};
use crate::platform::now_millis;

const FRESH_MILLIS: u64 = 60_000;
/// How long a copy is there to be served, in seconds.
const KEPT_SECONDS: u64 = 24 * 60 * 60;

/// The detail of a server as it was served.
#[derive(Deserialize, Serialize)]
pub(crate) struct EdgeCopy {
    /// Milliseconds since the Unix epoch.
    loaded_at: u64,
    pub(crate) document: Box<RawValue>,
}

impl EdgeCopy {
    /// `loaded_at` from before it was read, so that a change meanwhile does not make it look newer.
    pub(crate) const fn new(loaded_at: u64, document: Box<RawValue>) -> Self {
        Self {
            loaded_at,
            document,
        }
    }

    pub(crate) fn is_fresh(&self) -> bool {
        now_millis().saturating_sub(self.loaded_at) < FRESH_MILLIS
    }
}

impl Store {
    /// A copy that can't be read, or not in time, is no copy.
    pub(crate) async fn edge_copy(&self, name: &ServerName) -> Option<EdgeCopy> {
        self.kv_get(&key(name)).await.ok()?
    }

    pub(crate) async fn put_edge_copy(
        &self,
        name: &ServerName,
        copy: &EdgeCopy,
    ) -> Result<(), StoreError> {
        self.kv_put(&key(name), copy, KEPT_SECONDS).await
    }

    pub(crate) async fn drop_edge_copy(&self, name: &ServerName) -> Result<(), StoreError> {
        self.kv_delete(&key(name)).await
    }
}

fn key(name: &ServerName) -> String {
    format!("server:{name}")
}

//! Copies in KV of what discovery reads most: near everyone, at most a minute old while D1 answers,
//! and still there for a day when it doesn't.

use std::time::Duration;

use mcp_connect_catalog::ServerName;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Store, StoreError};
use crate::platform::{metrics, now_millis, within};

/// Nothing depends on KV: no caller waits longer for it.
const KV_LIMIT: Duration = Duration::from_secs(2);
const FRESH_MILLIS: u64 = 60_000;
/// How long a location may answer with what it read last, in seconds: KV's least.
const NEARBY_SECONDS: u64 = 30;
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
    #[worker::send]
    pub(crate) async fn edge_copy(&self, name: &ServerName) -> Option<EdgeCopy> {
        let kv = self.env.kv("KV").ok()?;
        let key = key(name);
        let asked = kv.get(&key).cache_ttl(NEARBY_SECONDS).text();
        let Some(Ok(json)) = within(KV_LIMIT, asked).await else {
            metrics::count(metrics::storage_failed("kv"));
            return None;
        };
        serde_json::from_str(&json?).ok()
    }

    #[worker::send]
    pub(crate) async fn put_edge_copy(
        &self,
        name: &ServerName,
        copy: &EdgeCopy,
    ) -> Result<(), StoreError> {
        // As text: the library would store an object of its own making as `{}`.
        let json = serde_json::to_string(copy)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        self.env
            .kv("KV")?
            .put(&key(name), json)?
            .expiration_ttl(KEPT_SECONDS)
            .execute()
            .await?;
        Ok(())
    }

    #[worker::send]
    pub(crate) async fn drop_edge_copy(&self, name: &ServerName) -> Result<(), StoreError> {
        let kv = self.env.kv("KV")?;
        match within(KV_LIMIT, kv.delete(&key(name))).await {
            Some(deleted) => Ok(deleted?),
            None => Err(StoreError::Unavailable("KV gave no answer".into())),
        }
    }
}

fn key(name: &ServerName) -> String {
    format!("server:{name}")
}

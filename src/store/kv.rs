//! JSON documents in KV, for what may be a minute old or lost.

use std::{future::Future, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use worker::{KvError, KvStore};

use super::{Store, StoreError};
use crate::platform::{metrics, within};

/// Nothing depends on KV: no caller waits longer for it.
const LIMIT: Duration = Duration::from_secs(2);
/// How long a location may answer with what it read last, in seconds: KV's least.
const NEARBY_SECONDS: u64 = 30;

impl Store {
    fn kv(&self) -> Result<KvStore, StoreError> {
        self.env
            .kv("KV")
            .map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// What can't be read is not there.
    pub(super) async fn kv_get<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<T>, StoreError> {
        let kv = self.kv()?;
        let json = in_time(kv.get(key).cache_ttl(NEARBY_SECONDS).text()).await?;
        Ok(json.and_then(|json| serde_json::from_slice(json.as_bytes()).ok()))
    }

    pub(super) async fn kv_put(
        &self,
        key: &str,
        value: &impl Serialize,
        kept_seconds: Option<u64>,
    ) -> Result<(), StoreError> {
        // As text: the library would store an object of its own making as `{}`.
        let json = serde_json::to_string(value)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let mut put = self.kv()?.put(key, json)?;
        if let Some(seconds) = kept_seconds {
            put = put.expiration_ttl(seconds);
        }
        in_time(put.execute()).await
    }

    pub(super) async fn kv_delete(&self, key: &str) -> Result<(), StoreError> {
        in_time(self.kv()?.delete(key)).await
    }

    /// As many keys as KV lists in one call: a thousand.
    pub(super) async fn kv_keys(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let list = self.kv()?.list().prefix(prefix.into());
        let keys = in_time(list.execute()).await?.keys;
        Ok(keys.into_iter().map(|key| key.name).collect())
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, KvError>>) -> Result<T, StoreError> {
    if let Some(answer) = within(LIMIT, asked).await {
        return Ok(answer?);
    }
    metrics::count(metrics::storage_failed("kv"));
    Err(StoreError::Unavailable(format!(
        "KV gave no answer within {} s",
        LIMIT.as_secs()
    )))
}

//! Copies in KV of what discovery reads most: near everyone, at most a minute old while D1 answers,
//! and still there when it doesn't.

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_catalog::ServerRef;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Store, StoreError};
use crate::platform::now_millis;

const FRESH_MILLIS: u64 = 60_000;

/// A document as it was served.
#[derive(Deserialize, Serialize)]
pub(crate) struct EdgeCopy {
    stored_at: u64,
    pub(crate) document: Box<RawValue>,
}

impl EdgeCopy {
    pub(crate) fn is_fresh(&self) -> bool {
        now_millis().saturating_sub(self.stored_at) < FRESH_MILLIS
    }
}

impl Store {
    /// A copy that can't be read is no copy.
    #[worker::send]
    pub(crate) async fn edge_copy(&self, reference: &ServerRef) -> Option<EdgeCopy> {
        let json = self
            .env
            .kv("KV")
            .ok()?
            .get(&key(reference))
            .text()
            .await
            .ok()??;
        serde_json::from_str(&json).ok()
    }

    #[worker::send]
    pub(crate) async fn put_edge_copy(
        &self,
        reference: &ServerRef,
        document: Box<RawValue>,
    ) -> Result<(), StoreError> {
        let copy = EdgeCopy {
            stored_at: now_millis(),
            document,
        };
        // As text: the library would store an object of its own making as `{}`.
        let json = serde_json::to_string(&copy)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        self.env
            .kv("KV")?
            .put(&key(reference), json)?
            .execute()
            .await?;
        Ok(())
    }

    #[worker::send]
    pub(crate) async fn drop_edge_copy(&self, reference: &ServerRef) -> Result<(), StoreError> {
        Ok(self.env.kv("KV")?.delete(&key(reference)).await?)
    }
}

/// A hash, since KV keys have at most 512 bytes and a version may have more.
fn key(reference: &ServerRef) -> String {
    let hash = Sha256::digest(reference.to_string());
    format!("server:{}", Base64UrlUnpadded::encode_string(&hash))
}

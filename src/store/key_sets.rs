//! Key sets of identity providers in KV: near everyone, so that the provider is asked seldom, and
//! there for a while when it doesn't answer.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Store, StoreError};
use crate::authority::{KEPT_MILLIS, KeySource};

/// How long a location may answer with what it read last, in seconds: KV's least.
const NEARBY_SECONDS: u64 = 30;

/// What was found at a provider, and when.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct KeySetCopy {
    /// The JWK Set as the provider served it, if it ever did.
    pub(crate) key_set: Option<String>,
    /// When, in milliseconds since the Unix epoch.
    pub(crate) fetched_at: Option<u64>,
    /// When it was last asked, whether it answered or not.
    pub(crate) looked_at: u64,
}

impl Store {
    /// A copy that can't be read is no copy.
    #[worker::send]
    pub(crate) async fn key_set_copy(&self, source: &KeySource) -> Option<KeySetCopy> {
        let kv = self.env.kv("KV").ok()?;
        let get = kv.get(&key(source)).cache_ttl(NEARBY_SECONDS);
        serde_json::from_str(&get.text().await.ok()??).ok()
    }

    #[worker::send]
    pub(crate) async fn put_key_set_copy(
        &self,
        source: &KeySource,
        copy: &KeySetCopy,
    ) -> Result<(), StoreError> {
        let json = serde_json::to_string(copy)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        self.env
            .kv("KV")?
            .put(&key(source), json)?
            .expiration_ttl(KEPT_MILLIS / 1000)
            .execute()
            .await?;
        Ok(())
    }
}

/// A hash, since a key in KV has 512 bytes at most.
fn key(source: &KeySource) -> String {
    let jwks_uri = source.jwks_uri.as_deref().unwrap_or_default();
    let digest = Sha256::digest(format!("{} {jwks_uri}", source.issuer));
    format!(
        "provider-keys:{}",
        Base64UrlUnpadded::encode_string(&digest)
    )
}

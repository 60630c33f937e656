//! Key sets of identity providers in KV: near everyone, so that the provider is asked seldom, and
//! there for a while when it doesn't answer.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Store, StoreError};
use crate::authority::{KEPT_MILLIS, KeySource};

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
    /// A copy that can't be read, or not in time, is no copy.
    pub(crate) async fn key_set_copy(&self, source: &KeySource) -> Option<KeySetCopy> {
        self.kv_get(&key(source)).await.ok()?
    }

    pub(crate) async fn put_key_set_copy(
        &self,
        source: &KeySource,
        copy: &KeySetCopy,
    ) -> Result<(), StoreError> {
        self.kv_put(&key(source), copy, Some(KEPT_MILLIS / 1000))
            .await
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

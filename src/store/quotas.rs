//! Counts what the owners of namespaces publish and change on a day, in UTC.

use super::{Statement, Store, StoreError, number};
use crate::authority::Quota;

const TODAY: &str = "unixepoch('now') / 86400";

/// Whether `bytes` more are more than the owner in the parameter `owner` may publish today, or one version more is.
pub(super) fn is_spent(owner: &str, quota: Quota, bytes: usize) -> String {
    format!(
        "EXISTS (SELECT 1 FROM published p WHERE p.owner = {owner} AND p.day = {TODAY}
           AND (p.versions >= {} OR p.bytes + {bytes} > {}))",
        quota.versions, quota.bytes
    )
}

/// To stand right after the audit row of a change: counts it, if it was made.
pub(super) fn count(owner: &str, versions: u32, bytes: usize) -> Statement<'static> {
    (
        "INSERT INTO published (owner, day, versions, bytes)
         SELECT ?1, unixepoch('now') / 86400, ?2, ?3 WHERE changes() > 0
         ON CONFLICT (owner, day) DO UPDATE
         SET versions = versions + excluded.versions, bytes = bytes + excluded.bytes",
        vec![owner.into(), versions.into(), number(bytes as u64)],
    )
}

impl Store {
    /// Forgets what was counted on earlier days.
    pub(crate) async fn forget_spent_quotas(&self) -> Result<(), StoreError> {
        let sql = "DELETE FROM published WHERE day < unixepoch('now') / 86400";
        self.batch(vec![(sql, Vec::new())]).await?;
        Ok(())
    }
}

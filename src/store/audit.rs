use serde::{Deserialize, Serialize};

use super::{Page, Store, StoreError, number};

/// One change: who did what to whom, when and why.
#[derive(Deserialize, Serialize)]
pub(crate) struct AuditEntry {
    pub(crate) seq: u64,
    pub(crate) at: String,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// What it was changed to, where the action does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

impl Store {
    /// Up to `limit` entries before the given one, newest first.
    #[worker::send]
    pub(crate) async fn list_audit(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<AuditEntry>, StoreError> {
        let rows = self
            .rows(
                "SELECT seq, strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS at,
                    actor, action, subject, reason, detail
             FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
                vec![number(before.unwrap_or(MAX_SEQ)), (limit + 1).into()],
            )
            .await?;
        Ok(Page::new(rows, limit))
    }
}

/// The largest whole number that JavaScript has.
const MAX_SEQ: u64 = (1 << 53) - 1;

use serde::{Deserialize, Serialize};

use super::{Page, Statement, Store, StoreError, now, number, text};

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

/// What an audit row says beside when.
pub(super) struct Event<'a> {
    pub(super) actor: &'a str,
    pub(super) action: &'a str,
    pub(super) subject: &'a str,
    pub(super) reason: Option<&'a str>,
    pub(super) detail: Option<&'a str>,
}

impl Event<'_> {
    /// To stand right after the statement that makes the change: a row, if that changed anything.
    pub(super) fn if_changed(&self) -> Statement<'static> {
        (
            "INSERT INTO audit (at, actor, action, subject, reason, detail)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE changes() > 0",
            vec![
                now(),
                self.actor.into(),
                self.action.into(),
                self.subject.into(),
                text(self.reason),
                text(self.detail),
            ],
        )
    }
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

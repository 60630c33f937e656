use super::{Statement, now};

/// Something that the revocation feed tells servers of.
pub(super) struct Revocation<'a> {
    /// `server`, `version`, `tenant`, `client`, `key` or `jti`.
    pub(super) kind: &'static str,
    /// `ns/name`, `ns/name@version`, or an id.
    pub(super) subject: &'a str,
    /// Of a client, where it has one.
    pub(super) tenant_id: Option<&'a str>,
    pub(super) actor: &'a str,
    pub(super) reason: &'a str,
}

impl Revocation<'_> {
    /// To stand right after the change's audit row: a row, if there was a change.
    pub(super) fn if_changed(&self) -> Statement<'static> {
        (
            "INSERT INTO revocations (kind, subject, tenant_id, revoked_at, actor, reason)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE changes() > 0
             ON CONFLICT (kind, subject, tenant_id) DO UPDATE
             SET revoked_at = excluded.revoked_at, actor = excluded.actor, reason = excluded.reason",
            vec![
                self.kind.into(),
                self.subject.into(),
                self.tenant_id.unwrap_or_default().into(),
                now(),
                self.actor.into(),
                self.reason.into(),
            ],
        )
    }
}

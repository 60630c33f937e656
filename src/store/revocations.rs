use mcp_connect_descriptor::SigningKeys;
use serde_json::json;
use wasm_bindgen::JsValue;

use super::{
    Page, Row, Statement, Store, StoreError, audit::Event, changed, date,
    feed_share::bulk_has_room, nth_row, nth_rows, number, proofs::effective_level, text,
};
use crate::{authority::FeedRow, platform::now_millis};

/// Something that the revocation feed tells servers of.
pub(super) struct Revocation<'a> {
    /// `server`, `version`, `tenant`, `client`, `key` or `jti`.
    pub(super) kind: &'static str,
    /// `ns/name`, `ns/name@version`, or an id.
    pub(super) subject: &'a str,
    /// Of a client; that of the registered one where it is left out.
    pub(super) tenant_id: Option<&'a str>,
    pub(super) actor: &'a str,
    pub(super) reason: &'a str,
    /// Whose share of the feed it takes; `None`: an administrator's.
    pub(super) owner: Option<&'a str>,
}

/// D1's own clock, in milliseconds since the Unix epoch.
pub(super) const NOW: &str = "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)";

/// Of what descriptors can exist, beside what has an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Connectable {
    All,
    Verified,
}

impl Connectable {
    /// A setting that can't be read counts as `false`: somebody may have been let in before it broke.
    pub(crate) const fn when(requires_verified: bool) -> Self {
        if requires_verified {
            Self::Verified
        } else {
            Self::All
        }
    }

    /// Of a version `v` of a server `s`: what nobody was sent to, nobody has to be told of. Else whoever
    /// may publish, or an upstream, could fill the revocation feed.
    pub(super) fn condition(self) -> String {
        match self {
            Self::All => "v.endpoint IS NOT NULL".to_owned(),
            Self::Verified => format!(
                "v.endpoint IS NOT NULL AND {} <> 'none'",
                effective_level("v.origin")
            ),
        }
    }
}

/// By D1's own clock, at the moment of the change: what was decided before has no later date.
macro_rules! insert {
    ($condition:literal) => {
        concat!(
            "INSERT INTO revocations (kind, subject, tenant_id, revoked_at, actor, reason, owner)
             SELECT ?1, ?2,
               coalesce(?3, (SELECT tenant_id FROM clients WHERE client_id = ?2 AND ?1 = 'client'), ''),
               CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER), ?4, ?5, ?7 WHERE (?6 OR changes() > 0)",
            $condition,
            " ON CONFLICT (kind, subject, tenant_id) DO UPDATE SET revoked_at = excluded.revoked_at,
               actor = excluded.actor, reason = excluded.reason, owner = excluded.owner
             WHERE NOT ?6"
        )
    };
}

/// Looks whether somebody may have a descriptor for a version of a server, or for the one that is named.
pub(super) fn is_needed(
    name: &str,
    version: Option<&str>,
    connectable: Connectable,
) -> (String, Vec<JsValue>) {
    let sql = format!(
        "SELECT {} AS is_needed",
        has_version(["?1", "?2"], &connectable.condition())
    );
    (sql, vec![name.into(), text(version)])
}

/// Tells whether the server of the first parameter has a version, or the version of the second one if that is given,
/// for which this condition holds.
fn has_version([name, version]: [&str; 2], condition: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM servers s JOIN versions v ON v.server_id = s.id
           WHERE s.name = {name} AND ({version} IS NULL OR v.version = {version}) AND {condition})"
    )
}

impl Revocation<'_> {
    /// To stand right after the change's audit row: a row, if there was a change.
    pub(super) fn if_changed(&self) -> Statement<'static> {
        self.insert(false)
    }

    /// The change itself, where nothing else is: a row, if there is none of it yet.
    fn if_new(&self) -> Statement<'static> {
        self.insert(true)
    }

    /// … where the change deleted the version of a server, or any of its versions: a row, if somebody
    /// may have a descriptor for one that it deleted.
    pub(super) fn if_deleted(
        &self,
        name: &str,
        version: Option<&str>,
        connectable: Connectable,
    ) -> (String, Vec<JsValue>) {
        let is_deleted_now = format!(
            "v.status_changed_at = (SELECT max(changed_at) FROM versions) AND {}",
            connectable.condition()
        );
        let sql = format!(
            insert!(" AND {}"),
            has_version(["?8", "?9"], &is_deleted_now)
        );
        let mut values = self.values(false);
        values.extend([name.into(), text(version)]);
        (sql, values)
    }

    /// … if somebody may have a descriptor for a version of the server `name`, or for the one that is named, and
    /// the share of bulk changes has room. What is not told expires by itself, and no new ones are issued.
    pub(super) fn if_told(
        &self,
        name: &str,
        version: Option<&str>,
        connectable: Connectable,
    ) -> (String, Vec<JsValue>) {
        let sql = format!(
            insert!(" AND {} AND {}"),
            has_version(["?8", "?9"], &connectable.condition()),
            bulk_has_room()
        );
        let mut values = self.values(false);
        values.extend([name.into(), text(version)]);
        (sql, values)
    }

    fn insert(&self, is_change: bool) -> Statement<'static> {
        (insert!(""), self.values(is_change))
    }

    fn values(&self, is_change: bool) -> Vec<JsValue> {
        vec![
            self.kind.into(),
            self.subject.into(),
            text(self.tenant_id),
            self.actor.into(),
            self.reason.into(),
            u32::from(is_change).into(),
            text(self.owner),
        ]
    }
}

/// A signing key that was withdrawn.
pub(crate) struct RevokedKey {
    pub(crate) id: String,
    pub(crate) revoked_at: String,
    pub(crate) reason: String,
}

impl RevokedKey {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.required("id")?,
            revoked_at: row.required("revoked_at")?,
            reason: row.required("reason")?,
        })
    }
}

/// What the feed is to tell of.
#[derive(Clone, Copy)]
pub(crate) enum Withdrawn<'a> {
    /// By its row alone: nothing else of the registry says it.
    Key,
    /// By its row alone.
    Jti,
    /// A suspended client, with its tenant.
    Client(Option<&'a str>),
    /// A suspended tenant.
    Tenant,
}

/// Older rows speak of no live descriptor, and of no key that is looked for.
const KEPT_MILLIS: u64 = 24 * 60 * 60 * 1000;

fn columns() -> String {
    format!(
        "kind, subject AS id, nullif(tenant_id, '') AS tenant_id, {} AS revoked_at, actor, reason",
        date("revoked_at")
    )
}

impl Store {
    /// Sees to it that there is a row of what is withdrawn; whether that was new. Of a client and a
    /// tenant that were suspended long ago it was forgotten.
    pub(crate) async fn revoke(
        &self,
        what: Withdrawn<'_>,
        id: &str,
        actor: &str,
        reason: &str,
    ) -> Result<(Row, bool), StoreError> {
        let (kind, action, tenant_id) = match what {
            Withdrawn::Key => ("key", "key.revoke", None),
            Withdrawn::Jti => ("jti", "jti.revoke", None),
            Withdrawn::Client(tenant_id) => ("client", "client.revoke", tenant_id),
            Withdrawn::Tenant => ("tenant", "tenant.revoke", None),
        };
        let revocation = Revocation {
            kind,
            subject: id,
            tenant_id,
            actor,
            reason,
            owner: None,
        };
        let event = Event {
            actor,
            action,
            subject: id,
            reason: Some(reason),
            detail: None,
        };
        let select = format!(
            "SELECT {} FROM revocations WHERE kind = ?1 AND subject = ?2 AND tenant_id = ?3",
            columns()
        );
        let tenant_id = tenant_id.unwrap_or_default();
        let mut results = self
            .batch(vec![
                revocation.if_new(),
                event.if_changed(),
                (&select, vec![kind.into(), id.into(), tenant_id.into()]),
            ])
            .await?;
        let entry = nth_row(&mut results, 2)?
            .ok_or_else(|| StoreError::Unavailable("the revocation can't be read".into()))?;
        Ok((entry, changed(&results, 0)?))
    }

    /// Up to `limit` withdrawals, newest first, after the one of this cursor.
    pub(crate) async fn list_revocations(
        &self,
        after: Option<(u64, &str, &str, &str)>,
        limit: u32,
    ) -> Result<Page<Row>, StoreError> {
        let (condition, values) = match after {
            None => ("", vec![(limit + 1).into()]),
            Some((revoked_at, kind, tenant_id, subject)) => (
                "WHERE (revoked_at, kind, tenant_id, subject) < (?2, ?3, ?4, ?5)",
                vec![
                    (limit + 1).into(),
                    number(revoked_at),
                    kind.into(),
                    tenant_id.into(),
                    subject.into(),
                ],
            ),
        };
        let sql = format!(
            "SELECT {} FROM revocations {condition}
             ORDER BY revocations.revoked_at DESC, kind DESC, revocations.tenant_id DESC, subject DESC
             LIMIT ?1",
            columns()
        );
        let rows = self.rows(&sql, values).await?;
        Ok(Page::new(rows, limit))
    }

    /// What the revocation feed is made of: keys, whenever they were withdrawn, and the newest of the
    /// rest since `since`, in milliseconds since the Unix epoch, at most one more than `limit`.
    pub(crate) async fn feed_rows(
        &self,
        since: u64,
        limit: usize,
    ) -> Result<Vec<FeedRow>, StoreError> {
        let columns = "SELECT kind, subject, tenant_id, revoked_at FROM revocations WHERE";
        let keys = format!("{columns} kind = 'key'");
        let rest = format!(
            "{columns} kind <> 'key' AND revoked_at > ?1 ORDER BY revoked_at DESC LIMIT ?2"
        );
        let limit = u32::try_from(limit + 1).unwrap_or(u32::MAX);
        let mut results = self
            .read(vec![
                (&keys, Vec::new()),
                (&rest, vec![number(since), limit.into()]),
            ])
            .await?;
        let mut rows = nth_rows(&mut results, 0)?;
        rows.extend(nth_rows(&mut results, 1)?);
        rows.iter().map(feed_row).collect()
    }

    /// How many keys other than this one were revoked within a day.
    pub(crate) async fn recently_revoked_keys(&self, other: &str) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) AS keys FROM revocations
                   WHERE kind = 'key' AND subject <> ?1 AND revoked_at > ?2";
        let since = number(now_millis().saturating_sub(KEPT_MILLIS));
        let rows = self.rows(sql, vec![other.into(), since]).await?;
        Ok(rows
            .first()
            .and_then(|row| row.number("keys"))
            .unwrap_or_default())
    }

    /// Those of these signing keys that were withdrawn.
    pub(crate) async fn revoked_keys(
        &self,
        keys: &SigningKeys,
    ) -> Result<Vec<RevokedKey>, StoreError> {
        let sql = format!(
            "SELECT {} FROM revocations WHERE kind = 'key'
             AND subject IN (SELECT value FROM json_each(?1))",
            columns()
        );
        let ids: Vec<&str> = keys.iter().map(|entry| entry.key.id()).collect();
        let rows = self.rows(&sql, vec![json!(ids).to_string().into()]).await?;
        rows.iter().map(RevokedKey::read).collect()
    }

    /// Whether a token must be refused: its key was withdrawn, or it itself.
    pub(crate) async fn is_withdrawn(&self, key_id: &str, jti: &str) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM revocations
                   WHERE (kind, subject) IN (VALUES ('key', ?1), ('jti', ?2)) LIMIT 1";
        let rows = self.rows(sql, vec![key_id.into(), jti.into()]).await?;
        Ok(!rows.is_empty())
    }

    /// Forgets what no live descriptor can be refused by. A key stays withdrawn for ever.
    pub(crate) async fn forget_old_revocations(&self, now: u64) -> Result<(), StoreError> {
        let oldest = number(now.saturating_sub(KEPT_MILLIS));
        let sql = "DELETE FROM revocations WHERE kind <> 'key' AND revoked_at < ?1";
        self.batch(vec![(sql, vec![oldest])]).await?;
        Ok(())
    }
}

fn feed_row(row: &Row) -> Result<FeedRow, StoreError> {
    Ok(FeedRow {
        kind: row.one_of("kind")?,
        subject: row.required("subject")?,
        tenant_id: row.text("tenant_id").to_owned(),
        revoked_at: row.number("revoked_at").unwrap_or_default(),
    })
}

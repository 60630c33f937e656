use serde_json::{Value, json};

use super::{
    Row, Store, StoreError, date, nth_row, nth_rows, number,
    page::{BYTES, fitting},
    registry::official,
};

/// A part of what changed, oldest first.
pub(crate) struct Changes {
    /// JSON, each.
    pub(crate) entries: Vec<String>,
    /// Of the last entry, or where this began.
    pub(crate) seq: u64,
    /// Of the last change that there is.
    pub(crate) head: u64,
}

/// The number of the last change that there is.
pub(super) const HEAD: &str = "SELECT max(seq) AS head FROM changes";

impl Store {
    /// Up to `limit` servers and versions, as they are now, in the order of their last change, after
    /// the change of the given number.
    pub(crate) async fn changes(&self, after: u64, limit: u32) -> Result<Changes, StoreError> {
        let rows = format!(
            "SELECT c.*, {BYTES} AS bytes FROM changes c LEFT JOIN versions v ON v.id = c.version_id
             WHERE c.seq > ?1 ORDER BY c.seq LIMIT ?2"
        );
        let sql = format!(
            "SELECT c.seq, s.name AS id, v.version, v.server_json, v.meta, v.status, v.status_message,
               v.status_changed_at, coalesce(v.published_at, v.created_at * 1000) AS published_at,
               v.updated_at, s.latest_version = v.id AS is_latest,
               iif(v.id IS NULL, s.moderation, v.moderation) AS moderation,
               iif(v.id IS NULL, s.moderation_reason, v.moderation_reason) AS moderation_reason,
               iif(v.id IS NULL, {}, {}) AS moderation_until,
               iif(v.id IS NULL, s.upstream, NULL) AS upstream,
               iif(v.id IS NULL, (SELECT version FROM versions WHERE id = s.latest_version), NULL) AS latest,
               iif(v.id IS NULL, (SELECT version FROM versions WHERE id = s.default_version), NULL) AS \"default\",
               iif(v.id IS NULL, s.origin_level, NULL) AS origin_level,
               iif(v.id IS NULL, s.verified_origin, NULL) AS verified_origin,
               iif(v.id IS NULL, s.namespace_proven, NULL) AS namespace_proven
             FROM ({}) c JOIN servers s ON s.id = c.server_id LEFT JOIN versions v ON v.id = c.version_id
             ORDER BY c.seq",
            date("s.moderation_expires_at"),
            date("v.moderation_expires_at"),
            fitting(&rows, "seq"),
        );
        let mut results = self
            .read(vec![
                (&sql, vec![number(after), limit.into()]),
                (HEAD, Vec::new()),
            ])
            .await?;
        let rows = nth_rows(&mut results, 0)?;
        let seq = rows.last().and_then(|row| row.number("seq"));
        let entries: Result<_, _> = rows.into_iter().map(entry).collect();
        let head = nth_row(&mut results, 1)?.and_then(|row| row.number("head"));
        Ok(Changes {
            entries: entries?,
            seq: seq.unwrap_or(after),
            head: head.unwrap_or(0),
        })
    }
}

fn entry(mut row: Row) -> Result<String, StoreError> {
    let Some(server_json) = row.remove("server_json") else {
        let namespace_proven = row.flag("namespace_proven");
        return serde_json::to_string(&row.with("namespace_proven", namespace_proven))
            .map_err(|error| StoreError::Unavailable(error.to_string()));
    };
    let official = official(&row)?;
    // Only what is of the version: the rest is said of its server.
    let mut authority = json!({ "moderation": row.text("moderation") });
    for (member, column) in [
        ("reason", "moderation_reason"),
        ("until", "moderation_until"),
    ] {
        if let (Some(text), Some(members)) = (row.optional(column), authority.as_object_mut()) {
            members.insert(member.into(), text.into());
        }
    }
    Ok(format!(
        r#"{{"seq":{},"id":{},"version":{},"server":{},"_meta":{}}}"#,
        row.number("seq").unwrap_or_default(),
        Value::from(row.text("id")),
        Value::from(row.text("version")),
        server_json.as_str().unwrap_or("null"),
        official.with_others(&authority, row.optional("meta")),
    ))
}

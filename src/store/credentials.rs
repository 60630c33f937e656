//! What the keys of clients and those of administrators have in common: the columns of their tables.

use wasm_bindgen::JsValue;

use super::{Row, date, now, number, text};
use crate::authority::{Holder, NewKey, PastKey};

/// A table of keys, with the column that names their holder.
#[derive(Clone, Copy)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) holder: &'static str,
}

impl Table {
    /// The keys of a holder ?1 that a new one replaces, ?2 being now: those that work and were not replaced before;
    /// failing these, the newest.
    pub(super) fn past_query(self) -> String {
        let Self { name, holder } = self;
        // To the second: the clock may go on by a millisecond between the two dates of one key.
        let columns = "label, (expires_at - created_at + 500) / 1000 AS life";
        let works = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)";
        format!(
            "WITH past AS (SELECT *, {works} AS works FROM {name} WHERE {holder} = ?1 AND replaced_at IS NULL)
             SELECT {columns} FROM past WHERE works
             UNION ALL
             SELECT {columns} FROM (SELECT * FROM past WHERE NOT EXISTS (SELECT 1 FROM past WHERE works)
               ORDER BY created_at DESC, key_id LIMIT 1)
             LIMIT {MAX_LISTED}"
        )
    }

    /// Lets all keys of a holder but the new one end at `others_end`, if there is the new one.
    pub(super) fn end_others(
        self,
        holder: &str,
        new_key: &str,
        others_end: u64,
    ) -> (String, Vec<JsValue>) {
        let Self {
            name,
            holder: column,
        } = self;
        let sql = format!(
            "UPDATE {name} SET expires_at = min(coalesce(expires_at, ?3), ?3),
               replaced_at = coalesce(replaced_at, ?4)
             WHERE {column} = ?1 AND key_id <> ?2 AND revoked_at IS NULL
               AND (expires_at IS NULL OR expires_at > ?4)
               AND EXISTS (SELECT 1 FROM {name} WHERE key_id = ?2)"
        );
        let values = vec![holder.into(), new_key.into(), number(others_end), now()];
        (sql, values)
    }
}

pub(super) fn past_key(row: &Row) -> PastKey {
    PastKey {
        label: row.owned("label"),
        life: row.number("life"),
    }
}

/// The most keys that are listed of one holder, newest first.
const MAX_LISTED: u32 = 100;

/// Of the table that a query calls `k`; ?2 is now.
pub(super) fn columns() -> String {
    format!(
        "key_id, label, {} AS created_at, {} AS expires_at, {} AS revoked_at,
         CASE WHEN revoked_at IS NOT NULL THEN 'revoked'
           WHEN expires_at <= ?2 THEN 'expired' ELSE 'active' END AS status",
        date("k.created_at"),
        date("k.expires_at"),
        date("k.revoked_at"),
    )
}

/// The condition for those that are listed.
pub(super) fn newest() -> String {
    format!("true ORDER BY k.created_at DESC, key_id LIMIT {MAX_LISTED}")
}

/// Of a new row: ?1 the key's id, ?2 its holder, ?3 the hash of its secret, ?4 its label, ?5 now, ?6
/// when it expires.
pub(super) fn values<H: Holder>(key: &NewKey<'_, H>, holder: &str) -> Vec<JsValue> {
    vec![
        key.key.key_id().into(),
        holder.into(),
        key.key.secret_hash().encode().into(),
        text(key.label),
        now(),
        key.expires_at.map_or(JsValue::NULL, number),
    ]
}

//! What the keys of clients and those of administrators have in common: the columns of their tables.

use wasm_bindgen::JsValue;

use super::{date, now, number, text};
use crate::authority::{Holder, NewKey};

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

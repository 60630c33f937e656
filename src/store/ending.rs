//! What ends soon unless somebody does something about it.

use super::{Row, Store, StoreError, nth_rows, number};
use crate::authority::{Standing, UNCONFIRMED_MILLIS};

/// How far ahead is looked.
pub(crate) const ENDING_DAYS: u64 = 14;
/// The most entries of one kind.
const MAX_ENTRIES: usize = 100;

/// The most keys that are looked at for those whose holder is not suspended.
macro_rules! max_keys {
    () => {
        "1000"
    };
}

/// Selects the keys of active holders that end between two moments, keys that were replaced last.
macro_rules! keys {
    ($keys:literal, $holders:literal, $id:literal) => {
        concat!(
            "SELECT k.",
            $id,
            " AS subject, k.key_id, k.label, k.expires_at AS ends_at,
               iif(k.replaced_at IS NULL, NULL, 1) AS replaced
             FROM (SELECT * FROM ",
            $keys,
            " WHERE revoked_at IS NULL AND expires_at > ?1 AND expires_at <= ?2
                   ORDER BY expires_at LIMIT ",
            max_keys!(),
            ") k
             JOIN ",
            $holders,
            " h ON h.",
            $id,
            " = k.",
            $id,
            " AND h.status = 'active'
             ORDER BY k.replaced_at IS NOT NULL, k.expires_at LIMIT ?3"
        )
    };
}

/// The kinds that D1 knows of, each with its query. `?1` is now, `?2` the last moment that counts, `?3` the most rows. The
/// unary plus leaves only the index by date.
const QUERIES: [(&str, &str); 5] = [
    (
        "administrator_key",
        keys!("administrator_keys", "administrators", "name"),
    ),
    ("client_key", keys!("api_keys", "clients", "client_id")),
    (
        "quarantine",
        "SELECT name AS subject, moderation_reason AS reason, moderation_expires_at AS ends_at
         FROM servers WHERE +moderation = 'quarantined' AND moderation_expires_at > ?1 AND moderation_expires_at <= ?2
         ORDER BY moderation_expires_at LIMIT ?3",
    ),
    (
        "quarantine",
        "SELECT s.name || '@' || v.version AS subject, v.moderation_reason AS reason, v.moderation_expires_at AS ends_at
         FROM versions v JOIN servers s ON s.id = v.server_id
         WHERE +v.moderation = 'quarantined' AND v.moderation_expires_at > ?1 AND v.moderation_expires_at <= ?2
         ORDER BY v.moderation_expires_at LIMIT ?3",
    ),
    (
        "proof",
        "SELECT s.name AS subject, p.level, p.failures, p.confirmed_at, p.checked_at
         FROM (SELECT * FROM (SELECT * FROM proofs WHERE method = 'challenge' AND failures > 0
                              ORDER BY failures DESC, checked_at LIMIT ?3)
               UNION SELECT * FROM (SELECT * FROM proofs WHERE method = 'challenge' AND confirmed_at <= ?2
                                    ORDER BY confirmed_at LIMIT ?3)) p
         JOIN servers s ON s.id = p.server_id LIMIT ?3",
    ),
];

/// One thing that ends.
pub(crate) struct Ending {
    pub(crate) kind: &'static str,
    /// In milliseconds since the Unix epoch; `None` if nobody said since when it counts.
    pub(crate) ends_at: Option<u64>,
    /// A newer key stands in its place, so that it was meant to end.
    pub(crate) is_replaced: bool,
    /// What an administrator is shown.
    pub(crate) shown: Row,
}

/// Everything that ends soon, and whether that is all.
pub(crate) struct Endings {
    pub(crate) entries: Vec<Ending>,
    pub(crate) is_complete: bool,
}

impl Store {
    /// What ends within [`ENDING_DAYS`], found by indexes.
    pub(crate) async fn endings(&self, now: u64) -> Result<Endings, StoreError> {
        let until = now.saturating_add(ENDING_DAYS * 24 * 60 * 60 * 1000);
        let unconfirmed_since = now.saturating_sub(UNCONFIRMED_MILLIS);
        let statements = QUERIES.map(|(kind, sql)| {
            let until = if kind == "proof" {
                unconfirmed_since
            } else {
                until
            };
            let values = vec![number(now), number(until), number(MAX_ENTRIES as u64 + 1)];
            (sql, values)
        });
        let mut results = self.read(statements.into()).await?;
        let mut endings = Endings {
            entries: Vec::new(),
            is_complete: true,
        };
        for (index, (kind, _)) in QUERIES.iter().enumerate() {
            let mut rows = nth_rows(&mut results, index)?;
            endings.is_complete &= rows.len() <= MAX_ENTRIES;
            rows.truncate(MAX_ENTRIES);
            endings
                .entries
                .extend(rows.into_iter().map(|row| Ending::read(kind, row)));
        }
        Ok(endings)
    }
}

impl Ending {
    fn read(kind: &'static str, mut row: Row) -> Self {
        let is_replaced = row.flag("replaced");
        let ends_at = row.number("ends_at").or_else(|| lost_at(&row));
        for column in ["replaced", "ends_at", "confirmed_at", "checked_at"] {
            row.remove(column);
        }
        Self {
            kind,
            ends_at,
            is_replaced,
            shown: row,
        }
    }
}

fn lost_at(row: &Row) -> Option<u64> {
    let standing = Standing {
        failures: row.number("failures")?.try_into().ok()?,
        confirmed_at: row.number("confirmed_at")?,
    };
    Some(standing.lost_at(row.number("checked_at")?))
}

use mcp_connect_audit::{AuditEntry, ChainHash};
use wasm_bindgen::JsValue;

use super::{Page, Row, Statement, Store, StoreError, date, now, nth_row, nth_rows, number, text};

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
    /// Writes down what an administrator did for a reason, although no row of its own changed.
    pub(crate) async fn note(
        &self,
        actor: &str,
        action: &str,
        subject: &str,
        reason: &str,
    ) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO audit (at, actor, action, subject, reason) VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = [actor, action, subject, reason].map(Into::into);
        let values = [now()].into_iter().chain(values).collect();
        self.batch(vec![(sql, values)]).await?;
        Ok(())
    }
}

/// Which entries to list.
#[derive(Default)]
pub(crate) struct AuditFilter<'a> {
    pub(crate) actor: Option<&'a str>,
    pub(crate) action: Option<&'a str>,
    /// With a server its versions are meant, too.
    pub(crate) subject: Option<&'a str>,
    /// Milliseconds since the Unix epoch: from the first, before the second.
    pub(crate) since: Option<u64>,
    pub(crate) until: Option<u64>,
    pub(crate) oldest_first: bool,
    /// Without what imports and the mirror took in, unless an action or a subject is asked for.
    pub(crate) without_imports: bool,
}

/// Some entries, and how many imports are left out among them.
pub(crate) struct AuditPage {
    pub(crate) entries: Page<AuditEntry>,
    pub(crate) left_out: Option<u64>,
}

/// The actions that imports and the mirror leave by the thousand.
const IMPORTS: &str = "a.action IN ('version.import', 'version.update')";

/// The most entries that are counted as left out.
const MAX_LEFT_OUT: u32 = 10_000;

fn columns() -> String {
    let at = date("a.at");
    format!("a.seq, {at} AS at, a.actor, a.action, a.subject, a.reason, a.detail")
}

/// How many entries are sealed at once.
const SEALED_AT_ONCE: u32 = 500;

impl Store {
    /// Up to `limit` entries after the one of the given number, in the order asked for.
    pub(crate) async fn list_audit(
        &self,
        filter: &AuditFilter<'_>,
        after: Option<u64>,
        limit: u32,
    ) -> Result<AuditPage, StoreError> {
        let (beyond, order, start) = if filter.oldest_first {
            (">", "ASC", 0)
        } else {
            ("<", "DESC", MAX_SEQ)
        };
        let leaves_out =
            filter.without_imports && filter.action.is_none() && filter.subject.is_none();
        let condition = format!(
            "a.seq {beyond} ?1 AND a.actor = coalesce(?3, a.actor)
               AND a.action = coalesce(?4, a.action)
               AND (?5 IS NULL OR a.subject = ?5
                 OR (a.subject > ?5 || '@' AND a.subject < ?5 || 'A'))
               AND a.at >= ?6 AND a.at < ?7"
        );
        let listed = if leaves_out {
            format!("AND NOT {IMPORTS}")
        } else {
            String::new()
        };
        let sql = format!(
            "SELECT {} FROM audit a WHERE {condition} {listed} ORDER BY a.seq {order} LIMIT ?2",
            columns()
        );
        let values = |limit: u32| {
            vec![
                number(after.unwrap_or(start)),
                limit.into(),
                text(filter.actor),
                text(filter.action),
                text(filter.subject),
                number(filter.since.unwrap_or(0)),
                number(filter.until.unwrap_or(MAX_SEQ)),
            ]
        };
        let rows = self.rows(&sql, values(limit + 1)).await?;
        let entries: Result<_, _> = rows.iter().map(entry).collect();
        let entries = Page::new(entries?, limit);
        let mut left_out = None;
        if leaves_out {
            // Up to the last entry of the page, or to the end.
            let last = entries.next_after().map(|last| last.seq);
            let sql = format!(
                "SELECT count(*) AS left_out FROM (SELECT 1 FROM audit a WHERE {condition} AND {IMPORTS}
                   AND (?8 IS NULL OR NOT a.seq {beyond} ?8) LIMIT ?2)"
            );
            let mut values = values(MAX_LEFT_OUT);
            values.push(last.map_or(JsValue::NULL, number));
            let rows = self.rows(&sql, values).await?;
            left_out = rows.first().and_then(|row| row.number("left_out"));
        }
        Ok(AuditPage { entries, left_out })
    }

    /// Up to `limit` entries after the one of the given number, oldest first.
    pub(crate) async fn export_audit(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = format!(
            "SELECT {}, l.hash FROM audit a LEFT JOIN audit_seals l ON l.seq = a.seq
             WHERE a.seq > ?1 ORDER BY a.seq LIMIT ?2",
            columns()
        );
        let rows = self.rows(&sql, vec![number(after), limit.into()]).await?;
        rows.iter().map(entry).collect()
    }

    /// Continues the hash chain over the entries that have no hash yet; how many there were. What an
    /// entry's hash is follows from the entries, so it does no harm that several do it at once.
    pub(crate) async fn seal_audit(&self) -> Result<usize, StoreError> {
        let unsealed = format!(
            "SELECT {} FROM audit a WHERE a.seq > coalesce((SELECT max(seq) FROM audit_seals), 0)
             ORDER BY a.seq LIMIT {SEALED_AT_ONCE}",
            columns()
        );
        let mut count = 0;
        loop {
            let mut results = self
                .read(vec![
                    (
                        "SELECT seq, hash FROM audit_seals ORDER BY seq DESC LIMIT 1",
                        Vec::new(),
                    ),
                    (&unsealed, Vec::new()),
                ])
                .await?;
            let (mut seq, mut hash) = match nth_row(&mut results, 0)? {
                None => (0, ChainHash::START),
                Some(last) => (seq(&last)?, last.one_of("hash")?),
            };
            let entries = nth_rows(&mut results, 1)?;
            let entries: Result<Vec<AuditEntry>, _> = entries.iter().map(entry).collect();
            let entries = entries?;
            let mut seals = Vec::with_capacity(entries.len());
            for entry in &entries {
                // Over a gap there is no chain: `audit verify` is to find it, not to find it sealed.
                if entry.seq != seq + 1 {
                    return Err(StoreError::Unavailable(format!(
                        "the audit trail lacks its entry {}",
                        seq + 1
                    )));
                }
                (seq, hash) = (entry.seq, hash.seal(entry));
                seals.push((seq, hash.to_string()));
            }
            if seals.is_empty() {
                return Ok(count);
            }
            let seals_json = serde_json::to_string(&seals)
                .map_err(|error| StoreError::Unavailable(error.to_string()))?;
            self.batch(vec![(
                "INSERT OR IGNORE INTO audit_seals (seq, hash)
                 SELECT value ->> 0, value ->> 1 FROM json_each(?1)",
                vec![seals_json.into()],
            )])
            .await?;
            count += seals.len();
            if seals.len() < SEALED_AT_ONCE as usize {
                return Ok(count);
            }
        }
    }
}

fn entry(row: &Row) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        seq: seq(row)?,
        at: row.required("at")?,
        actor: row.required("actor")?,
        action: row.required("action")?,
        subject: row.required("subject")?,
        reason: row.owned("reason"),
        detail: row.owned("detail"),
        hash: row.optional_one_of("hash")?,
    })
}

fn seq(row: &Row) -> Result<u64, StoreError> {
    row.number("seq")
        .ok_or_else(|| StoreError::Unavailable("an audit entry has no number".into()))
}

/// The largest whole number that JavaScript has.
const MAX_SEQ: u64 = (1 << 53) - 1;

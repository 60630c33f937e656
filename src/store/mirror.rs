use mcp_connect_catalog::Entry;
use serde::Serialize;
use serde_json::json;

use super::{
    Connectable, ImportResult, Page, Row, Statement, Store, StoreError, date,
    feed_share::{merge, revoke_imported},
    now, nth_row, nth_rows, number,
    registry_latest::{Flipped, MOMENT, choose},
    text,
};
use crate::authority::{Crawl, Following, Progress};

/// A version of a server.
#[derive(Eq, Hash, PartialEq, Serialize)]
pub(crate) struct Named {
    name: String,
    version: String,
}

impl Named {
    pub(crate) fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
        }
    }

    pub(crate) fn of(entry: &Entry) -> Self {
        Self::new(entry.name.as_str(), entry.version.as_str())
    }
}

/// What is known of an upstream, and whose turn it is to say more.
pub(crate) struct Mirror {
    pub(crate) following: Following,
    pub(crate) turn: Turn,
    /// The upstream asked not to be asked before, in milliseconds since the Unix epoch.
    pub(crate) waits_until: Option<u64>,
}

/// Moves with each transaction of whoever follows an upstream: of two at once, the second fails, so
/// that no page overwrites what a later one said.
#[derive(Clone, Copy)]
pub(crate) struct Turn(u64);

impl Turn {
    /// To stand before what the transaction does: it fails where it is not its turn.
    pub(super) fn take(self) -> [Statement<'static>; 2] {
        [
            (
                "UPDATE mirror SET turn = turn + 1, ran_at = ?2 WHERE turn = ?1",
                vec![number(self.0), now()],
            ),
            (NOT_ITS_TURN, Vec::new()),
        ]
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The row is there already.
const NOT_ITS_TURN: &str = "INSERT INTO mirror (id) SELECT 1 WHERE changes() = 0";

/// As many entries that were set aside are kept at most.
const MAX_POISON: u32 = 10_000;

const MET: &str = "
INSERT OR IGNORE INTO mirror_met (version_id)
SELECT v.id FROM json_each(?1) i
JOIN servers s ON s.name = i.value ->> 'name'
JOIN versions v ON v.server_id = s.id AND v.version = i.value ->> 'version'";

const CURED: &str = "
DELETE FROM mirror_poison WHERE subject IN (
  SELECT (i.value ->> 'name') || '@' || (i.value ->> 'version')
  FROM json_each(?1) i WHERE i.value ->> 'outcome' <> 'refused')";

const POISON: &str = "
INSERT INTO mirror_poison (subject, reason, since, seen_at)
SELECT coalesce(i.value ->> 'name', '') || '@' || coalesce(i.value ->> 'version', ''),
       coalesce(i.value ->> 'reason', ''), ?2, ?2
FROM json_each(?1) i
WHERE i.value ->> 'outcome' = 'refused' AND (SELECT count(*) FROM mirror_poison) < ?3
ON CONFLICT (subject) DO UPDATE SET reason = excluded.reason, seen_at = excluded.seen_at";

/// Versions of mirrored servers that are still in use.
const IN_USE: &str = "
FROM json_each(?1) i
JOIN servers s ON s.name = i.value ->> 'name' AND s.upstream IS NOT NULL
JOIN versions v ON v.server_id = s.id AND v.version = i.value ->> 'version' AND v.status <> 'deleted'";

impl Store {
    /// What is known of this upstream: nothing, where another was followed before.
    pub(crate) async fn mirror(&self, upstream: &str) -> Result<Mirror, StoreError> {
        const IS_NEW: &str = "(SELECT upstream FROM mirror) <> ?1";
        let forget = [
            format!(
                "UPDATE mirror_crawls SET began_at = NULL, cursor = NULL, checkpoint = NULL, pages = 0,
                 entries = 0, completed_at = NULL WHERE {IS_NEW}"
            ),
            format!("DELETE FROM mirror_met WHERE {IS_NEW}"),
            format!("DELETE FROM mirror_poison WHERE {IS_NEW}"),
            "UPDATE mirror SET upstream = ?1, turn = turn + 1, heard_until = NULL, problem = NULL,
             waits_until = NULL WHERE upstream <> ?1"
                .to_owned(),
        ];
        let mut statements: Vec<Statement<'_>> = forget
            .iter()
            .map(|sql| (sql.as_str(), vec![upstream.into()]))
            .collect();
        statements.push((
            "SELECT turn, heard_until, waits_until FROM mirror",
            Vec::new(),
        ));
        statements.push(("SELECT * FROM mirror_crawls", Vec::new()));
        let mut results = self.batch(statements).await?;
        let row = nth_row(&mut results, 4)?.unwrap_or_default();
        let mut following = Following {
            heard_until: row.number("heard_until"),
            ..Following::default()
        };
        for row in nth_rows(&mut results, 5)? {
            *following.progress(row.one_of("crawl")?) = Progress {
                began_at: row.number("began_at"),
                cursor: row.owned("cursor"),
                checkpoint: row.owned("checkpoint"),
                pages: row.number("pages").unwrap_or_default(),
                entries: row.number("entries").unwrap_or_default(),
                completed_at: row.number("completed_at"),
            };
        }
        Ok(Mirror {
            following,
            turn: Turn(row.number("turn").unwrap_or_default()),
            waits_until: row.number("waits_until"),
        })
    }

    /// After a page was taken in: how far the crawl is, and what became of each entry.
    pub(crate) async fn keep_page(
        &self,
        mirror: &Mirror,
        crawl: Crawl,
        results: &[ImportResult],
    ) -> Result<(), StoreError> {
        let results = serde_json::to_string(results)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let results = || results.as_str().into();
        let mut statements: Vec<Statement<'_>> = mirror.turn.take().into();
        statements.extend(keep_progress(&mirror.following));
        statements.push((CURED, vec![results()]));
        statements.push((POISON, vec![results(), now(), MAX_POISON.into()]));
        let sweep = &mirror.following.sweep;
        match (crawl, sweep.began_at) {
            (Crawl::Changes, _) => {}
            (Crawl::Sweep, Some(_)) => statements.push((MET, vec![results()])),
            (Crawl::Sweep, None) => {
                let began_at = number(sweep.completed_at.unwrap_or_default());
                statements.push(("DELETE FROM mirror_met", Vec::new()));
                statements.push((
                    "DELETE FROM mirror_poison WHERE seen_at < ?1",
                    vec![began_at],
                ));
            }
        }
        self.batch(statements).await?;
        Ok(())
    }

    /// Where a crawl is to begin again, or a sweep is asked for.
    pub(crate) async fn keep_following(&self, mirror: &Mirror) -> Result<(), StoreError> {
        let mut statements: Vec<Statement<'_>> = mirror.turn.take().into();
        statements.extend(keep_progress(&mirror.following));
        if mirror.following.sweep.began_at.is_none() {
            statements.push(("DELETE FROM mirror_met", Vec::new()));
        }
        self.batch(statements).await?;
        Ok(())
    }

    /// Notes why a run stopped short, and until when the upstream is not to be asked; nothing, if it did not.
    pub(crate) async fn note_mirror_problem(
        &self,
        problem: Option<&str>,
        waits_until: Option<u64>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE mirror SET problem = ?1, ran_at = ?2, waits_until = ?3";
        let waits_until = waits_until.map_or(wasm_bindgen::JsValue::NULL, number);
        self.batch(vec![(sql, vec![text(problem), now(), waits_until])])
            .await?;
        Ok(())
    }

    /// Takes these versions for deleted, where they are mirrored; the servers of which one was in use.
    pub(crate) async fn withdraw(
        &self,
        versions: &[&Named],
        actor: &str,
        reason: &str,
        turn: Turn,
        connectable: Connectable,
    ) -> Result<Vec<String>, StoreError> {
        let names: Vec<&str> = versions
            .iter()
            .map(|version| version.name.as_str())
            .collect();
        let versions = json!(versions).to_string();
        let values = || vec![versions.as_str().into(), reason.into()];
        let with_actor = || vec![versions.as_str().into(), reason.into(), actor.into(), now()];
        let select = format!("SELECT DISTINCT s.name {IN_USE}");
        let audit = format!(
            "INSERT INTO audit (at, actor, action, subject, reason, detail)
             SELECT ?4, ?3, 'version.status', s.name || '@' || v.version, ?2, 'deleted' {IN_USE}"
        );
        let revoke = revoke_imported(&format!(
            "SELECT s.name, v.version, ?3 AS reason {IN_USE} AND {}",
            connectable.condition()
        ));
        let [merge, rest] = merge();
        let update = format!(
            "UPDATE versions SET status = 'deleted', status_message = ?2, changed_at = m.moment,
               updated_at = m.moment, status_changed_at = m.moment
             FROM (SELECT v.id {IN_USE}) gone, (SELECT {MOMENT} AS moment) m WHERE versions.id = gone.id"
        );
        let mut statements: Vec<Statement<'_>> = vec![(&select, vec![versions.as_str().into()])];
        statements.extend(turn.take());
        statements.push((&audit, with_actor()));
        let by = vec![versions.as_str().into(), actor.into(), reason.into()];
        statements.push((&revoke, by));
        let names = json!(names).to_string();
        statements.extend([&merge, &rest].map(|sql| (sql.as_str(), vec![names.as_str().into()])));
        statements.push((&update, values()));
        statements.extend(choose(&names, Flipped::AsDated));
        let mut results = self.batch(statements).await?;
        let rows = nth_rows(&mut results, 0)?;
        rows.iter().map(|row| row.required("name")).collect()
    }

    /// Versions that are no longer listed upstream, at the end of a sweep that began then, up to one
    /// more than `limit`, and how many are. `last` is what the last page had.
    pub(crate) async fn gone_upstream(
        &self,
        began_at: u64,
        last: &[ImportResult],
        limit: usize,
    ) -> Result<(Vec<Named>, u64), StoreError> {
        let last = serde_json::to_string(last)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let limit = u32::try_from(limit + 1).unwrap_or(u32::MAX);
        let mut results = self
            .batch(vec![
                (MET, vec![last.into()]),
                (
                    "SELECT s.name, v.version FROM versions v JOIN servers s ON s.id = v.server_id
                     WHERE s.upstream IS NOT NULL AND v.status <> 'deleted' AND v.created_at < ?1
                       AND v.id NOT IN (SELECT version_id FROM mirror_met) LIMIT ?2",
                    vec![number(began_at), limit.into()],
                ),
                ("SELECT count(*) AS met FROM mirror_met", Vec::new()),
            ])
            .await?;
        let rows = nth_rows(&mut results, 1)?;
        let gone: Result<_, StoreError> = rows
            .iter()
            .map(|row| {
                Ok(Named::new(
                    &row.required("name")?,
                    &row.required("version")?,
                ))
            })
            .collect();
        let met = nth_row(&mut results, 2)?.and_then(|row| row.number("met"));
        Ok((gone?, met.unwrap_or_default()))
    }

    /// How the upstream is followed, for administrators.
    pub(crate) async fn mirror_status(&self) -> Result<(Row, Vec<Row>), StoreError> {
        let mirror = format!(
            "SELECT upstream, {} AS heard_until, {} AS ran_at, problem,
               (SELECT count(*) FROM servers WHERE upstream IS NOT NULL) AS servers,
               (SELECT count(*) FROM mirror_poison) AS poison
             FROM mirror",
            date("heard_until"),
            date("ran_at"),
        );
        let crawls = format!(
            "SELECT crawl, {} AS began_at, pages, entries, {} AS completed_at FROM mirror_crawls",
            date("began_at"),
            date("completed_at"),
        );
        let mut results = self
            .read(vec![(&mirror, Vec::new()), (&crawls, Vec::new())])
            .await?;
        let row = nth_row(&mut results, 0)?.unwrap_or_default();
        Ok((row, nth_rows(&mut results, 1)?))
    }

    /// Up to `limit` entries that could not be taken in, after this one.
    pub(crate) async fn list_poison(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Row>, StoreError> {
        let sql = format!(
            "SELECT subject, reason, {} AS since, {} AS seen_at FROM mirror_poison
             WHERE subject > coalesce(?1, '') ORDER BY subject LIMIT ?2",
            date("since"),
            date("seen_at"),
        );
        let rows = self
            .rows(&sql, vec![text(after), (limit + 1).into()])
            .await?;
        Ok(Page::new(rows, limit))
    }
}

fn keep_progress(following: &Following) -> [Statement<'static>; 2] {
    let of = |crawl: Crawl, progress: &Progress| {
        json!({
            "crawl": crawl.as_str(),
            "began_at": progress.began_at,
            "cursor": progress.cursor,
            "checkpoint": progress.checkpoint,
            "pages": progress.pages,
            "entries": progress.entries,
            "completed_at": progress.completed_at,
        })
    };
    let crawls = json!([
        of(Crawl::Changes, &following.changes),
        of(Crawl::Sweep, &following.sweep),
    ]);
    let heard_until = following
        .heard_until
        .map_or(wasm_bindgen::JsValue::NULL, number);
    [
        (
            "UPDATE mirror SET heard_until = ?1",
            vec![heard_until],
        ),
        (
            "UPDATE mirror_crawls SET began_at = i.value ->> 'began_at', cursor = i.value ->> 'cursor',
               checkpoint = i.value ->> 'checkpoint', pages = i.value ->> 'pages',
               entries = i.value ->> 'entries', completed_at = i.value ->> 'completed_at'
             FROM json_each(?1) i WHERE mirror_crawls.crawl = i.value ->> 'crawl'",
            vec![crawls.to_string().into()],
        ),
    ]
}

impl StoreError {
    /// Whether somebody else is following the upstream at this moment.
    pub(crate) fn is_not_its_turn(&self) -> bool {
        matches!(self, Self::Conflict(message) if message.contains("mirror.id"))
    }
}

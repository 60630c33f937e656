//! Servers by what is searched for, the best first: one whose name it is; those where it is what
//! follows the "/" of the name; those whose names have all its words; then whatever has them anywhere.
//! Of each kind, what is verified and can be reached comes first, and of that what bm25 prefers.
//!
//! All of it is a whole number, by which pages follow one another. Whatever page it is, as much is read:
//! of what the index finds, the first `WINDOW` in the order of `servers.place`. bm25 first counts wherever
//! each word is: it is left out where more is found, which it would tell apart by chance, and where one
//! is found, or the name of one was typed. There `place` decides.

use mcp_connect_catalog::{SearchCursor, SearchQuery};
use wasm_bindgen::JsValue;

use super::{
    Row, Store, StoreError,
    corrections::{Correction, unless_there},
    now, nth_rows, number,
    page::{BYTES, fitting, listed},
};

/// The most that one search finds.
const WINDOW: u32 = 500;
/// The most that a list has for their words, beside those for their names.
const LISTED_BY_WORDS: u32 = 200;
/// `servers.place` is below this, of what is held back, too; and below this of all else.
const ALL: u64 = 4 << 40;
const SHOWN: u64 = 3 << 40;
/// The id of a server, in its place.
const ID: &str = "((1 << 40) - 1)";
/// Longer is no name.
const MAX_NAME_CHARS: usize = 200;

/// A page of what was found.
pub(crate) struct Found<T> {
    pub(crate) rows: Vec<T>,
    /// The key after which the next page begins, if there is one.
    next: Option<String>,
    /// How much there is; where that is `WINDOW`, at least.
    pub(crate) total: u64,
    /// What was searched for instead.
    pub(crate) corrected: Option<String>,
}

impl<T> Found<T> {
    /// Of a query as it was given, for which another was searched on the pages before, if so.
    pub(crate) fn next_cursor(&self, query: String, corrected: Option<String>) -> Option<String> {
        let cursor = SearchCursor {
            query: Some(query),
            corrected: self.corrected.clone().or(corrected),
            after: self.next.clone()?,
        };
        Some(cursor.encode())
    }

    pub(crate) fn total_is_exact(&self) -> bool {
        self.total < u64::from(WINDOW)
    }
}

/// ?1 is found anywhere, ?2 has whole words of names, ?3 is as it was typed; ?4 is the last key of the
/// page before, ?5 how many there may be; ?7 is behind all places that are looked at; ?8 and ?9 are what was
/// typed, of a correction.
fn ranked() -> String {
    let [anywhere, named] = ["?1", "?2"].map(|query| unless_there(query, ["?8", "?9"]));
    format!(
        "WITH found AS MATERIALIZED (
           SELECT rowid AS place FROM search_fts WHERE search_fts MATCH {anywhere} AND rowid < ?7
           ORDER BY rowid LIMIT {WINDOW}),
         amount AS MATERIALIZED (
           SELECT count(*) AS total, count(*) BETWEEN 2 AND {WINDOW} - 1
             AND NOT EXISTS (SELECT 1 FROM servers WHERE name = ?3 COLLATE NOCASE AND place < ?7) AS is_scored FROM found),
         scored AS (
           SELECT * FROM (
             SELECT rowid AS place,
               CAST((max(bm25(search_fts, 10, 4, 6, 1, 3), -250) + 250) * 1000 AS INTEGER) AS score
             FROM search_fts WHERE search_fts MATCH {anywhere} AND rowid < ?7
             LIMIT (SELECT iif(is_scored, {WINDOW}, 0) FROM amount))
           UNION ALL SELECT place, 0 FROM found, amount WHERE NOT is_scored),
         named AS (
           SELECT place, 0 AS level FROM servers WHERE name = ?3 COLLATE NOCASE
           UNION ALL SELECT * FROM (
             SELECT place, 1 FROM servers
             WHERE lower(substr(name, instr(name, '/') + 1)) = lower(?3) AND place IS NOT NULL
             ORDER BY place LIMIT 100)
           UNION ALL SELECT * FROM (
             SELECT rowid, 2 FROM search_fts WHERE search_fts MATCH {named} ORDER BY rowid LIMIT 200)),
         ranked AS (
           SELECT place, min(level) AS level, max(score) AS score FROM (
             SELECT place, 3 AS level, score FROM scored UNION ALL SELECT place, level, 0 FROM named)
           WHERE place < ?7 GROUP BY place),
         page AS MATERIALIZED (
           SELECT place & {ID} AS id,
             (level << 60) + (place >> 40 << 58) + (score << 40) + (place & {ID}) AS key
           FROM ranked WHERE key > CAST(?4 AS INTEGER) ORDER BY key LIMIT ?5)"
    )
}

/// What is read of a server that was found.
pub(super) struct Shown<'a, T> {
    /// Of the server `s` and its version `v`; ?6 is now.
    pub(super) columns: String,
    /// The version of `s` that is shown: its id, as SQL.
    pub(super) version: &'a str,
    /// Whether what is held back is there, too.
    pub(super) held_back: bool,
    pub(super) read: fn(&Row) -> Result<T, StoreError>,
}

impl Store {
    /// Up to `limit` servers that a query finds; where it finds nothing, those of a query that was
    /// probably meant.
    pub(super) async fn search<T>(
        &self,
        query: &SearchQuery,
        after: Option<&str>,
        limit: u32,
        shown: Shown<'_, T>,
    ) -> Result<Found<T>, StoreError> {
        let rows = format!(
            "SELECT p.key AS key, v.id AS id, {BYTES} AS bytes
             FROM page p CROSS JOIN servers s ON s.id = p.id CROSS JOIN versions v ON v.id = {}",
            shown.version,
        );
        let sql = format!(
            "{} SELECT CAST(l.key AS TEXT) AS search_key, l.listed,
               max((SELECT total FROM amount), (SELECT count(*) FROM ranked)) AS search_total, {}
             FROM ({}) l CROSS JOIN versions v ON v.id = l.id CROSS JOIN servers s ON s.id = v.server_id
             ORDER BY l.key",
            ranked(),
            shown.columns,
            fitting(&rows, "key"),
        );
        let statements = |correction: Option<Correction<'_>>| {
            let query = correction.map_or(query, |correction| correction.meant);
            let whole_words = query.to_whole_words();
            let mut values = vec![
                query.to_fts5().into(),
                format!("{{project namespace}} : ({whole_words})").into(),
                query.text().into(),
                after.unwrap_or("-1").into(),
                (limit + 1).into(),
                now(),
                number(if shown.held_back { ALL } else { SHOWN }),
            ];
            values.extend(Correction::typed(correction));
            vec![(&*sql, values)]
        };
        let correctable = after.is_none().then_some(query);
        let (mut results, corrected) = self.read_correcting(correctable, &statements).await?;
        let mut rows = nth_rows(&mut results, 0)?;
        let listed = listed(&rows);
        rows.truncate(limit as usize);
        let last = rows.last().filter(|_| listed > rows.len());
        Ok(Found {
            next: last.and_then(|row| row.owned("search_key")),
            total: rows
                .first()
                .and_then(|row| row.number("search_total"))
                .unwrap_or(0),
            corrected: corrected.map(|query| query.text().to_owned()),
            rows: rows.iter().map(shown.read).collect::<Result<_, _>>()?,
        })
    }
}

/// What registries search for in a list, whose order is by name: part of a name, or, of the first
/// `LISTED_BY_WORDS` servers, words anywhere.
pub(super) struct ListSearch {
    /// FTS5 expressions; of names, by trigrams.
    names: Option<String>,
    words: Option<String>,
    /// Whether parts of names this short are looked for name by name: most names have them.
    is_dense: bool,
}

/// What a list is searched by. If few names have what is searched for, `few` are these servers and those with
/// its `words`, if they have `any` version to list, in the order of their names. If many have it, `dense` says
/// so, and all names are to be walked. `total` is how many servers there are; NULL if names are walked, or more
/// is found than is looked at.
pub(super) fn list_search(any: &str) -> String {
    let [names, words] = ["?9", "?10"].map(|query| unless_there(query, ["?12", "?13"]));
    format!(
        "WITH names AS MATERIALIZED (
           SELECT rowid AS id FROM names_fts WHERE names_fts MATCH {names} LIMIT {WINDOW} + 1),
         words AS MATERIALIZED (
           SELECT rowid & {ID} AS id FROM search_fts WHERE search_fts MATCH {words} ORDER BY rowid LIMIT {LISTED_BY_WORDS}),
         dense AS MATERIALIZED (SELECT ?11 OR count(*) > {WINDOW} AS yes FROM names),
         few AS MATERIALIZED (
           SELECT s.id, s.name FROM (
             SELECT * FROM (SELECT id FROM names UNION SELECT id FROM words)
             LIMIT (SELECT iif(yes, 0, -1) FROM dense)) f
           CROSS JOIN servers s ON s.id = f.id WHERE {any} ORDER BY s.name),
         size AS MATERIALIZED (
           SELECT iif(yes OR (SELECT count(*) FROM words) = {LISTED_BY_WORDS}, NULL, (SELECT count(*) FROM few)) AS total
           FROM dense)"
    )
}

impl ListSearch {
    pub(super) fn new(text: &str) -> Self {
        // What a name may have in it, and the blanks that follow it in the index.
        const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789.-_/ ";
        let part = text.to_lowercase();
        let length = part.chars().count();
        let is_part = part
            .chars()
            .all(|char| char != ' ' && LETTERS.contains(char));
        let names = match length {
            _ if !is_part || length > MAX_NAME_CHARS => None,
            0 | 1 => None,
            2 => {
                let trigrams: Vec<String> = LETTERS
                    .chars()
                    .map(|third| format!("\"{part}{third}\""))
                    .collect();
                Some(trigrams.join(" OR "))
            }
            _ => Some(format!("\"{part}\"")),
        };
        Self {
            names,
            words: SearchQuery::parse(text).ok().map(|query| query.to_fts5()),
            is_dense: is_part && length == 1,
        }
    }

    /// ?9 to ?11 of [`list_search`].
    pub(super) fn values(&self) -> [JsValue; 3] {
        let [names, words] = self.expressions();
        [names, words, self.is_dense.into()]
    }

    /// What FTS5 finds the names and the words by. It finds nothing by an empty phrase, and fails on NULL.
    pub(super) fn expressions(&self) -> [JsValue; 2] {
        [&self.names, &self.words].map(|text| text.as_deref().unwrap_or("\"\"").into())
    }
}

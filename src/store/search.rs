//! Servers by what is searched for, the best first: one whose name it is; those where it is what
//! follows the "/" of the name; those whose names have all its words; then whatever has them anywhere.
//! Of each kind, what is verified and can be reached comes first, and of that what bm25 prefers.
//!
//! All of it is a whole number, by which pages follow one another. Whatever page it is, as much is read:
//! of what the index finds, the first `WINDOW` in the order of `servers.place`. Where more is found,
//! all have what was searched for and bm25 would tell them apart by chance: there `place` decides.

use mcp_connect_catalog::{SearchCursor, SearchQuery, closest, similar_words};

use super::{Row, Store, StoreError, now, nth_rows};

/// The most that one search finds.
const WINDOW: u32 = 500;
/// The most words of which the one is looked for that was meant.
const MAX_CORRECTED: usize = 5;

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
/// page before, ?5 how many there may be.
fn ranked() -> String {
    format!(
        "WITH found AS MATERIALIZED (
           SELECT rowid AS place FROM search_fts WHERE search_fts MATCH ?1 ORDER BY rowid LIMIT {WINDOW}),
         amount AS MATERIALIZED (SELECT count(*) AS total FROM found),
         scored AS (
           SELECT * FROM (
             SELECT rowid AS place,
               CAST((max(bm25(search_fts, 10, 4, 6, 1, 3), -250) + 250) * 1000 AS INTEGER) AS score
             FROM search_fts WHERE search_fts MATCH ?1
             LIMIT (SELECT iif(total < {WINDOW}, {WINDOW}, 0) FROM amount))
           UNION ALL SELECT place, 0 FROM found, amount WHERE total = {WINDOW}),
         named AS (
           SELECT place, 0 AS level FROM servers WHERE name = ?3 COLLATE NOCASE
           UNION ALL SELECT * FROM (
             SELECT place, 1 FROM servers
             WHERE lower(substr(name, instr(name, '/') + 1)) = lower(?3) AND place IS NOT NULL
             ORDER BY place LIMIT 100)
           UNION ALL SELECT * FROM (
             SELECT rowid, 2 FROM search_fts WHERE search_fts MATCH ?2 ORDER BY rowid LIMIT 200)),
         ranked AS (
           SELECT place, min(level) AS level, max(score) AS score FROM (
             SELECT place, 3 AS level, score FROM scored UNION ALL SELECT place, level, 0 FROM named)
           WHERE place IS NOT NULL GROUP BY place),
         page AS MATERIALIZED (
           SELECT place & ((1 << 40) - 1) AS id,
             (level << 60) + (place >> 40 << 58) + (score << 40) + (place & ((1 << 40) - 1)) AS key
           FROM ranked WHERE key > CAST(?4 AS INTEGER) ORDER BY key LIMIT ?5)"
    )
}

impl Store {
    /// Up to `limit` servers that a query finds, each with these columns and in the version that this
    /// column of `servers` names; ?6 is now. Where nothing is found, that is what a query finds that was
    /// probably meant.
    pub(super) async fn search<T>(
        &self,
        query: &SearchQuery,
        after: Option<&str>,
        limit: u32,
        (columns, version): (&str, &str),
        read: fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Found<T>, StoreError> {
        let sql = format!(
            "{} SELECT CAST(p.key AS TEXT) AS search_key,
               max((SELECT total FROM amount), (SELECT count(*) FROM ranked)) AS search_total, {columns}
             FROM page p CROSS JOIN servers s ON s.id = p.id CROSS JOIN versions v ON v.id = s.{version}
             ORDER BY p.key",
            ranked(),
        );
        let mut rows = self.ranked_rows(&sql, query, after, limit).await?;
        let mut corrected = None;
        if rows.is_empty() && after.is_none() {
            corrected = self.corrected(query).await?;
            if let Some(Ok(query)) = corrected.as_deref().map(SearchQuery::parse) {
                rows = self.ranked_rows(&sql, &query, after, limit).await?;
            }
        }
        let is_last = rows.len() <= limit as usize;
        rows.truncate(limit as usize);
        let last = rows.last().filter(|_| !is_last);
        Ok(Found {
            next: last.and_then(|row| row.owned("search_key")),
            total: rows
                .first()
                .and_then(|row| row.number("search_total"))
                .unwrap_or(0),
            corrected: corrected.filter(|_| !rows.is_empty()),
            rows: rows.iter().map(read).collect::<Result<_, _>>()?,
        })
    }

    async fn ranked_rows(
        &self,
        sql: &str,
        query: &SearchQuery,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError> {
        let whole_words = query.to_whole_words();
        let values = vec![
            query.to_fts5().into(),
            format!("{{project namespace}} : ({whole_words})").into(),
            query.text().into(),
            after.unwrap_or("-1").into(),
            (limit + 1).into(),
            now(),
        ];
        self.rows(sql, values).await
    }

    /// The text that was probably meant, where a query finds nothing.
    async fn corrected(&self, query: &SearchQuery) -> Result<Option<String>, StoreError> {
        const SIMILAR: &str = "
            SELECT trim(w.word) AS word,
              coalesce((SELECT doc FROM search_terms WHERE term = trim(w.word)), 0) AS found
            FROM (SELECT rowid AS id FROM words_fts WHERE words_fts MATCH ?1
                  ORDER BY bm25(words_fts) LIMIT 50) f
            CROSS JOIN search_words w ON w.id = f.id";
        let words: Vec<&str> = query.correctable().take(MAX_CORRECTED).collect();
        if words.is_empty() {
            return Ok(None);
        }
        let statements = words
            .iter()
            .map(|word| (SIMILAR, vec![similar_words(word).into()]));
        let mut results = self.read(statements.collect()).await?;
        let mut corrections = Vec::new();
        for (index, word) in words.into_iter().enumerate() {
            let rows = nth_rows(&mut results, index)?;
            let known: Vec<(&str, u64)> = rows
                .iter()
                .map(|row| (row.text("word"), row.number("found").unwrap_or(0)))
                .filter(|(_, found)| *found > 0)
                .collect();
            if let Some(better) = closest(word, &known) {
                corrections.push((word.to_owned(), better.to_owned()));
            }
        }
        Ok((!corrections.is_empty()).then(|| query.corrected(&corrections)))
    }
}

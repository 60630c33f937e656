//! What is read if a search finds nothing: the same for the words that were probably meant.
//!
//! These come from all words of the index. Counting them reads as many rows as there are words, so it is done
//! along with changes of the catalogue, and for all isolates: a search reads the one row with the result.

use std::{cell::RefCell, rc::Rc};

use mcp_connect_catalog::{SearchQuery, Vocabulary};
use wasm_bindgen::JsValue;

use super::{Outcome, Statement, Store, StoreError, changed, nth_row, search::ListSearch};
use crate::platform::{log, now_millis};

/// Reading new words is left to one request for this long, in milliseconds, and to none after a failure.
const LEFT_TO_ONE_MILLIS: u64 = 10 * 1000;

/// Prepares the words anew, of what the index has now, once they are outdated: if they are a quarter of an hour
/// old and something changed since, or at once if much did, compared with how many servers there are. Takes
/// the words that most servers have, from a bounded number of words: less than 2 MB, the most that D1 has in a value.
const PREPARE: &str = "
    UPDATE search_vocabulary SET head = c.head, prepared_at = c.moment, words = coalesce((
      SELECT group_concat(term || ' ' || doc, char(10) ORDER BY term) FROM (
        SELECT * FROM (SELECT term, doc FROM search_terms LIMIT 200000)
        WHERE octet_length(term) BETWEEN 4 AND 30 ORDER BY doc DESC LIMIT 50000)), '')
    FROM (
      SELECT coalesce((SELECT max(seq) FROM changes), 0) AS head, (SELECT servers FROM search_size) AS servers,
        CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER) AS moment) c
    WHERE c.head <> search_vocabulary.head AND (
      c.moment - search_vocabulary.prepared_at >= 15 * 60 * 1000
      OR c.head - search_vocabulary.head > c.servers / 10)";

/// Identifies the words that are prepared.
const PREPARED_AT: &str = "SELECT prepared_at FROM search_vocabulary";

const WORDS: &str = "SELECT prepared_at, words FROM search_vocabulary";

/// What is run for another query than the typed one, which must not be there.
#[derive(Clone, Copy)]
pub(super) struct Correction<'a> {
    pub(super) meant: &'a SearchQuery,
    typed: &'a SearchQuery,
}

impl Correction<'_> {
    /// The values for [`unless_there`]; without a correction, nothing counts as there.
    pub(super) fn typed(correction: Option<Self>) -> [JsValue; 2] {
        let typed = correction.map_or("", |correction| correction.typed.text());
        ListSearch::new(typed).expressions()
    }
}

/// Looks for the part of a name and for the words of these two parameters.
fn is_there(names: &str, words: &str) -> String {
    format!(
        "(EXISTS (SELECT 1 FROM names_fts WHERE names_fts MATCH {names})
          OR EXISTS (SELECT 1 FROM search_fts WHERE search_fts MATCH {words}))"
    )
}

/// The FTS5 expression of a parameter; one that finds nothing, and so reads nothing, if there is what was typed,
/// by which these two parameters find it.
pub(super) fn unless_there(expression: &str, [names, words]: [&str; 2]) -> String {
    format!("iif({}, '\"\"', {expression})", is_there(names, words))
}

thread_local! {
    // Holds nothing that may be lost: they are read anew.
    static HELD: RefCell<Held> = RefCell::default();
}

#[derive(Clone, Default)]
struct Held {
    words: Rc<Vocabulary>,
    prepared_at: u64,
    /// Until when somebody else reads newer ones, or nobody does.
    is_left_until: u64,
}

/// Stands behind what changes the words of servers.
pub(super) fn prepare_words() -> Statement<'static> {
    (PREPARE, Vec::new())
}

impl Store {
    /// Prepares the words that corrections come from, if they are outdated.
    pub(crate) async fn prepare_words(&self) -> Result<bool, StoreError> {
        let outcomes = self.batch(vec![prepare_words()]).await?;
        changed(&outcomes, 0)
    }

    /// Runs `statements`, which give rows if something is found; if nothing is, runs them for a corrected query
    /// and returns that, too. Together they read about as much as one run: a query that finds nothing reads little. The isolate mostly knows the correction before it asks, and then only looks along
    /// with it whether there is what was typed.
    pub(super) async fn read_correcting<'a>(
        &self,
        query: Option<&SearchQuery>,
        statements: &dyn Fn(Option<Correction<'_>>) -> Vec<Statement<'a>>,
    ) -> Result<(Vec<Outcome>, Option<SearchQuery>), StoreError> {
        let Some(query) = query else {
            return Ok((self.read(statements(None)).await?, None));
        };
        let held = HELD.with_borrow(Held::clone);
        // The part of a word may well be that of a name.
        let typo = held.words.correct(query);
        if let Some(meant) = typo.filter(|_| !held.words.has_part(query)) {
            let correction = Correction {
                meant: &meant,
                typed: query,
            };
            let mut asked = statements(Some(correction));
            let there = format!("SELECT 1 WHERE {}", is_there("?1", "?2"));
            asked.push((&there, Correction::typed(Some(correction)).into()));
            let (mut outcomes, prepared_at) = self.read_with_prepared_at(asked).await?;
            let is_there = outcomes.pop().is_some_and(|there| !there.rows.is_empty());
            if !is_there {
                // Newer words are for the next request.
                self.words(held, prepared_at).await;
                let told = Some(meant).filter(|_| is_found(&outcomes));
                return Ok((outcomes, told));
            }
        }
        let (outcomes, prepared_at) = self.read_with_prepared_at(statements(None)).await?;
        if !is_found(&outcomes) {
            let words = self.words(held, prepared_at).await;
            if let Some(meant) = words.correct(query) {
                let correction = Correction {
                    meant: &meant,
                    typed: query,
                };
                let corrected = self.read(statements(Some(correction))).await?;
                if is_found(&corrected) {
                    return Ok((corrected, Some(meant)));
                }
            }
        }
        Ok((outcomes, None))
    }

    /// Reads, and returns with the outcomes which words are prepared.
    async fn read_with_prepared_at(
        &self,
        mut statements: Vec<Statement<'_>>,
    ) -> Result<(Vec<Outcome>, u64), StoreError> {
        statements.push((PREPARED_AT, Vec::new()));
        let mut outcomes = self.read(statements).await?;
        let row = outcomes.pop().map(|outcome| nth_row(&mut [outcome], 0));
        let prepared_at = row.transpose()?.flatten();
        let prepared_at = prepared_at.and_then(|row| row.number("prepared_at"));
        Ok((outcomes, prepared_at.unwrap_or(0)))
    }

    /// The words that were prepared then; those that are held while they are left to another request, or
    /// can't be read.
    async fn words(&self, held: Held, prepared_at: u64) -> Rc<Vocabulary> {
        let now = now_millis();
        if held.prepared_at == prepared_at || now < held.is_left_until {
            return held.words;
        }
        HELD.with_borrow_mut(|held| held.is_left_until = now + LEFT_TO_ONE_MILLIS);
        match self.read_words().await {
            Ok(held) => {
                HELD.set(held.clone());
                held.words
            }
            Err(error) => {
                log::error("words_unread", &[("problem", &error.to_string())]);
                held.words
            }
        }
    }

    async fn read_words(&self) -> Result<Held, StoreError> {
        let row = nth_row(&mut self.read(vec![(WORDS, Vec::new())]).await?, 0)?.unwrap_or_default();
        Ok(Held {
            words: Rc::new(Vocabulary::parse(row.text("words"))),
            prepared_at: row.number("prepared_at").unwrap_or(0),
            is_left_until: 0,
        })
    }
}

/// Tells whether there are rows, or more to look through.
fn is_found(outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|outcome| !outcome.rows.is_empty())
}

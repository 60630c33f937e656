//! What is read where a search finds nothing: the same for the words that were probably meant.

use std::{cell::RefCell, rc::Rc};

use mcp_connect_catalog::{SearchQuery, Vocabulary};

use super::{Outcome, Statement, Store, StoreError, changes::HEAD, nth_row, search::ListSearch};
use crate::platform::{log, now_millis};

/// Words are held for this long, in milliseconds, unless the catalogue changes much.
const HELD_FOR_MILLIS: u64 = 15 * 60 * 1000;
/// So long it is left to one request to read them, in milliseconds, and to none after a failure.
const LEFT_TO_ONE_MILLIS: u64 = 10 * 1000;

/// The words that most servers have, of so many that are looked at: fewer than 2 MB, the most that D1 has in
/// a value.
const WORDS: &str = "
    SELECT group_concat(term || ' ' || doc, char(10) ORDER BY term) AS words FROM (
      SELECT * FROM (SELECT term, doc FROM search_terms LIMIT 200000)
      WHERE octet_length(term) BETWEEN 4 AND 30 ORDER BY doc DESC LIMIT 50000)";

/// Whether a part of a name, ?1, or words, ?2, are anywhere.
const IS_THERE: &str = "
    SELECT 1 WHERE EXISTS (SELECT 1 FROM names_fts WHERE names_fts MATCH ?1)
      OR EXISTS (SELECT 1 FROM search_fts WHERE search_fts MATCH ?2)";

thread_local! {
    // Holds nothing that may be lost: they are read anew.
    static HELD: RefCell<Held> = RefCell::default();
}

#[derive(Clone, Default)]
struct Held {
    words: Rc<Vocabulary>,
    until: u64,
    /// The number of the last change before they were read; of words that somebody reads, the highest.
    head: u64,
}

impl Held {
    /// Whether there were so many changes since that other words may be searched for: one for a hundred words,
    /// since reading them costs as much as there are.
    fn is_outdated(&self, last_change: u64) -> bool {
        last_change.saturating_sub(self.head) > self.words.count() as u64 / 100
    }
}

impl Store {
    /// Reads by `statements`, which give rows if something is found; where nothing is, by those for another
    /// query, which is told. The isolate mostly knows that query before it asks, and then only looks along
    /// with it whether there is what was typed.
    pub(super) async fn read_correcting<'a>(
        &self,
        query: Option<&SearchQuery>,
        statements: &dyn Fn(Option<&SearchQuery>) -> Vec<Statement<'a>>,
    ) -> Result<(Vec<Outcome>, Option<SearchQuery>), StoreError> {
        let held = HELD.with_borrow(Held::clone);
        let is_fresh = now_millis() < held.until;
        let mut corrected = query
            .filter(|_| is_fresh)
            .and_then(|query| held.words.correct(query));
        // The part of a word may well be that of a name.
        let typo = query.filter(|query| corrected.is_some() && !held.words.has_part(query));
        if let Some(query) = typo {
            let mut asked = statements(corrected.as_ref());
            asked.push((IS_THERE, ListSearch::new(query.text()).expressions().into()));
            let mut outcomes = self.read(asked).await?;
            let is_there = outcomes.pop().is_some_and(|there| !there.rows.is_empty());
            if !is_there {
                let told = corrected.filter(|_| is_found(&outcomes));
                return Ok((outcomes, told));
            }
        }
        let mut asked = statements(None);
        if query.is_some() {
            asked.push((HEAD, Vec::new()));
        }
        let mut outcomes = self.read(asked).await?;
        let last_change = query.and_then(|_| outcomes.pop()).map_or(Ok(0), head)?;
        if is_found(&outcomes) {
            return Ok((outcomes, None));
        }
        if let Some(query) = query.filter(|_| !is_fresh || held.is_outdated(last_change)) {
            corrected = self.words(held).await.correct(query);
        }
        if corrected.is_some() {
            let meant = self.read(statements(corrected.as_ref())).await?;
            if is_found(&meant) {
                return Ok((meant, corrected));
            }
        }
        Ok((outcomes, None))
    }

    /// The words anew, or, where they can't be read, those that are held.
    async fn words(&self, held: Held) -> Rc<Vocabulary> {
        HELD.set(Held {
            until: now_millis() + LEFT_TO_ONE_MILLIS,
            head: u64::MAX,
            ..held.clone()
        });
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
        let asked = vec![(WORDS, Vec::new()), (HEAD, Vec::new())];
        let mut outcomes = self.read(asked).await?;
        let head = outcomes.pop().map_or(Ok(0), head)?;
        let row = nth_row(&mut outcomes, 0)?;
        let words = row.as_ref().map_or("", |row| row.text("words"));
        Ok(Held {
            words: Rc::new(Vocabulary::parse(words)),
            until: now_millis() + HELD_FOR_MILLIS,
            head,
        })
    }
}

fn head(outcome: Outcome) -> Result<u64, StoreError> {
    let row = nth_row(&mut [outcome], 0)?;
    Ok(row.and_then(|row| row.number("head")).unwrap_or(0))
}

/// Whether there are rows, or more to look through.
fn is_found(outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|outcome| !outcome.rows.is_empty())
}

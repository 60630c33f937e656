//! What is read where a search finds nothing: the same for the words that were probably meant.

use std::{cell::RefCell, rc::Rc};

use mcp_connect_catalog::{SearchQuery, Vocabulary};

use super::{Outcome, Statement, Store, StoreError, search::ListSearch};
use crate::platform::now_millis;

/// Words that came or went later are known to this isolate after that time, in milliseconds.
const HELD_FOR_MILLIS: u64 = 5 * 60 * 1000;

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
}

impl Store {
    /// Reads by `statements`, the first of which has rows if something is found; where nothing is, by those
    /// for another query, which is told. The isolate mostly knows that query before it asks, and then only
    /// looks along with it whether there is what was typed.
    pub(super) async fn read_correcting<'a>(
        &self,
        query: Option<&SearchQuery>,
        statements: &dyn Fn(Option<&SearchQuery>) -> Vec<Statement<'a>>,
    ) -> Result<(Vec<Outcome>, Option<SearchQuery>), StoreError> {
        let held = HELD.with_borrow(Held::clone);
        let likely = query.and_then(|query| held.words.correct(query));
        let mut corrected = Vec::new();
        if let (Some(query), Some(_)) = (query, &likely) {
            let mut asked = statements(likely.as_ref());
            asked.push((IS_THERE, ListSearch::new(query.text()).expressions().into()));
            corrected = self.read(asked).await?;
            let there = corrected.pop();
            if there.is_some_and(|there| there.rows.is_empty()) && is_found(&corrected) {
                return Ok((corrected, likely));
            }
        }
        let outcomes = self.read(statements(None)).await?;
        if is_found(&outcomes) {
            return Ok((outcomes, None));
        }
        if is_found(&corrected) {
            return Ok((corrected, likely));
        }
        let Some(query) = query.filter(|_| held.until <= now_millis()) else {
            return Ok((outcomes, None));
        };
        let likely = self.words().await?.correct(query);
        if likely.is_some() {
            corrected = self.read(statements(likely.as_ref())).await?;
            if is_found(&corrected) {
                return Ok((corrected, likely));
            }
        }
        Ok((outcomes, None))
    }

    async fn words(&self) -> Result<Rc<Vocabulary>, StoreError> {
        let rows = self.rows(WORDS, Vec::new()).await?;
        let words = rows.first().map_or("", |row| row.text("words"));
        let words = Rc::new(Vocabulary::parse(words));
        HELD.set(Held {
            words: Rc::clone(&words),
            until: now_millis() + HELD_FOR_MILLIS,
        });
        Ok(words)
    }
}

fn is_found(outcomes: &[Outcome]) -> bool {
    outcomes.first().is_some_and(|first| !first.rows.is_empty())
}

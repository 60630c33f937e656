//! Pages of lists, bounded whatever is stored: by rows, by the rows looked at for them, and by bytes.

use super::Row;

/// Some rows of a list, and whether there are more.
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) more: bool,
}

impl<T> Page<T> {
    /// Builds a page from a query that fetched `limit + 1` rows.
    pub(super) fn new(mut rows: Vec<T>, limit: u32) -> Self {
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        Self { rows, more }
    }

    /// The last row, where another page follows it.
    pub(crate) fn next_after(&self) -> Option<&T> {
        self.rows.last().filter(|_| self.more)
    }
}

/// The most entries that are looked at for one page.
pub(super) const MAX_LOOKED_AT: u32 = 1_000;

/// The most bytes that the versions of a page have as they are stored. The first is there whatever it has.
/// An answer takes some ten times as much of the isolate's memory.
pub(super) const MAX_BYTES: u32 = 1_000_000;

/// The bytes that a version takes of an answer; of none, none.
pub(super) const BYTES: &str =
    "coalesce(octet_length(server_json) + coalesce(octet_length(meta), 0), 0)";

/// Selects the rows of a `walk` that fit, up to a limit, and the one at which it stops looking, as
/// `is_end`. A walk says of each of its rows whether it `fits`. It is read no further than it has to be:
/// nothing here sorts, and what is materialized first can't be sorted with what selects from it.
pub(super) fn looking(walk: &str, limit: &str) -> String {
    format!(
        "WITH looked AS MATERIALIZED (
           SELECT *, looked_at = {MAX_LOOKED_AT} AS is_end
           FROM (SELECT *, row_number() OVER () AS looked_at FROM ({walk} LIMIT {MAX_LOOKED_AT}))
           WHERE fits OR looked_at = {MAX_LOOKED_AT} LIMIT {limit})
         SELECT * FROM looked"
    )
}

/// Selects the ids of versions behind a position, in the order of a date `by` and of their ids. Two
/// searches, since D1 seeks no pair of which the second is the row's id.
pub(super) fn behind(of: &str, by: &str, [date, id]: [&str; 2], order: Order) -> String {
    let (after, direction) = match order {
        Order::OldestFirst => (">", ""),
        Order::NewestFirst => ("<", "DESC"),
    };
    format!(
        "SELECT * FROM (SELECT id FROM versions WHERE {of} AND {by} = {date} AND id {after} {id}
           ORDER BY id {direction} LIMIT {MAX_LOOKED_AT})
         UNION ALL SELECT * FROM (SELECT id FROM versions WHERE {of} AND {by} {after} {date}
           ORDER BY {by} {direction}, id {direction} LIMIT {MAX_LOOKED_AT})"
    )
}

#[derive(Clone, Copy)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

/// Selects those of these `rows`, each of so many `bytes`, that a page has room for. Each says as `listed`
/// how many there are. What is long is left for the caller to read, of the selected alone.
pub(super) fn fitting(rows: &str, by: &str) -> String {
    format!(
        "SELECT * FROM (
           SELECT *, count(*) OVER () AS listed,
             sum(bytes) OVER (ORDER BY {by} ROWS UNBOUNDED PRECEDING) - bytes AS before FROM ({rows}))
         WHERE before < {MAX_BYTES}"
    )
}

/// The ids of those of these rows, each of so many `bytes`, that an answer has room for.
pub(super) fn with_room(rows: &[Row]) -> Vec<u64> {
    let mut before = 0;
    rows.iter()
        .take_while(|row| {
            let has_room = before < u64::from(MAX_BYTES);
            before += row.number("bytes").unwrap_or_default();
            has_room
        })
        .filter_map(|row| row.number("id"))
        .collect()
}

/// How many rows there were, together with those that a page has no room for.
pub(super) fn listed(rows: &[Row]) -> usize {
    let listed = rows.first().and_then(|row| row.number("listed"));
    usize::try_from(listed.unwrap_or_default()).unwrap_or(usize::MAX)
}

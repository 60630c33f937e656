//! Pages of lists: so many rows, and no more bytes than fit into memory.

use super::Row;

/// Some rows of a list, and whether there are more.
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) more: bool,
}

impl<T> Page<T> {
    /// Of rows of which one more than wanted was asked for.
    pub(super) fn new(mut rows: Vec<T>, limit: u32) -> Self {
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        Self { rows, more }
    }

    /// … of which those are left out that do not fit.
    pub(super) fn fitting(rows: Vec<T>, listed: usize, limit: u32) -> Self {
        let mut page = Self::new(rows, limit);
        page.more = listed > page.rows.len();
        page
    }

    /// The last row, where another page follows it.
    pub(crate) fn next_after(&self) -> Option<&T> {
        self.rows.last().filter(|_| self.more)
    }
}

/// The most that the versions of a page have, in bytes as they are stored. The first is there whatever it
/// has.
const MAX_BYTES: u32 = 4_000_000;

/// What a version takes of an answer.
pub(super) const SIZE: &str =
    "octet_length(server_json) + coalesce(octet_length(meta), 0) AS bytes";

/// Those of these `rows` that fit into a page. Each says as `listed` how many there are.
pub(super) fn fitting(rows: &str, by: &str) -> String {
    format!(
        "SELECT * FROM (
           SELECT *, count(*) OVER () AS listed,
             sum(bytes) OVER (ORDER BY {by} ROWS UNBOUNDED PRECEDING) - bytes AS before FROM ({rows}))
         WHERE before < {MAX_BYTES} ORDER BY {by}"
    )
}

/// Of rows that fit into a page: how many there were with those that don't.
pub(super) fn listed(rows: &[Row]) -> usize {
    let listed = rows.first().and_then(|row| row.number("listed"));
    usize::try_from(listed.unwrap_or_default()).unwrap_or(usize::MAX)
}

//! Lists of versions, as registries read them from each other: by name, or by when something changed.

use mcp_connect_catalog::{ListFilter, Position, SearchQuery};
use wasm_bindgen::JsValue;

use super::{
    Page, Row, Statement, Store, StoreError, now, nth_row, nth_rows, number,
    page::{SIZE, fitting, listed},
    registry::{LATEST, RegistryVersion, columns, is_shown, read},
    search::{ListSearch, list_search},
    text,
};

/// A page of a list.
pub(crate) struct Listed {
    pub(crate) page: Page<RegistryVersion>,
    /// How many servers the list has, where that could be told.
    pub(crate) total: Option<u64>,
    /// Where to go on, if it wasn't looked further for what the filter lets through.
    pub(crate) stopped_at: Option<Position>,
    /// What was searched for instead.
    pub(crate) corrected: Option<String>,
}

/// How many servers, or versions, are looked at for a page where the filter may let none through.
const MAX_LOOKED_AT: u32 = 2_000;
/// The largest whole number that JavaScript has.
pub(crate) const MAX_NUMBER: u64 = (1 << 53) - 1;

/// How a list is read: each order walks one index from a position. Of a filter, ?1 to ?5 are now,
/// whether what is deleted counts, what is searched for, a moment, and how many; ?6 and ?7 are the position,
/// ?8 a version, and what follows what [`list_search`] asks with.
struct Walk {
    with: String,
    from: String,
    total: &'static str,
    by: &'static str,
}

impl Walk {
    fn of(filter: &ListFilter, after: &Position, shown: &str) -> Self {
        let until = match after {
            _ if !is_sparse(filter, after) => String::new(),
            Position::Name { .. } => {
                format!("AND s.name < coalesce(({}), '~')", name_after("?6"))
            }
            Position::Change { .. } => format!(
                "AND v.changed_at <= coalesce(({}), {MAX_NUMBER})",
                moment_after("?6", "?7")
            ),
        };
        match after {
            Position::Name { .. } => Self::by_name(filter, shown, &until),
            Position::Change { .. } => Self::by_change(&until),
        }
    }

    fn by_name(filter: &ListFilter, shown: &str, until: &str) -> Self {
        let (with, servers, total) = if filter.search.is_some() {
            (
                list_search(shown, until),
                "page p CROSS JOIN servers s ON s.id = p.id",
                "(SELECT total FROM size)",
            )
        } else if is_of_one_version(filter) || filter.include_deleted {
            (String::new(), "servers s", "NULL")
        } else {
            // Of every server one version is listed, or all are.
            (
                String::new(),
                "servers s",
                "(SELECT servers FROM search_size)",
            )
        };
        Self {
            with,
            from: format!(
                "{servers} CROSS JOIN versions v ON v.server_id = s.id
                 WHERE s.name >= ?6 {until} AND v.version > CASE WHEN s.name > ?6 THEN '' ELSE ?7 END"
            ),
            total,
            by: "name, version",
        }
    }

    fn by_change(until: &str) -> Self {
        Self {
            with: String::new(),
            from: format!(
                "versions v CROSS JOIN servers s ON s.id = v.server_id
                 WHERE (v.changed_at, v.id) > (?6, ?7) {until}
                   AND (?3 IS NULL OR instr(lower(s.name), lower(?3)))"
            ),
            total: "NULL",
            by: "changed_at, id",
        }
    }
}

fn is_of_one_version(filter: &ListFilter) -> bool {
    let version = filter.version.as_deref();
    version.is_some_and(|version| version != LATEST)
}

/// Whether a walk might find nothing for long.
fn is_sparse(filter: &ListFilter, after: &Position) -> bool {
    match after {
        Position::Name { .. } => is_of_one_version(filter),
        Position::Change { .. } => filter.version.is_some() || filter.search.is_some(),
    }
}

/// The name at which it is not looked further, if there are as many from this one on.
fn name_after(from: &str) -> String {
    format!(
        "SELECT name FROM servers WHERE name >= {from} ORDER BY name LIMIT 1 OFFSET {MAX_LOOKED_AT}"
    )
}

/// … and of changes the moment, all of which is looked at.
fn moment_after(changed_at: &str, id: &str) -> String {
    format!(
        "SELECT changed_at FROM versions WHERE (changed_at, id) > ({changed_at}, {id})
         ORDER BY changed_at, id LIMIT 1 OFFSET {MAX_LOOKED_AT}"
    )
}

/// What tells where a walk stops, if it is cut short.
fn end(after: &Position) -> (String, Vec<JsValue>) {
    match after {
        Position::Name { name, .. } => (name_after("?1"), vec![name.as_str().into()]),
        Position::Change { changed_at, id } => (
            moment_after("?1", "?2"),
            vec![number(*changed_at), number(*id)],
        ),
    }
}

fn stopped_at(end: &Row) -> Position {
    match end.optional("name") {
        Some(name) => Position::Name {
            name: name.to_owned(),
            version: Some(String::new()),
        },
        None => Position::Change {
            changed_at: end.number("changed_at").unwrap_or(MAX_NUMBER),
            id: MAX_NUMBER,
        },
    }
}

impl Store {
    /// Up to `limit` versions after this position, in the order that it is of. What was changed later than
    /// `updated_since` is asked for by the position.
    pub(crate) async fn registry_list(
        &self,
        filter: &ListFilter,
        after: &Position,
        limit: u32,
    ) -> Result<Listed, StoreError> {
        let wanted = match filter.version.as_deref() {
            None => "",
            Some(LATEST) => "AND v.id = s.latest_version",
            Some(_) => "AND v.version = ?8",
        };
        let shown = format!(
            "{wanted} AND (?2 OR {}) AND v.changed_at > ?4",
            is_shown("v", "?1")
        );
        let Walk {
            with,
            from,
            total,
            by,
        } = Walk::of(filter, after, &shown);
        // What is long is read of those alone that are listed.
        let rows = format!(
            "SELECT {}, {SIZE}, {total} AS total
             FROM (SELECT v.id AS id FROM {from} {shown} ORDER BY {by} LIMIT ?5) l
             CROSS JOIN versions v ON v.id = l.id CROSS JOIN servers s ON s.id = v.server_id",
            columns("?1"),
        );
        let sql = format!("{with} {}", fitting(&rows, by));
        let is_sparse = is_sparse(filter, after);
        let (end, of_end) = end(after);
        let statements = |corrected: Option<&SearchQuery>| {
            let search = corrected
                .map(SearchQuery::text)
                .or(filter.search.as_deref());
            let listed = (&*sql, values(filter, search, after, limit, &sql));
            let mut statements: Vec<Statement<'_>> = vec![listed];
            if is_sparse {
                statements.push((&*end, of_end.clone()));
            }
            statements
        };
        let query = filter.search.as_deref().filter(|_| after.is_first_name());
        let query = query.and_then(|text| SearchQuery::parse(text).ok());
        let (mut results, corrected) = self.read_correcting(query.as_ref(), &statements).await?;
        let rows = nth_rows(&mut results, 0)?;
        let versions: Result<_, _> = rows.iter().map(read).collect();
        let page = Page::fitting(versions?, listed(&rows), limit);
        let end = if is_sparse && !page.more {
            nth_row(&mut results, 1)?
        } else {
            None
        };
        Ok(Listed {
            total: rows.first().and_then(|row| row.number("total")),
            page,
            stopped_at: end.as_ref().map(stopped_at),
            corrected: corrected.map(|query| query.text().to_owned()),
        })
    }
}

/// D1 wants as many as the statement has.
fn values(
    filter: &ListFilter,
    search: Option<&str>,
    after: &Position,
    limit: u32,
    sql: &str,
) -> Vec<JsValue> {
    let mut values: Vec<JsValue> = vec![
        now(),
        u32::from(filter.include_deleted).into(),
        text(search),
        number(filter.updated_since.unwrap_or(0)),
        (limit + 1).into(),
    ];
    values.extend(match after {
        Position::Name { name, version } => [name.as_str().into(), text(version.as_deref())],
        Position::Change { changed_at, id } => [number(*changed_at), number(*id)],
    });
    let is_searched = sql.contains("?9");
    if is_searched || sql.contains("?8") {
        values.push(text(filter.version.as_deref()));
    }
    if is_searched {
        values.extend(ListSearch::new(search.unwrap_or_default()).values());
    }
    values
}

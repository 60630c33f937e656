//! Lists of versions, as registries read them from each other: by name, by when something changed, or, of
//! one server, by date.
//!
//! Each list walks one index from a position and looks at a bounded number of entries, whatever its filter
//! lets through; an answer says where that ended.

use mcp_connect_catalog::{ListFilter, Position, SearchQuery};
use wasm_bindgen::JsValue;

use super::{
    Row, Statement, Store, StoreError,
    corrections::Correction,
    now, nth_rows, number,
    page::{BYTES, Order, behind, fitting, listed, looking},
    registry::{LATEST, RegistryVersion, columns, is_active, is_shown, read},
    search::{ListSearch, list_search},
    text,
};

/// A page of a list.
pub(crate) struct Listed {
    pub(crate) versions: Vec<RegistryVersion>,
    /// Where to go on, if there may be more.
    pub(crate) next: Option<Position>,
    /// How many servers the list has, where that could be told.
    pub(crate) total: Option<u64>,
    /// What was searched for instead.
    pub(crate) corrected: Option<String>,
}

/// The largest whole number that JavaScript has.
pub(crate) const MAX_NUMBER: u64 = (1 << 53) - 1;

/// The most versions of a server that one answer has: five times as many as a page of a list may have, since
/// other registries send all of them at once.
const MAX_VERSIONS: u32 = 500;

/// Is before every change.
const NEVER: i32 = -1;

/// The conditions of the indexes `versions_listed` and `servers_listed`, which have what a list without
/// deleted versions may show.
const LISTED_VERSION: &str =
    "v.status <> 'deleted' AND (v.moderation = 'active' OR v.moderation_expires_at IS NOT NULL)";
const LISTED_SERVER: &str =
    "s.place IS NOT NULL AND (s.moderation = 'active' OR s.moderation_expires_at IS NOT NULL)";

/// How a list is read. Of a filter, ?1 to ?5 are now, whether what is deleted counts, what is searched for, a
/// moment, and how many; ?6 and ?7 are the position, ?8 a version, and what follows what [`list_search`]
/// asks with.
struct Walk {
    with: String,
    /// Selects the entries that are looked at, in order: of each, `id` of the version, whether it `fits`, its
    /// `bytes`, and the two columns of its position.
    entries: String,
    position: [&'static str; 2],
    order: Order,
    total: &'static str,
}

/// The versions `v` of a server `s` that a list by name looks at.
struct Candidates<'a>(&'a ListFilter);

impl Candidates<'_> {
    fn table(&self) -> &'static str {
        if self.0.include_deleted || self.0.version.as_deref() == Some(LATEST) {
            "versions v"
        } else {
            "versions v INDEXED BY versions_listed"
        }
    }

    /// Finds them by an index if the server is `wanted`, and else none.
    fn condition(&self, wanted: &str) -> String {
        let of = |column: &str| format!("iif({wanted}, s.{column}, NULL)");
        let version = match self.0.version.as_deref() {
            Some(LATEST) => return format!("v.id = {}", of("latest_version")),
            Some(_) => "AND v.version = ?8",
            None => "",
        };
        let listed = if self.0.include_deleted {
            String::new()
        } else {
            format!("AND {LISTED_VERSION}")
        };
        format!("v.server_id = {} {version} {listed}", of("id"))
    }
}

impl Walk {
    fn of(filter: &ListFilter, after: &Position) -> Self {
        match after {
            Position::Name { .. } => Self::by_name(filter),
            Position::Moment { .. } => Self::by_change(filter),
        }
    }

    /// Servers without a candidate are looked at, too: they are entries without a version.
    fn by_name(filter: &ListFilter) -> Self {
        let candidates = Candidates(filter);
        let (table, fits) = (candidates.table(), fits());
        let walk = |servers: &str, wanted: &str| {
            format!(
                "SELECT s.name AS name, v.version AS version, v.id AS id, {fits} AS fits, {BYTES} AS bytes
                 FROM {servers} LEFT JOIN {table} ON {}
                   AND v.version > CASE WHEN s.name > ?6 THEN '' ELSE ?7 END
                 WHERE s.name >= ?6",
                candidates.condition(&format!("(?2 OR {}) AND {wanted}", is_active("s", "?1"))),
            )
        };
        let all = |wanted: &str| {
            let (servers, listed) = if filter.include_deleted {
                ("servers s", String::new())
            } else {
                (
                    "servers s INDEXED BY servers_listed",
                    format!("AND {LISTED_SERVER}"),
                )
            };
            let walk = walk(servers, wanted);
            format!("{walk} {listed} ORDER BY s.name, v.version")
        };
        let (with, entries, total) = if filter.search.is_some() {
            let any = format!(
                "EXISTS (SELECT 1 FROM {table} WHERE {} AND (?2 OR {}))",
                candidates.condition("true"),
                is_shown("v", "?1"),
            );
            // `few` are in order, and so is the index by which each one's versions are found.
            let few = walk("few f CROSS JOIN servers s ON s.id = f.id", "true");
            let names = all("(instr(lower(s.name), lower(?3)) OR s.id IN (SELECT id FROM words))");
            (
                list_search(&any),
                format!(
                    "SELECT * FROM (SELECT * FROM ({few}) LIMIT (SELECT iif(yes, 0, -1) FROM dense))
                     UNION ALL SELECT * FROM (SELECT * FROM ({names}) LIMIT (SELECT iif(yes, -1, 0) FROM dense))"
                ),
                if filter.updated_since.is_some() { "NULL" } else { "(SELECT total FROM size)" },
            )
        } else if is_of_one_version(filter) || filter.include_deleted {
            (String::new(), all("true"), "NULL")
        } else {
            // Of every server one version is listed, or all are.
            (
                String::new(),
                all("true"),
                "(SELECT servers FROM search_size)",
            )
        };
        Self {
            with,
            entries,
            position: ["name", "version"],
            order: Order::OldestFirst,
            total,
        }
    }

    fn by_change(filter: &ListFilter) -> Self {
        let wanted = match filter.version.as_deref() {
            Some(LATEST) => "AND v.id = s.latest_version",
            Some(_) => "AND v.version = ?8",
            None => "",
        };
        Self {
            with: String::new(),
            entries: format!(
                "SELECT v.changed_at AS moment, v.id AS id, {BYTES} AS bytes,
                   {} {wanted} AND (?3 IS NULL OR instr(lower(s.name), lower(?3))) AS fits
                 FROM ({}) w CROSS JOIN versions v ON v.id = w.id CROSS JOIN servers s ON s.id = v.server_id",
                fits(),
                behind("true", "changed_at", ["?6", "?7"], Order::OldestFirst),
            ),
            position: ["moment", "id"],
            order: Order::OldestFirst,
            total: "NULL",
        }
    }

    /// The versions of the server ?3, the newest first.
    fn by_date() -> Self {
        const DATE: &str = "coalesce(published_at, created_at * 1000)";
        Self {
            with: String::new(),
            entries: format!(
                "SELECT coalesce(v.published_at, v.created_at * 1000) AS moment, v.id AS id, {BYTES} AS bytes, {} AS fits
                 FROM ({}) w CROSS JOIN versions v ON v.id = w.id CROSS JOIN servers s ON s.id = v.server_id",
                fits(),
                behind(
                    "server_id = (SELECT id FROM servers WHERE name = ?3)",
                    DATE,
                    ["?6", "?7"],
                    Order::NewestFirst
                ),
            ),
            position: ["moment", "id"],
            order: Order::NewestFirst,
            total: "NULL",
        }
    }

    fn sql(&self) -> String {
        let [first, second] = self.position;
        let direction = match self.order {
            Order::OldestFirst => "",
            Order::NewestFirst => "DESC",
        };
        let rows = fitting(
            &looking(&self.entries, "?5"),
            &format!("{first} {direction}, {second} {direction}"),
        );
        format!(
            "{} SELECT {}, l.fits, l.is_end, l.listed, l.{first} AS at_{first}, l.{second} AS at_{second}, {} AS total
             FROM ({rows}) l LEFT JOIN versions v ON v.id = l.id LEFT JOIN servers s ON s.id = v.server_id
             ORDER BY l.{first} {direction}, l.{second} {direction}",
            self.with,
            columns("?1"),
            self.total,
        )
    }
}

/// Whether a version is in the list, but for what its walk asks further.
fn fits() -> String {
    format!("(?2 OR {}) AND v.changed_at > ?4", is_shown("v", "?1"))
}

fn is_of_one_version(filter: &ListFilter) -> bool {
    let version = filter.version.as_deref();
    version.is_some_and(|version| version != LATEST)
}

impl Listed {
    /// Reads what [`Walk::sql`] selects of up to `limit` versions and one more.
    fn read(rows: &[Row], limit: u32) -> Result<Self, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let fit = || rows.iter().filter(|row| row.flag("fits"));
        let more = fit().nth(limit).is_some() || listed(rows) > rows.len();
        let end = rows.last().filter(|row| row.flag("is_end"));
        let last = if more { fit().take(limit).last() } else { end };
        Ok(Self {
            next: last.map(position),
            total: rows.first().and_then(|row| row.number("total")),
            versions: fit().take(limit).map(read).collect::<Result<_, _>>()?,
            corrected: None,
        })
    }
}

fn position(row: &Row) -> Position {
    let number = |column| row.number(column).unwrap_or_default();
    match row.owned("at_name") {
        Some(name) => Position::Name {
            name,
            version: row.owned("at_version"),
        },
        None => Position::Moment {
            micros: number("at_moment"),
            id: number("at_id"),
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
        let sql = Walk::of(filter, after).sql();
        let statements = |correction: Option<Correction<'_>>| {
            vec![(&*sql, values(filter, correction, after, limit, &sql))] as Vec<Statement<'_>>
        };
        let query = filter.search.as_deref().filter(|_| after.is_first_name());
        let query = query.and_then(|text| SearchQuery::parse(text).ok());
        let (mut results, corrected) = self.read_correcting(query.as_ref(), &statements).await?;
        let listed = Listed::read(&nth_rows(&mut results, 0)?, limit)?;
        Ok(Listed {
            corrected: corrected.map(|query| query.text().to_owned()),
            ..listed
        })
    }

    /// Versions of a server after this date and id, the newest first; as many as one answer has room for.
    pub(crate) async fn registry_versions(
        &self,
        name: &str,
        include_deleted: bool,
        (micros, id): (u64, u64),
    ) -> Result<Listed, StoreError> {
        let sql = Walk::by_date().sql();
        let values = vec![
            now(),
            u32::from(include_deleted).into(),
            name.into(),
            NEVER.into(),
            (MAX_VERSIONS + 1).into(),
            number(micros),
            number(id),
        ];
        let rows = self.rows(&sql, values).await?;
        Listed::read(&rows, MAX_VERSIONS)
    }
}

/// D1 wants as many as the statement has.
fn values(
    filter: &ListFilter,
    correction: Option<Correction<'_>>,
    after: &Position,
    limit: u32,
    sql: &str,
) -> Vec<JsValue> {
    let search = correction.map_or(filter.search.as_deref(), |correction| {
        Some(correction.meant.text())
    });
    let mut values: Vec<JsValue> = vec![
        now(),
        u32::from(filter.include_deleted).into(),
        text(search),
        filter.updated_since.map_or(NEVER.into(), number),
        (limit + 1).into(),
    ];
    values.extend(match after {
        Position::Name { name, version } => [name.as_str().into(), text(version.as_deref())],
        Position::Moment { micros, id } => [number(*micros), number(*id)],
    });
    let is_searched = sql.contains("?9");
    if is_searched || sql.contains("?8") {
        values.push(text(filter.version.as_deref()));
    }
    if is_searched {
        values.extend(ListSearch::new(search.unwrap_or_default()).values());
        values.extend(Correction::typed(correction));
    }
    values
}

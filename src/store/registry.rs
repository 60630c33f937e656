//! Versions as registries show them to each other.

use mcp_connect_catalog::{ListFilter, Official, Position, SearchQuery, VersionStatus};
use serde_json::json;
use wasm_bindgen::JsValue;

use super::{
    Found, Outcome, Page, Row, Store, StoreError,
    moderation::in_force,
    now, nth_row, number,
    proofs::effective_level,
    search::{ListSearch, Shown, list_search},
    text,
};
use crate::authority::{Level, Moderation};

/// A version with everything that is said of it.
pub(crate) struct RegistryVersion {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) version: String,
    /// As it was published.
    pub(crate) server_json: String,
    pub(crate) official: Official,
    /// What other registries say of it: a JSON object.
    pub(crate) meta: Option<String>,
    /// When something of it changed here, in microseconds since the Unix epoch.
    pub(crate) changed_at: u64,
    /// Where clients can be sent to.
    pub(crate) endpoint: Option<String>,
    pub(crate) level: Level,
    /// What holds its server or itself back, whichever is more.
    pub(crate) moderation: Moderation,
}

impl RegistryVersion {
    /// To whoever does not ask for what was deleted, as `is_shown` has it in SQL.
    pub(super) fn is_shown(&self) -> bool {
        self.official.status != VersionStatus::Deleted && self.moderation == Moderation::Active
    }
}

/// A page of a list.
pub(crate) struct Listed {
    pub(crate) page: Page<RegistryVersion>,
    /// How many servers the list has, where that could be told.
    pub(crate) total: Option<u64>,
}

/// What stands for a server's latest version.
pub(crate) const LATEST: &str = "latest";

/// Of a version `v` of a server `s`; the parameter `now` is in milliseconds.
pub(super) fn columns(now: &str) -> String {
    format!(
        "v.id, s.name, v.version, v.server_json, v.status, v.status_message, v.status_changed_at,
         coalesce(v.published_at, v.created_at * 1000) AS published_at, v.updated_at, v.changed_at,
         s.latest_version IS v.id AS is_latest, v.meta, v.endpoint, {} AS level,
         {} AS moderation, {} AS version_moderation",
        effective_level("v.origin"),
        in_force("s", now),
        in_force("v", now),
    )
}

/// Whether a version is shown to whoever does not ask for what was deleted: clients take what is
/// listed for what may be used.
fn is_shown(now: &str) -> String {
    format!(
        "v.status <> 'deleted' AND {} = 'active' AND {} = 'active'",
        in_force("s", now),
        in_force("v", now),
    )
}

/// How many versions are read at once.
const READ_AT_ONCE: usize = 100;
/// As much as all versions of one server may have; a Worker has 128 MB for everything.
const MAX_VERSIONS_CHARS: u64 = 24_000_000;

impl Store {
    /// Up to `limit` versions after this position, in the order that it is of. Each order walks one
    /// index from there. What was changed later than `updated_since` is asked for by the position.
    pub(crate) async fn registry_list(
        &self,
        filter: &ListFilter,
        after: &Position,
        limit: u32,
    ) -> Result<Listed, StoreError> {
        let search = filter.search.as_deref();
        let mut values: Vec<JsValue> = vec![
            now(),
            u32::from(filter.include_deleted).into(),
            text(search),
            number(filter.updated_since.unwrap_or(0)),
            (limit + 1).into(),
        ];
        let wanted = match filter.version.as_deref() {
            None => "",
            Some(LATEST) => "AND v.id = s.latest_version",
            Some(_) => "AND v.version = ?8",
        };
        let shown = format!(
            "{wanted} AND (?2 OR {}) AND v.changed_at > ?4",
            is_shown("?1")
        );
        let (with, from, total, by) = match after {
            Position::Name { name, version } => {
                values.extend([name.as_str().into(), text(version.as_deref())]);
                let (with, servers, total) = match search {
                    Some(_) => (
                        list_search(&shown),
                        "page p CROSS JOIN servers s ON s.id = p.id",
                        "(SELECT total FROM size)",
                    ),
                    // Of every server one version is listed, or all are.
                    None if wanted != "AND v.version = ?8" && !filter.include_deleted => (
                        String::new(),
                        "servers s",
                        "(SELECT servers FROM search_size)",
                    ),
                    None => (String::new(), "servers s", "NULL"),
                };
                (
                    with,
                    format!(
                        "{servers} CROSS JOIN versions v ON v.server_id = s.id
                         WHERE s.name >= ?6 AND v.version > CASE WHEN s.name > ?6 THEN '' ELSE ?7 END"
                    ),
                    total,
                    "s.name, v.version",
                )
            }
            Position::Change { changed_at, id } => {
                values.extend([number(*changed_at), number(*id)]);
                (
                    String::new(),
                    "versions v CROSS JOIN servers s ON s.id = v.server_id
                     WHERE (v.changed_at, v.id) > (?6, ?7)
                       AND (?3 IS NULL OR instr(lower(s.name), lower(?3)))"
                        .to_owned(),
                    "NULL",
                    "v.changed_at, v.id",
                )
            }
        };
        // D1 wants as many as the statement has.
        if !with.is_empty() || wanted.contains("?8") {
            values.push(text(filter.version.as_deref()));
        }
        if !with.is_empty() {
            values.extend(ListSearch::new(search.unwrap_or_default()).values());
        }
        // What is long is read of those alone that are listed.
        let sql = format!(
            "{with} SELECT {}, {total} AS total
             FROM (SELECT v.id FROM {from} {shown} ORDER BY {by} LIMIT ?5) l
             CROSS JOIN versions v ON v.id = l.id CROSS JOIN servers s ON s.id = v.server_id
             ORDER BY {by}",
            columns("?1"),
        );
        let rows = self.rows(&sql, values).await?;
        let versions: Result<_, _> = rows.iter().map(read).collect();
        Ok(Listed {
            total: rows.first().and_then(|row| row.number("total")),
            page: Page::new(versions?, limit),
        })
    }

    /// Up to `limit` servers that a query finds, each in its latest version, the best first.
    pub(crate) async fn registry_search(
        &self,
        query: &SearchQuery,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Found<RegistryVersion>, StoreError> {
        let shown = Shown {
            columns: columns("?6"),
            version: "latest_version",
            held_back: false,
            read,
        };
        self.search(query, after, limit, shown).await
    }

    /// All versions of a server, the newest first; `each` takes them.
    pub(crate) async fn registry_versions(
        &self,
        name: &str,
        include_deleted: bool,
        each: impl FnMut(&RegistryVersion),
    ) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT v.id, length(v.server_json) + coalesce(length(v.meta), 0) AS size
             FROM servers s CROSS JOIN versions v ON v.server_id = s.id
             WHERE s.name = ?3 AND (?2 OR {})
             ORDER BY coalesce(v.published_at, v.created_at * 1000) DESC, v.id DESC",
            is_shown("?1"),
        );
        let values = vec![now(), u32::from(include_deleted).into(), name.into()];
        let rows = self.rows(&sql, values).await?;
        let size: u64 = rows.iter().filter_map(|row| row.number("size")).sum();
        if size > MAX_VERSIONS_CHARS {
            let problem = format!("the versions of {name} are too large to be shown at once");
            return Err(StoreError::Unavailable(problem));
        }
        let ids: Vec<u64> = rows.iter().filter_map(|row| row.number("id")).collect();
        self.registry_by_ids(&ids, each).await
    }

    /// Those of these versions that there are, in this order, read in parts that fit into memory.
    pub(crate) async fn registry_by_ids(
        &self,
        ids: &[u64],
        mut each: impl FnMut(&RegistryVersion),
    ) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT {} FROM json_each(?2) i CROSS JOIN versions v ON v.id = i.value
             CROSS JOIN servers s ON s.id = v.server_id ORDER BY i.key",
            columns("?1"),
        );
        for part in ids.chunks(READ_AT_ONCE) {
            let values = vec![now(), json!(part).to_string().into()];
            for row in &self.rows(&sql, values).await? {
                each(&read(row)?);
            }
        }
        Ok(())
    }

    /// The version of a server, or its latest one. `None`: there is none, or it is not shown.
    pub(crate) async fn registry_version(
        &self,
        name: &str,
        version: &str,
        include_deleted: bool,
    ) -> Result<Option<RegistryVersion>, StoreError> {
        let values = version_values(name, version, include_deleted);
        let rows = self.rows(&version_query(), values).await?;
        rows.first().map(read).transpose()
    }
}

/// Of the server ?3 the version ?4, or its latest one where that is NULL; ?1 is now, ?2 whether what is
/// deleted counts.
pub(super) fn version_query() -> String {
    format!(
        "SELECT {} FROM servers s JOIN versions v ON v.id = CASE WHEN ?4 IS NULL THEN s.latest_version
           ELSE (SELECT id FROM versions WHERE server_id = s.id AND version = ?4) END
         WHERE s.name = ?3 AND (?2 OR {})",
        columns("?1"),
        is_shown("?1"),
    )
}

/// What [`version_query`] asks with.
pub(super) fn version_values(name: &str, version: &str, include_deleted: bool) -> Vec<JsValue> {
    vec![
        now(),
        u32::from(include_deleted).into(),
        name.into(),
        text(Some(version).filter(|version| *version != LATEST)),
    ]
}

pub(super) fn nth_version(
    results: &mut [Outcome],
    index: usize,
) -> Result<Option<RegistryVersion>, StoreError> {
    nth_row(results, index)?.as_ref().map(read).transpose()
}

pub(super) fn read(row: &Row) -> Result<RegistryVersion, StoreError> {
    let moderation = [row.one_of("moderation")?, row.one_of("version_moderation")?];
    let number = |column| row.number(column).unwrap_or_default();
    Ok(RegistryVersion {
        id: number("id"),
        name: row.required("name")?,
        version: row.required("version")?,
        server_json: row.required("server_json")?,
        official: Official {
            status: row.one_of("status")?,
            status_message: row.owned("status_message"),
            status_changed_at: number("status_changed_at"),
            published_at: number("published_at"),
            updated_at: number("updated_at"),
            is_latest: row.flag("is_latest"),
        },
        meta: row.owned("meta"),
        changed_at: number("changed_at"),
        endpoint: row.owned("endpoint"),
        level: row.one_of("level")?,
        moderation: if moderation.contains(&Moderation::Revoked) {
            Moderation::Revoked
        } else if moderation.contains(&Moderation::Quarantined) {
            Moderation::Quarantined
        } else {
            Moderation::Active
        },
    })
}

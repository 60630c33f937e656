//! Versions as registries show them to each other.

use mcp_connect_catalog::{Official, SearchQuery, VersionStatus};
use serde_json::json;
use wasm_bindgen::JsValue;

use super::{
    Found, Outcome, Row, Store, StoreError, moderation::in_force, now, nth_row,
    proofs::effective_level, search::Shown, text,
};
use crate::authority::{Level, Moderation};

/// A version with everything that is said of it.
pub(crate) struct RegistryVersion {
    pub(crate) id: u64,
    pub(crate) version: String,
    /// As it was published.
    pub(crate) server_json: String,
    pub(crate) official: Official,
    /// What other registries say of it: a JSON object.
    pub(crate) meta: Option<String>,
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

/// What stands for a server's latest version.
pub(crate) const LATEST: &str = "latest";

/// Of a version `v` of a server `s`; the parameter `now` is in milliseconds.
pub(super) fn columns(now: &str) -> String {
    format!(
        "v.id, s.name, v.version, v.server_json, v.status, v.status_message, v.status_changed_at,
         coalesce(v.published_at, v.created_at * 1000) AS published_at, v.updated_at,
         s.latest_version IS v.id AS is_latest, v.meta, v.endpoint, {} AS level,
         {} AS moderation, {} AS version_moderation",
        effective_level("v.origin"),
        in_force("s", now),
        in_force("v", now),
    )
}

/// Whether a version is shown to whoever does not ask for what was deleted: clients take what is
/// listed for what may be used.
pub(super) fn is_shown(version: &str, now: &str) -> String {
    format!(
        "{version}.status <> 'deleted' AND {} AND {}",
        is_active("s", now),
        is_active(version, now),
    )
}

/// Whether no moderator holds a server or version back.
pub(super) fn is_active(table: &str, now: &str) -> String {
    format!("{} = 'active'", in_force(table, now))
}

impl Store {
    /// Up to `limit` servers that a query finds, each in its latest version, the best first.
    pub(crate) async fn registry_search(
        &self,
        query: &SearchQuery,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Found<RegistryVersion>, StoreError> {
        // A latest version that is held back by itself leaves its place to the default one.
        let version = format!(
            "(SELECT iif({}, l.id, s.default_version) FROM versions l WHERE l.id = s.latest_version)",
            is_shown("l", "?6")
        );
        let shown = Shown {
            columns: columns("?6"),
            version: &version,
            held_back: false,
            read,
        };
        self.search(query, after, limit, shown).await
    }

    /// These versions, in this order.
    pub(crate) async fn registry_by_id(
        &self,
        ids: &[u64],
    ) -> Result<Vec<RegistryVersion>, StoreError> {
        let sql = format!(
            "SELECT {} FROM json_each(?2) i CROSS JOIN versions v ON v.id = i.value
             CROSS JOIN servers s ON s.id = v.server_id ORDER BY i.key",
            columns("?1"),
        );
        let values = vec![now(), json!(ids).to_string().into()];
        self.rows(&sql, values).await?.iter().map(read).collect()
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
        is_shown("v", "?1"),
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

pub(super) fn official(row: &Row) -> Result<Official, StoreError> {
    let number = |column| row.number(column).unwrap_or_default();
    Ok(Official {
        status: row.one_of("status")?,
        status_message: row.owned("status_message"),
        status_changed_at: number("status_changed_at"),
        published_at: number("published_at"),
        updated_at: number("updated_at"),
        is_latest: row.flag("is_latest"),
    })
}

pub(super) fn read(row: &Row) -> Result<RegistryVersion, StoreError> {
    let moderation = [row.one_of("moderation")?, row.one_of("version_moderation")?];
    let number = |column| row.number(column).unwrap_or_default();
    Ok(RegistryVersion {
        id: number("id"),
        version: row.required("version")?,
        server_json: row.required("server_json")?,
        official: official(row)?,
        meta: row.owned("meta"),
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

//! Versions as registries show them to each other.

use mcp_connect_catalog::{Official, SearchQuery, VersionStatus};
use serde_json::json;
use wasm_bindgen::JsValue;

use super::{
    Found, Outcome, Row, Store, StoreError, moderation::in_force, now, nth_row, page::SIZE,
    proofs::effective_level, search::Shown, text,
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

/// A version that is not read yet.
pub(crate) struct UnreadVersion {
    id: u64,
    bytes: u64,
}

impl UnreadVersion {
    pub(super) fn read(row: &Row) -> Self {
        Self {
            id: row.number("id").unwrap_or_default(),
            bytes: row.number("bytes").unwrap_or_default(),
        }
    }
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
pub(super) fn is_shown(version: &str, now: &str) -> String {
    format!(
        "{version}.status <> 'deleted' AND {} = 'active' AND {} = 'active'",
        in_force("s", now),
        in_force(version, now),
    )
}

/// What is shown at once, in bytes as it is stored, and what is read at once of it: a Worker has 128 MB
/// for everything.
const MAX_SHOWN_BYTES: u64 = 8_000_000;
const MAX_READ_BYTES: u64 = 2_000_000;

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

    /// All versions of a server, the newest first, for `registry_by_id` to read.
    pub(crate) async fn registry_versions(
        &self,
        name: &str,
        include_deleted: bool,
    ) -> Result<Vec<UnreadVersion>, StoreError> {
        let sql = format!(
            "SELECT v.id, {SIZE} FROM servers s CROSS JOIN versions v ON v.server_id = s.id
             WHERE s.name = ?3 AND (?2 OR {})
             ORDER BY coalesce(v.published_at, v.created_at * 1000) DESC, v.id DESC",
            is_shown("v", "?1"),
        );
        let values = vec![now(), u32::from(include_deleted).into(), name.into()];
        let rows = self.rows(&sql, values).await?;
        Ok(rows.iter().map(UnreadVersion::read).collect())
    }

    /// The first of these versions, as many as can be shown at once, in this order.
    pub(crate) async fn registry_by_id(
        &self,
        versions: &[UnreadVersion],
        mut each: impl FnMut(&RegistryVersion),
    ) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT {} FROM json_each(?2) i CROSS JOIN versions v ON v.id = i.value
             CROSS JOIN servers s ON s.id = v.server_id ORDER BY i.key",
            columns("?1"),
        );
        for ids in parts(versions) {
            let values = vec![now(), json!(ids).to_string().into()];
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

/// The ids of as many versions as can be shown at once, in parts to read at once.
fn parts(versions: &[UnreadVersion]) -> Vec<Vec<u64>> {
    let mut parts = vec![Vec::new()];
    let (mut shown, mut read) = (0, 0);
    for version in versions {
        shown += version.bytes;
        read += version.bytes;
        if shown > MAX_SHOWN_BYTES {
            break;
        }
        if read > MAX_READ_BYTES {
            parts.push(Vec::new());
            read = version.bytes;
        }
        if let Some(part) = parts.last_mut() {
            part.push(version.id);
        }
    }
    parts
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
        name: row.required("name")?,
        version: row.required("version")?,
        server_json: row.required("server_json")?,
        official: official(row)?,
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

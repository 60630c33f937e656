//! Copies in KV of what is public about each server: near everyone, renewed by every write, at most a
//! minute old while D1 answers, and still there when it doesn't.

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{
    Row, Store, StoreError, date, now,
    registry::{self, LATEST, RegistryVersion},
    servers::held_back_columns,
    text,
};
use crate::platform::{iso_date, log, now_millis};

const FRESH_MILLIS: u64 = 60_000;
/// The most versions that a copy has, newest first, beside the latest and the default one; and the most
/// bytes that their server.json may have.
const MAX_VERSIONS: u32 = 100;
const MAX_BYTES: u32 = 1_000_000;
/// How many copies are renewed at a time, and by one call that rebuilds them.
const AT_ONCE: usize = 6;
const REBUILT_AT_ONCE: u32 = 50;
/// Is there when every server had its copy.
const ALL_ARE_COPIED: &str = "servers-copied";

/// A server with its versions, the highest first, as rows of D1.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct ServerCopy {
    /// Milliseconds since the Unix epoch.
    loaded_at: u64,
    pub(super) versions: Vec<Row>,
}

impl ServerCopy {
    /// What ended meanwhile by itself makes it stale.
    pub(crate) fn is_fresh(&self) -> bool {
        let now = now_millis();
        let date = iso_date(now);
        let has_ended = |row: &Row| {
            [
                ("moderation", "moderated_until"),
                ("version_moderation", "version_moderated_until"),
            ]
            .iter()
            .any(|(state, until)| {
                row.text(state) != "active"
                    && row.optional(until).is_some_and(|until| until <= &*date)
            })
        };
        now.saturating_sub(self.loaded_at) < FRESH_MILLIS && !self.versions.iter().any(has_ended)
    }

    /// Whether a version that is not in it does not exist.
    pub(crate) fn is_complete(&self) -> bool {
        let count = self
            .versions
            .first()
            .and_then(|row| row.number("version_count"));
        count == Some(self.versions.len() as u64)
    }

    /// A version, or the latest one, as registries show it. `None`: it is not in the copy, or not shown.
    pub(crate) fn registry_version(
        &self,
        version: &str,
        include_deleted: bool,
    ) -> Result<Option<RegistryVersion>, StoreError> {
        let row = self.versions.iter().find(|row| match version {
            LATEST => row.flag("is_latest"),
            version => row.text("version") == version,
        });
        let found = row.map(registry::read).transpose()?;
        Ok(found.filter(|found| include_deleted || found.is_shown()))
    }

    /// Those that are shown, the newest first.
    pub(crate) fn registry_versions(
        &self,
        include_deleted: bool,
    ) -> Result<Vec<RegistryVersion>, StoreError> {
        let versions: Result<Vec<_>, _> = self.versions.iter().map(registry::read).collect();
        let mut versions = versions?;
        versions.retain(|version| include_deleted || version.is_shown());
        versions.sort_by_key(|version| {
            (
                u64::MAX - version.official.published_at,
                u64::MAX - version.id,
            )
        });
        Ok(versions)
    }
}

impl Store {
    /// From D1. `None`: no such server.
    pub(crate) async fn load_server(&self, name: &str) -> Result<Option<ServerCopy>, StoreError> {
        self.load(name, None).await
    }

    /// … with this version alone, which a copy may be without.
    pub(crate) async fn load_version(
        &self,
        name: &str,
        version: &str,
    ) -> Result<Option<ServerCopy>, StoreError> {
        self.load(name, Some(version)).await
    }

    async fn load(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Option<ServerCopy>, StoreError> {
        // From before it is read, so that a change meanwhile does not make it look newer.
        let loaded_at = now_millis();
        let sql = format!(
            "WITH newest AS (
               SELECT v.id FROM servers s JOIN versions v ON v.server_id = s.id WHERE s.name = ?2 AND v.version = ?3
               UNION SELECT default_version FROM servers WHERE name = ?2 AND ?3 IS NULL
               UNION SELECT latest_version FROM servers WHERE name = ?2 AND ?3 IS NULL
               UNION SELECT * FROM (
                 SELECT v.id FROM servers s CROSS JOIN versions v ON v.server_id = s.id WHERE s.name = ?2 AND ?3 IS NULL
                 ORDER BY v.sort_key DESC, v.id DESC LIMIT {MAX_VERSIONS})),
             -- More than a copy can have is more, however much.
             size AS MATERIALIZED (SELECT count(*) AS versions FROM (
               SELECT 1 FROM servers s CROSS JOIN versions v ON v.server_id = s.id WHERE s.name = ?2
               LIMIT 2 * {MAX_VERSIONS}))
             SELECT * FROM (
               SELECT {}, v.title, v.description, s.jwks_uri, {},
                 {} AS published_on, v.id = s.default_version AS is_default,
                 (SELECT versions FROM size) AS version_count,
                 sum(octet_length(v.server_json) + coalesce(octet_length(v.meta), 0)) OVER (
                   ORDER BY v.id IN (s.default_version, s.latest_version) DESC, v.sort_key DESC, v.id DESC) AS bytes
               FROM newest n CROSS JOIN versions v ON v.id = n.id CROSS JOIN servers s ON s.id = v.server_id
               ORDER BY v.sort_key DESC, v.id DESC)
             WHERE bytes <= {MAX_BYTES} OR is_default OR is_latest",
            registry::columns("?1"),
            held_back_columns(),
            date("(v.published_at / 1000.0)"),
        );
        let versions = self
            .rows(&sql, vec![now(), name.into(), text(version)])
            .await?;
        Ok((!versions.is_empty()).then_some(ServerCopy {
            loaded_at,
            versions,
        }))
    }

    pub(crate) async fn edge_copy(&self, name: &str) -> Result<Option<ServerCopy>, StoreError> {
        self.kv_get(&key(name)).await
    }

    pub(crate) async fn put_edge_copy(
        &self,
        name: &str,
        copy: &ServerCopy,
    ) -> Result<(), StoreError> {
        self.kv_put(&key(name), copy, None).await
    }

    async fn copy(&self, name: &str) -> Result<(), StoreError> {
        match self.load_server(name).await? {
            Some(copy) => self.put_edge_copy(name, &copy).await,
            None => self.kv_delete(&key(name)).await,
        }
    }

    /// After each change of a server. A copy that can't be renewed goes: who looks for it asks D1.
    pub(crate) async fn renew_copy(&self, name: &str) {
        if let Err(error) = self.copy(name).await {
            log::error("edge_copy_failed", &[("problem", &error.to_string())]);
            for key in [&*key(name), ALL_ARE_COPIED] {
                let _ = self.kv_delete(key).await;
            }
        }
    }

    /// … of several.
    pub(crate) async fn renew_copies(&self, names: &[String]) {
        stream::iter(names)
            .for_each_concurrent(AT_ONCE, |name| self.renew_copy(name))
            .await;
    }

    /// Renews the copies of the next servers after this name, and gives the last of them. `None`: there
    /// are no more, and every server has its copy.
    pub(crate) async fn rebuild_copies(
        &self,
        after: &str,
    ) -> Result<(usize, Option<String>), StoreError> {
        let sql = "SELECT name FROM servers WHERE name > ?1 ORDER BY name LIMIT ?2";
        let rows = self
            .rows(sql, vec![after.into(), REBUILT_AT_ONCE.into()])
            .await?;
        let mut names: Vec<String> = rows.iter().filter_map(|row| row.owned("name")).collect();
        if names.is_empty() {
            self.kv_put(ALL_ARE_COPIED, &true, None).await?;
        }
        // Here it is told: who repairs wants to know.
        let renewed: Vec<Result<(), StoreError>> = stream::iter(&names)
            .map(|name| self.copy(name))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let count = renewed.len();
        renewed.into_iter().collect::<Result<(), _>>()?;
        Ok((count, names.pop()))
    }

    /// After changes that are too many to renew each copy: a rebuild, or a reader, does.
    pub(crate) async fn forget_all_are_copied(&self) {
        if let Err(error) = self.kv_delete(ALL_ARE_COPIED).await {
            log::error("edge_copy_failed", &[("problem", &error.to_string())]);
        }
    }

    /// Whether a server without a copy does not exist.
    pub(crate) async fn all_are_copied(&self) -> bool {
        matches!(self.kv_get::<bool>(ALL_ARE_COPIED).await, Ok(Some(true)))
    }
}

fn key(name: &str) -> String {
    format!("server:{name}")
}

//! Copies of what is public about each server, as KV has them near everyone. `renewal` keeps them up with
//! their servers.

use serde::{Deserialize, Serialize};

use super::{
    Row, Store, StoreError, d1, date,
    lately::{self, Question},
    now, nth_rows, number,
    registry::{self, LATEST, RegistryVersion},
    servers::held_back_columns,
    text,
};
use crate::platform::{iso_date, now_millis};

const FRESH_MILLIS: u64 = 60_000;
/// The most versions that a copy has, newest first, beside the latest and the default one; and the most
/// bytes that their server.json may have.
const MAX_VERSIONS: u32 = 100;
const MAX_BYTES: u32 = 1_000_000;

/// A server with its versions, the highest first, as rows of D1.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct ServerCopy {
    /// Milliseconds since the Unix epoch.
    loaded_at: u64,
    /// The number of the last change, of whatever server, before it was loaded.
    #[serde(default)]
    pub(super) seq: u64,
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

    /// How long the server.json are that it has.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = self.versions.iter().filter_map(|row| row.number("bytes"));
        bytes.max().unwrap_or(0)
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
        let question = Question::put(loaded_at);
        let changes = Question::sql();
        let mut outcomes = self
            .read(vec![
                (&sql, vec![now(), name.into(), text(version)]),
                (&changes, vec![number(question.after)]),
            ])
            .await?;
        let seq = question.learn(&nth_rows(&mut outcomes, 1)?);
        let versions = nth_rows(&mut outcomes, 0)?;
        Ok((!versions.is_empty()).then_some(ServerCopy {
            loaded_at,
            seq,
            versions,
        }))
    }

    /// Whether nothing of a server changed since its copy was loaded, as far as D1 knew a second ago. An error:
    /// D1 can't be asked.
    pub(crate) async fn is_current(
        &self,
        name: &str,
        copy: &ServerCopy,
    ) -> Result<bool, StoreError> {
        let now = now_millis();
        if let Some(known) = lately::is_current(name, copy.seq, now) {
            return Ok(known);
        }
        self.ask_lately(now).await?;
        Ok(lately::was_current(name, copy.seq))
    }

    /// Asks D1 for the latest changes; the number of the last one.
    pub(super) async fn ask_lately(&self, now: u64) -> Result<u64, StoreError> {
        let question = Question::put(now);
        let sql = Question::sql();
        let rows = d1::glance(&self.env, (&sql, vec![number(question.after)])).await?;
        Ok(question.learn(&rows))
    }
}

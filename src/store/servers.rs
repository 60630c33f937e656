use mcp_connect_catalog::{SearchQuery, VersionStatus};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Found, Outcome, Page, Row, ServerCopy, Store, StoreError, date, import::digest,
    moderation::in_force, now, nth_row, proofs::effective_level, search::Shown, text,
};
use crate::authority::{Level, Moderation};

/// A server as discovery shows it.
#[derive(Serialize)]
pub(crate) struct ServerSummary {
    pub(crate) id: String,
    pub(crate) version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    pub(crate) description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// Of a server that can be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transport: Option<&'static str>,
    pub(crate) verified: bool,
    /// How far this version was verified.
    pub(crate) verification: Level,
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_uri: Option<String>,
}

/// A server, or one version of it, with what holds it back.
#[derive(Serialize)]
pub(crate) struct Standing {
    #[serde(flatten)]
    pub(crate) summary: ServerSummary,
    /// Why it is held back, and until when, if that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_until: Option<String>,
    #[serde(skip)]
    pub(super) moderation: Moderation,
    #[serde(skip)]
    pub(super) version_moderation: Moderation,
}

/// One server, or one version of it, with everything that is public about it.
#[derive(Serialize)]
pub(crate) struct ServerDetail {
    #[serde(flatten)]
    pub(crate) standing: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) published_at: Option<String>,
    /// What a pin can name: it changes with what the version says.
    pub(crate) digest: String,
    pub(crate) server: Box<RawValue>,
    /// Left out where one version was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) versions: Option<Vec<VersionSummary>>,
}

#[derive(Serialize)]
pub(crate) struct VersionSummary {
    pub(crate) version: String,
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) published_at: Option<String>,
}

/// `now` is the parameter of that time.
fn summary_columns(now: &str) -> String {
    format!(
        "s.name, v.version, v.title, v.description, v.endpoint,
         {} AS level, {} AS moderation, {} AS version_moderation, v.status, s.jwks_uri",
        effective_level("v.origin"),
        in_force("s", now),
        in_force("v", now),
    )
}

/// Why something is held back, and until when.
pub(super) fn held_back_columns() -> String {
    format!(
        "s.moderation_reason, {} AS moderated_until,
         v.moderation_reason AS version_moderation_reason, {} AS version_moderated_until",
        date("s.moderation_expires_at"),
        date("v.moderation_expires_at"),
    )
}

/// Of the server ?1 in the version ?2, or in its default one; ?3 is now.
pub(super) fn standing_query() -> String {
    format!(
        "SELECT {}, {}
         FROM servers s JOIN versions v ON v.id = CASE WHEN ?2 IS NULL THEN s.default_version
           ELSE (SELECT id FROM versions WHERE server_id = s.id AND version = ?2) END
         WHERE s.name = ?1",
        summary_columns("?3"),
        held_back_columns(),
    )
}

pub(super) fn nth_standing(
    results: &mut [Outcome],
    index: usize,
) -> Result<Option<Standing>, StoreError> {
    let row = nth_row(results, index)?;
    row.as_ref().map(Standing::read).transpose()
}

impl Store {
    /// Up to `limit` servers after the given one, in the order of their names. Those whose every version
    /// was deleted are left out.
    pub(crate) async fn list_servers(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<ServerSummary>, StoreError> {
        let sql = format!(
            "SELECT {} FROM servers s INDEXED BY servers_placed CROSS JOIN versions v ON v.id = s.default_version
             WHERE s.name > coalesce(?1, '') AND s.place IS NOT NULL
             ORDER BY s.name LIMIT ?2",
            summary_columns("?3"),
        );
        let values = vec![text(after), (limit + 1).into(), now()];
        let rows = self.rows(&sql, values).await?;
        let servers: Result<_, _> = rows.iter().map(ServerSummary::read).collect();
        Ok(Page::new(servers?, limit))
    }

    /// Up to `limit` servers that a query finds, the best first.
    pub(crate) async fn search_servers(
        &self,
        query: &SearchQuery,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Found<ServerSummary>, StoreError> {
        let shown = Shown {
            columns: summary_columns("?6"),
            version: "s.default_version",
            held_back: true,
            read: ServerSummary::read,
        };
        self.search(query, after, limit, shown).await
    }
}

impl ServerCopy {
    /// The versions that the copy has, the newest first.
    pub(crate) fn version_names(&self) -> Vec<&str> {
        self.versions
            .iter()
            .map(|row| row.text("version"))
            .collect()
    }

    /// The server, or one version of it. `None`: no such version is in the copy.
    pub(crate) fn detail(&self, version: Option<&str>) -> Result<Option<ServerDetail>, StoreError> {
        let wanted = |row: &&Row| match version {
            None => row.flag("is_default"),
            Some(version) => row.text("version") == version,
        };
        let Some(row) = self.versions.iter().find(wanted) else {
            return Ok(None);
        };
        let versions = match version {
            None => {
                let versions = self.versions.iter().map(VersionSummary::read);
                Some(versions.collect::<Result<_, _>>()?)
            }
            Some(_) => None,
        };
        let server = RawValue::from_string(row.required("server_json")?)
            .map_err(|error| StoreError::Unavailable(format!("server_json: {error}")))?;
        Ok(Some(ServerDetail {
            standing: Standing::read(row)?,
            published_at: row.owned("published_on"),
            digest: digest(&server),
            server,
            versions,
        }))
    }
}

/// Of the default version of the server ?1; ?2 is now.
pub(super) fn summary_query() -> String {
    format!(
        "SELECT {} FROM servers s JOIN versions v ON v.id = s.default_version WHERE s.name = ?1",
        summary_columns("?2"),
    )
}

pub(super) fn nth_summary(
    results: &mut [Outcome],
    index: usize,
) -> Result<Option<ServerSummary>, StoreError> {
    let row = nth_row(results, index)?;
    row.as_ref().map(ServerSummary::read).transpose()
}

/// The status that is shown: what holds the server back, else what holds the version back, else
/// what the publisher says of it.
fn status(server: Moderation, version: Moderation, published: VersionStatus) -> &'static str {
    match (server, version) {
        (Moderation::Revoked, _) | (_, Moderation::Revoked) => "revoked",
        (Moderation::Quarantined, _) | (_, Moderation::Quarantined) => "quarantined",
        (Moderation::Active, Moderation::Active) => published.as_str(),
    }
}

impl ServerSummary {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let verification: Level = row.one_of("level")?;
        let endpoint = row.owned("endpoint");
        Ok(Self {
            id: row.required("name")?,
            version: row.required("version")?,
            title: row.owned("title"),
            description: row.required("description")?,
            transport: endpoint.as_ref().map(|_| "streamable_http"),
            endpoint,
            verified: verification != Level::None,
            verification,
            status: status(
                row.one_of("moderation")?,
                row.one_of("version_moderation")?,
                row.one_of("status")?,
            ),
            // An operator said so, of that origin.
            jwks_uri: row
                .owned("jwks_uri")
                .filter(|_| verification == Level::Operator),
        })
    }
}

impl VersionSummary {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let moderation = row.one_of("version_moderation")?;
        Ok(Self {
            version: row.required("version")?,
            status: status(Moderation::Active, moderation, row.one_of("status")?),
            status_reason: row
                .owned("version_moderation_reason")
                .filter(|_| moderation != Moderation::Active),
            published_at: row.owned("published_on"),
        })
    }
}

impl Standing {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let moderation = row.one_of("moderation")?;
        let version_moderation = row.one_of("version_moderation")?;
        // Of the one that the status tells; where that could be either, of the server.
        let (status_reason, status_until) = match (moderation, version_moderation) {
            (Moderation::Active, Moderation::Active) => (None, None),
            (Moderation::Revoked, _)
            | (Moderation::Quarantined, Moderation::Active | Moderation::Quarantined) => {
                (row.owned("moderation_reason"), row.owned("moderated_until"))
            }
            (Moderation::Active | Moderation::Quarantined, _) => (
                row.owned("version_moderation_reason"),
                row.owned("version_moderated_until"),
            ),
        };
        Ok(Self {
            summary: ServerSummary::read(row)?,
            status_reason,
            status_until,
            moderation,
            version_moderation,
        })
    }
}

use std::fmt;

use mcp_connect_catalog::{SearchQuery, ServerName, ServerRef, Version, VersionStatus};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Page, Store, StoreError, audit::Event, changed, nth_rows, text};
use crate::authority::Moderation;

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
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_uri: Option<String>,
}

/// One server, or one version of it, with everything that is public about it.
#[derive(Serialize)]
pub(crate) struct ServerDetail {
    #[serde(flatten)]
    pub(crate) summary: ServerSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) published_at: Option<String>,
    pub(crate) server: Box<RawValue>,
    /// Left out where one version was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) versions: Option<Vec<VersionSummary>>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct VersionSummary {
    pub(crate) version: String,
    pub(crate) status: VersionStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) published_at: Option<String>,
}

/// What an operator does to a server.
#[derive(Clone, Copy)]
pub(crate) enum ServerChange<'a> {
    Verify(Identity<'a>),
    Unverify,
    Revoke,
    Reinstate,
}

/// What pins a verified server; what is left out stays as it is.
#[derive(Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) jwks_uri: Option<&'a str>,
    pub(crate) tls_pin_sha256: Option<&'a str>,
}

impl fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "jwks_uri {}, tls_pin_sha256 {}",
            self.jwks_uri.unwrap_or("as before"),
            self.tls_pin_sha256.unwrap_or("as before")
        )
    }
}

#[derive(Deserialize)]
struct SummaryRow {
    name: String,
    version: String,
    title: Option<String>,
    description: String,
    endpoint: Option<String>,
    verified: u8,
    moderation: Moderation,
    version_status: VersionStatus,
    jwks_uri: Option<String>,
}

#[derive(Deserialize)]
struct DetailRow {
    #[serde(flatten)]
    summary: SummaryRow,
    moderation_reason: Option<String>,
    published_at: Option<String>,
    server_json: String,
}

const SUMMARY_COLUMNS: &str = "s.name, v.version, v.title, v.description, v.endpoint,
    (s.namespace_proven OR (s.origin_level <> 'none' AND s.verified_origin IS v.origin)) AS verified, s.moderation, v.status AS version_status, s.jwks_uri";

const PUBLISHED_AT: &str =
    "strftime('%Y-%m-%dT%H:%M:%fZ', v.published_at / 1000000.0, 'unixepoch') AS published_at";

/// The most versions that are listed with a server, newest first.
const MAX_VERSIONS: u32 = 100;

impl Store {
    /// Up to `limit` servers after the given one: all, in the order of their names, or those that a
    /// query finds, in the order in which they came. Those whose every version was deleted are left
    /// out.
    #[worker::send]
    pub(crate) async fn list_servers(
        &self,
        query: Option<&SearchQuery>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<ServerSummary>, StoreError> {
        let mut values = vec![text(after), (limit + 1).into()];
        // Each walks one index from where the page begins, so the last page costs what the first does.
        let from = if let Some(query) = query {
            values.push(query.to_fts5().into());
            "FROM servers_fts f CROSS JOIN servers s ON s.id = f.rowid
             CROSS JOIN versions v ON v.id = s.default_version
             WHERE servers_fts MATCH ?3
               AND f.rowid > coalesce((SELECT id FROM servers WHERE name = ?1), 0)
               AND v.status <> 'deleted'
             ORDER BY f.rowid"
        } else {
            "FROM servers s CROSS JOIN versions v ON v.id = s.default_version
             WHERE s.name > coalesce(?1, '') AND v.status <> 'deleted'
             ORDER BY s.name"
        };
        let sql = format!("SELECT {SUMMARY_COLUMNS} {from} LIMIT ?2");
        let rows: Vec<SummaryRow> = self.rows(&sql, values).await?;
        let rows = rows.into_iter().map(ServerSummary::from).collect();
        Ok(Page::new(rows, limit))
    }

    /// `None`: no such server, or no such version.
    #[worker::send]
    pub(crate) async fn server_detail(
        &self,
        reference: &ServerRef,
    ) -> Result<Option<ServerDetail>, StoreError> {
        let version = reference.version.as_ref().map(Version::as_str);
        let detail = format!(
            "SELECT {SUMMARY_COLUMNS}, s.moderation_reason, v.server_json, {PUBLISHED_AT}
             FROM servers s JOIN versions v ON v.id = CASE WHEN ?2 IS NULL THEN s.default_version
               ELSE (SELECT id FROM versions WHERE server_id = s.id AND version = ?2) END
             WHERE s.name = ?1"
        );
        let versions = format!(
            "SELECT v.version, v.status, {PUBLISHED_AT}
             FROM versions v JOIN servers s ON s.id = v.server_id
             WHERE s.name = ?1 ORDER BY v.sort_key DESC, v.id DESC LIMIT {MAX_VERSIONS}"
        );
        let name = reference.name.as_str();
        let mut statements = vec![(detail.as_str(), vec![name.into(), text(version)])];
        if version.is_none() {
            statements.push((&versions, vec![name.into()]));
        }
        let results = self.read(statements).await?;
        let Some(row) = nth_rows::<DetailRow>(&results, 0)?.pop() else {
            return Ok(None);
        };
        let versions = match version {
            Some(_) => None,
            None => Some(nth_rows(&results, 1)?),
        };
        row.into_detail(versions).map(Some)
    }

    /// The server after the change, and whether it was one. `None`: no such server.
    #[worker::send]
    pub(crate) async fn change_server(
        &self,
        name: &ServerName,
        change: ServerChange<'_>,
        actor: &str,
        reason: &str,
    ) -> Result<Option<(ServerSummary, bool)>, StoreError> {
        let name = name.as_str();
        let mut detail = None;
        let (action, sql, values) = match change {
            ServerChange::Verify(identity) => {
                detail = Some(identity.to_string());
                (
                    "server.verify",
                    "UPDATE servers SET origin_level = 'operator', jwks_uri = coalesce(?2, jwks_uri),
                       tls_pin_sha256 = coalesce(?3, tls_pin_sha256),
                       verified_origin = (SELECT origin FROM versions WHERE id = default_version)
                     WHERE name = ?1 AND (origin_level, jwks_uri, tls_pin_sha256, verified_origin)
                       IS NOT ('operator', coalesce(?2, jwks_uri), coalesce(?3, tls_pin_sha256),
                               (SELECT origin FROM versions WHERE id = default_version))",
                    vec![
                        name.into(),
                        text(identity.jwks_uri),
                        text(identity.tls_pin_sha256),
                    ],
                )
            }
            ServerChange::Unverify => (
                "server.unverify",
                "UPDATE servers SET origin_level = 'none', verified_origin = NULL, jwks_uri = NULL,
                   tls_pin_sha256 = NULL
                 WHERE name = ?1 AND origin_level <> 'none'",
                vec![name.into()],
            ),
            ServerChange::Revoke => (
                "server.revoke",
                "UPDATE servers SET moderation = 'revoked', moderation_reason = ?2
                 WHERE name = ?1 AND moderation <> 'revoked'",
                vec![name.into(), reason.into()],
            ),
            ServerChange::Reinstate => (
                "server.reinstate",
                "UPDATE servers SET moderation = 'active', moderation_reason = NULL
                 WHERE name = ?1 AND moderation <> 'active'",
                vec![name.into()],
            ),
        };
        let select = format!(
            "SELECT {SUMMARY_COLUMNS} FROM servers s JOIN versions v ON v.id = s.default_version
             WHERE s.name = ?1"
        );
        let results = self
            .batch(vec![
                (sql, values),
                Event {
                    actor,
                    action,
                    subject: name,
                    reason: Some(reason),
                    detail: detail.as_deref(),
                }
                .if_changed(),
                (&select, vec![name.into()]),
            ])
            .await?;
        let row = nth_rows::<SummaryRow>(&results, 2)?.pop();
        let changed = changed(&results, 0)?;
        Ok(row.map(|row| (row.into(), changed)))
    }
}

impl From<SummaryRow> for ServerSummary {
    fn from(row: SummaryRow) -> Self {
        let status = match row.moderation {
            Moderation::Active => row.version_status.as_str(),
            Moderation::Quarantined => "quarantined",
            Moderation::Revoked => "revoked",
        };
        Self {
            id: row.name,
            version: row.version,
            title: row.title,
            description: row.description,
            transport: row.endpoint.as_ref().map(|_| "streamable_http"),
            endpoint: row.endpoint,
            verified: row.verified == 1,
            status,
            jwks_uri: row.jwks_uri.filter(|_| row.verified == 1),
        }
    }
}

impl DetailRow {
    fn into_detail(
        self,
        versions: Option<Vec<VersionSummary>>,
    ) -> Result<ServerDetail, StoreError> {
        Ok(ServerDetail {
            summary: self.summary.into(),
            status_reason: self.moderation_reason,
            published_at: self.published_at,
            server: RawValue::from_string(self.server_json)
                .map_err(|error| StoreError::Unavailable(format!("server_json: {error}")))?,
            versions,
        })
    }
}

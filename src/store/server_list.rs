//! The servers as administrators look for them, to change many at once.

use mcp_connect_catalog::ServerName;

use super::{
    Row, Store, StoreError, moderation::in_force, now, page::looking, proofs::effective_level, text,
};
use crate::authority::Pattern;

/// Which servers to list.
#[derive(Default)]
pub(crate) struct ServerFilter<'a> {
    pub(crate) servers: Option<&'a Pattern>,
    /// `active`, `quarantined` or `revoked`.
    pub(crate) state: Option<&'a str>,
    pub(crate) level: Option<&'a str>,
    /// `local` or `mirrored`.
    pub(crate) source: Option<&'a str>,
    pub(crate) after: Option<&'a ServerName>,
}

/// What a page shows of each server.
const SHOWN: [&str; 6] = ["id", "version", "origin", "state", "level", "source"];

impl Store {
    /// Up to `limit` servers in the order of their names, which differ in more than case, and the name after which to
    /// go on. A filter finds names in every spelling.
    pub(crate) async fn list_all_servers(
        &self,
        filter: &ServerFilter<'_>,
        limit: u32,
    ) -> Result<(Vec<Row>, Option<String>), StoreError> {
        let walk = format!(
            "SELECT *, state = coalesce(?6, state) AND level = coalesce(?7, level)
                AND source = coalesce(?8, source) AS fits FROM (
               SELECT s.name AS id, v.version, v.origin, {} AS state, {} AS level,
                 iif(s.upstream IS NULL, 'local', 'mirrored') AS source
               FROM servers s INDEXED BY servers_by_name_nocase LEFT JOIN versions v ON v.id = s.default_version
               WHERE s.name COLLATE NOCASE >= iif(?5 > ?3 COLLATE NOCASE, ?5, ?3) AND s.name COLLATE NOCASE < ?4
                 AND (s.name COLLATE NOCASE > ?5 OR s.name > ?5)
               ORDER BY s.name COLLATE NOCASE, s.name)",
            in_force("s", "?1"),
            effective_level("v.origin"),
        );
        let (from, to) = filter
            .servers
            .map_or_else(|| (String::new(), "~".to_owned()), Pattern::bounds);
        let values = vec![
            now(),
            limit.into(),
            from.into(),
            to.into(),
            filter.after.map_or("", ServerName::as_str).into(),
            text(filter.state),
            text(filter.level),
            text(filter.source),
        ];
        let rows = self.rows(&looking(&walk, "?2"), values).await?;
        let is_end =
            rows.len() < limit as usize && !rows.last().is_some_and(|row| row.flag("is_end"));
        let next = rows
            .last()
            .filter(|_| !is_end)
            .map(|last| last.text("id").to_owned());
        let shown = rows
            .into_iter()
            .filter(|row| row.flag("fits"))
            .map(|row| row.only(&SHOWN))
            .collect();
        Ok((shown, next))
    }
}

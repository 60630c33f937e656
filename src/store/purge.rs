//! Takes out what was published here and could never be connected to. Everything else stays for ever, for the
//! audit trail and descriptors name it.

use serde_json::json;
use wasm_bindgen::JsValue;

use super::{
    Connectable, Row, Statement, Store, StoreError, changes, now, nth_row, nth_rows, number,
    registry_latest::{Flipped, choose},
    text,
};

/// Servers that one call looks at.
const SERVERS: u32 = 50;
/// Versions that one call takes out: as many as one transaction has time for.
const VERSIONS: u32 = 1000;

/// Which of those to purge.
pub(crate) struct PurgeFilter<'a> {
    /// This namespace and all below it.
    pub(crate) namespace: Option<&'a str>,
    /// In milliseconds since the Unix epoch.
    pub(crate) published_before: u64,
    pub(crate) connectable: Connectable,
}

/// What a call found, or took out.
pub(crate) struct Purge {
    /// Servers, each with its number of versions and their bytes.
    pub(crate) servers: Vec<Row>,
    /// How many versions are gone.
    pub(crate) purged: u32,
    /// Where the next call goes on, if there is more.
    pub(crate) next: Option<String>,
}

impl PurgeFilter<'_> {
    /// The names that may be meant lie between these two.
    fn bounds(&self) -> (String, String) {
        match self.namespace {
            // The dot is followed by the slash, and that by 0.
            Some(namespace) => (format!("{namespace}."), format!("{namespace}0")),
            None => (String::new(), "~".to_owned()),
        }
    }

    /// Whether a version `v` of a server `s`, published before ?1, could never be connected to: it never had an
    /// endpoint, or verification is required and nobody ever verified the server. What a moderator holds back
    /// stays, for it would be free again with its name.
    fn condition(&self) -> String {
        let never_verified = match self.connectable {
            Connectable::All => "",
            Connectable::Verified => {
                " OR NOT s.namespace_proven AND s.origin_level = 'none'
                    AND NOT EXISTS (SELECT 1 FROM proofs p WHERE p.server_id = s.id)
                    AND NOT EXISTS (SELECT 1 FROM audit a
                      WHERE a.action IN ('server.verify', 'server.prove') AND a.subject = s.name)"
            }
        };
        format!(
            "v.created_at < ?1 AND s.upstream IS NULL AND s.moderation = 'active' AND v.moderation = 'active'
             AND (v.endpoint IS NULL AND v.edition = 1{never_verified})"
        )
    }
}

/// What hangs on the versions in `purging`, and on servers that are left without one. Of those in ?1, a JSON list
/// of names.
const REST: [&str; 5] = [
    "UPDATE servers SET default_version = NULL, latest_version = NULL
     WHERE name IN (SELECT value FROM json_each(?1))
       AND EXISTS (SELECT 1 FROM purging p JOIN versions v ON v.id = p.version_id WHERE v.server_id = servers.id)",
    "DELETE FROM editions WHERE version_id IN (SELECT version_id FROM purging) AND ?1 <> ''",
    "DELETE FROM remotes WHERE version_id IN (SELECT version_id FROM purging) AND ?1 <> ''",
    "DELETE FROM changes WHERE (server_id, version_id) IN (
       SELECT v.server_id, v.id FROM purging p JOIN versions v ON v.id = p.version_id) AND ?1 <> ''",
    "DELETE FROM versions WHERE id IN (SELECT version_id FROM purging) AND ?1 <> ''",
];

const EMPTY: &str = "name IN (SELECT value FROM json_each(?1)) AND moderation = 'active'
  AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.server_id = servers.id)
  AND NOT EXISTS (SELECT 1 FROM proofs p WHERE p.server_id = servers.id)";

impl Store {
    /// What there is to purge of the next servers after this name.
    pub(crate) async fn find_purgeable(
        &self,
        filter: &PurgeFilter<'_>,
        after: &str,
    ) -> Result<Purge, StoreError> {
        let page = "SELECT * FROM servers WHERE name > ?1 AND name >= ?2 AND name < ?3 ORDER BY name LIMIT ?4";
        let last = format!("SELECT max(name) AS last, count(*) AS looked_at FROM ({page})");
        let find = format!(
            "SELECT s.name, count(*) AS versions, sum(length(CAST(v.server_json AS BLOB))) AS bytes
             FROM (SELECT * FROM servers WHERE name > ?2 AND name >= ?3 AND name < ?4 ORDER BY name LIMIT ?5) s
             JOIN versions v ON v.server_id = s.id WHERE {} GROUP BY s.id ORDER BY s.name",
            filter.condition()
        );
        let (from, to) = filter.bounds();
        let which = || -> Vec<JsValue> {
            vec![
                after.into(),
                from.as_str().into(),
                to.as_str().into(),
                SERVERS.into(),
            ]
        };
        let mut values = vec![number(filter.published_before)];
        values.extend(which());
        let mut results = self.read(vec![(&last, which()), (&find, values)]).await?;
        let page = nth_row(&mut results, 0)?.unwrap_or_default();
        let is_full = page.number("looked_at") == Some(u64::from(SERVERS));
        Ok(Purge {
            servers: nth_rows(&mut results, 1)?,
            purged: 0,
            next: page.owned("last").filter(|_| is_full),
        })
    }

    /// Takes that out, each version with its audit row.
    pub(crate) async fn purge(
        &self,
        filter: &PurgeFilter<'_>,
        after: &str,
        actor: &str,
        reason: &str,
    ) -> Result<Purge, StoreError> {
        let mut purge = self.find_purgeable(filter, after).await?;
        if purge.servers.is_empty() {
            return Ok(purge);
        }
        let names: Vec<String> = purge
            .servers
            .iter()
            .filter_map(|row| row.owned("name"))
            .collect();
        let list = json!(names).to_string();
        let mark = format!(
            "INSERT INTO purging (version_id) SELECT v.id FROM servers s JOIN versions v ON v.server_id = s.id
             WHERE s.name IN (SELECT value FROM json_each(?2)) AND {} ORDER BY v.id LIMIT {VERSIONS}",
            filter.condition()
        );
        let audit = "INSERT INTO audit (at, actor, action, subject, reason, detail)
             SELECT ?1, ?2, 'version.purge', s.name || '@' || v.version, ?3, v.content_hash
             FROM purging p JOIN versions v ON v.id = p.version_id JOIN servers s ON s.id = v.server_id";
        let forget = format!(
            "DELETE FROM changes WHERE server_id IN (SELECT id FROM servers WHERE {EMPTY})"
        );
        let empty = format!("DELETE FROM servers WHERE {EMPTY}");
        let values = || vec![list.as_str().into()];
        let mut statements: Vec<Statement<'_>> = vec![
            ("DELETE FROM purging", Vec::new()),
            (
                &mark,
                vec![number(filter.published_before), list.as_str().into()],
            ),
            (audit, vec![now(), actor.into(), text(Some(reason))]),
        ];
        statements.extend(REST.map(|sql| (sql, values())));
        statements.push(("DELETE FROM purging", Vec::new()));
        statements.extend(choose(&list, Flipped::Updated));
        statements.extend([(forget.as_str(), values()), (&empty, values())]);
        let results = self.batch(statements).await?;
        purge.purged = changes(&results, 1)?;
        if purge.purged == VERSIONS {
            purge.next = Some(after.to_owned());
        }
        self.renew_copies(&names).await;
        Ok(purge)
    }
}

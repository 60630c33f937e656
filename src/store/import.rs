use std::collections::HashMap;

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_catalog::{Endpoint, Entry, VersionStatus};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Store, StoreError, now, nth_rows};

/// What became of one entry of an import.
#[derive(Serialize)]
pub(crate) struct ImportResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    pub(crate) outcome: ImportOutcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Copy, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ImportOutcome {
    Imported,
    Refused,
    Unchanged,
    /// The content was known; its publisher changed its status.
    Updated,
}

/// An entry as the statements below read it, out of one JSON parameter.
#[derive(Serialize)]
struct Item<'a> {
    name: &'a str,
    version: &'a str,
    sort_key: String,
    stable: bool,
    status: VersionStatus,
    title: Option<&'a str>,
    description: &'a str,
    endpoint: Option<&'a str>,
    server_json: &'a str,
    content_hash: String,
    published_at: Option<u64>,
}

#[derive(Deserialize)]
struct Known {
    name: String,
    version: String,
    content_hash: String,
    status: VersionStatus,
}

const KNOWN: &str = "
SELECT s.name, v.version, v.content_hash, v.status
FROM json_each(?1) i
JOIN servers s ON s.name = i.value ->> 'name'
JOIN versions v ON v.server_id = s.id AND v.version = i.value ->> 'version'";

const AUDIT: &str = "
INSERT INTO audit (at, actor, action, subject)
SELECT ?2, ?3, 'version.import', (i.value ->> 'name') || '@' || (i.value ->> 'version')
FROM json_each(?1) i
WHERE NOT EXISTS (
  SELECT 1 FROM servers s JOIN versions v ON v.server_id = s.id
  WHERE s.name = i.value ->> 'name' AND v.version = i.value ->> 'version'
    AND (v.content_hash <> i.value ->> 'content_hash' OR v.status = i.value ->> 'status'))";

const INSERT_SERVERS: &str = "
INSERT INTO servers (name, created_at)
SELECT DISTINCT i.value ->> 'name', ?2 FROM json_each(?1) i WHERE true
ON CONFLICT (name) DO NOTHING";

const INSERT_VERSIONS: &str = "
INSERT INTO versions (server_id, version, sort_key, stable, status, title, description, endpoint,
                      server_json, content_hash, published_at, created_at)
SELECT s.id, i.value ->> 'version', i.value ->> 'sort_key', i.value ->> 'stable', i.value ->> 'status',
       i.value ->> 'title', i.value ->> 'description', i.value ->> 'endpoint',
       i.value ->> 'server_json', i.value ->> 'content_hash', i.value ->> 'published_at', ?2
FROM json_each(?1) i JOIN servers s ON s.name = i.value ->> 'name' WHERE true
ON CONFLICT (server_id, version) DO UPDATE SET status = excluded.status
WHERE versions.content_hash = excluded.content_hash AND versions.status <> excluded.status";

/// The latest stable version that is not deleted; failing that, the latest of what there is.
const CHOOSE_DEFAULTS: &str = "
UPDATE servers SET (default_version, title, description) = (
  SELECT v.id, v.title, v.description FROM versions v WHERE v.server_id = servers.id
  ORDER BY v.status = 'deleted', v.stable DESC, v.sort_key DESC, v.id DESC LIMIT 1)
WHERE name IN (SELECT i.value ->> 'name' FROM json_each(?1) i)";

impl Store {
    /// One transaction for all entries. What is known already stays as it is, so that doing it
    /// again, or going on after a break, is safe. Moderation and verification are never touched.
    /// The results are in the order of the entries.
    #[worker::send]
    pub(crate) async fn import(
        &self,
        entries: &[Entry],
        actor: &str,
    ) -> Result<Vec<ImportResult>, StoreError> {
        let mut results = Vec::with_capacity(entries.len());
        let mut items: Vec<Item<'_>> = Vec::with_capacity(entries.len());
        // Two entries of one call for the same version: the first counts.
        let mut first: HashMap<(&str, &str), (String, VersionStatus)> = HashMap::new();
        for entry in entries {
            let item = Item::new(entry);
            let key = (item.name, item.version);
            if let Some((hash, status)) = first.get(&key) {
                results.push(Some(compare(hash, *status, &item)));
            } else {
                first.insert(key, (item.content_hash.clone(), item.status));
                results.push(None);
                items.push(item);
            }
        }

        let json = serde_json::to_string(&items)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let json = || json.as_str().into();
        let answers = self
            .batch(vec![
                (KNOWN, vec![json()]),
                (AUDIT, vec![json(), now(), actor.into()]),
                (INSERT_SERVERS, vec![json(), now()]),
                (INSERT_VERSIONS, vec![json(), now()]),
                (CHOOSE_DEFAULTS, vec![json()]),
            ])
            .await?;
        let known: HashMap<(String, String), Known> = nth_rows::<Known>(&answers, 0)?
            .into_iter()
            .map(|known| ((known.name.clone(), known.version.clone()), known))
            .collect();

        let mut written = items.iter().map(|item| {
            known
                .get(&(item.name.to_owned(), item.version.to_owned()))
                .map_or_else(
                    || item.result(ImportOutcome::Imported, None),
                    |known| compare(&known.content_hash, known.status, item),
                )
        });
        Ok(results
            .into_iter()
            .filter_map(|result| result.or_else(|| written.next()))
            .collect())
    }
}

fn compare(hash: &str, status: VersionStatus, item: &Item<'_>) -> ImportResult {
    if hash != item.content_hash {
        return item.result(
            ImportOutcome::Refused,
            Some("version: published before with other content; a version never changes"),
        );
    }
    if status == item.status {
        item.result(ImportOutcome::Unchanged, None)
    } else {
        item.result(ImportOutcome::Updated, None)
    }
}

impl<'a> Item<'a> {
    fn new(entry: &'a Entry) -> Self {
        Self {
            name: entry.name.as_str(),
            version: entry.version.as_str(),
            sort_key: entry
                .version
                .sort_key(entry.published_at_micros.unwrap_or(0)),
            stable: entry.version.is_stable(),
            status: entry.status,
            title: entry.title.as_deref(),
            description: &entry.description,
            endpoint: entry.endpoint.as_ref().map(Endpoint::as_str),
            server_json: entry.server_json.get(),
            content_hash: Base64UrlUnpadded::encode_string(&Sha256::digest(
                entry.canonical_server_json(),
            )),
            published_at: entry.published_at_micros,
        }
    }

    fn result(&self, outcome: ImportOutcome, reason: Option<&str>) -> ImportResult {
        ImportResult {
            name: Some(self.name.to_owned()),
            version: Some(self.version.to_owned()),
            outcome,
            reason: reason.map(str::to_owned),
        }
    }
}

use std::collections::HashMap;

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_catalog::{Endpoint, Entry, VersionStatus};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    Store, StoreError, now, nth_rows,
    registry_latest::{MOMENT, choose},
};

/// What became of one entry of an import.
#[derive(Clone, Serialize)]
pub(crate) struct ImportResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    pub(crate) outcome: ImportOutcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ImportOutcome {
    Imported,
    Refused,
    Unchanged,
    /// The content was known; its publisher changed its status.
    Updated,
}

/// D1's limit for one value is 2,000,000 bytes.
const MAX_PARAMETER_BYTES: usize = 1_900_000;

/// Whether an item `i` says something else of a version `v` than is known, beside its content. What it
/// leaves out stays as it is.
macro_rules! is_other {
    () => {
        "((v.status, v.status_message, v.meta)
            IS NOT (i.value ->> 'status', i.value ->> 'status_message', i.value ->> 'meta')
          OR v.updated_at <> coalesce(i.value ->> 'updated_at', v.updated_at)
          OR v.status_changed_at <> coalesce(i.value ->> 'status_changed_at', v.status_changed_at))"
    };
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
    origin: Option<String>,
    server_json: &'a str,
    content_hash: String,
    published_at: Option<u64>,
    updated_at: Option<u64>,
    status_changed_at: Option<u64>,
    status_message: Option<&'a str>,
    meta: Option<&'a str>,
}

/// A version as it was before.
struct Known {
    content_hash: String,
    is_other: bool,
}

const KNOWN: &str = concat!(
    "SELECT s.name, v.version, v.content_hash, ",
    is_other!(),
    " AS is_other
     FROM json_each(?1) i
     JOIN servers s ON s.name = i.value ->> 'name'
     JOIN versions v ON v.server_id = s.id AND v.version = i.value ->> 'version'"
);

const AUDIT: &str = concat!(
    "INSERT INTO audit (at, actor, action, subject, reason, detail)
     SELECT ?2, ?3,
       CASE WHEN v.id IS NULL THEN 'version.import'
            WHEN v.status <> i.value ->> 'status' THEN 'version.status' ELSE 'version.update' END,
       (i.value ->> 'name') || '@' || (i.value ->> 'version'), i.value ->> 'status_message', i.value ->> 'status'
     FROM json_each(?1) i
     LEFT JOIN servers s ON s.name = i.value ->> 'name'
     LEFT JOIN versions v ON v.server_id = s.id AND v.version = i.value ->> 'version'
     WHERE v.id IS NULL OR (v.content_hash = i.value ->> 'content_hash' AND ",
    is_other!(),
    ")"
);

/// What descriptors of versions that are deleted from now on are refused by.
const REVOKE: &str = "
INSERT INTO revocations (kind, subject, revoked_at, actor, reason)
SELECT 'version', s.name || '@' || v.version, CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER), ?2,
       coalesce(i.value ->> 'status_message', 'deleted by its publisher')
FROM json_each(?1) i
JOIN servers s ON s.name = i.value ->> 'name'
JOIN versions v ON v.server_id = s.id AND v.version = i.value ->> 'version'
WHERE v.content_hash = i.value ->> 'content_hash'
  AND v.status <> 'deleted' AND i.value ->> 'status' = 'deleted'
ON CONFLICT (kind, subject, tenant_id) DO UPDATE
SET revoked_at = excluded.revoked_at, actor = excluded.actor, reason = excluded.reason";

const INSERT_SERVERS: &str = "
INSERT INTO servers (name, created_at)
SELECT DISTINCT i.value ->> 'name', ?2 FROM json_each(?1) i WHERE true
ON CONFLICT (name) DO NOTHING";

fn update_versions() -> String {
    format!(
        "UPDATE versions AS v SET status = i.value ->> 'status',
           status_message = i.value ->> 'status_message', meta = i.value ->> 'meta',
           status_changed_at = coalesce(i.value ->> 'status_changed_at',
             iif(v.status <> i.value ->> 'status', m.moment, v.status_changed_at)),
           updated_at = coalesce(i.value ->> 'updated_at', m.moment), changed_at = m.moment
         FROM json_each(?1) i, servers s, (SELECT {MOMENT} AS moment) m
         WHERE s.name = i.value ->> 'name' AND v.server_id = s.id AND v.version = i.value ->> 'version'
           AND v.content_hash = i.value ->> 'content_hash' AND {}",
        is_other!()
    )
}

fn insert_versions() -> String {
    format!(
        "INSERT INTO versions (server_id, version, sort_key, stable, status, title, description, endpoint,
           origin, server_json, content_hash, published_at, created_at, status_message, meta,
           updated_at, status_changed_at, changed_at)
         SELECT s.id, i.value ->> 'version', i.value ->> 'sort_key', i.value ->> 'stable',
           i.value ->> 'status', i.value ->> 'title', i.value ->> 'description', i.value ->> 'endpoint',
           i.value ->> 'origin', i.value ->> 'server_json', i.value ->> 'content_hash',
           i.value ->> 'published_at', ?2, i.value ->> 'status_message', i.value ->> 'meta',
           coalesce(i.value ->> 'updated_at', i.value ->> 'published_at', ?2 * 1000),
           coalesce(i.value ->> 'status_changed_at', i.value ->> 'published_at', ?2 * 1000), m.moment
         FROM json_each(?1) i JOIN servers s ON s.name = i.value ->> 'name', (SELECT {MOMENT} AS moment) m
         WHERE true ON CONFLICT (server_id, version) DO NOTHING"
    )
}

impl Store {
    /// One transaction for all entries. What is known already stays as it is, so that doing it
    /// again, or going on after a break, is safe. Moderation and verification are never touched.
    /// The results are in the order of the entries.
    pub(crate) async fn import(
        &self,
        entries: &[&Entry],
        actor: &str,
    ) -> Result<Vec<ImportResult>, StoreError> {
        let mut items: Vec<Item<'_>> = Vec::with_capacity(entries.len());
        let mut first: HashMap<(&str, &str), usize> = HashMap::new();
        // Each entry stands for an item, or contradicts one.
        let mut places = Vec::with_capacity(entries.len());
        for entry in entries {
            let item = Item::new(entry);
            let index = *first
                .entry((item.name, item.version))
                .or_insert(items.len());
            match items.get(index) {
                Some(earlier) if !earlier.says_the_same(&item) => {
                    let reason = "version: given twice in this call, with other content or status";
                    places.push(Err(item.result(ImportOutcome::Refused, Some(reason))));
                }
                Some(_) => places.push(Ok(index)),
                None => {
                    items.push(item);
                    places.push(Ok(index));
                }
            }
        }

        let known = self.write(&items, actor).await?;
        let outcomes: Vec<ImportResult> = items
            .iter()
            .map(|item| item.compare(known.get(&(item.name.to_owned(), item.version.to_owned()))))
            .collect();
        Ok(places
            .into_iter()
            .filter_map(|place| match place {
                Ok(index) => outcomes.get(index).cloned(),
                Err(refusal) => Some(refusal),
            })
            .collect())
    }

    /// What was known of the items before.
    async fn write(
        &self,
        items: &[Item<'_>],
        actor: &str,
    ) -> Result<HashMap<(String, String), Known>, StoreError> {
        let json = serde_json::to_string(items)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        if json.len() > MAX_PARAMETER_BYTES {
            return Err(StoreError::TooLarge);
        }
        let json = || json.as_str().into();
        let names: Vec<&str> = items.iter().map(|item| item.name).collect();
        let names = json!(names).to_string();
        let (update_versions, insert_versions) = (update_versions(), insert_versions());
        let mut statements = vec![
            (KNOWN, vec![json()]),
            (AUDIT, vec![json(), now(), actor.into()]),
            (REVOKE, vec![json(), actor.into()]),
            (&update_versions, vec![json()]),
            (INSERT_SERVERS, vec![json(), now()]),
            (&insert_versions, vec![json(), now()]),
        ];
        statements.extend(choose(&names));
        let mut answers = self.batch(statements).await?;
        let mut known = HashMap::new();
        for row in nth_rows(&mut answers, 0)? {
            let place = (row.required("name")?, row.required("version")?);
            let before = Known {
                content_hash: row.required("content_hash")?,
                is_other: row.flag("is_other"),
            };
            known.insert(place, before);
        }
        Ok(known)
    }
}

/// By which a version is known to say the same.
pub(super) fn content_hash(entry: &Entry) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(entry.canonical_server_json()))
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
            origin: entry.endpoint.as_ref().map(Endpoint::origin),
            server_json: entry.server_json.get(),
            content_hash: content_hash(entry),
            published_at: entry.published_at_micros,
            updated_at: entry.updated_at_micros,
            status_changed_at: entry.status_changed_at_micros,
            status_message: entry.status_message.as_deref(),
            meta: entry.meta.as_ref().map(|meta| meta.get()),
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        self.content_hash == other.content_hash && self.status == other.status
    }

    fn compare(&self, known: Option<&Known>) -> ImportResult {
        match known {
            None => self.result(ImportOutcome::Imported, None),
            Some(known) if known.content_hash != self.content_hash => self.result(
                ImportOutcome::Refused,
                Some("version: published before with other content; a version never changes"),
            ),
            Some(known) if known.is_other => self.result(ImportOutcome::Updated, None),
            Some(_) => self.result(ImportOutcome::Unchanged, None),
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

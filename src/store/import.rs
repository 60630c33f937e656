use std::collections::HashMap;

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_catalog::{Claim, Endpoint, Entry, VersionStatus, canonical_server_json};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};
use sha2::{Digest, Sha256};

use super::{
    Store, StoreError,
    feed_share::{merge, revoke_imported},
    mirror::{Named, Turn},
    now, nth_rows,
    proofs::{lapse, revoke_lapsed},
    registry_latest::{Flipped, MOMENT, choose},
    revocations::Connectable,
    text,
};
use crate::platform::now_millis;

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
    /// The version was known; its publisher says something else of it.
    Updated,
}

/// Where entries come from, and so which names they may be of: a name is published here, or it is
/// mirrored.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// By an administrator, for this reason, if one was said.
    Here(Option<&'a str>),
    /// A registry whose word holds: what it edits becomes a new edition.
    Upstream {
        from: &'a str,
        turn: Turn,
        connectable: Connectable,
    },
}

impl<'a> Source<'a> {
    fn upstream(self) -> Option<&'a str> {
        match self {
            Self::Here(_) => None,
            Self::Upstream { from, .. } => Some(from),
        }
    }

    fn reason(self) -> Option<&'a str> {
        match self {
            Self::Here(reason) => reason,
            Self::Upstream { .. } => None,
        }
    }

    fn connectable(self) -> Connectable {
        match self {
            Self::Here(_) => Connectable::All,
            Self::Upstream { connectable, .. } => connectable,
        }
    }
}

/// D1's limit for one value is 2,000,000 bytes.
const MAX_PARAMETER_BYTES: usize = 1_900_000;

/// Whether an item `i` says something else of a version `v` than is known, beside its content. What it
/// leaves out stays as it is. A version that is the latest no more is newer here than where it comes
/// from, unless it is mirrored.
macro_rules! is_other {
    () => {
        "((v.status, v.status_message, v.meta)
            IS NOT (i.value ->> 'status', i.value ->> 'status_message', i.value ->> 'meta')
          OR iif(s.upstream IS NULL, v.updated_at < i.value ->> 'updated_at',
                 v.updated_at <> i.value ->> 'updated_at') IS 1
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
    #[serde(skip)]
    host: Option<String>,
    server_json: &'a str,
    content_hash: String,
    claims: &'a [Claim],
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
            WHEN v.content_hash <> i.value ->> 'content_hash' THEN 'version.edit'
            WHEN v.status <> i.value ->> 'status' THEN 'version.status' ELSE 'version.update' END,
       (i.value ->> 'name') || '@' || (i.value ->> 'version'),
       coalesce(?5, i.value ->> 'status_message'), i.value ->> 'status'
     FROM json_each(?1) i
     LEFT JOIN servers s ON s.name = i.value ->> 'name'
     LEFT JOIN versions v ON v.server_id = s.id AND v.version = i.value ->> 'version'
     WHERE v.id IS NULL OR iif(v.content_hash = i.value ->> 'content_hash', ",
    is_other!(),
    ", ?4 IS NOT NULL)"
);

/// What descriptors of versions that are deleted, or reached elsewhere, from now on are refused by.
fn revoke(connectable: Connectable) -> String {
    revoke_imported(&format!(
        "SELECT s.name, v.version,
           iif(i.value ->> 'status' = 'deleted',
             coalesce(i.value ->> 'status_message', 'deleted by its publisher'), 'its endpoint changed') AS reason
         FROM json_each(?1) i
         JOIN servers s ON s.name = i.value ->> 'name'
         JOIN versions v ON v.server_id = s.id AND v.version = i.value ->> 'version'
         WHERE (?3 IS NOT NULL OR v.content_hash = i.value ->> 'content_hash') AND v.status <> 'deleted'
           AND {} AND (i.value ->> 'status' = 'deleted'
             OR v.content_hash <> i.value ->> 'content_hash' AND v.endpoint IS NOT i.value ->> 'endpoint')",
        connectable.condition()
    ))
}

const INSERT_SERVERS: &str = "
INSERT INTO servers (name, created_at, upstream)
SELECT DISTINCT i.value ->> 'name', ?2, ?3 FROM json_each(?1) i WHERE true
ON CONFLICT (name) DO UPDATE SET upstream = excluded.upstream
WHERE servers.upstream IS NOT excluded.upstream";

/// The names that others than ?2 may speak for.
const FOREIGN: &str = "
SELECT s.name, s.upstream FROM servers s
WHERE s.name IN (SELECT i.value ->> 'name' FROM json_each(?1) i)
  AND (s.upstream IS NULL) <> (?2 IS NULL)";

/// To stand first: the transaction fails where a name became another's meanwhile.
const NONE_FOREIGN: &str = "
INSERT INTO mirror (id) SELECT 1 FROM servers s
WHERE s.name IN (SELECT i.value ->> 'name' FROM json_each(?1) i)
  AND (s.upstream IS NULL) <> (?2 IS NULL) LIMIT 1";

/// What was edited becomes a new edition.
fn edit_versions() -> String {
    format!(
        "UPDATE versions AS v SET edition = v.edition + 1, title = i.value ->> 'title',
           description = i.value ->> 'description', endpoint = i.value ->> 'endpoint',
           origin = i.value ->> 'origin', content_hash = i.value ->> 'content_hash',
           server_json = i.value ->> 'server_json', claims = i.value ->> 'claims', changed_at = {MOMENT}
         FROM json_each(?1) i, servers s
         WHERE s.name = i.value ->> 'name' AND v.server_id = s.id AND v.version = i.value ->> 'version'
           AND v.content_hash <> i.value ->> 'content_hash'"
    )
}

fn update_versions() -> String {
    format!(
        "UPDATE versions AS v SET status = i.value ->> 'status',
           status_message = i.value ->> 'status_message', meta = i.value ->> 'meta',
           status_changed_at = coalesce(i.value ->> 'status_changed_at',
             iif(v.status <> i.value ->> 'status', m.moment, v.status_changed_at)),
           updated_at = max(coalesce(i.value ->> 'updated_at', m.moment),
             iif(s.upstream IS NULL, v.updated_at, 0)), changed_at = m.moment
         FROM json_each(?1) i, servers s, (SELECT {MOMENT} AS moment) m
         WHERE s.name = i.value ->> 'name' AND v.server_id = s.id AND v.version = i.value ->> 'version'
           AND v.content_hash = i.value ->> 'content_hash' AND {}",
        is_other!()
    )
}

fn insert_versions() -> String {
    format!(
        "INSERT INTO versions (server_id, version, sort_key, stable, status, title, description, endpoint,
           origin, server_json, content_hash, claims, published_at, created_at, status_message, meta,
           updated_at, status_changed_at, changed_at)
         SELECT s.id, i.value ->> 'version', i.value ->> 'sort_key', i.value ->> 'stable',
           i.value ->> 'status', i.value ->> 'title', i.value ->> 'description', i.value ->> 'endpoint',
           i.value ->> 'origin', i.value ->> 'server_json', i.value ->> 'content_hash',
           i.value ->> 'claims', i.value ->> 'published_at', ?2, i.value ->> 'status_message', i.value ->> 'meta',
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
        source: Source<'_>,
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

        let upstream = source.upstream();
        let foreign = self.foreign(&items, upstream).await?;
        let reason_against = |item: &Item<'_>| match foreign.get(item.name)? {
            Some(upstream) => Some(format!("name: is mirrored from {upstream}")),
            None => Some("name: is published here".to_owned()),
        };
        let refusals: Vec<Option<String>> = items.iter().map(reason_against).collect();
        let taken: Vec<&Item<'_>> = items
            .iter()
            .zip(&refusals)
            .filter_map(|(item, refusal)| refusal.is_none().then_some(item))
            .collect();
        let known = self.write(&taken, actor, source).await?;
        let outcomes: Vec<ImportResult> = items
            .iter()
            .zip(&refusals)
            .map(|(item, refusal)| {
                if let Some(reason) = refusal {
                    return item.result(ImportOutcome::Refused, Some(reason));
                }
                let place = (item.name.to_owned(), item.version.to_owned());
                item.compare(known.get(&place), upstream.is_some())
            })
            .collect();
        Ok(places
            .into_iter()
            .filter_map(|place| match place {
                Ok(index) => outcomes.get(index).cloned(),
                Err(refusal) => Some(refusal),
            })
            .collect())
    }

    /// The names that may not come from there, with the registry that they come from.
    async fn foreign(
        &self,
        items: &[Item<'_>],
        upstream: Option<&str>,
    ) -> Result<HashMap<String, Option<String>>, StoreError> {
        let names: Vec<_> = items
            .iter()
            .map(|item| json!({ "name": item.name }))
            .collect();
        let values = vec![json!(names).to_string().into(), text(upstream)];
        let rows = self.rows(FOREIGN, values).await?;
        rows.iter()
            .map(|row| Ok((row.required("name")?, row.owned("upstream"))))
            .collect()
    }

    /// What was known of the items before.
    async fn write(
        &self,
        items: &[&Item<'_>],
        actor: &str,
        source: Source<'_>,
    ) -> Result<HashMap<(String, String), Known>, StoreError> {
        let json = serde_json::to_string(items)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        if json.len() > MAX_PARAMETER_BYTES {
            return Err(StoreError::TooLarge);
        }
        let json = || json.as_str().into();
        let names: Vec<&str> = items.iter().map(|item| item.name).collect();
        let names = json!(names).to_string();
        let upstream = || text(source.upstream());
        let revoke = revoke(source.connectable());
        let revoke_lapsed = revoke_lapsed();
        let [merge, rest] = merge();
        let [edit_versions, update_versions, insert_versions] =
            [edit_versions(), update_versions(), insert_versions()];
        let mut statements = vec![
            (KNOWN, vec![json()]),
            (NONE_FOREIGN, vec![json(), upstream()]),
            (
                AUDIT,
                vec![
                    json(),
                    now(),
                    actor.into(),
                    upstream(),
                    text(source.reason()),
                ],
            ),
            (&revoke, vec![json(), actor.into(), upstream()]),
        ];
        if let Source::Upstream { turn, .. } = source {
            statements.extend(turn.take());
            statements.extend(lapse(&reached(items), actor, &revoke_lapsed));
            statements.push((&edit_versions, vec![json()]));
        }
        statements.extend([&merge, &rest].map(|sql| (sql.as_str(), vec![names.as_str().into()])));
        statements.extend([
            (update_versions.as_str(), vec![json()]),
            (INSERT_SERVERS, vec![json(), now(), upstream()]),
            (&insert_versions, vec![json(), now()]),
        ]);
        statements.extend(choose(&names, Flipped::AsDated));
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

/// Where the servers are to be reached.
fn reached(items: &[&Item<'_>]) -> String {
    let in_use = items
        .iter()
        .filter(|item| item.status != VersionStatus::Deleted);
    let reached: Vec<_> = in_use
        .filter_map(|item| {
            let (origin, host) = item.origin.as_ref().zip(item.host.as_ref())?;
            Some(json!({ "name": item.name, "origin": origin, "host": host }))
        })
        .collect();
    json!(reached).to_string()
}

/// By which a version is known to say the same.
pub(super) fn content_hash(entry: &Entry) -> String {
    digest(&entry.server_json)
}

/// The digest of a server.json.
pub(super) fn digest(server_json: &RawValue) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(canonical_server_json(server_json)))
}

impl ImportResult {
    /// The servers of which something changed, each once where they come together.
    pub(crate) fn changed_names(results: &[Self]) -> Vec<String> {
        let is_change =
            |outcome| matches!(outcome, ImportOutcome::Imported | ImportOutcome::Updated);
        let mut names: Vec<String> = results
            .iter()
            .filter(|result| is_change(result.outcome))
            .filter_map(|result| result.name.clone())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(crate) fn refused(entry: &Entry, reason: &str) -> Self {
        Item::new(entry).result(ImportOutcome::Refused, Some(reason))
    }

    /// The version that was refused, where that can be read.
    pub(crate) fn refusal_of(&self) -> Option<Named> {
        let (name, version) = self.name.as_ref().zip(self.version.as_ref())?;
        matches!(self.outcome, ImportOutcome::Refused).then(|| Named::new(name, version))
    }

    /// Of what is no entry: names it as well as it can be named.
    pub(crate) fn unreadable(json: &RawValue, reason: String) -> Self {
        let entry: Value = serde_json::from_slice(json.get().as_bytes()).unwrap_or_default();
        let member = |name| {
            entry
                .get("server")
                .and_then(|server| server.get(name))
                .and_then(Value::as_str)
                .map(|text| text.chars().filter(|c| *c != '\0').take(300).collect())
        };
        Self {
            name: member("name"),
            version: member("version"),
            outcome: ImportOutcome::Refused,
            reason: Some(reason),
        }
    }
}

impl<'a> Item<'a> {
    fn new(entry: &'a Entry) -> Self {
        Self {
            name: entry.name.as_str(),
            version: entry.version.as_str(),
            sort_key: entry
                .version
                .sort_key(entry.published_at_micros.unwrap_or(now_millis() * 1000)),
            stable: entry.version.is_stable(),
            status: entry.status,
            title: entry.title.as_deref(),
            description: &entry.description,
            endpoint: entry.endpoint.as_ref().map(Endpoint::as_str),
            origin: entry.endpoint.as_ref().map(Endpoint::origin),
            host: entry.endpoint.as_ref().map(Endpoint::host),
            server_json: entry.server_json.get(),
            content_hash: content_hash(entry),
            claims: &entry.claims,
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

    fn compare(&self, known: Option<&Known>, may_edit: bool) -> ImportResult {
        match known {
            None => self.result(ImportOutcome::Imported, None),
            Some(known) if may_edit && known.content_hash != self.content_hash => {
                self.result(ImportOutcome::Updated, None)
            }
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

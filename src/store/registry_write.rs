//! What publishers change: each a transaction with its audit row, and, where something is withdrawn,
//! its row in the revocation feed. What stands against a change is found out in the transaction, so
//! that of two at once the later one meets what the earlier one did.

use mcp_connect_catalog::{Claim, Endpoint, Entry, MAX_VERSIONS, VersionStatus};
use serde_json::json;
use wasm_bindgen::JsValue;

use super::{
    Outcome, Row, Statement, Store, StoreError,
    audit::Event,
    changed, feed_share,
    import::content_hash,
    now, nth_row, nth_rows,
    page::{BYTES, with_room},
    quotas,
    registry::{RegistryVersion, nth_version, version_query, version_values},
    registry_latest::{Flipped, MOMENT, choose, latest, latest_stable},
    revocations::{Connectable, Revocation},
    text,
};
use crate::authority::Quota;

/// What stands against a change.
pub(crate) enum Obstacle {
    /// The version is there already.
    Duplicate,
    /// The feed has no room for another revocation by this owner, or by any publisher, for some minutes.
    FeedFull,
    /// Somebody else changed it at the same time.
    Meanwhile,
    /// The name is mirrored from this registry, which alone may change it.
    Mirrored(String),
    /// There is no such version, or no longer.
    NotFound,
    /// The owner may add or change no more today.
    QuotaSpent,
    /// Another server holds this URL, in this version.
    RemoteTaken {
        url: String,
        /// The URL as the request spells it, if it has one.
        written: Option<String>,
        by: String,
        version: String,
    },
    /// The name has as many versions as one may have.
    TooMany,
}

/// What became of a change.
pub(crate) enum Written<T> {
    Done(T),
    /// All was so already.
    Unchanged,
    Refused(Obstacle),
}

/// Another state that a publisher gives a version, or all versions of a server.
#[derive(Clone, Copy)]
pub(crate) struct StatusChange<'a> {
    pub(crate) status: VersionStatus,
    pub(crate) message: Option<&'a str>,
    pub(crate) by: Author<'a>,
    pub(crate) connectable: Connectable,
}

/// Who makes a change, and for whom it counts.
#[derive(Clone, Copy)]
pub(crate) struct Author<'a> {
    pub(crate) actor: &'a str,
    /// Owns the namespace; see [`crate::authority::owner`].
    pub(crate) owner: &'a str,
    pub(crate) quota: Quota,
}

impl Author<'_> {
    /// As `revocations` has it.
    fn feed_owner(&self) -> String {
        format!("publisher:{}", self.owner)
    }
}

/// What a change of a status takes of the database at most, beside its message, in bytes.
const STATUS_BYTES: usize = 512;

/// The versions whose state changed.
pub(crate) struct StatusChanged {
    pub(crate) count: usize,
    /// The ids of those that one answer has room for.
    pub(crate) with_room: Vec<u64>,
}

/// Whether a version `w` of a server `o` keeps its URLs from others than ?1: while it is active and what
/// a connect or a registry's client gets by default, and was not revoked by a moderator.
macro_rules! holds {
    () => {
        "o.name <> ?1 AND w.status = 'active' AND w.id IN (o.latest_version, o.default_version)
         AND w.moderation <> 'revoked' AND o.moderation <> 'revoked'"
    };
}

/// Whether the claim `r` of a server `o` is proven: it is from under the URL's own domain, or the server
/// was verified at the URL's origin.
macro_rules! is_proven {
    () => {
        "(r.is_own OR o.origin_level <> 'none'
           AND substr(r.url, 1, length(o.verified_origin) + 1) = o.verified_origin || '/')"
    };
}

/// What another server than ?1 holds of the URLs that are claimed in ?3. A claim from under the URL's
/// own domain gives way to proven ones only.
macro_rules! taken {
    () => {
        concat!(
            "SELECT r.url, o.name AS owner, w.version AS owner_version FROM json_each(?3) u
             CROSS JOIN remotes r ON r.url = u.value ->> 'url'
             JOIN versions w ON w.id = r.version_id JOIN servers o ON o.id = w.server_id
             WHERE ",
            holds!(),
            " AND (NOT u.value ->> 'is_own' OR ",
            is_proven!(),
            ") LIMIT 1"
        )
    };
}

/// What another server holds of the URLs of those versions of ?1, or of its version ?2, that
/// would come back with the status ?3.
macro_rules! taken_meanwhile {
    () => {
        concat!(
            "SELECT r.url, o.name AS owner, w.version AS owner_version FROM (
               SELECT DISTINCT a.url, a.is_own FROM servers t
               JOIN versions d ON d.server_id = t.id AND (?2 IS NULL OR d.version = ?2)
               JOIN remotes a ON a.version_id = d.id
               WHERE t.name = ?1 AND ?3 <> 'deleted' AND d.status NOT IN ('active', ?3)) a
             CROSS JOIN remotes r ON r.url = a.url
             JOIN versions w ON w.id = r.version_id JOIN servers o ON o.id = w.server_id
             WHERE ",
            holds!(),
            " AND (NOT a.is_own OR ",
            is_proven!(),
            ") LIMIT 1"
        )
    };
}

/// Versions of ?1 that become its latest or default one by the change before, at a URL which another server
/// got while they held none.
macro_rules! overtaken {
    () => {
        concat!(
            "SELECT s.name || '@' || v.version AS subject, v.id, min(o.name) AS owner FROM servers s
             JOIN versions v ON v.server_id = s.id AND v.status = 'active' AND v.moderated_at IS NULL
               AND v.id NOT IN (s.latest_version, s.default_version) AND v.id IN (",
            latest!(),
            ", ",
            latest_stable!(),
            ")
             JOIN remotes a ON a.version_id = v.id
             CROSS JOIN remotes r ON r.url = a.url
             JOIN versions w ON w.id = r.version_id JOIN servers o ON o.id = w.server_id
             WHERE s.name = ?1 AND ",
            holds!(),
            " AND (NOT a.is_own OR ",
            is_proven!(),
            ") GROUP BY v.id"
        )
    };
}

/// Why a row `x` of [`overtaken`] is held back.
macro_rules! overtaken_reason {
    () => {
        "'its URL is that of ' || x.owner || ', which got it while this version was superseded'"
    };
}

/// To stand behind a change of a status, before another version is chosen for it: holds back an older
/// version to which the server falls back, if another server has its URL by now. The change itself is never
/// refused for that: a publisher can always take back what is bad.
fn hold_overtaken(name: &str) -> [Statement<'static>; 2] {
    const RECORD: &str = concat!(
        "INSERT INTO audit (at, actor, action, subject, reason)
         SELECT ?2, 'authority', 'version.quarantine', subject, ",
        overtaken_reason!(),
        " FROM (",
        overtaken!(),
        ") x"
    );
    const HOLD: &str = concat!(
        "UPDATE versions SET moderation = 'quarantined', moderation_reason = ",
        overtaken_reason!(),
        ", moderation_actor = 'authority', moderated_at = ?2, moderation_expires_at = NULL
         FROM (",
        overtaken!(),
        ") x WHERE versions.id = x.id"
    );
    let values = || -> Vec<JsValue> { vec![name.into(), now()] };
    [(RECORD, values()), (HOLD, values())]
}

/// Versions of others, at most 500, that are at a URL which ?1 claims, in its latest or default version or in
/// its version ?2, while that is active, from under the URL's own domain, while their own claim is not proven. Those that a person has moderated before
/// stay as that person left them.
macro_rules! outdone {
    () => {
        concat!(
            "SELECT DISTINCT w.id, o.name || '@' || w.version AS subject FROM servers t
             JOIN versions d ON d.server_id = t.id AND d.status = 'active'
               AND (?2 IS NULL OR d.version = ?2 OR d.id IN (t.latest_version, t.default_version))
             JOIN remotes a ON a.version_id = d.id AND a.is_own
             CROSS JOIN remotes r ON r.url = a.url
             JOIN versions w ON w.id = r.version_id JOIN servers o ON o.id = w.server_id
             WHERE t.name = ?1 AND o.id <> t.id AND w.status <> 'deleted' AND w.moderated_at IS NULL
               AND NOT ",
            is_proven!(),
            " LIMIT 500"
        )
    };
}

/// To stand behind the change that made a claim: holds back what it outdoes, with an audit row for each, so
/// that a URL is connected to under one name. If the change was refused, what is there already counts.
fn hold_outdone(name: &str, version: Option<&str>) -> [Statement<'static>; 2] {
    const RECORD: &str = concat!(
        "INSERT INTO audit (at, actor, action, subject, reason)
         SELECT ?4, 'authority', 'version.quarantine', subject, ?3 FROM (",
        outdone!(),
        ") RETURNING subject"
    );
    const HOLD: &str = concat!(
        "UPDATE versions SET moderation = 'quarantined', moderation_reason = ?3, moderation_actor = 'authority',
           moderated_at = ?4, moderation_expires_at = NULL
         WHERE id IN (SELECT id FROM (",
        outdone!(),
        "))"
    );
    let values = || -> Vec<JsValue> {
        let reason = format!("its URL is that of {name}, whose namespace is of the URL's domain");
        vec![name.into(), text(version), reason.into(), now()]
    };
    [(RECORD, values()), (HOLD, values())]
}

impl StatusChange<'_> {
    /// What it takes of the database at most.
    fn size(self) -> usize {
        STATUS_BYTES + self.message.map_or(0, str::len)
    }

    /// What stands against it, and the change itself, of ?1 to ?6: name, version, status, message and whose shares
    /// it takes, of the feed and of the quotas.
    fn texts(self) -> [String; 2] {
        let (is_untold, is_spent) = self.bars();
        let facts = format!(
            "SELECT s.upstream, t.url, t.owner, t.owner_version, {is_untold} AS is_untold, {is_spent} AS is_spent,
               ?4 AS message, ?5 AS feed_owner, ?6 AS owner_of_quota
             FROM servers s LEFT JOIN ({}) t WHERE s.name = ?1",
            taken_meanwhile!()
        );
        let update = format!(
            "UPDATE versions AS v SET status = ?3, status_message = ?4,
               status_changed_at = iif(v.status <> ?3, m.moment, v.status_changed_at),
               updated_at = m.moment, changed_at = m.moment
             FROM servers s,
               (SELECT {MOMENT} AS moment, EXISTS ({}) OR {is_untold} OR {is_spent} AS is_barred,
                  ?5 AS feed_owner, ?6 AS owner) m
             WHERE s.name = ?1 AND s.upstream IS NULL AND v.server_id = s.id
               AND (?2 IS NULL OR v.version = ?2) AND NOT m.is_barred
               AND (v.status, v.status_message) IS NOT (?3, ?4)
             RETURNING id, {BYTES} AS bytes",
            taken_meanwhile!()
        );
        [facts, update]
    }

    /// Whether the feed has no room for it, and whether the quota of ?6 is spent. What ends use is told of in
    /// the feed of ?5 or not done, and never refused for what the owner did earlier that day.
    fn bars(self) -> (String, String) {
        const NEVER: &str = "0";
        if self.status != VersionStatus::Deleted {
            let is_spent = quotas::is_spent("?6", self.by.quota, self.size());
            return (NEVER.to_owned(), is_spent);
        }
        let is_untold = format!(
            "(EXISTS (SELECT 1 FROM servers s JOIN versions v ON v.server_id = s.id
                WHERE s.name = ?1 AND (?2 IS NULL OR v.version = ?2) AND v.status <> 'deleted' AND {})
              AND {})",
            self.connectable.condition(),
            feed_share::is_full("?5")
        );
        (is_untold, NEVER.to_owned())
    }
}

impl Store {
    /// A new version, and its server, if that is new, too.
    pub(crate) async fn publish(
        &self,
        entry: &Entry,
        by: Author<'_>,
    ) -> Result<Written<RegistryVersion>, StoreError> {
        const IS_KNOWN: &str =
            "EXISTS (SELECT 1 FROM versions v WHERE v.server_id = s.id AND v.version = ?2)";
        let is_full =
            format!("(SELECT count(*) FROM versions v WHERE v.server_id = s.id) >= {MAX_VERSIONS}");
        let size = entry.server_json.get().len();
        let is_spent = |owner| quotas::is_spent(owner, by.quota, size);
        let facts = format!(
            "SELECT s.upstream, {IS_KNOWN} AS is_known, {is_full} AS is_full, t.url, t.owner, t.owner_version,
               {} AS is_spent
             FROM (SELECT 1) LEFT JOIN servers s ON s.name = ?1 LEFT JOIN ({}) t",
            is_spent("?4"),
            taken!()
        );
        let may = |owner| {
            format!(
                "NOT EXISTS (SELECT 1 FROM servers s WHERE s.name = ?1
                   AND (s.upstream IS NOT NULL OR {IS_KNOWN} OR {is_full}))
                 AND NOT EXISTS ({}) AND NOT {}",
                taken!(),
                is_spent(owner)
            )
        };
        let insert_server = format!(
            "INSERT INTO servers (name, created_at) SELECT ?1, ?4 WHERE {}
             ON CONFLICT (name) DO NOTHING",
            may("?5")
        );
        // What is no semantic version is ordered by when it was published.
        let insert_version = format!(
            "INSERT INTO versions (server_id, version, sort_key, stable, status, title, description,
               endpoint, origin, server_json, content_hash, claims, created_at,
               published_at, updated_at, status_changed_at, changed_at)
             SELECT s.id, ?2, coalesce(?11, printf('0%020d', m.moment)), ?12, 'active', ?5, ?6,
               ?7, ?8, ?9, ?10, ?3, ?4, m.moment, m.moment, m.moment, m.moment
             FROM servers s, (SELECT {MOMENT} AS moment) m WHERE s.name = ?1 AND {}",
            may("?13")
        );
        let (name, number) = (entry.name.as_str(), entry.version.as_str());
        let mut of_facts = which(entry);
        let mut of_version = of_facts.clone();
        of_version.push(now());
        let mut of_server = of_version.clone();
        for values in [&mut of_facts, &mut of_server] {
            values.push(by.owner.into());
        }
        let sort_key = entry
            .version
            .is_semantic()
            .then(|| entry.version.sort_key(0));
        of_version.extend(content(entry));
        of_version.extend([
            text(sort_key.as_deref()),
            u32::from(entry.version.is_stable()).into(),
            by.owner.into(),
        ]);
        let subject = format!("{name}@{number}");
        let event = Event {
            actor: by.actor,
            action: "version.publish",
            subject: &subject,
            reason: None,
            detail: Some("active"),
        };
        let select = version_query();
        let mut statements = vec![
            (facts.as_str(), of_facts),
            (&insert_server, of_server),
            (&insert_version, of_version),
            event.if_changed(),
            quotas::count(by.owner, 1, size),
        ];
        let outdone = statements.len();
        statements.extend(hold_outdone(name, Some(number)));
        statements.extend(choose(&json!([name]).to_string(), Flipped::Updated));
        statements.push((&select, version_values(name, number, true)));
        let last = statements.len() - 1;
        let mut results = self.batch(statements).await?;
        if changed(&results, 2)? {
            self.renew_outdone(&mut results, outdone).await?;
            return done(nth_version(&mut results, last)?);
        }
        let facts = nth_row(&mut results, 0)?.unwrap_or_default();
        Ok(Written::Refused(obstacle(&facts, &entry.claims).unwrap_or(
            if facts.flag("is_known") {
                Obstacle::Duplicate
            } else if facts.flag("is_full") {
                Obstacle::TooMany
            } else if facts.flag("is_spent") {
                Obstacle::QuotaSpent
            } else {
                Obstacle::Meanwhile
            },
        )))
    }

    /// Another server.json for a version, which keeps what it said before as an earlier edition.
    /// `endpoint` is where it was reached.
    pub(crate) async fn edit(
        &self,
        entry: &Entry,
        endpoint: Option<&str>,
        by: Author<'_>,
    ) -> Result<Written<RegistryVersion>, StoreError> {
        let size = entry.server_json.get().len();
        let moves = endpoint.is_some() && entry.endpoint.as_ref().map(Endpoint::as_str) != endpoint;
        let is_untold = |owner| {
            if moves {
                feed_share::is_full(owner)
            } else {
                "0".to_owned()
            }
        };
        let is_spent = |owner| quotas::is_spent(owner, by.quota, size);
        let feed_owner = by.feed_owner();
        let facts = format!(
            "SELECT s.upstream, t.url, t.owner, t.owner_version, v.content_hash, {} AS is_untold, {} AS is_spent
             FROM servers s
             JOIN versions v ON v.server_id = s.id AND v.version = ?2 AND v.status <> 'deleted'
             LEFT JOIN ({}) t WHERE s.name = ?1",
            is_untold("?4"),
            is_spent("?5"),
            taken!()
        );
        let update = format!(
            "UPDATE versions AS v SET edition = v.edition + 1, title = ?4, description = ?5,
               endpoint = ?6, origin = ?7, server_json = ?8, content_hash = ?9, claims = ?3,
               updated_at = m.moment, changed_at = m.moment
             FROM servers s, (SELECT {MOMENT} AS moment, EXISTS ({}) OR {} OR {} AS is_barred) m
             WHERE s.name = ?1 AND s.upstream IS NULL AND v.server_id = s.id AND v.version = ?2
               AND v.status <> 'deleted' AND v.endpoint IS ?10 AND v.content_hash <> ?9
               AND NOT m.is_barred",
            taken!(),
            is_untold("?11"),
            is_spent("?12")
        );
        let (name, number) = (entry.name.as_str(), entry.version.as_str());
        let mut values = which(entry);
        values.extend(content(entry));
        values.push(text(endpoint));
        let mut of_facts = which(entry);
        for values in [&mut of_facts, &mut values] {
            values.extend([feed_owner.as_str().into(), by.owner.into()]);
        }
        let (subject, hash) = (format!("{name}@{number}"), content_hash(entry));
        let event = Event {
            actor: by.actor,
            action: "version.edit",
            subject: &subject,
            reason: None,
            detail: Some(&hash),
        };
        let (kind, told) = feed_share::told(name, number);
        let revocation = Revocation {
            kind,
            subject: &told,
            tenant_id: None,
            actor: by.actor,
            reason: "its endpoint changed",
            owner: Some(&feed_owner),
        };
        let names = json!([name]).to_string();
        let merge = feed_share::merge();
        let mut statements = vec![
            (facts.as_str(), of_facts),
            (&update, values),
            event.if_changed(),
            quotas::count(by.owner, 1, size),
        ];
        if moves {
            statements.push(revocation.if_changed());
            statements.extend(
                merge
                    .each_ref()
                    .map(|sql| (sql.as_str(), vec![names.as_str().into()])),
            );
        }
        let outdone = statements.len();
        statements.extend(hold_outdone(name, Some(number)));
        let select = version_query();
        statements.extend(choose(&names, Flipped::Updated));
        statements.push((&select, version_values(name, number, true)));
        let last = statements.len() - 1;
        let mut results = self.batch(statements).await?;
        if changed(&results, 1)? {
            self.renew_outdone(&mut results, outdone).await?;
            return done(nth_version(&mut results, last)?);
        }
        let Some(facts) = nth_row(&mut results, 0)? else {
            return Ok(Written::Refused(Obstacle::NotFound));
        };
        Ok(match obstacle(&facts, &entry.claims) {
            Some(obstacle) => Written::Refused(obstacle),
            None if facts.text("content_hash") == hash => Written::Unchanged,
            None if facts.flag("is_spent") => Written::Refused(Obstacle::QuotaSpent),
            None => Written::Refused(Obstacle::Meanwhile),
        })
    }

    /// Sets the state of one version, or of all of a server; says which were in another.
    pub(crate) async fn set_status(
        &self,
        name: &str,
        version: Option<&str>,
        change: StatusChange<'_>,
    ) -> Result<Written<StatusChanged>, StoreError> {
        let StatusChange {
            status,
            message,
            by,
            connectable,
        } = change;
        let [facts, update] = change.texts();
        let (status_text, feed_owner) = (status.as_str(), by.feed_owner());
        let values = || -> Vec<JsValue> {
            vec![
                name.into(),
                text(version),
                status_text.into(),
                text(message),
                feed_owner.as_str().into(),
                by.owner.into(),
            ]
        };
        let (action, subject) = match version {
            Some(version) => ("version.status", format!("{name}@{version}")),
            None => ("server.status", name.to_owned()),
        };
        let event = Event {
            actor: by.actor,
            action,
            subject: &subject,
            reason: message,
            detail: Some(status_text),
        };
        let (kind, told) = match version {
            Some(version) => feed_share::told(name, version),
            None => ("server", name.to_owned()),
        };
        let revocation = Revocation {
            kind,
            subject: &told,
            tenant_id: None,
            actor: by.actor,
            reason: message.unwrap_or("deleted by its publisher"),
            owner: Some(&feed_owner),
        };
        let (deletion, of_deletion) = revocation.if_deleted(name, version, connectable);
        let names = json!([name]).to_string();
        let merge = feed_share::merge();
        let mut statements = vec![
            (facts.as_str(), values()),
            (&update, values()),
            event.if_changed(),
            quotas::count(by.owner, 0, change.size()),
        ];
        if status == VersionStatus::Deleted {
            statements.push((&deletion, of_deletion));
            statements.extend(
                merge
                    .each_ref()
                    .map(|sql| (sql.as_str(), vec![names.as_str().into()])),
            );
        }
        statements.extend(hold_overtaken(name));
        statements.extend(choose(&names, Flipped::Updated));
        let outdone = statements.len();
        statements.extend(hold_outdone(name, version));
        let mut results = self.batch(statements).await?;
        let changed = nth_rows(&mut results, 1)?;
        if !changed.is_empty() {
            self.renew_outdone(&mut results, outdone).await?;
            return Ok(Written::Done(StatusChanged {
                count: changed.len(),
                with_room: with_room(&changed),
            }));
        }
        let facts = nth_row(&mut results, 0)?.unwrap_or_default();
        Ok(match obstacle(&facts, &[]) {
            Some(obstacle) => Written::Refused(obstacle),
            None if facts.flag("is_spent") => Written::Refused(Obstacle::QuotaSpent),
            None => Written::Unchanged,
        })
    }
}

impl Store {
    /// Renews the copies of what [`hold_outdone`] held back; of more than a few, readers do it.
    async fn renew_outdone(&self, results: &mut [Outcome], index: usize) -> Result<(), StoreError> {
        const MOST: usize = 20;
        let held = nth_rows(results, index)?;
        let subjects = held.iter().map(|row| row.text("subject"));
        let mut names: Vec<String> = subjects
            .map(|subject| subject.split('@').next().unwrap_or(subject).to_owned())
            .collect();
        names.dedup();
        names.truncate(MOST);
        self.renew_copies(&names).await;
        Ok(())
    }
}

/// ?1 to ?3: name, version and the claims of all remotes.
fn which(entry: &Entry) -> Vec<JsValue> {
    vec![
        entry.name.as_str().into(),
        entry.version.as_str().into(),
        json!(entry.claims).to_string().into(),
    ]
}

/// Title, description, endpoint, its origin, server.json and its hash.
fn content(entry: &Entry) -> [JsValue; 6] {
    [
        text(entry.title.as_deref()),
        entry.description.as_str().into(),
        text(entry.endpoint.as_ref().map(Endpoint::as_str)),
        text(entry.endpoint.as_ref().map(Endpoint::origin).as_deref()),
        entry.server_json.get().into(),
        content_hash(entry).into(),
    ]
}

/// `claims` are those of the request.
fn obstacle(facts: &Row, claims: &[Claim]) -> Option<Obstacle> {
    if let Some(upstream) = facts.optional("upstream") {
        return Some(Obstacle::Mirrored(upstream.to_owned()));
    }
    if let Some(url) = facts.optional("url") {
        return Some(Obstacle::RemoteTaken {
            url: url.to_owned(),
            written: claims
                .iter()
                .find(|claim| claim.url == url)
                .map(|claim| claim.written.clone()),
            by: facts.text("owner").to_owned(),
            version: facts.text("owner_version").to_owned(),
        });
    }
    if facts.flag("is_untold") {
        return Some(Obstacle::FeedFull);
    }
    None
}

fn done(version: Option<RegistryVersion>) -> Result<Written<RegistryVersion>, StoreError> {
    let version =
        version.ok_or_else(|| StoreError::Unavailable("the version can't be read back".into()))?;
    Ok(Written::Done(version))
}

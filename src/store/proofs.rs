//! How servers were verified. Each change writes the proof, its audit row, and what connect reads
//! of the proofs, in one transaction.

use mcp_connect_catalog::ServerName;
use serde_json::json;

use super::{
    Row, ServerSummary, Statement, Store, StoreError, audit::Event, changed, date,
    feed_share::revoke_imported, now, nth_row, nth_rows, number, servers, text,
};
use crate::authority::{Level, Provable};

/// The effective level of a version of server `s` that is reached at `origin`.
pub(super) fn effective_level(origin: &str) -> String {
    format!(
        "CASE WHEN s.origin_level <> 'none' AND s.verified_origin IS {origin} THEN s.origin_level
           WHEN s.namespace_proven THEN 'namespace' ELSE 'none' END"
    )
}

/// What connect reads of a server's proofs, after a change of them. An origin that the default
/// version is at comes before a higher level elsewhere; what pins a server goes with the operator's
/// decision.
macro_rules! derive {
    () => {
        "
UPDATE servers SET
  namespace_proven = EXISTS (SELECT 1 FROM proofs WHERE server_id = servers.id AND level = 'namespace'),
  (origin_level, verified_origin) = (
    SELECT level, subject FROM (
      SELECT p.level, nullif(p.subject, '') AS subject, 0 AS none, p.level = 'operator' AS by_operator
      FROM proofs p WHERE p.server_id = servers.id AND p.level <> 'namespace'
      UNION ALL SELECT 'none', NULL, 1, 0)
    ORDER BY none, subject IS (SELECT origin FROM versions WHERE id = servers.default_version) DESC,
             by_operator DESC
    LIMIT 1),
  jwks_uri = iif(EXISTS (SELECT 1 FROM proofs WHERE server_id = servers.id AND level = 'operator'),
                 coalesce(?2, jwks_uri), NULL),
  tls_pin_sha256 = iif(EXISTS (SELECT 1 FROM proofs WHERE server_id = servers.id AND level = 'operator'),
                       coalesce(?3, tls_pin_sha256), NULL)
WHERE "
    };
}

const DERIVE: &str = concat!(derive!(), "name = ?1");

/// A mirrored server `s` whose namespace is proven by `p`, and that is to be reached at an origin `i`
/// which is neither under the proven domain nor where a version of it is in use: with an upstream that
/// may name any, the proof says nothing of it.
macro_rules! strays {
    () => {
        "FROM json_each(?1) i
         JOIN servers s ON s.name = i.value ->> 'name' AND s.upstream IS NOT NULL AND s.namespace_proven
         JOIN proofs p ON p.server_id = s.id AND p.level = 'namespace'
         WHERE substr('.' || (i.value ->> 'host'), -length(p.subject) - 1) <> '.' || p.subject
           AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.server_id = s.id
             AND v.origin = i.value ->> 'origin' AND v.status <> 'deleted')"
    };
}

/// With its audit row. Since the proof let clients connect, `lapse` revokes, too.
const LAPSE: [&str; 3] = [
    concat!(
        "INSERT INTO audit (at, actor, action, subject, reason, detail)
         SELECT ?2, ?3, 'server.unverify', s.name,
           'its upstream says that it is at ' || min(i.value ->> 'origin'), 'namespace' ",
        strays!(),
        " GROUP BY s.id"
    ),
    concat!(
        "DELETE FROM proofs WHERE (level = 'namespace' OR method = 'domain')
           AND server_id IN (SELECT s.id ",
        strays!(),
        ")"
    ),
    concat!(
        derive!(),
        "namespace_proven AND name IN (SELECT i.value ->> 'name' FROM json_each(?1) i)
         AND NOT EXISTS (SELECT 1 FROM proofs WHERE server_id = servers.id AND level = 'namespace')"
    ),
];

/// The servers of such names, for the revocation feed.
const STRAYS: &str = concat!(
    "SELECT s.name, NULL AS version,
       'its upstream says that it is at ' || min(i.value ->> 'origin') AS reason ",
    strays!(),
    " GROUP BY s.id"
);

/// What pins a server that an operator verified; what is left out stays as it is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Identity<'a> {
    pub(crate) jwks_uri: Option<&'a str>,
    pub(crate) tls_pin_sha256: Option<&'a str>,
}

/// What became of an operator's decision to verify a server.
pub(crate) enum Verified {
    /// The server after it, and whether it changed something.
    Done(ServerSummary, bool),
    /// The default version is at this origin, not at the one that was looked at. Empty: it has no endpoint.
    Elsewhere(String),
}

/// What is to be proven of a server.
pub(crate) struct Candidate {
    /// Of its default version.
    pub(crate) endpoint: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) namespace_is_proven: bool,
}

/// How something was proven.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    /// The token was served.
    Challenge,
    /// The endpoint's host lies under the domain that is proven for the namespace.
    Domain,
}

/// A proof that is due to be looked at again.
#[derive(Clone)]
pub(crate) struct DueProof {
    server_id: u64,
    pub(crate) name: String,
    pub(crate) level: Provable,
    pub(crate) subject: String,
    pub(crate) failures: u32,
    pub(crate) confirmed_at: u64,
    checked_at: u64,
}

impl Store {
    /// `None`: no such server.
    pub(crate) async fn candidate(
        &self,
        name: &ServerName,
    ) -> Result<Option<Candidate>, StoreError> {
        let rows = self
            .rows(
                "SELECT v.endpoint, v.origin, s.namespace_proven
                 FROM servers s JOIN versions v ON v.id = s.default_version WHERE s.name = ?1",
                vec![name.as_str().into()],
            )
            .await?;
        Ok(rows.first().map(|row| Candidate {
            endpoint: row.owned("endpoint"),
            origin: row.owned("origin"),
            namespace_is_proven: row.flag("namespace_proven"),
        }))
    }

    /// The level of a server's default version, and the proofs that hold. `None`: no such server.
    pub(crate) async fn proofs(
        &self,
        name: &ServerName,
    ) -> Result<Option<(Level, Vec<Row>)>, StoreError> {
        let level = format!(
            "SELECT {} AS verification
             FROM servers s JOIN versions v ON v.id = s.default_version WHERE s.name = ?1",
            effective_level("v.origin")
        );
        let proofs = format!(
            "SELECT p.level, p.subject, p.method, p.actor, p.reason, p.failures,
               {} AS proven_at, {} AS confirmed_at, {} AS checked_at
             FROM proofs p JOIN servers s ON s.id = p.server_id WHERE s.name = ?1
             ORDER BY p.level = 'operator', p.level = 'endpoint'",
            date("p.proven_at"),
            date("p.confirmed_at"),
            date("p.checked_at"),
        );
        let mut results = self
            .read(vec![
                (&level, vec![name.as_str().into()]),
                (&proofs, vec![name.as_str().into()]),
            ])
            .await?;
        let Some(row) = nth_row(&mut results, 0)? else {
            return Ok(None);
        };
        let proofs = nth_rows(&mut results, 1)?;
        Ok(Some((row.one_of("verification")?, proofs)))
    }

    /// An operator's decision, about the origin where the default version is reached now. If `origin`, the one
    /// that was looked at, is another, nothing changes. `None`: no such server.
    pub(crate) async fn verify_server(
        &self,
        name: &ServerName,
        origin: Option<&str>,
        identity: Identity<'_>,
        actor: &str,
        reason: &str,
    ) -> Result<Option<Verified>, StoreError> {
        let name = name.as_str();
        let (jwks_uri, tls_pin) = (text(identity.jwks_uri), text(identity.tls_pin_sha256));
        let change = (
            "INSERT INTO proofs (server_id, level, subject, method, actor, reason, proven_at, confirmed_at, checked_at)
             SELECT s.id, 'operator', coalesce(v.origin, ''), 'decision', ?4, ?5, ?6, ?6, ?6
             FROM servers s JOIN versions v ON v.id = s.default_version
             WHERE s.name = ?1 AND coalesce(?7, v.origin, '') = coalesce(v.origin, '')
             ON CONFLICT (server_id, level) DO UPDATE
             SET subject = excluded.subject, actor = excluded.actor, reason = excluded.reason,
                 proven_at = excluded.proven_at, confirmed_at = excluded.confirmed_at,
                 checked_at = excluded.checked_at
             WHERE proofs.subject <> excluded.subject OR EXISTS (
               SELECT 1 FROM servers WHERE id = excluded.server_id AND (jwks_uri, tls_pin_sha256)
                 IS NOT (coalesce(?2, jwks_uri), coalesce(?3, tls_pin_sha256)))",
            vec![
                name.into(), jwks_uri.clone(), tls_pin.clone(), actor.into(), reason.into(), now(), text(origin),
            ],
        );
        let detail = format!(
            "{}jwks_uri {}, tls_pin_sha256 {}",
            origin
                .map(|origin| format!("origin {origin}, "))
                .unwrap_or_default(),
            identity.jwks_uri.unwrap_or("as before"),
            identity.tls_pin_sha256.unwrap_or("as before")
        );
        let event = Event {
            actor,
            action: "server.verify",
            subject: name,
            reason: Some(reason),
            detail: Some(&detail),
        };
        let derive = (DERIVE, vec![name.into(), jwks_uri, tls_pin]);
        let select = servers::summary_query();
        let mut results = self
            .batch(vec![
                (
                    "SELECT coalesce(v.origin, '') AS origin
                     FROM servers s JOIN versions v ON v.id = s.default_version WHERE s.name = ?1",
                    vec![name.into()],
                ),
                change,
                event.if_changed(),
                derive,
                (&select, vec![name.into(), now()]),
            ])
            .await?;
        let now_at = nth_row(&mut results, 0)?
            .and_then(|row| row.owned("origin"))
            .unwrap_or_default();
        let changed = changed(&results, 1)?;
        Ok(servers::nth_summary(&mut results, 4)?.map(|summary| {
            if origin.is_none_or(|origin| origin == now_at) {
                Verified::Done(summary, changed)
            } else {
                Verified::Elsewhere(now_at)
            }
        }))
    }

    /// Takes one proof away, with what rests on it, or all.
    pub(crate) async fn unverify_server(
        &self,
        name: &ServerName,
        level: Option<Level>,
        actor: &str,
        reason: &str,
    ) -> Result<Option<(ServerSummary, bool)>, StoreError> {
        let name = name.as_str();
        let level = level.map(Level::as_str);
        let change = (
            "DELETE FROM proofs WHERE server_id = (SELECT id FROM servers WHERE name = ?1)
               AND (?2 IS NULL OR level = ?2 OR (?2 = 'namespace' AND method = 'domain'))",
            vec![name.into(), text(level)],
        );
        let event = Event {
            actor,
            action: "server.unverify",
            subject: name,
            reason: Some(reason),
            detail: level,
        };
        self.change_proofs(name, change, &event, derive(name)).await
    }

    /// What a publisher proved, just now. One that holds already is confirmed.
    pub(crate) async fn prove_server(
        &self,
        name: &ServerName,
        level: Provable,
        subject: &str,
        method: Method,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<Option<(ServerSummary, bool)>, StoreError> {
        let name = name.as_str();
        let method = match method {
            Method::Challenge => "challenge",
            Method::Domain => "domain",
        };
        let level = level.as_str();
        // By a domain only while that is proven: the namespace's proof may have gone meanwhile.
        let change = (
            "INSERT INTO proofs (server_id, level, subject, method, actor, proven_at, confirmed_at, checked_at)
             SELECT s.id, ?2, ?3, ?4, ?5, ?6, ?6, ?6 FROM servers s
             WHERE s.name = ?1 AND (?4 <> 'domain' OR s.namespace_proven)
             ON CONFLICT (server_id, level) DO UPDATE
             SET subject = excluded.subject, method = excluded.method, actor = excluded.actor,
                 proven_at = excluded.proven_at
             WHERE (proofs.subject, proofs.method) <> (excluded.subject, excluded.method)",
            vec![name.into(), level.into(), subject.into(), method.into(), actor.into(), now()],
        );
        let detail = format!("{level} {subject}, by {method}");
        let event = Event {
            actor,
            action: "server.prove",
            subject: name,
            reason,
            detail: Some(&detail),
        };
        let confirm = (
            "UPDATE proofs SET confirmed_at = ?4, checked_at = ?4, failures = 0
             WHERE server_id = (SELECT id FROM servers WHERE name = ?1) AND level = ?2 AND subject = ?3",
            vec![name.into(), level.into(), subject.into(), now()],
        );
        let select = servers::summary_query();
        let mut results = self
            .batch(vec![
                change,
                event.if_changed(),
                confirm,
                derive(name),
                (&select, vec![name.into(), now()]),
            ])
            .await?;
        Ok(servers::nth_summary(&mut results, 4)?.zip(Some(changed(&results, 0)?)))
    }

    async fn change_proofs(
        &self,
        name: &str,
        change: Statement<'_>,
        event: &Event<'_>,
        derive: Statement<'_>,
    ) -> Result<Option<(ServerSummary, bool)>, StoreError> {
        let select = servers::summary_query();
        let mut results = self
            .batch(vec![
                change,
                event.if_changed(),
                derive,
                (&select, vec![name.into(), now()]),
            ])
            .await?;
        Ok(servers::nth_summary(&mut results, 3)?.zip(Some(changed(&results, 0)?)))
    }

    /// Up to `limit` proofs by challenge that nobody looked at since, the longest unseen first.
    pub(crate) async fn due_proofs(
        &self,
        since: u64,
        limit: u32,
    ) -> Result<Vec<DueProof>, StoreError> {
        let rows = self.rows(
            "SELECT p.server_id, s.name, p.level, p.subject, p.failures, p.confirmed_at, p.checked_at
             FROM proofs p JOIN servers s ON s.id = p.server_id
             WHERE p.method = 'challenge' AND p.checked_at < ?1 ORDER BY p.checked_at LIMIT ?2",
            vec![number(since), limit.into()],
        )
        .await?;
        rows.iter().map(DueProof::read).collect()
    }

    /// Notes what became of proofs that still hold. One that was proven anew meanwhile is left alone.
    pub(crate) async fn keep_proofs(
        &self,
        kept: &[(&DueProof, crate::authority::Standing)],
    ) -> Result<(), StoreError> {
        let kept: Vec<_> = kept
            .iter()
            .map(|(due, standing)| {
                json!({
                    "server_id": due.server_id,
                    "level": due.level,
                    "checked_at": due.checked_at,
                    "failures": standing.failures,
                    "confirmed_at": standing.confirmed_at,
                })
            })
            .collect();
        self.batch(vec![(
            "UPDATE proofs SET checked_at = ?2, failures = i.value ->> 'failures',
               confirmed_at = i.value ->> 'confirmed_at'
             FROM json_each(?1) i
             WHERE proofs.server_id = i.value ->> 'server_id' AND proofs.level = i.value ->> 'level'
               AND proofs.checked_at = i.value ->> 'checked_at'",
            vec![json!(kept).to_string().into(), now()],
        )])
        .await?;
        Ok(())
    }

    /// Takes away a proof that no longer holds, with what rests on it. Whether it was still there as
    /// it was looked at.
    pub(crate) async fn lose_proof(
        &self,
        due: &DueProof,
        actor: &str,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let level = due.level.as_str();
        let change = (
            "DELETE FROM proofs WHERE server_id = ?1
               AND (level = ?2 OR (?2 = 'namespace' AND method = 'domain'))
               AND EXISTS (SELECT 1 FROM proofs WHERE server_id = ?1 AND level = ?2 AND checked_at = ?3)",
            vec![number(due.server_id), level.into(), number(due.checked_at)],
        );
        let event = Event {
            actor,
            action: "server.unverify",
            subject: &due.name,
            reason: Some(reason),
            detail: Some(level),
        };
        let results = self
            .batch(vec![change, event.if_changed(), derive(&due.name)])
            .await?;
        changed(&results, 0)
    }
}

impl DueProof {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            server_id: row.number("server_id").unwrap_or_default(),
            name: row.required("name")?,
            level: row.one_of("level")?,
            subject: row.required("subject")?,
            failures: u32::try_from(row.number("failures").unwrap_or_default()).unwrap_or(u32::MAX),
            confirmed_at: row.number("confirmed_at").unwrap_or_default(),
            checked_at: row.number("checked_at").unwrap_or_default(),
        })
    }
}

/// To stand before a mirror brings in versions that are `reached` there: what of the proofs of their
/// namespaces does not go along. A JSON list of names with origin and host.
pub(super) fn lapse<'a>(reached: &str, actor: &str, revoke: &'a str) -> [Statement<'a>; 4] {
    let [audit, lose, derive] = LAPSE;
    [
        (audit, vec![reached.into(), now(), actor.into()]),
        (revoke, vec![reached.into(), actor.into()]),
        (lose, vec![reached.into()]),
        (derive, vec![reached.into(), text(None), text(None)]),
    ]
}

/// What `lapse` revokes by.
pub(super) fn revoke_lapsed() -> String {
    revoke_imported(STRAYS)
}

fn derive(name: &str) -> Statement<'static> {
    (DERIVE, vec![name.into(), text(None), text(None)])
}

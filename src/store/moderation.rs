use mcp_connect_catalog::{ServerRef, Version};
use serde::Serialize;
use wasm_bindgen::JsValue;

use super::{
    Outcome, Page, Row, Store, StoreError,
    audit::Event,
    changed, date, feed_share, nth_rows, number,
    revocations::{self, Connectable, Revocation},
    servers::{Standing, nth_standing, standing_query},
    text,
};
use crate::{
    authority::Moderation,
    platform::{iso_date, now_millis},
};

/// What a moderator does to a server, or to one version of it.
#[derive(Clone, Copy)]
pub(crate) enum ModerationChange {
    /// A hold, until that many milliseconds since the Unix epoch, or until somebody ends it.
    Quarantine(Option<u64>),
    /// Until somebody reinstates it.
    Revoke,
    Reinstate,
}

impl ModerationChange {
    /// What the audit trail calls it, the state that it makes, until when, and of which `current` states it is a change.
    fn written(self, current: &str) -> (&'static str, &'static str, Option<u64>, String) {
        match self {
            Self::Quarantine(until) => (
                "quarantine",
                "quarantined",
                until,
                format!(
                    "{current} <> 'revoked'
                         AND ({current}, moderation_expires_at) IS NOT ('quarantined', ?4)"
                ),
            ),
            Self::Revoke => ("revoke", "revoked", None, format!("{current} <> 'revoked'")),
            Self::Reinstate => (
                "reinstate",
                "active",
                None,
                format!("{current} <> 'active'"),
            ),
        }
    }

    const fn holds_back(self) -> bool {
        !matches!(self, Self::Reinstate)
    }
}

/// Who moderates, and why.
pub(crate) struct Decision<'a> {
    pub(crate) actor: &'a str,
    pub(crate) reason: &'a str,
    /// One of many, which share a part of the revocation feed; and what descriptors can exist of.
    pub(crate) in_bulk: Option<Connectable>,
}

/// What the revocation feed says of a change that holds something back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InFeed {
    /// It names what is held back: descriptors for it end within seconds.
    Told,
    /// The share of bulk changes has no room: descriptors for it are good until they expire by themselves.
    LeftOut,
    /// Nobody can have a descriptor for it.
    NotNeeded,
}

/// What became of a change.
pub(crate) enum ModerationOutcome {
    /// How it is now, and whether the change was one; if it was, and held something back, what the feed says of it.
    Done(Box<Standing>, bool, Option<InFeed>),
    /// A quarantine would weaken what is in force.
    IsRevoked,
}

/// Which of those that are held back to list.
pub(crate) struct ModerationFilter<'a> {
    /// `quarantined` or `revoked`.
    pub(crate) state: Option<&'a str>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) after: Option<&'a ServerRef>,
}

/// The state of a row of `table` that holds at the time of the parameter `now`.
pub(super) fn in_force(table: &str, now: &str) -> String {
    format!(
        "CASE WHEN {table}.moderation_expires_at <= {now} THEN 'active' ELSE {table}.moderation END"
    )
}

/// What no longer holds since ?1 is recorded, then ended.
const RECORD_ENDED: [&str; 2] = [
    "INSERT INTO audit (at, actor, action, subject, reason, detail)
     SELECT ?1, ?2, 'server.reinstate', name, 'its time is over',
       strftime('%Y-%m-%dT%H:%M:%fZ', moderation_expires_at / 1000.0, 'unixepoch')
     FROM servers WHERE moderation IN ('quarantined', 'revoked') AND moderation_expires_at <= ?1
     RETURNING subject",
    "INSERT INTO audit (at, actor, action, subject, reason, detail)
     SELECT ?1, ?2, 'version.reinstate', s.name || '@' || v.version, 'its time is over',
       strftime('%Y-%m-%dT%H:%M:%fZ', v.moderation_expires_at / 1000.0, 'unixepoch')
     FROM versions v JOIN servers s ON s.id = v.server_id
     WHERE v.moderation IN ('quarantined', 'revoked') AND v.moderation_expires_at <= ?1
     RETURNING subject",
];

const END: [&str; 2] = [
    "UPDATE servers SET moderation = 'active', moderation_reason = NULL,
       moderation_expires_at = NULL, moderation_actor = ?2, moderated_at = ?1
     WHERE moderation IN ('quarantined', 'revoked') AND moderation_expires_at <= ?1",
    "UPDATE versions SET moderation = 'active', moderation_reason = NULL,
       moderation_expires_at = NULL, moderation_actor = ?2, moderated_at = ?1
     WHERE moderation IN ('quarantined', 'revoked') AND moderation_expires_at <= ?1",
];

/// Where the statement stands that writes into the feed, behind the change and its audit row.
const FEED: usize = 2;

/// What the feed says of a change, by what its statements did. Only one of many can be left out.
fn in_feed(results: &mut [Outcome]) -> Result<InFeed, StoreError> {
    if changed(results, FEED)? {
        return Ok(InFeed::Told);
    }
    let needed = nth_rows(results, FEED + 1)?;
    Ok(if needed.iter().any(|row| row.flag("is_needed")) {
        InFeed::LeftOut
    } else {
        InFeed::NotNeeded
    })
}

impl Store {
    /// `None`: no such server, or no such version.
    pub(crate) async fn moderate(
        &self,
        reference: &ServerRef,
        change: ModerationChange,
        by: &Decision<'_>,
    ) -> Result<Option<ModerationOutcome>, StoreError> {
        let Decision { actor, reason, .. } = *by;
        let version = reference.version.as_ref().map(Version::as_str);
        let (kind, which) = match version {
            None => ("server", "name = ?1"),
            Some(_) => (
                "version",
                "server_id = (SELECT id FROM servers WHERE name = ?1) AND version = ?7",
            ),
        };
        let table = format!("{kind}s");
        let current = in_force(&table, "?6");
        let (action, state, until, condition) = change.written(&current);
        let update = format!(
            "UPDATE {table} SET moderation = ?2, moderation_reason = ?3, moderation_expires_at = ?4,
               moderation_actor = ?5, moderated_at = ?6
             WHERE {which} AND {condition}"
        );
        let holds_back = change.holds_back();
        let name = reference.name.as_str();
        let now = now_millis();
        let mut values: Vec<JsValue> = vec![
            name.into(),
            state.into(),
            text(holds_back.then_some(reason)),
            until.map_or(JsValue::NULL, number),
            actor.into(),
            number(now),
        ];
        values.extend(version.map(JsValue::from_str));

        let action = format!("{kind}.{action}");
        let subject = reference.to_string();
        let detail = until.map(|until| format!("until {}", iso_date(until)));
        let event = Event {
            actor,
            action: &action,
            subject: &subject,
            reason: Some(reason),
            detail: detail.as_deref(),
        };
        let revocation = Revocation {
            kind,
            subject: &subject,
            tenant_id: None,
            actor,
            reason,
            owner: by.in_bulk.map(|_| feed_share::BULK),
        };
        let select = standing_query();
        let mut statements = vec![(update.as_str(), values), event.if_changed()];
        let feed = match (holds_back, by.in_bulk) {
            (false, _) => Vec::new(),
            (true, None) => {
                let (sql, values) = revocation.if_changed();
                vec![(sql.to_owned(), values)]
            }
            (true, Some(connectable)) => vec![
                revocation.if_told(name, version, connectable),
                revocations::is_needed(name, version, connectable),
            ],
        };
        statements.extend(
            feed.iter()
                .map(|(sql, values)| (sql.as_str(), values.clone())),
        );
        statements.push((&select, vec![name.into(), text(version), number(now)]));
        let last = statements.len() - 1;
        let mut results = self.batch(statements).await?;
        let Some(standing) = nth_standing(&mut results, last)? else {
            return Ok(None);
        };
        let in_force = match version {
            None => standing.moderation,
            Some(_) => standing.version_moderation,
        };
        if matches!(change, ModerationChange::Quarantine(_)) && in_force == Moderation::Revoked {
            return Ok(Some(ModerationOutcome::IsRevoked));
        }
        let has_changed = changed(&results, 0)?;
        let feed = if has_changed && holds_back {
            Some(in_feed(&mut results)?)
        } else {
            None
        };
        Ok(Some(ModerationOutcome::Done(
            Box::new(standing),
            has_changed,
            feed,
        )))
    }

    /// Up to `limit` of what is held back, in the order of the names, each server before its
    /// versions.
    pub(crate) async fn list_moderated(
        &self,
        filter: &ModerationFilter<'_>,
        limit: u32,
    ) -> Result<Page<Row>, StoreError> {
        let columns = |table: &str| {
            format!(
                "{table}.moderation AS state, {table}.moderation_reason AS reason,
                 {table}.moderation_actor AS actor, {} AS since, {} AS until",
                date(&format!("{table}.moderated_at")),
                date(&format!("{table}.moderation_expires_at")),
            )
        };
        // The indexes hold what is not active.
        let condition = |table: &str| {
            format!(
                "{table}.moderation IN ('quarantined', 'revoked')
                 AND {table}.moderation = coalesce(?1, {table}.moderation)
                 AND ({table}.moderation_expires_at IS NULL OR {table}.moderation_expires_at > ?2)
                 AND s.name >= ?3 AND s.name < ?4"
            )
        };
        let sql = format!(
            "SELECT server_ref, state, reason, actor, since, until FROM (
               SELECT s.name, '' AS version, s.name AS server_ref, {} FROM servers s WHERE {}
               UNION ALL
               SELECT s.name, v.version, s.name || '@' || v.version AS server_ref, {}
               FROM versions v JOIN servers s ON s.id = v.server_id WHERE {})
             WHERE (name, version) > (?5, ?6) ORDER BY name, version LIMIT ?7",
            columns("s"),
            condition("s"),
            columns("v"),
            condition("v"),
        );
        // Names of a namespace lie between "namespace/" and "namespace0", the next character.
        let (from, to) = match filter.namespace {
            Some(namespace) => (format!("{namespace}/"), format!("{namespace}0")),
            None => (String::new(), "~".to_owned()),
        };
        let after = filter.after;
        let after_name = after.map_or("", |after| after.name.as_str());
        let after_version = after
            .and_then(|after| after.version.as_ref())
            .map_or("", Version::as_str);
        let values = vec![
            text(filter.state),
            number(now_millis()),
            from.into(),
            to.into(),
            after_name.into(),
            after_version.into(),
            (limit + 1).into(),
        ];
        let rows = self.rows(&sql, values).await?;
        Ok(Page::new(rows, limit))
    }

    /// Ends the holds whose time is over, each with its audit row; how many there were. Nobody waits
    /// for it: they count as ended wherever a state is read.
    pub(crate) async fn end_expired_moderation(&self, now: u64) -> Result<usize, StoreError> {
        let values = || vec![number(now), "authority".into()];
        let statements = RECORD_ENDED.iter().chain(&END);
        let mut results = self
            .batch(statements.map(|sql| (*sql, values())).collect())
            .await?;
        let mut ended = Vec::new();
        for index in 0..RECORD_ENDED.len() {
            for row in nth_rows(&mut results, index)? {
                let subject = row.text("subject");
                ended.push(subject.split('@').next().unwrap_or(subject).to_owned());
            }
        }
        self.renew_copies_to_the_end(&ended).await;
        Ok(ended.len())
    }
}

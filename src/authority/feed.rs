//! What the revocation feed says, of what is known to be withdrawn.

use std::collections::BTreeMap;

use mcp_connect_descriptor::{
    MAX_FEED_ENTRIES, MAX_LEEWAY_SECONDS, MAX_LIFETIME_SECONDS, RevocationFeed, Withdrawn,
};
use serde::Deserialize;

/// For how long a server lets a stream live on after its descriptor, by default, in seconds.
const GRACE_SECONDS: u64 = 30;

/// For clocks that differ, and what lies between whole seconds.
const SPARE_SECONDS: u64 = 5;

/// How far back the feed reaches: longer than any descriptor has effects.
pub(crate) const WINDOW_SECONDS: u64 =
    MAX_LIFETIME_SECONDS + MAX_LEEWAY_SECONDS + GRACE_SECONDS + SPARE_SECONDS;

/// How long a feed is good. Who follows it asks much more often.
const FEED_LIFETIME_SECONDS: u64 = 60;

/// For how long a withdrawn key is told of: longer than any verifier keeps a key set that it can't
/// renew.
const KEYS_TOLD_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// The most bytes of the feed that all publishers together take, and all that is imported or mirrored. With
/// [`MAX_REVOKED_KEYS`], a third is left to administrators whatever the others do.
pub(crate) const PUBLISHERS_FEED_BYTES: usize = 16 * 1024;
pub(crate) const IMPORTS_FEED_BYTES: usize = 8 * 1024;

/// The most bytes of the feed that bulk changes of administrators take, of the third that is theirs: single decisions
/// always have room.
pub(crate) const BULK_FEED_BYTES: usize = 14 * 1024;

/// The most servers of one owner that the feed tells of, if no administrator revoked them.
pub(crate) const OWNER_FEED_SERVERS: usize = 16;

/// The most keys that are revoked within a day without being the authority's own. No date stands for a
/// key, so each takes room from everything else in the feed.
pub(crate) const MAX_REVOKED_KEYS: usize = 32;

/// A row of what was withdrawn.
#[derive(Clone, Debug)]
pub(crate) struct FeedRow {
    pub(crate) kind: WithdrawnKind,
    pub(crate) subject: String,
    pub(crate) tenant_id: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) revoked_at: u64,
}

impl FeedRow {
    /// Of a withdrawn key.
    pub(crate) fn key_id(&self) -> Option<&str> {
        (self.kind == WithdrawnKind::Key).then_some(self.subject.as_str())
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WithdrawnKind {
    Client,
    Jti,
    Key,
    Server,
    Tenant,
    Version,
}

/// The feed of these rows, of which only those other than keys may have been cut off, at one more
/// than [`MAX_FEED_ENTRIES`]. `now` in milliseconds since the Unix epoch.
pub(crate) fn feed(rows: Vec<FeedRow>, issuer: &str, now: u64) -> RevocationFeed {
    let issued_at = now / 1000;
    let mut feed = RevocationFeed {
        issuer: issuer.to_owned(),
        issued_at,
        expires_at: issued_at + FEED_LIFETIME_SECONDS,
        window_seconds: WINDOW_SECONDS,
        ..RevocationFeed::default()
    };
    let (mut rest, mut oldest) = (0, u64::MAX);
    for row in rows {
        // A second more, for clocks that differ: what was issued by the old facts has no later date.
        let at = row.revoked_at / 1000 + 1;
        if row.kind == WithdrawnKind::Key {
            if row.revoked_at + KEYS_TOLD_MILLIS > now {
                feed.keys.push(withdrawn(row.subject, at));
            }
            continue;
        }
        rest += 1;
        oldest = oldest.min(at);
        match row.kind {
            WithdrawnKind::Client => feed.clients.push(Withdrawn {
                tenant_id: Some(row.tenant_id).filter(|id| !id.is_empty()),
                ..withdrawn(row.subject, at)
            }),
            WithdrawnKind::Jti => feed.jtis.push(withdrawn(row.subject, at)),
            WithdrawnKind::Tenant => feed.tenants.push(withdrawn(row.subject, at)),
            WithdrawnKind::Version => match row.subject.split_once('@') {
                Some((id, version)) => feed.versions.push(Withdrawn {
                    version: Some(version.to_owned()),
                    ..withdrawn(id.to_owned(), at)
                }),
                // Never without a version; if ever, the whole server.
                None => feed.servers.push(withdrawn(row.subject, at)),
            },
            WithdrawnKind::Server | WithdrawnKind::Key => {
                feed.servers.push(withdrawn(row.subject, at));
            }
        }
    }
    if rest > MAX_FEED_ENTRIES {
        feed.all = Some(oldest);
    }
    if !feed.fits() {
        merge(&mut feed.versions, &mut feed.servers, |entry| {
            Some(&entry.id)
        });
    }
    if !feed.fits() {
        merge(&mut feed.clients, &mut feed.tenants, |entry| {
            entry.tenant_id.as_ref()
        });
    }
    feed.bound();
    feed
}

/// Puts one entry of `wholes` in the place of all entries that share a whole, if there are several: the
/// server in the place of its versions, the tenant in the place of its clients.
fn merge(
    parts: &mut Vec<Withdrawn>,
    wholes: &mut Vec<Withdrawn>,
    whole: impl Fn(&Withdrawn) -> Option<&String>,
) {
    let mut shared: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for part in &*parts {
        if let Some(id) = whole(part) {
            let (count, at) = shared.entry(id.clone()).or_default();
            *count += 1;
            *at = part.at.max(*at);
        }
    }
    shared.retain(|_, (count, _)| *count > 1);
    parts.retain(|part| whole(part).is_none_or(|id| !shared.contains_key(id)));
    for (id, (_, at)) in shared {
        match wholes.iter_mut().find(|known| known.id == id) {
            Some(known) => known.at = known.at.max(at),
            None => wholes.push(withdrawn(id, at)),
        }
    }
}

const fn withdrawn(id: String, at: u64) -> Withdrawn {
    Withdrawn {
        id,
        version: None,
        tenant_id: None,
        at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn row(kind: WithdrawnKind, subject: &str, ago: u64) -> FeedRow {
        FeedRow {
            kind,
            subject: subject.into(),
            tenant_id: String::new(),
            revoked_at: NOW - ago,
        }
    }

    #[test]
    fn each_row_stands_in_its_list() {
        use WithdrawnKind::{Client, Jti, Key, Server, Tenant, Version};
        let mut of_tenant = row(Client, "laptop", 0);
        of_tenant.tenant_id = "acme".into();
        let rows = vec![
            row(Server, "a/b", 0),
            row(Version, "a/b@1.0.0", 999),
            row(Version, "a/b@1.0.0@odd", 0),
            row(Tenant, "acme", 1000),
            row(Client, "desktop", 0),
            of_tenant,
            row(Key, "kid", 60_000),
            row(Key, "long-gone", KEYS_TOLD_MILLIS),
            row(Jti, "jti", 0),
        ];
        let feed = feed(rows, "https://a.example", NOW + 500);
        let seconds = NOW / 1000;
        let shown = serde_json::to_value(&feed).unwrap();
        assert_eq!(
            shown,
            serde_json::json!({
                "iss": "https://a.example", "iat": seconds, "exp": seconds + 60, "window_seconds": 160,
                "servers": [{ "id": "a/b", "at": seconds + 1 }],
                "versions": [
                    { "id": "a/b", "version": "1.0.0", "at": seconds },
                    { "id": "a/b", "version": "1.0.0@odd", "at": seconds + 1 },
                ],
                "tenants": [{ "id": "acme", "at": seconds }],
                "clients": [
                    { "id": "desktop", "at": seconds + 1 },
                    { "id": "laptop", "tenant_id": "acme", "at": seconds + 1 },
                ],
                "keys": [{ "id": "kid", "at": seconds - 59 }],
                "jtis": [{ "id": "jti", "at": seconds + 1 }],
            })
        );
    }

    #[test]
    fn what_was_cut_off_is_covered_by_a_date_for_all() {
        let rows = |count: u64| -> Vec<FeedRow> {
            (0..count)
                .map(|n| row(WithdrawnKind::Jti, &format!("j{n}"), n * 100))
                .collect()
        };
        let most = MAX_FEED_ENTRIES as u64;
        let whole = feed(rows(most), "https://a.example", NOW);
        assert_eq!((whole.all, whole.jtis.len()), (None, MAX_FEED_ENTRIES));
        let cut = feed(rows(most + 1), "https://a.example", NOW);
        let oldest = (NOW - most * 100) / 1000 + 1;
        assert!(cut.all.is_some_and(|all| all >= oldest));
        assert!(cut.jtis.len() > MAX_FEED_ENTRIES - 20);
        let mut others = rows(most + 1);
        others.extend((0..900).map(|n| row(WithdrawnKind::Key, &format!("k{n}"), 0)));
        let with_keys = feed(others, "https://a.example", NOW);
        assert_eq!(with_keys.keys.len(), 900);
        assert!(with_keys.all.is_some());
    }

    #[test]
    fn what_is_too_much_gives_way_within_its_server_and_tenant() {
        let long = "x".repeat(200);
        let mut rows: Vec<FeedRow> = (0..300)
            .map(|n| {
                let version = format!("com.evil/server{}@{n}{long}", n % 3);
                row(WithdrawnKind::Version, &version, n * 10)
            })
            .collect();
        rows.push(row(WithdrawnKind::Server, "com.evil/server0", 100_000));
        rows.push(row(WithdrawnKind::Version, "com.good/server@1.0.0", 0));
        let told = feed(rows.clone(), "https://a.example", NOW);
        assert_eq!(told.all, None);
        assert_eq!(told.versions.len(), 1, "{:?}", told.versions);
        let at = NOW / 1000 + 1;
        let servers: Vec<_> = told
            .servers
            .iter()
            .map(|entry| (&*entry.id, entry.at))
            .collect();
        assert_eq!(
            servers,
            [
                ("com.evil/server0", at),
                ("com.evil/server1", at - 1),
                ("com.evil/server2", at - 1),
            ]
        );

        let clients = (0..900).map(|n| FeedRow {
            tenant_id: "acme".into(),
            ..row(
                WithdrawnKind::Client,
                &format!("a-client-with-a-name-{n}"),
                n * 10,
            )
        });
        let mut rows: Vec<FeedRow> = clients.collect();
        rows.push(row(WithdrawnKind::Client, "of-no-tenant", 50_000));
        let told = feed(rows, "https://a.example", NOW);
        assert_eq!(
            (told.all, told.clients.len(), told.tenants.len()),
            (None, 1, 1)
        );
        assert_eq!(told.tenants[0].at, at);
    }

    #[test]
    fn the_shares_of_others_leave_administrators_a_third() {
        let key = serde_json::to_string(&withdrawn("k".repeat(43), NOW)).unwrap();
        let keys = (MAX_REVOKED_KEYS + 32) * (key.len() + 1);
        assert!(PUBLISHERS_FEED_BYTES + IMPORTS_FEED_BYTES + keys < 45 * 1024 * 2 / 3);
    }
}

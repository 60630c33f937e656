//! What the revocation feed says, of what is known to be withdrawn.

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
    feed.bound();
    feed
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
}

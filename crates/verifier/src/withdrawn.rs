//! What the revocation feed names, as far as it concerns one server.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use mcp_connect_descriptor::{RevocationFeed, Withdrawal};
use tokio::sync::watch;

use crate::verified::Signed;

/// What is withdrawn at the moment. Cheap to clone; clones share it. Empty until a feed is applied,
/// and for ever where none is followed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Withdrawn(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    named: ArcSwap<Named>,
    /// The same number twice: to be read without a lock, and to be waited for.
    generation: AtomicU64,
    changed: watch::Sender<u64>,
}

impl Withdrawn {
    /// Because of what the feed refuses a descriptor, if it does.
    pub(crate) fn names(&self, signed: &Signed) -> Option<Withdrawal> {
        self.0.named.load().withdrawal(signed)
    }

    /// Whether the feed names this key, in whatever the key has signed.
    pub(crate) fn names_key(&self, key_id: &str) -> bool {
        self.0.named.load().keys.contains(key_id)
    }

    /// A number that changes after the feed has named something else than before, or a key has
    /// left the key set: whatever was found good before is to be looked at again.
    pub(crate) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// … to be waited for.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Takes a feed whole, in the place of the one before.
    pub(crate) fn apply(&self, feed: RevocationFeed, server_id: &str) {
        let named = Named::new(feed, server_id);
        if **self.0.named.load() != named {
            self.0.named.store(Arc::new(named));
            self.next_generation();
        }
    }

    /// To be called after the change: who sees the old number has seen no more than the old facts.
    pub(crate) fn next_generation(&self) {
        let generation = self.0.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.0.changed.send_replace(generation);
    }
}

/// A feed, by what a descriptor of the server is looked up with. It refuses exactly what
/// [`RevocationFeed::revokes`] does, in a time that doesn't grow with the feed.
#[derive(Debug, Default, Eq, PartialEq)]
struct Named {
    all: Option<u64>,
    server: Option<u64>,
    versions: HashMap<String, u64>,
    tenants: HashMap<String, u64>,
    /// By client, then by its tenant.
    clients: HashMap<String, HashMap<Option<String>, u64>>,
    keys: HashSet<String>,
    jtis: HashSet<String>,
}

impl Named {
    fn new(feed: RevocationFeed, server_id: &str) -> Self {
        let mut named = Self {
            all: feed.all,
            keys: feed.keys.into_iter().map(|entry| entry.id).collect(),
            jtis: feed.jtis.into_iter().map(|entry| entry.id).collect(),
            ..Self::default()
        };
        for entry in feed.servers.into_iter().filter(|it| it.id == server_id) {
            named.server = named.server.max(Some(entry.at));
        }
        for entry in feed.versions.into_iter().filter(|it| it.id == server_id) {
            if let Some(version) = entry.version {
                keep_latest(&mut named.versions, version, entry.at);
            }
        }
        for entry in feed.tenants {
            keep_latest(&mut named.tenants, entry.id, entry.at);
        }
        for entry in feed.clients {
            let tenants = named.clients.entry(entry.id).or_default();
            keep_latest(tenants, entry.tenant_id, entry.at);
        }
        named
    }

    fn withdrawal(&self, signed: &Signed) -> Option<Withdrawal> {
        let is_before = |at: &u64| signed.issued_at <= *at;
        if self.keys.contains(&signed.key_id) {
            Some(Withdrawal::Key)
        } else if self.jtis.contains(&signed.jti) {
            Some(Withdrawal::Jti)
        } else if self.all.as_ref().is_some_and(is_before) {
            Some(Withdrawal::All)
        } else if self.server.as_ref().is_some_and(is_before) {
            Some(Withdrawal::Server)
        } else if self
            .versions
            .get(&signed.server.version)
            .is_some_and(is_before)
        {
            Some(Withdrawal::Version)
        } else if signed
            .tenant_id
            .as_ref()
            .and_then(|tenant_id| self.tenants.get(tenant_id))
            .is_some_and(is_before)
        {
            Some(Withdrawal::Tenant)
        } else if signed
            .client_id
            .as_ref()
            .and_then(|client_id| self.clients.get(client_id)?.get(&signed.tenant_id))
            .is_some_and(is_before)
        {
            Some(Withdrawal::Client)
        } else {
            None
        }
    }
}

fn keep_latest<K: Eq + std::hash::Hash>(dates: &mut HashMap<K, u64>, key: K, at: u64) {
    let latest = dates.entry(key).or_insert(at);
    *latest = at.max(*latest);
}

#[cfg(test)]
mod tests {
    use mcp_connect_descriptor::{Descriptor, ServerIdentity, Withdrawn as Entry};
    use proptest::{option, prelude::*, sample::select};

    use super::*;

    const SERVER_ID: &str = "com.example/weather";

    fn signed(
        key_id: &str,
        jti: &str,
        version: &str,
        client: Option<&str>,
        tenant: Option<&str>,
        issued_at: u64,
    ) -> Signed {
        Signed {
            descriptor: Descriptor {
                issuer: "https://authority.example".into(),
                endpoint: "https://mcp.example/mcp".into(),
                server: ServerIdentity {
                    id: SERVER_ID.into(),
                    version: version.into(),
                    verified: true,
                    jwks_uri: None,
                    tls_pin_sha256: None,
                },
                issued_at,
                not_before: issued_at,
                expires_at: issued_at + 60,
                jti: jti.into(),
                client_id: client.map(Into::into),
                tenant_id: tenant.map(Into::into),
                confirmation: None,
            },
            key_id: key_id.into(),
        }
    }

    fn name() -> impl Strategy<Value = &'static str> {
        select(&["a", "b", SERVER_ID][..])
    }

    prop_compose! {
        fn entry()(
            id in name(), version in name(), tenant_id in option::of(name()), at in 0u64..8,
        ) -> Entry {
            Entry {
                id: id.into(),
                version: Some(version.into()),
                tenant_id: tenant_id.map(Into::into),
                at,
            }
        }
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        proptest::collection::vec(entry(), 0..3)
    }

    prop_compose! {
        fn feed()(
            all in option::of(0u64..4), servers in entries(), versions in entries(),
            tenants in entries(), clients in entries(), keys in entries(), jtis in entries(),
        ) -> RevocationFeed {
            RevocationFeed {
                all, servers, versions, tenants, clients, keys, jtis, ..RevocationFeed::default()
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn names_what_the_feed_revokes_and_why(
            feed in feed(), key_id in name(), jti in name(), version in name(),
            client in option::of(name()), tenant in option::of(name()), issued_at in 0u64..8,
        ) {
            let signed = signed(key_id, jti, version, client, tenant, issued_at);
            let withdrawn = Withdrawn::default();
            let expected = feed.revokes(&signed, key_id);
            let key_is_named = feed.keys.iter().any(|entry| entry.id == key_id);
            withdrawn.apply(feed, SERVER_ID);
            prop_assert_eq!(withdrawn.names(&signed), expected);
            prop_assert_eq!(withdrawn.names_key(key_id), key_is_named);
        }
    }

    #[test]
    fn the_generation_changes_with_what_is_named_and_only_then() {
        let withdrawn = Withdrawn::default();
        let mut changes = withdrawn.subscribe();
        let of = |id: &str| RevocationFeed {
            servers: vec![Entry {
                id: id.into(),
                at: 5,
                ..Entry::default()
            }],
            ..RevocationFeed::default()
        };
        withdrawn.apply(RevocationFeed::default(), SERVER_ID);
        withdrawn.apply(of("com.example/another"), SERVER_ID);
        assert_eq!(withdrawn.generation(), 0);
        assert!(!changes.has_changed().unwrap());

        withdrawn.apply(of(SERVER_ID), SERVER_ID);
        assert_eq!(withdrawn.generation(), 1);
        assert!(changes.has_changed().unwrap());
        assert_eq!(*changes.borrow_and_update(), 1);
        withdrawn.apply(of(SERVER_ID), SERVER_ID);
        assert_eq!(withdrawn.generation(), 1);
        withdrawn.next_generation();
        assert_eq!(*changes.borrow_and_update(), 2);
    }
}

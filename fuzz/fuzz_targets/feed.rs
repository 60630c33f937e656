//! Any header and payload as a revocation feed that the authority has signed: what is accepted keeps
//! every rule, survives being signed again, and refuses no less once it is bounded.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mcp_connect_descriptor::{
    Descriptor, FEED_TYPE, Refusal, RevocationFeed, Withdrawn, verify_feed,
};
use mcp_connect_fuzz::{Authority, ISSUER, NOW, assert_feed, assert_form, descriptor, split};

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

fuzz_target!(|input: &[u8]| {
    let Some((header, payload)) = split(input) else {
        return;
    };
    let Some(signer) = AUTHORITY.signer(header) else {
        return;
    };
    // What is refused in any case needs no signature.
    match accept(&signer.forged(header, payload)) {
        Err(Refusal::BadSignature) => {}
        Err(_) => return,
        Ok(_) => panic!("forged"),
    }
    let token = signer.token(header, payload);
    let Ok(feed) = accept(&token) else {
        return;
    };
    assert_feed(
        &assert_form(&AUTHORITY, &token, FEED_TYPE, 64 * 1024),
        &feed,
    );

    let again = feed.to_unsigned(&signer.key).expect("fit to be signed");
    let again = again.with_signature(&signer.sign(again.as_bytes()));
    assert_eq!(accept(&again).as_ref(), Ok(&feed));

    let mut bounded = feed.clone();
    bounded.bound();
    for named in named(&feed) {
        let refused = naively_revoked(&feed, &named, "kid");
        assert_eq!(feed.revokes(&named, "kid").is_some(), refused);
        // Nothing is withdrawn before it is issued.
        let is_odd = |entry: &Withdrawn| entry.id == named.jti && entry.at < named.issued_at;
        let stays_refused = bounded.revokes(&named, "kid").is_some();
        assert!(!refused || stays_refused || feed.jtis.iter().any(is_odd));
    }
    for entry in &feed.keys {
        assert!(feed.revokes(&descriptor(), &entry.id).is_some());
        assert!(bounded.revokes(&descriptor(), &entry.id).is_some());
    }
});

fn accept(token: &str) -> Result<RevocationFeed, Refusal> {
    verify_feed(token, &AUTHORITY.keys, ISSUER, NOW)
}

/// Descriptors that the feed might mean, and one that it doesn't.
fn named(feed: &RevocationFeed) -> Vec<Descriptor> {
    let change = |at: u64, change: &dyn Fn(&mut Descriptor)| {
        let mut changed = descriptor();
        changed.server.id = "org.other/other".into();
        changed.client_id = None;
        changed.tenant_id = None;
        changed.jti = "other".into();
        changed.issued_at = at;
        change(&mut changed);
        changed
    };
    let mut named = vec![descriptor()];
    for entry in feed.servers.iter().take(4) {
        named.push(change(entry.at, &|it| it.server.id.clone_from(&entry.id)));
    }
    for entry in feed.versions.iter().take(4) {
        named.push(change(entry.at, &|it| {
            it.server.id.clone_from(&entry.id);
            it.server.version = entry.version.clone().unwrap_or_default();
        }));
    }
    for entry in feed.tenants.iter().take(4) {
        named.push(change(entry.at, &|it| {
            it.tenant_id = Some(entry.id.clone())
        }));
    }
    for entry in feed.clients.iter().take(4) {
        named.push(change(entry.at, &|it| {
            it.client_id = Some(entry.id.clone());
            it.tenant_id.clone_from(&entry.tenant_id);
        }));
    }
    for entry in feed.jtis.iter().take(4) {
        // It was there when it was withdrawn.
        named.push(change(entry.at, &|it| it.jti.clone_from(&entry.id)));
    }
    named
}

/// Section 6, said plainly.
fn naively_revoked(feed: &RevocationFeed, it: &Descriptor, key_id: &str) -> bool {
    let before = |at: u64| it.issued_at <= at;
    feed.keys.iter().any(|entry| entry.id == key_id)
        || feed.jtis.iter().any(|entry| entry.id == it.jti)
        || feed.all.is_some_and(before)
        || feed
            .servers
            .iter()
            .any(|entry| before(entry.at) && entry.id == it.server.id)
        || feed.versions.iter().any(|entry| {
            before(entry.at)
                && entry.id == it.server.id
                && entry.version.as_deref() == Some(&it.server.version)
        })
        || feed
            .tenants
            .iter()
            .any(|entry| before(entry.at) && Some(&entry.id) == it.tenant_id.as_ref())
        || feed.clients.iter().any(|entry| {
            before(entry.at)
                && Some(&entry.id) == it.client_id.as_ref()
                && entry.tenant_id == it.tenant_id
        })
}

//! The revocation feed: what it ends, how soon, and what happens without it.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::time::{Duration, Instant};

use mcp_connect_descriptor::{RefusalCode, RevocationFeed, Withdrawn};
use mcp_connect_verifier::{FeedSource, Verifier, VerifierBuilder};
use support::{Answer, Authority, SERVER_ID, eventually, key, key_set, now, signed_feed};

const SECOND: Duration = Duration::from_secs(1);

async fn start() -> Authority {
    Authority::start(Answer::Body(key_set(&[&key(1)]))).await
}

/// Polls as often as a verifier may.
fn eager(authority: &Authority) -> VerifierBuilder {
    authority.verifier().revocation_feed_interval(SECOND)
}

async fn code(verifier: &Verifier, token: &str) -> Option<RefusalCode> {
    verifier.verify(token).await.err().map(|it| it.code())
}

fn entry(id: &str, at: u64) -> Vec<Withdrawn> {
    vec![Withdrawn {
        id: id.into(),
        at,
        ..Withdrawn::default()
    }]
}

async fn followed(verifier: &Verifier) {
    eventually("the feed is followed", async || {
        let feed = verifier.status().feed.unwrap();
        feed.age.is_some() && !feed.failing
    })
    .await;
}

async fn failing(verifier: &Verifier) {
    eventually("the feed can't be followed", async || {
        verifier.status().feed.unwrap().failing
    })
    .await;
}

const REVOKED: Option<RefusalCode> = Some(RefusalCode::Revoked);

#[tokio::test]
async fn refuses_what_the_feed_names_as_far_as_it_was_issued_before() {
    let authority = start().await;
    let descriptor = authority.descriptor(60);
    let (token, at) = (descriptor.mint(&key(1)).unwrap(), descriptor.issued_at);
    let version = |version: &str, at| {
        let mut list = entry(SERVER_ID, at);
        list[0].version = Some(version.into());
        list
    };
    let client = |tenant: Option<&str>, at| {
        let mut list = entry("desktop", at);
        list[0].tenant_id = tenant.map(Into::into);
        list
    };
    let feed = |change: &dyn Fn(&mut RevocationFeed)| {
        let mut feed = authority.empty_feed();
        change(&mut feed);
        feed
    };
    let kid = key(1).id().to_owned();
    for (name, feed, expected) in [
        ("nothing", feed(&|_| {}), None),
        ("all", feed(&|it| it.all = Some(at)), REVOKED),
        ("all before", feed(&|it| it.all = Some(at - 1)), None),
        (
            "server",
            feed(&|it| it.servers = entry(SERVER_ID, at)),
            REVOKED,
        ),
        (
            "reinstated",
            feed(&|it| it.servers = entry(SERVER_ID, at - 1)),
            None,
        ),
        (
            "another server",
            feed(&|it| it.servers = entry("a/b", at)),
            None,
        ),
        (
            "version",
            feed(&|it| it.versions = version("1.0.0", at)),
            REVOKED,
        ),
        (
            "another version",
            feed(&|it| it.versions = version("2.0.0", at)),
            None,
        ),
        (
            "tenant",
            feed(&|it| it.tenants = entry("acme", at)),
            REVOKED,
        ),
        (
            "client",
            feed(&|it| it.clients = client(Some("acme"), at)),
            REVOKED,
        ),
        (
            "client of no tenant",
            feed(&|it| it.clients = client(None, at)),
            None,
        ),
        (
            "jti",
            feed(&|it| it.jtis = entry(&descriptor.jti, 0)),
            REVOKED,
        ),
        ("key", feed(&|it| it.keys = entry(&kid, 0)), REVOKED),
    ] {
        authority.tells(&feed);
        let verifier = authority.verifier().build().unwrap();
        followed(&verifier).await;
        assert_eq!(code(&verifier, &token).await, expected, "{name}");
        let status = verifier.status().feed.unwrap();
        assert_eq!(status.entries, feed.entries(), "{name}");
    }
}

#[tokio::test]
async fn what_was_verified_before_is_refused_within_the_interval() {
    let authority = start().await;
    authority.tells(&authority.empty_feed());
    let verifier = eager(&authority).build().unwrap();
    followed(&verifier).await;
    let token = authority.token();
    assert_eq!(code(&verifier, &token).await, None);
    assert_eq!(code(&verifier, &token).await, None);

    let mut feed = authority.empty_feed();
    feed.clients = entry("desktop", now().as_secs());
    feed.clients[0].tenant_id = Some("acme".into());
    authority.tells(&feed);
    let told = Instant::now();
    eventually("refused", async || code(&verifier, &token).await == REVOKED).await;
    assert!(told.elapsed() < 2 * SECOND);

    // Reinstated: taken back for whom it was issued to before, too, once the feed lets go of it.
    authority.tells(&authority.empty_feed());
    eventually("accepted", async || code(&verifier, &token).await.is_none()).await;
}

#[tokio::test]
async fn a_key_that_the_feed_names_is_refused_without_a_look_at_the_key_set() {
    let authority = start().await;
    authority.publishes(&[&key(1), &key(2)]);
    let of_2 = authority.descriptor(60).mint(&key(2)).unwrap();
    let verifier = eager(&authority).build().unwrap();
    assert_eq!(code(&verifier, &of_2).await, None);
    let mut feed = authority.empty_feed();
    feed.keys = entry(key(2).id(), 0);
    feed.keys.extend(entry(key(3).id(), 0));
    authority.tells(&feed);
    eventually("refused", async || code(&verifier, &of_2).await == REVOKED).await;
    assert_eq!(code(&verifier, &authority.token()).await, None);

    // It has left the key set as well: nothing to wait for.
    let asked = Instant::now();
    let of_3 = authority.descriptor(60).mint(&key(3)).unwrap();
    assert_eq!(code(&verifier, &of_3).await, REVOKED);
    assert_eq!(authority.fetches(), 1);
    assert!(asked.elapsed() < SECOND);
}

#[tokio::test]
async fn asks_for_changes_only_as_long_as_the_feed_is_good() {
    let authority = start().await;
    let tagged = |lives: u64| {
        let mut feed = authority.empty_feed();
        feed.expires_at = feed.issued_at + lives;
        Answer::Tagged("\"same\"", signed_feed(&feed, &key(1)))
    };
    authority.answers_for_feed(tagged(60));
    let verifier = eager(&authority).build().unwrap();
    eventually("polled", async || authority.polls() == 4).await;
    assert_eq!(authority.unchanged_polls(), 3);
    assert!(verifier.status().feed.unwrap().age.unwrap() <= 2 * SECOND);
    drop(verifier);

    // The unsigned answer that nothing has changed does not lengthen the life of the feed.
    let authority = start().await;
    let mut feed = authority.empty_feed();
    feed.expires_at = feed.issued_at + 1;
    authority.answers_for_feed(Answer::Tagged("\"same\"", signed_feed(&feed, &key(1))));
    let verifier = eager(&authority).build().unwrap();
    followed(&verifier).await;
    eventually("the feed has expired", async || {
        now().as_secs() > feed.expires_at
    })
    .await;
    let (polls, unchanged) = (authority.polls(), authority.unchanged_polls());
    eventually("polled", async || authority.polls() >= polls + 2).await;
    assert_eq!(authority.unchanged_polls(), unchanged);
}

#[tokio::test]
async fn a_feed_that_is_no_good_one_changes_nothing() {
    let authority = start().await;
    let mut feed = authority.empty_feed();
    feed.jtis = entry(&authority.descriptor(60).jti, 0);
    let named = authority.token();
    let mut another = authority.descriptor(60);
    another.jti = "another".into();
    let another = another.mint(&key(1)).unwrap();

    let good = authority.empty_feed();
    let changed = |change: &dyn Fn(&mut RevocationFeed)| {
        let mut feed = good.clone();
        change(&mut feed);
        signed_feed(&feed, &key(1))
    };
    let (token, other) = (signed_feed(&good, &key(1)), signed_feed(&feed, &key(1)));
    let (signed, _) = token.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    let another_signature = format!("{signed}.{signature}");
    for (name, answer) in [
        ("404", Answer::Status(404)),
        ("503", Answer::Status(503)),
        ("304 that nobody asked for", Answer::Status(304)),
        ("redirect", Answer::Redirect("/elsewhere".into())),
        ("garbage", Answer::Body("<html>".into())),
        ("empty", Answer::Body(String::new())),
        ("endless", Answer::Endless),
        ("half", Answer::Half(signed_feed(&good, &key(1)))),
        ("a descriptor", Answer::Body(authority.token())),
        ("another signature", Answer::Body(another_signature)),
        (
            "another issuer",
            Answer::Body(changed(&|it| it.issuer = "https://a.example".into())),
        ),
        (
            "expired",
            Answer::Body(changed(&|it| {
                it.issued_at -= 100;
                it.expires_at -= 100;
            })),
        ),
        (
            "of tomorrow",
            Answer::Body(changed(&|it| {
                it.issued_at += 86_400;
                it.expires_at += 86_400;
            })),
        ),
        (
            "older than what is held",
            Answer::Body(changed(&|it| it.issued_at -= 10)),
        ),
    ] {
        authority.tells(&feed);
        let verifier = eager(&authority).build().unwrap();
        followed(&verifier).await;
        assert_eq!(code(&verifier, &named).await, REVOKED, "{name}");
        authority.answers_for_feed(answer);
        failing(&verifier).await;
        assert_eq!(code(&verifier, &named).await, REVOKED, "{name}");
        assert_eq!(code(&verifier, &another).await, None, "{name}");
        assert_eq!(verifier.status().feed.unwrap().entries, 1, "{name}");
    }
}

#[tokio::test]
async fn without_any_feed_descriptors_count_and_it_is_found_again() {
    let authority = start().await;
    authority.answers_for_feed(Answer::Status(500));
    let verifier = eager(&authority).build().unwrap();
    failing(&verifier).await;
    let token = authority.token();
    assert_eq!(code(&verifier, &token).await, None);
    assert_eq!(verifier.status().feed.unwrap().age, None);
    let mut feed = authority.empty_feed();
    feed.servers = entry(SERVER_ID, now().as_secs());
    authority.tells(&feed);
    eventually("refused", async || code(&verifier, &token).await == REVOKED).await;
    assert!(!verifier.status().feed.unwrap().failing);
}

#[tokio::test]
async fn a_feed_of_an_unknown_key_asks_for_keys_and_one_of_a_withdrawn_key_does_not_count() {
    let authority = start().await;
    let verifier = eager(&authority).build().unwrap();
    assert_eq!(code(&verifier, &authority.token()).await, None);
    authority.publishes(&[&key(1), &key(2)]);
    let mut feed = authority.empty_feed();
    feed.keys = entry(key(1).id(), 0);
    authority.answers_for_feed(Answer::Body(signed_feed(&feed, &key(2))));
    followed(&verifier).await;
    assert_eq!(authority.fetches(), 2);
    assert_eq!(code(&verifier, &authority.token()).await, REVOKED);

    // The thief of the key would have it forgotten.
    authority.tells(&authority.empty_feed());
    failing(&verifier).await;
    assert_eq!(code(&verifier, &authority.token()).await, REVOKED);
}

#[tokio::test]
async fn polls_at_its_interval_backs_off_and_ends_with_the_verifier() {
    let authority = start().await;
    authority.tells(&authority.empty_feed());
    let verifier = eager(&authority).build().unwrap();
    tokio::time::sleep(Duration::from_millis(3500)).await;
    let polls = authority.polls();
    assert!((4..=5).contains(&polls), "{polls}");

    authority.answers_for_feed(Answer::Status(500));
    failing(&verifier).await;
    let polls = authority.polls();
    tokio::time::sleep(Duration::from_millis(3500)).await;
    // 2 s and then 4 s apart, a fifth less at most.
    let more = authority.polls() - polls;
    assert!((1..=2).contains(&more), "{more}");

    authority.tells(&authority.empty_feed());
    followed(&verifier).await;
    drop(verifier);
    let polls = authority.polls();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(authority.polls() <= polls + 1);
    assert_eq!(authority.fetches(), 1);
}

#[tokio::test]
async fn is_asked_where_it_is_said_to_be_or_not_at_all() {
    let authority = start().await;
    let verifier = authority.verifier().revocation_feed("off").build().unwrap();
    assert_eq!(code(&verifier, &authority.token()).await, None);
    assert_eq!(verifier.status().feed, None);

    let elsewhere = start().await;
    let url = format!("{}/v1/revocations", elsewhere.issuer);
    // Before it is revoked, whichever second that is.
    let token = authority.token();
    elsewhere.tells(&RevocationFeed {
        servers: entry(SERVER_ID, now().as_secs()),
        ..authority.empty_feed()
    });
    let verifier = authority
        .verifier()
        .revocation_feed(FeedSource::Url(url))
        .build()
        .unwrap();
    followed(&verifier).await;
    assert_eq!(code(&verifier, &token).await, REVOKED);
    assert_eq!(authority.polls(), 0);
}

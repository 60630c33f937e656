//! The key set: what makes it change, what doesn't, and what it costs the authority.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::{
    cell::Cell,
    env, fs,
    path::PathBuf,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use mcp_connect_descriptor::{RefusalCode, SigningKey};
use mcp_connect_verifier::Verifier;
use support::{Answer, Authority, eventually, key, key_set};
use tokio::task::JoinSet;

async fn code(verifier: &Verifier, token: &str) -> Option<RefusalCode> {
    verifier.verify(token).await.err().map(|it| it.code())
}

/// A key that no key set has.
fn stranger(number: u64) -> SigningKey {
    let mut seed = [0xee; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_seed(&seed)
}

fn token_of(authority: &Authority, key: &SigningKey) -> String {
    authority.descriptor(60).mint(key).unwrap()
}

#[tokio::test]
async fn the_first_requests_wait_for_one_fetch() {
    let set = key_set(&[&key(1)]);
    let authority = Authority::start(Answer::Slow(Duration::from_millis(300), set)).await;
    let verifier = authority.verifier().build().unwrap();
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let (verifier, token) = (verifier.clone(), authority.token());
        requests.spawn(async move { code(&verifier, &token).await });
    }
    assert!(requests.join_all().await.iter().all(Option::is_none));
    assert_eq!(authority.fetches(), 1);
}

#[tokio::test]
async fn without_any_good_answer_the_authority_is_unreachable() {
    let mut private = key_set(&[&key(1)]);
    private = private.replace("\"x\"", "\"d\":\"AAAA\",\"x\"");
    let many: Vec<SigningKey> = (1..=33).map(key).collect();
    for (name, answer) in [
        ("500", Answer::Status(500)),
        ("204", Answer::Status(204)),
        ("304 that nobody asked for", Answer::Status(304)),
        ("half a body", Answer::Half(key_set(&[&key(1)]))),
        ("endless", Answer::Endless),
        ("redirect", Answer::Redirect("/elsewhere".into())),
        ("garbage", Answer::Body("<html>".into())),
        ("no list", Answer::Body("{}".into())),
        ("something else", Answer::Body("\"keys\"".into())),
        ("empty", Answer::Body(String::new())),
        ("private key", Answer::Body(private)),
        (
            "33 keys",
            Answer::Body(key_set(&many.iter().collect::<Vec<_>>())),
        ),
    ] {
        let authority = Authority::start(answer).await;
        let verifier = authority.verifier().build().unwrap();
        let code = code(&verifier, &authority.token()).await;
        assert_eq!(code, Some(RefusalCode::AuthorityUnreachable), "{name}");
    }
}

#[tokio::test]
async fn a_slow_authority_holds_a_request_for_three_seconds() {
    for answer in [Answer::Hang, Answer::Drip(key_set(&[&key(1)]))] {
        let authority = Authority::start(answer).await;
        let verifier = authority.verifier().build().unwrap();
        let asked = Instant::now();
        let unreachable = Some(RefusalCode::AuthorityUnreachable);
        assert_eq!(code(&verifier, &authority.token()).await, unreachable);
        assert!(asked.elapsed() >= Duration::from_millis(2900));
        assert!(asked.elapsed() < Duration::from_millis(4500));
    }
}

#[tokio::test]
async fn a_server_that_is_started_before_its_authority_keeps_requests_until_it_is_there() {
    let authority = Authority::start(Answer::Status(502)).await;
    let verifier = authority.verifier().build().unwrap();
    eventually("the first fetch has failed", async || {
        authority.fetches() == 1
    })
    .await;
    // Until the answer has been taken note of, requests are told that there are no keys.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!verifier.status().keys.usable);
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let (verifier, token) = (verifier.clone(), authority.token());
        requests.spawn(async move { code(&verifier, &token).await });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    authority.publishes(&[&key(1)]);
    assert!(requests.join_all().await.iter().all(Option::is_none));
    assert_eq!(authority.fetches(), 2);
}

#[tokio::test]
async fn a_key_that_is_published_during_a_fetch_is_fetched_again() {
    let before = Answer::Slow(Duration::from_millis(700), key_set(&[&key(1)]));
    let authority = Authority::start(before).await;
    let verifier = authority.verifier().build().unwrap();
    eventually("a fetch is under way", async || authority.fetches() == 1).await;
    authority.publishes(&[&key(1), &key(2)]);
    assert_eq!(code(&verifier, &token_of(&authority, &key(2))).await, None);
    assert_eq!(authority.fetches(), 2);
}

/// A file of this test alone.
fn file(name: &str, content: &[u8]) -> PathBuf {
    let folder = env::temp_dir().join(format!("mcp-connect-keys-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path
}

#[tokio::test]
async fn a_file_of_keys_stands_in_until_the_first_fetch_and_no_longer_than_any_set() {
    let seed = file("seed.json", key_set(&[&key(1)]).as_bytes());
    let authority = Authority::start(Answer::Hang).await;
    let verifier = authority.verifier().key_set_file(&seed).build().unwrap();
    let token = authority.token();
    let verification = pin!(verifier.verify(&token));
    let polled = verification.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(_))), "known at once");
    let status = verifier.status().keys;
    assert!(status.usable && status.count == 1, "{status:?}");

    let max_staleness = Duration::from_secs(1);
    let offline = authority.verifier().key_set_file(&seed);
    let offline = offline.max_staleness(max_staleness).build().unwrap();
    assert_eq!(code(&offline, &token).await, None);
    let started = Instant::now();
    eventually("too stale", async || {
        code(&offline, &token).await == Some(RefusalCode::AuthorityUnreachable)
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(9));
    assert!(!offline.status().keys.usable);

    let authority = Authority::start(Answer::Body(key_set(&[&key(2)]))).await;
    let verifier = authority.verifier().key_set_file(&seed).build().unwrap();
    assert_eq!(code(&verifier, &token_of(&authority, &key(2))).await, None);
    let of_the_seed = code(&verifier, &authority.token()).await;
    assert_eq!(of_the_seed, Some(RefusalCode::Invalid), "replaced whole");
}

#[tokio::test]
async fn a_file_of_keys_that_is_wrong_is_an_error_at_once() {
    let authority = Authority::start(Answer::Status(404)).await;
    let private = key(1).to_private_jwk(mcp_connect_descriptor::KeyStatus::Active);
    let secret = private["d"].as_str().unwrap().to_owned();
    let private = serde_json::json!({ "keys": [private] }).to_string();
    for (name, content, problem) in [
        ("garbage.json", &b"<html>"[..], "not a JWK Set"),
        ("private.json", private.as_bytes(), "is a private key"),
        ("empty.json", b"{\"keys\":[]}", "has no key"),
        ("large.json", " ".repeat(70_000).as_bytes(), "64 KiB"),
    ] {
        let path = file(name, content);
        let built = authority.verifier().key_set_file(&path).build();
        let error = built.map(drop).unwrap_err().to_string();
        assert!(error.starts_with("key_set_file"), "{error}");
        assert!(error.contains(name) && error.contains(problem), "{error}");
        assert!(!error.contains(&secret), "{error}");
    }
    let folder = env::temp_dir();
    for (path, problem) in [
        (folder.join("mcp-connect-no-such-file"), "can't be read"),
        (folder, "is no file"),
    ] {
        let built = authority.verifier().key_set_file(path).build();
        let error = built.map(drop).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[tokio::test]
async fn an_authority_that_comes_back_is_found_again() {
    let authority = Authority::start(Answer::Status(500)).await;
    let verifier = authority.verifier().build().unwrap();
    assert!(code(&verifier, &authority.token()).await.is_some());
    authority.publishes(&[&key(1)]);
    eventually("accepted again", async || {
        code(&verifier, &authority.token()).await.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_rotation_is_seen_at_once_and_the_new_set_replaces_the_old() {
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority.verifier().build().unwrap();
    assert_eq!(code(&verifier, &authority.token()).await, None);

    authority.publishes(&[&key(2)]);
    assert_eq!(code(&verifier, &token_of(&authority, &key(2))).await, None);
    assert_eq!(authority.fetches(), 2);
    // The old key is gone; asking for it again has to wait for its turn.
    let invalid = Some(RefusalCode::Invalid);
    let asked = Instant::now();
    assert_eq!(code(&verifier, &authority.token()).await, invalid);
    assert!(asked.elapsed() > Duration::from_secs(4));
    assert_eq!(authority.fetches(), 3);
    // Now its absence is known.
    assert_eq!(code(&verifier, &authority.token()).await, invalid);
    assert_eq!(authority.fetches(), 3);
}

#[tokio::test]
async fn an_empty_set_revokes_everything() {
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority.verifier().build().unwrap();
    assert_eq!(code(&verifier, &authority.token()).await, None);
    authority.publishes(&[]);
    let invalid = Some(RefusalCode::Invalid);
    assert_eq!(
        code(&verifier, &token_of(&authority, &stranger(1))).await,
        invalid
    );
    assert_eq!(code(&verifier, &authority.token()).await, invalid);
}

#[tokio::test]
async fn a_bad_answer_leaves_the_last_good_set() {
    for answer in [
        Answer::Status(503),
        Answer::Endless,
        Answer::Redirect("/elsewhere".into()),
        Answer::Body("{\"keys\":1}".into()),
    ] {
        let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
        let verifier = authority.verifier().build().unwrap();
        assert_eq!(code(&verifier, &authority.token()).await, None);
        authority.answers(answer);
        let unknown = code(&verifier, &token_of(&authority, &stranger(1))).await;
        assert_eq!(unknown, Some(RefusalCode::Invalid));
        assert_eq!(authority.fetches(), 2);
        assert_eq!(code(&verifier, &authority.token()).await, None);
    }
}

#[tokio::test]
async fn a_known_key_never_waits_for_the_network() {
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority.verifier().build().unwrap();
    assert_eq!(code(&verifier, &authority.token()).await, None);

    authority.answers(Answer::Hang);
    let unknown = token_of(&authority, &stranger(1));
    let waiting = tokio::spawn({
        let verifier = verifier.clone();
        async move { verifier.verify(&unknown).await.is_ok() }
    });
    eventually("a fetch is under way", async || authority.fetches() == 2).await;
    let token = authority.token();
    let verification = pin!(verifier.verify(&token));
    let polled = verification.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(_))));
    assert!(!waiting.is_finished());
}

#[tokio::test]
async fn a_flood_of_unknown_keys_neither_hammers_the_authority_nor_keeps_a_new_key_out() {
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority.verifier().build().unwrap();
    assert_eq!(code(&verifier, &authority.token()).await, None);

    let started = Instant::now();
    let mut flood = JoinSet::new();
    for number in 0..300 {
        let (verifier, token) = (verifier.clone(), token_of(&authority, &stranger(number)));
        flood.spawn(async move { code(&verifier, &token).await });
    }
    eventually("the flood has caused a fetch", async || {
        authority.fetches() == 2
    })
    .await;
    authority.publishes(&[&key(1), &key(2)]);
    assert_eq!(code(&verifier, &token_of(&authority, &key(2))).await, None);
    assert_eq!(code(&verifier, &authority.token()).await, None);

    let codes = flood.join_all().await;
    assert!(codes.iter().all(|code| *code == Some(RefusalCode::Invalid)));
    let allowed = 2 + started.elapsed().as_secs() / 5;
    assert!(
        authority.fetches() as u64 <= allowed,
        "{} fetches",
        authority.fetches()
    );
}

#[tokio::test]
async fn an_outage_is_survived_until_the_maximum_staleness() {
    let max_staleness = Duration::from_secs(2);
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority
        .verifier()
        .max_staleness(max_staleness)
        .build()
        .unwrap();
    assert_eq!(code(&verifier, &authority.token()).await, None);
    let outage = Instant::now();
    authority.answers(Answer::Status(500));
    eventually("a refresh has failed", async || authority.fetches() >= 2).await;
    if outage.elapsed() < Duration::from_millis(1500) {
        assert_eq!(code(&verifier, &authority.token()).await, None);
    }
    let unreachable = Some(RefusalCode::AuthorityUnreachable);
    let last_accepted = Cell::new(outage);
    eventually("too stale", async || {
        let code = code(&verifier, &authority.token()).await;
        if code.is_none() {
            last_accepted.set(Instant::now());
        }
        code == unreachable
    })
    .await;
    assert!(last_accepted.get() <= outage + max_staleness + Duration::from_millis(100));

    authority.publishes(&[&key(1)]);
    eventually("accepted again", async || {
        code(&verifier, &authority.token()).await.is_none()
    })
    .await;
}

#[tokio::test]
async fn the_key_set_is_refreshed_without_being_asked_and_not_after_the_last_clone() {
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let verifier = authority
        .verifier()
        .max_staleness(Duration::from_secs(1))
        .build()
        .unwrap();
    let clone = verifier.clone();
    drop(verifier);
    eventually("refreshed", async || authority.fetches() >= 4).await;
    assert!(tasks() > before);
    drop(clone);
    eventually("the task has ended", async || tasks() <= before).await;
}

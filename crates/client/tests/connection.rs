//! A connection over time: refreshing, backing off, ending.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::time::Duration;

use mcp_connect_client::{ConnectError, Connection, DenialCode, EndReason, NotConnected, State};
use support::{SERVER_ID, TestAuthority, advance, eventually};

async fn open(authority: &TestAuthority) -> Connection {
    Connection::open(authority.client(), SERVER_ID)
        .await
        .unwrap()
}

fn jti(connection: &Connection) -> String {
    connection.current().unwrap().claims().jti.clone()
}

#[tokio::test]
async fn refreshes_ahead_of_expiry_and_not_before() {
    let authority = TestAuthority::start().await;
    let connection = open(&authority).await;
    assert_eq!(jti(&connection), "jti-1");

    advance(Duration::from_secs(30)).await;
    assert_eq!(authority.connects(), 1);
    advance(Duration::from_secs(11)).await;
    eventually("second descriptor", || jti(&connection) == "jti-2").await;
    advance(Duration::from_secs(41)).await;
    eventually("third descriptor", || jti(&connection) == "jti-3").await;
}

#[tokio::test]
async fn ends_for_good_when_the_server_is_revoked() {
    for code in ["server_revoked", "policy_blocked"] {
        let authority = TestAuthority::start().await;
        let connection = open(&authority).await;
        let mut watch = connection.watch();

        authority.script().refuse_with(403, code);
        advance(Duration::from_secs(41)).await;
        let told = watch
            .wait_for(|state| matches!(state, State::Ended(_)))
            .await
            .unwrap()
            .clone();
        let State::Ended(EndReason::Denied(denial)) = told else {
            panic!("{told:?}");
        };
        assert_eq!(denial.code, DenialCode::from_wire(code));

        // Nothing brings it back, though the descriptor in hand would still be good.
        authority.script().refuse = None;
        let reason = connection.current().unwrap_err();
        assert!(matches!(reason, NotConnected::Ended(_)), "{reason}");
        assert!(reason.to_string().contains(code), "{reason}");
        for _ in 0..10 {
            advance(Duration::from_mins(1)).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(authority.connects(), 2);
    }
}

#[tokio::test]
async fn honours_retry_after_and_recovers() {
    let authority = TestAuthority::start().await;
    let connection = open(&authority).await;
    let mut watch = connection.watch();

    authority.script().refuse_with(429, "rate_limited");
    authority.script().refuse.as_mut().unwrap().1 = vec![("retry-after", "30".into())];
    advance(Duration::from_secs(41)).await;
    let troubled = watch
        .wait_for(|state| {
            matches!(
                state,
                State::Live {
                    trouble: Some(_),
                    ..
                }
            )
        })
        .await
        .unwrap()
        .clone();
    let State::Live {
        trouble: Some(trouble),
        ..
    } = troubled
    else {
        panic!("{troubled:?}");
    };
    assert!(matches!(&*trouble, ConnectError::Denied(_)), "{trouble}");
    // The descriptor in hand goes on.
    assert_eq!(jti(&connection), "jti-1");

    authority.script().refuse = None;
    advance(Duration::from_secs(28)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(authority.connects(), 2);
    advance(Duration::from_secs(2)).await;
    eventually("recovery", || jti(&connection) == "jti-3").await;
    assert!(matches!(
        &*watch.borrow(),
        State::Live { trouble: None, .. }
    ));
}

#[tokio::test]
async fn says_why_there_is_no_descriptor_once_it_has_expired() {
    let authority = TestAuthority::start().await;
    authority.script().lifetime = 3;
    let connection = open(&authority).await;
    authority.script().refuse_with(503, "authority_unavailable");
    eventually("expiry", || connection.current().is_err()).await;
    let reason = connection.current().unwrap_err();
    assert!(
        reason.to_string().contains("authority_unavailable"),
        "{reason}"
    );
}

#[tokio::test]
async fn ends_when_the_server_moves() {
    let authority = TestAuthority::start().await;
    let connection = open(&authority).await;
    let mut watch = connection.watch();
    authority.script().endpoint = "https://elsewhere.example/mcp".into();
    advance(Duration::from_secs(41)).await;
    watch
        .wait_for(|state| matches!(state, State::Ended(_)))
        .await
        .unwrap();
    let NotConnected::Ended(EndReason::EndpointChanged { from, to }) =
        connection.current().unwrap_err()
    else {
        panic!("it did not end for that");
    };
    assert_eq!(
        (from.as_str(), to.as_str()),
        (
            "https://weather.example/mcp",
            "https://elsewhere.example/mcp"
        )
    );
}

#[tokio::test]
async fn the_last_handle_ends_the_refreshing() {
    let authority = TestAuthority::start().await;
    let connection = open(&authority).await;
    let mut watch = connection.watch();
    let transport = connection.transport();
    drop(connection);
    advance(Duration::from_secs(41)).await;
    eventually("refresh for the transport", || authority.connects() == 2).await;
    drop(transport);
    // The sender goes with the task, after the state it has last sent.
    let gone = async { while watch.changed().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(5), gone)
        .await
        .unwrap();
    advance(Duration::from_secs(41)).await;
    assert_eq!(authority.connects(), 2);
}

#[tokio::test]
async fn shows_no_descriptor_in_debug() {
    let authority = TestAuthority::start().await;
    let connection = open(&authority).await;
    let shown = format!("{connection:?} {:?}", connection.watch());
    assert!(shown.contains("[redacted]"));
    assert!(
        !shown.contains(connection.current().unwrap().descriptor()),
        "{shown}"
    );
}

//! The client against an authority that signs, cheats, moves and refuses.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::time::Duration;

use mcp_connect_client::{Algorithm, Authority, ConnectError, DenialCode, SenderKey};
use mcp_connect_descriptor::Refusal;
use serde_json::json;
use support::{API_KEY, SERVER_ID, TestAuthority, advance, unix_now};

#[tokio::test]
async fn grants_what_the_signed_descriptor_says() {
    let authority = TestAuthority::start().await;
    let grant = authority.client().connect(SERVER_ID).await.unwrap();

    assert_eq!(grant.endpoint(), "https://weather.example/mcp");
    assert_eq!(grant.server().version, "1.2.0");
    assert_eq!(grant.claims().client_id.as_deref(), Some("desktop"));
    assert!(grant.expires_at() > unix_now() + 50);
    assert!(grant.refresh_after() <= Duration::from_secs(40));
    assert_eq!(
        authority.script().requests,
        [(
            json!({"server_ref": SERVER_ID}).to_string(),
            Some(format!("Bearer {API_KEY}"))
        )]
    );
}

#[tokio::test]
async fn shows_no_secret_in_debug() {
    let authority = TestAuthority::start().await;
    let client = authority.client();
    let grant = client.connect(SERVER_ID).await.unwrap();
    let shown = format!("{client:?} {grant:?}");
    assert!(shown.contains("[redacted]"));
    for secret in [
        API_KEY,
        grant.descriptor(),
        grant.descriptor().split('.').next().unwrap(),
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn refuses_an_endpoint_that_was_not_signed() {
    let authority = TestAuthority::start().await;
    authority.script().answered_endpoint = Some("https://evil.example/mcp".into());
    let error = authority.client().connect(SERVER_ID).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::OtherEndpoint { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn refuses_an_endpoint_in_clear_text() {
    let authority = TestAuthority::start().await;
    authority.script().endpoint = "http://weather.example/mcp".into();
    let error = authority.client().connect(SERVER_ID).await.unwrap_err();
    assert!(matches!(error, ConnectError::InvalidAnswer(_)), "{error}");
}

#[tokio::test]
async fn refuses_another_server_version_or_issuer() {
    let authority = TestAuthority::start().await;
    let client = authority.client();

    let error = client
        .connect("com.example/weather@1.1.0")
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::OtherVersion { .. }),
        "{error}"
    );
    client.connect("com.example/weather@1.2.0").await.unwrap();

    let error = client.connect("com.example/other").await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Refused(Refusal::WrongAudience(_))),
        "{error}"
    );

    authority.script().issuer = "https://authority.example".into();
    let error = client.connect(SERVER_ID).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Refused(Refusal::WrongIssuer)),
        "{error}"
    );
}

#[tokio::test]
async fn refuses_metadata_of_another_issuer_or_with_foreign_urls() {
    for (member, value) in [
        ("issuer", "https://authority.example"),
        ("jwks_uri", "https://evil.example/jwks.json"),
        ("connect_endpoint", "http://127.0.0.1:1/v1/connect"),
        ("servers_endpoint", "https://evil.example/v1/servers"),
    ] {
        let authority = TestAuthority::start().await;
        authority.script().metadata[member] = value.into();
        let error = authority.client().connect(SERVER_ID).await.unwrap_err();
        assert!(
            matches!(&error, ConnectError::InvalidAnswer(why) if why.contains(member)),
            "{member}: {error}"
        );
        assert_eq!(authority.connects(), 0, "{member}");
    }
    // A slash more is another issuer.
    let authority = TestAuthority::start().await;
    let with_slash = format!("{}/", authority.url);
    authority.script().metadata["issuer"] = with_slash.into();
    let error = authority.client().connect(SERVER_ID).await.unwrap_err();
    assert!(matches!(error, ConnectError::InvalidAnswer(_)), "{error}");
}

#[tokio::test]
async fn strict_mode_wants_a_verified_server() {
    let authority = TestAuthority::start().await;
    authority.script().verified = false;
    authority.client().connect(SERVER_ID).await.unwrap();
    let error = authority
        .client()
        .strict()
        .connect(SERVER_ID)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Unverified(_)), "{error}");
}

#[tokio::test]
async fn fetches_keys_again_for_an_unknown_one_but_not_at_once() {
    let authority = TestAuthority::start().await;
    let client = authority.client();
    client.connect(SERVER_ID).await.unwrap();
    client.connect(SERVER_ID).await.unwrap();
    assert_eq!(authority.script().key_fetches, 1);

    authority.script().signed_by = 2;
    authority.script().published = vec![1, 2];
    let error = client.connect(SERVER_ID).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Refused(Refusal::UnknownKey)),
        "{error}"
    );
    assert_eq!(authority.script().key_fetches, 1);

    advance(Duration::from_secs(5)).await;
    client.connect(SERVER_ID).await.unwrap();
    assert_eq!(authority.script().key_fetches, 2);
}

#[tokio::test]
async fn forgets_a_withdrawn_key() {
    let authority = TestAuthority::start().await;
    let client = authority.client();
    client.connect(SERVER_ID).await.unwrap();
    authority.script().published = vec![2];
    advance(Duration::from_mins(5)).await;
    let error = client.connect(SERVER_ID).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Refused(Refusal::UnknownKey)),
        "{error}"
    );
}

#[tokio::test]
async fn refuses_a_signature_of_another_key() {
    let authority = TestAuthority::start().await;
    authority.script().signed_by = 9;
    let error = authority.client().connect(SERVER_ID).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Refused(Refusal::UnknownKey)),
        "{error}"
    );
}

#[tokio::test]
async fn follows_no_redirect() {
    let elsewhere = TestAuthority::start().await;
    let authority = TestAuthority::start().await;
    let location = format!("{}/v1/connect", elsewhere.url);
    authority.script().refuse = Some((307, vec![("location", location)], json!({})));
    let error = authority.client().connect(SERVER_ID).await.unwrap_err();
    assert!(matches!(error, ConnectError::Status(307)), "{error}");
    assert_eq!(elsewhere.connects(), 0);
}

#[tokio::test]
async fn stops_reading_an_oversized_answer() {
    let authority = TestAuthority::start().await;
    authority.script().padding = 64 * 1024;
    let error = authority.client().connect(SERVER_ID).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::InvalidAnswer(why) if why.contains("longer than 65536")),
        "{error}"
    );
}

#[tokio::test]
async fn reads_refusals() {
    let authority = TestAuthority::start().await;
    let client = authority.client();

    authority.script().refuse_with(403, "server_revoked");
    let error = client.connect(SERVER_ID).await.unwrap_err();
    assert!(error.is_final());
    assert_eq!(
        error.to_string(),
        "server_revoked: because of server_revoked"
    );

    authority.script().refuse = Some((
        429,
        Vec::new(),
        json!({"code": "rate_limited", "retry_after": 7}),
    ));
    let error = client.connect(SERVER_ID).await.unwrap_err();
    assert!(!error.is_final());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));

    let header = vec![("retry-after", "9".to_owned())];
    authority.script().refuse = Some((503, header, json!({"code": "authority_unavailable"})));
    let ConnectError::Denied(denial) = client.connect(SERVER_ID).await.unwrap_err() else {
        panic!("no denial");
    };
    assert_eq!(denial.code, DenialCode::AuthorityUnavailable);
    assert_eq!(denial.status, 503);
    assert_eq!(denial.retry_after, Some(Duration::from_secs(9)));

    let header = vec![
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
        ("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT".to_owned()),
    ];
    authority.script().refuse = Some((429, header.clone(), json!({"code": "rate_limited"})));
    let error = client.connect(SERVER_ID).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(20)));
    // An edge in front answers so, without problem details.
    authority.script().refuse = Some((503, header, json!("Service Unavailable")));
    let error = client.connect(SERVER_ID).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(20)));

    authority.script().refuse = Some((502, Vec::new(), json!("Bad Gateway")));
    let error = client.connect(SERVER_ID).await.unwrap_err();
    assert!(matches!(error, ConnectError::Status(502)), "{error}");
}

#[tokio::test]
async fn a_machine_whose_clock_is_wrong_connects_and_is_told() {
    for (ahead, words) in [
        (6, "6 s behind the authority's"),
        (300, "300 s behind the authority's"),
        (-61, "61 s ahead of the authority's"),
        (-86_400, "86400 s ahead of the authority's"),
    ] {
        let authority = TestAuthority::start().await;
        authority.script().ahead = ahead;
        let key = SenderKey::generate(Algorithm::EdDsa).unwrap();
        // What is bound to a key needs proofs with a date that the authority believes.
        for client in [authority.client(), authority.client().bound_to_key(key)] {
            let grant = client.connect(SERVER_ID).await.unwrap();
            let offset = grant.clock_offset();
            assert!(offset.matters(), "{offset}");
            assert!((offset.seconds() + ahead).abs() <= 1, "{offset}");
            assert!(
                offset.to_string() == format!("this machine's clock is {words}")
                    || offset.seconds() != -ahead,
                "{offset}"
            );
            assert_eq!(grant.refresh_after(), Duration::from_secs(40));
        }
        // Whoever doesn't say how long it is good leaves it to this machine's clock.
        authority.script().says_life = false;
        let error = authority.client().connect(SERVER_ID).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Clock(_)) && error.is_of_clock(),
            "{error}"
        );
        assert!(
            error.to_string().contains("this machine's clock is"),
            "{error}"
        );
    }
    let authority = TestAuthority::start().await;
    let grant = authority.client().connect(SERVER_ID).await.unwrap();
    assert!(!grant.clock_offset().matters());
    authority.script().says_life = false;
    authority.client().connect(SERVER_ID).await.unwrap();
    authority.script().says_life = true;
    authority.script().lifetime = 1;
    let short = authority.client().connect(SERVER_ID).await.unwrap();
    assert_eq!(short.refresh_after(), Duration::from_secs(1));
}

#[tokio::test]
async fn searches_and_shows_servers_without_the_credential() {
    let authority = TestAuthority::start().await;
    let client = authority.client();
    let page = client.search("sun & rain", Some("c1"), 10).await.unwrap();
    assert_eq!(page.servers[0].id, SERVER_ID);
    assert_eq!(page.next_cursor.as_deref(), Some("c2"));

    let detail = client
        .server("com.example/weather@1.0.0+a?b#c")
        .await
        .unwrap();
    assert_eq!(detail.summary.status, "revoked");
    assert_eq!(detail.status_reason.as_deref(), Some("malware"));
    assert_eq!(detail.versions.len(), 1);

    let asked: Vec<_> = authority
        .script()
        .requests
        .iter()
        .map(|(what, _)| what.clone())
        .collect();
    assert_eq!(
        asked,
        [
            json!({"cursor": "c1", "limit": "10", "query": "sun & rain"}).to_string(),
            "/v1/servers/com.example/weather@1.0.0+a%3Fb%23c".to_owned(),
        ]
    );
}

#[tokio::test]
async fn says_when_nobody_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Authority::new(&url)
        .unwrap()
        .connect(SERVER_ID)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Network(_)), "{error}");
}

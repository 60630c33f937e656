//! With a proxy in the environment: which requests go through it.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use axum::{Router, http::StatusCode};
use mcp_connect_client::Connection;
use rmcp::transport::streamable_http_client::StreamableHttpClient;
use support::{SERVER_ID, TestAuthority};

/// The environment belongs to the whole process, so the client runs in one of its own.
#[test]
fn loopback_targets_are_reached_without_the_proxy_and_others_through_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    thread::spawn({
        let asked = asked.clone();
        move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = String::new();
                BufReader::new(&stream).read_line(&mut request).unwrap();
                asked.lock().unwrap().push(request.trim().to_owned());
                stream
                    .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
                    .unwrap();
            }
        }
    });

    let mut client = Command::new(env::current_exe().unwrap());
    client.args(["--exact", "--ignored", "a_client_with_a_proxy"]);
    for name in ["NO_PROXY", "no_proxy"] {
        client.env_remove(name);
    }
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        client.env(name, &proxy);
    }
    let output = client.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        *asked.lock().unwrap(),
        ["CONNECT weather.example:443 HTTP/1.1"]
    );
}

#[tokio::test]
#[ignore = "needs the environment that the test above makes"]
async fn a_client_with_a_proxy() {
    let authority = TestAuthority::start().await;
    let open = async || {
        Connection::open(authority.client(), SERVER_ID)
            .await
            .unwrap()
    };
    let end_session = async |connection: Connection| {
        let endpoint = connection.endpoint().into();
        connection
            .http_client()
            .delete_session(endpoint, "s".into(), None, HashMap::new())
            .await
    };

    // The endpoint decides for itself: this one is not on loopback, as the authority is.
    end_session(open().await).await.unwrap_err();

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    authority.script().endpoint = format!("http://{}/mcp", listener.local_addr().unwrap());
    let router = Router::new().fallback(async || StatusCode::NO_CONTENT);
    tokio::spawn(async { axum::serve(listener, router).await });
    end_session(open().await).await.unwrap();
}

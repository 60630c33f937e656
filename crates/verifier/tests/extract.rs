//! Handlers that demand a descriptor in their signature.
#![cfg(feature = "axum")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use axum::{Router, routing::any};
use mcp_connect_verifier::{ConnectLayer, HEADER, Mode, Verified};
use reqwest::Response;
use serde_json::Value;
use support::{Answer, Authority, SERVER_ID, key, key_set, serve};

async fn demands(verified: Verified) -> String {
    verified.client_id.clone().unwrap_or_default()
}

async fn takes(verified: Option<Verified>) -> String {
    match verified {
        Some(verified) => verified.client_id.clone().unwrap_or_default(),
        None => "ungoverned".into(),
    }
}

struct Server {
    authority: Authority,
    url: String,
}

impl Server {
    /// With a layer of this mode, or without any.
    async fn start(mode: Option<Mode>) -> Self {
        let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
        let mut app = Router::new()
            .route("/demands", any(demands))
            .route("/takes", any(takes));
        if let Some(mode) = mode {
            let verifier = authority.verifier().build().unwrap();
            app = app.layer(ConnectLayer::new(verifier).mode(mode));
        }
        Self {
            authority,
            url: format!("http://{}", serve(app).await),
        }
    }

    async fn ask(&self, path: &str, descriptor: Option<&str>) -> Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.post(format!("{}{path}", self.url));
        if let Some(descriptor) = descriptor {
            request = request.header(HEADER, descriptor);
        }
        request.send().await.unwrap()
    }
}

#[tokio::test]
async fn a_governed_request_says_who_is_connecting() {
    for mode in [Mode::Required, Mode::Optional, Mode::Report] {
        let server = Server::start(Some(mode)).await;
        let token = server.authority.token();
        for path in ["/demands", "/takes"] {
            let response = server.ask(path, Some(&token)).await;
            assert_eq!(response.status(), 200);
            assert_eq!(response.text().await.unwrap(), "desktop");
        }
    }
}

#[tokio::test]
async fn an_ungoverned_request_is_refused_as_the_layer_would_have() {
    for (mode, descriptor, status, code) in [
        (Mode::Optional, None, 401, "descriptor_missing"),
        (Mode::Report, None, 401, "descriptor_missing"),
        (Mode::Report, Some("garbage"), 403, "descriptor_invalid"),
        (Mode::Off, Some("garbage"), 401, "descriptor_missing"),
    ] {
        let server = Server::start(Some(mode)).await;
        let taken = server.ask("/takes", descriptor).await;
        assert_eq!(taken.text().await.unwrap(), "ungoverned");

        let refused = server.ask("/demands", descriptor).await;
        assert_eq!(refused.status(), status, "{mode:?}");
        let challenge = refused.headers().get("www-authenticate").cloned();
        let issuer = &server.authority.issuer;
        let expected = (status == 401).then(|| {
            format!(
                "MCP-Connect error=\"{code}\", authority=\"{issuer}\", server_ref=\"{SERVER_ID}\""
            )
        });
        assert_eq!(
            challenge.map(|it| it.to_str().unwrap().to_owned()),
            expected
        );
        let body: Value = refused.json().await.unwrap();
        assert_eq!(body["error"]["data"]["code"], code);
        assert!(body["id"].is_null());
    }
}

#[tokio::test]
async fn without_a_layer_nothing_is_taken_for_granted() {
    let server = Server::start(None).await;
    let token = server.authority.token();
    for path in ["/demands", "/takes"] {
        for descriptor in [None, Some(&*token)] {
            assert_eq!(server.ask(path, descriptor).await.status(), 500);
        }
    }
}

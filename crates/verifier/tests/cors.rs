//! Pages of some origins may connect, and read what they are answered.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use axum::{Router, http::HeaderMap, routing::any};
use mcp_connect_verifier::{ConnectLayer, CorsLayer, HEADER};
use reqwest::{Method, Response};
use support::{Answer, Authority, key, key_set, serve};

const PAGE: &str = "https://app.example";
const STRANGER: &str = "https://evil.example";

/// Says about cross-origin access what a careless server says.
async fn careless() -> [(&'static str, &'static str); 4] {
    [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-credentials", "true"),
        ("vary", "Accept"),
        ("mcp-session-id", "s"),
    ]
}

struct Server {
    authority: Authority,
    url: String,
}

impl Server {
    async fn start(origins: &[&str]) -> Self {
        let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
        let verifier = authority.verifier().build().unwrap();
        let app = Router::new()
            .route("/mcp", any(careless))
            .layer(ConnectLayer::new(verifier))
            .layer(CorsLayer::new(origins).unwrap());
        let url = format!("http://{}/mcp", serve(app).await);
        Self { authority, url }
    }

    async fn send(&self, method: Method, headers: &[(&str, &str)]) -> Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.request(method, &self.url);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request.send().await.unwrap()
    }
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_preflight_needs_no_descriptor() {
    let server = Server::start(&["http://localhost:6274", PAGE]).await;
    for asked in [None, Some("mcp-connect,mcp-param-region")] {
        let mut headers = vec![("origin", PAGE), ("access-control-request-method", "POST")];
        headers.extend(asked.map(|asked| ("access-control-request-headers", asked)));
        let answer = server.send(Method::OPTIONS, &headers).await;
        assert_eq!(answer.status(), 204);
        let headers = answer.headers();
        assert_eq!(values(headers, "access-control-allow-origin"), [PAGE]);
        assert!(!headers.contains_key("access-control-allow-credentials"));
        let allowed = values(headers, "access-control-allow-headers").join(",");
        for name in [
            "accept",
            "authorization",
            "content-type",
            "last-event-id",
            "mcp-connect",
            "mcp-connect-proof",
            "mcp-method",
            "mcp-name",
            "mcp-protocol-version",
            "mcp-session-id",
        ] {
            let mut names = allowed.split(',').map(str::trim);
            assert!(
                names.any(|it| it.eq_ignore_ascii_case(name)),
                "{name}: {allowed}"
            );
        }
        assert_eq!(allowed.contains("mcp-param-region"), asked.is_some());
        let methods = values(headers, "access-control-allow-methods").join(",");
        for method in ["GET", "POST", "DELETE"] {
            assert!(methods.contains(method), "{methods}");
        }
        assert!(headers.contains_key("access-control-max-age"));
        assert!(values(headers, "vary")[0].contains("Origin"));
    }
}

#[tokio::test]
async fn answers_and_refusals_can_be_read() {
    let server = Server::start(&[PAGE]).await;
    let token = server.authority.token();
    for (descriptor, status) in [(Some(token.as_str()), 200), (None, 401), (Some("x"), 403)] {
        let mut headers = vec![("origin", PAGE)];
        headers.extend(descriptor.map(|token| (HEADER, token)));
        let answer = server.send(Method::POST, &headers).await;
        assert_eq!(answer.status(), status);
        let headers = answer.headers();
        assert_eq!(values(headers, "access-control-allow-origin"), [PAGE]);
        assert!(!headers.contains_key("access-control-allow-credentials"));
        let exposed = values(headers, "access-control-expose-headers").join(",");
        for name in ["Mcp-Session-Id", "WWW-Authenticate", "Retry-After"] {
            assert!(exposed.contains(name), "{exposed}");
        }
        assert!(values(headers, "vary").contains(&"Origin".to_owned()));
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_told_nothing() {
    let server = Server::start(&[PAGE]).await;
    let asks = ("access-control-request-method", "POST");
    let answer = server
        .send(Method::OPTIONS, &[("origin", STRANGER), asks])
        .await;
    assert_eq!(answer.status(), 403);
    let token = server.authority.token();
    for origin in [STRANGER, "null", "https://app.example.evil.example", ""] {
        let answer = server
            .send(Method::POST, &[("origin", origin), (HEADER, &token)])
            .await;
        let headers = answer.headers();
        let any = headers
            .keys()
            .any(|name| name.as_str().starts_with("access-control"));
        assert!(!any, "{origin}: {headers:?}");
        assert!(values(headers, "vary").contains(&"Origin".to_owned()));
    }
    // Two origins are none.
    let twice = [("origin", PAGE), ("origin", STRANGER), (HEADER, &token)];
    let answer = server.send(Method::POST, &twice).await;
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn what_is_no_preflight_is_judged_like_any_request() {
    let server = Server::start(&[PAGE]).await;
    for headers in [
        &[][..],
        &[("origin", PAGE)],
        &[("access-control-request-method", "POST")],
    ] {
        let answer = server.send(Method::OPTIONS, headers).await;
        assert_eq!(answer.status(), 401, "{headers:?}");
    }
}

#[tokio::test]
async fn without_origins_nothing_is_changed() {
    let server = Server::start(&[]).await;
    let asks = [("origin", PAGE), ("access-control-request-method", "POST")];
    assert_eq!(server.send(Method::OPTIONS, &asks).await.status(), 401);
    let token = server.authority.token();
    let answer = server
        .send(Method::POST, &[("origin", PAGE), (HEADER, &token)])
        .await;
    assert_eq!(
        values(answer.headers(), "access-control-allow-origin"),
        ["*"]
    );
    assert_eq!(values(answer.headers(), "vary"), ["Accept"]);
}

//! What passes, what doesn't, and what is changed on the way.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, http::Response, response::IntoResponse as _, routing::any};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use support::{AUDIENCE, CONNECT, Guard, echo, raw, seen, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream, UnixListener},
};

async fn echoing() -> Guard {
    Guard::before(serve(Router::new().fallback(echo)).await).await
}

async fn echoing_with(arguments: &[&str]) -> Guard {
    let backend = serve(Router::new().fallback(echo)).await;
    Guard::with(&format!("http://{backend}/inner"), arguments).await
}

#[tokio::test]
async fn a_governed_request_reaches_the_backend_as_it_is() {
    let guard = echoing().await;
    let request = guard
        .governed(Method::POST)
        .query(&[("a", "1"), ("b", "/mcp")])
        .header("authorization", "Bearer user")
        .header("mcp-session-id", "session")
        .header("mcp-connect-proof", "proof")
        .body("{}");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let echo: Value = response.json().await.unwrap();
    assert_eq!(echo["method"], "POST");
    assert_eq!(echo["target"], "/inner?a=1&b=%2Fmcp");
    assert_eq!(echo["body"], "{}");
    assert_eq!(seen(&echo, "authorization"), ["Bearer user"]);
    assert_eq!(seen(&echo, "mcp-session-id"), ["session"]);
    assert_eq!(seen(&echo, "content-length"), ["2"]);
    for removed in [CONNECT, "mcp-connect-proof", "mcp-connect-jti"] {
        assert_eq!(seen(&echo, removed), [""; 0], "{removed}");
    }
}

#[tokio::test]
async fn without_a_good_descriptor_nothing_reaches_the_backend() {
    let reached = Arc::new(AtomicUsize::new(0));
    let app = Router::new().fallback({
        let reached = Arc::clone(&reached);
        async move || {
            reached.fetch_add(1, Ordering::SeqCst);
        }
    });
    let guard = Guard::before(serve(app).await).await;
    for (descriptor, status) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some("garbage".to_owned()), StatusCode::FORBIDDEN),
        (Some(guard.token(60) + "x"), StatusCode::FORBIDDEN),
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
            let mut request = guard.ungoverned(method).body("{}");
            if let Some(descriptor) = &descriptor {
                request = request.header(CONNECT, descriptor);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{descriptor:?}");
        }
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn only_the_audiences_path_and_names_are_served() {
    let guard = echoing().await;
    let token = guard.token(60);
    let base = format!("http://{}", guard.address);
    for path in ["/", "/inner", "/mcp/", "/mcp/x", "/healthz", "/mcp%2f"] {
        let request = guard.client.post(format!("{base}{path}"));
        let response = request.header(CONNECT, &token).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["error"]["data"]["code"], "path_not_served");
    }

    let host = async |host: &str| {
        let request = guard.governed(Method::POST).header("host", host);
        request.send().await.unwrap()
    };
    let own = host("mcp.example").await;
    let echo: Value = own.json().await.unwrap();
    assert!(seen(&echo, "host")[0].starts_with("127.0.0.1:"), "{echo}");
    let other = host("evil.example").await;
    assert_eq!(other.status(), StatusCode::MISDIRECTED_REQUEST);

    let put = guard.governed(Method::PUT).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(put.headers()["allow"], "GET, POST, DELETE, HEAD, OPTIONS");

    for head in [
        "GET /mcp HTTP/1.1\r\nHost: mcp.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
        "CONNECT mcp.example:443 HTTP/1.1\r\nHost: mcp.example\r\nConnection: close\r\n",
    ] {
        let answer = raw(
            guard.address,
            format!("{head}Connection: close\r\nMCP-Connect: {token}\r\n\r\n"),
        );
        let answer = answer.await;
        let refused = answer.starts_with("HTTP/1.1 501") || answer.starts_with("HTTP/1.1 405");
        assert!(refused, "{answer}");
    }
}

#[tokio::test]
async fn a_host_can_be_added_and_the_backends_chosen() {
    let guard = echoing_with(&[
        "--hosts",
        "other.example",
        "--backend-host",
        "inner.example",
    ])
    .await;
    let request = guard
        .governed(Method::GET)
        .header("host", "other.example:80");
    let echo: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(seen(&echo, "host"), ["inner.example"]);
}

#[tokio::test]
async fn hop_by_hop_headers_stay_on_their_hop() {
    let app = Router::new().fallback(async |request: axum::extract::Request| {
        let names: Vec<_> = request
            .headers()
            .keys()
            .map(http::HeaderName::as_str)
            .collect();
        Response::builder()
            .header("connection", "x-internal")
            .header("keep-alive", "timeout=5")
            .header("proxy-authenticate", "Basic")
            .header("x-internal", "secret")
            .header("x-seen", names.join(" "))
            .body(Body::empty())
            .unwrap()
    });
    let guard = Guard::before(serve(app).await).await;
    let token = guard.token(60);
    let answer = raw(
        guard.address,
        format!(
            "GET /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
             Keep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: Basic eDp5\r\n\
             Proxy-Connection: keep-alive\r\nX-End: 1\r\nMCP-Connect: {token}\r\n\r\n"
        ),
    );
    let answer = answer.await.to_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(
        !answer.contains("secret") && !answer.contains("keep-alive"),
        "{answer}"
    );
    assert!(!answer.contains("proxy-authenticate"), "{answer}");
    let line = answer.lines().find(|line| line.starts_with("x-seen: "));
    let mut seen: Vec<_> = line.unwrap()["x-seen: ".len()..].split(' ').collect();
    seen.sort_unstable();
    let expected = [
        "host",
        "x-end",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_callers_say_about_forwarding_counts_only_where_it_is_to_be_trusted() {
    let sent = |guard: &Guard| {
        guard
            .governed(Method::GET)
            .header("forwarded", "for=192.0.2.1")
            .header("x-forwarded-for", "192.0.2.1")
            .header("x-real-ip", "192.0.2.1")
    };
    let guard = echoing().await;
    let echo: Value = sent(&guard).send().await.unwrap().json().await.unwrap();
    assert_eq!(seen(&echo, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen(&echo, "x-forwarded-host"), ["mcp.example"]);
    assert_eq!(seen(&echo, "x-forwarded-proto"), ["https"]);
    assert_eq!(seen(&echo, "forwarded"), [""; 0]);
    assert_eq!(seen(&echo, "x-real-ip"), [""; 0]);

    let guard = echoing_with(&["--trust-forwarded"]).await;
    let echo: Value = sent(&guard).send().await.unwrap().json().await.unwrap();
    assert_eq!(seen(&echo, "x-forwarded-for"), ["192.0.2.1"]);
    assert_eq!(seen(&echo, "forwarded"), ["for=192.0.2.1"]);
    assert_eq!(seen(&echo, "x-forwarded-host"), [""; 0]);
}

#[tokio::test]
async fn the_backend_is_told_who_is_governed_by_the_guard_alone() {
    let claim = |request: reqwest::RequestBuilder| {
        request
            .header("mcp-connect-client", "mallory")
            .header("mcp_connect_tenant", "mallory")
            .header("mcp-connect-jti", "mallory")
    };
    let guard = echoing().await;
    let request = claim(guard.governed(Method::GET));
    let echo: Value = request.send().await.unwrap().json().await.unwrap();
    assert!(!echo.to_string().contains("mallory"), "{echo}");

    let guard = echoing_with(&["--identity-headers", "--mode", "optional"]).await;
    let request = claim(guard.ungoverned(Method::GET)).header(CONNECT, guard.token_of("dé", 60));
    let echo: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(seen(&echo, "mcp-connect-client"), ["d%C3%A9"]);
    assert_eq!(seen(&echo, "mcp-connect-tenant"), ["acme"]);
    assert_eq!(seen(&echo, "mcp-connect-jti"), ["q3VYb2h1S2FmT0l5dUtQZA"]);
    assert!(!echo.to_string().contains("mallory"), "{echo}");

    let request = claim(guard.ungoverned(Method::GET));
    let echo: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(seen(&echo, "mcp-connect-client"), [""; 0]);
    assert!(!echo.to_string().contains("mallory"), "{echo}");
}

/// Of backends that take both for the same: the verifier judges by headers in one spelling.
#[tokio::test]
async fn what_the_verifier_did_not_see_does_not_reach_the_backend() {
    let trailers = Arc::new(Mutex::new(None));
    let app = Router::new().fallback({
        let trailers = Arc::clone(&trailers);
        async move |request: axum::extract::Request| {
            let (parts, body) = request.into_parts();
            let body = http_body_util::BodyExt::collect(body).await.unwrap();
            *trailers.lock().unwrap() = body.trailers().cloned();
            echo(http::Request::from_parts(
                parts,
                Body::from(body.to_bytes()),
            ))
            .await
        }
    });
    let backend = serve(app).await;
    let url = format!("http://{backend}/inner");
    let guard = Guard::with(&url, &["--identity-headers"]).await;
    let token = guard.token(60);
    let answer = raw(
        guard.address,
        format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nMCP-Connect: {token}\r\n\
             Connection: close\r\nMcp_Session_Id: another's\r\nTransfer-Encoding: chunked\r\n\
             Trailer: MCP-Connect-Client, Mcp-Session-Id\r\n\r\n2\r\n{{}}\r\n0\r\n\
             MCP-Connect-Client: another\r\nMcp-Session-Id: another's\r\n\r\n"
        ),
    );
    let answer = answer.await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""body":"{}""#), "{answer}");
    assert!(!answer.contains("another"), "{answer}");
    assert_eq!(*trailers.lock().unwrap(), None);
}

#[tokio::test]
async fn a_session_is_not_let_go_by_a_request_that_does_not_name_it_at_the_backend() {
    let app = Router::new().fallback(async || [("mcp-session-id", "session")]);
    let guard = Guard::before(serve(app).await).await;
    let begun = guard.governed(Method::POST).send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::OK);
    let token = guard.token(60);
    let delete = format!(
        "DELETE /mcp HTTP/1.1\r\nHost: localhost\r\nMCP-Connect: {token}\r\n\
         Mcp-Session-Id: session\r\nConnection: close, Mcp-Session-Id\r\n\r\n"
    );
    let answer = raw(guard.address, delete).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let another = guard.ungoverned(Method::POST);
    let another = another.header(CONNECT, guard.token_of("another", 60));
    let another = another.header("mcp-session-id", "session").send().await;
    assert_eq!(another.unwrap().status(), StatusCode::FORBIDDEN);
}

/// A backend with one session, `S`, that splits header values at commas, trims and unquotes them, and
/// takes the session that it knows.
fn lenient(request: &axum::extract::Request) -> String {
    let values = request.headers().iter().filter(|(name, _)| {
        let name = name
            .as_str()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        name == "mcp-session-id"
    });
    let values: Vec<_> = values
        .flat_map(|(_, value)| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let items = text
                .split([',', ' ', '\t'])
                .map(|it| it.trim().trim_matches('"').to_owned());
            items.collect::<Vec<_>>()
        })
        .collect();
    if values.iter().any(|id| id == "S") {
        "the session of somebody else".into()
    } else {
        format!("no session: {values:?}")
    }
}

#[tokio::test]
async fn nobody_gets_into_the_session_of_another_by_its_spelling() {
    let app = Router::new().fallback(async |request: axum::extract::Request| {
        if request.headers().contains_key("x-begin") {
            return ([("mcp-session-id", "S")], String::new()).into_response();
        }
        lenient(&request).into_response()
    });
    let guard = Guard::before(serve(app).await).await;
    let begun = guard.governed(Method::POST).header("x-begin", "1").send();
    assert_eq!(begun.await.unwrap().headers()["mcp-session-id"], "S");
    let token = guard.token_of("another", 60);
    let sent = async |lines: &str| {
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             MCP-Connect: {token}\r\nContent-Length: 0\r\n{lines}\r\n\r\n"
        );
        raw(guard.address, request).await
    };
    for lines in [
        "Mcp-Session-Id: S",
        "Mcp-Session-Id: S, x",
        "Mcp-Session-Id: x, S",
        "Mcp-Session-Id: x,S",
        "Mcp-Session-Id: \"S\"",
        "Mcp-Session-Id: S x",
        "Mcp-Session-Id: x\tS",
        "Mcp-Session-Id: ,S,",
        "Mcp-Session-Id: x\r\nMcp-Session-Id: S",
        "Mcp-Session-Id: x\r\nMcp_Session_Id: S",
        "Mcp_Session_Id: S",
        "mcp.session.id: S",
        "Mcp-Session-Id: S\r\nMCP-Protocol-Version: 2026-07-28",
        "Mcp-Session-Id: S, x\r\nMCP-Protocol-Version: 2026-07-28",
    ] {
        let answer = sent(lines).await;
        assert!(answer.starts_with("HTTP/1.1 "), "{lines}: {answer}");
        assert!(!answer.contains("somebody else"), "{lines}: {answer}");
    }
    let ignored = sent("Mcp-Session-Id: S\r\nMCP-Protocol-Version: 2026-07-28").await;
    assert!(ignored.contains("no session: []"), "{ignored}");
    let own = guard
        .governed(Method::POST)
        .header("mcp-session-id", "S")
        .send();
    assert_eq!(
        own.await.unwrap().text().await.unwrap(),
        "the session of somebody else"
    );
}

#[tokio::test]
async fn an_open_path_has_no_session() {
    let metadata = "/.well-known/oauth-protected-resource/mcp";
    let guard = echoing_with(&["--open-paths", metadata]).await;
    let url = format!("http://{}{metadata}", guard.address);
    let request = guard.client.get(&url).header("mcp-session-id", "S");
    let request = request
        .header("last-event-id", "1")
        .header("mcp_session_id", "S");
    let echo: Value = request.send().await.unwrap().json().await.unwrap();
    for name in ["mcp-session-id", "last-event-id", "mcp_session_id"] {
        assert_eq!(seen(&echo, name), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn an_open_path_can_be_read_by_anybody() {
    let metadata = "/.well-known/oauth-protected-resource/mcp";
    let guard = echoing_with(&["--open-paths", metadata]).await;
    let url = format!("http://{}{metadata}?x", guard.address);
    let response = guard.client.get(&url).header(CONNECT, "x").send();
    let echo: Value = response.await.unwrap().json().await.unwrap();
    assert_eq!(echo["target"], format!("{metadata}?x"));
    assert_eq!(seen(&echo, CONNECT), [""; 0]);
    let post = guard.client.post(&url).send().await.unwrap();
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
}

async fn problem(guard: &Guard) -> (StatusCode, Value) {
    let response = guard.governed(Method::POST).body("{}").send();
    let response = response.await.unwrap();
    let status = response.status();
    let problem: Value = response.json().await.unwrap();
    (status, problem["error"]["data"].clone())
}

#[tokio::test]
async fn says_when_the_backend_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let guard = Guard::before(address).await;
    let (status, data) = problem(&guard).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert_eq!(data["code"], "backend_unreachable");
    assert_eq!(data["retryable"], true);

    // It needs no restart when the backend comes.
    let listener = TcpListener::bind(address).await.unwrap();
    let app = Router::new().fallback(echo);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let response = guard.governed(Method::POST).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let log = guard.log().await;
    assert!(log.contains("backend_unreachable"), "{log}");
}

#[tokio::test]
async fn says_when_the_backend_takes_no_connections() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts: these fill the queue, and further ones get no answer.
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "the queue is never full");
    }
    let guard = Guard::with(&format!("http://{address}/"), &["--connect-seconds", "1"]).await;
    // The kernel gives up, too: after two minutes.
    let asking = tokio::time::timeout(Duration::from_secs(10), problem(&guard));
    let (status, data) = asking.await.unwrap();
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(data["code"], "backend_slow");
}

#[tokio::test]
async fn says_when_the_backend_breaks_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut byte = [0];
            let _ = stream.read(&mut byte).await;
        }
    });
    let guard = Guard::before(address).await;
    let (status, data) = problem(&guard).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert_eq!(data["code"], "backend_failed");
    // The call may have had effects.
    assert_eq!(data["retryable"], false);
}

#[tokio::test]
async fn a_backend_can_be_behind_a_unix_socket() {
    let folder = std::env::temp_dir().join(format!("mcp-connect-guard-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("backend.sock");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let app = Router::new().fallback(echo);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let guard = Guard::with(&format!("unix:{}:/inner", path.display()), &[]).await;
    let response = guard.governed(Method::POST).send().await.unwrap();
    let echo: Value = response.json().await.unwrap();
    assert_eq!(echo["target"], "/inner");
    assert_eq!(seen(&echo, "host"), ["localhost"]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn nobody_can_hide_a_second_request_in_the_first() {
    let reached = Arc::new(AtomicUsize::new(0));
    let app = Router::new().fallback({
        let reached = Arc::clone(&reached);
        async move |request: axum::extract::Request| {
            reached.fetch_add(1, Ordering::SeqCst);
            echo(request).await
        }
    });
    let guard = Guard::before(serve(app).await).await;
    let token = guard.token(60);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = hidden.len();
    for framing in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n{hidden}"),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"),
        format!("Content-Length: {length}\r\n\r\n{hidden}"),
        format!("Connection: Content-Length\r\nContent-Length: {length}\r\n\r\n{hidden}"),
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
    ] {
        for method in ["POST", "GET"] {
            let before = reached.load(Ordering::SeqCst);
            let answers = raw(
                guard.address,
                format!(
                    "{method} /mcp HTTP/1.1\r\nHost: localhost\r\nMCP-Connect: {token}\r\n\
                     Connection: close\r\n{framing}"
                ),
            );
            let answers = answers.await;
            assert!(!answers.contains(r#""target":"/hidden""#), "{answers}");
            assert!(reached.load(Ordering::SeqCst) <= before + 1, "{framing}");
        }
    }
}

#[tokio::test]
async fn http_2_is_served_too() {
    let guard = echoing().await;
    let stream = TcpStream::connect(guard.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(AUDIENCE.replace("https", "http"))
        .header(CONNECT, guard.token(60))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body("{}".to_owned())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = http_body_util::BodyExt::collect(response.into_body());
    let echo: Value = serde_json::from_slice(&body.await.unwrap().to_bytes()).unwrap();
    assert_eq!(echo["target"], "/inner");
    assert_eq!(echo["body"], "{}");
    assert_eq!(seen(&echo, "cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn a_body_is_asked_for_only_where_it_is_wanted() {
    let guard = echoing().await;
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\
                Connection: close\r\nExpect: 100-continue\r\n";
    let refused = raw(guard.address, format!("{head}\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");

    let mut stream = TcpStream::connect(guard.address).await.unwrap();
    let token = guard.token(60);
    let request = format!("{head}MCP-Connect: {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(interim, *b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").await.unwrap();
    let answer = support::read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains(r#""body":"{}""#) && !answer.contains("expect"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_question_for_the_head_gets_no_body() {
    let app = Router::new().fallback(any(async || "twelve bytes"));
    let guard = Guard::before(serve(app).await).await;
    let response = guard.governed(Method::HEAD).send().await.unwrap();
    assert_eq!(response.headers()["content-length"], "12");
    assert_eq!(response.bytes().await.unwrap().len(), 0);
}

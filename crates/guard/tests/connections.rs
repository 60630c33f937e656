//! What a caller can't do to the guard's connections, descriptor or not.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::time::{Duration, Instant};

use axum::Router;
use reqwest::StatusCode;
use support::{CONNECT, Guard, echo, raw, read_to_end, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

async fn guard(arguments: &[&str]) -> Guard {
    let backend = serve(Router::new().fallback(echo)).await;
    Guard::with(&format!("http://{backend}/"), arguments).await
}

const HTTP_2_PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &str = "\0\0\0\x04\0\0\0\0\0";

#[tokio::test]
async fn whoever_is_slow_to_ask_is_let_go() {
    let guard = guard(&["--idle-seconds", "1"]).await;
    let began = Instant::now();
    let waiting = [
        String::new(),
        "P".to_owned(),
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_owned(),
        HTTP_2_PREFACE.to_owned(),
        format!("{HTTP_2_PREFACE}{EMPTY_SETTINGS}"),
        "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
    ]
    .map(|start| {
        let address = guard.address;
        tokio::spawn(async move { raw(address, start).await })
    });
    for waiting in waiting {
        waiting.await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn a_trickle_is_slow_too() {
    let guard = guard(&["--idle-seconds", "4"]).await;
    let mut stream = TcpStream::connect(guard.address).await.unwrap();
    let began = Instant::now();
    stream.write_all(b"GET /mcp HTTP/1.1\r\n").await.unwrap();
    while stream.write_all(b"X: y\r\n").await.is_ok() {
        // A connection without a request is let go, too, but takes twice as long.
        assert!(
            began.elapsed() < Duration::from_secs(6),
            "a head takes longer than it may"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(began.elapsed() >= Duration::from_secs(4));
}

/// An answer without end; says when nobody wants more of it.
struct Endless(#[expect(dead_code, reason = "dropped with it")] tokio::sync::oneshot::Sender<()>);

impl http_body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        let data = bytes::Bytes::from_static(&[b'x'; 4096]);
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(data))))
    }
}

#[tokio::test]
async fn whoever_does_not_take_an_answer_is_let_go() {
    let (unwanted, dropped) = tokio::sync::oneshot::channel();
    let body = std::sync::Mutex::new(Some(Endless(unwanted)));
    let body = std::sync::Arc::new(body);
    let app = Router::new().fallback(async move || {
        let endless = body.lock().unwrap().take();
        axum::body::Body::new(endless.unwrap())
    });
    let backend = serve(app).await;
    let guard = Guard::with(&format!("http://{backend}/"), &["--idle-seconds", "1"]).await;
    let mut stream = TcpStream::connect(guard.address).await.unwrap();
    let head = format!(
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\nMCP-Connect: {}\r\n\r\n",
        guard.token(60)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let let_go = timeout(Duration::from_secs(10), dropped).await;
    assert!(let_go.unwrap().is_err());
}

#[tokio::test]
async fn an_answer_that_nobody_lets_through_holds_no_connection() {
    let guard = guard(&["--idle-seconds", "1"]).await;
    let stream = TcpStream::connect(guard.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .initial_stream_window_size(0)
            .handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://localhost/nothing").body(String::new());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 404);
    let ended = timeout(Duration::from_secs(10), connection).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn an_answer_may_take_longer_than_a_question() {
    let app = Router::new().fallback(async || {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        "done"
    });
    let backend = serve(app).await;
    let guard = Guard::with(&format!("http://{backend}/"), &["--idle-seconds", "1"]).await;
    let response = guard.governed(reqwest::Method::GET).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "done");
}

#[tokio::test]
async fn heads_are_bounded() {
    let guard = guard(&[]).await;
    let many = "x: y\r\n".repeat(101);
    let long = format!("x: {}\r\n", "y".repeat(70_000));
    for headers in [many, long] {
        let head = format!("GET /mcp HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        let answer = raw(guard.address, head).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    // A descriptor as long as may be, and cookies, do fit: it is the verifier that says no.
    let request = guard.ungoverned(reqwest::Method::GET);
    let request = request.header(CONNECT, "x".repeat(8192));
    let response = request.header("cookie", "c".repeat(16_384)).send().await;
    assert_eq!(response.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn connections_are_bounded_and_wait_for_their_turn() {
    let guard = guard(&["--max-connections", "1"]).await;
    let head = "GET /nothing HTTP/1.1\r\nHost: localhost\r\n";
    let mut first = TcpStream::connect(guard.address).await.unwrap();
    let keep_alive = format!("{head}\r\n");
    first.write_all(keep_alive.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, *b"HTTP/1.1 404");

    let mut second = TcpStream::connect(guard.address).await.unwrap();
    let last = format!("{head}Connection: close\r\n\r\n");
    second.write_all(last.as_bytes()).await.unwrap();
    let too_early = timeout(Duration::from_millis(500), second.read_u8()).await;
    assert!(too_early.is_err());
    drop(first);
    let answer = read_to_end(&mut second).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn requests_of_one_connection_are_bounded_too() {
    let (release, wait) = tokio::sync::watch::channel(false);
    let app = Router::new().fallback(async move || {
        let _ = wait.clone().wait_for(|released| *released).await;
    });
    let backend = serve(app).await;
    let guard = Guard::with(&format!("http://{backend}/"), &["--max-connections", "1"]).await;
    let stream = TcpStream::connect(guard.address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let ask = |path: &str, token: &str| {
        let request = http::Request::get(format!("http://localhost{path}"));
        let request = request.header(CONNECT, token).body(String::new());
        tokio::spawn(sender.clone().send_request(request.unwrap()))
    };
    let first = ask("/mcp", &guard.token(60));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut second = ask("/nothing", "");
    let too_early = timeout(Duration::from_millis(500), &mut second).await;
    assert!(too_early.is_err());
    release.send(true).unwrap();
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(second.await.unwrap().unwrap().status(), 404);
}

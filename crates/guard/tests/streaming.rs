//! Bodies flow as they come, in both directions, and end in time.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, http::Response};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use reqwest::{Method, StatusCode};
use support::{CONNECT, Guard, eventually, serve};
use tokio::{sync::mpsc, time::timeout};

const CHUNK: usize = 64 * 1024;
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// What is sent by a test, piece by piece.
struct Fed(mpsc::Receiver<&'static str>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|text| Ok(Frame::data(text.into()))))
    }
}

/// So many zeros in chunks, counted as they are asked for.
struct Zeros {
    left: u64,
    made: Arc<AtomicU64>,
    dropped: Arc<AtomicBool>,
}

impl http_body::Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= CHUNK as u64;
        self.made.fetch_add(CHUNK as u64, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&ZEROS)))))
    }
}

impl Drop for Zeros {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
    }
}

/// A backend that answers each request with what the test feeds.
async fn fed() -> (String, mpsc::Sender<&'static str>) {
    let (feed, pieces) = mpsc::channel(1);
    let pieces = Arc::new(Mutex::new(Some(pieces)));
    let app = Router::new().fallback(async move || {
        let pieces = pieces.lock().unwrap().take().unwrap();
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(Body::new(Fed(pieces)))
            .unwrap()
    });
    (format!("http://{}/", serve(app).await), feed)
}

#[tokio::test]
async fn an_event_arrives_before_the_next_one_is_there() {
    let (backend, feed) = fed().await;
    let guard = Guard::with(&backend, &[]).await;
    let asking = guard.governed(Method::GET).send();
    let mut response = timeout(Duration::from_secs(5), asking)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
        feed.send(event).await.unwrap();
        let chunk = timeout(Duration::from_secs(5), response.chunk()).await;
        assert_eq!(chunk.unwrap().unwrap().unwrap(), event);
    }
    drop(feed);
    assert_eq!(response.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn an_upload_arrives_before_its_end_is_sent() {
    let (arrive, mut arrived) = mpsc::channel(1);
    let app = Router::new().fallback(async move |request: Request| {
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            arrive
                .send(frame.unwrap().into_data().unwrap())
                .await
                .unwrap();
        }
        "done"
    });
    let guard = Guard::before(serve(app).await).await;
    let (feed, pieces) = mpsc::channel(1);
    let body = reqwest::Body::wrap(Fed(pieces));
    let asking = tokio::spawn(guard.governed(Method::POST).body(body).send());
    for piece in ["one", "two", "three"] {
        feed.send(piece).await.unwrap();
        let seen = timeout(Duration::from_secs(5), arrived.recv()).await;
        assert_eq!(seen.unwrap().unwrap(), piece);
    }
    drop(feed);
    let response = asking.await.unwrap().unwrap();
    assert_eq!(response.text().await.unwrap(), "done");
}

fn zeros(bytes: u64) -> (Zeros, Arc<AtomicU64>, Arc<AtomicBool>) {
    let (made, dropped) = (Arc::default(), Arc::default());
    let zeros = Zeros {
        left: bytes,
        made: Arc::clone(&made),
        dropped: Arc::clone(&dropped),
    };
    (zeros, made, dropped)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn big_bodies_need_no_memory() {
    const SIZE: u64 = 256 * 1024 * 1024;
    let app = Router::new().fallback(async |request: Request| {
        let mut body = request.into_body();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            received += frame.unwrap().into_data().unwrap().len() as u64;
        }
        assert_eq!(received, SIZE);
        Body::new(zeros(SIZE).0)
    });
    let guard = Guard::before(serve(app).await).await;
    let body = reqwest::Body::wrap(zeros(SIZE).0);
    let mut response = guard
        .governed(Method::POST)
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut received = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        received += chunk.len() as u64;
    }
    assert_eq!(received, SIZE);
    let peak = guard.peak_memory();
    assert!(peak < SIZE / 4, "{peak} bytes");
}

#[tokio::test]
async fn who_does_not_read_holds_the_backend_up() {
    let (body, made, dropped) = zeros(1024 * 1024 * 1024);
    let body = Arc::new(Mutex::new(Some(body)));
    let app = Router::new().fallback(async move || {
        let body = body.lock().unwrap().take().unwrap();
        Body::new(body)
    });
    let guard = Guard::before(serve(app).await).await;
    let response = guard.governed(Method::GET).send().await.unwrap();
    let mut before = 0;
    // Buffers of three programs and two pairs of sockets fill up, then nothing moves.
    eventually("it stops to make more", || {
        let now = made.load(Ordering::SeqCst);
        let stands = now > 0 && now == before;
        before = now;
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stands
        }
    })
    .await;
    assert!(made.load(Ordering::SeqCst) < 128 * 1024 * 1024);

    // And who goes away ends it.
    drop(response);
    eventually("the backend is told", || {
        std::future::ready(dropped.load(Ordering::SeqCst))
    })
    .await;
}

#[tokio::test]
async fn a_caller_who_goes_away_cancels_a_call_that_is_not_answered() {
    struct Cancelled(Arc<AtomicBool>);
    impl Drop for Cancelled {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let (started, cancelled) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let app = Router::new().fallback({
        let (started, cancelled) = (Arc::clone(&started), Arc::clone(&cancelled));
        async move || {
            let _cancelled = Cancelled(cancelled);
            started.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
    });
    let guard = Guard::before(serve(app).await).await;
    let asking = tokio::spawn(guard.governed(Method::POST).send());
    eventually("it is called", || {
        std::future::ready(started.load(Ordering::SeqCst))
    })
    .await;
    asking.abort();
    eventually("it is cancelled", || {
        std::future::ready(cancelled.load(Ordering::SeqCst))
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_its_descriptor() {
    let (backend, feed) = fed().await;
    let guard = Guard::without_tolerance(&backend).await;
    let asking = guard
        .ungoverned(Method::GET)
        .header(CONNECT, guard.token(3));
    let mut response = asking.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    feed.send("data: one\n\n").await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    let end = timeout(Duration::from_secs(6), response.chunk()).await;
    assert_eq!(end.unwrap().unwrap(), None);
    // The backend is told, too.
    timeout(Duration::from_secs(5), feed.closed())
        .await
        .unwrap();
    let log = guard.log().await;
    assert!(log.contains("refresh_timeout"), "{log}");
}

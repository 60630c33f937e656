//! The layer around services that are no axum router.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use mcp_connect_verifier::{ConnectLayer, HEADER, Mode};
use support::{Answer, Authority, key, key_set};
use tower::{Layer, Service, ServiceExt};

/// As strict about readiness as a service may be: a clone isn't ready, and one call uses it up.
struct Strict {
    ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { ready: false }
    }
}

impl Service<Request<()>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(self.ready, "called without having been polled ready");
        self.ready = false;
        ready(Ok(Response::new(Full::from("hello"))))
    }
}

#[tokio::test]
async fn calls_the_service_that_was_ready_with_and_without_waiting_for_keys() {
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority.verifier().build().unwrap();
    let mut service = ConnectLayer::new(verifier).layer(Strict { ready: false });
    for _ in 0..3 {
        let request = Request::builder()
            .header(HEADER, authority.token())
            .body(())
            .unwrap();
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "hello");
    }
}

#[tokio::test]
async fn refuses_without_calling_the_service() {
    let authority = Authority::start(Answer::Status(500)).await;
    let verifier = authority.verifier().build().unwrap();
    let service = tower::service_fn(
        async |_: Request<()>| -> Result<Response<Full<Bytes>>, Infallible> {
            panic!("must not be reached")
        },
    );
    let response = ConnectLayer::new(verifier)
        .layer(service)
        .oneshot(Request::new(()))
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    let size = http_body::Body::size_hint(response.body()).exact();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(size, Some(body.len() as u64));
}

/// Over HTTP/2 they get here; a proxy behind, that speaks HTTP/1.1, would have them lost.
#[tokio::test]
async fn spaces_around_a_session_id_make_no_other_session_of_it() {
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority.verifier().mode(Mode::Optional).build().unwrap();
    let service = tower::service_fn(async |_: Request<()>| {
        let begins = Response::builder().header("mcp-session-id", "s");
        Ok::<_, Infallible>(begins.body(Full::<Bytes>::default()).unwrap())
    });
    let service = ConnectLayer::new(verifier).layer(service);
    let begin = Request::builder().header(HEADER, authority.token());
    let answer = service.clone().oneshot(begin.body(()).unwrap()).await;
    assert_eq!(answer.unwrap().status(), 200);
    for (id, status) in [("s", 401), ("s ", 401), (" \ts", 401), ("t", 200)] {
        let request = Request::builder().header("mcp-session-id", id);
        let response = service.clone().oneshot(request.body(()).unwrap()).await;
        assert_eq!(response.unwrap().status(), status, "{id:?}");
    }
}

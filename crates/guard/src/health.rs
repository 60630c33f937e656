//! What the operator's probes are told, on a listener of its own: it can't collide with a path of
//! the backend, and need not be reachable by clients.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use mcp_connect_verifier::{ClockStatus, Verifier};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    address::Socket,
    backend,
    fault::{Fault, json_response},
    metrics::Metrics,
};

const CONNECT_LIMIT: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) backend: Arc<Socket>,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
    pub(crate) verifier: Verifier,
}

impl Health {
    pub(crate) async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Fault::Method.to_response();
        }
        match (request.uri().path(), self.metrics.render()) {
            ("/healthz", _) => self.healthz().await,
            ("/metrics", Some(metrics)) => text_response(metrics),
            _ => Fault::Path.to_response(),
        }
    }

    async fn healthz(&self) -> Response<Full<Bytes>> {
        let is_reachable = backend::is_reachable(&self.backend, CONNECT_LIMIT).await;
        let authority = self.verifier.status();
        let is_clock_wrong = authority.clock.is_some_and(|clock| clock.wrong);
        let status = if self.stop.is_cancelled() {
            "stopping"
        } else if is_reachable && authority.keys.usable && !is_clock_wrong {
            "ok"
        } else {
            "unavailable"
        };
        let http_status = if status == "ok" {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let seconds = |age: Option<Duration>| age.map(|age| age.as_secs());
        let body = json!({
            "status": status,
            "backend": if is_reachable { "reachable" } else { "unreachable" },
            "clock": authority.clock.map(clock),
            "key_set": {
                "usable": authority.keys.usable,
                "keys": authority.keys.count,
                "age_seconds": seconds(authority.keys.age),
            },
            "feed": authority.feed.map(|feed| json!({
                "failing": feed.failing,
                "entries": feed.entries,
                "age_seconds": seconds(feed.age),
            })),
        });
        json_response(http_status, &body)
    }
}

/// What is known of this machine's clock, in words if it is wrong.
fn clock(clock: ClockStatus) -> serde_json::Value {
    let mut told = json!({ "wrong": clock.wrong, "offset_seconds": clock.offset_seconds });
    if let (true, Some(told)) = (clock.wrong, told.as_object_mut()) {
        told.insert("problem".into(), clock.to_string().into());
    }
    told
}

fn text_response(text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(text.into());
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

//! What the operator's probes are told, on a listener of its own: it can't collide with a path of
//! the backend, and need not be reachable by clients.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
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
        let backend = if backend::is_reachable(&self.backend, CONNECT_LIMIT).await {
            "reachable"
        } else {
            "unreachable"
        };
        let status = if self.stop.is_cancelled() {
            "stopping"
        } else if backend == "reachable" {
            "ok"
        } else {
            "unavailable"
        };
        let http_status = if status == "ok" {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        json_response(
            http_status,
            &json!({ "status": status, "backend": backend }),
        )
    }
}

fn text_response(text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(text.into());
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

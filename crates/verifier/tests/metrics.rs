//! What is counted, and that no label tells of anybody.
#![cfg(feature = "metrics")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::{collections::BTreeMap, time::Duration};

use axum::{Router, http::HeaderMap, routing::any};
use mcp_connect_descriptor::Descriptor;
use mcp_connect_verifier::{ConnectLayer, HEADER, Mode};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use support::{Answer, Authority, eventually, key, key_set, serve};

const SESSION: &str = "mcp-session-id";

/// Each metric with its labels, as Prometheus writes them.
#[derive(Default)]
struct Counted(BTreeMap<String, f64>);

impl Counted {
    /// Adds what was counted since the last time: a snapshot sets gauges to 0 as well.
    fn look(&mut self, snapshotter: &Snapshotter) {
        for (key, _, description, value) in snapshotter.snapshot().into_vec() {
            assert!(description.is_some(), "{key:?} is not described");
            let key = key.key();
            let labels = key
                .labels()
                .map(|it| format!("{}={}", it.key(), it.value()));
            let labels: Vec<_> = labels.collect();
            let name = format!("{}{{{}}}", key.name(), labels.join(","));
            match value {
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                DebugValue::Counter(count) => *self.0.entry(name).or_default() += count as f64,
                DebugValue::Gauge(value) => *self.0.entry(name).or_default() += value.into_inner(),
                DebugValue::Histogram(_) => unreachable!("there is none"),
            }
        }
    }

    fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

/// Knows every session, and those that it is asked to begin.
async fn inner(headers: HeaderMap) -> HeaderMap {
    let mut answer = HeaderMap::new();
    if let Some(id) = headers.get("x-begin") {
        answer.insert(SESSION, id.clone());
    }
    answer
}

#[tokio::test]
async fn counts_refusals_sessions_and_their_ends() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut counted = Counted::default();

    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority
        .verifier()
        .leeway(Duration::ZERO)
        .grace(Duration::ZERO)
        .path("/trial", Mode::Report)
        .build()
        .unwrap();
    let app = Router::new()
        .route("/mcp", any(inner))
        .route("/trial", any(inner))
        .layer(ConnectLayer::new(verifier));
    let base = format!("http://{}", serve(app).await);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = |path: &str, descriptor: &Descriptor| {
        let token = descriptor.mint(&key(1)).unwrap();
        client.post(format!("{base}{path}")).header(HEADER, token)
    };
    let good = authority.descriptor(60);

    client.post(format!("{base}/mcp")).send().await.unwrap();
    client.post(format!("{base}/trial")).send().await.unwrap();
    for id in ["a", "b"] {
        let begun = post("/mcp", &good).header("x-begin", id).send().await;
        assert_eq!(begun.unwrap().status(), 200);
    }
    let short = authority.descriptor(2);
    let begun = post("/mcp", &short).header("x-begin", "c").send().await;
    assert_eq!(begun.unwrap().status(), 200);
    counted.look(&snapshotter);
    assert!((counted.of("mcp_connect_sessions{}") - 3.0).abs() < 0.1);
    let offset = counted.of("mcp_connect_clock_offset_seconds{}");
    assert!(counted.0.contains_key("mcp_connect_clock_offset_seconds{}") && offset.abs() < 2.0);

    let deleted = client.delete(format!("{base}/mcp"));
    let deleted = deleted.header(HEADER, good.mint(&key(1)).unwrap());
    let deleted = deleted.header(SESSION, "a").send().await.unwrap();
    assert_eq!(deleted.status(), 200);
    // No request before: it would renew the session.
    eventually("the session has ended", async || {
        support::now().as_secs() >= short.expires_at
    })
    .await;
    let late = post("/mcp", &good).header(SESSION, "c").send().await;
    assert_eq!(late.unwrap().status(), 404);

    counted.look(&snapshotter);
    for (name, count) in [
        ("mcp_connect_sessions{}", 1.0),
        (
            "mcp_connect_sessions_ended_total{reason=deleted,effect=enforced}",
            1.0,
        ),
        (
            "mcp_connect_sessions_ended_total{reason=refresh_timeout,effect=enforced}",
            1.0,
        ),
        (
            "mcp_connect_refusals_total{code=descriptor_missing,effect=enforced}",
            1.0,
        ),
        (
            "mcp_connect_refusals_total{code=descriptor_missing,effect=reported}",
            1.0,
        ),
        (
            "mcp_connect_refusals_total{code=session_ended,effect=enforced}",
            1.0,
        ),
    ] {
        assert!(
            (counted.of(name) - count).abs() < 0.1,
            "{name}: {:?}",
            counted.0
        );
    }
    for name in counted.0.keys() {
        for private in ["desktop", "acme", &good.jti, "eyJ"] {
            assert!(!name.contains(private), "{name}");
        }
    }
}

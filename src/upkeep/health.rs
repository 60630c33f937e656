//! Asking endpoints whether they are MCP servers, and keeping the verdicts fresh.

use std::{cell::RefCell, collections::HashMap, fmt, time::Duration};

use futures_util::{StreamExt, stream};
use http::Method;
use mcp_connect_catalog::{Endpoint, EndpointRules};
use serde_json::Value;

use crate::{
    authority::{
        LEGACY_VERSION, MODERN_VERSION, Verdict, discover_request, holds_answer,
        initialize_request, judge_discover, judge_initialize, negotiated_version,
    },
    platform::{
        Settings, now_millis,
        outbound::{self, Answer, Outbound, OutboundError},
    },
    store::{Store, StoreError},
};

/// For all questions of a probe together.
const TIME_LIMIT: Duration = Duration::from_secs(3);
/// A probe that has not come back by then went down with the request that began it.
const GIVEN_UP_AFTER_MILLIS: u64 = 10_000;
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const SESSION: &str = "mcp-session-id";

/// A Worker has six connections at once.
const CONCURRENCY: usize = 5;
/// Of one run, which has a minute until the next.
const MAX_PROBES: usize = 100;
const LONGEST_RUN_MILLIS: u64 = 45_000;

thread_local! {
    // By endpoint: when the probe began.
    static IN_FLIGHT: RefCell<HashMap<String, u64>> = RefCell::default();
}

/// Asks now, whatever is known. `None`: somebody in this isolate is asking already.
pub(crate) async fn renew(
    endpoint: &str,
    known: Option<&Verdict>,
    rules: EndpointRules,
) -> Option<Verdict> {
    let _in_flight = InFlight::begin(endpoint, now_millis())?;
    let probed = probe(endpoint, rules).await;
    let verdict = Verdict::after(known, probed, now_millis());
    Store::remember_verdict(endpoint, &verdict);
    Some(verdict)
}

/// A probe of this isolate that has not come back.
struct InFlight(String);

impl InFlight {
    fn begin(endpoint: &str, now: u64) -> Option<Self> {
        IN_FLIGHT.with_borrow_mut(|probes| {
            let is_under_way = probes
                .get(endpoint)
                .is_some_and(|began_at| now.saturating_sub(*began_at) < GIVEN_UP_AFTER_MILLIS);
            if is_under_way {
                return None;
            }
            probes.insert(endpoint.to_owned(), now);
            Some(Self(endpoint.to_owned()))
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        IN_FLIGHT.with_borrow_mut(|probes| probes.remove(&self.0));
    }
}

/// What a run of the cron did.
pub(crate) struct Refreshed {
    healthy: usize,
    failing: usize,
}

impl fmt::Display for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} healthy, {} failing", self.healthy, self.failing)
    }
}

/// Asks the endpoints in use whose verdict is due, the longest unseen first.
pub(crate) async fn refresh(settings: &Settings, store: &Store) -> Result<Refreshed, StoreError> {
    let rules = settings.endpoint_rules();
    let began_at = now_millis();
    let due = store.due_endpoints(MAX_PROBES).await?;
    let verdicts: Vec<Verdict> = stream::iter(due)
        .map(|(endpoint, known)| async move {
            if now_millis().saturating_sub(began_at) > LONGEST_RUN_MILLIS {
                return None;
            }
            let verdict = renew(&endpoint, known.as_ref(), rules).await?;
            store.keep_verdict(&endpoint, &verdict).await;
            Some(verdict)
        })
        .buffer_unordered(CONCURRENCY)
        .filter_map(|verdict| async { verdict })
        .collect()
        .await;
    let healthy = verdicts
        .iter()
        .filter(|verdict| verdict.failures == 0)
        .count();
    Ok(Refreshed {
        healthy,
        failing: verdicts.len() - healthy,
    })
}

/// Asks as a client of either era would: what a server of 2026-07-28 must answer, and failing that,
/// for a session, which is ended at once.
async fn probe(endpoint: &str, rules: EndpointRules) -> Result<(), String> {
    let endpoint = Endpoint::parse(endpoint, rules).map_err(|error| format!("the URL {error}"))?;
    let began_at = now_millis();
    let modern = [
        ("mcp-protocol-version", MODERN_VERSION),
        ("mcp-method", "server/discover"),
    ];
    // A server of before may never answer what it does not know: half the time is for the other.
    match post(&endpoint, &modern, &discover_request(), TIME_LIMIT / 2).await {
        Ok(answer) => {
            let judged = judge_discover(
                answer.status,
                answer.header("www-authenticate"),
                &answer.body,
            );
            if judged.is_ok() || answer.status.is_redirection() {
                return judged;
            }
        }
        Err(OutboundError::Failed(_)) => return Err("nobody answers there".into()),
        Err(OutboundError::TimedOut | OutboundError::TooLarge(_)) => {}
    }
    let spent = Duration::from_millis(now_millis().saturating_sub(began_at));
    let rest = TIME_LIMIT.saturating_sub(spent);
    let answer = post(&endpoint, &[], &initialize_request(), rest)
        .await
        .map_err(|error| match error {
            OutboundError::Failed(_) => "nobody answers there".to_owned(),
            OutboundError::TimedOut => format!("no answer within {} s", TIME_LIMIT.as_secs()),
            OutboundError::TooLarge(_) => error.to_string(),
        })?;
    end_session(&endpoint, &answer).await;
    judge_initialize(
        answer.status,
        answer.header("www-authenticate"),
        &answer.body,
    )
}

async fn post(
    endpoint: &Endpoint,
    headers: &[(&'static str, &str)],
    message: &Value,
    time_limit: Duration,
) -> Result<Answer, OutboundError> {
    let body = message.to_string();
    let headers: Vec<(&'static str, &str)> = [
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("user-agent", "mcp-connect-authority"),
    ]
    .into_iter()
    .chain(headers.iter().copied())
    .collect();
    let request = Outbound {
        url: endpoint,
        headers: &headers,
        body: Some(&body),
        time_limit,
        max_bytes: MAX_ANSWER_BYTES,
    };
    outbound::exchange(&request, &Method::POST, holds_answer).await
}

/// A server that keeps sessions should not keep those of probes. Whether it hears is its own affair.
async fn end_session(endpoint: &Endpoint, answer: &Answer) {
    let Some(session) = answer.header(SESSION) else {
        return;
    };
    let version = negotiated_version(&answer.body).unwrap_or_else(|| LEGACY_VERSION.into());
    let request = Outbound {
        url: endpoint,
        headers: &[
            ("mcp-session-id", session),
            ("mcp-protocol-version", &version),
            ("user-agent", "mcp-connect-authority"),
        ],
        body: None,
        time_limit: TIME_LIMIT,
        max_bytes: MAX_ANSWER_BYTES,
    };
    let _ = outbound::exchange(&request, &Method::DELETE, |_| false).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_probe_at_a_time_and_none_for_ever() {
        let probe = InFlight::begin("a", 1_000);
        assert!(probe.is_some());
        assert!(InFlight::begin("a", 2_000).is_none());
        assert!(InFlight::begin("b", 2_000).is_some());
        drop(probe);
        let lost = InFlight::begin("a", 3_000);
        assert!(lost.is_some());
        // As it is where a request is given up: nothing of it is ever dropped.
        std::mem::forget(lost);
        assert!(InFlight::begin("a", 3_000 + GIVEN_UP_AFTER_MILLIS - 1).is_none());
        assert!(InFlight::begin("a", 3_000 + GIVEN_UP_AFTER_MILLIS).is_some());
    }
}

//! Asking endpoints whether they are MCP servers, and keeping the verdicts fresh.

use std::{cell::RefCell, collections::HashMap, fmt, time::Duration};

use futures_util::{StreamExt, stream};
use http::{HeaderName, Method};
use mcp_connect_catalog::{Endpoint, EndpointRules};
use serde_json::Value;
use worker::Context;

use crate::{
    authority::{
        Denial, Gating, LEGACY_VERSION, MODERN_VERSION, Verdict, admit_endpoint, discover_request,
        holds_answer, initialize_request, judge_discover, judge_initialize, negotiated_version,
    },
    platform::{
        Settings, log, now_millis,
        outbound::{self, Answer, Outbound, OutboundError},
    },
    store::{Store, StoreError},
};

/// For all questions of a probe together.
const TIME_LIMIT: Duration = Duration::from_secs(3);
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// A Worker has six connections at once.
const CONCURRENCY: usize = 5;
/// Of one run, which has a minute until the next.
const MAX_PROBES: usize = 100;
const LONGEST_RUN_MILLIS: u64 = 45_000;

/// A probe that has not come back after this was given up with the request that waited for it: what
/// belongs to one that is cancelled never goes on, not even to say so.
const GIVEN_UP_AFTER_MILLIS: u64 = 10_000;

thread_local! {
    // Since when, in milliseconds since the Unix epoch.
    static IN_FLIGHT: RefCell<HashMap<String, u64>> = RefCell::default();
}

pub(crate) fn is_on(gating: Gating) -> bool {
    gating != Gating::Off
}

/// Whether connects to an endpoint are let through. What must not keep the caller waiting goes on
/// after the answer.
pub(crate) async fn admit(
    gating: Gating,
    endpoint: &str,
    rules: EndpointRules,
    store: &Store,
    context: &Context,
) -> Result<(), Denial> {
    if !is_on(gating) {
        return Ok(());
    }
    let mut verdict = store.verdict(endpoint).await;
    let now = now_millis();
    match gating {
        Gating::Inline if verdict.as_ref().is_none_or(|verdict| verdict.is_due(now)) => {
            if let Some(renewed) = renew(endpoint, verdict.as_ref(), rules).await {
                let (endpoint, store) = (endpoint.to_owned(), store.clone());
                verdict = Some(renewed.clone());
                context.wait_until(async move { store.keep_verdict(&endpoint, &renewed).await });
            }
        }
        Gating::Cached
            if verdict
                .as_ref()
                .is_none_or(|verdict| !verdict.is_usable(now)) =>
        {
            let (endpoint, store, known) = (endpoint.to_owned(), store.clone(), verdict.clone());
            context.wait_until(async move {
                if let Some(renewed) = renew(&endpoint, known.as_ref(), rules).await {
                    store.keep_verdict(&endpoint, &renewed).await;
                }
            });
        }
        Gating::Off | Gating::Cached | Gating::Inline => {}
    }
    if Store::wants_mark(endpoint) {
        let (endpoint, store) = (endpoint.to_owned(), store.clone());
        context.wait_until(async move {
            if let Err(error) = store.mark_in_use(&endpoint).await {
                log::error("health_not_kept", &[("problem", &error.to_string())]);
            }
        });
    }
    admit_endpoint(verdict.as_ref(), now_millis())
}

/// Asks now, whatever is known. `None`: somebody in this isolate is asking already.
pub(crate) async fn renew(
    endpoint: &str,
    known: Option<&Verdict>,
    rules: EndpointRules,
) -> Option<Verdict> {
    let _in_flight = InFlight::begin(endpoint)?;
    let probed = probe(endpoint, rules).await;
    let verdict = Verdict::after(known, probed, now_millis());
    Store::remember_verdict(endpoint, &verdict);
    Some(verdict)
}

/// A probe of this isolate that has not come back.
struct InFlight(String);

impl InFlight {
    fn begin(endpoint: &str) -> Option<Self> {
        IN_FLIGHT
            .with_borrow_mut(|probes| may_begin(probes, endpoint, now_millis()))
            .then(|| Self(endpoint.to_owned()))
    }
}

/// Notes that a probe begins now, unless one is under way.
fn may_begin(probes: &mut HashMap<String, u64>, endpoint: &str, now: u64) -> bool {
    probes.retain(|_, since| now.saturating_sub(*since) < GIVEN_UP_AFTER_MILLIS);
    let may = !probes.contains_key(endpoint);
    if may {
        probes.insert(endpoint.to_owned(), now);
    }
    may
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
            let judged = judge_discover(answer.status, &answer.headers, &answer.body);
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
    judge_initialize(answer.status, &answer.headers, &answer.body)
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
    let Some(session) = answer
        .headers
        .get(SESSION)
        .and_then(|session| session.to_str().ok())
    else {
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
    fn a_probe_that_was_given_up_keeps_no_other_from_asking_for_ever() {
        let mut probes = HashMap::new();
        assert!(may_begin(&mut probes, "https://a.example/", 1_000));
        assert!(!may_begin(&mut probes, "https://a.example/", 10_999));
        assert!(may_begin(&mut probes, "https://b.example/", 10_999));
        assert!(may_begin(&mut probes, "https://a.example/", 11_000));
        assert_eq!(probes.len(), 2);
    }
}

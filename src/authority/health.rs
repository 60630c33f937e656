//! Whether an endpoint answers as an MCP server, and from when on one that doesn't is closed to
//! connects.

use base64ct::{Base64UrlUnpadded, Encoding};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::authority::Denial;

/// So many probes in a row that found no MCP server, and the endpoint is closed: one lost packet, or
/// one restart, closes nothing.
const CLOSED_AFTER_FAILURES: u32 = 2;

/// A verdict older than this says nothing any more.
const USABLE_MILLIS: u64 = 10 * 60 * 1000;
/// When a verdict is due to be renewed, depending on how it went last.
const HEALTHY_FOR_MILLIS: u64 = 50_000;
const FAILING_FOR_MILLIS: u64 = 5_000;

pub(crate) const REQUEST_ID: &str = "mcp-connect-probe";
pub(crate) const MODERN_VERSION: &str = "2026-07-28";
pub(crate) const LEGACY_VERSION: &str = "2025-11-25";

/// Whether, and how, connect looks at the health of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Gating {
    Off,
    /// By the last verdict; the cron, and a connect without one, see to the next.
    Cached,
    /// By a probe of its own where the last verdict is due.
    Inline,
}

/// What is known of an endpoint. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) checked_at: u64,
    pub(crate) last_success: Option<u64>,
    /// Probes in a row.
    pub(crate) failures: u32,
    /// Of the last failure.
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    Healthy,
    /// It failed, but not often enough to be closed.
    Failing,
    Unhealthy,
}

impl Verdict {
    /// After one more probe.
    pub(crate) fn after(previous: Option<&Self>, probed: Result<(), String>, now: u64) -> Self {
        match probed {
            Ok(()) => Self {
                checked_at: now,
                last_success: Some(now),
                failures: 0,
                reason: None,
            },
            Err(reason) => Self {
                checked_at: now,
                last_success: previous.and_then(|previous| previous.last_success),
                failures: previous
                    .map_or(0, |previous| previous.failures)
                    .saturating_add(1),
                reason: Some(reason),
            },
        }
    }

    pub(crate) const fn health(&self) -> Health {
        match self.failures {
            0 => Health::Healthy,
            CLOSED_AFTER_FAILURES.. => Health::Unhealthy,
            _ => Health::Failing,
        }
    }

    /// Whether it still says something.
    pub(crate) const fn is_usable(&self, now: u64) -> bool {
        now.saturating_sub(self.checked_at) <= USABLE_MILLIS
    }

    /// Whether it is time to ask again.
    pub(crate) const fn is_due(&self, now: u64) -> bool {
        let age = now.saturating_sub(self.checked_at);
        age >= if self.failures == 0 {
            HEALTHY_FOR_MILLIS
        } else {
            FAILING_FOR_MILLIS
        }
    }
}

/// An endpoint of which nothing recent is known is open.
pub(crate) fn admit_endpoint(verdict: Option<&Verdict>, now: u64) -> Result<(), Denial> {
    match verdict {
        Some(verdict) if verdict.health() == Health::Unhealthy && verdict.is_usable(now) => {
            Err(Denial::ServerUnavailable {
                last_success: verdict.last_success,
            })
        }
        _ => Ok(()),
    }
}

/// A name for an endpoint of bounded length.
pub(crate) fn endpoint_hash(endpoint: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(endpoint))
}

/// What MCP 2026-07-28 has every server answer.
pub(crate) fn discover_request() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": REQUEST_ID,
        "method": "server/discover",
        "params": { "_meta": {
            "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": client_info(),
        } },
    })
}

/// How a session begins in MCP 2025-11-25 and before.
pub(crate) fn initialize_request() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": REQUEST_ID,
        "method": "initialize",
        "params": {
            "protocolVersion": LEGACY_VERSION,
            "capabilities": {},
            "clientInfo": client_info(),
        },
    })
}

fn client_info() -> Value {
    json!({ "name": "mcp-connect-authority", "version": env!("CARGO_PKG_VERSION") })
}

/// Whether an answer to `server/discover` is one of an MCP server.
pub(crate) fn judge_discover(
    status: StatusCode,
    www_authenticate: Option<&str>,
    body: &[u8],
) -> Result<(), String> {
    judge(status, www_authenticate, body, |answer| {
        if let Some(result) = answer.get("result") {
            return result.get("supportedVersions").is_some_and(Value::is_array);
        }
        // Header mismatch, missing client capability, unsupported version: codes of this era only.
        matches!(error_code(answer), Some(-32022..=-32020))
    })
}

/// Whether an answer to `initialize` is one of an MCP server.
pub(crate) fn judge_initialize(
    status: StatusCode,
    www_authenticate: Option<&str>,
    body: &[u8],
) -> Result<(), String> {
    judge(status, www_authenticate, body, |answer| {
        if let Some(result) = answer.get("result") {
            return result.get("protocolVersion").is_some_and(Value::is_string);
        }
        // Any JSON-RPC service says that it has no such method, or can't read the message.
        error_code(answer).is_some_and(|code| !matches!(code, -32601 | -32600 | -32700))
    })
}

fn judge(
    status: StatusCode,
    www_authenticate: Option<&str>,
    body: &[u8],
    is_mcp: fn(&Value) -> bool,
) -> Result<(), String> {
    if status == StatusCode::UNAUTHORIZED && www_authenticate.is_some_and(asks_for_credential) {
        return Ok(());
    }
    let answer = answer(body);
    let refused = answer.as_ref().is_some_and(|answer| {
        // A governed server's refusal: the probe shows no descriptor.
        let code = answer.pointer("/error/data/code").and_then(Value::as_str);
        code.is_some_and(|code| code.starts_with("descriptor_"))
    });
    if status.is_server_error() || status.is_redirection() {
        return Err(format!("HTTP {}", status.as_u16()));
    }
    match answer {
        Some(answer) if refused || is_mcp(&answer) => Ok(()),
        Some(answer) => Err(match error_code(&answer) {
            Some(code) => format!("HTTP {}, JSON-RPC error {code}", status.as_u16()),
            None => format!("HTTP {}, and no answer of MCP", status.as_u16()),
        }),
        None => Err(format!("HTTP {}, and no JSON-RPC", status.as_u16())),
    }
}

/// The user's access token is asked for, or a descriptor. Who would show one gets further.
fn asks_for_credential(www_authenticate: &str) -> bool {
    www_authenticate
        .split(',')
        .filter_map(|part| part.split_ascii_whitespace().next())
        .any(|scheme| {
            ["bearer", "dpop", "mcp-connect"]
                .iter()
                .any(|known| scheme.eq_ignore_ascii_case(known))
        })
}

fn error_code(answer: &Value) -> Option<i64> {
    answer.pointer("/error/code").and_then(Value::as_i64)
}

/// The JSON-RPC answer to the probe, be it JSON or in an event stream. An error may come without
/// the id of the request.
fn answer(body: &[u8]) -> Option<Value> {
    let is_answer = |message: &Value| {
        message.get("jsonrpc").and_then(Value::as_str) == Some("2.0")
            && match message.get("id") {
                Some(Value::String(id)) => id == REQUEST_ID,
                Some(Value::Null) | None => message.get("error").is_some(),
                _ => false,
            }
            && (message.get("result").is_some() || error_code(message).is_some())
    };
    if let Ok(message) = serde_json::from_slice::<Value>(body) {
        return Some(message).filter(is_answer);
    }
    events(body)
        .filter_map(|data| serde_json::from_str::<Value>(&data).ok())
        .find(is_answer)
}

/// The version that a server chose for the session that `initialize` began.
pub(crate) fn negotiated_version(body: &[u8]) -> Option<String> {
    let answer = answer(body)?;
    let version = answer.pointer("/result/protocolVersion")?.as_str()?;
    // It goes into a header.
    let is_date = |byte: u8| byte.is_ascii_digit() || byte == b'-';
    (version.len() <= 20 && version.bytes().all(is_date)).then(|| version.to_owned())
}

/// Whether a body that is not at its end yet holds the answer.
pub(crate) fn holds_answer(body: &[u8]) -> bool {
    // An event ends with an empty line, JSON with its last brace.
    matches!(body.trim_ascii_end().last(), Some(b'}')) && answer(body).is_some()
}

/// The data of each event of an event stream.
fn events(body: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n");
    let events: Vec<String> = text
        .split("\n\n")
        .map(|event| {
            let data = event.lines().filter_map(|line| line.strip_prefix("data:"));
            data.collect::<Vec<_>>().join("\n")
        })
        .collect();
    events.into_iter()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Judge = fn(StatusCode, Option<&str>, &[u8]) -> Result<(), String>;

    fn ask(judge: Judge, status: u16, challenge: Option<&'static str>, body: &str) -> bool {
        let status = StatusCode::from_u16(status).unwrap();
        judge(status, challenge, body.as_bytes()).is_ok()
    }

    fn result(result: &Value) -> String {
        json!({ "jsonrpc": "2.0", "id": REQUEST_ID, "result": result }).to_string()
    }

    fn error(code: i32, data: &Value) -> String {
        json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": "", "data": data } })
            .to_string()
    }

    #[test]
    fn an_mcp_server_of_either_era_answers() {
        let discovered =
            result(&json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} }));
        let initialized = result(&json!({ "protocolVersion": "2025-11-25", "capabilities": {} }));
        let stream =
            |json: &str| format!(": hello\n\nid: 0\ndata:\n\nevent: message\ndata: {json}\n\n");
        assert!(ask(judge_discover, 200, None, &discovered));
        assert!(ask(judge_discover, 200, None, &stream(&discovered)));
        assert!(ask(judge_discover, 400, None, &error(-32022, &json!({}))));
        assert!(ask(judge_initialize, 200, None, &initialized));
        assert!(ask(
            judge_initialize,
            200,
            None,
            &stream(&initialized).replace('\n', "\r\n")
        ));
        assert!(ask(judge_initialize, 400, None, &error(-32000, &json!({}))));
    }

    #[test]
    fn so_does_one_that_wants_a_credential_first() {
        for judge in [judge_discover as Judge, judge_initialize] {
            assert!(ask(
                judge,
                401,
                Some("Bearer resource_metadata=\"https://x\""),
                ""
            ));
            assert!(ask(judge, 401, Some("Basic realm=x, bearer"), ""));
            assert!(ask(
                judge,
                401,
                Some("MCP-Connect error=\"descriptor_missing\""),
                ""
            ));
            let refusal = error(-32001, &json!({ "code": "descriptor_missing" }));
            assert!(ask(judge, 401, None, &refusal));
            assert!(!ask(judge, 401, None, "Unauthorized"));
            assert!(!ask(judge, 401, Some("Basic realm=\"a b\""), ""));
            assert!(!ask(judge, 403, Some("Bearer"), ""));
        }
    }

    #[test]
    fn nothing_else_does() {
        let html = "<html><body>It works!</body></html>";
        let rpc = error(-32601, &json!({}));
        let other = json!({ "jsonrpc": "2.0", "id": 1, "result": { "protocolVersion": "x", "supportedVersions": [] } });
        for judge in [judge_discover as Judge, judge_initialize] {
            for (status, body) in [
                (200, ""),
                (200, html),
                (200, "{}"),
                (200, "[]"),
                (200, "data: {\"jsonrpc\":\"2.0\"}\n\n"),
                (202, ""),
                (404, html),
                (405, ""),
                (500, html),
                (200, &rpc),
                (404, &rpc),
                (200, &other.to_string()),
                (200, &result(&json!({}))),
                (
                    302,
                    &result(&json!({ "protocolVersion": "2025-11-25", "supportedVersions": [] })),
                ),
                (
                    500,
                    &result(&json!({ "protocolVersion": "2025-11-25", "supportedVersions": [] })),
                ),
                (
                    503,
                    &error(-32005, &json!({ "code": "authority_unreachable" })),
                ),
            ] {
                assert!(!ask(judge, status, None, body), "{status} {body}");
            }
        }
    }

    #[test]
    fn a_stream_is_read_until_the_answer_and_no_further() {
        let json = result(&json!({ "protocolVersion": "2025-11-25" }));
        let stream = format!("id: 0\ndata:\n\ndata: {json}\n\n");
        let end = stream.len() - 2;
        for cut in 0..end {
            assert!(!holds_answer(&stream.as_bytes()[..cut]), "{cut}");
        }
        assert!(holds_answer(&stream.as_bytes()[..end]));
        assert!(holds_answer(stream.as_bytes()));
        assert!(!holds_answer(
            b"data: {\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\n\n"
        ));
    }

    #[test]
    fn one_failure_closes_nothing_and_one_success_opens() {
        let down = || Err("HTTP 500".to_owned());
        let first = Verdict::after(None, Ok(()), 1_000);
        assert_eq!(admit_endpoint(Some(&first), 2_000), Ok(()));
        let failing = Verdict::after(Some(&first), down(), 2_000);
        assert_eq!(failing.health(), Health::Failing);
        assert_eq!(admit_endpoint(Some(&failing), 2_000), Ok(()));
        let closed = Verdict::after(Some(&failing), down(), 3_000);
        assert_eq!(
            admit_endpoint(Some(&closed), 3_000),
            Err(Denial::ServerUnavailable {
                last_success: Some(1_000)
            })
        );
        let open = Verdict::after(Some(&closed), Ok(()), 4_000);
        assert_eq!(
            (open.health(), open.last_success),
            (Health::Healthy, Some(4_000))
        );
    }

    #[test]
    fn what_is_unknown_or_long_ago_is_open() {
        assert_eq!(admit_endpoint(None, 0), Ok(()));
        let down = || Err(String::new());
        let closed = Verdict::after(Some(&Verdict::after(None, down(), 0)), down(), 0);
        assert_eq!(
            admit_endpoint(Some(&closed), USABLE_MILLIS),
            Err(Denial::ServerUnavailable { last_success: None })
        );
        assert_eq!(admit_endpoint(Some(&closed), USABLE_MILLIS + 1), Ok(()));
    }

    #[test]
    fn a_failing_endpoint_is_looked_at_sooner() {
        let healthy = Verdict::after(None, Ok(()), 0);
        assert!(!healthy.is_due(HEALTHY_FOR_MILLIS - 1));
        assert!(healthy.is_due(HEALTHY_FOR_MILLIS));
        let failing = Verdict::after(None, Err(String::new()), 0);
        assert!(!failing.is_due(FAILING_FOR_MILLIS - 1));
        assert!(failing.is_due(FAILING_FOR_MILLIS));
    }

    proptest! {
        #[test]
        fn any_answer_is_judged(status in 100u16..600, body: Vec<u8>) {
            let status = StatusCode::from_u16(status).unwrap();
            let _ = judge_discover(status, None, &body);
            let _ = judge_initialize(status, None, &body);
            let _ = holds_answer(&body);
        }

        /// Closed is exactly: the newest two probes, or more, failed.
        #[test]
        fn closed_is_two_failures_in_a_row(probes: Vec<bool>) {
            let mut verdict = None;
            for (now, ok) in (0..).zip(&probes) {
                let probed = if *ok { Ok(()) } else { Err(String::new()) };
                verdict = Some(Verdict::after(verdict.as_ref(), probed, now));
            }
            let closed = probes.len() >= 2 && probes.iter().rev().take(2).all(|ok| !ok);
            prop_assert_eq!(admit_endpoint(verdict.as_ref(), 0).is_err(), closed);
        }
    }
}

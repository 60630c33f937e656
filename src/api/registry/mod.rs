//! The API that registries share, under `/v0` and `/v0.1`: stock publishers, VS Code, Copilot and
//! mirrors are to notice no difference. `routes` has the endpoints once, for both.

pub(super) mod auth;
mod body;
mod entry;
pub(super) mod publish;
mod refusal;
pub(super) mod search;
pub(super) mod servers;
pub(super) mod service;
pub(super) mod status;

use http::Method;
use serde_json::Value;
use url::form_urlencoded;

pub(super) use self::refusal::Refusal;
use self::refusal::fault;
use super::{call::Call, document};
use crate::platform::http::{Head, Response};

/// Where every route of the registry is.
pub(super) const PREFIXES: [&str; 2] = ["/v0", "/v0.1"];

pub(super) fn is_registry(path: &str) -> bool {
    PREFIXES.iter().any(|prefix| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Whether it may change something, and not only ask what would come of it.
pub(super) fn is_change(head: &Head) -> bool {
    let path = head.path();
    is_registry(path) && (head.method != Method::POST || path.ends_with("/publish"))
}

/// Refuses a NUL in path or query, which is in nothing that registries know. The official registry answers
/// this before it knows of problems.
pub(super) fn refuse_nul(head: &Head) -> Option<Response> {
    let path = head.path();
    // No path of ours begins with two slashes; to others it is the name of a host.
    if !is_registry(path) && !path.starts_with("//") {
        return None;
    }
    let detail = if path.contains("%00") {
        "Invalid request: URL path contains null bytes"
    } else if head.target.query()?.contains("%00") {
        "Invalid request: query parameters contain null bytes"
    } else {
        return None;
    };
    let response = Refusal::bad_request(detail).into_response();
    Some(Response {
        status: response.status,
        ..document("application/json", response.body)
    })
}

/// The first parameter of the query that has this name; one without a value is none.
fn parameter(call: &Call, name: &str) -> Option<String> {
    let query = call.head.target.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

/// As Go reads what is true.
fn flag(call: &Call, name: &'static str) -> Result<Option<bool>, Refusal> {
    let Some(value) = parameter(call, name) else {
        return Ok(None);
    };
    match value.as_str() {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(Some(true)),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(Some(false)),
        _ => Err(invalid_parameter(name, "invalid boolean", value)),
    }
}

fn invalid_parameter(name: &'static str, message: &str, value: String) -> Refusal {
    let location = format!("query.{name}");
    Refusal::invalid(vec![fault(location, message, Some(&Value::String(value)))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_where_a_segment_does() {
        for (path, expected) in [
            ("/v0", true),
            ("/v0/servers", true),
            ("/v0.1/servers", true),
            ("/v0.1", true),
            ("/v0.2/servers", false),
            ("/v01/servers", false),
            ("/v1/servers", false),
            ("//v0/servers", false),
        ] {
            assert_eq!(is_registry(path), expected, "{path}");
        }
    }
}

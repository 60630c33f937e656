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

use std::borrow::Cow;

use http::{Method, StatusCode};
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

/// What is answered before anybody looks where a request goes: of what no path or query may have, of
/// another way to write a path, and of browsers that ask whether they may.
pub(super) fn at_the_door(head: &Head) -> Option<Response> {
    let path = head.path();
    // No path of ours begins like that; to others it is the name of a host.
    if !is_registry(path) && !path.starts_with("//") {
        return None;
    }
    if path.contains("%00") {
        return Some(no_nul("Invalid request: URL path contains null bytes"));
    }
    let query = head.target.query();
    if query.is_some_and(|query| query.contains("%00")) {
        let detail = "Invalid request: query parameters contain null bytes";
        return Some(no_nul(detail));
    }
    if path.ends_with('/') {
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        let location = format!("/{}{query}", segments.join("/"));
        return Some(Response {
            status: StatusCode::PERMANENT_REDIRECT,
            headers: vec![("location", location.into())],
            body: Vec::new(),
        });
    }
    (head.method == Method::OPTIONS).then(|| Response {
        status: StatusCode::NO_CONTENT,
        headers: vec![("access-control-max-age", "86400".into())],
        body: Vec::new(),
    })
}

/// As the official registry has it, which answers this before it knows of problems.
fn no_nul(detail: &'static str) -> Response {
    let response = Refusal::bad_request(detail).into_response();
    Response {
        status: response.status,
        ..document("application/json", response.body)
    }
}

/// Any page of any site may ask and publish: what lets somebody do so is no cookie.
pub(super) fn open_to_browsers(response: &mut Response) {
    response.headers.extend([
        ("access-control-allow-origin", Cow::Borrowed("*")),
        (
            "access-control-allow-methods",
            Cow::Borrowed("GET, POST, PUT, PATCH, DELETE, OPTIONS"),
        ),
        // Of all others this one must be named.
        (
            "access-control-allow-headers",
            Cow::Borrowed("Authorization, Content-Type, *"),
        ),
        (
            "access-control-expose-headers",
            Cow::Borrowed("Content-Type, Content-Length, ETag, Retry-After"),
        ),
        ("x-content-type-options", Cow::Borrowed("nosniff")),
    ]);
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

//! What the guard itself answers, where neither the backend nor the verifier does.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;
use serde_json::json;

/// The methods of MCP's transport, and those that browsers and probes ask with.
pub(crate) const METHODS: &str = "GET, POST, DELETE, HEAD, OPTIONS";

/// From the range that JSON-RPC 2.0 (section 5.1) leaves to servers; `data.code` says which fault.
const JSON_RPC_CODE: i32 = -32010;

/// Why a request is not answered by the backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    BackendFailed,
    BackendSlow,
    BackendUnreachable,
    Host,
    Method,
    Path,
    Upgrade,
}

impl Fault {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::BackendFailed | Self::BackendUnreachable => StatusCode::BAD_GATEWAY,
            Self::BackendSlow => StatusCode::GATEWAY_TIMEOUT,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path => StatusCode::NOT_FOUND,
            Self::Upgrade => StatusCode::NOT_IMPLEMENTED,
        }
    }

    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::BackendFailed => "backend_failed",
            Self::BackendSlow => "backend_slow",
            Self::BackendUnreachable => "backend_unreachable",
            Self::Host => "host_not_served",
            Self::Method => "method_not_allowed",
            Self::Path => "path_not_served",
            Self::Upgrade => "upgrade_refused",
        }
    }

    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::BackendFailed => {
                "The MCP server broke off before it had answered: the call may have had effects."
            }
            Self::BackendSlow => {
                "The MCP server did not accept a connection in time: try again later."
            }
            Self::BackendUnreachable => {
                "The MCP server can't be reached at the moment: try again later."
            }
            Self::Host => {
                "This is not the MCP server of the host that the request names. If it should be, its \
                 operator adds the name to the guard's setting hosts."
            }
            Self::Method => "MCP's transport has no such method: use GET, POST or DELETE.",
            Self::Path => "There is nothing at this path: check the URL of the MCP server.",
            Self::Upgrade => "Connections are not upgraded here: use MCP's streamable HTTP.",
        }
    }

    /// Whether the same request may be sent again: not where it may have had effects.
    const fn retryable(self) -> bool {
        matches!(self, Self::BackendSlow | Self::BackendUnreachable)
    }

    pub(crate) fn to_response(self) -> Response<Full<Bytes>> {
        let body = json!({
            "jsonrpc": "2.0",
            "id": null,
            "error": {
                "code": JSON_RPC_CODE,
                "message": self.message(),
                "data": { "code": self.code(), "retryable": self.retryable() },
            },
        });
        let mut response = json_response(self.status(), &body);
        if self == Self::Method {
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static(METHODS));
        }
        response
    }
}

pub(crate) fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

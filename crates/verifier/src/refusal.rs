//! How a refusal looks on the wire (docs/protocol.md, section 4).

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use mcp_connect_descriptor::RefusalCode;
use serde_json::json;

use crate::{ConnectBody, Rejection, lease::SessionRefusal, settings::Settings, verifier::Reason};

/// Next to the codes of [`RefusalCode::json_rpc_code`].
const SESSION_ENDED_JSON_RPC_CODE: i32 = -32007;

/// Why a request doesn't reach the server, with the private reason in its `Display`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Descriptor(#[from] Rejection),
    #[error("the session has ended: no newer descriptor came in time, or it was revoked")]
    SessionEnded,
}

/// What the caller learns of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PublicRefusal {
    Descriptor(RefusalCode),
    SessionEnded,
}

impl From<SessionRefusal> for Refused {
    fn from(refusal: SessionRefusal) -> Self {
        match refusal {
            SessionRefusal::AnotherCaller => Self::Descriptor(Reason::AnotherCaller.into()),
            SessionRefusal::Ended => Self::SessionEnded,
        }
    }
}

impl Refused {
    pub(crate) const fn public(&self) -> PublicRefusal {
        match self {
            Self::Descriptor(rejection) => PublicRefusal::Descriptor(rejection.code()),
            Self::SessionEnded => PublicRefusal::SessionEnded,
        }
    }

    pub(crate) const fn is_missing(&self) -> bool {
        matches!(
            self.public(),
            PublicRefusal::Descriptor(RefusalCode::Missing)
        )
    }

    pub(crate) const fn code(&self) -> &'static str {
        self.public().code()
    }

    pub(crate) fn to_response<B>(&self, settings: &Settings) -> Response<ConnectBody<B>> {
        self.public()
            .to_response(settings)
            .map(ConnectBody::refusal)
    }
}

impl PublicRefusal {
    const fn code(self) -> &'static str {
        match self {
            Self::Descriptor(code) => code.as_str(),
            Self::SessionEnded => "session_ended",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::Descriptor(code) => match code {
                RefusalCode::Missing => "Get a connect descriptor from the authority and send it.",
                RefusalCode::Expired => "The connect descriptor has expired: get a fresh one.",
                RefusalCode::WrongAudience => "The connect descriptor is for another server.",
                RefusalCode::Revoked => "The connect descriptor has been revoked.",
                RefusalCode::AuthorityUnreachable => {
                    "The authority's keys can't be had at the moment: try again later."
                }
                _ => "The connect descriptor is not valid.",
            },
            Self::SessionEnded => "The session has ended: start a new one.",
        }
    }

    const fn status(self) -> u16 {
        match self {
            Self::Descriptor(code) => code.http_status(),
            Self::SessionEnded => 404,
        }
    }

    const fn json_rpc_code(self) -> i32 {
        match self {
            Self::Descriptor(code) => code.json_rpc_code(),
            Self::SessionEnded => SESSION_ENDED_JSON_RPC_CODE,
        }
    }

    const fn retryable(self) -> bool {
        match self {
            Self::Descriptor(code) => code.retryable(),
            Self::SessionEnded => false,
        }
    }

    pub(crate) fn to_response(self, settings: &Settings) -> Response<Bytes> {
        let body = json!({
            "jsonrpc": "2.0",
            "id": null,
            "error": {
                "code": self.json_rpc_code(),
                "message": self.message(),
                "data": {
                    "code": self.code(),
                    "authority": settings.issuer,
                    "server_ref": settings.server_id,
                    "retryable": self.retryable(),
                },
            },
        });
        let mut response = Response::new(Bytes::from(body.to_string()));
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::FORBIDDEN);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = format!(
                "MCP-Connect error=\"{}\", authority=\"{}\", server_ref=\"{}\"",
                self.code(),
                settings.issuer,
                settings.server_id,
            );
            // It always is a header value: the builder saw to the issuer and the server id.
            if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
        }
        response
    }
}

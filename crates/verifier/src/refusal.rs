//! How a refusal looks on the wire (docs/protocol.md, section 4).

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use mcp_connect_descriptor::{Refusal, RefusalCode};
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
    /// … while one of its calls ran.
    #[error("the session has ended before the call was answered")]
    SessionEndedMeanwhile,
}

/// What the caller learns of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PublicRefusal {
    /// A call that had begun, and may have had effects: nobody should repeat it unasked.
    Cancelled(RefusalCode),
    Descriptor(RefusalCode),
    SessionEnded {
        /// As [`Cancelled`](Self::Cancelled).
        cancelled: bool,
    },
    /// The code is that of an invalid descriptor; the message tells which header it is.
    SessionHeader,
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
            Self::Descriptor(rejection) => match rejection.reason() {
                Reason::Outlived | Reason::WithdrawnMeanwhile => {
                    PublicRefusal::Cancelled(rejection.code())
                }
                Reason::SessionHeader(_) => PublicRefusal::SessionHeader,
                _ => PublicRefusal::Descriptor(rejection.code()),
            },
            Self::SessionEnded => PublicRefusal::SessionEnded { cancelled: false },
            Self::SessionEndedMeanwhile => PublicRefusal::SessionEnded { cancelled: true },
        }
    }

    /// Whether this machine's clock decides it, together with the descriptor's dates.
    pub(crate) const fn is_of_dates(&self) -> bool {
        matches!(
            self,
            Self::Descriptor(rejection)
                if matches!(
                    rejection.reason(),
                    Reason::Descriptor(Refusal::Expired { .. } | Refusal::NotYetValid { .. })
                )
        )
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
    /// The code of the protocol's table; a session that has ended has one of its own.
    const fn refusal_code(self) -> Option<RefusalCode> {
        match self {
            Self::Cancelled(code) | Self::Descriptor(code) => Some(code),
            Self::SessionEnded { .. } => None,
            Self::SessionHeader => Some(RefusalCode::Invalid),
        }
    }

    const fn code(self) -> &'static str {
        match self.refusal_code() {
            Some(code) => code.as_str(),
            None => "session_ended",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::Cancelled(_) => {
                "The call was cancelled, since its descriptor ended before it was answered. It may \
                 have had effects."
            }
            Self::Descriptor(code) => match code {
                RefusalCode::Missing => "Get a connect descriptor from the authority and send it.",
                RefusalCode::Expired => "The connect descriptor has expired: get a fresh one.",
                RefusalCode::WrongAudience => "The connect descriptor is for another server.",
                RefusalCode::Revoked => {
                    "The connect descriptor has been revoked: ask the authority for a fresh one, once."
                }
                RefusalCode::AuthorityUnreachable => {
                    "The authority's keys can't be had at the moment: try again later."
                }
                _ => "The connect descriptor is not valid.",
            },
            Self::SessionEnded { .. } => "The session has ended: start a new one.",
            Self::SessionHeader => {
                "Mcp-Session-Id must be one id of visible ASCII without comma, semicolon, quote, backslash and space, \
                 Last-Event-ID one id of visible ASCII."
            }
        }
    }

    const fn status(self) -> u16 {
        match self.refusal_code() {
            Some(code) => code.http_status(),
            None => 404,
        }
    }

    const fn json_rpc_code(self) -> i32 {
        match self.refusal_code() {
            Some(code) => code.json_rpc_code(),
            None => SESSION_ENDED_JSON_RPC_CODE,
        }
    }

    const fn retryable(self) -> bool {
        match self {
            Self::Descriptor(code) => code.retryable(),
            Self::Cancelled(_) | Self::SessionEnded { .. } | Self::SessionHeader => false,
        }
    }

    pub(crate) fn to_response(self, settings: &Settings) -> Response<Bytes> {
        let mut data = json!({
            "code": self.code(),
            "authority": settings.issuer,
            "server_ref": settings.server_id,
            "retryable": self.retryable(),
        });
        let is_cancelled = matches!(
            self,
            Self::Cancelled(_) | Self::SessionEnded { cancelled: true }
        );
        if let (true, Some(data)) = (is_cancelled, data.as_object_mut()) {
            data.insert("cancelled".into(), true.into());
        }
        let body = json!({
            "jsonrpc": "2.0",
            "id": null,
            "error": {
                "code": self.json_rpc_code(),
                "message": self.message(),
                "data": data,
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

//! Why a request to the MCP server had no result, in words for the person who asked.

use std::{error::Error, iter::successors};

use mcp_connect_descriptor::HEADER;
use rmcp::{model::ServerJsonRpcMessage, transport::streamable_http_client::StreamableHttpError};
use serde_json::Value;

use crate::{NotConnected, exchange::network_reason};

/// The most of a server's own words that is kept.
const MOST_CHARS: usize = 300;

/// Why a request to the MCP server had no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerFault {
    /// The answer broke off.
    #[error("the answer broke off")]
    BrokenOff,
    /// The server wants a credential of its own, beside the descriptor; its challenge.
    #[error("it wants a credential of its own: {0}")]
    Challenge(String),
    /// There is no descriptor to show.
    #[error("{0}")]
    NotConnected(NotConnected),
    /// What answers is not an MCP server.
    #[error("it does not answer as an MCP server: {0}")]
    NotMcp(String),
    /// The server does not accept the descriptor.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(ServerRefusal),
    /// The server knows the session no more.
    #[error("it has ended the session")]
    SessionEnded,
    /// The answer is larger than is read; how many bytes that is at most.
    #[error("its answer is larger than {}, which is the most that is read", size(*.0))]
    AnswerTooLarge(usize),
    /// An HTTP status, without a reason.
    #[error("it answers HTTP {0}")]
    Status(u16),
    /// The server can't be reached.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
}

/// What a server says that does not accept a descriptor (docs/protocol.md, section 4). Its texts are not to be trusted:
/// escape them.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerRefusal {
    /// The machine code, such as `descriptor_invalid`.
    pub code: String,
    /// What the server tells a person.
    pub message: String,
    /// The authority that the server trusts.
    pub authority: Option<String>,
    /// The name by which the server knows itself.
    pub server_ref: Option<String>,
}

impl ServerFault {
    /// Reads an error of the transport; `None` for what is no fault.
    pub(crate) fn of(error: &StreamableHttpError<reqwest::Error>) -> Option<Self> {
        Some(match error {
            StreamableHttpError::AuthRequired(challenge) => {
                of_challenge(&challenge.www_authenticate_header)
            }
            StreamableHttpError::InsufficientScope(challenge) => {
                of_challenge(&challenge.www_authenticate_header)
            }
            StreamableHttpError::HttpStatus(error) => Self::Status(error.status),
            StreamableHttpError::Client(error) => match error.status() {
                Some(status) => Self::Status(status.as_u16()),
                None if error.is_connect() || error.is_timeout() => {
                    Self::Unreachable(network_reason(error))
                }
                None => Self::BrokenOff,
            },
            StreamableHttpError::Io(error) => {
                let inner = error.get_ref()?;
                if let Some(refused) = inner.downcast_ref::<Self>() {
                    return Some(refused.clone());
                }
                Self::NotConnected(inner.downcast_ref::<NotConnected>()?.clone())
            }
            StreamableHttpError::UnexpectedServerResponse(text) => of_text(text),
            StreamableHttpError::UnexpectedContentType(kind) => Self::NotMcp(match kind {
                Some(kind) => format!("what it sends is {}", first_chars(kind)),
                None => "what it sends has no content type".to_owned(),
            }),
            StreamableHttpError::Deserialize(_) => {
                Self::NotMcp("what it sends is not JSON-RPC".to_owned())
            }
            StreamableHttpError::SessionExpired => Self::SessionEnded,
            StreamableHttpError::ResponseBodyTooLarge { max_size } => {
                Self::AnswerTooLarge(*max_size)
            }
            StreamableHttpError::Sse(error) => Self::of_stream(error),
            StreamableHttpError::UnexpectedEndOfStream => Self::BrokenOff,
            _ => return None,
        })
    }

    /// Reads why a stream of events ended. The library's type for one that is too large is its own, its text is not.
    pub(crate) fn of_stream(error: &(dyn Error + 'static)) -> Self {
        let limit = successors(Some(error), |&cause| cause.source()).find_map(|cause| {
            let text = cause.to_string();
            let (_, rest) = text.split_once("exceeded the maximum size of ")?;
            rest.split(' ').next()?.parse().ok()
        });
        limit.map_or(Self::BrokenOff, Self::AnswerTooLarge)
    }

    /// Reads a message that is in truth a refusal of the descriptor.
    pub(crate) fn of_message(message: &ServerJsonRpcMessage) -> Option<Self> {
        let ServerJsonRpcMessage::Error(error) = message else {
            return None;
        };
        let data = error.error.data.as_ref()?;
        ServerRefusal::read(&error.error.message, data).map(Self::Refused)
    }
}

impl ServerRefusal {
    /// `data` of the JSON-RPC error, where it is one of a verifier.
    fn read(message: &str, data: &Value) -> Option<Self> {
        let text = |member| data.get(member).and_then(Value::as_str).map(first_chars);
        let code = text("code")?;
        let is_ours = code.starts_with("descriptor_")
            || matches!(code.as_str(), "authority_unreachable" | "session_ended");
        is_ours.then(|| Self {
            code,
            message: first_chars(message),
            authority: text("authority"),
            server_ref: text("server_ref"),
        })
    }
}

/// `HTTP 403 Forbidden: {"jsonrpc": …}`, as rmcp tells it.
fn of_text(text: &str) -> ServerFault {
    let refusal = text.find('{').and_then(|start| {
        let body: Value = serde_json::from_str(text.get(start..)?).ok()?;
        let error = body.get("error")?;
        ServerRefusal::read(error.get("message")?.as_str()?, error.get("data")?)
    });
    if let Some(refusal) = refusal {
        return ServerFault::Refused(refusal);
    }
    let status = text
        .strip_prefix("HTTP ")
        .and_then(|rest| rest.get(..3)?.parse().ok());
    match status {
        Some(status) => ServerFault::Status(status),
        None => ServerFault::NotMcp("what it sends is not JSON-RPC".to_owned()),
    }
}

/// A `WWW-Authenticate` header: of a verifier, or of the server itself.
fn of_challenge(challenge: &str) -> ServerFault {
    let (scheme, parameters) = challenge.trim().split_once(' ').unwrap_or((challenge, ""));
    let parameter = |name: &str| {
        parameters.split(',').find_map(|parameter| {
            let (known, value) = parameter.split_once('=')?;
            (known.trim() == name).then(|| first_chars(value.trim().trim_matches('"')))
        })
    };
    match parameter("error") {
        Some(code) if scheme.eq_ignore_ascii_case(HEADER) => ServerFault::Refused(ServerRefusal {
            message: "the server wants a fresh descriptor".to_owned(),
            code,
            authority: parameter("authority"),
            server_ref: parameter("server_ref"),
        }),
        _ => ServerFault::Challenge(first_chars(challenge)),
    }
}

/// The number of bytes as a person reads it.
fn size(bytes: usize) -> String {
    match bytes >> 20 {
        0 => format!("{bytes} bytes"),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

fn first_chars(text: &str) -> String {
    text.chars().take(MOST_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn of(text: &str) -> ServerFault {
        let error = StreamableHttpError::UnexpectedServerResponse(Cow::Owned(text.to_owned()));
        ServerFault::of(&error).unwrap()
    }

    #[test]
    fn a_refusal_is_read_out_of_what_the_library_says() {
        let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32003,"message":"No.","data":{"code":"descriptor_invalid","authority":"https://a.example","server_ref":"com.example/x","retryable":false}}}"#;
        let ServerFault::Refused(refusal) = of(&format!("HTTP 403 Forbidden: {body}")) else {
            panic!()
        };
        assert_eq!(
            (refusal.code.as_str(), refusal.message.as_str()),
            ("descriptor_invalid", "No.")
        );
        assert_eq!(refusal.authority.as_deref(), Some("https://a.example"));
        assert_eq!(refusal.server_ref.as_deref(), Some("com.example/x"));
    }

    #[test]
    fn other_answers_keep_their_status() {
        for (text, said) in [
            ("HTTP 403 Forbidden: {}", "it answers HTTP 403"),
            (
                r#"HTTP 403 Forbidden: {"error":{"message":"x","data":{"code":"own"}}}"#,
                "it answers HTTP 403",
            ),
            ("HTTP 502 Bad Gateway: <html>", "it answers HTTP 502"),
            (
                "could not parse JSON response",
                "it does not answer as an MCP server: what it sends is not JSON-RPC",
            ),
        ] {
            assert_eq!(of(text).to_string(), said);
        }
    }

    #[test]
    fn a_challenge_is_the_verifiers_or_the_servers_own() {
        let ours = r#"MCP-Connect error="descriptor_expired", authority="https://a.example", server_ref="a/b""#;
        let ServerFault::Refused(refusal) = of_challenge(ours) else {
            panic!()
        };
        assert_eq!(refusal.code, "descriptor_expired");
        assert_eq!(refusal.authority.as_deref(), Some("https://a.example"));
        for own in ["Bearer", r#"Bearer error="invalid_token""#] {
            assert!(
                matches!(of_challenge(own), ServerFault::Challenge(_)),
                "{own}"
            );
        }
    }
}

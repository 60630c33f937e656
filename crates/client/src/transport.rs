//! rmcp's HTTP client with the current descriptor on every request.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, StatusCode};
use mcp_connect_descriptor::{HEADER, PROOF_HEADER, RefusalCode};
use rmcp::{
    model::ClientJsonRpcMessage,
    transport::{
        common::client_side_sse::{BoxedSseResponse, SseRetryPolicy},
        streamable_http_client::{
            StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
            StreamableHttpResponseLimits,
        },
    },
};
use serde::Deserialize;
use tokio::sync::watch;

use crate::{Connection, Grant, ServerFault, State};

type Error = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;

/// Resuming a stream never waits longer than this between two tries.
const LONGEST_STREAM_PAUSE: Duration = Duration::from_secs(30);

/// An HTTP client for rmcp that shows the connection's current descriptor on every request.
///
/// It goes only to the signed endpoint and follows no redirect. When the server finds the descriptor
/// expired or revoked, it fetches a fresh one and tries once more: whether there is one is the
/// authority's to say. After the connection's end, requests fail with
/// [`NotConnected`](crate::NotConnected) as the cause, and open streams are cut.
#[derive(Clone, Debug)]
pub struct GovernedHttpClient {
    connection: Connection,
    http: reqwest::Client,
}

impl GovernedHttpClient {
    pub(crate) const fn new(connection: Connection, http: reqwest::Client) -> Self {
        Self { connection, http }
    }

    /// Sends with the current descriptor; once more when the server finds that expired or revoked.
    async fn send<T, F>(
        &self,
        uri: &str,
        method: &str,
        headers: Headers,
        request: impl Fn(Headers) -> F + Send,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        if uri != self.connection.endpoint() {
            return Err(StreamableHttpError::Io(io::Error::other(
                "the descriptor is for another endpoint than this request",
            )));
        }
        let grant = self.connection.usable().await.map_err(io::Error::other)?;
        match request(with_descriptor(headers.clone(), &grant, method)?).await {
            Err(refused) if fresh_descriptor_may_help(&refused) => {
                let fresh = self
                    .connection
                    .replace(&grant)
                    .await
                    .map_err(io::Error::other)?;
                request(with_descriptor(headers, &fresh, method)?).await
            }
            answer => answer,
        }
    }

    /// The stream, cut when the connection ends.
    fn until_ended(&self, stream: BoxedSseResponse) -> BoxedSseResponse {
        let mut state = self.connection.watch();
        let ended = async move {
            let _ = state
                .wait_for(|state| matches!(state, State::Ended(_)))
                .await;
        };
        stream.take_until(Box::pin(ended)).boxed()
    }
}

/// … and a proof for this one request, where the descriptor is bound to a key.
fn with_descriptor(mut headers: Headers, grant: &Grant, method: &str) -> Result<Headers, Error> {
    headers.insert(HeaderName::from_static(HEADER), grant.header());
    if let Some(proof) = grant.prove(method).map_err(io::Error::other)? {
        headers.insert(HeaderName::from_static(PROOF_HEADER), proof);
    }
    Ok(headers)
}

/// Whether the server refused the descriptor before it had looked at the request, in a way that a
/// fresh one may mend.
fn fresh_descriptor_may_help(refused: &Error) -> bool {
    match refused {
        StreamableHttpError::AuthRequired(challenge) => {
            wants_fresh_descriptor(&challenge.www_authenticate_header)
        }
        // rmcp's word for a status without a challenge, with the body behind.
        StreamableHttpError::UnexpectedServerResponse(text) => text
            .find('{')
            .and_then(|start| text.get(start..))
            .is_some_and(says_revoked),
        // Of the answer to a GET or DELETE rmcp keeps the status alone. Neither has effects that a
        // second one would double.
        StreamableHttpError::Client(error) => error.status() == Some(StatusCode::FORBIDDEN),
        _ => false,
    }
}

/// The members of a refusal that matter here (docs/protocol.md, section 4).
#[derive(Deserialize)]
struct Refusal {
    error: RefusalError,
}

#[derive(Deserialize)]
struct RefusalError {
    data: RefusalData,
}

#[derive(Deserialize)]
struct RefusalData {
    code: String,
    /// The call had begun when its descriptor was revoked: it may have had effects.
    #[serde(default)]
    cancelled: bool,
}

/// Whether a body is the refusal of a revoked descriptor, and not the end of a call that had begun.
fn says_revoked(body: &str) -> bool {
    serde_json::from_str::<Refusal>(body.trim_end()).is_ok_and(|refusal| {
        let RefusalData { code, cancelled } = refusal.error.data;
        RefusalCode::from_wire(&code) == Some(RefusalCode::Revoked) && !cancelled
    })
}

/// Whether a `WWW-Authenticate` header says that a fresh descriptor helps:
/// `MCP-Connect error="descriptor_expired"` or `"descriptor_missing"`.
fn wants_fresh_descriptor(challenge: &str) -> bool {
    let Some((scheme, parameters)) = challenge.trim_start().split_once(' ') else {
        return false;
    };
    scheme.eq_ignore_ascii_case(HEADER)
        && parameters.split(',').any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("error")
                    && matches!(
                        RefusalCode::from_wire(value.trim().trim_matches('"')),
                        Some(RefusalCode::Expired | RefusalCode::Missing)
                    )
            })
        })
}

impl StreamableHttpClient for GovernedHttpClient {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Error> {
        self.post_message_with_response_limits(
            uri,
            message,
            session_id,
            auth_header,
            custom_headers,
            StreamableHttpResponseLimits::default(),
        )
        .await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Error> {
        let answer = self
            .send(&uri, "POST", custom_headers, |headers| {
                self.http.post_message_with_response_limits(
                    uri.clone(),
                    message.clone(),
                    session_id.clone(),
                    auth_header.clone(),
                    headers,
                    limits,
                )
            })
            .await;
        let refusal = match &answer {
            Ok(StreamableHttpPostResponse::Json(message, _)) => ServerFault::of_message(message),
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.connection.note_fault(Some(refusal.clone()));
            // It names no request, so nobody would ever learn of it.
            return Err(StreamableHttpError::Io(io::Error::other(refusal)));
        }
        self.connection
            .note_fault(answer.as_ref().err().and_then(ServerFault::of));
        Ok(match answer? {
            StreamableHttpPostResponse::Sse(stream, session_id) => {
                let connection = self.connection.clone();
                let stream = stream.inspect(move |event| {
                    if let Err(error) = event {
                        connection.note_fault(Some(ServerFault::of_stream(error)));
                    }
                });
                StreamableHttpPostResponse::Sse(self.until_ended(stream.boxed()), session_id)
            }
            other => other,
        })
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<(), Error> {
        self.send(&uri, "DELETE", custom_headers, |headers| {
            self.http.delete_session(
                uri.clone(),
                session_id.clone(),
                auth_header.clone(),
                headers,
            )
        })
        .await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<BoxedSseResponse, Error> {
        self.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            custom_headers,
            StreamableHttpResponseLimits::default().max_sse_event_size,
        )
        .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
        max_sse_event_size: usize,
    ) -> Result<BoxedSseResponse, Error> {
        let stream = self
            .send(&uri, "GET", custom_headers, |headers| {
                self.http.get_stream_with_max_sse_event_size(
                    uri.clone(),
                    session_id.clone(),
                    last_event_id.clone(),
                    auth_header.clone(),
                    headers,
                    max_sse_event_size,
                )
            })
            .await?;
        Ok(self.until_ended(stream))
    }
}

/// Resumes streams as the policy says, but not after the connection's end, and without pauses that
/// double into hours.
#[derive(Debug)]
pub(crate) struct UntilEnded {
    pub(crate) state: watch::Receiver<State>,
    pub(crate) policy: Arc<dyn SseRetryPolicy>,
}

impl SseRetryPolicy for UntilEnded {
    fn retry(&self, current_times: usize) -> Option<Duration> {
        match &*self.state.borrow() {
            State::Ended(_) => None,
            State::Live { .. } => self
                .policy
                .retry(current_times)
                .map(|pause| pause.min(LONGEST_STREAM_PAUSE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rmcp::transport::common::client_side_sse::FixedInterval;

    use super::*;
    use crate::EndReason;

    #[test]
    fn resumes_no_stream_after_the_end() {
        let (_sender, state) = watch::channel(State::Ended(EndReason::EndpointChanged {
            from: "https://a.example/mcp".into(),
            to: "https://b.example/mcp".into(),
        }));
        let policy = Arc::new(FixedInterval::default());
        assert!(policy.retry(0).is_some());
        assert_eq!(UntilEnded { state, policy }.retry(0), None);
    }

    #[test]
    fn a_revoked_descriptor_is_told_from_a_call_that_was_cancelled() {
        let told = |text: &str| {
            let text = text.to_owned().into();
            fresh_descriptor_may_help(&StreamableHttpError::UnexpectedServerResponse(text))
        };
        let body = |data: &str| {
            let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"x","data":{DATA}}}"#;
            format!("HTTP 403 Forbidden: {}", body.replace("DATA", data))
        };
        for (data, helps) in [
            (r#""code":"descriptor_revoked""#, true),
            (r#""code":"descriptor_revoked","retryable":false"#, true),
            (r#""code":"descriptor_revoked","cancelled":false"#, true),
            (r#""code":"descriptor_revoked","cancelled":true"#, false),
            (r#""code":"descriptor_invalid""#, false),
            (r#""code":"session_ended""#, false),
            (r#""authority":"descriptor_revoked""#, false),
            ("", false),
        ] {
            assert_eq!(told(&body(data)), helps, "{data}");
        }
        for text in ["", "HTTP 403 Forbidden: descriptor_revoked", "{", "{}"] {
            assert!(!told(text), "{text}");
        }
    }

    #[test]
    fn knows_when_a_fresh_descriptor_helps() {
        for (challenge, helps) in [
            (
                r#"MCP-Connect error="descriptor_expired", authority="https://a.example", server_ref="a/b""#,
                true,
            ),
            (r#"MCP-Connect error="descriptor_missing""#, true),
            (
                r#"mcp-connect authority="x", error=descriptor_expired"#,
                true,
            ),
            (r#"MCP-Connect error="descriptor_invalid""#, false),
            (r#"MCP-Connect x_error="descriptor_expired""#, false),
            (r#"Bearer error="descriptor_expired""#, false),
            (
                r#"Bearer realm="MCP-Connect error=descriptor_expired""#,
                false,
            ),
            ("MCP-Connect", false),
            ("", false),
        ] {
            assert_eq!(wants_fresh_descriptor(challenge), helps, "{challenge}");
        }
    }
}

//! The one way out of the Worker: https to public hosts (to this machine too in development), no
//! redirect followed, a time limit, a size limit. workerd itself reaches no private network.

use std::time::Duration;

use ::http::{Method, StatusCode};
use js_sys::Reflect;
use mcp_connect_catalog::Endpoint;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, RequestInit, RequestRedirect, WorkerGlobalScope};

use super::http;

/// What is asked of another host.
pub(crate) struct Outbound<'a> {
    pub(crate) url: &'a Endpoint,
    pub(crate) headers: &'a [(&'static str, &'a str)],
    /// A POST, where there is one.
    pub(crate) body: Option<&'a str>,
    /// For everything, from the connection to the last byte.
    pub(crate) time_limit: Duration,
    /// More of an answer than this is an error.
    pub(crate) max_bytes: usize,
}

/// An answer, whatever its status; a redirect is one, too.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// By its name in lower case; where it came several times, the values with commas between them.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer. The text names no more than the operator may know.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboundError {
    #[error("no answer: {0}")]
    Failed(String),
    #[error("no answer in time")]
    TimedOut,
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
}

/// Asks another host.
pub(crate) async fn fetch(request: &Outbound<'_>) -> Result<Answer, OutboundError> {
    let method = if request.body.is_some() {
        Method::POST
    } else {
        Method::GET
    };
    exchange(request, &method, |_| false).await
}

/// Asks with any method, and reads no more of the answer than is `enough`: a stream may never end.
pub(crate) async fn exchange(
    request: &Outbound<'_>,
    method: &Method,
    enough: fn(&[u8]) -> bool,
) -> Result<Answer, OutboundError> {
    let init = RequestInit::new();
    let headers = web_sys::Headers::new()?;
    for (name, value) in request.headers {
        headers.append(name, value)?;
    }
    init.set_headers(&headers);
    init.set_redirect(RequestRedirect::Manual);
    init.set_method(method.as_str());
    if let Some(body) = request.body {
        init.set_body(&JsValue::from_str(body));
    }
    let milliseconds = u32::try_from(request.time_limit.as_millis()).unwrap_or(u32::MAX);
    init.set_signal(Some(&AbortSignal::timeout_with_u32(milliseconds)));

    let global: WorkerGlobalScope = js_sys::global().unchecked_into();
    let response: web_sys::Response =
        JsFuture::from(global.fetch_with_str_and_init(request.url.as_str(), &init))
            .await?
            .unchecked_into();
    let status = StatusCode::from_u16(response.status())
        .map_err(|_| OutboundError::Failed("its status is none of HTTP".into()))?;
    let body = match response.body() {
        None => Vec::new(),
        Some(stream) => http::read_stream(&stream, request.max_bytes, enough)
            .await?
            .ok_or(OutboundError::TooLarge(request.max_bytes))?,
    };
    Ok(Answer {
        status,
        headers: read_headers(&response)?,
        body,
    })
}

fn read_headers(response: &web_sys::Response) -> Result<Vec<(String, String)>, OutboundError> {
    let mut headers = Vec::new();
    for entry in response.headers().entries() {
        let entry = entry?;
        let part = |index| Reflect::get_u32(&entry, index).ok()?.as_string();
        headers.extend(part(0).zip(part(1)));
    }
    Ok(headers)
}

impl From<JsValue> for OutboundError {
    fn from(error: JsValue) -> Self {
        let name = Reflect::get(&error, &JsValue::from_str("name"));
        if name.is_ok_and(|name| name == "TimeoutError") {
            return Self::TimedOut;
        }
        let text = error
            .dyn_ref::<js_sys::Error>()
            .map_or_else(|| format!("{error:?}"), |error| error.message().into());
        Self::Failed(text)
    }
}

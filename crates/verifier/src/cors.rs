//! Cross-origin access for clients in browsers (Fetch Standard, section 3.2).
//!
//! A browser asks before it sends a request with a descriptor (a preflight, without the descriptor),
//! and shows a page only those headers of an answer that are exposed to it. Both belong outside of
//! [`ConnectLayer`](crate::ConnectLayer), so that refusals can be read too.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use url::Url;

const MAX_ORIGINS: usize = 100;

/// The methods of MCP's transport.
const METHODS: &str = "GET, POST, DELETE";

/// Whatever a client of MCP sends, in either era, beside the headers that need no permission.
const REQUEST_HEADERS: &str = "Accept, Authorization, Content-Type, DPoP, Last-Event-ID, \
     MCP-Connect, MCP-Connect-Proof, Mcp-Method, Mcp-Name, MCP-Protocol-Version, Mcp-Session-Id";

/// Servers of MCP 2026-07-28 name parameters of their tools that clients then send as headers.
const PARAMETER_HEADERS: &str = "mcp-param-";
const MAX_PARAMETER_HEADERS: usize = 32;

/// What a client must be able to read: its session, where to get a descriptor, when to come back.
const EXPOSED_HEADERS: &str = "Mcp-Session-Id, MCP-Protocol-Version, Retry-After, WWW-Authenticate";

/// The longest that browsers remember a permission: two hours.
const MAX_AGE_SECONDS: &str = "7200";

/// What varies with a preflight's answer.
const PREFLIGHT_VARY: &str =
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// Lets pages of some origins connect to an MCP server: answers their preflight requests, which have
/// no descriptor, and adds to every answer, refusals too, what a page needs to read it.
///
/// Whatever the service behind says about cross-origin access is replaced. Credentials that the
/// browser adds by itself (cookies) are not allowed; clients send theirs in `Authorization`.
///
/// ```no_run
/// # use axum::{Router, routing::any};
/// # use mcp_connect_verifier::{ConnectLayer, CorsLayer, InvalidOrigin, Verifier};
/// # fn app(verifier: Verifier) -> Result<Router, InvalidOrigin> {
/// Ok(Router::new()
///     .route("/mcp", any(async || "…"))
///     .layer(ConnectLayer::new(verifier))
///     .layer(CorsLayer::new(["https://app.example"])?)) // outside: after it
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CorsLayer {
    origins: Arc<[HeaderValue]>,
}

/// A text that is not an origin as browsers send it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidOrigin {
    /// The text can't be an origin; or it stands for every origin, which is not supported.
    Malformed(String),
    /// Browsers write it otherwise.
    OtherSpelling {
        /// What was given.
        given: String,
        /// What browsers send.
        sent: String,
    },
    /// More than 100.
    TooMany,
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(given) => write!(
                f,
                "{given:?} is not an origin: write scheme, host and port, like https://app.example"
            ),
            Self::OtherSpelling { given, sent } => {
                write!(f, "{given:?} must be written as browsers send it: {sent}")
            }
            Self::TooMany => write!(f, "there are more than {MAX_ORIGINS} origins"),
        }
    }
}

impl std::error::Error for InvalidOrigin {}

impl CorsLayer {
    /// For pages of these origins: at most 100, each as a browser sends it, such as
    /// `https://app.example` or `http://localhost:6274`. With none, the layer changes nothing.
    pub fn new<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Result<Self, InvalidOrigin> {
        let origins: Vec<_> = origins
            .into_iter()
            .take(MAX_ORIGINS + 1)
            .map(|origin| parse_origin(origin.as_ref()))
            .collect::<Result<_, _>>()?;
        if origins.len() > MAX_ORIGINS {
            return Err(InvalidOrigin::TooMany);
        }
        Ok(Self {
            origins: origins.into(),
        })
    }

    /// Whether this request asks for permission to send another.
    fn is_preflight<B>(request: &Request<B>) -> bool {
        request.method() == Method::OPTIONS
            && request.headers().contains_key(ORIGIN)
            && request
                .headers()
                .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The origin of the page, if it is one of those that may connect.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut values = headers.get_all(ORIGIN).iter();
        let (Some(origin), None) = (values.next(), values.next()) else {
            return None;
        };
        self.origins.iter().find(|it| *it == origin).cloned()
    }

    fn answer_preflight<B: Default>(&self, headers: &HeaderMap) -> Response<B> {
        let mut response = Response::new(B::default());
        let answer = response.headers_mut();
        answer.insert(VARY, HeaderValue::from_static(PREFLIGHT_VARY));
        let Some(origin) = self.allowed(headers) else {
            tracing::debug!(
                origin = ?headers.get(ORIGIN),
                "a page of another origin than those allowed asks to connect",
            );
            *response.status_mut() = StatusCode::FORBIDDEN;
            return response;
        };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(METHODS),
        );
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(headers));
        answer.insert(
            ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static(MAX_AGE_SECONDS),
        );
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }
}

/// The headers that a page may send: those of MCP, and the parameters that it asks for.
fn allowed_headers(headers: &HeaderMap) -> HeaderValue {
    let parameters = headers
        .get_all(ACCESS_CONTROL_REQUEST_HEADERS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse::<HeaderName>().ok())
        .filter(|name| name.as_str().starts_with(PARAMETER_HEADERS))
        .take(MAX_PARAMETER_HEADERS);
    let allowed = parameters.fold(REQUEST_HEADERS.to_owned(), |allowed, name| {
        allowed + ", " + name.as_str()
    });
    HeaderValue::try_from(allowed).unwrap_or(HeaderValue::from_static(REQUEST_HEADERS))
}

/// Lets a page of this origin read an answer.
fn expose(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    let others: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in others {
        headers.remove(name);
    }
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED_HEADERS),
        );
    }
}

/// Browsers' extensions and desktop shells have schemes of their own, of which no standard says how
/// they are written; those of the web are compared with what a browser makes of them.
fn parse_origin(text: &str) -> Result<HeaderValue, InvalidOrigin> {
    let malformed = || InvalidOrigin::Malformed(text.to_owned());
    let plain = |byte: u8| {
        byte.is_ascii_graphic()
            && !matches!(byte, b',' | b'"' | b'*' | b'/' | b'\\' | b'?' | b'#' | b'@')
    };
    let (scheme, authority) = text.split_once("://").ok_or_else(malformed)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if scheme.is_empty() || authority.is_empty() || !authority.bytes().all(plain) {
        return Err(malformed());
    }
    let url = Url::parse(text).map_err(|_| malformed())?;
    let sent = if matches!(url.scheme(), "http" | "https") {
        url.origin().ascii_serialization()
    } else {
        format!("{}://{authority}", url.scheme())
    };
    if sent != text {
        return Err(InvalidOrigin::OtherSpelling {
            given: text.to_owned(),
            sent,
        });
    }
    HeaderValue::try_from(text).map_err(|_| malformed())
}

impl<S> Layer<S> for CorsLayer {
    type Service = CorsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CorsService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service that pages of some origins may use; made by [`CorsLayer`].
#[derive(Clone, Debug)]
pub struct CorsService<S> {
    inner: S,
    layer: CorsLayer,
}

impl<S, A, B> Service<Request<A>> for CorsService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = CorsFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let state = if self.layer.origins.is_empty() {
            State::Unchanged {
                call: self.inner.call(request),
            }
        } else if CorsLayer::is_preflight(&request) {
            State::Preflight {
                answer: Some(self.layer.answer_preflight(request.headers())),
            }
        } else {
            State::Exposed {
                origin: self.layer.allowed(request.headers()),
                call: self.inner.call(request),
            }
        };
        CorsFuture { state }
    }
}

pin_project! {
    /// The answer of a [`CorsService`] to come.
    pub struct CorsFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B> {
        Exposed {
            origin: Option<HeaderValue>,
            #[pin]
            call: F,
        },
        Preflight { answer: Option<Response<B>> },
        Unchanged {
            #[pin]
            call: F,
        },
    }
}

impl<F, B, E> Future for CorsFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Unchanged { call } => call.poll(cx),
            StateProjection::Exposed { origin, call } => {
                let mut response = ready!(call.poll(cx))?;
                expose(response.headers_mut(), origin.take());
                Poll::Ready(Ok(response))
            }
            // There is nothing left only after the answer was given.
            StateProjection::Preflight { answer } => answer
                .take()
                .map_or(Poll::Pending, |it| Poll::Ready(Ok(it))),
        }
    }
}

impl<F, B> fmt::Debug for CorsFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CorsFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for origin in [
            "https://app.example",
            "http://localhost:6274",
            "http://127.0.0.1:6274",
            "http://[::1]:6274",
            "https://xn--bcher-kva.example:8443",
            "chrome-extension://abcdefghijklmnop",
            "vscode-webview://1a2b3c",
            "app://obsidian.md",
        ] {
            assert!(parse_origin(origin).is_ok(), "{origin}");
        }
        for (given, sent) in [
            ("https://app.example/", "https://app.example"),
            ("https://APP.example", "https://app.example"),
            ("HTTPS://app.example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("App://obsidian.md", "app://obsidian.md"),
            (
                "https://b\u{fc}cher.example",
                "https://xn--bcher-kva.example",
            ),
        ] {
            let refused = parse_origin(given).unwrap_err();
            let problem = refused.to_string();
            assert!(
                problem.contains(sent) || given.contains('\u{fc}'),
                "{problem}"
            );
        }
        for given in [
            "",
            "*",
            "null",
            "app.example",
            "https://",
            "://app.example",
            "https://*.app.example",
            "https://app.example/page",
            "https://app.example?x",
            "https://app.example#x",
            "https://user@app.example",
            "https://a.example,https://b.example",
            "https://a.example https://b.example",
            "https://app.example:99999",
        ] {
            assert!(
                matches!(parse_origin(given), Err(InvalidOrigin::Malformed(_))),
                "{given}"
            );
        }
        let many = vec!["https://app.example"; 101];
        assert_eq!(CorsLayer::new(many).unwrap_err(), InvalidOrigin::TooMany);
    }

    #[test]
    fn parameters_of_tools_are_allowed_and_nothing_else_that_is_asked_for() {
        let mut headers = HeaderMap::new();
        let asked = "content-type, X-Admin, mcp-param-region,Mcp-Param-City, mcp-param-\u{1}";
        let asked = HeaderValue::from_bytes(asked.replace('\u{1}', "(").as_bytes()).unwrap();
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, asked);
        let allowed = allowed_headers(&headers);
        let expected = format!("{REQUEST_HEADERS}, mcp-param-region, mcp-param-city");
        assert_eq!(allowed, expected);

        let many: Vec<_> = (0..100).map(|it| format!("mcp-param-{it}")).collect();
        let many = HeaderValue::try_from(many.join(",")).unwrap();
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, many);
        let allowed = allowed_headers(&headers);
        assert_eq!(allowed.to_str().unwrap().matches("mcp-param-").count(), 32);
    }
}

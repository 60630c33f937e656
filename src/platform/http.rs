//! Between the platform's requests and ours: the parts of a request that handlers may see are
//! copied once, bounded, into plain data; the answer is copied back.

use std::borrow::Cow;

use http::{Method, StatusCode, uri::PathAndQuery};
use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader, ResponseInit};

use crate::authority::CertificateFacts;

/// What comes before the body. No handler sees another header.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) target: PathAndQuery,
    /// The token of Cloudflare Access, which adds it to what it lets through.
    pub(crate) access_assertion: Option<String>,
    pub(crate) authorization: Option<String>,
    /// Who is asking, by its address; the platform overwrites what a client puts there.
    pub(crate) connecting_ip: Option<String>,
    pub(crate) content_type: Option<String>,
    /// Whether a browser asks if a page may send a request (CORS).
    pub(crate) is_preflight: bool,
    /// A proof of possession (RFC 9449).
    pub(crate) dpop: Option<String>,
    pub(crate) if_none_match: Option<String>,
    /// The site of the page that sends the request, of browsers.
    pub(crate) origin: Option<String>,
}

impl Head {
    pub(crate) fn path(&self) -> &str {
        self.target.path()
    }

    /// This target with another path.
    pub(crate) fn target_at(&self, path: &str) -> String {
        match self.target.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }
}

/// A request that can't be handed to a handler.
pub(crate) enum Unreadable {
    /// Than so many bytes.
    BodyLonger(usize),
    Header(&'static str),
    Method,
    Target,
}

pub(crate) type Header = (&'static str, Cow<'static, str>);

/// An answer. It is not to be cached, unless it says how.
#[derive(Clone)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<Header>,
    pub(crate) body: Vec<u8>,
}

/// Method, target and headers. The outer error is the platform's, the inner one the caller's.
pub(crate) fn read_head(request: &web_sys::Request) -> worker::Result<Result<Head, Unreadable>> {
    let Ok(method) = Method::from_bytes(request.method().as_bytes()) else {
        return Ok(Err(Unreadable::Method));
    };
    let Ok(target) = target(&request.url()).parse() else {
        return Ok(Err(Unreadable::Target));
    };
    let headers = request.headers();
    let mut faulty = None;
    let mut header = |name| -> worker::Result<Option<String>> {
        let value = headers.get(name)?;
        if value
            .as_deref()
            .is_some_and(|value| value.contains(is_forbidden))
        {
            faulty = Some(name);
        }
        Ok(value)
    };
    let origin = header("origin")?;
    let is_preflight = method == Method::OPTIONS
        && (origin.is_some() || header("access-control-request-method")?.is_some());
    let head = Head {
        target,
        access_assertion: header("cf-access-jwt-assertion")?,
        authorization: header("authorization")?,
        connecting_ip: header("cf-connecting-ip")?,
        content_type: header("content-type")?,
        is_preflight,
        dpop: header("dpop")?,
        if_none_match: header("if-none-match")?,
        origin,
        method,
    };
    Ok(match faulty {
        Some(name) => Err(Unreadable::Header(name)),
        None => Ok(head),
    })
}

/// What follows the origin of a URL; the host plays no part in routing.
pub(crate) fn target(url: &str) -> &str {
    url.find("://")
        .and_then(|scheme| url.get(scheme + 3..))
        .and_then(|rest| rest.find('/').and_then(|path| rest.get(path..)))
        .unwrap_or("/")
}

/// Of the connection's TLS client certificate. Looked at where it is asked for: it costs.
pub(crate) fn certificate_facts(request: &web_sys::Request) -> CertificateFacts {
    let get = |object: &JsValue, name: &str| Reflect::get(object, &JsValue::from_str(name));
    let facts = get(request, "cf").and_then(|cf| get(&cf, "tlsClientAuth"));
    let fact = |name: &str| {
        let value = facts.as_ref().ok().and_then(|facts| get(facts, name).ok());
        value
            .and_then(|value| value.as_string())
            .unwrap_or_default()
    };
    CertificateFacts {
        verified: fact("certVerified"),
        revoked: fact("certRevoked"),
        sha256: fact("certFingerprintSHA256"),
    }
}

/// RFC 9110, section 5.5.
fn is_forbidden(c: char) -> bool {
    c.is_ascii_control() && c != '\t'
}

/// The body, of which no more is read than `max` bytes. With a `max` of 0 it is not looked at.
pub(crate) async fn read_body(
    request: &web_sys::Request,
    max: usize,
) -> worker::Result<Result<Vec<u8>, Unreadable>> {
    let Some(stream) = request.body().filter(|_| max > 0) else {
        return Ok(Ok(Vec::new()));
    };
    // Where the length is known, one call reads all: a fifth of the adapter's time.
    let length = request.headers().get("content-length")?;
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > max => return Ok(Err(Unreadable::BodyLonger(max))),
        Some(_) => {
            let bytes = Uint8Array::new(&JsFuture::from(request.array_buffer()?).await?);
            return Ok(if bytes.length() as usize > max {
                Err(Unreadable::BodyLonger(max))
            } else {
                Ok(bytes.to_vec())
            });
        }
        None => {}
    }
    Ok(read_stream(&stream, max, |_| false)
        .await?
        .ok_or(Unreadable::BodyLonger(max)))
}
/// What comes until the end, or until it is `enough`. `None`: longer than `max` bytes.
pub(super) async fn read_stream(
    stream: &ReadableStream,
    max: usize,
    enough: fn(&[u8]) -> bool,
) -> Result<Option<Vec<u8>>, JsValue> {
    let (mut body, mut looks) = (Vec::new(), Looks::default());
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    loop {
        let chunk = JsFuture::from(reader.read()).await?;
        if Reflect::get(&chunk, &JsValue::from_str("done"))?.is_truthy() {
            return Ok(Some(body));
        }
        let chunk: Uint8Array = Reflect::get(&chunk, &JsValue::from_str("value"))?.dyn_into()?;
        if body.len() + chunk.length() as usize > max {
            JsFuture::from(reader.cancel()).await?;
            return Ok(None);
        }
        body.extend_from_slice(&chunk.to_vec());
        if looks.is_due(body.len()) && enough(&body) {
            JsFuture::from(reader.cancel()).await?;
            return Ok(Some(body));
        }
    }
}

/// Chooses after which chunks a growing body is looked at: after each of the first, then whenever it has
/// doubled. So a sender of single bytes can't have its whole body read anew for each of them.
#[derive(Default)]
struct Looks {
    taken: u32,
    next_at: usize,
}

impl Looks {
    const AFTER_EACH_CHUNK: u32 = 64;

    fn is_due(&mut self, length: usize) -> bool {
        if self.taken >= Self::AFTER_EACH_CHUNK && length < self.next_at {
            return false;
        }
        self.taken += 1;
        self.next_at = length.saturating_mul(2);
        true
    }
}

pub(crate) fn write(response: &Response) -> worker::Result<web_sys::Response> {
    let headers = web_sys::Headers::new()?;
    for (name, value) in &response.headers {
        headers.set(name, value)?;
    }
    let init = ResponseInit::new();
    init.set_status(response.status.as_u16());
    init.set_headers(&headers);
    // The platform refuses a body, even an empty one, with these.
    let bodiless = matches!(
        response.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    let body = (!bodiless).then(|| Uint8Array::from(response.body.as_slice()));
    Ok(web_sys::Response::new_with_opt_js_u8_array_and_init(
        body.as_ref(),
        &init,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_single_bytes_is_looked_at_a_few_times() {
        let mut looks = Looks::default();
        let lengths: Vec<usize> = (1..=256 * 1024)
            .filter(|length| looks.is_due(*length))
            .collect();
        assert_eq!(lengths.get(..64), Some(&(1..=64).collect::<Vec<_>>()[..]));
        assert_eq!(lengths.get(64..68), Some(&[128, 256, 512, 1024][..]));
        assert_eq!(lengths.len(), 64 + 12);
    }
}

//! Between the platform's requests and ours: the parts of a request that handlers may see are
//! copied once, bounded, into `http` types; the answer is copied back.

use axum::body::Body;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, IF_NONE_MATCH},
    request::Parts,
};
use http_body_util::BodyExt;
use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader, ResponseInit};

/// The token of Cloudflare Access, which adds it to what it lets through.
pub(crate) const ACCESS_ASSERTION: HeaderName = HeaderName::from_static("cf-access-jwt-assertion");

/// Who is asking, by its address; the platform overwrites what a client puts there.
pub(crate) const CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");

/// No handler sees another header.
const FORWARDED: [HeaderName; 5] = [
    AUTHORIZATION,
    IF_NONE_MATCH,
    CONTENT_TYPE,
    ACCESS_ASSERTION,
    CONNECTING_IP,
];

/// A request that can't be handed to a handler.
pub(crate) enum Unreadable {
    BodyTooLarge,
    Header(HeaderName),
    Method,
    Target,
}

/// Method, target and headers. The outer error is the platform's, the inner one the caller's.
pub(crate) fn read_head(request: &web_sys::Request) -> worker::Result<Result<Parts, Unreadable>> {
    let Ok(method) = Method::from_bytes(request.method().as_bytes()) else {
        return Ok(Err(Unreadable::Method));
    };
    let url = request.url();
    // What follows the origin; the host plays no part in routing.
    let target = url
        .find("://")
        .and_then(|scheme| url.get(scheme + 3..))
        .and_then(|rest| rest.find('/').and_then(|path| rest.get(path..)))
        .unwrap_or("/");

    let mut builder = Request::builder().method(method).uri(target);
    for name in FORWARDED {
        if let Some(value) = request.headers().get(name.as_str())? {
            match HeaderValue::from_bytes(value.as_bytes()) {
                Ok(value) => builder = builder.header(name, value),
                Err(_) => return Ok(Err(Unreadable::Header(name))),
            }
        }
    }
    Ok(builder
        .body(())
        .map(|request| request.into_parts().0)
        .map_err(|_| Unreadable::Target))
}

/// The body, of which no more is read than `max` bytes. With a `max` of 0 it is not looked at: then it is the handler's to refuse the request.
pub(crate) async fn read_body(
    request: &web_sys::Request,
    max: usize,
) -> worker::Result<Result<Vec<u8>, Unreadable>> {
    let Some(stream) = request.body().filter(|_| max > 0) else {
        return Ok(Ok(Vec::new()));
    };
    // Where the length is known, one call reads all: a fifth of the adapter's time.
    let length = request.headers().get(CONTENT_LENGTH.as_str())?;
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > max => return Ok(Err(Unreadable::BodyTooLarge)),
        Some(_) => {
            let bytes = Uint8Array::new(&JsFuture::from(request.array_buffer()?).await?);
            return Ok(if bytes.length() as usize > max {
                Err(Unreadable::BodyTooLarge)
            } else {
                Ok(bytes.to_vec())
            });
        }
        None => {}
    }
    Ok(read_stream(&stream, max, |_| false)
        .await?
        .ok_or(Unreadable::BodyTooLarge))
}

/// What comes until the end, or until it is `enough`. `None`: longer than `max` bytes.
pub(super) async fn read_stream(
    stream: &ReadableStream,
    max: usize,
    enough: fn(&[u8]) -> bool,
) -> Result<Option<Vec<u8>>, JsValue> {
    let mut body = Vec::new();
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
        if enough(&body) {
            JsFuture::from(reader.cancel()).await?;
            return Ok(Some(body));
        }
    }
}

pub(crate) async fn write(response: Response<Body>) -> worker::Result<web_sys::Response> {
    let (parts, body) = response.into_parts();
    let headers = web_sys::Headers::new()?;
    for (name, value) in &parts.headers {
        if let Ok(value) = value.to_str() {
            headers.append(name.as_str(), value)?;
        }
    }
    let init = ResponseInit::new();
    init.set_status(parts.status.as_u16());
    init.set_headers(&headers);

    let bytes = body
        .collect()
        .await
        .map_err(|error| worker::Error::RustError(error.to_string()))?
        .to_bytes();
    // The platform refuses a body, even an empty one, with these.
    let bodiless = matches!(
        parts.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    let body = (!bodiless).then(|| Uint8Array::from(bytes.as_ref()));
    Ok(web_sys::Response::new_with_opt_js_u8_array_and_init(
        body.as_ref(),
        &init,
    )?)
}

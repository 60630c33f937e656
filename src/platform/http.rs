//! Between the platform's requests and ours: the parts of a request that handlers may see are
//! copied once, bounded, into `http` types; the answer is copied back.

use axum::{Router, body::Body, response::IntoResponse};
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, IF_NONE_MATCH},
};
use http_body_util::BodyExt;
use js_sys::{Reflect, Uint8Array};
use tower_service::Service;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStreamDefaultReader, ResponseInit};

use crate::{
    api::{self, MAX_BODY_BYTES},
    platform::App,
};

/// No handler sees another header.
const FORWARDED: [HeaderName; 2] = [AUTHORIZATION, IF_NONE_MATCH];

pub(crate) async fn serve(
    request: web_sys::Request,
    app: App,
    mut router: Router,
) -> worker::Result<web_sys::Response> {
    let response = match read(&request).await? {
        Ok(mut request) => {
            request.extensions_mut().insert(app);
            router
                .call(request)
                .await
                .unwrap_or_else(|never| match never {})
        }
        Err(response) => response,
    };
    write(response).await
}

/// The inner error is the answer to a request that can't be represented.
async fn read(request: &web_sys::Request) -> worker::Result<Result<Request<Body>, Response<Body>>> {
    let method = request.method();
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return Ok(Err(api::method_unknown().into_response()));
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
                Err(_) => return Ok(Err(api::header_malformed(&name).into_response())),
            }
        }
    }
    let Some(body) = read_body(request).await? else {
        return Ok(Err(api::body_too_large(MAX_BODY_BYTES).into_response()));
    };
    Ok(builder
        .body(Body::from(body))
        .map_err(|_| api::target_malformed().into_response()))
}

/// `None` for a body over the limit; whatever Content-Length says, no more than that is kept.
async fn read_body(request: &web_sys::Request) -> worker::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    let Some(stream) = request.body() else {
        return Ok(Some(body));
    };
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    loop {
        let chunk = JsFuture::from(reader.read()).await?;
        if Reflect::get(&chunk, &JsValue::from_str("done"))?.is_truthy() {
            return Ok(Some(body));
        }
        let chunk: Uint8Array = Reflect::get(&chunk, &JsValue::from_str("value"))?.dyn_into()?;
        if body.len() + chunk.length() as usize > MAX_BODY_BYTES {
            JsFuture::from(reader.cancel()).await?;
            return Ok(None);
        }
        body.extend_from_slice(&chunk.to_vec());
    }
}

async fn write(response: Response<Body>) -> worker::Result<web_sys::Response> {
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

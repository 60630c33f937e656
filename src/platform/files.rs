//! The API's description, which the platform keeps beside the Worker as files. It is served through the Worker, since
//! the platform's own server refuses the question of a browser whether a page may read it.

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use super::http::target;

/// What clients ask for by name.
pub(crate) const FILES: [&str; 3] = ["/docs", "/openapi.json", "/openapi.yaml"];

/// The file that is asked for, if it is one of these and the question is not a browser's.
pub(crate) async fn serve(request: &web_sys::Request, env: &Env) -> Option<web_sys::Response> {
    let url = request.url();
    let path = target(&url).split('?').next()?;
    if !FILES.contains(&path) || request.method() == "OPTIONS" {
        return None;
    }
    let files = Reflect::get(env, &JsValue::from_str("ASSETS")).ok()?;
    let fetch: Function = Reflect::get(&files, &JsValue::from_str("fetch"))
        .ok()?
        .dyn_into()
        .ok()?;
    let answer: Promise = fetch.call1(&files, request).ok()?.dyn_into().ok()?;
    JsFuture::from(answer).await.ok()?.dyn_into().ok()
}

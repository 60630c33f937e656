//! The cache of the location that answers (Cache API). Where there is none, as on workers.dev, it keeps
//! nothing.

use js_sys::{Function, Promise, Reflect, global};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// What is kept for this URL, if it is still fresh.
pub(crate) async fn find(url: &str) -> Option<web_sys::Response> {
    let found = call("match", &[url.into()]).await.ok()?;
    found.dyn_into().ok()
}

/// Keeps an answer for as long as its Cache-Control says.
pub(crate) async fn keep(url: &str, answer: &web_sys::Response) {
    // It is asked anew where it isn't kept.
    let _ = call("put", &[url.into(), answer.into()]).await;
}

/// At this location.
pub(crate) async fn forget(url: &str) {
    let _ = call("delete", &[url.into()]).await;
}

async fn call(method: &str, values: &[JsValue]) -> Result<JsValue, JsValue> {
    let get = |object: &JsValue, name: &str| Reflect::get(object, &JsValue::from_str(name));
    let cache = get(&get(&global(), "caches")?, "default")?;
    let method: Function = get(&cache, method)?.dyn_into()?;
    let promise: Promise = method.apply(&cache, &values.iter().collect())?.dyn_into()?;
    JsFuture::from(promise).await
}

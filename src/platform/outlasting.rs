//! Keeps a change going on after its client has broken off.

use js_sys::{Function, Promise};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use worker::Context;

/// What goes on until this is dropped, though its client breaks off. The platform would end it then; with
/// something to wait for it does not, for 30 s.
pub(crate) struct Outlasting {
    end: Option<Function>,
}

impl Outlasting {
    pub(crate) fn new(context: &Context) -> Self {
        let mut end = None;
        let promise = Promise::new(&mut |resolve, _| end = Some(resolve));
        context.wait_until(async move {
            // There is no way for it to fail.
            let _ = JsFuture::from(promise).await;
        });
        Self { end }
    }
}

impl Drop for Outlasting {
    fn drop(&mut self) {
        if let Some(end) = &self.end {
            let _ = end.call0(&JsValue::UNDEFINED);
        }
    }
}

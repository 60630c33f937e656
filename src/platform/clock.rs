use worker::Date;

/// Milliseconds since the Unix epoch. In workerd, time stands still between two I/O operations.
#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
pub(crate) fn now_millis() -> u64 {
    Date::now().as_millis()
}

/// A date as it goes over the wire, of milliseconds since the Unix epoch.
#[expect(
    clippy::cast_precision_loss,
    reason = "dates that JavaScript has are exact"
)]
pub(crate) fn iso_date(millis: u64) -> String {
    js_sys::Date::new(&wasm_bindgen::JsValue::from_f64(millis as f64))
        .to_iso_string()
        .into()
}

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use worker::{Date, Delay};

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

/// A date of a header, in milliseconds since the Unix epoch.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is none, or before the epoch, becomes 0"
)]
pub(crate) fn read_date(text: &str) -> u64 {
    js_sys::Date::parse(text) as u64
}

/// Lets time pass.
pub(crate) async fn sleep(duration: Duration) {
    Delay::from(duration).await;
}

/// What comes of a future within the time. What it began may still happen.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut alarm) = (pin!(future), pin!(Delay::from(limit)));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => alarm.as_mut().poll(context).map(|()| None),
    })
    .await
}

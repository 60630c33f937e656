//! The page that a browser gets at `/`. To other clients the bare address is no endpoint.

use http::Method;

use super::document;
use crate::platform::http::{Head, Response};

const PAGE: &str = include_str!("front_page.html");
/// The page has one style sheet and one icon, and does nothing.
const ALLOWED: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                       frame-ancestors 'none'";

pub(super) fn show(request: &web_sys::Request, head: &Head) -> Option<Response> {
    if head.path() != "/" || !matches!(head.method, Method::GET | Method::HEAD) {
        return None;
    }
    let accepted = request.headers().get("accept").ok()??;
    accepted.contains("text/html").then(|| {
        let mut page = document("text/html; charset=utf-8", PAGE.into());
        page.headers.extend([
            ("content-security-policy", ALLOWED.into()),
            ("referrer-policy", "no-referrer".into()),
            ("vary", "Accept".into()),
        ]);
        page
    })
}

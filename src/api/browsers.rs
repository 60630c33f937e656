//! Tells browsers which pages may read an answer (CORS). What lets a caller do something is never a cookie, so a
//! page gains nothing that its own server could not have. Administration is no page's business.

use std::borrow::Cow;

use http::StatusCode;

use super::is_administration;
use crate::platform::{
    Settings,
    http::{Head, Response},
};

/// The pages that may read the answers of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Readers {
    Everybody,
    /// Pages of the origins in the setting `CORS_ORIGINS`.
    Configured,
    Nobody,
}

impl Readers {
    pub(super) fn of(path: &str) -> Self {
        // No spelling of administration is a page's business, found or not.
        if is_administration(&path.to_ascii_lowercase()) {
            Self::Nobody
        } else if path == "/v1/connect" {
            Self::Configured
        } else {
            Self::Everybody
        }
    }

    /// Lets pages read the answer.
    pub(super) fn let_in(self, response: &mut Response, origin: Option<&str>, settings: &Settings) {
        let (who, methods, headers) = match self {
            Self::Everybody => (
                "*".into(),
                "GET, POST, PUT, PATCH, DELETE, OPTIONS",
                // `*` stands for every header but the first.
                "Authorization, Content-Type, DPoP, *",
            ),
            Self::Configured => {
                response.headers.push(("vary", "Origin".into()));
                match allowed(origin, settings) {
                    Some(origin) => (
                        Cow::Owned(origin.to_owned()),
                        "POST, OPTIONS",
                        "Authorization, Content-Type, DPoP",
                    ),
                    None => return,
                }
            }
            Self::Nobody => return,
        };
        response.headers.extend([
            ("access-control-allow-origin", who),
            ("access-control-allow-methods", methods.into()),
            ("access-control-allow-headers", headers.into()),
            (
                "access-control-expose-headers",
                "Allow, Content-Length, Content-Type, ETag, Retry-After, WWW-Authenticate".into(),
            ),
            ("x-content-type-options", "nosniff".into()),
        ]);
    }

    /// Answers a browser that asks whether a page may send a request.
    pub(super) fn preflight(self, head: &Head, settings: &Settings) -> Option<Response> {
        let is_open = match self {
            Self::Everybody => true,
            Self::Configured => allowed(head.origin.as_deref(), settings).is_some(),
            Self::Nobody => false,
        };
        (is_open && head.is_preflight).then(|| Response {
            status: StatusCode::NO_CONTENT,
            headers: vec![("access-control-max-age", "86400".into())],
            body: Vec::new(),
        })
    }
}

/// The origin, if its pages may connect. None may while the setting can't be read.
fn allowed<'a>(origin: Option<&'a str>, settings: &Settings) -> Option<&'a str> {
    let known = settings.cors_origins().unwrap_or_default();
    origin.filter(|origin| known.iter().any(|known| known == origin))
}

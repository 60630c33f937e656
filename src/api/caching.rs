//! Validators of documents that many ask for again and again.

use base64ct::{Base64UrlUnpadded, Encoding};
use http::StatusCode;
use sha2::{Digest, Sha256};

use crate::platform::http::{Head, Response};

const CACHE_CONTROL: &str = "cache-control";

pub(super) fn etag(content: &str) -> String {
    let digest = Sha256::digest(content);
    format!("\"{}\"", Base64UrlUnpadded::encode_string(&digest))
}

/// An answer that may be shown again, as this value of Cache-Control has it.
pub(super) fn cacheable(mut answer: Response, caching: &'static str) -> Response {
    answer.headers.retain(|(name, _)| *name != CACHE_CONTROL);
    answer.headers.push((CACHE_CONTROL, caching.into()));
    answer
}

pub(super) fn tagged(mut answer: Response, etag: String) -> Response {
    answer.headers.push(("etag", etag.into()));
    answer
}

/// What there is to say to a client that has the document with this tag already: nothing, if it has.
pub(super) fn unchanged(head: &Head, etag: &str, caching: &'static str) -> Option<Response> {
    let known = head.if_none_match.as_deref()?;
    is_among(known, etag).then(|| Response {
        status: StatusCode::NOT_MODIFIED,
        headers: vec![
            (CACHE_CONTROL, caching.into()),
            ("etag", etag.to_owned().into()),
        ],
        body: Vec::new(),
    })
}

/// RFC 9110, section 13.1.2: the weak comparison.
fn is_among(known: &str, etag: &str) -> bool {
    known
        .split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

//! Validators of documents that many ask for again and again.

use base64ct::{Base64UrlUnpadded, Encoding};
use http::StatusCode;
use sha2::{Digest, Sha256};

use crate::platform::http::{Head, Response};

const CACHE_CONTROL: &str = "cache-control";

/// What is read of one server may be shown for a second without asking again: together with the second for which
/// an isolate trusts what it knows of changes, nobody sees a server as it was more than 2 s ago.
pub(super) const OF_ONE_SERVER: &str = "public, max-age=1";

pub(super) fn etag(content: impl AsRef<[u8]>) -> String {
    let digest = Sha256::digest(content);
    format!("\"{}\"", Base64UrlUnpadded::encode_string(&digest))
}

/// An answer that may be shown again, as this value of Cache-Control has it.
pub(super) fn cacheable(mut answer: Response, caching: &'static str) -> Response {
    answer.headers.retain(|(name, _)| *name != CACHE_CONTROL);
    answer.headers.push((CACHE_CONTROL, caching.into()));
    answer
}

/// An answer that may be shown again gets a tag of its content, unless it has one; who has that content
/// already is told only so.
pub(super) fn conditional(known: Option<&str>, answer: Response) -> Response {
    let caching = answer
        .headers
        .iter()
        .find(|(name, value)| *name == CACHE_CONTROL && value.starts_with("public"));
    let is_tagged = answer.headers.iter().any(|(name, _)| *name == "etag");
    if answer.status != StatusCode::OK || caching.is_none() || is_tagged {
        return answer;
    }
    let mut answer = answer;
    let etag = etag(&answer.body);
    if known.is_some_and(|known| is_among(known, &etag)) {
        answer.status = StatusCode::NOT_MODIFIED;
        answer.headers.retain(|(name, _)| *name != "content-type");
        answer.body.clear();
    }
    tagged(answer, etag)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(caching: &'static str) -> Response {
        Response {
            status: StatusCode::OK,
            headers: vec![
                ("content-type", "application/json".into()),
                ("cache-control", caching.into()),
            ],
            body: b"{}".to_vec(),
        }
    }

    fn etag_of(answer: &Response) -> Option<&str> {
        let (_, value) = answer.headers.iter().find(|(name, _)| *name == "etag")?;
        Some(value)
    }

    #[test]
    fn what_may_be_shown_again_is_sent_once() {
        let first = conditional(None, answer("public, max-age=30"));
        let etag = etag_of(&first).unwrap();
        assert_eq!(
            (first.status, first.body.as_slice()),
            (StatusCode::OK, &b"{}"[..])
        );
        for known in [etag, &format!("W/{etag}"), &format!("\"x\", {etag}"), "*"] {
            let again = conditional(Some(known), answer("public, max-age=30"));
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{known}");
            assert!(again.body.is_empty());
            assert_eq!(etag_of(&again), Some(etag));
        }
        let other = conditional(Some("\"x\""), answer("public, max-age=30"));
        assert_eq!(other.status, StatusCode::OK);
    }

    #[test]
    fn nothing_else_is() {
        let private = conditional(Some("*"), answer("no-store"));
        assert_eq!((private.status, etag_of(&private)), (StatusCode::OK, None));
        let mut problem = answer("public, max-age=5");
        problem.status = StatusCode::NOT_FOUND;
        assert_eq!(
            conditional(Some("*"), problem).status,
            StatusCode::NOT_FOUND
        );
        let theirs = tagged(answer("public, max-age=5"), "\"theirs\"".into());
        assert_eq!(etag_of(&conditional(Some("*"), theirs)), Some("\"theirs\""));
    }
}

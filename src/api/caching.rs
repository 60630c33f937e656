//! Validators of documents that many ask for again and again.

use base64ct::{Base64UrlUnpadded, Encoding};
use http::{HeaderMap, header::IF_NONE_MATCH};
use sha2::{Digest, Sha256};

pub(super) fn etag(content: &str) -> String {
    let digest = Sha256::digest(content);
    format!("\"{}\"", Base64UrlUnpadded::encode_string(&digest))
}

/// RFC 9110, section 13.1.2: the weak comparison.
pub(super) fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(',')
                .map(str::trim)
                .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
        })
}

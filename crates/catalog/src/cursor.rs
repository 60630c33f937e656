use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};

/// Where the next page of a search begins. It is safe in a URL as it is, and carries the query, so
/// that a client which sends only the cursor goes on with the same search.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)] // it is what its reader needs, nothing more
pub struct SearchCursor {
    /// The text that was searched for, if any.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The name of the last server on the page before.
    #[serde(rename = "a")]
    pub after: String,
}

/// A text that this registry never gave out as a cursor.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not a cursor of this registry; leave it out to begin at the first page")]
pub struct CursorError;

const MAX_CHARS: usize = 2048;

impl SearchCursor {
    /// The cursor as it goes into a URL.
    pub fn encode(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        Base64UrlUnpadded::encode_string(&json)
    }

    /// Reads a cursor that [`Self::encode`] made.
    pub fn decode(text: &str) -> Result<Self, CursorError> {
        if text.len() > MAX_CHARS {
            return Err(CursorError);
        }
        let json = Base64UrlUnpadded::decode_vec(text).map_err(|_| CursorError)?;
        serde_json::from_slice(&json).map_err(|_| CursorError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn survives_a_round_trip_unescaped(
            query in proptest::option::of(".{0,200}"),
            after in ".{0,200}",
        ) {
            let cursor = SearchCursor { query, after };
            let text = cursor.encode();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
            if text.len() <= MAX_CHARS {
                prop_assert_eq!(SearchCursor::decode(&text), Ok(cursor));
            }
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = SearchCursor::decode(&text);
        }
    }
}

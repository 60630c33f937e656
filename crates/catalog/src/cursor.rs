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
    /// What was found in its place, where it found nothing.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub corrected: Option<String>,
    /// The last server on the page before: its name, or the key of a search.
    #[serde(rename = "a")]
    pub after: String,
}

/// A text that this registry never gave out as a cursor.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not a cursor of this registry; leave it out to begin at the first page")]
pub struct CursorError;

/// Fits what is given out at most: two versions of 255 characters and a text of 200, each of four bytes,
/// beside a name of 200; or two such texts, one of them corrected, and a key.
const MAX_CHARS: usize = 6 * 1024;

/// Where the next page of a list begins. It is safe in a URL as it is, and carries what the list is
/// filtered by, so that a client which sends only the cursor goes on with the same list.
#[derive(Clone, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_structs)] // it is what its reader needs, nothing more
pub struct ListCursor {
    /// What the list is filtered by. A cursor that is only a name, as others write theirs, doesn't
    /// say.
    pub filter: Option<ListFilter>,
    /// The last version on the page before.
    pub after: Position,
}

/// Which versions a list has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[allow(clippy::exhaustive_structs)] // the query, member by member
pub struct ListFilter {
    /// The text that is searched for.
    pub search: Option<String>,
    /// One version, or `latest`.
    pub version: Option<String>,
    /// Only what was changed after this, in microseconds since the Unix epoch.
    pub updated_since: Option<u64>,
    /// Whether deleted versions are in it.
    pub include_deleted: bool,
}

/// A place in a list.
#[derive(Clone, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_enums)] // there are these two orders
pub enum Position {
    /// In one by name and version. Without a version, after all versions of the name.
    Name {
        /// The server.
        name: String,
        /// The version.
        version: Option<String>,
    },
    /// In one by date.
    Moment {
        /// Microseconds since the Unix epoch.
        micros: u64,
        /// Tells apart what has the same date.
        id: u64,
    },
}

impl Position {
    /// Whether it is before all names.
    pub fn is_first_name(&self) -> bool {
        matches!(self, Self::Name { name, .. } if name.is_empty())
    }
}

/// No name of a server begins with it.
const LIST_PREFIX: char = '_';

type Members = (
    Option<String>,
    Option<String>,
    Option<u64>,
    bool,
    Option<String>,
    Option<String>,
    u64,
    u64,
);

impl ListCursor {
    /// The cursor as it goes into a URL.
    pub fn encode(&self) -> String {
        let ListFilter {
            search,
            version,
            updated_since,
            include_deleted,
        } = self.filter.clone().unwrap_or_default();
        let (name, of_name, micros, id) = match self.after.clone() {
            Position::Name { name, version } => (Some(name), version, 0, 0),
            Position::Moment { micros, id } => (None, None, micros, id),
        };
        let members: Members = (
            search,
            version,
            updated_since,
            include_deleted,
            name,
            of_name,
            micros,
            id,
        );
        let json = serde_json::to_vec(&members).unwrap_or_default();
        format!("{LIST_PREFIX}{}", Base64UrlUnpadded::encode_string(&json))
    }

    /// Reads a cursor that [`Self::encode`] made, or one of the form `NAME:VERSION` or `NAME`.
    pub fn decode(text: &str) -> Result<Self, CursorError> {
        if text.len() > MAX_CHARS {
            return Err(CursorError);
        }
        let Some(ours) = text.strip_prefix(LIST_PREFIX) else {
            let (name, version) = match text.split_once(':') {
                // Not percent-encoded, the plus of a version arrives as a space, which no version has.
                Some((name, version)) => (name, Some(version.replace(' ', "+"))),
                None => (text, None),
            };
            let after = Position::Name {
                name: name.to_owned(),
                version,
            };
            return Ok(Self {
                filter: None,
                after,
            });
        };
        let json = Base64UrlUnpadded::decode_vec(ours).map_err(|_| CursorError)?;
        let members: Members = serde_json::from_slice(&json).map_err(|_| CursorError)?;
        let (search, version, updated_since, include_deleted, name, of_name, micros, id) = members;
        let filter = ListFilter {
            search,
            version,
            updated_since,
            include_deleted,
        };
        Ok(Self {
            filter: Some(filter),
            after: match name {
                Some(name) => Position::Name {
                    name,
                    version: of_name,
                },
                None => Position::Moment { micros, id },
            },
        })
    }
}

impl SearchCursor {
    /// In the list of all servers.
    pub fn list(after: &str) -> Self {
        Self {
            query: None,
            corrected: None,
            after: after.to_owned(),
        }
    }

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

    #[test]
    fn cursors_of_other_registries_are_read() {
        for (text, name, version) in [
            ("ab/cd:1.0.0", "ab/cd", Some("1.0.0")),
            ("ab/cd:a:b", "ab/cd", Some("a:b")),
            ("ab/cd:", "ab/cd", Some("")),
            ("ab/cd:1.0.0+b", "ab/cd", Some("1.0.0+b")),
            ("ab/cd:1.0.0 b", "ab/cd", Some("1.0.0+b")),
            ("ab/cd", "ab/cd", None),
            ("%00", "%00", None),
        ] {
            let after = Position::Name {
                name: name.to_owned(),
                version: version.map(str::to_owned),
            };
            assert_eq!(
                ListCursor::decode(text),
                Ok(ListCursor {
                    filter: None,
                    after
                })
            );
        }
    }

    #[test]
    fn a_spoilt_cursor_is_no_name() {
        let after = Position::Moment { micros: 7, id: 1 };
        let text = ListCursor {
            filter: None,
            after,
        }
        .encode();
        for spoilt in [
            "_",
            "_W10",
            "_x!",
            &text[..text.len() - 1],
            &format!("{text}A"),
        ] {
            assert_eq!(ListCursor::decode(spoilt), Err(CursorError), "{spoilt}");
        }
        assert_eq!(
            ListCursor::decode(&"a".repeat(MAX_CHARS + 1)),
            Err(CursorError)
        );
    }

    #[test]
    fn the_longest_cursor_that_is_given_out_is_read() {
        // Four bytes each; quotes are escaped, to two.
        let text = |chars: usize| "𝄞".repeat(chars);
        let after = Position::Name {
            name: "n".repeat(200),
            version: Some(text(255)),
        };
        let filter = ListFilter {
            search: Some(text(200)),
            version: Some(text(255)),
            updated_since: Some(u64::MAX),
            include_deleted: true,
        };
        let list = ListCursor {
            filter: Some(filter),
            after,
        };
        assert_eq!(ListCursor::decode(&list.encode()), Ok(list));
        let search = SearchCursor {
            query: Some(text(200)),
            corrected: Some(text(200)),
            after: text(255),
        };
        assert_eq!(SearchCursor::decode(&search.encode()), Ok(search));
    }

    fn positions() -> impl Strategy<Value = Position> {
        prop_oneof![
            (".{0,200}", proptest::option::of(".{0,99}"))
                .prop_map(|(name, version)| Position::Name { name, version }),
            (any::<u64>(), any::<u64>()).prop_map(|(micros, id)| Position::Moment { micros, id }),
        ]
    }

    proptest! {
        #[test]
        fn a_list_goes_on_as_it_began(
            search in proptest::option::of(".{0,200}"),
            version in proptest::option::of(".{0,99}"),
            updated_since in proptest::option::of(any::<u64>()),
            include_deleted: bool,
            after in positions(),
        ) {
            let filter = ListFilter { search, version, updated_since, include_deleted };
            let cursor = ListCursor { filter: Some(filter), after };
            let text = cursor.encode();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
            if text.len() <= MAX_CHARS {
                prop_assert_eq!(ListCursor::decode(&text), Ok(cursor));
            }
        }

        #[test]
        fn any_text_of_a_list_is_answered(text in "_?\\PC*") {
            let _ = ListCursor::decode(&text);
        }

        #[test]
        fn survives_a_round_trip_unescaped(
            query in proptest::option::of(".{0,200}"),
            corrected in proptest::option::of(".{0,200}"),
            after in ".{0,200}",
        ) {
            let cursor = SearchCursor { query, corrected, after };
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

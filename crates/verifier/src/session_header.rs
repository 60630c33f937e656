//! The headers by which MCP's transport names sessions and streams, until 2025-11-25.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::session_key::SessionKey;

pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The first revision without sessions and without streams that are resumed.
const FIRST_WITHOUT_SESSIONS: &str = "2026-07-28";

/// Why a header can't be judged: the server behind might read it as another value.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum HeaderFault {
    #[error("the Last-Event-ID header is not visible ASCII")]
    LastEventIdIsNotAscii,
    #[error(
        "the Mcp-Session-Id header is not visible ASCII without comma, semicolon, quote, backslash and space"
    )]
    SessionIdIsNotPlain,
    #[error("the Last-Event-ID header is there more than once")]
    SeveralLastEventIds,
    #[error("the Mcp-Session-Id header is there more than once")]
    SeveralSessionIds,
}

/// Reads the session that a message names. An id is one value of visible ASCII without comma,
/// semicolon, quote of any kind, backslash and space, so that no reader behind splits, unquotes or trims it
/// into the id of another session. A percent sign passes: whoever decodes header values is no server of MCP.
pub(crate) fn session_key(headers: &HeaderMap) -> Result<Option<SessionKey>, HeaderFault> {
    let mut values = headers.get_all(SESSION_ID).iter();
    let Some(id) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(HeaderFault::SeveralSessionIds);
    }
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b",;\"'`\\".contains(byte);
    if id.is_empty() || !id.as_bytes().iter().all(is_plain) {
        return Err(HeaderFault::SessionIdIsNotPlain);
    }
    Ok(Some(SessionKey::new(id.as_bytes())))
}

/// Checks that a request names at most one event to go on from. Servers write event ids as they
/// like, and nobody is judged by one: spaces and commas pass.
pub(crate) fn check_last_event_id(headers: &HeaderMap) -> Result<(), HeaderFault> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let Some(id) = values.next() else {
        return Ok(());
    };
    if values.next().is_some() {
        return Err(HeaderFault::SeveralLastEventIds);
    }
    let is_visible = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    if id.as_bytes().iter().all(is_visible) {
        Ok(())
    } else {
        Err(HeaderFault::LastEventIdIsNotAscii)
    }
}

/// Makes what is judged what the server behind sees.
///
/// The session and the event are taken off a request of a revision that has neither (MCP 2026-07-28,
/// Streamable HTTP, "Earlier Streamable HTTP Revisions"): a lenient server would otherwise serve a
/// session whose caller nobody has compared. Spaces around an id, which HTTP/2 lets through and the
/// next HTTP/1.1 connection doesn't, are no part of it.
pub(crate) fn prepare(headers: &mut HeaderMap) {
    if is_without_sessions(headers) {
        headers.remove(SESSION_ID);
        headers.remove(LAST_EVENT_ID);
        return;
    }
    let mut values = headers.get_all(SESSION_ID).iter();
    let (Some(id), None) = (values.next(), values.next()) else {
        return;
    };
    let trimmed = id.as_bytes().trim_ascii();
    if trimmed.len() < id.len()
        && let Ok(trimmed) = HeaderValue::from_bytes(trimmed)
    {
        headers.insert(SESSION_ID, trimmed);
    }
}

/// Revisions are dates. Whatever is no date, or is there twice, is one with sessions: there, the
/// session is judged.
fn is_without_sessions(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(PROTOCOL_VERSION).iter();
    let (Some(version), None) = (values.next(), values.next()) else {
        return false;
    };
    let version = version.as_bytes();
    let is_date = version.len() == FIRST_WITHOUT_SESSIONS.len()
        && version.iter().enumerate().all(|(index, byte)| match index {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    is_date && version >= FIRST_WITHOUT_SESSIONS.as_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(HeaderName, &[u8])]) -> HeaderMap {
        let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).unwrap();
        let mut headers = HeaderMap::new();
        for (name, bytes) in lines {
            headers.append(name, value(bytes));
        }
        headers
    }

    fn of(id: &[u8]) -> Result<Option<SessionKey>, HeaderFault> {
        session_key(&headers(&[(SESSION_ID, id)]))
    }

    #[test]
    fn a_session_id_is_one_plain_value() {
        assert!(session_key(&HeaderMap::new()).unwrap().is_none());
        let unpadded = of(b"s").unwrap();
        assert!(unpadded == Some(SessionKey::new(b"s")));
        for id in [
            &b""[..],
            b" ",
            b" s",
            b"s ",
            b"s\t",
            b"s, x",
            b"x,s",
            b"s,",
            b",s",
            b"\"s\"",
            b"s\"",
            b"'s'",
            b"s'",
            b"`s`",
            b"s;x",
            b";s",
            b"s;",
            b"\\s",
            b"s x",
            b"s\xa0",
            b"s\xe2\x80\x8b",
        ] {
            assert!(of(id) == Err(HeaderFault::SessionIdIsNotPlain), "{id:?}");
        }
        for id in [
            &b"1868a90c-7b1a-4d3f-9a0e-0f4d5b6c7d8e"[..],
            b"eyJhbGciOiJFZERTQSJ9.eyJzaWQiOiJzIn0.c2ln-X_Y",
            b"c2Vzc2lvbg+/==",
            b"{s}|~!#$%&()*-.:<>?@[]^_",
        ] {
            assert!(of(id) == Ok(Some(SessionKey::new(id))), "{id:?}");
        }
        let twice = headers(&[(SESSION_ID, b"s"), (SESSION_ID, b"s")]);
        assert!(session_key(&twice) == Err(HeaderFault::SeveralSessionIds));
    }

    #[test]
    fn spaces_around_an_id_are_no_part_of_it_for_anybody() {
        for (given, seen) in [
            (&b" s\t"[..], &b"s"[..]),
            (b"s", b"s"),
            (b" s x ", b"s x"),
            (b"  ", b""),
        ] {
            let mut headers = headers(&[(SESSION_ID, given)]);
            prepare(&mut headers);
            let values: Vec<_> = headers.get_all(SESSION_ID).iter().collect();
            assert_eq!(values, [seen]);
        }
        let mut several = headers(&[(SESSION_ID, b" s"), (SESSION_ID, b"t ")]);
        prepare(&mut several);
        assert_eq!(several.get_all(SESSION_ID).iter().count(), 2);
    }

    #[test]
    fn an_event_is_named_once() {
        let check = |lines: &[(HeaderName, &[u8])]| check_last_event_id(&headers(lines));
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[(LAST_EVENT_ID, b"0/1, a")]), Ok(()));
        let twice = check(&[(LAST_EVENT_ID, b"1"), (LAST_EVENT_ID, b"2")]);
        assert_eq!(twice, Err(HeaderFault::SeveralLastEventIds));
        let odd = check(&[(LAST_EVENT_ID, b"1\xff")]);
        assert_eq!(odd, Err(HeaderFault::LastEventIdIsNotAscii));
    }

    #[test]
    fn sessions_are_ignored_from_2026_07_28_on() {
        for (versions, ignored) in [
            (&["2026-07-28"][..], true),
            (&["2027-01-01"], true),
            (&["2026-07-27"], false),
            (&["2025-11-25"], false),
            (&["2024-11-05"], false),
            (&[], false),
            (&[""], false),
            (&["2026-07-28 "], false),
            (&["2026-07-28, 2025-11-25"], false),
            (&["2026-07-28", "2026-07-28"], false),
            (&["2026-07-28", "2025-11-25"], false),
            (&["20260728xx"], false),
            (&["DRAFT-2026"], false),
            (&["9999999999"], false),
        ] {
            let mut headers = headers(&[(SESSION_ID, b"s"), (LAST_EVENT_ID, b"1")]);
            for version in versions {
                headers.append(PROTOCOL_VERSION, version.parse().unwrap());
            }
            prepare(&mut headers);
            let kept = [SESSION_ID, LAST_EVENT_ID].map(|name| headers.contains_key(name));
            assert_eq!(kept, [!ignored; 2], "{versions:?}");
        }
    }

    proptest! {
        /// Whatever a reader does at commas, quotes and white space, it reads the id that was judged.
        #[test]
        fn readers_that_split_and_trim_agree(id in proptest::collection::vec(any::<u8>(), 0..12)) {
            let Ok(value) = HeaderValue::from_bytes(&id) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.insert(SESSION_ID, value);
            if session_key(&headers).is_ok() {
                let text = String::from_utf8(id).unwrap();
                let read: Vec<_> = text
                    .split(|c: char| ",;\"'`\\".contains(c) || c.is_whitespace() || c.is_control())
                    .collect();
                prop_assert_eq!(read, [text.as_str()]);
            }
        }
    }
}

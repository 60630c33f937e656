//! Which headers pass, in both directions, and which the guard writes itself.

use std::{fmt::Write as _, net::IpAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, COOKIE, TE, TRANSFER_ENCODING, UPGRADE},
};
use mcp_connect_verifier::Descriptor;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const CLIENT: HeaderName = HeaderName::from_static("mcp-connect-client");
const TENANT: HeaderName = HeaderName::from_static("mcp-connect-tenant");
const JTI: HeaderName = HeaderName::from_static("mcp-connect-jti");

/// What is between two neighbours only (RFC 9110, section 7.6.1), and the credentials of a proxy
/// (section 11.7).
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes what is not meant for anybody behind the next hop, with all that `Connection` names.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// HTTP/2 clients may send cookies one by one; HTTP/1.1 has one header (RFC 9113, section 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let values: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&values.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Removes every header by which a caller could pass itself off as the guard: `MCP-Connect` and all
/// that begin with it.
pub(crate) fn remove_connect(headers: &mut HeaderMap) {
    remove_alike(headers, |name| {
        name == "mcp-connect" || name.starts_with("mcp-connect-")
    });
}

/// Removes what the verifier has not taken for the session's id, the event to go on from, or the
/// protocol's revision, but the backend might.
pub(crate) fn remove_disguised_session(headers: &mut HeaderMap) {
    remove_where(headers, |name| {
        let read = as_variable(name);
        read != name
            && matches!(
                read.as_str(),
                "mcp-session-id" | "last-event-id" | "mcp-protocol-version"
            )
    });
}

/// Removes the names of session and event from a request that no verifier has judged.
pub(crate) fn remove_session(headers: &mut HeaderMap) {
    remove_alike(headers, |name| {
        matches!(name, "mcp-session-id" | "last-event-id")
    });
}

/// Says for whom a request is forwarded, in place of what the caller said.
pub(crate) fn replace_forwarded(headers: &mut HeaderMap, peer: IpAddr, public: &PublicOrigin) {
    remove_alike(headers, |name| {
        matches!(name, "forwarded" | "x-real-ip") || name.starts_with("x-forwarded-")
    });
    if let Ok(peer) = HeaderValue::from_str(&peer.to_canonical().to_string()) {
        headers.insert(FORWARDED_FOR, peer);
    }
    headers.insert(FORWARDED_HOST, public.host.clone());
    headers.insert(FORWARDED_PROTO, public.scheme.clone());
}

/// Scheme and authority of the URL under which clients know the server.
#[derive(Clone, Debug)]
pub(crate) struct PublicOrigin {
    pub(crate) scheme: HeaderValue,
    pub(crate) host: HeaderValue,
}

/// Says who is governed, where the backend is to know it.
pub(crate) fn insert_identity(headers: &mut HeaderMap, descriptor: &Descriptor) {
    for (name, value) in [
        (CLIENT, descriptor.client_id.as_deref()),
        (TENANT, descriptor.tenant_id.as_deref()),
        (JTI, Some(descriptor.jti.as_str())),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&encode(value)).ok()) {
            headers.insert(name, value);
        }
    }
}

/// Ids are any Unicode; a header's value is visible ASCII. So all else is percent-encoded (RFC
/// 3986, section 2.1), and the percent sign with it; a comma too, since it separates values.
fn encode(id: &str) -> String {
    id.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_graphic() && !matches!(byte, b'%' | b',') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Removes headers that are meant, in whatever spelling a backend could read them by.
fn remove_alike(headers: &mut HeaderMap, is_meant: impl Fn(&str) -> bool) {
    remove_where(headers, |name| is_meant(&as_variable(name)));
}

/// The name as a backend reads it that follows CGI (RFC 3875, section 4.1.18): there, `-`, `_` and in
/// some also every other sign are one.
fn as_variable(name: &str) -> String {
    let read = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.chars().map(read).collect()
}

fn remove_where(headers: &mut HeaderMap, is_meant: impl Fn(&str) -> bool) {
    let meant: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_meant(name.as_str()))
        .cloned()
        .collect();
    for name in meant {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn hop_by_hop_headers_go() {
        let mut headers = headers(&[
            ("connection", "close, X-One"),
            ("connection", "x-two ,,\"no name\""),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authorization", "Basic eDp5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("authorization", "Bearer x"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["authorization", "x-three"]);
    }

    #[test]
    fn nothing_that_claims_to_be_the_guards_stays() {
        let mut headers = headers(&[
            ("mcp-connect", "token"),
            ("mcp-connect-proof", "proof"),
            ("MCP-Connect-Client", "mallory"),
            ("mcp_connect_tenant", "mallory"),
            ("mcp-connect_jti", "x"),
            ("mcp.connect.jti", "x"),
            ("mcp-connected", "unrelated"),
            ("mcp-session-id", "s"),
        ]);
        remove_connect(&mut headers);
        assert_eq!(names(&headers), ["mcp-connected", "mcp-session-id"]);
    }

    #[test]
    fn a_session_is_named_in_one_spelling() {
        let mut headers = headers(&[
            ("mcp-session-id", "s"),
            ("last-event-id", "1"),
            ("mcp-protocol-version", "2025-11-25"),
            ("Mcp_Session_Id", "t"),
            ("mcp-session_id", "u"),
            ("mcp.session.id", "v"),
            ("mcp~session!id", "w"),
            ("last_event-id", "2"),
            ("mcp_protocol_version", "2026-07-28"),
            ("mcp_session", "unrelated"),
        ]);
        remove_disguised_session(&mut headers);
        assert_eq!(
            names(&headers),
            [
                "last-event-id",
                "mcp-protocol-version",
                "mcp-session-id",
                "mcp_session"
            ]
        );
        remove_session(&mut headers);
        assert_eq!(names(&headers), ["mcp-protocol-version", "mcp_session"]);
    }

    #[test]
    fn what_a_caller_says_about_forwarding_is_replaced() {
        let mut headers = headers(&[
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x-forwarded-prefix", "/evil"),
            ("x-real-ip", "1.2.3.4"),
            ("via", "1.1 somebody"),
        ]);
        let public = PublicOrigin {
            scheme: HeaderValue::from_static("https"),
            host: HeaderValue::from_static("mcp.example"),
        };
        replace_forwarded(&mut headers, "::ffff:10.0.0.9".parse().unwrap(), &public);
        assert_eq!(
            names(&headers),
            [
                "via",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto"
            ]
        );
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["x-forwarded-host"], "mcp.example");
        assert_eq!(headers["x-forwarded-proto"], "https");
    }

    #[test]
    fn any_id_fits_into_a_header() {
        assert_eq!(encode("desktop"), "desktop");
        assert_eq!(encode("a b%,\r\nü"), "a%20b%25%2C%0D%0A%C3%BC");
    }

    #[test]
    fn cookies_become_one() {
        let mut headers = headers(&[("cookie", "a=1"), ("cookie", "b=2; c=3")]);
        join_cookies(&mut headers);
        assert_eq!(headers.get_all("cookie").iter().count(), 1);
        assert_eq!(headers["cookie"], "a=1; b=2; c=3");
    }
}

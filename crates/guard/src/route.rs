//! Whether a request is for this server at all, before its descriptor is looked at.

use std::net::IpAddr;

use http::{
    Method, Request,
    header::{HOST, UPGRADE},
    uri::Authority,
};

use crate::fault::Fault;

/// What the guard answers to.
#[derive(Debug)]
pub(crate) struct Routes {
    /// Path of the audience: the one that descriptors govern.
    pub(crate) governed: String,
    /// Paths that anybody may read.
    pub(crate) open: Vec<String>,
    /// Names by which it is reached, in lower case and without port.
    pub(crate) hosts: Vec<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    Governed,
    Open,
}

impl Routes {
    pub(crate) fn find<B>(&self, request: &Request<B>) -> Result<Route, Fault> {
        let method = request.method();
        if !matches!(
            *method,
            Method::GET | Method::POST | Method::DELETE | Method::HEAD | Method::OPTIONS
        ) {
            return Err(Fault::Method);
        }
        if !self.serves(host(request)) {
            return Err(Fault::Host);
        }
        // Some HTTP clients offer h2c with every first request, and go on without (RFC 9110,
        // section 7.8); nobody who asks for another protocol would.
        let is_h2c = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"h2c");
        if !request.headers().get_all(UPGRADE).iter().all(is_h2c) {
            return Err(Fault::Upgrade);
        }
        let path = request.uri().path();
        if path == self.governed {
            Ok(Route::Governed)
        } else if !self.open.iter().any(|open| open == path) {
            Err(Fault::Path)
        } else if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            Ok(Route::Open)
        } else {
            Err(Fault::Method)
        }
    }

    /// The backend sees a `Host` of its own, so the guard is the one to stop DNS rebinding: a page
    /// that had its name resolved to this address would come with that name.
    fn serves(&self, host: Option<Authority>) -> bool {
        host.is_some_and(|authority| {
            let host = authority.host();
            is_loopback(host) || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
        })
    }
}

/// The host that a request is for: of an absolute target, or of the one `Host` (RFC 9112, section
/// 3.2).
fn host<B>(request: &Request<B>) -> Option<Authority> {
    let mut named = request.headers().get_all(HOST).iter();
    let header = match (named.next(), named.next()) {
        (None, _) => None,
        (Some(header), None) => Some(Authority::try_from(header.as_bytes()).ok()?),
        (Some(_), Some(_)) => return None,
    };
    request.uri().authority().cloned().or(header)
}

/// Of an authority: addresses of IPv6 stand in brackets.
fn is_loopback(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || address
            .unwrap_or(host)
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        Routes {
            governed: "/mcp".into(),
            open: vec!["/.well-known/oauth-protected-resource/mcp".into()],
            hosts: vec!["mcp.example".into()],
        }
    }

    fn find(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<Route, Fault> {
        let request = headers
            .iter()
            .fold(
                Request::builder().method(method).uri(uri),
                |request, (name, value)| request.header(*name, *value),
            )
            .body(())
            .unwrap();
        routes().find(&request)
    }

    #[test]
    fn paths_are_compared_as_they_are() {
        let own = [("host", "mcp.example")];
        assert_eq!(find("POST", "/mcp", &own), Ok(Route::Governed));
        assert_eq!(find("GET", "/mcp?x=/mcp", &own), Ok(Route::Governed));
        for path in [
            "/",
            "/mcp/",
            "//mcp",
            "/MCP",
            "/mcp/x",
            "/%6dcp",
            "/x/../mcp",
            "/mcp;x",
            "/metrics",
        ] {
            assert_eq!(find("POST", path, &own), Err(Fault::Path), "{path}");
        }
    }

    #[test]
    fn open_paths_can_be_read() {
        let path = "/.well-known/oauth-protected-resource/mcp";
        let own = [("host", "mcp.example")];
        assert_eq!(find("GET", path, &own), Ok(Route::Open));
        assert_eq!(find("OPTIONS", path, &own), Ok(Route::Open));
        assert_eq!(find("POST", path, &own), Err(Fault::Method));
    }

    #[test]
    fn methods_of_other_protocols_are_refused() {
        let own = [("host", "mcp.example")];
        for method in ["PUT", "PATCH", "TRACE", "PROPFIND", "get"] {
            assert_eq!(find(method, "/mcp", &own), Err(Fault::Method), "{method}");
        }
        assert_eq!(find("CONNECT", "mcp.example:443", &own), Err(Fault::Method));
    }

    #[test]
    fn answers_to_its_own_names() {
        for host in [
            "mcp.example",
            "MCP.example:443",
            "localhost:1",
            "127.0.0.1:8788",
            "127.9.9.9",
            "[::1]:8788",
        ] {
            assert_eq!(
                find("GET", "/mcp", &[("host", host)]),
                Ok(Route::Governed),
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "mcp.example.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "mcp.example@evil.example",
            "",
        ] {
            assert_eq!(
                find("GET", "/mcp", &[("host", host)]),
                Err(Fault::Host),
                "{host}"
            );
        }
        assert_eq!(find("GET", "/mcp", &[]), Err(Fault::Host));
        let two = [("host", "mcp.example"), ("host", "mcp.example")];
        assert_eq!(find("GET", "/mcp", &two), Err(Fault::Host));
        // The target counts, not the header.
        let own = [("host", "mcp.example")];
        assert_eq!(
            find("GET", "http://evil.example/mcp", &own),
            Err(Fault::Host)
        );
        assert_eq!(
            find("GET", "http://mcp.example/mcp", &[]),
            Ok(Route::Governed)
        );
    }

    #[test]
    fn nothing_is_upgraded() {
        let with = |upgrade| {
            let headers = [
                ("host", "mcp.example"),
                ("connection", "upgrade"),
                ("upgrade", upgrade),
            ];
            find("GET", "/mcp", &headers)
        };
        assert_eq!(with("websocket"), Err(Fault::Upgrade));
        assert_eq!(with("h2c, websocket"), Err(Fault::Upgrade));
        assert_eq!(with("h2c"), Ok(Route::Governed));
    }
}

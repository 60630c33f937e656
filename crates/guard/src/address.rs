//! Where the backend is.

use std::{path::PathBuf, str::FromStr};

use http::{HeaderValue, uri::PathAndQuery};
use serde::Deserialize;
use url::{Host, Url};

/// The one backend: `http://127.0.0.1:3000/mcp`, or `unix:/run/mcp.sock:/mcp`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct BackendAddress {
    pub(crate) socket: Socket,
    /// Path of its MCP endpoint.
    pub(crate) path: PathAndQuery,
    /// What it is called in `Host`.
    pub(crate) host: HeaderValue,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Socket {
    Tcp {
        host: String,
        port: u16,
        is_loopback: bool,
    },
    Unix(PathBuf),
}

impl BackendAddress {
    /// Whether nobody on another host can listen in, or reach it past the guard.
    pub const fn is_on_this_host(&self) -> bool {
        match self.socket {
            Socket::Tcp { is_loopback, .. } => is_loopback,
            Socket::Unix(_) => true,
        }
    }
}

/// What is wrong with the address of a backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be like http://127.0.0.1:3000/mcp or unix:/run/mcp.sock:/mcp: {0}")]
pub struct AddressError(&'static str);

impl TryFrom<String> for BackendAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for BackendAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(socket) => unix(socket),
            None => tcp(text),
        }
    }
}

fn unix(text: &str) -> Result<BackendAddress, AddressError> {
    let (socket, path) = match text.rsplit_once(':') {
        Some((socket, path)) => (socket, path),
        None => (text, "/"),
    };
    if !socket.starts_with('/') {
        return Err(AddressError("the socket is no absolute path"));
    }
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return Err(AddressError("the endpoint is no absolute path"));
    }
    Ok(BackendAddress {
        socket: Socket::Unix(socket.into()),
        path: path
            .parse()
            .map_err(|_| AddressError("the endpoint is no path of a URL"))?,
        host: HeaderValue::from_static("localhost"),
    })
}

fn tcp(text: &str) -> Result<BackendAddress, AddressError> {
    let url = Url::parse(text).map_err(|_| AddressError("it is no URL"))?;
    if url.scheme() != "http" {
        return Err(AddressError("on one host, it is spoken to by plain http"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError("it has credentials"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(AddressError("it has a query or fragment"));
    }
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(AddressError("it has no host"));
    };
    let (name, is_loopback) = match host {
        Host::Domain(name) => (name.to_owned(), name == "localhost"),
        Host::Ipv4(address) => (address.to_string(), address.is_loopback()),
        Host::Ipv6(address) => (address.to_string(), address.is_loopback()),
    };
    Ok(BackendAddress {
        socket: Socket::Tcp {
            host: name,
            port,
            is_loopback,
        },
        path: url
            .path()
            .parse()
            .map_err(|_| AddressError("the endpoint is no path of a URL"))?,
        host: HeaderValue::from_str(url.authority())
            .map_err(|_| AddressError("its host is no name"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> BackendAddress {
        text.parse().unwrap()
    }

    #[test]
    fn loopback_and_unix_sockets_are_on_this_host() {
        for text in [
            "http://127.0.0.1:3000/",
            "http://127.1.2.3",
            "http://[::1]:3000/mcp",
            "http://localhost:3000",
            "unix:/run/mcp.sock",
        ] {
            assert!(address(text).is_on_this_host(), "{text}");
        }
        for text in [
            "http://10.0.0.1",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://[::ffff:10.0.0.1]",
            "http://0.0.0.0",
        ] {
            assert!(!address(text).is_on_this_host(), "{text}");
        }
    }

    #[test]
    fn an_address_says_where_and_which_path() {
        let tcp = address("http://localhost:3000/x/mcp");
        assert_eq!(tcp.path, "/x/mcp");
        assert_eq!(tcp.host, "localhost:3000");
        let default = address("http://127.0.0.1");
        assert!(matches!(default.socket, Socket::Tcp { port: 80, .. }));
        assert_eq!(default.path, "/");
        assert_eq!(default.host, "127.0.0.1");

        let unix = address("unix:/run/mcp.sock:/mcp");
        assert_eq!(unix.socket, Socket::Unix("/run/mcp.sock".into()));
        assert_eq!(unix.path, "/mcp");
        assert_eq!(address("unix:/run/mcp.sock").path, "/");
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, problem) in [
            ("", "no URL"),
            ("127.0.0.1:3000", "no URL"),
            ("https://127.0.0.1", "plain http"),
            ("file:///x", "plain http"),
            ("http://user@127.0.0.1", "credentials"),
            ("http://127.0.0.1/?x", "query"),
            ("http://127.0.0.1/#x", "query"),
            ("unix:mcp.sock", "socket"),
            ("unix:/run/mcp.sock:mcp", "endpoint"),
            ("unix:/run/mcp.sock:/m cp", "endpoint"),
            ("unix:/run/mcp.sock:/mcp?x", "endpoint"),
        ] {
            let error = text.parse::<BackendAddress>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}

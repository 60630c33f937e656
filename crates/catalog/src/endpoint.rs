use std::net::{Ipv4Addr, Ipv6Addr};

use ::url::{Host, Url};

/// The URL at which a client reaches a server, as the WHATWG URL standard writes it. It is
/// the server's canonical URI (RFC 8707, section 2), and so the audience of its descriptors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint(String);

/// Which endpoints are accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EndpointRules {
    /// https to a public host.
    Public,
    /// … or http or https to this machine: for development only.
    PublicOrLoopback,
}

/// Why a URL can't be an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Carries a user name or password.
    #[error("has a user name or password")]
    Credentials,
    /// Carries a fragment (RFC 8707, section 2 forbids it).
    #[error("has a fragment")]
    Fragment,
    /// Is no absolute URL.
    #[error("is not an absolute URL")]
    NotAUrl,
    /// The host has an escape, or the URL a character outside ASCII.
    #[error("is not ASCII; write the host in punycode and percent-encode the rest")]
    NotAscii,
    /// The host is this machine, or an address that is not public.
    #[error("names a host that is not public")]
    PrivateHost,
    /// The scheme is not https.
    #[error("is not https")]
    Scheme,
    /// Has variables to be filled in by the user.
    #[error("has variables in braces, which the user has to fill in")]
    Template,
    /// More than 1,024 characters.
    #[error("is longer than 1024 characters")]
    TooLong,
}

/// A descriptor holds it twice and may have 8 KiB in all.
const MAX_CHARS: usize = 1024;

impl Endpoint {
    /// Reads the URL of a remote.
    pub fn parse(text: &str, rules: EndpointRules) -> Result<Self, EndpointError> {
        if text.len() > MAX_CHARS {
            return Err(EndpointError::TooLong);
        }
        if text.contains(['{', '}']) {
            return Err(EndpointError::Template);
        }
        if !is_ascii_with_plain_host(text) {
            return Err(EndpointError::NotAscii);
        }
        let url = Url::parse(text).map_err(|_| EndpointError::NotAUrl)?;
        let host = url.host().ok_or(EndpointError::NotAUrl)?;
        let development = rules == EndpointRules::PublicOrLoopback && is_loopback(&host);
        match url.scheme() {
            "https" => {}
            "http" if development => {}
            _ => return Err(EndpointError::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(EndpointError::Fragment);
        }
        if !development && !is_public(&host) {
            return Err(EndpointError::PrivateHost);
        }
        Ok(Self(url.into()))
    }

    /// The same with this query, which must be percent-encoded, however long that is: to be asked,
    /// not to be shown.
    #[must_use]
    pub fn with_query(&self, query: &str) -> Self {
        Self(format!("{}?{query}", self.0))
    }

    /// Scheme, host and port: who answers there (RFC 6454, section 4).
    pub fn origin(&self) -> String {
        Url::parse(&self.0).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization())
    }

    /// The host as it stands in the URL: a domain in lower case, or an address.
    pub fn host(&self) -> String {
        Url::parse(&self.0)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// The endpoint as a URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a URL leads to a public host, whatever else there is about it.
pub(crate) fn is_at_public_host(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.host().is_some_and(|host| is_public(&host)))
}

/// Whether a URL leads to a host that clients are never sent to, whatever else there is about it.
pub(crate) fn is_private_host(url: &str, rules: EndpointRules) -> bool {
    let is_allowed = |host: Host<&str>| {
        is_public(&host) || (rules == EndpointRules::PublicOrLoopback && is_loopback(&host))
    };
    Url::parse(url).is_ok_and(|url| url.host().is_some_and(|host| !is_allowed(host)))
}

fn is_ascii_with_plain_host(text: &str) -> bool {
    let after_scheme = text.split_once(':').map_or("", |(_, rest)| rest);
    let mut parts = after_scheme
        .trim_start_matches(['/', '\\'])
        .split(['/', '\\', '?', '#']);
    text.is_ascii() && !parts.next().unwrap_or_default().contains('%')
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(domain) => *domain == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn is_public(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(domain) => {
            let domain = domain.trim_end_matches('.');
            domain.contains('.')
                && ![
                    "localhost",
                    "localdomain",
                    "local",
                    "lan",
                    "internal",
                    "arpa",
                ]
                .iter()
                .any(|top| domain.rsplit('.').next() == Some(top))
        }
        Host::Ipv4(address) => is_public_v4(*address),
        Host::Ipv6(address) => is_public_v6(*address),
    }
}

/// The special-purpose blocks of RFC 6890 and its successors.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    // Blocks that reach nobody, this network, or an address of version 4: discard, documentation,
    // benchmarks, local and multicast ones; mapped, NAT64 and 6to4.
    match address.segments() {
        [0x64, 0xff9b, ..]
        | [0x2001, 0x2 | 0xdb8, ..]
        | [0 | 0x100 | 0x2002 | 0x5f00 | 0xfc00.., ..] => false,
        [0x3fff, b, ..] => b >= 0x1000,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conformance::shared;

    fn public(text: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse(text, EndpointRules::Public)
    }

    #[test]
    fn accepts_and_normalises_public_https() {
        for (text, normal) in [
            ("https://mcp.exa.ai/mcp", "https://mcp.exa.ai/mcp"),
            ("HTTPS://MCP.Exa.ai:443/mcp", "https://mcp.exa.ai/mcp"),
            ("https://mcp.exa.ai", "https://mcp.exa.ai/"),
            (
                "https://server.example.com/@a/b?x=1",
                "https://server.example.com/@a/b?x=1",
            ),
            (
                "https://xn--bcher-kva.example/",
                "https://xn--bcher-kva.example/",
            ),
            ("https://8.8.8.8/mcp", "https://8.8.8.8/mcp"),
        ] {
            assert_eq!(public(text).unwrap().as_str(), normal);
        }
    }

    #[test]
    fn refuses_what_no_client_should_be_sent_to() {
        use EndpointError::{
            Credentials, Fragment, NotAUrl, NotAscii, PrivateHost, Scheme, Template,
        };
        for (text, error) in [
            ("", NotAUrl),
            ("/mcp", NotAUrl),
            ("https://bücher.example/", NotAscii),
            ("https://b%C3%BCcher.example/", NotAscii),
            ("https:\\\\A%C2%A1/", NotAscii),
            ("http://mcp.exa.ai/mcp", Scheme),
            ("ftp://mcp.exa.ai/", Scheme),
            ("https://user@mcp.exa.ai/", Credentials),
            ("https://:pw@mcp.exa.ai/", Credentials),
            ("https://mcp.exa.ai/#x", Fragment),
            ("https://{host}/mcp", Template),
            ("https://localhost/mcp", PrivateHost),
            ("https://a.localhost./mcp", PrivateHost),
            ("https://intranet/mcp", PrivateHost),
            ("https://metadata.google.internal/", PrivateHost),
            ("https://printer.local/", PrivateHost),
            ("https://127.0.0.1/", PrivateHost),
            ("https://2130706433/", PrivateHost),
            ("https://0x7f.1/", PrivateHost),
            ("https://10.0.0.1/", PrivateHost),
            ("https://169.254.169.254/", PrivateHost),
            ("https://100.64.0.1/", PrivateHost),
            ("https://192.0.2.7/", PrivateHost),
            ("https://[::1]/", PrivateHost),
            ("https://[::ffff:10.0.0.1]/", PrivateHost),
            ("https://[fc00::1]/", PrivateHost),
            ("https://[fe80::1]/", PrivateHost),
            ("https://[64:ff9b::a00:1]/", PrivateHost),
            ("https://[2002:a00:1::]/", PrivateHost),
            ("https://[fec0::1]/", PrivateHost),
            ("https://[ff02::1]/", PrivateHost),
            ("https://[::7f00:1]/", PrivateHost),
            ("https://[2001:db8::1]/", PrivateHost),
            ("https://[3fff:fff::1]/", PrivateHost),
        ] {
            assert_eq!(public(text), Err(error), "{text}");
        }
    }

    #[test]
    fn addresses_are_public_as_the_official_registry_has_it() {
        let Some(cases) = shared("conformance/registry/misc-cases.json") else {
            return;
        };
        for case in cases["is_blocked_ip"].as_array().unwrap() {
            let address: std::net::IpAddr = case["ip"].as_str().unwrap().parse().unwrap();
            let refused = public(&match address {
                std::net::IpAddr::V4(address) => format!("https://{address}/mcp"),
                std::net::IpAddr::V6(address) => format!("https://[{address}]/mcp"),
            })
            .is_err();
            assert_eq!(refused, case["blocked"].as_bool().unwrap(), "{address}");
        }
    }

    #[test]
    fn the_origin_leaves_path_and_query_out() {
        let endpoint = public("https://MCP.exa.ai:8443/a?b").unwrap();
        assert_eq!(endpoint.origin(), "https://mcp.exa.ai:8443");
        assert_eq!(endpoint.host(), "mcp.exa.ai");
    }

    #[test]
    fn development_adds_this_machine_and_nothing_else() {
        let local = |text| Endpoint::parse(text, EndpointRules::PublicOrLoopback);
        for text in [
            "http://127.0.0.1:8788/mcp",
            "http://localhost:1/",
            "https://[::1]:9/",
        ] {
            assert!(local(text).is_ok(), "{text}");
            assert!(public(text).is_err(), "{text}");
        }
        assert_eq!(local("http://mcp.exa.ai/"), Err(EndpointError::Scheme));
        assert_eq!(local("https://10.0.0.1/"), Err(EndpointError::PrivateHost));
        assert_eq!(local("http://10.0.0.1/"), Err(EndpointError::Scheme));
        assert_eq!(local("http://a.localhost/"), Err(EndpointError::Scheme));
    }

    proptest! {
        #[test]
        fn any_text_is_answered_and_the_normal_form_is_stable(text in "https://.{0,40}") {
            if let Ok(endpoint) = public(&text) {
                prop_assert_eq!(public(endpoint.as_str()), Ok(endpoint));
            }
        }
    }
}

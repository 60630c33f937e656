//! Which URLs a server lays claim to. A URL has one owner, however it is spelled.

use std::{collections::BTreeMap, fmt::Write};

use ::url::Url;
use serde::{Deserialize, Serialize};

use crate::{
    ServerName,
    domain::{lies_under, reversed},
    url::{fill_with, template_variables},
};

/// The claim of a server to the URL of one of its remotes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)] // the store writes it member by member
pub struct Claim {
    /// The URL in its normal form, the same for all of its spellings.
    pub url: String,
    /// Whether the URL's host is the domain of the server's namespace, or lies below it. Whoever
    /// publishes in the namespace has proven to own the domain, so such a claim comes before others.
    pub is_own: bool,
    /// The URL as its server.json spells it, in the first of several spellings.
    #[serde(skip)]
    pub written: String,
}

/// Stands for a variable, whatever its name is.
const VARIABLE: &str = "variable";

/// Another one: a host that differs with it has a variable.
const OTHER_VARIABLE: &str = "other";

#[derive(Deserialize)]
struct ServerJson {
    remotes: Vec<Remote>,
}

#[derive(Deserialize)]
struct Remote {
    url: String,
}

impl Claim {
    /// The claims of a server to several URLs, each once.
    pub(crate) fn all<'a>(server: &ServerName, urls: impl Iterator<Item = &'a str>) -> Vec<Self> {
        let mut claims = BTreeMap::new();
        for claim in urls.filter_map(|url| Self::of(server, url)) {
            claims.entry(claim.url.clone()).or_insert(claim);
        }
        claims.into_values().collect()
    }

    /// The claims of a version that was stored before there were claims.
    pub fn of_stored(server: &str, server_json: &str) -> Vec<Self> {
        let server = server.parse::<ServerName>().ok();
        let json = serde_json::from_str::<ServerJson>(server_json).ok();
        server.zip(json).map_or_else(Vec::new, |(server, json)| {
            Self::all(
                &server,
                json.remotes.iter().map(|remote| remote.url.as_str()),
            )
        })
    }

    /// The claim of a server to a URL as it stands in its server.json. A URL whose host has a variable
    /// claims nothing: each of its users has another host.
    pub fn of(server: &ServerName, url: &str) -> Option<Self> {
        if url.is_empty() {
            return None;
        }
        let templated = !template_variables(url).is_empty();
        let parsed = if templated {
            let filled = Url::parse(&fill_with(url, VARIABLE)).ok()?;
            let other = Url::parse(&fill_with(url, OTHER_VARIABLE)).ok()?;
            Some(filled).filter(|filled| filled.host() == other.host())?
        } else if let Ok(parsed) = Url::parse(url) {
            parsed
        } else {
            // It leads nowhere; whoever has the same text has the same URL.
            return Some(Self {
                url: url.trim().to_owned(),
                is_own: false,
                written: url.to_owned(),
            });
        };
        let host = parsed.host_str().unwrap_or_default().trim_end_matches('.');
        let namespace = server.namespace();
        Some(Self {
            url: normal_form(&parsed, host, templated),
            is_own: namespace.contains('.')
                && parsed.domain().is_some()
                && lies_under(host, &reversed(namespace)),
            written: url.to_owned(),
        })
    }
}

/// Scheme, host and port as the WHATWG URL standard writes them, without a final dot of the host;
/// path and query without needless escapes; neither credentials nor a fragment nor an empty query,
/// which change nothing of where it leads.
fn normal_form(url: &Url, host: &str, templated: bool) -> String {
    let mut normal = String::new();
    if templated {
        normal.push_str("template ");
    }
    normal.push_str(url.scheme());
    normal.push_str("://");
    normal.push_str(host);
    if let Some(port) = url.port() {
        let _ = write!(normal, ":{port}");
    }
    normal.push_str(&unescaped(url.path(), b"/?#%\\"));
    if let Some(query) = url.query().filter(|query| !query.is_empty()) {
        normal.push('?');
        normal.push_str(&unescaped(query, b"&=+;#%"));
    }
    normal
}

/// The text with each visible ASCII character as itself, but for `kept` ones, whose escapes mean
/// something else; what stays escaped is so in upper case (RFC 3986, section 6.2.2).
fn unescaped(text: &str, kept: &[u8]) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escape = part
            .get(..2)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .zip(part.get(2..));
        match escape {
            Some((byte, rest)) if byte.is_ascii_graphic() && !kept.contains(&byte) => {
                out.push(char::from(byte));
                out.push_str(rest);
            }
            Some((byte, rest)) => {
                let _ = write!(out, "%{byte:02X}{rest}");
            }
            None => {
                out.push('%');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Endpoint, EndpointRules};

    fn claim(name: &str, url: &str) -> Claim {
        Claim::of(&name.parse().unwrap(), url).unwrap()
    }

    fn normal(url: &str) -> String {
        claim("com.example/one", url).url
    }

    #[test]
    fn spellings_of_a_url_are_one() {
        for url in [
            "https://mcp.example.com/a/mcp",
            "HTTPS://MCP.Example.COM/a/mcp",
            "https://mcp.example.com:443/a/mcp",
            "https://mcp.example.com:0443/a/mcp",
            "https://mcp.example.com./a/mcp",
            "https://mcp.example.com/./a/mcp",
            "https://mcp.example.com/x/../a/mcp",
            "https://mcp.example.com/x/%2e%2E/a/mcp",
            "https://mcp.example.com/../a/mcp",
            "https://mcp.example.com/%61/m%63p",
            "https://mcp.example.com/a/mcp?",
            "https://mcp.example.com/a/mcp#top",
            "https://mcp.example.com/a/mcp?#",
            "https://user:pw@mcp.example.com/a/mcp",
            "https:\\\\mcp.example.com\\a\\mcp",
            "https:/mcp.example.com/a/mcp",
            " https://mcp.exam\tple.com/a/m\ncp ",
        ] {
            assert_eq!(normal(url), "https://mcp.example.com/a/mcp", "{url:?}");
        }
        for (one, other) in [
            ("https://example.com", "https://example.com/?"),
            ("https://example.com/~a", "https://example.com/%7Ea"),
            ("https://example.com/a@b|c", "https://example.com/a%40b%7cc"),
            ("https://example.com/é", "https://example.com/%c3%a9"),
            ("https://example.com/?a=%7e", "https://example.com?a=~"),
            ("https://8.8.8.8/", "https://0x8080808/"),
            (
                "https://xn--bcher-kva.example/",
                "https://XN--BCHER-KVA.example/",
            ),
            ("https://example.com/{a}/{b}", "https://example.com/{x}/{y}"),
        ] {
            assert_eq!(normal(one), normal(other), "{one}");
        }
    }

    #[test]
    fn each_url_is_claimed_once() {
        let json = r#"{"remotes":[{"url":"https://mcp.example.com:443/"},{"url":""},
            {"url":"https://a.example/"},{"url":"https://mcp.example.com","x":1}]}"#;
        let claims = Claim::of_stored("com.example/one", json);
        let claims: Vec<(&str, bool)> = claims.iter().map(|it| (&*it.url, it.is_own)).collect();
        let expected = [
            ("https://a.example/", false),
            ("https://mcp.example.com/", true),
        ];
        assert_eq!(claims, expected);
        for json in ["{}", r#"{"remotes":null}"#, "[]", "x"] {
            assert_eq!(Claim::of_stored("com.example/one", json), []);
        }
    }

    #[test]
    fn what_has_a_variable_for_a_host_claims_nothing() {
        let server = "com.example/one".parse().unwrap();
        for url in [
            "",
            "https://{host}/mcp",
            "https://{host}:8443/mcp",
            "https://{host}:{port}/mcp",
            "https://{tenant}.example.com/mcp",
            "https://mcp-{n}.example.com/mcp",
            "https://mcp.{zone}",
            "https://user@{host}/mcp",
            "https:\\\\{host}\\mcp",
            "{base}/mcp",
            "{url}",
        ] {
            assert_eq!(Claim::of(&server, url), None, "{url}");
        }
        for url in [
            "https://variable/mcp",
            "https://other/mcp",
            "https://example.com/{host}",
            "https://example.com:{port}/",
            "https://{user}@example.com/mcp",
            "https://example.com/?key={key}",
            "{scheme}://example.com/mcp",
        ] {
            let claim = Claim::of(&server, url).unwrap();
            assert_eq!(claim.written, url);
        }
    }

    #[test]
    fn other_urls_stay_others() {
        for (one, other) in [
            ("https://example.com/a", "https://example.com/A"),
            ("https://example.com/a", "https://example.com/a/"),
            ("https://example.com/a%2Fb", "https://example.com/a/b"),
            ("https://example.com/a", "https://example.com:8443/a"),
            ("https://example.com/a", "http://example.com/a"),
            ("https://example.com/a?b", "https://example.com/a"),
            ("https://example.com/?a=%26b", "https://example.com/?a=&b"),
            ("https://example.com/%2561", "https://example.com/a"),
            ("https://example.com/{a}", "https://example.com/a"),
            ("https://example.com/{a}", "https://example.com/variable"),
            ("https://example.com:{a}/", "https://example.com:8080/"),
        ] {
            assert_ne!(normal(one), normal(other), "{one}");
        }
        assert_eq!(normal("nonsense"), "nonsense");
    }

    #[test]
    fn what_lies_under_the_domain_of_the_namespace_is_its_own() {
        for (name, url, is_own) in [
            ("com.example/one", "https://example.com/mcp", true),
            ("com.example/one", "https://MCP.example.com.:8443/mcp", true),
            ("com.Example/one", "https://mcp.example.com/mcp", true),
            ("com.example/one", "https://example.com/{tenant}/mcp", true),
            ("com.example.sub/one", "https://example.com/mcp", false),
            ("com.example/one", "https://evilexample.com/mcp", false),
            ("com.example/one", "https://example.com.evil.net/mcp", false),
            ("com.example/one", "https://x@evil.net/?example.com", false),
            ("io.github.octo/one", "https://octo.github.io/mcp", true),
            ("io.github.octo/one", "https://mcp.example.com/mcp", false),
            // Nobody proves to own a top-level domain.
            ("com/one", "https://example.com/mcp", false),
            ("4.3.2.1/one", "https://1.2.3.4/mcp", false),
        ] {
            assert_eq!(claim(name, url).is_own, is_own, "{name} {url}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_stable(path in "[a-zA-Z0-9/.%~@?&=:|;+-]{0,30}") {
            let url = format!("https://example.com/{path}");
            let once = normal(&url);
            prop_assert_eq!(normal(&once), once.clone());
            // What connect gives out is claimed under one form only.
            if let Ok(endpoint) = Endpoint::parse(&url, EndpointRules::Public) {
                prop_assert_eq!(normal(endpoint.as_str()), once);
            }
        }

        #[test]
        fn any_text_is_answered(text in "\\PC*") {
            let _ = Claim::of(&"com.example/one".parse().unwrap(), &text);
        }
    }
}

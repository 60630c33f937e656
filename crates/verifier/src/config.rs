use std::time::Duration;

use mcp_connect_descriptor::MAX_LEEWAY_SECONDS;
use tokio::runtime::Handle;
use url::{Host, Url};

use crate::{
    Mode, Verifier, key_cache::KeyCache, key_set_endpoint::KeySetEndpoint, sessions::Sessions,
    settings::Settings, withdrawn::Withdrawn,
};

const DEFAULT_MAX_STALENESS: Duration = Duration::from_hours(1);
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// The key set is refreshed within half of it: a shorter one would hammer the authority.
const SHORTEST_STALENESS: Duration = Duration::from_secs(1);
const LONGEST_STALENESS: Duration = Duration::from_hours(24);
const LONGEST_GRACE: Duration = Duration::from_hours(1);
const DEFAULT_MAX_SESSIONS: usize = 100_000;
const MAX_SERVER_ID_CHARS: usize = 200;

/// What is wrong with the configuration of a [`Verifier`], by the name of the setting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The HTTP client could not be set up, for instance for want of root certificates.
    #[error("the HTTP client for the key set can't be set up: {0}")]
    HttpClient(#[source] reqwest::Error),
    /// The key set is kept fresh by a task, which needs a Tokio runtime.
    #[error("a verifier must be built within a Tokio runtime")]
    NoRuntime,
    /// A setting has a value that can't be used.
    #[error("{name} {problem}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// What it must be.
        problem: &'static str,
    },
}

impl Verifier {
    /// A verifier for descriptors that `issuer`, the authority, gives out for one server: its
    /// canonical endpoint URI is `audience` (RFC 8707, section 2), its id `namespace/name`.
    pub fn builder(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        server_id: impl Into<String>,
    ) -> VerifierBuilder {
        VerifierBuilder::new(issuer.into(), audience.into(), server_id.into())
    }
}

/// Builds a [`Verifier`]; made by [`Verifier::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifierBuilder {
    issuer: String,
    audience: String,
    server_id: String,
    key_set_url: Option<String>,
    leeway: Duration,
    max_staleness: Duration,
    grace: Duration,
    max_sessions: usize,
    mode: Mode,
}

impl VerifierBuilder {
    pub(crate) fn new(issuer: String, audience: String, server_id: String) -> Self {
        Self {
            issuer,
            audience,
            server_id,
            key_set_url: None,
            leeway: Duration::from_secs(MAX_LEEWAY_SECONDS),
            max_staleness: DEFAULT_MAX_STALENESS,
            grace: DEFAULT_GRACE,
            max_sessions: DEFAULT_MAX_SESSIONS,
            mode: Mode::Required,
        }
    }

    /// Where the authority's key set is; by default `<issuer>/.well-known/jwks.json`. Nothing in a
    /// descriptor can change it.
    pub fn key_set_url(mut self, url: impl Into<String>) -> Self {
        self.key_set_url = Some(url.into());
        self
    }

    /// Clock skew to forgive: whole seconds, at most, and by default, 5.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// How long a key set may be used when no newer one can be had: 1 second to 24 hours, by
    /// default 1 hour. After that every descriptor is refused.
    pub fn max_staleness(mut self, max_staleness: Duration) -> Self {
        self.max_staleness = max_staleness;
        self
    }

    /// How long an open stream, or a session, may outlive its newest descriptor beyond the leeway:
    /// at most 1 hour, by default 30 seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How many sessions are remembered, by default 100 000. Past that, those that ended or are
    /// nearest to their end are forgotten first.
    pub fn max_sessions(mut self, max_sessions: usize) -> Self {
        self.max_sessions = max_sessions;
        self
    }

    /// How strictly descriptors are asked for; by default [`Mode::Required`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Checks every setting, then starts to fetch the key set and to look after sessions in the
    /// background. That ends with the last clone of the verifier.
    pub fn build(self) -> Result<Verifier, ConfigError> {
        let issuer = web_url("issuer", &self.issuer)?;
        if self.issuer.ends_with('/') || issuer.query().is_some() {
            return Err(setting(
                "issuer",
                "must have no trailing slash and no query",
            ));
        }
        web_url("audience", &self.audience)?;
        if !is_server_id(&self.server_id) {
            return Err(setting("server_id", "must be \"namespace/name\""));
        }
        let key_set_url = match &self.key_set_url {
            Some(url) => web_url("key_set_url", url)?,
            None => web_url("issuer", &format!("{}/.well-known/jwks.json", self.issuer))?,
        };
        if self.leeway.subsec_nanos() != 0 || self.leeway.as_secs() > MAX_LEEWAY_SECONDS {
            return Err(setting("leeway", "must be whole seconds, 0 to 5"));
        }
        if !(SHORTEST_STALENESS..=LONGEST_STALENESS).contains(&self.max_staleness) {
            return Err(setting("max_staleness", "must be 1 s to 24 h"));
        }
        if self.grace > LONGEST_GRACE {
            return Err(setting("grace", "must be at most 1 h"));
        }
        if self.max_sessions == 0 {
            return Err(setting("max_sessions", "must be at least 1"));
        }

        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let loopback = is_loopback(&key_set_url);
        let endpoint =
            KeySetEndpoint::new(key_set_url, loopback).map_err(ConfigError::HttpClient)?;
        Ok(Verifier::new(
            Settings {
                issuer: self.issuer,
                audience: self.audience,
                server_id: self.server_id,
                leeway_seconds: self.leeway.as_secs(),
                mode: self.mode,
            },
            KeyCache::start(&runtime, endpoint, self.max_staleness),
            Sessions::start(&runtime, self.max_sessions, self.leeway + self.grace),
            Withdrawn::default(),
        ))
    }
}

const fn setting(name: &'static str, problem: &'static str) -> ConfigError {
    ConfigError::Setting { name, problem }
}

/// An absolute URL that is safe to use and to quote in a header: https, or http on a loopback host.
fn web_url(name: &'static str, text: &str) -> Result<Url, ConfigError> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'<' | b'>');
    if !text.bytes().all(plain) {
        return Err(setting(name, "must be a URL in plain ASCII"));
    }
    let url = Url::parse(text).map_err(|_| setting(name, "must be an absolute URL"))?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err(setting(name, "must be https, or http on a loopback host"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(setting(name, "must have no credentials and no fragment"));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The form of the official registry's names: reverse DNS, a slash, a name.
fn is_server_id(text: &str) -> bool {
    let part = |part: &str, extra: &[u8]| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
    };
    text.len() <= MAX_SERVER_ID_CHARS
        && text
            .split_once('/')
            .is_some_and(|(namespace, name)| part(namespace, b".-") && part(name, b"._-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> VerifierBuilder {
        VerifierBuilder::new(
            "https://authority.example".into(),
            "https://mcp.example/mcp".into(),
            "com.example/weather".into(),
        )
    }

    fn problem_with(builder: VerifierBuilder) -> String {
        builder.build().map(drop).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn names_the_wrong_setting() {
        let with_issuer = |issuer: &str| VerifierBuilder {
            issuer: issuer.into(),
            ..good()
        };
        for issuer in [
            "",
            "authority.example",
            "ftp://authority.example",
            "http://authority.example",
            "http://127.0.0.1.example",
            "https://authority.example/",
            "https://authority.example?x",
            "https://authority.example#x",
            "https://user:secret@authority.example",
            "https://authority.example/\"x",
            "https://authority.example/\r\nx: y",
        ] {
            let problem = problem_with(with_issuer(issuer));
            assert!(problem.starts_with("issuer must"), "{issuer}: {problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }

        let server_id = |server_id: &str| VerifierBuilder {
            server_id: server_id.into(),
            ..good()
        };
        for id in [
            "",
            "weather",
            "/weather",
            "com.example/",
            "a/b/c",
            "a/b c",
            "a/b\"",
            "a/b@1",
        ] {
            assert!(
                problem_with(server_id(id)).starts_with("server_id must"),
                "{id}"
            );
        }

        let audience = VerifierBuilder {
            audience: "http://mcp.example/mcp".into(),
            ..good()
        };
        assert!(problem_with(audience).starts_with("audience must"));
        for (name, builder) in [
            ("key_set_url", good().key_set_url("http://keys.example")),
            ("leeway", good().leeway(Duration::from_secs(6))),
            ("leeway", good().leeway(Duration::from_millis(1500))),
            ("max_staleness", good().max_staleness(Duration::ZERO)),
            (
                "max_staleness",
                good().max_staleness(Duration::from_millis(999)),
            ),
            (
                "max_staleness",
                good().max_staleness(Duration::from_secs(86_401)),
            ),
            ("grace", good().grace(Duration::from_secs(3601))),
            ("max_sessions", good().max_sessions(0)),
        ] {
            let problem = problem_with(builder);
            assert!(problem.starts_with(name), "{name}: {problem}");
        }
    }

    #[tokio::test]
    async fn accepts_http_on_loopback_hosts_alone() {
        for issuer in [
            "http://127.0.0.1:1",
            "http://127.9.9.9:1",
            "http://[::1]:1",
            "http://localhost:1",
        ] {
            let builder = VerifierBuilder {
                issuer: issuer.into(),
                ..good()
            };
            assert!(builder.build().is_ok(), "{issuer}");
        }
    }

    #[test]
    fn wants_a_runtime() {
        assert!(matches!(good().build(), Err(ConfigError::NoRuntime)));
    }

    #[test]
    fn modes_by_name() {
        assert_eq!("required".parse::<Mode>().unwrap(), Mode::Required);
        assert_eq!("optional".parse::<Mode>().unwrap(), Mode::Optional);
        assert_eq!("report".parse::<Mode>().unwrap(), Mode::Report);
        assert!("off".parse::<Mode>().is_err());
    }
}

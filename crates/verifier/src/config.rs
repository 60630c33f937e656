use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use mcp_connect_descriptor::{MAX_FEED_BYTES, MAX_KEY_SET_BYTES, MAX_LEEWAY_SECONDS};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use tokio::runtime::Handle;
use url::{Host, Url};

use crate::{
    ConfigError, Mode, Verifier, WrongSetting,
    clock_watch::ClockWatch,
    endpoint::Endpoint,
    feed::{Feed, FeedScope, FeedSource},
    key_cache::KeyCache,
    lease::Terms,
    mode::{Modes, is_plain},
    seed,
    sessions::Sessions,
    settings::Settings,
    telemetry,
    tokens::Tokens,
    withdrawn::Withdrawn,
};

const DEFAULT_MAX_STALENESS: Duration = Duration::from_hours(1);
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// The key set is refreshed within half of it: a shorter one would hammer the authority.
const SHORTEST_STALENESS: Duration = Duration::from_secs(1);
const LONGEST_STALENESS: Duration = Duration::from_hours(24);
const LONGEST_GRACE: Duration = Duration::from_hours(1);
const DEFAULT_FEED_INTERVAL: Duration = Duration::from_secs(5);
const SHORTEST_FEED_INTERVAL: Duration = Duration::from_secs(1);
/// Less than what the feed reaches back.
const LONGEST_FEED_INTERVAL: Duration = Duration::from_mins(2);
const FEED_MEDIA_TYPE: &str = "application/mcp-revocations+jwt";
const DEFAULT_MAX_TOKENS: usize = 10_000;
const MAX_TOKENS: usize = 10_000_000;
const DEFAULT_MAX_SESSIONS: usize = 100_000;
const MAX_SESSIONS: usize = 10_000_000;
const MAX_SERVER_ID_CHARS: usize = 200;
const MAX_PATHS: usize = 100;

/// Builds a [`Verifier`], from settings in code ([`Verifier::builder`]), in the environment
/// ([`from_env`](Self::from_env)) or in a file ([`from_file`](Self::from_file)), or as a part of
/// somebody else's configuration, by `serde`. There, durations are whole seconds, and their names end
/// in `_seconds`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct VerifierBuilder {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) server_id: String,
    pub(crate) key_set_url: Option<String>,
    pub(crate) key_set_file: Option<PathBuf>,
    pub(crate) revocation_feed: FeedSource,
    #[serde(
        rename = "revocation_feed_interval_seconds",
        deserialize_with = "whole_seconds"
    )]
    pub(crate) revocation_feed_interval: Duration,
    #[serde(rename = "leeway_seconds", deserialize_with = "whole_seconds")]
    pub(crate) leeway: Duration,
    #[serde(rename = "max_staleness_seconds", deserialize_with = "whole_seconds")]
    pub(crate) max_staleness: Duration,
    #[serde(rename = "grace_seconds", deserialize_with = "whole_seconds")]
    pub(crate) grace: Duration,
    #[serde(rename = "call_grace_seconds", deserialize_with = "whole_seconds")]
    pub(crate) call_grace: Duration,
    pub(crate) max_sessions: usize,
    pub(crate) max_tokens: usize,
    pub(crate) mode: Mode,
    #[serde(deserialize_with = "paths_named_once")]
    pub(crate) paths: BTreeMap<String, Mode>,
}

impl Default for VerifierBuilder {
    /// Every setting's default; `issuer`, `audience` and `server_id` have none.
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: String::new(),
            server_id: String::new(),
            key_set_url: None,
            key_set_file: None,
            revocation_feed: FeedSource::default(),
            revocation_feed_interval: DEFAULT_FEED_INTERVAL,
            leeway: Duration::from_secs(MAX_LEEWAY_SECONDS),
            max_staleness: DEFAULT_MAX_STALENESS,
            grace: DEFAULT_GRACE,
            call_grace: Duration::ZERO,
            max_sessions: DEFAULT_MAX_SESSIONS,
            max_tokens: DEFAULT_MAX_TOKENS,
            mode: Mode::default(),
            paths: BTreeMap::new(),
        }
    }
}

impl Verifier {
    /// A verifier for descriptors that `issuer`, the authority, gives out for one server: its
    /// canonical endpoint URI is `audience` (RFC 8707, section 2), its id `namespace/name`.
    pub fn builder(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        server_id: impl Into<String>,
    ) -> VerifierBuilder {
        VerifierBuilder::default()
            .issuer(issuer)
            .audience(audience)
            .server_id(server_id)
    }
}

impl VerifierBuilder {
    /// The authority whose descriptors are accepted: its issuer, compared as an exact string. An
    /// https URL (http on a loopback host) without a slash at its end.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// This server's canonical endpoint URI (RFC 8707, section 2), exactly as the registry has it.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// This server's id in the registry: `namespace/name`.
    pub fn server_id(mut self, server_id: impl Into<String>) -> Self {
        self.server_id = server_id.into();
        self
    }

    /// Where the authority's key set is; by default `<issuer>/.well-known/jwks.json`. Nothing in a
    /// descriptor can change it.
    pub fn key_set_url(mut self, url: impl Into<String>) -> Self {
        self.key_set_url = Some(url.into());
        self
    }

    /// A key set to begin with, as the authority publishes it: a server that is started while the
    /// authority can't be reached knows these keys at once, for as long as
    /// [`max_staleness`](Self::max_staleness) from its start. The first set that is fetched takes the
    /// place of it whole, and the file is not looked at again. By default there is none.
    pub fn key_set_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_set_file = Some(path.into());
        self
    }

    /// Whether, and where, the revocation feed is followed (docs/protocol.md, section 6): `"off"`, a
    /// URL, or, by default, `"on"`, which is `<issuer>/v1/revocations`. While it can't be had, a
    /// descriptor that was withdrawn is good until it expires.
    pub fn revocation_feed(mut self, source: impl Into<FeedSource>) -> Self {
        self.revocation_feed = source.into();
        self
    }

    /// How long it takes, at most, until the feed is asked for again: 1 second to 2 minutes, by
    /// default 5 seconds. It is how soon a revocation bites.
    pub fn revocation_feed_interval(mut self, interval: Duration) -> Self {
        self.revocation_feed_interval = interval;
        self
    }

    /// How many verified descriptors of the usual size (1 KiB) are remembered until they expire, so
    /// that they need not be verified again: at most 10 million, by default 10 000, which take up to
    /// 20 MB. With 0, each request's descriptor is verified anew.
    pub fn max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
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

    /// How much longer a call (a POST and its answer, streamed or not) may take to finish when what it
    /// runs under has ended, be it by time or by a revocation: at most 1 hour. By default 0: it is
    /// cancelled with everything else.
    pub fn call_grace(mut self, call_grace: Duration) -> Self {
        self.call_grace = call_grace;
        self
    }

    /// How many sessions are remembered: 1 to 10 million, by default 100 000. Past that, sessions of
    /// whoever has the most are forgotten first.
    pub fn max_sessions(mut self, max_sessions: usize) -> Self {
        self.max_sessions = max_sessions;
        self
    }

    /// How strictly descriptors are asked for; by default [`Mode::Required`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Another mode for one path and everything below it, such as [`Mode::Off`] for `/healthz`. The
    /// longest rule that fits a request's path counts, and [`mode`](Self::mode) where none does. A
    /// path that could be read as another one (escapes, dot segments, empty segments) gets the
    /// strictest mode of all. At most 100.
    pub fn path(mut self, path: impl Into<String>, mode: Mode) -> Self {
        self.paths.insert(path.into(), mode);
        self
    }

    /// Checks every setting, then starts to fetch the key set, to follow the feed and to look after sessions in the
    /// background. That ends with the last clone of the verifier. Metrics are described here, so their
    /// recorder is to be installed before.
    pub fn build(self) -> Result<Verifier, ConfigError> {
        let urls = self.check()?;
        let seed = match self.key_set_file {
            Some(path) => Some(
                seed::read(&path).map_err(|problem| ConfigError::KeySetFile { path, problem })?,
            ),
            None => None,
        };
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let clock = Arc::new(ClockWatch::new(self.leeway));
        let endpoint = |url: Url, media_type, max_bytes| {
            let loopback = is_loopback(&url);
            Endpoint::new(url, loopback, media_type, max_bytes, Arc::clone(&clock))
                .map_err(ConfigError::HttpClient)
        };
        let key_set = endpoint(urls.key_set, "application/json", MAX_KEY_SET_BYTES)?;
        let feed = match urls.feed {
            Some(url) => Some(endpoint(url, FEED_MEDIA_TYPE, MAX_FEED_BYTES)?),
            None => None,
        };
        telemetry::describe();

        let withdrawn = Withdrawn::default();
        let keys = Arc::new(KeyCache::start(
            &runtime,
            key_set,
            self.max_staleness,
            seed,
            withdrawn.clone(),
        ));
        let feed = feed.map(|feed| {
            Feed::follow(
                &runtime,
                feed,
                self.revocation_feed_interval,
                FeedScope {
                    issuer: self.issuer.clone(),
                    server_id: self.server_id.clone(),
                },
                Arc::clone(&keys),
                withdrawn.clone(),
                Arc::clone(&clock),
            )
        });
        let terms = Terms {
            tolerance: self.leeway + self.grace,
            call_grace: self.call_grace,
            revocations: withdrawn.subscribe(),
            is_revoked: Box::new({
                let (keys, withdrawn) = (Arc::clone(&keys), withdrawn.clone());
                move |signed, now| {
                    withdrawn.names(signed).is_some() || keys.has_lost_key_of(signed, now)
                }
            }),
        };
        let sessions = Sessions::start(&runtime, self.max_sessions, terms);
        let settings = Settings {
            issuer: self.issuer,
            audience: self.audience,
            server_id: self.server_id,
            leeway_seconds: self.leeway.as_secs(),
            modes: Modes::new(self.mode, &self.paths),
        };
        let tokens = Tokens::new(self.max_tokens);
        Ok(Verifier::new(
            settings, keys, tokens, withdrawn, feed, sessions, clock,
        ))
    }

    /// Names every setting that can't be used. If there is none: where the authority is asked.
    fn check(&self) -> Result<Urls, ConfigError> {
        let key_set_url = match &self.key_set_url {
            Some(url) => web_url(url),
            None => web_url(&format!("{}/.well-known/jwks.json", self.issuer)),
        };
        let feed_url = match &self.revocation_feed {
            FeedSource::Issuer => web_url(&format!("{}/v1/revocations", self.issuer)).map(Some),
            FeedSource::Off => Ok(None),
            FeedSource::Url(url) => web_url(url).map(Some),
        };
        let unless = |good: bool, problem| if good { None } else { Some(problem) };
        let problems: Vec<_> = [
            ("issuer", problem_with_issuer(&self.issuer)),
            ("audience", web_url(&self.audience).err()),
            (
                "server_id",
                unless(is_server_id(&self.server_id), "must be \"namespace/name\""),
            ),
            (
                "key_set_url",
                key_set_url
                    .as_ref()
                    .err()
                    .copied()
                    .filter(|_| self.key_set_url.is_some()),
            ),
            (
                "revocation_feed",
                feed_url
                    .as_ref()
                    .err()
                    .filter(|_| self.revocation_feed != FeedSource::Issuer)
                    .map(
                        |_| "must be \"on\", \"off\", or a URL: https, or http on a loopback host",
                    ),
            ),
            (
                "revocation_feed_interval_seconds",
                unless(
                    (SHORTEST_FEED_INTERVAL..=LONGEST_FEED_INTERVAL)
                        .contains(&self.revocation_feed_interval),
                    "must be 1 to 120",
                ),
            ),
            (
                "leeway_seconds",
                unless(
                    self.leeway.subsec_nanos() == 0 && self.leeway.as_secs() <= MAX_LEEWAY_SECONDS,
                    "must be whole seconds, 0 to 5",
                ),
            ),
            (
                "max_staleness_seconds",
                unless(
                    (SHORTEST_STALENESS..=LONGEST_STALENESS).contains(&self.max_staleness),
                    "must be 1 to 86400 (24 h)",
                ),
            ),
            (
                "grace_seconds",
                unless(self.grace <= LONGEST_GRACE, "must be at most 3600 (1 h)"),
            ),
            (
                "call_grace_seconds",
                unless(
                    self.call_grace <= LONGEST_GRACE,
                    "must be at most 3600 (1 h)",
                ),
            ),
            (
                "max_sessions",
                unless(
                    (1..=MAX_SESSIONS).contains(&self.max_sessions),
                    "must be 1 to 10000000",
                ),
            ),
            (
                "max_tokens",
                unless(self.max_tokens <= MAX_TOKENS, "must be at most 10000000"),
            ),
            (
                "paths",
                unless(
                    self.paths.len() <= MAX_PATHS && self.paths.keys().all(|it| is_rule(it)),
                    "must be at most 100 paths, each with a slash at its start and none at its \
                     end, without escapes, dot segments and empty segments",
                ),
            ),
        ]
        .into_iter()
        .filter_map(|(name, problem)| Some(WrongSetting::new(name, problem?)))
        .collect();
        match (key_set_url, feed_url) {
            (Ok(key_set), Ok(feed)) if problems.is_empty() => Ok(Urls { key_set, feed }),
            _ => Err(ConfigError::Settings(problems)),
        }
    }
}

fn whole_seconds<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    u64::deserialize(input).map(Duration::from_secs)
}

/// A map by itself takes the last of two modes, and JSON lets them both be there.
fn paths_named_once<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<BTreeMap<String, Mode>, D::Error> {
    struct Paths;

    impl<'de> Visitor<'de> for Paths {
        type Value = BTreeMap<String, Mode>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("paths with modes")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut paths = BTreeMap::new();
            while let Some((path, mode)) = map.next_entry()? {
                if paths.insert(path, mode).is_some() {
                    return Err(A::Error::custom("a path is named twice"));
                }
            }
            Ok(paths)
        }
    }

    input.deserialize_map(Paths)
}

/// Where the authority is asked.
struct Urls {
    key_set: Url,
    feed: Option<Url>,
}

type Problem = &'static str;

fn problem_with_issuer(issuer: &str) -> Option<Problem> {
    match web_url(issuer) {
        Ok(url) if issuer.ends_with('/') || url.query().is_some() => {
            Some("must have no slash at its end and no query")
        }
        Ok(_) => None,
        Err(problem) => Some(problem),
    }
}

/// An absolute URL that is safe to use and to quote in a header: https, or http on a loopback host.
fn web_url(text: &str) -> Result<Url, Problem> {
    if text.is_empty() {
        return Err("must be set");
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'<' | b'>');
    if !text.bytes().all(plain) {
        return Err("must be a URL in plain ASCII");
    }
    let url = Url::parse(text).map_err(|_| "must be an absolute URL")?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err("must be https, or http on a loopback host");
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must have no credentials and no fragment");
    }
    Ok(url)
}

/// What is said of "/" is said by the mode.
fn is_rule(path: &str) -> bool {
    is_plain(path) && !path.ends_with('/')
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
        Verifier::builder(
            "https://authority.example",
            "https://mcp.example/mcp",
            "com.example/weather",
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
            assert!(problem.ends_with("(MCP_CONNECT_ISSUER)"), "{problem}");
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
            (
                "revocation_feed",
                good().revocation_feed("http://a.example"),
            ),
            ("revocation_feed", good().revocation_feed("no")),
            (
                "revocation_feed_interval_seconds",
                good().revocation_feed_interval(Duration::from_millis(999)),
            ),
            (
                "revocation_feed_interval_seconds",
                good().revocation_feed_interval(Duration::from_secs(121)),
            ),
            ("max_tokens", good().max_tokens(10_000_001)),
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
            (
                "call_grace_seconds",
                good().call_grace(Duration::from_secs(3601)),
            ),
            ("max_sessions", good().max_sessions(0)),
            ("max_sessions", good().max_sessions(10_000_001)),
            ("paths", good().path("mcp", Mode::Off)),
            ("paths", good().path("/", Mode::Off)),
            ("paths", good().path("/a/", Mode::Off)),
            ("paths", good().path("/a/../b", Mode::Off)),
        ] {
            let problem = problem_with(builder);
            assert!(problem.starts_with(name), "{name}: {problem}");
        }
    }

    #[tokio::test]
    async fn names_all_wrong_settings_at_once() {
        let problem = problem_with(VerifierBuilder::default().grace(Duration::MAX));
        let names: Vec<_> = problem
            .split("; ")
            .filter_map(|problem| problem.split_once(' '))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["issuer", "audience", "server_id", "grace_seconds"]);
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
}

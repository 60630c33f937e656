use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;
use mcp_connect_descriptor::{KeySet, MAX_KEY_SET_BYTES};
use reqwest::{Method, RequestBuilder, header::AUTHORIZATION};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{
    sync::{Mutex, OnceCell},
    time::Instant,
};
use url::Url;

use crate::{
    ClientCertificate, ConnectError, Grant, SenderKey, ServerDetail, ServerPage,
    binding::Binding,
    clock::{AuthorityClock, Moment},
    exchange::{self, is_secure_url},
    grant::{Answer, Asked, Times},
    server::ServerRef,
};

const TIMEOUT: Duration = Duration::from_secs(10);
/// What an operator asks for, such as an import, may be more work than a connect.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES: usize = 64 * 1024;
const LIST_BYTES: usize = 1024 * 1024;

/// A key set this old is fetched again, so that a key that was withdrawn is not trusted for ever.
const KEYS_MAX_AGE: Duration = Duration::from_mins(5);
/// Keys that nobody knows can't make a client hammer the authority.
const KEYS_MIN_AGE: Duration = Duration::from_secs(5);

/// A connect authority, as a client sees it. Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    base_url: Arc<str>,
    http: reqwest::Client,
    credential: Option<HeaderValue>,
    binding: Binding,
    strict: bool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    clock: Arc<AuthorityClock>,
    metadata: OnceCell<Metadata>,
    keys: Mutex<Option<FetchedKeys>>,
}

struct FetchedKeys {
    set: Arc<KeySet>,
    at: Instant,
}

/// `/.well-known/mcp-connect-authority`.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    connect_endpoint: Url,
    servers_endpoint: Url,
    jwks_uri: Url,
}

impl Authority {
    /// The authority at `base_url`: an origin such as `https://authority.example`, which is also its
    /// issuer. Plain http is for loopback hosts only. Nothing is fetched yet.
    pub fn new(base_url: &str) -> Result<Self, ConnectError> {
        let fault = |problem: String| ConnectError::BaseUrl(format!("{base_url:?} {problem}"));
        let url = Url::parse(base_url).map_err(|error| fault(format!("is not a URL: {error}")))?;
        if !is_secure_url(&url) {
            return Err(fault("must be https; http is for loopback hosts".into()));
        }
        let origin = url.origin().ascii_serialization();
        if base_url.strip_suffix('/').unwrap_or(base_url) != origin {
            return Err(ConnectError::BaseUrl(format!(
                "must be an origin, like {origin}"
            )));
        }
        Ok(Self {
            base_url: origin.into(),
            http: exchange::client_for(&url, None)?,
            credential: None,
            binding: Binding::Nothing,
            strict: false,
            shared: Arc::default(),
        })
    }

    /// Authenticates as the owner of this API key or access token.
    pub fn with_credential(mut self, credential: &str) -> Result<Self, ConnectError> {
        if credential.is_empty() || !credential.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConnectError::Credential);
        }
        let mut value = HeaderValue::try_from(format!("Bearer {credential}"))
            .map_err(|_| ConnectError::Credential)?;
        value.set_sensitive(true);
        self.credential = Some(value);
        Ok(self)
    }

    /// Has every descriptor bound to this key (RFC 9449): whoever else gets hold of one can't use it.
    /// In the place of any other binding.
    #[must_use]
    pub fn bound_to_key(mut self, key: SenderKey) -> Self {
        self.binding = Binding::Key(key);
        self
    }

    /// Has every descriptor bound to this TLS client certificate (RFC 8705), with which the client
    /// then authenticates itself to the authority and to servers. Both have to ask for one, and the
    /// authority has to trust who issued it. In the place of any other binding.
    pub fn bound_to_certificate(
        mut self,
        certificate: ClientCertificate,
    ) -> Result<Self, ConnectError> {
        self.binding = Binding::Certificate(certificate);
        let url =
            Url::parse(&self.base_url).map_err(|error| ConnectError::BaseUrl(error.to_string()))?;
        self.http = exchange::client_for(&url, self.binding.identity())?;
        Ok(self)
    }

    pub(crate) const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Accepts verified servers only.
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// The issuer that descriptors must name: the base URL, without a slash at the end.
    pub fn issuer(&self) -> &str {
        &self.base_url
    }

    /// Searches servers. `cursor` is [`ServerPage::next_cursor`] of the page before; `limit` is 1 to
    /// 100.
    pub async fn search(
        &self,
        query: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<ServerPage, ConnectError> {
        let mut request = self
            .request(Method::GET, self.metadata().await?.servers_endpoint.clone())
            .query(&[("limit", limit)]);
        if !query.is_empty() {
            request = request.query(&[("query", query)]);
        }
        if let Some(cursor) = cursor {
            request = request.query(&[("cursor", cursor)]);
        }
        exchange::json(request, LIST_BYTES, &self.shared.clock).await
    }

    /// One server, or one version of it.
    pub async fn server(&self, server_ref: &str) -> Result<ServerDetail, ConnectError> {
        let server_ref = ServerRef::parse(server_ref)?;
        let mut url = self.metadata().await?.servers_endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend([server_ref.namespace, server_ref.rest]);
        }
        exchange::json(
            self.request(Method::GET, url),
            LIST_BYTES,
            &self.shared.clock,
        )
        .await
    }

    /// Asks for the permission to connect, and checks the descriptor: signature, issuer, lifetime,
    /// that it is for the server (and the version) asked for, that it is bound as asked for, and that
    /// the endpoint of the answer is the signed one.
    ///
    /// How long it is good is taken from the answer, not from this machine's clock, which may be wrong:
    /// the answer came just now, over TLS. [`Grant::clock_offset`] tells of a clock that is.
    pub async fn connect(&self, server_ref: &str) -> Result<Grant, ConnectError> {
        let asked = Asked {
            issuer: self.issuer(),
            server_ref: ServerRef::parse(server_ref)?,
            strict: self.strict,
            binding: &self.binding,
        };
        let url = self.metadata().await?.connect_endpoint.clone();
        let clock = &self.shared.clock;
        let request = self.authenticated(Method::POST, url.clone());
        let body = json!({ "server_ref": server_ref });
        let request = match &self.binding {
            Binding::Nothing => request.json(&body),
            Binding::Key(key) => {
                let proof = key.prove_to_authority(&url, clock.unix_now())?;
                request.header("DPoP", proof).json(&body)
            }
            Binding::Certificate(_) => {
                request.json(&json!({ "server_ref": server_ref, "bind": "mtls" }))
            }
        };
        let asked_at = (Moment::now(), Instant::now());
        let answer: Answer = exchange::json(request, ANSWER_BYTES, clock).await?;
        let answered_at = Moment::now();
        let keys = self.keys_for(&answer.key_id()?).await?;
        let times = Times {
            asked_at: asked_at.0,
            refresh_from: asked_at.1,
            answered_at,
            clock: Arc::clone(clock),
        };
        answer.into_grant(&asked, &keys, times)
    }

    /// The authority's public keys, a few minutes old at most.
    pub async fn key_set(&self) -> Result<Arc<KeySet>, ConnectError> {
        self.keys(|fetched| fetched.at.elapsed() < KEYS_MAX_AGE)
            .await
    }

    /// Any other call of the authority's API, such as the operator's, with the credential of this
    /// client and under the same rules. `path` begins with a slash and may have a query.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T, ConnectError> {
        let mut request = self.own(method, path)?;
        if let Some(body) = body {
            request = request.json(body);
        }
        exchange::json(request, LIST_BYTES, &self.shared.clock).await
    }

    /// Asks for text of its own kind. An answer of another media type is not taken for one.
    pub async fn text(&self, path: &str, media_type: &str) -> Result<String, ConnectError> {
        let request = self.own(Method::GET, path)?;
        exchange::text(request, LIST_BYTES, media_type, &self.shared.clock).await
    }

    /// A request for a path of this authority.
    fn own(&self, method: Method, path: &str) -> Result<RequestBuilder, ConnectError> {
        let url = Url::parse(&format!("{}{path}", self.base_url))
            .ok()
            .filter(|url| path.starts_with('/') && self.is_own(url))
            .ok_or_else(|| ConnectError::BaseUrl(format!("does not take the path {path:?}")))?;
        // A segment such as ".." is removed when a URL is read, and what is asked for with it.
        let segments = |path: &str| {
            path.split(['?', '#'])
                .next()
                .map(|path| path.split('/').count())
        };
        if segments(url.path()) != segments(path) {
            return Err(ConnectError::Path(path.to_owned()));
        }
        Ok(self.authenticated(method, url).timeout(CALL_TIMEOUT))
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url).timeout(TIMEOUT)
    }

    fn authenticated(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.request(method, url);
        match &self.credential {
            Some(credential) => request.header(AUTHORIZATION, credential),
            None => request,
        }
    }

    fn is_own(&self, url: &Url) -> bool {
        url.origin().ascii_serialization() == *self.base_url
    }

    async fn metadata(&self) -> Result<&Metadata, ConnectError> {
        self.shared
            .metadata
            .get_or_try_init(|| async {
                let url = Url::parse(&format!(
                    "{}/.well-known/mcp-connect-authority",
                    self.base_url
                ))
                .map_err(|error| ConnectError::BaseUrl(error.to_string()))?;
                let request = self.request(Method::GET, url);
                let metadata: Metadata =
                    exchange::json(request, ANSWER_BYTES, &self.shared.clock).await?;
                self.check_metadata(&metadata)?;
                Ok(metadata)
            })
            .await
    }

    /// RFC 8414, section 3.3: metadata that names another issuer must not be used.
    fn check_metadata(&self, metadata: &Metadata) -> Result<(), ConnectError> {
        if metadata.issuer != *self.base_url {
            return Err(ConnectError::InvalidAnswer(format!(
                "its issuer is {:?}, and it was asked as {:?}",
                metadata.issuer, self.base_url
            )));
        }
        for (member, url) in [
            ("connect_endpoint", &metadata.connect_endpoint),
            ("servers_endpoint", &metadata.servers_endpoint),
            ("jwks_uri", &metadata.jwks_uri),
        ] {
            if !self.is_own(url) {
                return Err(ConnectError::InvalidAnswer(format!(
                    "its {member} is on another origin: {url}"
                )));
            }
        }
        Ok(())
    }

    /// The key set, fetched again when it lacks the key and the last fetch is not too recent.
    async fn keys_for(&self, key_id: &str) -> Result<Arc<KeySet>, ConnectError> {
        self.keys(|fetched| {
            let age = fetched.at.elapsed();
            age < KEYS_MIN_AGE || (age < KEYS_MAX_AGE && fetched.set.contains(key_id))
        })
        .await
    }

    /// The lock is held while fetching: one fetch serves all who wait.
    async fn keys(
        &self,
        is_good: impl Fn(&FetchedKeys) -> bool,
    ) -> Result<Arc<KeySet>, ConnectError> {
        let url = self.metadata().await?.jwks_uri.clone();
        let mut keys = self.shared.keys.lock().await;
        if let Some(fetched) = keys.as_ref().filter(|fetched| is_good(fetched)) {
            return Ok(fetched.set.clone());
        }
        let request = self.request(Method::GET, url);
        let body = exchange::bytes(request, MAX_KEY_SET_BYTES, &self.shared.clock).await?;
        let set = Arc::new(KeySet::parse(&body)?);
        *keys = Some(FetchedKeys {
            set: set.clone(),
            at: Instant::now(),
        });
        Ok(set)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("base_url", &self.base_url)
            .field(
                "credential",
                &self.credential.as_ref().map(|_| "[redacted]"),
            )
            .field("binding", &self.binding)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_an_origin() {
        for (base_url, issuer) in [
            ("https://authority.example", "https://authority.example"),
            ("https://authority.example/", "https://authority.example"),
            ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
        ] {
            assert_eq!(Authority::new(base_url).unwrap().issuer(), issuer);
        }
        for base_url in [
            "",
            "authority.example",
            "http://authority.example",
            "https://authority.example/v1",
            "https://authority.example//",
            "https://authority.example?x",
            "https://user@authority.example",
            "https://Authority.example",
            "https://authority.example:443",
        ] {
            assert!(
                matches!(Authority::new(base_url), Err(ConnectError::BaseUrl(_))),
                "{base_url}"
            );
        }
    }

    #[test]
    fn a_credential_is_one_word_and_never_shown() {
        let authority = Authority::new("https://authority.example").unwrap();
        for credential in ["", "two words", "line\nbreak", "ü"] {
            let refused = authority.clone().with_credential(credential);
            assert!(
                matches!(refused, Err(ConnectError::Credential)),
                "{credential}"
            );
        }
        let authority = authority.with_credential("mcpk_secret").unwrap();
        assert!(!format!("{authority:?}").contains("secret"));
    }
}

//! Who may ask how often. A credential that was good lately is limited by its client and tenant, or
//! not at all where it is an administrator's; everything else by the address it comes from, before
//! any of it reaches the storage. So a flood is stopped at its own limit, and nobody can use up
//! another's without that other's secret.

use std::cell::RefCell;

use base64ct::{Base64UrlUnpadded, Encoding};
use http::{Method, uri::PathAndQuery};
use sha2::{Digest, Sha256};

use super::{App, is_administration, problem::Problem, shared};
use crate::{
    authority::{Caller, Publisher},
    platform::{
        Recent,
        http::Head,
        limiter::{FEED, KEY_SET, Scope, VERSION, network},
        log, metrics,
    },
};

/// As many credentials are remembered for sure: half a megabyte.
const REMEMBERED: usize = 2048;

/// Whose credential it was.
#[derive(Clone)]
enum Owner {
    Administrator,
    Client {
        client_id: String,
        tenant_id: Option<String>,
    },
}

thread_local! {
    // Credentials that were good lately in this isolate. That is for counting only: each request is
    // authenticated anew.
    static KNOWN: RefCell<Recent<Owner>> = RefCell::new(Recent::new(REMEMBERED));
}

/// Where a request comes from, and what it shows.
pub(crate) struct Visitor {
    network: String,
    /// SHA-256 of the whole Authorization header, whatever kind of credential is in it.
    credential: Option<String>,
    /// Against the limits of the client that owns the credential.
    is_counted: bool,
}

impl Visitor {
    pub(crate) fn of(head: &Head) -> Self {
        Self {
            network: network(head.connecting_ip.as_deref()),
            credential: head
                .authorization
                .as_deref()
                .map(|value| Base64UrlUnpadded::encode_string(&Sha256::digest(value))),
            is_counted: false,
        }
    }

    /// Counts a request before anything is done for it.
    pub(crate) async fn enter(&mut self, head: &Head, app: &App) -> Result<(), Problem> {
        let family = family(&head.method, &head.target);
        match (family, self.known()) {
            (
                "connect",
                Some(Owner::Client {
                    client_id,
                    tenant_id,
                }),
            ) => {
                self.is_counted = true;
                limit_client(app, &client_id, tenant_id.as_deref()).await
            }
            ("admin", Some(Owner::Administrator)) => Ok(()),
            _ => {
                let network = &self.network;
                limit(app, Scope::Address { family, network }).await
            }
        }
    }

    /// The credential proved to be this client's: counts the request, if that was not known before.
    pub(crate) async fn is_client(
        &self,
        app: &App,
        client_id: &str,
        tenant_id: Option<&str>,
    ) -> Result<(), Problem> {
        if self.is_counted {
            return Ok(());
        }
        self.introduce(Owner::Client {
            client_id: client_id.to_owned(),
            tenant_id: tenant_id.map(str::to_owned),
        });
        limit_client(app, client_id, tenant_id).await
    }

    /// The credential proved to be an administrator's.
    pub(crate) fn is_administrator(&self) {
        self.introduce(Owner::Administrator);
    }

    /// The credential proved to be no good.
    pub(crate) fn is_nobody(&self) {
        if let Some(credential) = &self.credential {
            KNOWN.with_borrow_mut(|known| known.forget(credential));
        }
    }

    /// Who it is, where the credential was good lately.
    pub(crate) fn client(&self) -> Option<Caller> {
        match self.known()? {
            Owner::Administrator => None,
            Owner::Client {
                client_id,
                tenant_id,
            } => Some(Caller {
                client_id: Some(client_id),
                tenant_id,
                ..Caller::default()
            }),
        }
    }

    fn known(&self) -> Option<Owner> {
        let credential = self.credential.as_ref()?;
        KNOWN.with_borrow_mut(|known| known.get(credential))
    }

    fn introduce(&self, owner: Owner) {
        if let Some(credential) = &self.credential {
            KNOWN.with_borrow_mut(|known| known.keep(credential.clone(), owner, 1));
        }
    }
}

/// What is counted together of what one address asks for: servers that poll keys and revocations from a network
/// don't use up what its clients have, nor the other way round. Logins have us ask others. Some clients take
/// a 429 on a server's version for a reason to block the server.
pub(crate) fn family(method: &Method, target: &PathAndQuery) -> &'static str {
    let path = target.path();
    if path == "/v1/connect" {
        "connect"
    } else if is_administration(path) {
        "admin"
    } else if path == shared::KEY_SET.path {
        KEY_SET
    } else if path == shared::FEED.path {
        FEED
    } else if path.starts_with("/.well-known/") {
        "metadata"
    } else if is_health(path) {
        "health"
    } else if path.starts_with("/v0/auth/") || path.starts_with("/v0.1/auth/") {
        "login"
    } else if method == Method::GET && target.query().is_none() && is_version(path) {
        VERSION
    } else {
        "discovery"
    }
}

/// Asked by load balancers and monitors, which take an authority that answers 429 for one that is down: what else their
/// network asks for must not use their limit up.
fn is_health(path: &str) -> bool {
    matches!(
        path,
        "/healthz" | "/v0/health" | "/v0.1/health" | "/v0/ping" | "/v0.1/ping"
    )
}

/// `/v0.1/servers/{name}/versions/{version}`, which comes from a copy near the reader.
fn is_version(path: &str) -> bool {
    let of_server = path
        .strip_prefix("/v0/servers/")
        .or_else(|| path.strip_prefix("/v0.1/servers/"));
    let segments = of_server.map(|rest| rest.split('/').collect::<Vec<_>>());
    matches!(segments.as_deref(), Some([_, "versions", _]))
}

/// The client first: what it is refused is not counted against its tenant.
async fn limit_client(app: &App, client_id: &str, tenant_id: Option<&str>) -> Result<(), Problem> {
    let client = Scope::Client {
        client_id,
        tenant_id: tenant_id.unwrap_or_default(),
    };
    limit(app, client).await?;
    match tenant_id {
        Some(tenant_id) => limit(app, Scope::Tenant(tenant_id)).await,
        None => Ok(()),
    }
}

/// Counts a change, whatever the address it comes from.
pub(super) async fn limit_publisher(app: &App, publisher: &Publisher) -> Result<(), Problem> {
    let Publisher {
        method, subject, ..
    } = publisher;
    limit(app, Scope::Publisher { method, subject }).await
}

async fn limit(app: &App, scope: Scope<'_>) -> Result<(), Problem> {
    if app.limiter.allows(scope).await {
        return Ok(());
    }
    metrics::count(metrics::limited(scope.name()));
    let key = scope.key();
    let members = [("scope", scope.name()), ("subject", &key)];
    log::info_once(&format!("{} {key}", scope.name()), "rate_limited", &members);
    Err(Problem::rate_limited(scope.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_a_family() {
        for (path, expected) in [
            ("/v1/connect", "connect"),
            ("/v1/admin/audit", "admin"),
            ("/.well-known/jwks.json", "keys"),
            ("/v1/revocations", "revocations"),
            ("/v1/revocations/", "discovery"),
            ("/.well-known/mcp-connect-authority", "metadata"),
            ("/.well-known/jwks.json2", "metadata"),
            ("/v0/auth/dns", "login"),
            ("/v0.1/auth/github-at", "login"),
            ("/healthz", "health"),
            ("/healthz?probe=1", "health"),
            ("/v0.1/health", "health"),
            ("/v0/ping", "health"),
            ("/healthz/x", "discovery"),
            ("/v0/servers", "discovery"),
            ("/v0/servers/a%2Fb/versions/latest", VERSION),
            ("/v0.1/servers/a%2Fb/versions/1.0.0", VERSION),
            ("/v0.1/servers/a%2Fb/versions", "discovery"),
            ("/v0.1/servers/a%2Fb/versions/1.0.0/status", "discovery"),
            (
                "/v0.1/servers/a%2Fb/versions/1.0.0?include_deleted=true",
                "discovery",
            ),
            ("/v1/servers/a/b", "discovery"),
            ("/v1/connect/", "discovery"),
            ("/", "discovery"),
        ] {
            let target = path.parse().unwrap();
            assert_eq!(family(&Method::GET, &target), expected, "{path}");
            assert_ne!(family(&Method::PUT, &target), VERSION);
        }
    }
}

//! Who may ask how often. A credential that was good lately is limited by its client and tenant, or
//! not at all where it is an administrator's; everything else by the address it comes from, before
//! any of it reaches the storage. So a flood is stopped at its own limit, and nobody can use up
//! another's without that other's secret.

use std::{cell::RefCell, collections::HashMap};

use http::{header::AUTHORIZATION, request::Parts};
use sha2::{Digest, Sha256};

use super::{ADMIN, App, problem::Problem};
use crate::platform::{
    http::CONNECTING_IP,
    limiter::{Scope, network},
    log, metrics,
};

/// Two generations of these are kept, so an isolate holds less than 1 MiB of them.
const GENERATION: usize = 2048;

/// Whose credential it was.
#[derive(Clone)]
enum Owner {
    Administrator,
    Client {
        client_id: String,
        tenant_id: Option<String>,
    },
}

/// SHA-256 of a whole Authorization header, whatever kind of credential is in it.
type Fingerprint = [u8; 32];

/// Credentials that were good lately in this isolate. What it says is good for
/// counting only: each request is authenticated anew.
#[derive(Default)]
struct Acquaintances {
    young: HashMap<Fingerprint, Owner>,
    old: HashMap<Fingerprint, Owner>,
}

impl Acquaintances {
    fn get(&self, credential: &Fingerprint) -> Option<Owner> {
        self.young
            .get(credential)
            .or_else(|| self.old.get(credential))
            .cloned()
    }

    fn insert(&mut self, credential: &Fingerprint, owner: Owner) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(*credential, owner);
    }

    fn remove(&mut self, credential: &Fingerprint) {
        self.young.remove(credential);
        self.old.remove(credential);
    }
}

thread_local! {
    static ACQUAINTANCES: RefCell<Acquaintances> = RefCell::default();
}

/// Where a request comes from, and what it shows.
#[derive(Clone)]
pub(crate) struct Visitor {
    network: String,
    credential: Option<Fingerprint>,
}

impl Visitor {
    pub(crate) fn of(head: &Parts) -> Self {
        let header = |name| head.headers.get(name);
        Self {
            network: network(header(CONNECTING_IP).and_then(|value| value.to_str().ok())),
            credential: header(AUTHORIZATION).map(|value| Sha256::digest(value.as_bytes()).into()),
        }
    }

    /// Counts a request before anything is done for it.
    pub(crate) async fn enter(&self, head: &Parts, app: &App) -> Result<(), Problem> {
        let family = family(head.uri.path());
        let known = self.credential.as_ref().and_then(|credential| {
            ACQUAINTANCES.with_borrow(|acquaintances| acquaintances.get(credential))
        });
        match (family, known) {
            (
                "connect",
                Some(Owner::Client {
                    client_id,
                    tenant_id,
                }),
            ) => limit_client(app, &client_id, tenant_id.as_deref()).await,
            ("admin", Some(Owner::Administrator)) => Ok(()),
            _ => {
                let network = &self.network;
                limit(app, Scope::Address { family, network }).await
            }
        }
    }

    /// The credential proved to be this client's. Where that is news, the request is counted now.
    pub(crate) async fn is_client(
        &self,
        app: &App,
        client_id: &str,
        tenant_id: Option<&str>,
    ) -> Result<(), Problem> {
        let owner = Owner::Client {
            client_id: client_id.to_owned(),
            tenant_id: tenant_id.map(str::to_owned),
        };
        if self.introduce(owner) {
            limit_client(app, client_id, tenant_id).await?;
        }
        Ok(())
    }

    /// The credential proved to be an administrator's.
    pub(crate) fn is_administrator(&self) {
        self.introduce(Owner::Administrator);
    }

    /// The credential proved to be no good.
    pub(crate) fn is_nobody(&self) {
        if let Some(credential) = &self.credential {
            ACQUAINTANCES.with_borrow_mut(|acquaintances| acquaintances.remove(credential));
        }
    }

    /// Whether it was not known.
    fn introduce(&self, owner: Owner) -> bool {
        self.credential.as_ref().is_some_and(|credential| {
            ACQUAINTANCES.with_borrow_mut(|acquaintances| {
                let is_news = acquaintances.get(credential).is_none();
                if is_news || !acquaintances.young.contains_key(credential) {
                    acquaintances.insert(credential, owner);
                }
                is_news
            })
        })
    }
}

/// What is counted together of what one address asks for: many servers that poll keys and
/// revocations from one network leave room for its connects.
pub(crate) fn family(path: &str) -> &'static str {
    if path == "/v1/connect" {
        "connect"
    } else if path.starts_with(ADMIN) {
        "admin"
    } else if path.starts_with("/.well-known/") || path == "/v1/revocations" {
        "keys"
    } else {
        "discovery"
    }
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

    fn client(id: &str) -> Owner {
        Owner::Client {
            client_id: id.into(),
            tenant_id: None,
        }
    }

    #[test]
    fn acquaintances_are_bounded_and_those_in_use_stay() {
        let mut acquaintances = Acquaintances::default();
        let hash = |n: usize| Sha256::digest(n.to_string()).into();
        for n in 0..5 * GENERATION {
            acquaintances.insert(&hash(n), client("c"));
            assert!(acquaintances.young.len() + acquaintances.old.len() <= 2 * GENERATION);
        }
        assert!(acquaintances.get(&hash(0)).is_none());
        assert!(acquaintances.get(&hash(5 * GENERATION - 1)).is_some());
        acquaintances.remove(&hash(5 * GENERATION - 1));
        assert!(acquaintances.get(&hash(5 * GENERATION - 1)).is_none());
    }

    #[test]
    fn every_path_has_a_family() {
        for (path, expected) in [
            ("/v1/connect", "connect"),
            ("/v1/admin/audit", "admin"),
            ("/.well-known/jwks.json", "keys"),
            ("/v1/revocations", "keys"),
            ("/v1/servers/a/b", "discovery"),
            ("/v1/connect/", "discovery"),
            ("/", "discovery"),
        ] {
            assert_eq!(family(path), expected);
        }
    }
}

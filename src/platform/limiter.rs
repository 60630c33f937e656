//! How often somebody may ask, counted by Cloudflare's rate-limiting binding: per location, and
//! roughly. It guards capacity and authorizes nothing, so where it is missing or fails, requests go
//! on and the operator is told.

use std::net::IpAddr;

use worker::{Env, RateLimiter};

use super::{Fault, log, metrics};

/// The period of the limits in wrangler.toml, in seconds: after this, whoever was refused may ask
/// again, well before the descriptor that it holds runs out.
pub(crate) const RETRY_SECONDS: u32 = 10;

const BINDINGS: [&str; 4] = [
    "CLIENT_LIMIT",
    "TENANT_LIMIT",
    "ADDRESS_LIMIT",
    "READER_LIMIT",
];

/// The kinds of requests of which an address may make more than of others: readers of single versions, and
/// servers that follow the key set and the revocation feed, each counted apart.
pub(crate) const VERSION: &str = "version";
pub(crate) const KEY_SET: &str = "keys";
pub(crate) const FEED: &str = "revocations";

/// Whose requests are counted together.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// Client ids are unique within a tenant.
    Client {
        client_id: &'a str,
        tenant_id: &'a str,
    },
    Tenant(&'a str),
    /// Whoever a registry token is of: logins are by the same name, however that is written.
    Publisher {
        method: &'a str,
        subject: &'a str,
    },
    /// What is asked for, so that one kind of request does not use up the others' limit, and the
    /// network that asks.
    Address {
        family: &'static str,
        network: &'a str,
    },
}

impl Scope<'_> {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Client { .. } => "client",
            Self::Tenant(_) => "tenant",
            Self::Publisher { .. } => "publisher",
            Self::Address { .. } => "address",
        }
    }

    /// What is counted together has one key. A tenant's id has no slash, and neither id has a space, so
    /// each key can be taken apart in one way only.
    pub(crate) fn key(self) -> String {
        match self {
            Self::Client {
                client_id,
                tenant_id,
            } => format!("{tenant_id}/{client_id}"),
            Self::Tenant(tenant_id) => tenant_id.to_owned(),
            Self::Publisher { method, subject } => {
                format!("publisher {method}:{subject}").to_ascii_lowercase()
            }
            Self::Address { family, network } => format!("{family}/{network}"),
        }
    }

    fn binding(self) -> &'static str {
        match self {
            Self::Client { .. } | Self::Publisher { .. } => "CLIENT_LIMIT",
            Self::Tenant(_) => "TENANT_LIMIT",
            Self::Address {
                family: VERSION | KEY_SET | FEED,
                ..
            } => "READER_LIMIT",
            Self::Address { .. } => "ADDRESS_LIMIT",
        }
    }
}

#[derive(Clone)]
pub(crate) struct Limiter {
    env: Env,
}

impl Limiter {
    pub(crate) fn new(env: &Env) -> Self {
        Self { env: env.clone() }
    }

    /// Counts one request, and says whether it may go on.
    pub(crate) async fn allows(&self, scope: Scope<'_>) -> bool {
        match self.count(scope).await {
            Ok(allowed) => allowed,
            Err(error) => {
                metrics::count(metrics::LIMITER_ERRORS);
                log::error_once(
                    scope.binding(),
                    "limiter_failed",
                    &[
                        ("binding", scope.binding()),
                        ("problem", &error.to_string()),
                    ],
                );
                true
            }
        }
    }

    async fn count(&self, scope: Scope<'_>) -> worker::Result<bool> {
        let limiter: RateLimiter = self.env.rate_limiter(scope.binding())?;
        Ok(limiter.limit(scope.key()).await?.success)
    }

    /// The bindings that are not there.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        BINDINGS
            .into_iter()
            .filter(|binding| self.env.rate_limiter(binding).is_err())
            .map(|setting| Fault {
                setting,
                problem:
                    "is not bound, so that nothing is limited; see [[ratelimits]] of wrangler.toml"
                        .into(),
            })
            .collect()
    }
}

/// What one party can be taken to have: an IPv4 address, or the /64 of an IPv6 one. Everything else
/// shares one network.
pub(crate) fn network(address: Option<&str>) -> String {
    match address.and_then(|address| address.parse().ok()) {
        None => "unknown".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => format!("{:x}/64", address.to_bits() >> 64),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_as_its_network() {
        for (address, expected) in [
            (Some("192.0.2.7"), "192.0.2.7"),
            (Some("::ffff:192.0.2.7"), "192.0.2.7"),
            (Some("2001:db8:1:2:3:4:5:6"), "20010db800010002/64"),
            (Some("2001:db8:1:2::"), "20010db800010002/64"),
            (Some("2001:db8:1:3::"), "20010db800010003/64"),
            (Some("::1"), "0/64"),
            (None, "unknown"),
            (Some(""), "unknown"),
            (Some("192.0.2.7, 192.0.2.8"), "unknown"),
            (Some("192.0.2.007"), "unknown"),
        ] {
            // However it is written.
            let expected = expected.trim_start_matches('0');
            assert_eq!(
                network(address).trim_start_matches('0'),
                expected,
                "{address:?}"
            );
        }
    }

    #[test]
    fn no_two_parties_share_a_key() {
        let client = |client_id, tenant_id| {
            Scope::Client {
                client_id,
                tenant_id,
            }
            .key()
        };
        assert_ne!(client("b", "a"), client("a", "b"));
        assert_ne!(client("b/c", "a"), client("c", "b"));
        assert_ne!(client("https://b/c", ""), client("/b/c", "https:"));
        assert_ne!(client("/a", ""), client("a", ""));
        let publisher = Scope::Publisher {
            method: "none",
            subject: "x",
        };
        assert_ne!(client("none:x", "publisher"), publisher.key());
        assert_ne!(client("a", ""), Scope::Tenant("a").key());
        let publisher = |method, subject| Scope::Publisher { method, subject }.key();
        assert_ne!(publisher("dns", "a.b"), publisher("http", "a.b"));
        assert_eq!(publisher("dns", "a.b"), publisher("dns", "A.b"));
    }
}

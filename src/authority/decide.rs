//! May this caller connect to this server now? Every rule is here, in the order in which a caller
//! learns of them.

use mcp_connect_catalog::{ServerRef, VersionStatus};

use crate::authority::{ApiKey, CredentialHash};

/// What a caller asks for, as its body says it.
#[derive(Clone, Debug)]
pub(crate) struct ConnectRequest {
    pub(crate) server_ref: ServerRef,
    pub(crate) client_id: Option<String>,
    pub(crate) tenant_id: Option<String>,
}

/// The credential that came with the request.
#[derive(Debug)]
pub(crate) enum Presented {
    Nothing,
    /// Something, but nothing that could be a credential here.
    Unreadable,
    ApiKey(ApiKey),
}

/// What the store knows about a request, loaded in one round trip.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The client of the presented key id, if there is such a key.
    pub(crate) caller: Option<CallerFacts>,
    pub(crate) server: Option<ServerFacts>,
    /// The version asked for, or the one for callers who name none.
    pub(crate) version: Option<VersionFacts>,
}

#[derive(Clone, Debug)]
pub(crate) struct CallerFacts {
    pub(crate) secret_hash: CredentialHash,
    pub(crate) client_id: String,
    pub(crate) tenant_id: Option<String>,
    pub(crate) suspended: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct ServerFacts {
    /// At the origin where this version is reached.
    pub(crate) verified: bool,
    pub(crate) moderation: Moderation,
    pub(crate) jwks_uri: Option<String>,
    pub(crate) tls_pin_sha256: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Moderation {
    Active,
    Quarantined,
    Revoked,
}

#[derive(Clone, Debug)]
pub(crate) struct VersionFacts {
    pub(crate) version: String,
    pub(crate) status: VersionStatus,
    pub(crate) endpoint: Option<String>,
}

/// What the operator decided for everybody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) require_verified: bool,
    pub(crate) allow_anonymous: bool,
}

/// Leave to connect: what the descriptor will say, without its times.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Grant {
    pub(crate) server_id: String,
    pub(crate) version: String,
    pub(crate) endpoint: String,
    pub(crate) verified: bool,
    pub(crate) jwks_uri: Option<String>,
    pub(crate) tls_pin_sha256: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) tenant_id: Option<String>,
}

/// Why not.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Denial {
    #[error("show the API key of a registered client as Authorization: Bearer")]
    CallerUnauthenticated,
    #[error("this client is suspended; ask the operator of this authority")]
    ClientSuspended,
    #[error("{member}: names another than the authenticated caller; leave it out")]
    Impersonation { member: &'static str },
    #[error("no such server")]
    ServerNotFound,
    #[error("the server has no such version")]
    VersionNotFound,
    #[error("the server was withdrawn")]
    ServerRevoked,
    #[error("the version was deleted by its publisher")]
    VersionDeleted,
    #[error("the version offers no streamable-http remote that a client can be sent to")]
    TransportNotSupported,
    #[error("the server is not verified, and this authority connects only to verified ones")]
    ServerUnverified,
}

impl Denial {
    /// The code of the protocol, the label of a log line.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::CallerUnauthenticated => "caller_unauthenticated",
            Self::ClientSuspended => "policy_blocked",
            Self::Impersonation { .. } => "request_invalid",
            Self::ServerNotFound | Self::VersionNotFound => "server_not_found",
            Self::ServerRevoked | Self::VersionDeleted => "server_revoked",
            Self::TransportNotSupported => "transport_not_supported",
            Self::ServerUnverified => "server_unverified",
        }
    }
}

pub(crate) fn decide(
    request: &ConnectRequest,
    presented: &Presented,
    facts: Facts,
    policy: Policy,
) -> Result<Grant, Denial> {
    let caller = authenticate(presented, facts.caller, policy)?;
    if caller.as_ref().is_some_and(|caller| caller.suspended) {
        return Err(Denial::ClientSuspended);
    }
    let (client_id, tenant_id) = caller.map_or((None, None), |caller| {
        (Some(caller.client_id), caller.tenant_id)
    });
    refuse_other("client_id", request.client_id.as_ref(), client_id.as_ref())?;
    refuse_other("tenant_id", request.tenant_id.as_ref(), tenant_id.as_ref())?;

    let server = facts.server.ok_or(Denial::ServerNotFound)?;
    let version = facts.version.ok_or(Denial::VersionNotFound)?;
    if server.moderation != Moderation::Active {
        return Err(Denial::ServerRevoked);
    }
    if version.status == VersionStatus::Deleted {
        return Err(Denial::VersionDeleted);
    }
    let endpoint = version.endpoint.ok_or(Denial::TransportNotSupported)?;
    if policy.require_verified && !server.verified {
        return Err(Denial::ServerUnverified);
    }
    Ok(Grant {
        server_id: request.server_ref.name.to_string(),
        version: version.version,
        endpoint,
        verified: server.verified,
        jwks_uri: server.jwks_uri.filter(|_| server.verified),
        tls_pin_sha256: server.tls_pin_sha256.filter(|_| server.verified),
        client_id,
        tenant_id,
    })
}

/// Whether a credential is worth looking up. `None` is an anonymous caller, where those are allowed;
/// who shows a credential must show one that can be good.
pub(crate) fn admit(presented: &Presented, policy: Policy) -> Result<Option<&ApiKey>, Denial> {
    match presented {
        Presented::ApiKey(key) => Ok(Some(key)),
        Presented::Nothing if policy.allow_anonymous => Ok(None),
        Presented::Nothing | Presented::Unreadable => Err(Denial::CallerUnauthenticated),
    }
}

fn authenticate(
    presented: &Presented,
    caller: Option<CallerFacts>,
    policy: Policy,
) -> Result<Option<CallerFacts>, Denial> {
    let Some(key) = admit(presented, policy)? else {
        return Ok(None);
    };
    caller
        .filter(|caller| caller.secret_hash.matches(&key.secret_hash()))
        .map(Some)
        .ok_or(Denial::CallerUnauthenticated)
}

fn refuse_other(
    member: &'static str,
    claimed: Option<&String>,
    actual: Option<&String>,
) -> Result<(), Denial> {
    if claimed.is_some() && claimed != actual {
        return Err(Denial::Impersonation { member });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy {
        require_verified: true,
        allow_anonymous: false,
    };

    fn key() -> ApiKey {
        ApiKey::from_random([1; 12], [2; 32])
    }

    fn request() -> ConnectRequest {
        ConnectRequest {
            server_ref: "com.example/weather".parse().unwrap(),
            client_id: None,
            tenant_id: None,
        }
    }

    fn facts() -> Facts {
        Facts {
            caller: Some(CallerFacts {
                secret_hash: key().secret_hash(),
                client_id: "desktop".into(),
                tenant_id: Some("acme".into()),
                suspended: false,
            }),
            server: Some(ServerFacts {
                verified: true,
                moderation: Moderation::Active,
                jwks_uri: None,
                tls_pin_sha256: None,
            }),
            version: Some(VersionFacts {
                version: "1.2.0".into(),
                status: VersionStatus::Active,
                endpoint: Some("https://mcp.example/mcp".into()),
            }),
        }
    }

    fn with(change: impl FnOnce(&mut ConnectRequest, &mut Facts)) -> Result<Grant, Denial> {
        let (mut request, mut facts) = (request(), facts());
        change(&mut request, &mut facts);
        decide(&request, &Presented::ApiKey(key()), facts, POLICY)
    }

    fn server(facts: &mut Facts) -> &mut ServerFacts {
        facts.server.as_mut().unwrap()
    }

    fn version(facts: &mut Facts) -> &mut VersionFacts {
        facts.version.as_mut().unwrap()
    }

    #[test]
    fn a_known_caller_may_connect_to_a_verified_server() {
        assert_eq!(
            with(|_, _| {}),
            Ok(Grant {
                server_id: "com.example/weather".into(),
                version: "1.2.0".into(),
                endpoint: "https://mcp.example/mcp".into(),
                verified: true,
                jwks_uri: None,
                tls_pin_sha256: None,
                client_id: Some("desktop".into()),
                tenant_id: Some("acme".into()),
            })
        );
        assert!(with(|_, f| version(f).status = VersionStatus::Deprecated).is_ok());
    }

    #[test]
    fn every_rule_denies_with_its_code() {
        type Change = fn(&mut ConnectRequest, &mut Facts);
        let cases: [(&str, Change); 12] = [
            ("caller_unauthenticated", |_, f| f.caller = None),
            ("caller_unauthenticated", |_, f| {
                f.caller.as_mut().unwrap().secret_hash = CredentialHash::of("another");
            }),
            ("policy_blocked", |_, f| {
                f.caller.as_mut().unwrap().suspended = true
            }),
            ("request_invalid", |r, _| r.client_id = Some("other".into())),
            ("request_invalid", |r, _| r.tenant_id = Some("other".into())),
            ("server_not_found", |_, f| f.server = None),
            ("server_not_found", |_, f| f.version = None),
            ("server_revoked", |_, f| {
                server(f).moderation = Moderation::Revoked
            }),
            ("server_revoked", |_, f| {
                server(f).moderation = Moderation::Quarantined
            }),
            ("server_revoked", |_, f| {
                version(f).status = VersionStatus::Deleted
            }),
            ("transport_not_supported", |_, f| version(f).endpoint = None),
            ("server_unverified", |_, f| server(f).verified = false),
        ];
        for (code, change) in cases {
            assert_eq!(with(change).unwrap_err().code(), code);
        }
    }

    #[test]
    fn naming_oneself_is_allowed() {
        let named = with(|r, _| {
            r.client_id = Some("desktop".into());
            r.tenant_id = Some("acme".into());
        });
        assert!(named.is_ok());
    }

    #[test]
    fn an_unverified_server_without_remote_has_no_transport_to_verify() {
        let denial = with(|_, f| {
            server(f).verified = false;
            version(f).endpoint = None;
        });
        assert_eq!(denial, Err(Denial::TransportNotSupported));
    }

    #[test]
    fn a_stranger_learns_nothing_about_servers() {
        for presented in [Presented::Nothing, Presented::Unreadable] {
            let mut facts = facts();
            facts.caller = None;
            facts.server = None;
            let decision = decide(&request(), &presented, facts, POLICY);
            assert_eq!(decision, Err(Denial::CallerUnauthenticated));
        }
    }

    #[test]
    fn anonymous_callers_are_nobody_and_can_not_name_a_tenant() {
        let policy = Policy {
            allow_anonymous: true,
            ..POLICY
        };
        let ask = |request: &ConnectRequest, presented| {
            decide(
                request,
                &presented,
                Facts {
                    caller: None,
                    ..facts()
                },
                policy,
            )
        };
        let grant = ask(&request(), Presented::Nothing).unwrap();
        assert_eq!((grant.client_id, grant.tenant_id), (None, None));

        let claiming = ConnectRequest {
            tenant_id: Some("acme".into()),
            ..request()
        };
        assert_eq!(
            ask(&claiming, Presented::Nothing),
            Err(Denial::Impersonation {
                member: "tenant_id"
            })
        );
        for presented in [Presented::Unreadable, Presented::ApiKey(key())] {
            assert_eq!(
                ask(&request(), presented),
                Err(Denial::CallerUnauthenticated)
            );
        }
    }

    #[test]
    fn unverified_servers_are_connected_to_only_where_the_operator_says_so() {
        let mut facts = facts();
        server(&mut facts).verified = false;
        server(&mut facts).jwks_uri = Some("https://mcp.example/jwks.json".into());
        let policy = Policy {
            require_verified: false,
            ..POLICY
        };
        let grant = decide(&request(), &Presented::ApiKey(key()), facts, policy).unwrap();
        assert!(!grant.verified);
        assert_eq!(
            grant.jwks_uri, None,
            "what pins a verified server pins no other"
        );
    }

    proptest! {
        /// No combination of facts lets anybody into a withdrawn server.
        #[test]
        fn withdrawn_is_withdrawn(
            verified: bool,
            require_verified: bool,
            allow_anonymous: bool,
            anonymous: bool,
            suspended: bool,
            revoked: bool,
            has_endpoint: bool,
        ) {
            let mut facts = facts();
            facts.caller.as_mut().unwrap().suspended = suspended;
            server(&mut facts).verified = verified;
            if revoked {
                server(&mut facts).moderation = Moderation::Revoked;
            } else {
                version(&mut facts).status = VersionStatus::Deleted;
            }
            if !has_endpoint {
                version(&mut facts).endpoint = None;
            }
            let presented = if anonymous { Presented::Nothing } else { Presented::ApiKey(key()) };
            let policy = Policy { require_verified, allow_anonymous };
            prop_assert!(decide(&request(), &presented, facts, policy).is_err());
        }
    }
}

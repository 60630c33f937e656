//! What decided on a connect, as an administrator reads it: the rule of a policy, or the state that stood before all
//! rules.

use super::{Denial, Facts};

/// The thing whose state decided, before any rule of a policy was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    Authority,
    Caller,
    Client,
    Tenant,
    Server,
    Version,
    Endpoint,
}

impl Subject {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Caller => "caller",
            Self::Client => "client",
            Self::Tenant => "tenant",
            Self::Server => "server",
            Self::Version => "version",
            Self::Endpoint => "endpoint",
        }
    }
}

/// A state that denies a connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Obstacle {
    pub(crate) subject: Subject,
    /// A sentence that an administrator understands without the code.
    pub(crate) because: String,
}

impl Obstacle {
    /// Every key that could sign was revoked.
    pub(crate) fn no_signing_key() -> Self {
        Self {
            subject: Subject::Authority,
            because:
                "the authority has no key to sign with: the active one was revoked, and there is no next one"
                    .to_owned(),
        }
    }

    /// The state behind a denial; `None` if a rule of a policy or a setting denied. `date` writes milliseconds since the
    /// Unix epoch.
    pub(crate) fn behind(
        denial: &Denial,
        facts: &Facts,
        date: impl Fn(u64) -> String,
    ) -> Option<Self> {
        let version = facts.version.as_ref();
        let named = version.map_or_else(
            || "the version".to_owned(),
            |version| format!("version {}", version.version),
        );
        let (subject, because) = match denial {
            Denial::CallerUnauthenticated | Denial::TokenRefused => (
                Subject::Caller,
                "the caller shows no credential, and ALLOW_ANONYMOUS is not \"true\"".to_owned(),
            ),
            Denial::KeyExpired => (Subject::Caller, "the API key has expired".to_owned()),
            Denial::KeyRevoked => (Subject::Caller, "the API key was revoked".to_owned()),
            Denial::Impersonation { member } => (
                Subject::Caller,
                format!("{member} names another than the authenticated caller"),
            ),
            Denial::ClientSuspended => (Subject::Client, "the client is suspended".to_owned()),
            Denial::TenantSuspended => (Subject::Tenant, "the tenant is suspended".to_owned()),
            Denial::ServerNotFound => (
                Subject::Server,
                "the server is not registered here".to_owned(),
            ),
            Denial::VersionNotFound => (
                Subject::Version,
                "the server has no such version".to_owned(),
            ),
            Denial::ServerRevoked(hold) => (Subject::Server, hold.told("the server", date)),
            Denial::VersionRevoked(hold) => (Subject::Version, hold.told(&named, date)),
            Denial::VersionDeleted => (
                Subject::Version,
                format!("{named} was deleted by its publisher"),
            ),
            Denial::TransportNotSupported => (
                Subject::Version,
                format!("{named} has no streamable-http endpoint that a client can be sent to"),
            ),
            Denial::UnusableRemote(problem) => (
                Subject::Version,
                format!("the URL of the streamable-http remote of {named} {problem}"),
            ),
            Denial::ServerUnavailable { last_success } => {
                let last = last_success.map_or_else(
                    || "never since this authority first asked".to_owned(),
                    |at| format!("last at {}", date(at)),
                );
                (
                    Subject::Endpoint,
                    format!(
                        "HEALTH_GATING: the endpoint does not answer as an MCP server; it did {last}"
                    ),
                )
            }
            Denial::PolicyBlocked { .. } | Denial::ServerUnverified { .. } => return None,
        };
        Some(Self { subject, because })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mcp_connect_catalog::VersionStatus;

    use super::*;
    use crate::authority::{
        Level, Moderation, ModerationFacts, Policy, Scope, ServerFacts, TokenProvider,
        VersionFacts, decide::Hold,
    };

    const UNTIL: u64 = 1_001;

    fn moderation(state: Moderation, expires_at: Option<u64>) -> ModerationFacts {
        ModerationFacts {
            state,
            expires_at,
            reason: Some("odd traffic".into()),
        }
    }

    fn hold(state: Moderation, until: Option<u64>) -> Hold {
        moderation(state, until).hold(UNTIL - 1).unwrap()
    }

    fn facts() -> Facts {
        let active = || moderation(Moderation::Active, None);
        Facts {
            key: None,
            provider: TokenProvider::Unknown,
            tenant: None,
            policy: Arc::new(Policy::allow_all()),
            server: Some(ServerFacts {
                moderation: active(),
                jwks_uri: None,
                tls_pin_sha256: None,
            }),
            version: Some(VersionFacts {
                version: "1.2.0".into(),
                status: VersionStatus::Active,
                digest: "digest".into(),
                edited_at: None,
                endpoint: None,
                unusable_url: None,
                moderation: active(),
                level: Level::None,
            }),
            pinned_at: None,
            revoked_keys: Vec::new(),
        }
    }

    #[test]
    fn a_state_is_told_with_its_end() {
        use Moderation::{Quarantined, Revoked};
        for (denial, subject, because) in [
            (
                Denial::ServerRevoked(hold(Quarantined, Some(UNTIL))),
                Subject::Server,
                "the server is quarantined until <1001>: odd traffic",
            ),
            (
                Denial::ServerRevoked(hold(Revoked, None)),
                Subject::Server,
                "the server is revoked: odd traffic",
            ),
            (
                Denial::VersionRevoked(hold(Quarantined, Some(UNTIL))),
                Subject::Version,
                "version 1.2.0 is quarantined until <1001>: odd traffic",
            ),
            (
                Denial::ServerUnavailable {
                    last_success: Some(7),
                },
                Subject::Endpoint,
                "HEALTH_GATING: the endpoint does not answer as an MCP server; it did last at <7>",
            ),
        ] {
            let found = Obstacle::behind(&denial, &facts(), |at| format!("<{at}>"));
            let expected = Obstacle {
                subject,
                because: because.to_owned(),
            };
            assert_eq!(found, Some(expected));
        }
    }

    #[test]
    fn a_rule_is_no_state() {
        let denial = Denial::PolicyBlocked {
            scope: Scope::Tenant,
            reason: String::new(),
            rule: String::new(),
        };
        assert_eq!(Obstacle::behind(&denial, &facts(), |_| String::new()), None);
    }
}

//! What decided on a connect, as an administrator reads it: the rule of a policy, or the state that stood before all
//! rules.

use super::{Denial, Facts, Moderation, ModerationFacts};

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
        now: u64,
        date: impl Fn(u64) -> String,
    ) -> Option<Self> {
        let held = |what: &str, moderation: Option<ModerationFacts>| {
            let state = match moderation.map(|facts| (facts.in_force(now), facts.expires_at)) {
                Some((Moderation::Quarantined, Some(until))) => {
                    format!("quarantined until {}", date(until))
                }
                Some((Moderation::Quarantined, None)) => "quarantined".to_owned(),
                _ => "revoked".to_owned(),
            };
            format!("{what} is {state}")
        };
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
            Denial::ServerRevoked => {
                let moderation = facts.server.as_ref().map(|server| server.moderation);
                (Subject::Server, held("the server", moderation))
            }
            Denial::VersionRevoked => {
                let moderation = version.map(|version| version.moderation);
                (Subject::Version, held(&named, moderation))
            }
            Denial::VersionDeleted => (
                Subject::Version,
                format!("{named} was deleted by its publisher"),
            ),
            Denial::TransportNotSupported => (
                Subject::Version,
                format!("{named} has no streamable-http endpoint that a client can be sent to"),
            ),
            Denial::TemplatedRemote => (
                Subject::Version,
                format!("the streamable-http remotes of {named} have variables in their URLs"),
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
    use crate::authority::{Level, Policy, Scope, ServerFacts, TokenProvider, VersionFacts};

    const NOW: u64 = 1_000;

    fn facts(server: Moderation, version: Moderation, expires_at: Option<u64>) -> Facts {
        let moderation = |state| ModerationFacts { state, expires_at };
        Facts {
            key: None,
            provider: TokenProvider::Unknown,
            tenant: None,
            policy: Arc::new(Policy::allow_all()),
            server: Some(ServerFacts {
                moderation: moderation(server),
                jwks_uri: None,
                tls_pin_sha256: None,
            }),
            version: Some(VersionFacts {
                version: "1.2.0".into(),
                status: VersionStatus::Active,
                digest: "digest".into(),
                edited_at: None,
                endpoint: None,
                has_variables: false,
                moderation: moderation(version),
                level: Level::None,
            }),
            pinned_at: None,
            revoked_keys: Vec::new(),
        }
    }

    #[test]
    fn a_state_is_told_with_its_end() {
        use Moderation::{Active, Quarantined, Revoked};
        for (denial, facts, subject, because) in [
            (
                Denial::ServerRevoked,
                facts(Quarantined, Active, Some(NOW + 1)),
                Subject::Server,
                "the server is quarantined until <1001>",
            ),
            (
                Denial::ServerRevoked,
                facts(Quarantined, Active, None),
                Subject::Server,
                "the server is quarantined",
            ),
            (
                Denial::ServerRevoked,
                facts(Revoked, Active, None),
                Subject::Server,
                "the server is revoked",
            ),
            (
                Denial::VersionRevoked,
                facts(Active, Quarantined, Some(NOW + 1)),
                Subject::Version,
                "version 1.2.0 is quarantined until <1001>",
            ),
            (
                Denial::ServerUnavailable {
                    last_success: Some(7),
                },
                facts(Active, Active, None),
                Subject::Endpoint,
                "HEALTH_GATING: the endpoint does not answer as an MCP server; it did last at <7>",
            ),
        ] {
            let found = Obstacle::behind(&denial, &facts, NOW, |at| format!("<{at}>"));
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
        let facts = facts(Moderation::Active, Moderation::Active, None);
        assert_eq!(
            Obstacle::behind(&denial, &facts, NOW, |_| String::new()),
            None
        );
    }
}

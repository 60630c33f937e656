use mcp_connect_catalog::is_dot_segment;
use serde::{Deserialize, Serialize};

use super::{AdministratorKey, CredentialHash, SignedToken, TokenFault};

/// What an administrator may do. Each role may do all that those before it may.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Reads the metrics.
    Metrics,
    /// Reads everything.
    Auditor,
    /// Verifies and moderates servers, suspends clients.
    Moderator,
    /// Everything.
    Operator,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Auditor => "auditor",
            Self::Moderator => "moderator",
            Self::Operator => "operator",
        }
    }
}

/// Somebody who proved to be this administrator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Administrator {
    /// Who the audit trail says it was.
    pub(crate) name: String,
    pub(crate) role: Role,
}

impl Administrator {
    /// Who shows the secret `OPERATOR_TOKEN`: the way to make the first named administrator.
    pub(crate) fn bootstrap() -> Self {
        Self {
            name: BOOTSTRAP.into(),
            role: Role::Operator,
        }
    }
}

const BOOTSTRAP: &str = "operator";

/// Actors of the audit trail that nobody may be called, beside the bootstrap: what the authority
/// does by itself.
const RESERVED: [&str; 2] = [BOOTSTRAP, "authority"];

/// Why a text is no name of an administrator.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NameFault {
    #[error(
        "must be 1 to 64 lower-case letters, digits, \".\", \"_\", \"@\" or \"-\", beginning with a letter or digit"
    )]
    Form,
    #[error("is what the audit trail calls the holder of OPERATOR_TOKEN or the authority itself")]
    Reserved,
}

/// Lower case only, so that nobody looks like somebody else in the audit trail.
pub(crate) fn check_administrator_name(name: &str) -> Result<(), NameFault> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let begins_well = name.bytes().next().is_some_and(is_plain);
    let is_allowed = |byte: u8| is_plain(byte) || b"._@-".contains(&byte);
    if name.len() > 64 || !begins_well || !name.bytes().all(is_allowed) {
        return Err(NameFault::Form);
    }
    if RESERVED.contains(&name) {
        return Err(NameFault::Reserved);
    }
    Ok(())
}

/// What the store knows of a key, and of the administrator whose it is.
#[derive(Clone, Debug)]
pub(crate) struct AdministratorFacts {
    pub(crate) administrator: Administrator,
    pub(crate) secret_hash: CredentialHash,
    pub(crate) suspended: bool,
    pub(crate) revoked: bool,
    /// Milliseconds since the Unix epoch.
    pub(crate) expires_at: Option<u64>,
}

/// Who Cloudflare Access says it is: a person by e-mail, a service token by its name. Neither can
/// be taken for the other, since only an e-mail has an "@".
pub(crate) fn access_identity(token: SignedToken<'_>) -> Result<String, TokenFault> {
    let email = token.text("email").filter(|email| email.contains('@'));
    let service = || token.text("common_name").filter(|name| !name.contains('@'));
    email
        .or_else(service)
        .filter(|identity| is_access_identity(&identity.to_ascii_lowercase()))
        .map(str::to_ascii_lowercase)
        .ok_or(TokenFault::new(
            "neither an e-mail nor a service token's name",
        ))
}

/// In lower case, since mail providers don't tell cases apart.
pub(crate) fn is_access_identity(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    (1..=254).contains(&text.len()) && text.bytes().all(allowed) && !is_dot_segment(text)
}

/// What the store knows of somebody whom Cloudflare Access let through.
#[derive(Clone, Debug)]
pub(crate) struct AccessFacts {
    pub(crate) administrator: Administrator,
    pub(crate) suspended: bool,
}

/// Whether they administer.
pub(crate) fn admit_by_access(facts: Option<AccessFacts>) -> Result<Administrator, NotAdmitted> {
    match facts {
        None => Err(NotAdmitted::Unknown),
        Some(facts) if facts.suspended => Err(NotAdmitted::Suspended),
        Some(facts) => Ok(facts.administrator),
    }
}

/// Why somebody may not administrate. More than `Unknown` is told only to who proved to have the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error(
        "show an administrator's key as Authorization: Bearer, or come through Cloudflare Access as an administrator"
    )]
    Unknown,
    #[error("this key was revoked; show another one of yours, or ask an operator for one")]
    Revoked,
    #[error("this key has expired; show another one of yours, or ask an operator for one")]
    Expired,
    #[error("this administrator is suspended; ask an operator of this authority")]
    Suspended,
}

/// Whether this key admits the administrator that the store knows for its id, now: at this many
/// milliseconds since the Unix epoch.
pub(crate) fn admit_administrator(
    key: &AdministratorKey,
    facts: Option<AdministratorFacts>,
    now: u64,
) -> Result<Administrator, NotAdmitted> {
    let facts = facts
        .filter(|facts| key.secret_hash().matches(&facts.secret_hash))
        .ok_or(NotAdmitted::Unknown)?;
    if facts.revoked {
        return Err(NotAdmitted::Revoked);
    }
    if facts.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(NotAdmitted::Expired);
    }
    if facts.suspended {
        return Err(NotAdmitted::Suspended);
    }
    Ok(facts.administrator)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn key(secret: u8) -> AdministratorKey {
        AdministratorKey::from_random([1; 12], [secret; 32])
    }

    fn facts() -> AdministratorFacts {
        AdministratorFacts {
            administrator: Administrator {
                name: "alice".into(),
                role: Role::Moderator,
            },
            secret_hash: key(1).secret_hash(),
            suspended: false,
            revoked: false,
            expires_at: None,
        }
    }

    #[test]
    fn a_live_key_admits_its_administrator_in_their_role() {
        for expires_at in [None, Some(NOW + 1)] {
            let facts = AdministratorFacts {
                expires_at,
                ..facts()
            };
            let admitted = admit_administrator(&key(1), Some(facts), NOW).unwrap();
            assert_eq!(
                (admitted.name.as_str(), admitted.role),
                ("alice", Role::Moderator)
            );
        }
    }

    #[test]
    fn everything_else_is_refused_and_strangers_learn_nothing() {
        let refused = [
            (
                AdministratorFacts {
                    revoked: true,
                    ..facts()
                },
                NotAdmitted::Revoked,
            ),
            (
                AdministratorFacts {
                    suspended: true,
                    ..facts()
                },
                NotAdmitted::Suspended,
            ),
            (
                AdministratorFacts {
                    expires_at: Some(NOW),
                    ..facts()
                },
                NotAdmitted::Expired,
            ),
        ];
        for (facts, why) in refused {
            assert_eq!(
                admit_administrator(&key(1), Some(facts.clone()), NOW),
                Err(why)
            );
            assert_eq!(
                admit_administrator(&key(2), Some(facts), NOW),
                Err(NotAdmitted::Unknown)
            );
        }
        assert_eq!(
            admit_administrator(&key(1), None, NOW),
            Err(NotAdmitted::Unknown)
        );
    }

    #[test]
    fn an_operator_may_what_a_moderator_may() {
        let roles = [
            Role::Metrics,
            Role::Auditor,
            Role::Moderator,
            Role::Operator,
        ];
        assert!(roles.is_sorted());
    }

    #[test]
    fn names_are_plain_and_nobody_is_called_like_the_authority() {
        for name in [
            "a",
            "alice",
            "alice@example.com",
            "ci-bot.1",
            &"a".repeat(64),
        ] {
            assert_eq!(check_administrator_name(name), Ok(()), "{name}");
        }
        for name in ["", "Alice", "-a", "@a", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert_eq!(
                check_administrator_name(name),
                Err(NameFault::Form),
                "{name}"
            );
        }
        for name in ["operator", "authority"] {
            assert_eq!(check_administrator_name(name), Err(NameFault::Reserved));
        }
    }
}

//! May this caller connect to this server now? Every rule is here, in the order in which a caller
//! learns of them.

use std::{fmt, slice, sync::Arc};

use mcp_connect_catalog::{Endpoint, EndpointError, EndpointRules, ServerRef, VersionStatus};

use crate::authority::{
    AccessToken, ApiKey, CredentialHash, Expected, KeySource, MAX_ACCESS_TOKEN_LIFETIME,
    SignedToken, TokenFault, TokenRules,
    policy::{Asked, Finding, Level, Policy, level_finding},
};

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
    /// An access token that could be good nowhere.
    UnusableToken,
    /// Of an identity provider, unchecked.
    AccessToken(Box<AccessToken>),
}

/// Who is calling, as it was proven.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Caller {
    /// `None`: an anonymous caller.
    pub(crate) client_id: Option<String>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) is_suspended: bool,
}

/// What the store knows about a request, loaded in one round trip.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The API key of the presented id, if there is such a key.
    pub(crate) key: Option<KeyFacts>,
    /// The identity provider of the presented access token.
    pub(crate) provider: TokenProvider,
    /// Of the caller, if it has one.
    pub(crate) tenant: Option<TenantFacts>,
    /// The policy for all.
    pub(crate) policy: Arc<Policy>,
    /// When the policy for all pinned the server, if it does, in milliseconds since the Unix epoch.
    pub(crate) pinned_at: Option<u64>,
    pub(crate) server: Option<ServerFacts>,
    /// The version asked for, or the one for callers who name none.
    pub(crate) version: Option<VersionFacts>,
    /// Ids of signing keys that were withdrawn.
    pub(crate) revoked_keys: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct KeyFacts {
    pub(crate) secret_hash: CredentialHash,
    pub(crate) expires_at: Option<u64>,
    pub(crate) is_revoked: bool,
    /// Whose key it is.
    pub(crate) owner: Caller,
}

/// Which registered identity provider an access token is of, by its issuer and audience.
#[derive(Clone, Debug, Default)]
pub(crate) enum TokenProvider {
    /// No provider has this issuer, or there is no token.
    #[default]
    Unknown,
    /// Providers of these tenants have this issuer, but none of them this audience.
    OtherAudience(Vec<String>),
    /// The token is for the audiences of several providers, so it is of none of them.
    Several(Vec<String>),
    One(Box<ProviderFacts>),
}

impl TokenProvider {
    pub(crate) fn one(&self) -> Result<&ProviderFacts, TokenFault> {
        Err(TokenFault::new(match self {
            Self::One(provider) => return Ok(provider),
            Self::Unknown => "iss: is not the issuer of a registered identity provider",
            Self::OtherAudience(_) => {
                "aud: the token is for no audience that is registered with its issuer"
            }
            Self::Several(_) => "aud: the token is for the audiences of several identity providers",
        }))
    }

    /// The tenants with which the token's issuer is registered.
    pub(crate) fn tenants(&self) -> &[String] {
        match self {
            Self::Unknown => &[],
            Self::OtherAudience(tenants) | Self::Several(tenants) => tenants,
            Self::One(provider) => slice::from_ref(&provider.tenant_id),
        }
    }
}

/// Whom a token of this provider may speak for.
#[derive(Clone, Debug)]
pub(crate) struct ProviderFacts {
    pub(crate) source: KeySource,
    pub(crate) audience: String,
    pub(crate) rules: TokenRules,
    pub(crate) tenant_id: String,
    pub(crate) client_claims: Vec<String>,
    /// The client that the token is said to be of, if somebody registered it.
    pub(crate) client: Option<Caller>,
}

impl ProviderFacts {
    /// What its tokens have to say.
    pub(crate) fn expected(&self) -> Expected<'_> {
        Expected {
            issuer: &self.source.issuer,
            audience: &self.audience,
            rules: &self.rules,
            max_lifetime: MAX_ACCESS_TOKEN_LIFETIME,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct TenantFacts {
    pub(crate) is_suspended: bool,
    pub(crate) policy: Arc<Policy>,
    /// When its policy pinned the server, if it does, in milliseconds since the Unix epoch.
    pub(crate) pinned_at: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct ServerFacts {
    pub(crate) moderation: ModerationFacts,
    pub(crate) jwks_uri: Option<String>,
    pub(crate) tls_pin_sha256: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct VersionFacts {
    pub(crate) version: String,
    pub(crate) status: VersionStatus,
    /// The digest of its server.json.
    pub(crate) digest: String,
    /// When somebody last replaced its server.json, in milliseconds since the Unix epoch.
    pub(crate) edited_at: Option<u64>,
    pub(crate) endpoint: Option<String>,
    /// The URL of its first streamable-http remote, if it has no endpoint: no client can be sent there.
    pub(crate) unusable_url: Option<String>,
    pub(crate) moderation: ModerationFacts,
    /// How far the server was verified where this version is reached.
    pub(crate) level: Level,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Moderation {
    Active,
    Quarantined,
    Revoked,
}

/// A state that may end by itself.
#[derive(Clone, Debug)]
pub(crate) struct ModerationFacts {
    pub(crate) state: Moderation,
    pub(crate) expires_at: Option<u64>,
    pub(crate) reason: Option<String>,
}

/// What keeps clients from a server or a version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Hold {
    is_revoked: bool,
    /// When it ends by itself, in milliseconds since the Unix epoch.
    until: Option<u64>,
    /// Public: discovery shows it, too.
    reason: Option<String>,
}

impl ModerationFacts {
    /// The hold that is in force now, if there is one.
    pub(crate) fn hold(&self, now: u64) -> Option<Hold> {
        let is_over = self.expires_at.is_some_and(|expires_at| expires_at <= now);
        (self.state != Moderation::Active && !is_over).then(|| Hold {
            is_revoked: self.state == Moderation::Revoked,
            until: self.expires_at,
            reason: self.reason.clone(),
        })
    }
}

impl Hold {
    const fn state(&self) -> &'static str {
        if self.is_revoked {
            "revoked"
        } else {
            "quarantined"
        }
    }

    /// Says that `what` is held, until when, and why.
    pub(crate) fn told(&self, what: &str, date: impl FnOnce(u64) -> String) -> String {
        let until = self.until.map(|until| format!(" until {}", date(until)));
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}"));
        format!(
            "{what} is {}{}{}",
            self.state(),
            until.unwrap_or_default(),
            reason.unwrap_or_default()
        )
    }
}

/// What the operator set for everybody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admission {
    pub(crate) require_verified: bool,
    pub(crate) allow_anonymous: bool,
}

/// Where a rule stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scope {
    Setting,
    Authority,
    Tenant,
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
    #[error(
        "show the API key of a registered client, or an access token of its tenant's identity provider, as Authorization: Bearer"
    )]
    CallerUnauthenticated,
    #[error("this access token is not accepted here; get another from your identity provider")]
    TokenRefused,
    #[error("this API key has expired; ask the operator of this authority for another")]
    KeyExpired,
    #[error("this API key was revoked; ask the operator of this authority for another")]
    KeyRevoked,
    #[error("this client is suspended; ask the operator of this authority")]
    ClientSuspended,
    #[error("this client's tenant is suspended; ask the operator of this authority")]
    TenantSuspended,
    #[error("{member}: names another than the authenticated caller; leave it out")]
    Impersonation { member: &'static str },
    #[error("no such server")]
    ServerNotFound,
    #[error("the server has no such version")]
    VersionNotFound,
    #[error("the server is {}", .0.state())]
    ServerRevoked(Hold),
    #[error("the version is {}", .0.state())]
    VersionRevoked(Hold),
    #[error("the version was deleted by its publisher")]
    VersionDeleted,
    #[error("the version offers no streamable-http remote that a client can be sent to")]
    TransportNotSupported,
    #[error(
        "the URL of the version's streamable-http remote {0}, so this authority sends no client there; its publisher can offer a remote without that"
    )]
    UnusableRemote(EndpointError),
    #[error("the policy of {scope} says no: {reason}")]
    PolicyBlocked {
        scope: Scope,
        reason: String,
        /// For those who may read the policy.
        rule: String,
    },
    #[error(
        "the server is not verified as {scope} wants it: its level is {found}, wanted is {required}"
    )]
    ServerUnverified {
        scope: Scope,
        found: Level,
        required: Level,
        rule: String,
    },
    #[error("the endpoint does not answer as an MCP server")]
    ServerUnavailable {
        /// When it last did, in milliseconds since the Unix epoch.
        last_success: Option<u64>,
    },
}

impl Denial {
    /// The code of the protocol, the label of a log line.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::CallerUnauthenticated
            | Self::KeyExpired
            | Self::KeyRevoked
            | Self::TokenRefused => "caller_unauthenticated",
            Self::ClientSuspended | Self::TenantSuspended | Self::PolicyBlocked { .. } => {
                "policy_blocked"
            }
            Self::Impersonation { .. } => "request_invalid",
            Self::ServerNotFound | Self::VersionNotFound => "server_not_found",
            Self::ServerRevoked(_) | Self::VersionRevoked(_) | Self::VersionDeleted => {
                "server_revoked"
            }
            Self::TransportNotSupported | Self::UnusableRemote(_) => "transport_not_supported",
            Self::ServerUnverified { .. } => "server_unverified",
            Self::ServerUnavailable { .. } => "server_unavailable",
        }
    }

    /// The rule that decided, where one of a policy did; not for the caller.
    pub(crate) fn rule(&self) -> Option<String> {
        match self {
            Self::PolicyBlocked { scope, rule, .. }
            | Self::ServerUnverified { scope, rule, .. } => {
                Some(format!("{}: {rule}", scope.as_str()))
            }
            _ => None,
        }
    }
}

impl Scope {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Setting => "setting",
            Self::Authority => "authority",
            Self::Tenant => "tenant",
        }
    }
}

/// As a caller sees it.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Setting | Self::Authority => "this authority",
            Self::Tenant => "your tenant",
        })
    }
}

/// Whether a credential is worth looking up; who shows one must show one that can be good.
pub(crate) fn admit(presented: &Presented, admission: Admission) -> Result<(), Denial> {
    match presented {
        Presented::ApiKey(_) | Presented::AccessToken(_) => Ok(()),
        Presented::Nothing if admission.allow_anonymous => Ok(()),
        Presented::Nothing | Presented::Unreadable => Err(Denial::CallerUnauthenticated),
        Presented::UnusableToken => Err(Denial::TokenRefused),
    }
}

/// Who is calling with a key, or anonymously. `now` in milliseconds since the Unix epoch.
pub(crate) fn authenticate(
    presented: &Presented,
    known: Option<KeyFacts>,
    admission: Admission,
    now: u64,
) -> Result<Caller, Denial> {
    admit(presented, admission)?;
    let shown = match presented {
        Presented::ApiKey(key) => key,
        Presented::Nothing => return Ok(Caller::default()),
        // A token needs its provider's keys: see `identify`.
        Presented::AccessToken(_) | Presented::Unreadable | Presented::UnusableToken => {
            return Err(Denial::CallerUnauthenticated);
        }
    };
    let key = known
        .filter(|key| key.secret_hash.matches(&shown.secret_hash()))
        .ok_or(Denial::CallerUnauthenticated)?;
    if key.is_revoked {
        return Err(Denial::KeyRevoked);
    }
    if key.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(Denial::KeyExpired);
    }
    Ok(key.owner)
}

/// Who is calling with a token that its provider has signed.
pub(crate) fn identify(
    token: SignedToken<'_>,
    provider: &ProviderFacts,
) -> Result<Caller, TokenFault> {
    let client_id = token.client_id(&provider.client_claims)?;
    let tenant_id = Some(provider.tenant_id.clone());
    let Some(registered) = &provider.client else {
        return Ok(Caller {
            client_id: Some(client_id.to_owned()),
            tenant_id,
            is_suspended: false,
        });
    };
    if registered.client_id.as_deref() != Some(client_id) {
        return Err(TokenFault::new("another client was looked up"));
    }
    if registered.tenant_id != tenant_id {
        return Err(TokenFault::new(
            "the client is registered, but not for this tenant",
        ));
    }
    Ok(registered.clone())
}

/// Whether this caller may. `now` in milliseconds since the Unix epoch.
pub(crate) fn decide(
    request: &ConnectRequest,
    caller: &Caller,
    facts: &Facts,
    admission: Admission,
    now: u64,
) -> Result<Grant, Denial> {
    if caller.is_suspended {
        return Err(Denial::ClientSuspended);
    }
    let (client_id, tenant_id) = (caller.client_id.as_ref(), caller.tenant_id.as_ref());
    // A tenant that nobody knows is one that nobody let in.
    let tenant_is_good = facts
        .tenant
        .as_ref()
        .is_some_and(|tenant| !tenant.is_suspended);
    if tenant_id.is_some() && !tenant_is_good {
        return Err(Denial::TenantSuspended);
    }
    refuse_other("client_id", request.client_id.as_ref(), client_id)?;
    refuse_other("tenant_id", request.tenant_id.as_ref(), tenant_id)?;

    let server = facts.server.as_ref().ok_or(Denial::ServerNotFound)?;
    let version = facts.version.as_ref().ok_or(Denial::VersionNotFound)?;
    if let Some(hold) = server.moderation.hold(now) {
        return Err(Denial::ServerRevoked(hold));
    }
    if let Some(hold) = version.moderation.hold(now) {
        return Err(Denial::VersionRevoked(hold));
    }
    if version.status == VersionStatus::Deleted {
        return Err(Denial::VersionDeleted);
    }
    let endpoint = version.endpoint.as_ref();
    let endpoint = endpoint.ok_or_else(|| unreachable_version(version))?;
    apply_policies(&policy_findings(request, caller, facts, version, admission))?;

    // What pins a server is the operator's word, about the origin where the operator verified it.
    let is_pinned = version.level == Level::Operator;
    Ok(Grant {
        server_id: request.server_ref.name.to_string(),
        version: version.version.clone(),
        endpoint: endpoint.clone(),
        verified: version.level > Level::None,
        jwks_uri: server.jwks_uri.clone().filter(|_| is_pinned),
        tls_pin_sha256: server.tls_pin_sha256.clone().filter(|_| is_pinned),
        client_id: client_id.cloned(),
        tenant_id: tenant_id.cloned(),
    })
}

/// What each group of rules says, of the policy for all, of the tenant's, and of the settings.
pub(crate) fn policy_findings<'a>(
    request: &'a ConnectRequest,
    caller: &'a Caller,
    facts: &'a Facts,
    version: &'a VersionFacts,
    admission: Admission,
) -> Vec<(Scope, Finding<'a>)> {
    let asked = |pinned_at: Option<u64>| Asked {
        server: &request.server_ref.name,
        version: &version.version,
        digest: &version.digest,
        // A pin whose age nobody knows is older than any edit.
        is_edited: version
            .edited_at
            .is_some_and(|edited_at| pinned_at.is_none_or(|pinned_at| edited_at >= pinned_at)),
        level: version.level,
        client_id: caller.client_id.as_deref(),
    };
    let setting = admission.require_verified.then_some(Level::Namespace);
    let mut findings = Vec::with_capacity(13);
    findings.extend(
        facts
            .policy
            .findings(&asked(facts.pinned_at))
            .map(|it| (Scope::Authority, it)),
    );
    findings.extend(
        facts
            .tenant
            .iter()
            .flat_map(|tenant| tenant.policy.findings(&asked(tenant.pinned_at)))
            .map(|it| (Scope::Tenant, it)),
    );
    findings.push((Scope::Setting, level_finding(setting, version.level)));
    findings
}

/// All have to permit. What a better verification would not change is told first, then the highest
/// level that is wanted.
fn apply_policies(findings: &[(Scope, Finding<'_>)]) -> Result<(), Denial> {
    let refusals = || findings.iter().filter(|(_, finding)| !finding.permits);
    if let Some((scope, finding)) = refusals().find(|(_, finding)| finding.levels().is_none()) {
        return Err(Denial::PolicyBlocked {
            scope: *scope,
            reason: finding.reason(),
            rule: finding.to_string(),
        });
    }
    let unverified = refusals()
        .filter_map(|(scope, finding)| Some((finding.levels()?, scope, finding)))
        .max_by_key(|((required, _), ..)| *required);
    match unverified {
        None => Ok(()),
        Some(((required, found), scope, finding)) => Err(Denial::ServerUnverified {
            scope: *scope,
            found,
            required,
            rule: finding.to_string(),
        }),
    }
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

/// Says why a version without an endpoint has none.
fn unreachable_version(version: &VersionFacts) -> Denial {
    // What is wrong beside a host of development is told there, too.
    let url = version.unusable_url.as_deref();
    let parsed = url.map(|url| Endpoint::parse(url, EndpointRules::PublicOrLoopback));
    match parsed {
        Some(Err(problem)) => Denial::UnusableRemote(problem),
        Some(Ok(_)) | None => Denial::TransportNotSupported,
    }
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64UrlUnpadded, Encoding};
    use proptest::prelude::*;

    use super::*;
    use crate::authority::policy::PolicyDocument;

    const ADMISSION: Admission = Admission {
        require_verified: true,
        allow_anonymous: false,
    };
    const NOW: u64 = 1_800_000_000_000;
    const ACTIVE: ModerationFacts = ModerationFacts {
        state: Moderation::Active,
        expires_at: None,
        reason: None,
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
            key: Some(KeyFacts {
                secret_hash: key().secret_hash(),
                expires_at: None,
                is_revoked: false,
                owner: Caller {
                    client_id: Some("desktop".into()),
                    tenant_id: Some("acme".into()),
                    is_suspended: false,
                },
            }),
            provider: TokenProvider::Unknown,
            tenant: Some(TenantFacts {
                is_suspended: false,
                policy: Arc::new(Policy::allow_all()),
                pinned_at: None,
            }),
            policy: Arc::new(Policy::allow_all()),
            pinned_at: None,
            server: Some(ServerFacts {
                moderation: ACTIVE,
                jwks_uri: None,
                tls_pin_sha256: None,
            }),
            version: Some(VersionFacts {
                version: "1.2.0".into(),
                status: VersionStatus::Active,
                digest: "digest".into(),
                edited_at: None,
                endpoint: Some("https://mcp.example/mcp".into()),
                unusable_url: None,
                moderation: ACTIVE,
                level: Level::Operator,
            }),
            revoked_keys: Vec::new(),
        }
    }

    fn ask(
        request: &ConnectRequest,
        presented: &Presented,
        mut facts: Facts,
        admission: Admission,
    ) -> Result<Grant, Denial> {
        let caller = authenticate(presented, facts.key.take(), admission, NOW)?;
        decide(request, &caller, &facts, admission, NOW)
    }

    fn with(change: impl FnOnce(&mut ConnectRequest, &mut Facts)) -> Result<Grant, Denial> {
        let (mut request, mut facts) = (request(), facts());
        change(&mut request, &mut facts);
        ask(&request, &Presented::ApiKey(key()), facts, ADMISSION)
    }

    fn policy(document: &str) -> Arc<Policy> {
        let document: PolicyDocument = serde_json::from_str(document).unwrap();
        Arc::new(document.compile().unwrap())
    }

    fn presented_key(facts: &mut Facts) -> &mut KeyFacts {
        facts.key.as_mut().unwrap()
    }

    fn tenant(facts: &mut Facts) -> &mut TenantFacts {
        facts.tenant.as_mut().unwrap()
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
        let cases: [(&str, Change); 20] = [
            ("caller_unauthenticated", |_, f| f.key = None),
            ("caller_unauthenticated", |_, f| {
                presented_key(f).secret_hash = CredentialHash::of("another");
            }),
            ("caller_unauthenticated", |_, f| {
                presented_key(f).expires_at = Some(NOW);
            }),
            ("caller_unauthenticated", |_, f| {
                presented_key(f).is_revoked = true
            }),
            ("policy_blocked", |_, f| {
                presented_key(f).owner.is_suspended = true
            }),
            ("policy_blocked", |_, f| tenant(f).is_suspended = true),
            ("policy_blocked", |_, f| f.tenant = None),
            ("policy_blocked", |_, f| {
                f.policy = policy(r#"{"allow":[]}"#);
            }),
            ("policy_blocked", |_, f| {
                tenant(f).policy = policy(r#"{"allow":[]}"#);
            }),
            ("server_unverified", |_, f| {
                version(f).level = Level::Endpoint;
                tenant(f).policy = policy(r#"{"allow":["*"],"require_verification":"operator"}"#);
            }),
            ("server_revoked", |_, f| {
                version(f).moderation.state = Moderation::Quarantined;
            }),
            ("request_invalid", |r, _| r.client_id = Some("other".into())),
            ("request_invalid", |r, _| r.tenant_id = Some("other".into())),
            ("server_not_found", |_, f| f.server = None),
            ("server_not_found", |_, f| f.version = None),
            ("server_revoked", |_, f| {
                server(f).moderation.state = Moderation::Revoked
            }),
            ("server_revoked", |_, f| {
                server(f).moderation.state = Moderation::Quarantined
            }),
            ("server_revoked", |_, f| {
                version(f).status = VersionStatus::Deleted
            }),
            ("transport_not_supported", |_, f| version(f).endpoint = None),
            ("server_unverified", |_, f| version(f).level = Level::None),
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
            version(f).level = Level::None;
            version(f).endpoint = None;
        });
        assert_eq!(denial, Err(Denial::TransportNotSupported));
    }

    #[test]
    fn a_remote_that_is_no_endpoint_is_told_with_the_reason() {
        for (url, reason) in [
            ("https://{tenant}.example/mcp", "has variables in braces"),
            (
                "https://user:s3cret@mcp.example/mcp",
                "has a user name or password",
            ),
            ("https://mcp.example/mcp#top", "has a fragment"),
            ("http://mcp.example/mcp", "is not https"),
            ("https://10.0.0.1/mcp", "names a host that is not public"),
            (
                "http://localhost/mcp",
                "no streamable-http remote that a client",
            ),
        ] {
            let denial = with(|_, f| {
                version(f).endpoint = None;
                version(f).unusable_url = Some(url.to_owned());
            });
            let denial = denial.unwrap_err();
            assert_eq!(denial.code(), "transport_not_supported");
            let told = denial.to_string();
            assert!(told.contains(reason) && !told.contains("s3cret"), "{told}");
        }
    }

    #[test]
    fn an_edition_newer_than_its_pin_is_refused() {
        let pinned = |edited_at, pinned_at| {
            with(|_, f| {
                let document = serde_json::json!({"allow": ["*"],
                    "versions": [{"servers": "com.example/weather", "pin": "1.2.0"}]});
                let document: PolicyDocument = serde_json::from_value(document).unwrap();
                tenant(f).policy = Arc::new(document.compile().unwrap());
                tenant(f).pinned_at = pinned_at;
                version(f).edited_at = edited_at;
            })
            .map(drop)
            .map_err(|denial| denial.code())
        };
        assert_eq!(pinned(None, None), Ok(()));
        assert_eq!(pinned(Some(NOW - 2), Some(NOW - 1)), Ok(()));
        assert_eq!(pinned(Some(NOW - 1), Some(NOW - 1)), Err("policy_blocked"));
        assert_eq!(pinned(Some(NOW), Some(NOW - 1)), Err("policy_blocked"));
        assert_eq!(pinned(Some(NOW), None), Err("policy_blocked"));
    }

    #[test]
    fn a_token_speaks_for_its_tenant_only() {
        let claims = r#"{"iss":"i","aud":"a","exp":1,"client_id":"desktop"}"#;
        let parts = [r#"{"alg":"EdDSA"}"#.as_bytes(), claims.as_bytes(), &[7; 64]];
        let compact = parts.map(Base64UrlUnpadded::encode_string).join(".");
        let token = AccessToken::parse(&compact).unwrap();
        let who = |registered: Option<(&str, Option<&str>)>| {
            let provider = ProviderFacts {
                source: KeySource {
                    issuer: "i".into(),
                    jwks_uri: None,
                },
                audience: "a".into(),
                rules: TokenRules::default(),
                tenant_id: "acme".into(),
                client_claims: vec!["client_id".into()],
                client: registered.map(|(client_id, tenant_id)| Caller {
                    client_id: Some(client_id.into()),
                    tenant_id: tenant_id.map(str::to_owned),
                    is_suspended: true,
                }),
            };
            identify(SignedToken::new(&token), &provider)
        };
        let unregistered = who(None).unwrap();
        assert_eq!(unregistered.client_id.as_deref(), Some("desktop"));
        assert_eq!(unregistered.tenant_id.as_deref(), Some("acme"));
        assert!(!unregistered.is_suspended);
        assert!(who(Some(("desktop", Some("acme")))).unwrap().is_suspended);
        for (client_id, tenant_id) in [
            ("desktop", Some("rival")),
            ("desktop", None),
            ("other", Some("acme")),
        ] {
            assert!(
                who(Some((client_id, tenant_id))).is_err(),
                "{client_id} {tenant_id:?}"
            );
        }
        // Whether the signature was checked is not told by the token itself.
        let shown = Presented::AccessToken(Box::new(token));
        let denied = authenticate(&shown, facts().key, ADMISSION, NOW);
        assert_eq!(denied, Err(Denial::CallerUnauthenticated));
    }

    #[test]
    fn a_stranger_learns_nothing_about_servers() {
        for presented in [Presented::Nothing, Presented::Unreadable] {
            let mut facts = facts();
            facts.key = None;
            facts.server = None;
            let decision = ask(&request(), &presented, facts, ADMISSION);
            assert_eq!(decision, Err(Denial::CallerUnauthenticated));
        }
    }

    #[test]
    fn anonymous_callers_are_nobody_and_can_not_name_a_tenant() {
        let admission = Admission {
            allow_anonymous: true,
            ..ADMISSION
        };
        let ask = |request: &ConnectRequest, presented| {
            let nobody = Facts {
                key: None,
                tenant: None,
                ..facts()
            };
            super::tests::ask(request, &presented, nobody, admission)
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
        version(&mut facts).level = Level::None;
        let admission = Admission {
            require_verified: false,
            ..ADMISSION
        };
        let grant = ask(&request(), &Presented::ApiKey(key()), facts, admission).unwrap();
        assert!(!grant.verified);
    }

    #[test]
    fn what_pins_a_server_is_said_only_of_the_origin_that_an_operator_verified() {
        for (level, verified, pinned) in [
            (Level::Namespace, true, false),
            (Level::Endpoint, true, false),
            (Level::Operator, true, true),
        ] {
            let grant = with(|_, f| {
                version(f).level = level;
                server(f).jwks_uri = Some("https://mcp.example/jwks.json".into());
            })
            .unwrap();
            assert_eq!(grant.verified, verified, "{level}");
            assert_eq!(grant.jwks_uri.is_some(), pinned, "{level}");
        }
    }

    #[test]
    fn holds_and_keys_end_by_themselves() {
        for (expires_at, ended) in [(NOW - 1, true), (NOW, true), (NOW + 1, false)] {
            let held = with(|_, f| {
                server(f).moderation = ModerationFacts {
                    state: Moderation::Quarantined,
                    expires_at: Some(expires_at),
                    reason: None,
                };
            });
            assert_eq!(held.is_ok(), ended);
            let known = with(|_, f| presented_key(f).expires_at = Some(expires_at));
            assert_eq!(known.is_ok(), !ended);
        }
    }

    #[test]
    fn a_hold_says_until_when_and_why() {
        let told = |state, expires_at, reason: Option<&str>| {
            let facts = ModerationFacts {
                state,
                expires_at,
                reason: reason.map(str::to_owned),
            };
            let hold = facts.hold(NOW)?;
            Some(hold.told("the server", |at| format!("<{at}>")))
        };
        for (state, expires_at, reason, expected) in [
            (
                Moderation::Quarantined,
                Some(NOW + 1),
                Some("odd traffic"),
                Some("the server is quarantined until <1800000000001>: odd traffic"),
            ),
            (
                Moderation::Quarantined,
                None,
                None,
                Some("the server is quarantined"),
            ),
            (
                Moderation::Revoked,
                None,
                Some("malware"),
                Some("the server is revoked: malware"),
            ),
            (
                Moderation::Quarantined,
                Some(NOW),
                Some("odd traffic"),
                None,
            ),
            (Moderation::Active, None, None, None),
        ] {
            assert_eq!(told(state, expires_at, reason).as_deref(), expected);
        }
    }

    #[test]
    fn a_refusal_names_the_rule_to_the_operator_and_the_way_out_to_the_caller() {
        let denied = |for_all: &str, for_tenant: &str, level| {
            let denial = with(|_, f| {
                f.policy = policy(for_all);
                tenant(f).policy = policy(for_tenant);
                version(f).level = level;
            })
            .unwrap_err();
            (denial.rule().unwrap(), denial.to_string())
        };
        let all = r#"{"allow":["*"]}"#;
        assert_eq!(
            denied(
                r#"{"allow":["*"],"deny":["com.bad/*","com.example/*"]}"#,
                all,
                Level::None
            ),
            (
                r#"authority: deny[1] "com.example/*""#.into(),
                "the policy of this authority says no: it does not allow this server".into()
            ),
            "being verified would not help"
        );
        assert_eq!(
            denied(
                all,
                r#"{"allow":["*"],"versions":[{"servers":"com.example/weather","pin":"1.1.0"}]}"#,
                Level::Operator
            )
            .1,
            "the policy of your tenant says no: it wants version 1.1.0 of this server; ask for that one, or name none"
        );
        assert_eq!(
            denied(
                r#"{"allow":["*"],"require_verification":"endpoint"}"#,
                r#"{"allow":["*"],"require_verification":"operator"}"#,
                Level::None
            ),
            (
                "tenant: require_verification operator: the server has none".into(),
                "the server is not verified as your tenant wants it: its level is none, wanted is operator"
                    .into()
            ),
            "the strictest"
        );
    }

    proptest! {
        /// No combination of facts lets anybody into a withdrawn server.
        #[test]
        fn withdrawn_is_withdrawn(
            level in proptest::sample::select(vec![Level::None, Level::Namespace, Level::Operator]),
            require_verified: bool,
            allow_anonymous: bool,
            anonymous: bool,
            suspended: bool,
            revoked: bool,
            has_endpoint: bool,
        ) {
            let mut facts = facts();
            presented_key(&mut facts).owner.is_suspended = suspended;
            version(&mut facts).level = level;
            if revoked {
                server(&mut facts).moderation.state = Moderation::Revoked;
            } else {
                version(&mut facts).status = VersionStatus::Deleted;
            }
            if !has_endpoint {
                version(&mut facts).endpoint = None;
            }
            let presented = if anonymous { Presented::Nothing } else { Presented::ApiKey(key()) };
            let admission = Admission { require_verified, allow_anonymous };
            prop_assert!(ask(&request(), &presented, facts, admission).is_err());
        }
    }
}

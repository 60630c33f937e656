//! Everything an operator sets, read once per isolate. A wrong value is a fault that names its
//! setting; it closes what depends on it and leaves the rest open.

use std::str::FromStr;

use mcp_connect_catalog::{Endpoint, EndpointRules, Namespace};
use mcp_connect_descriptor::SigningKeys;
use url::Url;

use crate::authority::{
    Admission, CredentialHash, Denied, GITHUB_NAMESPACE, Gating, Logins, OidcRules, Quota,
};

/// The shortest and the longest lifetime of a descriptor in production, in seconds.
pub(crate) const MIN_LIFETIME: u64 = 30;
pub(crate) const MAX_LIFETIME: u64 = mcp_connect_descriptor::MAX_LIFETIME_SECONDS;

const DEFAULT_LIFETIME: u64 = 60;
const GITHUB_API: &str = "https://api.github.com";
const GITHUB_ACTIONS_ISSUER: &str = "https://token.actions.githubusercontent.com";
/// What an owner with a hundred servers publishes on a day of releases, twice.
const VERSIONS_PER_DAY: u32 = 200;
const BYTES_PER_DAY: u64 = 4 * 1024 * 1024;
const MIN_OPERATOR_TOKEN_CHARS: usize = 32;

pub(crate) struct Settings {
    issuer: Result<String, Fault>,
    signing_keys: Result<SigningKeys, Fault>,
    operator_token: Result<Option<CredentialHash>, Fault>,
    descriptor_lifetime: Result<u64, Fault>,
    require_verified: Result<bool, Fault>,
    allow_anonymous: Result<bool, Fault>,
    health_gating: Result<Gating, Fault>,
    access: Result<Option<Access>, Fault>,
    publishing: Result<Publishing, Fault>,
    denied: Result<Denied, Fault>,
    database: Result<DatabaseLimit, Fault>,
    upstream: Result<Option<String>, Fault>,
    cors_origins: Result<Vec<String>, Fault>,
    development: Result<bool, Fault>,
}

/// A setting that can't be used, and why. Never shows its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) setting: &'static str,
    pub(crate) problem: String,
}

impl Fault {
    pub(crate) fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self {
            setting,
            problem: problem.into(),
        }
    }
}

/// The Cloudflare Access application that stands before the administration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Access {
    /// The issuer of its tokens.
    pub(crate) team_domain: String,
    pub(crate) audience: String,
}

/// Whom publishers can have themselves vouched for by.
#[derive(Clone, Debug)]
pub(crate) struct Publishing {
    /// DNS over HTTPS, in JSON.
    pub(crate) dns_resolver: String,
    pub(crate) github_api: String,
    /// What the users and organisations that it tells of have their namespaces below.
    pub(crate) github_namespace: String,
    pub(crate) github_actions_issuer: String,
    pub(crate) github_actions_namespace: String,
    /// The OAuth app by which publishers' tools log in at GitHub.
    pub(crate) github_client_id: Option<String>,
    /// `None`: nobody is let in by another provider's tokens.
    pub(crate) oidc: Option<OidcRules>,
    /// The ways to log in that are open; `none`, where anybody may publish, for development.
    pub(crate) logins: Logins,
    /// Of each owner of namespaces.
    pub(crate) quota: Quota,
}

/// How large the database may become.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct DatabaseLimit {
    /// What D1 holds in the account's plan.
    pub(crate) max_bytes: u64,
    /// What publishers and the mirror leave to administrators.
    pub(crate) reserve_bytes: u64,
}

impl DatabaseLimit {
    /// Whether a database of this size has room only for what administrators do.
    pub(crate) const fn is_reached(self, bytes: u64) -> bool {
        bytes.saturating_add(self.reserve_bytes) >= self.max_bytes
    }
}

/// What minting needs, all of it sound.
pub(crate) struct Issuing<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) keys: &'a SigningKeys,
    pub(crate) lifetime: u64,
    pub(crate) admission: Admission,
    pub(crate) health_gating: Gating,
}

impl Settings {
    /// `lookup` gives a var or secret by its name.
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let flag = |setting, default| parse_flag(setting, lookup(setting).as_deref(), default);
        let development = flag("DEVELOPMENT", false);
        let is_development = development == Ok(true);
        Self {
            issuer: parse_issuer(lookup("ISSUER").as_deref(), is_development),
            signing_keys: parse_signing_keys(lookup("SIGNING_KEYS").as_deref()),
            operator_token: parse_operator_token(lookup("OPERATOR_TOKEN").as_deref()),
            descriptor_lifetime: parse_lifetime(
                lookup("DESCRIPTOR_LIFETIME_SECONDS").as_deref(),
                is_development,
            ),
            require_verified: flag("REQUIRE_VERIFIED", true),
            allow_anonymous: flag("ALLOW_ANONYMOUS", false),
            health_gating: parse_health_gating(lookup("HEALTH_GATING").as_deref()),
            access: parse_access(
                lookup("ACCESS_TEAM_DOMAIN").as_deref(),
                lookup("ACCESS_AUDIENCE").as_deref(),
                is_development,
            ),
            publishing: Publishing::parse(&lookup, is_development),
            denied: parse_denied(lookup("PUBLISH_DENIED").as_deref()),
            database: parse_database(&lookup),
            upstream: parse_upstream(
                lookup("UPSTREAM_REGISTRY").as_deref(),
                lookup("ISSUER").as_deref(),
                endpoint_rules(is_development),
            ),
            cors_origins: parse_cors_origins(lookup("CORS_ORIGINS").as_deref()),
            development,
        }
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        [
            self.issuer.as_ref().err(),
            self.signing_keys.as_ref().err(),
            self.operator_token.as_ref().err(),
            self.descriptor_lifetime.as_ref().err(),
            self.require_verified.as_ref().err(),
            self.allow_anonymous.as_ref().err(),
            self.health_gating.as_ref().err(),
            self.access.as_ref().err(),
            self.publishing.as_ref().err(),
            self.denied.as_ref().err(),
            self.database.as_ref().err(),
            self.upstream.as_ref().err(),
            self.cors_origins.as_ref().err(),
            self.development.as_ref().err(),
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
    }

    pub(crate) fn issuing(&self) -> Result<Issuing<'_>, Fault> {
        if let Err(fault) = &self.development {
            return Err(fault.clone());
        }
        Ok(Issuing {
            issuer: self.issuer()?,
            keys: self.signing_keys()?,
            lifetime: self.descriptor_lifetime()?,
            admission: Admission {
                require_verified: self.require_verified()?,
                allow_anonymous: self.allow_anonymous()?,
            },
            health_gating: self.health_gating()?,
        })
    }

    pub(crate) fn issuer(&self) -> Result<&str, Fault> {
        self.issuer.as_deref().map_err(Clone::clone)
    }

    pub(crate) fn descriptor_lifetime(&self) -> Result<u64, Fault> {
        self.descriptor_lifetime.clone()
    }

    pub(crate) fn require_verified(&self) -> Result<bool, Fault> {
        self.require_verified.clone()
    }

    pub(crate) fn allow_anonymous(&self) -> Result<bool, Fault> {
        self.allow_anonymous.clone()
    }

    pub(crate) fn signing_keys(&self) -> Result<&SigningKeys, Fault> {
        self.signing_keys.as_ref().map_err(Clone::clone)
    }

    /// `None`: only named administrators are let in.
    pub(crate) fn operator_token(&self) -> Result<Option<&CredentialHash>, Fault> {
        match &self.operator_token {
            Ok(token) => Ok(token.as_ref()),
            Err(fault) => Err(fault.clone()),
        }
    }

    pub(crate) fn health_gating(&self) -> Result<Gating, Fault> {
        self.health_gating.clone()
    }

    /// `None`: Cloudflare Access lets nobody in.
    pub(crate) fn access(&self) -> Result<Option<&Access>, Fault> {
        self.access
            .as_ref()
            .map(Option::as_ref)
            .map_err(Clone::clone)
    }

    pub(crate) fn publishing(&self) -> Result<&Publishing, Fault> {
        self.publishing.as_ref().map_err(Clone::clone)
    }

    /// In which namespaces nobody publishes.
    pub(crate) fn denied(&self) -> Result<&Denied, Fault> {
        self.denied.as_ref().map_err(Clone::clone)
    }

    pub(crate) fn database(&self) -> Result<DatabaseLimit, Fault> {
        self.database.clone()
    }

    /// The base URL of the registry that is mirrored here, if one is.
    pub(crate) fn upstream(&self) -> Result<Option<&str>, Fault> {
        self.upstream
            .as_ref()
            .map(Option::as_deref)
            .map_err(Clone::clone)
    }

    /// The origins whose pages may connect.
    pub(crate) fn cors_origins(&self) -> Result<&[String], Fault> {
        self.cors_origins.as_deref().map_err(Clone::clone)
    }

    pub(crate) fn endpoint_rules(&self) -> EndpointRules {
        endpoint_rules(self.development == Ok(true))
    }
}

const fn endpoint_rules(development: bool) -> EndpointRules {
    if development {
        EndpointRules::PublicOrLoopback
    } else {
        EndpointRules::Public
    }
}

impl Publishing {
    fn parse(lookup: impl Fn(&str) -> Option<String>, development: bool) -> Result<Self, Fault> {
        let rules = endpoint_rules(development);
        let given = |setting| lookup(setting).filter(|value| !value.is_empty());
        let url = |setting: &'static str, default: &str| {
            let url = given(setting).unwrap_or_else(|| default.to_owned());
            match Endpoint::parse(&url, rules) {
                Ok(_) if url.ends_with('/') => Err(Fault::new(setting, "ends with a slash")),
                Ok(_) => Ok(url),
                Err(error) => Err(Fault::new(setting, error.to_string())),
            }
        };
        let anonymous = parse_flag(
            "PUBLISH_ANONYMOUS",
            given("PUBLISH_ANONYMOUS").as_deref(),
            false,
        )?;
        if anonymous && !development {
            return Err(Fault::new(
                "PUBLISH_ANONYMOUS",
                "is \"true\", which is for development only",
            ));
        }
        let mut logins = Logins::parse(&given("PUBLISH_LOGINS").unwrap_or_default())
            .map_err(|problem| Fault::new("PUBLISH_LOGINS", problem))?;
        if anonymous {
            logins.open("none");
        }
        let oidc = given("PUBLISH_OIDC").map(|json| OidcRules::parse(&json));
        let oidc = oidc
            .transpose()
            .map_err(|problem| Fault::new("PUBLISH_OIDC", problem))?;
        if let Some(oidc) = &oidc
            && let Err(error) = Endpoint::parse(&oidc.issuer, rules)
        {
            return Err(Fault::new("PUBLISH_OIDC", format!("its issuer {error}")));
        }
        let github_api = url("GITHUB_API", GITHUB_API)?;
        let github_actions_issuer = url("GITHUB_ACTIONS_ISSUER", GITHUB_ACTIONS_ISSUER)?;
        let namespace = |of, setting, address: &str, own| {
            let given = given(setting);
            github_namespace(of, setting, address, own, given.as_deref(), development)
        };
        Ok(Self {
            dns_resolver: url("DNS_RESOLVER", "https://cloudflare-dns.com/dns-query")?,
            github_namespace: namespace("GITHUB_API", "GITHUB_NAMESPACE", &github_api, GITHUB_API)?,
            github_actions_namespace: namespace(
                "GITHUB_ACTIONS_ISSUER",
                "GITHUB_ACTIONS_NAMESPACE",
                &github_actions_issuer,
                GITHUB_ACTIONS_ISSUER,
            )?,
            github_api,
            github_actions_issuer,
            github_client_id: given("GITHUB_CLIENT_ID"),
            oidc,
            logins,
            quota: Quota {
                versions: parse_number(&lookup, "PUBLISH_VERSIONS_PER_DAY", VERSIONS_PER_DAY)?,
                bytes: parse_number(&lookup, "PUBLISH_BYTES_PER_DAY", BYTES_PER_DAY)?,
            },
        })
    }
}

/// The namespace that the users of a GitHub have theirs below. Names of one GitHub are not those of another:
/// whoever is `octo` at an address other than GitHub's own is not `io.github.octo`.
fn github_namespace(
    of: &'static str,
    setting: &'static str,
    address: &str,
    own: &str,
    given: Option<&str>,
    development: bool,
) -> Result<String, Fault> {
    // The issuer of an enterprise at GitHub itself may have a path of its own.
    let rest = address.strip_prefix(own);
    let is_own = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let given = match given {
        None if is_own => return Ok(GITHUB_NAMESPACE.to_owned()),
        None => {
            let problem = format!(
                "is not GitHub's own; set {setting}, too, to the namespace below which its users publish, \
                 such as \"com.example.github\""
            );
            return Err(Fault::new(of, problem));
        }
        Some(given) => given,
    };
    let labels =
        given.parse::<Namespace>().is_ok() && given.split('.').all(|label| !label.is_empty());
    let is_own_name = given == GITHUB_NAMESPACE;
    // A stand-in on this machine may be taken for GitHub itself.
    if is_own_name
        && (is_own || (development && Endpoint::parse(address, EndpointRules::Public).is_err()))
    {
        return Ok(given.to_owned());
    }
    if is_own {
        let problem =
            format!("is for another GitHub than GitHub's own; set {of}, too, or leave both out");
        return Err(Fault::new(setting, problem));
    }
    let is_of_github = format!("{given}.").starts_with("io.github.");
    if !labels || !given.contains('.') || is_of_github || given != given.to_ascii_lowercase() {
        let problem = "is no namespace of your own in lower case, such as \"com.example.github\"";
        return Err(Fault::new(setting, problem));
    }
    Ok(given.to_owned())
}

/// What D1 holds in a plan that is paid for.
const DATABASE_BYTES: u64 = 10_000_000_000;

fn parse_database(lookup: &impl Fn(&str) -> Option<String>) -> Result<DatabaseLimit, Fault> {
    let max_bytes = parse_number(lookup, "DATABASE_MAX_BYTES", DATABASE_BYTES)?;
    let reserve_bytes = parse_number(lookup, "DATABASE_RESERVE_BYTES", max_bytes / 10)?;
    if reserve_bytes >= max_bytes {
        let problem = "is not less than DATABASE_MAX_BYTES";
        return Err(Fault::new("DATABASE_RESERVE_BYTES", problem));
    }
    Ok(DatabaseLimit {
        max_bytes,
        reserve_bytes,
    })
}

/// A number of 1 at least.
fn parse_number<T: FromStr + PartialOrd + From<u8>>(
    lookup: &impl Fn(&str) -> Option<String>,
    setting: &'static str,
    default: T,
) -> Result<T, Fault> {
    let Some(value) = lookup(setting).filter(|value| !value.is_empty()) else {
        return Ok(default);
    };
    let number = value.parse().ok().filter(|number| *number >= T::from(1));
    number.ok_or_else(|| Fault::new(setting, "is not a whole number of 1 at least"))
}

fn parse_denied(value: Option<&str>) -> Result<Denied, Fault> {
    let problem = "is no list of namespaces with blanks between them, such as \"io.github.evil\"";
    Denied::parse(value.unwrap_or_default()).map_err(|_| Fault::new("PUBLISH_DENIED", problem))
}

fn parse_issuer(value: Option<&str>, development: bool) -> Result<String, Fault> {
    let fault = |problem| Fault::new("ISSUER", problem);
    let value = value.filter(|value| !value.is_empty()).ok_or_else(|| {
        fault("is not set; give the https URL at which clients reach this authority")
    })?;
    check_origin(value, development).map_err(fault)?;
    Ok(value.to_owned())
}

/// Issuers are compared as exact strings, so there is one way to write each.
fn check_origin(value: &str, development: bool) -> Result<(), &'static str> {
    let url = Url::parse(value).map_err(|_| "is not a URL")?;
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    if url.scheme() != "https" && !(development && loopback && url.scheme() == "http") {
        return Err("is not an https URL");
    }
    if url.origin().ascii_serialization() != value {
        return Err(
            "must be an origin: scheme, host in lower case, port if any, no trailing slash",
        );
    }
    Ok(())
}

fn parse_access(
    team_domain: Option<&str>,
    audience: Option<&str>,
    development: bool,
) -> Result<Option<Access>, Fault> {
    let given = |value: Option<&'_ str>| value.is_some_and(|value| !value.is_empty());
    let (team_domain, audience) = match (team_domain, audience) {
        (team_domain, audience) if !given(team_domain) && !given(audience) => return Ok(None),
        (Some(team_domain), Some(audience))
            if given(Some(team_domain)) && given(Some(audience)) =>
        {
            (team_domain, audience)
        }
        (team_domain, _) if given(team_domain) => {
            return Err(Fault::new(
                "ACCESS_AUDIENCE",
                "is not set, but ACCESS_TEAM_DOMAIN is; give the application's AUD tag",
            ));
        }
        _ => {
            return Err(Fault::new(
                "ACCESS_TEAM_DOMAIN",
                "is not set, but ACCESS_AUDIENCE is; give https://<team>.cloudflareaccess.com",
            ));
        }
    };
    check_origin(team_domain, development)
        .map_err(|problem| Fault::new("ACCESS_TEAM_DOMAIN", problem))?;
    if audience.len() > 256 || !audience.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::new(
            "ACCESS_AUDIENCE",
            "is no AUD tag of an application",
        ));
    }
    Ok(Some(Access {
        team_domain: team_domain.to_owned(),
        audience: audience.to_owned(),
    }))
}

/// What stands before `/v0.1/servers`.
fn parse_upstream(
    value: Option<&str>,
    issuer: Option<&str>,
    rules: EndpointRules,
) -> Result<Option<String>, Fault> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let fault = |problem: &str| Fault::new("UPSTREAM_REGISTRY", problem);
    let url = Endpoint::parse(value, rules).map_err(|error| fault(&error.to_string()))?;
    let base = url.as_str().trim_end_matches('/');
    if base.contains('?') {
        return Err(fault("has a query; give what stands before /v0.1/servers"));
    }
    if Some(base) == issuer {
        return Err(fault("is this authority itself"));
    }
    Ok(Some(base.to_owned()))
}

/// Origins as browsers send them, with spaces between. Apps have schemes of their own.
fn parse_cors_origins(value: Option<&str>) -> Result<Vec<String>, Fault> {
    let origins = value.unwrap_or_default().split_ascii_whitespace();
    origins
        .map(|origin| match check_page_origin(origin) {
            Ok(()) => Ok(origin.to_owned()),
            Err(problem) => Err(Fault::new(
                "CORS_ORIGINS",
                format!(
                    "{problem}; give the origins of the pages that may connect, with spaces between, \
                     such as \"https://app.example\""
                ),
            )),
        })
        .collect()
}

fn check_page_origin(origin: &str) -> Result<(), &'static str> {
    if origin.contains('*') {
        return Err("has a `*`, and lets in no page that it does not name");
    }
    if origin.starts_with("https://") || origin.starts_with("http://") {
        return check_origin(origin, true);
    }
    let is_plain = |text: &str, more: &[u8]| {
        let is_one =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || more.contains(&byte);
        !text.is_empty() && text.bytes().all(is_one)
    };
    match origin.split_once("://") {
        Some((scheme, host)) if is_plain(scheme, b"+-.") && is_plain(host, b"-._:[]") => Ok(()),
        _ => Err(
            "has what is no origin: a scheme and a host in lower case, without a path or a slash at the end",
        ),
    }
}

/// Whether the halves of each key belong together is found out by the signer.
fn parse_signing_keys(value: Option<&str>) -> Result<SigningKeys, Fault> {
    let fault = |problem: String| Fault::new("SIGNING_KEYS", problem);
    let value = value.ok_or_else(|| {
        fault("is not set; put the secret that `connectctl keys generate` prints".into())
    })?;
    SigningKeys::parse(value).map_err(|error| fault(error.to_string()))
}

fn parse_operator_token(value: Option<&str>) -> Result<Option<CredentialHash>, Fault> {
    let fault = |problem| Fault::new("OPERATOR_TOKEN", problem);
    let Some(value) = value else {
        return Ok(None);
    };
    if value.len() < MIN_OPERATOR_TOKEN_CHARS {
        return Err(fault("has fewer than 32 characters"));
    }
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fault(
            "has a character that can't stand in a header; use printable ASCII without blanks",
        ));
    }
    Ok(Some(CredentialHash::of(value)))
}

fn parse_lifetime(value: Option<&str>, development: bool) -> Result<u64, Fault> {
    let min = if development { 1 } else { MIN_LIFETIME };
    match value.map(str::parse) {
        None => Ok(DEFAULT_LIFETIME),
        Some(Ok(seconds)) if (min..=MAX_LIFETIME).contains(&seconds) => Ok(seconds),
        Some(_) => Err(Fault::new(
            "DESCRIPTOR_LIFETIME_SECONDS",
            format!("is not a whole number from {min} to {MAX_LIFETIME}"),
        )),
    }
}

fn parse_health_gating(value: Option<&str>) -> Result<Gating, Fault> {
    match value {
        None | Some("off") => Ok(Gating::Off),
        Some("cached") => Ok(Gating::Cached),
        Some("inline") => Ok(Gating::Inline),
        Some(_) => Err(Fault::new(
            "HEALTH_GATING",
            "is none of \"off\", \"cached\" and \"inline\"",
        )),
    }
}

fn parse_flag(setting: &'static str, value: Option<&str>, default: bool) -> Result<bool, Fault> {
    match value {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(Fault::new(setting, "is neither \"true\" nor \"false\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","status":"active",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn read(changes: &[(&str, Option<&str>)]) -> Settings {
        Settings::read(|name| {
            if let Some((_, value)) = changes.iter().find(|(changed, _)| *changed == name) {
                return value.map(str::to_owned);
            }
            match name {
                "ISSUER" => Some("https://authority.example".into()),
                "SIGNING_KEYS" => Some(KEYS.into()),
                "OPERATOR_TOKEN" => Some(TOKEN.into()),
                _ => None,
            }
        })
    }

    #[test]
    fn three_settings_are_enough_and_the_defaults_are_closed() {
        let settings = read(&[]);
        assert_eq!(settings.faults(), []);
        assert_eq!(settings.endpoint_rules(), EndpointRules::Public);
        let issuing = settings.issuing().ok().unwrap();
        assert_eq!(issuing.lifetime, 60);
        assert!(issuing.admission.require_verified);
        assert!(!issuing.admission.allow_anonymous);
    }

    #[test]
    fn a_wrong_value_names_itself_and_stops_issuing() {
        for (setting, value) in [
            ("ISSUER", None),
            ("ISSUER", Some("")),
            ("ISSUER", Some("authority.example")),
            ("ISSUER", Some("http://authority.example")),
            ("ISSUER", Some("http://127.0.0.1:8787")),
            ("ISSUER", Some("https://authority.example/")),
            ("ISSUER", Some("https://authority.example/mcp")),
            ("ISSUER", Some("https://user@authority.example")),
            ("ISSUER", Some("https://authority.example:443")),
            ("SIGNING_KEYS", None),
            ("SIGNING_KEYS", Some("{}")),
            ("DESCRIPTOR_LIFETIME_SECONDS", Some("29")),
            ("DESCRIPTOR_LIFETIME_SECONDS", Some("121")),
            ("DESCRIPTOR_LIFETIME_SECONDS", Some("60s")),
            ("REQUIRE_VERIFIED", Some("no")),
            ("ALLOW_ANONYMOUS", Some("TRUE")),
            ("HEALTH_GATING", Some("on")),
            ("DEVELOPMENT", Some("1")),
        ] {
            let settings = read(&[(setting, value)]);
            let faults = settings.faults();
            assert_eq!(faults.len(), 1, "{setting}={value:?}: {faults:?}");
            assert_eq!(faults[0].setting, setting);
            assert_eq!(settings.issuing().err().as_ref(), Some(&faults[0]));
        }
    }

    #[test]
    fn access_is_set_whole_or_not_at_all() {
        let team = "https://acme.cloudflareaccess.com";
        for (changes, fault) in [
            (vec![], None),
            (
                vec![
                    ("ACCESS_TEAM_DOMAIN", Some("")),
                    ("ACCESS_AUDIENCE", Some("")),
                ],
                None,
            ),
            (
                vec![
                    ("ACCESS_TEAM_DOMAIN", Some(team)),
                    ("ACCESS_AUDIENCE", Some("4714")),
                ],
                None,
            ),
            (
                vec![("ACCESS_TEAM_DOMAIN", Some(team))],
                Some("ACCESS_AUDIENCE"),
            ),
            (
                vec![("ACCESS_AUDIENCE", Some("4714"))],
                Some("ACCESS_TEAM_DOMAIN"),
            ),
            (
                vec![
                    ("ACCESS_TEAM_DOMAIN", Some("acme")),
                    ("ACCESS_AUDIENCE", Some("4714")),
                ],
                Some("ACCESS_TEAM_DOMAIN"),
            ),
            (
                vec![
                    ("ACCESS_TEAM_DOMAIN", Some("http://127.0.0.1:1")),
                    ("ACCESS_AUDIENCE", Some("4714")),
                ],
                Some("ACCESS_TEAM_DOMAIN"),
            ),
            (
                vec![
                    ("ACCESS_TEAM_DOMAIN", Some(team)),
                    ("ACCESS_AUDIENCE", Some("a b")),
                ],
                Some("ACCESS_AUDIENCE"),
            ),
        ] {
            let settings = read(&changes);
            let faults: Vec<_> = settings
                .faults()
                .iter()
                .map(|fault| fault.setting)
                .collect();
            assert_eq!(faults, Vec::from_iter(fault), "{changes:?}");
            assert_eq!(settings.access().is_err(), fault.is_some());
            assert!(settings.issuing().is_ok());
        }
    }

    #[test]
    fn publishers_are_vouched_for_by_the_official_services_and_nobody_else() {
        let settings = read(&[("DNS_RESOLVER", Some("")), ("PUBLISH_OIDC", Some(""))]);
        let publishing = settings.publishing().ok().unwrap();
        assert_eq!(
            publishing.dns_resolver,
            "https://cloudflare-dns.com/dns-query"
        );
        assert_eq!(publishing.github_api, "https://api.github.com");
        assert_eq!(publishing.github_namespace, "io.github");
        assert_eq!(publishing.github_actions_namespace, "io.github");
        assert!(publishing.oidc.is_none());
        assert_eq!(publishing.logins, Logins::default());
        assert_eq!(
            (publishing.quota.versions, publishing.quota.bytes),
            (200, 4 << 20)
        );
        let oidc = |members: &str| {
            format!(r#"{{"issuer":"https://id.example","audience":"a","edit":["*"]{members}}}"#)
        };
        let of_staff = oidc(r#","claims":{"hd":"example.com"}"#);
        assert_eq!(read(&[("PUBLISH_OIDC", Some(&of_staff))]).faults(), []);
        for (setting, value) in [
            ("DNS_RESOLVER", "cloudflare-dns.com"),
            ("DNS_RESOLVER", "http://127.0.0.1:53"),
            ("GITHUB_API", "https://api.github.com/"),
            ("GITHUB_ACTIONS_ISSUER", "https://10.0.0.1"),
            ("PUBLISH_LOGINS", "dns,http"),
            ("PUBLISH_LOGINS", "all"),
            ("PUBLISH_VERSIONS_PER_DAY", "0"),
            ("PUBLISH_VERSIONS_PER_DAY", "many"),
            ("PUBLISH_BYTES_PER_DAY", "-1"),
            ("PUBLISH_ANONYMOUS", "true"),
            ("PUBLISH_ANONYMOUS", "1"),
            ("PUBLISH_OIDC", "[]"),
            ("PUBLISH_OIDC", "{}"),
            ("PUBLISH_OIDC", &oidc("")),
            ("PUBLISH_OIDC", &oidc(r#","claims":{}"#)),
            (
                "PUBLISH_OIDC",
                &oidc(r#","claims":{"hd":"a"},"publish":"*""#),
            ),
            (
                "PUBLISH_OIDC",
                &oidc(r#","claims":{"hd":"a"},"publish":[1]"#),
            ),
            (
                "PUBLISH_OIDC",
                &oidc(r#","claims":{"hd":"a"},"admin":["*"]"#),
            ),
            ("PUBLISH_OIDC", &of_staff.replace("https", "http")),
        ] {
            let settings = read(&[(setting, Some(value))]);
            let faults = settings.faults();
            assert_eq!(faults.len(), 1, "{setting}={value}: {faults:?}");
            assert_eq!(faults[0].setting, setting);
            assert!(settings.publishing().is_err() && settings.issuing().is_ok());
        }
        let anonymous = [
            ("PUBLISH_ANONYMOUS", Some("true")),
            ("DEVELOPMENT", Some("true")),
        ];
        assert!(
            read(&anonymous)
                .publishing()
                .is_ok_and(|publishing| publishing.logins.has("none"))
        );
    }

    #[test]
    fn another_github_wants_a_namespace_of_its_own() {
        const API: &str = "GITHUB_API";
        const ISSUER: &str = "GITHUB_ACTIONS_ISSUER";
        const ENTERPRISE: &str = "https://github.example.com/api/v3";
        for (of, setting, own) in [
            (API, "GITHUB_NAMESPACE", GITHUB_API),
            (ISSUER, "GITHUB_ACTIONS_NAMESPACE", GITHUB_ACTIONS_ISSUER),
        ] {
            let octocorp = format!("{own}/octocorp");
            for (address, namespace, fault) in [
                (own, None, None),
                (own, Some("io.github"), None),
                (&*octocorp, None, None),
                (ENTERPRISE, Some("com.example.github"), None),
                (ENTERPRISE, None, Some(of)),
                (ENTERPRISE, Some(""), Some(of)),
                ("https://api.github.com.example.com", None, Some(of)),
                ("https://api.octocorp.ghe.com", None, Some(of)),
                (ENTERPRISE, Some("io.github"), Some(setting)),
                (ENTERPRISE, Some("IO.GitHub"), Some(setting)),
                (ENTERPRISE, Some("io.github.corp"), Some(setting)),
                (ENTERPRISE, Some("io"), Some(setting)),
                (ENTERPRISE, Some("com.example."), Some(setting)),
                (ENTERPRISE, Some("com..example"), Some(setting)),
                (ENTERPRISE, Some("com.example/*"), Some(setting)),
                (ENTERPRISE, Some("com.Example"), Some(setting)),
                (own, Some("com.example.github"), Some(setting)),
            ] {
                let settings = read(&[(of, Some(address)), (setting, namespace)]);
                let faults: Vec<_> = settings
                    .faults()
                    .iter()
                    .map(|fault| fault.setting)
                    .collect();
                assert_eq!(faults, Vec::from_iter(fault), "{address} {namespace:?}");
            }
            let loopback = |development| {
                read(&[
                    (of, Some("http://127.0.0.1:1")),
                    (setting, Some("io.github")),
                    ("DEVELOPMENT", development),
                ])
            };
            assert_eq!(loopback(Some("true")).faults(), []);
            assert_eq!(loopback(None).faults().len(), 1);
        }
    }

    #[test]
    fn the_reserve_of_the_database_is_a_part_of_it() {
        let limit = |changes: &[_]| read(changes).database().map_err(|fault| fault.setting);
        let whole = limit(&[]).unwrap();
        assert_eq!(
            (whole.max_bytes, whole.reserve_bytes),
            (10_000_000_000, 1_000_000_000)
        );
        assert!(!whole.is_reached(8_999_999_999) && whole.is_reached(9_000_000_000));
        let free = limit(&[("DATABASE_MAX_BYTES", Some("500000000"))]).unwrap();
        assert_eq!(free.reserve_bytes, 50_000_000);
        assert!(free.is_reached(u64::MAX));
        for (setting, value) in [
            ("DATABASE_MAX_BYTES", "10 GB"),
            ("DATABASE_RESERVE_BYTES", "10000000000"),
            ("DATABASE_RESERVE_BYTES", "0"),
        ] {
            assert_eq!(limit(&[(setting, Some(value))]), Err(setting));
        }
    }

    #[test]
    fn a_wrong_list_of_denied_namespaces_is_a_fault_of_its_own() {
        let of = |value| read(&[("PUBLISH_DENIED", Some(value))]);
        for value in ["", "io.github.evil", " com.example  io.github.Evil "] {
            assert!(of(value).denied().is_ok(), "{value}");
        }
        for value in ["io.github.evil/*", "a, b", "ü"] {
            let settings = of(value);
            assert!(
                settings.denied().is_err() && settings.publishing().is_ok(),
                "{value}"
            );
            assert_eq!(settings.faults().len(), 1, "{value}");
        }
    }

    #[test]
    fn an_upstream_is_another_registry_or_none() {
        for (value, upstream) in [
            (None, Ok(None)),
            (Some(""), Ok(None)),
            (
                Some("https://registry.example"),
                Ok(Some("https://registry.example")),
            ),
            (
                Some("https://Registry.example/default/"),
                Ok(Some("https://registry.example/default")),
            ),
            (Some("http://registry.example"), Err("is not https")),
            (
                Some("https://10.0.0.1"),
                Err("names a host that is not public"),
            ),
            (
                Some("https://registry.example/?a"),
                Err("has a query; give what stands before /v0.1/servers"),
            ),
            (
                Some("https://authority.example/"),
                Err("is this authority itself"),
            ),
        ] {
            let settings = read(&[("UPSTREAM_REGISTRY", value)]);
            let found = settings.upstream();
            assert_eq!(
                found.as_ref().map_err(|fault| fault.problem.as_str()),
                upstream.as_ref().map_err(|problem| *problem)
            );
            assert!(settings.issuing().is_ok());
        }
    }

    #[test]
    fn pages_that_may_connect_are_named_by_their_origins() {
        for (value, expected) in [
            ("", &[][..]),
            ("https://app.example", &["https://app.example"]),
            (
                "https://app.example:8443 http://localhost:5173  tauri://localhost vscode-webview://0k3",
                &[
                    "https://app.example:8443",
                    "http://localhost:5173",
                    "tauri://localhost",
                    "vscode-webview://0k3",
                ],
            ),
        ] {
            let settings = read(&[("CORS_ORIGINS", Some(value))]);
            assert_eq!(settings.cors_origins().unwrap(), expected);
        }
        for value in [
            "*",
            "null",
            "app.example",
            "https://app.example/",
            "https://app.example/page",
            "https://App.example",
            "https://app.example:443",
            "https://*.app.example",
            "http://app.example",
            "https://a.example,https://b.example",
            "https://user@app.example",
            "app://",
            "://host",
            "App://host",
            "app://host/",
            "https://",
        ] {
            let settings = read(&[("CORS_ORIGINS", Some(value))]);
            assert!(settings.cors_origins().is_err(), "{value}");
            assert_eq!(settings.faults().len(), 1);
            assert!(settings.issuing().is_ok());
        }
    }

    #[test]
    fn a_wrong_operator_token_closes_administration_only() {
        for value in ["short", "0123456789abcdef 0123456789abcdef"] {
            let settings = read(&[("OPERATOR_TOKEN", Some(value))]);
            assert!(settings.operator_token().is_err());
            assert!(settings.issuing().is_ok());
            assert!(!format!("{:?}", settings.faults()).contains(value));
        }
    }

    #[test]
    fn without_an_operator_token_there_are_named_administrators() {
        let settings = read(&[("OPERATOR_TOKEN", None)]);
        assert_eq!(settings.faults(), []);
        assert!(settings.operator_token().is_ok_and(|token| token.is_none()));
    }

    #[test]
    fn development_opens_loopback_and_short_lifetimes() {
        let settings = read(&[
            ("DEVELOPMENT", Some("true")),
            ("ISSUER", Some("http://127.0.0.1:8787")),
            ("DESCRIPTOR_LIFETIME_SECONDS", Some("2")),
        ]);
        assert_eq!(settings.faults(), []);
        assert_eq!(settings.endpoint_rules(), EndpointRules::PublicOrLoopback);
        let remote = read(&[
            ("DEVELOPMENT", Some("true")),
            ("ISSUER", Some("http://authority.example")),
        ]);
        assert_eq!(remote.faults()[0].setting, "ISSUER");
    }
}

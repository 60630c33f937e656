//! What an authority, or one tenant, allows: rules over servers, versions and clients. Both have to
//! permit. A rule that denies wins over every rule that allows, and their order means nothing.
//!
//! Names are compared by case where a rule allows, and without where one denies or limits: so a
//! server under another spelling of a name is never let in by mistake.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    iter::successors,
    str::FromStr,
};

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_catalog::{Namespace, ServerName, Version};
use mcp_connect_descriptor::strict_json;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::is_client_id;

/// More rules than that are no policy that anybody can oversee.
pub(crate) const MAX_RULES: usize = 2_000;

const ANY: &str = "*";
/// How a pattern for a namespace with all below it ends.
const BELOW: &str = "/**";
/// Of a SHA-256 in base64url.
const DIGEST_CHARS: usize = 43;

/// How far a version of a server was verified, each level above the one before.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    #[default]
    None,
    /// The publisher owns the namespace.
    Namespace,
    /// And controls the endpoint.
    Endpoint,
    /// A person decided.
    Operator,
}

impl Level {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Namespace => "namespace",
            Self::Endpoint => "endpoint",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A policy as an administrator writes it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyDocument {
    /// Required, so that one more rule always allows more: a list that may be missing would have to
    /// mean "all" until its first rule.
    allow: Option<Vec<Pattern>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deny: Vec<Pattern>,
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    require_verification: Option<Level>,
    /// Whose servers may be connected to; a namespace covers what lies below it, too.
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    publishers: Option<Vec<Namespace>>,
    #[serde(
        default,
        deserialize_with = "strict_json::objects",
        skip_serializing_if = "Vec::is_empty"
    )]
    versions: Vec<VersionRule>,
    #[serde(
        default,
        deserialize_with = "strict_json::maybe_object",
        skip_serializing_if = "Option::is_none"
    )]
    clients: Option<ClientRules>,
}

/// `*`, `namespace/**` (a namespace with all below it), `namespace/*` or `namespace/name`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Pattern(String);

/// Either a pin or a minimum.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct VersionRule {
    servers: Pattern,
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pin: Option<String>,
    /// What the pinned version has to say: the digest of its server.json.
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    digest: Option<String>,
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    minimum: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ClientRules {
    /// Required, as above.
    allow: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deny: Vec<String>,
}

/// Why a document is no policy: which member, and what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PolicyError(String);

/// A policy in the form in which it is asked: each answer costs the same however many rules there
/// are.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    allow: Index,
    deny: Index,
    require_verification: Option<Level>,
    publishers: Option<Index>,
    pins: Index,
    minimums: Index,
    versions: Vec<VersionRule>,
    clients: Option<[Index; 2]>,
}

/// What a policy is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) server: &'a ServerName,
    pub(crate) version: &'a str,
    /// The digest of the version's server.json.
    pub(crate) digest: &'a str,
    /// Whether somebody replaced what the version says after this policy pinned it.
    pub(crate) is_edited: bool,
    pub(crate) level: Level,
    /// `None`: an anonymous caller.
    pub(crate) client_id: Option<&'a str>,
}

/// What one group of a policy's rules says of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finding<'a> {
    pub(crate) group: Group,
    pub(crate) permits: bool,
    basis: Basis<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Clients,
    Deny,
    Allow,
    Publishers,
    Versions,
    RequireVerification,
}

impl Group {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Deny => "deny",
            Self::Allow => "allow",
            Self::Publishers => "publishers",
            Self::Versions => "versions",
            Self::RequireVerification => "require_verification",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis<'a> {
    Rule {
        list: &'static str,
        hit: Hit<'a>,
    },
    NoRule {
        list: &'static str,
    },
    /// The policy leaves the member out.
    Unset {
        member: &'static str,
    },
    Version {
        hit: Hit<'a>,
        rule: &'static str,
        wanted: &'a str,
        found: &'a str,
    },
    /// The pinned version is the right one, and says something else than when it was pinned.
    Content {
        hit: Hit<'a>,
        version: &'a str,
        /// What the pin wants, if it names that.
        wanted: Option<&'a str>,
        found: &'a str,
    },
    Level {
        required: Level,
        found: Level,
    },
}

/// The rules of a list by their text, each with its place in the list.
#[derive(Debug, Default)]
struct Index {
    rules: HashMap<String, usize>,
    /// The same in lower case, in a list whose rules deny or limit.
    folded: HashMap<String, usize>,
    /// Whether a rule is about a namespace with all below it.
    is_deep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hit<'a> {
    index: usize,
    rule: &'a str,
}

impl PolicyDocument {
    /// What holds where nobody wrote a policy, as [`Policy::allow_all`] has it.
    pub(crate) fn allow_all() -> Self {
        Self {
            allow: Some(vec![Pattern(ANY.to_owned())]),
            ..Self::default()
        }
    }

    pub(crate) fn compile(self) -> Result<Policy, PolicyError> {
        let rules = [
            self.allow.as_ref().map_or(0, Vec::len),
            self.deny.len(),
            self.publishers.as_ref().map_or(0, Vec::len),
            self.versions.len(),
            self.clients.as_ref().map_or(0, ClientRules::len),
        ];
        if rules.iter().sum::<usize>() > MAX_RULES {
            return Err(PolicyError(format!(
                "has more than {MAX_RULES} rules; \"namespace/*\" stands for all servers of a namespace"
            )));
        }
        let allow = self.allow.ok_or_else(|| {
            PolicyError("allow: is missing; [\"*\"] allows every server, [] none".into())
        })?;
        let (mut pins, mut minimums) = (Index::default(), Index::default());
        for (index, rule) in self.versions.iter().enumerate() {
            let list = if rule.check(index)? {
                &mut pins
            } else {
                &mut minimums
            };
            if let Some(first) = list.insert_limit(&rule.servers.0, index) {
                return Err(PolicyError(format!(
                    "versions[{index}]: versions[{first}] says the same of \"{}\" already; keep one",
                    rule.servers.0
                )));
            }
        }
        Ok(Policy {
            allow: allow.iter().map(Pattern::as_str).collect(),
            deny: Index::of_limits(self.deny.iter().map(Pattern::as_str)),
            require_verification: self.require_verification,
            publishers: self
                .publishers
                .map(|list| list.iter().map(Namespace::as_str).collect()),
            pins,
            minimums,
            versions: self.versions,
            clients: self.clients.map(ClientRules::compile).transpose()?,
        })
    }

    /// Checks what only a new policy has to hold: that every client it names can exist. A rule for one
    /// that can't is a mistake that would deny or allow nobody. Policies that were stored before this
    /// was checked stay in force.
    pub(crate) fn check_clients(&self) -> Result<(), PolicyError> {
        let Some(rules) = &self.clients else {
            return Ok(());
        };
        let allow = rules.allow.as_deref().unwrap_or_default();
        for (list, ids) in [("allow", allow), ("deny", &rules.deny)] {
            let wrong = ids.iter().position(|id| id != ANY && !is_client_id(id));
            if let Some(index) = wrong {
                return Err(PolicyError(format!(
                    "clients.{list}[{index}]: is no client id; a client id has 1 to 256 visible ASCII characters and no spaces, and is no dot segment (\".\" or \"..\", also written with \"%2e\")"
                )));
            }
        }
        Ok(())
    }

    /// Which version a caller gets who names none: by the server's name.
    pub(crate) fn pins(&self) -> BTreeMap<&str, &str> {
        let mut pins = BTreeMap::new();
        for rule in &self.versions {
            if let Some(pin) = &rule.pin {
                pins.insert(rule.servers.as_str(), pin.as_str());
            }
        }
        pins
    }

    /// The text that is kept, and its digest.
    pub(crate) fn to_text(&self) -> Result<(String, String), serde_json::Error> {
        let text = serde_json::to_string(self)?;
        let digest = digest(&text);
        Ok((text, digest))
    }
}

/// By which a policy is known to be the one that was read before.
fn digest(text: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(text))
}

impl Pattern {
    fn as_str(&self) -> &str {
        &self.0
    }

    fn is_exact(&self) -> bool {
        !self.0.ends_with(ANY)
    }

    /// The names that it matches, from the first text to before the second: `.` and `/` stand right before `0`,
    /// and `!` before all that a name may have.
    pub(crate) fn bounds(&self) -> (String, String) {
        if let Some(namespace) = self.0.strip_suffix(BELOW) {
            return (format!("{namespace}."), format!("{namespace}0"));
        }
        match self.0.strip_suffix(ANY) {
            Some("") => (String::new(), "~".to_owned()),
            Some(below) => (
                below.to_owned(),
                format!("{}0", below.trim_end_matches('/')),
            ),
            None => (self.0.clone(), format!("{}!", self.0)),
        }
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let namespace = text.strip_suffix(BELOW).or_else(|| text.strip_suffix("/*"));
        let checked = match namespace {
            Some(namespace) => namespace.parse::<Namespace>().map(drop),
            None if text == ANY => Ok(()),
            None => text.parse::<ServerName>().map(drop),
        };
        match checked {
            Ok(()) => Ok(Self(text.to_owned())),
            Err(error) => Err(format!(
                "{text:?} is none of \"*\", \"namespace/**\", \"namespace/*\" and \"namespace/name\": {error}"
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        strict_json::parsed(deserializer)
    }
}

impl VersionRule {
    /// Whether it is a pin.
    fn check(&self, index: usize) -> Result<bool, PolicyError> {
        let fault = |problem: String| Err(PolicyError(format!("versions[{index}]{problem}")));
        let parse = |text: &str| text.parse::<Version>();
        if let Some(digest) = &self.digest {
            let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if self.pin.is_none() {
                return fault(".digest: belongs to a pin; leave it out".into());
            }
            if digest.len() != DIGEST_CHARS || !digest.bytes().all(is_base64url) {
                return fault(
                    ".digest: must be the digest of the version, as GET /v1/servers/{server}@{version} has it: 43 characters of base64url".into(),
                );
            }
        }
        match (&self.pin, &self.minimum) {
            (Some(pin), None) => match parse(pin) {
                Ok(_) if self.servers.is_exact() => Ok(true),
                Ok(_) => fault(".servers: a pin is for one server; name it in full".into()),
                Err(error) => fault(format!(".pin: {error}")),
            },
            (None, Some(minimum)) => match parse(minimum) {
                Ok(version) if version.is_semantic() => Ok(false),
                Ok(_) => fault(".minimum: is no semantic version, such as 1.2.0".into()),
                Err(error) => fault(format!(".minimum: {error}")),
            },
            _ => fault(": give either pin or minimum".into()),
        }
    }
}

impl VersionRule {
    fn finding<'a>(&'a self, hit: Hit<'a>, asked: &Asked<'a>) -> Finding<'a> {
        let found = asked.version;
        let (rule, wanted, permits) = match (&self.pin, &self.minimum) {
            (Some(pin), _) => ("pin", pin.as_str(), pin == found),
            (None, minimum) => {
                let minimum = minimum.as_deref().unwrap_or_default();
                ("minimum", minimum, is_at_least(found, minimum))
            }
        };
        let wanted_digest = self.digest.as_deref();
        let is_other = self.pin.is_some()
            && wanted_digest.map_or(asked.is_edited, |digest| digest != asked.digest);
        let basis = if permits && is_other {
            Basis::Content {
                hit,
                version: found,
                wanted: wanted_digest,
                found: asked.digest,
            }
        } else {
            Basis::Version {
                hit,
                rule,
                wanted,
                found,
            }
        };
        Finding {
            group: Group::Versions,
            permits: permits && !is_other,
            basis,
        }
    }
}

impl ClientRules {
    fn len(&self) -> usize {
        self.allow.as_ref().map_or(0, Vec::len) + self.deny.len()
    }

    /// Who may, and who may not.
    fn compile(self) -> Result<[Index; 2], PolicyError> {
        let allow = self.allow.ok_or_else(|| {
            PolicyError("clients.allow: is missing; [\"*\"] allows every client, [] none".into())
        })?;
        if let Some(index) = self.deny.iter().position(|id| id == ANY) {
            return Err(PolicyError(format!(
                "clients.deny[{index}]: would shut out everybody whatever else is said; let clients.allow name those who may"
            )));
        }
        Ok([&allow, &self.deny].map(|ids| ids.iter().map(String::as_str).collect()))
    }
}

impl Policy {
    /// What holds where nobody wrote a policy.
    pub(crate) fn allow_all() -> Self {
        Self {
            allow: [ANY].into_iter().collect(),
            ..Self::default()
        }
    }

    /// Reads what [`PolicyDocument::to_text`] gave; a text that is another than its digest says is
    /// none that an administrator wrote.
    pub(crate) fn read(text: &str, expected_digest: &str) -> Result<Self, PolicyError> {
        if digest(text) != expected_digest {
            return Err(PolicyError("is not what its digest is of".into()));
        }
        serde_json::from_str::<PolicyDocument>(text)
            .map_err(|error| PolicyError(error.to_string()))?
            .compile()
    }

    /// Group by group; leave is given where all permit.
    pub(crate) fn findings<'a>(&'a self, asked: &Asked<'a>) -> [Finding<'a>; 6] {
        let server = asked.server;
        [
            self.clients_finding(asked.client_id),
            finding(Group::Deny, false, "deny", self.deny.hit_of(server)),
            finding(Group::Allow, true, "allow", self.allow.hit_of(server)),
            self.publishers_finding(server.namespace()),
            self.versions_finding(asked),
            level_finding(self.require_verification, asked.level),
        ]
    }

    /// The version of this server for those who name none.
    pub(crate) fn pin(&self, server: &ServerName) -> Option<&str> {
        let index = *self.pins.rules.get(server.as_str())?;
        self.versions.get(index)?.pin.as_deref()
    }

    fn clients_finding(&self, client_id: Option<&str>) -> Finding<'_> {
        let Some([allow, deny]) = &self.clients else {
            return unset(Group::Clients, "clients");
        };
        if let Some(hit) = client_id.and_then(|id| deny.hit([id])) {
            return finding(Group::Clients, false, "clients.deny", Some(hit));
        }
        let hit = allow.hit(client_id.into_iter().chain([ANY]));
        finding(Group::Clients, true, "clients.allow", hit)
    }

    fn publishers_finding(&self, namespace: &str) -> Finding<'_> {
        let Some(publishers) = &self.publishers else {
            return unset(Group::Publishers, "publishers");
        };
        let hit = publishers.hit(and_above(namespace));
        finding(Group::Publishers, true, "publishers", hit)
    }

    /// The first rule that the version breaks; failing that, the first that holds.
    fn versions_finding<'a>(&'a self, asked: &Asked<'a>) -> Finding<'a> {
        let mut holds = None;
        let pins = self.pins.hits_of(asked.server);
        for hit in pins.into_iter().chain(self.minimums.hits_of(asked.server)) {
            let Some(rule) = self.versions.get(hit.index) else {
                continue;
            };
            let finding = rule.finding(hit, asked);
            if !finding.permits {
                return finding;
            }
            holds = holds.or(Some(finding));
        }
        holds.unwrap_or(finding(Group::Versions, false, "versions", None))
    }
}

/// Of a list whose rules all permit, or all refuse.
fn finding<'a>(
    group: Group,
    rules_permit: bool,
    list: &'static str,
    hit: Option<Hit<'a>>,
) -> Finding<'a> {
    Finding {
        group,
        permits: hit.is_some() == rules_permit,
        basis: hit.map_or(Basis::NoRule { list }, |hit| Basis::Rule { list, hit }),
    }
}

fn unset(group: Group, member: &'static str) -> Finding<'static> {
    Finding {
        group,
        permits: true,
        basis: Basis::Unset { member },
    }
}

/// Whether a server of this level is verified enough.
pub(crate) fn level_finding(required: Option<Level>, found: Level) -> Finding<'static> {
    let Some(required) = required else {
        return unset(Group::RequireVerification, "require_verification");
    };
    Finding {
        group: Group::RequireVerification,
        permits: found >= required,
        basis: Basis::Level { required, found },
    }
}

/// By Semantic Versioning; a version that is not semantic is below every one that is.
fn is_at_least(found: &str, minimum: &str) -> bool {
    let key = |version: &str| version.parse::<Version>().ok().map(|it| it.sort_key(0));
    key(minimum).is_some_and(|minimum| key(found) >= Some(minimum))
}

/// A namespace and those above it, the nearest first.
fn and_above(namespace: &str) -> impl Iterator<Item = &str> {
    successors(Some(namespace), |name| {
        name.rsplit_once('.').map(|(above, _)| above)
    })
}

impl Index {
    /// Rules that deny or limit, which hold for every spelling of a name.
    fn of_limits<'r>(rules: impl Iterator<Item = &'r str>) -> Self {
        let mut index = Self::default();
        for (place, rule) in rules.enumerate() {
            index.insert_limit(rule, place);
        }
        index
    }

    /// Adds one of them; the place of the same rule, if it is there already. Of two that are the
    /// same, the first counts.
    fn insert_limit(&mut self, rule: &str, place: usize) -> Option<usize> {
        let folded = rule.to_ascii_lowercase();
        self.folded.entry(folded).or_insert(place);
        self.insert(rule, place)
    }

    fn insert(&mut self, rule: &str, place: usize) -> Option<usize> {
        self.is_deep |= rule.ends_with(BELOW);
        let first = *self.rules.entry(rule.to_owned()).or_insert(place);
        (first != place).then_some(first)
    }

    /// The rule that is spelled like this; failing that, one that limits and is spelled otherwise.
    fn get(&self, key: &str) -> Option<Hit<'_>> {
        let (rule, &index) = self.rules.get_key_value(key).or_else(|| {
            let folded = key.to_ascii_lowercase();
            self.folded.get_key_value(folded.as_str())
        })?;
        Some(Hit { index, rule })
    }

    fn hit<'k>(&self, keys: impl IntoIterator<Item = &'k str>) -> Option<Hit<'_>> {
        keys.into_iter().find_map(|key| self.get(key))
    }

    /// The rules about a server, those about fewer servers first.
    fn hits_of(&self, server: &ServerName) -> Vec<Hit<'_>> {
        let namespace = server.namespace();
        let whole_namespace = format!("{namespace}/{ANY}");
        let mut hits: Vec<Hit<'_>> = [server.as_str(), &whole_namespace]
            .into_iter()
            .filter_map(|key| self.get(key))
            .collect();
        if self.is_deep {
            hits.extend(
                and_above(namespace).filter_map(|above| self.get(&format!("{above}{BELOW}"))),
            );
        }
        hits.extend(self.get(ANY));
        hits
    }

    fn hit_of(&self, server: &ServerName) -> Option<Hit<'_>> {
        self.hits_of(server).first().copied()
    }
}

impl<'a> FromIterator<&'a str> for Index {
    /// Of two that are the same, the first counts.
    fn from_iter<T: IntoIterator<Item = &'a str>>(rules: T) -> Self {
        let mut index = Self::default();
        for (place, rule) in rules.into_iter().enumerate() {
            index.insert(rule, place);
        }
        index
    }
}

impl Finding<'_> {
    /// The level that is wanted and the one that is there, where the rule is about that.
    pub(crate) fn levels(&self) -> Option<(Level, Level)> {
        match self.basis {
            Basis::Level { required, found } => Some((required, found)),
            _ => None,
        }
    }

    /// What the caller may know of a refusal: enough to see what to change, not how the rule reads.
    pub(crate) fn reason(&self) -> String {
        match (self.group, self.basis) {
            (
                _,
                Basis::Version {
                    rule: "pin",
                    wanted,
                    ..
                },
            ) => {
                format!("it wants version {wanted} of this server; ask for that one, or name none")
            }
            (_, Basis::Content { version, .. }) => {
                format!(
                    "it pins version {version} of this server as it was, and that was edited since; its operator has to review it"
                )
            }
            (_, Basis::Version { wanted, .. }) => {
                format!("it wants version {wanted} of this server, or a later one")
            }
            (Group::Clients, _) => "it does not allow this client".into(),
            (Group::Publishers, _) => "it does not allow this server's publisher".into(),
            _ => "it does not allow this server".into(),
        }
    }
}

/// As an administrator reads it, the rule by its place in the document.
impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.basis {
            Basis::Rule { list, hit } => write!(f, "{list}[{}] {:?}", hit.index, hit.rule),
            Basis::NoRule { list } => write!(f, "no rule of {list} matches"),
            Basis::Unset { member } => write!(f, "{member} is not set"),
            Basis::Version {
                hit,
                rule,
                wanted,
                found,
            } => write!(
                f,
                "versions[{}] {:?} {rule} {wanted}: the version is {found}",
                hit.index, hit.rule
            ),
            Basis::Content {
                hit,
                version,
                wanted: Some(wanted),
                found,
            } => write!(
                f,
                "versions[{}] {:?} pin {version} with digest {wanted}: its digest is {found}",
                hit.index, hit.rule
            ),
            Basis::Content {
                hit,
                version,
                wanted: None,
                found,
            } => write!(
                f,
                "versions[{}] {:?} pin {version}: it was edited after it was pinned; its digest is {found}",
                hit.index, hit.rule
            ),
            Basis::Level { required, found } => {
                write!(f, "require_verification {required}: the server has {found}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};
    use serde_json::{Value, json};

    use super::*;

    fn parse(document: &Value) -> Result<Policy, String> {
        let text = document.to_string();
        let mut json = serde_json::Deserializer::from_str(&text);
        let document = serde_path_to_error::deserialize::<_, PolicyDocument>(&mut json)
            .map_err(|error| error.to_string())?;
        document
            .check_clients()
            .and_then(|()| document.compile())
            .map_err(|error| error.to_string())
    }

    fn policy(document: &Value) -> Policy {
        parse(document).unwrap()
    }

    fn permits(policy: &Policy, asked: &Asked<'_>) -> bool {
        policy.findings(asked).iter().all(|finding| finding.permits)
    }

    #[test]
    fn a_document_that_is_no_policy_names_its_member() {
        let many: Vec<String> = (0..=MAX_RULES)
            .map(|n| format!("com.example/s{n}"))
            .collect();
        for (document, expected) in [
            (json!({}), "allow: is missing; [\"*\"] allows every server"),
            (json!({"allow": null}), "allow: is missing"),
            (
                json!({"allow": [], "publishers": null}),
                "publishers: invalid type: null",
            ),
            (
                json!({"allow": [], "clients": null}),
                "clients: invalid type: null",
            ),
            (
                json!({"allow": [], "require_verification": null}),
                "require_verification: ",
            ),
            (
                json!({"allow": [], "versions": [{"servers": "a.b/cc", "pin": null}]}),
                "pin: invalid type: null",
            ),
            (json!({"allow": ["*"], "alow": []}), "unknown field `alow`"),
            (
                json!({"allow": ["*", "weather"]}),
                "allow[1]: \"weather\" is none of",
            ),
            (json!({"allow": ["**"]}), "allow[0]:"),
            (json!({"allow": ["com.*"]}), "allow[0]:"),
            (json!({"allow": ["com.example/we*"]}), "allow[0]:"),
            (json!({"allow": [], "deny": ["a/b", "*/*"]}), "deny[0]:"),
            (json!({"allow": [], "deny": ["*", "*/*"]}), "deny[1]:"),
            (json!({"allow": [], "deny": [7]}), "deny[0]:"),
            (
                json!({"allow": [], "require_verification": "much"}),
                "require_verification: unknown variant `much`",
            ),
            (
                json!({"allow": [], "publishers": ["com.example/*"]}),
                "publishers[0]:",
            ),
            (
                json!({"allow": [], "versions": [{"servers": "*"}]}),
                "versions[0]: give either",
            ),
            (
                json!({"allow": [], "versions": [{"servers": "*", "pin": "1.0.0"}]}),
                "versions[0].servers: a pin is for one server",
            ),
            (
                json!({"allow": [], "versions": [{"servers": "*", "minimum": "mcp"}]}),
                "versions[0].minimum: is no semantic version",
            ),
            (
                json!({"allow": [], "versions": [{"servers": "*", "minimum": "^1.0"}]}),
                "versions[0].minimum: looks like a range",
            ),
            (
                json!({"allow": [], "versions": [
                    {"servers": "com.example/weather", "pin": "1.0.0"},
                    {"servers": "com.example/weather", "pin": "1.1.0"}]}),
                "versions[1]: versions[0] says the same of \"com.example/weather\"",
            ),
            (
                json!({"allow": [], "versions": [
                    {"servers": "com.example/weather", "pin": "1.0.0", "digest": "abc"}]}),
                "versions[0].digest: must be the digest",
            ),
            (
                json!({"allow": [], "versions": [
                    {"servers": "*", "minimum": "1.0.0", "digest": "abc"}]}),
                "versions[0].digest: belongs to a pin",
            ),
            (
                json!({"allow": [], "versions": [{"servers": "com.example/weather", "pin": ".."}]}),
                "versions[0].pin: is \".\" or \"..\"",
            ),
            (json!({"allow": ["/**"]}), "is none of"),
            (json!({"allow": [], "deny": ["com.evil.**"]}), "is none of"),
            (
                json!({"allow": [], "clients": {}}),
                "clients.allow: is missing",
            ),
            (
                json!({"allow": [], "clients": {"allow": ["a", ""]}}),
                "clients.allow[1]: is no client id",
            ),
            (
                json!({"allow": [], "clients": {"allow": ["spiffe://a/b", "a b"]}}),
                "clients.allow[1]: is no client id",
            ),
            (
                json!({"allow": [], "clients": {"allow": ["*"], "deny": ["auth0|1", "b", ".."]}}),
                "clients.deny[2]: is no client id",
            ),
            (
                json!({"allow": [], "clients": {"allow": ["*"], "deny": ["\u{e4}"]}}),
                "clients.deny[0]: is no client id",
            ),
            (
                json!({"allow": [], "clients": {"allow": ["x".repeat(257)]}}),
                "clients.allow[0]: is no client id",
            ),
            (
                json!({"allow": [], "clients": {"allow": ["*"], "deny": ["*"]}}),
                "clients.deny[0]: would shut out everybody",
            ),
            (json!({"allow": many}), "has more than 2000 rules"),
        ] {
            let error = parse(&document).unwrap_err();
            assert!(
                error.starts_with(expected) || error.contains(expected),
                "{document}: {error}"
            );
        }
    }

    #[test]
    fn a_stored_policy_with_impossible_clients_stays_in_force() {
        let text = r#"{"allow":["*"],"clients":{"allow":["a b","desktop"]}}"#;
        let stored = Policy::read(text, &digest(text)).unwrap();
        assert!(stored.clients_finding(Some("desktop")).permits);
        assert!(!stored.clients_finding(Some("tablet")).permits);
    }

    #[test]
    fn a_policy_survives_storage_and_no_other_text_takes_its_place() {
        let document: PolicyDocument = serde_json::from_value(json!({
            "allow": ["*"], "deny": [], "clients": {"allow": ["*"]},
            "versions": [{"servers": "com.example/weather", "pin": "1.0.0"}],
        }))
        .unwrap();
        let (text, digest) = document.to_text().unwrap();
        assert_eq!(
            text,
            r#"{"allow":["*"],"versions":[{"servers":"com.example/weather","pin":"1.0.0"}],"clients":{"allow":["*"]}}"#
        );
        assert_eq!(document.pins(), [("com.example/weather", "1.0.0")].into());
        let read = Policy::read(&text, &digest).unwrap();
        let pin = |server: &str| read.pin(&server.parse().unwrap()).map(str::to_owned);
        assert_eq!(pin("com.example/weather").as_deref(), Some("1.0.0"));
        assert_eq!(pin("com.example/other"), None);
        assert!(Policy::read(&text.replace("1.0.0", "1.0.1"), &digest).is_err());
        let broken = "{}";
        assert!(Policy::read(broken, &super::digest(broken)).is_err());
    }

    #[test]
    fn each_group_says_which_rule_it_was() {
        let policy = policy(&json!({
            "allow": ["com.example/weather", "*"],
            "deny": ["com.bad/*", "com.worse/one"],
            "publishers": ["org.example", "com.example"],
            "require_verification": "endpoint",
            "versions": [
                {"servers": "*", "minimum": "0.5.0"},
                {"servers": "com.example/*", "minimum": "1.0.0"},
                {"servers": "com.example/pinned", "pin": "1.2.0"},
            ],
            "clients": {"allow": ["*"], "deny": ["naughty"]},
        }));
        let findings = |server: &str, version, level, client_id| {
            let server: ServerName = server.parse().unwrap();
            let asked = Asked {
                server: &server,
                version,
                digest: "",
                is_edited: false,
                level,
                client_id,
            };
            policy
                .findings(&asked)
                .map(|it| (it.permits, it.to_string()))
        };
        let said = |permits, text: &str| (permits, text.to_owned());
        assert_eq!(
            findings(
                "com.example.sub/weather",
                "0.5.0",
                Level::Operator,
                Some("desktop")
            ),
            [
                said(true, "clients.allow[0] \"*\""),
                said(true, "no rule of deny matches"),
                said(true, "allow[1] \"*\""),
                said(true, "publishers[1] \"com.example\""),
                said(
                    true,
                    "versions[0] \"*\" minimum 0.5.0: the version is 0.5.0"
                ),
                said(
                    true,
                    "require_verification endpoint: the server has operator"
                ),
            ]
        );
        assert_eq!(
            findings("com.bad/x1", "mcp", Level::Namespace, Some("naughty")),
            [
                said(false, "clients.deny[0] \"naughty\""),
                said(false, "deny[0] \"com.bad/*\""),
                said(true, "allow[1] \"*\""),
                said(false, "no rule of publishers matches"),
                said(false, "versions[0] \"*\" minimum 0.5.0: the version is mcp"),
                said(
                    false,
                    "require_verification endpoint: the server has namespace"
                ),
            ]
        );
        let versions =
            |server, version| findings(server, version, Level::Operator, None)[4].clone();
        assert_eq!(
            versions("com.example/pinned", "1.3.0"),
            said(
                false,
                "versions[2] \"com.example/pinned\" pin 1.2.0: the version is 1.3.0"
            )
        );
        assert_eq!(
            versions("com.example/weather", "1.0.0-rc.1"),
            said(
                false,
                "versions[1] \"com.example/*\" minimum 1.0.0: the version is 1.0.0-rc.1"
            )
        );
        assert_eq!(
            findings("comexample/weather", "1.0.0", Level::None, None)[3],
            said(false, "no rule of publishers matches")
        );
    }

    #[test]
    fn a_pattern_covers_a_namespace_with_all_below_it() {
        let denied = policy(&json!({"allow": ["*"], "deny": ["com.Evil/**"]}));
        let allowed = policy(&json!({"allow": ["com.good/**", "com.Mixed/*"]}));
        let may = |policy: &Policy, server: &str| {
            let server: ServerName = server.parse().unwrap();
            let asked = Asked {
                server: &server,
                version: "1.0.0",
                digest: "",
                is_edited: false,
                level: Level::None,
                client_id: None,
            };
            permits(policy, &asked)
        };
        for (server, is_let_in) in [
            ("com.evil/tool", false),
            ("com.Evil/tool", false),
            ("com.evil.sub/tool", false),
            ("com.EVIL.Sub.deeper/Tool", false),
            ("com.evils/tool", true),
            ("com/evil", true),
            ("org.evil/tool", true),
        ] {
            assert_eq!(may(&denied, server), is_let_in, "{server}");
        }
        // What allows means what it says, and nothing that only looks like it.
        for (server, is_let_in) in [
            ("com.good/tool", true),
            ("com.good.sub/tool", true),
            ("com.Good/tool", false),
            ("com.goods/tool", false),
            ("com.Mixed/tool", true),
            ("com.mixed/tool", false),
        ] {
            assert_eq!(may(&allowed, server), is_let_in, "{server}");
        }
        // Limits hold for every spelling; one that is spelled exactly comes first.
        let limited = policy(&json!({"allow": ["*"], "versions": [
            {"servers": "com.example/**", "minimum": "2.0.0"},
            {"servers": "com.Old/tool", "pin": "1.0.0"},
            {"servers": "com.old/tool", "pin": "3.0.0"},
        ]}));
        for (server, is_let_in) in [
            ("com.Example.sub/tool", false),
            ("com.Old/tool", true),
            ("com.old/tool", false),
            ("com.OLD/tool", true),
        ] {
            assert_eq!(may(&limited, server), is_let_in, "{server}");
        }
    }

    #[test]
    fn a_pin_is_of_what_was_there_when_it_was_made() {
        const DIGEST: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
        let server: ServerName = "com.example/weather".parse().unwrap();
        let found = |pin: Value, digest, is_edited| {
            let policy = policy(&json!({"allow": ["*"], "versions": [pin]}));
            let asked = Asked {
                server: &server,
                version: "1.0.0",
                digest,
                is_edited,
                level: Level::None,
                client_id: None,
            };
            let finding = policy.findings(&asked)[4];
            (finding.permits, finding.to_string(), finding.reason())
        };
        let plain = json!({"servers": "com.example/weather", "pin": "1.0.0"});
        let mut exact = plain.clone();
        exact["digest"] = json!(DIGEST);
        assert!(found(plain.clone(), "now", false).0);
        let (permits, because, reason) = found(plain, "now", true);
        assert!(!permits);
        assert!(
            because.ends_with("edited after it was pinned; its digest is now"),
            "{because}"
        );
        assert!(reason.contains("edited since"), "{reason}");
        // Who names the content has looked at it, whenever it was edited.
        assert!(found(exact.clone(), DIGEST, true).0);
        let (permits, because, _) = found(exact, "now", false);
        assert!(
            !permits && because.ends_with("its digest is now"),
            "{because}"
        );
    }

    #[test]
    fn nothing_said_is_nothing_required() {
        let asked = Asked {
            server: &"com.example/weather".parse().unwrap(),
            version: "nightly",
            digest: "",
            is_edited: false,
            level: Level::None,
            client_id: None,
        };
        assert!(permits(&Policy::allow_all(), &asked));
        let written = PolicyDocument::allow_all().compile().unwrap();
        assert!(permits(&written, &asked));
        assert!(permits(&policy(&json!({"allow": ["*"]})), &asked));
        assert!(!permits(&policy(&json!({"allow": []})), &asked));
        let clients = |rules: Value| policy(&json!({"allow": ["*"], "clients": rules}));
        assert!(permits(
            &clients(json!({"allow": ["*"], "deny": ["desktop"]})),
            &asked
        ));
        assert!(
            !permits(&clients(json!({"allow": ["desktop"]})), &asked),
            "anonymous"
        );
    }

    // A small world, so that rules and questions often meet.
    const NAMESPACES: [&str; 5] = ["aa", "aa.bb", "aa.bb.cc", "aab", "bb"];
    /// Other spellings of the second and third.
    const SPELLINGS: [&str; 2] = ["aa.BB", "Aa.bb.cc"];
    const VERSIONS: [&str; 5] = ["0.9.0", "1.0.0-rc.1", "1.0.0", "1.1.0", "nightly"];
    const LEVELS: [&str; 4] = ["none", "namespace", "endpoint", "operator"];
    const CLIENTS: [&str; 3] = ["c1", "c2", "c3"];

    fn server() -> impl Strategy<Value = String> {
        (select(&NAMESPACES), select(&["s1", "s2"])).prop_map(|(ns, name)| format!("{ns}/{name}"))
    }

    fn spelled() -> impl Strategy<Value = String> {
        let namespaces = [&NAMESPACES[..], &SPELLINGS].concat();
        (select(namespaces), select(&["s1", "S1", "s2"]))
            .prop_map(|(ns, name)| format!("{ns}/{name}"))
    }

    fn pattern() -> impl Strategy<Value = String> {
        prop_oneof![
            1 => Just("*".to_owned()),
            2 => select(&NAMESPACES).prop_map(|namespace| format!("{namespace}/**")),
            3 => select(&NAMESPACES).prop_map(|namespace| format!("{namespace}/*")),
            6 => server(),
        ]
    }

    fn version_rules() -> impl Strategy<Value = Vec<Value>> {
        let pin = (server(), select(&VERSIONS)).prop_map(|(s, v)| json!({"servers": s, "pin": v}));
        let minimum = (pattern(), select(&VERSIONS[..4]))
            .prop_map(|(s, v)| json!({"servers": s, "minimum": v}));
        vec(prop_oneof![pin, minimum], 0..3).prop_map(|mut rules| {
            let mut seen = Vec::new();
            rules.retain(|rule| {
                let of = (rule["servers"].clone(), rule.get("pin").is_some());
                let is_new = !seen.contains(&of);
                seen.push(of);
                is_new
            });
            rules
        })
    }

    fn document() -> impl Strategy<Value = Value> {
        let client = || select(&CLIENTS);
        let clients = (
            vec(prop_oneof![client(), Just("*")], 0..3),
            vec(client(), 0..2),
        )
            .prop_map(|(allow, deny)| json!({"allow": allow, "deny": deny}));
        (
            vec(pattern(), 0..4),
            vec(pattern(), 0..3),
            proptest::option::of(select(&LEVELS)),
            proptest::option::of(vec(select(&NAMESPACES), 0..3)),
            version_rules(),
            proptest::option::of(clients),
        )
            .prop_map(|(allow, deny, level, publishers, versions, clients)| {
                let mut document = json!({
                    "allow": allow, "deny": deny, "require_verification": level,
                    "publishers": publishers, "versions": versions, "clients": clients,
                });
                let members = document.as_object_mut().unwrap();
                members.retain(|_, value| !value.is_null());
                document
            })
    }

    #[derive(Debug)]
    struct Question {
        server: ServerName,
        version: &'static str,
        level: Level,
        client_id: Option<&'static str>,
    }

    impl Question {
        fn asked(&self) -> Asked<'_> {
            Asked {
                server: &self.server,
                version: self.version,
                digest: "",
                is_edited: false,
                level: self.level,
                client_id: self.client_id,
            }
        }
    }

    fn question() -> impl Strategy<Value = Question> {
        let levels = [
            Level::None,
            Level::Namespace,
            Level::Endpoint,
            Level::Operator,
        ];
        (
            spelled(),
            select(&VERSIONS),
            select(levels.to_vec()),
            proptest::option::of(select(&CLIENTS)),
        )
            .prop_map(|(server, version, level, client_id)| Question {
                server: server.parse().unwrap(),
                version,
                level,
                client_id,
            })
    }

    /// The rules as the documentation says them, one after another.
    fn naive(document: &Value, question: &Question) -> bool {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let name = question.server.as_str();
        let are = |pattern: &Value, name: &str| {
            let pattern = pattern.as_str().unwrap();
            if let Some(namespace) = pattern.strip_suffix("/**") {
                return name.starts_with(&format!("{namespace}/"))
                    || name.starts_with(&format!("{namespace}."));
            }
            pattern == "*"
                || pattern == name
                || pattern
                    .strip_suffix('*')
                    .is_some_and(|prefix| prefix.ends_with('/') && name.starts_with(prefix))
        };
        let matches = |pattern: &Value| are(pattern, name);
        // The small world's limits are in lower case, but for the one of the property below.
        let limits = |pattern: &Value| {
            let pattern = json!(pattern.as_str().unwrap().to_lowercase());
            are(&pattern, &name.to_lowercase())
        };
        let covers = |publisher: &Value| {
            let publisher = publisher.as_str().unwrap();
            name.starts_with(&format!("{publisher}/")) || name.starts_with(&format!("{publisher}."))
        };
        let rank = |version: &str| VERSIONS.iter().position(|it| *it == version).unwrap();
        let keeps = |rule: &Value| match (rule["pin"].as_str(), rule["minimum"].as_str()) {
            (Some(pin), _) => question.version == pin,
            (None, minimum) => {
                question.version != "nightly" && rank(question.version) >= rank(minimum.unwrap())
            }
        };
        let client = |ids: &Value| list(ids).iter().any(|id| id.as_str() == question.client_id);
        let anybody = |ids: &Value| list(ids).contains(&json!("*"));
        let clients = &document["clients"];
        let level: Option<Level> =
            serde_json::from_value(document["require_verification"].clone()).unwrap();
        let publishers = &document["publishers"];

        !list(&document["deny"]).iter().any(limits)
            && list(&document["allow"]).iter().any(matches)
            && (publishers.is_null() || list(publishers).iter().any(covers))
            && list(&document["versions"])
                .iter()
                .all(|rule| !limits(&rule["servers"]) || keeps(rule))
            && question.level >= level.unwrap_or_default()
            && (clients.is_null()
                || !client(&clients["deny"])
                    && (client(&clients["allow"]) || anybody(&clients["allow"])))
    }

    fn reversed(document: &Value) -> Value {
        let mut document = document.clone();
        for list in [
            "/allow",
            "/deny",
            "/publishers",
            "/versions",
            "/clients/allow",
            "/clients/deny",
        ] {
            if let Some(Value::Array(rules)) = document.pointer_mut(list) {
                rules.reverse();
            }
        }
        document
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn compiled_is_what_the_rules_say(document in document(), question in question()) {
            let compiled = permits(&policy(&document), &question.asked());
            prop_assert_eq!(compiled, naive(&document, &question));
        }

        #[test]
        fn deny_always_wins(
            document in document(),
            question in question(),
            how in 0..5_usize,
            is_lower in any::<bool>(),
        ) {
            let namespace = question.server.namespace();
            let (whole, deep) = (format!("{namespace}/*"), format!("{namespace}/**"));
            let top = format!("{}/**", namespace.split('.').next().unwrap());
            let rule = [question.server.as_str(), &whole, &deep, &top, "*"][how];
            let rule = if is_lower { rule.to_lowercase() } else { rule.to_uppercase() };
            let mut denied = document;
            denied["deny"].as_array_mut().unwrap().push(json!(rule));
            prop_assert!(!permits(&policy(&denied), &question.asked()));
        }

        #[test]
        fn order_never_matters(document in document(), question in question()) {
            prop_assert_eq!(
                permits(&policy(&document), &question.asked()),
                permits(&policy(&reversed(&document)), &question.asked())
            );
        }

        #[test]
        fn one_more_allow_rule_never_takes_permission(
            document in document(),
            question in question(),
            rule in pattern(),
            client in select(&CLIENTS),
            publisher in select(&NAMESPACES),
        ) {
            let before = permits(&policy(&document), &question.asked());
            for (list, rule) in [
                ("/allow", json!(rule)),
                ("/clients/allow", json!(client)),
                ("/publishers", json!(publisher)),
            ] {
                let mut more = document.clone();
                if let Some(Value::Array(rules)) = more.pointer_mut(list) {
                    rules.push(rule);
                }
                prop_assert!(!before || permits(&policy(&more), &question.asked()), "{}", list);
            }
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = Policy::read(&text, &super::digest(&text));
            let _ = text.parse::<Pattern>();
        }
    }
}

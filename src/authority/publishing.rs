//! Who may publish what, by what other services say of them.

use mcp_connect_catalog::{Action, NameError, Namespace, Permission, is_label};
use serde_json::{Map, Value};

use super::{Publisher, SignedToken, TokenFault};

const MAX_SUBJECT_CHARS: usize = 512;

/// Whose tokens of `OpenID` Connect let in, and to what.
#[derive(Clone, Debug)]
pub(crate) struct OidcRules {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// What a token must say, to the letter.
    claims: Map<String, Value>,
    permissions: Vec<Permission>,
}

/// How much the owner of some namespaces may publish on a day, in UTC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Quota {
    /// New versions and edits.
    pub(crate) versions: u32,
    /// Of `server.json`, with what changes of status take.
    pub(crate) bytes: u64,
}

/// The ways to log in that the operator opened. Without one nobody publishes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Logins(Vec<&'static str>);

impl Logins {
    const ALL: [(&'static str, &'static str); 5] = [
        ("dns", "dns"),
        ("http", "http"),
        ("github", "github-at"),
        ("github-oidc", "github-oidc"),
        ("oidc", "oidc"),
    ];

    /// Reads names with spaces between them. The error is for the operator.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let methods = text.split_ascii_whitespace().map(|name| {
            let known = Self::ALL.iter().find(|(known, _)| *known == name);
            known.map(|(_, method)| *method).ok_or_else(|| {
                let names = Self::ALL.map(|(name, _)| name).join(" ");
                format!("has a word that names no login; those that there are: {names}")
            })
        });
        methods.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn open(&mut self, method: &'static str) {
        self.0.push(method);
    }

    /// Whether publishers log in by this method, as their tokens name it.
    pub(crate) fn has(&self, method: &str) -> bool {
        self.0.contains(&method)
    }
}

/// The namespace of GitHub's users and organisations, each of whom has one below it.
pub(crate) const GITHUB_NAMESPACE: &str = "io.github";

/// Under two letters of a country, these are no domain that one owner has.
const SHARED_LABELS: [&str; 12] = [
    "ac", "co", "com", "edu", "go", "gov", "mil", "ne", "net", "nom", "or", "org",
];

/// Who owns a namespace, as far as its name says so: the domain that one registers, with all below it. Somebody
/// with several domains is several owners; what they share is bounded for all publishers together.
fn owner(namespace: &str) -> String {
    let namespace = namespace.to_ascii_lowercase();
    let labels: Vec<&str> = namespace.split('.').collect();
    let is_shared = match labels.as_slice() {
        ["io", "github", ..] => true,
        [country, label, ..] => country.len() == 2 && SHARED_LABELS.contains(label),
        _ => false,
    };
    let labels: Vec<&str> = labels
        .into_iter()
        .take(if is_shared { 3 } else { 2 })
        .collect();
    labels.join(".")
}

/// Namespaces in which nobody publishes, nor in those below them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Denied(Vec<String>);

impl Denied {
    /// Of namespaces with blanks between them.
    pub(crate) fn parse(text: &str) -> Result<Self, NameError> {
        let namespaces = text.split_ascii_whitespace().map(|namespace| {
            namespace.parse::<Namespace>()?;
            Ok(namespace.to_ascii_lowercase())
        });
        namespaces.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a permission reaches into one of them. Case plays no part, as in domains and at GitHub.
    fn touches(&self, permission: &Permission) -> bool {
        let resource = permission.resource.to_ascii_lowercase();
        let (prefixes, is_prefix) = match (resource.strip_suffix("/**"), resource.strip_suffix('*'))
        {
            (Some(above), _) => (vec![format!("{above}/"), format!("{above}.")], true),
            (None, Some(prefix)) => (vec![prefix.to_owned()], true),
            (None, None) => (vec![resource], false),
        };
        self.0.iter().any(|namespace| {
            let denied = ["/", "."].map(|end| format!("{namespace}{end}"));
            denied.iter().any(|denied| {
                prefixes.iter().any(|prefix| {
                    prefix.starts_with(denied) || (is_prefix && denied.starts_with(prefix))
                })
            })
        })
    }
}

impl Publisher {
    /// … without what reaches into a denied namespace. Whoever may write everywhere may do so there,
    /// too: what was published before has to be cleaned up.
    pub(crate) fn without(mut self, denied: &Denied) -> Self {
        self.permissions
            .retain(|permission| permission.resource == "*" || !denied.touches(permission));
        self
    }

    /// Whose quotas a change of this server counts against.
    pub(crate) fn owner(&self, name: &str) -> String {
        let namespace = name
            .split_once('/')
            .map_or(name, |(namespace, _)| namespace);
        // A login at GitHub has nothing below the namespaces of its users, whatever they are below.
        if self.method.starts_with("github") {
            namespace.to_ascii_lowercase()
        } else {
            owner(namespace)
        }
    }

    /// A user of GitHub, with the organisations that are the user's, in what is below `namespace`.
    pub(crate) fn of_github(
        user: &Value,
        memberships: Option<&Value>,
        namespace: &str,
    ) -> Option<Self> {
        let login = user.get("login")?.as_str()?;
        let mut permissions = vec![of_owner(login, namespace)?];
        let memberships = memberships.and_then(Value::as_array).into_iter().flatten();
        let names = memberships.filter_map(owned);
        permissions.extend(names.filter_map(|name| of_owner(name, namespace)));
        Some(Self {
            method: "github-at".to_owned(),
            subject: login.to_owned(),
            permissions,
        })
    }

    /// A workflow of GitHub Actions: what the owner of its repository may publish.
    pub(crate) fn of_workflow(token: SignedToken<'_>, namespace: &str) -> Result<Self, TokenFault> {
        let owner = token.text("repository_owner");
        let permission = owner.and_then(|owner| of_owner(owner, namespace));
        let permission = permission.ok_or(TokenFault::new(
            "repository_owner is missing or no name of GitHub's",
        ))?;
        Ok(Self {
            method: "github-oidc".to_owned(),
            subject: subject(token.text("sub").or(owner))?,
            permissions: vec![permission],
        })
    }

    /// Anybody, for development.
    pub(crate) fn anonymous() -> Self {
        let may = |action| Permission {
            action,
            resource: "io.modelcontextprotocol.anonymous/*".to_owned(),
        };
        Self {
            method: "none".to_owned(),
            subject: "anonymous".to_owned(),
            permissions: vec![may(Action::Publish), may(Action::Edit)],
        }
    }
}

/// Who the audit trail says it was: nobody who looks like somebody else there.
fn subject(sub: Option<&str>) -> Result<String, TokenFault> {
    sub.filter(|sub| is_label(sub, MAX_SUBJECT_CHARS))
        .map(str::to_owned)
        .ok_or(TokenFault::new(
            "sub is missing, or not 1 to 512 visible characters with single spaces between words",
        ))
}

/// The organisation of a membership, if that is its owner's: a member does not speak for it.
fn owned(membership: &Value) -> Option<&str> {
    let is = |member: &str, value: &str| membership.get(member).is_some_and(|is| is == value);
    let name = membership.get("organization")?.get("login")?.as_str()?;
    (is("state", "active") && is("role", "admin")).then_some(name)
}

/// A name of GitHub's, in lower case, since GitHub does not tell cases apart: no other character could
/// make another resource of it.
fn of_owner(name: &str, namespace: &str) -> Option<Permission> {
    let is_name = (1..=39).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_name.then(|| Permission {
        action: Action::Publish,
        resource: format!("{namespace}.{name}/*").to_ascii_lowercase(),
    })
}

impl OidcRules {
    /// `{"issuer", "audience", "claims": {…}, "publish": ["com.example/*"], "edit": ["*"]}`. The error
    /// is for the operator. An issuer that serves others, too, is told from those by claims, so one at
    /// least is wanted.
    pub(crate) fn parse(json: &str) -> Result<Self, &'static str> {
        const KNOWN: [&str; 5] = ["issuer", "audience", "claims", "publish", "edit"];
        let rules: Map<String, Value> =
            serde_json::from_str(json).map_err(|_| "is no JSON object")?;
        if rules.keys().any(|member| !KNOWN.contains(&member.as_str())) {
            return Err("has a member other than issuer, audience, claims, publish and edit");
        }
        let text = |member: &str| {
            let text = rules.get(member).and_then(Value::as_str).map(str::to_owned);
            text.filter(|text| !text.is_empty())
        };
        let mut permissions = Vec::new();
        for (member, action) in [("publish", Action::Publish), ("edit", Action::Edit)] {
            let list = rules.get(member).map(|list| list.as_array());
            for resource in list
                .unwrap_or(Some(&Vec::new()))
                .ok_or("publish and edit must be lists")?
            {
                let resource = resource
                    .as_str()
                    .ok_or("publish and edit must be lists of names")?;
                permissions.push(Permission {
                    action,
                    resource: resource.to_owned(),
                });
            }
        }
        let claims = rules.get("claims").and_then(Value::as_object);
        Ok(Self {
            issuer: text("issuer").ok_or("has no issuer")?,
            audience: text("audience").ok_or("has no audience")?,
            claims: claims
                .filter(|claims| !claims.is_empty())
                .ok_or("has no claims: say what of a token lets somebody in")?
                .clone(),
            permissions,
        })
    }

    /// Who shows a token of the issuer for the audience.
    pub(crate) fn admit(&self, token: SignedToken<'_>) -> Result<Publisher, TokenFault> {
        let mut claims = self.claims.iter();
        if !claims.all(|(name, value)| token.claim(name) == Some(value)) {
            return Err(TokenFault::new("a claim is missing or has another value"));
        }
        Ok(Publisher {
            method: "oidc".to_owned(),
            subject: subject(token.text("sub"))?,
            permissions: self.permissions.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::authority::AccessToken;

    fn resources(publisher: Publisher) -> Vec<String> {
        let permissions = publisher.permissions.into_iter();
        permissions.map(|permission| permission.resource).collect()
    }

    fn membership(login: &str, state: &str, role: &str) -> Value {
        json!({ "state": state, "role": role, "organization": { "login": login } })
    }

    fn token(claims: &Value) -> AccessToken {
        let encode = |json: &Value| {
            use base64ct::{Base64UrlUnpadded, Encoding};
            Base64UrlUnpadded::encode_string(json.to_string().as_bytes())
        };
        let mut claims = claims.clone();
        claims["iss"] = "https://id.example".into();
        claims["aud"] = "registry".into();
        let header = encode(&json!({ "alg": "EdDSA" }));
        let signature = "A".repeat(86);
        AccessToken::parse(&format!("{header}.{}.{signature}", encode(&claims))).unwrap()
    }

    #[test]
    fn who_owns_an_organisation_publishes_for_it_and_a_member_does_not() {
        let user = json!({ "login": "Octo-Cat" });
        let memberships = json!([
            membership("owned", "active", "admin"),
            membership("joined", "active", "member"),
            membership("invited", "pending", "admin"),
            membership("../evil", "active", "admin"),
            membership("*", "active", "admin"),
            { "state": "active", "role": "admin" },
        ]);
        let publisher = Publisher::of_github(&user, Some(&memberships), GITHUB_NAMESPACE).unwrap();
        assert_eq!(publisher.subject, "Octo-Cat");
        assert_eq!(
            resources(publisher),
            ["io.github.octo-cat/*", "io.github.owned/*"]
        );
        let alone = Publisher::of_github(&user, None, GITHUB_NAMESPACE).unwrap();
        assert_eq!(resources(alone), ["io.github.octo-cat/*"]);
        for user in [
            json!({}),
            json!({ "login": 7 }),
            json!({ "login": "" }),
            json!({ "login": "a/b" }),
        ] {
            assert!(
                Publisher::of_github(&user, None, GITHUB_NAMESPACE).is_none(),
                "{user}"
            );
        }
    }

    #[test]
    fn a_workflow_publishes_for_the_owner_of_its_repository() {
        let claims =
            json!({ "repository_owner": "octo", "sub": "repo:octo/app:ref:refs/heads/main" });
        let workflow = token(&claims);
        let publisher =
            Publisher::of_workflow(SignedToken::new(&workflow), GITHUB_NAMESPACE).unwrap();
        assert_eq!(
            publisher.actor(),
            "publisher github-oidc:repo:octo/app:ref:refs/heads/main"
        );
        assert_eq!(resources(publisher), ["io.github.octo/*"]);
        for claims in [
            json!({}),
            json!({ "repository_owner": "*" }),
            json!({ "repository_owner": ["a"] }),
        ] {
            let token = token(&claims);
            assert!(
                Publisher::of_workflow(SignedToken::new(&token), GITHUB_NAMESPACE).is_err(),
                "{claims}"
            );
        }
    }

    #[test]
    fn another_github_has_a_namespace_of_its_own() {
        let user = json!({ "login": "octo" });
        let memberships = json!([membership("owned", "active", "admin")]);
        let publisher =
            Publisher::of_github(&user, Some(&memberships), "com.example.github").unwrap();
        assert_eq!(
            resources(publisher),
            ["com.example.github.octo/*", "com.example.github.owned/*"]
        );
        let workflow = token(&json!({ "repository_owner": "octo" }));
        let workflow = Publisher::of_workflow(SignedToken::new(&workflow), "com.example.github");
        assert_eq!(resources(workflow.unwrap()), ["com.example.github.octo/*"]);
    }

    #[test]
    fn what_is_below_one_domain_is_one_owners() {
        let of = |method: &str, name: &str| {
            let publisher = Publisher {
                method: method.to_owned(),
                ..Publisher::anonymous()
            };
            publisher.owner(name)
        };
        for (method, name, owner) in [
            ("dns", "com.example/a", "com.example"),
            ("dns", "com.example.sub.deeper/a", "com.example"),
            ("http", "com.EXAMPLE.sub/a", "com.example"),
            ("oidc", "io.github.Octo/a", "io.github.octo"),
            ("dns", "uk.co.example.sub/a", "uk.co.example"),
            ("dns", "de.example.sub/a", "de.example"),
            ("dns", "com.co.example/a", "com.co"),
            ("github-at", "io.github.Octo/a", "io.github.octo"),
            (
                "github-oidc",
                "com.example.github.octo/a",
                "com.example.github.octo",
            ),
            (
                "none",
                "io.modelcontextprotocol.anonymous/a",
                "io.modelcontextprotocol",
            ),
            ("dns", "localhost/a", "localhost"),
        ] {
            assert_eq!(of(method, name), owner, "{name}");
        }
    }

    #[test]
    fn logins_are_closed_until_they_are_opened() {
        let none = Logins::parse("").unwrap();
        assert!(!none.has("dns") && !none.has("github-at") && !none.has("none"));
        let some = Logins::parse(" dns  github ").unwrap();
        assert!(some.has("dns") && some.has("github-at"));
        assert!(!some.has("github-oidc") && !some.has("http") && !some.has("oidc"));
        for wrong in ["dns,http", "DNS", "github-at", "all", "none", "true"] {
            assert!(Logins::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nobody_publishes_in_a_denied_namespace_or_below() {
        let denied = Denied::parse(" io.github.Evil\tcom.example.sub ").unwrap();
        let left = |names: &[&str]| {
            let permissions = names.iter().map(|resource| Permission {
                action: Action::Publish,
                resource: (*resource).to_owned(),
            });
            let publisher = Publisher {
                permissions: permissions.collect(),
                ..Publisher::anonymous()
            };
            resources(publisher.without(&denied))
        };
        for gone in [
            "io.github.evil/*",
            "io.github.EVIL/*",
            "io.github.evil/one",
            "io.github.*",
            "com.example.*",
            "com.example.sub/*",
            "com.example.sub.*",
            "com.example.sub.deeper/*",
            "com.example/**",
            "com.example.sub/**",
            "com.example.sub.deeper/**",
        ] {
            assert!(left(&[gone]).is_empty(), "{gone}");
        }
        let kept = [
            "*",
            "io.github.evil2/*",
            "io.github/*",
            "io.github.evil",
            "com.example/*",
            "com.example.sub2/*",
            "com.exam/**",
        ];
        assert_eq!(left(&kept), kept);
        assert!(Denied::parse("io.github.evil/*").is_err());
        assert!(Denied::parse("a,b").is_err());
    }

    #[test]
    fn another_provider_lets_in_whose_claims_are_as_wanted() {
        let rules = r#"{"issuer":"https://id.example","audience":"registry",
            "claims":{"hd":"example.com","email_verified":true},"publish":["a/*"],"edit":["*"]}"#;
        let rules = OidcRules::parse(rules).unwrap();
        let admit = |claims: Value| {
            let token = token(&claims);
            rules.admit(SignedToken::new(&token))
        };
        let publisher =
            admit(json!({ "sub": "7", "hd": "example.com", "email_verified": true })).unwrap();
        assert!(publisher.may(Action::Publish, "a/b") && !publisher.may(Action::Publish, "b/b"));
        assert!(publisher.may(Action::Edit, "b/b"));
        for claims in [
            json!({ "sub": "7", "hd": "example.com" }),
            json!({ "sub": "7", "hd": "example.com", "email_verified": "true" }),
            json!({ "sub": "7", "hd": "rival.example", "email_verified": true }),
            json!({ "hd": "example.com", "email_verified": true }),
            json!({ "sub": "7\u{202e}", "hd": "example.com", "email_verified": true }),
            json!({ "sub": "", "hd": "example.com", "email_verified": true }),
        ] {
            assert!(admit(claims.clone()).is_err(), "{claims}");
        }
    }
}

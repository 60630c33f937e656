//! The short-lived tokens with which publishers write: who proved to be whom, and which names that gives
//! them. Signed by the authority, for the authority, so that no other registry's is one of them.

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_catalog::{Action, Permission};
use mcp_connect_descriptor::{SigningKey, Unsigned};
use serde::{Deserialize, Serialize};

use super::{AccessToken, Expected, SignedToken, TokenFault, TokenRules, access_token::TokenForm};

const TOKEN_TYPE: &str = "mcp-registry+jwt";
/// The owner of a hundred organisations gets one, too.
const MAX_BYTES: usize = 16 * 1024;
const LIFETIME_SECONDS: u64 = 5 * 60;

/// Somebody who proved what may be published: by a method, as somebody.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Publisher {
    #[serde(rename = "auth_method")]
    pub(crate) method: String,
    #[serde(rename = "auth_method_sub")]
    pub(crate) subject: String,
    pub(crate) permissions: Vec<Permission>,
}

/// A token of the authority's own, to be signed.
pub(crate) struct RegistryToken {
    pub(crate) unsigned: Unsigned,
    pub(crate) jti: String,
    /// In seconds since the Unix epoch.
    pub(crate) expires_at: u64,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: &'a str,
    #[serde(flatten)]
    publisher: &'a Publisher,
}

impl Publisher {
    /// Who the audit trail says it was.
    pub(crate) fn actor(&self) -> String {
        format!("publisher {}:{}", self.method, self.subject)
    }

    pub(crate) fn may(&self, action: Action, name: &str) -> bool {
        Permission::permit(&self.permissions, action, name)
    }

    /// `now` in seconds since the Unix epoch, `jti` from the platform's randomness. `None`: there is more
    /// to be said than a token holds.
    pub(crate) fn mint(
        &self,
        issuer: &str,
        key: &SigningKey,
        now: u64,
        jti: [u8; 16],
    ) -> Option<RegistryToken> {
        let jti = Base64UrlUnpadded::encode_string(&jti);
        let expires_at = now + LIFETIME_SECONDS;
        let claims = Claims {
            iss: issuer,
            aud: issuer,
            iat: now,
            nbf: now,
            exp: expires_at,
            jti: &jti,
            publisher: self,
        };
        Some(RegistryToken {
            unsigned: Unsigned::of_claims(&claims, key, TOKEN_TYPE, MAX_BYTES)?,
            jti,
            expires_at,
        })
    }

    /// What a token says whose signature is the authority's own, and its `jti`.
    pub(crate) fn of_token(token: SignedToken<'_>) -> Result<(Self, &str), TokenFault> {
        const FAULT: TokenFault =
            TokenFault::new("jti, auth_method, auth_method_sub or permissions is missing");
        let text = |claim| token.text(claim).ok_or(FAULT);
        let permissions = token.claim("permissions").ok_or(FAULT)?;
        let publisher = Self {
            method: text("auth_method")?.to_owned(),
            subject: text("auth_method_sub")?.to_owned(),
            permissions: Vec::deserialize(permissions).map_err(|_| FAULT)?,
        };
        Ok((publisher, text("jti")?))
    }
}

/// Reads a token of the authority's own, and checks everything but the signature. `now` in seconds
/// since the Unix epoch.
pub(crate) fn read_registry_token(
    compact: &str,
    issuer: &str,
    now: u64,
) -> Result<AccessToken, TokenFault> {
    const FORM: TokenForm = TokenForm {
        types: &[TOKEN_TYPE],
        max_bytes: MAX_BYTES,
    };
    let token = AccessToken::parse_as(compact, &FORM)?;
    let expected = Expected {
        issuer,
        audience: issuer,
        rules: TokenRules::NONE,
        max_lifetime: LIFETIME_SECONDS,
    };
    token.check(&expected, now)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use mcp_connect_descriptor::SigningKeys;

    use super::*;

    const ISSUER: &str = "https://registry.example";
    const NOW: u64 = 1_800_000_000;

    fn keys() -> SigningKeys {
        SigningKeys::parse(
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","status":"active",
                "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
                "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        )
        .unwrap()
    }

    fn publisher(owners: usize) -> Publisher {
        let resource = |n| format!("io.github.{n:0>39}/*");
        Publisher {
            method: "github-at".into(),
            subject: "octocat".into(),
            permissions: (0..owners)
                .map(|n| Permission {
                    action: Action::Publish,
                    resource: resource(n),
                })
                .collect(),
        }
    }

    fn signed(unsigned: &Unsigned) -> String {
        unsigned.with_signature(&keys().active().sign(unsigned).unwrap())
    }

    fn minted(publisher: &Publisher) -> String {
        let keys = keys();
        let token = publisher.mint(ISSUER, keys.active(), NOW, [7; 16]).unwrap();
        assert_eq!(token.expires_at, NOW + 300);
        signed(&token.unsigned)
    }

    fn unsigned(typ: &'static str, claims: &serde_json::Value) -> String {
        signed(&Unsigned::of_claims(claims, keys().active(), typ, MAX_BYTES).unwrap())
    }

    #[test]
    fn a_token_says_who_it_was_given_to() {
        for owners in [1, 101] {
            let publisher = publisher(owners);
            let token = read_registry_token(&minted(&publisher), ISSUER, NOW).unwrap();
            let (read, jti) = Publisher::of_token(SignedToken::new(&token)).unwrap();
            assert_eq!(jti, "BwcHBwcHBwcHBwcHBwcHBw");
            assert_eq!(read.permissions, publisher.permissions);
            assert_eq!(read.actor(), "publisher github-at:octocat");
            assert_eq!(
                token.key().unwrap().id.as_deref(),
                Some(keys().active().id())
            );
        }
        let publisher = publisher(1);
        let (own, other) = (&publisher.permissions[0].resource, "io.github.other/server");
        assert!(publisher.may(Action::Publish, &own.replace('*', "server")));
        assert!(!publisher.may(Action::Edit, &own.replace('*', "server")));
        assert!(!publisher.may(Action::Publish, other));
    }

    #[test]
    fn it_is_of_this_registry_and_for_five_minutes() {
        let token = minted(&publisher(1));
        for (issuer, now, good) in [
            (ISSUER, NOW, true),
            (ISSUER, NOW + 299, true),
            (ISSUER, NOW + 305, false),
            (ISSUER, NOW - 6, false),
            ("https://other.example", NOW, false),
        ] {
            let read = read_registry_token(&token, issuer, now);
            assert_eq!(read.is_ok(), good, "{issuer} {now}");
        }
        // Nor is it good where access tokens are shown.
        assert!(AccessToken::parse(&token).unwrap().key().is_err());
    }

    #[test]
    fn no_other_token_of_the_authority_is_one() {
        let claims = serde_json::json!({
            "iss": ISSUER, "aud": ISSUER, "iat": NOW, "exp": NOW + 300, "jti": "a",
            "auth_method": "dns", "auth_method_sub": "example.com", "permissions": [],
        });
        assert!(read_registry_token(&unsigned(TOKEN_TYPE, &claims), ISSUER, NOW).is_ok());
        for typ in [
            "mcp-connect+jwt",
            "mcp-revocations+jwt",
            "JWT",
            "at+jwt",
            "",
        ] {
            let token = unsigned(typ, &claims);
            assert!(read_registry_token(&token, ISSUER, NOW).is_err(), "{typ}");
        }
        for (member, value) in [
            ("jti", None),
            ("auth_method", None),
            ("auth_method_sub", Some(7.into())),
            ("permissions", None),
            ("permissions", Some(serde_json::json!(["*"]))),
            (
                "permissions",
                Some(serde_json::json!([{"action": "delete", "resource": "*"}])),
            ),
        ] {
            let mut claims = claims.clone();
            match value {
                Some(value) => claims[member] = value,
                None => drop(claims.as_object_mut().unwrap().remove(member)),
            }
            let token = read_registry_token(&unsigned(TOKEN_TYPE, &claims), ISSUER, NOW).unwrap();
            let read = Publisher::of_token(SignedToken::new(&token));
            assert!(read.is_err(), "{claims}");
        }
        let mut long = claims;
        long["exp"] = (NOW + 301).into();
        assert!(read_registry_token(&unsigned(TOKEN_TYPE, &long), ISSUER, NOW).is_err());
    }
}

//! How a publisher proves that a namespace, or an endpoint, is its own: it serves a token of this
//! authority's where only the owner can put it.

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_catalog::{Endpoint, EndpointRules, ServerName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) const CHALLENGE_PATH: &str = "/.well-known/mcp-connect-challenge";
pub(crate) const MAX_CHALLENGE_BYTES: usize = 64 * 1024;

/// So many checks in a row that find the proof gone, and it is lost.
const LOST_AFTER_FAILURES: u32 = 3;
/// A proof that nothing confirmed for so long is lost, whatever kept it from being looked at.
const LOST_AFTER_MILLIS: u64 = 14 * DAY_MILLIS;
/// A proof is looked at each night: one that nothing confirmed for so long is in danger.
pub(crate) const UNCONFIRMED_MILLIS: u64 = 2 * DAY_MILLIS;
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// What a publisher can prove without a person deciding.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provable {
    Namespace,
    Endpoint,
}

/// What has to be served, where, and what that proves.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Challenge {
    /// The domain, or the origin.
    pub(crate) subject: String,
    pub(crate) url: String,
    pub(crate) token: String,
}

/// Why a namespace, or an endpoint, can't be proven at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Unprovable {
    #[error(
        "the namespace is not the reverse of a public domain, as com.example is of example.com"
    )]
    NoDomain,
    #[error(
        "the server has no endpoint that a client can be sent to: no streamable-http remote, or one whose URL has variables"
    )]
    NoEndpoint,
}

/// What one look at a challenge's document found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    Holds,
    /// Whoever answers there does not serve the token.
    Gone(String),
    /// Nobody could be asked.
    Unclear(String),
}

/// What the checks so far say of a proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Standing {
    /// In a row, of checks that found it gone.
    pub(crate) failures: u32,
    /// Milliseconds since the Unix epoch.
    pub(crate) confirmed_at: u64,
}

impl Provable {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Endpoint => "endpoint",
        }
    }
}

impl Challenge {
    /// For the namespace of a server. It proves that namespace and none below it, which is
    /// another domain's: who serves `github.io` is not who serves `alice.github.io`.
    pub(crate) fn of_namespace(
        issuer: &str,
        name: &ServerName,
        rules: EndpointRules,
    ) -> Result<Self, Unprovable> {
        let domain = domain_of(name.namespace()).ok_or(Unprovable::NoDomain)?;
        let url = format!("https://{domain}{CHALLENGE_PATH}");
        let url = Endpoint::parse(&url, rules).map_err(|_| Unprovable::NoDomain)?;
        // A "domain" that is read as an address is none.
        if url.host() != domain {
            return Err(Unprovable::NoDomain);
        }
        Ok(Self {
            subject: domain,
            url: url.as_str().to_owned(),
            token: token(issuer, Provable::Namespace, name.namespace()),
        })
    }

    /// For the origin at which a server is reached.
    pub(crate) fn of_origin(issuer: &str, name: &ServerName, origin: &str) -> Self {
        Self {
            subject: origin.to_owned(),
            url: format!("{origin}{CHALLENGE_PATH}"),
            token: token(issuer, Provable::Endpoint, name.as_str()),
        }
    }

    /// What an answer with a status other than that of a document says, or whether the document,
    /// one token a line, has this one.
    pub(crate) fn judge(&self, status: u16, body: &[u8]) -> Found {
        match status {
            200 if has_line(body, &self.token) => Found::Holds,
            200 => Found::Gone("the token is not in the document".into()),
            300..=399 => Found::Gone(format!("a redirect (HTTP {status}), which is not followed")),
            404 | 410 => Found::Gone(format!("there is no such document (HTTP {status})")),
            408 | 425 | 429 | 500.. => Found::Unclear(format!("HTTP {status}")),
            _ => Found::Gone(format!("HTTP {status} instead of 200")),
        }
    }
}

impl Standing {
    /// When the proof is lost, if it goes on as it did until it was looked at last: in milliseconds since the Unix epoch.
    pub(crate) fn lost_at(self, checked_at: u64) -> u64 {
        let unconfirmed = self.confirmed_at.saturating_add(LOST_AFTER_MILLIS);
        if self.failures == 0 {
            return unconfirmed;
        }
        let nights = u64::from(LOST_AFTER_FAILURES.saturating_sub(self.failures));
        unconfirmed.min(checked_at.saturating_add(nights * DAY_MILLIS))
    }

    /// `None`: the proof is lost.
    pub(crate) fn after(self, finding: &Found, now: u64) -> Option<Self> {
        let after = match finding {
            Found::Holds => Self {
                failures: 0,
                confirmed_at: now,
            },
            Found::Gone(_) => Self {
                failures: self.failures.saturating_add(1),
                ..self
            },
            Found::Unclear(_) => self,
        };
        let is_lost = after.failures >= LOST_AFTER_FAILURES
            || now.saturating_sub(after.confirmed_at) > LOST_AFTER_MILLIS;
        (!is_lost).then_some(after)
    }
}

/// `example.com` of `com.example`.
fn domain_of(namespace: &str) -> Option<String> {
    let labels: Vec<&str> = namespace.rsplit('.').collect();
    let top = labels.last()?;
    let is_domain = labels.len() >= 2
        && top.starts_with(|first: char| first.is_ascii_alphabetic())
        && labels.iter().all(|label| {
            (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
        });
    is_domain.then(|| labels.join(".").to_ascii_lowercase())
}

/// The same for everybody who asks, so that nothing has to be kept until it is served. It is no
/// secret: what counts is where it is served.
fn token(issuer: &str, provable: Provable, subject: &str) -> String {
    let labelled = format!(
        "mcp-connect-challenge\n{}\n{issuer}\n{subject}",
        provable.as_str()
    );
    Base64UrlUnpadded::encode_string(&Sha256::digest(labelled))
}

fn has_line(body: &[u8], token: &str) -> bool {
    body.split(|byte| *byte == b'\n')
        .any(|line| line.trim_ascii() == token.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ISSUER: &str = "https://authority.example";

    fn challenge(name: &str) -> Result<Challenge, Unprovable> {
        Challenge::of_namespace(ISSUER, &name.parse().unwrap(), EndpointRules::Public)
    }

    #[test]
    fn a_failing_proof_says_when_it_is_lost() {
        let (confirmed_at, day) = (1_000, DAY_MILLIS);
        for (failures, checked_at, expected) in [
            (0, 5 * day, confirmed_at + 14 * day),
            (1, 5 * day, 7 * day),
            (2, 5 * day, 6 * day),
            (1, 13 * day, confirmed_at + 14 * day),
        ] {
            let standing = Standing {
                failures,
                confirmed_at,
            };
            assert_eq!(standing.lost_at(checked_at), expected, "{failures}");
        }
    }

    #[test]
    fn a_namespace_is_proven_at_its_domain() {
        for (name, domain) in [
            ("com.example/weather", "example.com"),
            ("io.github.Alice/tool", "alice.github.io"),
            ("com.example.eu-1/x1", "eu-1.example.com"),
            ("dev.xn--bcher-kva/x1", "xn--bcher-kva.dev"),
        ] {
            let challenge = challenge(name).unwrap();
            assert_eq!(challenge.subject, domain);
            assert_eq!(challenge.url, format!("https://{domain}{CHALLENGE_PATH}"));
        }
    }

    #[test]
    fn what_is_no_public_domain_proves_nothing() {
        for name in [
            "example/weather",
            "com..example/weather",
            "com.-example/weather",
            "1.0.0.127/x1",
            "8.8.8.8/x1",
            "0x1.127/x1",
            "localhost.dev/x1",
            "local.printer/x1",
            "internal.google.metadata/x1",
        ] {
            assert_eq!(challenge(name).err(), Some(Unprovable::NoDomain), "{name}");
        }
        let long = format!("com.{}/x1", "a".repeat(64));
        assert_eq!(challenge(&long).err(), Some(Unprovable::NoDomain));
    }

    #[test]
    fn a_token_is_for_one_authority_one_level_and_one_subject() {
        let name: ServerName = "com.example/weather".parse().unwrap();
        let namespace = challenge("com.example/weather").unwrap().token;
        assert_eq!(namespace, challenge("com.example/other").unwrap().token);
        // As anybody can compute it: SHA-256 of four lines.
        let digest = Sha256::digest(
            b"mcp-connect-challenge\nnamespace\nhttps://authority.example\ncom.example",
        );
        assert_eq!(namespace, Base64UrlUnpadded::encode_string(&digest));
        let origin = |issuer| Challenge::of_origin(issuer, &name, "https://mcp.example.com").token;
        let others = [
            challenge("com.example.a/weather").unwrap().token,
            origin(ISSUER),
            origin("https://other.example"),
        ];
        assert!(others.iter().all(|other| *other != namespace));
        assert_ne!(others[1], others[2]);
    }

    #[test]
    fn the_document_has_one_token_a_line() {
        let challenge = challenge("com.example/weather").unwrap();
        let token = &challenge.token;
        for document in [
            token.clone(),
            format!("other\r\n  {token}\t\r\nmore\r\n"),
            format!("\n{token}"),
        ] {
            assert_eq!(challenge.judge(200, document.as_bytes()), Found::Holds);
        }
        for document in [
            String::new(),
            format!("{token}x"),
            format!("x {token}"),
            token.to_lowercase(),
            format!("<p>{token}</p>"),
            token[1..].to_owned(),
        ] {
            assert!(
                matches!(challenge.judge(200, document.as_bytes()), Found::Gone(_)),
                "{document}"
            );
        }
        for status in [201, 204, 301, 302, 307, 401, 403, 404, 410] {
            assert!(matches!(
                challenge.judge(status, token.as_bytes()),
                Found::Gone(_)
            ));
        }
        for status in [408, 429, 500, 502, 503, 599] {
            assert!(matches!(
                challenge.judge(status, token.as_bytes()),
                Found::Unclear(_)
            ));
        }
    }

    #[test]
    fn three_nights_without_the_token_lose_a_proof_and_one_with_it_mends_it() {
        let gone = Found::Gone(String::new());
        let first = Standing {
            failures: 0,
            confirmed_at: 1,
        };
        let second = first.after(&gone, 2).unwrap();
        let third = second.after(&gone, 3).unwrap();
        assert_eq!(third.after(&gone, 4), None);
        assert_eq!(
            third.after(&Found::Holds, 4),
            Some(Standing {
                failures: 0,
                confirmed_at: 4
            })
        );
        let unclear = Found::Unclear(String::new());
        assert_eq!(third.after(&unclear, 4), Some(third));
    }

    #[test]
    fn a_proof_that_nobody_can_confirm_ends_after_two_weeks() {
        let standing = Standing {
            failures: 0,
            confirmed_at: 1_000,
        };
        let unclear = Found::Unclear(String::new());
        let end = 1_000 + LOST_AFTER_MILLIS;
        assert_eq!(standing.after(&unclear, end), Some(standing));
        assert_eq!(standing.after(&unclear, end + 1), None);
        assert!(standing.after(&Found::Holds, end + 1).is_some());
    }

    proptest! {
        #[test]
        fn what_a_namespace_is_proven_at_is_its_own_labels(namespace in "[a-zA-Z0-9.-]{2,40}") {
            let name = format!("{namespace}/tool");
            let Ok(name) = name.parse::<ServerName>() else { return Ok(()) };
            if let Ok(challenge) = Challenge::of_namespace(ISSUER, &name, EndpointRules::Public) {
                let mut labels: Vec<&str> = challenge.subject.split('.').collect();
                labels.reverse();
                prop_assert_eq!(labels.join("."), namespace.to_ascii_lowercase());
            }
        }
    }
}

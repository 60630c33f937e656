//! The revocation feed: what was withdrawn within the life of any descriptor, signed by the authority.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Descriptor, FEED_TYPE, MAX_FEED_BYTES, MAX_LIFETIME_SECONDS, MintError, SigningKey,
    claims::MAX_DATE_PROBLEM,
    strict_json,
    unsigned::{Form, Unsigned},
};

#[cfg(feature = "verify")]
use crate::{
    KeySet, MAX_LEEWAY_SECONDS, Refusal,
    jws::{Dated, Dates, Jws},
};

/// The most entries of a feed, all its lists together.
pub const MAX_FEED_ENTRIES: usize = 1000;

/// For the claims, of which the token is a third longer, with its header and signature.
const MAX_CLAIMS_BYTES: usize = 45 * 1024;

pub(crate) const FEED_FORM: Form = Form {
    token_type: FEED_TYPE,
    max_bytes: MAX_FEED_BYTES,
};

/// What a feed says, whoever signed it. Its members are its claims.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)] // the authority builds it member by member
pub struct RevocationFeed {
    /// The authority, compared as an exact string.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// In seconds since the Unix epoch.
    #[serde(rename = "iat", default)]
    pub issued_at: u64,
    /// In seconds since the Unix epoch; the feed is no longer good in this second.
    #[serde(rename = "exp", default)]
    pub expires_at: u64,
    /// How far back the feed reaches: older withdrawals have no live descriptor left.
    pub window_seconds: u64,
    /// Every descriptor up to this second is refused: so much was withdrawn at once that the oldest
    /// entries stand for everything.
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub all: Option<u64>,
    /// `id` is `namespace/name`.
    #[serde(deserialize_with = "strict_json::objects")]
    pub servers: Vec<Withdrawn>,
    /// `id` is `namespace/name`, `version` one of its versions.
    #[serde(deserialize_with = "strict_json::objects")]
    pub versions: Vec<Withdrawn>,
    /// `id` is a `tenant_id`.
    #[serde(deserialize_with = "strict_json::objects")]
    pub tenants: Vec<Withdrawn>,
    /// `id` is a `client_id`, with `tenant_id` where the client belongs to one.
    #[serde(deserialize_with = "strict_json::objects")]
    pub clients: Vec<Withdrawn>,
    /// `id` is a `kid`. Whoever stole the key can write any date, so dates don't matter.
    #[serde(deserialize_with = "strict_json::objects")]
    pub keys: Vec<Withdrawn>,
    /// `id` is a `jti`.
    #[serde(deserialize_with = "strict_json::objects")]
    pub jtis: Vec<Withdrawn>,
}

/// One thing that was withdrawn.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)]
pub struct Withdrawn {
    /// What it is called, within its list.
    pub id: String,
    /// Of an entry in `versions`.
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<String>,
    /// Of an entry in `clients`.
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub tenant_id: Option<String>,
    /// When, in seconds since the Unix epoch. A descriptor with a later `iat` was issued with this
    /// known, after it was taken back.
    pub at: u64,
}

/// Why a descriptor is refused by a feed: what of it was withdrawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Withdrawal {
    /// Everything that was issued until some second.
    All,
    /// The client it was issued to.
    Client,
    /// This one descriptor.
    Jti,
    /// The key that signed it.
    Key,
    /// The server it is for.
    Server,
    /// The tenant of the client.
    Tenant,
    /// The version of the server.
    Version,
}

impl Withdrawal {
    /// For a log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Client => "client",
            Self::Jti => "jti",
            Self::Key => "key",
            Self::Server => "server",
            Self::Tenant => "tenant",
            Self::Version => "version",
        }
    }
}

impl fmt::Display for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl RevocationFeed {
    /// Whether the feed refuses a descriptor that was signed by the key of this id, and because of
    /// what.
    pub fn revokes(&self, descriptor: &Descriptor, key_id: &str) -> Option<Withdrawal> {
        let names = |list: &[Withdrawn], id: &str| list.iter().any(|entry| entry.id == id);
        if names(&self.keys, key_id) {
            return Some(Withdrawal::Key);
        }
        if names(&self.jtis, &descriptor.jti) {
            return Some(Withdrawal::Jti);
        }
        let is_before = |at: u64| descriptor.issued_at <= at;
        if self.all.is_some_and(is_before) {
            return Some(Withdrawal::All);
        }
        let (server, tenant_id) = (&descriptor.server, descriptor.tenant_id.as_ref());
        let refuses = |list: &[Withdrawn], is_meant: &dyn Fn(&Withdrawn) -> bool| {
            list.iter()
                .any(|entry| is_before(entry.at) && is_meant(entry))
        };
        if refuses(&self.servers, &|entry| entry.id == server.id) {
            Some(Withdrawal::Server)
        } else if refuses(&self.versions, &|entry| {
            entry.id == server.id && entry.version.as_ref() == Some(&server.version)
        }) {
            Some(Withdrawal::Version)
        } else if refuses(&self.tenants, &|entry| Some(&entry.id) == tenant_id) {
            Some(Withdrawal::Tenant)
        } else if refuses(&self.clients, &|entry| {
            Some(&entry.id) == descriptor.client_id.as_ref()
                && entry.tenant_id.as_ref() == tenant_id
        }) {
            Some(Withdrawal::Client)
        } else {
            None
        }
    }

    /// Makes the feed fit into its bounds without letting go of anything: where there is too much,
    /// the oldest entries become `all`, which refuses more than they did, until clients have asked
    /// for fresh descriptors. Keys stay whatever happens: no date stands for them.
    pub fn bound(&mut self) {
        self.all = self.all.max(self.first_over());
        if let Some(all) = self.all {
            for list in self.dated_mut() {
                list.retain(|entry| entry.at > all);
            }
        }
    }

    /// Whether the feed is within its bounds as it is.
    pub fn fits(&self) -> bool {
        self.first_over().is_none()
    }

    /// When the newest of the entries was revoked for which there is no room.
    fn first_over(&self) -> Option<u64> {
        let cost = |entry: &Withdrawn| {
            serde_json::to_string(entry).map_or(MAX_CLAIMS_BYTES, |json| json.len() + 1)
        };
        let mut bytes = 512 + self.issuer.len() + self.keys.iter().map(cost).sum::<usize>();
        let mut entries = self.keys.len();
        let mut newest_first: Vec<(u64, usize)> = self
            .dated()
            .into_iter()
            .flat_map(|list| list.iter().map(|entry| (entry.at, cost(entry))))
            .collect();
        newest_first.sort_unstable_by(|one, other| other.cmp(one));
        let over = newest_first.into_iter().find(|(_, cost)| {
            bytes += cost;
            entries += 1;
            bytes > MAX_CLAIMS_BYTES || entries > MAX_FEED_ENTRIES
        });
        over.map(|(at, _)| at)
    }

    /// How many entries there are, all lists together.
    pub fn entries(&self) -> usize {
        self.dated().map(Vec::len).iter().sum::<usize>() + self.keys.len()
    }

    /// The lists for which a date can stand.
    fn dated(&self) -> [&Vec<Withdrawn>; 5] {
        [
            &self.servers,
            &self.versions,
            &self.tenants,
            &self.clients,
            &self.jtis,
        ]
    }

    fn dated_mut(&mut self) -> [&mut Vec<Withdrawn>; 5] {
        [
            &mut self.servers,
            &mut self.versions,
            &mut self.tenants,
            &mut self.clients,
            &mut self.jtis,
        ]
    }

    /// Everything but when it was issued, as JSON: equal where two feeds say the same.
    pub fn content(&self) -> String {
        let timeless = Self {
            issued_at: 0,
            expires_at: 0,
            ..self.clone()
        };
        serde_json::to_string(&timeless).unwrap_or_default()
    }

    /// What the key is to sign.
    pub fn to_unsigned(&self, key: &SigningKey) -> Result<Unsigned, MintError> {
        self.check().map_err(MintError::Claims)?;
        Unsigned::new(self, key, FEED_FORM).ok_or(MintError::TooLarge)
    }

    /// The rules that need neither a key nor the time; the error says which is broken.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if !matches!(
            self.expires_at.checked_sub(self.issued_at),
            Some(1..=MAX_LIFETIME_SECONDS)
        ) {
            return Err("exp - iat is not within 1 to 120 s");
        }
        if self.expires_at > crate::LATEST_DATE {
            return Err(MAX_DATE_PROBLEM);
        }
        if self.entries() > MAX_FEED_ENTRIES {
            return Err("more than 1000 entries");
        }
        if self.versions.iter().any(|entry| entry.version.is_none()) {
            return Err("an entry of versions has no version");
        }
        Ok(())
    }
}

#[cfg(feature = "verify")]
impl Dated for RevocationFeed {
    fn with_dates(self, dates: Dates) -> Option<Self> {
        Some(Self {
            issued_at: dates.iat,
            expires_at: dates.exp,
            ..self
        })
    }
}

/// A token that has the form of a feed. Nothing of it is to be believed yet.
///
/// Does not check the signature, the issuer, or that it is valid now.
#[cfg(feature = "verify")]
pub struct UnverifiedFeed<'a> {
    token: Jws<'a>,
    feed: RevocationFeed,
}

#[cfg(feature = "verify")]
impl<'a> UnverifiedFeed<'a> {
    /// Reads a compact JWS, refusing everything that is not exactly a feed's form.
    pub fn parse(compact: &'a str) -> Result<Self, Refusal> {
        let (token, feed): (_, RevocationFeed) = Jws::parse(compact, FEED_FORM)?;
        feed.check()
            .map_err(|problem| Refusal::malformed("payload", problem))?;
        Ok(Self { token, feed })
    }

    /// `kid`: the key that is said to have signed.
    pub fn key_id(&self) -> &str {
        self.token.key_id()
    }

    /// Checks it against the authority's key set. `now` is in seconds since the Unix epoch.
    pub fn verify(self, keys: &KeySet, issuer: &str, now: u64) -> Result<RevocationFeed, Refusal> {
        let feed = self.feed;
        if feed.issuer != issuer {
            return Err(Refusal::WrongIssuer);
        }
        let (not_before, expires_at) = (feed.issued_at, feed.expires_at);
        if not_before > now.saturating_add(MAX_LEEWAY_SECONDS) {
            return Err(Refusal::NotYetValid { not_before, now });
        }
        self.token.verify(keys)?;
        if now >= expires_at.saturating_add(MAX_LEEWAY_SECONDS) {
            return Err(Refusal::Expired { expires_at, now });
        }
        Ok(feed)
    }
}

/// Checks a feed against the authority's key set. `now` is in seconds since the Unix epoch.
#[cfg(feature = "verify")]
pub fn verify_feed(
    token: &str,
    keys: &KeySet,
    issuer: &str,
    now: u64,
) -> Result<RevocationFeed, Refusal> {
    UnverifiedFeed::parse(token)?.verify(keys, issuer, now)
}

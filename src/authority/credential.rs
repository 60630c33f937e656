use std::{fmt, marker::PhantomData};

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const KEY_ID_CHARS: usize = 16;
const SECRET_CHARS: usize = 43;

/// What a registered client shows.
pub(crate) type ApiKey = KeyOf<Client>;
/// What an administrator shows.
pub(crate) type AdministratorKey = KeyOf<Administrator>;

/// `<prefix>_<key id>_<secret>`. The key id finds the key, the secret proves it; only the secret's
/// hash is stored. One holder's key can't be read, or passed, as another's.
pub(crate) struct KeyOf<H> {
    key_id: String,
    secret: String,
    holder: PhantomData<fn() -> H>,
}

/// A key that is about to be stored.
pub(crate) struct NewKey<'a, H> {
    pub(crate) key: &'a KeyOf<H>,
    pub(crate) label: Option<&'a str>,
    /// Milliseconds since the Unix epoch.
    pub(crate) expires_at: Option<u64>,
}

pub(crate) type NewApiKey<'a> = NewKey<'a, Client>;
pub(crate) type NewAdministratorKey<'a> = NewKey<'a, Administrator>;

/// A key that another is to take the place of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PastKey {
    pub(crate) label: Option<String>,
    /// How long it was made for, in seconds; `None`: without an end.
    pub(crate) life: Option<u64>,
}

/// The keys that are replaced leave their successor no one answer.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Differing;

/// What a new key takes over from those that it replaces, if they agree; nothing, if there are none.
pub(crate) fn succeed<'a, T: PartialEq>(
    past: &'a [PastKey],
    member: impl Fn(&'a PastKey) -> Option<T>,
) -> Result<Option<T>, Differing> {
    let mut members = past.iter().map(member);
    let first = members.next().flatten();
    if past.is_empty() || members.all(|other| other == first) {
        Ok(first)
    } else {
        Err(Differing)
    }
}

/// Who holds a key, which its prefix tells.
pub(crate) trait Holder {
    const PREFIX: &'static str;
}

pub(crate) enum Client {}

impl Holder for Client {
    const PREFIX: &'static str = "mcpk_";
}

pub(crate) enum Administrator {}

impl Holder for Administrator {
    const PREFIX: &'static str = "mcpa_";
}

impl<H: Holder> KeyOf<H> {
    /// A new key of 96 bits of id and 256 bits of secret, all from the platform's randomness.
    pub(crate) fn from_random(key_id: [u8; 12], secret: [u8; 32]) -> Self {
        Self {
            key_id: Base64UrlUnpadded::encode_string(&key_id),
            secret: Base64UrlUnpadded::encode_string(&secret),
            holder: PhantomData,
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(H::PREFIX)?;
        let (key_id, secret) = rest.split_at_checked(KEY_ID_CHARS)?;
        let secret = secret.strip_prefix('_')?;
        (secret.len() == SECRET_CHARS && is_base64url(key_id) && is_base64url(secret)).then(|| {
            Self {
                key_id: key_id.to_owned(),
                secret: secret.to_owned(),
                holder: PhantomData,
            }
        })
    }

    pub(crate) fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(crate) fn secret_hash(&self) -> CredentialHash {
        CredentialHash::of(&self.secret)
    }

    /// The key as its holder shows it. Given out once, never stored.
    pub(crate) fn reveal(&self) -> String {
        format!("{}{}_{}", H::PREFIX, self.key_id, self.secret)
    }
}

impl<H> fmt::Debug for KeyOf<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyOf")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Whether a text could be a key's id.
pub(crate) fn is_key_id(text: &str) -> bool {
    text.len() == KEY_ID_CHARS && is_base64url(text)
}

fn is_base64url(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// SHA-256 of a credential. Equality takes the same time wherever the two differ. A plain hash is
/// enough, since credentials are long and random.
#[derive(Clone, Debug)]
pub(crate) struct CredentialHash([u8; 32]);

impl CredentialHash {
    pub(crate) fn of(credential: &str) -> Self {
        Self(Sha256::digest(credential).into())
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let decoded = Base64UrlUnpadded::decode(text, &mut bytes).ok()?;
        (decoded.len() == 32).then_some(Self(bytes))
    }

    pub(crate) fn encode(&self) -> String {
        Base64UrlUnpadded::encode_string(&self.0)
    }

    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The token of an `Authorization: Bearer` header (RFC 6750, section 2.1).
pub(crate) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_key_can_be_read_back_and_its_secret_stays_hidden() {
        let key = ApiKey::from_random([1; 12], [255; 32]);
        let shown = key.reveal();
        let read = ApiKey::parse(&shown).unwrap();
        assert_eq!(read.key_id(), key.key_id());
        assert!(read.secret_hash().matches(&key.secret_hash()));
        assert!(!format!("{key:?}").contains(&key.secret));
    }

    #[test]
    fn what_is_no_key_is_not_looked_up() {
        let good = ApiKey::from_random([1; 12], [2; 32]).reveal();
        assert!(ApiKey::parse(&good).is_some());
        for text in [
            "",
            "mcpk_",
            &good.replace("mcpk_", "mcpx_"),
            &good[..good.len() - 1],
            &format!("{good}a"),
            &good.replace('A', "'"),
            &"mcpk_ä".repeat(20),
            &AdministratorKey::from_random([1; 12], [2; 32]).reveal(),
        ] {
            assert!(ApiKey::parse(text).is_none(), "{text}");
        }
        assert!(AdministratorKey::parse(&good).is_none());
        assert!(AdministratorKey::parse(&good.replace("mcpk_", "mcpa_")).is_some());
    }

    #[test]
    fn the_id_of_a_key_is_told_from_other_texts() {
        assert!(is_key_id(ApiKey::from_random([7; 12], [2; 32]).key_id()));
        for text in ["", "short", "0123456789abcde/", "0123456789abcdefg"] {
            assert!(!is_key_id(text), "{text}");
        }
    }

    #[test]
    fn hashes_survive_storage_and_tell_credentials_apart() {
        let hash = CredentialHash::of("one");
        assert!(
            CredentialHash::decode(&hash.encode())
                .unwrap()
                .matches(&hash)
        );
        assert!(!CredentialHash::of("two").matches(&hash));
        for text in ["", "zz", &"0".repeat(42), &"é".repeat(22)] {
            assert!(CredentialHash::decode(text).is_none(), "{text}");
        }
    }

    #[test]
    fn only_one_bearer_token_is_read() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer abc"), Some("abc"));
        for header in ["", "abc", "Bearer", "Bearer ", "Basic abc"] {
            assert_eq!(bearer(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = (ApiKey::parse(&text), CredentialHash::decode(&text));
        }
    }

    #[test]
    fn a_new_key_takes_over_what_those_before_it_agree_on() {
        let key = |label: &str, life| PastKey {
            label: Some(label.to_owned()),
            life,
        };
        let label = |past: &[PastKey]| succeed(past, |key| key.label.clone());
        let life = |past: &[PastKey]| succeed(past, |key| key.life);
        assert_eq!((label(&[]), life(&[])), (Ok(None), Ok(None)));
        let alike = [key("ci", Some(7)), key("ci", Some(7))];
        assert_eq!(
            (label(&alike), life(&alike)),
            (Ok(Some("ci".to_owned())), Ok(Some(7)))
        );
        let unlike = [key("ci", Some(7)), key("laptop", None)];
        assert_eq!(
            (label(&unlike), life(&unlike)),
            (Err(Differing), Err(Differing))
        );
        let endless = [key("ci", None), key("ci", None)];
        assert_eq!(life(&endless), Ok(None));
    }
}

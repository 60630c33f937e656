//! Access tokens of tenants' identity providers: JWTs as RFC 9068 profiles them, read as strictly
//! as our own descriptors. Who signed is not decided here: see `provider_keys`.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_descriptor::{MAX_LEEWAY_SECONDS, strict_json};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::authority::{CLIENT_ID_FORM, KeyHint, SignatureAlgorithm, is_client_id};

const MAX_BYTES: usize = 8 * 1024;
const MAX_KEY_ID_BYTES: usize = 256;
const MAX_ISSUER_BYTES: usize = 512;
/// Providers that name more audiences in one token are none that anybody has seen.
const MAX_AUDIENCES: usize = 10;
/// The most values of another claim that stands for the audience, such as the scopes of a token.
const MAX_VALUES: usize = 100;

/// The longest life that an access token may have, in seconds. Who needs a token for longer wants an
/// API key, which can be revoked.
pub(crate) const MAX_ACCESS_TOKEN_LIFETIME: u64 = 24 * 60 * 60;

/// The claim that names the audience, unless the provider's rules say otherwise.
pub(crate) const AUDIENCE_CLAIM: &str = "aud";

/// What a token of some kind must look like.
pub(crate) struct TokenForm {
    /// `typ`, in lower case; a token that has none is taken for a "jwt".
    pub(crate) types: &'static [&'static str],
    pub(crate) max_bytes: usize,
}

const ACCESS_TOKEN_FORM: TokenForm = TokenForm {
    types: &["at+jwt", "application/at+jwt", "jwt"],
    max_bytes: MAX_BYTES,
};

/// A token whose issuer can be read, so that its provider can be looked up. Nothing of it is to be
/// believed yet.
pub(crate) struct AccessToken {
    /// What the signature is over.
    signed: String,
    signature: Vec<u8>,
    /// What the header says of the key; a fault if no key can have signed such a token.
    key: Result<KeyHint, TokenFault>,
    /// `typ`, as it is compared.
    token_type: String,
    issuer: String,
    /// Empty if the payload can't be read; `key` then is the fault.
    claims: Map<String, Value>,
}

/// What is wrong with a token. For the log: says nothing of what the token says.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TokenFault(Cow<'static, str>);

impl TokenFault {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// A header or a payload that can't be read.
    fn of_part(part: &str, fault: strict_json::Fault, json: &[u8]) -> Self {
        let is_json = || serde_json::from_slice::<IgnoredAny>(json).is_ok();
        let problem = match fault {
            // JSON sets numbers no bounds; those who read it do.
            strict_json::Fault::NotJson if is_json() => "a number is too large",
            _ => fault.as_str(),
        };
        Self(Cow::Owned(format!("the {part} can't be read: {problem}")))
    }

    /// A fault of a claim, whose name comes first.
    fn of_claim(claim: &str, problem: &str) -> Self {
        Self(Cow::Owned(format!("{claim}: {problem}")))
    }
}

/// Whom a token must come from and be for.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) rules: &'a TokenRules,
    /// In seconds.
    pub(crate) max_lifetime: u64,
}

/// How the tokens of a provider say whom they are for, and what else they must say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct TokenRules {
    /// The claim that names the audience; `None`: `aud`.
    pub(crate) audience_claim: Option<String>,
    /// Claims that must be there, with this value if one is given.
    pub(crate) required_claims: BTreeMap<String, Option<String>>,
    /// The only `typ` that is accepted; `None`: each that an access token may have.
    pub(crate) token_type: Option<String>,
}

impl TokenRules {
    pub(crate) const NONE: &'static Self = &Self {
        audience_claim: None,
        required_claims: BTreeMap::new(),
        token_type: None,
    };

    pub(crate) fn audience_claim(&self) -> &str {
        self.audience_claim.as_deref().unwrap_or(AUDIENCE_CLAIM)
    }
}

impl AccessToken {
    /// Reads a compact JWS (RFC 7515, section 7.1), refusing everything that is not exactly the form
    /// of a token that could be good here.
    pub(crate) fn parse(compact: &str) -> Result<Self, TokenFault> {
        Self::parse_as(compact, &ACCESS_TOKEN_FORM)
    }

    /// … of a token of another kind.
    pub(crate) fn parse_as(compact: &str, form: &TokenForm) -> Result<Self, TokenFault> {
        if compact.len() > form.max_bytes {
            return Err(TokenFault::new("longer than a token may be"));
        }
        if compact.matches('.').count() == 4 {
            return Err(TokenFault::new(
                "an encrypted token (JWE): ask the provider for a signed one",
            ));
        }
        let mut parts = compact.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::new("not three parts"));
        };
        let signed = format!("{header}.{payload}");
        let header = read_header(&decode(header)?)?;
        let payload = decode(payload)?;
        let signature = decode(signature)?;
        let (issuer, claims) = read_claims(&payload)?;
        let token_type = read_type(&header);
        let mut key = read_key_hint(&header);
        if matches!(&key, Ok(hint) if !hint.algorithm.may_sign_with(signature.len())) {
            return Err(TokenFault::new(
                "the signature's length is not the algorithm's",
            ));
        }
        if !form.types.contains(&&*token_type) {
            key = Err(TokenFault::new("typ: is not that of such a token"));
        }
        let claims = claims.unwrap_or_else(|unreadable| {
            key = Err(unreadable);
            Map::new()
        });
        Ok(Self {
            signed,
            signature,
            key,
            token_type,
            issuer,
            claims,
        })
    }

    /// What the signature is over.
    pub(crate) fn signed(&self) -> &[u8] {
        self.signed.as_bytes()
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// What is the same each time that this token is shown. Not the signature, of which there may be
    /// several that say the same.
    pub(crate) fn id(&self) -> String {
        Base64UrlUnpadded::encode_string(&Sha256::digest(&self.signed))
    }

    /// What it says of the key that signed it. Without that no signature can be checked.
    pub(crate) fn key(&self) -> Result<&KeyHint, TokenFault> {
        self.key.as_ref().map_err(TokenFault::clone)
    }

    /// Who is said to have issued it: by this the provider is looked up, to learn what to check.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The values of `aud` for which a provider can be looked up; none if it is malformed.
    pub(crate) fn audiences(&self) -> Vec<&str> {
        self.values(AUDIENCE_CLAIM).unwrap_or_default()
    }

    /// Every other claim that could stand for the audience, with its values.
    pub(crate) fn possible_audiences(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.claims
            .keys()
            .filter(|name| *name != AUDIENCE_CLAIM)
            .filter_map(|name| Some((name.as_str(), self.values(name).ok()?)))
    }

    /// Every claim that could name a client: by them a client is looked up, to learn more of it.
    pub(crate) fn possible_clients(&self) -> impl Iterator<Item = (&str, &str)> {
        self.claims
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .filter(|(_, value)| is_client_id(value))
    }

    /// Whether the payload could be read. If not, nothing is known but whom it names as its issuer.
    pub(crate) fn check_payload(&self) -> Result<(), TokenFault> {
        if self.claims.is_empty() {
            self.key()?;
        }
        Ok(())
    }

    /// Everything but the signature. `now` is in seconds since the Unix epoch.
    pub(crate) fn check(&self, expected: &Expected<'_>, now: u64) -> Result<(), TokenFault> {
        let mut faults = self.faults(expected, now).into_iter();
        faults.next().map_or(Ok(()), Err)
    }

    /// Everything that is wrong but the signature, in the order in which it is checked.
    pub(crate) fn faults(&self, expected: &Expected<'_>, now: u64) -> Vec<TokenFault> {
        if let Err(unreadable) = self.check_payload() {
            return vec![unreadable];
        }
        let mut faults = Vec::new();
        faults.extend(self.key().err());
        if self.issuer != expected.issuer {
            faults.push(TokenFault::new("iss is another than the provider's"));
        }
        faults.extend(self.check_audience(expected).err());
        faults.extend(self.check_type(expected).err());
        for (claim, value) in &expected.rules.required_claims {
            faults.extend(self.require(claim, value.as_deref()).err());
        }
        faults.extend(self.faults_of_dates(expected.max_lifetime, now));
        faults
    }

    fn check_audience(&self, expected: &Expected<'_>) -> Result<(), TokenFault> {
        let claim = expected.rules.audience_claim();
        if self.values(claim)?.contains(&expected.audience) {
            return Ok(());
        }
        let problem = format!("{claim} is another than the audience of this authority");
        Err(TokenFault(Cow::Owned(problem)))
    }

    fn check_type(&self, expected: &Expected<'_>) -> Result<(), TokenFault> {
        let is_other = |only: &String| *only != short_type(&self.token_type);
        if expected.rules.token_type.as_ref().is_some_and(is_other) {
            return Err(TokenFault::new(
                "typ: is not the one that this provider's tokens have",
            ));
        }
        Ok(())
    }

    /// A claim must be there and, if a value is given, be it or have it among others.
    fn require(&self, claim: &str, wanted: Option<&str>) -> Result<(), TokenFault> {
        let value = self.claims.get(claim).filter(|value| !value.is_null());
        let value = value.ok_or_else(|| TokenFault::of_claim(claim, "is missing"))?;
        let is_good = wanted.is_none_or(|wanted| match value {
            Value::Bool(value) => *wanted == *value.to_string(),
            Value::Number(value) => *wanted == *value.to_string(),
            _ => self
                .values(claim)
                .is_ok_and(|values| values.contains(&wanted)),
        });
        if is_good {
            return Ok(());
        }
        Err(TokenFault::of_claim(
            claim,
            "has another value than is required",
        ))
    }

    /// The texts of a claim: one, or a list. Scopes are one text, with spaces between them
    /// (RFC 8693, section 4.2).
    fn values(&self, claim: &str) -> Result<Vec<&str>, TokenFault> {
        let max = if claim == AUDIENCE_CLAIM {
            MAX_AUDIENCES
        } else {
            MAX_VALUES
        };
        let values: Option<Vec<&str>> = match self.claims.get(claim) {
            None => return Err(TokenFault::of_claim(claim, "is missing")),
            Some(Value::String(scopes)) if matches!(claim, "scope" | "scp") => {
                Some(scopes.split(' ').take(max + 1).collect())
            }
            Some(Value::String(one)) => Some(vec![one]),
            Some(Value::Array(list)) => list.iter().take(max + 1).map(Value::as_str).collect(),
            Some(_) => None,
        };
        values
            .filter(|values| (1..=max).contains(&values.len()))
            .ok_or_else(|| {
                let problem = format!("is neither a string nor a list of 1 to {max} strings");
                TokenFault::of_claim(claim, &problem)
            })
    }

    fn faults_of_dates(&self, max_lifetime: u64, now: u64) -> Vec<TokenFault> {
        let mut faults = Vec::new();
        let [expires_at, not_before, issued_at] = ["exp", "nbf", "iat"].map(|claim| {
            let date = self.date(claim).and_then(|date| match date {
                None if claim == "exp" => Err(TokenFault::of_claim(claim, "is missing")),
                _ => Ok(date),
            });
            date.unwrap_or_else(|fault| {
                faults.push(fault);
                None
            })
        });
        let has_ended = |date: Date| now >= date.floor().saturating_add(MAX_LEEWAY_SECONDS);
        if expires_at.is_some_and(has_ended) {
            faults.push(TokenFault::new("expired"));
        }
        let soonest = now.saturating_add(MAX_LEEWAY_SECONDS);
        let is_early = |date: Option<Date>| date.is_some_and(|date| date.ceil() > soonest);
        if is_early(not_before) {
            faults.push(TokenFault::new("nbf: not valid yet"));
        }
        if is_early(issued_at) {
            faults.push(TokenFault::new("iat: lies in the future"));
        }
        // A token that doesn't say when its life began can't have more of it left than a whole one.
        let begins_at = issued_at.unwrap_or(Date::whole(soonest));
        if expires_at.is_some_and(|date| date.is_later_by_more_than(max_lifetime, begins_at)) {
            faults.push(TokenFault::new("exp: the token lives for too long"));
        }
        faults
    }

    /// Until when it is taken, in seconds since the Unix epoch, where it says so.
    pub(crate) fn good_until(&self) -> Option<u64> {
        let expires_at = self.date("exp").ok()??;
        Some(expires_at.floor().saturating_add(MAX_LEEWAY_SECONDS))
    }

    fn date(&self, claim: &str) -> Result<Option<Date>, TokenFault> {
        let Some(value) = self.claims.get(claim) else {
            return Ok(None);
        };
        Date::read(value).map(Some).ok_or_else(|| {
            TokenFault::of_claim(claim, "is not a date: a number of seconds since 1970")
        })
    }
}

/// A numeric date (RFC 7519, section 2) in seconds since the Unix epoch, which may have a fraction.
/// Who compares it chooses how it is rounded: always against the caller.
#[derive(Clone, Copy, Debug)]
struct Date(f64);

impl Date {
    /// `None`: not a number, or not within the years 1970 to 9999. A date in milliseconds is not.
    fn read(value: &Value) -> Option<Self> {
        let seconds = value.as_f64()?;
        (0.0..=253_402_300_799.0)
            .contains(&seconds)
            .then_some(Self(seconds))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "dates of this era are far below 2^53"
    )]
    const fn whole(seconds: u64) -> Self {
        Self(seconds as f64)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`read` lets through what fits, and a cast of more saturates"
    )]
    fn floor(self) -> u64 {
        self.0.floor() as u64
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`read` lets through what fits, and a cast of more saturates"
    )]
    fn ceil(self) -> u64 {
        self.0.ceil() as u64
    }

    /// To the millisecond: binary fractions of such dates are exact to less than that.
    fn is_later_by_more_than(self, seconds: u64, than: Self) -> bool {
        ((self.0 - than.0) * 1000.0).round() > Self::whole(seconds).0 * 1000.0
    }
}

/// A token whose signature is that of its provider. Only it names a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedToken<'a>(&'a AccessToken);

impl<'a> SignedToken<'a> {
    pub(crate) fn claim(self, name: &str) -> Option<&'a Value> {
        self.0.claims.get(name)
    }

    /// A claim that is a text.
    pub(crate) fn text(self, claim: &str) -> Option<&'a str> {
        self.claim(claim)?.as_str()
    }

    /// To be called by who checked the signature.
    pub(crate) const fn new(token: &'a AccessToken) -> Self {
        Self(token)
    }

    /// The client: what the first of these claims that the token has at all says, if that is an id.
    pub(crate) fn client_id(self, claims: &[String]) -> Result<&'a str, TokenFault> {
        let (name, value) = claims
            .iter()
            .find_map(|name| Some((name, self.0.claims.get(name)?)))
            .ok_or_else(|| TokenFault::of_claim(&claims.join(", "), "no claim names the client"))?;
        value.as_str().filter(|id| is_client_id(id)).ok_or_else(|| {
            TokenFault::of_claim(name, &format!("is not a client id: {CLIENT_ID_FORM}"))
        })
    }
}

/// A token is a credential: nothing of it is shown.
impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").finish_non_exhaustive()
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    if part.is_empty() {
        return Err(TokenFault::new("a part is empty"));
    }
    Base64UrlUnpadded::decode_vec(part)
        .map_err(|_| TokenFault::new("a part is not canonical base64url"))
}

/// A header that could be that of a good token: extensions that must be understood are refused
/// (RFC 7515, section 4.1.11), and so is what needs no key or a shared one to sign.
fn read_header(json: &[u8]) -> Result<Map<String, Value>, TokenFault> {
    let header: Map<String, Value> = strict_json::from_slice(json)
        .map_err(|fault| TokenFault::of_part("header", fault, json))?;
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(TokenFault::new("the header has crit or b64"));
    }
    let algorithm = header.get("alg").and_then(Value::as_str);
    if algorithm.is_none_or(|name| name == "none" || name.starts_with("HS")) {
        return Err(TokenFault::new(
            "alg: is missing, \"none\", or that of a shared secret",
        ));
    }
    Ok(header)
}

type ReadClaims = Result<Map<String, Value>, TokenFault>;

/// The issuer, and the claims unless they can't be read. The issuer of such a token is still looked
/// for, so that the log can say whose token it is: the token is refused all the same.
fn read_claims(json: &[u8]) -> Result<(String, ReadClaims), TokenFault> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }

    let claims: ReadClaims =
        strict_json::from_slice(json).map_err(|fault| TokenFault::of_part("payload", fault, json));
    let issuer = match &claims {
        Ok(claims) => claims.get("iss").and_then(Value::as_str).map(str::to_owned),
        Err(unreadable) => match serde_json::from_slice(json) {
            Ok(Issuer { iss }) => Some(iss),
            Err(_) => return Err(unreadable.clone()),
        },
    };
    let issuer = issuer
        .filter(|issuer| (1..=MAX_ISSUER_BYTES).contains(&issuer.len()))
        .ok_or(TokenFault::new(
            "iss: is missing, not a string or longer than 512 bytes",
        ))?;
    Ok((issuer, claims))
}

/// `typ` in lower case; empty if it is not a string.
fn read_type(header: &Map<String, Value>) -> String {
    header
        .get("typ")
        .map_or("jwt", |typ| typ.as_str().unwrap_or_default())
        .to_ascii_lowercase()
}

/// A media type without what may be left out of it (RFC 7515, section 4.1.9).
fn short_type(token_type: &str) -> &str {
    token_type
        .strip_prefix("application/")
        .unwrap_or(token_type)
}

fn read_key_hint(header: &Map<String, Value>) -> Result<KeyHint, TokenFault> {
    let algorithm = header
        .get("alg")
        .and_then(Value::as_str)
        .and_then(SignatureAlgorithm::from_name)
        .ok_or(TokenFault::new("alg: is not supported"))?;
    let id = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if (1..=MAX_KEY_ID_BYTES).contains(&kid.len()) => {
            Some(kid.clone())
        }
        Some(_) => return Err(TokenFault::new("kid: is not a string of 1 to 256 bytes")),
    };
    Ok(KeyHint { id, algorithm })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const EXPECTED: Expected<'static> = Expected {
        issuer: "https://id.acme.example",
        audience: "https://authority.example",
        rules: TokenRules::NONE,
        max_lifetime: MAX_ACCESS_TOKEN_LIFETIME,
    };

    fn header() -> Value {
        json!({ "alg": "ES256", "kid": "k1", "typ": "at+jwt" })
    }

    fn claims() -> Value {
        json!({
            "iss": EXPECTED.issuer, "aud": EXPECTED.audience, "client_id": "agent",
            "iat": NOW, "exp": NOW + 600,
        })
    }

    fn with(mut value: Value, member: &str, new: Value) -> Value {
        value[member] = new;
        value
    }

    fn without(mut value: Value, member: &str) -> Value {
        value.as_object_mut().unwrap().remove(member);
        value
    }

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        Base64UrlUnpadded::encode_string(bytes.as_ref())
    }

    #[expect(clippy::needless_pass_by_value, reason = "values and borrows alike")]
    fn compact(header: impl ToString, claims: impl ToString) -> String {
        let [header, claims] = [header.to_string(), claims.to_string()].map(encode);
        format!("{header}.{claims}.{}", encode([7; 64]))
    }

    /// Whether a token is good, but for its signature.
    fn read(header: impl ToString, claims: impl ToString) -> Result<(), TokenFault> {
        AccessToken::parse(&compact(header, claims))?.check(&EXPECTED, NOW)
    }

    fn checked(claims: impl ToString, now: u64) -> Result<(), TokenFault> {
        AccessToken::parse(&compact(header(), claims))?.check(&EXPECTED, now)
    }

    #[test]
    fn a_good_token_is_read() {
        let token = AccessToken::parse(&compact(header(), claims())).unwrap();
        assert_eq!(token.check(&EXPECTED, NOW), Ok(()));
        let key = token.key().unwrap();
        assert_eq!(key.algorithm, SignatureAlgorithm::Es256);
        assert_eq!(key.id.as_deref(), Some("k1"));
        assert_eq!(token.signature(), [7; 64]);
        let text = compact(header(), claims());
        assert_eq!(token.signed(), text.rsplit_once('.').unwrap().0.as_bytes());
        assert_eq!(format!("{token:?}"), "AccessToken { .. }");
    }

    #[test]
    fn the_header_is_one_of_an_access_token() {
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt"] {
            let header = with(header(), "typ", typ.into());
            assert_eq!(read(header, claims()), Ok(()), "{typ}");
        }
        for header in [without(header(), "typ"), without(header(), "kid")] {
            assert_eq!(read(header, claims()), Ok(()));
        }
        for (member, value) in [
            ("typ", json!("mcp-connect+jwt")),
            ("typ", json!("")),
            ("typ", Value::Null),
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            // A good name, but the signature has another length.
            ("alg", json!("RS512")),
            ("alg", json!("ES384")),
            ("alg", json!("ES256K")),
            ("alg", json!("es256")),
            ("alg", Value::Null),
            ("kid", json!("")),
            ("kid", json!(7)),
            ("kid", Value::Null),
            ("kid", json!("k".repeat(257))),
            ("crit", json!([])),
            ("crit", json!(["b64"])),
            ("b64", json!(false)),
        ] {
            let header = with(header(), member, value);
            assert!(read(&header, claims()).is_err(), "{header}");
            // Nor can its signature be checked.
            let parsed = AccessToken::parse(&compact(&header, claims()));
            assert!(
                parsed.is_err() || parsed.unwrap().key().is_err(),
                "{header}"
            );
        }
        assert!(read(without(header(), "alg"), claims()).is_err());
    }

    #[test]
    fn what_can_never_be_good_is_not_looked_up() {
        for (member, value, looked_up) in [
            ("alg", json!("none"), false),
            ("alg", json!("HS256"), false),
            ("alg", json!("HS999"), false),
            ("alg", Value::Null, false),
            ("crit", json!([]), false),
            // The log then names the provider, whose operator can mend it.
            ("alg", json!("ES256K"), true),
            ("typ", json!("application/okta-internal-at+jwt"), true),
            ("kid", json!(7), true),
        ] {
            let text = compact(with(header(), member, value), claims());
            assert_eq!(AccessToken::parse(&text).is_ok(), looked_up, "{member}");
        }
    }

    #[test]
    fn a_signature_has_the_length_of_its_algorithm() {
        let read = |alg: &str, bytes: usize| {
            let header = with(header(), "alg", alg.into()).to_string();
            let parts = [
                encode(header),
                encode(claims().to_string()),
                encode(vec![7; bytes]),
            ];
            AccessToken::parse(&parts.join(".")).is_ok()
        };
        for (alg, good, bad) in [
            ("ES256", 64, 96),
            ("ES384", 96, 64),
            ("ES512", 132, 128),
            ("EdDSA", 64, 114),
            ("RS384", 256, 64),
            ("RS512", 512, 255),
            ("PS384", 256, 1025),
            ("PS512", 1024, 128),
        ] {
            assert!(read(alg, good), "{alg}");
            assert!(!read(alg, bad), "{alg}");
        }
    }

    #[test]
    fn the_form_is_exact() {
        let good = compact(header(), claims());
        let twice = r#"{"iss":"a","iss":"b","aud":"x","exp":1}"#;
        let header_twice = r#"{"alg":"ES256","alg":"none"}"#;
        for text in [
            String::new(),
            "..".into(),
            good.replacen('.', "", 1),
            format!("{good}."),
            format!("{good}.e30"),
            format!("{good}="),
            format!(" {good}"),
            format!("{good}A"),
            good.rsplit_once('.').unwrap().0.to_owned() + ".",
            // The last character has bits that mean nothing.
            format!("{}h", &good[..good.len() - 1]),
            compact(header(), twice),
            compact(header_twice, claims()),
            compact(header(), "[]"),
            compact("[]", claims()),
            compact(header(), with(claims(), "x", "x".repeat(MAX_BYTES).into())),
        ] {
            assert!(AccessToken::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn issuer_and_audience_are_exact() {
        for (member, value, good) in [
            ("aud", json!(["https://authority.example"]), true),
            ("aud", json!(["other", "https://authority.example"]), true),
            ("aud", json!([]), false),
            ("aud", json!(["other"]), false),
            ("aud", json!("other"), false),
            ("aud", json!("https://authority.example/"), false),
            ("aud", json!(["https://authority.example", 7]), false),
            ("aud", json!({ "0": "https://authority.example" }), false),
            ("aud", json!(vec!["https://authority.example"; 11]), false),
            ("aud", Value::Null, false),
            ("iss", json!("https://id.acme.example/"), false),
            ("iss", json!("https://ID.acme.example"), false),
            ("iss", json!(["https://id.acme.example"]), false),
            ("iss", json!(""), false),
            ("iss", Value::Null, false),
        ] {
            let claims = with(claims(), member, value);
            assert_eq!(checked(&claims, NOW).is_ok(), good, "{claims}");
        }
        for member in ["iss", "aud"] {
            assert!(checked(without(claims(), member), NOW).is_err(), "{member}");
        }
    }

    #[test]
    fn times_are_kept_to_the_second() {
        assert!(checked(without(claims(), "exp"), NOW).is_err());
        assert!(checked(without(claims(), "iat"), NOW).is_ok());
        let ends = NOW + 600;
        for (now, good) in [
            (ends - 1, true),
            (ends + 4, true),
            (ends + 5, false),
            (u64::MAX, false),
        ] {
            assert_eq!(checked(claims(), now).is_ok(), good, "{now}");
        }
        for (member, value, good) in [
            ("nbf", json!(NOW + 5), true),
            ("nbf", json!(NOW + 6), false),
            ("iat", json!(NOW + 5), true),
            ("iat", json!(NOW + 6), false),
            ("nbf", json!(0), true),
            ("exp", json!(NOW + 86_400), true),
            ("exp", json!(NOW + 86_401), false),
            ("exp", json!(u64::MAX), false),
            ("iat", json!(0), false),
            ("exp", json!("1800000600"), false),
            ("exp", json!(1_800_000_600.5), true),
            ("exp", json!(1.800_000_6e9), true),
            ("exp", json!(1_800_000_600_000_u64), false),
            ("exp", json!(1e300), false),
            ("exp", json!(-1), false),
            ("exp", json!(-0.5), false),
            ("iat", json!(1_800_000_000.811), true),
            ("iat", json!(1_800_000_004.5), true),
            ("nbf", json!(1_800_000_005.0), true),
            // Rounded against the caller.
            ("nbf", json!(1_800_000_005.001), false),
            ("iat", json!(1_800_000_005.001), false),
            ("nbf", Value::Null, false),
            ("iat", json!(true), false),
        ] {
            let claims = with(claims(), member, value);
            assert_eq!(checked(&claims, NOW).is_ok(), good, "{claims}");
        }
    }

    #[test]
    fn a_fraction_never_helps_the_caller() {
        let ends = with(claims(), "exp", json!(1_800_000_100.811));
        assert!(checked(&ends, NOW + 104).is_ok());
        assert!(checked(&ends, NOW + 105).is_err());
        // A life is measured as it is written, not by its rounded ends.
        for (exp, good) in [(86_400.811, true), (86_400.812, false), (86_401.0, false)] {
            let lives = with(claims(), "iat", json!(1_800_000_000.811));
            let exp = 1_800_000_000.0 + exp;
            let lives = with(lives, "exp", json!(exp));
            assert_eq!(checked(&lives, NOW + 10).is_ok(), good, "{exp}");
        }
        let token = AccessToken::parse(&compact(header(), ends)).unwrap();
        assert_eq!(token.good_until(), Some(NOW + 105));
    }

    #[test]
    fn each_refusal_names_its_claim() {
        for (member, value, place) in [
            ("iss", json!("https://other.example"), "iss is another"),
            ("aud", json!("other"), "aud is another"),
            ("aud", json!([]), "aud: "),
            ("exp", json!("1800000600"), "exp: "),
            ("exp", json!(NOW * 1000), "exp: "),
            ("exp", json!(NOW + 90_000), "exp: "),
            ("exp", json!(NOW - 10), "expired"),
            ("nbf", json!("soon"), "nbf: "),
            ("nbf", json!(NOW + 60), "nbf: "),
            ("iat", json!(true), "iat: "),
            ("iat", json!(NOW + 60), "iat: "),
        ] {
            let claims = with(claims(), member, value);
            let fault = checked(&claims, NOW).unwrap_err().to_string();
            assert!(fault.starts_with(place), "{claims}: {fault}");
        }
        for member in ["aud", "exp"] {
            let fault = checked(without(claims(), member), NOW).unwrap_err();
            assert_eq!(fault.to_string(), format!("{member}: is missing"));
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let wrong = json!({ "iss": "https://other.example", "aud": 7, "exp": "soon" });
        let token = AccessToken::parse(&compact(with(header(), "typ", "x".into()), wrong)).unwrap();
        let faults = token.faults(&EXPECTED, NOW);
        let places = ["typ: ", "iss is another", "aud: ", "exp: "];
        assert_eq!(faults.len(), places.len());
        for (fault, place) in faults.iter().zip(places) {
            assert!(fault.to_string().starts_with(place), "{fault}");
        }
    }

    #[test]
    fn each_date_that_is_wrong_is_told() {
        for (dates, problems) in [
            (
                json!({ "exp": "soon", "nbf": true, "iat": -1 }),
                &["exp: is", "nbf: is", "iat: is"][..],
            ),
            (
                json!({ "nbf": NOW + 60, "iat": NOW + 60 }),
                &["exp: is missing", "nbf: not", "iat: lies"],
            ),
            (
                json!({ "exp": NOW - 10, "nbf": NOW + 60, "iat": 0 }),
                &["expired", "nbf: not", "exp: the token lives"],
            ),
        ] {
            let mut claims = without(without(claims(), "exp"), "iat");
            let members = dates.as_object().unwrap().clone();
            claims.as_object_mut().unwrap().extend(members);
            let token = AccessToken::parse(&compact(header(), &claims)).unwrap();
            let faults = token.faults(&EXPECTED, NOW);
            assert_eq!(faults.len(), problems.len(), "{claims}: {faults:?}");
            for (fault, problem) in faults.iter().zip(problems) {
                assert!(fault.to_string().starts_with(problem), "{claims}: {fault}");
            }
        }
    }

    /// Whoever reads the log is to find the provider whose tokens these are.
    #[test]
    fn a_payload_that_is_unreadable_still_names_its_issuer() {
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        for (members, problem) in [
            (r#""exp":1e400"#, "number is too large"),
            (r#""exp":1800000600,"n":-1e400"#, "number is too large"),
            (r#""exp":1800000600,"n":"\ud800""#, "lone surrogate"),
            (&format!(r#""exp":1800000600,"n":{deep}"#), "nested"),
            (r#""exp":1800000600,"exp":1900000000"#, "two members"),
        ] {
            let (iss, aud) = (EXPECTED.issuer, EXPECTED.audience);
            let claims =
                format!(r#"{{"iss":"{iss}","aud":"{aud}","client_id":"agent",{members}}}"#);
            let token = AccessToken::parse(&compact(header(), &claims)).unwrap();
            assert_eq!(token.issuer(), iss);
            assert!(token.audiences().is_empty() && token.possible_clients().next().is_none());
            let faults = token.faults(&EXPECTED, NOW);
            assert_eq!(faults.len(), 1, "{claims}");
            assert!(
                faults[0].to_string().contains(problem),
                "{claims}: {faults:?}"
            );
            assert_eq!(token.check_payload(), Err(faults[0].clone()));
            // Nobody can check its signature.
            assert!(token.key().is_err());
        }
        for claims in [
            r#"{"iss":"a","iss":"b","exp":1800000600}"#,
            r#"{"iss":7,"n":1e400}"#,
            r#"{"n":1e400}"#,
            r#"{"iss":"\ud800"}"#,
            r#"{"iss":"a""#,
            "[]",
        ] {
            let fault = AccessToken::parse(&compact(header(), claims)).err();
            let fault = fault.unwrap().to_string();
            assert!(fault.starts_with("the payload can't be read: "), "{fault}");
        }
    }

    #[test]
    fn an_encrypted_token_is_called_that() {
        let fault = AccessToken::parse("a.b.c.d.e").err().unwrap();
        assert!(fault.to_string().starts_with("an encrypted token"));
        assert!(AccessToken::parse("a.b.c.d").is_err());
    }

    #[test]
    fn a_dot_segment_is_told_to_be_no_client() {
        let claims = with(claims(), "client_id", "%2e.".into());
        let token = AccessToken::parse(&compact(header(), claims)).unwrap();
        let fault = SignedToken(&token).client_id(&["client_id".to_owned()]);
        assert!(fault.unwrap_err().to_string().contains("dot segment"));
    }

    /// A token of Cognito has no `aud`.
    #[test]
    fn another_claim_may_stand_for_the_audience() {
        let cognito = json!({
            "iss": EXPECTED.issuer, "client_id": "3n4b5", "token_use": "access",
            "scope": "mcp/read authority/connect", "iat": NOW, "exp": NOW + 600,
        });
        let checked = |claims: &Value, claim: &str, audience: &str| {
            let rules = TokenRules {
                audience_claim: Some(claim.to_owned()),
                ..TokenRules::default()
            };
            let expected = Expected {
                audience,
                rules: &rules,
                ..EXPECTED
            };
            AccessToken::parse(&compact(header(), claims))?.check(&expected, NOW)
        };
        assert_eq!(checked(&cognito, "client_id", "3n4b5"), Ok(()));
        assert_eq!(checked(&cognito, "scope", "authority/connect"), Ok(()));
        for (claim, audience) in [
            ("client_id", "other"),
            ("scope", "mcp"),
            ("scope", "mcp/read authority/connect"),
            ("exp", "1800000600"),
            ("azp", "3n4b5"),
            ("aud", "3n4b5"),
        ] {
            let fault = checked(&cognito, claim, audience).unwrap_err().to_string();
            assert!(fault.starts_with(claim), "{fault}");
        }
        // And `aud` then plays no part.
        let both = with(cognito, "aud", "elsewhere".into());
        assert_eq!(checked(&both, "client_id", "3n4b5"), Ok(()));
        assert!(checked(&both, "client_id", "elsewhere").is_err());
        let listed = with(both, "scp", json!(["a", "b"]));
        assert_eq!(checked(&listed, "scp", "b"), Ok(()));
        let many = with(listed, "scp", json!(vec!["b"; 101]));
        assert!(checked(&many, "scp", "b").is_err());
    }

    #[test]
    fn required_claims_must_be_there_with_their_values() {
        let claims = with(claims(), "token_use", "access".into());
        let claims = with(claims, "email_verified", true.into());
        let claims = with(claims, "ver", json!(2));
        let claims = with(claims, "roles", json!(["reader", "agent"]));
        let claims = with(claims, "nothing", Value::Null);
        for (claim, value, good) in [
            ("token_use", Some("access"), true),
            ("token_use", Some("id"), false),
            ("token_use", None, true),
            ("email_verified", Some("true"), true),
            ("email_verified", Some("false"), false),
            ("ver", Some("2"), true),
            ("roles", Some("agent"), true),
            ("roles", Some("admin"), false),
            ("roles", None, true),
            ("nothing", None, false),
            ("absent", None, false),
            ("absent", Some("x"), false),
        ] {
            let rules = TokenRules {
                required_claims: [(claim.to_owned(), value.map(str::to_owned))].into(),
                ..TokenRules::default()
            };
            let expected = Expected {
                rules: &rules,
                ..EXPECTED
            };
            let token = AccessToken::parse(&compact(header(), &claims)).unwrap();
            let result = token.check(&expected, NOW);
            assert_eq!(result.is_ok(), good, "{claim} {value:?}");
            if let Err(fault) = result {
                assert!(fault.to_string().starts_with(claim), "{fault}");
            }
        }
    }

    #[test]
    fn a_provider_may_have_one_type_of_token() {
        let rules = TokenRules {
            token_type: Some("at+jwt".to_owned()),
            ..TokenRules::default()
        };
        let expected = Expected {
            rules: &rules,
            ..EXPECTED
        };
        for (typ, good) in [
            (json!("at+jwt"), true),
            (json!("application/AT+JWT"), true),
            (json!("JWT"), false),
        ] {
            let header = with(header(), "typ", typ);
            let token = AccessToken::parse(&compact(&header, claims())).unwrap();
            assert_eq!(token.check(&expected, NOW).is_ok(), good, "{header}");
        }
        let token = AccessToken::parse(&compact(without(header(), "typ"), claims())).unwrap();
        assert!(token.check(&expected, NOW).is_err());
    }

    #[test]
    fn the_first_claim_that_is_there_names_the_client() {
        let names = ["client_id".to_owned(), "azp".to_owned()];
        for (claims, client) in [
            (claims(), Some("agent")),
            (with(claims(), "azp", "other".into()), Some("agent")),
            (
                with(without(claims(), "client_id"), "azp", "other".into()),
                Some("other"),
            ),
            (without(claims(), "client_id"), None),
            // There, but no id: the next one is not asked.
            (
                with(with(claims(), "client_id", 7.into()), "azp", "other".into()),
                None,
            ),
            (with(claims(), "client_id", "".into()), None),
            (with(claims(), "client_id", "a b".into()), None),
            (with(claims(), "client_id", "a".repeat(257).into()), None),
            (with(claims(), "client_id", "..".into()), None),
            (with(claims(), "client_id", "*".into()), None),
            (
                with(claims(), "client_id", "auth0|5f7c".into()),
                Some("auth0|5f7c"),
            ),
            (
                with(
                    claims(),
                    "client_id",
                    "https://app.example/client.json".into(),
                ),
                Some("https://app.example/client.json"),
            ),
        ] {
            let token = AccessToken::parse(&compact(header(), &claims)).unwrap();
            assert_eq!(
                SignedToken(&token).client_id(&names).ok(),
                client,
                "{claims}"
            );
        }
    }

    #[test]
    fn a_client_is_looked_up_by_what_could_be_its_id() {
        let claims = json!({ "iss": "i", "aud": "a", "azp": "b c", "client_id": "agent", "n": 7 });
        let token = AccessToken::parse(&compact(header(), claims)).unwrap();
        let mut possible: Vec<_> = token.possible_clients().collect();
        possible.sort_unstable();
        assert_eq!(
            possible,
            [("aud", "a"), ("client_id", "agent"), ("iss", "i")]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".*", header in ".*", claims in ".*") {
            let _ = AccessToken::parse(&text);
            let _ = AccessToken::parse(&compact(header, claims));
        }

        #[test]
        fn no_claims_but_good_ones_pass(exp: u64, nbf: u64, iat: u64, now: u64) {
            let claims = json!({
                "iss": EXPECTED.issuer, "aud": EXPECTED.audience, "exp": exp, "nbf": nbf, "iat": iat,
            });
            let result = checked(claims, now);
            if result.is_ok() {
                prop_assert!(now < exp.saturating_add(5));
                prop_assert!(nbf <= now.saturating_add(5) && iat <= now.saturating_add(5));
                prop_assert!(exp.saturating_sub(iat) <= MAX_ACCESS_TOKEN_LIFETIME);
            }
        }
    }
}

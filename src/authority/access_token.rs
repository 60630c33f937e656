//! Access tokens of tenants' identity providers: JWTs as RFC 9068 profiles them, read as strictly
//! as our own descriptors. Who signed is not decided here: see `provider_keys`.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_descriptor::{MAX_LEEWAY_SECONDS, strict_json};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::authority::{KeyHint, SignatureAlgorithm, is_id};

const MAX_BYTES: usize = 8 * 1024;
const MAX_KEY_ID_BYTES: usize = 256;
const MAX_ISSUER_BYTES: usize = 512;
/// Providers that name more audiences in one token are none that anybody has seen.
const MAX_AUDIENCES: usize = 10;

/// The longest life that an access token may have, in seconds. Who needs a token for longer wants an
/// API key, which can be revoked.
pub(crate) const MAX_ACCESS_TOKEN_LIFETIME: u64 = 24 * 60 * 60;

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

/// A token that has the right form. Nothing of it is to be believed yet.
pub(crate) struct AccessToken {
    /// What the signature is over.
    signed: String,
    signature: Vec<u8>,
    key: KeyHint,
    issuer: String,
    audiences: Vec<String>,
    claims: Map<String, Value>,
}

/// What a token is wrong with. For the log: says nothing of what the token says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TokenFault(pub(crate) &'static str);

/// Whom a token must come from and be for.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    /// In seconds.
    pub(crate) max_lifetime: u64,
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
            return Err(TokenFault("longer than a token may be"));
        }
        let mut parts = compact.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault("not three parts"));
        };
        let signed = format!("{header}.{payload}");
        let key = read_header(&decode(header)?, form.types)?;
        let claims: Map<String, Value> = strict_json::from_slice(&decode(payload)?)
            .map_err(|_| TokenFault("the payload is no JSON object with unique members"))?;
        let signature = decode(signature)?;
        if !key.algorithm.may_sign_with(signature.len()) {
            return Err(TokenFault("the signature's length is not the algorithm's"));
        }
        let issuer = claims
            .get("iss")
            .and_then(Value::as_str)
            .filter(|issuer| (1..=MAX_ISSUER_BYTES).contains(&issuer.len()))
            .ok_or(TokenFault("iss is missing, no string or too long"))?
            .to_owned();
        let audiences = read_audiences(claims.get("aud"))?;
        Ok(Self {
            signed,
            signature,
            key,
            issuer,
            audiences,
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

    /// What it says of the key that signed it.
    pub(crate) const fn key(&self) -> &KeyHint {
        &self.key
    }

    /// Who is said to have issued it: by this the provider is looked up, to learn what to check.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// Every claim that could name a client: by them a client is looked up, to learn more of it.
    pub(crate) fn possible_clients(&self) -> impl Iterator<Item = (&str, &str)> {
        self.claims
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .filter(|(_, value)| is_id(value))
    }

    /// Everything but the signature. `now` is in seconds since the Unix epoch.
    pub(crate) fn check(&self, expected: &Expected<'_>, now: u64) -> Result<(), TokenFault> {
        if self.issuer != expected.issuer {
            return Err(TokenFault("iss is another"));
        }
        if !self.audiences.iter().any(|aud| aud == expected.audience) {
            return Err(TokenFault("aud is another"));
        }
        let expires_at = self.seconds("exp")?.ok_or(TokenFault("exp is missing"))?;
        let not_before = self.seconds("nbf")?.unwrap_or(0);
        let issued_at = self.seconds("iat")?;
        if now >= expires_at.saturating_add(MAX_LEEWAY_SECONDS) {
            return Err(TokenFault("expired"));
        }
        let soonest = now.saturating_add(MAX_LEEWAY_SECONDS);
        if not_before > soonest || issued_at.is_some_and(|issued_at| issued_at > soonest) {
            return Err(TokenFault("not valid yet"));
        }
        // A token that doesn't say when its life began can't have more of it left than a whole one.
        if expires_at.saturating_sub(issued_at.unwrap_or(soonest)) > expected.max_lifetime {
            return Err(TokenFault("lives for too long"));
        }
        Ok(())
    }

    /// Until when it is taken, in seconds since the Unix epoch, where it says so.
    pub(crate) fn good_until(&self) -> Option<u64> {
        Some(
            self.seconds("exp")
                .ok()??
                .saturating_add(MAX_LEEWAY_SECONDS),
        )
    }

    /// A numeric date (RFC 7519, section 2), whole.
    fn seconds(&self, claim: &str) -> Result<Option<u64>, TokenFault> {
        self.claims
            .get(claim)
            .map(|value| {
                value
                    .as_u64()
                    .ok_or(TokenFault("exp, nbf or iat is no whole number of seconds"))
            })
            .transpose()
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
        claims
            .iter()
            .find_map(|name| self.0.claims.get(name))
            .ok_or(TokenFault("no claim names the client"))?
            .as_str()
            .filter(|id| is_id(id))
            .ok_or(TokenFault(
                "the claim that names the client has no usable id",
            ))
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
        return Err(TokenFault("a part is empty"));
    }
    Base64UrlUnpadded::decode_vec(part).map_err(|_| TokenFault("a part is not canonical base64url"))
}

fn read_header(json: &[u8], types: &[&str]) -> Result<KeyHint, TokenFault> {
    let header: Map<String, Value> = strict_json::from_slice(json)
        .map_err(|_| TokenFault("the header is no JSON object with unique members"))?;
    // Extensions that must be understood (RFC 7515, section 4.1.11): none is.
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(TokenFault("the header has crit or b64"));
    }
    let typ = header
        .get("typ")
        .map_or("jwt", |typ| typ.as_str().unwrap_or_default());
    if !types.iter().any(|known| typ.eq_ignore_ascii_case(known)) {
        return Err(TokenFault("typ is not that of such a token"));
    }
    let algorithm = header
        .get("alg")
        .and_then(Value::as_str)
        .and_then(SignatureAlgorithm::from_name)
        .ok_or(TokenFault("alg is none of RS256, PS256, ES256 and EdDSA"))?;
    let id = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if (1..=MAX_KEY_ID_BYTES).contains(&kid.len()) => {
            Some(kid.clone())
        }
        Some(_) => return Err(TokenFault("kid is no string of 1 to 256 bytes")),
    };
    Ok(KeyHint { id, algorithm })
}

fn read_audiences(aud: Option<&Value>) -> Result<Vec<String>, TokenFault> {
    let fault = TokenFault("aud is neither a string nor a list of 1 to 10 strings");
    let audiences: Vec<&Value> = match aud {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
        None => return Err(fault),
    };
    if !(1..=MAX_AUDIENCES).contains(&audiences.len()) {
        return Err(fault);
    }
    audiences
        .into_iter()
        .map(|audience| audience.as_str().map(str::to_owned).ok_or(fault))
        .collect()
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

    fn checked(claims: impl ToString, now: u64) -> Result<(), TokenFault> {
        AccessToken::parse(&compact(header(), claims))?.check(&EXPECTED, now)
    }

    #[test]
    fn a_good_token_is_read() {
        let token = AccessToken::parse(&compact(header(), claims())).unwrap();
        assert_eq!(token.check(&EXPECTED, NOW), Ok(()));
        assert_eq!(token.key().algorithm, SignatureAlgorithm::Es256);
        assert_eq!(token.key().id.as_deref(), Some("k1"));
        assert_eq!(token.signature(), [7; 64]);
        let text = compact(header(), claims());
        assert_eq!(token.signed(), text.rsplit_once('.').unwrap().0.as_bytes());
        assert_eq!(format!("{token:?}"), "AccessToken { .. }");
    }

    #[test]
    fn the_header_is_one_of_an_access_token() {
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt"] {
            let header = with(header(), "typ", typ.into());
            assert!(
                AccessToken::parse(&compact(header, claims())).is_ok(),
                "{typ}"
            );
        }
        for header in [without(header(), "typ"), without(header(), "kid")] {
            assert!(AccessToken::parse(&compact(header, claims())).is_ok());
        }
        for (member, value) in [
            ("typ", json!("mcp-connect+jwt")),
            ("typ", json!("")),
            ("typ", Value::Null),
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("alg", json!("RS512")),
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
            let text = compact(&header, claims());
            assert!(AccessToken::parse(&text).is_err(), "{header}");
        }
        assert!(AccessToken::parse(&compact(without(header(), "alg"), claims())).is_err());
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
            ("exp", json!(1_800_000_600.5), false),
            ("exp", json!(-1), false),
            ("nbf", Value::Null, false),
            ("iat", json!(true), false),
        ] {
            let claims = with(claims(), member, value);
            assert_eq!(checked(&claims, NOW).is_ok(), good, "{claims}");
        }
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
            (with(claims(), "client_id", "a".repeat(129).into()), None),
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

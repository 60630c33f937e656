//! The strict profile of a JWS in compact form around the JWT library: what is refused before any
//! signature work, and whether a key has signed.

use base64ct::{Base64UrlUnpadded, Encoding};
use jwt_compact::{
    AlgorithmExt as _, Empty, UntrustedToken, ValidationError,
    alg::{Ed25519, Es256},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    KeySet, MAX_KEY_ID_CHARS, Refusal,
    key_set::VerifyingKey,
    strict_json,
    unsigned::{Form, SIGNATURE_BYTES},
};

/// Header members that change what a signature means or where its key comes from (RFC 7515,
/// section 4.1; RFC 7797). Tokens have none of them, whatever their value.
const FORBIDDEN_HEADER_MEMBERS: [&str; 8] =
    ["crit", "b64", "zip", "cty", "jku", "jwk", "x5u", "x5c"];

/// A token of the right form. Nothing of it is to be believed yet.
pub(crate) struct Jws<'a> {
    compact: &'a str,
    algorithm: SignatureName,
    pub(crate) key_id: String,
}

/// `alg` of a header. Ed25519 has two names: RFC 8037's and RFC 9864's.
#[derive(Clone, Copy)]
enum SignatureName {
    EdDsa,
    Ed25519,
    Es256,
}

impl<'a> Jws<'a> {
    /// The token and its payload, or why it is none.
    pub(crate) fn parse<T: DeserializeOwned>(
        compact: &'a str,
        form: Form,
    ) -> Result<(Self, T), Refusal> {
        if compact.len() > form.max_bytes {
            let limit = form.max_bytes / 1024;
            return Err(Refusal::Malformed(
                format!("longer than {limit} KiB").into(),
            ));
        }
        let mut parts = compact.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::malformed("not three parts"));
        };

        let (algorithm, key_id) = parse_header(&decode(header, "header")?, form.token_type)?;
        let payload: T = strict_json::from_slice(&decode(payload, "payload")?)
            .map_err(|error| Refusal::Malformed(format!("payload: {error}").into()))?;
        if decode(signature, "signature")?.len() != SIGNATURE_BYTES {
            return Err(Refusal::malformed("signature is not 64 bytes"));
        }
        let token = Self {
            compact,
            algorithm,
            key_id,
        };
        Ok((token, payload))
    }

    /// Whether the named key signed this token, by the algorithm that is the key's own.
    pub(crate) fn verify(&self, keys: &KeySet) -> Result<(), Refusal> {
        let key = keys.get(&self.key_id).ok_or(Refusal::UnknownKey)?;
        let token = UntrustedToken::new(self.compact)
            .map_err(|error| Refusal::Malformed(error.to_string().into()))?;
        let checked = match (key, self.algorithm) {
            (VerifyingKey::Ed25519(key), SignatureName::EdDsa) => {
                Ed25519.validator::<Empty>(key).validate(&token).map(drop)
            }
            (VerifyingKey::Ed25519(key), SignatureName::Ed25519) => Ed25519::with_specific_name()
                .validator::<Empty>(key)
                .validate(&token)
                .map(drop),
            (VerifyingKey::P256(key), SignatureName::Es256) => {
                Es256.validator::<Empty>(key).validate(&token).map(drop)
            }
            _ => return Err(Refusal::malformed("alg is not that of the key")),
        };
        checked.map_err(|error| match error {
            ValidationError::InvalidSignature | ValidationError::MalformedSignature(_) => {
                Refusal::BadSignature
            }
            error => Refusal::Malformed(error.to_string().into()),
        })
    }
}

fn decode(part: &str, name: &'static str) -> Result<Vec<u8>, Refusal> {
    if part.is_empty() {
        return Err(Refusal::Malformed(format!("{name} is empty").into()));
    }
    Base64UrlUnpadded::decode_vec(part)
        .map_err(|_| Refusal::Malformed(format!("{name} is not canonical base64url").into()))
}

fn parse_header(json: &[u8], token_type: &str) -> Result<(SignatureName, String), Refusal> {
    let header: Map<String, Value> = strict_json::from_slice(json)
        .map_err(|error| Refusal::Malformed(format!("header: {error}").into()))?;
    if let Some(member) = FORBIDDEN_HEADER_MEMBERS
        .iter()
        .find(|&&member| header.contains_key(member))
    {
        return Err(Refusal::Malformed(format!("header has {member}").into()));
    }
    if header.get("typ").and_then(Value::as_str) != Some(token_type) {
        return Err(Refusal::Malformed(
            format!("typ is not {token_type}").into(),
        ));
    }
    let algorithm = match header.get("alg").and_then(Value::as_str) {
        Some("EdDSA") => SignatureName::EdDsa,
        Some("Ed25519") => SignatureName::Ed25519,
        Some("ES256") => SignatureName::Es256,
        _ => return Err(Refusal::malformed("alg is none of EdDSA, Ed25519, ES256")),
    };
    match header.get("kid").and_then(Value::as_str) {
        Some(kid) if (1..=MAX_KEY_ID_CHARS).contains(&kid.len()) => Ok((algorithm, kid.to_owned())),
        _ => Err(Refusal::malformed(
            "kid is missing, no string or longer than 256",
        )),
    }
}

//! Proofs that the sender of a request holds a key: `DPoP` (RFC 9449), in a profile as strict as
//! that of descriptors. Whether a proof was shown before is for whoever keeps a memory of them.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    Algorithm, MAX_LEEWAY_SECONDS, TargetUri, jwk::PublicJwk, strict_json,
    unsigned::SIGNATURE_BYTES,
};

/// The header in which a client proves to an MCP server that it holds the key to which its
/// descriptor is bound. Not `DPoP`, which belongs to the user's own access token, and which a
/// request may have only once (RFC 9449, section 4.3).
pub const PROOF_HEADER: &str = "mcp-connect-proof";

/// `typ` of a proof's header (RFC 9449, section 4.2).
pub const PROOF_TYPE: &str = "dpop+jwt";

/// The most bytes that a proof may have in its compact form.
pub const MAX_PROOF_BYTES: usize = 4 * 1024;

/// How old a proof may be, in seconds: it is good for this long after its `iat`.
pub const MAX_PROOF_AGE_SECONDS: u64 = 60;

/// Ten times what RFC 9449 (section 4.2) suggests.
const MAX_JTI_BYTES: usize = 256;

/// Header members that change what a signature means or where its key comes from (RFC 7515, section
/// 4.1; RFC 7797).
const FORBIDDEN_HEADER_MEMBERS: [&str; 7] = ["crit", "b64", "zip", "cty", "jku", "x5u", "x5c"];

/// Members of private and of symmetric keys (RFC 7518, section 6).
const SECRET_JWK_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The request that a proof is for.
#[derive(Clone, Copy, Debug)]
pub struct ProofContext<'a> {
    method: &'a str,
    target: &'a TargetUri,
    token: Option<&'a str>,
}

impl<'a> ProofContext<'a> {
    /// A request of this method, in the case in which HTTP writes it, to this URI.
    pub const fn new(method: &'a str, target: &'a TargetUri) -> Self {
        Self {
            method,
            target,
            token: None,
        }
    }

    /// … that shows this descriptor, in its compact form.
    #[must_use]
    pub const fn with_token(mut self, token: &'a str) -> Self {
        self.token = Some(token);
        self
    }
}

/// What is wrong with a proof. Says nothing of what the proof says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct ProofFault(&'static str);

/// A token that has the form of a proof. Nothing of it is to be believed yet.
///
/// Does not check the signature.
pub struct UnverifiedProof<'a> {
    signed: &'a str,
    signature: [u8; SIGNATURE_BYTES],
    key: PublicJwk,
    claims: Claims,
}

/// A proof that its sender holds the private half of a key. Good once.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Proof {
    /// RFC 7638 thumbprint of the key, as in `cnf.jkt` (RFC 9449, section 6.1).
    pub thumbprint: String,
    /// What tells this proof from the others of the key: who saw it before, refuses it.
    pub jti: String,
}

/// Members that aren't known are ignored.
#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: u64,
    ath: Option<String>,
}

impl<'a> UnverifiedProof<'a> {
    /// Reads a compact JWS, refusing everything that is not exactly a proof's form.
    pub fn parse(compact: &'a str) -> Result<Self, ProofFault> {
        if compact.len() > MAX_PROOF_BYTES {
            return Err(ProofFault("longer than 4 KiB"));
        }
        let (signed, signature) = compact
            .rsplit_once('.')
            .ok_or(ProofFault("not three parts"))?;
        let (header, payload) = signed
            .split_once('.')
            .filter(|(_, payload)| !payload.contains('.'))
            .ok_or(ProofFault("not three parts"))?;

        let key = read_header(&decode(header)?)?;
        let claims: Claims = strict_json::from_slice(&decode(payload)?)
            .map_err(|_| ProofFault("jti, htm, htu, iat or ath is missing, twice or of no use"))?;
        if !(1..=MAX_JTI_BYTES).contains(&claims.jti.len()) {
            return Err(ProofFault("jti is empty or longer than 256"));
        }
        let signature = decode(signature)?
            .try_into()
            .map_err(|_| ProofFault("the signature is not 64 bytes"))?;
        Ok(Self {
            signed,
            signature,
            key,
            claims,
        })
    }

    /// Checks everything but the signature. `now` is in seconds since the Unix epoch.
    pub fn check(&self, context: &ProofContext<'_>, now: u64) -> Result<(), ProofFault> {
        let claims = &self.claims;
        if claims.htm != context.method {
            return Err(ProofFault("htm is another method"));
        }
        if TargetUri::parse(&claims.htu).as_ref() != Some(context.target) {
            return Err(ProofFault("htu is another URI"));
        }
        if let Some(token) = context.token {
            match &claims.ath {
                None => return Err(ProofFault("ath is missing")),
                Some(ath) if *ath != hash(token) => {
                    return Err(ProofFault("ath is of another descriptor"));
                }
                Some(_) => {}
            }
        }
        if claims.iat > now.saturating_add(MAX_LEEWAY_SECONDS) {
            return Err(ProofFault("iat lies ahead"));
        }
        if now > claims.iat.saturating_add(MAX_PROOF_AGE_SECONDS) {
            return Err(ProofFault("iat is more than 60 s ago"));
        }
        Ok(())
    }

    /// How it is signed, as its key does.
    pub const fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    /// The public JWK of the key that is said to have signed: the members that make the key alone.
    pub fn public_jwk(&self) -> Value {
        Value::Object(self.key.to_json())
    }

    /// What the signature is over.
    pub const fn signed(&self) -> &[u8] {
        self.signed.as_bytes()
    }

    /// The signature; that of ES256 is *r* and *s* (RFC 7518, section 3.4).
    pub const fn signature(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.signature
    }

    /// RFC 7638 thumbprint of the key that is said to have signed.
    pub fn thumbprint(&self) -> String {
        self.key.thumbprint()
    }
}

#[cfg(feature = "verify")]
impl UnverifiedProof<'_> {
    /// Checks everything. `now` is in seconds since the Unix epoch.
    pub fn verify(self, context: &ProofContext<'_>, now: u64) -> Result<Proof, ProofFault> {
        self.check(context, now)?;
        let is_good = crate::verifying_key::VerifyingKey::new(self.key)
            .ok_or(ProofFault("jwk is no key of its curve, or a weak one"))?
            .has_signed(self.signed.as_bytes(), &self.signature);
        if !is_good {
            return Err(ProofFault("the signature does not match"));
        }
        Ok(Proof {
            thumbprint: self.thumbprint(),
            jti: self.claims.jti,
        })
    }
}

#[cfg(feature = "sign")]
impl ProofContext<'_> {
    /// Makes a proof in its compact form. `issued_at` is in seconds since the Unix epoch, `jti`
    /// random. `None`: the key is none of its curve.
    pub fn prove(&self, key: &crate::SigningKey, issued_at: u64, jti: &[u8; 16]) -> Option<String> {
        let header = serde_json::json!({
            "typ": PROOF_TYPE,
            "alg": key.algorithm(),
            "jwk": key.to_public_jwk(),
        });
        let mut claims = serde_json::json!({
            "jti": Base64UrlUnpadded::encode_string(jti),
            "htm": self.method,
            "htu": self.target.as_str(),
            "iat": issued_at,
        });
        if let (Some(token), Some(claims)) = (self.token, claims.as_object_mut()) {
            claims.insert("ath".into(), hash(token).into());
        }
        let unsigned = crate::Unsigned::of_parts(&header, &claims, MAX_PROOF_BYTES)?;
        Some(unsigned.with_signature(&key.sign(&unsigned)?))
    }
}

/// `ath` (RFC 9449, section 4.2).
fn hash(token: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(token))
}

fn decode(part: &str) -> Result<Vec<u8>, ProofFault> {
    Base64UrlUnpadded::decode_vec(part)
        .ok()
        .filter(|bytes| !bytes.is_empty())
        .ok_or(ProofFault("a part is empty or no canonical base64url"))
}

fn read_header(json: &[u8]) -> Result<PublicJwk, ProofFault> {
    let header: Map<String, Value> = strict_json::from_slice(json)
        .map_err(|_| ProofFault("the header is no JSON object, or has two members of one name"))?;
    if FORBIDDEN_HEADER_MEMBERS
        .iter()
        .any(|&member| header.contains_key(member))
    {
        return Err(ProofFault(
            "the header has crit, b64, zip, cty, jku, x5u or x5c",
        ));
    }
    if header.get("typ").and_then(Value::as_str) != Some(PROOF_TYPE) {
        return Err(ProofFault("typ is not dpop+jwt"));
    }
    let algorithm = match header.get("alg").and_then(Value::as_str) {
        Some("EdDSA" | "Ed25519") => Algorithm::EdDsa,
        Some("ES256") => Algorithm::Es256,
        _ => return Err(ProofFault("alg is none of ES256, EdDSA, Ed25519")),
    };
    let jwk = header.get("jwk").unwrap_or(&Value::Null);
    if SECRET_JWK_MEMBERS
        .iter()
        .any(|&member| jwk.get(member).is_some())
    {
        return Err(ProofFault("jwk has a private member"));
    }
    let key = PublicJwk::parse(jwk)
        .map_err(|_| ProofFault("jwk is no public key on Ed25519 or P-256"))?;
    if key.algorithm() != algorithm {
        return Err(ProofFault("alg is not that of jwk"));
    }
    Ok(key)
}

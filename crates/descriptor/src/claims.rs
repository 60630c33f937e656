use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};

#[cfg(feature = "verify")]
use crate::jws::{Dated, Dates};
use crate::{LATEST_DATE, MAX_LEEWAY_SECONDS, MAX_LIFETIME_SECONDS, strict_json};

pub(crate) const MAX_DATE_PROBLEM: &str = "a date is after the year 9999";

/// What a descriptor says, whoever signed it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_structs)] // the authority builds it member by member
pub struct Descriptor {
    /// `iss`: the authority, compared as an exact string.
    pub issuer: String,
    /// `aud` and `mcp.endpoint`: the server's canonical URI (RFC 8707, section 2).
    pub endpoint: String,
    /// `sub` and `mcp.server`: which server, and which of its versions.
    pub server: ServerIdentity,
    /// `iat`, in seconds since the Unix epoch.
    pub issued_at: u64,
    /// `nbf`, in seconds since the Unix epoch.
    pub not_before: u64,
    /// `exp`, in seconds since the Unix epoch; the descriptor is no longer good in this second.
    pub expires_at: u64,
    /// `jti`: the audit key, at least 128 random bits.
    pub jti: String,
    /// `client_id` (RFC 8693, section 4.3), when the caller was authenticated.
    pub client_id: Option<String>,
    /// `tenant_id`, when the caller belongs to a tenant.
    pub tenant_id: Option<String>,
    /// `cnf` (RFC 7800), when the descriptor is bound to a key of its sender.
    pub confirmation: Option<Confirmation>,
}

/// `mcp.server`: the server that a descriptor is for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)]
pub struct ServerIdentity {
    /// `namespace/name`.
    pub id: String,
    /// A version whose metadata never changes.
    pub version: String,
    /// Whether the authority has verified the server.
    pub verified: bool,
    /// The server's own key set, where the registry knows it.
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub jwks_uri: Option<String>,
    /// SHA-256 of the server's SPKI, where the registry knows it.
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub tls_pin_sha256: Option<String>,
}

/// `cnf`: the key that the sender of the descriptor must prove to hold.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Confirmation {
    /// `jkt`: SHA-256 thumbprint of a `DPoP` key (RFC 9449, section 6.1), in base64url.
    #[serde(rename = "jkt")]
    Jkt(String),
    /// `x5t#S256`: SHA-256 of a TLS client certificate (RFC 8705, section 3.1), in base64url.
    #[serde(rename = "x5t#S256")]
    X5tS256(String),
}

impl Confirmation {
    /// The certificate whose DER form has this SHA-256.
    pub fn of_certificate(sha256: &[u8; 32]) -> Self {
        Self::X5tS256(Base64UrlUnpadded::encode_string(sha256))
    }

    fn is_thumbprint(&self) -> bool {
        let (Self::Jkt(thumbprint) | Self::X5tS256(thumbprint)) = self;
        let mut sha256 = [0; 32];
        Base64UrlUnpadded::decode(thumbprint, &mut sha256).is_ok_and(|bytes| bytes.len() == 32)
    }
}

/// The claims as they stand in the token.
#[derive(Deserialize, Serialize)]
pub(crate) struct Payload {
    iss: String,
    #[serde(deserialize_with = "strict_json::one_string")]
    aud: String,
    sub: String,
    // Read apart: see `Dates`.
    #[serde(skip_deserializing)]
    iat: u64,
    #[serde(skip_deserializing)]
    nbf: u64,
    #[serde(skip_deserializing)]
    exp: u64,
    jti: String,
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    client_id: Option<String>,
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    tenant_id: Option<String>,
    #[serde(
        default,
        deserialize_with = "strict_json::present",
        skip_serializing_if = "Option::is_none"
    )]
    cnf: Option<Confirmation>,
    #[serde(deserialize_with = "strict_json::object")]
    mcp: Mcp,
}

#[derive(Deserialize, Serialize)]
struct Mcp {
    // No enum: serde takes `{"streamable_http": null}` for one of its variants, too.
    transport: String,
    endpoint: String,
    #[serde(deserialize_with = "strict_json::object")]
    server: ServerIdentity,
}

const TRANSPORT: &str = "streamable_http";

impl From<&Descriptor> for Payload {
    fn from(descriptor: &Descriptor) -> Self {
        Self {
            iss: descriptor.issuer.clone(),
            aud: descriptor.endpoint.clone(),
            sub: format!("server:{}", descriptor.server.id),
            iat: descriptor.issued_at,
            nbf: descriptor.not_before,
            exp: descriptor.expires_at,
            jti: descriptor.jti.clone(),
            client_id: descriptor.client_id.clone(),
            tenant_id: descriptor.tenant_id.clone(),
            cnf: descriptor.confirmation.clone(),
            mcp: Mcp {
                transport: TRANSPORT.into(),
                endpoint: descriptor.endpoint.clone(),
                server: descriptor.server.clone(),
            },
        }
    }
}

impl Payload {
    /// The rules that need neither a key, nor the time, nor an expectation; the error says which is
    /// broken.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let lifetime = self.exp.checked_sub(self.iat);
        if !matches!(lifetime, Some(1..=MAX_LIFETIME_SECONDS)) {
            return Err("exp - iat is not within 1 to 120 s");
        }
        if self.exp > LATEST_DATE {
            return Err(MAX_DATE_PROBLEM);
        }
        if self.nbf.saturating_add(MAX_LEEWAY_SECONDS) < self.iat || self.nbf >= self.exp {
            return Err("nbf is more than 5 s before iat, or not before exp");
        }
        let server = &self.mcp.server;
        let texts = [&self.iss, &self.aud, &self.jti, &server.id, &server.version];
        let optional = [&self.client_id, &self.tenant_id];
        if texts
            .into_iter()
            .chain(optional.into_iter().flatten())
            .any(String::is_empty)
        {
            return Err("a claim is empty");
        }
        if self.sub.strip_prefix("server:") != Some(&server.id) {
            return Err("sub is not server: and mcp.server.id");
        }
        if self.mcp.transport != TRANSPORT {
            return Err("mcp.transport is not streamable_http");
        }
        if self.cnf.as_ref().is_some_and(|cnf| !cnf.is_thumbprint()) {
            return Err("cnf is no SHA-256 in base64url");
        }
        Ok(())
    }

    #[cfg(feature = "verify")]
    pub(crate) fn first_valid_at(&self) -> u64 {
        self.nbf.max(self.iat)
    }

    #[cfg(feature = "verify")]
    pub(crate) fn endpoint_matches(&self) -> bool {
        self.mcp.endpoint == self.aud
    }
}

#[cfg(feature = "verify")]
impl Dated for Payload {
    fn with_dates(self, dates: Dates) -> Option<Self> {
        let Dates { iat, nbf, exp } = dates;
        Some(Self {
            iat,
            nbf: nbf?,
            exp,
            ..self
        })
    }
}

impl From<Payload> for Descriptor {
    fn from(payload: Payload) -> Self {
        Self {
            issuer: payload.iss,
            endpoint: payload.aud,
            server: payload.mcp.server,
            issued_at: payload.iat,
            not_before: payload.nbf,
            expires_at: payload.exp,
            jti: payload.jti,
            client_id: payload.client_id,
            tenant_id: payload.tenant_id,
            confirmation: payload.cnf,
        }
    }
}

//! What descriptors are bound to, so that nobody else can use them.

use std::{fmt, sync::Arc};

use http::HeaderValue;
use mcp_connect_descriptor::{Algorithm, Confirmation, ProofContext, SigningKey, TargetUri};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use url::Url;

use crate::{ConnectError, randomness::random_bytes};

/// A key that descriptors are bound to (RFC 9449, section 6.1). It signs a proof for each request, to
/// the authority and to servers. Cheap to clone.
#[derive(Clone)]
pub struct SenderKey(Arc<SigningKey>);

impl SenderKey {
    /// A new key, in memory only. Both algorithms are as good; who can choose takes
    /// [`Algorithm::EdDsa`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, ConnectError> {
        loop {
            // One secret in 2^32 is no key of P-256.
            if let Some(key) = SigningKey::from_secret(algorithm, &random_bytes()?) {
                return Ok(Self(Arc::new(key)));
            }
        }
    }

    /// A key that is kept elsewhere. It must serve for nothing else.
    pub fn new(key: SigningKey) -> Self {
        Self(Arc::new(key))
    }

    /// RFC 7638 thumbprint of the public half: `cnf.jkt` of the descriptors.
    pub fn thumbprint(&self) -> &str {
        self.0.id()
    }

    /// A proof for one request, dated by who will check it, for the value of a header.
    pub(crate) fn prove(
        &self,
        context: &ProofContext<'_>,
        unix_now: u64,
    ) -> Result<HeaderValue, ConnectError> {
        let proof = context.prove(&self.0, unix_now, &random_bytes()?);
        let mut value = proof
            .and_then(|proof| HeaderValue::try_from(proof).ok())
            .ok_or(ConnectError::Proof("the key can't sign it"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A proof for the authority (RFC 9449, section 5).
    pub(crate) fn prove_to_authority(
        &self,
        url: &Url,
        unix_now: u64,
    ) -> Result<HeaderValue, ConnectError> {
        self.prove(&ProofContext::new("POST", &target(url.as_str())?), unix_now)
    }
}

impl fmt::Debug for SenderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SenderKey")
            .field(&self.thumbprint())
            .finish()
    }
}

pub(crate) fn target(url: &str) -> Result<TargetUri, ConnectError> {
    TargetUri::parse(url).ok_or(ConnectError::Proof("the URL can't be named in one"))
}

/// A TLS client certificate that descriptors are bound to (RFC 8705, section 3), with its key.
#[derive(Clone)]
pub struct ClientCertificate {
    identity: reqwest::Identity,
    sha256: [u8; 32],
}

impl ClientCertificate {
    /// Reads the certificate, those that lead to its root where there are any, and the private key,
    /// all in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, ConnectError> {
        let identity = reqwest::Identity::from_pem(pem).map_err(|_| ConnectError::Certificate)?;
        // The client's own comes first (RFC 8446, section 4.4.2).
        let own = CertificateDer::from_pem_slice(pem).map_err(|_| ConnectError::Certificate)?;
        Ok(Self {
            identity,
            sha256: Sha256::digest(own).into(),
        })
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// What a client asks its descriptors to be bound to.
#[derive(Clone, Debug, Default)]
pub(crate) enum Binding {
    #[default]
    Nothing,
    Certificate(ClientCertificate),
    Key(SenderKey),
}

impl Binding {
    /// `cnf` of the descriptor that comes back.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        match self {
            Self::Nothing => None,
            Self::Certificate(certificate) => {
                Some(Confirmation::of_certificate(&certificate.sha256))
            }
            Self::Key(key) => Some(Confirmation::Jkt(key.thumbprint().to_owned())),
        }
    }

    pub(crate) fn identity(&self) -> Option<reqwest::Identity> {
        match self {
            Self::Certificate(certificate) => Some(certificate.identity.clone()),
            Self::Nothing | Self::Key(_) => None,
        }
    }

    pub(crate) const fn key(&self) -> Option<&SenderKey> {
        match self {
            Self::Key(key) => Some(key),
            Self::Nothing | Self::Certificate(_) => None,
        }
    }
}

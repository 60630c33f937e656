//! Whether a request comes from whom its descriptor is bound to (`cnf`).

use http::{Method, Request};
use mcp_connect_descriptor::{
    Confirmation, Descriptor, PROOF_HEADER, ProofContext, ProofFault, TargetUri, UnverifiedProof,
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    clock,
    replay::{ReplayCache, ReplayFault},
};

/// The certificate by which the client of a TLS connection authenticated itself.
///
/// Descriptors that are bound to a certificate (RFC 8705, section 3.1) are refused unless this is
/// among the extensions of the request. Whoever accepts the server's TLS connections puts it there,
/// for every request of a connection whose client has shown a certificate, and proven by the
/// handshake that it holds its key. Never make it from a header that a client could send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerCertificate {
    sha256: [u8; 32],
}

impl PeerCertificate {
    /// The client's own (end-entity) certificate in DER, as TLS libraries have it.
    pub fn from_der(certificate: &[u8]) -> Self {
        Self {
            sha256: Sha256::digest(certificate).into(),
        }
    }
}

/// What a request shows of its sender, beside the descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    method: Method,
    proof: Result<String, SenderFault>,
    certificate: Option<PeerCertificate>,
}

impl Sender {
    /// Takes the proof off a request, so that the server behind can neither log nor forward it.
    pub(crate) fn take<A>(request: &mut Request<A>) -> Self {
        let headers = request.headers_mut();
        let several = headers.get_all(PROOF_HEADER).iter().nth(1).is_some();
        let proof = match headers.remove(PROOF_HEADER) {
            None => Err(SenderFault::NoProof),
            Some(_) if several => Err(SenderFault::SeveralProofs),
            // What isn't ASCII is no proof.
            Some(value) => Ok(value.to_str().unwrap_or_default().to_owned()),
        };
        Self {
            method: request.method().clone(),
            proof,
            certificate: request.extensions().get().copied(),
        }
    }

    /// Of whom nothing is known but the descriptor.
    pub(crate) const fn unknown() -> Self {
        Self {
            method: Method::POST,
            proof: Err(SenderFault::NoProof),
            certificate: None,
        }
    }
}

/// Checks senders for one server. The caller learns only that the descriptor is of no use.
#[derive(Debug)]
pub(crate) struct SenderCheck {
    /// None: no URI of requests, so that no proof can be for it.
    target: Option<TargetUri>,
    replays: ReplayCache,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum SenderFault {
    #[error("bound to another client certificate than that of the connection")]
    AnotherCertificate,
    #[error("bound to another key than that of the proof")]
    AnotherKey,
    #[error("bound to a key of its sender in a way that this version does not know")]
    Binding,
    #[error("bound to a client certificate, and the connection has shown none")]
    NoCertificate,
    #[error("bound to a key of its sender, and there is no MCP-Connect-Proof header")]
    NoProof,
    #[error("bound to a key of its sender, of which the proof is not good: {0}")]
    Proof(#[from] ProofFault),
    #[error("bound to a key of its sender, of which the proof is refused: {0}")]
    Replay(#[from] ReplayFault),
    #[error(
        "bound to a key of its sender, and the MCP-Connect-Proof header is there more than once"
    )]
    SeveralProofs,
}

impl SenderCheck {
    /// For the server of this endpoint, remembering at most this many proofs.
    pub(crate) fn new(audience: &str, max_proofs: usize) -> Self {
        Self {
            target: TargetUri::parse(audience),
            replays: ReplayCache::new(max_proofs, Instant::now()),
        }
    }

    /// Whether the sender may use a descriptor, found good otherwise, whose compact form is `token`.
    /// A proof is good for one call of this.
    pub(crate) fn check(
        &self,
        descriptor: &Descriptor,
        token: &str,
        sender: &Sender,
    ) -> Result<(), SenderFault> {
        match &descriptor.confirmation {
            None => Ok(()),
            Some(Confirmation::Jkt(thumbprint)) => {
                self.check_proof(descriptor, thumbprint, token, sender)
            }
            Some(bound @ Confirmation::X5tS256(_)) => {
                let shown = sender.certificate.ok_or(SenderFault::NoCertificate)?;
                if *bound == Confirmation::of_certificate(&shown.sha256) {
                    Ok(())
                } else {
                    Err(SenderFault::AnotherCertificate)
                }
            }
            Some(_) => Err(SenderFault::Binding),
        }
    }

    fn check_proof(
        &self,
        descriptor: &Descriptor,
        thumbprint: &str,
        token: &str,
        sender: &Sender,
    ) -> Result<(), SenderFault> {
        let target = self.target.as_ref().ok_or(SenderFault::Binding)?;
        let proof = UnverifiedProof::parse(sender.proof.as_ref().map_err(|fault| *fault)?)?;
        // Before any signature work: garbage of strangers costs nothing.
        if proof.thumbprint() != thumbprint {
            return Err(SenderFault::AnotherKey);
        }
        let context = ProofContext::new(sender.method.as_str(), target).with_token(token);
        let proof = proof.verify(&context, clock::now().as_secs())?;
        let caller = (&descriptor.tenant_id, &descriptor.client_id);
        Ok(self
            .replays
            .admit((proof.thumbprint, proof.jti), caller, Instant::now())?)
    }
}

#[cfg(test)]
mod tests {
    use mcp_connect_descriptor::{ServerIdentity, SigningKey};

    use super::*;

    const ENDPOINT: &str = "https://mcp.example/mcp";

    #[test]
    fn a_callers_share_is_that_of_all_its_descriptors() {
        let key = SigningKey::from_seed(&[7; 32]);
        let descriptor = |client: &str| Descriptor {
            issuer: "https://authority.example".into(),
            endpoint: ENDPOINT.into(),
            server: ServerIdentity {
                id: "com.example/weather".into(),
                version: "1.0.0".into(),
                verified: true,
                jwks_uri: None,
                tls_pin_sha256: None,
            },
            issued_at: 100,
            not_before: 100,
            expires_at: 160,
            jti: "jti".into(),
            client_id: Some(client.into()),
            tenant_id: None,
            confirmation: Some(Confirmation::Jkt(key.id().into())),
        };
        let target = TargetUri::parse(ENDPOINT).unwrap();
        let senders = SenderCheck::new(ENDPOINT, 8);
        let show = |number: u8, client: &str| {
            let token = format!("token {number}");
            let context = ProofContext::new("POST", &target).with_token(&token);
            let proof = context.prove(&key, clock::now().as_secs(), &[number; 16]);
            let sender = Sender {
                proof: Ok(proof.unwrap()),
                ..Sender::unknown()
            };
            let mut descriptor = descriptor(client);
            descriptor.jti.clone_from(&token);
            senders.check(&descriptor, &token, &sender)
        };
        assert_eq!(show(0, "a"), Ok(()));
        assert_eq!(show(1, "a"), Ok(()));
        assert_eq!(show(2, "a"), Err(ReplayFault::CallerFull.into()));
        assert_eq!(show(3, "b"), Ok(()));
    }
}

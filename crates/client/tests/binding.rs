//! Descriptors that are bound to the client: asked for, checked, and proven on every request.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use mcp_connect_client::{Algorithm, ClientCertificate, ConnectError, SenderKey};
use mcp_connect_descriptor::{
    Confirmation, Proof, ProofContext, SigningKey, TargetUri, UnverifiedProof,
};
use rcgen::CertifiedKey;
use serde_json::json;
use sha2::{Digest, Sha256};
use support::{Bound, SERVER_ID, TestAuthority, unix_now};

/// A certificate with its key, in PEM, and the SHA-256 of its DER form.
fn certificate() -> (String, [u8; 32]) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    let pem = cert.pem() + &signing_key.serialize_pem();
    (pem, Sha256::digest(cert.der()).into())
}

fn verify(proof: &str, method: &str, endpoint: &str, token: &str) -> Result<Proof, String> {
    let target = TargetUri::parse(endpoint).unwrap();
    UnverifiedProof::parse(proof)
        .and_then(|proof| {
            let context = ProofContext::new(method, &target).with_token(token);
            proof.verify(&context, unix_now())
        })
        .map_err(|fault| fault.to_string())
}

#[tokio::test]
async fn a_grant_is_bound_to_the_key_and_proves_it() {
    let authority = TestAuthority::start().await;
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let key = SenderKey::generate(algorithm).unwrap();
        let client = authority.client().bound_to_key(key.clone());
        let grant = client.connect(SERVER_ID).await.unwrap();
        let jkt = key.thumbprint().to_owned();
        assert_eq!(grant.claims().confirmation, Some(Confirmation::Jkt(jkt)));

        let proofs = ["POST", "POST", "GET"].map(|method| {
            let proof = grant.prove(method).unwrap().unwrap();
            assert!(proof.is_sensitive());
            let proof = proof.to_str().unwrap();
            verify(proof, method, grant.endpoint(), grant.descriptor()).unwrap()
        });
        assert!(
            proofs
                .iter()
                .all(|proof| proof.thumbprint == key.thumbprint())
        );
        assert_ne!(proofs[0].jti, proofs[1].jti, "each is good once");
    }
    // Keys are made, not found.
    let thumbprint = || {
        SenderKey::generate(Algorithm::EdDsa)
            .unwrap()
            .thumbprint()
            .to_owned()
    };
    assert_ne!(thumbprint(), thumbprint());
}

#[tokio::test]
async fn a_descriptor_that_is_bound_otherwise_is_refused() {
    let authority = TestAuthority::start().await;
    let key = SenderKey::new(SigningKey::from_seed(&[42; 32]));
    let another = SigningKey::from_seed(&[43; 32]);
    let bound = || authority.client().bound_to_key(key.clone());
    let certificate = ClientCertificate::from_pem(certificate().0.as_bytes()).unwrap();
    let by_certificate = authority
        .client()
        .bound_to_certificate(certificate)
        .unwrap();

    for (name, client, confirmation) in [
        ("not bound", bound(), None),
        (
            "another key",
            bound(),
            Some(Confirmation::Jkt(another.id().into())),
        ),
        (
            "certificate",
            bound(),
            Some(Confirmation::of_certificate(&[1; 32])),
        ),
        (
            "unasked",
            authority.client(),
            Some(Confirmation::Jkt(key.thumbprint().into())),
        ),
        ("no certificate", by_certificate.clone(), None),
        (
            "another certificate",
            by_certificate,
            Some(Confirmation::of_certificate(&[1; 32])),
        ),
    ] {
        authority.script().bound = Bound::To(confirmation);
        let error = client.connect(SERVER_ID).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::OtherBinding),
            "{name}: {error}"
        );
    }
}

#[tokio::test]
async fn a_certificate_is_asked_for_in_the_body_and_proven_by_tls_alone() {
    let authority = TestAuthority::start().await;
    let (pem, sha256) = certificate();
    let certificate = ClientCertificate::from_pem(pem.as_bytes()).unwrap();
    let client = authority
        .client()
        .bound_to_certificate(certificate)
        .unwrap();
    let bound = Confirmation::of_certificate(&sha256);
    authority.script().bound = Bound::To(Some(bound));

    let grant = client.connect(SERVER_ID).await.unwrap();
    assert!(grant.prove("POST").unwrap().is_none());
    let body = json!({"server_ref": SERVER_ID, "bind": "mtls"}).to_string();
    assert_eq!(authority.script().requests[0].0, body);

    for pem in ["", "garbage", pem.split_at(100).0] {
        let refused = ClientCertificate::from_pem(pem.as_bytes());
        assert!(matches!(refused, Err(ConnectError::Certificate)));
    }
}

#[tokio::test]
async fn nothing_is_proven_where_nothing_is_bound() {
    let authority = TestAuthority::start().await;
    let grant = authority.client().connect(SERVER_ID).await.unwrap();
    assert!(grant.prove("POST").unwrap().is_none());
    assert_eq!(grant.claims().confirmation, None);
}

#[test]
fn no_debug_shows_a_secret() {
    let secret = [42; 32];
    let key = SenderKey::new(SigningKey::from_seed(&secret));
    let certificate = ClientCertificate::from_pem(certificate().0.as_bytes()).unwrap();
    assert_eq!(
        format!("{key:?}"),
        format!("SenderKey({:?})", key.thumbprint())
    );
    assert_eq!(format!("{certificate:?}"), "ClientCertificate { .. }");
}

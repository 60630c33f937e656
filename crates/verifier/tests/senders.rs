//! Descriptors that are bound to their sender, by a key or by a client certificate, over real HTTP.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use axum::{Extension, Router, http::HeaderMap, routing::any};
use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_descriptor::{
    Algorithm, Confirmation, ProofContext, SigningKey, TargetUri, UnverifiedProof,
};
use mcp_connect_verifier::{
    ConnectLayer, HEADER, Mode, PROOF_HEADER, PeerCertificate, RefusalCode, Verified,
    VerifierBuilder,
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use support::{AUDIENCE, Answer, Authority, key, key_set, now, serve};

/// Says whether the request came governed, and with the headers that must never arrive.
async fn inner(verified: Option<Extension<Verified>>, headers: HeaderMap) -> axum::Json<Value> {
    axum::Json(json!({
        "governed": verified.is_some(),
        "headers": headers.contains_key(HEADER) || headers.contains_key(PROOF_HEADER),
        "user": headers.get("dpop").map(|proof| proof.to_str().unwrap().to_owned()),
    }))
}

struct Server {
    authority: Authority,
    url: String,
}

impl Server {
    async fn start() -> Self {
        Self::with(|builder| builder, None).await
    }

    async fn with(
        settings: impl FnOnce(VerifierBuilder) -> VerifierBuilder,
        certificate: Option<PeerCertificate>,
    ) -> Self {
        let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
        let verifier = settings(authority.verifier()).build().unwrap();
        let mut app = Router::new()
            .route("/mcp", any(inner))
            .layer(ConnectLayer::new(verifier));
        // As the one who accepts TLS connections would.
        if let Some(certificate) = certificate {
            app = app.layer(Extension(certificate));
        }
        let url = format!("http://{}/mcp", serve(app).await);
        Self { authority, url }
    }

    fn token(&self, confirmation: Option<Confirmation>) -> String {
        let mut descriptor = self.authority.descriptor(60);
        descriptor.confirmation = confirmation;
        descriptor.mint(&key(1)).unwrap()
    }

    fn bound_to(&self, key: &SigningKey) -> String {
        self.token(Some(Confirmation::Jkt(key.id().to_owned())))
    }

    fn request(&self, method: Method, token: &str) -> RequestBuilder {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.request(method, &self.url).header(HEADER, token)
    }

    async fn show(&self, token: &str, proofs: &[&str]) -> u16 {
        let mut request = self.request(Method::POST, token);
        for proof in proofs {
            request = request.header(PROOF_HEADER, *proof);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        if status == 200 {
            assert_eq!(body["headers"], false);
        } else {
            let data = &body["error"]["data"];
            assert_eq!(data["code"], "descriptor_invalid");
            assert_eq!(data["retryable"], false);
        }
        status
    }
}

/// How a proof is made, apart from what the test changes.
struct Proof<'a> {
    key: &'a SigningKey,
    method: &'a str,
    uri: &'a str,
    token: Option<&'a str>,
    issued_at: u64,
    jti: u8,
}

impl<'a> Proof<'a> {
    fn of(key: &'a SigningKey, token: &'a str) -> Self {
        Self {
            key,
            method: "POST",
            uri: AUDIENCE,
            token: Some(token),
            issued_at: now().as_secs(),
            jti: 0,
        }
    }

    fn make(&self) -> String {
        let target = TargetUri::parse(self.uri).unwrap();
        let mut context = ProofContext::new(self.method, &target);
        if let Some(token) = self.token {
            context = context.with_token(token);
        }
        context
            .prove(self.key, self.issued_at, &[self.jti; 16])
            .unwrap()
    }
}

fn client_key(algorithm: Algorithm) -> SigningKey {
    SigningKey::from_secret(algorithm, &[42; 32]).unwrap()
}

#[tokio::test]
async fn who_holds_the_key_is_let_in_once_by_each_proof() {
    let server = Server::start().await;
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let key = client_key(algorithm);
        let token = server.bound_to(&key);
        for (method, name) in [
            (Method::POST, "POST"),
            (Method::GET, "GET"),
            (Method::DELETE, "DELETE"),
        ] {
            let proof = Proof {
                method: name,
                jti: name.len().try_into().unwrap(),
                ..Proof::of(&key, &token)
            }
            .make();
            let request = server.request(method.clone(), &token);
            let request = request
                .header(PROOF_HEADER, &proof)
                .header("dpop", "the user's");
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200, "{name}");
            let body: Value = response.json().await.unwrap();
            let expected = json!({"governed": true, "headers": false, "user": "the user's"});
            assert_eq!(body, expected);

            let request = server.request(method, &token).header(PROOF_HEADER, &proof);
            assert_eq!(request.send().await.unwrap().status(), 403, "{name} again");
        }
    }
}

#[tokio::test]
async fn no_proof_but_a_good_one_will_do() {
    let server = Server::start().await;
    let key = client_key(Algorithm::Es256);
    let token = server.bound_to(&key);
    let another = SigningKey::from_seed(&[43; 32]);
    let another_token = server.bound_to(&another);
    let good = || Proof::of(&key, &token);
    let now = now().as_secs();
    for (name, proof) in [
        (
            "key",
            Proof {
                key: &another,
                ..good()
            },
        ),
        (
            "method",
            Proof {
                method: "GET",
                ..good()
            },
        ),
        (
            "uri",
            Proof {
                uri: "https://mcp.example/other",
                ..good()
            },
        ),
        (
            "host",
            Proof {
                uri: "https://other.example/mcp",
                ..good()
            },
        ),
        (
            "url of the socket",
            Proof {
                uri: &server.url,
                ..good()
            },
        ),
        (
            "no ath",
            Proof {
                token: None,
                ..good()
            },
        ),
        (
            "another's ath",
            Proof {
                token: Some(&another_token),
                ..good()
            },
        ),
        (
            "old",
            Proof {
                issued_at: now - 62,
                ..good()
            },
        ),
        (
            "future",
            Proof {
                issued_at: now + 20,
                ..good()
            },
        ),
    ] {
        assert_eq!(server.show(&token, &[&proof.make()]).await, 403, "{name}");
    }
    assert_eq!(server.show(&token, &[]).await, 403);
    for garbage in ["", "garbage", &token] {
        assert_eq!(server.show(&token, &[garbage]).await, 403, "{garbage}");
    }
    let (first, second) = (good().make(), Proof { jti: 1, ..good() }.make());
    assert_eq!(server.show(&token, &[&first, &second]).await, 403);
    assert_eq!(
        server.show(&token, &[&format!("{first},{second}")]).await,
        403
    );
    let forged = format!("{}AA", first.split_at(first.len() - 2).0);
    assert_eq!(server.show(&token, &[&forged]).await, 403);

    // None of that has used the proof up.
    assert_eq!(server.show(&token, &[&first]).await, 200);
    assert_eq!(server.show(&token, &[&first]).await, 403);
    assert_eq!(server.show(&token, &[&second]).await, 200);
}

/// Both spellings of an ES256 signature are good, and so they are one proof.
#[tokio::test]
async fn a_proof_signed_otherwise_is_the_same_proof() {
    let server = Server::start().await;
    let key = client_key(Algorithm::Es256);
    let token = server.bound_to(&key);
    let proof = Proof::of(&key, &token).make();
    let (signed, _) = proof.rsplit_once('.').unwrap();
    let parsed = UnverifiedProof::parse(&proof).unwrap();
    let signature = p256::ecdsa::Signature::from_slice(parsed.signature()).unwrap();
    let (r, s) = signature.split_scalars();
    let negated = p256::ecdsa::Signature::from_scalars(r, -s).unwrap();
    let other = format!(
        "{signed}.{}",
        Base64UrlUnpadded::encode_string(&negated.to_bytes())
    );
    assert_ne!(proof, other);
    assert_eq!(server.show(&token, &[&other]).await, 200);
    assert_eq!(server.show(&token, &[&proof]).await, 403);
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_looked_at() {
    let server = Server::start().await;
    let token = server.token(None);
    assert_eq!(server.show(&token, &["garbage"]).await, 200);
    assert_eq!(server.show(&token, &["garbage", "twice"]).await, 200);
}

#[tokio::test]
async fn a_key_of_the_authority_that_is_new_costs_the_sender_no_second_proof() {
    let server = Server::start().await;
    assert_eq!(server.show(&server.token(None), &[]).await, 200);
    server.authority.publishes(&[&key(1), &key(2)]);
    let key = client_key(Algorithm::EdDsa);
    let mut descriptor = server.authority.descriptor(60);
    descriptor.confirmation = Some(Confirmation::Jkt(key.id().to_owned()));
    let token = descriptor.mint(&support::key(2)).unwrap();
    let proof = Proof::of(&key, &token).make();
    assert_eq!(server.show(&token, &[&proof]).await, 200);
    assert_eq!(server.show(&token, &[&proof]).await, 403);
}

#[tokio::test]
async fn without_the_request_there_is_no_sender() {
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority.verifier().build().unwrap();
    assert!(verifier.verify(&authority.token()).await.is_ok());
    for confirmation in [
        Confirmation::Jkt(client_key(Algorithm::EdDsa).id().to_owned()),
        Confirmation::of_certificate(&[1; 32]),
    ] {
        let mut descriptor = authority.descriptor(60);
        descriptor.confirmation = Some(confirmation);
        let token = descriptor.mint(&key(1)).unwrap();
        let rejection = verifier.verify(&token).await.unwrap_err();
        assert_eq!(rejection.code(), RefusalCode::Invalid);
        assert!(rejection.to_string().starts_with("bound to"), "{rejection}");
    }
}

#[tokio::test]
async fn modes_refuse_a_bad_proof_like_a_bad_descriptor() {
    let key = client_key(Algorithm::EdDsa);
    let optional = Server::with(|builder| builder.mode(Mode::Optional), None).await;
    let token = optional.bound_to(&key);
    assert_eq!(optional.show(&token, &[]).await, 403);

    let report = Server::with(|builder| builder.mode(Mode::Report), None).await;
    let token = report.bound_to(&key);
    for (proof, governed) in [
        ("garbage".to_owned(), false),
        (Proof::of(&key, &token).make(), true),
    ] {
        let request = report.request(Method::POST, &token);
        let response = request.header(PROOF_HEADER, proof).send().await.unwrap();
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            body,
            json!({"governed": governed, "headers": false, "user": null})
        );
    }
}

#[tokio::test]
async fn a_certificate_is_that_of_the_connection() {
    const CERTIFICATE: &[u8] = b"the DER form of a certificate";
    // printf 'the DER form of a certificate' | openssl dgst -sha256 -binary | basenc --base64url
    let bound = Some(Confirmation::X5tS256(
        "PK9wUfLhDmpZUHGPjT-DWpUODZXAm7Ae-p2s_tRaAY4".into(),
    ));
    for (certificate, status) in [
        (Some(PeerCertificate::from_der(CERTIFICATE)), 200),
        (Some(PeerCertificate::from_der(b"another")), 403),
        (None, 403),
    ] {
        let server = Server::with(|builder| builder, certificate).await;
        let token = server.token(bound.clone());
        assert_eq!(server.show(&token, &[]).await, status);
        // Other requests of the connection need none.
        assert_eq!(server.show(&server.token(None), &[]).await, 200);
    }
    // A certificate is no key of a proof, and the other way round.
    let certificate = PeerCertificate::from_der(CERTIFICATE);
    let server = Server::with(|builder| builder, Some(certificate)).await;
    let key = client_key(Algorithm::EdDsa);
    assert_eq!(server.show(&server.bound_to(&key), &[]).await, 403);
}

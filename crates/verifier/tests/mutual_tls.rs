//! Descriptors that are bound to a client certificate, over real TLS.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in their helpers"
)]

mod support;

use std::{net::SocketAddr, sync::Arc};

use axum::{Extension, Router, routing::post};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use mcp_connect_descriptor::Confirmation;
use mcp_connect_verifier::{ConnectLayer, HEADER, PeerCertificate, Verified};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client, Identity};
use sha2::{Digest, Sha256};
use support::{Answer, Authority, key, key_set};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier},
};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn issuer() -> Issuer {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issued_by(issuer: &Issuer, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.signed_by(&key, issuer).unwrap(), key)
}

/// Accepts connections with a certificate of the issuer, and without one.
async fn serve_tls(app: Router, issuer: &Issuer) -> SocketAddr {
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .unwrap();
    let (certificate, key) = issued_by(issuer, "localhost");
    let config = ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![certificate.der().clone()],
            key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, app) = (acceptor.clone(), app.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                // What docs/verifier.md tells server authors to do.
                let app = match stream.get_ref().1.peer_certificates() {
                    Some([own, ..]) => app.layer(Extension(PeerCertificate::from_der(own))),
                    _ => app,
                };
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
                    .await;
            });
        }
    });
    address
}

async fn inner(Extension(verified): Extension<Verified>) -> String {
    verified.jti.clone()
}

#[tokio::test]
async fn a_descriptor_is_good_on_connections_of_its_certificate_alone() {
    let authority = Authority::start(Answer::Body(key_set(&[&key(1)]))).await;
    let verifier = authority.verifier().build().unwrap();
    let app = Router::new()
        .route("/mcp", post(inner))
        .layer(ConnectLayer::new(verifier));
    let issuer = issuer();
    let address = serve_tls(app, &issuer).await;
    let url = format!("https://localhost:{}/mcp", address.port());

    let (own, own_key) = issued_by(&issuer, "client");
    let (other, other_key) = issued_by(&issuer, "another client");
    let client = |identity: Option<(&rcgen::Certificate, &KeyPair)>| {
        let root = Certificate::from_der(issuer.der()).unwrap();
        let builder = Client::builder()
            .no_proxy()
            .resolve("localhost", address)
            .tls_certs_only([root]);
        match identity {
            Some((certificate, key)) => {
                let pem = certificate.pem() + &key.serialize_pem();
                builder.identity(Identity::from_pem(pem.as_bytes()).unwrap())
            }
            None => builder,
        }
        .build()
        .unwrap()
    };
    let mut descriptor = authority.descriptor(60);
    let unbound = descriptor.mint(&key(1)).unwrap();
    descriptor.confirmation = Some(Confirmation::of_certificate(
        &Sha256::digest(own.der()).into(),
    ));
    let bound = descriptor.mint(&key(1)).unwrap();

    for (client, token, status) in [
        (client(Some((&own, &own_key))), &bound, 200),
        (client(Some((&own, &own_key))), &unbound, 200),
        (client(Some((&other, &other_key))), &bound, 403),
        (client(Some((&other, &other_key))), &unbound, 200),
        (client(None), &bound, 403),
        (client(None), &unbound, 200),
    ] {
        let request = client.post(&url).header(HEADER, token);
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

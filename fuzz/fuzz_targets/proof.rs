//! Any header and payload as a proof of possession: signed by a key of ours, which is put into the
//! header where it names it. What is accepted keeps every rule; a URI has one spelling.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mcp_connect_descriptor::{
    MAX_PROOF_AGE_SECONDS, PROOF_TYPE, ProofContext, TargetUri, UnverifiedProof,
};
use mcp_connect_fuzz::{AUDIENCE, Authority, LEEWAY, NOW, encode, object, sha256, split};
use serde_json::Value;

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);
static TARGET: LazyLock<TargetUri> = LazyLock::new(|| TargetUri::parse(AUDIENCE).unwrap());
const TOKEN: &str = "a.descriptor.here";

fuzz_target!(|input: &[u8]| {
    let Some((header, payload)) = split(input) else {
        return;
    };
    if let Some(uri) = std::str::from_utf8(payload).ok().and_then(TargetUri::parse) {
        let again = TargetUri::parse(uri.as_str());
        assert_eq!(again.as_ref(), Some(&uri));
        assert!(!uri.as_str().contains(['?', '#', '\\']));
    }
    // Keys are long, and a mutation of one is none.
    let Ok(header) = std::str::from_utf8(header) else {
        return;
    };
    let [ed25519, p256] = &AUTHORITY.signers;
    let signer = if header.contains("$P256") {
        p256
    } else {
        ed25519
    };
    let key = signer.key.to_public_jwk().to_string();
    let header = header.replace("$P256", &key).replace("$ED25519", &key);

    let context = ProofContext::new("POST", &TARGET).with_token(TOKEN);
    let forged = signer.forged(header.as_bytes(), payload);
    let Ok(parsed) = UnverifiedProof::parse(&forged) else {
        return;
    };
    assert_form(&header);
    if parsed.check(&context, NOW).is_err() {
        return;
    }
    assert!(parsed.verify(&context, NOW).is_err(), "forged");

    let token = signer.token(header.as_bytes(), payload);
    assert!(token.len() <= 4 * 1024);
    let parsed = UnverifiedProof::parse(&token).expect("the signature's form is good");
    let named = parsed.thumbprint();
    let proof = parsed.verify(&context, NOW);
    if named != signer.key.id() {
        assert!(proof.is_err(), "of another key");
        return;
    }
    let proof = proof.expect("it was checked before");
    assert_eq!(proof.thumbprint, signer.key.id());
    assert_claims(&object(payload).expect("a payload").into(), &proof.jti);
});

fn assert_form(header: &str) {
    let header = object(header.as_bytes()).expect("a header");
    for forbidden in ["crit", "b64", "zip", "cty", "jku", "x5u", "x5c"] {
        assert!(!header.contains_key(forbidden), "{forbidden}");
    }
    assert_eq!(header["typ"], PROOF_TYPE);
    let jwk = header["jwk"].as_object().expect("jwk");
    assert!(!jwk.contains_key("d") && !jwk.contains_key("k"));
    let is_p256 = header["alg"] == "ES256";
    assert!(is_p256 || header["alg"] == "EdDSA" || header["alg"] == "Ed25519");
    assert_eq!(jwk["kty"], if is_p256 { "EC" } else { "OKP" });
}

fn assert_claims(claims: &Value, jti: &str) {
    assert_eq!(claims["jti"], jti);
    assert!((1..=256).contains(&jti.len()));
    assert_eq!(claims["htm"], "POST");
    let uri = claims["htu"].as_str().expect("htu");
    assert_eq!(TargetUri::parse(uri).as_ref(), Some(&*TARGET));
    assert_eq!(claims["ath"], encode(&sha256(TOKEN.as_bytes())));
    let iat = claims["iat"].as_u64().expect("iat");
    assert!(iat <= NOW + LEEWAY && NOW <= iat + MAX_PROOF_AGE_SECONDS);
}

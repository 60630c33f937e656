//! To what of its sender a descriptor is to be bound (`cnf`), and what proves that the sender has it.

use mcp_connect_descriptor::{Confirmation, ProofContext, ProofFault, TargetUri, UnverifiedProof};

/// `bind` of a connect request: to the TLS client certificate of the connection (RFC 8705).
const MTLS: &str = "mtls";

/// What a request says of the key of its sender.
pub(crate) enum Possession<'a> {
    Nothing,
    Certificate,
    /// The proof's signature is not checked yet.
    Key(Box<UnverifiedProof<'a>>),
}

/// For the caller: names the header or the member, and what is wrong with it.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PossessionFault(String);

/// What the platform says of the client certificate of a TLS connection.
#[derive(Default)]
pub(crate) struct CertificateFacts {
    /// `SUCCESS` where it is of an issuer that the zone trusts.
    pub(crate) verified: String,
    /// `0` where it was not.
    pub(crate) revoked: String,
    /// SHA-256 of its DER form, in hexadecimal digits.
    pub(crate) sha256: String,
}

impl<'a> Possession<'a> {
    /// `proof` is the header `DPoP`, `bind` the member of the body, `endpoint` the URL of connect,
    /// `now` in seconds since the Unix epoch. That a proof is a fresh one has to do: shown again, it
    /// gets descriptors bound to the same key, and so to nobody else.
    pub(crate) fn read(
        proof: Option<&'a str>,
        bind: Option<&str>,
        endpoint: &str,
        now: u64,
    ) -> Result<Self, PossessionFault> {
        let proof = match (proof, bind) {
            (None, None) => return Ok(Self::Nothing),
            (None, Some(MTLS)) => return Ok(Self::Certificate),
            (Some(proof), None) => UnverifiedProof::parse(proof)?,
            (Some(_), Some(MTLS)) => {
                return Err(in_body(
                    "there is a DPoP proof, too; a descriptor is bound to one of both",
                ));
            }
            (_, Some(_)) => return Err(in_body("must be \"mtls\", or be left out")),
        };
        let target = TargetUri::parse(endpoint)
            .ok_or_else(|| in_header("the issuer of this authority can't be named in one"))?;
        proof.check(&ProofContext::new("POST", &target), now)?;
        Ok(Self::Key(Box::new(proof)))
    }
}

impl PossessionFault {
    pub(crate) fn signature() -> Self {
        in_header("the signature does not match")
    }
}

impl From<ProofFault> for PossessionFault {
    fn from(fault: ProofFault) -> Self {
        in_header(&fault.to_string())
    }
}

/// As RFC 9449 (section 5) has it: `invalid_dpop_proof`.
fn in_header(fault: &str) -> PossessionFault {
    PossessionFault(format!("the DPoP proof: {fault}"))
}

fn in_body(fault: &str) -> PossessionFault {
    PossessionFault(format!("bind: {fault}"))
}

/// Binds to the certificate of the connection.
pub(crate) fn certificate(facts: &CertificateFacts) -> Result<Confirmation, PossessionFault> {
    if facts.verified != "SUCCESS" {
        return Err(in_body(
            "the connection has no client certificate that Cloudflare has verified",
        ));
    }
    if facts.revoked != "0" {
        return Err(in_body(
            "the client certificate of the connection was revoked",
        ));
    }
    let sha256 = sha256_of_hex(&facts.sha256)
        .ok_or_else(|| in_body("the client certificate of the connection has no fingerprint"))?;
    Ok(Confirmation::of_certificate(&sha256))
}

fn sha256_of_hex(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use mcp_connect_descriptor::SigningKey;
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const ENDPOINT: &str = "https://authority.example/v1/connect";
    const NOW: u64 = 1_800_000_000;

    fn proof(method: &str, uri: &str, issued_at: u64) -> String {
        let target = TargetUri::parse(uri).unwrap();
        let key = SigningKey::from_seed(&[7; 32]);
        ProofContext::new(method, &target)
            .prove(&key, issued_at, &[1; 16])
            .unwrap()
    }

    fn problem(proof: &str, bind: Option<&str>) -> String {
        match Possession::read(Some(proof), bind, ENDPOINT, NOW) {
            Ok(_) => String::new(),
            Err(fault) => fault.to_string(),
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_proof_is_for_this_request_and_fresh() {
        let good = proof("POST", ENDPOINT, NOW);
        let read = Possession::read(Some(&good), None, ENDPOINT, NOW);
        let Ok(Possession::Key(key)) = read else {
            panic!("{}", problem(&good, None));
        };
        assert_eq!(key.thumbprint(), SigningKey::from_seed(&[7; 32]).id());

        for (proof, expected) in [
            (String::new(), "parts"),
            (format!("{good}, {good}"), "parts"),
            (proof("GET", ENDPOINT, NOW), "htm"),
            (proof("POST", "https://authority.example/", NOW), "htu"),
            (proof("POST", ENDPOINT, NOW - 61), "iat"),
            (proof("POST", ENDPOINT, NOW + 6), "iat"),
        ] {
            let problem = problem(&proof, None);
            assert!(problem.starts_with("the DPoP proof: "), "{problem}");
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_descriptor_is_bound_once() {
        let problem = problem(&proof("POST", ENDPOINT, NOW), Some(MTLS));
        assert!(problem.starts_with("bind: "), "{problem}");
        let read = |bind| Possession::read(None, bind, ENDPOINT, NOW);
        assert!(matches!(read(None), Ok(Possession::Nothing)));
        assert!(matches!(read(Some(MTLS)), Ok(Possession::Certificate)));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_certificate_is_one_that_the_platform_has_verified() {
        let facts = |verified: &str, revoked: &str, sha256: &str| CertificateFacts {
            verified: verified.into(),
            revoked: revoked.into(),
            sha256: sha256.into(),
        };
        let sha256 = "00ff".repeat(16);
        let good = certificate(&facts("SUCCESS", "0", &sha256)).unwrap();
        let bytes: Vec<u8> = [0x00, 0xff].repeat(16);
        assert_eq!(
            good,
            Confirmation::of_certificate(&bytes.try_into().unwrap())
        );
        assert_eq!(
            certificate(&facts("SUCCESS", "0", &sha256.to_uppercase())),
            Ok(good)
        );

        for bad in [
            CertificateFacts::default(),
            facts("NONE", "0", ""),
            facts("FAILED:certificate has expired", "0", &sha256),
            facts("success", "0", &sha256),
            facts("SUCCESS", "1", &sha256),
            facts("SUCCESS", "", &sha256),
            facts("SUCCESS", "0", ""),
            facts("SUCCESS", "0", &"0".repeat(63)),
            facts("SUCCESS", "0", &"+0".repeat(32)),
            facts("SUCCESS", "0", &"é".repeat(32)),
        ] {
            let problem = certificate(&bad).unwrap_err().to_string();
            assert!(problem.starts_with("bind: "), "{problem}");
        }
    }
}

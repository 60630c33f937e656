//! How a publisher proves to own a domain: it signs the time with a key that the domain publishes, in a
//! TXT record or in a document.

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use mcp_connect_catalog::{Action, Domain, Permission, date_micros};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Publisher;

pub(crate) const RECORD_PATH: &str = "/.well-known/mcp-registry-auth";
pub(crate) const MAX_RECORD_BYTES: usize = 4096;
/// How far a clock may be off, in both directions.
const WINDOW_MICROS: u64 = 15_000_000;
/// A proof is no longer good so long after it was shown, however far ahead its clock is.
pub(crate) const SPENT_MILLIS: u64 = 2 * WINDOW_MICROS / 1000;
/// The keys of one domain that are tried.
const MAX_KEYS: usize = 10;
/// RFC 3339 with a fraction and a zone.
const MAX_TIMESTAMP_CHARS: usize = 64;

/// Of Ed25519 and of P-384.
const SIGNATURE_BYTES: [usize; 2] = [64, 96];

/// A time that somebody signed. Whose key it was is not known yet.
#[derive(Debug)]
pub(crate) struct SignedTime {
    pub(crate) domain: Domain,
    message: String,
    signature: Vec<u8>,
}

/// A public key of a domain, as it stands in its record. Whether it lies on its curve is not known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum DomainKey {
    Ed25519([u8; 32]),
    /// A compressed point.
    P384([u8; 49]),
}

/// Why nothing is proven, for the publisher.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ProofFault(pub(crate) &'static str);

/// Where a domain has its keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// TXT records, which can be had by the owner of the zone alone: the domains below are the owner's.
    Dns,
    /// A document of its web server.
    Http,
}

impl SignedTime {
    /// `registry` is what the proof says it is for: then the signature is over that and the domain, too,
    /// and good nowhere else. `now` in milliseconds since the Unix epoch.
    pub(crate) fn read(
        domain: &str,
        timestamp: &str,
        signature: &str,
        registry: Option<&str>,
        issuer: &str,
        now: u64,
    ) -> Result<Self, ProofFault> {
        let domain: Domain = domain
            .parse()
            .map_err(|_| ProofFault("invalid domain: give a public one such as example.com"))?;
        if is_of_github(&domain) {
            return Err(ProofFault(
                "names below io.github are of GitHub's users and organisations: log in with GitHub",
            ));
        }
        let at = Some(timestamp)
            .filter(|timestamp| timestamp.len() <= MAX_TIMESTAMP_CHARS)
            .and_then(date_micros)
            .ok_or(ProofFault("invalid timestamp format: expected RFC 3339"))?;
        if at.abs_diff(now * 1000) > WINDOW_MICROS {
            return Err(ProofFault("timestamp outside valid window (±15 seconds)"));
        }
        if registry.is_some_and(|registry| registry != issuer) {
            return Err(ProofFault("the proof is for another registry"));
        }
        let signature = from_hex(signature)
            .ok_or(ProofFault("invalid signature format: expected hexadecimal"))?;
        if !SIGNATURE_BYTES.contains(&signature.len()) {
            return Err(ProofFault(
                "invalid signature length: expected 64 bytes (ed25519) or 96 (ecdsap384)",
            ));
        }
        let message = registry.map_or_else(
            || timestamp.to_owned(),
            |registry| format!("{timestamp}\n{registry}\n{domain}"),
        );
        Ok(Self {
            domain,
            message,
            signature,
        })
    }

    /// What the signature is over.
    pub(crate) fn signed(&self) -> &[u8] {
        self.message.as_bytes()
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether a signature of so many bytes can be one of this key.
    pub(crate) fn may_be_of(&self, key: &DomainKey) -> bool {
        let [ed25519, p384] = SIGNATURE_BYTES;
        let length = match key {
            DomainKey::Ed25519(_) => ed25519,
            DomainKey::P384(_) => p384,
        };
        self.signature.len() == length
    }

    /// What is the same each time that this proof is shown. Not the signature, of which there may be
    /// several that say the same.
    pub(crate) fn id(&self, key: &DomainKey) -> String {
        let digest = Sha256::new()
            .chain_update(key.as_bytes())
            .chain_update(&self.message)
            .finalize();
        Base64UrlUnpadded::encode_string(&digest)
    }

    /// What the owner of the domain may publish.
    pub(crate) fn publisher(&self, place: Place) -> Publisher {
        let namespace = self.domain.namespace();
        let publish = |resource| Permission {
            action: Action::Publish,
            resource,
        };
        let mut permissions = vec![publish(format!("{namespace}/*"))];
        if place == Place::Dns {
            permissions.push(publish(format!("{namespace}.*")));
        }
        Publisher {
            method: place.method().to_owned(),
            // One owner is one in the audit trail, and to limits.
            subject: self.domain.as_str().to_ascii_lowercase(),
            permissions,
        }
    }
}

impl Place {
    /// The login, as tokens name it.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Http => "http",
        }
    }

    /// The keys that a domain's texts have, the faulty ones left out: all of its TXT records, of a
    /// document the first alone.
    pub(crate) fn keys(self, texts: &[String]) -> Result<Vec<DomainKey>, ProofFault> {
        let found: Vec<_> = texts
            .iter()
            .filter_map(|text| DomainKey::read(text))
            .collect();
        let fault = found.iter().find_map(|key| key.as_ref().err().copied());
        let keys: Vec<_> = found.into_iter().flatten().take(MAX_KEYS).collect();
        match (keys.is_empty(), self) {
            (false, _) => Ok(keys),
            (true, Self::Dns) => {
                Err(fault.unwrap_or(ProofFault("no MCP public key found in DNS TXT records")))
            }
            (true, Self::Http) => {
                Err(fault.unwrap_or(ProofFault("no MCP public key found in the HTTP response")))
            }
        }
    }
}

impl DomainKey {
    /// The first record of a text: `v=MCPv1; k=ed25519; p=…`, or with `k=ecdsap384`. `None`: there is
    /// none.
    fn read(text: &str) -> Option<Result<Self, ProofFault>> {
        text.match_indices("v=MCPv1;").find_map(|(at, version)| {
            let rest = text.get(at + version.len()..)?.trim_ascii_start();
            let (kind, rest) = rest.strip_prefix("k=")?.split_once(';')?;
            let rest = rest.trim_ascii_start().strip_prefix("p=")?;
            let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
            let end = rest.find(|c| !is_base64(c)).unwrap_or(rest.len());
            let key = rest.get(..end)?;
            (!kind.is_empty() && !key.is_empty()).then(|| Self::of_record(kind, key))
        })
    }

    fn of_record(kind: &str, key: &str) -> Result<Self, ProofFault> {
        let key = Base64::decode_vec(key)
            .map_err(|_| ProofFault("invalid public key: expected standard base64"))?;
        match kind {
            "ed25519" => key
                .try_into()
                .map(Self::Ed25519)
                .map_err(|_| ProofFault("invalid Ed25519 public key size")),
            "ecdsap384" => key
                .try_into()
                .ok()
                .filter(|key: &[u8; 49]| matches!(key, [2 | 3, ..]))
                .map(Self::P384)
                .ok_or(ProofFault(
                    "invalid ECDSA P-384 public key: expected a compressed point of 49 bytes",
                )),
            _ => Err(ProofFault(
                "unsupported key type: expected ed25519 or ecdsap384",
            )),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(key) => key,
            Self::P384(key) => key,
        }
    }
}

/// The texts of the TXT records in an answer of DNS over HTTPS, in the JSON form of Cloudflare and Google.
pub(crate) fn txt_records(json: &[u8]) -> Result<Vec<String>, ProofFault> {
    const TXT: u64 = 16;
    const NO_SUCH_NAME: u64 = 3;
    let answer: Value = serde_json::from_slice(json)
        .map_err(|_| ProofFault("the DNS resolver's answer is no JSON"))?;
    match answer.get("Status").and_then(Value::as_u64) {
        Some(0) => {}
        Some(NO_SUCH_NAME) => return Ok(Vec::new()),
        // Also where DNSSEC says that the answer is somebody else's.
        _ => return Err(ProofFault("failed to look up the DNS TXT records")),
    }
    let records = answer.get("Answer").and_then(Value::as_array);
    Ok(records
        .into_iter()
        .flatten()
        .filter(|record| record.get("type").and_then(Value::as_u64) == Some(TXT))
        .filter_map(|record| Some(joined(record.get("data")?.as_str()?)))
        .collect())
}

/// A record is one or more quoted strings that belong together (RFC 1035, section 5.1; RFC 7208, section
/// 3.3). Google leaves out the quotes. No character of a key's record is ever escaped by its number.
fn joined(data: &str) -> String {
    if !data.starts_with('"') {
        return data.to_owned();
    }
    let (mut text, mut is_inside) = (String::new(), false);
    let mut chars = data.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => is_inside = !is_inside,
            '\\' => text.extend(chars.next()),
            _ if is_inside => text.push(c),
            _ => {}
        }
    }
    text
}

/// Who may push pages of an organisation is not its owner, who alone speaks for it.
fn is_of_github(domain: &Domain) -> bool {
    let domain = domain.as_str().to_ascii_lowercase();
    domain == "github.io" || domain.ends_with(".github.io")
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://registry.example";
    const TIMESTAMP: &str = "2026-01-02T03:04:05Z";
    /// In milliseconds.
    const NOW: u64 = 1_767_323_045_000;
    const KEY: &str = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";

    fn read(timestamp: &str, registry: Option<&str>, now: u64) -> Result<SignedTime, ProofFault> {
        let signature = "0aFF".repeat(32);
        SignedTime::read("example.com", timestamp, &signature, registry, ISSUER, now)
    }

    fn key_of(place: Place, texts: &[&str]) -> Result<Vec<DomainKey>, ProofFault> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        place.keys(&texts)
    }

    fn resources(place: Place) -> Vec<String> {
        let publisher = read(TIMESTAMP, None, NOW).unwrap().publisher(place);
        let permissions = publisher.permissions.into_iter();
        permissions
            .inspect(|permission| assert_eq!(permission.action, Action::Publish))
            .map(|permission| permission.resource)
            .collect()
    }

    #[test]
    fn a_domain_is_one_publisher_however_it_is_spelled() {
        let signature = "0aFF".repeat(32);
        let time =
            SignedTime::read("MCP.Example.com", TIMESTAMP, &signature, None, ISSUER, NOW).unwrap();
        let publisher = time.publisher(Place::Http);
        assert_eq!(publisher.subject, "mcp.example.com");
        assert_eq!(publisher.permissions[0].resource, "com.example.mcp/*");
    }

    #[test]
    fn a_proof_is_good_for_fifteen_seconds_before_and_after() {
        for (now, good) in [
            (NOW - 15_001, false),
            (NOW - 15_000, true),
            (NOW, true),
            (NOW + 15_000, true),
            (NOW + 15_001, false),
            (0, false),
        ] {
            assert_eq!(read(TIMESTAMP, None, now).is_ok(), good, "{now}");
        }
        assert!(read("2026-01-02T04:04:05.5+01:00", None, NOW).is_ok());
        let long = format!("2026-01-02T03:04:05.{}Z", "0".repeat(64));
        for timestamp in ["", "1767323045", "2026-01-02", "2026-01-02T03:04:05", &long] {
            assert!(read(timestamp, None, NOW).is_err(), "{timestamp}");
        }
    }

    #[test]
    fn what_is_signed_is_the_time_or_what_it_is_for_too() {
        let plain = read(TIMESTAMP, None, NOW).unwrap();
        assert_eq!(plain.signed(), TIMESTAMP.as_bytes());
        assert_eq!(plain.signature(), [0x0a, 0xff].repeat(32));
        let bound = read(TIMESTAMP, Some(ISSUER), NOW).unwrap();
        let expected = format!("{TIMESTAMP}\n{ISSUER}\nexample.com");
        assert_eq!(bound.signed(), expected.as_bytes());
        for other in ["", "https://registry.example/", "https://other.example"] {
            assert!(read(TIMESTAMP, Some(other), NOW).is_err(), "{other}");
        }
        let key = DomainKey::Ed25519([7; 32]);
        assert_eq!(plain.id(&key), read(TIMESTAMP, None, NOW).unwrap().id(&key));
        assert_ne!(plain.id(&key), bound.id(&key));
        assert_ne!(plain.id(&key), plain.id(&DomainKey::Ed25519([8; 32])));
    }

    #[test]
    fn domains_and_signatures_are_read_strictly() {
        let read = |domain: &str, signature: &str| {
            SignedTime::read(domain, TIMESTAMP, signature, None, ISSUER, NOW)
        };
        let good = "0a".repeat(64);
        for domain in ["example.com", "github.io.example.com", "notgithub.io"] {
            assert!(read(domain, &good).is_ok(), "{domain}");
        }
        for domain in [
            "localhost",
            "127.0.0.1",
            "example.com/x",
            "*.example.com",
            "",
            "github.io",
            "octo.github.io",
            "a.Octo.GitHub.IO",
        ] {
            assert!(read(domain, &good).is_err(), "{domain}");
        }
        for digits in [63, 65, 95, 97, 0] {
            assert!(
                read("example.com", &"0a".repeat(digits)).is_err(),
                "{digits}"
            );
        }
        assert!(read("example.com", &"0a".repeat(96)).is_ok());
        assert!(read("example.com", &good[1..]).is_err());
        for signature in ["0g", "0x", "+f", "é"] {
            let signature = format!("{}{signature}", &good[signature.len()..]);
            assert!(read("example.com", &signature).is_err(), "{signature}");
        }
    }

    #[test]
    fn the_first_key_of_a_text_is_its_key() {
        let good = format!("v=MCPv1; k=ed25519; p={KEY}");
        for text in [
            good.clone(),
            format!("v=MCPv1;k=ed25519;p={KEY}"),
            format!("x v=MCPv1; v=MCPv1;\n k=ed25519;\t p={KEY}; more"),
            format!("{good}\nv=MCPv1; k=ecdsap384; p=c2hvcnQ="),
        ] {
            let keys = key_of(Place::Http, &[&text]).unwrap();
            assert_eq!(Base64::encode_string(keys[0].as_bytes()), KEY, "{text}");
        }
        for text in [
            "",
            "v=MCPv1",
            "v=MCPv1; k=ed25519; p=",
            "v=MCPv1; k=; p=A6EH",
            "V=MCPv1; k=ed25519; p=A6EH",
            &good.replace("; p", " p"),
            &good.replace("v1; k", "v1 k"),
            &good.replace("MCPv1", "MCPv2"),
            // The first is the one that counts.
            &format!("v=MCPv1; k=ecdsap384; p=c2hvcnQ=\n{good}"),
        ] {
            assert!(key_of(Place::Http, &[text]).is_err(), "{text}");
        }
    }

    #[test]
    fn of_several_records_the_good_ones_count() {
        let good = format!("v=MCPv1; k=ed25519; p={KEY}");
        let short = "v=MCPv1; k=ed25519; p=c2hvcnQ=";
        let spf = "v=spf1 include:_spf.example.com ~all";
        assert_eq!(key_of(Place::Dns, &[spf, short, &good]).unwrap().len(), 1);
        assert_eq!(key_of(Place::Dns, &[&*good; 20]).unwrap().len(), MAX_KEYS);
        let fault = |texts: &[&str]| key_of(Place::Dns, texts).unwrap_err().to_string();
        assert_eq!(fault(&[spf]), "no MCP public key found in DNS TXT records");
        assert_eq!(fault(&[spf, short]), "invalid Ed25519 public key size");
    }

    #[test]
    fn records_of_dns_over_https_are_put_together() {
        let answer = json!({
            "Status": 0, "AD": false,
            "Answer": [
                { "name": "example.com", "type": 5, "TTL": 1, "data": "elsewhere.example." },
                { "name": "example.com", "type": 16, "TTL": 1, "data": r#""v=MCPv1; k=ed25519; " "p=AA\"\\==""# },
                { "name": "example.com", "type": 16, "TTL": 1, "data": "as it is" },
                { "name": "example.com", "type": 16, "TTL": 1 },
            ],
        });
        let records = txt_records(answer.to_string().as_bytes()).unwrap();
        assert_eq!(records, [r#"v=MCPv1; k=ed25519; p=AA"\=="#, "as it is"]);
        for (answer, records) in [
            (r#"{"Status":0}"#, Some(0)),
            (r#"{"Status":3}"#, Some(0)),
            (r#"{"Status":2}"#, None),
            (r#"{"Answer":[]}"#, None),
            ("[]", None),
            ("<html>", None),
        ] {
            let found = txt_records(answer.as_bytes()).map(|records| records.len());
            assert_eq!(found.ok(), records, "{answer}");
        }
    }

    #[test]
    fn vectors_are_read_as_the_official_registry_reads_them() {
        let path = format!(
            "{}/../shared/conformance/registry/auth-vectors.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let Ok(text) = fs::read_to_string(&path) else {
            eprintln!("not compared: {path} is not there");
            return;
        };
        let cases: Value = serde_json::from_str(&text).unwrap();
        for vector in cases["vectors"].as_array().unwrap() {
            let text = |member: &str| vector[member].as_str().unwrap();
            for place in [Place::Dns, Place::Http] {
                let keys = key_of(place, &[text("record")]).unwrap();
                let key = &keys[0];
                assert_eq!(
                    Base64::encode_string(key.as_bytes()),
                    text("public_key_b64")
                );
                let proof = SignedTime::read(
                    "example.com",
                    text("timestamp"),
                    text("signed_timestamp"),
                    None,
                    ISSUER,
                    NOW,
                )
                .unwrap();
                assert!(proof.may_be_of(key));
                assert_eq!(proof.signed(), text("timestamp").as_bytes());
            }
        }
        for record in cases["bad_records"].as_array().unwrap() {
            let record = record.as_str().unwrap();
            assert!(key_of(Place::Dns, &[record]).is_err(), "{record}");
        }
        for (place, case) in [
            (Place::Dns, "dns example.com"),
            (Place::Http, "http example.com"),
        ] {
            assert_eq!(json!(resources(place)), cases["permissions"][case]);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "(v=MCPv1;)?[ k=ed25519;p\"\\\\é]*") {
            let _ = key_of(Place::Dns, &[&text]);
            let _ = txt_records(json!({ "Status": 0, "Answer": [{ "type": 16, "data": text }] }).to_string().as_bytes());
            let _ = from_hex(&text);
        }
    }
}

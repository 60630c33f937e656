//! What the fuzz targets share: an authority's fixed keys, and the rules of docs/protocol.md said a
//! second time, as plainly as can be, over plain JSON. A target compares the two.

use std::sync::OnceLock;

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_descriptor::{
    Algorithm, Confirmation, Descriptor, Expected, KeySet, KeyStatus, RevocationFeed,
    ServerIdentity, SigningKey, Withdrawn,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub const ISSUER: &str = "https://authority.example";
pub const AUDIENCE: &str = "https://mcp.example/mcp";
pub const SERVER_ID: &str = "com.example/weather";
pub const NOW: u64 = 1_800_000_030;
pub const LEEWAY: u64 = 5;
const SIGNATURE_BYTES: usize = 64;

/// An Ed25519 and a P-256 key, and what is published of them.
pub struct Authority {
    pub keys: KeySet,
    pub signers: [Signer; 2],
}

/// A key that signs whatever it is given, unlike those of the crate under test.
pub struct Signer {
    pub key: SigningKey,
    pub secret: Secret,
}

pub enum Secret {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl Authority {
    pub fn new() -> Self {
        let signers = [
            Signer {
                key: SigningKey::from_seed(&[1; 32]),
                secret: Secret::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[1; 32])),
            },
            Signer {
                key: SigningKey::from_secret(Algorithm::Es256, &[2; 32]).unwrap(),
                secret: Secret::P256(p256::ecdsa::SigningKey::from_slice(&[2; 32]).unwrap()),
            },
        ];
        let jwks: Vec<Value> = signers.iter().map(Signer::published).collect();
        let keys = json!({ "keys": jwks }).to_string();
        let keys = KeySet::parse(keys.as_bytes()).unwrap();
        Self { keys, signers }
    }

    /// The key that a header names.
    pub fn signer(&self, header: &[u8]) -> Option<&Signer> {
        let header: Value = serde_json::from_slice(header).ok()?;
        let key_id = header.get("kid")?.as_str()?;
        self.signers.iter().find(|signer| signer.key.id() == key_id)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Signer {
    pub fn published(&self) -> Value {
        let mut jwk = self.key.to_private_jwk(KeyStatus::Active);
        jwk.as_object_mut().unwrap().remove("d");
        jwk
    }

    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        match &self.secret {
            Secret::Ed25519(key) => ed25519_dalek::Signer::sign(key, message).to_bytes(),
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature =
                    p256::ecdsa::signature::Signer::sign(key, message);
                signature.to_bytes().into()
            }
        }
    }

    /// A compact token whose parts are these, whatever they are.
    pub fn token(&self, header: &[u8], payload: &[u8]) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }

    /// … with the signature of something else.
    pub fn forged(&self, header: &[u8], payload: &[u8]) -> String {
        static OF_NOTHING: OnceLock<[String; 2]> = OnceLock::new();
        let of_nothing = OF_NOTHING.get_or_init(|| {
            Authority::new()
                .signers
                .map(|signer| encode(&signer.sign(b"")))
        });
        let signature = &of_nothing[usize::from(matches!(self.secret, Secret::P256(_)))];
        format!("{}.{}.{signature}", encode(header), encode(payload))
    }
}

pub fn expected() -> Expected<'static> {
    Expected::new(ISSUER, SERVER_ID)
        .audience(AUDIENCE)
        .leeway(LEEWAY)
}

/// A good descriptor.
pub fn descriptor() -> Descriptor {
    Descriptor {
        issuer: ISSUER.into(),
        endpoint: AUDIENCE.into(),
        server: ServerIdentity {
            id: SERVER_ID.into(),
            version: "1.0.0".into(),
            verified: true,
            jwks_uri: None,
            tls_pin_sha256: None,
        },
        issued_at: NOW - 30,
        not_before: NOW - 30,
        expires_at: NOW + 30,
        jti: "q3VYb2h1S2FmT0l5dUtQZA".into(),
        client_id: Some("desktop".into()),
        tenant_id: Some("acme".into()),
        confirmation: None,
    }
}

/// A good feed, with something in each list.
pub fn feed() -> RevocationFeed {
    let withdrawn = |id: &str| Withdrawn {
        id: id.into(),
        at: NOW - 10,
        ..Withdrawn::default()
    };
    RevocationFeed {
        issuer: ISSUER.into(),
        issued_at: NOW - 30,
        expires_at: NOW + 30,
        window_seconds: 160,
        all: Some(NOW - 100),
        servers: vec![withdrawn(SERVER_ID)],
        versions: vec![Withdrawn {
            version: Some("1.0.0".into()),
            ..withdrawn(SERVER_ID)
        }],
        tenants: vec![withdrawn("acme")],
        clients: vec![Withdrawn {
            tenant_id: Some("acme".into()),
            ..withdrawn("desktop")
        }],
        keys: vec![withdrawn("stolen")],
        jtis: vec![withdrawn("q3VYb2h1S2FmT0l5dUtQZA")],
    }
}

/// The bytes that a text says, and only where it is the one way to say them.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bits = 0u32;
    let mut held = 0;
    let mut bytes = Vec::new();
    for symbol in text.bytes() {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    let is_canonical = held < 6 && bits & ((1 << held) - 1) == 0;
    is_canonical.then_some(bytes)
}

pub fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Header and payload of an input: a line, and all that follows.
pub fn split(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|&byte| byte == b'\n')?;
    Some((&input[..end], &input[end + 1..]))
}

/// A JSON object without two members of one name in any object: there are as many members in it as
/// it has colons outside of strings.
pub fn object(json: &[u8]) -> Option<Map<String, Value>> {
    let Value::Object(object) = serde_json::from_slice(json).ok()? else {
        return None;
    };
    let (mut colons, mut in_string, mut escaped) = (0, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b':' if !in_string => colons += 1,
            _ => {}
        }
    }
    (members(&Value::Object(object.clone())) == colons).then_some(object)
}

fn members(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(members).sum(),
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        _ => 0,
    }
}

/// Asserts of a token that was accepted what docs/protocol.md, section 3, says of its form. Returns
/// its payload.
pub fn assert_form(
    authority: &Authority,
    compact: &str,
    token_type: &str,
    max_bytes: usize,
) -> Map<String, Value> {
    assert!(compact.len() <= max_bytes);
    let parts: Vec<&str> = compact.split('.').collect();
    assert_eq!(parts.len(), 3);
    let parts = parts
        .into_iter()
        .map(|part| decode(part).expect("canonical"));
    let parts: Vec<Vec<u8>> = parts.collect();
    let header = object(&parts[0]).expect("a header");
    for forbidden in [
        "crit", "b64", "zip", "cty", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256",
    ] {
        assert!(!header.contains_key(forbidden), "{forbidden}");
    }
    assert_eq!(header["typ"], token_type);
    let alg = header["alg"].as_str().expect("alg");
    let key_id = header["kid"].as_str().expect("kid");
    assert!((1..=256).contains(&key_id.len()));
    let signer = authority
        .signer(&parts[0])
        .expect("a key of the authority's");
    let fits = match signer.secret {
        Secret::Ed25519(_) => alg == "EdDSA" || alg == "Ed25519",
        Secret::P256(_) => alg == "ES256",
    };
    assert!(fits, "{alg}");
    assert_eq!(parts[2].len(), SIGNATURE_BYTES);
    object(&parts[1]).expect("a payload")
}

fn text<'a>(object: &'a Map<String, Value>, member: &str) -> &'a str {
    let text = object[member].as_str().expect("a string");
    assert!(!text.is_empty(), "{member}");
    text
}

fn optional_text(object: &Map<String, Value>, member: &str) -> Option<String> {
    let text = object.get(member)?;
    Some(text.as_str().expect("no null, nothing else").to_owned())
}

fn date(object: &Map<String, Value>, member: &str) -> u64 {
    let date = object[member].as_u64().expect("whole seconds");
    assert!(date <= 253_402_300_799, "{member}");
    date
}

/// Asserts of a descriptor that was accepted now what section 3 says of its claims, and that it is
/// what its payload says.
pub fn assert_descriptor(payload: &Map<String, Value>, accepted: &Descriptor) {
    let audience = match &payload["aud"] {
        Value::Array(audiences) => {
            assert_eq!(audiences.len(), 1);
            &audiences[0]
        }
        audience => audience,
    };
    let mcp = payload["mcp"].as_object().expect("mcp");
    let server = mcp["server"].as_object().expect("mcp.server");
    let (iat, nbf, exp) = (
        date(payload, "iat"),
        date(payload, "nbf"),
        date(payload, "exp"),
    );
    assert_eq!(payload["iss"], ISSUER);
    assert_eq!(*audience, AUDIENCE);
    assert_eq!(mcp["endpoint"], AUDIENCE);
    assert_eq!(mcp["transport"], "streamable_http");
    assert_eq!(server["id"], SERVER_ID);
    assert_eq!(payload["sub"], format!("server:{SERVER_ID}"));
    assert!(exp > iat && exp - iat <= 120);
    assert!(iat <= NOW + LEEWAY && nbf <= NOW + LEEWAY && NOW < exp + LEEWAY);
    assert!(nbf < exp && nbf + LEEWAY >= iat);

    let confirmation = payload.get("cnf").map(|cnf| {
        let cnf = cnf.as_object().expect("cnf");
        let (name, thumbprint) = cnf.iter().next().expect("one member");
        let thumbprint = thumbprint.as_str().expect("a thumbprint").to_owned();
        assert_eq!(decode(&thumbprint).expect("canonical").len(), 32);
        assert_eq!(cnf.len(), 1);
        match name.as_str() {
            "jkt" => Confirmation::Jkt(thumbprint),
            "x5t#S256" => Confirmation::X5tS256(thumbprint),
            other => panic!("{other}"),
        }
    });
    let said = Descriptor {
        issuer: ISSUER.into(),
        endpoint: AUDIENCE.into(),
        server: ServerIdentity {
            id: SERVER_ID.into(),
            version: text(server, "version").into(),
            verified: server["verified"].as_bool().expect("verified"),
            jwks_uri: optional_text(server, "jwks_uri"),
            tls_pin_sha256: optional_text(server, "tls_pin_sha256"),
        },
        issued_at: iat,
        not_before: nbf,
        expires_at: exp,
        jti: text(payload, "jti").into(),
        client_id: optional_text(payload, "client_id"),
        tenant_id: optional_text(payload, "tenant_id"),
        confirmation,
    };
    assert_eq!(*accepted, said);
}

/// Asserts of a feed that was accepted now what section 6 says of its claims.
pub fn assert_feed(payload: &Map<String, Value>, accepted: &RevocationFeed) {
    let (iat, exp) = (date(payload, "iat"), date(payload, "exp"));
    assert_eq!(payload["iss"], ISSUER);
    assert!(exp > iat && exp - iat <= 120);
    assert!(iat <= NOW + LEEWAY && NOW < exp + LEEWAY);
    let mut entries = 0;
    let mut list = |name: &str| -> Vec<Withdrawn> {
        let list = payload[name].as_array().expect("a list");
        entries += list.len();
        list.iter()
            .map(|entry| {
                let entry = entry.as_object().expect("an object");
                Withdrawn {
                    id: entry["id"].as_str().expect("id").to_owned(),
                    version: optional_text(entry, "version"),
                    tenant_id: optional_text(entry, "tenant_id"),
                    at: entry["at"].as_u64().expect("at"),
                }
            })
            .collect()
    };
    let said = RevocationFeed {
        issuer: ISSUER.into(),
        issued_at: iat,
        expires_at: exp,
        window_seconds: payload["window_seconds"].as_u64().expect("window_seconds"),
        all: payload.get("all").map(|all| all.as_u64().expect("all")),
        servers: list("servers"),
        versions: list("versions"),
        tenants: list("tenants"),
        clients: list("clients"),
        keys: list("keys"),
        jtis: list("jtis"),
    };
    assert!(entries <= 1000);
    assert!(said.versions.iter().all(|entry| entry.version.is_some()));
    assert_eq!(*accepted, said);
}

//! The revocation feed: what it refuses, its form, and that its bounds lose nothing.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use base64ct::{Base64UrlUnpadded, Encoding};
use mcp_connect_descriptor::{
    Algorithm, Descriptor, FEED_TYPE, MAX_FEED_BYTES, MAX_FEED_ENTRIES, MintError, Refusal,
    RevocationFeed, ServerIdentity, SigningKey, SigningKeys, Withdrawal, Withdrawn, verify_feed,
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://authority.example";
const KID: &str = "the-key";

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn keys() -> SigningKeys {
    let jwk = key().to_private_jwk(mcp_connect_descriptor::KeyStatus::Active);
    SigningKeys::parse(&json!({ "keys": [jwk] }).to_string()).unwrap()
}

fn feed() -> RevocationFeed {
    RevocationFeed {
        issuer: ISSUER.into(),
        issued_at: NOW,
        expires_at: NOW + 60,
        window_seconds: 160,
        ..RevocationFeed::default()
    }
}

fn entry(id: &str, at: u64) -> Withdrawn {
    Withdrawn {
        id: id.into(),
        at,
        ..Withdrawn::default()
    }
}

fn descriptor(issued_at: u64) -> Descriptor {
    Descriptor {
        issuer: ISSUER.into(),
        endpoint: "https://mcp.example/mcp".into(),
        server: ServerIdentity {
            id: "com.example/weather".into(),
            version: "1.2.0".into(),
            verified: true,
            jwks_uri: None,
            tls_pin_sha256: None,
        },
        issued_at,
        not_before: issued_at,
        expires_at: issued_at + 60,
        jti: "q3VYb2h1S2FmT0l5dUtQZA".into(),
        client_id: Some("desktop".into()),
        tenant_id: Some("acme".into()),
        confirmation: None,
    }
}

fn signed(feed: &RevocationFeed, key: &SigningKey) -> String {
    let unsigned = feed.to_unsigned(key).unwrap();
    unsigned.with_signature(&key.sign(&unsigned).unwrap())
}

/// Signs any header and claims with the good key.
fn sign(header: &Value, claims: &str) -> String {
    use ed25519_dalek::Signer as _;
    let encode = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
    let input = format!("{}.{}", encode(&header.to_string()), encode(claims));
    let signature = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).sign(input.as_bytes());
    let signature = Base64UrlUnpadded::encode_string(&signature.to_bytes());
    format!("{input}.{signature}")
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "kid": key().id(), "typ": FEED_TYPE })
}

fn check(token: &str) -> Result<RevocationFeed, Refusal> {
    verify_feed(token, &keys().public(), ISSUER, NOW)
}

#[test]
fn each_list_refuses_what_it_names_up_to_its_second() {
    type Case = (Withdrawal, fn(&mut RevocationFeed));
    let cases: [Case; 6] = [
        (Withdrawal::Server, |f| {
            f.servers.push(entry("com.example/weather", NOW));
        }),
        (Withdrawal::Version, |f| {
            f.versions.push(Withdrawn {
                version: Some("1.2.0".into()),
                ..entry("com.example/weather", NOW)
            });
        }),
        (Withdrawal::Tenant, |f| f.tenants.push(entry("acme", NOW))),
        (Withdrawal::Client, |f| {
            f.clients.push(Withdrawn {
                tenant_id: Some("acme".into()),
                ..entry("desktop", NOW)
            });
        }),
        (Withdrawal::All, |f| f.all = Some(NOW)),
        // One entry of several.
        (Withdrawal::Server, |f| {
            f.servers = vec![
                entry("com.example/other", NOW),
                entry("com.example/weather", NOW),
            ];
        }),
    ];
    for (withdrawal, change) in cases {
        let mut feed = feed();
        change(&mut feed);
        for issued_at in [NOW - 60, NOW] {
            let revoked = feed.revokes(&descriptor(issued_at), KID);
            assert_eq!(revoked, Some(withdrawal));
        }
        assert_eq!(
            feed.revokes(&descriptor(NOW + 1), KID),
            None,
            "{withdrawal}"
        );
    }
}

#[test]
fn keys_and_single_descriptors_are_refused_whatever_their_date() {
    let mut with_key = feed();
    with_key.keys.push(entry(KID, NOW));
    let mut with_jti = feed();
    with_jti.jtis.push(entry("q3VYb2h1S2FmT0l5dUtQZA", NOW));
    for issued_at in [NOW - 60, NOW, NOW + 1000] {
        let descriptor = descriptor(issued_at);
        assert_eq!(with_key.revokes(&descriptor, KID), Some(Withdrawal::Key));
        assert_eq!(with_key.revokes(&descriptor, "another"), None);
        assert_eq!(with_jti.revokes(&descriptor, KID), Some(Withdrawal::Jti));
    }
}

#[test]
fn what_is_not_meant_passes() {
    let near = RevocationFeed {
        servers: vec![
            entry("com.example/weather2", NOW),
            entry("com.example", NOW),
        ],
        versions: vec![
            Withdrawn {
                version: Some("1.2.1".into()),
                ..entry("com.example/weather", NOW)
            },
            Withdrawn {
                version: Some("1.2.0".into()),
                ..entry("com.example/other", NOW)
            },
        ],
        tenants: vec![entry("desktop", NOW)],
        clients: vec![
            entry("desktop", NOW),
            Withdrawn {
                tenant_id: Some("other".into()),
                ..entry("desktop", NOW)
            },
        ],
        keys: vec![entry("q3VYb2h1S2FmT0l5dUtQZA", NOW)],
        jtis: vec![entry(KID, NOW)],
        ..feed()
    };
    assert_eq!(near.revokes(&descriptor(NOW), KID), None);
    let anonymous = Descriptor {
        client_id: None,
        tenant_id: None,
        ..descriptor(NOW)
    };
    assert_eq!(near.revokes(&anonymous, KID), None);
}

#[test]
fn what_was_signed_is_read_back_by_both_algorithms() {
    let full = RevocationFeed {
        all: Some(NOW - 100),
        versions: vec![Withdrawn {
            version: Some("1.0.0".into()),
            ..entry("a/b", NOW)
        }],
        ..feed()
    };
    assert_eq!(check(&signed(&full, &key())), Ok(full.clone()));
    let p256 = SigningKey::from_secret(Algorithm::Es256, &[9; 32]).unwrap();
    let jwk = p256.to_private_jwk(mcp_connect_descriptor::KeyStatus::Active);
    let set = SigningKeys::parse(&json!({ "keys": [jwk] }).to_string()).unwrap();
    assert_eq!(
        verify_feed(&signed(&full, &p256), &set.public(), ISSUER, NOW),
        Ok(full)
    );
}

#[test]
fn its_claims_are_exactly_the_protocols() {
    let token = signed(&feed(), &key());
    let part = |index: usize| -> Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&Base64UrlUnpadded::decode_vec(part).unwrap()).unwrap()
    };
    assert_eq!(part(0), header());
    assert_eq!(
        part(1),
        json!({
            "iss": ISSUER, "iat": NOW, "exp": NOW + 60, "window_seconds": 160,
            "servers": [], "versions": [], "tenants": [], "clients": [], "keys": [], "jtis": []
        })
    );
}

#[test]
fn what_is_no_feed_is_refused() {
    let claims = |change: fn(&mut Value)| {
        let mut claims = serde_json::to_value(feed()).unwrap();
        change(&mut claims);
        sign(&header(), &claims.to_string())
    };
    assert!(check(&claims(|c| c["new"] = json!(1))).is_ok());
    let malformed: [fn(&mut Value); 13] = [
        |c| c["exp"] = json!(NOW),
        |c| c["exp"] = json!(NOW + 121),
        |c| c["iat"] = json!("now"),
        |c| c["servers"] = json!(null),
        |c| c["all"] = json!(null),
        |c| c["all"] = json!(1.5),
        |c| c["versions"] = json!([{ "id": "com.example/weather", "version": null, "at": NOW }]),
        |c| c["clients"] = json!([{ "id": "desktop", "tenant_id": null, "at": NOW }]),
        |c| {
            c.as_object_mut().unwrap().remove("keys");
        },
        |c| c["servers"] = json!([["com.example/weather", null, null, NOW]]),
        |c| c["servers"] = json!([{ "id": "com.example/weather" }]),
        |c| c["versions"] = json!([{ "id": "com.example/weather", "at": NOW }]),
        |c| c["jtis"] = json!(vec![json!({ "id": "j", "at": NOW }); MAX_FEED_ENTRIES + 1]),
    ];
    for (index, change) in malformed.into_iter().enumerate() {
        let refusal = check(&claims(change)).unwrap_err();
        assert!(
            matches!(refusal, Refusal::Malformed { .. }),
            "{index}: {refusal}"
        );
    }
    let text = serde_json::to_string(&feed()).unwrap();
    for (what, token) in [
        (
            "a descriptor",
            sign(
                &json!({ "alg": "EdDSA", "kid": key().id(), "typ": "mcp-connect+jwt" }),
                &text,
            ),
        ),
        (
            "crit",
            sign(
                &json!({ "alg": "EdDSA", "kid": key().id(), "typ": FEED_TYPE, "crit": ["exp"] }),
                &text,
            ),
        ),
        (
            "duplicates",
            sign(
                &header(),
                &text.replacen('{', r#"{"iss":"https://evil.example","#, 1),
            ),
        ),
        (
            "too long",
            sign(
                &header(),
                &text.replacen(
                    '{',
                    &format!(r#"{{"pad":"{}","#, "x".repeat(MAX_FEED_BYTES)),
                    1,
                ),
            ),
        ),
    ] {
        assert!(
            matches!(check(&token), Err(Refusal::Malformed { .. })),
            "{what}"
        );
    }
}

#[test]
fn issuer_time_and_signature_are_checked() {
    let token = signed(&feed(), &key());
    let at = |now| verify_feed(&token, &keys().public(), ISSUER, now);
    assert!(at(NOW - 5).is_ok() && at(NOW + 64).is_ok());
    assert!(matches!(at(NOW - 6), Err(Refusal::NotYetValid { .. })));
    assert!(matches!(at(NOW + 65), Err(Refusal::Expired { .. })));
    let other = verify_feed(&token, &keys().public(), "https://authority.example/", NOW);
    assert_eq!(other, Err(Refusal::WrongIssuer));
    let stranger = SigningKey::from_seed(&[8; 32]);
    assert_eq!(check(&signed(&feed(), &stranger)), Err(Refusal::UnknownKey));
    let (head, signature) = token.rsplit_once('.').unwrap();
    let tampered = format!("{head}.{}{}", &signature[1..], &signature[..1]);
    assert!(check(&tampered).is_err());
    let late = RevocationFeed {
        expires_at: NOW + 121,
        ..feed()
    };
    assert!(matches!(
        late.to_unsigned(&key()),
        Err(MintError::Claims(_))
    ));
}

fn ids() -> impl Strategy<Value = String> {
    "[a-c]{1,2}".prop_map(|id| format!("com.example/{id}"))
}

prop_compose! {
    fn entries(most: usize)(list in vec((ids(), 0..200_u64, "[ab]", any::<bool>()), 0..most)) -> Vec<Withdrawn> {
        list.into_iter().map(|(id, ago, version, has_tenant)| Withdrawn {
            id,
            version: Some(version),
            tenant_id: has_tenant.then(|| "acme".into()),
            at: NOW - ago,
        }).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is in it: it can be signed, and refuses all that it refused before.
    #[test]
    fn bounds_only_ever_refuse_more(
        lists in (entries(900), entries(900), entries(300), entries(900), entries(100), entries(300)),
        long in 0..400_usize,
        probes in vec((ids(), "[ab]", 0..200_u64, any::<prop::sample::Index>()), 20),
    ) {
        let (servers, versions, tenants, clients, keys, jtis) = lists;
        let mut whole = RevocationFeed { servers, versions, tenants, clients, keys, jtis, ..feed() };
        for entry in whole.servers.iter_mut().step_by(7) {
            entry.id.push_str(&"\u{1}".repeat(long));
        }
        let mut bounded = whole.clone();
        bounded.bound();

        prop_assert!(signed(&bounded, &key()).len() <= MAX_FEED_BYTES);
        prop_assert_eq!(&bounded.keys, &whole.keys);
        for (id, version, ago, index) in probes {
            let mut probe = descriptor(NOW - ago);
            probe.server.id = id.clone();
            probe.server.version = version;
            probe.client_id = Some(id.clone());
            if !whole.jtis.is_empty() {
                // A descriptor is withdrawn after it was issued.
                let jti = index.get(&whole.jtis);
                probe.jti.clone_from(&jti.id);
                probe.issued_at = probe.issued_at.min(jti.at);
            }
            if whole.revokes(&probe, &id).is_some() {
                prop_assert!(bounded.revokes(&probe, &id).is_some());
            }
            if bounded.all.is_none() {
                prop_assert_eq!(bounded.revokes(&probe, &id), whole.revokes(&probe, &id));
            }
        }
    }
}

//! What is a key set, and which of its keys count.

use curve25519_dalek::constants::EIGHT_TORSION;
use mcp_connect_descriptor::SigningKey;
use serde_json::{Value, json};

use super::{
    changed, document, ed25519, es256,
    forge::{encode, second_spelling},
    public_jwk, stranger, text, without,
};

struct Vectors(Vec<Value>);

impl Vectors {
    /// The key ids that count, sorted, each with its algorithm.
    fn accept(&mut self, id: &str, comment: &str, set: &str, keys: &[(&str, &str)]) {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        let keys: Vec<Value> = keys
            .iter()
            .map(|(kid, alg)| json!({ "kid": kid, "alg": alg }))
            .collect();
        self.push(id, comment, set, &json!({ "keys": keys }));
    }

    fn refuse(&mut self, id: &str, comment: &str, set: &str) {
        self.push(id, comment, set, &json!({ "refused": "malformed" }));
    }

    fn push(&mut self, id: &str, comment: &str, set: &str, result: &Value) {
        self.0
            .push(json!({ "id": id, "comment": comment, "key_set": set, "result": result }));
    }
}

fn set(keys: &[Value]) -> String {
    text(&json!({ "keys": keys }))
}

pub(crate) fn file() -> String {
    let mut vectors = Vectors(Vec::new());
    good(&mut vectors);
    skipped(&mut vectors);
    malformed(&mut vectors);
    points(&mut vectors);
    document(
        "Key sets as an authority may publish them. `key_set` is the text that was fetched.",
        &[],
        "vectors",
        &vectors.0,
    )
}

fn good(v: &mut Vectors) {
    let (ed, es) = (public_jwk(&ed25519()), public_jwk(&es256()));
    let (ed_key, p256_key) = (ed25519(), es256());
    let (ed_id, p256_id) = (ed_key.id(), p256_key.id());
    let both = [(ed_id, "EdDSA"), (p256_id, "ES256")];
    let one = &both[..1];
    v.accept(
        "both-algorithms",
        "one key of each kind",
        &set(&[ed.clone(), es.clone()]),
        &both,
    );
    v.accept(
        "empty",
        "a set without keys is good, and revokes everything",
        r#"{"keys":[]}"#,
        &[],
    );
    v.accept(
        "unknown-members",
        "of the set and of a key: ignored",
        &text(&json!({ "keys": [changed(ed.clone(), |k| k["x5t"] = json!("AAAA"))], "more": { "a": [1] } })),
        one,
    );
    v.accept(
        "alg-absent",
        "the algorithm follows from the curve",
        &set(&[without(ed.clone(), "alg")]),
        one,
    );
    v.accept(
        "alg-ed25519",
        "RFC 9864's name of the algorithm",
        &set(&[changed(ed.clone(), |k| k["alg"] = json!("Ed25519"))]),
        one,
    );
    v.accept(
        "use-absent",
        "for any use",
        &set(&[without(ed.clone(), "use")]),
        one,
    );
    v.accept(
        "key-ops-verify",
        "among others",
        &set(&[changed(ed.clone(), |k| {
            k["key_ops"] = json!(["sign", "verify"])
        })]),
        one,
    );
    v.accept(
        "kid-no-thumbprint",
        "a key id is any name",
        &set(&[changed(ed.clone(), |k| k["kid"] = json!("2027"))]),
        &[("2027", "EdDSA")],
    );
    let long = "k".repeat(256);
    v.accept(
        "kid-256",
        "the longest key id",
        &set(&[changed(ed.clone(), |k| k["kid"] = json!(long))]),
        &[(&long, "EdDSA")],
    );
    v.accept(
        "same-key-twice",
        "under two key ids",
        &set(&[ed.clone(), changed(ed.clone(), |k| k["kid"] = json!("zz"))]),
        &[(ed_id, "EdDSA"), ("zz", "EdDSA")],
    );
    let (keys, ids) = many(32);
    let ids: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "EdDSA")).collect();
    v.accept("32-keys", "as many as a set may have", &set(&keys), &ids);
    let padded = |bytes: usize| {
        let unpadded = r#"{"keys":[],"pad":""}"#.len();
        format!(r#"{{"keys":[],"pad":"{}"}}"#, "x".repeat(bytes - unpadded))
    };
    v.accept("64-kib", "as long as a set may be", &padded(64 * 1024), &[]);
    v.refuse(
        "64-kib-and-a-byte",
        "longer than a set may be",
        &padded(64 * 1024 + 1),
    );
    v.refuse("33-keys", "more than a set may have", &set(&many(33).0));
}

fn many(count: u8) -> (Vec<Value>, Vec<String>) {
    let keys: Vec<SigningKey> = (100..100 + count)
        .map(|seed| SigningKey::from_seed(&[seed; 32]))
        .collect();
    let ids = keys.iter().map(|key| key.id().to_owned()).collect();
    (keys.iter().map(public_jwk).collect(), ids)
}

fn skipped(v: &mut Vectors) {
    let (ed, es) = (public_jwk(&ed25519()), public_jwk(&es256()));
    let ed_key = ed25519();
    let rest = [(ed_key.id(), "EdDSA")];
    let with_p521 = json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "kid": "p521" });
    for (id, comment, key) in [
        (
            "rsa",
            "another kind of key",
            json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "r" }),
        ),
        (
            "oct",
            "a secret for HMAC",
            json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "o", "alg": "HS256" }),
        ),
        (
            "x25519",
            "a curve that doesn't sign",
            json!({ "kty": "OKP", "crv": "X25519", "x": "AA", "kid": "x" }),
        ),
        (
            "ed448",
            "a curve that isn't ours",
            json!({ "kty": "OKP", "crv": "Ed448", "x": "AA", "kid": "e" }),
        ),
        ("p-521", "a curve that isn't ours", with_p521),
        (
            "use-enc",
            "a key for encryption",
            changed(es.clone(), |k| k["use"] = json!("enc")),
        ),
        (
            "use-null",
            "a use that is no text",
            changed(es.clone(), |k| k["use"] = json!(null)),
        ),
        (
            "key-ops-sign",
            "a key that is not for verifying",
            changed(es.clone(), |k| k["key_ops"] = json!(["sign"])),
        ),
        (
            "key-ops-text",
            "operations that are no list",
            changed(es.clone(), |k| k["key_ops"] = json!("verify")),
        ),
        (
            "alg-of-another-curve",
            "no algorithm of this curve",
            changed(es.clone(), |k| k["alg"] = json!("ES512")),
        ),
        (
            "alg-hs256",
            "no algorithm of this curve",
            changed(es.clone(), |k| k["alg"] = json!("HS256")),
        ),
        (
            "alg-eddsa-on-p-256",
            "no algorithm of this curve",
            changed(es.clone(), |k| k["alg"] = json!("EdDSA")),
        ),
        (
            "alg-null",
            "an algorithm that is no text",
            changed(es.clone(), |k| k["alg"] = json!(null)),
        ),
        ("kty-missing", "no kind of key", without(es.clone(), "kty")),
        (
            "kty-rsa-on-p-256",
            "the kind is not the curve's",
            changed(es.clone(), |k| k["kty"] = json!("RSA")),
        ),
        (
            "crv-lower-case",
            "names are exact",
            changed(es.clone(), |k| k["crv"] = json!("p-256")),
        ),
    ] {
        let id = format!("skipped-{id}");
        v.accept(
            &id,
            &format!("{comment}: skipped"),
            &set(&[key, ed.clone()]),
            &rest,
        );
    }
}

fn malformed(v: &mut Vectors) {
    let (ed, es) = (public_jwk(&ed25519()), public_jwk(&es256()));
    for (id, comment, text) in [
        ("no-text", "nothing at all", ""),
        ("html", "an error page", "<html></html>"),
        ("a-list", "no object", "[]"),
        ("null", "no object", "null"),
        ("no-keys", "without keys", "{}"),
        ("keys-null", "keys that are no list", r#"{"keys":null}"#),
        ("keys-an-object", "keys that are no list", r#"{"keys":{}}"#),
        ("key-a-number", "a key that is no object", r#"{"keys":[7]}"#),
        (
            "keys-twice",
            "duplicate members",
            r#"{"keys":[],"keys":[]}"#,
        ),
        ("half", "the connection broke", r#"{"keys":["#),
        ("two", "two documents", r#"{"keys":[]}{"keys":[]}"#),
        (
            "byte-order-mark",
            "before the object",
            "\u{feff}{\"keys\":[]}",
        ),
    ] {
        v.refuse(id, comment, text);
    }
    let twice =
        set(std::slice::from_ref(&ed)).replacen(r#"{"keys":[{"#, r#"{"keys":[{"kid":"a","#, 1);
    v.refuse("kid-twice-in-a-key", "duplicate members", &twice);
    let d = changed(ed.clone(), |k| k["d"] = json!("AAAA"));
    for (id, comment, keys) in [
        (
            "private",
            "whoever serves a private key has lost it",
            vec![es.clone(), d],
        ),
        (
            "private-rsa",
            "of whatever kind",
            vec![
                ed.clone(),
                json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB", "kid": "r" }),
            ],
        ),
        (
            "same-kid",
            "two keys of one key id",
            vec![
                ed.clone(),
                changed(public_jwk(&stranger()), |k| k["kid"] = ed["kid"].clone()),
            ],
        ),
        (
            "kid-missing",
            "a key of ours that can't be named",
            vec![without(ed.clone(), "kid")],
        ),
        (
            "kid-null",
            "a key of ours that can't be named",
            vec![changed(ed.clone(), |k| k["kid"] = json!(null))],
        ),
        (
            "kid-empty",
            "a key of ours that can't be named",
            vec![changed(ed.clone(), |k| k["kid"] = json!(""))],
        ),
        (
            "kid-257",
            "too long",
            vec![changed(ed.clone(), |k| k["kid"] = json!("k".repeat(257)))],
        ),
        (
            "x-missing",
            "half a key of ours",
            vec![without(ed.clone(), "x")],
        ),
        (
            "x-31-bytes",
            "too short",
            vec![changed(ed.clone(), |k| k["x"] = json!(encode([1; 31])))],
        ),
        (
            "x-33-bytes",
            "too long",
            vec![changed(ed.clone(), |k| k["x"] = json!(encode([1; 33])))],
        ),
        (
            "x-padded",
            "base64url with padding",
            vec![changed(ed.clone(), |k| {
                k["x"] = json!(format!("{}=", k["x"].as_str().unwrap()))
            })],
        ),
        (
            "x-stray-bits",
            "base64url with unused bits set",
            vec![changed(ed.clone(), |k| {
                k["x"] = json!(super::forge::stray_bits(k["x"].as_str().unwrap()));
            })],
        ),
        (
            "y-missing",
            "half a key of ours",
            vec![without(es.clone(), "y")],
        ),
        (
            "off-the-curve",
            "no point of P-256",
            vec![changed(es.clone(), |k| k["y"] = k["x"].clone())],
        ),
        (
            "p-256-x-too-large",
            "a coordinate beyond the field",
            vec![changed(es.clone(), |k| k["x"] = json!(encode([0xff; 32])))],
        ),
        (
            "p-256-zero",
            "no point of P-256",
            vec![changed(es.clone(), |k| {
                k["x"] = json!(encode([0; 32]));
                k["y"] = json!(encode([0; 32]));
            })],
        ),
        (
            "one-broken-of-two",
            "one broken key of ours spoils the set",
            vec![es.clone(), without(ed.clone(), "x")],
        ),
    ] {
        v.refuse(id, comment, &set(&keys));
    }
}

/// Points of Ed25519 that are none, are of small order, or are written in a second way.
fn points(v: &mut Vectors) {
    let with_x = |x: [u8; 32]| {
        set(&[changed(public_jwk(&ed25519()), |k| {
            k["x"] = json!(encode(x))
        })])
    };
    let mut no_point = [0; 32];
    no_point[0] = 2;
    v.refuse(
        "ed25519-no-point",
        "y = 2 is on no point",
        &with_x(no_point),
    );
    for (index, point) in EIGHT_TORSION.iter().enumerate() {
        v.refuse(
            &format!("ed25519-small-order-{index}"),
            "a point of small order: one signature fits many messages",
            &with_x(point.compress().to_bytes()),
        );
    }
    for (id, y) in [("0", 0), ("1", 1)] {
        v.refuse(
            &format!("ed25519-small-order-second-spelling-{id}"),
            "a point of small order, with y written as p + y",
            &with_x(second_spelling(y)),
        );
    }
    let mut negative_zero = [0; 32];
    negative_zero[0] = 1;
    negative_zero[31] = 0x80;
    v.refuse(
        "ed25519-negative-zero",
        "x = 0 with its sign set",
        &with_x(negative_zero),
    );
    for y in [3, 4, 5, 6, 9, 10, 14, 15, 16, 18] {
        v.refuse(
            &format!("ed25519-second-spelling-{y}"),
            "y written as p + y",
            &with_x(second_spelling(y)),
        );
    }
}

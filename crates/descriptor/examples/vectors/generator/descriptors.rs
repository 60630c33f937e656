//! What is a descriptor, and for whom.

use mcp_connect_descriptor::SigningKey;
use serde_json::{Value, json};

use super::{
    ISSUED_AT, ISSUER, NOW, changed, document, ed25519, es256,
    forge::{
        ORDER, add_to_s, ed25519_with_r, encode, es256_der, es256_has_high_s, es256_mirrored,
        header, hs256, hs512, public_key_as_secret, second_spelling, sign, sign_json, sign_padded,
        sign_text, signature, signature_of, signed, stray_bits, with_signature,
    },
    known, public_jwk, stranger, text, without,
};

const TYP: &str = "mcp-connect+jwt";
const SERVER: &str = "com.example/weather";
const ENDPOINT: &str = "https://mcp.example/mcp";

const EXPIRED: &str = "descriptor_expired";
const INVALID: &str = "descriptor_invalid";
const WRONG_AUDIENCE: &str = "descriptor_wrong_audience";

struct Vector {
    id: String,
    comment: String,
    key_set: &'static str,
    issuer: &'static str,
    server_id: &'static str,
    audience: Option<&'static str>,
    leeway: u64,
    now: u64,
    token: String,
    result: Value,
}

struct Vectors(Vec<Vector>);

impl Vectors {
    fn accept(&mut self, id: &str, comment: &str, claims: &Value, token: String) -> &mut Vector {
        const CLAIMS: [&str; 11] = [
            "iss",
            "aud",
            "sub",
            "iat",
            "nbf",
            "exp",
            "jti",
            "client_id",
            "tenant_id",
            "cnf",
            "mcp",
        ];
        const SERVER: [&str; 5] = ["id", "version", "verified", "jwks_uri", "tls_pin_sha256"];
        let mut known_claims = known(claims, &CLAIMS);
        if let Some(listed) = claims["aud"].get(0) {
            known_claims["aud"] = listed.clone();
        }
        let mut mcp = known(&claims["mcp"], &["transport", "endpoint"]);
        mcp.insert(
            "server".into(),
            known(&claims["mcp"]["server"], &SERVER).into(),
        );
        known_claims["mcp"] = mcp.into();
        self.push(id, comment, token, json!({ "claims": known_claims }))
    }

    fn refuse(&mut self, id: &str, comment: &str, code: &str, token: String) -> &mut Vector {
        self.push(id, comment, token, json!({ "refused": code }))
    }

    fn push(&mut self, id: &str, comment: &str, token: String, result: Value) -> &mut Vector {
        self.0.push(Vector {
            id: id.into(),
            comment: comment.into(),
            key_set: "authority",
            issuer: ISSUER,
            server_id: SERVER,
            audience: Some(ENDPOINT),
            leeway: 5,
            now: NOW,
            token,
            result,
        });
        self.0.last_mut().unwrap()
    }
}

pub(crate) fn file() -> String {
    let mut vectors = Vectors(Vec::new());
    claims_that_are_good(&mut vectors);
    spellings_that_are_good(&mut vectors);
    time(&mut vectors);
    parties(&mut vectors);
    compact_form(&mut vectors);
    header_members(&mut vectors);
    payload_members(&mut vectors);
    json_form(&mut vectors);
    keys(&mut vectors);
    ed25519_signatures(&mut vectors);
    es256_signatures(&mut vectors);
    macs(&mut vectors);
    let vectors: Vec<Value> = vectors
        .0
        .into_iter()
        .map(|vector| {
            json!({
                "id": vector.id, "comment": vector.comment, "key_set": vector.key_set,
                "issuer": vector.issuer, "server_id": vector.server_id,
                "audience": vector.audience, "leeway": vector.leeway, "now": vector.now,
                "token": vector.token, "result": vector.result,
            })
        })
        .collect();
    document(
        "Descriptors, and what a verifier makes of them. See README.md.",
        &[("key_sets", key_sets())],
        "vectors",
        &vectors,
    )
}

fn key_sets() -> Value {
    let (ed, es) = (public_jwk(&ed25519()), public_jwk(&es256()));
    let named = |kid: &str| changed(ed.clone(), |key| key["kid"] = json!(kid));
    json!({
        "authority": { "keys": [ed, es] },
        "empty": { "keys": [] },
        "named": { "keys": [named("2027"), named(&"k".repeat(256))] },
        "other_key_of_that_name": { "keys": [
            changed(public_jwk(&stranger()), |key| key["kid"] = json!(ed25519().id())),
        ] },
        "es256_by_that_name": { "keys": [
            changed(es.clone(), |key| key["kid"] = json!(ed25519().id())),
        ] },
        "mixed": { "keys": [
            { "kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256", "use": "sig" },
            { "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "rsa", "alg": "RS256" },
            changed(es, |key| key["use"] = json!("enc")),
            without(without(ed, "alg"), "use"),
        ] },
    })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": ENDPOINT, "sub": "server:com.example/weather",
        "iat": ISSUED_AT, "nbf": ISSUED_AT, "exp": ISSUED_AT + 60,
        "jti": "q3VYb2h1S2FmT0l5dUtQZA", "client_id": "desktop", "tenant_id": "acme",
        "mcp": {
            "transport": "streamable_http", "endpoint": ENDPOINT,
            "server": { "id": SERVER, "version": "1.2.0", "verified": true },
        },
    })
}

/// Issued then, for so long.
fn dated(iat: u64, lifetime: u64) -> Value {
    changed(claims(), |c| {
        c["iat"] = json!(iat);
        c["nbf"] = json!(iat);
        c["exp"] = json!(iat + lifetime);
    })
}

fn head() -> Value {
    header(&ed25519(), TYP)
}

/// The good header, any claims.
fn token(claims: &Value) -> String {
    sign_json(&ed25519(), &head(), claims)
}

/// The good claims, any header.
fn token_of(header: &Value) -> String {
    sign_json(&ed25519(), header, &claims())
}

/// The good claims with a piece of their text replaced.
fn respelled(from: &str, to: &str) -> String {
    let good = text(&claims());
    assert_eq!(good.matches(from).count(), 1, "{from}");
    sign(&ed25519(), text(&head()), good.replacen(from, to, 1))
}

fn claims_that_are_good(v: &mut Vectors) {
    let thumbprint = ed25519().id().to_owned();
    for (id, comment, claims) in [
        ("good", "what an authority issues", claims()),
        (
            "anonymous",
            "neither client nor tenant",
            without(without(claims(), "client_id"), "tenant_id"),
        ),
        (
            "client-only",
            "a client without a tenant",
            without(claims(), "tenant_id"),
        ),
        (
            "unverified",
            "for a client's strict mode alone",
            changed(claims(), |c| {
                c["mcp"]["server"]["verified"] = json!(false);
            }),
        ),
        (
            "pinned",
            "what pins the server's identity",
            changed(claims(), |c| {
                c["mcp"]["server"]["jwks_uri"] = json!("https://mcp.example/jwks.json");
                c["mcp"]["server"]["tls_pin_sha256"] = json!(thumbprint);
            }),
        ),
        (
            "cnf-jkt",
            "bound to a DPoP key; that proof is checked apart",
            changed(claims(), |c| {
                c["cnf"] = json!({ "jkt": thumbprint });
            }),
        ),
        (
            "cnf-x5t",
            "bound to a certificate; that is checked apart",
            changed(claims(), |c| {
                c["cnf"] = json!({ "x5t#S256": thumbprint });
            }),
        ),
        (
            "aud-list-of-one",
            "RFC 7519 lets one audience stand in a list",
            changed(claims(), |c| {
                c["aud"] = json!([ENDPOINT]);
            }),
        ),
        (
            "unknown-claims",
            "ignored, whatever they are",
            changed(claims(), |c| {
                c["scope"] = json!("all");
                c["new"] = json!({ "a": [1, -2.5e3, null, true, { "a": 1 }] });
                c["mcp"]["new"] = json!(1);
                c["mcp"]["server"]["new"] = json!([]);
            }),
        ),
        (
            "same-names-in-two-objects",
            "no duplicates: each object has one",
            changed(claims(), |c| {
                c["a"] = json!([{ "iss": 1 }, { "iss": 2 }]);
                c["A"] = json!(1);
            }),
        ),
        (
            "unicode",
            "claims in other scripts",
            changed(claims(), |c| {
                c["client_id"] = json!("客户端 ☃ \u{1f600}");
            }),
        ),
    ] {
        v.accept(id, comment, &claims, token(&claims));
    }
}

fn spellings_that_are_good(v: &mut Vectors) {
    let good = text(&claims());
    let key = ed25519();
    let spaced = good
        .replace(',', ",\r\n\t ")
        .replace(':', ": ")
        .replace("https: ", "https:")
        .replace("server: ", "server:");
    v.accept(
        "white-space",
        "between the tokens of JSON",
        &claims(),
        sign(
            &key,
            format!(" {}\n", text(&head())),
            format!("\n{spaced}\n"),
        ),
    );
    v.accept(
        "escapes",
        "in names and in texts",
        &claims(),
        respelled(
            r#""iss":"https://authority"#,
            r#""\u0069ss":"https:\/\/\u0061uthority"#,
        ),
    );
    v.accept(
        "order-of-members",
        "means nothing",
        &claims(),
        sign(
            &key,
            format!(r#"{{"typ":"{TYP}","kid":"{}","alg":"EdDSA"}}"#, key.id()),
            &good,
        ),
    );
    v.accept(
        "alg-ed25519",
        "RFC 9864's name for the same algorithm",
        &claims(),
        token_of(&changed(head(), |h| h["alg"] = json!("Ed25519"))),
    );
    v.accept(
        "unknown-header-members",
        "ignored, whatever they are",
        &claims(),
        token_of(&changed(head(), |h| {
            h["new"] = json!({ "a": 1 });
            h["iss"] = json!("x");
        })),
    );
    v.accept(
        "es256",
        "signed by the ES256 key",
        &claims(),
        sign_json(&es256(), &header(&es256(), TYP), &claims()),
    );
    v.accept(
        "8-kib",
        "as long as a token may be",
        &claims(),
        padded(8 * 1024),
    );
}

fn padded(bytes: usize) -> String {
    sign_padded(&ed25519(), &head(), &claims(), bytes)
}

fn time(v: &mut Vectors) {
    let exp = ISSUED_AT + 60;
    let good = token(&claims());
    for (id, leeway, now) in [
        ("at-iat", 0, ISSUED_AT),
        ("leeway-before-iat", 5, ISSUED_AT - 5),
        ("one-second-of-leeway-before-iat", 1, ISSUED_AT - 1),
        ("last-second", 0, exp - 1),
        ("last-second-of-leeway", 5, exp + 4),
        ("last-second-of-a-leeway-of-1", 1, exp),
    ] {
        let vector = v.accept(id, "within the bounds of time", &claims(), good.clone());
        (vector.leeway, vector.now) = (leeway, now);
    }
    for (id, code, leeway, now) in [
        ("before-iat", INVALID, 0, ISSUED_AT - 1),
        ("before-iat-and-leeway", INVALID, 5, ISSUED_AT - 6),
        ("at-exp", EXPIRED, 0, exp),
        ("at-exp-and-leeway", EXPIRED, 5, exp + 5),
        ("at-exp-and-a-leeway-of-1", EXPIRED, 1, exp + 1),
        ("long-expired", EXPIRED, 5, exp + 1_000_000),
        ("now-0", INVALID, 5, 0),
    ] {
        let vector = v.refuse(id, "out of the bounds of time", code, good.clone());
        (vector.leeway, vector.now) = (leeway, now);
    }
    for lifetime in [1, 120] {
        let claims = dated(NOW, lifetime);
        v.accept(
            &format!("lifetime-{lifetime}"),
            "the bounds of a lifetime",
            &claims,
            token(&claims),
        );
    }
    for lifetime in [0, 121, 3600] {
        v.refuse(
            &format!("lifetime-{lifetime}"),
            "no lifetime of a descriptor",
            INVALID,
            token(&dated(NOW, lifetime)),
        );
    }
    v.refuse(
        "exp-before-iat",
        "no lifetime of a descriptor",
        INVALID,
        token(&changed(claims(), |c| c["exp"] = json!(ISSUED_AT - 1))),
    );
    for (id, before) in [("nbf-5-before-iat", 5), ("nbf-1-before-iat", 1)] {
        let claims = changed(claims(), |c| c["nbf"] = json!(ISSUED_AT - before));
        v.accept(
            id,
            "nbf set back by no more than the leeway",
            &claims,
            token(&claims),
        );
    }
    let later = changed(claims(), |c| c["nbf"] = json!(NOW + 5));
    v.accept(
        "nbf-later",
        "nbf ahead, by no more than the leeway",
        &later,
        token(&later),
    );
    for (id, nbf) in [
        ("nbf-ahead", NOW + 6),
        ("nbf-6-before-iat", ISSUED_AT - 6),
        ("nbf-far-in-the-past", 1),
        ("nbf-0", 0),
        ("nbf-at-exp", exp),
        ("nbf-after-exp", exp + 1),
    ] {
        v.refuse(
            id,
            "nbf is not where iat and exp allow it, or ahead",
            INVALID,
            token(&changed(claims(), |c| c["nbf"] = json!(nbf))),
        );
    }
    v.refuse(
        "iat-ahead",
        "nbf is past, iat is not",
        INVALID,
        token(&changed(claims(), |c| {
            c["iat"] = json!(NOW + 6);
            c["nbf"] = json!(NOW + 1);
        })),
    );
    let latest = 253_402_300_799;
    let last = dated(latest - 60, 60);
    v.accept(
        "exp-in-the-year-9999",
        "the last second that there is",
        &last,
        token(&last),
    )
    .now = latest - 30;
    v.refuse(
        "exp-in-the-year-10000",
        "a second too late",
        INVALID,
        token(&dated(latest - 59, 60)),
    )
    .now = latest - 30;
    for (id, iat) in [
        ("dates-of-63-bits", (1 << 63) - 61),
        ("dates-of-53-bits", (1 << 53) - 61),
    ] {
        v.refuse(id, "no date", INVALID, token(&dated(iat, 60))).now = iat + 30;
    }
    for (id, spelled) in [
        ("a-float", "1800000060.5"),
        ("a-whole-float", "1800000060.0"),
        ("an-exponent", "1.80000006e9"),
        ("a-whole-exponent", "180000006e1"),
        ("exponent-0", "1800000060e0"),
        ("negative", "-1800000060"),
        ("negative-0", "-0"),
        ("over-64-bits", "18446744073709551676"),
        (
            "huge",
            "180000006000000000000000000000000000000000000000000000000",
        ),
        ("text", "\"1800000060\""),
        ("null", "null"),
        ("true", "true"),
        ("a-list", "[1800000060]"),
        ("an-object", "{}"),
        ("leading-0", "01800000060"),
        ("plus", "+1800000060"),
        ("hexadecimal", "0x6B49D23C"),
        ("infinity", "Infinity"),
        ("nan", "NaN"),
    ] {
        v.refuse(
            &format!("exp-{id}"),
            "exp is not written as digits alone",
            INVALID,
            respelled(r#""exp":1800000060"#, &format!(r#""exp":{spelled}"#)),
        );
    }
    for (claim, spelled) in [
        ("iat", "1800000000.0"),
        ("nbf", "1.8e9"),
        ("iat", "-1"),
        ("nbf", "-1"),
    ] {
        v.refuse(
            &format!(
                "{claim}-{}",
                if spelled == "-1" {
                    "negative"
                } else {
                    "a-float"
                }
            ),
            "a date that is not written as digits alone",
            INVALID,
            respelled(
                &format!(r#""{claim}":1800000000"#),
                &format!(r#""{claim}":{spelled}"#),
            ),
        );
    }
}

fn parties(v: &mut Vectors) {
    for (id, issuer) in [
        ("slash", "https://authority.example/"),
        ("upper-case", "https://AUTHORITY.example"),
        ("port", "https://authority.example:443"),
        ("http", "http://authority.example"),
        ("longer", "https://authority.example.evil.example"),
        ("shorter", "https://authority.exampl"),
        ("blank", "https://authority.example "),
    ] {
        v.refuse(
            &format!("iss-{id}"),
            "another issuer: compared as an exact string",
            INVALID,
            token(&changed(claims(), |c| c["iss"] = json!(issuer))),
        );
    }
    v.refuse(
        "iss-a-list",
        "no string",
        INVALID,
        token(&changed(claims(), |c| c["iss"] = json!([ISSUER]))),
    );
    for (id, aud) in [
        ("slash", "https://mcp.example/mcp/"),
        ("upper-case", "https://MCP.example/mcp"),
        ("query", "https://mcp.example/mcp?"),
        ("other", "https://other.example/mcp"),
    ] {
        v.refuse(
            &format!("aud-{id}"),
            "signed for another endpoint",
            WRONG_AUDIENCE,
            token(&changed(claims(), |c| {
                c["aud"] = json!(aud);
                c["mcp"]["endpoint"] = json!(aud);
            })),
        );
    }
    let other = "https://other.example/mcp";
    v.refuse(
        "aud-alone",
        "aud is another's, mcp.endpoint is not",
        WRONG_AUDIENCE,
        token(&changed(claims(), |c| c["aud"] = json!(other))),
    );
    v.refuse(
        "endpoint-alone",
        "mcp.endpoint is another's, aud is not",
        WRONG_AUDIENCE,
        token(&changed(claims(), |c| c["mcp"]["endpoint"] = json!(other))),
    );
    v.refuse(
        "server-other",
        "signed for another server at this endpoint",
        WRONG_AUDIENCE,
        token(&changed(claims(), |c| {
            c["sub"] = json!("server:com.example/other");
            c["mcp"]["server"]["id"] = json!("com.example/other");
        })),
    );
    for (id, aud) in [
        ("two", json!([ENDPOINT, other])),
        ("two-equal", json!([ENDPOINT, ENDPOINT])),
        ("none", json!([])),
        ("null-in-a-list", json!([null])),
        ("list-in-a-list", json!([[ENDPOINT]])),
        ("null", json!(null)),
        ("a-number", json!(7)),
        ("an-object", json!({ "0": ENDPOINT })),
        ("empty", json!("")),
    ] {
        v.refuse(
            &format!("aud-{id}"),
            "not one audience",
            INVALID,
            token(&changed(claims(), |c| c["aud"] = aud)),
        );
    }
    for (id, sub) in [
        ("other", "server:com.example/other"),
        ("bare", SERVER),
        ("upper-case", "Server:com.example/weather"),
        ("user", "user:com.example/weather"),
        ("versioned", "server:com.example/weather@1.2.0"),
    ] {
        v.refuse(
            &format!("sub-{id}"),
            "sub is not mcp.server.id's",
            INVALID,
            token(&changed(claims(), |c| c["sub"] = json!(sub))),
        );
    }
    let good = token(&claims());
    v.accept(
        "audience-not-known",
        "a client learns the endpoint from the descriptor",
        &claims(),
        good.clone(),
    )
    .audience = None;
    v.refuse(
        "endpoint-is-not-aud",
        "and is not sent to an endpoint that is not the audience",
        WRONG_AUDIENCE,
        token(&changed(claims(), |c| c["mcp"]["endpoint"] = json!(other))),
    )
    .audience = None;
    v.refuse(
        "another-server-asks",
        "good, for somebody else",
        WRONG_AUDIENCE,
        good.clone(),
    )
    .server_id = "com.example/other";
    v.refuse(
        "another-authority-asked",
        "good, of somebody else",
        INVALID,
        good,
    )
    .issuer = "https://other.example";
}

/// What is expired, or another's, is told so only where it is authentic.
fn untold(v: &mut Vectors, id: &str, comment: &str, token: &str) {
    let expired = v.refuse(
        &format!("{id}-and-expired"),
        &format!("{comment}; that it expired is not told"),
        INVALID,
        token.to_owned(),
    );
    expired.now = NOW + 500;
    v.refuse(
        &format!("{id}-and-for-another"),
        &format!("{comment}; that it is another's is not told"),
        INVALID,
        token.to_owned(),
    )
    .server_id = "com.example/other";
}

fn compact_form(v: &mut Vectors) {
    let good = token(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let [h, p, s] = parts[..] else {
        unreachable!("three parts")
    };
    let key = ed25519();
    let with_padding = |part: &str| format!("{part}{}", "=".repeat((4 - part.len() % 4) % 4));
    let standard = |text: &str| text.replace('-', "+").replace('_', "/");
    let odd_claims = changed(claims(), |c| c["client_id"] = json!("ÿþ>>>???"));
    let with_odd = token(&odd_claims);
    let odd = with_odd.split('.').nth(1).unwrap();
    assert_ne!(standard(odd), odd);
    // Of a length that leaves bits unused.
    let ragged = (0..3)
        .map(|pad| format!("{}{}", text(&claims()), " ".repeat(pad)))
        .map(encode)
        .find(|payload| payload.len() % 4 == 2)
        .unwrap();
    for (id, comment, token) in [
        ("empty", "nothing at all", String::new()),
        ("dots", "nothing between dots", "..".into()),
        ("one-part", "a header alone", h.into()),
        (
            "two-parts",
            "no signature, and no dot before it",
            format!("{h}.{p}"),
        ),
        ("four-parts", "a part too many", format!("{good}.{s}")),
        (
            "five-parts",
            "the form of an encrypted token",
            format!("{good}.{s}.{s}"),
        ),
        ("trailing-dot", "an empty fourth part", format!("{good}.")),
        ("leading-dot", "an empty part before", format!(".{good}")),
        ("no-header", "an empty header", format!(".{p}.{s}")),
        (
            "no-payload",
            "an empty payload: detached",
            format!("{h}..{s}"),
        ),
        (
            "no-payload-signed",
            "an empty payload, signed",
            sign_text(&key, &format!("{h}.")),
        ),
        ("no-signature", "an empty signature", format!("{h}.{p}.")),
        ("leading-blank", "white space before", format!(" {good}")),
        ("trailing-newline", "white space after", format!("{good}\n")),
        (
            "inner-blank",
            "white space within, signed",
            sign_text(&key, &format!("{h}. {p}")),
        ),
        (
            "inner-newline",
            "a folded line, signed",
            sign_text(&key, &format!("{h}.{}\r\n{}", &p[..64], &p[64..])),
        ),
        ("bearer", "a scheme before", format!("Bearer {good}")),
        ("quoted", "in quotes", format!("\"{good}\"")),
        ("two-tokens", "two, with a comma", format!("{good},{good}")),
        ("nul", "a byte that ends texts in C", format!("{good}\0")),
        (
            "header-padded",
            "base64url with padding, signed",
            sign_text(&key, &format!("{}.{p}", with_padding(h))),
        ),
        (
            "payload-padded",
            "base64url with padding, signed",
            sign_text(&key, &format!("{h}.{}", with_padding(&ragged))),
        ),
        (
            "signature-padded",
            "base64url with padding",
            format!("{h}.{p}.{}", with_padding(s)),
        ),
        (
            "payload-stray-bits",
            "unused bits that are not zero, signed",
            sign_text(&key, &format!("{h}.{}", stray_bits(&ragged))),
        ),
        (
            "signature-stray-bits",
            "unused bits that are not zero: a second spelling of one signature",
            format!("{h}.{p}.{}", stray_bits(s)),
        ),
        (
            "payload-one-char-too-many",
            "a length that no bytes have, signed",
            sign_text(&key, &format!("{h}.{ragged}AAA")),
        ),
        (
            "payload-standard-base64",
            "+ and / for - and _, signed",
            sign_text(&key, &format!("{h}.{}", standard(odd))),
        ),
        (
            "foreign-char",
            "a character outside the alphabet",
            format!("{h}.{p}.{}!", &s[..85]),
        ),
        (
            "non-ascii",
            "a letter of another script",
            format!("{h}.{p}.{}а", &s[..85]),
        ),
        (
            "json-serialization",
            "RFC 7515's JSON form",
            text(&json!({ "protected": h, "payload": p, "signature": s })),
        ),
        (
            "8-kib-and-a-byte",
            "longer than a token may be",
            padded(8 * 1024 + 1),
        ),
        (
            "64-kib",
            "far longer than a token may be",
            "A".repeat(64 * 1024),
        ),
    ] {
        assert!(id == "empty" || !token.is_empty());
        v.refuse(&format!("compact-{id}"), comment, INVALID, token);
    }
}

fn header_members(v: &mut Vectors) {
    let evil = public_jwk(&stranger());
    for (id, member, value) in [
        ("crit", "crit", json!(["exp"])),
        ("crit-empty", "crit", json!([])),
        ("crit-null", "crit", json!(null)),
        ("b64", "b64", json!(false)),
        ("b64-true", "b64", json!(true)),
        ("zip", "zip", json!("DEF")),
        ("cty", "cty", json!("JWT")),
        ("jku", "jku", json!("https://evil.example/jwks.json")),
        (
            "jku-of-the-issuer",
            "jku",
            json!("https://authority.example/.well-known/jwks.json"),
        ),
        ("jku-null", "jku", json!(null)),
        ("jwk", "jwk", public_jwk(&ed25519())),
        ("jwk-null", "jwk", json!(null)),
        ("x5u", "x5u", json!("https://evil.example/cert.pem")),
        ("x5c", "x5c", json!(["MIIB"])),
        ("x5c-empty", "x5c", json!([])),
        ("x5t", "x5t", json!("dGhpcyBpcyBhIFNIQTEgdGVzdCE")),
        ("x5t-no-thumbprint", "x5t", json!("")),
        (
            "x5t-s256",
            "x5t#S256",
            json!("MV9b23bQeMQ7isAGTkoBZGErH853yGk0W_yUx1iU7dM"),
        ),
        ("x5t-s256-null", "x5t#S256", json!(null)),
    ] {
        v.refuse(
            &format!("header-{id}"),
            "a member that no descriptor has, whatever its value; nothing is fetched",
            INVALID,
            token_of(&changed(head(), |h| h[member] = value)),
        );
    }
    v.refuse(
        "header-jwk-forged",
        "signed by the key that it brings along",
        INVALID,
        sign_json(
            &stranger(),
            &changed(head(), |h| h["jwk"] = evil.clone()),
            &claims(),
        ),
    );
    v.refuse(
        "header-jku-forged",
        "signed by a key that it would have fetched",
        INVALID,
        sign_json(
            &stranger(),
            &changed(head(), |h| {
                h["jku"] = json!("https://evil.example/jwks.json");
                h["kid"] = evil["kid"].clone();
            }),
            &claims(),
        ),
    );
    v.refuse(
        "header-crit-b64",
        "RFC 7797: the payload is not encoded",
        INVALID,
        token_of(&changed(head(), |h| {
            h["b64"] = json!(false);
            h["crit"] = json!(["b64"]);
        })),
    );
    for member in ["alg", "kid", "typ"] {
        v.refuse(
            &format!("header-no-{member}"),
            "a member that every descriptor has",
            INVALID,
            token_of(&without(head(), member)),
        );
        for (id, value) in [
            ("null", json!(null)),
            ("a-number", json!(7)),
            ("a-list", json!([head()[member]])),
            ("empty", json!("")),
        ] {
            v.refuse(
                &format!("header-{member}-{id}"),
                "a member of another type, or empty",
                INVALID,
                token_of(&changed(head(), |h| h[member] = value)),
            );
        }
    }
    for (id, typ) in [
        ("jwt", "JWT"),
        ("application", "application/mcp-connect+jwt"),
        ("upper-case", "MCP-Connect+JWT"),
        ("blank", "mcp-connect+jwt "),
        ("at-jwt", "at+jwt"),
        ("dpop", "dpop+jwt"),
        ("feed", "mcp-revocations+jwt"),
    ] {
        v.refuse(
            &format!("header-typ-{id}"),
            "another kind of token",
            INVALID,
            token_of(&changed(head(), |h| h["typ"] = json!(typ))),
        );
    }
    for alg in [
        "none", "None", "NONE", "eddsa", "EDDSA", "HS256", "HS512", "RS256", "PS256", "ES256K",
        "ES384", "Ed448", "EdDSA ",
    ] {
        v.refuse(
            &format!("header-alg-{}", alg.replace(' ', "-blank")),
            "no algorithm of descriptors, with a good signature",
            INVALID,
            token_of(&changed(head(), |h| h["alg"] = json!(alg))),
        );
    }
    let unsecured = format!(
        "{}.{}.",
        encode(text(&changed(head(), |h| h["alg"] = json!("none")))),
        encode(text(&claims()))
    );
    v.refuse(
        "unsecured",
        "RFC 7515, appendix A.5: alg none, and no signature",
        INVALID,
        unsecured,
    );
}

fn payload_members(v: &mut Vectors) {
    for claim in ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "mcp"] {
        v.refuse(
            &format!("no-{claim}"),
            "a claim that every descriptor has",
            INVALID,
            token(&without(claims(), claim)),
        );
    }
    for member in ["transport", "endpoint", "server"] {
        v.refuse(
            &format!("no-mcp-{member}"),
            "a member that every descriptor has",
            INVALID,
            token(&changed(claims(), |c| {
                c["mcp"] = without(c["mcp"].clone(), member)
            })),
        );
    }
    for member in ["id", "version", "verified"] {
        v.refuse(
            &format!("no-mcp-server-{member}"),
            "a member that every descriptor has",
            INVALID,
            token(&changed(claims(), |c| {
                c["mcp"]["server"] = without(c["mcp"]["server"].clone(), member);
            })),
        );
    }
    for claim in ["client_id", "tenant_id", "jti", "iss", "sub"] {
        for (id, value) in [
            ("null", json!(null)),
            ("empty", json!("")),
            ("a-number", json!(7)),
        ] {
            v.refuse(
                &format!("{claim}-{id}"),
                "a claim that is no text, or empty",
                INVALID,
                token(&changed(claims(), |c| c[claim] = value)),
            );
        }
    }
    let thumbprint = ed25519().id().to_owned();
    for (id, cnf) in [
        ("null", json!(null)),
        ("empty", json!({})),
        ("text", json!("jkt")),
        ("a-list", json!(["jkt", thumbprint])),
        ("both", json!({ "jkt": thumbprint, "x5t#S256": thumbprint })),
        ("unknown", json!({ "jwk": public_jwk(&ed25519()) })),
        ("kid", json!({ "kid": "k" })),
        ("with-a-guest", json!({ "jkt": thumbprint, "kid": "k" })),
        ("jkt-null", json!({ "jkt": null })),
        ("jkt-empty", json!({ "jkt": "" })),
        ("jkt-short", json!({ "jkt": encode([1; 20]) })),
        ("jkt-long", json!({ "jkt": encode([1; 64]) })),
        ("jkt-padded", json!({ "jkt": format!("{thumbprint}=") })),
        ("jkt-stray-bits", json!({ "jkt": stray_bits(&thumbprint) })),
        (
            "x5t-hexadecimal",
            json!({ "x5t#S256": "0123456789abcdef".repeat(4) }),
        ),
        ("x5t-sha-1", json!({ "x5t": encode([1; 20]) })),
        ("upper-case", json!({ "JKT": thumbprint })),
    ] {
        v.refuse(
            &format!("cnf-{id}"),
            "no sender constraint of section 3: never taken for none",
            INVALID,
            token(&changed(claims(), |c| c["cnf"] = cnf)),
        );
    }
    for (id, change) in [
        ("transport-stdio", json!({ "transport": "stdio" })),
        ("transport-sse", json!({ "transport": "sse" })),
        (
            "transport-hyphen",
            json!({ "transport": "streamable-http" }),
        ),
        ("transport-null", json!({ "transport": null })),
        (
            "transport-an-object",
            json!({ "transport": { "streamable_http": null } }),
        ),
        ("endpoint-null", json!({ "endpoint": null })),
        ("endpoint-a-list", json!({ "endpoint": [ENDPOINT] })),
        ("server-null", json!({ "server": null })),
        (
            "server-a-list",
            json!({ "server": [SERVER, "1.2.0", true] }),
        ),
        ("server-text", json!({ "server": SERVER })),
    ] {
        let (member, value) = change.as_object().unwrap().iter().next().unwrap();
        v.refuse(
            &format!("mcp-{id}"),
            "not the shape that section 3 has",
            INVALID,
            token(&changed(claims(), |c| c["mcp"][member] = value.clone())),
        );
    }
    for (id, member, value) in [
        ("id-a-number", "id", json!(7)),
        ("id-empty", "id", json!("")),
        ("version-a-number", "version", json!(1.2)),
        ("version-empty", "version", json!("")),
        ("verified-text", "verified", json!("true")),
        ("verified-a-number", "verified", json!(1)),
        ("verified-null", "verified", json!(null)),
        ("jwks-uri-null", "jwks_uri", json!(null)),
        ("tls-pin-null", "tls_pin_sha256", json!(null)),
    ] {
        v.refuse(
            &format!("mcp-server-{id}"),
            "not the shape that section 3 has",
            INVALID,
            token(&changed(claims(), |c| c["mcp"]["server"][member] = value)),
        );
    }
    v.refuse(
        "mcp-a-list",
        "members by their place",
        INVALID,
        token(&changed(claims(), |c| {
            c["mcp"] = json!(["streamable_http", ENDPOINT, c["mcp"]["server"]]);
        })),
    );
    v.refuse(
        "flat",
        "mcp.server is an object in an object",
        INVALID,
        token(&changed(without(claims(), "mcp"), |c| {
            c["mcp.transport"] = json!("streamable_http");
            c["mcp.endpoint"] = json!(ENDPOINT);
            c["mcp.server.id"] = json!(SERVER);
        })),
    );
}

fn json_form(v: &mut Vectors) {
    let good = text(&claims());
    let header_text = text(&head());
    let key = ed25519();
    let payload = |bytes: &[u8]| sign(&key, &header_text, bytes);
    for (id, comment, payload) in [
        ("a-list", "no object", format!("[{good}]")),
        ("text", "no object", text(&json!(good))),
        ("null", "no object", "null".into()),
        ("a-number", "no object", "7".into()),
        ("a-blank", "nothing", " ".into()),
        ("half", "cut off", good[..good.len() - 1].into()),
        ("two", "two objects", format!("{good}{good}")),
        ("trailing-text", "something after it", format!("{good}x")),
        (
            "trailing-comma",
            "no JSON",
            format!("{},}}", &good[..good.len() - 1]),
        ),
        ("comment", "no JSON", format!("/* */{good}")),
        ("single-quotes", "no JSON", good.replace('"', "'")),
        (
            "unquoted-name",
            "no JSON",
            good.replacen(r#""aud""#, "aud", 1),
        ),
        (
            "byte-order-mark",
            "before the object",
            format!("\u{feff}{good}"),
        ),
        (
            "control-char",
            "unescaped in a text",
            good.replacen("desktop", "desk\ttop", 1),
        ),
        (
            "lone-surrogate",
            "no character",
            good.replacen("desktop", r"\ud800", 1),
        ),
        (
            "bad-escape",
            "no escape of JSON",
            good.replacen("desktop", r"\x41", 1),
        ),
        (
            "too-deep",
            "nested 2,000 deep",
            good.replacen(
                '{',
                &format!(r#"{{"a":{}{},"#, "[".repeat(2000), "]".repeat(2000)),
                1,
            ),
        ),
    ] {
        v.refuse(
            &format!("payload-{id}"),
            comment,
            INVALID,
            self::sign(&key, &header_text, payload),
        );
    }
    v.refuse(
        "payload-no-utf-8",
        "a byte that is no UTF-8",
        INVALID,
        payload(
            &good
                .replacen("desktop", "\u{1}", 1)
                .into_bytes()
                .iter()
                .map(|&b| if b == 1 { 0xff } else { b })
                .collect::<Vec<u8>>(),
        ),
    );
    v.refuse(
        "payload-overlong-utf-8",
        "a slash in two bytes",
        INVALID,
        payload(&{
            let at = good.find("desktop").unwrap();
            [
                &good.as_bytes()[..at],
                &[0xc0, 0xaf],
                &good.as_bytes()[at..],
            ]
            .concat()
        }),
    );
    v.refuse(
        "payload-utf-16",
        "another encoding",
        INVALID,
        payload(
            &good
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<u8>>(),
        ),
    );
    for (id, from, to) in [
        ("first-differs", "{", r#"{"iss":"https://evil.example","#),
        ("equal", "{", r#"{"iss":"https://authority.example","#),
        ("unknown", "{", r#"{"a":1,"a":1,"#),
        ("escaped", "{", r#"{"\u0069ss":"https://evil.example","#),
        ("exp", "{", r#"{"exp":1800000030,"#),
        ("cnf", "{", r#"{"cnf":{"jkt":1},"cnf":{"jkt":2},"#),
        ("in-an-unknown-object", "{", r#"{"x":{"a":1,"b":2,"a":3},"#),
        ("in-a-list", "{", r#"{"x":[[{"a":1,"a":2}]],"#),
        (
            "in-mcp",
            r#""mcp":{"#,
            r#""mcp":{"endpoint":"https://evil.example","#,
        ),
        (
            "in-mcp-server",
            r#""server":{"#,
            r#""server":{"verified":false,"#,
        ),
        ("empty-name", "{", r#"{"":1,"":2,"#),
    ] {
        let spelled = good.replacen(from, to, 1);
        assert_ne!(spelled, good);
        v.refuse(
            &format!("duplicate-{id}"),
            "two members of one name",
            INVALID,
            self::sign(&key, &header_text, spelled),
        );
    }
    for (id, to) in [
        ("alg", r#"{"alg":"none","#),
        ("alg-equal", r#"{"alg":"EdDSA","#),
        ("typ", r#"{"typ":"JWT","#),
        ("kid", r#"{"kid":"evil","#),
        ("unknown-deep", r#"{"x":[{"a":1,"a":1}],"#),
    ] {
        v.refuse(
            &format!("header-duplicate-{id}"),
            "two members of one name",
            INVALID,
            self::sign(&key, header_text.replacen('{', to, 1), &good),
        );
    }
    for (id, header) in [
        ("a-list", "[]"),
        ("text", "\"EdDSA\""),
        ("null", "null"),
        ("half", "{"),
        ("no-members", "{}"),
    ] {
        v.refuse(
            &format!("header-{id}"),
            "no header",
            INVALID,
            self::sign(&key, header, &good),
        );
    }
    v.refuse(
        "header-no-utf-8",
        "a byte that is no UTF-8",
        INVALID,
        self::sign(
            &key,
            [
                &header_text.as_bytes()[..header_text.len() - 1],
                b",\"x\":\"\xff\"}",
            ]
            .concat(),
            &good,
        ),
    );
}

fn keys(v: &mut Vectors) {
    let good = token(&claims());
    let named = |kid: &str| token_of(&changed(head(), |h| h["kid"] = json!(kid)));
    let longest = "k".repeat(256);
    v.accept(
        "kid-any-name",
        "key ids are names, found by equality",
        &claims(),
        named("2027"),
    )
    .key_set = "named";
    v.accept("kid-256", "the longest key id", &claims(), named(&longest))
        .key_set = "named";
    v.accept(
        "kid-among-others",
        "keys of other kinds stand beside it",
        &claims(),
        good.clone(),
    )
    .key_set = "mixed";
    for (id, comment, token) in [
        (
            "257",
            "a key id that is too long",
            named(&format!("{longest}k")),
        ),
        ("prefix", "the beginning of a key id", named("202")),
        ("upper-case", "another name", named("K")),
        ("path", "no file is read", named("../../../../dev/null")),
        ("sql", "no database is asked", named("2027' OR '1'='1")),
        (
            "url",
            "nothing is fetched",
            named("https://evil.example/key"),
        ),
    ] {
        v.refuse(&format!("kid-{id}"), comment, INVALID, token)
            .key_set = "named";
    }
    v.refuse(
        "empty-key-set",
        "an empty set revokes everything",
        INVALID,
        good.clone(),
    )
    .key_set = "empty";
    let strange = sign_json(&stranger(), &header(&stranger(), TYP), &claims());
    v.refuse(
        "unknown-key",
        "signed by a key that is not in the set",
        INVALID,
        strange.clone(),
    );
    untold(
        v,
        "unknown-key",
        "signed by a key that is not in the set",
        &strange,
    );
    v.refuse(
        "other-key",
        "the key of this id did not sign",
        INVALID,
        good.clone(),
    )
    .key_set = "other_key_of_that_name";
    let forged = sign_json(&stranger(), &head(), &claims());
    v.refuse(
        "forged",
        "signed by another key, in the name of the good one",
        INVALID,
        forged.clone(),
    );
    untold(v, "forged", "signed by another key", &forged);
    v.refuse(
        "secret-key",
        "a secret beside is no key for tokens",
        INVALID,
        {
            let header = json!({ "alg": "HS256", "kid": "secret", "typ": TYP });
            let signed = format!("{}.{}", encode(text(&header)), encode(text(&claims())));
            let mac = hs256(b"secret", &signed);
            format!("{signed}.{}", encode(mac))
        },
    )
    .key_set = "mixed";
    v.refuse(
        "key-for-encryption",
        "use enc: no key for signatures",
        INVALID,
        sign_json(&es256(), &header(&es256(), TYP), &claims()),
    )
    .key_set = "mixed";
    v.refuse(
        "key-of-another-algorithm",
        "the key of this id is one for ES256",
        INVALID,
        good,
    )
    .key_set = "es256_by_that_name";
    let as_alg = |key: &SigningKey, alg: &str| {
        sign_json(
            key,
            &changed(header(key, TYP), |h| h["alg"] = json!(alg)),
            &claims(),
        )
    };
    v.refuse(
        "alg-es256-for-ed25519",
        "the key decides, not the token",
        INVALID,
        as_alg(&ed25519(), "ES256"),
    );
    v.refuse(
        "alg-eddsa-for-es256",
        "the key decides, not the token",
        INVALID,
        as_alg(&es256(), "EdDSA"),
    );
    v.refuse(
        "alg-ed25519-for-es256",
        "the key decides, not the token",
        INVALID,
        as_alg(&es256(), "Ed25519"),
    );
}

fn ed25519_signatures(v: &mut Vectors) {
    let good = token(&claims());
    let message = signed(&good);
    let signature = signature_of(&good);
    let flipped = |byte: usize, bit: u8| {
        let mut flipped = signature;
        flipped[byte] ^= 1 << bit;
        flipped.to_vec()
    };
    let [r, s] = [&signature[..32], &signature[32..]];
    let times = |factor: usize| {
        (0..factor)
            .fold(signature, |sum, _| add_to_s(sum, &ORDER))
            .to_vec()
    };
    let mut bit_253 = [0; 32];
    bit_253[31] = 0x20;
    let mut negative_one = [0; 32];
    negative_one[0] = 1;
    negative_one[31] = 0x80;
    for (id, comment, signature) in [
        ("flipped-first", "a bit of R", flipped(0, 0)),
        ("flipped-sign", "the sign of R", flipped(31, 7)),
        ("flipped-last", "the highest bit of S", flipped(63, 7)),
        (
            "s-plus-l",
            "S + L: a second spelling of one signature",
            times(1),
        ),
        ("s-plus-2l", "S + 2L", times(2)),
        ("s-plus-8l", "S + 8L", times(8)),
        (
            "s-plus-bit-253",
            "a bit that careless parsers clear",
            add_to_s(signature, &bit_253).to_vec(),
        ),
        ("s-is-l", "S = L, which is 0", [r, &ORDER].concat()),
        ("s-zero", "S = 0", [r, &[0; 32]].concat()),
        ("r-zero", "R = 0", [&[0; 32], s].concat()),
        ("all-zero", "nothing but zeros", vec![0; 64]),
        ("all-ones", "nothing but ones", vec![0xff; 64]),
        ("swapped", "S, then R", [s, r].concat()),
        (
            "big-endian",
            "both halves reversed",
            r.iter().rev().chain(s.iter().rev()).copied().collect(),
        ),
        ("63-bytes", "a byte short", signature[..63].to_vec()),
        ("65-bytes", "a byte long", [&signature[..], &[0]].concat()),
        ("128-bytes", "twice", [signature, signature].concat()),
        (
            "hexadecimal",
            "as text",
            signature
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<String>>()
                .concat()
                .into_bytes(),
        ),
        (
            "r-neutral",
            "R is the neutral element: fits, and small-order points are refused",
            ed25519_with_r(message, 0, 0, None).to_vec(),
        ),
        (
            "r-neutral-second-spelling",
            "… written as y = p + 1",
            ed25519_with_r(message, 0, 0, Some(second_spelling(1))).to_vec(),
        ),
        (
            "r-neutral-negative",
            "… with the sign of zero set",
            ed25519_with_r(message, 0, 0, Some(negative_one)).to_vec(),
        ),
        (
            "r-order-2",
            "R of order 2: fits where the cofactor is multiplied away",
            ed25519_with_r(message, 0, 4, None).to_vec(),
        ),
        (
            "r-order-4",
            "R of order 4",
            ed25519_with_r(message, 0, 2, None).to_vec(),
        ),
        (
            "r-order-8",
            "R of order 8",
            ed25519_with_r(message, 0, 1, None).to_vec(),
        ),
        (
            "r-mixed-order",
            "R of mixed order: fits where the cofactor is multiplied away",
            ed25519_with_r(message, 12345, 1, None).to_vec(),
        ),
    ] {
        v.refuse(
            &format!("ed25519-{id}"),
            comment,
            INVALID,
            with_signature(&good, signature),
        );
    }
    v.accept(
        "ed25519-any-nonce",
        "how a signer chose R is its own affair",
        &claims(),
        with_signature(&good, ed25519_with_r(message, 12345, 0, None)),
    );
    let other = token(&changed(claims(), |c| {
        c["jti"] = json!("AAAAAAAAAAAAAAAAAAAAAA")
    }));
    v.refuse(
        "ed25519-of-another-token",
        "a good signature of another token",
        INVALID,
        with_signature(&good, signature_of(&other)),
    );
    v.refuse(
        "ed25519-of-the-payload",
        "the header is not signed",
        INVALID,
        with_signature(
            &good,
            self::signature(&ed25519(), good.split('.').nth(1).unwrap()),
        ),
    );
    v.refuse(
        "ed25519-of-the-json",
        "what is signed is its base64url",
        INVALID,
        with_signature(&good, self::signature(&ed25519(), &text(&claims()))),
    );
    let tampered = format!(
        "{}.{}.{}",
        good.split('.').next().unwrap(),
        encode(text(&changed(claims(), |c| c["tenant_id"] = json!("other")))),
        encode(signature)
    );
    v.refuse(
        "ed25519-tampered",
        "claims were changed after",
        INVALID,
        tampered.clone(),
    );
    untold(
        v,
        "ed25519-tampered",
        "claims were changed after",
        &tampered,
    );
    let wrong = with_signature(&good, flipped(40, 3));
    untold(v, "ed25519-flipped", "a wrong signature", &wrong);
}

fn es256_signatures(v: &mut Vectors) {
    let good = sign_json(&es256(), &header(&es256(), TYP), &claims());
    let signature = signature_of(&good);
    let mirrored = es256_mirrored(signature);
    let (high, low) = if es256_has_high_s(signature) {
        (signature, mirrored)
    } else {
        (mirrored, signature)
    };
    v.accept(
        "es256-low-s",
        "the lower of the two s",
        &claims(),
        with_signature(&good, low),
    );
    v.accept(
        "es256-high-s",
        "the higher: RFC 7518 forbids neither",
        &claims(),
        with_signature(&good, high),
    );
    let [r, s] = [&signature[..32], &signature[32..]];
    // The order of P-256, big-endian.
    let order: Vec<u8> = ["ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"]
        .iter()
        .flat_map(|hex| (0..32).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()))
        .collect();
    let one: Vec<u8> = [&[0; 31][..], &[1]].concat();
    for (id, comment, signature) in [
        (
            "der",
            "ASN.1, as OpenSSL and WebCrypto's neighbours write it",
            es256_der(signature),
        ),
        ("r-zero", "r = 0", [&[0; 32], s].concat()),
        ("s-zero", "s = 0", [r, &[0; 32]].concat()),
        ("both-zero", "CVE-2022-21449", vec![0; 64]),
        ("both-one", "r = s = 1", [&one[..], &one[..]].concat()),
        ("r-is-n", "r = n, which is 0", [&order[..], s].concat()),
        ("s-is-n", "s = n, which is 0", [r, &order[..]].concat()),
        ("all-ones", "both beyond the order", vec![0xff; 64]),
        ("swapped", "s, then r", [s, r].concat()),
        ("63-bytes", "a byte short", signature[..63].to_vec()),
        ("65-bytes", "a byte long", [&[0], &signature[..]].concat()),
        (
            "96-bytes",
            "the size of ES384",
            [&signature[..], &[0; 32]].concat(),
        ),
        (
            "little-endian",
            "both halves reversed",
            r.iter().rev().chain(s.iter().rev()).copied().collect(),
        ),
    ] {
        v.refuse(
            &format!("es256-{id}"),
            comment,
            INVALID,
            with_signature(&good, signature),
        );
    }
    let tampered = format!(
        "{}.{}.{}",
        good.split('.').next().unwrap(),
        encode(text(&changed(claims(), |c| c["tenant_id"] = json!("other")))),
        encode(signature)
    );
    v.refuse(
        "es256-tampered",
        "claims were changed after",
        INVALID,
        tampered,
    );
    let expired = v.refuse("es256-expired", "as with EdDSA", EXPIRED, good);
    expired.now = NOW + 500;
}

/// A public key is public: what was made with it for a secret is no signature.
fn macs(v: &mut Vectors) {
    for (form, secret) in public_key_as_secret() {
        let mac = |alg: &str, mac: fn(&[u8], &str) -> Vec<u8>| {
            let header = changed(head(), |h| h["alg"] = json!(alg));
            let signed = format!("{}.{}", encode(text(&header)), encode(text(&claims())));
            let mac = mac(&secret, &signed);
            format!("{signed}.{}", encode(mac))
        };
        v.refuse(
            &format!("hs256-{form}"),
            "HMAC with the public key",
            INVALID,
            mac("HS256", hs256),
        );
        v.refuse(
            &format!("hs512-{form}"),
            "HMAC with the public key, as long as a signature",
            INVALID,
            mac("HS512", hs512),
        );
        v.refuse(
            &format!("hs512-as-eddsa-{form}"),
            "HMAC with the public key, called EdDSA",
            INVALID,
            mac("EdDSA", hs512),
        );
    }
    let empty = changed(head(), |h| h["alg"] = json!("HS256"));
    let signed = format!("{}.{}", encode(text(&empty)), encode(text(&claims())));
    let mac = hs256(b"", &signed);
    v.refuse(
        "hs256-empty-secret",
        "HMAC with nothing",
        INVALID,
        format!("{signed}.{}", encode(mac)),
    );
}

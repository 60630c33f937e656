//! What is a revocation feed, and which descriptors it names.

use serde_json::{Value, json};

use super::{
    ISSUED_AT, ISSUER, NOW, changed, document, ed25519, es256,
    forge::{encode, header, sign, sign_json, sign_padded, stray_bits, with_signature},
    known, public_jwk, stranger, text, without,
};

const TYP: &str = "mcp-revocations+jwt";
const INVALID: &str = "descriptor_invalid";
const EXPIRED: &str = "descriptor_expired";
const SERVER: &str = "com.example/weather";
const JTI: &str = "q3VYb2h1S2FmT0l5dUtQZA";
const LISTS: [&str; 6] = ["servers", "versions", "tenants", "clients", "keys", "jtis"];

struct Vectors(Vec<Value>);

impl Vectors {
    fn accept(&mut self, id: &str, comment: &str, claims: &Value, token: &str) {
        self.accept_at(id, comment, claims, token, NOW);
    }

    fn accept_at(&mut self, id: &str, comment: &str, claims: &Value, token: &str, now: u64) {
        let names = ["iss", "iat", "exp", "window_seconds", "all"];
        let names: Vec<&str> = names.into_iter().chain(LISTS).collect();
        let result = json!({ "claims": known(claims, &names) });
        self.push(id, comment, token, now, &result);
    }

    fn refuse(&mut self, id: &str, comment: &str, token: &str) {
        self.refuse_at(id, comment, INVALID, token, NOW);
    }

    fn refuse_at(&mut self, id: &str, comment: &str, code: &str, token: &str, now: u64) {
        self.push(id, comment, token, now, &json!({ "refused": code }));
    }

    fn push(&mut self, id: &str, comment: &str, token: &str, now: u64, result: &Value) {
        self.0.push(json!({
            "id": id, "comment": comment, "key_set": "authority", "issuer": ISSUER, "leeway": 5,
            "now": now, "token": token, "result": result,
        }));
    }
}

pub(crate) fn file() -> String {
    let mut vectors = Vectors(Vec::new());
    good(&mut vectors);
    form(&mut vectors);
    shape(&mut vectors);
    let key_sets =
        json!({ "authority": { "keys": [public_jwk(&ed25519()), public_jwk(&es256())] } });
    document(
        "Revocation feeds. `vectors`: what a verifier makes of a feed. `names`: which descriptors a feed names.",
        &[("key_sets", key_sets), ("names", Value::Array(named()))],
        "vectors",
        &vectors.0,
    )
}

fn feed() -> Value {
    json!({
        "iss": ISSUER, "iat": ISSUED_AT, "exp": ISSUED_AT + 60, "window_seconds": 160,
        "servers": [], "versions": [], "tenants": [], "clients": [], "keys": [], "jtis": [],
    })
}

fn full() -> Value {
    changed(feed(), |f| {
        f["all"] = json!(ISSUED_AT - 100);
        f["servers"] = json!([{ "id": "com.example/other", "at": ISSUED_AT }]);
        f["versions"] = json!([{ "id": SERVER, "version": "1.0.0", "at": ISSUED_AT - 1 }]);
        f["tenants"] = json!([{ "id": "umbrella", "at": ISSUED_AT }]);
        f["clients"] = json!([
            { "id": "desktop", "tenant_id": "umbrella", "at": ISSUED_AT },
            { "id": "kiosk", "at": ISSUED_AT },
        ]);
        f["keys"] = json!([{ "id": "2026", "at": ISSUED_AT - 80_000 }]);
        f["jtis"] = json!([{ "id": "AAAAAAAAAAAAAAAAAAAAAA", "at": ISSUED_AT }]);
    })
}

fn token(claims: &Value) -> String {
    sign_json(&ed25519(), &header(&ed25519(), TYP), claims)
}

fn with_header(change: impl FnOnce(&mut Value)) -> String {
    sign_json(
        &ed25519(),
        &changed(header(&ed25519(), TYP), change),
        &feed(),
    )
}

fn good(v: &mut Vectors) {
    v.accept("empty", "nothing is withdrawn", &feed(), &token(&feed()));
    v.accept("full", "an entry of every kind", &full(), &token(&full()));
    let es_token = sign_json(&es256(), &header(&es256(), TYP), &full());
    v.accept("es256", "signed by the ES256 key", &full(), &es_token);
    let unknown = changed(feed(), |f| f["new"] = json!([{ "a": 1 }]));
    v.accept("unknown-members", "ignored", &unknown, &token(&unknown));
    let many = |count: usize| {
        changed(feed(), |f| {
            f["jtis"] = (0..count)
                .map(|n| json!({ "id": n.to_string(), "at": ISSUED_AT }))
                .collect();
        })
    };
    v.accept(
        "1000-entries",
        "as many as there may be",
        &many(1000),
        &token(&many(1000)),
    );
    v.refuse("1001-entries", "one too many", &token(&many(1001)));
    let long = |bytes| sign_padded(&ed25519(), &header(&ed25519(), TYP), &feed(), bytes);
    v.accept(
        "64-kib",
        "as long as a feed may be",
        &feed(),
        &long(64 * 1024),
    );
    v.refuse(
        "64-kib-and-a-byte",
        "longer than a feed may be",
        &long(64 * 1024 + 1),
    );
    let (good, exp) = (token(&feed()), ISSUED_AT + 60);
    v.accept_at(
        "leeway-before-iat",
        "a clock that is late",
        &feed(),
        &good,
        ISSUED_AT - 5,
    );
    v.accept_at(
        "last-second-of-leeway",
        "a clock that is early",
        &feed(),
        &good,
        exp + 4,
    );
    v.refuse_at(
        "before-iat",
        "ahead of the clock",
        INVALID,
        &good,
        ISSUED_AT - 6,
    );
    v.refuse_at(
        "expired",
        "too old to tell what holds now",
        EXPIRED,
        &good,
        exp + 5,
    );
}

fn form(v: &mut Vectors) {
    let good = token(&feed());
    let parts: Vec<&str> = good.split('.').collect();
    let [h, p, s] = parts[..] else {
        unreachable!("three parts")
    };
    for (id, comment, token) in [
        ("no-text", "nothing at all", String::new()),
        ("two-parts", "no signature", format!("{h}.{p}")),
        ("four-parts", "a part too many", format!("{good}.{s}")),
        (
            "stray-bits",
            "a second spelling of the signature",
            format!("{h}.{p}.{}", stray_bits(s)),
        ),
        (
            "short-signature",
            "63 bytes",
            with_signature(&good, [0; 63]),
        ),
        ("wrong-signature", "zeros", with_signature(&good, [0; 64])),
        (
            "stranger",
            "signed by a key that is not in the set",
            sign_json(&stranger(), &header(&stranger(), TYP), &feed()),
        ),
        (
            "forged",
            "signed by another key, in the name of the good one",
            sign_json(&stranger(), &header(&ed25519(), TYP), &feed()),
        ),
        (
            "tampered",
            "an entry was taken out",
            format!(
                "{h}.{}.{}",
                encode(text(&feed())),
                token(&full()).rsplit_once('.').unwrap().1
            ),
        ),
        (
            "typ-descriptor",
            "a descriptor is no feed",
            with_header(|h| h["typ"] = json!("mcp-connect+jwt")),
        ),
        (
            "typ-jwt",
            "another kind of token",
            with_header(|h| h["typ"] = json!("JWT")),
        ),
        (
            "alg-of-another-key",
            "the key decides",
            with_header(|h| h["alg"] = json!("ES256")),
        ),
        (
            "crit",
            "a member that no feed has",
            with_header(|h| h["crit"] = json!(["exp"])),
        ),
        (
            "jku",
            "nothing is fetched",
            with_header(|h| h["jku"] = json!("https://evil.example")),
        ),
        (
            "duplicate",
            "two members of one name",
            sign(
                &ed25519(),
                text(&header(&ed25519(), TYP)),
                text(&full()).replacen('{', r#"{"keys":[],"#, 1),
            ),
        ),
        (
            "duplicate-in-an-entry",
            "two members of one name",
            sign(
                &ed25519(),
                text(&header(&ed25519(), TYP)),
                text(&full()).replacen(r#"{"at""#, r#"{"at":1,"at""#, 1),
            ),
        ),
        (
            "a-list",
            "no object",
            sign(
                &ed25519(),
                text(&header(&ed25519(), TYP)),
                format!("[{}]", text(&feed())),
            ),
        ),
    ] {
        v.refuse(id, comment, &token);
    }
}

fn shape(v: &mut Vectors) {
    for name in ["iss", "iat", "exp", "window_seconds"]
        .into_iter()
        .chain(LISTS)
    {
        v.refuse(
            &format!("no-{name}"),
            "a claim that every feed has",
            &token(&without(feed(), name)),
        );
        v.refuse(
            &format!("{name}-null"),
            "a claim of another type",
            &token(&changed(feed(), |f| f[name] = json!(null))),
        );
    }
    let at = ISSUED_AT;
    for (id, comment, name, value) in [
        (
            "iss-other",
            "another issuer",
            "iss",
            json!("https://authority.example/"),
        ),
        ("lifetime-0", "no lifetime", "exp", json!(at)),
        (
            "lifetime-121",
            "too long a lifetime",
            "exp",
            json!(at + 121),
        ),
        (
            "exp-a-float",
            "a date that is not written as digits alone",
            "exp",
            json!(1_800_000_060.5),
        ),
        ("all-null", "absent is left out", "all", json!(null)),
        ("all-text", "no date", "all", json!("1800000000")),
        ("all-negative", "no date", "all", json!(-1)),
        (
            "servers-of-names",
            "entries are objects",
            "servers",
            json!([SERVER]),
        ),
        (
            "servers-of-lists",
            "entries are objects",
            "servers",
            json!([[SERVER, null, null, at]]),
        ),
        (
            "servers-an-object",
            "a list is a list",
            "servers",
            json!({ "id": SERVER, "at": at }),
        ),
        (
            "entry-without-at",
            "an entry has a date",
            "servers",
            json!([{ "id": SERVER }]),
        ),
        (
            "entry-without-id",
            "an entry has a name",
            "tenants",
            json!([{ "at": at }]),
        ),
        (
            "entry-at-a-float",
            "a date that is not written as digits alone",
            "jtis",
            json!([{ "id": "j", "at": 1.5 }]),
        ),
        (
            "entry-id-a-number",
            "a name is a text",
            "keys",
            json!([{ "id": 7, "at": at }]),
        ),
        (
            "version-missing",
            "an entry of versions names one",
            "versions",
            json!([{ "id": SERVER, "at": at }]),
        ),
        (
            "version-null",
            "an entry of versions names one",
            "versions",
            json!([{ "id": SERVER, "version": null, "at": at }]),
        ),
        (
            "client-of-tenant-null",
            "absent is left out",
            "clients",
            json!([{ "id": "desktop", "tenant_id": null, "at": at }]),
        ),
    ] {
        v.refuse(id, comment, &token(&changed(feed(), |f| f[name] = value)));
    }
}

/// Whether, and because of what, a feed names the descriptor that is described.
fn named() -> Vec<Value> {
    let at = ISSUED_AT;
    let descriptor = json!({
        "server_id": SERVER, "version": "1.2.0", "client_id": "desktop", "tenant_id": "acme",
        "jti": JTI, "iat": at, "kid": "2027",
    });
    let anonymous = without(without(descriptor.clone(), "client_id"), "tenant_id");
    let untenanted = without(descriptor.clone(), "tenant_id");
    let earlier = changed(descriptor.clone(), |d| d["iat"] = json!(at - 60));
    let later = changed(descriptor.clone(), |d| d["iat"] = json!(at + 1));
    let server = json!({ "servers": [{ "id": SERVER, "at": at }] });
    let version = json!({ "versions": [{ "id": SERVER, "version": "1.2.0", "at": at }] });
    let tenant = json!({ "tenants": [{ "id": "acme", "at": at }] });
    let client = json!({ "clients": [{ "id": "desktop", "tenant_id": "acme", "at": at }] });
    let bare_client = json!({ "clients": [{ "id": "desktop", "at": at }] });
    let key = json!({ "keys": [{ "id": "2027", "at": at }] });
    let jti = json!({ "jtis": [{ "id": JTI, "at": at }] });
    let all = json!({ "all": at });
    let case = |id: &str, lists: &Value, descriptor: &Value, by: Option<&str>| {
        let feed = changed(feed(), |feed| {
            for (name, value) in lists.as_object().unwrap() {
                feed[name] = value.clone();
            }
        });
        json!({ "id": id, "feed": feed, "descriptor": descriptor, "named_by": by })
    };
    let other_version = json!({ "versions": [
        { "id": SERVER, "version": "1.2.1", "at": at },
        { "id": "com.example/other", "version": "1.2.0", "at": at },
    ] });
    vec![
        case("nothing", &json!({}), &descriptor, None),
        case("server-at-its-second", &server, &descriptor, Some("server")),
        case("server-before", &server, &earlier, Some("server")),
        case("server-after", &server, &later, None),
        case("server-of-anonymous", &server, &anonymous, Some("server")),
        case(
            "server-longer",
            &json!({ "servers": [{ "id": "com.example/weather2", "at": at }] }),
            &descriptor,
            None,
        ),
        case(
            "server-shorter",
            &json!({ "servers": [{ "id": "com.example", "at": at }] }),
            &descriptor,
            None,
        ),
        case(
            "server-second-of-two",
            &json!({ "servers": [{ "id": "a/b", "at": at }, { "id": SERVER, "at": at }] }),
            &descriptor,
            Some("server"),
        ),
        case("version", &version, &descriptor, Some("version")),
        case("version-after", &version, &later, None),
        case("version-other", &other_version, &descriptor, None),
        case("tenant", &tenant, &descriptor, Some("tenant")),
        case("tenant-after", &tenant, &later, None),
        case("tenant-of-anonymous", &tenant, &anonymous, None),
        case(
            "tenant-is-no-client",
            &json!({ "tenants": [{ "id": "desktop", "at": at }] }),
            &descriptor,
            None,
        ),
        case("client", &client, &descriptor, Some("client")),
        case("client-after", &client, &later, None),
        case("client-of-no-tenant", &client, &untenanted, None),
        case("bare-client-of-a-tenant", &bare_client, &descriptor, None),
        case("bare-client", &bare_client, &untenanted, Some("client")),
        case("client-of-anonymous", &bare_client, &anonymous, None),
        case("key", &key, &descriptor, Some("key")),
        case("key-whatever-the-date", &key, &later, Some("key")),
        case(
            "key-other",
            &json!({ "keys": [{ "id": JTI, "at": at }] }),
            &descriptor,
            None,
        ),
        case("jti", &jti, &descriptor, Some("jti")),
        case("jti-whatever-the-date", &jti, &later, Some("jti")),
        case("all-at-its-second", &all, &descriptor, Some("all")),
        case("all-before", &all, &earlier, Some("all")),
        case("all-after", &all, &later, None),
    ]
}

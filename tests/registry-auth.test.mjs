// How publishers log in: what they can prove is theirs, by whom, and what the token says that they get.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";

import { createLocalJWKSet, decodeJwt, jwtVerify } from "jose";

import { REPOSITORY, startAuthority } from "./support/authority.mjs";
import { startIdentityProvider } from "./support/identity-provider.mjs";
import { DomainKey, membership, startGitHub, startResolver } from "./support/publishers.mjs";
import { assertRefused, serverJson, tokenFor } from "./support/registry.mjs";
import { Site } from "./support/site.mjs";

const WELL_KNOWN = "/.well-known/mcp-registry-auth";
const VECTORS = join(REPOSITORY, "../shared/conformance/registry/auth-vectors.json");
const HOSTS = ["example.com", "sub.example.com", "elsewhere.net"];
let authority, resolver, github, actions, staff, site;
/// What the site answers at the well-known path of each host: a text, or a function.
let documents = {};

before(async () => {
  [resolver, github, actions, staff, site] = await Promise.all([
    startResolver(),
    startGitHub(),
    startIdentityProvider(["workflow"]),
    startIdentityProvider(["employee"]),
    Site.start((request, response) => {
      const document = documents[request.url === WELL_KNOWN ? request.headers["x-test-host"] : undefined];
      if (typeof document === "function") return document(response);
      response.writeHead(document === undefined ? 404 : 200, { "content-type": "text/plain" }).end(document);
    }),
  ]);
  authority = await startAuthority({
    hosts: Object.fromEntries(HOSTS.map((host) => [host, site.port])),
    settings: {
      DNS_RESOLVER: resolver.url,
      GITHUB_API: github.origin,
      GITHUB_ACTIONS_ISSUER: actions.issuer,
      PUBLISH_ANONYMOUS: "true",
      PUBLISH_OIDC: JSON.stringify({
        issuer: staff.issuer,
        audience: "registry",
        claims: { hd: "example.com" },
        publish: ["*"],
        edit: ["*"],
      }),
    },
  });
});
after(() => Promise.all([authority, resolver, github, actions, staff, site].map((service) => service?.stop())));
beforeEach(() => {
  documents = {};
  resolver.zones = {};
  github.isDown = false;
});

let jti = 0;
/// No two tokens of a provider are one: each opens once.
const unique = () => ({ jti: String(++jti) });
const logIn = (way, body, prefix = "/v0") => authority.request(`${prefix}/auth/${way}`, { method: "POST", body: body ?? "{}" });

/// The claims of the token that a login gives.
async function claims(way, body, prefix) {
  const answer = await logIn(way, body, prefix);
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(Object.keys(answer.body).sort(), ["expires_at", "registry_token"]);
  assert.equal(answer.headers.get("cache-control"), "no-store");
  const token = decodeJwt(answer.body.registry_token);
  assert.equal(answer.body.expires_at, token.exp);
  return token;
}

const permissions = async (...login) => (await claims(...login)).permissions.map(({ action, resource }) => `${action} ${resource}`);

async function refused(way, body, status, said) {
  const answer = await logIn(way, body);
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers.get("content-type"), "application/problem+json");
  assert.equal(answer.body.status, status);
  assert.ok(answer.text.includes(said), `${answer.text} says nothing of ${said}`);
  assert.equal(answer.body.registry_token, undefined);
}

describe("a registry token", () => {
  test("is the authority's own, for the authority, once and for five minutes", async () => {
    const answer = await logIn("none");
    const jwks = createLocalJWKSet((await authority.request("/.well-known/jwks.json")).body);
    const { payload, protectedHeader } = await jwtVerify(answer.body.registry_token, jwks, {
      issuer: authority.url,
      audience: authority.url,
      typ: "mcp-registry+jwt",
    });
    assert.deepEqual(Object.keys(protectedHeader).sort(), ["alg", "kid", "typ"]);
    assert.equal(payload.exp - payload.iat, 300);
    assert.equal(payload.nbf, payload.iat);
    const other = await claims("none");
    assert.match(payload.jti, /^[\w-]{22}$/);
    assert.notEqual(payload.jti, other.jti);
  });

  test("is spoken of in the log, and never shown there", async () => {
    authority.clearLog();
    const answer = await logIn("none");
    const { jti } = decodeJwt(answer.body.registry_token);
    const logged = authority.logged("publisher_admitted");
    assert.deepEqual(logged.map(({ actor, jti }) => [actor, jti]), [["publisher none:anonymous", jti]]);
    assert.ok(!authority.log().join("\n").includes(answer.body.registry_token));
  });
});

for (const kind of ["ed25519", "ecdsap384"]) {
  describe(`a domain's key of ${kind}`, () => {
    const key = new DomainKey(kind);

    test("in DNS opens the namespace and those below, under both prefixes", async () => {
      resolver.zones["example.com"] = ["v=spf1 -all", new DomainKey(kind).record, key.record];
      for (const prefix of ["/v0", "/v0.1"]) {
        const token = await claims("dns", key.proof("example.com"), prefix);
        assert.deepEqual(token.permissions, [
          { action: "publish", resource: "com.example/*" },
          { action: "publish", resource: "com.example.*" },
        ]);
        assert.deepEqual([token.auth_method, token.auth_method_sub], ["dns", "example.com"]);
      }
      assert.ok(resolver.asked.at(-1).endsWith("/dns-query?name=example.com&type=TXT"));
    });

    test("on its site opens the namespace alone", async () => {
      documents["sub.example.com"] = `${key.record}\n`;
      const token = await claims("http", key.proof("sub.example.com"));
      assert.deepEqual(token.permissions, [{ action: "publish", resource: "com.example.sub/*" }]);
      assert.deepEqual([token.auth_method, token.auth_method_sub], ["http", "sub.example.com"]);
    });

    test("opens nothing with another's signature", async () => {
      resolver.zones["example.com"] = [key.record];
      documents["example.com"] = key.record;
      const stranger = new DomainKey(kind).proof("example.com");
      const other = new DomainKey(kind === "ed25519" ? "ecdsap384" : "ed25519").proof("example.com");
      const good = key.proof("example.com");
      const later = { ...good, timestamp: key.proof("example.com").timestamp };
      const cut = { ...good, signed_timestamp: good.signed_timestamp.slice(2) };
      for (const way of ["dns", "http"]) {
        for (const proof of [stranger, other, later]) {
          await refused(way, proof, 401, "signature verification failed");
        }
        const asked = [...resolver.asked, ...site.asked];
        for (const proof of [cut, { ...good, signed_timestamp: "" }]) {
          await refused(way, proof, 401, "invalid signature length");
        }
        assert.deepEqual([...resolver.asked, ...site.asked], asked, "nobody is asked for what can't be good");
      }
    });

    test("opens once with one proof", async () => {
      resolver.zones["example.com"] = [key.record];
      documents["example.com"] = key.record;
      const proof = key.proof("example.com");
      await claims("dns", proof);
      await refused("dns", proof, 401, "used before");
      await refused("http", proof, 401, "used before");
      const again = key.proof("example.com");
      const answers = await Promise.all(["dns", "http", "dns"].map((way) => logIn(way, again)));
      assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 401, 401]);
    });

    test("binds a proof to this registry and the domain", async () => {
      for (const host of ["example.com", "elsewhere.net"]) resolver.zones[host] = [key.record];
      const bound = key.proof("example.com", { registry: authority.url });
      const { registry, ...stripped } = bound;
      await refused("dns", stripped, 401, "signature verification failed");
      await refused("dns", { ...bound, domain: "elsewhere.net" }, 401, "signature verification failed");
      await refused("dns", { ...key.proof("example.com"), registry }, 401, "signature verification failed");
      await refused("dns", key.proof("example.com", { registry: "https://other.example" }), 401, "another registry");
      assert.equal((await claims("dns", bound)).auth_method_sub, "example.com");
      await refused("dns", bound, 401, "used before");
    });
  });
}

describe("keys and clocks of others", { skip: !existsSync(VECTORS) && `${VECTORS} is not there` }, () => {
  test("are taken with the vectors' keys", async () => {
    const { vectors, bad_records } = JSON.parse(readFileSync(VECTORS, "utf8"));
    for (const { alg, record, private_seed_hex, private_scalar_hex } of vectors) {
      const key = new DomainKey(alg, private_seed_hex ?? private_scalar_hex);
      assert.equal(key.record, record);
      resolver.zones["example.com"] = [...bad_records, record];
      await claims("dns", key.proof("example.com"));
    }
    resolver.zones["example.com"] = bad_records;
    await refused("dns", new DomainKey().proof("example.com"), 401, "DNS authentication failed");
  });
});

describe("a proof", () => {
  const key = new DomainKey();

  test("is as old or as far ahead as fifteen seconds", async () => {
    resolver.zones["example.com"] = [key.record];
    resolver.asked = [];
    for (const ahead of [-17, 17, 3600]) {
      await refused("dns", key.proof("example.com", { ahead }), 401, "timestamp outside valid window (±15 seconds)");
    }
    assert.deepEqual(resolver.asked, [], "nobody is asked for what can't be good");
    for (const ahead of [-12, 12]) await claims("dns", key.proof("example.com", { ahead }));
  });

  test("is of a public domain", async () => {
    for (const domain of ["localhost", "127.0.0.1", "10.0.0.1", "[::1]", "example.com:80", "a@example.com", "example.com/", ""]) {
      const proof = new DomainKey().proof(domain);
      await refused("dns", proof, 401, "invalid domain");
      await refused("http", proof, 401, "invalid domain");
    }
    for (const domain of ["octo.github.io", "octo.GitHub.IO", "github.io"]) {
      resolver.zones[domain] = [key.record];
      for (const way of ["dns", "http"]) await refused(way, key.proof(domain), 401, "log in with GitHub");
    }
    for (const domain of ["metadata.google.internal", "a.localhost", "printer.local"]) {
      await refused("http", key.proof(domain), 401, "failed to fetch");
    }
  });

  test("has members that are texts, and no others", async () => {
    const good = key.proof("example.com");
    const { domain, ...missing } = good;
    for (const body of ["", "{", `{"domain":"a","domain":"b"}`]) {
      await refused("dns", body, 400, "body");
      await refused("http", body, 400, "body");
    }
    for (const [body, location] of [
      ["[]", "body"],
      [missing, "property domain"],
      [{ ...good, domain: 7 }, "body.domain"],
      [{ ...good, registry: null }, "body.registry"],
      [{ ...good, extra: "x" }, "body.extra"],
    ]) {
      await refused("dns", body, 422, location);
      await refused("http", body, 422, location);
    }
    await refused("github-at", { token: "x" }, 422, "github_token");
    await refused("github-oidc", {}, 422, "oidc_token");
  });
});

describe("DNS", () => {
  const key = new DomainKey();

  test("may split a record, and have others", async () => {
    const { record } = key;
    resolver.zones["example.com"] = [[record.slice(0, 10), record.slice(10, 20), record.slice(20)], 'a "quoted" \\ one'];
    await claims("dns", key.proof("example.com"));
  });

  test("that has no key, or can't be asked, opens nothing", async () => {
    const raw = (status, body) => (response) => response.writeHead(status).end(body);
    for (const [zone, said] of [
      [undefined, "no MCP public key found in DNS TXT records"],
      [[], "no MCP public key found in DNS TXT records"],
      [["v=MCPv2; k=ed25519; p=AAAA"], "no MCP public key found in DNS TXT records"],
      [raw(200, '{"Status":2}'), "failed to look up"],
      [raw(500, "{}"), "failed to look up"],
      [raw(200, "<html>"), "no JSON"],
      [raw(200, JSON.stringify({ Status: 0, padding: "x".repeat(200_000) })), "failed to look up"],
      [(response) => response.destroy(), "failed to look up"],
      [(response) => response.writeHead(302, { location: `${resolver.url}?name=good` }).end(), "failed to look up"],
    ]) {
      resolver.zones["example.com"] = zone;
      await refused("dns", key.proof("example.com"), 401, said);
    }
  });
});

describe("a site", () => {
  const key = new DomainKey();

  test("serves one key, at once, in 4096 bytes, and sends nobody elsewhere", async () => {
    documents["elsewhere.net"] = key.record;
    const padded = (bytes) => key.record.padEnd(bytes, "\n");
    for (const [document, said] of [
      [undefined, "it must answer 200"],
      ["nothing", "no MCP public key found in the HTTP response"],
      [`${new DomainKey().record}\n${key.record}`, "signature verification failed"],
      [padded(4097), "at most 4096 bytes"],
      [(response) => response.writeHead(302, { location: `https://elsewhere.net${WELL_KNOWN}` }).end(), "redirects"],
      [(response) => response.writeHead(201).end(key.record), "it must answer 200"],
      [(response) => response.destroy(), "failed to fetch"],
    ]) {
      documents["example.com"] = document;
      await refused("http", key.proof("example.com"), 401, said);
    }
    documents["example.com"] = padded(4096);
    site.asked = [];
    await claims("http", key.proof("example.com"));
    assert.deepEqual(site.asked, [`GET example.com ${WELL_KNOWN}`]);
  });
});

describe("GitHub", () => {
  test("says who somebody is and what is theirs", async () => {
    github.users = {
      gho_owner: { login: "Octo-Cat", orgs: [membership("owned", "admin"), membership("joined", "member"), membership("asked", "admin", "pending")] },
      gho_shy: { login: "shy" },
    };
    const owner = await claims("github-at", { github_token: "gho_owner" }, "/v0.1");
    assert.deepEqual([owner.auth_method, owner.auth_method_sub], ["github-at", "Octo-Cat"]);
    assert.deepEqual(owner.permissions.map(({ resource }) => resource), ["io.github.octo-cat/*", "io.github.owned/*"]);
    assert.deepEqual(await permissions("github-at", { github_token: "gho_shy" }), ["publish io.github.shy/*"]);
  });

  test("may own as many organisations as it lists", async () => {
    const name = (n) => String(n).padStart(39, "o");
    const orgs = Array.from({ length: 120 }, (_, n) => membership(name(n), "admin"));
    github.users = { gho_tycoon: { login: name(999), orgs } };
    assert.equal((await permissions("github-at", { github_token: "gho_tycoon" })).length, 101);
  });

  test("that was asked too often says nothing of a token", async () => {
    const orgs = [membership("owned", "admin")];
    for (const path of ["/user", "/user/memberships/orgs"]) {
      for (const answer of [[429, {}], [403, { "x-ratelimit-remaining": "0" }], [403, { "retry-after": "60" }]]) {
        github.users = { gho_busy: { login: "busy", orgs, limited: { [path]: answer } } };
        await refused("github-at", { github_token: "gho_busy" }, 502, "too many requests");
      }
    }
    const forbidden = [403, { "x-ratelimit-remaining": "7" }];
    github.users = { gho_shy: { login: "shy", orgs, limited: { "/user/memberships/orgs": forbidden } } };
    assert.deepEqual(await permissions("github-at", { github_token: "gho_shy" }), ["publish io.github.shy/*"]);
  });

  test("that doesn't take a token, or doesn't answer, lets nobody in", async () => {
    github.users = { gho_odd: { login: "a/b" } };
    for (const github_token of ["gho_unknown", "gho_odd", "", "a b", "a\nb", "ü"]) {
      await refused("github-at", { github_token }, 401, "GitHub authentication failed");
    }
    github.isDown = true;
    await refused("github-at", { github_token: "gho_odd" }, 502, "try again");
    assert.ok(!authority.log().join("\n").includes("gho_odd"), "a token is in the log");
  });
});

describe("a workflow of GitHub's", () => {
  const workflow = (claims, header) =>
    actions.forge({ aud: authority.url, sub: "repo:octo/app:ref:refs/heads/main", repository_owner: "octo", ...unique(), ...claims }, { alg: "RS256", typ: "JWT", ...header });

  test("publishes for the owner of its repository", async () => {
    const token = await claims("github-oidc", { oidc_token: await workflow() });
    assert.deepEqual([token.auth_method, token.auth_method_sub], ["github-oidc", "repo:octo/app:ref:refs/heads/main"]);
    assert.deepEqual(token.permissions, [{ action: "publish", resource: "io.github.octo/*" }]);
  });

  test("logs in once with one token, while that is good", async () => {
    const now = Math.floor(Date.now() / 1000);
    const database = await authority.database();
    for (const lifetime of [300, 3600]) {
      const oidc_token = await workflow({ iat: now, exp: now + lifetime });
      const answers = await Promise.all(["/v0", "/v0.1", "/v0"].map((prefix) => logIn("github-oidc", { oidc_token }, prefix)));
      assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 401, 401]);
      // As if what signed proofs are remembered for were over.
      await database.prepare("UPDATE spent_proofs SET spent_at = spent_at - 120000").run();
      await claims("github-oidc", { oidc_token: await workflow() });
      await refused("github-oidc", { oidc_token }, 401, "used before");
    }
    await refused("github-oidc", { oidc_token: await workflow({ iat: now, exp: now + 3601 }) }, 401, "lives for too long");
  });

  test("has a token of GitHub's for this registry", async () => {
    const past = Math.floor(Date.now() / 1000) - 600;
    for (const [oidc_token, said] of [
      [await workflow({ aud: "https://registry.modelcontextprotocol.io" }), "aud is another"],
      [await workflow({ iss: staff.issuer }), "iss is another"],
      [await workflow({ iat: past, exp: past + 300 }), "expired"],
      [await workflow({ repository_owner: undefined }), "repository_owner"],
      [await workflow({ repository_owner: "octo/*" }), "repository_owner"],
      [await workflow({}, { key: staff.keys.find(({ alg }) => alg === "RS256") }), "signature"],
      [await workflow({}, { kid: "unknown" }), "no key of the provider fits"],
      ["a.b.c", "a part"],
      ["", "three parts"],
    ]) {
      await refused("github-oidc", { oidc_token }, 401, said);
    }
  });
});

describe("another provider", () => {
  const employee = (claims) => staff.forge({ aud: "registry", sub: "7", hd: "example.com", ...unique(), ...claims }, { typ: "JWT" });

  test("lets in whom the operator's rules describe", async () => {
    const token = await claims("oidc", { oidc_token: await employee() });
    assert.deepEqual([token.auth_method, token.auth_method_sub], ["oidc", "7"]);
    assert.deepEqual(token.permissions, [
      { action: "publish", resource: "*" },
      { action: "edit", resource: "*" },
    ]);
    for (const change of [{ hd: "rival.example" }, { hd: undefined }, { aud: authority.url }, { sub: undefined }]) {
      await refused("oidc", { oidc_token: await employee(change) }, 401, "OIDC authentication failed");
    }
  });
});

// The last of the file: these start the Worker with other settings.
describe("the operator", () => {
  after(() => authority.configure({}));

  test("opens what is not for everybody", async () => {
    assert.deepEqual(await permissions("none"), [
      "publish io.modelcontextprotocol.anonymous/*",
      "edit io.modelcontextprotocol.anonymous/*",
    ]);
    await authority.configure({ PUBLISH_ANONYMOUS: undefined, PUBLISH_OIDC: undefined });
    await refused("none", {}, 404, "not open");
    await refused("oidc", { oidc_token: "a.b.c" }, 404, "not open");
  });

  test("denies namespaces, also to tokens that were given out before", async () => {
    await authority.configure({});
    github.users = { gho_both: { login: "fine", orgs: [membership("Evil", "admin")] }, gho_evil: { login: "eviL" } };
    assert.deepEqual(await permissions("github-at", { github_token: "gho_evil" }), ["publish io.github.evil/*"]);
    const [before, staff] = await Promise.all(["io.github.eviL/*", "*"].map((resource) => tokenFor(authority, resource, "publish")));
    await authority.configure({ PUBLISH_DENIED: "com.example.denied io.github.evil" });
    assert.deepEqual(await permissions("github-at", { github_token: "gho_both" }), ["publish io.github.fine/*"]);
    await refused("github-at", { github_token: "gho_evil" }, 403, "denied by the operator");
    const key = new DomainKey();
    resolver.zones["example.com"] = [key.record];
    assert.deepEqual(await permissions("dns", key.proof("example.com")), ["publish com.example/*"]);
    const publish = (bearer) => authority.request("/v0/publish", { body: serverJson("io.github.evil/one"), bearer });
    assertRefused(await publish(before), 403, "You do not have permission");
    assert.equal((await publish(staff)).status, 200, "who may write everywhere cleans up");
  });

  test("can't let everybody in outside of development", async () => {
    await authority.configure({ DEVELOPMENT: "false", ISSUER: "https://registry.example", PUBLISH_ANONYMOUS: "true" });
    const answer = await logIn("none");
    assert.equal(answer.status, 500, answer.text);
    assert.ok(authority.logged("configuration_fault").some(({ setting }) => setting === "PUBLISH_ANONYMOUS"));
  });
});

test("without D1 nobody logs in", async (t) => {
  const failing = await startAuthority({ faults: true, settings: { DNS_RESOLVER: resolver.url } });
  t.after(() => failing.stop());
  const key = new DomainKey();
  resolver.zones["example.com"] = [key.record];
  for (const [containing, status] of [["spent_proofs", 500], ["revocations", 500], ["nothing", 200]]) {
    await failing.break({ d1: "error", containing });
    const answer = await failing.request("/v0/auth/dns", { body: key.proof("example.com") });
    assert.equal(answer.status, status, answer.text);
  }
});

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { decodeJwt, decodeProtectedHeader, exportSPKI, generateKeyPair, importJWK } from "jose";

import { eventually, startAuthority } from "./support/authority.mjs";
import { ALGORITHMS, startIdentityProvider } from "./support/identity-provider.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";

const WEATHER = "com.example/weather";
const AUDIENCE = "https://authority.example";
const base64url = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
let authority, provider, other;

before(async () => {
  [authority, provider, other] = await Promise.all([
    startAuthority({ meterD1: true }),
    startIdentityProvider(["agent", "robot", "rival-app", "naughty"]),
    startIdentityProvider(["agent"]),
  ]);
  await authority.publish(WEATHER);
  for (const tenant of ["acme", "rival", "third"]) await authority.createTenant(tenant);
  for (const [tenant, { issuer }] of [["acme", provider], ["rival", other]]) {
    const answer = await register(tenant, { issuer });
    assert.equal(answer.status, 201, answer.text);
  }
});
after(() => Promise.all([authority?.stop(), provider?.stop(), other?.stop()]));

function register(tenant, members) {
  const body = { audience: AUDIENCE, reason: "a test wants it", ...members };
  return authority.admin(`/tenants/${tenant}/identity-providers`, body);
}

const ADMIN = () => ["--authority", authority.url, "--operator-token", authority.operatorToken];

/// connectctl as an operator uses it; its JSON.
async function operate(...args) {
  const { code, stdout, stderr } = await connectctl([...args, ...ADMIN(), "--json"]);
  assert.equal(code, 0, stderr);
  return stdout && JSON.parse(stdout);
}

/// The claims of the descriptor that a credential is granted.
async function granted(credential, request = WEATHER) {
  const answer = await authority.connect(request, credential);
  assert.equal(answer.status, 200, answer.text);
  return decodeJwt(answer.body.descriptor);
}

/// That a token is refused with the one answer that all refused tokens get.
async function assertRefused(token, shown = "") {
  const answer = await authority.connect(WEATHER, token);
  assertProblem(answer, 401, "caller_unauthenticated", "access token");
  assert.equal(answer.headers.get("www-authenticate"), 'Bearer error="invalid_token"', shown);
  return answer.text;
}

describe("an access token", () => {
  for (const alg of ALGORITHMS) {
    test(`of the tenant's provider is taken, signed with ${alg}`, async () => {
      const token = await provider.token("agent", AUDIENCE, alg);
      assert.equal(decodeProtectedHeader(token).alg, alg);
      const { client_id, tenant_id } = await granted(token);
      assert.deepEqual({ client_id, tenant_id }, { client_id: "agent", tenant_id: "acme" });
    });
  }

  test("decides the tenant by who issued it, not by what its client is called", async () => {
    const { client_id, tenant_id } = await granted(await other.token("agent", AUDIENCE));
    assert.deepEqual({ client_id, tenant_id }, { client_id: "agent", tenant_id: "rival" });
  });

  test("can't be another's than the body says", async () => {
    const token = await provider.token("agent", AUDIENCE);
    await granted(token, { server_ref: WEATHER, client_id: "agent", tenant_id: "acme" });
    for (const claim of [{ client_id: "robot" }, { tenant_id: "rival" }, { client: { tenant_id: "rival" } }]) {
      const answer = await authority.connect({ server_ref: WEATHER, ...claim }, token);
      assertProblem(answer, 400, "request_invalid", "names another");
    }
  });

  test("is taken for a registered client of the tenant, unless that is suspended", async () => {
    const { api_key } = await authority.createClient("naughty", { tenant_id: "acme", api_key: false });
    assert.equal(api_key, undefined);
    const token = await provider.token("naughty", AUDIENCE);
    assert.equal((await granted(token)).client_id, "naughty");
    await authority.admin("/clients/naughty/suspend", { reason: "misbehaved" });
    assertProblem(await authority.connect(WEATHER, token), 403, "policy_blocked", "suspended");
    await authority.admin("/clients/naughty/resume", { reason: "promised to behave" });
    await granted(token);
  });

  test("of a client that belongs to another tenant, or to none, is refused", async () => {
    await authority.createClient("rival-app", { tenant_id: "rival" });
    await assertRefused(await provider.token("rival-app", AUDIENCE));
    await authority.createClient("robot");
    await assertRefused(await provider.token("robot", AUDIENCE));
  });

  test("of a suspended tenant is blocked", async () => {
    const database = await authority.database();
    const set = database.prepare("UPDATE tenants SET status = ? WHERE tenant_id = 'rival'");
    const token = await other.token("agent", AUDIENCE);
    await set.bind("suspended").run();
    assertProblem(await authority.connect(WEATHER, token), 403, "policy_blocked", "tenant");
    await set.bind("active").run();
    await granted(token);
  });
});

describe("a token that is refused", () => {
  const now = Math.floor(Date.now() / 1000);
  const forged = {
    "for another audience": [{ aud: "https://elsewhere.example" }],
    "for an audience that only looks like it": [{ aud: `${AUDIENCE}/` }],
    "for nobody": [{ aud: undefined }],
    "of an unknown issuer": [{ iss: "https://elsewhere.example" }],
    "of another tenant's provider": [() => ({ iss: other.issuer })],
    "expired": [{ iat: now - 700, exp: now - 10 }],
    "without an end": [{ exp: undefined }],
    "not valid yet": [{ nbf: now + 600 }],
    "from the future": [{ iat: now + 600, exp: now + 900 }],
    "living for a month": [{ exp: now + 30 * 86400 }],
    "without a client": [{ client_id: undefined }],
    "with a client that is no id": [{ client_id: "a b" }],
    "with a client that is no text": [{ client_id: 7 }],
    "of another type": [{}, { typ: "mcp-connect+jwt" }],
    "with a key of another kind": [{}, { kid: "RS256-1" }],
    "with an unknown key": [{}, { kid: "nobody's" }],
    "signed by somebody else": [{}, { alg: "ES256", key: async () => (await generateKeyPair("ES256")).privateKey }],
    "signed with RSA-PSS by the key for PKCS #1": [
      {},
      { alg: "PS256", kid: "RS256-1", key: () => importJWK(provider.keys.find(({ alg }) => alg === "RS256"), "PS256") },
    ],
  };
  const answers = new Set();
  for (const [what, [claims, { key, ...header } = {}]] of Object.entries(forged)) {
    test(`is one ${what}`, async () => {
      const own = { aud: AUDIENCE, client_id: "agent", ...(typeof claims === "function" ? claims() : claims) };
      const token = await provider.forge(own, { ...header, key: await key?.() });
      answers.add(await assertRefused(token, what));
    });
  }

  test("is a good one that was changed", async () => {
    await granted(await provider.forge({ aud: AUDIENCE, client_id: "agent" }));
    const [header, payload, signature] = (await provider.token("agent", AUDIENCE)).split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url"));
    answers.add(await assertRefused(`${header}.${base64url({ ...claims, client_id: "admin" })}.${signature}`));
  });

  test("gets the same answer, whatever was wrong, and the log says what", async () => {
    assert.equal(answers.size, 1, [...answers].join("\n"));
    const problems = await eventually("every reason is logged", () => {
      const found = new Set(authority.logged("access_token_refused").map(({ problem }) => problem));
      return found.size >= 9 && found;
    });
    for (const text of ["expired", "aud is another", "the signature is not the key's", "no key of the provider fits"]) {
      assert.ok(text === "aud is another" || problems.has(text), `${text}: ${[...problems]}`);
    }
  });

  test("is not looked up where its form alone is bad", async () => {
    const [header, payload, signature] = (await provider.token("agent", AUDIENCE)).split(".");
    const { kid } = JSON.parse(Buffer.from(header, "base64url"));
    const publicKey = await exportSPKI(await importJWK(provider.keys.find((key) => key.kid === kid), "RS256", { extractable: true }).then(publicHalf));
    const hmac = base64url({ alg: "HS256", typ: "at+jwt", kid });
    const mac = createHmac("sha256", publicKey).update(`${hmac}.${payload}`).digest("base64url");
    authority.clearLog();
    for (const token of [
      `${base64url({ alg: "none", typ: "at+jwt" })}.${payload}.`,
      `${base64url({ alg: "none", typ: "at+jwt" })}.${payload}.${signature}`,
      `${hmac}.${payload}.${mac}`,
      `${base64url({ alg: "RS256", kid, crit: ["x"], x: 1 })}.${payload}.${signature}`,
      `${header}.${payload}.${signature}=`,
      `${header}.${payload}`,
      `${header}.${payload}.${signature}.${signature}`,
      `${header}.${base64url('{"iss":"a","iss":"b"}')}.${signature}`,
      `${header}.${base64url("x".repeat(9000))}.${signature}`,
    ]) {
      answers.add(await assertRefused(token));
    }
    assert.equal(answers.size, 1);
    await eventually("each is logged", () => authority.logged("access_token_refused").length === 9);
    assert.deepEqual(authority.logged("d1"), []);
  });

  test("leaves nothing of itself in the log", async () => {
    const tokens = [await provider.token("agent", AUDIENCE), await provider.forge({ aud: "x", client_id: "secretive" })];
    for (const token of tokens) await authority.connect(WEATHER, token);
    const log = authority.log().join("\n");
    for (const part of tokens.flatMap((token) => token.split("."))) assert.ok(!log.includes(part));
    assert.ok(!log.includes("secretive"));
  });
});

async function publicHalf(key) {
  const { createPublicKey, KeyObject } = await import("node:crypto");
  const half = createPublicKey(KeyObject.from(key));
  return half.toCryptoKey({ name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, true, ["verify"]);
}

describe("the keys of a provider", () => {
  /// What a connect asked of D1 and KV; its decision comes last.
  const traced = async (token) => {
    authority.clearLog();
    await granted(token);
    await eventually("the decision is logged", () => authority.logged("connect").length > 0);
    return { trips: authority.logged("d1"), reads: authority.logged("kv").length };
  };

  test("are at hand while they are fresh: one round trip to D1 of 6 rows, no KV, no provider", async () => {
    await authority.createClient("registered", { tenant_id: "acme" });
    for (const [token, rows] of [
      [await provider.token("agent", AUDIENCE, "ES256"), 6],
      [await provider.forge({ aud: AUDIENCE, client_id: "registered" }), 6],
      // SQLite counts each member of a list, too.
      [await provider.forge({ aud: ["https://elsewhere.example", AUDIENCE], client_id: "registered" }), 8],
    ]) {
      await granted(token);
      const fetches = provider.keyFetches;
      const { trips, reads } = await traced(token);
      const shown = JSON.stringify(trips);
      assert.equal(trips.length, 1, shown);
      assert.ok(trips[0].rows_read <= rows && trips[0].rows_written === 0, shown);
      assert.equal(reads, 0);
      assert.equal(provider.keyFetches, fetches);
    }
  });

  test("are taken from KV by an isolate that starts anew", async () => {
    const token = await provider.token("agent", AUDIENCE, "PS256");
    const fetches = provider.keyFetches;
    await authority.configure({});
    assert.equal((await traced(token)).reads, 1);
    assert.equal(provider.keyFetches, fetches);
  });

  test("are fetched once, however many tokens name keys that there are not, or come at once", async () => {
    await (await authority.kv()).list().then(async ({ keys }) => {
      for (const { name } of keys) await (await authority.kv()).delete(name);
    });
    await authority.configure({});
    const fetches = provider.keyFetches;
    const good = await provider.token("agent", AUDIENCE, "ES256");
    const first = await Promise.all(Array.from({ length: 20 }, () => authority.connect(WEATHER, good)));
    assert.deepEqual([...new Set(first.map(({ status }) => status))], [200], "twenty at once, on an empty isolate");
    assert.equal(provider.keyFetches, fetches + 1);

    const flood = Array.from({ length: 200 }, (_, n) => provider.forge({ aud: AUDIENCE, client_id: "agent" }, { kid: `made up ${n}` }));
    const answers = await Promise.all((await Promise.all(flood)).map((token) => authority.connect(WEATHER, token)));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [401]);
    assert.equal((await authority.connect(WEATHER, good)).status, 200);
    assert.ok(provider.keyFetches <= fetches + 2, `${provider.keyFetches - fetches} fetches`);
  });

  test("are counted by where they were found", async () => {
    const lookups = async () => {
      const { provider_keys, provider_keys_copy } = (await authority.admin("/stats")).body.counters.cache_lookups ?? {};
      return { isolate: { fresh: 0, missing: 0, ...provider_keys }, kv: { fresh: 0, missing: 0, ...provider_keys_copy } };
    };
    const token = await provider.token("agent", AUDIENCE);
    const kv = await authority.kv();
    for (const found of ["missing", "fresh"]) {
      if (found === "missing") for (const { name } of (await kv.list()).keys) await kv.delete(name);
      await authority.configure({});
      const before = await lookups();
      for (let n = 0; n < 3; n += 1) await granted(token);
      await eventually("they are handed over", async () => {
        const now = await lookups();
        return now.isolate.fresh === before.isolate.fresh + 2 && now.isolate.missing === before.isolate.missing + 1 && now.kv[found] === before.kv[found] + 1;
      }, 30);
    }
  });

  test("are others after a rotation: the new one is taken within half a minute, the old one is not", async () => {
    const old = await provider.token("agent", AUDIENCE, "ES256");
    await provider.rotate();
    const token = await provider.token("agent", AUDIENCE, "ES256");
    assert.notEqual(decodeProtectedHeader(token).kid, decodeProtectedHeader(old).kid);
    await granted(old); // the keys held are fresh for ten minutes
    await eventually("the new key is taken", async () => (await authority.connect(WEATHER, token)).status === 200, 40);
    await assertRefused(old);
  });

  test("are used on where the provider is down, and nothing is where there are none", async () => {
    const token = await provider.token("agent", AUDIENCE, "RS256");
    provider.isDown = true;
    try {
      await granted(token);
      await authority.configure({});
      await granted(token);
      await (await authority.kv()).list().then(async ({ keys }) => {
        for (const { name } of keys) await (await authority.kv()).delete(name);
      });
      await authority.configure({});
      const answers = await Promise.all([1, 2, 3].map(() => authority.connect(WEATHER, token)));
      for (const answer of answers) assertProblem(answer, 503, "authority_unavailable");
    } finally {
      provider.isDown = false;
    }
  });
});

describe("a provider", () => {
  test("is registered, listed and removed by connectctl", async () => {
    const options = ["--tenant", "third", "--issuer", other.issuer, "--audience", "urn:third"];
    const reason = ["--reason", "they use it"];
    const added = await operate("providers", "add", ...options, "--jwks-uri", `${other.issuer}/jwks`, "--client-claim", "azp", "--client-claim", "https://other.example/client", ...reason);
    const { created_at, ...rest } = added;
    assert.ok(Math.abs(Date.parse(created_at) - Date.now()) < 60_000);
    assert.deepEqual(rest, {
      issuer: other.issuer,
      audience: "urn:third",
      tenant_id: "third",
      jwks_uri: `${other.issuer}/jwks`,
      client_claims: ["azp", "https://other.example/client"],
    });
    assert.deepEqual(await operate("providers", "list", "--tenant", "third"), { identity_providers: [added] });

    // By the first claim that is there; `client_id` is none of them here.
    const claims = { aud: "urn:third", client_id: "not me", "https://other.example/client": "third-app" };
    assert.equal((await granted(await other.forge(claims))).client_id, "third-app");
    const both = await other.forge({ ...claims, azp: "party" });
    assert.equal((await granted(both)).client_id, "party");
    await assertRefused(await other.forge({ ...claims, aud: ["urn:third", AUDIENCE] }), "for two tenants");

    assert.equal((await operate("providers", "remove", ...options, "--reason", "left")).changed, true);
    await assertRefused(both);
    const { code, stderr } = await connectctl([...ADMIN(), "providers", "remove", ...options, "--reason", "left"]);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /provider_not_found: .*no identity provider at all/);
    const { body } = await authority.admin("/audit?limit=2");
    const trail = body.entries.map(({ action, subject, reason, detail }) => ({ action, subject, reason, detail }));
    const detail = `${other.issuer} for urn:third`;
    assert.deepEqual(trail, [
      { action: "provider.remove", subject: "third", reason: "left", detail },
      { action: "provider.add", subject: "third", reason: "they use it", detail },
    ]);
  });

  test("that is not there can't be removed, and what is there is named", async () => {
    const remove = (tenant, members) =>
      authority.admin(`/tenants/${tenant}/identity-providers/remove`, { reason: "left", audience: AUDIENCE, ...members });
    const slip = `${provider.issuer}/`;
    assertProblem(await remove("acme", { issuer: slip }), 404, "provider_not_found", `${provider.issuer} for ${AUDIENCE}`);
    assertProblem(await remove("acme", { issuer: provider.issuer, audience: "x" }), 404, "provider_not_found");
    // Another tenant's is not this one's.
    assertProblem(await remove("third", { issuer: provider.issuer }), 404, "provider_not_found");
    assertProblem(await remove("nobody", { issuer: provider.issuer }), 404, "tenant_not_found");
    const { body } = await authority.admin("/tenants/acme/identity-providers");
    assert.equal(body.identity_providers.length, 1);
  });

  test("belongs to one tenant", async () => {
    assertProblem(await register("third", { issuer: provider.issuer }), 409, "provider_exists", "one tenant");
    assertProblem(await register("nobody", { issuer: provider.issuer, audience: "x" }), 404, "tenant_not_found");
    assertProblem(await authority.admin("/tenants/nobody/identity-providers"), 404, "tenant_not_found");
  });

  test("that can't be used is not stored, and the answer says why", async () => {
    const openid = "/.well-known/openid-configuration";
    const keys = (key) => ({ keys: [{ ...provider.keys[2], d: undefined, ...key }] });
    const oauth = "/.well-known/oauth-authorization-server";
    const cases = [
      [{ [openid]: [404, ""] }, "answered 404"],
      [{ [openid]: [500, ""], [oauth]: [200, "{}"] }, "another issuer"],
      // No redirect: on its way out of the harness Node follows them, before the Worker sees any.
      [{ [openid]: [200, "<html>"] }, "no JSON object"],
      [{ [openid]: [200, { issuer: `${provider.issuer}/`, jwks_uri: `${provider.issuer}/jwks` }] }, "another issuer"],
      [{ [openid]: [200, { issuer: provider.issuer }] }, "no jwks_uri"],
      [{ [openid]: [200, { issuer: provider.issuer, jwks_uri: "https://10.0.0.1/jwks" }] }, "not public"],
      [{ "/jwks": [200, "{}"] }, "no JWK Set"],
      [{ "/jwks": [200, "<!DOCTYPE html><title>Sign in</title>"] }, "HTML"],
      [{ "/jwks": [200, "{"] }, "not JSON"],
      [{ "/jwks": [200, { keys: [] }] }, "has no key"],
      [{ "/jwks": [200, keys({ use: "enc" })] }, "has no key"],
      [{ "/jwks": [200, { keys: [provider.keys[2]] }] }, "private"],
      [{ "/jwks": [200, `{"keys":[],"x":"${"x".repeat(70_000)}"}`] }, "longer than 65536"],
    ];
    for (const [instead, detail] of cases) {
      provider.instead = new Map(Object.entries({ [oauth]: [404, ""], ...instead }));
      const answer = await register("third", { issuer: provider.issuer, audience: "urn:none" });
      assertProblem(answer, 422, "provider_unusable", detail);
    }
    provider.instead = new Map();
    const { body } = await authority.admin("/tenants/third/identity-providers");
    assert.deepEqual(body.identity_providers, []);
    // RFC 8414 alone is enough.
    provider.instead = new Map([
      [openid, [404, ""]],
      [oauth, [200, { issuer: provider.issuer, jwks_uri: `${provider.issuer}/jwks` }]],
    ]);
    assert.equal((await register("third", { issuer: provider.issuer, audience: "urn:oauth" })).status, 201);
    provider.instead = new Map();
  });

  test("is described as asked for", async () => {
    for (const [members, detail] of [
      [{ issuer: "http://id.example.com" }, "issuer"],
      [{ issuer: "https://10.0.0.1" }, "issuer"],
      [{ issuer: "https://id.example.com/?x=1" }, "issuer"],
      [{ issuer: `https://id.example.com/${"x".repeat(600)}` }, "issuer"],
      [{ audience: "" }, "audience"],
      [{ audience: "a b" }, "audience"],
      [{ jwks_uri: "http://id.example.com/jwks" }, "jwks_uri"],
      [{ client_claims: [] }, "client_claims"],
      [{ client_claims: ["a", "b", "c", "d", "e"] }, "client_claims"],
      [{ client_claims: ["$.sub"] }, "client_claims"],
      [{ client_claims: ['a"b'] }, "client_claims"],
      [{ reason: " " }, "reason"],
      [{ scope: "x" }, "scope"],
    ]) {
      const answer = await register("third", { issuer: provider.issuer, audience: "urn:bad", ...members });
      assertProblem(answer, 400, "request_invalid", detail);
    }
  });

  test("is told of in the authority's metadata as a way to authenticate", async () => {
    const { body } = await authority.request("/.well-known/mcp-connect-authority");
    assert.deepEqual(body.caller_auth_methods_supported, ["api_key", "access_token"]);
  });
});

describe("the API keys of a client", () => {
  const keys = async (client) => (await operate("clients", "keys", "list", client)).keys;
  const refused = async (key, detail) => assertProblem(await authority.connect(WEATHER, key), 401, "caller_unauthenticated", detail);

  test("are shown with label and end when the client is made", async () => {
    const { api_key, label, expires_at } = await operate("clients", "create", "ending", "--label", "laptop", "--for", "90d");
    const [listed] = await keys("ending");
    assert.deepEqual([api_key.slice(5, 21), label, expires_at], [listed.key_id, "laptop", listed.expires_at]);
    const endless = await operate("clients", "create", "endless");
    assert.deepEqual([endless.label, endless.expires_at], [undefined, undefined]);
  });

  test("are several, with a label each, and are revoked one by one", async () => {
    const created = await operate("clients", "create", "many", "--tenant", "acme", "--no-key");
    assert.equal(created.api_key, undefined);
    assert.deepEqual(await keys("many"), []);
    const one = await operate("clients", "keys", "create", "many", "--label", "laptop");
    const two = await operate("clients", "keys", "create", "many", "--for", "90d");
    assert.ok(Math.abs(Date.parse(two.expires_at) - Date.now() - 90 * 86_400_000) < 60_000);
    for (const { api_key } of [one, two]) assert.equal((await granted(api_key)).client_id, "many");

    const revoke = () => operate("clients", "keys", "revoke", "many", "--key", one.key_id, "--reason", "lost");
    assert.deepEqual([(await revoke()).changed, (await revoke()).changed], [true, false]);
    await refused(one.api_key, "revoked");
    await granted(two.api_key);
    const statuses = Object.fromEntries((await keys("many")).map(({ key_id, status }) => [key_id, status]));
    assert.deepEqual(statuses, { [one.key_id]: "revoked", [two.key_id]: "active" });
  });

  test("end when they are said to, to the second", async () => {
    await authority.createClient("brief", { api_key: false });
    const { body } = await authority.admin("/clients/brief/keys", { expires_in: 2 });
    await granted(body.api_key);
    const end = Date.parse(body.expires_at);
    await eventually("the key ends", async () => (await authority.connect(WEATHER, body.api_key)).status === 401);
    assert.ok(Date.now() >= end && Date.now() < end + 1000, `${Date.now() - end} ms after`);
    await refused(body.api_key, "expired");
    assert.equal((await keys("brief"))[0].status, "expired");
  });

  test("overlap in a rotation: the old ones go on for a while, and no longer", async () => {
    const { api_key: old } = await authority.createClient("rotating");
    const rotate = (overlap) => operate("clients", "keys", "rotate", "rotating", "--overlap", overlap, "--reason", "it is time");
    const first = await rotate("2s");
    await granted(old);
    await granted(first.api_key);
    await eventually("the old key ends", async () => (await authority.connect(WEATHER, old)).status === 401);
    const second = await rotate("0");
    await refused(first.api_key, "expired");
    await granted(second.api_key);
    // An overlap never lengthens a life.
    const { body: brief } = await authority.admin("/clients/rotating/keys", { expires_in: 60 });
    await rotate("24h");
    const after = (await keys("rotating")).find(({ key_id }) => key_id === brief.key_id);
    assert.equal(after.expires_at, brief.expires_at);
    const { body } = await authority.admin("/audit?limit=1");
    const [{ action, subject, reason }] = body.entries;
    assert.deepEqual({ action, subject, reason }, { action: "client.key.rotate", subject: "rotating", reason: "it is time" });
  });

  test("are ten at most that work, and a rotation that finds no room changes nothing", async () => {
    const { api_key: first } = await authority.createClient("greedy");
    const create = () => authority.admin("/clients/greedy/keys", {});
    for (let n = 1; n < 10; n++) assert.equal((await create()).status, 201);
    assertProblem(await create(), 409, "too_many_keys", "revoke one");
    const rotation = await authority.admin("/clients/greedy/keys/rotate", { overlap_seconds: 0, reason: "x" });
    assertProblem(rotation, 409, "too_many_keys", "revoke one");
    await granted(first);
    await authority.admin(`/clients/greedy/keys/${first.slice(5, 21)}/revoke`, { reason: "makes room" });
    assert.equal((await create()).status, 201);
    assert.equal((await keys("greedy")).filter(({ status }) => status === "active").length, 10);
  });

  test("show when they were last used, to the hour, and no connect writes that", async () => {
    await authority.configure({});
    const { api_key } = await authority.createClient("traceable");
    authority.clearLog();
    const hour = Math.floor(Date.now() / 3_600_000) * 3_600_000;
    for (let n = 0; n < 20; n++) await granted(api_key);
    const [key] = await eventually("the use is recorded", async () => {
      const list = await keys("traceable");
      return list[0].last_used_at && list;
    });
    assert.ok([hour, hour + 3_600_000].includes(Date.parse(key.last_used_at)), key.last_used_at);
    const writes = authority.logged("d1_last_use");
    assert.equal(writes.length, 1, JSON.stringify(writes));
  });

  test("are asked for as described", async () => {
    await authority.createClient("exact");
    for (const [path, body, detail] of [
      ["keys", { expires_in: 0 }, "expires_in"],
      ["keys", { expires_in: 1, expires_at: "2030-01-01T00:00:00Z" }, "expires_at"],
      ["keys", { expires_at: "tomorrow" }, "expires_at"],
      ["keys", { label: "" }, "label"],
      ["keys", { scope: "x" }, "scope"],
      ["keys/rotate", { reason: "x" }, "overlap_seconds"],
      ["keys/rotate", { overlap_seconds: -1, reason: "x" }, "overlap_seconds"],
      ["keys/rotate", { overlap_seconds: 2_592_001, reason: "x" }, "overlap_seconds"],
      ["keys/rotate", { overlap_seconds: 1, reason: "" }, "reason"],
      ["keys/short/revoke", { reason: "x" }, "key_id"],
    ]) {
      assertProblem(await authority.admin(`/clients/exact/${path}`, body), 400, "request_invalid", detail);
    }
    const unknown = `keys/${"A".repeat(16)}/revoke`;
    assertProblem(await authority.admin(`/clients/exact/${unknown}`, { reason: "x" }), 404, "key_not_found");
    for (const [path, body] of [["keys", undefined], ["keys", {}], ["keys/rotate", { overlap_seconds: 1, reason: "x" }]]) {
      assertProblem(await authority.admin(`/clients/nobody/${path}`, body), 404, "client_not_found");
    }
    assertProblem(await authority.admin(`/clients/nobody/${unknown}`, { reason: "x" }), 404, "key_not_found");
  });
});

describe("Cloudflare Access", () => {
  const AUD = "4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2";
  let team, name = 0;

  before(async () => {
    team = await startIdentityProvider([]);
    team.instead.set("/cdn-cgi/access/certs", [200, { keys: team.keys.map(({ kty, n, e, alg, use, kid }) => ({ kty, n, e, alg, use, kid })), public_certs: [] }]);
    await authority.configure({ ACCESS_TEAM_DOMAIN: team.issuer, ACCESS_AUDIENCE: AUD });
  });
  after(() => team?.stop());

  const assertion = (claims, header) =>
    team.forge({ aud: [AUD], type: "app", iss: team.issuer, sub: "7335d417", ...claims }, { alg: "RS256", typ: "JWT", kid: "RS256-1", ...header });
  const administer = async (token, { path = "/whoami", headers, ...rest } = {}) =>
    authority.request(`/v1/admin${path}`, { headers: { "cf-access-jwt-assertion": await token, ...headers }, ...rest });
  /// A new administrator, known to Access.
  const appoint = async (identity, role = "operator") => {
    const admin = `access${++name}`;
    await operate("admins", "create", admin, "--role", role);
    const answer = await operate("admins", "access", admin, "--identity", identity, "--reason", "they left their key at home");
    assert.equal(answer.access_identity, identity.toLowerCase());
    return admin;
  };

  test("lets administrators in by their e-mail or the name of their service token", async () => {
    const person = await appoint("Ada@Example.com");
    const { status, body } = await administer(assertion({ email: "ada@EXAMPLE.com" }));
    assert.deepEqual([status, body], [200, { name: person, role: "operator" }]);
    const service = await appoint("e367826f93b8d71185e03fe518aff3b4.access", "moderator");
    const robot = await administer(assertion({ common_name: "e367826f93b8d71185e03fe518aff3b4.access" }));
    assert.deepEqual(robot.body, { name: service, role: "moderator" });
  });

  test("lets nobody in whom no administrator is, nor with a token that is not its own", async () => {
    await appoint("grace@example.com");
    const now = Math.floor(Date.now() / 1000);
    const good = { email: "grace@example.com" };
    assert.equal((await administer(assertion(good))).status, 200);
    for (const token of [
      assertion({ email: "mallory@example.com" }),
      assertion({}),
      assertion({ email: 7 }),
      // An e-mail address proves nothing as the name in a certificate.
      assertion({ common_name: "grace@example.com" }),
      assertion({ ...good, aud: ["another application"] }),
      assertion({ ...good, iss: provider.issuer }),
      assertion({ ...good, exp: now - 10, iat: now - 20 }),
      assertion(good, { kid: "made up" }),
      assertion(good, { key: (await generateKeyPair("RS256")).privateKey }),
      "garbage",
    ]) {
      assertProblem(await administer(token), 401, "caller_unauthenticated");
    }
    // As cloudflared gives it out, for those who don't come through the edge.
    assert.equal((await authority.request("/v1/admin/whoami", { bearer: await assertion(good) })).status, 200);
    assertProblem(await authority.request("/v1/admin/whoami", { bearer: await assertion({ ...good, aud: ["x"] }) }), 401, "caller_unauthenticated");
    // Whoever shows a key must show a good one.
    assertProblem(await administer(assertion(good), { bearer: "garbage" }), 401, "caller_unauthenticated");
    const { status } = await administer(assertion({ email: "mallory@example.com" }), { bearer: authority.operatorToken });
    assert.equal(status, 200);
  });

  test("is who the audit trail says it was, and no page of another site can use it", async () => {
    const admin = await appoint("linus@example.com");
    const body = { client_id: "by-access" };
    const post = (headers) => administer(assertion({ email: "linus@example.com" }), { path: "/clients", body, headers });
    assertProblem(await post({ "content-type": "text/plain" }), 415, "request_invalid", "Content-Type");
    assert.equal((await post({ "content-type": "application/json" })).status, 201);
    const { entries } = (await authority.admin("/audit?limit=1")).body;
    assert.deepEqual([entries[0].actor, entries[0].action], [admin, "client.create"]);
  });

  test("lets suspended administrators in no more, nor those who lost their identity", async () => {
    const admin = await appoint("alan@example.com");
    const token = () => assertion({ email: "alan@example.com" });
    await operate("admins", "suspend", admin, "--reason", "left");
    assertProblem(await administer(token()), 401, "caller_unauthenticated", "suspended");
    await operate("admins", "resume", admin, "--reason", "came back");
    assert.equal((await administer(token())).status, 200);
    const remove = () => operate("admins", "access", admin, "--none", "--reason", "left");
    assert.deepEqual([(await remove()).changed, (await remove()).changed], [true, false]);
    assertProblem(await administer(token()), 401, "caller_unauthenticated");
  });

  test("knows each identity once", async () => {
    await appoint("joan@example.com");
    await operate("admins", "create", "twin", "--role", "moderator");
    const set = (access_identity) => authority.admin("/administrators/twin/access-identity", { access_identity, reason: "x" });
    assertProblem(await set("joan@example.com"), 409, "access_identity_taken");
    assertProblem(await set("JOAN@example.com"), 409, "access_identity_taken");
    for (const identity of ["", "a b", "x".repeat(255)]) assertProblem(await set(identity), 400, "request_invalid", "access_identity");
  });

  test("that isn't set up lets nobody in; half set up is a fault that closes nothing else", async () => {
    const token = await assertion({ email: "ada@example.com" });
    await authority.configure({});
    assertProblem(await administer(token), 401, "caller_unauthenticated");
    await authority.configure({ ACCESS_TEAM_DOMAIN: team.issuer });
    assertProblem(await administer(token), 503, "authority_unavailable");
    assert.equal((await authority.admin("/whoami")).status, 200);
    const { body } = await authority.request("/healthz");
    assert.deepEqual(body.faults.map(({ setting }) => setting), ["ACCESS_AUDIENCE"]);
  });
});

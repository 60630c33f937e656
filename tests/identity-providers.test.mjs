// Identity providers as they are: what their clients are called, how their tokens say whom they are for, how they sign,
// and what an operator is told of all that.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { CompactSign, SignJWT, decodeJwt, exportJWK, generateKeyPair } from "jose";

import { eventually, startAuthority } from "./support/authority.mjs";
import { startIdentityProvider } from "./support/identity-provider.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";

const WEATHER = "com.example/weather";
const AUDIENCE = "https://authority.example";
const reason = "a test wants it";
let authority, provider;

before(async () => {
  [authority, provider] = await Promise.all([startAuthority(), startIdentityProvider(["agent"])]);
  await authority.publish(WEATHER);
  for (const tenant of ["acme", "rival"]) await authority.createTenant(tenant);
  assert.equal((await register("acme")).status, 201);
});
after(() => Promise.all([authority?.stop(), provider?.stop()]));

function register(tenant, members) {
  const body = { issuer: provider.issuer, audience: AUDIENCE, reason, ...members };
  return authority.admin(`/tenants/${tenant}/identity-providers`, body);
}

/// connectctl as an operator uses it.
function operate(args, input) {
  return connectctl([...args, "--authority", authority.url, "--operator-token", authority.operatorToken], input);
}

async function operated(...args) {
  const { code, stdout, stderr } = await operate([...args, "--json"]);
  assert.equal(code, 0, stderr);
  return stdout && JSON.parse(stdout);
}

const token = (claims, header) => provider.forge({ aud: AUDIENCE, client_id: "agent", ...claims }, header);

async function granted(credential) {
  const answer = await authority.connect(WEATHER, credential);
  assert.equal(answer.status, 200, answer.text);
  return decodeJwt(answer.body.descriptor);
}

/// What the log says of a token that is refused.
async function refusal(credential) {
  authority.clearLog();
  assertProblem(await authority.connect(WEATHER, credential), 401, "caller_unauthenticated", "access token");
  const [line] = await eventually("it is logged", () => {
    const lines = authority.logged("access_token_refused");
    return lines.length > 0 && lines;
  });
  return line;
}

describe("a client may be called", () => {
  const IDS = [
    "https://app.example/oauth/client.json?v=1#x", "spiffe://acme.example/ns/prod/sa/agent", "auth0|5f7c8ec7c33c6c004bbafe82",
    "abc@clients", "repo:octo-org/octo-repo:ref:refs/heads/main", "arn:aws:iam::1:role/agent", "CN=agent,O=acme", "50%2F50",
    "a\\b\"c'd`e", "acme/x", "~", "...", "x".repeat(256),
  ];

  test("as its provider calls it: it connects, is registered, suspended and denied by that name", async () => {
    for (const id of IDS) {
      const show = () => token({ client_id: id }).then((shown) => authority.connect(WEATHER, shown));
      assert.equal((await granted(await token({ client_id: id }))).client_id, id);
      const path = `/clients/${encodeURIComponent(id)}`;
      assertProblem(await authority.admin(`${path}/suspend`, { reason }), 404, "client_not_found");
      const { client_id, api_key } = await authority.createClient(id, { tenant_id: "acme" });
      assert.equal(client_id, id);
      assert.equal((await granted(api_key)).client_id, id);
      assert.equal((await authority.admin(`${path}/suspend`, { reason })).status, 200);
      assertProblem(await show(), 403, "policy_blocked", "suspended");
      assert.equal((await authority.admin(`${path}/resume`, { reason })).status, 200);
      await authority.setPolicy({ allow: ["*"], clients: { allow: ["*"], deny: [id] } });
      assertProblem(await show(), 403, "policy_blocked");
      const explained = await authority.admin("/policy/explain", { server_ref: WEATHER, client_id: id });
      assert.deepEqual([explained.body.decision, explained.body.caller.client_id], ["denied", id], explained.text);
      await authority.setPolicy({ allow: ["*"] });
      assert.equal((await show()).status, 200);
    }
    const logged = new Set(authority.logged("connect").map(({ client_id }) => client_id));
    for (const id of IDS) assert.ok(logged.has(id), id);
  });

  test("so wherever an administrator names it", async () => {
    const id = IDS[0];
    const path = `/clients/${encodeURIComponent(id)}/keys`;
    const { body: made } = await authority.admin(path, { label: "second" });
    // The two keys have different labels, so the rotation asks for that of the new one.
    assertProblem(await authority.admin(`${path}/rotate`, { overlap_seconds: 60, reason }), 409, "keys_differ", "label");
    const { body: rotated } = await authority.admin(`${path}/rotate`, { overlap_seconds: 60, label: "third", reason });
    assert.equal((await granted(rotated.api_key)).client_id, id);
    assert.equal((await authority.admin(`${path}/${made.key_id}/revoke`, { reason })).body.changed, true);
    assert.equal((await authority.admin(path)).body.keys.length, 3);
    const audit = await authority.admin(`/audit?subject=${encodeURIComponent(id)}`);
    assert.ok(audit.body.entries.some(({ action }) => action === "client.suspend"), audit.text);

    const listed = [];
    for (let cursor = ""; cursor !== undefined; ) {
      const { body } = await authority.admin(`/clients?limit=1${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
      listed.push(...body.clients.map(({ client_id }) => client_id));
      cursor = body.next_cursor;
    }
    assert.deepEqual(listed, [...IDS].sort());
  });

  test("so in connectctl, and in what is revoked", async () => {
    for (const id of ["spiffe://acme.example/other", "google-oauth2|1/2%3F", "-dash"]) {
      assert.equal((await operated("clients", "create", id, "--no-key", "--tenant", "acme")).client_id, id);
      assert.equal((await operated("clients", "suspend", id, "--reason", reason)).changed, true);
      assertProblem(await authority.connect(WEATHER, await token({ client_id: id })), 403, "policy_blocked", "suspended");
    }
    const unknown = "https://never-seen.example/client|1";
    assert.equal((await operated("revoke", "client", unknown, "--tenant", "acme", "--reason", reason)).changed, true);
    assertProblem(await authority.connect(WEATHER, await token({ client_id: unknown })), 403, "policy_blocked", "suspended");
    const feed = decodeJwt((await authority.request("/v1/revocations")).text);
    assert.ok(feed.clients.some(({ id, tenant_id }) => id === unknown && tenant_id === "acme"), JSON.stringify(feed));
    const page = await authority.admin("/revocations?limit=1");
    assert.equal(page.body.revocations[0].id, unknown);
    assert.equal((await authority.admin(`/revocations?limit=1&cursor=${encodeURIComponent(page.body.next_cursor ?? "")}`)).status, 200);
  });

  test("nothing that can't stand in a log, a header and a path", async () => {
    for (const id of ["", " ", "a b", "a\n", "a\0", "\u00e4", "a\u202e", ".", "..", "*", "x".repeat(257)]) {
      assertProblem(await authority.admin("/clients", { client_id: id }), 400, "request_invalid", "client_id");
      const { problem, issuer, tenant_id } = await refusal(await token({ client_id: id }));
      assert.match(problem, /^client_id: /);
      assert.deepEqual({ issuer, tenant_id }, { issuer: provider.issuer, tenant_id: "acme" }, problem);
      for (const list of ["allow", "deny"]) {
        if (id === "*") continue;
        const clients = { allow: ["*"], deny: [], [list]: ["agent", id] };
        const answer = await authority.admin("/policy", { policy: { allow: ["*"], clients }, reason });
        assertProblem(answer, 400, "request_invalid", `clients.${list}[1]`);
      }
      assertProblem(await authority.admin("/revocations", { kind: "client", id, reason }), 400, "request_invalid", "id");
      assertProblem(await authority.admin("/policy/explain", { server_ref: WEATHER, client_id: id }), 400, "request_invalid", "client_id");
    }
  });
});

describe("a provider's own way", () => {
  const COGNITO = { aud: undefined, token_use: "access", client_id: "3n4b5urk1ft4fl3mg5e62d9ado" };

  test("of naming the audience is taken where the operator says so", async () => {
    const { problem, issuer, tenant_id } = await refusal(await token(COGNITO));
    assert.deepEqual({ issuer, tenant_id }, { issuer: provider.issuer, tenant_id: "acme" }, problem);
    const added = await operated("providers", "add", "--tenant", "rival", "--issuer", provider.issuer, "--audience", COGNITO.client_id, "--preset", "cognito", "--reason", reason);
    assert.deepEqual(added.audience_claim, "client_id");
    assert.deepEqual(added.required_claims, { token_use: "access" });
    assert.deepEqual(await operated("providers", "list", "--tenant", "rival"), { identity_providers: [added] });
    const { client_id, tenant_id: tenant } = await granted(await token(COGNITO));
    assert.deepEqual({ client_id, tenant }, { client_id: COGNITO.client_id, tenant: "rival" });

    for (const [claims, place] of [[{ token_use: "id" }, "token_use"], [{ token_use: undefined }, "token_use"], [{ exp: "soon" }, "exp"]]) {
      const line = await refusal(await token({ ...COGNITO, ...claims }));
      assert.ok(line.problem.startsWith(place), line.problem);
      assert.deepEqual([line.issuer, line.tenant_id], [provider.issuer, "rival"]);
    }
    // Of the audience of one tenant and of the claim of another it is neither's.
    const both = await refusal(await token({ ...COGNITO, aud: AUDIENCE }));
    assert.match(both.problem, /several/);
    assert.deepEqual(both.tenant_id.split(" ").sort(), ["acme", "rival"]);
  });

  test("may be a scope", async () => {
    const members = { audience: "authority/connect", audience_claim: "scope", required_claims: { version: "2", gty: null }, client_claims: ["azp"] };
    assert.equal((await register("rival", members)).status, 201);
    const claims = { aud: "elsewhere", azp: "scoped", version: 2, gty: "x" };
    assert.equal((await granted(await token({ ...claims, scope: "openid authority/connect" }))).client_id, "scoped");
    assert.match((await refusal(await token({ ...claims, scope: "authority/connecting" }))).problem, /audience/);
    assert.match((await refusal(await token({ ...claims, scope: "authority/connect", gty: undefined }))).problem, /^gty: /);
  });

  test("may be tokens of one type", async () => {
    assert.equal((await register("rival", { audience: "urn:typed", token_type: "at+jwt" })).status, 201);
    await granted(await token({ aud: "urn:typed" }));
    await granted(await token({ aud: "urn:typed" }, { typ: "application/at+jwt" }));
    assert.match((await refusal(await token({ aud: "urn:typed" }, { typ: "JWT" }))).problem, /^typ: /);
  });

  test("is described as asked for", async () => {
    for (const [members, detail] of [
      [{ audience_claim: "" }, "audience_claim"],
      [{ audience_claim: "iss" }, "audience_claim"],
      [{ audience_claim: "$.aud" }, "audience_claim"],
      [{ required_claims: { "a b": "x" } }, "required_claims"],
      [{ required_claims: { token_use: "" } }, "required_claims.token_use"],
      [{ required_claims: { token_use: "a\nb" } }, "required_claims.token_use"],
      [{ required_claims: { token_use: 7 } }, "required_claims"],
      [{ required_claims: Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`c${n}`, null])) }, "required_claims"],
      [{ token_type: "id+jwt" }, "token_type"],
    ]) {
      assertProblem(await register("acme", { audience: "urn:bad", ...members }), 400, "request_invalid", detail);
    }
  });
});

describe("a refusal", () => {
  const now = Math.floor(Date.now() / 1000);

  test("names its claim, the issuer and the tenant", async () => {
    for (const [claims, place, header] of [
      [{ exp: "soon" }, "exp: "], [{ exp: undefined }, "exp: "], [{ exp: (now + 600) * 1000 }, "exp: "], [{ exp: now + 90_000 }, "exp: "],
      [{ nbf: true }, "nbf: "], [{ nbf: now + 600 }, "nbf: "], [{ iat: [now] }, "iat: "], [{ iat: now + 600 }, "iat: "],
      [{ iat: now - 700, exp: now - 10 }, "expired"], [{ aud: "urn:elsewhere" }, "aud: the token is for no audience"], [{ aud: 7 }, "aud: the token is for no audience"],
      [{ client_id: undefined }, "client_id, azp: no claim names the client"], [{}, "typ: ", { typ: "secevent+jwt" }], [{}, "kid: ", { kid: "" }],
    ]) {
      const { problem, issuer, tenant_id } = await refusal(await token(claims, header));
      assert.ok(problem.startsWith(place), `${place}: ${problem}`);
      assert.equal(issuer, provider.issuer);
      assert.ok(tenant_id.split(" ").includes("acme"), tenant_id);
    }
  });

  test("of a stranger's token names nothing of it", async () => {
    const line = await refusal(await token({ iss: "https://stranger.example" }));
    assert.deepEqual(Object.keys(line).sort(), ["event", "level", "problem"]);
  });

  test("is none where dates have fractions, which never help the caller", async () => {
    for (const claims of [{ exp: now + 600.811 }, { iat: now - 0.25, nbf: now - 0.5, exp: now + 86_000.5 }, { exp: 1.9e9, iat: 1.9e9 - 60, nbf: now }]) {
      const shown = await token(claims);
      const answer = await authority.connect(WEATHER, shown);
      // The last is from the future.
      assert.equal(answer.status, claims.iat > now ? 401 : 200, JSON.stringify(claims));
    }
  });
});

describe("the keys of a provider", () => {
  const pairs = {};
  before(async () => {
    for (const [name, alg] of [["one", "ES256"], ["two", "ES256"], ["three", "ES384"], ["curve", "ES256K"]]) {
      if (alg === "ES256K") {
        const { generateKeyPairSync } = await import("node:crypto");
        pairs[name] = { jwk: generateKeyPairSync("ec", { namedCurve: "secp256k1" }).publicKey.export({ format: "jwk" }) };
        continue;
      }
      const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
      pairs[name] = { alg, privateKey, jwk: await exportJWK(publicKey) };
    }
  });
  after(() => provider.instead.clear());

  /// Publishes these keys at a path of their own, as a provider of this audience.
  async function publish(audience, keys) {
    const path = `/${audience.replace(":", "-")}`;
    provider.instead.set(path, [200, { keys }]);
    return register("acme", { audience, jwks_uri: `${provider.issuer}${path}` });
  }
  const signed = (name, aud, kid) =>
    new SignJWT({ iss: provider.issuer, aud, client_id: "agent" })
      .setProtectedHeader({ alg: pairs[name].alg, typ: "at+jwt", ...(kid && { kid }) })
      .setIssuedAt()
      .setExpirationTime("10m")
      .sign(pairs[name].privateKey);

  test("are tried if they have no kid, or one for two, or are there twice", async () => {
    const { one, two, three } = Object.fromEntries(Object.entries(pairs).map(([name, { jwk }]) => [name, jwk]));
    for (const [audience, keys, good, bad] of [
      ["urn:nameless", [one, two], [["one"], ["two"], ["two", "any"]], [["three"]]],
      ["urn:shared", [{ ...one, kid: "k" }, { ...two, kid: "k" }, { ...three, kid: "k" }], [["one", "k"], ["two", "k"], ["three", "k"], ["two"]], [["one", "other"]]],
      ["urn:repeated", [{ ...one, kid: "k" }, { ...one, kid: "k" }, { ...one, kid: "l" }], [["one", "k"], ["one", "l"], ["one"]], [["two", "k"]]],
      ["urn:mixed", [one, { ...two, kid: "k" }], [["one", "j"], ["one"], ["two", "k"]], [["one", "k"], ["two", "j"]]],
    ]) {
      assert.equal((await publish(audience, keys)).status, 201);
      for (const [name, kid] of good) await granted(await signed(name, audience, kid));
      for (const [name, kid] of bad) await refusal(await signed(name, audience, kid));
    }
  });

  test("are tried up to eight", async () => {
    const more = await Promise.all(Array.from({ length: 9 }, async () => {
      const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
      return { jwk: await exportJWK(publicKey), privateKey };
    }));
    const sign = ({ privateKey }, aud) =>
      new SignJWT({ iss: provider.issuer, aud, client_id: "agent" })
        .setProtectedHeader({ alg: "ES256", typ: "at+jwt" })
        .setIssuedAt()
        .setExpirationTime("10m")
        .sign(privateKey);
    assert.equal((await publish("urn:many", more.map(({ jwk }) => jwk))).status, 201);
    for (const pair of more.slice(0, 8)) await granted(await sign(pair, "urn:many"));
    assert.match((await refusal(await sign(more[8], "urn:many"))).problem, /first 8 keys that fit/);
  });

  test("are looked for once when a signature is another's, however often that is shown", async () => {
    const audience = "urn:kept";
    assert.equal((await publish(audience, [{ ...pairs.one.jwk, kid: "k" }])).status, 201);
    const [before, after] = [await signed("one", audience, "k"), await signed("two", audience, "k")];
    await granted(before);
    // The key is another, but it is called as before.
    provider.instead.set("/urn-kept", [200, { keys: [{ ...pairs.two.jwk, kid: "k" }] }]);
    const fetches = () => provider.hits.get("/urn-kept");
    const first = fetches();
    await eventually("the new key is taken", async () => {
      const answers = await Promise.all(Array.from({ length: 10 }, () => authority.connect(WEATHER, after)));
      return answers.every(({ status }) => status === 200);
    }, 45);
    assert.equal(fetches(), first + 1);
    assert.equal((await refusal(before)).problem, "the signature is not the key's");
    for (let n = 0; n < 20; n += 1) await authority.connect(WEATHER, before);
    assert.equal(fetches(), first + 1);
  });

  test("are taken with a byte order mark, and with null for what they have not", async () => {
    const path = "/urn-marked";
    const nulls = { kid: null, use: null, alg: null, key_ops: null };
    provider.instead.set(path, [200, `\ufeff${JSON.stringify({ keys: [{ ...pairs.one.jwk, ...nulls }] })}`]);
    const added = await register("acme", { audience: "urn:marked", jwks_uri: `${provider.issuer}${path}` });
    assert.equal(added.status, 201, added.text);
    await granted(await signed("one", "urn:marked", "any"));
  });

  test("sign a payload that can't be read: the log says why, and whose it is", async () => {
    assert.equal((await publish("urn:unread", [pairs.one.jwk])).status, 201);
    const now = Math.floor(Date.now() / 1000);
    const text = (members) => `{"iss":"${provider.issuer}","aud":"urn:unread","client_id":"agent","iat":${now},${members}}`;
    for (const [members, reason] of [
      ['"exp":1e400', "number"],
      [`"exp":${now + 600},"n":1e400`, "number"],
      [`"exp":${now + 600},"n":"\\ud800"`, "lone surrogate"],
      [`"exp":${now + 600},"n":${"[".repeat(100)}${"]".repeat(100)}`, "nested"],
      [`"exp":${now + 600},"exp":${now + 601}`, "two members"],
    ]) {
      const shown = await new CompactSign(new TextEncoder().encode(text(members)))
        .setProtectedHeader({ alg: "ES256", typ: "at+jwt" })
        .sign(pairs.one.privateKey);
      const { problem, issuer, tenant_id } = await refusal(shown);
      assert.ok(problem.startsWith("the payload can't be read: ") && problem.includes(reason), problem);
      assert.equal(issuer, provider.issuer);
      assert.ok(tenant_id.split(" ").includes("acme"), tenant_id);
      const { body } = await authority.admin("/identity-providers/test", { token: shown });
      assert.deepEqual(body.problems, [problem]);
      assert.ok(body.identity_providers.length > 0);
    }
  });

  test("that are of no use are listed with why, by add and by test", async () => {
    const useless = [
      { ...pairs.one.jwk, kid: "for-secrets", use: "enc" },
      { ...pairs.curve.jwk, kid: "bitcoin", alg: "ES256K" },
      { ...pairs.one.jwk, y: pairs.one.jwk.x, kid: "off" },
    ];
    const none = await publish("urn:none", useless);
    assertProblem(none, 422, "provider_unusable", "secp256k1");
    assert.ok(none.text.includes("use:"), none.text);
    provider.instead.set("/urn-some", [200, { keys: [...useless, pairs.one.jwk] }]);
    const options = ["--tenant", "acme", "--issuer", provider.issuer, "--audience", "urn:some", "--jwks-uri", `${provider.issuer}/urn-some`, "--reason", reason];
    const { code, stdout, stderr } = await operate(["providers", "add", ...options, "--json"]);
    assert.equal(code, 0, stderr);
    const { skipped_keys } = JSON.parse(stdout);
    assert.deepEqual(skipped_keys.map(({ index, kid }) => [index, kid]), [[0, "for-secrets"], [1, "bitcoin"], [2, "off"]]);
    for (const kid of ["for-secrets", "bitcoin", "off"]) assert.ok(stderr.includes(kid), stderr);
    const tested = JSON.parse((await operate(["providers", "test", "--json"], await signed("one", "urn:some"))).stdout);
    assert.deepEqual([tested.accepted, tested.usable_keys, tested.skipped_keys], [true, 1, skipped_keys]);
  });
});

describe("connectctl providers", () => {
  test("test says whose a token is, or everything that is wrong with it", async () => {
    const good = await operate(["providers", "test"], `Bearer ${await token({})}\n`);
    assert.equal(good.code, 0, good.stderr);
    assert.match(good.stderr, /accepted: it is of the client agent of the tenant acme/);
    const shown = await token({ exp: "soon", client_id: undefined }, { typ: "x" });
    const bad = await operate(["providers", "test", shown]);
    assert.equal(bad.code, 1, bad.stdout);
    for (const text of ["typ: ", "exp: ", "command line"]) assert.ok(bad.stderr.includes(text), bad.stderr);
    const { body } = await authority.admin("/identity-providers/test", { token: await token({ client_id: undefined }) });
    assert.deepEqual([body.accepted, body.problems], [false, ["client_id, azp: no claim names the client"]]);
  });

  test("test tells apart what connect answers alike", async () => {
    const verdict = async (shown) => (await authority.admin("/identity-providers/test", { token: shown })).body;
    const { privateKey } = await generateKeyPair("ES256");
    for (const [shown, problem] of [
      ["x", /not three parts/],
      ["a.b.c.d.e", /encrypted token \(JWE\)/],
      [await token({ iss: "https://stranger.example" }), /^iss: .*stranger\.example.*registered are .*127\.0\.0\.1/],
      [await token({ iss: `${provider.issuer}/` }), /^iss: .*final slash/],
      [await token({ exp: "soon", nbf: true, iat: "now" }), /exp: .*nbf: .*iat: /],
      [await token({ aud: "urn:elsewhere" }), /no audience/],
      [await token({}, { key: privateKey }), /signature/],
      [await token({}, { kid: "unheard-of" }), /no key/],
    ]) {
      const { accepted, problems } = await verdict(shown);
      assert.equal(accepted, false);
      assert.match(problems.join("; "), problem);
    }
    const { identity_providers } = await verdict(await token({ aud: "urn:elsewhere" }));
    assert.ok(identity_providers.some(({ audience, tenant_id }) => audience === AUDIENCE && tenant_id === "acme"));
    await authority.createClient("sleepy", { tenant_id: "acme" });
    await authority.admin("/clients/sleepy/suspend", { reason });
    assert.deepEqual((await verdict(await token({ client_id: "sleepy" }))).problems, ["the client is suspended"]);
    assertProblem(await authority.admin("/identity-providers/test", { token: 7 }), 400, "request_invalid", "token");
  });

  test("test leaves nothing of a token behind", async () => {
    const shown = await token({ client_id: "secretive" });
    const database = await authority.database();
    const rows = async () => (await database.prepare("SELECT count(*) AS n FROM audit").first()).n;
    const before = await rows();
    authority.clearLog();
    await operate(["providers", "test"], shown);
    await operate(["providers", "test"], `${shown}x`);
    assert.equal(await rows(), before);
    const log = authority.log().join("\n");
    for (const part of [...shown.split("."), "secretive"]) assert.ok(!log.includes(part), part);
  });

  test("add knows what the tokens of some providers look like", async () => {
    const rules = {
      "entra-v1": { client_claims: ["appid"], required_claims: { ver: "1.0" } },
      "entra-v2": { client_claims: ["azp"], required_claims: { ver: "2.0" } },
      okta: { client_claims: ["cid"] },
      auth0: { client_claims: ["azp", "client_id"] },
      keycloak: { client_claims: ["azp"], required_claims: { typ: "Bearer" } },
      cognito: { client_claims: ["client_id"], audience_claim: "client_id", required_claims: { token_use: "access" } },
      logto: { client_claims: ["client_id"], token_type: "at+jwt" },
    };
    await authority.createTenant("presets");
    for (const [preset, expected] of Object.entries(rules)) {
      const audience = `urn:${preset}`;
      const added = await operated("providers", "add", "--tenant", "presets", "--issuer", provider.issuer, "--audience", audience, "--preset", preset, "--reason", reason);
      const { issuer, created_at, ...rest } = added;
      assert.ok(issuer && created_at);
      assert.deepEqual(rest, { audience, tenant_id: "presets", ...expected });
    }
    // Real tokens of two of them, but for their values.
    const entra = { aud: "urn:entra-v1", client_id: undefined, appid: "6e74172b", appidacr: "1", ver: "1.0", tid: "8f2c", sub: "x" };
    assert.equal((await granted(await token(entra, { typ: "JWT" }))).client_id, "6e74172b");
    assert.match((await refusal(await token({ ...entra, ver: "2.0" }, { typ: "JWT" }))).problem, /^ver: /);
    const auth0 = { aud: ["urn:auth0", `${provider.issuer}/userinfo`], client_id: undefined, azp: "my_client_id", sub: "auth0|5f7c", scope: "openid" };
    assert.equal((await granted(await token(auth0, { typ: "JWT" }))).client_id, "my_client_id");
    const wins = await operated("providers", "add", "--tenant", "presets", "--issuer", provider.issuer, "--audience", "urn:wins", "--preset", "keycloak", "--audience-claim", "azp", "--require", "typ=DPoP", "--require", "tid", "--reason", reason);
    assert.deepEqual([wins.audience_claim, wins.required_claims], ["azp", { typ: "DPoP", tid: null }]);
  });
});

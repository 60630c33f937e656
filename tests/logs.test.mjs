import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, test } from "node:test";

import { decodeJwt } from "jose";

import { entry, eventually, generateKey, keySet, startAuthority } from "./support/authority.mjs";
import { ALGORITHMS, startIdentityProvider } from "./support/identity-provider.mjs";

const SERVER = "com.example/weather";
const stranger = `mcpk_${"S".repeat(16)}_${"stranger-".repeat(5).slice(0, 43)}`;
let authority, key;

before(async () => {
  authority = await startAuthority();
  await authority.publish(SERVER);
  await authority.importServers(entry("com.example/new"));
  key = (await authority.createClient("desktop", { tenant_id: "acme" })).api_key;
});
after(() => authority?.stop());

/// The one line that the Worker logs of a connect.
async function logged(request, bearer) {
  authority.clearLog();
  const answer = await authority.connect(request, bearer);
  const [line, ...more] = await eventually("the decision is logged", () => {
    const lines = authority.logged("connect");
    return lines.length > 0 && lines;
  });
  assert.deepEqual(more, [], "one line");
  return { line, answer };
}

test("each connect leaves one line, with what an audit needs", async () => {
  const { line, answer } = await logged(`${SERVER}@1.0.0`, key);
  assert.deepEqual(line, {
    level: "info",
    event: "connect",
    decision: "granted",
    code: "ok",
    jti: decodeJwt(answer.body.descriptor).jti,
    server_id: SERVER,
    version: "1.0.0",
    client_id: "desktop",
    tenant_id: "acme",
  });
});

test("each refusal leaves one line, which names the client only where it proved to be that", async () => {
  for (const [request, bearer, code, client_id, server_id = request.server_ref ?? request] of [
    ["com.example/new", key, "server_unverified", "desktop"],
    ["com.example/nothing", key, "server_not_found", "desktop"],
    [{ server_ref: SERVER, client_id: "other" }, key, "request_invalid", "desktop"],
    [SERVER, undefined, "caller_unauthenticated", "", ""],
    [SERVER, "garbage", "caller_unauthenticated", "", ""],
    [SERVER, stranger, "caller_unauthenticated", ""],
    [SERVER, key.slice(0, 22) + stranger.slice(22), "caller_unauthenticated", ""],
  ]) {
    const { line, answer } = await logged(request, bearer);
    assert.equal(answer.body.code, code);
    const tenant_id = client_id && "acme";
    // Which rule it was, where one decided.
    const rule = code === "server_unverified" && { rule: "setting: require_verification namespace: the server has none" };
    assert.deepEqual(line, { level: "info", event: "connect", decision: "denied", code, server_id, client_id, tenant_id, ...rule });
  }
});

test("no credential, no descriptor and no key is ever logged, wherever it was put", async () => {
  authority.clearLog();
  const token = authority.operatorToken;
  const signingKey = JSON.parse(authority.settings.SIGNING_KEYS).keys[0].d;
  const descriptor = (await authority.connect(SERVER, key)).body.descriptor;
  const created = (await authority.createClient("logged")).api_key;
  const secrets = { key, stranger, created, token, descriptor };

  for (const secret of Object.values(secrets)) {
    const inPath = encodeURIComponent(secret);
    await Promise.all([
      authority.connect(SERVER, secret),
      authority.request("/v1/connect", { body: { server_ref: SERVER }, headers: { authorization: secret, "mcp-connect": secret } }),
      authority.request("/v1/connect", { body: { server_ref: SERVER }, headers: { authorization: `Basic ${secret}`, cookie: secret } }),
      authority.connect({ server_ref: secret }, key),
      authority.connect({ server_ref: SERVER, client_id: secret }, key),
      authority.connect({ server_ref: SERVER, [secret]: secret }, key),
      authority.connect({ server_ref: `${SERVER}@${secret}` }, key),
      authority.connect(`{"server_ref":"${secret}`, key),
      authority.request(`/v1/connect?api_key=${inPath}`, { body: { server_ref: SERVER } }),
      authority.request(`/v1/servers?query=${inPath}&cursor=${inPath}&limit=${inPath}`),
      authority.request(`/v1/servers?cursor=${inPath}`),
      authority.request(`/v1/servers/com.example/${inPath}`),
      authority.request(`/${inPath}`, { bearer: secret }),
      authority.request("/v1/admin/audit", { bearer: secret }),
      authority.request(`/v1/admin/clients/${inPath}/suspend`, { bearer: "wrong", body: { reason: secret } }),
      authority.admin("/clients", { client_id: secret, name: secret }),
      authority.admin(`/clients/${inPath}/suspend`, { reason: "x" }),
      authority.admin(`/servers/${SERVER}/verify`, { reason: "x", jwks_uri: secret, tls_pin_sha256: secret }),
      authority.admin("/import", { servers: [{ server: secret }, secret] }),
      authority.request("/healthz", { bearer: secret }),
    ]);
  }
  // With D1 broken, when errors are logged, and with keys that can't be used.
  const database = await authority.database();
  await database.prepare("ALTER TABLE api_keys RENAME TO lost").run();
  for (const secret of Object.values(secrets)) await authority.connect(SERVER, secret);
  await authority.admin("/clients", { client_id: "unlucky" });
  await database.prepare("ALTER TABLE lost RENAME TO api_keys").run();
  const broken = JSON.parse(authority.settings.SIGNING_KEYS);
  broken.keys[0].x = broken.keys[0].d;
  await authority.configure({ SIGNING_KEYS: JSON.stringify(broken), OPERATOR_TOKEN: `${token.slice(0, 40)}\t` });
  await authority.connect(SERVER, key);
  await authority.request("/healthz");

  const log = await eventually("the last faults are logged", () => {
    const text = authority.log().join("\n");
    return ["storage_failed", "SIGNING_KEYS", "OPERATOR_TOKEN"].every((expected) => text.includes(expected)) && text;
  });
  assert.ok(authority.logged("connect").length >= 20, "the run is seen");
  const parts = Object.entries({ ...secrets, signingKey, shortToken: token.slice(0, 40) }).flatMap(([name, secret]) =>
    // Whole, the half that is secret, each part of a descriptor, and in another alphabet.
    [secret, secret.slice(22), ...secret.split("."), secret.slice(0, 30), Buffer.from(secret).toString("base64url")].map((part) => [name, part]),
  );
  for (const [name, part] of parts.filter(([, part]) => part.length > 20)) {
    assert.ok(!log.includes(part), `${name} is in the log: ${log.split("\n").find((line) => line.includes(part))}`);
  }
});

/// What would give a secret away: all of it, the half of a key that is secret, payload and signature
/// of a token, a beginning and an end of each, the same in other alphabets, and its hash.
function traces(secret) {
  const [, half] = /^mcp[ka]_[\w-]{16}_([\w-]{43})$/.exec(secret) ?? [];
  const [, payload, signature] = secret.split(".");
  const parts = [half ?? signature ?? secret, payload, secret].filter((part) => part?.length > 20);
  // A payload begins, and a key, with what isn't secret.
  return [parts[0].slice(0, 20), ...parts.map((part) => part.slice(-20)), ...parts.flatMap(encodings)];
}

function encodings(part) {
  const others = ["base64", "base64url", "hex"].flatMap((alphabet) => [
    Buffer.from(part).toString(alphabet),
    createHash("sha256").update(part).digest(alphabet),
  ]);
  return [part, encodeURIComponent(part), ...others];
}

test("a whole run, in which everybody shows every secret, leaves none in the log and in no answer that lists", async () => {
  const AUDIENCE = "https://authority.example";
  const ACCESS_AUDIENCE = "4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2";
  const [provider, team] = await Promise.all([startIdentityProvider(["agent", "stranger"]), startIdentityProvider([])]);
  const certificates = team.keys.map(({ d, p, q, dp, dq, qi, ...published }) => published);
  team.instead.set("/cdn-cgi/access/certs", [200, { keys: certificates }]);
  const signing = [generateKey("active"), generateKey("next", "ES256"), generateKey("retired")];
  const authority = await startAuthority({
    faults: true,
    settings: { SIGNING_KEYS: keySet(...signing), ACCESS_TEAM_DOMAIN: team.issuer, ACCESS_AUDIENCE, ALLOW_ANONYMOUS: "true" },
  });
  try {
    const secrets = new Map();
    const keep = (name, secret) => {
      assert.ok(secret?.length > 20, name);
      secrets.set(secret, name);
      return secret;
    };
    keep("the operator's token", authority.operatorToken);
    for (const { d, kid } of signing) keep(`the private half of ${kid}`, d);
    const reason = "a test wants it";
    const done = async (path, body, bearer = authority.operatorToken) => {
      const answer = await authority.request(`/v1/admin${path}`, { body, bearer });
      assert.ok(answer.status < 300, `${path}: ${answer.text}`);
      for (const [key] of answer.text.matchAll(/mcp[ka]_[\w-]{16}_[\w-]{43}/g)) keep(`the key of ${path}`, key);
      return answer.body;
    };

    // Everything that an administration does.
    await done("/tenants", { tenant_id: "acme" });
    await done("/tenants/acme/identity-providers", { issuer: provider.issuer, audience: AUDIENCE, reason });
    await done("/import", { servers: [entry(SERVER), entry("com.example/quarantined"), entry("com.example/revoked")] });
    for (const name of [SERVER, "com.example/quarantined", "com.example/revoked"]) await done(`/servers/${name}/verify`, { reason });
    await done("/servers/com.example/quarantined/quarantine", { reason, expires_in: 600 });
    await done("/servers/com.example/revoked@1.0.0/revoke", { reason });
    await authority.admin(`/servers/${SERVER}/prove`, { level: "namespace" });
    const mona = (await done("/administrators", { name: "mona", role: "moderator" })).key;
    const ada = (await done("/administrators", { name: "ada", role: "operator" })).key;
    const lost = (await done("/administrators/ada/keys", { label: "lost" })).key;
    await done(`/administrators/ada/keys/${lost.slice(5, 21)}/revoke`, { reason });
    await done("/administrators/ada/access-identity", { access_identity: "ada@example.com", reason });
    await done("/administrators/mona/role", { role: "operator", reason });
    await done("/administrators/mona/role", { role: "moderator", reason });
    const key = (await done("/clients", { client_id: "desktop", tenant_id: "acme" }, ada)).api_key;
    const rotated = (await done("/clients/desktop/keys/rotate", { overlap_seconds: 600, reason })).api_key;
    const second = (await done("/clients/desktop/keys", { label: "laptop" })).api_key;
    await done(`/clients/desktop/keys/${second.slice(5, 21)}/revoke`, { reason });
    const suspended = (await done("/clients", { client_id: "naughty" })).api_key;
    await done("/clients/naughty/suspend", { reason }, mona);
    await done("/tenants/acme/policy", { policy: { allow: ["*"], deny: ["com.example/denied"] }, reason });
    await done("/policy/explain", { server_ref: SERVER, client_id: "desktop" });
    await done("/revocations", { kind: "jti", id: "some-descriptor", reason });
    await done("/revocations", { kind: "key", id: signing[2].kid, reason });

    // Everybody who may, and who may not.
    const tokens = await Promise.all(ALGORITHMS.map((alg) => provider.token("agent", AUDIENCE, alg)));
    const forged = [
      await provider.forge({ aud: "https://elsewhere.example", client_id: "agent" }),
      await provider.forge({ aud: AUDIENCE, client_id: "agent" }, { kid: "made up" }),
      await provider.forge({ aud: AUDIENCE, client_id: "agent", exp: 1_000_000_000, iat: 999_999_000 }),
      `${tokens[0].slice(0, -8)}AAAAAAAA`,
      `${tokens[1]}.x`,
    ];
    for (const token of [...tokens, ...forged]) keep("an access token", token);
    const assertion = (claims, header) =>
      team.forge({ aud: [ACCESS_AUDIENCE], iss: team.issuer, ...claims }, { alg: "RS256", typ: "JWT", kid: "RS256-1", ...header });
    const good = keep("an Access assertion", await assertion({ email: "ada@example.com" }));
    const assertions = [good, await assertion({ email: "mallory@example.com" }), await assertion({ aud: ["x"], email: "ada@example.com" })];
    for (const token of assertions) {
      keep("an Access assertion", token);
      for (const headers of [{ "cf-access-jwt-assertion": token }, { authorization: `Bearer ${token}` }, { cookie: `CF_Authorization=${token}` }]) {
        const { status } = await authority.request("/v1/admin/whoami", { headers });
        assert.equal(status, token === good && !headers.cookie ? 200 : 401);
      }
    }
    for (const [bearer, status] of [
      ...[key, rotated, ...tokens].map((bearer) => [bearer, 200]),
      ...[second, `${key.slice(0, -4)}AAAA`, lost, mona, authority.operatorToken, good, ...forged].map((bearer) => [bearer, 401]),
      [suspended, 403],
    ]) {
      const answer = await authority.connect(SERVER, bearer);
      assert.equal(answer.status, status, `${secrets.get(bearer)}: ${answer.text}`);
      if (status === 200) keep("a descriptor", answer.body.descriptor);
      for (const name of ["com.example/quarantined", "com.example/revoked", "com.example/nobody"]) await authority.connect(name, bearer);
    }
    keep("a wrong key", `${key.slice(0, -4)}AAAA`);
    keep("an anonymous caller's descriptor", (await authority.connect(SERVER)).body.descriptor);

    // Every secret, where it doesn't belong. (What is stored by its owner's wish is not among it.)
    const misplace = async (secret) => {
      const inPath = encodeURIComponent(secret);
      await Promise.all([
        authority.connect(SERVER, secret),
        authority.connect({ server_ref: secret }, key),
        authority.connect({ server_ref: SERVER, client_id: secret }, key),
        authority.connect({ server_ref: SERVER, client: { tenant_id: secret } }, secret),
        authority.connect({ server_ref: SERVER, [secret]: 1 }, key),
        authority.connect(`{"server_ref": ${secret}`, key),
        authority.request(`/v1/connect?access_token=${inPath}`, { body: { server_ref: SERVER } }),
        authority.request(`/v1/servers?query=${inPath}`),
        authority.request(`/v1/servers?cursor=${inPath}`),
        authority.request(`/v1/servers/com.example/${inPath}`),
        authority.request(`/v1/servers/com.example/${inPath}/challenge?level=${inPath}`),
        authority.request(`/${inPath}`, { headers: { "x-api-key": secret, "if-none-match": secret } }),
        authority.request(`/.well-known/${inPath}`),
        authority.request("/v1/admin/audit", { bearer: secret }),
        authority.request("/v1/admin/clients", { bearer: `${secret}x`, body: { client_id: secret } }),
        authority.admin(`/clients/${inPath}/suspend`, { reason }),
        authority.admin(`/clients/desktop/keys/${inPath}/revoke`, { reason }),
        authority.admin(`/administrators/${inPath}/keys`),
        authority.admin(`/tenants/${inPath}/policy?version=${inPath}`),
        authority.admin(`/servers/com.example/${inPath}/revoke`, { reason }),
        authority.admin(`/audit?subject=${inPath}&cursor=${inPath}`),
        authority.admin(`/moderation?state=${inPath}`),
        authority.admin("/policy", { policy: { [secret]: secret }, reason }),
        authority.admin("/policy/explain", { server_ref: secret, client_id: secret }),
        authority.admin("/clients", { client_id: "x", [secret]: secret }),
        authority.admin("/revocations", { kind: secret, id: secret, reason }),
        authority.admin("/tenants/acme/identity-providers", { issuer: secret, audience: AUDIENCE, reason }),
        authority.admin("/administrators", { name: `${secret} `, role: secret }),
      ]);
    };
    for (const secret of secrets.keys()) await misplace(secret);
    for (const d1 of ["error", "lost"]) {
      await authority.break({ d1 });
      await Promise.all([...secrets.keys()].map((secret) => authority.connect(SERVER, secret)));
      await authority.request("/v1/admin/whoami", { headers: { "cf-access-jwt-assertion": good } });
      await authority.admin("/clients", { client_id: `unlucky-${d1}` });
      await authority.request("/healthz");
    }
    await authority.break({ kv: "error" });
    await authority.request(`/v1/servers/${SERVER}`);
    await authority.mend();
    await authority.scheduled("* * * * *");
    await done("/tenants/acme/suspend", { reason });
    await authority.connect(SERVER, key);

    const texts = new Map();
    for (const path of [
      "/healthz", "/v1/servers", `/v1/servers/${SERVER}`, "/v1/revocations", "/.well-known/jwks.json", "/.well-known/mcp-connect-authority",
      ...["whoami", "administrators", "administrators/ada/keys", "clients", "clients/desktop/keys", "tenants", "tenants/acme"],
      ...["tenants/acme/policy", "tenants/acme/policy/history", "tenants/acme/identity-providers", "policy", "policy/history"],
      ...[`servers/${SERVER}/proofs`, `servers/${SERVER}/health`, "moderation", "keys", "revocations?limit=100", "audit?limit=100"],
      ...["audit/export", "stats", "metrics"],
    ].map((path) => (path.startsWith("/") ? path : `/v1/admin/${path}`))) {
      const answer = await authority.request(path, { bearer: authority.operatorToken });
      assert.equal(answer.status, 200, `${path}: ${answer.text}`);
      texts.set(path, answer.text);
    }
    assert.ok(texts.get("/v1/admin/audit/export").split("\n").length > 30, "the whole trail");
    const log = await eventually("the last is logged", () => {
      const text = authority.log().join("\n");
      return authority.logged("connect").at(-1)?.code === "policy_blocked" && text;
    });
    for (const event of ["access_token_refused", "storage_failed", "connect"]) assert.ok(authority.logged(event).length > 0, event);
    texts.set("the log", log);
    assert.ok(secrets.size > 30, `${secrets.size} secrets`);

    for (const [secret, name] of secrets) {
      for (const trace of traces(secret)) {
        for (const [place, text] of texts) {
          assert.ok(!text.includes(trace), `${name} is in ${place}: ${text.split("\n").find((line) => line.includes(trace))}`);
        }
      }
    }
  } finally {
    await Promise.all([authority.stop(), provider.stop(), team.stop()]);
  }
});

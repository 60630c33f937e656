import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { decodeJwt } from "jose";

import { entry, eventually, startAuthority } from "./support/authority.mjs";

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

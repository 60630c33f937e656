import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { calculateJwkThumbprint, createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from "jose";

import { startAuthority } from "./support/authority.mjs";
import { connectctl } from "./support/programs.mjs";

const SERVER = "com.example/weather";
const ENDPOINT = "https://mcp.example.com/mcp";

let authority, key, jwks, expected;

before(async () => {
  authority = await startAuthority({ settings: { DESCRIPTOR_LIFETIME_SECONDS: "90" } });
  await authority.publish(SERVER, { version: "1.2.0", endpoint: ENDPOINT });
  key = (await authority.createClient("desktop", { tenant_id: "acme" })).api_key;
  jwks = createRemoteJWKSet(new URL("/.well-known/jwks.json", authority.url));
  expected = { issuer: authority.url, audience: ENDPOINT, typ: "mcp-connect+jwt", algorithms: ["EdDSA"] };
});
after(() => authority?.stop());

async function mint() {
  const answer = await authority.connect(SERVER, key);
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}

/// With one character of its part replaced.
function tampered(descriptor, part) {
  const parts = descriptor.split(".");
  const text = parts[part];
  const at = Math.floor(text.length / 2);
  parts[part] = text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
  return parts.join(".");
}

test("another implementation verifies it against the key set that is served", async () => {
  const { descriptor } = await mint();
  const { payload } = await jwtVerify(descriptor, jwks, expected);
  assert.equal(payload.sub, `server:${SERVER}`);

  for (const part of [0, 1, 2]) await assert.rejects(jwtVerify(tampered(descriptor, part), jwks, expected));
  for (const wrong of [{ issuer: "https://other.example" }, { audience: `${ENDPOINT}/` }, { typ: "JWT" }]) {
    await assert.rejects(jwtVerify(descriptor, jwks, { ...expected, ...wrong }), { code: "ERR_JWT_CLAIM_VALIDATION_FAILED" });
  }
  const later = new Date(Date.now() + 91_000);
  await assert.rejects(jwtVerify(descriptor, jwks, { ...expected, currentDate: later }), { code: "ERR_JWT_EXPIRED" });
});

test("our own verifier agrees", async () => {
  const { descriptor } = await mint();
  const inspect = (token, audience = ENDPOINT) =>
    connectctl(["--authority", authority.url, "--json", "inspect", "--audience", audience], token);

  const good = await inspect(descriptor);
  assert.equal(good.code, 0, good.stderr);
  const verdict = JSON.parse(good.stdout);
  assert.equal(verdict.good, true);
  assert.equal(verdict.claims.jti, decodeJwt(descriptor).jti);
  assert.equal(verdict.kid, decodeProtectedHeader(descriptor).kid);

  const otherAudience = await inspect(descriptor, "https://other.example.com/mcp");
  assert.equal(otherAudience.code, 1);
  assert.equal(JSON.parse(otherAudience.stdout).code, "descriptor_wrong_audience");
  const forged = await inspect(tampered(descriptor, 2));
  assert.equal(forged.code, 1);
  assert.equal(JSON.parse(forged.stdout).code, "descriptor_invalid");
});

test("its header has these three members, and the kid is the key's thumbprint", async () => {
  const { descriptor } = await mint();
  const { keys } = (await authority.request("/.well-known/jwks.json")).body;
  assert.equal(keys.length, 1);
  const { kid, ...rest } = decodeProtectedHeader(descriptor);
  assert.deepEqual(rest, { alg: "EdDSA", typ: "mcp-connect+jwt" });
  assert.equal(kid, await calculateJwkThumbprint(keys[0], "sha256"));
  assert.equal(kid, keys[0].kid);
});

test("its claims are those of the protocol, and no other", async () => {
  const before = Math.floor(Date.now() / 1000);
  const { descriptor, expires_in, refresh_after } = await mint();
  const now = Math.floor(Date.now() / 1000);

  const { iat, nbf, exp, jti, ...rest } = decodeJwt(descriptor);
  assert.deepEqual(rest, {
    iss: authority.url,
    aud: ENDPOINT,
    sub: `server:${SERVER}`,
    client_id: "desktop",
    tenant_id: "acme",
    mcp: {
      transport: "streamable_http",
      endpoint: ENDPOINT,
      server: { id: SERVER, version: "1.2.0", verified: true },
    },
  });
  assert.ok(Number.isInteger(iat) && iat >= before && iat <= now, `iat ${iat}, now ${now}`);
  assert.deepEqual([nbf - iat, exp - iat, expires_in, refresh_after], [0, 90, 90, 60]);
  assert.match(jti, /^[\w-]{22}$/, "128 random bits");
  assert.ok(descriptor.length < 1024, `${descriptor.length} bytes`);
});

test("each has a jti of its own, and minting writes nothing", async () => {
  const database = await authority.database();
  const contents = async () => {
    const { results } = await database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'").all();
    return Promise.all(results.map(async ({ name }) => [name, (await database.prepare(`SELECT * FROM "${name}"`).all()).results]));
  };
  const before = await contents();
  assert.ok(before.length >= 5, "the tables are seen");

  const descriptors = await Promise.all(Array.from({ length: 200 }, mint));
  const ids = descriptors.map(({ descriptor }) => decodeJwt(descriptor).jti);
  assert.equal(new Set(ids).size, 200);

  assert.deepEqual(await contents(), before);
  // Copies of what was imported may still arrive.
  const { keys } = await (await authority.kv()).list();
  assert.deepEqual(keys.filter(({ name }) => !name.startsWith("server:")), []);
});

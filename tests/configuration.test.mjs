import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from "jose";

import { eventually, generateKey, keySet, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";

const SERVER = "com.example/weather";
let authority, key;

before(async () => {
  authority = await startAuthority();
  await authority.publish(SERVER);
  key = (await authority.createClient("desktop")).api_key;
});
after(() => authority?.stop());
const connect = () => authority.connect(SERVER, key);
const keys = async () => (await authority.request("/.well-known/jwks.json")).body.keys.map(({ kid }) => kid);

async function faults() {
  const { body } = await authority.request("/healthz");
  return (body.faults ?? []).map(({ setting }) => setting);
}

// Which values are wrong is tested natively, with the settings; here, what becomes of them.
describe("what can't be used names itself and stops issuing", () => {
  const [one, two] = [generateKey(), generateKey()];
  const cases = {
    "no keys": { SIGNING_KEYS: [undefined, /is not set/] },
    "keys that are no JSON": { SIGNING_KEYS: [keySet(one).slice(0, -1), /not JSON/] },
    "two keys that sign": { SIGNING_KEYS: [keySet(one, two), /2 of them have status "active"/] },
    "a key of two halves": { SIGNING_KEYS: [keySet({ ...one, x: two.x, kid: two.kid }), /keys\[0\]\.x/] },
    "an issuer that is not https": { ISSUER: ["http://authority.example.com", /https/] },
    "a lifetime that is too long": { DESCRIPTOR_LIFETIME_SECONDS: ["121", /from 1 to 120/] },
    "several at once": {
      ISSUER: [undefined, /is not set/],
      SIGNING_KEYS: [keySet(), /0 of them/],
      REQUIRE_VERIFIED: ["sometimes", /neither/],
      ALLOW_ANONYMOUS: ["TRUE", /neither/],
      DEVELOPMENT: ["perhaps", /neither/],
    },
  };

  for (const [what, wrong] of Object.entries(cases)) {
    test(what, async () => {
      authority.clearLog();
      const settings = Object.entries(wrong).map(([setting, [value]]) => [setting, value]);
      await authority.configure(Object.fromEntries(settings));

      const health = await authority.request("/healthz");
      assert.equal(health.status, 503);
      assert.equal(health.body.status, "faulty");
      assert.deepEqual(await faults(), Object.keys(wrong));
      for (const { setting, problem } of health.body.faults) assert.match(problem, wrong[setting][1]);

      const answer = await connect();
      assertProblem(answer, 503, "authority_unavailable");
      const metadata = await authority.request("/.well-known/mcp-connect-authority");
      const jwks = await authority.request("/.well-known/jwks.json");
      assert.equal(metadata.status, "SIGNING_KEYS" in wrong && !("ISSUER" in wrong) ? 200 : 503, "what depends on it, and only that");
      assert.equal(jwks.status, "SIGNING_KEYS" in wrong ? 503 : 200);
      const { status, body } = await authority.request("/v1/servers?query=weather");
      assert.deepEqual([status, body.servers.length], [200, 1], "discovery goes on");
      const latest = await authority.request("/v0.1/servers/com.example%2Fweather/versions/latest");
      assert.equal(latest.status, 200);
      if ("REQUIRE_VERIFIED" in wrong) assert.equal(latest.body._meta["org.mcp-connect/authority"].connectable, false);

      await eventually("each is in the log", () => {
        const logged = authority.logged("configuration_fault").map(({ setting }) => setting);
        return Object.keys(wrong).every((setting) => logged.includes(setting));
      });
      const secrets = [...settings.map(([, value]) => value), one.d, two.d].filter((secret) => secret?.length > 3);
      for (const text of [health.text, answer.text, ...authority.log()]) {
        for (const secret of secrets) assert.ok(!text.includes(secret), `${secret} is in ${text}`);
      }
    });
  }
});

describe("outside of development", () => {
  const production = { DEVELOPMENT: undefined, ISSUER: "https://authority.example.com" };

  test("an issuer on this machine and a lifetime below 30 s are refused", async () => {
    await authority.configure({ DEVELOPMENT: undefined, DESCRIPTOR_LIFETIME_SECONDS: "29" });
    assert.deepEqual(await faults(), ["ISSUER", "DESCRIPTOR_LIFETIME_SECONDS"]);
    assertProblem(await connect(), 503, "authority_unavailable");
  });

  test("endpoints on this machine are none", async () => {
    await authority.configure({ ...production, DESCRIPTOR_LIFETIME_SECONDS: "30" });
    assert.deepEqual(await faults(), []);
    const [local, remote] = ["http://127.0.0.1:9/mcp", "https://mcp.example.com/mcp"];
    const remotes = [local, remote].map((url) => ({ type: "streamable-http", url }));
    await authority.publish("com.example/local", { endpoint: local });
    await authority.publish("com.example/both", { endpoint: null, remotes });

    assertProblem(await authority.connect("com.example/local", key), 403, "transport_not_supported");
    const { body } = await authority.connect("com.example/both", key);
    assert.deepEqual([body.endpoint, body.expires_in, body.refresh_after], [remote, 30, 10]);
    assert.equal(decodeJwt(body.descriptor).iss, production.ISSUER);
    const pinned = await authority.admin("/servers/com.example/both/verify", { reason: "r", jwks_uri: "http://localhost:9/jwks" });
    assertProblem(pinned, 400, "request_invalid", "jwks_uri");
  });
});

describe("in development", () => {
  test("endpoints and lifetimes may be those of this machine", async () => {
    await authority.configure({ DESCRIPTOR_LIFETIME_SECONDS: "1" });
    await authority.publish("com.example/developed", { endpoint: "http://127.0.0.1:9/mcp" });
    const { body } = await authority.connect("com.example/developed", key);
    assert.deepEqual([body.endpoint, body.expires_in], ["http://127.0.0.1:9/mcp", 1]);
    const { iat, exp } = decodeJwt(body.descriptor);
    assert.equal(exp - iat, 1);
  });
});

test("keys are rotated without a descriptor that is refused", async () => {
  const [first, second] = [generateKey(), generateKey()];
  const phase = async (...set) => {
    await authority.configure({ SIGNING_KEYS: keySet(...set) });
    const { descriptor } = (await connect()).body;
    return { descriptor, kid: decodeProtectedHeader(descriptor).kid, published: await keys() };
  };
  const verifies = async ({ descriptor }) => {
    const { body } = await authority.request("/.well-known/jwks.json");
    return jwtVerify(descriptor, createLocalJWKSet(body)).then(() => true, () => false);
  };
  const both = [first.kid, second.kid].sort();

  const before = await phase(first);
  assert.deepEqual([before.kid, before.published], [first.kid, [first.kid]]);
  const announced = await phase(first, { ...second, status: "next" });
  assert.deepEqual([announced.kid, announced.published.sort()], [first.kid, both], "published before it signs");
  const switched = await phase({ ...first, status: "retired" }, second);
  assert.deepEqual([switched.kid, switched.published.sort()], [second.kid, both], "published while it is retired");
  assert.deepEqual(await Promise.all([before, announced, switched].map(verifies)), [true, true, true]);
  const dropped = await phase(second);
  assert.deepEqual(dropped.published, [second.kid]);
  assert.deepEqual(await Promise.all([before, switched, dropped].map(verifies)), [false, true, true]);
});

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { eventually, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";
import { assertRefused, registryToken, serverJson } from "./support/registry.mjs";

const WEATHER = "com.example/weather";
const LIMITS = { CLIENT: 6, TENANT: 10, ADDRESS: 8, READER: 12 };
const PERIOD_MS = 10_000;
let authority;

before(async () => {
  authority = await startAuthority({ limits: LIMITS });
  await authority.publish(WEATHER);
});
after(() => authority?.stop());

/// Waits for a period of which at least `seconds` are left: all requests of a test count together.
async function freshPeriod(seconds = 8) {
  const left = () => PERIOD_MS - (Date.now() % PERIOD_MS);
  if (left() < seconds * 1000) await sleep(left() + 20);
}

let addresses = 0;
/// Another address for each use, so that tests don't count against each other.
const nextAddress = () => `192.0.2.${++addresses}`;

const from = (address) => ({ "cf-connecting-ip": address });

function connect(key, address) {
  return authority.request("/v1/connect", { body: { server_ref: WEATHER }, bearer: key, headers: from(address) });
}

/// The statuses of so many requests, one after the other.
async function statuses(count, ask) {
  const all = [];
  for (let n = 0; n < count; n += 1) all.push((await ask(n)).status);
  return all;
}

const times = (count, status) => Array(count).fill(status);

test("an address has its own limit, for each kind of request", async () => {
  await freshPeriod();
  const [one, two] = [nextAddress(), nextAddress()];
  const list = (address) => () => authority.request("/v1/servers", { headers: from(address) });
  assert.deepEqual(await statuses(LIMITS.ADDRESS + 3, list(one)), [...times(LIMITS.ADDRESS, 200), ...times(3, 429)]);
  assert.equal((await list(two)()).status, 200, "another address");

  const keys = await authority.request("/.well-known/jwks.json", { headers: from(one) });
  assert.equal(keys.status, 200, "servers get their keys, whoever searches from there");
  const unknown = await authority.request("/nothing", { headers: from(one) });
  assertProblem(unknown, 429, "rate_limited", "address");
  const latest = `/v0.1/servers/${encodeURIComponent(WEATHER)}/versions/latest`;
  const read = (query) => authority.request(`${latest}${query}`, { headers: from(one) });
  assert.equal((await read("?include_deleted=true")).status, 429);
  assert.deepEqual(await statuses(LIMITS.READER + 1, () => read("")), [...times(LIMITS.READER, 200), 429]);
  const logIn = (n) => authority.request(`/v0${n % 2 ? ".1" : ""}/auth/dns`, { headers: from(one), body: {} });
  assert.deepEqual(await statuses(LIMITS.ADDRESS + 2, logIn), [...times(LIMITS.ADDRESS, 422), ...times(2, 429)]);

  // The least that one party has of IPv6 is a /64.
  const sixes = (n) => list(`2001:db8:0:${addresses}::${n + 1}`)();
  assert.equal((await statuses(LIMITS.ADDRESS + 1, sixes)).at(-1), 429);
});

describe("what servers follow", () => {
  const FOLLOWED = ["/v1/revocations", "/.well-known/jwks.json"];

  test("has limits of its own, high ones, whatever else is read from their address", async () => {
    await freshPeriod();
    const office = nextAddress();
    const read = (path) => () => authority.request(path, { headers: from(office) });
    const metadata = read("/.well-known/mcp-connect-authority");
    assert.deepEqual(await statuses(LIMITS.ADDRESS + 1, metadata), [...times(LIMITS.ADDRESS, 200), 429]);
    await statuses(LIMITS.ADDRESS + 1, read("/v1/servers"));
    for (const path of FOLLOWED) {
      assert.deepEqual(await statuses(LIMITS.READER + 1, read(path)), [...times(LIMITS.READER, 200), 429], path);
    }
    assert.ok(LIMITS.READER > LIMITS.ADDRESS);
    // And they leave the others alone.
    const neighbour = nextAddress();
    await statuses(LIMITS.READER + 1, () => authority.request(FOLLOWED[0], { headers: from(neighbour) }));
    for (const path of ["/.well-known/mcp-connect-authority", "/v1/servers", FOLLOWED[1]]) {
      assert.equal((await authority.request(path, { headers: from(neighbour) })).status, 200, path);
    }
  });

  test("is answered by the location's cache, and D1 is asked once in a second", async () => {
    const followed = await startAuthority({ meterD1: true, settings: { ISSUER: "https://authority.example" } });
    try {
      for (const path of FOLLOWED) {
        const first = await followed.request(path);
        await eventually("it is kept", async () => {
          followed.clearLog();
          await followed.request(path);
          return followed.logged("d1").length === 0;
        });
        followed.clearLog();
        const begun = Date.now();
        const answers = await Promise.all(times(30, 0).map(() => followed.request(path)));
        const seconds = Math.ceil((Date.now() - begun) / 1000) + 1;
        assert.ok(followed.logged("d1").length <= 4 * seconds, `${followed.logged("d1").length} in ${seconds} s`);
        for (const { status, headers } of answers) {
          assert.deepEqual([status, headers.get("content-type")], [200, first.headers.get("content-type")]);
        }
        const known = { "if-none-match": answers[0].headers.get("etag") };
        assert.equal((await followed.request(path, { headers: known })).status, 304);
      }
      // What is revoked here is told here at once.
      const [{ kid }] = (await followed.request(FOLLOWED[1])).body.keys;
      const before = (await followed.request(FOLLOWED[0])).text;
      const revoked = await followed.admin("/revocations", { kind: "jti", id: "leaked", reason: "a test wants it" });
      assert.equal(revoked.status, 200, revoked.text);
      const after = (await followed.request(FOLLOWED[0])).text;
      const entries = (feed) => JSON.parse(Buffer.from(feed.split(".")[1], "base64url")).jtis;
      assert.deepEqual([entries(before), entries(after).map(({ id }) => id)], [[], ["leaked"]]);
      await followed.admin("/revocations", { kind: "key", id: kid, reason: "a test wants it" });
      assert.deepEqual((await followed.request(FOLLOWED[1])).body.keys, []);
    } finally {
      await followed.stop();
    }
  });
});

describe("connect", () => {
  test("is limited by client, whatever the address, and by tenant", async () => {
    const first = await authority.createClient("first", { tenant_id: "acme" });
    const second = await authority.createClient("second", { tenant_id: "acme" });
    const stranger = await authority.createClient("stranger", { tenant_id: "other" });
    await freshPeriod();
    const asks = ({ api_key }) => () => connect(api_key, nextAddress());
    assert.deepEqual(await statuses(LIMITS.CLIENT, asks(first)), times(LIMITS.CLIENT, 200));
    const refused = await asks(first)();
    assertProblem(refused, 429, "rate_limited", "client");

    // What the first was refused is not taken from its tenant.
    assert.deepEqual(await statuses(5, asks(first)), times(5, 429));
    const left = LIMITS.TENANT - LIMITS.CLIENT;
    assert.deepEqual(await statuses(left, asks(second)), times(left, 200));
    assertProblem(await asks(second)(), 429, "rate_limited", "tenant");
    assert.equal((await asks(stranger)()).status, 200, "another tenant");
  });

  test("tells when to come back, and then it works", async () => {
    const { api_key } = await authority.createClient("patient");
    await freshPeriod();
    const asks = () => connect(api_key, nextAddress());
    await statuses(LIMITS.CLIENT, asks);
    const refused = await asks();
    assertProblem(refused, 429, "rate_limited", "client");

    const shown = await connectctl(["--authority", authority.url, "--api-key", api_key, "connect", WEATHER]);
    assert.equal(shown.code, 3);
    assert.match(shown.stderr, /try again in 10 s/);

    await sleep(refused.body.retry_after * 1000);
    assert.equal((await asks()).status, 200);
  });

  test("leaves everybody behind one address their own limit, once they are known", async () => {
    const clients = [];
    for (let n = 0; n < 4; n += 1) clients.push(await authority.createClient(`office-${n}`));
    await freshPeriod();
    const office = nextAddress();
    const asked = LIMITS.CLIENT * clients.length;
    assert.ok(asked > LIMITS.ADDRESS);
    const all = await statuses(asked, (n) => connect(clients[n % clients.length].api_key, office));
    assert.deepEqual(all, times(asked, 200));
  });

  test("of somebody who guesses is limited by the address, and touches nobody else", async () => {
    const owner = await authority.createClient("owner", { tenant_id: "guessed" });
    const guess = (n) => owner.api_key.slice(0, -3) + String(n).padStart(3, "0");
    await freshPeriod();
    const attacker = nextAddress();
    const all = await statuses(3 * LIMITS.TENANT, (n) => connect(guess(n), attacker));
    assert.deepEqual(all, [...times(LIMITS.ADDRESS, 401), ...times(all.length - LIMITS.ADDRESS, 429)]);
    const owners = await statuses(LIMITS.CLIENT, () => connect(owner.api_key, nextAddress()));
    assert.deepEqual(owners, times(LIMITS.CLIENT, 200), "it has its whole limit");
  });

  test("with a key that is no longer good is limited by the address again", async () => {
    const { api_key } = await authority.createClient("gone");
    const address = nextAddress();
    assert.equal((await connect(api_key, nextAddress())).status, 200);
    const database = await authority.database();
    await database.prepare("DELETE FROM api_keys WHERE client_id = 'gone'").run();
    await freshPeriod();
    const all = await statuses(LIMITS.ADDRESS + 3, () => connect(api_key, address));
    // The first is still counted as the client's.
    assert.deepEqual(all, [...times(LIMITS.ADDRESS + 1, 401), ...times(2, 429)]);
  });
});

test("a publisher's changes have a limit, whatever the address and however its name is written", async () => {
  const permissions = [{ action: "publish", resource: "com.example/*" }];
  const token = (auth_method_sub) => registryToken(authority, { permissions, auth_method: "dns", auth_method_sub });
  const [one, same, other] = await Promise.all(["example.com", "Example.COM", "other.example"].map(token));
  await freshPeriod();
  const change = (bearer, n) => {
    const options = { bearer, headers: from(nextAddress()) };
    const body = { status: "deprecated" };
    if (n % 2) return authority.request("/v0.1/servers/com.example%2Fnone/status", { method: "PATCH", body, ...options });
    return authority.request("/v0/publish", { body: { ...serverJson("com.elsewhere/x") }, ...options });
  };
  const all = await statuses(LIMITS.CLIENT, (n) => change(n % 3 ? one : same, n));
  assert.deepEqual(all, Array.from(all, (_, n) => (n % 2 ? 404 : 403)));
  const refused = await change(one, 0);
  assertRefused(refused, 429, "publisher");
  assert.equal(refused.headers.get("retry-after"), "10");
  assert.equal((await change(other, 0)).status, 403, "another publisher");
});

test("administrators who are known have no limit; who guesses has the address's", async () => {
  await freshPeriod();
  const [office, attacker] = [nextAddress(), nextAddress()];
  const ask = (bearer, address) => authority.request("/v1/admin/audit", { bearer, headers: from(address) });
  const good = () => ask(authority.operatorToken, office);
  assert.deepEqual(await statuses(2 * LIMITS.ADDRESS, good), times(2 * LIMITS.ADDRESS, 200));
  const wrong = await statuses(LIMITS.ADDRESS + 2, (n) => ask(`wrong-${n}`.repeat(6), attacker));
  assert.deepEqual(wrong, [...times(LIMITS.ADDRESS, 401), ...times(2, 429)]);
  assert.equal((await ask(authority.operatorToken, attacker)).status, 200, "a known token from there is still good");
  // A path that is none says nothing of the credential that came with it.
  const nowhere = await statuses(LIMITS.ADDRESS + 1, () =>
    authority.request("/v1/admin/nothing", { bearer: "guess".repeat(9), headers: from(office) }));
  assert.equal(nowhere.at(-1), 429);
});

test("health is counted apart: nothing else that its network asks for makes it look down", async () => {
  await freshPeriod();
  const headers = from(nextAddress());
  const flood = await statuses(LIMITS.ADDRESS + 5, () => authority.request("/v1/servers", { headers }));
  assert.equal(flood.at(-1), 429);
  for (const path of ["/healthz", "/v0.1/health", "/v0.1/ping"]) {
    assert.equal((await authority.request(path, { headers })).status, 200, path);
  }
  const answers = await statuses(LIMITS.ADDRESS + 5, () => authority.request("/healthz", { headers }));
  assert.deepEqual([...new Set(answers)].sort(), [200, 429], "it reads the database, so it has a limit of its own");
});

test("a flood leaves a line now and then, not one for each request", async () => {
  await freshPeriod();
  authority.clearLog();
  const address = nextAddress();
  await statuses(LIMITS.ADDRESS + 20, () => authority.request("/v1/servers", { headers: from(address) }));
  const lines = await eventually("it is logged", () => {
    const lines = authority.logged("rate_limited").filter(({ subject }) => subject.endsWith(address));
    return lines.length > 0 && lines;
  });
  assert.deepEqual(lines, [{ level: "info", event: "rate_limited", scope: "address", subject: `discovery/${address}` }]);
});

test("without the bindings requests go on, and the operator is told", async () => {
  const unlimited = await startAuthority({ limits: { CLIENT: undefined, ADDRESS: undefined } });
  try {
    await unlimited.publish(WEATHER);
    const { api_key } = await unlimited.createClient("desktop", { tenant_id: "acme" });
    assert.equal((await unlimited.connect(WEATHER, api_key)).status, 200);
    const health = await unlimited.request("/healthz");
    assert.equal(health.status, 503);
    assert.deepEqual(health.body.faults.map(({ setting }) => setting), ["CLIENT_LIMIT", "ADDRESS_LIMIT"]);
    await eventually("it is logged", () => unlimited.logged("limiter_failed").some(({ binding }) => binding === "CLIENT_LIMIT"));
  } finally {
    await unlimited.stop();
  }
});

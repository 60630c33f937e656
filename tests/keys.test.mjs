// Signing keys and what is withdrawn: both algorithms, rotation under load, emergencies, the feed.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from "jose";

import { eventually, generateKey, keySet, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl, startReferenceServer } from "./support/programs.mjs";

const SERVER = "com.example/weather";
const OTHER = "com.example/other";
const FEED = "application/mcp-revocations+jwt";
let authority, key;

before(async () => {
  authority = await startAuthority();
  await authority.publish(SERVER);
  await authority.publish(OTHER);
  key = (await authority.createClient("desktop")).api_key;
});
after(() => authority?.stop());

const connect = (server = SERVER) => authority.connect(server, key);
const jwks = async () => (await authority.request("/.well-known/jwks.json")).body;
const kids = async () => (await jwks()).keys.map(({ kid }) => kid);
const revoke = (kind, id, members = {}) => authority.admin("/revocations", { kind, id, reason: "a test wants it", ...members });
const control = (...args) => connectctl(["--authority", authority.url, "--operator-token", authority.operatorToken, ...args]);

async function feed(headers) {
  const answer = await authority.request("/v1/revocations", { headers });
  if (answer.status !== 200) return answer;
  const options = { issuer: authority.url, typ: "mcp-revocations+jwt" };
  const { payload, protectedHeader } = await jwtVerify(answer.text, createLocalJWKSet(await jwks()), options);
  return { ...answer, claims: payload, header: protectedHeader };
}

/// Whether the feed refuses a descriptor, as docs/protocol.md has it.
function refuses(claims, descriptor) {
  const { iat, jti, client_id, tenant_id, mcp } = decodeJwt(descriptor);
  const { id, version } = mcp.server;
  const dated = (list, isMeant) => list.some((entry) => iat <= entry.at && isMeant(entry));
  return (
    claims.keys.some((entry) => entry.id === decodeProtectedHeader(descriptor).kid) ||
    claims.jtis.some((entry) => entry.id === jti) ||
    (claims.all !== undefined && iat <= claims.all) ||
    dated(claims.servers, (entry) => entry.id === id) ||
    dated(claims.versions, (entry) => entry.id === id && entry.version === version) ||
    dated(claims.tenants, (entry) => entry.id === tenant_id) ||
    dated(claims.clients, (entry) => entry.id === client_id && entry.tenant_id === tenant_id)
  );
}

describe("both algorithms", () => {
  for (const alg of ["EdDSA", "ES256"]) {
    test(`${alg} signs descriptors and the feed, and others verify both`, async () => {
      const signing = generateKey("active", alg);
      await authority.configure({ SIGNING_KEYS: keySet(signing) });
      const { descriptor } = (await connect()).body;
      assert.deepEqual(decodeProtectedHeader(descriptor), { alg, typ: "mcp-connect+jwt", kid: signing.kid });
      const set = createLocalJWKSet(await jwks());
      await jwtVerify(descriptor, set, { issuer: authority.url, typ: "mcp-connect+jwt", algorithms: [alg] });
      assert.deepEqual((await feed()).header, { alg, typ: "mcp-revocations+jwt", kid: signing.kid });

      const { d, status, ...published } = signing;
      const members = Object.fromEntries(Object.entries(published).filter(([, value]) => value));
      assert.deepEqual((await jwks()).keys, [{ ...members, alg, use: "sig" }]);
      const { body } = await authority.request("/.well-known/mcp-connect-authority");
      assert.deepEqual(body.signing_alg_values_supported, [alg]);

      const inspected = await connectctl(["--authority", authority.url, "--json", "inspect"], descriptor);
      assert.equal(inspected.code, 0, inspected.stderr);
    });
  }

  test("halves that don't belong together are named, whichever key it is", async () => {
    for (const alg of ["EdDSA", "ES256"]) {
      const [one, two] = [generateKey("next", alg), generateKey("next", alg)];
      const broken = { ...one, d: two.d };
      await authority.configure({ SIGNING_KEYS: keySet(generateKey(), broken) });
      const { status, body } = await authority.request("/healthz");
      assert.equal(status, 503);
      assert.deepEqual(body.faults, [{ setting: "SIGNING_KEYS", problem: "keys[1].x: does not belong to d" }]);
      assertProblem(await connect(), 503, "authority_unavailable");
      for (const path of ["/.well-known/jwks.json", "/v1/revocations"]) {
        assertProblem(await authority.request(path), 503, "authority_unavailable");
      }
    }
  });
});

describe("the feed", () => {
  before(() => authority.configure({}));

  test("names what was withdrawn, refuses descriptors from before, and lets later ones pass", async () => {
    await authority.admin("/tenants", { tenant_id: "acme" });
    const member = (await authority.createClient("laptop", { tenant_id: "acme" })).api_key;
    const single = (await connect()).body.descriptor;
    const before = {
      server: (await connect()).body.descriptor,
      client: (await authority.connect(SERVER, member)).body.descriptor,
      other: (await connect(OTHER)).body.descriptor,
    };
    assert.deepEqual(Object.values(before).map((token) => typeof token), ["string", "string", "string"]);
    const empty = (await feed()).claims;
    const { jti } = decodeJwt(single);

    await authority.changeServer(SERVER, "revoke");
    assert.equal((await revoke("jti", jti)).body.changed, true);
    assert.equal((await revoke("client", "laptop")).body.tenant_id, "acme");

    const { claims } = await feed();
    for (const list of ["servers", "versions", "tenants", "clients", "keys", "jtis"]) assert.deepEqual(empty[list], []);
    assert.deepEqual(claims.servers.map(({ id }) => id), [SERVER]);
    assert.deepEqual(claims.jtis.map(({ id }) => id), [jti]);
    assert.deepEqual(claims.clients.map(({ id, tenant_id }) => [id, tenant_id]), [["laptop", "acme"]]);
    assert.equal(claims.window_seconds, 160);
    assert.equal(claims.exp - claims.iat, 60);
    assert.ok(refuses(claims, single) && refuses(claims, before.server) && refuses(claims, before.client));
    assert.ok(!refuses(claims, before.other));
    assertProblem(await authority.connect(OTHER, member), 403, "policy_blocked");

    await authority.changeServer(SERVER, "reinstate");
    await eventually("a reinstated server works again, with new descriptors", async () => {
      const { descriptor } = (await connect()).body;
      return !refuses((await feed()).claims, descriptor);
    }, 4);
    assert.ok(refuses((await feed()).claims, before.server), "those from before stay refused");

    assert.equal((await revoke("tenant", "acme")).body.changed, true);
    assert.deepEqual((await feed()).claims.tenants.map(({ id }) => id), ["acme"]);
    assert.equal((await revoke("tenant", "acme")).body.changed, false);
  });

  test("a client that only its tenant's provider knows is registered as suspended, there and nowhere else", async () => {
    assertProblem(await revoke("client", "stranger"), 404, "client_not_found");
    assertProblem(await revoke("client", "stranger", { tenant_id: "nowhere" }), 404, "client_not_found");
    await authority.admin("/tenants", { tenant_id: "globex" });
    const { body } = await revoke("client", "stranger", { tenant_id: "globex" });
    assert.deepEqual([body.id, body.tenant_id, body.changed], ["stranger", "globex", true]);
    const clients = (await authority.admin("/clients")).body.clients;
    assert.equal(clients.find(({ client_id }) => client_id === "stranger").status, "suspended");
    assertProblem(await revoke("client", "desktop", { tenant_id: "globex" }), 409, "client_exists");
    assert.equal((await connect()).status, 200, "a client elsewhere stays as it is");
  });

  test("tells anew of who was suspended longer ago than it remembers", async () => {
    await authority.createClient("forgotten", { tenant_id: "initech" });
    const database = await authority.database();
    for (const [kind, id, tenant_id] of [["client", "forgotten", "initech"], ["tenant", "initech"]]) {
      const changes = async () => (await revoke(kind, id)).body.changed;
      assert.deepEqual([await changes(), await changes()], [true, false]);
      // As the cron does after a day.
      await database.prepare("DELETE FROM revocations WHERE subject = ?").bind(id).run();
      const since = Math.floor(Date.now() / 1000);
      const { status, body } = await revoke(kind, id, { reason: "to make sure" });
      assert.equal(status, 200, JSON.stringify(body));
      assert.deepEqual([body.changed, body.reason, body.tenant_id], [true, "to make sure", tenant_id]);
      const entry = (await feed()).claims[`${kind}s`].find((entry) => entry.id === id);
      assert.ok(entry.at >= since, JSON.stringify(entry));
      const [audited] = (await authority.admin("/audit?limit=1")).body.entries;
      assert.deepEqual([audited.action, audited.subject, audited.reason], [`${kind}.revoke`, id, "to make sure"]);
      assert.equal(await changes(), false);
    }
    // Who may connect again isn't suspended by it.
    await authority.admin("/tenants/initech/resume", { reason: "a test" });
    assert.equal((await authority.admin("/tenants/initech")).body.status, "active");
  });

  test("keeps its validator while it says the same", async () => {
    const first = await feed();
    assert.equal(first.headers.get("content-type"), FEED);
    assert.equal(first.headers.get("cache-control"), "public, max-age=2");
    const etag = first.headers.get("etag");
    // Signed again, since later; it says the same.
    await eventually("it is signed anew", async () => (await feed()).text !== first.text, 5);
    const same = await feed({ "if-none-match": `W/"x", ${etag}` });
    assert.deepEqual([same.status, same.text, same.headers.get("etag")], [304, "", etag]);
    await revoke("jti", "another-descriptor");
    const changed = await feed({ "if-none-match": etag });
    assert.equal(changed.status, 200);
    assert.notEqual(changed.headers.get("etag"), etag);
  });

  test("a mass revocation loses nothing: what doesn't fit stands in one date", async () => {
    const { descriptor } = (await connect(OTHER)).body;
    const database = await authority.database();
    const now = Date.now();
    await database
      .prepare(
        `WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 4999)
         INSERT INTO revocations (kind, subject, tenant_id, revoked_at, actor, reason)
         SELECT 'server', 'com.example/mass-' || n, '', ? - n, 'test', 'test' FROM n`,
      )
      .bind(now)
      .run();
    const { text, claims } = await feed();
    assert.ok(text.length <= 64 * 1024);
    const at = (n) => Math.floor((now - n) / 1000) + 1;
    for (const n of [0, 999, 1000, 2500, 4999]) {
      const isListed = claims.servers.some(({ id }) => id === `com.example/mass-${n}`);
      assert.ok(isListed || claims.all >= at(n), `mass-${n}`);
    }
    assert.ok(refuses(claims, descriptor), "too much, until it is asked for again");
    await eventually("a fresh one passes", async () => !refuses((await feed()).claims, (await connect(OTHER)).body.descriptor), 5);
    await database.exec("DELETE FROM revocations WHERE subject LIKE 'com.example/mass-%'");
  });

  test("fails closed without D1", async () => {
    const database = await authority.database();
    await database.exec("ALTER TABLE revocations RENAME TO away");
    try {
      for (const path of ["/v1/revocations", "/.well-known/jwks.json"]) {
        assertProblem(await authority.request(path), 503, "authority_unavailable");
      }
    } finally {
      await database.exec("ALTER TABLE away RENAME TO revocations");
    }
    assert.equal((await feed()).status, 200);
  });

  test("connectctl revokes and lists", async () => {
    const refused = await control("revoke", "client", "nobody", "--reason", "a test");
    assert.equal(refused.code, 1);
    const done = await control("--json", "revoke", "jti", "-by-hand", "--reason", "a test");
    assert.equal(done.code, 0, done.stderr);
    const listed = await control("--json", "revocations", "list", "--limit", "2", "--all");
    const { revocations } = JSON.parse(listed.stdout);
    assert.deepEqual([revocations[0].kind, revocations[0].id, revocations[0].actor], ["jti", "-by-hand", "operator"]);
    assert.ok(revocations.length >= 5, "every page");
    assert.equal(new Set(revocations.map(({ kind, id }) => `${kind} ${id}`)).size, revocations.length);
    const audited = (await authority.admin("/audit?limit=1")).body.entries[0];
    assert.deepEqual([audited.action, audited.subject, audited.reason], ["jti.revoke", "-by-hand", "a test"]);
  });

  test("a key's id that was not copied whole is unknown: nothing is revoked, and the held ones are told", async () => {
    const { kid } = (await authority.admin("/keys")).body.keys[0];
    const revocations = async () => (await authority.admin("/revocations?limit=100")).body.revocations.length;
    const before = await revocations();
    for (const id of [kid.slice(0, -1), kid.slice(1), `${kid}=`, `${kid} `, ` ${kid}`, `${kid}\n`, `"${kid}"`, "", "x", "x".repeat(500), `${kid.slice(0, -1)}\u202e`]) {
      for (const even_if_unknown of [false, true]) {
        const answer = await authority.admin("/revocations", { kind: "key", id, reason: "a test", even_if_unknown });
        assertProblem(answer, 400, "request_invalid", "id: this authority holds no signing key ");
        assert.match(answer.body.detail, /nothing was revoked/);
        assert.ok(answer.body.detail.includes(`it holds ${kid} (`), answer.body.detail);
        assert.ok(!answer.body.detail.includes("\u202e"));
      }
      const shown = await control("keys", "revoke", "--reason", "a test", "--", id);
      assert.notEqual(shown.code, 0, id);
    }
    const other = await authority.admin("/revocations", { kind: "key", id: "A".repeat(43), reason: "a test" });
    assertProblem(other, 404, "key_not_found", "id: this authority holds no signing key ");
    assert.equal(await revocations(), before);
    assert.ok((await kids()).includes(kid));
  });

  test("what is no revocation is refused", async () => {
    for (const [members, detail] of [
      [{ kind: "server" }, "kind"],
      [{ kind: "key" }, "id"],
      [{ kind: "jti", id: "a b" }, "id"],
      [{ kind: "jti", tenant_id: "acme" }, "tenant_id"],
      [{ kind: "jti", reason: " " }, "reason"],
      [{ kind: "jti", more: 1 }, "more"],
    ]) {
      const body = { kind: "jti", id: "x", reason: "a test", ...members };
      assertProblem(await authority.admin("/revocations", body), 400, "request_invalid", detail);
    }
    assertProblem(await authority.admin("/revocations?cursor=x"), 400, "request_invalid", "cursor");
    assertProblem(await authority.request("/v1/admin/keys"), 401, "caller_unauthenticated");
  });
});

describe("an emergency", () => {
  const [first, second] = [generateKey("active"), generateKey("next", "ES256")];
  before(() => authority.configure({ SIGNING_KEYS: keySet({ ...first, since: 1_800_000_000 }, second) }));

  test("a key that is revoked neither signs nor is published, at once, and the next one signs", async () => {
    const old = (await connect()).body.descriptor;
    const { headers } = await authority.request("/.well-known/jwks.json");
    const signs = async () => decodeProtectedHeader((await connect()).body.descriptor).kid;
    assert.equal(await signs(), first.kid);

    const answer = await control("keys", "revoke", first.kid, "--reason", "it was in a log");
    assert.equal(answer.code, 0, answer.stderr);
    assert.match(answer.stdout, new RegExp(`${second.kid} signs`));
    assert.equal(await signs(), second.kid);
    assert.deepEqual(await kids(), [second.kid]);
    const stale = await authority.request("/.well-known/jwks.json", { headers: { "if-none-match": headers.get("etag") } });
    assert.equal(stale.status, 200, "the document is another");
    const { claims, header } = await feed();
    assert.equal(header.kid, second.kid);
    assert.ok(claims.keys.some(({ id }) => id === first.kid));
    assert.ok(refuses(claims, old));
    assert.ok(!refuses(claims, (await connect(OTHER)).body.descriptor));

    const status = await control("--json", "keys", "status");
    const keys = JSON.parse(status.stdout).keys;
    assert.deepEqual(
      keys.map(({ kid, alg, status, signs, revoked, since }) => [kid, alg, status, signs, revoked, since]),
      [
        [first.kid, "EdDSA", "active", false, true, 1_800_000_000],
        [second.kid, "ES256", "next", true, false, undefined],
      ],
    );
    for (const { d } of [first, second]) assert.ok(!status.stdout.includes(d));
    const again = await control("keys", "revoke", first.kid, "--reason", "again");
    assert.match(again.stderr, /nothing changed/);
  });

  test("with no key left nothing is issued, and /healthz says so", async () => {
    const answer = await control("keys", "revoke", second.kid, "--reason", "that one, too");
    assert.equal(answer.code, 1);
    assert.match(answer.stderr, /no key is left/);
    assertProblem(await connect(), 503, "authority_unavailable");
    assertProblem(await authority.request("/v1/revocations"), 503, "authority_unavailable");
    assert.deepEqual(await kids(), [], "a set without keys revokes everything");
    const { body } = await authority.request("/healthz");
    assert.match(body.faults[0].problem, /active key was revoked/);
    await authority.configure({});
    assert.equal((await connect()).status, 200);
  });
});

describe("a rotation", () => {
  const directory = mkdtempSync(join(tmpdir(), "connect-keys-"));
  const file = join(directory, "keys.json");
  after(() => rmSync(directory, { recursive: true, force: true }));
  let server;
  after(() => server?.stop());
  const statuses = () => JSON.parse(readFileSync(file, "utf8")).keys.map(({ status }) => status);
  const put = () => authority.configure({ SIGNING_KEYS: readFileSync(file, "utf8"), DESCRIPTOR_LIFETIME_SECONDS: "2" });
  const rotate = (...options) => control("keys", "rotate", file, "--wait", "2", ...options);

  /// Connects and shows the descriptor to the reference server until told to stop; keeps the last
  /// one as long as it lives.
  async function load(record, signal) {
    let held;
    while (!signal.aborted) {
      try {
        const { status, text, body } = await connect(REFERENCE);
        // The harness replaces the whole process when the secret is put, which production doesn't.
        if (text.startsWith("Your worker restarted")) continue;
        if (status !== 200) record.refused.push(`connect ${status} ${text}`);
        else record.kids.add(decodeProtectedHeader(body.descriptor).kid);
        for (const descriptor of [body?.descriptor, held].filter(Boolean)) {
          if (decodeJwt(descriptor).exp <= Date.now() / 1000) continue;
          const answer = await call(descriptor);
          record.calls += 1;
          if (answer.status !== 200) record.refused.push(`call ${answer.status} ${await answer.text()}`);
          else await answer.body.cancel();
        }
        if (!held || decodeJwt(held).exp <= Date.now() / 1000) held = body?.descriptor;
      } catch (error) {
        // As above.
        if (!(error instanceof TypeError)) throw error;
      }
    }
  }

  const REFERENCE = "com.example/reference";
  const call = (descriptor) =>
    fetch(server.endpoint, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-connect": descriptor,
      },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: 1,
        method: "initialize",
        params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "load", version: "1" } },
      }),
    });

  test("from Ed25519 to ES256, step by step, in the middle of a load, loses none", async () => {
    const generated = await connectctl(["keys", "generate"]);
    writeFileSync(file, generated.stdout, { mode: 0o644 });
    await put();
    server = await startReferenceServer(authority.url, REFERENCE);
    await authority.publish(REFERENCE, { endpoint: server.endpoint });

    const record = { calls: 0, kids: new Set(), refused: [] };
    const stop = new AbortController();
    const loops = Array.from({ length: 4 }, () => load(record, stop.signal));
    const someMore = async () => {
      const until = record.calls + 20;
      await eventually("the load goes on", () => record.calls > until || record.refused.length > 0);
    };
    const whenSafe = () =>
      eventually("the step is safe", async () => {
        const step = await rotate();
        if (step.code !== 0) assert.match(step.stderr, /too early .* safe in [12] s/s);
        return step.code === 0 && step;
      });
    try {
      await someMore();
      const added = await rotate("--alg", "ES256");
      assert.equal(added.code, 0, added.stderr);
      assert.match(added.stderr, /wrangler secret put SIGNING_KEYS < /);
      assert.deepEqual(statuses(), ["active", "next"]);
      assert.equal(statSync(file).mode & 0o777, 0o600);

      const unput = await rotate();
      assert.equal(unput.code, 1);
      assert.match(unput.stderr, /does not hold/);
      await put();
      await someMore();
      await whenSafe();
      assert.deepEqual(statuses(), ["retired", "active"]);
      await put();
      await someMore();
      await whenSafe();
      assert.deepEqual(statuses(), ["active"]);
      await put();
      await someMore();
    } finally {
      stop.abort();
      await Promise.all(loops);
    }
    assert.deepEqual(record.refused, []);
    assert.equal(record.kids.size, 2, "both keys have signed");
    assert.equal((await jwks()).keys[0].alg, "ES256");
  });

  test("a key of the set that was revoked is dropped without a wait, and a new one signs", async () => {
    const [{ kid }] = JSON.parse(readFileSync(file, "utf8")).keys;
    await revoke("key", kid);
    const step = await control("keys", "rotate", file);
    assert.equal(step.code, 0, step.stderr);
    assert.deepEqual(statuses(), ["active"]);
    await put();
    assert.equal((await connect()).status, 200);
    assert.notDeepEqual(await kids(), [kid]);
  });
});

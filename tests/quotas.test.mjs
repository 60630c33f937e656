// What one publisher may take of what all share: the revocation feed, the database and everybody's sessions.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { deflateSync, gzipSync } from "node:zlib";

import { decodeJwt } from "jose";

import { entry, startAuthority } from "./support/authority.mjs";
import { connectctl, startReferenceServer } from "./support/programs.mjs";
import { assertRefused, registryToken, serverJson } from "./support/registry.mjs";

const path = (name, version) =>
  `/v0.1/servers/${encodeURIComponent(name)}${version === undefined ? "" : `/versions/${encodeURIComponent(version)}`}/status`;

/// Somebody who publishes and edits below a namespace.
async function publisher(authority, namespace, method = "dns") {
  const resources = [`${namespace}/*`, `${namespace}.*`];
  const permissions = resources.flatMap((resource) => ["publish", "edit"].map((action) => ({ action, resource })));
  const bearer = await registryToken(authority, { permissions, auth_method: method, auth_method_sub: namespace });
  return {
    publish: (server) => authority.request("/v0.1/publish", { body: server, bearer }),
    edit: (server) => authority.request(path(server.name, server.version).replace(/\/status$/, ""), { method: "PUT", body: server, bearer }),
    setStatus: (status, name, version) => authority.request(path(name, version), { method: "PATCH", body: { status }, bearer }),
  };
}

const succeeded = (answer) => assert.equal(answer.status, 200, answer.text);

/// What the feed says, unsigned.
async function feed(authority) {
  const answer = await authority.request("/v1/revocations");
  assert.equal(answer.status, 200, answer.text);
  return decodeJwt(answer.text);
}

describe("a publisher who deletes much", () => {
  let authority, server, evil, good, member;
  before(async () => {
    authority = await startAuthority({ settings: { DESCRIPTOR_LIFETIME_SECONDS: "120" } });
    server = await startReferenceServer(authority.url, "com.good/server");
    await authority.publish("com.good/server", { endpoint: server.endpoint });
    [evil, good] = await Promise.all(["com.evil", "com.good"].map((namespace) => publisher(authority, namespace)));
    member = await join("com.good/server", server.endpoint);
  });
  after(() => Promise.all([authority?.stop(), server?.stop()]));

  /// A client of another tenant, in a session.
  async function join(name, endpoint) {
    const { api_key } = await authority.createClient("bystander", { tenant_id: "bystanders" });
    const send = async (message, session) => {
      // Always a fresh one: this test may take longer than a descriptor lives.
      const { body } = await authority.connect(name, api_key);
      const headers = {
        accept: "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-connect": body.descriptor,
        ...(session && { "mcp-session-id": session }),
      };
      const response = await fetch(endpoint, { method: "POST", headers, body: JSON.stringify({ jsonrpc: "2.0", id: 1, ...message }) });
      const text = await response.text();
      return { status: response.status, text, session: response.headers.get("mcp-session-id") };
    };
    const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "tests", version: "1" } };
    const { session, text } = await send({ method: "initialize", params });
    assert.ok(session, text);
    return { ask: async () => (await send({ method: "ping" }, session)).status };
  }

  /// Verified servers of the namespace, each with these versions.
  async function published(names, versions = ["1.0.0"]) {
    for (const name of names) {
      const all = versions.map((version) => entry(name, { version, endpoint: `https://mcp.evil.com/${name}` }));
      for (let from = 0; from < all.length; from += 50) await authority.importServers(...all.slice(from, from + 50));
      await authority.changeServer(name, "verify");
    }
  }

  test("by version has one entry of the server in the feed, however many and however long they are", async () => {
    const versions = Array.from({ length: 44 }, (_, n) => `${n}-${"\u{1f600}".repeat(62)}`);
    await published(["com.evil/many"], versions);
    for (const deleted of [versions, versions.slice(-3)]) {
      for (const version of deleted) succeeded(await evil.setStatus("deleted", "com.evil/many", version));
      const { all, servers, versions: told } = await feed(authority);
      assert.equal(all, undefined);
      assert.deepEqual(servers.map(({ id }) => id), ["com.evil/many"]);
      assert.deepEqual(told, []);
      assert.equal(await member.ask(), 200);
      succeeded(await evil.setStatus("active", "com.evil/many"));
    }
  });

  test("one version has an entry of its own, until there is another one", async () => {
    await published(["com.evil/two"], ["1.0.0", "1.1.0", "1.2.0"]);
    const told = async () => {
      const { servers, versions } = await feed(authority);
      return [...servers, ...versions].filter(({ id }) => id === "com.evil/two").map(({ version }) => version ?? "all");
    };
    succeeded(await evil.setStatus("deleted", "com.evil/two", "1.0.0"));
    assert.deepEqual(await told(), ["1.0.0"]);
    succeeded(await evil.setStatus("active", "com.evil/two", "1.0.0"));
    succeeded(await evil.setStatus("deleted", "com.evil/two", "1.0.0"));
    assert.deepEqual(await told(), ["1.0.0"]);
    succeeded(await evil.setStatus("deleted", "com.evil/two", "1.1.0"));
    assert.deepEqual(await told(), ["all"]);
    const { at } = (await feed(authority)).servers.find(({ id }) => id === "com.evil/two");
    await new Promise((resolve) => setTimeout(resolve, 1100));
    succeeded(await evil.setStatus("deleted", "com.evil/two", "1.2.0"));
    assert.deepEqual(await told(), ["all"]);
    const later = (await feed(authority)).servers.find(({ id }) => id === "com.evil/two");
    assert.ok(later.at > at, "the later deletion counts, too");
  });

  test("of many servers is told to wait, and nobody else notices", async () => {
    const names = Array.from({ length: 24 }, (_, n) => `com.evil.part${n % 5}/server-${n}`);
    await published(names);
    const answers = [];
    for (const name of names) answers.push(await evil.setStatus("deleted", name));
    const refused = answers.filter(({ status }) => status !== 200);
    assert.ok(refused.length >= 8, "two of its servers were told of before");
    for (const answer of refused) {
      assertRefused(answer, 429, "PATCH /v0.1/servers/{name}/status");
      assert.equal(answer.headers.get("retry-after"), "160");
    }
    assert.equal((await feed(authority)).all, undefined);
    const name = names.at(-1);
    const { server } = (await authority.request(`/v0.1/servers/${encodeURIComponent(name)}/versions/1.0.0`)).body;
    assertRefused(await evil.edit({ ...serverJson(name, { remote: "https://mcp.evil.com/other" }), description: server.description }), 429, "feed");
    // What nobody could connect to is told to nobody.
    succeeded(await evil.publish(serverJson("com.evil/unverified", { remote: "https://mcp.evil.com/unverified" })));
    succeeded(await evil.setStatus("deleted", "com.evil/unverified"));
    // What is in the feed already takes no more room.
    succeeded(await evil.setStatus("deleted", "com.evil/many"));

    await published(["com.good/other"]);
    succeeded(await good.setStatus("deleted", "com.good/other"));
    assert.ok((await feed(authority)).servers.some(({ id }) => id === "com.good/other"));
    assert.equal(await member.ask(), 200);
  });

  test("all publishers together leave room to administrators", async () => {
    const database = await authority.database();
    const rows = Array.from({ length: 300 }, (_, n) => `com.owner${n}/${"x".repeat(180)}`);
    await database.batch(
      rows.map((name) =>
        database
          .prepare(
            `INSERT INTO revocations (kind, subject, revoked_at, actor, reason, owner)
             SELECT 'server', ?1, unixepoch('now') * 1000, 'tests', 'tests', ?2
             WHERE (SELECT total(length(subject) + 40) FROM revocations WHERE owner LIKE 'publisher:%') < 16200`,
          )
          .bind(name, `publisher:${name.split("/")[0]}`),
      ),
    );
    assert.equal((await feed(authority)).all, undefined);
    await published([`com.good/${"y".repeat(180)}`]);
    assertRefused(await good.setStatus("deleted", `com.good/${"y".repeat(180)}`), 429, "no room");
    await published(Array.from({ length: 20 }, (_, n) => `com.revoked/server-${n}`));
    for (let n = 0; n < 20; n += 1) await authority.changeServer(`com.revoked/server-${n}`, "revoke");
    const { all, servers } = await feed(authority);
    assert.equal(all, undefined);
    assert.equal(servers.filter(({ id }) => id.startsWith("com.revoked/")).length, 20);
    assert.equal(await member.ask(), 200);
  });
});

describe("what is imported or mirrored", () => {
  let authority;
  before(async () => {
    authority = await startAuthority({ settings: { REQUIRE_VERIFIED: "false" } });
  });
  after(() => authority?.stop());

  test("leaves room in the feed, whatever it says deleted of", async () => {
    const versions = Array.from({ length: 100 }, (_, n) => `1.${n}.0-${"x".repeat(200)}`);
    const of = (name, status) => versions.map((version) => entry(name, { version, status }));
    const names = Array.from({ length: 300 }, (_, n) => `com.import/${"x".repeat(100)}-${n}`);
    const all = [...of("com.import/one"), ...names.map((name) => entry(name))];
    const again = [...of("com.import/one", "deleted"), ...names.map((name) => entry(name, { status: "deleted" }))];
    for (const entries of [all, again]) {
      for (let from = 0; from < entries.length; from += 100) await authority.importServers(...entries.slice(from, from + 100));
    }
    const told = await feed(authority);
    assert.equal(told.all, undefined);
    assert.equal(told.servers.filter(({ id }) => id === "com.import/one").length, 1);
    const count = told.servers.length + told.versions.length;
    assert.ok(count > 20 && JSON.stringify(told).length < 12 * 1024, `${count} entries`);
    await authority.importServers(entry("com.import/late"), entry("com.import/late", { version: "2.0.0" }));
    await authority.changeServer("com.import/late", "revoke");
    assert.ok((await feed(authority)).servers.some(({ id }) => id === "com.import/late"));
  });
});

test("keys that the authority doesn't hold are revoked within bounds, its own always", async (t) => {
  const authority = await startAuthority();
  t.after(() => authority.stop());
  const revoke = (id) => authority.admin("/revocations", { kind: "key", id, even_if_unknown: true, reason: "a test wants it" });
  const unknown = (n) => String(n).padStart(43, "k");
  for (let n = 0; n < 32; n += 1) succeeded(await revoke(unknown(n)));
  const refused = await revoke(unknown(32));
  assert.equal(refused.status, 409, refused.text);
  assert.equal(refused.body.code, "too_many_keys");
  assert.equal((await revoke(unknown(0))).body.changed, false);
  const { keys } = JSON.parse((await authority.request("/.well-known/jwks.json")).text);
  succeeded(await revoke(keys[0].kid));
});

describe("the quotas of a day", () => {
  let authority, owner;
  before(async () => {
    authority = await startAuthority({ settings: { PUBLISH_VERSIONS_PER_DAY: "5", PUBLISH_BYTES_PER_DAY: "40000" } });
    owner = await publisher(authority, "com.busy");
  });
  after(() => authority?.stop());

  test("count versions of all that is below one domain, edits too", async () => {
    const sub = await publisher(authority, "com.busy.sub");
    for (let n = 0; n < 4; n += 1) succeeded(await (n % 2 ? owner : sub).publish(serverJson(`com.busy.sub/server-${n}`)));
    succeeded(await owner.edit({ ...serverJson("com.busy.sub/server-0"), title: "Edited" }));
    assertRefused(await sub.publish(serverJson("com.busy.sub/server-5")), 429, "quota");
    const answer = await owner.edit({ ...serverJson("com.busy.sub/server-0"), title: "Again" });
    assertRefused(answer, 429, "quota");
    assert.ok(Number(answer.headers.get("retry-after")) <= 24 * 60 * 60);
    assertRefused(await owner.publish(serverJson("com.busy.sub/server-0")), 400, "duplicate");
    succeeded(await (await publisher(authority, "com.idle")).publish(serverJson("com.idle/server")));
  });

  test("count bytes, and let deletions through", async () => {
    const large = (n) => serverJson(`com.large/server-${n}`, { _meta: { "io.modelcontextprotocol.registry/publisher-provided": { text: "x".repeat(3900) } }, description: "d".repeat(100), icons: Array.from({ length: 60 }, (_, i) => ({ src: `https://large.com/${"i".repeat(180)}-${i}.png` })) });
    const giant = await publisher(authority, "com.large");
    succeeded(await giant.publish(large(0)));
    succeeded(await giant.publish(large(1)));
    assertRefused(await giant.publish(large(2)), 429, "quota");
    const flip = async (status) => (await giant.setStatus(status, "com.large/server-0")).status;
    const answers = [];
    for (let n = 0; n < 40; n += 1) answers.push(await flip("deprecated"), await flip("active"));
    assert.ok(answers.includes(429), answers.join());
    assert.equal(await flip("deleted"), 200);
  });
});

describe("publishing is closed", () => {
  const LOGINS = ["dns", "http", "github-at", "github-oidc", "oidc", "none"];
  const bodies = {
    dns: { domain: "example.com", timestamp: "2025-01-01T00:00:00Z", signed_timestamp: "00" },
    http: { domain: "example.com", timestamp: "2025-01-01T00:00:00Z", signed_timestamp: "00" },
    "github-at": { github_token: "gho" },
    "github-oidc": { oidc_token: "a.b.c" },
    oidc: { oidc_token: "a.b.c" },
  };
  const logIn = (authority, login) => authority.request(`/v0/auth/${login}`, { method: "POST", body: bodies[login] });

  test("until the operator opens it, for each way to log in", async (t) => {
    const authority = await startAuthority({ settings: { PUBLISH_LOGINS: undefined } });
    t.after(() => authority.stop());
    for (const login of LOGINS) assertRefused(await logIn(authority, login), 404, "PUBLISH_LOGINS");
    const dns = await publisher(authority, "com.example", "dns");
    assertRefused(await dns.publish(serverJson("com.example/one")), 403, "closed");
    await authority.configure({ PUBLISH_LOGINS: "http" });
    for (const login of LOGINS) {
      const { status } = await logIn(authority, login);
      assert.equal(status, login === "http" ? 401 : 404, login);
    }
    assertRefused(await dns.publish(serverJson("com.example/one")), 403, "closed");
    succeeded(await (await publisher(authority, "com.example", "http")).publish(serverJson("com.example/one")));
  });

  test("where only the reserve of the database is left, which is for administrators", async (t) => {
    const authority = await startAuthority({ settings: { DATABASE_MAX_BYTES: "1000000000" } });
    t.after(() => authority.stop());
    const owner = await publisher(authority, "com.example");
    succeeded(await owner.publish(serverJson("com.example/one")));
    const { database } = (await authority.admin("/stats")).body;
    assert.deepEqual({ ...database, bytes: 0 }, { bytes: 0, max_bytes: 1_000_000_000, reserve_bytes: 100_000_000 });
    assert.ok(database.bytes > 100_000, database.bytes);
    assert.match((await authority.admin("/metrics")).text, /^connect_authority_database_bytes \d+$/m);

    const full = { DATABASE_MAX_BYTES: String(database.bytes + 1000), DATABASE_RESERVE_BYTES: "1000" };
    await authority.configure(full);
    assertRefused(await owner.publish(serverJson("com.example/two")), 507, "nearly full");
    assertRefused(await owner.edit({ ...serverJson("com.example/one"), title: "A" }), 507, "nearly full");
    assertRefused(await owner.setStatus("deprecated", "com.example/one"), 507, "nearly full");
    succeeded(await owner.setStatus("deleted", "com.example/one"));
    succeeded(await authority.admin("/servers/com.example/one/revoke", { reason: "a test wants it" }));
    await authority.importServers(entry("com.example/imported"));
  });
});

describe("what could never be connected to", () => {
  let authority, database;
  before(async () => {
    authority = await startAuthority();
    database = await authority.database();
    const owner = await publisher(authority, "com.spam");
    const other = await publisher(authority, "com.spammer");
    const remote = (name) => ({ remote: `https://mcp.example.com/${name}` });
    for (const version of ["1.0.0", "1.1.0"]) succeeded(await owner.publish(serverJson("com.spam/junk", { version, ...remote("junk") })));
    succeeded(await owner.edit(serverJson("com.spam/junk", { version: "1.0.0", ...remote("junk"), title: "Junk" })));
    succeeded(await owner.publish(serverJson("com.spam.below/junk", remote("below"))));
    succeeded(await owner.publish(serverJson("com.spam/known", remote("known"))));
    succeeded(await owner.publish(serverJson("com.spam/revoked", remote("revoked"))));
    succeeded(await other.publish(serverJson("com.spammer/other", remote("other"))));
    await authority.changeServer("com.spam/known", "verify");
    succeeded(await owner.publish(serverJson("com.spam/known", { version: "2.0.0" })));
    await authority.changeServer("com.spam/known", "unverify");
    await authority.changeServer("com.spam/revoked", "revoke");
  });
  after(() => authority?.stop());

  const purge = async (body) => {
    const answer = await authority.admin("/purge", { reason: "spam", ...body });
    assert.equal(answer.status, 200, answer.text);
    return answer.body;
  };
  const found = ({ servers }) => servers.map(({ name, versions }) => `${name} ${versions}`);
  const names = async () =>
    (await database.prepare("SELECT s.name || '@' || v.version AS id FROM versions v JOIN servers s ON s.id = v.server_id ORDER BY 1").all()).results.map(({ id }) => id);

  test("is shown first, and goes when it is said so, each version with its audit row", async () => {
    const before = await names();
    const shown = await purge({ namespace: "com.spam", dry_run: true });
    assert.deepEqual(found(shown), ["com.spam.below/junk 1", "com.spam/junk 2", "com.spam/known 1"]);
    assert.deepEqual([shown.purged, shown.next, await names()], [0, undefined, before]);
    assert.deepEqual(found(await purge({ namespace: "com.spam", published_before: "2020-01-01T00:00:00Z" })), []);
    assert.deepEqual(await names(), before);

    assert.equal((await purge({ namespace: "com.spam" })).purged, 4);
    assert.deepEqual(await names(), ["com.spam/known@1.0.0", "com.spam/revoked@1.0.0", "com.spammer/other@1.0.0"]);
    const { entries } = (await authority.admin("/audit?action=version.purge")).body;
    assert.deepEqual(entries.map(({ subject, reason }) => `${subject} ${reason}`).sort(), [
      "com.spam.below/junk@1.0.0 spam",
      "com.spam/junk@1.0.0 spam",
      "com.spam/junk@1.1.0 spam",
      "com.spam/known@2.0.0 spam",
    ]);
    assert.equal((await authority.request("/v0.1/servers/com.spam%2Fjunk/versions/latest")).status, 404);
    assert.equal((await authority.request("/v0.1/servers/com.spam%2Fknown/versions/latest")).body.server.version, "1.0.0");
    assert.deepEqual((await authority.request("/v0.1/servers?search=junk")).body.servers, []);
    assert.deepEqual((await authority.request("/v0.1/x/org.mcp-connect/search?q=junk")).body.servers, []);
    const { results } = await database.prepare("PRAGMA foreign_key_check").all();
    assert.deepEqual(results, []);
    for (const table of ["purging", "editions"]) {
      assert.equal((await database.prepare(`SELECT count(*) AS n FROM ${table}`).first()).n, 0, table);
    }
    assert.equal((await purge({ namespace: "com.spam" })).purged, 0);
    succeeded(await (await publisher(authority, "com.spam")).publish(serverJson("com.spam/junk")));
  });

  test("is less where servers need not be verified, and no version goes by hand", async () => {
    await authority.configure({ REQUIRE_VERIFIED: "false" });
    assert.deepEqual(found(await purge({ dry_run: true })), ["com.spam/junk 1"], "it has no endpoint");
    await assert.rejects((await authority.database()).prepare("DELETE FROM versions").run(), /never goes/);
    await authority.configure({});
    assert.equal((await authority.admin("/purge", { reason: "spam", namespace: "com.spam/*" })).status, 400);
    assert.equal((await authority.admin("/purge", { reason: "spam", published_before: "yesterday" })).status, 400);
  });

  test("goes by connectctl, too", async () => {
    const ctl = (...args) => connectctl(["--authority", authority.url, "--operator-token", authority.operatorToken, "servers", "purge", ...args]);
    const shown = await ctl("--all", "--dry-run", "--reason", "spam");
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stdout, /com\.spammer\/other[\s\S]*2 versions would go/);
    const gone = await ctl("--namespace", "com.spammer", "--reason", "spam");
    assert.match(gone.stdout, /1 versions purged/, gone.stderr);
    assert.equal((await ctl("--reason", "spam")).code, 2, "of all, only when that is said");
  });
});

describe("JSON that can't be read", () => {
  let authority, owner;
  before(async () => {
    authority = await startAuthority();
    owner = await registryToken(authority, { permissions: [{ action: "publish", resource: "*" }] });
  });
  after(() => authority?.stop());

  const send = async (path, body, headers, method = "POST") => {
    const response = await fetch(`${authority.url}${path}`, { method, headers, body });
    return { status: response.status, text: await response.text() };
  };

  test("is told what it is, at each endpoint", async () => {
    const { api_key } = await authority.createClient("desktop");
    const client = { authorization: `Bearer ${api_key}` };
    const operator = { authorization: `Bearer ${authority.operatorToken}` };
    const bearer = { authorization: `Bearer ${owner}` };
    const utf16 = (text) => Buffer.from(text, "utf16le");
    const bodies = [
      ["\u{feff}{}", /byte order mark/],
      [Buffer.concat([Buffer.of(0xff, 0xfe), utf16("{}")]), /UTF-16/],
      [utf16('{"a":1}'), /UTF-16/],
      [gzipSync("{}"), /compressed/, { "content-encoding": "gzip" }],
      [deflateSync("{}"), /compressed/, { "content-encoding": "deflate" }],
      ['{"a":"\\ud800"}', /lone surrogate/],
      [Buffer.of(0x7b, 0x22, 0xe9, 0x22, 0x3a, 0x31, 0x7d), /UTF-8/],
      ["  ", /empty/],
      ["", /empty|required/],
    ];
    const endpoints = [
      ["/v1/connect", client],
      ["/v1/admin/tenants", operator],
      ["/v1/admin/policy", operator],
      ["/v1/admin/import", operator],
      ["/v0.1/publish", bearer],
      ["/v0.1/validate", {}],
      ["/v0/auth/dns", {}],
      ["/v0.1/servers/com.example%2Fone/status", bearer, "PATCH"],
    ];
    for (const [path, credential, method] of endpoints) {
      for (const [body, said, headers] of bodies) {
        const answer = await send(path, body, { ...credential, ...headers }, method);
        assert.equal(answer.status, 400, `${path} ${said}: ${answer.text}`);
        assert.match(answer.text, said, path);
      }
    }
  });

  test("nests 64 levels at most, published or imported", async () => {
    const nested = (levels) => {
      let value = 1;
      for (let level = 0; level < levels; level += 1) value = level % 2 ? [value] : { a: value };
      return value;
    };
    // The object itself, _meta and the publisher's part of it are three.
    const of = (name, levels) =>
      serverJson(name, { _meta: { "io.modelcontextprotocol.registry/publisher-provided": { a: nested(levels - 3) } } });
    const deepest = await send("/v0.1/publish", JSON.stringify(of("com.deep/most", 64)), { authorization: `Bearer ${owner}` });
    assert.equal(deepest.status, 200, deepest.text);
    for (const levels of [65, 66, 100, 200]) {
      const deeper = of("com.deep/more", levels);
      const refused = await send("/v0.1/publish", JSON.stringify(deeper), { authorization: `Bearer ${owner}` });
      assert.equal(refused.status, 400, `${levels}: ${refused.text}`);
      assert.match(refused.text, /64 levels/);
      const [{ outcome, reason }] = await authority.importServers({ server: deeper, _meta: {} });
      assert.equal(outcome, "refused");
      assert.match(reason, /64 levels/);
    }
    const imported = entry("com.deep/imported");
    const meta = (levels) => ({ ...imported, _meta: { ...imported._meta, "com.example/x": nested(levels) } });
    const [refused] = await authority.importServers(meta(64));
    assert.match(refused.reason, /_meta: nested deeper than 64 levels/);
    const [taken] = await authority.importServers(meta(63));
    assert.equal(taken.outcome, "imported");
  });
});

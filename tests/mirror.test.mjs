// Mirroring another registry: what it says reaches connects, what is decided here stays, and no entry
// of it, however broken, holds the others back.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { join } from "node:path";

import { entry, eventually, REPOSITORY, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";
import { Site } from "./support/site.mjs";
import { Upstream } from "./support/upstream.mjs";

const CRON = "*/5 * * * *";
const OFFICIAL = "io.modelcontextprotocol.registry/official";

let authority, key, upstream;

before(async () => {
  authority = await startAuthority({ settings: { REQUIRE_VERIFIED: "false" } });
  key = (await authority.createClient("desktop")).api_key;
});
after(() => authority?.stop());
beforeEach(async () => {
  upstream = await Upstream.start();
  await authority.configure({ UPSTREAM_REGISTRY: upstream.origin });
  // Of the upstream before, a sweep meets nothing.
  const db = await authority.database();
  await db.prepare("UPDATE versions SET status = 'deleted' WHERE server_id IN (SELECT id FROM servers WHERE upstream IS NOT NULL)").run();
});
afterEach(() => upstream.stop());

let names = 0;
const name = () => `com.example/server-${++names}`;
const server = (of, { official, ...members } = {}) => {
  const { server } = entry(of, { endpoint: `https://mcp.example.com/${of}`, ...members });
  return { server, _meta: { [OFFICIAL]: official } };
};

async function status() {
  const { status, body, text } = await authority.admin("/mirror");
  assert.equal(status, 200, text);
  return body;
}

/// A run of the cron that comes to its end.
async function follow() {
  await authority.scheduled(CRON);
  assert.equal((await status()).problem, undefined);
}

/// What came since a sweep began, it need not meet; and an upstream dates that to the second.
async function nextSecond() {
  const now = Date.now();
  await eventually("the next second", () => Date.now() - now > 1000);
}

/// A sweep of everything, to its end.
async function sweep() {
  const { status, body, text } = await authority.admin("/mirror/sync", { sweep: true });
  assert.equal(status, 200, text);
  assert.equal(body.done, true);
  return body;
}

async function poison() {
  return Object.fromEntries((await authority.admin("/mirror/poison?limit=100")).body.poison.map((row) => [row.subject, row.reason]));
}

const connect = (reference) => authority.connect(reference, key);
async function assertConnects(reference) {
  const { status, text, body } = await connect(reference);
  assert.equal(status, 200, text);
  return body;
}

/// What the registry says of a version, as it tells its own followers.
async function told(id, version) {
  let found;
  for (let seq = 0, more = true; more; ) {
    const { body } = await authority.request(`/v1/changes?after=${seq}&limit=100`);
    ({ seq, more } = body);
    found = body.changes.find((change) => change.id === id && change.version === version) ?? found;
  }
  return found;
}

describe("a mirrored registry", () => {
  test("is there as it says of itself, what is deleted included, and nobody else's _meta is touched", async () => {
    const [a, b] = [name(), name()];
    const dates = {
      publishedAt: "2025-12-03T16:45:12.14883Z",
      statusChangedAt: "2025-12-04T00:00:00.000001Z",
      updatedAt: "2025-12-05T00:00:00Z",
    };
    const deprecated = server(a, { version: "1.0.0", custom: { n: 1 }, official: { ...dates, status: "deprecated", statusMessage: "old" } });
    deprecated._meta["com.example.other/notes"] = { stars: 5 };
    deprecated._meta["org.mcp-connect/authority"] = { verified: "operator" };
    upstream.put(
      deprecated,
      server(a, { version: "1.10.0", official: dates }),
      server(a, { version: "1.9.0", official: { ...dates, isLatest: true } }),
      server(b, { official: { ...dates, status: "deleted" } }),
    );
    await follow();
    const old = await told(a, "1.0.0");
    assert.deepEqual(old.server, deprecated.server);
    assert.deepEqual(old._meta, {
      [OFFICIAL]: { ...dates, status: "deprecated", statusMessage: "old", isLatest: false },
      "com.example.other/notes": { stars: 5 },
      "org.mcp-connect/authority": { moderation: "active" },
    });
    const latest = async (version) => (await told(a, version))._meta[OFFICIAL].isLatest;
    assert.deepEqual([await latest("1.9.0"), await latest("1.10.0")], [false, true]);
    assert.equal((await assertConnects(a)).endpoint, `https://mcp.example.com/${a}`);
    assert.equal((await connect(b)).status, 403);
    assert.deepEqual(await poison(), {});
  });

  test("is asked only for what changed of late, and that ends use at once", async () => {
    const [a, b] = [name(), name()];
    upstream.put(server(a), server(b));
    await follow();
    await assertConnects(a);
    upstream.asked.length = 0;
    upstream.change(a, "1.0.0", { status: "deleted", statusMessage: "malware" });
    await follow();
    assert.equal(upstream.asked.length, 1);
    const since = Date.parse(upstream.asked[0].get("updated_since"));
    assert.ok(Date.now() - since < 16 * 60_000 && Date.now() - since > 14 * 60_000);
    assertProblem(await connect(a), 403, "server_revoked");
    const withdrawn = (await authority.admin("/revocations")).body.revocations.find(({ id }) => id === `${a}@1.0.0`);
    assert.deepEqual([withdrawn.kind, withdrawn.reason], ["version", "malware"]);

    upstream.change(a, "1.0.0", { status: "active", statusMessage: undefined });
    await follow();
    await assertConnects(a);
    const { body } = await authority.admin(`/audit?subject=${a}`);
    const trail = body.entries.map(({ actor, action, detail }) => [actor, action, detail]);
    assert.deepEqual(trail, [
      ["mirror", "version.status", "active"],
      ["mirror", "version.status", "deleted"],
      ["mirror", "version.import", "active"],
    ]);
  });

  test("is heard of again without anything being written where nothing changed", async () => {
    upstream.put(server(name()));
    await follow();
    const head = async () => (await authority.request("/v1/changes?limit=1")).body;
    const before = await authority.admin("/audit?limit=1");
    const seq = (await told(`com.example/server-${names}`, "1.0.0")).seq;
    await follow();
    await sweep();
    assert.equal((await told(`com.example/server-${names}`, "1.0.0")).seq, seq);
    assert.deepEqual((await authority.admin("/audit?limit=1")).body, before.body);
    assert.ok(await head());
  });

  test("does not say that a version is the latest no more: followers of ours are told", async () => {
    const a = name();
    upstream.put(server(a));
    await follow();
    const { seq } = await told(a, "1.0.0");
    upstream.put(server(a, { version: "2.0.0" }));
    await follow();
    const moved = await told(a, "1.0.0");
    assert.ok(moved.seq > seq);
    assert.equal(moved._meta[OFFICIAL].isLatest, false);
  });

  test("may edit, but not past a policy's pin", async () => {
    const a = name();
    upstream.put(server(a));
    await follow();
    await authority.setPolicy({ allow: ["*"], versions: [{ servers: a, pin: "1.0.0" }] });
    try {
      await assertConnects(a);
      upstream.change(a, "1.0.0", {}, entry(a, { endpoint: "https://moved.example.com/mcp" }).server);
      await follow();
      assertProblem(await connect(a), 403, "policy_blocked", "edited since");
      const { digest } = (await authority.request(`/v1/servers/${a}`)).body;
      await authority.setPolicy({ allow: ["*"], versions: [{ servers: a, pin: "1.0.0", digest }] });
      assert.equal((await assertConnects(a)).endpoint, "https://moved.example.com/mcp");
    } finally {
      await authority.setPolicy({ allow: ["*"] });
    }
  });

  test("may edit: what it said before is kept, and descriptors of another endpoint end", async () => {
    const a = name();
    upstream.put(server(a));
    await follow();
    upstream.change(a, "1.0.0", {}, entry(a, { endpoint: "https://other.example.com/mcp", title: "New" }).server);
    await follow();
    assert.equal((await assertConnects(a)).endpoint, "https://other.example.com/mcp");
    assert.equal((await authority.request(`/v1/servers/${a}`)).body.title, "New");
    const { body } = await authority.admin("/revocations");
    assert.equal(body.revocations[0].reason, "its endpoint changed");
    const db = await authority.database();
    const { results } = await db
      .prepare("SELECT e.edition, e.server_json FROM editions e JOIN versions v ON v.id = e.version_id JOIN servers s ON s.id = v.server_id WHERE s.name = ?")
      .bind(a)
      .all();
    assert.deepEqual(results.map(({ edition, server_json }) => [edition, JSON.parse(server_json)]), [[1, server(a).server]]);
  });

  test("overwrites no decision that was made here", async () => {
    const a = name();
    upstream.put(server(a));
    await follow();
    await authority.changeServer(a, "verify");
    await authority.changeServer(`${a}@1.0.0`, "quarantine");
    await authority.changeServer(a, "revoke");
    upstream.change(a, "1.0.0", { status: "deprecated" }, { title: "New" });
    upstream.put(server(a, { version: "1.1.0" }));
    await follow();
    await sweep();
    assert.equal((await told(a, "1.0.0"))._meta["org.mcp-connect/authority"].moderation, "quarantined");
    const { body } = await authority.request(`/v1/servers/${a}`);
    assert.deepEqual([body.version, body.status, body.verification], ["1.1.0", "revoked", "operator"]);
    assertProblem(await connect(a), 403, "server_revoked");
  });

  test("does not touch a name that is published here, and its own names are not published here", async () => {
    const [ours, theirs] = [name(), name()];
    await authority.importServers(entry(ours, { endpoint: "https://ours.example.com/mcp" }));
    upstream.put(server(ours), server(ours, { version: "9.0.0", official: { status: "deleted" } }), server(theirs));
    await follow();
    assert.equal((await assertConnects(ours)).endpoint, "https://ours.example.com/mcp");
    assert.deepEqual(await poison(), {
      [`${ours}@1.0.0`]: "name: is published here",
      [`${ours}@9.0.0`]: "name: is published here",
    });
    const [{ outcome, reason }] = await authority.importServers(entry(theirs, { version: "2.0.0" }));
    assert.deepEqual([outcome, reason], ["refused", `name: is mirrored from ${upstream.origin}`]);
    await assertConnects(theirs);
  });

  test("has its broken entries set aside, with the reason, until they are mended", async () => {
    const [a, b, c] = [name(), name(), name()];
    const broken = { server: { name: a, version: "1.0.0" }, _meta: {} };
    upstream.put(server(b));
    await follow();
    upstream.entries.set(`${a}:1.0.0`, broken);
    upstream.entries.set("?1", { server: { name: 7 } });
    upstream.entries.set("?2", null);
    upstream.put(server(c));
    // Still heard: it may not be used any more.
    upstream.put({ server: { name: b, version: "1.0.0" }, _meta: { [OFFICIAL]: { status: "deleted" } } });
    await follow();
    await assertConnects(c);
    assertProblem(await connect(b), 403, "server_revoked");
    const found = await poison();
    assert.match(found[`${a}@1.0.0`], /^server: description: is missing/);
    assert.equal(Object.keys(found).length, 4);
    assert.equal((await status()).poison, 4);

    const settings = ["--authority", authority.url, "--operator-token", authority.operatorToken];
    const listed = await connectctl([...settings, "mirror", "rejected"]);
    assert.equal(listed.code, 0, listed.stderr);
    assert.equal((await connectctl([...settings, "mirror", "poison"])).stdout, listed.stdout, "the old name goes on working");
    assert.match(listed.stdout, new RegExp(`${a}@1.0.0 .*description: is missing`));

    upstream.entries.delete("?1");
    upstream.entries.delete("?2");
    await nextSecond();
    upstream.put(server(a), server(b));
    await follow();
    await sweep();
    assert.deepEqual(await poison(), {});
    await assertConnects(a);
    await assertConnects(b);
  });

  test("ends use by any entry that says deleted, also one that is contradicted or that D1 refuses", async () => {
    const [a, b, c] = [name(), name(), name()];
    upstream.put(server(a), server(b), server(c));
    await follow();
    const deleted = server(a, { title: "Other", official: { status: "deleted", updatedAt: new Date().toISOString() } });
    upstream.entries.set(`${a}:1.0.0 again`, deleted);
    upstream.change(b, "1.0.0", { status: "deleted" }, { title: "Refused" });
    upstream.change(c, "1.0.0", {}, { title: "Taken" });
    const db = await authority.database();
    await db.prepare("CREATE TRIGGER refused BEFORE UPDATE OF edition ON versions WHEN new.title = 'Refused' BEGIN SELECT RAISE(ABORT, 'refused'); END").run();
    try {
      await follow();
    } finally {
      await db.prepare("DROP TRIGGER refused").run();
    }
    assertProblem(await connect(a), 403, "server_revoked");
    assertProblem(await connect(b), 403, "server_revoked");
    await assertConnects(c);
    const found = await poison();
    assert.equal(found[`${a}@1.0.0`], "version: the same page says deleted of it");
    assert.match(found[`${b}@1.0.0`], /refused/);

    // Said again, it is no news.
    const dates = async () => {
      const { revocations } = (await authority.admin("/revocations")).body;
      return [a, b].map((of) => revocations.find(({ id }) => id === `${of}@1.0.0`).revoked_at);
    };
    const before = await dates();
    await follow();
    await sweep();
    assert.deepEqual(await dates(), before);
    assertProblem(await connect(a), 403, "server_revoked");
  });

  test("gives a version a status that nobody knows: nobody connects to it until it can be read", async () => {
    const [a, b, c] = [name(), name(), name()];
    for (const official of [{ status: "yanked" }, { status: "Active" }, { status: null }, { status: ["active"] }, "active"]) {
      upstream.put(server(a), server(b));
      await follow();
      await assertConnects(a);
      authority.clearLog();
      const entry = upstream.entries.get(`${a}:1.0.0`);
      const said = typeof official === "string" ? official : { ...entry._meta[OFFICIAL], ...official, updatedAt: new Date().toISOString() };
      upstream.entries.set(`${a}:1.0.0`, { ...entry, _meta: { ...entry._meta, [OFFICIAL]: said } });
      upstream.put(server(c, { official: { updatedAt: new Date().toISOString() } }));
      await follow();
      assertProblem(await connect(a), 403, "server_revoked");
      await assertConnects(b);
      await assertConnects(c);
      const events = authority.logged("mirror_status_unreadable");
      assert.deepEqual(events.map(({ level, server_id }) => [level, server_id]), [["error", a]], JSON.stringify(official));
      const { revocations } = (await authority.admin("/revocations")).body;
      assert.match(revocations.find(({ id }) => id === `${a}@1.0.0`).reason, /status that this authority does not know/);
      assert.ok((await poison())[`${a}@1.0.0`], "it is set aside, with the reason");
      // One that was never known is not taken in.
      upstream.put(server(name(), { official: { status: "yanked" } }));
      await follow();
      await nextSecond();
    }
    upstream.put(server(a));
    await follow();
    await assertConnects(a);
  });

  test("writes null for what is empty, as Go does, and other odd things, without holding the crawl", async () => {
    const a = name();
    upstream.put(server(a));
    await follow();
    const json = (response, body) => {
      response.writeHead(200, { "content-type": "application/json" }).end(body);
      return true;
    };
    for (const body of [
      `{"servers":null,"metadata":null}`,
      `{"servers":null}`,
      `{"servers":[],"metadata":[]}`,
      `{"servers":[null,7,"x",[],{},{"server":null,"_meta":null}],"metadata":{"nextCursor":null}}`,
      `\ufeff{"servers":[],"metadata":{}}`,
    ]) {
      upstream.intervene = (_, response) => json(response, body);
      await follow();
      assert.equal((await status()).crawls.find(({ crawl }) => crawl === "changes").began_at, undefined, body);
    }
    // An entry that is no UTF-8 is that entry's fault; what registries have nothing to say of is null.
    const [b, c] = [name(), name()];
    const [before, after] = `{"servers":[{"server":${JSON.stringify(server(b).server)},"_meta":{"${OFFICIAL}":null}},{"server":{"name":"com.example/\u0000"}}],"metadata":null}`.split("\u0000");
    const page = Buffer.concat([Buffer.from(before), Buffer.from([0xff]), Buffer.from(after)]);
    upstream.intervene = (_, response) => json(response, page);
    await follow();
    await assertConnects(b);
    upstream.intervene = () => false;
    upstream.put({ server: { ...server(c).server, title: null, remotes: server(c).server.remotes }, _meta: null });
    await follow();
    await assertConnects(c);
    await assertConnects(a);
  });

  test("is not asked again before it wants to be", async () => {
    const day = 24 * 60 * 60 * 1000;
    const waits = async (ahead) => {
      const db = await authority.database();
      const { waits_until } = await db.prepare("SELECT waits_until FROM mirror").first();
      assert.ok(Math.abs(waits_until - Date.now() - ahead) < 60_000, `${waits_until - Date.now()} for ${ahead}`);
      await db.prepare("UPDATE mirror SET waits_until = 1").run();
    };
    for (const [header, ahead] of [
      ["3600", 3_600_000],
      [new Date(Date.now() + 7_200_000).toUTCString(), 7_200_000],
      ["999999999", day],
    ]) {
      upstream.intervene = (_, response) => response.writeHead(503, { "retry-after": header }).end();
      upstream.asked.length = 0;
      const refused = await authority.admin("/mirror/sync", {});
      assertProblem(refused, 502, "upstream_failed", "the upstream answers 503 and asks to wait until 20");
      assert.equal(upstream.asked.length, 1);
      assertProblem(await authority.admin("/mirror/sync", {}), 502, "upstream_failed", "asked not to be asked before 20");
      await authority.scheduled(CRON);
      assert.equal(upstream.asked.length, 1, "it is left alone");
      await waits(ahead);
    }
    upstream.intervene = () => false;
    await follow();
  });

  test("that withdraws what nobody can have been sent to does not fill the revocation feed", async () => {
    const [verified, unverified, unreachable, gone, unreadable] = Array.from({ length: 5 }, name);
    const all = [verified, unverified, unreachable, gone, unreadable];
    const revoked = async () => {
      const { revocations } = (await authority.admin("/revocations?limit=100")).body;
      return all.filter((name) => revocations.some(({ id }) => id.startsWith(`${name}@`)));
    };
    const withdraw = async () => {
      for (const name of [verified, unverified, unreachable]) upstream.change(name, "1.0.0", { status: "deleted" });
      upstream.entries.delete(`${gone}:1.0.0`);
      upstream.put({ server: { name: unreadable, version: "1.0.0" }, _meta: { [OFFICIAL]: { status: "deleted" } } });
      await follow();
      await sweep();
      for (const name of all) assert.notEqual((await connect(name)).status, 200);
    };
    const restore = async () => {
      const db = await authority.database();
      await db.prepare("DELETE FROM revocations").run();
      upstream.put(server(verified), server(unverified), server(unreachable, { endpoint: null }), server(gone), server(unreadable));
      await follow();
      await nextSecond();
    };
    await restore();
    await authority.changeServer(verified, "verify");
    await withdraw();
    assert.deepEqual(await revoked(), [verified, unverified, gone, unreadable]);
    await authority.configure({ UPSTREAM_REGISTRY: upstream.origin, REQUIRE_VERIFIED: "true" });
    await restore();
    upstream.change(unverified, "1.0.0", {}, server(unverified, { endpoint: "https://mcp.example.com/elsewhere" }).server);
    await follow();
    await withdraw();
    assert.deepEqual(await revoked(), [verified]);
  });

  test("is swept although what changed is refused, or leads in a circle, or without an end", async () => {
    upstream.put(server(name()));
    await follow();
    const page = (nextCursor) => JSON.stringify({ servers: [], metadata: { nextCursor } });
    for (const [changes, problem, most] of [
      [(_, response) => response.writeHead(503).end(), "the upstream answers 503", 1],
      [(cursor, response) => response.writeHead(200).end(page({ a: "b", b: "c" }[cursor] ?? "a")), /circle/, 7],
      [(cursor, response) => response.writeHead(200).end(page(`${cursor}x`)), undefined, 20],
    ]) {
      const old = { updatedAt: "2026-01-01T00:00:00Z" };
      const all = Array.from({ length: 250 }, name);
      upstream.put(...all.map((name) => server(name, { official: old })));
      let asked = 0;
      upstream.intervene = (url, response) => {
        if (!url.searchParams.has("updated_since")) return false;
        asked += 1;
        changes(url.searchParams.get("cursor"), response);
        return true;
      };
      await authority.admin("/mirror/sync", { sweep: true });
      assert.ok(asked <= most, `${asked} questions`);
      const { problem: told } = await status();
      if (problem instanceof RegExp) assert.match(told, problem);
      else assert.equal(told, problem);
      for (const name of [all[0], all.at(-1)]) await assertConnects(name);
      upstream.entries.clear();
    }
    // Nothing is held against it, once it has come to the end of that.
    upstream.intervene = () => false;
    const a = name();
    upstream.put(server(a));
    await follow();
    await follow();
    await assertConnects(a);
  });

  test("is gone through further where a run broke off", async () => {
    const all = Array.from({ length: 250 }, name);
    // Of long ago: only the sweep meets them.
    upstream.put(...all.map((name) => server(name, { official: { updatedAt: "2026-01-01T00:00:00Z" } })));
    const last = [...all].sort()[199];
    upstream.intervene = (url, response) => url.searchParams.get("cursor")?.startsWith(last) && response.writeHead(503).end();
    await authority.scheduled(CRON);
    const broken = await status();
    assert.equal(broken.problem, "the upstream answers 503");
    assert.equal(broken.crawls.find(({ crawl }) => crawl === "sweep").entries, 200);
    await assertConnects(last);
    upstream.intervene = () => false;
    upstream.asked.length = 0;
    await follow();
    assert.deepEqual(upstream.asked.map((asked) => asked.get("cursor")), [null, `${last}:1.0.0`]);
    for (const name of all) await assertConnects(name);
  });

  test("is gone through from the beginning where it does not know its cursor any more", async () => {
    const all = Array.from({ length: 120 }, name);
    upstream.put(...all.map((name) => server(name)));
    upstream.intervene = (url, response) => url.searchParams.has("cursor") && response.writeHead(400).end();
    await authority.scheduled(CRON);
    assert.match((await status()).problem, /cursor/);
    upstream.intervene = () => false;
    await follow();
    await assertConnects([...all].sort()[119]);
  });

  test("is asked for smaller pages where its entries are long", async () => {
    const long = "x".repeat(200_000);
    const all = Array.from({ length: 50 }, name);
    upstream.put(...all.map((name) => server(name, { long })));
    await follow();
    assert.deepEqual(new Set(upstream.asked.map((asked) => asked.get("limit"))), new Set(["100", "10"]));
    for (const name of all) await assertConnects(name);
    assert.deepEqual(await poison(), {});
  });

  test("no longer has what a sweep does not meet, unless that is too much to be true", async () => {
    const all = Array.from({ length: 40 }, name);
    upstream.put(...all.map((name) => server(name)));
    await follow();
    const [gone] = all;
    upstream.entries.delete(`${gone}:1.0.0`);
    await follow();
    await assertConnects(gone);
    await nextSecond();
    await sweep();
    assertProblem(await connect(gone), 403, "server_revoked");
    assert.deepEqual(await poison(), {});

    for (const name of all.slice(1, 30)) upstream.entries.delete(`${name}:1.0.0`);
    await sweep();
    await assertConnects(all[1]);
    assert.match((await poison())["*@*"], /no longer listed/);

    upstream.put(server(gone));
    await follow();
    await assertConnects(gone);
  });

  test("is followed by one at a time", async () => {
    upstream.put(...Array.from({ length: 230 }, name).map((name) => server(name)));
    const answers = await Promise.all([1, 2, 3, 4].map(() => authority.admin("/mirror/sync", {})));
    for (const { status, text } of answers) assert.equal(status, 200, text);
    assert.ok(answers.some(({ body }) => body.done));
    const imported = answers.reduce((sum, { body }) => sum + body.imported, 0);
    assert.ok(imported >= 230, `${imported} imported`);
    await follow();
    assert.equal((await told(`com.example/server-${names}`, "1.0.0")).version, "1.0.0");
  });

  test("that does not answer as a registry is a problem that is told", async () => {
    const problems = [];
    for (const answer of [
      (response) => response.writeHead(200).end("<html>"),
      (response) => response.writeHead(200).end(`{"metadata":{}}`),
      (response) => response.writeHead(200).end(`{"servers":[],"metadata":{"nextCursor":"${"c".repeat(3000)}"}}`),
      (response) => response.writeHead(429).end(),
      (response) => response.destroy(),
      (response) => response.writeHead(200).end(JSON.stringify({ servers: Array(101).fill({}) })),
    ]) {
      upstream.intervene = (_, response) => {
        answer(response);
        return true;
      };
      const { status: code, body } = await authority.admin("/mirror/sync", {});
      assert.deepEqual([code, body.code], [502, "upstream_failed"]);
      problems.push((await status()).problem);
    }
    assert.match(problems[0], /^the upstream's list: /);
    assert.match(problems[1], /servers: is missing/);
    assert.match(problems[2], /cursor is too long/);
    assert.equal(problems[3], "the upstream answers 429");
    assert.match(problems[4], /^the upstream/);
    assert.match(problems[5], /more entries than were asked for/);

    upstream.intervene = (_, response) => response.writeHead(200).end(`{"servers":[],"metadata":{"nextCursor":"a"}}`);
    await authority.admin("/mirror/sync", {});
    assert.match((await status()).problem, /circle/);
  });
});

describe("the administration of a mirror", () => {
  const run = async (...args) => {
    const settings = ["--authority", authority.url, "--operator-token", authority.operatorToken];
    const { code, stdout, stderr } = await connectctl([...settings, "mirror", ...args]);
    assert.equal(code, 0, stderr);
    return stdout;
  };

  test("is connectctl's", async () => {
    const all = Array.from({ length: 130 }, name);
    upstream.put(...all.map((name) => server(name)));
    assert.match(await run("sync"), /130 new/);
    assert.match(await run("sync", "--sweep"), /0 new/);
    const shown = await run("status");
    assert.ok(shown.includes(upstream.origin), shown);
    const json = JSON.parse(await run("status", "--json"));
    assert.equal(json.following, true);
    assert.equal(json.crawls.find(({ crawl }) => crawl === "sweep").entries, 130);
  });

  test("says where there is nothing to follow, or nothing that can be", async () => {
    await authority.configure({ UPSTREAM_REGISTRY: "" });
    await authority.scheduled(CRON);
    assertProblem(await authority.admin("/mirror/sync", {}), 409, "no_upstream");
    assert.equal((await status()).following, false);
    await authority.configure({ UPSTREAM_REGISTRY: "http://registry.example" });
    const { body } = await authority.request("/healthz");
    assert.deepEqual(body.faults, [{ setting: "UPSTREAM_REGISTRY", problem: "is not https" }]);
  });
});

test("a proven namespace says nothing of where else its upstream says that a server is", async () => {
  let issuer;
  const token = () => createHash("sha256").update(`mcp-connect-challenge\nnamespace\n${issuer}\ncom.example`).digest("base64url");
  const site = await Site.start((_, response) => response.writeHead(200).end(token()));
  const own = await startAuthority({ settings: { UPSTREAM_REGISTRY: upstream.origin }, hosts: { "example.com": site.port } });
  try {
    issuer = own.url;
    const key = (await own.createClient("desktop")).api_key;
    const [a, b] = [name(), name()];
    const at = (of, version, endpoint, official) => server(of, { version, endpoint, official });
    const connects = async (ref, expected) => {
      const { status, body, text } = await own.connect(ref, key);
      assert.equal(status === 200 ? "connects" : body.code, expected, text);
    };
    const prove = async (of) => {
      const { status, text } = await own.admin(`/servers/${of}/prove`, { level: "namespace" });
      assert.equal(status, 200, text);
    };
    const lapses = async () => {
      const { entries } = (await own.admin(`/audit?subject=${a}`)).body;
      return entries.filter(({ action }) => action === "server.unverify");
    };
    upstream.put(at(a, "1.0.0", "https://host.net/a"), at(b, "1.0.0", "https://host.net/b"));
    await own.scheduled(CRON);
    await prove(a);
    await prove(b);
    await own.changeServer(b, "verify");
    await connects(a, "connects");

    // At the same origin, under the proven domain, or where nobody is sent to.
    upstream.put(at(a, "1.1.0", "https://host.net/a/v1.1"), at(a, "1.2.0", "https://mcp.example.com/a"), at(a, "1.3.0", "https://example.com/a"));
    upstream.put(at(a, "0.1.0", "https://deleted.net/a", { status: "deleted" }));
    upstream.put(at(b, "1.1.0", "https://host.net/b/v1.1"));
    await own.scheduled(CRON);
    for (const version of ["1.0.0", "1.1.0", "1.2.0", "1.3.0"]) await connects(`${a}@${version}`, "connects");
    assert.deepEqual(await lapses(), []);

    // Elsewhere: edited, new, or back again.
    for (const [origin, move] of [
      ["https://attacker.net", () => upstream.change(a, "1.0.0", {}, at(a, "1.0.0", "https://attacker.net/mcp").server)],
      ["https://badexample.com", () => upstream.put(at(a, "2.0.0", "https://badexample.com/mcp"))],
      ["https://example.com.net:8443", () => upstream.put(at(a, "2.1.0", "https://example.com.net:8443/mcp"))],
      ["https://deleted.net", () => upstream.change(a, "0.1.0", { status: "active" })],
    ]) {
      await connects(a, "connects");
      const before = (await lapses()).length;
      move();
      await own.scheduled(CRON);
      for (const ref of [a, `${a}@1.0.0`, `${a}@1.1.0`]) await connects(ref, "server_unverified");
      assert.deepEqual((await own.admin(`/servers/${a}/proofs`)).body.proofs, []);
      const [{ actor, reason, detail }, ...earlier] = await lapses();
      assert.deepEqual([actor, reason, detail], ["mirror", `its upstream says that it is at ${origin}`, "namespace"]);
      assert.equal(earlier.length, before);
      const { revocations } = (await own.admin("/revocations")).body;
      assert.ok(revocations.some(({ kind, id }) => kind === "server" && id === a));
      // Where it is now, it is proven with.
      await prove(a);
      await own.scheduled(CRON);
      await connects(a, "connects");
    }

    // What a person decided about an origin holds there.
    upstream.put(at(b, "2.0.0", "https://attacker.net/b"));
    await own.scheduled(CRON);
    await connects(`${b}@1.1.0`, "connects");
    await connects(`${b}@2.0.0`, "server_unverified");
  } finally {
    await own.stop();
    await site.stop();
  }
});

// Every entry that the official registry had on that day. It is not part of the repository.
const DUMP = join(REPOSITORY, "../shared/data/official-registry-2025-12-12.json");
const skip = existsSync(DUMP) ? false : `there is no ${DUMP}`;

test("the official registry is mirrored as it was", { skip }, async () => {
  const own = await startAuthority({ settings: { UPSTREAM_REGISTRY: upstream.origin } });
  try {
    const { servers } = JSON.parse(readFileSync(DUMP, "utf8"));
    upstream.put(...servers);
    let runs = 0;
    do {
      await own.scheduled(CRON);
      runs += 1;
    } while ((await own.admin("/mirror")).body.crawls.some(({ began_at }) => began_at) && runs < 5);
    assert.equal(runs, 2);
    assert.deepEqual((await own.admin("/mirror/poison")).body.poison, []);
    const told = new Map();
    for (let seq = 0, more = true; more; ) {
      const { body } = await own.request(`/v1/changes?after=${seq}&limit=100`);
      ({ seq, more } = body);
      for (const change of body.changes) if (change.version) told.set(`${change.id}:${change.version}`, change);
    }
    assert.equal(told.size, servers.length);
    for (const { server, _meta } of upstream.entries.values()) {
      const { server: ours, _meta: meta } = told.get(`${server.name}:${server.version}`);
      assert.deepEqual(ours, server);
      // We leave out zeros at the end of a fraction.
      const said = JSON.parse(JSON.stringify(_meta[OFFICIAL]).replaceAll(/(\.\d*?)0*Z"/g, (_, fraction) => `${fraction === "." ? "" : fraction}Z"`));
      assert.deepEqual(meta[OFFICIAL], said, server.name);
    }
  } finally {
    await own.stop();
  }
});

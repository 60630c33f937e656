// One decision about many servers: what a pattern finds, what is asked before, what each server's audit row says, and
// what the revocation feed tells. And a trail that an import has not buried.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { decodeJwt } from "jose";

import { entry, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";

const reason = "a test wants it";
let authority;

before(async () => {
  authority = await startAuthority();
});
after(() => authority?.stop());

async function ctl(...args) {
  const done = await connectctl(["--authority", authority.url, "--operator-token", authority.operatorToken, ...args]);
  return { ...done, shown: `${done.code}\n${done.stdout}\n${done.stderr}` };
}

async function changed(code, ...args) {
  const done = await ctl("--json", "servers", ...args, "--reason", reason);
  assert.equal(done.code, code, done.shown);
  return JSON.parse(done.stdout);
}

async function found(query) {
  const { status, body, text } = await authority.admin(`/servers?limit=100&${query}`);
  assert.equal(status, 200, text);
  return body.servers;
}
const names = async (query) => (await found(query)).map(({ id }) => id);
const feed = async () => decodeJwt((await authority.request("/v1/revocations")).text);
const importAll = async (list) => {
  for (let from = 0; from < list.length; from += 100) await authority.importServers(...list.slice(from, from + 100));
};

describe("a pattern", () => {
  const all = ["com.pat-x/a1", "com.pat.sub/b1", "com.Pat/c1", "com.pat/a1", "com.pat/b1", "com.patx/a1"];
  before(async () => {
    await importAll(all.map((name) => entry(name)));
    await authority.changeServer("com.pat/a1", "verify");
    await authority.changeServer("com.pat/b1", "revoke");
  });

  test("finds a namespace in every spelling, alone or with all below it", async () => {
    assert.deepEqual(await names("servers=com.pat/*"), ["com.pat/a1", "com.pat/b1", "com.Pat/c1"]);
    assert.deepEqual(await names("servers=com.pat/**"), ["com.pat.sub/b1", "com.pat/a1", "com.pat/b1", "com.Pat/c1"]);
    assert.deepEqual(await names("servers=com.pat/a1"), ["com.pat/a1"]);
    assert.deepEqual((await names("servers=*")).sort(), [...all].sort());
    assert.deepEqual(await names("servers=com.nobody/**"), []);
  });

  test("is narrowed by state, level and source, page by page", async () => {
    assert.deepEqual(await names("servers=com.pat/**&state=revoked"), ["com.pat/b1"]);
    assert.deepEqual(await names("servers=com.pat/**&level=operator"), ["com.pat/a1"]);
    assert.deepEqual(await names("servers=com.pat/**&level=none&state=active"), ["com.pat.sub/b1", "com.Pat/c1"]);
    assert.deepEqual(await names("source=mirrored"), []);
    const walked = [];
    let cursor = "";
    do {
      const { body } = await authority.admin(`/servers?servers=com.pat/**&limit=1${cursor && `&cursor=${cursor}`}`);
      walked.push(...body.servers.map(({ id }) => id));
      cursor = body.next_cursor && encodeURIComponent(body.next_cursor);
    } while (cursor);
    assert.deepEqual(walked, ["com.pat.sub/b1", "com.pat/a1", "com.pat/b1", "com.Pat/c1"]);
    const listed = await ctl("--json", "servers", "list", "com.pat/**", "--level", "none", "--source", "local", "--all");
    assert.deepEqual(JSON.parse(listed.stdout).servers.map(({ id }) => id), ["com.pat.sub/b1", "com.pat/b1", "com.Pat/c1"]);
  });

  test("that is none is refused, and so is a filter that there is not", async () => {
    for (const query of ["servers=com.pat*", "servers=com.pat/a*", "state=gone", "level=all", "source=here", "cursor=x", "stat=active"]) {
      assertProblem(await authority.admin(`/servers?${query}`), 400, "request_invalid", query.split("=")[0]);
    }
    for (const args of [["revoke", "com.*"], ["verify", "com.pat/a*"], ["list", "com.pat/a1"]]) {
      const done = await ctl("servers", ...args, ...(args[0] === "list" ? [] : ["--reason", reason]));
      assert.equal(done.code, 2, done.shown);
    }
  });
});

describe("a change of many", () => {
  const COUNT = 211;
  const evil = Array.from({ length: COUNT }, (_, n) => `com.evil${n % 2 ? ".sub" : ""}/tool-${n}`);
  before(async () => {
    await importAll([...evil, "com.evilx/good"].map((name) => entry(name)));
  });
  const entries = async (action) =>
    (await (await authority.database()).prepare("SELECT subject, reason FROM audit WHERE action = ? AND subject LIKE 'com.evil%'").bind(action).all()).results;

  test("shows what it would touch, and does nothing unless that is wanted", async () => {
    const dry = await ctl("servers", "revoke", "com.evil/**", "--dry-run", "--reason", reason);
    assert.equal(dry.code, 0, dry.shown);
    assert.match(dry.stdout, /would revoke 211 servers/);
    assert.match(dry.stderr, /and 191 more/);
    assert.ok(dry.stdout.split("\n").length < 30, "bounded");
    assert.equal((await changed(0, "revoke", "com.evil/**", "--dry-run")).servers.length, COUNT);
    const unasked = await ctl("servers", "revoke", "com.evil/**", "--reason", reason);
    assert.equal(unasked.code, 2, unasked.shown);
    assert.match(unasked.stderr, /com\.evil\.sub\/tool-1 [^]*and 191 more[^]*--yes/);
    assert.equal(unasked.stdout, "");
    assert.deepEqual(await entries("server.revoke"), []);
  });

  test("verifies each at its origin, by the letter", async () => {
    await authority.importServers(entry("com.Evil/spelled"));
    assert.deepEqual(await changed(0, "verify", "com.evil/**", "--yes"), { matched: COUNT, changed: COUNT, unchanged: 0, failed: [] });
    assert.deepEqual(await changed(0, "verify", "com.evil/**", "--yes"), { matched: COUNT, changed: 0, unchanged: COUNT, failed: [] });
    assert.equal((await entries("server.verify")).length, COUNT);
    const { body } = await authority.admin("/audit?action=server.verify&limit=1");
    assert.match(body.entries[0].detail, /^origin https:\/\/mcp\.example\.com, /);
    assert.deepEqual(await names("servers=com.evil/**&level=none"), ["com.Evil/spelled"]);
    const pinned = await ctl("servers", "verify", "com.evil/*", "--yes", "--origin", "https://mcp.example.com", "--reason", reason);
    assert.equal(pinned.code, 2, pinned.shown);
  });

  test("revokes every spelling with a row each, repeatably, and the feed tells of each that was in use", async () => {
    assert.deepEqual(await changed(0, "revoke", "com.evil/**", "--yes"), { matched: COUNT + 1, changed: COUNT + 1, unchanged: 0, failed: [] });
    assert.deepEqual(await changed(0, "revoke", "com.evil/**", "--yes"), { matched: COUNT + 1, changed: 0, unchanged: COUNT + 1, failed: [] });
    const rows = await entries("server.revoke");
    assert.equal(rows.length, COUNT + 1);
    assert.ok(rows.every((row) => row.reason === reason));
    assert.deepEqual(await names("servers=com.evil/**&state=active"), []);
    const { all, servers } = await feed();
    assert.equal(all, undefined);
    const told = servers.map(({ id }) => id).filter((id) => id.startsWith("com.evil"));
    assert.deepEqual(told.sort(), [...evil].sort(), "nobody can have a descriptor for what nobody verified");
  });

  test("tells what each failed for, and goes on", async () => {
    await authority.changeServer("com.evil/tool-0", "reinstate");
    const summary = await changed(1, "quarantine", "com.evil/*", "--for", "1h", "--yes");
    assert.deepEqual([summary.changed, summary.unchanged], [1, 0]);
    assert.equal(summary.failed.length, summary.matched - 1);
    assert.match(summary.failed[0].message, /reinstate it first/);
  });

  test("reinstates and unverifies alike, and a pattern without servers is an error", async () => {
    const reinstated = await changed(0, "reinstate", "com.evil/**", "--yes");
    assert.deepEqual([reinstated.matched, reinstated.changed], [COUNT, COUNT], "by the letter");
    assert.deepEqual(await names("servers=com.evil/**&state=revoked"), ["com.Evil/spelled"]);
    assert.equal((await changed(0, "unverify", "com.evil.sub/*", "--yes")).changed, 105);
    const none = await ctl("servers", "revoke", "com.evill/**", "--yes", "--reason", reason);
    assert.equal(none.code, 1, none.shown);
    assert.match(none.stderr, /no server matches com\.evill/);
    const one = await ctl("servers", "revoke", "com.evil/tool-0", "--dry-run", "--reason", reason);
    assert.equal(one.code, 2, one.shown);
    assert.deepEqual(await names("servers=com.evil/tool-0&state=active"), ["com.evil/tool-0"]);
  });

  test("says of each what the feed says of it", async () => {
    await importAll(["com.told/used", "com.told/unused"].map((name) => entry(name)));
    await authority.changeServer("com.told/used", "verify");
    const revoke = async (name, members) => (await authority.admin(`/servers/com.told/${name}/revoke`, { reason, ...members })).body;
    assert.equal((await revoke("used", { bulk: true })).feed, "told");
    assert.equal((await revoke("unused", { bulk: true })).feed, "not_needed");
    const repeated = await revoke("used", { bulk: true });
    assert.deepEqual([repeated.changed, repeated.feed], [false, undefined]);
    for (const name of ["used", "unused"]) {
      const reinstated = await authority.admin(`/servers/com.told/${name}/reinstate`, { reason, bulk: true });
      assert.deepEqual([reinstated.body.changed, reinstated.body.feed], [true, undefined]);
      assert.equal((await revoke(name)).feed, "told", "a single decision is always told");
    }
  });

  test("never fills the feed, and a single decision has room in it", async () => {
    const long = (n) => `com.evil.long/${"x".repeat(100)}-${n}`;
    await importAll(Array.from({ length: 300 }, (_, n) => entry(long(n))));
    assert.equal((await changed(0, "verify", "com.evil.long/*", "--yes")).changed, 300);
    const revoked = await changed(0, "revoke", "com.evil.long/*", "--yes");
    assert.equal(revoked.changed, 300);
    await authority.publish("com.single/one");
    await authority.changeServer("com.single/one", "revoke");
    const { all, servers } = await feed();
    assert.equal(all, undefined);
    assert.ok(servers.some(({ id }) => id === "com.single/one"));
    const told = new Set(servers.map(({ id }) => id));
    const leftOut = Array.from({ length: 300 }, (_, n) => long(n)).filter((id) => !told.has(id));
    assert.ok(leftOut.length > 0);
    assert.deepEqual(revoked.left_out_of_feed.toSorted(), leftOut.toSorted());
    await authority.changeServer(leftOut[0], "reinstate");
    const again = await ctl("servers", "revoke", "com.evil.long/*", "--yes", "--reason", reason);
    assert.match(again.stderr, /1 of them did not fit into the revocation feed/);
    assert.deepEqual(await names("servers=com.evil.long/*&state=active"), []);
  });
});

describe("the audit trail after an import", () => {
  test("shows what people did, and says how many imports it leaves out", async () => {
    await importAll(Array.from({ length: 150 }, (_, n) => entry(`com.bulky/tool-${n}`)));
    await authority.createClient("auditor");
    await importAll(Array.from({ length: 50 }, (_, n) => entry(`com.bulky/more-${n}`)));
    const { body } = await authority.admin("/audit?imports=exclude&limit=1");
    assert.deepEqual([body.entries.map(({ action }) => action), body.left_out], [["client.create"], 50]);
    const next = await authority.admin(`/audit?imports=exclude&limit=1&cursor=${body.next_cursor}`);
    assert.equal(next.body.left_out, 150);
    const done = await ctl("audit", "list", "--limit", "1");
    assert.match(done.stdout, /client\.create/);
    assert.match(done.stderr, /50 entries of imports .* --imports shows them/);
    const parsed = JSON.parse((await ctl("--json", "audit", "list", "--limit", "1")).stdout);
    assert.deepEqual([parsed.entries.length, parsed.left_out], [1, 50]);
  });

  test("shows them to those who ask", async () => {
    for (const args of [["--imports"], ["--action", "version.import"], ["--subject", "com.bulky/more-49"]]) {
      const done = await ctl("--json", "audit", "list", "--limit", "1", ...args);
      const { entries, left_out } = JSON.parse(done.stdout);
      assert.deepEqual([entries[0].action, left_out], ["version.import", undefined], done.shown);
    }
    assert.equal((await authority.admin("/audit?limit=1")).body.left_out, undefined);
    assertProblem(await authority.admin("/audit?imports=no"), 400, "request_invalid", "imports");
  });
});

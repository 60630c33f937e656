import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { entry, eventually, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";

const reason = "a test wants it";
const WHY = 'says "hi" – ümlaut \u{1f512} \u2028/\\';
let authority, directory;

before(async () => {
  authority = await startAuthority();
  directory = mkdtempSync(join(tmpdir(), "audit-"));
  await authority.importServers(entry("com.audited/one"), entry("com.audited/two", { version: "2.0.0" }));
  await authority.createClient("desktop");
  await authority.changeServer("com.audited/one", "verify", WHY);
});
after(async () => {
  await authority?.stop();
  if (directory) rmSync(directory, { recursive: true, force: true });
});

const run = (...args) => connectctl(["--authority", authority.url, `--operator-token=${authority.operatorToken}`, "audit", ...args]);

async function exported(after = 0) {
  const answer = await authority.admin(`/audit/export?after=${after}`);
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers.get("content-type"), "application/x-ndjson");
  assert.equal(answer.headers.get("cache-control"), "no-store");
  return answer.text.split("\n").filter(Boolean).map(JSON.parse);
}

const sealed = () =>
  eventually("every entry is sealed", async () => {
    const entries = await exported();
    return entries.every(({ hash }) => hash) && entries;
  });

/// The documented chain, by hand.
function chain(entries) {
  let previous = Buffer.alloc(32);
  return entries.map(({ seq, at, actor, action, subject, reason = null, detail = null }) => {
    const canonical = JSON.stringify([seq, at, actor, action, subject, reason, detail]);
    previous = createHash("sha256").update(previous).update(canonical).digest();
    return previous.toString("base64url");
  });
}

async function verified(...args) {
  const { code, stdout, stderr } = await run("verify", "--json", ...args);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

async function refused(what, ...args) {
  const { code, stdout, stderr } = await run("verify", ...args);
  assert.equal(code, 1, stdout + stderr);
  assert.match(stderr, what);
}

describe("the export", () => {
  test("is the trail in its order, with the hashes that the documentation computes", async () => {
    const entries = await sealed();
    assert.deepEqual(entries.map(({ seq }) => seq), entries.map((_, index) => index + 1));
    assert.deepEqual(entries.map(({ hash }) => hash), chain(entries));
    const { hash, at, ...last } = entries.at(-1);
    assert.match(at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.equal(last.reason, WHY);
    assert.deepEqual(await exported(2), entries.slice(2), "from anywhere on");
    assert.deepEqual(await exported(entries.length), []);
    for (const after of ["x", "-1", "9999999999999999999"]) {
      assertProblem(await authority.admin(`/audit/export?after=${after}`), 400, "request_invalid", "after");
    }
  });

  test("is bounded, and goes on where it ended", async () => {
    const servers = (from) => Array.from({ length: 100 }, (_, n) => entry(`com.many/server-${from + n}`));
    for (let from = 0; from < 1100; from += 100) await authority.importServers(...servers(from));
    const entries = await exported();
    assert.equal(entries.length, 1000);
    const rest = await exported(1000);
    assert.ok(rest.length >= 100 && rest[0].seq === 1001);
    const { stdout } = await run("export");
    assert.equal(stdout.trim().split("\n").length, 1000 + rest.length);
    assert.equal((await verified()).entries, 1000 + rest.length);
  });

  test("is written to a file, which can be checked without the authority", async () => {
    await sealed();
    const file = join(directory, "trail.jsonl");
    const { code, stderr } = await run("export", "--output", file);
    assert.equal(code, 0, stderr);
    const head = await verified();
    assert.deepEqual(await verified("--file", file), head);
    assert.deepEqual([head.intact, head.unsealed], [true, 0]);
    const lines = readFileSync(file, "utf8").trim().split("\n");
    assert.equal(head.head, JSON.parse(lines.at(-1)).hash);

    const changed = (edit) => {
      const copy = [...lines];
      edit(copy);
      const path = join(directory, "changed.jsonl");
      writeFileSync(path, copy.join("\n"));
      return path;
    };
    const edited = changed((copy) => (copy[4] = copy[4].replace('"actor":"operator"', '"actor":"nobody"')));
    await refused(/entry 5 was changed/, "--file", edited);
    await refused(/entry 5 is missing: entry 6 stands in its place/, "--file", changed((copy) => copy.splice(4, 1)));
    await refused(/entry 7 stands after entry 5/, "--file", changed((copy) => ([copy[5], copy[6]] = [copy[6], copy[5]])));
    await refused(/entry 5 stands after entry 5/, "--file", changed((copy) => copy.splice(5, 0, copy[4])));
    const cut = changed((copy) => copy.pop());
    assert.equal((await verified("--file", cut)).entries, lines.length - 1);
    await refused(/rewritten or cut/, "--file", cut, "--head", head.head);
    const broken = await run("verify", "--file", changed((copy) => (copy[2] = "{")));
    assert.deepEqual([broken.code, /line 3/.test(broken.stderr)], [2, true]);
  });
});

describe("the list", () => {
  const list = async (query) => {
    const answer = await authority.admin(`/audit?limit=100&${query}`);
    assert.equal(answer.status, 200, answer.text);
    return answer.body.entries;
  };

  test("is filtered by who, what, to whom and when", async () => {
    const key = (await authority.admin("/administrators", { name: "ann", role: "moderator" })).body.key;
    const ann = (path, body) => authority.request(`/v1/admin${path}`, { body, bearer: key });
    await ann("/servers/com.audited/two/quarantine", { reason });
    await ann("/servers/com.audited/two@2.0.0/revoke", { reason });
    await authority.changeServer("com.audited/two", "reinstate");
    const brief = (entries) => entries.map(({ actor, action, subject }) => `${actor} ${action} ${subject}`);
    assert.deepEqual(brief(await list("actor=ann")), [
      "ann version.revoke com.audited/two@2.0.0",
      "ann server.quarantine com.audited/two",
    ]);
    assert.deepEqual(brief(await list("action=version.revoke")), ["ann version.revoke com.audited/two@2.0.0"]);
    assert.deepEqual(brief(await list("subject=com.audited/two&order=oldest")), [
      "operator version.import com.audited/two@2.0.0",
      "ann server.quarantine com.audited/two",
      "ann version.revoke com.audited/two@2.0.0",
      "operator server.reinstate com.audited/two",
    ]);
    const [{ at }] = await list("actor=ann&order=oldest");
    assert.ok((await list(`until=${at}`)).every((entry) => entry.at < at));
    assert.equal((await list(`since=${at}`)).at(-1).at, at);
    assert.deepEqual(await list("actor=nobody"), []);
    // A plus that nobody encoded arrives as a space.
    assert.deepEqual(await list(`until=${at.replace("Z", "+00:00")}`), await list(`until=${at}`));
    const dateless = await authority.request("/v1/admin/audit?since=2026-01-01T00:00:00", { bearer: authority.operatorToken });
    assert.match(dateless.body.detail, /^since: has no time zone; write it in full, as 2025-08-07T13:15:04Z/);
    for (const query of ["actor=", "since=yesterday", "until=1", "order=up", "cursor=x", `subject=${"x".repeat(601)}`]) {
      assertProblem(await authority.admin(`/audit?${query}`), 400, "request_invalid", query.split("=")[0]);
    }
    for (const query of ["since=2026-11-02&until=2026-11-01", `since=${at}&until=2020-01-01T00:00:00Z`]) {
      assertProblem(await authority.admin(`/audit?${query}`), 400, "request_invalid", "until: is not after since");
    }
    assert.deepEqual((await authority.admin("/audit?since=2020-11-01&until=2020-11-01")).body.entries, []);
    const { code, stdout } = await run("list", "--actor", "ann", "--action", "server.quarantine");
    assert.deepEqual([code, /ann +server\.quarantine +com\.audited\/two/.test(stdout)], [0, true], stdout);
  });

  test("is paged both ways", async () => {
    for (const order of ["newest", "oldest"]) {
      const paged = [];
      for (let cursor = ""; cursor !== undefined && paged.length < 20; ) {
        const { body } = await authority.admin(`/audit?limit=3&actor=operator&order=${order}${cursor && `&cursor=${cursor}`}`);
        paged.push(...body.entries);
        cursor = body.next_cursor;
      }
      assert.deepEqual(paged.slice(0, 18), (await list(`actor=operator&order=${order}`)).slice(0, 18));
    }
  });
});

test("no row is lost under 50 concurrent changes of all kinds, and the chain over them holds", async () => {
  const first = (await exported(1000)).at(-1).seq;
  const turns = Array.from({ length: 10 }, (_, n) => n);
  await Promise.all(turns.map((n) => authority.importServers(entry(`com.race/held-${n}`))));
  const imported = await authority.admin("/audit?limit=1");
  const changes = turns.flatMap((n) => [
    ["/clients", { client_id: `race-${n}` }, `client.create race-${n}`],
    ["/administrators", { name: `race-${n}`, role: "moderator" }, `administrator.create race-${n}`, `administrator.key.create race-${n}`],
    [`/servers/com.race/held-${n}/quarantine`, { reason }, `server.quarantine com.race/held-${n}`],
    [`/servers/com.race/held-${n}@1.0.0/revoke`, { reason }, `version.revoke com.race/held-${n}@1.0.0`],
    ["/import", { servers: [entry(`com.race/more-${n}`)] }, `version.import com.race/more-${n}@1.0.0`],
  ]);
  assert.equal(changes.length, 50);
  const answers = await Promise.all(changes.map(([path, body]) => authority.admin(path, body)));
  assert.deepEqual([...new Set(answers.map(({ status }) => status))].sort(), [200, 201]);

  const entries = await exported(imported.body.entries[0].seq);
  const expected = changes.flatMap(([, , ...rows]) => rows);
  assert.deepEqual(entries.map(({ action, subject }) => `${action} ${subject}`).sort(), expected.sort());
  const head = await eventually("all are sealed", async () => {
    const head = await verified();
    return head.unsealed === 0 && head;
  });
  assert.equal(head.entries, first + 10 + expected.length);
});

test("the head that was noted is found again while the trail grows", async () => {
  const { head, entries } = await verified();
  await authority.createClient("later");
  const grown = await verified("--head", head);
  assert.deepEqual([grown.entries, grown.noted_head_at], [entries + 1, entries]);
  await refused(/rewritten or cut/, "--head", createHash("sha256").update("x").digest("base64url"));
  const wrong = await run("verify", "--head", "short");
  assert.equal(wrong.code, 2);
});

describe("who holds the database", () => {
  let database, all;
  before(async () => {
    database = await authority.database();
    all = await eventually("all are sealed", async () => {
      const { entries, head, unsealed } = await verified();
      return unsealed === 0 && { entries, head };
    });
  });

  test("can't change a seal", async () => {
    for (const sql of [
      "UPDATE audit_seals SET hash = 'x' WHERE seq = 1",
      "DELETE FROM audit_seals",
      "INSERT OR REPLACE INTO audit_seals (seq, hash) VALUES (1, 'x')",
      "INSERT OR IGNORE INTO audit_seals (seq, hash) VALUES (1, 'x')",
    ]) {
      await assert.rejects(database.prepare(sql).run(), /the audit trail is append-only/, sql);
    }
    assert.equal((await verified()).head, all.head);
  });

  test("and takes the triggers away is found out", async () => {
    const exec = (sql, ...values) => database.prepare(sql).bind(...values).run();
    for (const trigger of ["audit_is_append_only_update", "audit_is_append_only_delete", "audit_seals_are_append_only_update", "audit_seals_are_append_only_delete", "audit_seals_are_append_only_insert"]) {
      await exec(`DROP TRIGGER ${trigger}`);
    }
    const { results: [row] } = await database.prepare("SELECT * FROM audit WHERE seq = 3").all();
    await exec("UPDATE audit SET actor = 'nobody' WHERE seq = 3");
    await refused(/entry 3 was changed/);
    await exec("UPDATE audit SET actor = ?, at = at + 1 WHERE seq = 3", row.actor);
    await refused(/entry 3 was changed/);
    await exec("UPDATE audit SET at = ? WHERE seq = 3", row.at);
    assert.equal((await verified()).head, all.head, "all is as before");

    const { results: [seal] } = await database.prepare("SELECT * FROM audit_seals WHERE seq = 4").all();
    await exec("DELETE FROM audit_seals WHERE seq = 4");
    await refused(/entry 4 has no hash/);
    await exec("INSERT INTO audit_seals (seq, hash) VALUES (4, ?)", seal.hash);

    // Takes the last entry away, with its seal: only who noted the head can tell.
    await exec("DELETE FROM audit_seals WHERE seq = ?", all.entries);
    await exec("DELETE FROM audit WHERE seq = ?", all.entries);
    assert.equal((await verified()).entries, all.entries - 1);
    await refused(/rewritten or cut/, "--head", all.head);

    // Rewrites the first entry and every hash.
    await exec("UPDATE audit SET actor = 'mallory' WHERE seq = 1");
    const { stdout } = await run("export");
    const rewritten = chain(stdout.trim().split("\n").map(JSON.parse));
    await exec("UPDATE audit_seals SET hash = (SELECT value FROM json_each(?) WHERE key = seq - 1)", JSON.stringify(rewritten));
    assert.equal((await verified()).intact, true);
    await refused(/rewritten or cut/, "--head", all.head);
    await refused(/rewritten or cut/, "--head", seal.hash);

    await exec("DELETE FROM audit_seals WHERE seq = 2");
    await exec("DELETE FROM audit WHERE seq = 2");
    await refused(/entry 2 is missing: entry 3 stands in its place/);
  });
});

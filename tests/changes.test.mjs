// The feed of changes: whoever goes on from the last number it saw knows what somebody knows who reads
// all from the beginning, whatever changed meanwhile.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import fc from "fast-check";

import { entry, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";

const OFFICIAL = "io.modelcontextprotocol.registry/official";
const EVERY_MINUTE = "* * * * *";

let authority;
before(async () => {
  authority = await startAuthority();
});
after(() => authority?.stop());

/// Somebody who keeps what the feed says.
class Follower {
  seq = 0;
  known = new Map();

  /// One page; whether there are more.
  async read(limit = 100) {
    const { status, body, text } = await authority.request(`/v1/changes?after=${this.seq}&limit=${limit}`);
    assert.equal(status, 200, text);
    for (const { seq, ...change } of body.changes) {
      assert.ok(seq > this.seq);
      this.seq = seq;
      this.known.set(`${change.id}@${change.version ?? ""}`, change);
    }
    assert.equal(body.seq, this.seq);
    return body.more;
  }

  async readAll() {
    while (await this.read());
    return this.known;
  }
}

const everything = () => new Follower().readAll();
let names = 0;
const name = () => `com.example/server-${++names}`;
const admin = async (path, body) => {
  const answer = await authority.admin(path, body);
  assert.ok(answer.status < 300, answer.text);
};

describe("the feed of changes", () => {
  test("says what the registry says of a version, and apart what is said of its server", async () => {
    const a = name();
    const published = entry(a, { publishedAt: "2026-01-02T03:04:05Z", custom: [1] });
    published._meta["com.example.other/notes"] = { stars: 5 };
    await authority.importServers(published);
    await admin(`/servers/${a}@1.0.0/quarantine`, { reason: "odd" });
    await admin(`/servers/${a}/verify`, { reason: "known" });
    const changes = await everything();
    const { _meta, ...version } = changes.get(`${a}@1.0.0`);
    assert.deepEqual(version, { id: a, version: "1.0.0", server: published.server });
    assert.deepEqual(_meta, {
      [OFFICIAL]: {
        status: "active",
        statusChangedAt: "2026-01-02T03:04:05Z",
        publishedAt: "2026-01-02T03:04:05Z",
        updatedAt: "2026-01-02T03:04:05Z",
        isLatest: true,
      },
      "com.example.other/notes": { stars: 5 },
      "org.mcp-connect/authority": { moderation: "quarantined", reason: "odd" },
    });
    assert.deepEqual(changes.get(`${a}@`), {
      id: a,
      latest: "1.0.0",
      default: "1.0.0",
      moderation: "active",
      origin_level: "operator",
      verified_origin: "https://mcp.example.com",
      namespace_proven: false,
    });
  });

  test("moves the version that was the latest, and the one that is", async () => {
    const a = name();
    await authority.importServers(entry(a, { version: "1.0.0" }), entry(a, { version: "0.1.0" }));
    const follower = new Follower();
    await follower.readAll();
    const before = follower.seq;
    await authority.importServers(entry(a, { version: "2.0.0" }));
    const { body } = await authority.request(`/v1/changes?after=${before}`);
    const moved = body.changes.map(({ version, _meta, latest }) => [version ?? "", _meta?.[OFFICIAL].isLatest ?? latest]);
    assert.deepEqual(moved.sort(), [["", "2.0.0"], ["1.0.0", false], ["2.0.0", true]]);
  });

  test("has no change where nothing changed", async () => {
    const a = name();
    await authority.importServers(entry(a));
    await admin(`/servers/${a}/verify`, { reason: "known" });
    const follower = new Follower();
    await follower.readAll();
    const { seq } = follower;
    await authority.importServers(entry(a));
    await admin(`/servers/${a}/verify`, { reason: "known" });
    await admin(`/servers/${a}/reinstate`, { reason: "nothing to end" });
    await authority.scheduled(EVERY_MINUTE);
    await follower.readAll();
    assert.equal(follower.seq, seq);
  });

  test("is validated by its ETag, and refuses what is no number of its own", async () => {
    const first = await authority.request("/v1/changes?limit=1");
    assert.equal(first.headers.get("cache-control"), "no-cache");
    const headers = { "if-none-match": first.headers.get("etag") };
    assert.equal((await authority.request("/v1/changes?limit=1", { headers })).status, 304);
    assert.equal((await authority.request("/v1/changes?limit=2", { headers })).status, 200);
    for (const query of ["after=-1", "after=x", "after=1e3", "limit=0", "limit=101", "after=1&after=2", "after=99999999"]) {
      assertProblem(await authority.request(`/v1/changes?${query}`), 400, "request_invalid");
    }
  });

  test("misses nothing that a follower has to know", async () => {
    const pick = (...values) => fc.constantFrom(...values);
    const which = fc.integer({ min: 0, max: 2 });
    const version = pick("1.0.0", "1.0.0+b", "2.0.0-rc.1", "2.0.0", "nightly");
    const change = fc.oneof(
      fc.record({ kind: fc.constant("import"), which, version, status: pick("active", "deprecated", "deleted"), message: pick(undefined, "why"), notes: pick(undefined, 1, 2) }),
      fc.record({ kind: fc.constant("moderate"), which, version: pick("", "@1.0.0", "@2.0.0"), verb: pick("quarantine", "revoke", "reinstate") }),
      fc.record({ kind: fc.constant("verify"), which, verb: pick("verify", "unverify") }),
      fc.record({ kind: fc.constant("expire") }),
      fc.record({ kind: fc.constant("follow"), limit: fc.integer({ min: 1, max: 5 }) }),
    );
    const db = await authority.database();
    const holds = fc.asyncProperty(fc.array(change, { minLength: 4, maxLength: 20 }), async (changes) => {
      const ids = [name(), name(), name()];
      const follower = new Follower();
      for (const { kind, which, ...how } of changes) {
        const id = ids[which];
        if (kind === "import") {
          const imported = entry(id, { version: how.version });
          imported._meta[OFFICIAL] = { status: how.status, statusMessage: how.message };
          if (how.notes) imported._meta["com.example.other/notes"] = how.notes;
          await authority.importServers(imported);
        } else if (kind === "follow") {
          await follower.read(how.limit);
        } else if (kind === "expire") {
          await db.batch(["servers", "versions"].map((table) => db.prepare(`UPDATE ${table} SET moderation_expires_at = 1 WHERE moderation <> 'active'`)));
          await follower.readAll();
          await authority.scheduled(EVERY_MINUTE);
        } else {
          // Of what is not there yet, nothing changes.
          const path = `/servers/${id}${how.version ?? ""}/${how.verb}`;
          const { status } = await authority.admin(path, { reason: "a test wants it" });
          assert.ok([200, 404, 409].includes(status), `${path} ${status}`);
        }
      }
      assert.deepEqual(await follower.readAll(), await everything());
    });
    await fc.assert(holds, { numRuns: 20 });
  });

  test("sends long metadata in parts", async () => {
    const follower = new Follower();
    await follower.readAll();
    const long = "x".repeat(250_000);
    for (let part = 0; part < 10; part++) {
      await authority.importServers(...[1, 2, 3].map(() => entry(name(), { long })));
    }
    const { text, body } = await authority.request(`/v1/changes?after=${follower.seq}&limit=100`);
    assert.ok(text.length < 5_000_000 && body.more);
    await follower.readAll();
    assert.deepEqual(await everything(), follower.known);
  });
});

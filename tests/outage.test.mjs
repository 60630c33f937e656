// KV and D1 on their bad days: what readers see of servers that were changed meanwhile, and what a fault that is over
// in a moment costs.
import assert from "node:assert/strict";
import net from "node:net";
import { after, afterEach, before, describe, test } from "node:test";

import { entry, eventually, startAuthority } from "./support/authority.mjs";
import { connectctl } from "./support/programs.mjs";

const OURS = "org.mcp-connect/authority";
let authority, key;

before(async () => {
  authority = await startAuthority({ faults: true });
  key = (await authority.createClient("desktop")).api_key;
});
after(() => authority?.stop());
afterEach(() => authority.mend());

const latestOf = (name) => `/v0.1/servers/${encodeURIComponent(name)}/versions/latest`;
const copyOf = async (name) => (await authority.kv()).get(`server:${name}`, "json");
const copied = (name, isIt = (copy) => copy) =>
  eventually(`a copy of ${name}`, async () => {
    const copy = await copyOf(name);
    return copy && isIt(copy) && copy;
  });
const isRevoked = ({ versions }) => versions[0].moderation === "revoked";
/// What KV has to tell of changes of a server, beside its copy.
const told = async (name) => {
  const kv = await authority.kv();
  const lists = await Promise.all(["changed", "doubt"].map((what) => kv.list({ prefix: `server::${what}:${name}:` })));
  return lists.flatMap(({ keys }) => keys);
};
const rebuild = async () => {
  const { code, stderr } = await connectctl(["--authority", authority.url, `--operator-token=${authority.operatorToken}`, "cache", "rebuild"]);
  assert.equal(code, 0, stderr);
};

/// Whether any of the ways to read a server says that it is active.
async function readsActive(name) {
  const [latest, one, all, ours] = await Promise.all([
    authority.request(latestOf(name)),
    authority.request(`/v0.1/servers/${encodeURIComponent(name)}/versions/1.0.0`),
    authority.request(`/v0.1/servers/${encodeURIComponent(name)}/versions`),
    authority.request(`/v1/servers/${name}`),
  ]);
  for (const { status, text } of [latest, one, all, ours]) assert.ok([200, 404, 500, 503].includes(status), text);
  return [latest, one, all].some(({ status }) => status === 200) || ours.body?.status === "active";
}

/// A server with a copy that KV would take another of.
async function publish(name) {
  await authority.importServers(entry(name));
  await copied(name);
}

describe("a server that was revoked while KV took no other copy of it", () => {
  test("is active to nobody, while D1 answers and while it doesn't", async () => {
    const NAME = "com.example/twice";
    await publish(NAME);
    await rebuild();
    await authority.changeServer(NAME, "verify");
    await authority.changeServer(NAME, "revoke");
    assert.ok(!isRevoked(await copyOf(NAME)), "KV refused the second write within a second");
    assert.equal(await readsActive(NAME), false);
    for (const d1 of ["error", "hang"]) {
      await authority.break({ d1 });
      assert.equal(await readsActive(NAME), false, d1);
      const unknown = await authority.request(latestOf("com.example/unknown"));
      assert.equal(unknown.status, 404, "others are as they were");
    }
    await authority.mend();
    await copied(NAME, isRevoked);
    await authority.break({ d1: "error" });
    assert.equal((await authority.request(`/v1/servers/${NAME}`)).body.status, "revoked");
  });

  test("nor in another isolate, which has not seen the change", async () => {
    const NAME = "com.example/elsewhere";
    await publish(NAME);
    await authority.break({ kv: "refuse", prefix: "server:com" });
    await authority.changeServer(NAME, "revoke");
    assert.ok(!isRevoked(await copyOf(NAME)));
    await authority.restart({ d1: "error" });
    assert.equal(await readsActive(NAME), false);
    await authority.restart();
    assert.equal(await readsActive(NAME), false);
  });

  test("nor in another isolate, where KV took nothing at all of the change for a moment", async () => {
    const NAME = "com.example/refused";
    await publish(NAME);
    const before = await told(NAME);
    // The copy and the number of the change, each once.
    await authority.break({ kv: "refuse", prefix: "server:", times: 2 });
    await authority.changeServer(NAME, "revoke");
    assert.equal((await told(NAME)).length, before.length + 1, "it is told of before it is acknowledged");
    await authority.restart({ d1: "error" });
    assert.equal(await readsActive(NAME), false);
    await authority.restart();

    // Where that lasts, the change is acknowledged all the same, since it is made.
    const OTHER = "com.example/refused-for-long";
    await publish(OTHER);
    await authority.break({ kv: "refuse", prefix: "server:" });
    await authority.changeServer(OTHER, "revoke");
    assert.ok(!isRevoked(await copyOf(OTHER)));
    await eventually("it is logged", () => authority.logged("edge_copy_failed").some(({ server }) => server === OTHER));
    await authority.restart();
  });

  test("nor after the cron was there, although no rebuild ever was", async () => {
    const [NAME, OTHER] = ["com.example/unmarked", "com.example/uncopied"];
    await publish(NAME);
    await publish(OTHER);
    await authority.break({ kv: "refuse" });
    await authority.changeServer(NAME, "revoke");
    assert.ok(!isRevoked(await copyOf(NAME)));
    await authority.restart();
    const kv = await authority.kv();
    await Promise.all(["servers-copied", "servers-followed", `server:${OTHER}`].map((key) => kv.delete(key)));
    await authority.scheduled("* * * * *");
    assert.ok(isRevoked(await copyOf(NAME)));
    assert.equal(await copyOf(OTHER), null, "nobody said that all servers have copies");
    await authority.restart({ d1: "error" });
    assert.equal(await readsActive(NAME), false);
    assert.equal((await authority.request(latestOf("com.example/unknown"))).status, 500, "nor does the cron");
    await authority.restart();
    await rebuild();
  });

  test("nor where D1 goes out before it can say what the change came to", async () => {
    const NAME = "com.example/unsaid";
    await publish(NAME);
    await rebuild();
    await authority.break({ d1: "error", containing: "WITH newest" });
    await authority.changeServer(NAME, "revoke");
    await authority.restart({ d1: "error" });
    assert.equal(await readsActive(NAME), false);

    // Who comes by every minute puts it right, and says again that all servers have copies.
    await authority.restart();
    await authority.scheduled("* * * * *");
    assert.ok(isRevoked(await copyOf(NAME)));
    await authority.break({ d1: "error" });
    assert.equal((await authority.request(`/v1/servers/${NAME}`)).body.status, "revoked");
    assert.equal((await authority.request(latestOf("com.example/unknown"))).status, 404);
  });

  test("nor where a location reads what KV had a minute ago", async () => {
    const [NAME, OTHER] = ["com.example/far", "com.example/far-too"];
    await publish(NAME);
    await publish(OTHER);
    await authority.changeServer(NAME, "revoke");
    await copied(NAME, isRevoked);
    const behind = { kv: "behind", seconds: 60 };
    await authority.break(behind);
    assert.equal(await readsActive(NAME), false);
    assert.equal(await readsActive(OTHER), true);
    await authority.restart({ d1: "error", ...behind });
    assert.equal(await readsActive(NAME), false);
  });

  test("nor after a copy from before was written late", async () => {
    const NAME = "com.example/overwritten";
    await publish(NAME);
    const old = await copyOf(NAME);
    await authority.changeServer(NAME, "revoke");
    await copied(NAME, isRevoked);
    await (await authority.kv()).put(`server:${NAME}`, JSON.stringify(old));
    assert.equal(await readsActive(NAME), false);
    await authority.restart({ d1: "error" });
    assert.equal(await readsActive(NAME), false);
  });

  test("nor where its moderator's client broke off", async () => {
    const NAME = "com.example/broken-off";
    await publish(NAME);
    await authority.break({ d1: "late", millis: 400, containing: "UPDATE servers" });
    const { hostname, port } = new URL(authority.url);
    const socket = net.connect(port, hostname);
    const body = JSON.stringify({ reason: "a test wants it" });
    socket.write(
      `POST /v1/admin/servers/${NAME}/revoke HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${authority.operatorToken}\r\n` +
        `content-length: ${body.length}\r\n\r\n${body}`,
    );
    const database = await authority.database();
    await eventually("the revocation is made", () =>
      database.prepare("SELECT 1 FROM servers WHERE name = ? AND moderation = 'revoked'").bind(NAME).first());
    socket.destroy();
    await copied(NAME, isRevoked);
  });
});

test("a server whose copy is good is read while D1 is out, in a new isolate as well", async () => {
  const NAME = "com.example/good";
  await publish(NAME);
  await authority.restart({ d1: "error" });
  assert.equal(await readsActive(NAME), true);
  await authority.restart();
});

test("of 200 changes in ten seconds, with D1 out in between, no revocation is missed by anybody for 2 s", async () => {
  const names = Array.from({ length: 10 }, (_, n) => `com.example.stormy/server-${n}`);
  await rebuild();
  await authority.importServers(...names.map((name) => entry(name)));
  await Promise.all(names.map((name) => copied(name)));
  // The same each time.
  let state = 7;
  const random = (below) => ((state = (state * 48_271) % 0x7fffffff) % below);

  /// Since when each is known to be held back, if it is; and until when nothing is known, while a change is under way.
  const held = new Map();
  let isOver = false;
  const seen = { active: 0, held: 0, unknown: 0 };
  const reader = async () => {
    while (!isOver) {
      const name = names[random(names.length)];
      const since = held.get(name);
      const begun = Date.now();
      const isActive = await readsActive(name);
      seen[isActive ? "active" : since ? "held" : "unknown"] += 1;
      const isStillHeld = since !== undefined && held.get(name) === since;
      assert.ok(!(isActive && isStillHeld && begun - since > 2_000), `${name} was active ${begun - since} ms after`);
    }
  };
  const change = async (name) => {
    const what = ["revoke", "reinstate", "quarantine", "verify", "reinstate"][random(5)];
    if (what === "reinstate") held.delete(name);
    const answer = await authority.admin(`/servers/${name}/${what}`, { reason: "a test wants it" });
    if (answer.status !== 200) return answer.status === 503 && held.delete(name);
    const acknowledged = Date.now();
    if (answer.body.status === "revoked" || answer.body.status === "quarantined") {
      if (!held.has(name)) held.set(name, acknowledged);
    } else held.delete(name);
  };
  const readers = Promise.all(Array.from({ length: 4 }, reader));
  const begun = Date.now();
  // Of one server one after the other, so that it is known what holds.
  const changes = new Map(names.map((name) => [name, Promise.resolve()]));
  for (let n = 0; n < 200; n += 1) {
    const wait = begun + n * 50 - Date.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    if (n % 40 === 20) await authority.break({ d1: "error", kv: "behind", seconds: 60 });
    if (n % 40 === 30) await authority.mend();
    const name = names[random(names.length)];
    changes.set(name, changes.get(name).then(() => change(name)));
  }
  await Promise.all(changes.values());
  await authority.break({ d1: "error" });
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  isOver = true;
  await readers;
  assert.ok(seen.active > 20 && seen.held > 20, JSON.stringify(seen));
  // Whatever could not be written meanwhile is when the cron has been there.
  await authority.mend();
  await authority.scheduled("* * * * *");
  const database = await authority.database();
  const { results } = await database.prepare("SELECT name, moderation FROM servers WHERE name LIKE 'com.example.stormy/%'").all();
  for (const { name, moderation } of results) await copied(name, ({ versions }) => versions[0].moderation === moderation);
});

describe("a fault of D1 that is over in a moment", () => {
  const NAME = "com.example/passing";
  const encoded = encodeURIComponent(NAME);
  const public_ = [
    "/v1/revocations",
    "/.well-known/jwks.json",
    "/v1/servers",
    "/v1/servers?query=passing",
    `/v1/servers/${NAME}`,
    `/v1/servers/${NAME}/challenge`,
    "/v0.1/servers",
    "/v0.1/servers?search=passing",
    "/v0.1/x/org.mcp-connect/search?q=passing",
    "/v1/changes",
    `/v0.1/servers/${encoded}/versions?include_deleted=true`,
    `/v0.1/servers/${encoded}/versions/latest?include_deleted=true`,
    "/healthz",
  ];
  const administrators = ["clients", "audit", "stats", "tenants", "moderation", "revocations", `servers/${NAME}/proofs`];
  before(() => authority.publish(NAME));

  const asks = [
    ["connect", () => authority.connect(NAME, key)],
    ...public_.map((path) => [path, () => authority.request(path)]),
    ...administrators.map((path) => [path, () => authority.request(`/v1/admin/${path}`, { bearer: authority.operatorToken })]),
  ];

  test("is noticed by nobody who reads", async () => {
    for (const [what, ask] of asks) {
      await authority.break({ d1: "error", times: 1 });
      const { status, text } = await ask();
      assert.equal(status, 200, `${what}: ${text}`);
    }
    await eventually("it is logged", () => authority.logged("d1_read_repeated").length > 0);
  });

  test("nor is an answer that never comes, in the time that a read has", async () => {
    for (const [what, ask] of asks.slice(0, 3)) {
      await authority.break({ d1: "hang", times: 1 });
      const { status, text } = await ask();
      assert.equal(status, 200, `${what}: ${text}`);
    }
  });

  test("is no reason to ask an overloaded D1 again, nor one whose SQL is wrong", async () => {
    for (const message of ["D1_ERROR: D1 DB is overloaded. Too many requests queued.", "D1_ERROR: no such table: x: SQLITE_ERROR"]) {
      await authority.break({ d1: "error", times: 1, message });
      assert.equal((await authority.connect(NAME, key)).status, 503, message);
    }
  });

  test("lets no change be made twice", async () => {
    const database = await authority.database();
    const audited = async () => (await database.prepare("SELECT count(*) AS count FROM audit").first()).count;
    const before = await audited();
    for (const [d1, made] of [["error", 0], ["lost", 1]]) {
      await authority.break({ d1, times: 1, containing: "UPDATE servers" });
      const answer = await authority.admin(`/servers/${NAME}/revoke`, { reason: "a test wants it" });
      assert.equal(answer.status, 503, answer.text);
      assert.equal(await audited(), before + made, d1);
    }
    await authority.mend();
    await authority.changeServer(NAME, "reinstate");
  });

  test("nor do answers that come late and out of order mix anything up", async () => {
    await authority.break({ d1: "late", millis: 300 });
    const answers = await Promise.all(asks.flatMap((ask) => [ask, ask]).map(async ([what, ask]) => [what, (await ask()).body]));
    await authority.mend();
    const now = (value) => JSON.stringify(value, (name, member) => (/_at$|^descriptor$|_seconds$|nonce|jti/.test(name) ? 0 : member));
    for (const [what, body] of answers.filter(([what]) => what.startsWith("/v") && !what.includes("revocations"))) {
      assert.equal(now(body), now((await authority.request(what)).body), what);
    }
  });
});

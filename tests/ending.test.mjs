// What ends soon is told before it ends: in the counts, by connectctl, and for Prometheus.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { entry, generateKey, keySet, startAuthority } from "./support/authority.mjs";
import { connectctl } from "./support/programs.mjs";

const DAY = 24 * 60 * 60;
const METRIC = "connect_authority_earliest_end_timestamp_seconds";
let authority, database;

before(async () => {
  authority = await startAuthority({ meterD1: true });
  database = await authority.database();
});
after(() => authority?.stop());

async function admin(path, body) {
  const answer = await authority.admin(path, body);
  assert.ok(answer.status < 300, `${path}: ${answer.text}`);
  return answer.body;
}
const ending = async () => (await admin("/stats")).ending;
const of = async (kind) => (await ending()).entries.filter((entry) => entry.kind === kind);
const ctl = (...args) => connectctl(["--authority", authority.url, "--operator-token", authority.operatorToken, ...args]);
const inDays = (date) => (Date.parse(date) - Date.now()) / 1000 / DAY;

async function metric(kind) {
  const { text } = await authority.admin("/metrics");
  const found = new RegExp(`^${METRIC}\\{kind="${kind}"\\} (\\d+)$`, "m").exec(text);
  return found ? Number(found[1]) - Date.now() / 1000 : undefined;
}

function assertDays(actual, expected) {
  assert.ok(Math.abs(actual - expected) < 0.01, `${actual} days instead of ${expected}`);
}

describe("nothing ends", () => {
  test("and that is said", async () => {
    assert.deepEqual(await ending(), { within_days: 14, complete: true, entries: [] });
    assert.equal(await metric("client_key"), undefined);
    const shown = await ctl("status");
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stderr, /Nothing ends within 14 days/);
  });
});

describe("a key", () => {
  test("of an administrator is listed, and neither a later one nor that of somebody suspended", async () => {
    await admin("/administrators", { name: "mona", role: "moderator", label: "laptop", expires_in: 3 * DAY });
    await admin("/administrators", { name: "later", role: "moderator", expires_in: 15 * DAY });
    await admin("/administrators", { name: "gone", role: "moderator", expires_in: 2 * DAY });
    await admin("/administrators/gone/suspend", { reason: "left" });
    const [key, ...others] = await of("administrator_key");
    assert.deepEqual(others, []);
    assert.deepEqual([key.subject, key.label, key.replaced], ["mona", "laptop", undefined]);
    assert.match(key.key_id, /^[\w-]{16}$/);
    assertDays(inDays(key.ends_at), 3);
    assertDays((await metric("administrator_key")) / DAY, 3);
  });

  test("of a client is listed until it is revoked, the earliest first", async () => {
    await admin("/clients", { client_id: "late", expires_in: 5 * DAY });
    await admin("/clients", { client_id: "soon", expires_in: 4 * DAY });
    await admin("/clients", { client_id: "never" });
    assert.deepEqual((await of("client_key")).map(({ subject }) => subject), ["soon", "late"]);
    assertDays((await metric("client_key")) / DAY, 4);
    const [{ key_id }] = await of("client_key");
    await admin(`/clients/soon/keys/${key_id}/revoke`, { reason: "no longer needed" });
    assertDays((await metric("client_key")) / DAY, 5);
  });

  test("that a rotation replaced was meant to end: it is listed, but no alarm", async () => {
    await admin("/clients", { client_id: "rotated" });
    await admin("/clients/rotated/keys/rotate", { overlap_seconds: DAY, reason: "it is time" });
    const [key] = (await of("client_key")).filter(({ subject }) => subject === "rotated");
    assert.equal(key.replaced, true);
    assertDays(inDays(key.ends_at), 1);
    assertDays((await metric("client_key")) / DAY, 5);
  });
});

describe("a quarantine", () => {
  test("of a server and of a version says when and why", async () => {
    await authority.importServers(entry("com.example/alpha"), entry("com.example/beta", { version: "1.0.0" }), entry("com.example/gamma"));
    await admin("/servers/com.example/alpha/quarantine", { reason: "odd traffic", expires_in: 2 * DAY });
    await admin("/servers/com.example/beta@1.0.0/quarantine", { reason: "leaks keys", expires_in: DAY });
    await admin("/servers/com.example/gamma/quarantine", { reason: "no end" });
    assert.deepEqual(
      (await of("quarantine")).map(({ subject, reason }) => [subject, reason]),
      [["com.example/alpha", "odd traffic"], ["com.example/beta@1.0.0", "leaks keys"]],
    );
    assertDays((await metric("quarantine")) / DAY, 1);
  });
});

describe("a proof", () => {
  const prove = (level, failures, confirmedDays, checkedDays = 0) =>
    database
      .prepare(
        `INSERT OR REPLACE INTO proofs (server_id, level, subject, method, actor, proven_at, confirmed_at, checked_at, failures)
         SELECT id, ?1, 'example.com', 'challenge', 'test', 0, ?2, ?3, ?4 FROM servers WHERE name = 'com.example/alpha'`,
      )
      .bind(level, Date.now() - confirmedDays * DAY * 1000, Date.now() - checkedDays * DAY * 1000, failures)
      .run();

  test("that holds is not listed", async () => {
    await prove("namespace", 0, 1);
    assert.deepEqual(await of("proof"), []);
  });

  test("that was not served, or that nobody could look at, says when it is lost", async () => {
    await prove("namespace", 0, 10);
    await prove("endpoint", 2, 2.5);
    const proofs = await of("proof");
    const days = Object.fromEntries(proofs.map(({ level, failures, ends_at }) => [level, [failures, Math.round(inDays(ends_at))]]));
    assert.deepEqual(days, { namespace: [0, 4], endpoint: [2, 1] });
    assertDays((await metric("proof")) / DAY, 1);
  });
});

describe("signing keys", () => {
  test("beside the one that signs are listed with the moment of the next step", async () => {
    const since = Math.floor(Date.now() / 1000) - 100;
    const retired = { ...generateKey(), status: "retired", since };
    await authority.configure({ SIGNING_KEYS: keySet(generateKey(), retired, { ...generateKey(), status: "next" }) });
    const [old] = await of("signing_key_retired");
    assert.equal(Date.parse(old.ends_at) / 1000, since + 155);
    assert.equal(old.since, since);
    const [next] = await of("signing_key_next");
    assert.deepEqual([next.ends_at, next.since], [undefined, undefined]);
    assert.ok(Math.abs((await metric("signing_key_retired")) - 55) < 30);
    assert.equal(await metric("signing_key_next"), undefined);
  });
});

test("connectctl lists all of it, alone and beside the counts", async () => {
  for (const command of ["status", "stats"]) {
    const shown = await ctl(command);
    assert.equal(shown.code, 0, shown.stderr);
    for (const line of [/client key +late/, /administrator key +mona .*laptop/, /quarantine +com\.example\/alpha .*odd traffic/, /proof +com\.example\/alpha .*level endpoint/, /signing key retired/]) {
      assert.match(shown.stdout, line);
    }
  }
  const { entries } = JSON.parse((await ctl("--json", "status")).stdout);
  assert.ok(entries.some(({ subject }) => subject === "mona"));
  const half = await ctl("status", "com.example/alpha@1.0.0");
  assert.equal(half.code, 2, "a server needs its status");
});

test("however many keys there are, a bounded number of rows is read for it", async () => {
  database = await authority.database();
  await database.exec("INSERT INTO clients (client_id, status, created_at) VALUES ('many', 'suspended', 0)");
  await database
    .prepare(
      `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
       INSERT INTO api_keys (key_id, client_id, secret_hash, created_at, expires_at)
       SELECT 'bulk-' || n, iif(n < 10000, 'many', 'late'), 'x', 0, ? + n FROM n`,
    )
    .bind(Date.now() + 60_000)
    .run();
  authority.clearLog();
  await authority.admin("/metrics");
  const rows = authority.logged("d1").reduce((sum, { rows_read }) => sum + rows_read, 0);
  assert.ok(rows < 10_000, `${rows} rows`);
});

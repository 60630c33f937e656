import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { entry, eventually, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";

const WEATHER = "com.example/weather";
let authority, key;

before(async () => {
  authority = await startAuthority({ faults: true });
  await authority.publish(WEATHER);
  key = (await authority.createClient("desktop")).api_key;
});
after(() => authority?.stop());
afterEach(() => authority.mend());

const rows = async (sql) => (await (await authority.database()).prepare(sql).all()).results;
const auditRows = async () => (await rows("SELECT count(*) AS count FROM audit"))[0].count;

describe("while D1 fails", () => {
  test("nothing is issued, and it is again at once afterwards", async () => {
    await authority.break({ d1: "error" });
    for (const ref of [WEATHER, `${WEATHER}@1.0.0`, "com.example/unknown"]) {
      assertProblem(await authority.connect(ref, key), 503, "authority_unavailable");
    }
    const health = await authority.request("/healthz");
    assert.deepEqual(health.body.faults.map(({ setting }) => setting), ["DB"]);
    await authority.mend();
    assert.equal((await authority.connect(WEATHER, key)).status, 200);
  });

  test("nobody is told whether a credential is good", async () => {
    await authority.break({ d1: "error" });
    const [good, wrong] = await Promise.all([key, key.slice(0, -4) + "AAAA"].map((bearer) => authority.connect(WEATHER, bearer)));
    assert.equal(good.text, wrong.text);
  });

  test("servers that are known are still discovered, from KV, and no search is made up", async () => {
    assert.equal((await authority.request(`/v1/servers/${WEATHER}`)).status, 200);
    // A change that KV refused to copy at once is copied by then.
    await authority.scheduled("* * * * *");
    const kv = await authority.kv();
    const copy = await eventually("the copy is in KV", () => kv.get(`server:${WEATHER}`, "json"));
    // One that is too old while D1 answers.
    await kv.put(`server:${WEATHER}`, JSON.stringify({ ...copy, loaded_at: copy.loaded_at - 3_600_000 }));
    for (const d1 of ["error", "hang"]) {
      await authority.break({ d1 });
      for (const path of [WEATHER, `${WEATHER}@1.0.0`]) {
        const known = await authority.request(`/v1/servers/${path}`);
        assert.equal(known.body?.id, WEATHER, `${d1}: ${known.text}`);
      }
    }
    await authority.break({ d1: "error" });
    for (const path of ["", "/com.example/unknown"]) {
      assertProblem(await authority.request(`/v1/servers${path}`), 503, "authority_unavailable");
    }
  });

  test("a search that finds nothing says so, though the words to correct it by can't be read", async () => {
    await authority.break({ d1: "error", containing: "words FROM search_vocabulary" });
    const found = await authority.request("/v1/servers?query=wether");
    assert.deepEqual([found.status, found.body.servers], [200, []]);
    assert.equal(authority.logged("words_unread").length, 1);
  });

  test("an answer that doesn't come is not waited for", async () => {
    await authority.break({ d1: "hang" });
    const begun = Date.now();
    assertProblem(await authority.connect(WEATHER, key), 503, "authority_unavailable");
    const waited = Date.now() - begun;
    assert.ok(waited > 4_500 && waited < 8_000, `${waited} ms`);
  });

  test("a change says that nobody knows whether it was made, and may be repeated", async () => {
    await authority.importServers(entry("com.example/lost"));
    const verify = () => authority.admin("/servers/com.example/lost/verify", { reason: "seen" });
    const before = await auditRows();
    await authority.break({ d1: "lost", containing: "UPDATE servers" });
    assertProblem(await verify(), 503, "authority_unavailable", "not known whether");
    await authority.mend();
    // It was; once.
    const again = await verify();
    assert.deepEqual([again.status, again.body.changed, again.body.verified], [200, false, true]);
    assert.equal(await auditRows(), before + 1);
  });

  test("who only reads is told of no change", async () => {
    await authority.break({ d1: "error" });
    for (const path of ["/v1/revocations", "/v1/admin/clients/desktop/keys", `/v1/admin/servers/${WEATHER}/proofs`]) {
      const answer = await authority.request(path, { bearer: authority.operatorToken });
      assertProblem(answer, 503, "authority_unavailable", "can't decide");
    }
  });

  test("a change that was refused in the middle leaves nothing behind", async () => {
    const database = await authority.database();
    await authority.importServers(entry("com.example/whole"));
    const state = async () => JSON.stringify(await Promise.all([
      rows("SELECT * FROM servers ORDER BY id"),
      rows("SELECT id, status, moderation FROM versions ORDER BY id"),
      rows("SELECT * FROM clients ORDER BY client_id"),
      rows("SELECT * FROM api_keys ORDER BY key_id"),
      rows("SELECT * FROM audit ORDER BY seq"),
      rows("SELECT * FROM revocations ORDER BY kind, subject"),
    ]));
    const before = await state();
    // The audit row is the last that a change writes, or nearly.
    await database.prepare("CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'injected'); END").run();
    try {
      for (const [path, body] of [
        ["/clients", { client_id: "half" }],
        ["/clients/desktop/suspend", { reason: "half" }],
        ["/servers/com.example/whole/verify", { reason: "half" }],
        ["/servers/com.example/whole/revoke", { reason: "half" }],
        ["/import", { servers: [entry("com.example/half"), entry("com.example/whole", { version: "2.0.0" })] }],
      ]) {
        const answer = await authority.admin(path, body);
        assert.equal(answer.status, 503, `${path}: ${answer.text}`);
      }
    } finally {
      await database.prepare("DROP TRIGGER broken").run();
    }
    assert.equal(await state(), before);
    assert.equal((await authority.connect(WEATHER, key)).status, 200);
  });
});

test("while KV fails, everything goes on from D1", async () => {
  for (const kv of ["error", "hang"]) {
    await authority.break({ kv });
    const shown = await authority.request(`/v1/servers/${WEATHER}`);
    assert.equal(shown.body?.id, WEATHER, `${kv}: ${shown.text}`);
    assert.equal((await authority.connect(WEATHER, key)).status, 200);
    assert.equal((await authority.changeServer(WEATHER, "unverify")).changed, true);
    await authority.changeServer(WEATHER, "verify");
  }
});

test("a connect that asks for verdicts does not wait for KV, either", async () => {
  const { HEALTH_GATING } = authority.settings;
  await authority.configure({ HEALTH_GATING: "cached" });
  try {
    for (const kv of ["error", "hang"]) {
      await authority.break({ kv });
      const begun = Date.now();
      assert.equal((await authority.connect(WEATHER, key)).status, 200, kv);
      assert.ok(Date.now() - begun < 4_000, `${kv}: ${Date.now() - begun} ms`);
    }
  } finally {
    await authority.configure({ HEALTH_GATING });
  }
});

describe("at the same time", () => {
  const together = (count, ask) => Promise.all(Array.from({ length: count }, (_, n) => ask(n)));

  test("one of two creations of a client holds, with the key that it was told", async () => {
    const answers = await together(8, () => authority.admin("/clients", { client_id: "twin" }));
    const made = answers.filter(({ status }) => status === 201);
    assert.equal(made.length, 1);
    for (const refused of answers.filter((answer) => answer !== made[0])) {
      assertProblem(refused, 409, "client_exists");
    }
    assert.equal((await authority.connect(WEATHER, made[0].body.api_key)).status, 200);
    assert.equal((await rows("SELECT * FROM api_keys WHERE client_id = 'twin'")).length, 1);
  });

  test("one of two contents of a version holds", async () => {
    const name = "com.example/raced";
    const answers = await together(8, (n) =>
      authority.importServers(entry(name, { endpoint: `https://mcp.example.com/${n}` })));
    const outcomes = answers.map(([{ outcome }]) => outcome).sort();
    assert.deepEqual(outcomes, ["imported", ...Array(7).fill("refused")]);
    assert.equal((await rows(`SELECT * FROM versions v JOIN servers s ON s.id = v.server_id WHERE s.name = '${name}'`)).length, 1);
  });

  test("one of two creations of a tenant holds, and each policy has a version of its own", async () => {
    const made = await together(6, () => authority.admin("/tenants", { tenant_id: "raced" }));
    assert.deepEqual(made.map(({ status }) => status).sort(), [201, ...Array(5).fill(409)]);
    const policies = await together(6, (n) =>
      authority.admin("/tenants/raced/policy", { policy: { allow: [`com.example.n${n}/*`] }, reason: `policy ${n}` }));
    const versions = policies.map(({ status, body, text }) => (assert.equal(status, 200, text), body.version));
    assert.deepEqual(versions.sort(), [1, 2, 3, 4, 5, 6]);
    const kept = await rows("SELECT version, document FROM policies WHERE scope = 'raced' ORDER BY version");
    assert.deepEqual(kept.map(({ version }) => version), [1, 2, 3, 4, 5, 6]);
    const [{ policy }] = await rows("SELECT policy FROM tenants WHERE tenant_id = 'raced'");
    assert.equal(policy, kept.at(-1).document, "the last is in force");
    assert.equal((await rows("SELECT * FROM audit WHERE reason LIKE 'policy %'")).length, 6);
  });

  test("changes of servers, clients, tenants and policies all end, and each that was one has its audit row", async () => {
    const names = ["com.example/busy-1", "com.example/busy-2"];
    for (const name of names) await authority.publish(name);
    await authority.createClient("busy", { tenant_id: "busy" });
    const before = await auditRows();
    const changes = [
      ...names.flatMap((name) => ["revoke", "reinstate", "verify", "unverify"].map((change) => `/servers/${name}/${change}`)),
      "/clients/busy/suspend",
      "/clients/busy/resume",
      "/tenants/busy/suspend",
      "/tenants/busy/resume",
      "/tenants/busy/policy",
    ];
    const change = (path, n) => {
      const policy = path.endsWith("/policy") ? { policy: { allow: ["*"], deny: [`com.example.n${n % 3}/*`] } } : {};
      return authority.admin(path, { ...policy, reason: `change ${n}` });
    };
    const answers = await together(130, async (n) => {
      const [answer] = await Promise.all([
        change(changes[(n * 7) % changes.length], n),
        authority.connect(names[n % 2], key),
      ]);
      return answer;
    });
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    const changed = answers.filter(({ body }) => body.changed).length;
    assert.ok(changed > 2, `${changed} of them changed something`);
    assert.equal((await auditRows()) - before, changed);
    const reasons = await rows("SELECT reason FROM audit WHERE reason LIKE 'change %'");
    assert.equal(new Set(reasons.map(({ reason }) => reason)).size, changed, "each once");
  });
});

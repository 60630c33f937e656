import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";

import { decodeJwt } from "jose";

import { entry, eventually, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";

const WEATHER = "com.example/weather";
const ALL = { allow: ["*"] };
let authority, key, rival, homeless;

before(async () => {
  authority = await startAuthority({ meterD1: true, settings: { REQUIRE_VERIFIED: "false" } });
  key = (await authority.createClient("desktop", { tenant_id: "acme" })).api_key;
  rival = (await authority.createClient("other", { tenant_id: "rival" })).api_key;
  homeless = (await authority.createClient("homeless")).api_key;
  await authority.publish(WEATHER, { version: "1.0.0" });
  await authority.publish(WEATHER, { version: "1.1.0" });
  await authority.importServers(
    entry("com.example/new"),
    entry("com.example.sub/deep"),
    entry("com.examples/near"),
    entry("org.other/tool"),
    entry("org.other/dated", { version: "2025-01-01" }),
  );
});
after(() => authority?.stop());

const setPolicy = (policy, tenant) => authority.setPolicy(policy, { tenant });

/// Every connect must be decided in one round trip of at most 6 rows, none of them written; and
/// whatever it decides, the explanation must say the same.
async function connect(reference, bearer = key) {
  authority.clearLog();
  const answer = await authority.connect(reference, bearer);
  await eventually("the decision is logged", () => authority.logged("connect").length > 0);
  const trips = authority.logged("d1");
  assert.equal(trips.length, 1, JSON.stringify(trips));
  assert.ok(trips[0].rows_read <= 6 && trips[0].rows_written === 0, JSON.stringify(trips));
  const [{ rule }] = authority.logged("connect");

  const client_id = { [key]: "desktop", [rival]: "other", [homeless]: "homeless" }[bearer];
  const explained = await authority.admin("/policy/explain", { server_ref: reference, client_id });
  assert.equal(explained.status, 200, explained.text);
  assert.equal(explained.body.code, answer.body.code ?? "ok", explained.text);
  assert.equal(explained.body.decision, answer.status === 200 ? "granted" : "denied");
  assert.equal(explained.body.detail, answer.body.detail);
  assert.equal(explained.body.rule, rule);
  return { ...answer, rule, explained: explained.body };
}

async function assertGranted(reference, bearer, version) {
  const answer = await connect(reference, bearer);
  assert.equal(answer.status, 200, answer.text);
  if (version) assert.equal(decodeJwt(answer.body.descriptor).mcp.server.version, version);
}

async function assertBlocked(reference, rule, detail, bearer) {
  const answer = await connect(reference, bearer);
  const { rule: named, explained: _, ...problem } = answer;
  assertProblem(problem, 403, "policy_blocked", detail);
  assert.equal(named, rule);
}

describe("a policy", () => {
  beforeEach(async () => {
    await setPolicy(ALL);
    await setPolicy(ALL, "acme");
  });

  test("holds for the very next connect, on a warm isolate and back again", async () => {
    for (let round = 0; round < 3; round += 1) {
      await assertGranted(WEATHER);
      await setPolicy({ allow: ["*"], deny: [WEATHER] }, "acme");
      await assertBlocked(WEATHER, `tenant: deny[0] "${WEATHER}"`, "your tenant");
      await setPolicy(ALL, "acme");
      await assertGranted(WEATHER);
      await setPolicy({ allow: ["*"], deny: ["com.example/*"] });
      await assertBlocked(WEATHER, 'authority: deny[0] "com.example/*"', "this authority");
      await setPolicy(ALL);
    }
  });

  test("of a tenant is for its clients only; that of all is for all, and both must permit", async () => {
    await setPolicy({ allow: [] }, "acme");
    await assertBlocked(WEATHER, "tenant: no rule of allow matches");
    await assertGranted(WEATHER, rival);
    await assertGranted(WEATHER, homeless);

    await setPolicy({ allow: [WEATHER] }, "acme");
    await setPolicy({ allow: ["org.other/*"] });
    for (const bearer of [key, rival, homeless]) {
      await assertBlocked(WEATHER, "authority: no rule of allow matches", "does not allow this server", bearer);
    }
    await assertBlocked("org.other/tool", "tenant: no rule of allow matches");
    await assertGranted("org.other/tool", rival);
  });

  test("allows and denies by name and namespace; deny wins wherever it stands", async () => {
    await setPolicy({ allow: ["com.example/*", "org.other/tool"], deny: ["com.example/new"] }, "acme");
    await assertGranted(WEATHER);
    await assertGranted("org.other/tool");
    await assertBlocked("com.example/new", 'tenant: deny[0] "com.example/new"');
    await assertBlocked("org.other/dated", "tenant: no rule of allow matches");
    await assertBlocked("com.example.sub/deep", "tenant: no rule of allow matches");
    await setPolicy({ allow: ["*", WEATHER], deny: ["com.example/*"] }, "acme");
    await assertBlocked(WEATHER, 'tenant: deny[0] "com.example/*"');
    await assertGranted("org.other/tool");
    await setPolicy({ allow: [WEATHER], deny: ["*"] }, "acme");
    await assertBlocked(WEATHER, 'tenant: deny[0] "*"');
  });

  test("names publishers, with all that is below them", async () => {
    await setPolicy({ allow: ["*"], publishers: ["com.example"] }, "acme");
    await assertGranted(WEATHER);
    await assertGranted("com.example.sub/deep");
    await assertBlocked("com.examples/near", "tenant: no rule of publishers matches", "publisher");
    await setPolicy({ allow: ["*"], publishers: ["com.example.sub"] }, "acme");
    await assertBlocked(WEATHER, "tenant: no rule of publishers matches", "publisher");
  });

  test("pins a version for those who name none, and refuses every other", async () => {
    const pin = (version) => ({ allow: ["*"], versions: [{ servers: WEATHER, pin: version }] });
    await assertGranted(WEATHER, key, "1.1.0");
    await setPolicy(pin("1.0.0"), "acme");
    await assertGranted(WEATHER, key, "1.0.0");
    await assertGranted(WEATHER, key, "1.0.0"); // of the policy that the isolate holds now
    await assertGranted(`${WEATHER}@1.0.0`, key, "1.0.0");
    await assertGranted(WEATHER, rival, "1.1.0");
    const rule = `tenant: versions[0] "${WEATHER}" pin 1.0.0: the version is 1.1.0`;
    await assertBlocked(`${WEATHER}@1.1.0`, rule, "version 1.0.0");
    await assertGranted("com.example/new", key);

    // A tenant's pin leads, and the authority's must agree.
    await setPolicy(pin("1.1.0"));
    await assertBlocked(WEATHER, `authority: versions[0] "${WEATHER}" pin 1.1.0: the version is 1.0.0`);
    await setPolicy(ALL, "acme");
    await assertGranted(WEATHER, key, "1.1.0");
    await setPolicy(pin("1.0.0"));
    await assertGranted(WEATHER, homeless, "1.0.0");
    await assertGranted(WEATHER, homeless, "1.0.0");

    await setPolicy(pin("9.9.9"));
    await assertBlocked(WEATHER, `authority: versions[0] "${WEATHER}" pin 9.9.9: the version is 1.1.0`, "9.9.9");
  });

  test("wants a version at least, of one server, of a namespace or of all", async () => {
    await setPolicy({ allow: ["*"], versions: [{ servers: "com.example/*", minimum: "1.1.0" }] }, "acme");
    await assertGranted(WEATHER, key, "1.1.0");
    const rule = 'tenant: versions[0] "com.example/*" minimum 1.1.0: the version is 1.0.0';
    await assertBlocked(`${WEATHER}@1.0.0`, rule, "1.1.0");
    await assertBlocked("com.example/new", rule);
    await assertGranted("org.other/tool");
    await setPolicy({ allow: ["*"], versions: [{ servers: "*", minimum: "0.0.1" }] }, "acme");
    await assertBlocked("org.other/dated", 'tenant: versions[0] "*" minimum 0.0.1: the version is 2025-01-01');
  });

  test("names clients that may, and those that may not", async () => {
    await setPolicy({ allow: ["*"], clients: { allow: ["*"], deny: ["desktop"] } });
    await assertBlocked(WEATHER, 'authority: clients.deny[0] "desktop"', "this client");
    await assertGranted(WEATHER, rival);
    await setPolicy({ allow: ["*"], clients: { allow: ["desktop"] } });
    await assertGranted(WEATHER);
    await assertBlocked(WEATHER, "authority: no rule of clients.allow matches", "this client", rival);
  });

  test("requires a level of verification; the strictest counts", async () => {
    const database = await authority.database();
    const refused = async (rule) => {
      const { rule: named, explained: _, ...answer } = await connect("com.example/new");
      assertProblem(answer, 403, "server_unverified", "wanted is");
      assert.equal(named, rule);
    };
    const level = (namespace_proven, origin_level) =>
      database
        .prepare(
          `UPDATE servers SET namespace_proven = ?, origin_level = ?, verified_origin =
             (SELECT origin FROM versions WHERE id = default_version) WHERE name = 'com.example/new'`,
        )
        .bind(namespace_proven, origin_level)
        .run();
    await setPolicy({ allow: ["*"], require_verification: "endpoint" }, "acme");
    await refused("tenant: require_verification endpoint: the server has none");
    await assertGranted("com.example/new", rival);
    await level(1, "none");
    await refused("tenant: require_verification endpoint: the server has namespace");
    await level(1, "endpoint");
    await assertGranted("com.example/new");
    await setPolicy({ allow: ["*"], require_verification: "operator" });
    await refused("authority: require_verification operator: the server has endpoint");
    await level(0, "operator");
    await assertGranted("com.example/new");
    await setPolicy({ allow: ["*"], deny: ["com.example/new"], require_verification: "operator" });
    await level(0, "none");
    await assertBlocked("com.example/new", 'authority: deny[0] "com.example/new"');
  });
});

describe("a tenant", () => {
  test("is created, listed and shown", async () => {
    const created = await authority.admin("/tenants", { tenant_id: "umbrella", name: "Umbrella Ltd" });
    assert.equal(created.status, 201, created.text);
    const { created_at, ...rest } = created.body;
    assert.deepEqual(rest, { tenant_id: "umbrella", name: "Umbrella Ltd", status: "active", policy_version: 0 });
    assert.ok(Math.abs(Date.parse(created_at) - Date.now()) < 60_000);
    assert.deepEqual((await authority.admin("/tenants/umbrella")).body, created.body);
    assertProblem(await authority.admin("/tenants", { tenant_id: "umbrella" }), 409, "tenant_exists", "tenant_id");
    assertProblem(await authority.admin("/tenants", { tenant_id: "a b" }), 400, "request_invalid", "tenant_id");
    assertProblem(await authority.admin("/tenants/nobodys"), 404, "tenant_not_found", "create it first");

    const listed = [];
    for (let cursor; ; ) {
      const { body } = await authority.admin(`/tenants?limit=1${cursor ? `&cursor=${cursor}` : ""}`);
      listed.push(...body.tenants.map((tenant) => tenant.tenant_id));
      if (!(cursor = body.next_cursor)) break;
    }
    assert.deepEqual(listed, ["acme", "rival", "umbrella"]);
  });

  test("that is suspended gets nothing from the very next connect on, until it is resumed", async () => {
    await setPolicy(ALL, "rival");
    await setPolicy(ALL);
    await assertGranted(WEATHER, rival);
    const change = (what) => authority.admin(`/tenants/rival/${what}`, { reason: "did not pay" });
    const suspended = await change("suspend");
    assert.equal(suspended.body.status, "suspended");
    assert.equal(suspended.body.changed, true);
    const { rule, explained: _, ...answer } = await connect(WEATHER, rival);
    assertProblem(answer, 403, "policy_blocked", "tenant is suspended");
    assert.equal(rule, undefined);
    assert.equal((await authority.connect(WEATHER, homeless)).status, 200);
    assert.equal((await change("suspend")).body.changed, false);

    const database = await authority.database();
    const { results } = await database.prepare("SELECT kind, subject, reason FROM revocations").all();
    assert.deepEqual(results, [{ kind: "tenant", subject: "rival", reason: "did not pay" }]);
    assert.equal((await change("resume")).body.changed, true);
    await assertGranted(WEATHER, rival);
    assertProblem(await authority.admin("/tenants/nobodys/suspend", { reason: "x" }), 404, "tenant_not_found");
  });
});

describe("writing a policy", () => {
  const write = (path, body) => authority.admin(path, { reason: "a test wants it", ...body });

  test("is told which member is wrong, and changes nothing", async () => {
    const before = (await authority.admin("/policy")).body;
    for (const [policy, detail] of [
      [{}, "allow: is missing"],
      [[], "policy"],
      [{ allow: ["*"], denny: [] }, "denny"],
      [{ allow: ["*"], deny: ["com.bad/*", "a/b", "bad"] }, "policy.deny[1]:"],
      [{ allow: ["*"], deny: ["com.bad/*", "com.bad/b*"] }, "policy.deny[1]:"],
      [{ allow: ["*"], require_verification: "some" }, "policy.require_verification:"],
      [{ allow: ["*"], versions: [{ servers: "*", pin: "1.0.0" }] }, "versions[0].servers: a pin is for one server"],
      [{ allow: Array.from({ length: 2001 }, (_, n) => `com.example/s${n}`) }, "more than 2000 rules"],
    ]) {
      assertProblem(await write("/policy", { policy }), 400, "request_invalid", detail);
    }
    assertProblem(await write("/policy", { policy: ALL, reason: " " }), 400, "request_invalid", "reason");
    const large = { allow: Array.from({ length: 2000 }, (_, n) => `com.example/${"x".repeat(150)}${n}`) };
    assertProblem(await write("/policy", { policy: large }), 413, "request_invalid", "256 KiB");
    assert.deepEqual((await authority.admin("/policy")).body, before);
    assertProblem(await write("/tenants/nobodys/policy", { policy: ALL }), 404, "tenant_not_found");
    assertProblem(await authority.request("/v1/admin/policy", { body: { policy: ALL, reason: "x" }, bearer: key }), 401, "caller_unauthenticated");
  });

  test("makes a version; all of them can be read again", async () => {
    await authority.createTenant("archive");
    const path = "/tenants/archive/policy";
    assert.deepEqual((await authority.admin(path)).body, { version: 0, policy: ALL });
    assert.deepEqual((await authority.admin(`${path}/history`)).body, { versions: [] });
    const policies = [ALL, { allow: [WEATHER], deny: ["com.bad/*"] }, { allow: ["*"], require_verification: "operator" }];
    for (const [index, policy] of policies.entries()) {
      const { body } = await write(path, { policy, reason: `change ${index}` });
      assert.deepEqual([body.version, body.changed, body.reason], [index + 1, true, `change ${index}`]);
    }
    const again = await write(path, { policy: policies[2] });
    assert.deepEqual([again.body.version, again.body.changed], [3, false]);

    const history = (await authority.admin(`${path}/history?limit=2`)).body;
    assert.deepEqual(history.versions.map(({ version, reason }) => [version, reason]), [[3, "change 2"], [2, "change 1"]]);
    const rest = (await authority.admin(`${path}/history?limit=2&cursor=${history.next_cursor}`)).body;
    assert.deepEqual(rest.versions.map(({ version }) => version), [1]);
    for (const [index, policy] of policies.entries()) {
      const { body } = await authority.admin(`${path}?version=${index + 1}`);
      assert.deepEqual([body.version, body.policy], [index + 1, policy]);
    }
    assert.equal((await authority.admin(path)).body.version, 3);
    assert.equal((await authority.admin("/tenants/archive")).body.policy_version, 3);
    assertProblem(await authority.admin(`${path}?version=4`), 404, "policy_not_found", "no such version");
    assertProblem(await authority.admin(`${path}?version=x`), 400, "request_invalid", "version");
    for (const path of ["/tenants/nobodys/policy", "/tenants/nobodys/policy/history"]) {
      assertProblem(await authority.admin(path), 404, "tenant_not_found");
    }
  });

  test("at the same time loses none: of those made of one version, one is written", async () => {
    await authority.createTenant("busy");
    const path = "/tenants/busy/policy";
    const names = Array.from({ length: 8 }, (_, n) => `com.example/s${n}`);
    const edit = async (name) => {
      for (let tries = 1; ; tries += 1) {
        const { version, policy } = (await authority.admin(path)).body;
        const answer = await write(path, {
          policy: { ...policy, deny: [...(policy.deny ?? []), name] },
          reason: name,
          if_version: version,
        });
        if (answer.status === 200) return tries;
        assertProblem(answer, 409, "policy_changed", "if_version");
      }
    };
    const tries = await Promise.all(names.map(edit));
    assert.ok(tries.some((count) => count > 1), "nobody met anybody");
    const last = (await authority.admin(path)).body;
    assert.equal(last.version, names.length);
    assert.deepEqual(last.policy.deny.toSorted(), names);

    const database = await authority.database();
    const audit = await database
      .prepare("SELECT action, reason, detail FROM audit WHERE subject = 'busy' AND action = 'tenant.policy.set' ORDER BY seq")
      .all();
    const { results: written } = await database
      .prepare("SELECT reason, digest FROM policies WHERE scope = 'busy' ORDER BY version")
      .all();
    assert.deepEqual(
      audit.results.map(({ reason, detail }) => ({ reason, digest: detail.replace("digest ", "") })),
      written,
    );
    const { results } = await database.prepare("SELECT policy, policy_digest FROM tenants WHERE tenant_id = 'busy'").all();
    assert.deepEqual(JSON.parse(results[0].policy), last.policy);
    assert.equal(results[0].policy_digest, last.digest);
  });
});

describe("an explanation", () => {
  const explain = (body) => authority.admin("/policy/explain", body);

  test("says what each group of rules says, of all and of the tenant", async () => {
    await setPolicy({ allow: ["*"], deny: ["com.bad/*"], require_verification: "namespace" });
    await setPolicy({ allow: [WEATHER], versions: [{ servers: WEATHER, minimum: "1.0.0" }] }, "acme");
    const { body } = await explain({ client_id: "desktop", server_ref: WEATHER });
    assert.deepEqual(body, {
      decision: "granted",
      code: "ok",
      caller: { client_id: "desktop", tenant_id: "acme" },
      server: { id: WEATHER, version: "1.1.0", level: "operator" },
      findings: [
        ["authority", "clients", "clients is not set"],
        ["authority", "deny", "no rule of deny matches"],
        ["authority", "allow", 'allow[0] "*"'],
        ["authority", "publishers", "publishers is not set"],
        ["authority", "versions", "no rule of versions matches"],
        ["authority", "require_verification", "require_verification namespace: the server has operator"],
        ["tenant", "clients", "clients is not set"],
        ["tenant", "deny", "no rule of deny matches"],
        ["tenant", "allow", `allow[0] "${WEATHER}"`],
        ["tenant", "publishers", "publishers is not set"],
        ["tenant", "versions", `versions[0] "${WEATHER}" minimum 1.0.0: the version is 1.1.0`],
        ["tenant", "require_verification", "require_verification is not set"],
        ["setting", "require_verification", "require_verification is not set"],
      ].map(([scope, group, because]) => ({ scope, group, permits: true, because })),
    });
    const denied = (await explain({ client_id: "desktop", server_ref: "org.other/tool" })).body;
    assert.deepEqual([denied.code, denied.rule], ["policy_blocked", "tenant: no rule of allow matches"]);
    const refusing = denied.findings.filter((finding) => !finding.permits);
    assert.deepEqual(refusing.map(({ scope, group }) => [scope, group]), [
      ["authority", "require_verification"],
      ["tenant", "allow"],
    ]);
  });

  test("may be of a tenant, of a client of its identity provider, or of nobody", async () => {
    await setPolicy({ allow: ["*"], clients: { allow: ["desktop", "cli"] } }, "acme");
    await setPolicy(ALL);
    const asked = async (body) => (await explain({ server_ref: WEATHER, ...body })).body;
    assert.equal((await asked({ tenant_id: "acme", client_id: "cli" })).code, "ok");
    assert.equal((await asked({ tenant_id: "acme" })).rule, "tenant: no rule of clients.allow matches");
    assert.equal((await asked({})).code, "caller_unauthenticated");
    assert.equal((await asked({ client_id: "desktop", server_ref: "com.example/nothing" })).code, "server_not_found");
    assertProblem(await explain({ server_ref: WEATHER, client_id: "cli" }), 404, "client_not_found", "name the tenant");
    assertProblem(await explain({ server_ref: WEATHER, tenant_id: "nobodys" }), 404, "tenant_not_found");
    assertProblem(await explain({ server_ref: WEATHER, tenant_id: "nobodys", client_id: "cli" }), 404, "tenant_not_found");
    assertProblem(await explain({ server_ref: WEATHER, client_id: "desktop", tenant_id: "rival" }), 400, "request_invalid", "tenant_id");
    assertProblem(await explain({ server_ref: "weather" }), 400, "request_invalid", "server_ref");
  });
});

describe("connectctl", () => {
  const ctl = async (args, input) => {
    const done = await connectctl(["--authority", authority.url, "--operator-token", authority.operatorToken, ...args], input);
    return { ...done, shown: `${done.code}\n${done.stdout}\n${done.stderr}` };
  };

  test("names, shows and suspends tenants", async () => {
    const created = await ctl(["tenants", "create", "globex", "--name", "Globex"]);
    assert.match(created.stdout, /globex +Globex +active +– +\d{4}/, created.shown);
    assert.match((await ctl(["tenants", "create", "globex"])).stderr, /is taken/);
    const listed = await ctl(["tenants", "list", "--json"]);
    const ids = JSON.parse(listed.stdout).tenants.map((tenant) => tenant.tenant_id);
    assert.ok(ids.includes("globex") && ids.includes("acme"), listed.shown);
    const suspended = await ctl(["tenants", "suspend", "globex", "--reason", "left"]);
    assert.match(suspended.stdout, /globex +Globex +suspended/, suspended.shown);
    assert.match((await ctl(["tenants", "suspend", "globex", "--reason", "left"])).stderr, /nothing changed/);
    assert.match((await ctl(["tenants", "resume", "globex", "--reason", "came back"])).stdout, /active/);
    const missing = await ctl(["tenants", "show", "nobodys"]);
    assert.equal(missing.code, 1, missing.shown);
    assert.match(missing.stderr, /create it first/);
    const stray = await ctl(["clients", "create", "stray", "--tenant", "nobodys"]);
    assert.match(stray.stderr, /no such tenant; create it first/, stray.shown);
  });

  test("shows a policy that can be edited and set again, and what became of it", async () => {
    const tenant = ["--tenant", "globex"];
    const first = await ctl(["policy", "show", ...tenant]);
    assert.deepEqual(JSON.parse(first.stdout), ALL, first.shown);
    assert.match(first.stderr, /Nobody wrote a policy yet/);

    const edited = JSON.stringify({ allow: ["com.example/*"], deny: [WEATHER] });
    const set = (input, ...args) => ctl(["policy", "set", "-", "--reason", "tests", ...tenant, ...args], input);
    const done = await set(edited, "--if-version", "0");
    assert.equal(done.code, 0, done.shown);
    assert.match(done.stdout, /1 +\d{4}.* +operator +tests/, done.shown);
    assert.match(done.stderr, /In force from now on/);
    assert.match((await set(edited)).stderr, /nothing changed/);
    const late = await set(JSON.stringify(ALL), "--if-version", "0");
    assert.equal(late.code, 1, late.shown);
    assert.match(late.stderr, /at version 1 now/);
    const wrong = await set('{"allow": ["*"], "deny": ["bad"]}');
    assert.equal(wrong.code, 1, wrong.shown);
    assert.match(wrong.stderr, /policy\.deny\[0\]: "bad" is none of/);
    assert.equal((await set("{")).code, 2);

    const shown = await ctl(["policy", "show", ...tenant]);
    assert.deepEqual(JSON.parse(shown.stdout), JSON.parse(edited), shown.shown);
    assert.match(shown.stderr, /Version 1, by operator at .*: tests/);
    const history = await ctl(["policy", "history", ...tenant, "--json"]);
    assert.deepEqual(JSON.parse(history.stdout).versions.map(({ version, reason }) => [version, reason]), [[1, "tests"]]);
  });

  test("explains a decision to an administrator", async () => {
    await setPolicy(ALL);
    const explain = (...args) => ctl(["policy", "explain", ...args]);
    const denied = await explain(WEATHER, "--tenant", "globex", "--client", "cli");
    assert.equal(denied.code, 0, denied.shown);
    for (const line of [
      /decision +denied: policy_blocked/,
      /caller +cli of globex/,
      /server +com\.example\/weather 1\.1\.0/,
      /verified +operator/,
      /decided by +tenant: deny\[0\] "com\.example\/weather"/,
      /caller is told +the policy of your tenant says no: it does not allow this server/,
      /authority +allow +yes +allow\[0\] "\*"/,
      /tenant +deny +no +deny\[0\] "com\.example\/weather"/,
    ]) {
      assert.match(denied.stdout, line, denied.shown);
    }
    const granted = await explain("com.example/new", "--tenant", "globex");
    assert.match(granted.stdout, /decision +granted\s+caller +a client of globex/, granted.shown);
    const { code } = JSON.parse((await explain(WEATHER, "--client", "desktop", "--json")).stdout);
    assert.equal(code, (await authority.connect(WEATHER, key)).body.code ?? "ok");
  });
});

test("a policy of 1,000 rules costs no row more, warm or cold", async () => {
  await setPolicy(ALL);
  const large = (n) => ({
    allow: Array.from({ length: 500 }, (_, i) => `com.allowed${i}/*`).concat(WEATHER),
    deny: Array.from({ length: 499 }, (_, i) => `com.denied${i}/tool${n}`),
  });
  for (let n = 0; n < 3; n += 1) {
    await setPolicy(large(n), "acme");
    await assertGranted(WEATHER); // cold: the document comes along
    await assertGranted(WEATHER);
    await assertBlocked("org.other/tool", "tenant: no rule of allow matches");
  }
});

test("a policy that can't be read lets nobody in", async () => {
  await setPolicy(ALL);
  await setPolicy(ALL, "acme");
  await assertGranted(WEATHER);
  const database = await authority.database();
  const policy = JSON.stringify({ allow: [] });
  await database.prepare("UPDATE tenants SET policy = ?, policy_digest = 'forged' WHERE tenant_id = 'acme'").bind(policy).run();
  assertProblem(await authority.connect(WEATHER, key), 503, "authority_unavailable");
  assert.equal((await authority.connect(WEATHER, rival)).status, 200);
  await setPolicy({ allow: ["*"], deny: ["com.bad/*"] }, "acme");
  await assertGranted(WEATHER);
});

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { REPOSITORY, entry, eventually, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";

let authority, clientKey;
const KEY = /^mcpa_([\w-]{16})_([\w-]{43})$/;
const reason = "a test wants it";

before(async () => {
  authority = await startAuthority({ meterD1: true });
  clientKey = (await authority.createClient("desktop")).api_key;
  await authority.importServers(entry("com.example/weather"));
});
after(() => authority?.stop());

/// A new administrator's key.
async function administrator(name, role, members = {}) {
  const answer = await authority.admin("/administrators", { name, role, ...members });
  assert.equal(answer.status, 201, answer.text);
  return answer.body.key;
}

const as = (bearer) => (path, body) => authority.request(`/v1/admin${path}`, { body, bearer });
const whoami = (bearer) => as(bearer)("/whoami");
const keyId = (key) => KEY.exec(key)[1];

async function lastAudit(count) {
  const { body } = await authority.admin(`/audit?limit=${count}`);
  return body.entries.reverse().map(({ actor, action, subject, reason, detail }) => ({ actor, action, subject, reason, detail }));
}

// Every endpoint below /v1/admin with the role it needs, as schema/openapi.yaml names them. A body
// of {} is refused by each that would change something by it.
const ENDPOINTS = {
  "GET /v1/admin/whoami": ["metrics", "/whoami"],
  "GET /v1/admin/administrators": ["auditor", "/administrators"],
  "POST /v1/admin/administrators": ["operator", "/administrators"],
  "POST /v1/admin/administrators/{name}/{change}": ["operator", "/administrators/mona/suspend", "/administrators/mona/resume"],
  "POST /v1/admin/administrators/{name}/role": ["operator", "/administrators/mona/role"],
  "GET /v1/admin/administrators/{name}/keys": ["auditor", "/administrators/mona/keys"],
  "POST /v1/admin/administrators/{name}/keys": ["operator", "/administrators/nobody/keys"],
  "POST /v1/admin/administrators/{name}/keys/rotate": ["operator", "/administrators/mona/keys/rotate"],
  "POST /v1/admin/administrators/{name}/keys/{key_id}/revoke": ["operator", "/administrators/mona/keys/0123456789abcdef/revoke"],
  "GET /v1/admin/clients": ["auditor", "/clients"],
  "POST /v1/admin/clients": ["operator", "/clients"],
  "POST /v1/admin/clients/{client_id}/{change}": ["moderator", "/clients/desktop/suspend", "/clients/desktop/resume"],
  "POST /v1/admin/administrators/{name}/access-identity": ["operator", "/administrators/mona/access-identity"],
  "GET /v1/admin/clients/{client_id}/keys": ["auditor", "/clients/desktop/keys"],
  "POST /v1/admin/clients/{client_id}/keys": ["operator", "/clients/nobody/keys"],
  "POST /v1/admin/clients/{client_id}/keys/rotate": ["operator", "/clients/desktop/keys/rotate"],
  "POST /v1/admin/clients/{client_id}/keys/{key_id}/revoke": ["operator", "/clients/desktop/keys/0123456789abcdef/revoke"],
  "GET /v1/admin/tenants/{tenant_id}/identity-providers": ["auditor", "/tenants/acme/identity-providers"],
  "POST /v1/admin/tenants/{tenant_id}/identity-providers": ["operator", "/tenants/acme/identity-providers"],
  "POST /v1/admin/tenants/{tenant_id}/identity-providers/remove": ["operator", "/tenants/acme/identity-providers/remove"],
  "POST /v1/admin/identity-providers/test": ["moderator", "/identity-providers/test"],
  "GET /v1/admin/keys": ["auditor", "/keys"],
  "GET /v1/admin/revocations": ["auditor", "/revocations"],
  "POST /v1/admin/revocations": ["operator", "/revocations"],
  "GET /v1/admin/servers": ["auditor", "/servers"],
  "GET /v1/admin/servers/{namespace}/{name}/proofs": ["auditor", "/servers/com.example/weather/proofs"],
  "POST /v1/admin/servers/{namespace}/{name}/prove": ["moderator", "/servers/com.example/weather/prove"],
  "GET /v1/admin/servers/{namespace}/{name}/health": ["auditor", "/servers/com.example/weather/health"],
  "POST /v1/admin/servers/{namespace}/{name}/probe": ["moderator", "/servers/com.example/nobody/probe"],
  "POST /v1/admin/servers/{namespace}/{name}/verify": ["moderator", "/servers/com.example/weather/verify"],
  "POST /v1/admin/servers/{namespace}/{name}/unverify": ["moderator", "/servers/com.example/weather/unverify"],
  "POST /v1/admin/servers/{namespace}/{name}/quarantine": ["moderator", "/servers/com.example/weather/quarantine", "/servers/com.example/weather@1.0.0/quarantine"],
  "POST /v1/admin/servers/{namespace}/{name}/{change}": ["moderator", "/servers/com.example/weather/revoke", "/servers/com.example/weather/reinstate"],
  "GET /v1/admin/moderation": ["auditor", "/moderation"],
  "GET /v1/admin/stats": ["auditor", "/stats"],
  "GET /v1/admin/metrics": ["metrics", "/metrics"],
  "GET /v1/admin/tenants": ["auditor", "/tenants"],
  "POST /v1/admin/tenants": ["operator", "/tenants"],
  "GET /v1/admin/tenants/{tenant_id}": ["auditor", "/tenants/acme"],
  "POST /v1/admin/tenants/{tenant_id}/{change}": ["operator", "/tenants/acme/suspend", "/tenants/acme/resume"],
  "GET /v1/admin/tenants/{tenant_id}/policy": ["auditor", "/tenants/acme/policy"],
  "POST /v1/admin/tenants/{tenant_id}/policy": ["operator", "/tenants/acme/policy"],
  "GET /v1/admin/tenants/{tenant_id}/policy/history": ["auditor", "/tenants/acme/policy/history"],
  "GET /v1/admin/policy": ["auditor", "/policy"],
  "POST /v1/admin/policy": ["operator", "/policy"],
  "GET /v1/admin/policy/history": ["auditor", "/policy/history"],
  "POST /v1/admin/policy/explain": ["auditor", "/policy/explain"],
  "POST /v1/admin/import": ["operator", "/import"],
  "POST /v1/admin/cache/rebuild": ["operator", "/cache/rebuild"],
  "POST /v1/admin/purge": ["operator", "/purge"],
  "GET /v1/admin/mirror": ["auditor", "/mirror"],
  "GET /v1/admin/mirror/poison": ["auditor", "/mirror/poison"],
  "POST /v1/admin/mirror/sync": ["operator", "/mirror/sync"],
  "GET /v1/admin/audit": ["auditor", "/audit"],
  "GET /v1/admin/audit/export": ["auditor", "/audit/export"],
};

/// By role, in which each may do all that those before it may.
const NAMES = { metrics: "meg", auditor: "audrey", moderator: "mona", operator: "otto" };
const ROLES = Object.keys(NAMES);

describe("roles", () => {
  let keys;
  before(async () => {
    keys = Object.fromEntries(await Promise.all(Object.entries(NAMES).map(async ([role, name]) => [role, await administrator(name, role)])));
  });

  test("are asked of every endpoint that there is", () => {
    const document = readFileSync(join(REPOSITORY, "schema/openapi.yaml"), "utf8");
    const documented = [];
    let path, method;
    for (const line of document.split("\n")) {
      path = /^ {2}(\/\S+):$/.exec(line)?.[1] ?? path;
      method = /^ {4}(\w+):$/.exec(line)?.[1].toUpperCase() ?? method;
      if (/^ {6}operationId:/.test(line) && path.startsWith("/v1/admin")) documented.push([`${method} ${path}`]);
      const role = /^ {6}x-required-role: (\w+)$/.exec(line)?.[1];
      if (role) documented.at(-1).push(role);
    }
    const asked = Object.entries(ENDPOINTS).map(([endpoint, [role]]) => [endpoint, role]);
    assert.deepEqual(documented.sort(), asked.sort());
  });

  for (const [endpoint, [needed, ...paths]] of Object.entries(ENDPOINTS)) {
    test(`${endpoint} is for a ${needed}`, async () => {
      for (const path of paths) {
        const ask = (bearer) => as(bearer)(path, endpoint.startsWith("GET") ? undefined : {});
        for (const bearer of [undefined, clientKey, `${keys.operator}x`, `mcpa_${"A".repeat(16)}_${"A".repeat(43)}`]) {
          assertProblem(await ask(bearer), 401, "caller_unauthenticated");
        }
        for (const role of ROLES) {
          const answer = await ask(keys[role]);
          if (ROLES.indexOf(role) < ROLES.indexOf(needed)) {
            assertProblem(answer, 403, "role_insufficient", `this needs the role ${needed}; ${NAMES[role]}'s is ${role}`);
          } else {
            assert.ok([200, 400, 404, 409].includes(answer.status), `${path}: ${answer.status} ${answer.text}`);
          }
        }
      }
    });
  }

  test("one that was made before there were four keeps its keys", async () => {
    const key = await administrator("early", "moderator");
    const database = await authority.database();
    const migration = readFileSync(join(REPOSITORY, "schema/migrations/0022_roles.sql"), "utf8");
    const statements = migration.replace(/--.*/g, "").split(";").filter((statement) => statement.trim());
    await database.batch(statements.map((statement) => database.prepare(statement)));
    assert.deepEqual((await whoami(key)).body, { name: "early", role: "moderator" });
    assert.deepEqual((await database.prepare("PRAGMA foreign_key_check").all()).results, []);
    const unknown = database.prepare("INSERT INTO administrators (name, role, created_at) VALUES ('x', 'owner', 0)");
    await assert.rejects(unknown.run(), /CHECK/);
  });

  test("a moderator's changes carry the moderator's name, and what is refused leaves no trace", async () => {
    const mona = as(keys.moderator);
    assert.equal((await mona("/servers/com.example/weather/revoke", { reason })).status, 200);
    assert.equal((await mona("/clients/desktop/suspend", { reason })).status, 200);
    assertProblem(await mona("/clients", { client_id: "sneaked" }), 403, "role_insufficient");
    assertProblem(await mona("/administrators", { name: "eve", role: "operator" }), 403, "role_insufficient");
    assert.deepEqual(await lastAudit(2), [
      { actor: "mona", action: "server.revoke", subject: "com.example/weather", reason, detail: undefined },
      { actor: "mona", action: "client.suspend", subject: "desktop", reason, detail: undefined },
    ]);
    assert.equal((await mona("/clients/desktop/resume", { reason })).status, 200);
    const { body } = await authority.admin("/clients");
    assert.deepEqual(body.clients.map(({ client_id }) => client_id), ["desktop"]);
  });

  test("a body is read only of who may send one", async () => {
    const large = JSON.stringify({ servers: [], padding: "x".repeat(100_000) });
    assertProblem(await as(keys.operator)("/clients", large), 413, "request_invalid");
    assertProblem(await as("wrong")("/clients", large), 401, "caller_unauthenticated");
    assert.equal((await as(keys.operator)("/import", large)).status, 400, "an import may be that large");
  });
});

describe("a credential", () => {
  /// The answer, and how many round trips to D1 it took.
  async function metered(ask) {
    authority.clearLog();
    const answer = await ask();
    // The log comes later than the answer; a request that is refused at once marks its end.
    await as("end")("/audit");
    await eventually("the log has arrived", () => authority.logged("administrator_refused").some(({ route }) => route.endsWith("/audit")));
    return [answer, authority.logged("d1").length];
  }

  test("is looked up once, and only where it can be a key", async () => {
    const key = await administrator("once", "moderator");
    for (const [bearer, status, queries] of [
      [key, 200, 1],
      [`mcpa_${"A".repeat(16)}_${"A".repeat(43)}`, 401, 1],
      [authority.operatorToken, 200, 0],
      ["wrong", 401, 0],
      ["mcpa_wrong", 401, 0],
      [`${key}x`, 401, 0],
      [clientKey, 401, 0],
    ]) {
      const [answer, taken] = await metered(() => whoami(bearer));
      assert.deepEqual([answer.status, taken], [status, queries], bearer.slice(0, 10));
    }
  });

  test("tells who one is", async () => {
    const key = await administrator("who", "moderator");
    const { body, headers } = await whoami(key);
    assert.deepEqual(body, { name: "who", role: "moderator" });
    assert.equal(headers.get("cache-control"), "no-store");
    assert.deepEqual((await whoami(authority.operatorToken)).body, { name: "operator", role: "operator" });
  });

  test("is stored as a hash", async () => {
    const [, id, secret] = KEY.exec(await administrator("hashed", "operator"));
    const database = await authority.database();
    const { results } = await database.prepare("SELECT * FROM administrator_keys WHERE name = 'hashed'").all();
    assert.equal(results.length, 1);
    assert.deepEqual([results[0].key_id, results[0].secret_hash], [id, createHash("sha256").update(secret).digest("base64url")]);
    assert.ok(!authority.log().join().includes(secret));
  });

  test("of a suspended administrator is refused at once, until they are resumed", async () => {
    const key = await administrator("sam", "operator");
    const change = async (change) => {
      const answer = await authority.admin(`/administrators/sam/${change}`, { reason });
      assert.equal(answer.status, 200, answer.text);
      return [answer.body.status, answer.body.changed];
    };
    assert.deepEqual(await change("resume"), ["active", false]);
    assert.deepEqual(await change("suspend"), ["suspended", true]);
    assertProblem(await whoami(key), 401, "caller_unauthenticated", "suspended");
    assertProblem(await as(key)("/clients", { client_id: "sneaked" }), 401, "caller_unauthenticated", "suspended");
    const forged = `${key.slice(0, -1)}${key.endsWith("A") ? "E" : "A"}`;
    assertProblem(await whoami(forged), 401, "caller_unauthenticated", "show an administrator's key");
    assert.deepEqual(await change("suspend"), ["suspended", false]);
    assert.deepEqual(await change("resume"), ["active", true]);
    assert.equal((await whoami(key)).status, 200);
    assert.deepEqual(await lastAudit(2), [
      { actor: "operator", action: "administrator.suspend", subject: "sam", reason, detail: undefined },
      { actor: "operator", action: "administrator.resume", subject: "sam", reason, detail: undefined },
    ]);
  });

  test("may be one of several, and each is revoked by itself", async () => {
    const first = await administrator("kim", "moderator", { label: "laptop" });
    const created = await authority.admin("/administrators/kim/keys", { label: "phone" });
    assert.equal(created.status, 201, created.text);
    const second = created.body.key;
    assert.deepEqual([(await whoami(first)).status, (await whoami(second)).status], [200, 200]);

    const path = `/administrators/kim/keys/${keyId(first)}/revoke`;
    const revoked = (await authority.admin(path, { reason })).body;
    assert.deepEqual([revoked.status, revoked.changed, revoked.key_id], ["revoked", true, keyId(first)]);
    assertProblem(await whoami(first), 401, "caller_unauthenticated", "revoked");
    assert.equal((await whoami(second)).status, 200);
    assert.equal((await authority.admin(path, { reason })).body.changed, false);

    const { body, text } = await authority.admin("/administrators/kim/keys");
    const listed = body.keys.map(({ key_id, status, label }) => [key_id, status, label]);
    assert.deepEqual(listed.sort(), [[keyId(second), "active", "phone"], [keyId(first), "revoked", "laptop"]].sort());
    assert.ok(!text.includes("mcpa_") && !text.includes("secret"));
    assert.deepEqual(await lastAudit(2), [
      { actor: "operator", action: "administrator.key.create", subject: "kim", reason: undefined, detail: keyId(second) },
      { actor: "operator", action: "administrator.key.revoke", subject: "kim", reason, detail: keyId(first) },
    ]);
    for (const [path, code] of [
      [`/administrators/nobody/keys/${keyId(first)}/revoke`, "key_not_found"],
      ["/administrators/kim/keys/AAAAAAAAAAAAAAAA/revoke", "key_not_found"],
      ["/administrators/nobody/suspend", "administrator_not_found"],
      ["/administrators/nobody/keys", "administrator_not_found"],
    ]) {
      assertProblem(await authority.admin(path, path.endsWith("keys") ? {} : { reason }), 404, code);
    }
    assertProblem(await authority.admin("/administrators/nobody/keys"), 404, "administrator_not_found");
  });

  test("expires when it was said to", async () => {
    const key = await administrator("eva", "moderator", { expires_in: 2 });
    assert.equal((await whoami(key)).status, 200);
    const { expires_at } = (await authority.admin("/administrators/eva/keys")).body.keys[0];
    const refused = await eventually("it is refused", async () => {
      const answer = await whoami(key);
      return answer.status !== 200 && answer;
    });
    assert.ok(Date.now() >= Date.parse(expires_at), "not before its time");
    assertProblem(refused, 401, "caller_unauthenticated", "expired");
    assert.equal((await authority.admin("/administrators/eva/keys")).body.keys[0].status, "expired");

    const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
    const { body } = await authority.admin("/administrators/eva/keys", { expires_at: tomorrow });
    assert.equal(body.expires_at, tomorrow);
  });
});

describe("an administrator", () => {
  for (const [body, member] of [
    [{ role: "operator" }, "name"],
    [{ name: "", role: "operator" }, "name"],
    [{ name: "Alice", role: "operator" }, "name"],
    [{ name: "a/b", role: "operator" }, "name"],
    [{ name: "operator", role: "operator" }, "name"],
    [{ name: "authority", role: "operator" }, "name"],
    [{ name: "a".repeat(65), role: "operator" }, "name"],
    [{ name: "fine" }, "role"],
    [{ name: "fine", role: "owner" }, "role"],
    [{ name: "fine", role: "operator", label: "" }, "label"],
    [{ name: "fine", role: "operator", expires_in: 0 }, "expires_in"],
    [{ name: "fine", role: "operator", expires_in: 400_000_000 }, "expires_in"],
    [{ name: "fine", role: "operator", expires_at: "2020-01-01T00:00:00Z" }, "expires_at"],
    [{ name: "fine", role: "operator", expires_at: "tomorrow" }, "expires_at"],
    [{ name: "fine", role: "operator", expires_at: "2030-01-01T00:00:00Z", expires_in: 5 }, "expires_at"],
    [{ name: "fine", role: "operator", key: "mcpa_mine" }, "key"],
  ]) {
    test(`can't be ${JSON.stringify(body).slice(0, 60)}`, async () => {
      assertProblem(await authority.admin("/administrators", body), 400, "request_invalid", member);
    });
  }

  test("has a name of their own", async () => {
    const key = await administrator("unique", "moderator");
    assertProblem(await authority.admin("/administrators", { name: "unique", role: "operator" }), 409, "administrator_exists", "an administrator named unique");
    assert.deepEqual((await whoami(key)).body, { name: "unique", role: "moderator" });
  });

  test("changes roles, which holds at once", async () => {
    const key = await administrator("riser", "moderator");
    const answer = await authority.admin("/administrators/riser/role", { role: "operator", reason });
    assert.deepEqual([answer.body.role, answer.body.changed], ["operator", true]);
    assert.equal((await authority.admin("/administrators/riser/role", { role: "operator", reason })).body.changed, false);
    assert.equal((await as(key)("/clients", { client_id: "made-by-riser" })).status, 201);
    assert.deepEqual(await lastAudit(2), [
      { actor: "operator", action: "administrator.role", subject: "riser", reason, detail: "operator" },
      { actor: "riser", action: "client.create", subject: "made-by-riser", reason: undefined, detail: undefined },
    ]);
  });

  test("is listed once, over all pages", async () => {
    const everyone = (await authority.admin("/administrators?limit=100")).body.administrators;
    const names = everyone.map(({ name }) => name);
    assert.deepEqual(names, [...new Set(names)].sort());
    const paged = [];
    for (let cursor = ""; cursor !== undefined; ) {
      const { body } = await authority.admin(`/administrators?limit=2${cursor && `&cursor=${cursor}`}`);
      paged.push(...body.administrators);
      cursor = body.next_cursor;
    }
    assert.deepEqual(paged, everyone);
    assertProblem(await authority.admin("/administrators?cursor=A%20B"), 400, "request_invalid", "cursor");
  });
});

test("connectctl names administrators, and they use it with their own keys", async () => {
  const run = async (token, ...args) => {
    const { code, stdout, stderr } = await connectctl(["--authority", authority.url, `--operator-token=${token}`, ...args]);
    return { code, out: stdout.trim(), err: stderr };
  };
  const created = await run(authority.operatorToken, "admins", "create", "cli@example.com", "--role", "moderator", "--label", "cli", "--for", "12h");
  assert.equal(created.code, 0, created.err);
  const key = created.out.split("\n").at(-1);
  assert.match(key, KEY);
  assert.match((await run(key, "whoami")).out, /cli@example\.com[^]*moderator/);
  const refused = await run(key, "admins", "create", "eve", "--role", "operator");
  assert.deepEqual([refused.code, /this needs the role operator/.test(refused.err)], [1, true], refused.err);
  assert.match((await run(key, "admins", "list")).out, /cli@example\.com +moderator +active/);

  const another = JSON.parse((await run(authority.operatorToken, "admins", "keys", "create", "cli@example.com", "--json")).out);
  const listed = JSON.parse((await run(another.key, "admins", "keys", "list", "cli@example.com", "--json")).out).keys;
  const hours = listed.filter(({ label }) => label === "cli").map(({ created_at, expires_at }) => (Date.parse(expires_at) - Date.parse(created_at)) / 3_600_000);
  assert.deepEqual([listed.length, Math.round(hours[0])], [2, 12]);
  const revoked = await run(authority.operatorToken, "admins", "keys", "revoke", "cli@example.com", "--key", keyId(key), "--reason", reason);
  assert.equal(revoked.code, 0, revoked.err);
  assert.match((await run(key, "whoami")).err, /revoked/);
  for (const change of [["role", "cli@example.com", "--role", "operator"], ["suspend", "cli@example.com"]]) {
    const changed = await run(authority.operatorToken, "admins", ...change, "--reason", reason);
    assert.equal(changed.code, 0, changed.err);
  }
  assert.match((await run(another.key, "whoami")).err, /suspended/);
  assert.equal((await run(authority.operatorToken, "admins", "resume", "cli@example.com", "--reason", reason)).code, 0);
  assert.match((await run(another.key, "whoami")).out, /operator/);
});

describe("without the operator's token", () => {
  let last;

  before(async () => {
    // The only operator who can get in: everybody else is suspended, moderates, or has no key.
    for (const { name } of (await authority.admin("/administrators?limit=100")).body.administrators) {
      await authority.admin(`/administrators/${name}/suspend`, { reason });
    }
    last = await administrator("last", "operator");
    await administrator("watcher", "moderator");
    await authority.configure({ OPERATOR_TOKEN: undefined });
  });
  after(() => authority.configure({}));

  test("named administrators go on, and all is well", async () => {
    assert.equal((await whoami(last)).status, 200);
    assert.deepEqual((await authority.request("/healthz")).body, { status: "ok" });
    for (const bearer of [authority.settings.OPERATOR_TOKEN ?? "undefined", "", "wrong"]) {
      assertProblem(await as(bearer)("/whoami"), 401, "caller_unauthenticated");
    }
  });

  test("the last operator can't lock everyone out", async () => {
    const me = as(last);
    for (const [path, body] of [
      ["/administrators/last/suspend", { reason }],
      ["/administrators/last/role", { role: "moderator", reason }],
      [`/administrators/last/keys/${keyId(last)}/revoke`, { reason }],
    ]) {
      assertProblem(await me(path, body), 409, "last_operator");
    }
    assert.equal((await whoami(last)).status, 200);

    // An identity at Cloudflare Access is no way in while Access is not set up.
    const cloudy = (await me("/administrators", { name: "cloudy", role: "operator" })).body.key;
    const identity = { access_identity: "cloudy@example.com", reason };
    assert.equal((await me("/administrators/cloudy/access-identity", identity)).status, 200);
    assert.equal((await me(`/administrators/cloudy/keys/${keyId(cloudy)}/revoke`, { reason })).status, 200);
    assertProblem(await me("/administrators/last/suspend", { reason }), 409, "last_operator");

    // With another key, or another operator, each of it is allowed.
    const second = (await me("/administrators/last/keys", {})).body.key;
    assert.equal((await me(`/administrators/last/keys/${keyId(last)}/revoke`, { reason })).body.changed, true);
    const next = as(second);
    assertProblem(await next("/administrators/last/suspend", { reason }), 409, "last_operator");
    const heir = (await next("/administrators", { name: "heir", role: "operator" })).body.key;
    // Both at once: one of them stays.
    const both = await Promise.all([
      next("/administrators/heir/suspend", { reason }),
      as(heir)("/administrators/last/suspend", { reason }),
    ]);
    const statuses = both.map(({ status }) => status).sort();
    assert.ok([200].includes(statuses[0]) && [401, 409].includes(statuses[1]), JSON.stringify(statuses));
    assert.deepEqual((await authority.request("/healthz")).body, { status: "ok" });
  });

  test("where nobody can get in, health says so", async () => {
    const database = await authority.database();
    await database.prepare("UPDATE administrator_keys SET revoked_at = 1").run();
    const { status, body } = await authority.request("/healthz");
    assert.equal(status, 503);
    assert.deepEqual(body.faults.map(({ setting }) => setting), ["OPERATOR_TOKEN"]);

    const access = { ACCESS_TEAM_DOMAIN: "https://team.cloudflareaccess.com", ACCESS_AUDIENCE: "tag" };
    await authority.configure({ OPERATOR_TOKEN: undefined, ...access });
    assert.deepEqual((await authority.request("/healthz")).body, { status: "ok" }, "cloudy comes through Access");
    assert.match(body.faults[0].problem, /nobody can administrate/);
  });
});

// What an operator meets in the first week: typos in an emergency, one decision explained, rotations that keep what
// was set, reasons, days and filters, and errors that a script can read.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { decodeJwt } from "jose";

import { entry, generateKey, keySet, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";
import { Site } from "./support/site.mjs";

const SERVER = "com.example/weather";
const DAY_MILLIS = 24 * 60 * 60 * 1000;
const reason = "a test wants it";
const signing = generateKey();
let authority, key;

before(async () => {
  authority = await startAuthority({ settings: { REQUIRE_VERIFIED: "false", SIGNING_KEYS: keySet(signing) } });
  await authority.publish(SERVER);
  key = (await authority.createClient("desktop", { tenant_id: "acme" })).api_key;
});
after(() => authority?.stop());

async function ctl(...args) {
  const done = await connectctl(["--authority", authority.url, "--operator-token", authority.operatorToken, ...args]);
  return { ...done, shown: `${done.code}\n${done.stdout}\n${done.stderr}` };
}

async function newest(count = 1) {
  return (await authority.admin(`/audit?limit=${count}`)).body.entries;
}

describe("revoking what is not there", () => {
  const unknown = generateKey().kid;
  const revoke = (members) => authority.admin("/revocations", { kind: "key", id: unknown, reason, ...members });

  test("a signing key: nothing is revoked, and the held ones are named", async () => {
    assertProblem(await revoke(), 404, "key_not_found", `it holds ${signing.kid} (active)`);
    const { body } = await authority.admin("/revocations");
    assert.ok(!body.revocations.some(({ id }) => id === unknown));
    for (const args of [["keys", "revoke", unknown], ["revoke", "key", unknown]]) {
      const done = await ctl(...args, "--reason", reason);
      assert.equal(done.code, 1, done.shown);
      assert.equal(done.stdout, "");
      assert.match(done.stderr, /holds no signing key/);
      assert.ok(done.stderr.includes(signing.kid), done.shown);
    }
    const mistyped = `${signing.kid.slice(0, -1)}${signing.kid.endsWith("A") ? "B" : "A"}`;
    assert.equal((await ctl("keys", "revoke", mistyped, "--reason", reason)).code, 1);
    assert.equal((await authority.connect(SERVER, key)).status, 200, "the held key signs");
  });

  test("a signing key that is still to be put, if that is said", async () => {
    const done = await ctl("keys", "revoke", unknown, "--even-if-unknown", "--reason", reason);
    assert.equal(done.code, 0, done.shown);
    assert.match(done.stderr, /does not hold it/);
    assert.match(done.stdout, new RegExp(`${signing.kid} signs`));
    const again = await ctl("keys", "revoke", unknown, "--reason", reason);
    assert.equal(again.code, 0, again.shown);
    assert.match(again.stderr, /nothing changed/);
    assertProblem(await revoke({ kind: "jti", id: "x", even_if_unknown: true }), 400, "request_invalid", "even_if_unknown");
  });

  test("clients, tenants, servers and keys of holders are refused, and the hint says where to look", async () => {
    for (const [args, hint] of [
      [["revoke", "client", "nobody"], "clients list"],
      [["clients", "suspend", "nobody"], "clients list"],
      [["revoke", "tenant", "nobodys"], "tenants list"],
      [["tenants", "suspend", "nobodys"], "tenants list"],
      [["servers", "revoke", "com.example/nothing"], "servers search"],
      [["servers", "revoke", `${SERVER}@9.9.9`], "servers search"],
      [["clients", "keys", "revoke", "desktop", "--key", "A".repeat(16)], "clients keys list"],
      [["admins", "suspend", "nobody"], "admins list"],
    ]) {
      const done = await ctl(...args, "--reason", reason);
      assert.equal(done.code, 1, done.shown);
      assert.ok(done.stderr.includes(hint), done.shown);
    }
  });

  test("of a version that a server does not have names some that it has", async () => {
    const versions = ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0"];
    await authority.importServers(...versions.map((version) => entry("com.example/versions", { version })));
    const unknown = "com.example/versions@9.9.9";
    for (const args of [
      ["servers", "revoke", unknown, "--reason", reason],
      ["servers", "quarantine", unknown, "--reason", reason],
      ["servers", "reinstate", unknown, "--reason", reason],
      ["servers", "show", unknown],
    ]) {
      const done = await ctl(...args);
      assert.equal(done.code, 1, done.shown);
      assert.match(done.stderr, /the server has no such version; it has 1\.5\.0, 1\.4\.0, 1\.3\.0, 1\.2\.0, 1\.1\.0 and others/);
    }
  });

  test("a client that only an identity provider knows is said to be new here", async () => {
    const done = await ctl("revoke", "client", "from-idp", "--tenant", "acme", "--reason", reason);
    assert.equal(done.code, 0, done.shown);
    assert.match(done.stderr, /was not known here/);
    const again = await ctl("--json", "revoke", "client", "from-idp", "--tenant", "acme", "--reason", reason);
    assert.equal(JSON.parse(again.stdout).registered, undefined);
  });
});

describe("an explanation is the decision that connect takes", () => {
  const explain = async (body) => (await authority.admin("/policy/explain", { server_ref: SERVER, client_id: "desktop", ...body })).body;

  /// Connect and the explanation say the same, and the explanation says what decided.
  async function assertDenied(code, decidedBy, [scope, group], body = {}) {
    const answer = await authority.connect(body.server_ref ?? SERVER, key);
    assert.equal(answer.body.code, code, answer.text);
    const explained = await explain(body);
    assert.deepEqual([explained.decision, explained.code, explained.detail], ["denied", code, answer.body.detail]);
    assert.match(explained.decided_by, decidedBy);
    const [first] = explained.findings;
    assert.deepEqual([first.scope, first.group, first.permits], [scope, group, false]);
    const done = await ctl("policy", "explain", body.server_ref ?? SERVER, "--client", "desktop");
    assert.equal(done.code, 0, done.shown);
    assert.match(done.stdout, /decided by/);
    assert.match(done.stdout, new RegExp(`denied: ${code}`));
  }

  test("for a server that is quarantined or revoked, with end and reason", async () => {
    await authority.admin(`/servers/${SERVER}/quarantine`, { reason: "odd traffic", expires_in: 600 });
    await assertDenied("server_revoked", /^the server is quarantined until 20\S+Z: odd traffic$/, ["state", "server"]);
    await authority.changeServer(SERVER, "revoke", "malware");
    await assertDenied("server_revoked", /^the server is revoked: malware$/, ["state", "server"]);
    await authority.changeServer(SERVER, "reinstate");
    assert.equal((await explain()).decision, "granted");
  });

  test("for versions that are held back, deleted, missing or without an endpoint", async () => {
    await authority.importServers(
      entry("com.example/many", { version: "1.0.0" }),
      entry("com.example/many", { version: "1.1.0", status: "deleted" }),
      entry("com.example/local", { endpoint: null }),
    );
    const at = (server_ref) => ({ server_ref });
    await authority.changeServer("com.example/many@1.0.0", "revoke", "leaks");
    await assertDenied("server_revoked", /^version 1\.0\.0 is revoked: leaks$/, ["state", "version"], at("com.example/many@1.0.0"));
    await assertDenied("server_revoked", /^version 1\.1\.0 was deleted/, ["state", "version"], at("com.example/many@1.1.0"));
    await assertDenied("server_not_found", /no such version/, ["state", "version"], at("com.example/many@7.0.0"));
    await assertDenied("server_not_found", /not registered/, ["state", "server"], at("com.example/nothing"));
    await assertDenied("transport_not_supported", /no streamable-http endpoint/, ["state", "version"], at("com.example/local"));
  });

  test("for a suspended client, and for a suspended tenant", async () => {
    await authority.admin("/clients/desktop/suspend", { reason });
    await assertDenied("policy_blocked", /^the client is suspended$/, ["state", "client"]);
    await authority.admin("/clients/desktop/resume", { reason });
    await authority.admin("/tenants/acme/suspend", { reason });
    await assertDenied("policy_blocked", /^the tenant is suspended$/, ["state", "tenant"]);
    await authority.admin("/tenants/acme/resume", { reason });
    assert.equal((await explain()).decision, "granted");
  });

  test("for a rule of a policy, and for an anonymous caller", async () => {
    await authority.setPolicy({ allow: ["*"], deny: [SERVER] });
    const denied = await explain();
    assert.deepEqual([denied.code, denied.decided_by, denied.rule], ["policy_blocked", denied.rule, `authority: deny[0] "${SERVER}"`]);
    await authority.setPolicy({ allow: ["*"] });
    const nobody = (await authority.admin("/policy/explain", { server_ref: SERVER })).body;
    assert.equal(nobody.code, (await authority.connect(SERVER)).body.code);
    assert.match(nobody.decided_by, /ALLOW_ANONYMOUS/);
  });

  test("for an endpoint that health gating closes", async () => {
    const site = await Site.start();
    try {
      await authority.publish("com.example/dead", { endpoint: `${site.origin}/mcp` });
      await authority.configure({ HEALTH_GATING: "inline" });
      const dead = { server_ref: "com.example/dead" };
      for (let probes = 0; probes < 5; probes += 1) await authority.admin("/servers/com.example/dead/probe", {});
      await assertDenied("server_unavailable", /^HEALTH_GATING: the endpoint does not answer/, ["state", "endpoint"], dead);
    } finally {
      await authority.configure({});
      await site.stop();
    }
  });

  test("when no key is left that signs", async () => {
    const lost = generateKey();
    await authority.configure({ SIGNING_KEYS: keySet(lost) });
    await authority.admin("/revocations", { kind: "key", id: lost.kid, reason });
    await assertDenied("authority_unavailable", /no key to sign with/, ["state", "authority"]);
    await authority.configure({});
  });
});

describe("keys", () => {
  const lives = ({ created_at, expires_at }) => expires_at && Math.round((Date.parse(expires_at) - Date.parse(created_at)) / DAY_MILLIS);
  const run = async (...args) => {
    const done = await ctl("--json", ...args);
    assert.equal(done.code, 0, done.shown);
    return JSON.parse(done.stdout);
  };

  test("a client is created with the life and label of its key", async () => {
    await run("clients", "create", "bounded", "--for", "90d", "--label", "laptop", "--reason", "ticket 7");
    const [made] = (await run("clients", "keys", "list", "bounded")).keys;
    assert.deepEqual([lives(made), made.label], [90, "laptop"]);
    assert.deepEqual((await newest())[0].reason, "ticket 7");
    const keyless = { client_id: "keyless", api_key: false, expires_in: 5 };
    assertProblem(await authority.admin("/clients", keyless), 400, "request_invalid", "api_key");
    const refused = await ctl("clients", "create", "keyless", "--no-key", "--for", "90d");
    assert.deepEqual([refused.code, refused.stdout], [2, ""], refused.shown);
  });

  for (const [holder, create, keys, secret] of [
    ["a client", ["clients", "create", "rotated"], ["clients", "keys"], "api_key"],
    ["an administrator", ["admins", "create", "rotated", "--role", "moderator"], ["admins", "keys"], "key"],
  ]) {
    test(`${holder}'s rotation keeps life and label, time and again`, async () => {
      await run(...create, "--for", "90d", "--label", "prod");
      const rotate = (...args) => run(...keys, "rotate", "rotated", "--reason", reason, ...args);
      for (let round = 0; round < 3; round += 1) {
        const made = await rotate();
        assert.deepEqual([lives(made), made.label], [90, "prod"]);
        assert.equal(typeof made[secret], "string");
      }
      const listed = (await run(...keys, "list", "rotated")).keys;
      assert.equal(listed.length, 4);
      assert.equal(listed.filter((one) => Date.parse(one.expires_at) > Date.now() + 2 * DAY_MILLIS).length, 1, "the others end");
      const other = await rotate("--for", "7d", "--label", "other");
      assert.deepEqual([lives(other), other.label], [7, "other"]);
      assert.equal((await rotate("--for", "never")).expires_at, undefined);
      assert.equal((await rotate()).expires_at, undefined, "without an end again");
    });

    test(`${holder}'s keys that differ have to be told apart`, async () => {
      await run(...create.map((word) => word.replace("rotated", "several")), "--for", "90d", "--label", "one");
      await run(...keys, "create", "several", "--for", "30d", "--label", "two");
      const rotate = (...args) => ctl("--json", ...keys, "rotate", "several", "--reason", reason, ...args);
      const refused = await rotate();
      assert.equal(refused.code, 1, refused.shown);
      const { error } = JSON.parse(refused.stderr);
      assert.deepEqual([error.code, error.next], ["keys_differ", "say it with --label and --for"]);
      assert.equal(JSON.parse((await rotate("--label", "both")).stderr).error.code, "keys_differ", "their lives differ too");
      assert.equal((await rotate("--label", "both", "--for", "30d")).code, 0);
      assert.equal((await rotate()).code, 0, "those that were replaced don't count");
      await run(...keys, "create", "several", "--label", "both");
      assert.equal(JSON.parse((await rotate()).stdout).expires_at, undefined, "who has one without an end keeps one");
    });
  }

  test("a rotation after every key has ended takes over from the last one", async () => {
    await authority.createClient("ended", { expires_in: 1, label: "short" });
    const database = await authority.database();
    await database.prepare("UPDATE api_keys SET expires_at = created_at WHERE client_id = 'ended'").run();
    await database.prepare("UPDATE api_keys SET created_at = created_at - 1000 WHERE client_id = 'ended'").run();
    const made = (await authority.admin("/clients/ended/keys/rotate", { overlap_seconds: 0, reason })).body;
    const life = Date.parse(made.expires_at) - Date.parse(made.created_at);
    assert.deepEqual([made.label, Math.round(life / 1000)], ["short", 1]);
  });

  test("an end that is a day includes that day", async () => {
    const date = new Date(Date.now() + 40 * DAY_MILLIS).toISOString().slice(0, 10);
    const made = (await authority.admin("/clients/desktop/keys", { expires_at: date })).body;
    assert.equal(Date.parse(made.expires_at), Date.parse(`${date}T00:00:00Z`) + DAY_MILLIS);
    for (const expires_at of ["2020-01-01", "2026-02-30", "tomorrow"]) {
      assertProblem(await authority.admin("/clients/desktop/keys", { expires_at }), 400, "request_invalid", "expires_at");
    }
  });
});

describe("reasons", () => {
  test("go with everything that is created, imported, synced or rebuilt, and the audit trail has them", async () => {
    const dump = JSON.stringify({ servers: [entry("com.example/reasoned")] });
    for (const [args, action, input] of [
      [["tenants", "create", "reasoned"], "tenant.create"],
      [["clients", "create", "reasoned", "--tenant", "reasoned"], "client.create"],
      [["clients", "keys", "create", "reasoned"], "client.key.create"],
      [["clients", "keys", "rotate", "reasoned"], "client.key.rotate"],
      [["admins", "create", "reasoned", "--role", "operator"], "administrator.create"],
      [["admins", "keys", "create", "reasoned"], "administrator.key.create"],
      [["admins", "keys", "rotate", "reasoned"], "administrator.key.rotate"],
      [["import", "-"], "version.import", dump],
      [["cache", "rebuild"], "cache.rebuild"],
    ]) {
      const why = `because of ${args.join(" ")}`;
      const options = ["--authority", authority.url, "--operator-token", authority.operatorToken];
      const done = await connectctl([...options, ...args, "--reason", why], input);
      assert.equal(done.code, 0, done.stderr);
      const entries = (await newest(3)).filter(({ reason }) => reason === why);
      assert.ok(entries.some((entry) => entry.action === action), `${args}: ${JSON.stringify(await newest(3))}`);
    }
  });

  test("need not be said there, but are no empty words", async () => {
    const before = await newest();
    for (const [path, body] of [
      ["/tenants", { tenant_id: "unreasoned" }],
      ["/clients", { client_id: "unreasoned" }],
      ["/clients/desktop/keys", {}],
      ["/administrators", { name: "unreasoned", role: "moderator" }],
      ["/import", { servers: [entry("com.example/unreasoned")] }],
      ["/cache/rebuild", {}],
      ["/mirror/sync", {}],
      [`/servers/${SERVER}/prove`, { level: "namespace" }],
    ]) {
      assertProblem(await authority.admin(path, { ...body, reason: " " }), 400, "request_invalid", "reason");
    }
    assert.deepEqual(await newest(), before, "nothing was changed");
  });
});

describe("filters", () => {
  test("a day of UTC is a date: since its beginning, until its end", async () => {
    const today = new Date().toISOString().slice(0, 10);
    const count = async (...args) => {
      const done = await ctl("--json", "audit", "list", "--limit", "100", ...args);
      assert.equal(done.code, 0, done.shown);
      return JSON.parse(done.stdout).entries.length;
    };
    const all = await count();
    assert.ok(all > 5);
    assert.equal(await count("--since", "2020-01-01"), all);
    assert.equal(await count("--until", today), all, "the day itself is in it");
    assert.equal(await count("--since", today, "--until", today), all);
    assert.equal(await count("--until", "2020-01-01"), 0);
    assert.equal(await count("--since", "2099-12-31"), 0);
    for (const date of ["yesterday", "2026-02-30", "2026-11-01T10:00:00", "2026-11"]) {
      for (const [name, flag] of [["since", "--since"], ["until", "--until"]]) {
        assertProblem(await authority.admin(`/audit?${name}=${date}`), 400, "request_invalid", "2026-11-01");
        const done = await ctl("audit", "list", flag, date);
        assert.deepEqual([done.code, done.stdout], [2, ""], done.shown);
      }
    }
  });

  test("an action that there is none of is refused with those that there are", async () => {
    const unknown = await authority.admin("/audit?action=server.revok");
    assertProblem(unknown, 400, "request_invalid", "server.revoke");
    const done = await ctl("audit", "list", "--action", "server.revok");
    assert.equal(done.code, 1, done.shown);
    assert.match(done.stderr, /server\.revoke,/);
    const { body } = await authority.admin("/audit?limit=100");
    for (const action of new Set(body.entries.map((entry) => entry.action))) {
      assert.equal((await authority.admin(`/audit?action=${action}`)).status, 200, action);
    }
  });

  test("a parameter that a list doesn't know is refused, since it would show everything", async () => {
    for (const [path, known] of [
      ["/audit?actoin=server.revoke", "action"],
      ["/moderation?status=revoked", "state"],
      ["/clients?tenant=acme", "limit"],
      ["/tenants?status=suspended", "limit"],
      ["/administrators?role=operator", "limit"],
      ["/revocations?kind=key", "limit"],
      ["/policy/history?tenant=acme", "limit"],
    ]) {
      assertProblem(await authority.admin(path), 400, "request_invalid", known);
    }
  });
});

describe("errors for scripts", () => {
  test("with --json each is one line of JSON on standard error, and nothing is on standard output", async () => {
    for (const [args, code, kind, named] of [
      [["clients", "suspend", "nobody", "--reason", reason], 1, "refused", "client_not_found"],
      [["keys", "revoke", generateKey().kid, "--reason", reason], 1, "refused", "key_not_found"],
      [["clients", "suspend"], 2, "usage", undefined],
      [["clients", "remove", "x"], 2, "usage", undefined],
      [["audit", "list", "--since", "yesterday"], 2, "usage", undefined],
      [["clients"], 2, "usage", undefined],
      [["--authority", "http://127.0.0.1:1", "clients", "list"], 3, "unavailable", undefined],
      [["--authority", "https://a.example/x", "clients", "list"], 2, "usage", undefined],
      [["import", "/nowhere"], 2, "usage", undefined],
    ]) {
      const options = ["--authority", authority.url, "--operator-token", authority.operatorToken];
      const own = args[0] === "--authority" ? options.slice(2) : options;
      const done = await connectctl([...own, "--json", ...args]);
      assert.deepEqual([done.code, done.stdout], [code, ""], `${args}: ${done.stderr}`);
      const { error } = JSON.parse(done.stderr);
      assert.deepEqual([error.kind, error.exit_code, error.code], [kind, code, named], done.stderr);
      assert.equal(typeof error.message, "string");
      assert.ok(!/\b(?:Transport|reqwest|hyper|os error|ErrorKind)\b/.test(done.stderr), done.stderr);
    }
  });

  test("a descriptor is printed only where it is asked for", async () => {
    const connect = async (...args) => {
      const done = await connectctl(["--authority", authority.url, "--api-key", key, "--json", "connect", SERVER, ...args]);
      assert.equal(done.code, 0, done.stderr);
      return done;
    };
    const quiet = await connect();
    assert.equal(JSON.parse(quiet.stdout).descriptor, undefined);
    assert.ok(!quiet.stdout.includes("eyJ"), quiet.stdout);
    const { descriptor, jti } = JSON.parse((await connect("--show-descriptor")).stdout);
    assert.equal(decodeJwt(descriptor).jti, jti);
  });
});

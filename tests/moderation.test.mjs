import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { entry, eventually, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";

let authority, key, mona;
const reason = "a test wants it";

before(async () => {
  authority = await startAuthority();
  key = (await authority.createClient("desktop")).api_key;
  mona = (await authority.admin("/administrators", { name: "mona", role: "moderator" })).body.key;
});
after(() => authority?.stop());

/// A verified server of two versions.
async function publish(name) {
  await authority.importServers(entry(name, { version: "1.0.0" }), entry(name, { version: "2.0.0" }));
  await authority.changeServer(name, "verify");
}

const ask = (path, body) => authority.request(`/v1/admin${path}`, { body, bearer: mona });
async function moderate(reference, change, members = {}) {
  const answer = await ask(`/servers/${reference}/${change}`, { reason, ...members });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers.get("cache-control"), "no-store");
  return answer.body;
}
const code = async (reference) => {
  const { status, body } = await authority.connect(reference, key);
  return status === 200 ? "ok" : `${status} ${body.code}`;
};
const shown = async (reference) => {
  const { body } = await authority.request(`/v1/servers/${reference}`);
  return body;
};
const rows = async (sql, ...values) => {
  const database = await authority.database();
  return (await database.prepare(sql).bind(...values).all()).results;
};
async function trail(subject) {
  const all = await rows("SELECT actor, action, reason, detail FROM audit WHERE subject = ? AND action NOT LIKE '%.import' AND action NOT LIKE '%.verify' ORDER BY seq", subject);
  return all.map(({ actor, action, reason, detail }) => [actor, action, reason, detail]);
}
async function listed(query = "") {
  const answer = await ask(`/moderation?limit=100${query}`);
  assert.equal(answer.status, 200, answer.text);
  return answer.body.moderated;
}

describe("a quarantine", () => {
  test("of a server holds all its versions back at once, until it is reinstated", async () => {
    const NAME = "com.held/server";
    await publish(NAME);
    assert.equal(await code(NAME), "ok");

    const held = await moderate(NAME, "quarantine", { reason: "odd traffic" });
    assert.deepEqual([held.id, held.status, held.status_reason, held.status_until, held.changed], [NAME, "quarantined", "odd traffic", undefined, true]);
    assert.ok(!("server" in held));
    for (const reference of [NAME, `${NAME}@1.0.0`, `${NAME}@2.0.0`]) {
      const answer = await authority.connect(reference, key);
      assertProblem(answer, 403, "server_revoked", "quarantined");
      assert.ok(answer.text.includes("odd traffic"), "why is told, as discovery tells it");
    }
    for (const reference of [NAME, `${NAME}@1.0.0`]) {
      const { status, status_reason } = await shown(reference);
      assert.deepEqual([status, status_reason], ["quarantined", "odd traffic"]);
    }
    const { body } = await authority.request("/v1/servers?query=held");
    assert.equal(body.servers.find(({ id }) => id === NAME).status, "quarantined");
    assert.equal((await moderate(NAME, "quarantine")).changed, false, "it is held already");

    const back = await moderate(NAME, "reinstate", { reason: "was a scanner" });
    assert.deepEqual([back.status, back.status_reason, back.changed], ["active", undefined, true]);
    assert.equal(await code(NAME), "ok");
    assert.equal((await shown(NAME)).status, "active");
    assert.equal((await moderate(NAME, "reinstate")).changed, false);
    assert.deepEqual(await trail(NAME), [
      ["mona", "server.quarantine", "odd traffic", null],
      ["mona", "server.reinstate", "was a scanner", null],
    ]);
  });

  test("of one version leaves the others alone", async () => {
    const NAME = "com.held/version";
    await publish(NAME);
    const held = await moderate(`${NAME}@1.0.0`, "quarantine", { reason: "leaks" });
    assert.deepEqual([held.version, held.status, held.changed], ["1.0.0", "quarantined", true]);
    assert.deepEqual([await code(NAME), await code(`${NAME}@2.0.0`), await code(`${NAME}@1.0.0`)], ["ok", "ok", "403 server_revoked"]);
    const { status, status_reason, versions } = await shown(NAME);
    assert.deepEqual([status, status_reason], ["active", undefined]);
    assert.deepEqual(
      versions.map(({ version, status, status_reason }) => [version, status, status_reason]),
      [["2.0.0", "active", undefined], ["1.0.0", "quarantined", "leaks"]],
    );
    assert.equal((await shown(`${NAME}@1.0.0`)).status_reason, "leaks");
    // The default version held back: who names none is refused, not sent to an older one.
    await moderate(`${NAME}@2.0.0`, "revoke", { reason: "hacked" });
    await moderate(`${NAME}@1.0.0`, "reinstate");
    assert.deepEqual([await code(NAME), await code(`${NAME}@1.0.0`)], ["403 server_revoked", "ok"]);
    assert.deepEqual([(await shown(NAME)).status, (await shown(NAME)).status_reason], ["revoked", "hacked"]);
    assert.deepEqual(await trail(`${NAME}@2.0.0`), [["mona", "version.revoke", "hacked", null]]);
    assert.deepEqual(await trail(NAME), []);
  });

  test("ends by itself, in real time, wherever its state is read", async () => {
    const NAME = "com.held/short";
    await publish(NAME);
    const started = Date.now();
    const server = await moderate(NAME, "quarantine", { expires_in: 3 });
    const version = await moderate(`${NAME}@1.0.0`, "quarantine", { expires_at: server.status_until });
    assert.equal(version.status_until, server.status_until);
    const until = Date.parse(server.status_until);
    assert.ok(Math.abs(until - started - 3000) < 1000);
    assert.deepEqual([await code(NAME), await code(`${NAME}@1.0.0`)], ["403 server_revoked", "403 server_revoked"]);
    assert.deepEqual((await listed("&namespace=com.held")).filter(({ until }) => until).map(({ server_ref }) => server_ref), [NAME, `${NAME}@1.0.0`]);

    await eventually("it can be connected to again", async () => (await code(`${NAME}@1.0.0`)) === "ok");
    assert.ok(Date.now() >= until, "not before its time");
    assert.equal(await code(NAME), "ok");
    const { status, status_reason, status_until } = await shown(`${NAME}@1.0.0`);
    assert.deepEqual([status, status_reason, status_until], ["active", undefined, undefined]);
    assert.ok((await listed()).every(({ server_ref }) => !server_ref.startsWith(NAME)));
    assert.equal((await moderate(NAME, "reinstate")).changed, false, "it is active already");
    assert.equal((await moderate(NAME, "quarantine")).changed, true, "it can be held again");
    await moderate(NAME, "reinstate");
  });

  test("is made longer or shorter by another one, and weakens no revocation", async () => {
    const NAME = "com.held/changed";
    await publish(NAME);
    const until = new Date(Date.now() + 86_400_000).toISOString();
    assert.equal((await moderate(NAME, "quarantine")).status_until, undefined);
    assert.deepEqual([(await moderate(NAME, "quarantine", { expires_at: until })).status_until], [until]);
    assert.equal((await moderate(NAME, "quarantine", { expires_at: until })).changed, false);
    const revoked = await moderate(NAME, "revoke", { reason: "malware" });
    assert.deepEqual([revoked.status, revoked.status_reason, revoked.status_until, revoked.changed], ["revoked", "malware", undefined, true]);
    assertProblem(await ask(`/servers/${NAME}/quarantine`, { reason, expires_in: 1 }), 409, "already_revoked");
    assert.deepEqual([(await shown(NAME)).status, await code(NAME)], ["revoked", "403 server_revoked"]);
    // A version of its own is moderated by itself.
    assert.equal((await moderate(`${NAME}@1.0.0`, "quarantine")).changed, true);
    assert.deepEqual(await trail(NAME), [
      ["mona", "server.quarantine", reason, null],
      ["mona", "server.quarantine", reason, `until ${until}`],
      ["mona", "server.revoke", "malware", null],
    ]);
    await moderate(NAME, "reinstate");
    assert.deepEqual([await code(NAME), await code(`${NAME}@1.0.0`)], ["ok", "403 server_revoked"]);
  });

  test("takes a reason, a time to come, and something to hold", async () => {
    const NAME = "com.held/server";
    for (const [path, body, status, detail] of [
      [`${NAME}/quarantine`, {}, 400, "reason"],
      [`${NAME}/quarantine`, { reason, expires_in: 0 }, 400, "expires_in"],
      [`${NAME}/quarantine`, { reason, expires_at: "2020-01-01T00:00:00Z" }, 400, "expires_at"],
      [`${NAME}/revoke`, { reason, expires_in: 5 }, 400, "expires_in"],
      [`${NAME}/reinstate`, { reason, expires_in: 5 }, 400, "expires_in"],
      [`${NAME}@latest/quarantine`, { reason }, 400, "the path"],
      [`${NAME}@9.9.9/quarantine`, { reason }, 404, "the server has no such version; it has "],
      [`${NAME}@9.9.9/revoke`, { reason }, 404, "the server has no such version; it has "],
      [`${NAME}@9.9.9/reinstate`, { reason }, 404, "the server has no such version; it has "],
      ["com.held/nothing/quarantine", { reason }, 404, "no such server"],
      ["com.held/nothing@9.9.9/revoke", { reason }, 404, "no such server"],
    ]) {
      const answer = await ask(`/servers/${path}`, body);
      assertProblem(answer, status, status === 404 ? "server_not_found" : "request_invalid", detail);
    }
    assert.equal(await code(NAME), "ok");
  });
});

test("what is withdrawn goes into the revocation feed's table, with the change", async () => {
  const NAME = "com.fed/server";
  await publish(NAME);
  const feed = () => rows("SELECT kind, subject, actor, reason FROM revocations WHERE subject LIKE 'com.fed/%' ORDER BY kind");
  await moderate(`${NAME}@1.0.0`, "quarantine", { reason: "one" });
  await moderate(NAME, "revoke", { reason: "two" });
  await moderate(NAME, "revoke", { reason: "no change" });
  assert.deepEqual(await feed(), [
    { kind: "server", subject: NAME, actor: "mona", reason: "two" },
    { kind: "version", subject: `${NAME}@1.0.0`, actor: "mona", reason: "one" },
  ]);
});

/// The end is reckoned a moment before the hold begins.
function assertLasts({ since, until }, millis) {
  const lasts = Date.parse(until) - Date.parse(since);
  assert.ok(millis - 1_000 < lasts && lasts <= millis, `${lasts} ms`);
}

describe("the list of what is held back", () => {
  before(async () => {
    for (const name of ["net.list/b", "net.list/a", "net.listed/a"]) await publish(name.replace(/.$/, "$&$&"));
    await moderate("net.list/bb", "revoke", { reason: "bad" });
    await moderate("net.list/aa@2.0.0", "quarantine", { expires_in: 3600 });
    await moderate("net.list/aa", "quarantine");
    await moderate("net.listed/aa", "quarantine");
  });

  test("says what, since when, until when, by whom and why", async () => {
    const list = await listed("&namespace=net.list");
    assert.deepEqual(list.map(({ server_ref, state, reason, actor }) => [server_ref, state, reason, actor]), [
      ["net.list/aa", "quarantined", reason, "mona"],
      ["net.list/aa@2.0.0", "quarantined", reason, "mona"],
      ["net.list/bb", "revoked", "bad", "mona"],
    ]);
    for (const { since } of list) assert.ok(Math.abs(Date.now() - Date.parse(since)) < 60_000, since);
    assert.deepEqual(list.map(({ until }) => until !== undefined), [false, true, false]);
    assertLasts(list[1], 3_600_000);
  });

  test("is filtered and paged", async () => {
    const refs = async (query) => (await listed(query)).map(({ server_ref }) => server_ref);
    assert.deepEqual(await refs("&namespace=net.list&state=revoked"), ["net.list/bb"]);
    assert.deepEqual(await refs("&namespace=net.listed"), ["net.listed/aa"]);
    assert.deepEqual(await refs("&namespace=net.none"), []);
    const everything = await listed();
    const paged = [];
    for (let cursor = ""; cursor !== undefined; ) {
      const { body } = await ask(`/moderation?limit=1${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
      paged.push(...body.moderated);
      cursor = body.next_cursor;
    }
    assert.deepEqual(paged, everything);
    for (const query of ["state=active", "state=x", "namespace=", "namespace=a/b", "cursor=x", "limit=0"]) {
      assertProblem(await ask(`/moderation?${query}`), 400, "request_invalid", query.split("=")[0]);
    }
  });

  test("is made, shown and exported by connectctl", async () => {
    const run = async (...args) => {
      const { code, stdout, stderr } = await connectctl(["--authority", authority.url, `--operator-token=${mona}`, ...args]);
      assert.equal(code, 0, stderr);
      return stdout.trim();
    };
    await publish("net.cli/server");
    const out = await run("servers", "quarantine", "net.cli/server@1.0.0", "--reason", "by hand", "--for", "2d");
    assert.match(out, /quarantined[^]*by hand/);
    const [held] = JSON.parse(await run("moderation", "list", "--namespace", "net.cli", "--json")).moderated;
    assert.deepEqual([held.server_ref, held.reason], ["net.cli/server@1.0.0", "by hand"]);
    assertLasts(held, 172_800_000);
    assert.match(await run("moderation", "list", "--all"), /net\.cli\/server@1\.0\.0 +quarantined/);
    assert.match(await run("servers", "show", "net.cli/server"), /1\.0\.0 +quarantined .*by hand/);
    await run("servers", "revoke", "net.cli/server", "--reason", "by hand");
    const exported = (await run("moderation", "export")).split("\n").map(JSON.parse);
    assert.deepEqual(exported, await listed());
    assert.equal((await run("moderation", "export", "--state", "revoked", "--namespace", "net.cli")).split("\n").length, 1);
    await run("servers", "reinstate", "net.cli/server", "--reason", "by hand");
    await run("servers", "reinstate", "net.cli/server@1.0.0", "--reason", "by hand");
    assert.equal(await run("moderation", "export", "--namespace", "net.cli"), "");
    assert.equal(await code("net.cli/server@1.0.0"), "ok");
  });
});

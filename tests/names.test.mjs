// What names, ids, versions and URLs may be, and that no spelling of one passes for another.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { entry, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";
import { assertRefused, OFFICIAL, OURS, registryToken, serverJson, tokenFor } from "./support/registry.mjs";

const PUBLISHER_PROVIDED = "io.modelcontextprotocol.registry/publisher-provided";
const BIDI = "\u202e";
const INVISIBLE = [BIDI, "\u200b", "\u2066", "\ufeff", "\u00ad", "\u3000", "\u{e0041}"];
const EVERYTHING = ["publish", "edit"].map((action) => ({ action, resource: "*" }));

let authority, database, key, bearer;
before(async () => {
  authority = await startAuthority({ settings: { REQUIRE_VERIFIED: "false" } });
  database = await authority.database();
  key = (await authority.createClient("desktop", { tenant_id: "acme" })).api_key;
  bearer = await registryToken(authority, { permissions: EVERYTHING, auth_method: "dns", auth_method_sub: "tests.example" });
});
after(() => authority?.stop());

const path = (name, ...rest) => ["/v0.1/servers", encodeURIComponent(name), ...rest].join("/");
const of = (name, version) => path(name, "versions", encodeURIComponent(version));
const publish = (server, as = bearer) => authority.request("/v0.1/publish", { body: server, bearer: as });
const edit = (server) => authority.request(of(server.name, server.version), { method: "PUT", body: server, bearer });
const setStatus = (name, version, status, as = bearer) =>
  authority.request(`${version === null ? path(name) : of(name, version)}/status`, { method: "PATCH", body: { status }, bearer: as });
const statusOf = async (name, version) => (await authority.request(`${of(name, version)}?include_deleted=true`)).body._meta[OFFICIAL].status;
const digestOf = async (reference) => (await authority.request(`/v1/servers/${reference}`)).body.digest;

async function published(...servers) {
  for (const server of servers) {
    const answer = await publish(server);
    assert.equal(answer.status, 200, answer.text);
  }
}

describe("namespaces", () => {
  test("are published in lower case, and a refusal says how to write them", async () => {
    const token = await tokenFor(authority, "com.evil/*", "publish");
    assertRefused(await publish(serverJson("com.Evil/tool"), token), 422, "write com.evil/tool instead of com.Evil/tool");
    assertRefused(await publish(serverJson("com.evil.sub/tool"), token), 403, "You do not have permission");
    await published(serverJson("com.evil/Tool"));
    const { body } = await authority.request("/v0.1/validate", { body: serverJson("com.Evil/tool") });
    assert.deepEqual([body.valid, body.issues[0].reference], [false, "namespace-not-lower-case"]);
  });

  test("that are here in another spelling are imported, connected to, and their owner's still", async () => {
    const name = "io.github.Artin0123/gemini-image";
    await authority.importServers(entry(name, { endpoint: "https://mixed.example.com/mcp" }));
    assert.equal((await authority.connect(name, key)).status, 200);
    const owner = await tokenFor(authority, "io.github.artin0123/*", "publish");
    const answer = await setStatus(name, "1.0.0", "deprecated", owner);
    assert.equal(answer.status, 200, answer.text);
    assertRefused(await publish(serverJson(name, { version: "1.0.1" }), owner), 422, "write io.github.artin0123/gemini-image");
  });

  test("are denied with all below them, in every spelling", async () => {
    const names = ["com.foe/tool", "com.foe.sub/tool", "com.Foe/tool", "com.FOE.Sub.deep/Tool", "com.foes/tool"];
    await authority.importServers(...names.map((name) => entry(name)));
    const letIn = async () => {
      const answers = await Promise.all(names.map((name) => authority.connect(name, key)));
      return names.filter((_, n) => answers[n].status === 200);
    };
    try {
      await authority.setPolicy({ allow: ["*"], deny: ["com.foe/**"] });
      assert.deepEqual(await letIn(), ["com.foes/tool"]);
      await authority.setPolicy({ allow: ["*"], deny: ["com.FOE/*"] });
      assert.deepEqual(await letIn(), ["com.foe.sub/tool", "com.FOE.Sub.deep/Tool", "com.foes/tool"]);
      await authority.setPolicy({ allow: ["com.foe/**"] });
      assert.deepEqual(await letIn(), ["com.foe/tool", "com.foe.sub/tool"]);
      const explained = await authority.admin("/policy/explain", { server_ref: "com.Foe/tool", client_id: "desktop" });
      assert.equal(explained.body.decision, "denied");
      assertProblem(await authority.admin("/policy", { policy: { allow: [], deny: ["com.foe.**"] }, reason: "r" }), 400, "request_invalid", "namespace/**");
    } finally {
      await authority.setPolicy({ allow: ["*"] });
    }
  });
});

describe("a dot segment", () => {
  const DOTS = [".", "..", "%2e", "%2E%2e", ".%2e"];

  test("is nobody's id", async () => {
    for (const id of DOTS) {
      const reason = "r";
      for (const [path, body] of [
        ["/tenants", { tenant_id: id }],
        ["/clients", { client_id: id }],
        ["/clients", { client_id: "one", tenant_id: id }],
        ["/administrators", { name: id, role: "operator" }],
        ["/revocations", { kind: "client", id, reason }],
        ["/revocations", { kind: "jti", id, reason }],
        ["/policy/explain", { server_ref: "com.example/a1", client_id: id }],
        ["/policy/explain", { server_ref: `com.example/a1@${id}` }],
        ["/policy", { policy: { allow: [], versions: [{ servers: "com.example/a1", pin: id }] }, reason }],
        ["/tenants/acme/identity-providers", { issuer: "https://id.example", audience: id, reason }],
        ["/tenants/acme/identity-providers", { issuer: "https://id.example", audience: "a", client_claims: [id], reason }],
      ]) {
        assertProblem(await authority.admin(path, body), 400, "request_invalid");
      }
      assertRefused(await publish(serverJson("com.example/dots", { version: id })), 422, "version is");
      const { body } = await authority.admin("/import", { servers: [entry("com.example/dots", { version: id })] });
      assert.equal(body.results[0].outcome, "refused");
      assert.match(body.results[0].reason, /^version: is "\."/);
    }
  });

  test("names nothing in a path, and changes nothing above it", async () => {
    await published(serverJson("com.example/dotted"), serverJson("com.example/dotted", { version: "2.0.0" }));
    const before = (await authority.admin("/policy")).body.version;
    const operator = { method: "POST", bearer: authority.operatorToken };
    const publisher = { method: "PATCH", bearer, body: { status: "deleted" } };
    const policy = { policy: { allow: [] }, reason: "r" };
    for (const dots of ["%252e%252e", "%252E."]) {
      assert.equal((await authority.admin(`/tenants/${dots}/policy`, policy)).status, 404);
      assert.equal((await authority.admin(`/clients/${dots}/suspend`, { reason: "r" })).status, 404);
      assert.equal((await authority.request(`${path("com.example/dotted")}/versions/${dots}/status`, publisher)).status, 404);
    }
    assert.equal((await authority.admin("/policy")).body.version, before);
    for (const version of ["1.0.0", "2.0.0"]) assert.equal(await statusOf("com.example/dotted", version), "active");
  });

  test("is refused by connectctl before anything is sent", async () => {
    const control = (...args) => connectctl(["--authority", "http://127.0.0.1:9", "--operator-token", "x", ...args]);
    for (const dots of ["..", ".", "%2e%2e"]) {
      for (const args of [
        ["policy", "show", "--tenant", dots],
        ["policy", "set", "-", "--tenant", dots, "--reason", "r"],
        ["tenants", "suspend", dots, "--reason", "r"],
        ["clients", "suspend", dots, "--reason", "r"],
        ["clients", "create", dots],
        ["admins", "keys", "list", dots],
        ["status", `com.example/a1@${dots}`, "deleted"],
        ["servers", "revoke", `com.example/a1@${dots}`, "--reason", "r"],
      ]) {
        const { code, stderr } = await control(...args);
        assert.equal(code, 2, `${args}: ${stderr}`);
      }
    }
  });
});

describe("what does not show", () => {
  test("is no part of a version or of what people call something", async () => {
    for (const sign of [...INVISIBLE, " ", "\n", "\0"]) {
      const version = `1.0.0${sign}`;
      const answer = await publish(serverJson("com.example/hidden", { version }));
      assert.equal(answer.status, 422, JSON.stringify(sign));
      const { body } = await authority.admin("/import", { servers: [entry("com.example/hidden", { version })] });
      assert.equal(body.results[0].outcome, "refused", JSON.stringify(sign));
    }
    for (const name of [...INVISIBLE.map((sign) => `Mona${sign}`), " Mona", "Mona ", "Mona  Lisa", "a\0b"]) {
      const fault = /must be 1 to 100 visible characters/;
      for (const [path, body] of [
        ["/tenants", { tenant_id: "t1", name }],
        ["/clients", { client_id: "c1", name }],
        ["/clients/desktop/keys", { label: name }],
        ["/administrators", { name: "mona", role: "moderator", label: name }],
      ]) {
        const answer = await authority.admin(path, body);
        assertProblem(answer, 400, "request_invalid");
        assert.match(answer.body.detail, fault);
      }
    }
    assert.equal((await authority.admin("/clients/desktop/keys", { label: "Mona's laptop, home" })).status, 201);
  });

  test("is no part of what programs read in a server.json", async () => {
    for (const sign of ["\u202e", "\ufeff", "\u200b", "\ufffe", "\u{1ffff}", "\n"]) {
      const transport = { type: "stdio" };
      const npm = { registryType: "npm", identifier: "hidden", version: "1.0.0", transport };
      const remote = { type: "sse", url: "https://hidden.example.net/mcp" };
      for (const [member, value, location] of [
        ["remotes", [{ ...remote, headers: [{ name: `X${sign}Key` }] }], "remotes[0].headers[0].name"],
        ["remotes", [{ ...remote, url: `${remote.url}/${sign}x` }], "remotes[0].url"],
        ["packages", [{ ...npm, environmentVariables: [{ name: `KEY${sign}` }] }], "packages[0].environmentVariables[0].name"],
        ["packages", [{ ...npm, packageArguments: [{ type: "named", name: `--a${sign}` }] }], "packages[0].packageArguments[0].name"],
        ["packages", [{ ...npm, registryType: `npm${sign}` }], "packages[0].registryType"],
        ["packages", [{ ...npm, runtimeHint: `npx${sign}` }], "packages[0].runtimeHint"],
        ["repository", { url: "https://github.com/a/b", source: "github", id: `1${sign}` }, "repository.id"],
        ["websiteUrl", `https://hidden.example.net/${sign}`, "websiteUrl"],
        ["version", `1.0.0${sign}`, "version"],
      ]) {
        const answer = await publish({ ...serverJson("com.example/hidden"), [member]: value });
        assert.equal(answer.status, 422, `${JSON.stringify(sign)} ${location} ${answer.text}`);
        assert.ok(answer.text.includes(`"body.${location}"`), answer.text);
      }
    }
  });

  test("U+0000 is stored nowhere", async () => {
    const hidden = { [PUBLISHER_PROVIDED]: { "com.example/x": [{ deep: "\0" }] } };
    for (const members of [{ description: "a\0b" }, { title: "\0" }, { _meta: hidden }, { websiteUrl: "https://example.com/\0" }]) {
      assertRefused(await publish(serverJson("com.example/nul", members)), 422, "U+0000");
    }
    await published(serverJson("com.example/nul"));
    const body = { status: "deprecated", statusMessage: "a\0b" };
    assertRefused(await authority.request(`${of("com.example/nul", "1.0.0")}/status`, { method: "PATCH", body, bearer }), 422, "U+0000");
    assertProblem(await authority.admin("/servers/com.example/nul/revoke", { reason: "a\0b" }), 400, "request_invalid");
  });
});

describe("a URL", () => {
  const claimsOf = async (name) => {
    const sql = `SELECT r.url, r.is_own FROM remotes r JOIN versions v ON v.id = r.version_id
      JOIN servers s ON s.id = v.server_id WHERE s.name = ? ORDER BY r.url`;
    return (await database.prepare(sql).bind(name).all()).results;
  };

  test("has one owner, however it is spelled", async () => {
    await published(serverJson("com.first/one", { remote: "https://shared.example.net/a/mcp" }));
    for (const remote of [
      "https://shared.example.net/a/mcp",
      "HTTPS://SHARED.example.NET:443/a/mcp",
      "https://shared.example.net./a/mcp",
      "https://shared.example.net/./a/mcp",
      "https://shared.example.net/b/../a/mcp",
      "https://shared.example.net/b/%2E%2e/a/mcp",
      "https://shared.example.net/%61/mc%70",
      "https://shared.example.net/a/mcp?",
      "https://shared.example.net/a/mcp#x",
      "https://user@shared.example.net/a/mcp",
    ]) {
      const other = { ...serverJson("com.second/one"), remotes: [{ type: "sse", url: remote }] };
      const answer = await publish(other);
      assertRefused(answer, 400, "remote URL https://shared.example.net/a/mcp is already used by server com.first/one, in its version 1.0.0");
      assert.match(answer.text, /deprecate or delete that version/);
      const sent = JSON.stringify(remote).slice(1, -1);
      assert.ok(answer.text.includes(remote === "https://shared.example.net/a/mcp" ? "1.0.0. If" : `(${sent} is another spelling of it)`), answer.text);
    }
    for (const [n, remote] of ["https://shared.example.net/A/mcp", "https://shared.example.net/a/mcp/", "https://shared.example.net:8443/a/mcp"].entries()) {
      await published(serverJson(`com.third/n${n}`, { remote }));
    }
  });

  test("is let go of by what is deprecated or superseded", async () => {
    const remote = "https://passed.example.net/mcp";
    const next = serverJson("com.next/one", { remote });
    await published(serverJson("com.former/one", { remote }), serverJson("com.former/one", { version: "2.0.0-rc.1" }));
    assertRefused(await publish(next), 400, "in its version 1.0.0");
    await published(serverJson("com.former/one", { version: "1.1.0" }));
    await published(next);
    assertRefused(await publish(serverJson("com.former/one", { version: "1.2.0", remote })), 400, "used by server com.next/one");
    assert.equal((await setStatus("com.next/one", "1.0.0", "deprecated")).status, 200);
    await published(serverJson("com.former/one", { version: "1.2.0", remote }));
    assertRefused(await setStatus("com.next/one", "1.0.0", "active"), 400, "used by server com.former/one, in its version 1.2.0");
  });

  test("is not got back by falling back to an older version", async () => {
    const remote = "https://fallen.example.net/mcp";
    const connect = (name) => authority.connect(name, key);
    await published(serverJson("com.fallen/one", { remote }), serverJson("com.fallen/one", { version: "1.1.0" }));
    await published(serverJson("com.taker/one", { remote }));
    const answer = await setStatus("com.fallen/one", "1.1.0", "deleted");
    assert.equal(answer.status, 200, "what is bad can always be taken back");
    assertProblem(await connect("com.fallen/one"), 403, "server_revoked");
    assertProblem(await connect("com.fallen/one@1.0.0"), 403, "server_revoked");
    assert.equal((await connect("com.taker/one")).body.endpoint, remote);
    const { body } = await authority.request("/v1/servers/com.fallen/one@1.0.0");
    assert.deepEqual([body.status, body.status_reason], ["quarantined", "its URL is that of com.taker/one, which got it while this version was superseded"]);
    const { entries } = (await authority.admin("/audit?subject=com.fallen%2Fone%401.0.0")).body;
    assert.deepEqual([entries[0].actor, entries[0].action], ["authority", "version.quarantine"]);

    // A version whose URL is nobody else's is fallen back to.
    const own = "https://kept.example.net/mcp";
    await published(serverJson("com.kept/one", { remote: own }), serverJson("com.kept/one", { version: "1.1.0", remote: own }));
    assert.equal((await setStatus("com.kept/one", "1.1.0", "deleted")).status, 200);
    assert.equal((await connect("com.kept/one")).body.endpoint, own);

    // From under the URL's domain, it goes back to its owner.
    const domain = "https://mcp.fallback.example/mcp";
    await published(serverJson("example.fallback/one", { remote: domain }), serverJson("example.fallback/one", { version: "1.1.0" }));
    await published(serverJson("com.taker/two", { remote: domain }));
    assert.equal((await setStatus("example.fallback/one", "1.1.0", "deleted")).status, 200);
    assert.equal((await connect("example.fallback/one")).body.endpoint, domain);
    assertProblem(await connect("com.taker/two"), 403, "server_revoked");
  });

  test("goes to who claims it from under its domain, and is connected to under that name", async () => {
    const remote = "https://mcp.owner.example/mcp";
    await published(
      serverJson("io.github.squatter/tool", { remote }),
      serverJson("io.github.squatter/tool", { version: "1.0.1", remote: "https://MCP.owner.example:443/mcp" }),
      serverJson("io.github.squatter/tool", { version: "1.0.2", remote: "https://squatter.example.net/mcp" }),
    );
    assert.equal((await authority.connect("io.github.squatter/tool@1.0.1", key)).status, 200);
    assertRefused(await publish(serverJson("com.rival/one", { remote: "https://squatter.example.net/mcp" })), 400, "io.github.squatter/tool, in its version 1.0.2");
    await published(serverJson("example.owner/tool", { remote }));
    assert.equal((await authority.connect("example.owner/tool", key)).body.endpoint, remote);
    for (const version of ["1.0.0", "1.0.1"]) {
      const answer = await authority.connect(`io.github.squatter/tool@${version}`, key);
      assertProblem(answer, 403, "server_revoked");
      const { body } = await authority.request(`/v1/servers/io.github.squatter/tool@${version}`);
      assert.deepEqual([body.status, body.status_reason], ["quarantined", "its URL is that of example.owner/tool, whose namespace is of the URL's domain"]);
      const { entries } = (await authority.admin(`/audit?subject=${encodeURIComponent(`io.github.squatter/tool@${version}`)}`)).body;
      assert.deepEqual([entries[0].actor, entries[0].action], ["authority", "version.quarantine"]);
    }
    assert.equal((await authority.connect("io.github.squatter/tool", key)).status, 200, "what is elsewhere stays");
    assertRefused(await publish(serverJson("io.github.squatter/tool", { version: "1.0.3", remote })), 400, "used by server example.owner/tool");
    // A moderator's word is left alone.
    await authority.changeServer("io.github.squatter/tool@1.0.0", "reinstate");
    await published(serverJson("example.owner/tool", { version: "1.0.1", remote }));
    assert.equal((await authority.connect("io.github.squatter/tool@1.0.0", key)).status, 200);
    assert.deepEqual(await claimsOf("example.owner/tool"), [{ url: remote, is_own: 1 }, { url: remote, is_own: 1 }]);
  });

  test("stays with who was verified at its origin", async () => {
    const remote = "https://mcp.vouched.example/mcp";
    await published(serverJson("io.github.vouched/tool", { remote }));
    await authority.changeServer("io.github.vouched/tool", "verify");
    assertRefused(await publish(serverJson("example.vouched/tool", { remote })), 400, "used by server io.github.vouched/tool");
    assert.equal((await authority.connect("io.github.vouched/tool", key)).status, 200);
  });

  test("goes to its domain by an edit and by a status, too", async () => {
    const remote = "https://mcp.late.example/mcp";
    const squatters = ["a1", "a2"].map((name) => `io.github.late/${name}`);
    await published(serverJson("example.late/one"), serverJson("example.late/two", { remote }));
    assert.equal((await setStatus("example.late/two", "1.0.0", "deleted")).status, 200);
    await published(serverJson(squatters[0], { remote }));
    assert.equal((await edit(serverJson("example.late/one", { remote }))).status, 200);
    assert.equal((await authority.connect(squatters[0], key)).status, 403);
    for (const name of ["example.late/one", squatters[0]]) assert.equal((await setStatus(name, "1.0.0", "deleted")).status, 200);
    await published(serverJson(squatters[1], { remote }));
    const answer = await setStatus("example.late/two", "1.0.0", "active");
    assert.equal(answer.status, 200, answer.text);
    assert.equal((await authority.connect(squatters[1], key)).status, 403);
  });

  test("that was stored before there were claims is claimed by a cron", async () => {
    await authority.importServers(entry("example.old/tool", { endpoint: "https://OLD.example:443/x/../mcp" }));
    const version = "(SELECT id FROM versions WHERE server_id = (SELECT id FROM servers WHERE name = 'example.old/tool'))";
    await database.prepare(`UPDATE versions SET claims = NULL WHERE id = ${version}`).run();
    assert.deepEqual(await claimsOf("example.old/tool"), []);
    await authority.scheduled("* * * * *");
    assert.deepEqual(await claimsOf("example.old/tool"), [{ url: "https://old.example/mcp", is_own: 1 }]);
    const { results } = await database.prepare("SELECT count(*) AS n FROM versions WHERE claims IS NULL").all();
    assert.equal(results[0].n, 0);
  });
});

describe("a pin", () => {
  const NAME = "com.pinned/tool";
  const at = (place) => serverJson(NAME, { remote: `https://${place}.example.net/mcp` });
  const pin = (members) => ({ allow: ["*"], versions: [{ servers: NAME, pin: "1.0.0", ...members }] });
  const connect = () => authority.connect(NAME, key);

  test("is of what was there when it was made, or of the content that it names", async () => {
    await published(at("reviewed"));
    const reviewed = await digestOf(NAME);
    for (const tenant of [undefined, "acme"]) {
      await authority.setPolicy(pin(), { tenant });
      assert.equal((await connect()).status, 200);
      assert.equal((await edit(at("moved"))).status, 200);
      const moved = await digestOf(NAME);
      assert.notEqual(moved, reviewed);
      assertProblem(await connect(), 403, "policy_blocked", "edited since");
      const { body } = await authority.admin("/policy/explain", { server_ref: NAME, client_id: "desktop" });
      assert.ok(body.rule.endsWith(`pin 1.0.0: it was edited after it was pinned; its digest is ${moved}`), body.rule);

      // Another change of the policy makes no pin younger.
      await authority.setPolicy({ ...pin(), deny: ["org.other/*"] }, { tenant });
      assertProblem(await connect(), 403, "policy_blocked", "edited since");
      await authority.setPolicy(pin({ digest: moved }), { tenant });
      assert.equal((await connect()).body.endpoint, "https://moved.example.net/mcp");
      assert.equal((await edit(at("reviewed"))).status, 200);
      assertProblem(await connect(), 403, "policy_blocked", "edited since");
      await authority.setPolicy(pin({ digest: reviewed }), { tenant });
      assert.equal((await connect()).status, 200);
      await authority.setPolicy({ allow: ["*"] }, { tenant });
    }
  });

  test("of a version that is still to come holds for its first edition", async () => {
    const name = "com.pinned/later";
    await authority.setPolicy({ allow: ["*"], versions: [{ servers: name, pin: "1.0.0" }] });
    await published(serverJson(name, { remote: "https://later.example.net/mcp" }));
    assert.equal((await authority.connect(name, key)).status, 200);
    assert.equal((await edit(serverJson(name, { remote: "https://later.example.net/other" }))).status, 200);
    assertProblem(await authority.connect(name, key), 403, "policy_blocked", "edited since");
    await authority.setPolicy({ allow: ["*"] });
  });
});

describe("a remote with a password or a fragment", () => {
  test("is published with a warning, and a refused connect says why", async () => {
    for (const [name, url, problem] of [
      ["com.secretive/tool", "https://user:s3cret@mcp.secretive.example/mcp", "has a user name or password"],
      ["com.anchored/tool", "https://mcp.anchored.example/mcp#top", "has a fragment"],
    ]) {
      const server = { ...serverJson(name), remotes: [{ type: "streamable-http", url }] };
      const { body } = await authority.request("/v0.1/validate", { body: server });
      const issues = body.issues.map(({ path, severity, reference }) => [path, severity, reference]);
      assert.deepEqual([body.valid, issues], [true, [["remotes[0].url", "warning", "remote-not-connectable"]]]);
      assert.ok(body.issues[0].message.includes(problem), body.issues[0].message);
      await published(server);
      const answer = await authority.connect(name, key);
      assertProblem(answer, 403, "transport_not_supported", problem);
      assert.ok(!answer.text.includes("s3cret"), answer.text);
    }
  });
});

describe("a remote with variables", () => {
  test("is told as that to who wants to connect", async () => {
    const remote = { type: "streamable-http", url: "https://{tenant}.example.net/mcp", variables: { tenant: {} } };
    await published({ ...serverJson("com.templated/tool"), remotes: [remote] }, serverJson("com.templated/none"));
    assertProblem(await authority.connect("com.templated/tool", key), 403, "transport_not_supported", "variables");
    const { text } = await authority.connect("com.templated/none", key);
    assert.ok(!text.includes("variables"), text);
    assert.equal((await authority.request("/v0.1/servers/com.templated%2Ftool/versions/1.0.0")).body._meta[OURS].connectable, false);
  });

  test("is nobody's by its host, and named as it was sent", async () => {
    const at = (name, url) => {
      const names = [...url.matchAll(/\{(\w+)\}/g)].map((match) => [match[1], {}]);
      return { ...serverJson(name), remotes: [{ type: "sse", url, variables: Object.fromEntries(names) }] };
    };
    for (const [n, url] of ["https://{host}/mcp", "https://{host}:{port}/mcp", "https://{tenant}.example.net/api"].entries()) {
      await published(at(`com.anyhost/n${n}`, url), at(`com.otherhost/n${n}`, url.replace("host", "server")));
    }
    await published(at("com.anypath/one", "https://paths.example.net/{a}/mcp"));
    const answer = await publish(at("com.otherpath/one", "https://paths.example.net/{b}/mcp"));
    assertRefused(answer, 400, "remote URL https://paths.example.net/{b}/mcp is already used by server com.anypath/one, in its version 1.0.0");
  });

  test("is public by all that it may be", async () => {
    for (const [url, variables] of [
      ["https://10.0.0.{n}/mcp", { n: {} }],
      ["https://192.168.{a}.{b}:{port}/mcp", { a: {}, b: {}, port: {} }],
      ["https://{host}/mcp", { host: { choices: ["example.com", "10.0.0.1"] } }],
      ["https://{host}/mcp", { host: { default: "printer.local" } }],
      ["https://{a}.{b}.0.1/mcp", { a: { choices: ["8", "192"] }, b: { choices: ["8", "168"] } }],
    ]) {
      const remotes = [{ type: "streamable-http", url, variables }];
      assertRefused(await publish({ ...serverJson("com.templated/private"), remotes }), 422, "public");
    }
  });
});

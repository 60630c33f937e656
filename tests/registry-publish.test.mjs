// What publishers change by the registry's API, and what comes of it for everybody else.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { entry, generateKey, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { assertRefused, OFFICIAL, OURS, registryToken, serverJson, tokenFor } from "./support/registry.mjs";

const PUBLISHER_PROVIDED = "io.modelcontextprotocol.registry/publisher-provided";
const EVERYTHING = [
  { action: "publish", resource: "*" },
  { action: "edit", resource: "*" },
];

/// Dates come to the microsecond, without zeros at the end: as texts, 05.1Z stands behind 05.12Z.
const moment = (date) => date.replace(/(?:\.(\d+))?Z$/, (_, fraction = "") => `.${fraction.padEnd(6, "0")}Z`);
const assertLater = (date, before) => assert.ok(moment(date) > moment(before), `${date} is not after ${before}`);

describe("publishing", () => {
  let authority, database, bearer;
  before(async () => {
    authority = await startAuthority();
    database = await authority.database();
    bearer = await registryToken(authority, { permissions: EVERYTHING, auth_method: "dns", auth_method_sub: "tests.example" });
  });
  after(() => authority?.stop());

  const path = (name, ...rest) => ["/v0/servers", encodeURIComponent(name), ...rest].join("/");
  const of = (name, version) => path(name, "versions", encodeURIComponent(version));
  const publish = (server, as = bearer) => authority.request("/v0/publish", { body: server, bearer: as });
  const edit = (server, as = bearer) =>
    authority.request(of(server.name, server.version), { method: "PUT", body: server, bearer: as });
  const setStatus = (name, version, body, as = bearer) =>
    authority.request(`${version === null ? path(name) : of(name, version)}/status`, { method: "PATCH", body, bearer: as });
  const get = (name, version) => authority.request(`${of(name, version)}?include_deleted=true`);
  /// The versions of a server, over all pages of their list.
  async function allVersions(name) {
    const versions = [];
    let pages = 0;
    for (let cursor = ""; cursor !== undefined; pages += 1) {
      const { status, text, body } = await authority.request(`${path(name, "versions")}?cursor=${cursor}`);
      assert.equal(status, 200, text);
      assert.equal(body.metadata.count, body.servers.length);
      versions.push(...body.servers.map(({ server }) => server.version));
      cursor = body.metadata.nextCursor;
    }
    return { versions, pages };
  }
  const official = async (name, version) => (await get(name, version)).body._meta[OFFICIAL];

  async function published(...servers) {
    for (const server of servers) {
      const answer = await publish(server);
      assert.equal(answer.status, 200, answer.text);
    }
  }

  /// What the audit trail says of these, oldest first.
  async function audited(subject) {
    const { entries } = (await authority.admin(`/audit?limit=100&subject=${encodeURIComponent(subject)}`)).body;
    return entries.reverse().map(({ actor, action, subject, reason, detail }) => ({ actor, action, subject, reason, detail }));
  }

  async function revoked(subject) {
    const { results } = await database.prepare("SELECT kind, actor, reason FROM revocations WHERE subject = ?").bind(subject).all();
    return results;
  }

  test("what is published is shown, listed and found by connect", async () => {
    const server = serverJson("com.example/first", {
      remote: "https://mcp.example.com/first",
      title: "First",
      _meta: { [PUBLISHER_PROVIDED]: { "com.example/x": { n: 1.5 } } },
    });
    const { status, body } = await publish(server);
    assert.equal(status, 200);
    assert.deepEqual(body.server, server);
    const { publishedAt, ...rest } = body._meta[OFFICIAL];
    assert.match(publishedAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/);
    assert.deepEqual(rest, { status: "active", isLatest: true, updatedAt: publishedAt, statusChangedAt: publishedAt });
    assert.deepEqual(body._meta[OURS], { verified: "none", connectable: false, moderation: "active" });
    assert.deepEqual((await get(server.name, "latest")).body, body);
    const listed = (await authority.request("/v0.1/servers?search=com.example/first")).body.servers;
    assert.deepEqual(listed, [body]);
    assert.deepEqual((await authority.request("/v1/servers/com.example/first")).body.server, server);
    assert.deepEqual(await audited(`${server.name}@1.0.0`), [
      {
        actor: "publisher dns:tests.example",
        action: "version.publish",
        subject: "com.example/first@1.0.0",
        reason: undefined,
        detail: "active",
      },
    ]);

    await authority.changeServer(server.name, "verify");
    assert.equal((await get(server.name, "latest")).body._meta[OURS].connectable, true);
    const { api_key } = await authority.createClient("desktop");
    assert.equal((await authority.connect(server.name, api_key)).status, 200);
    const deleted = await setStatus(server.name, "1.0.0", { status: "deleted", statusMessage: "it was a mistake" });
    assert.equal(deleted.status, 200, deleted.text);
    assertProblem(await authority.connect(server.name, api_key), 403, "server_revoked", "deleted by its publisher");
    assert.deepEqual(await revoked("com.example/first@1.0.0"), [
      { kind: "version", actor: "publisher dns:tests.example", reason: "it was a mistake" },
    ]);
    assert.equal((await authority.request(of(server.name, "latest"))).status, 404);
    assert.equal((await setStatus(server.name, "1.0.0", { status: "active" })).status, 200);
    assert.equal((await authority.connect(server.name, api_key)).status, 200);
    assert.deepEqual(
      (await audited(`${server.name}@1.0.0`)).map(({ action, reason, detail }) => [action, reason, detail]),
      [
        ["version.publish", undefined, "active"],
        ["version.status", "it was a mistake", "deleted"],
        ["version.status", undefined, "active"],
      ],
    );
  });

  test("form comes before who is asking, and that before what may be done", async () => {
    const server = serverJson("com.order/one");
    const nobody = (body) => authority.request("/v0/publish", { body });
    const { description, ...lacking } = server;
    assertRefused(await nobody(server), 422, "required header parameter is missing");
    const both = await nobody(lacking);
    assertRefused(both, 422, "required header parameter is missing");
    assert.deepEqual(both.body.errors.map(({ location }) => location), ["header.Authorization", "body"]);
    assertRefused(await authority.request("/v0/publish", { body: lacking, headers: { authorization: "nonsense" } }), 422, "description");
    const basic = await authority.request("/v0/publish", { body: server, headers: { authorization: "Basic eDp5" } });
    assertRefused(basic, 401, "Invalid Authorization header format");
    assert.match(basic.headers.get("www-authenticate"), /^Bearer/);
    const others = await tokenFor(authority, "com.others/*", "publish");
    const semantic = { ...server, version: "^1.0.0" };
    assertRefused(await publish(semantic, others), 403, "com.others/*");
    assertRefused(await publish(semantic), 422, "call /validate for details");
    const lowerCase = await authority.request("/v0/publish", { body: server, headers: { authorization: `bearer ${others}` } });
    assertRefused(lowerCase, 403, "You do not have permission to publish this server");
    // Who may edit may not publish.
    assertRefused(await publish(server, await tokenFor(authority, "*", "edit")), 403, "permission");

    assertRefused(await nobody("{"), 400, "");
    assertRefused(await authority.request("/v0/publish", { method: "POST" }), 400, "body");
    assertRefused(await publish("[]"), 422, "body");
    assertRefused(await publish('{"name":"com.order/one","name":"com.order/two"}'), 400, "");
    assertRefused(await publish({ ...server, license: "MIT" }), 422, "body.license");
    assertRefused(await publish({ ...server, _meta: { tools: {} } }), 422, "unexpected property");
    const provided = (size) => ({ ...server, _meta: { [PUBLISHER_PROVIDED]: { x: "x".repeat(size) } } });
    assertRefused(await publish(provided(4096)), 400, "4KB");
    const remotes = Array.from({ length: 101 }, (_, n) => ({ type: "sse", url: `https://mcp.example.com/${n}` }));
    assertRefused(await publish({ ...server, remotes }), 400, "has 101 remotes, more than 100");
    const { issues } = (await authority.request("/v0/validate", { body: { ...server, remotes } })).body;
    assert.deepEqual(issues.map(({ path, reference }) => [path, reference]), [["remotes", "too-many-remotes"]]);
    const headers = Array.from({ length: 900 }, (_, n) => ({ name: `X-${n}`, description: "d".repeat(60) }));
    const large = { ...server, remotes: [{ type: "sse", url: "https://mcp.example.com/large", headers }] };
    for (const body of [large, { ...server, description: "d".repeat(2 ** 20) }]) {
      assertRefused(await publish(body), 413, "64 KiB");
      assertRefused(await edit(body), 413, "64 KiB");
      assertRefused(await authority.request("/v0/validate", { body }), 413, "64 KiB");
    }

    assertRefused(await setStatus("com.order/one", "1.0.0", { status: "gone" }, others), 422, "body.status");
    assertRefused(await setStatus("com.order/one", "1.0.0", { status: "deleted" }, others), 404, "Server version not found");
    assertRefused(await setStatus("com.order/one", null, { status: "deleted" }, others), 404, "Server not found");
    assertRefused(await edit(server, others), 404, "Server not found");
    await published(server);
    assertRefused(await setStatus("com.order/one", "1.0.0", { status: "deleted" }, others), 403, "permissions");
    assertRefused(await setStatus("com.order/one", null, { status: "deleted" }, others), 403, "permissions");
    assertRefused(await edit({ ...server, description: "other" }, others), 403, "You do not have edit permissions");
    assertRefused(await setStatus("com.order/one", "latest", { status: "deleted" }), 404, "Server version not found");
  });

  test("a token is good here, now and for what it is made for", async () => {
    const server = serverJson("com.token/one");
    const now = Math.floor(Date.now() / 1000);
    const stranger = generateKey();
    const foreign = await registryToken(
      { settings: { ...authority.settings, SIGNING_KEYS: JSON.stringify({ keys: [stranger] }) } },
      { permissions: EVERYTHING },
    );
    const good = (changes, header) => registryToken(authority, { permissions: EVERYTHING }, changes, header);
    const [head, claims, signature] = (await good()).split(".");
    const forged = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(claims, "base64url")), auth_method_sub: "x" }));
    for (const [what, token] of [
      ["nonsense", "nonsense"],
      ["over", await good({ iat: now - 600, nbf: now - 600, exp: now - 300 })],
      ["for another registry", await good({ aud: "https://registry.modelcontextprotocol.io" })],
      ["of another registry", await good({ iss: "mcp-registry" })],
      ["of another kind", await good({}, { typ: "JWT" })],
      ["by another key", foreign],
      ["changed", [head, forged.toString("base64url"), signature].join(".")],
      ["without permissions", await good({ permissions: undefined })],
    ]) {
      const answer = await publish(server, token);
      assertRefused(answer, 401, "Invalid or expired Registry JWT token");
      assert.ok(!answer.text.includes(token), what);
    }
    assert.equal((await get(server.name, "latest")).status, 404);
    assert.equal((await publish(server, await good())).status, 200);
  });

  test("of equal versions at the same time one is published, and each has its audit row", async () => {
    const name = "com.race/one";
    const same = await Promise.all(Array.from({ length: 6 }, () => publish(serverJson(name))));
    assert.deepEqual(same.map(({ status }) => status).sort(), [200, 400, 400, 400, 400, 400]);
    for (const answer of same.filter(({ status }) => status === 400)) {
      assertRefused(answer, 400, "cannot publish duplicate version");
    }
    const versions = Array.from({ length: 8 }, (_, n) => `1.${n + 1}.0`);
    const answers = await Promise.all(versions.map((version) => publish(serverJson(name, { version }))));
    assert.deepEqual(answers.map(({ status }) => status), versions.map(() => 200));
    const { servers } = (await authority.request(`${path(name)}/versions`)).body;
    const latest = servers.filter(({ _meta }) => _meta[OFFICIAL].isLatest);
    assert.deepEqual(latest.map(({ server }) => server.version), ["1.8.0"]);
    const moments = servers.map(({ _meta }) => _meta[OFFICIAL].publishedAt);
    assert.equal(new Set(moments).size, 9, "each at a moment of its own");
    const subjects = (await audited(name)).map(({ subject }) => subject).sort();
    assert.deepEqual(subjects, ["1.0.0", ...versions].map((version) => `${name}@${version}`).sort());
  });

  test("a URL belongs to one name", async () => {
    const remote = "https://mcp.example.com/shared";
    const both = await Promise.all(["one", "two"].map((name) => publish(serverJson(`com.url/${name}`, { remote }))));
    assert.deepEqual(both.map(({ status }) => status).sort(), [200, 400]);
    const [winner, loser] = both[0].status === 200 ? ["com.url/one", "com.url/two"] : ["com.url/two", "com.url/one"];
    assertRefused(
      both.find(({ status }) => status === 400),
      400,
      `remote URL ${remote} is already used by server ${winner}`,
    );
    await published(serverJson(winner, { version: "1.0.1", remote }), serverJson(loser));
    const taken = { ...serverJson(loser), remotes: [{ type: "sse", url: "https://mcp.example.com/own" }, { type: "sse", url: remote }] };
    assertRefused(await edit(taken), 400, "already used by server");
    assert.equal((await setStatus(winner, null, { status: "deleted" })).status, 200);
    assert.equal((await edit(taken)).status, 200);
    assertRefused(await setStatus(winner, "1.0.1", { status: "deprecated" }), 400, "already used by server");
    assertRefused(await setStatus(winner, null, { status: "active" }), 400, "already used by server");
    assert.equal((await official(winner, "1.0.1")).status, "deleted");
    // What it said before holds nothing any more.
    assert.equal((await edit(serverJson(loser, { remote: "https://mcp.example.com/third" }))).status, 200);
    assert.equal((await setStatus(winner, null, { status: "active" })).status, 200);
  });

  test("the latest version is the highest, and what was it is changed with what is it", async () => {
    const name = "com.latest/one";
    const shown = async () => {
      const { servers } = (await authority.request(`${path(name)}/versions?include_deleted=true`)).body;
      return Object.fromEntries(servers.map(({ server, _meta }) => [server.version, _meta[OFFICIAL]]));
    };
    const latest = (versions) => Object.keys(versions).filter((version) => versions[version].isLatest);
    await published(serverJson(name, { version: "1.0.0" }));
    const first = await shown();
    await published(serverJson(name, { version: "2.0.0" }));
    const second = await shown();
    assert.deepEqual(latest(second), ["2.0.0"]);
    assertLater(second["1.0.0"].updatedAt, first["1.0.0"].updatedAt);
    assert.equal(second["1.0.0"].updatedAt, second["2.0.0"].updatedAt);
    assert.equal(second["1.0.0"].statusChangedAt, first["1.0.0"].statusChangedAt);
    // None of these is higher.
    for (const version of ["1.5.0", "2.0.0+build.7", "2.0.0-rc.1", "nightly"]) await published(serverJson(name, { version }));
    const third = await shown();
    assert.deepEqual(latest(third), ["2.0.0"]);
    assert.deepEqual(third["2.0.0"], second["2.0.0"]);

    assert.equal((await setStatus(name, "2.0.0", { status: "deleted" })).status, 200);
    const fourth = await shown();
    assert.deepEqual(latest(fourth), ["2.0.0+build.7"]);
    assert.equal(fourth["2.0.0+build.7"].updatedAt, fourth["2.0.0"].updatedAt);
    assert.equal(fourth["2.0.0"].statusChangedAt, fourth["2.0.0"].updatedAt);
    assert.deepEqual(fourth["1.5.0"], third["1.5.0"]);
    const since = encodeURIComponent(third["nightly"].updatedAt);
    const changed = (await authority.request(`/v0.1/servers?search=com.latest&updated_since=${since}`)).body.servers;
    assert.deepEqual(changed.map(({ server }) => server.version).sort(), ["2.0.0", "2.0.0+build.7"]);

    await published(serverJson(name, { version: "3.0.0-beta" }));
    assert.deepEqual(latest(await shown()), ["3.0.0-beta"], "a prerelease may be the latest");
    assert.equal((await authority.request("/v1/servers/com.latest/one")).body.version, "2.0.0+build.7", "but not what connects get");
  });

  test("of what is no semantic version the one published last is the latest", async () => {
    const name = "com.latest/words";
    await published(...["b", "c", "a"].map((version) => serverJson(name, { version })));
    assert.equal((await get(name, "latest")).body.server.version, "a");
    await published(serverJson(name, { version: "0.0.1" }), serverJson(name, { version: "d" }));
    assert.equal((await get(name, "latest")).body.server.version, "0.0.1");
  });

  test("a status and its message go together", async () => {
    const name = "com.status/one";
    await published(serverJson(name));
    const before = await official(name, "1.0.0");
    assertRefused(await setStatus(name, "1.0.0", { status: "active" }), 400, "No changes to apply");
    assertRefused(await setStatus(name, "1.0.0", { status: "active", statusMessage: "x" }), 400, "status_message cannot be provided");
    assertRefused(await setStatus(name, "1.0.0", { status: "deleted", statusMessage: "x".repeat(501) }), 422, "body.statusMessage");
    const { body } = await setStatus(name, "1.0.0", { status: "deprecated", statusMessage: "é".repeat(500) });
    assert.equal(body.server.name, name);
    const deprecated = body._meta[OFFICIAL];
    assert.equal(deprecated.statusMessage, "é".repeat(500));
    assertLater(deprecated.statusChangedAt, before.statusChangedAt);
    assertRefused(await setStatus(name, "1.0.0", { status: "deprecated", statusMessage: "é".repeat(500) }), 400, "No changes to apply");
    const reworded = (await setStatus(name, "1.0.0", { status: "deprecated", statusMessage: "use another" })).body._meta[OFFICIAL];
    assert.equal(reworded.statusChangedAt, deprecated.statusChangedAt);
    assertLater(reworded.updatedAt, deprecated.updatedAt);
    const active = (await setStatus(name, "1.0.0", { status: "active" })).body._meta[OFFICIAL];
    assert.equal(active.statusMessage, undefined);
    assert.equal(active.status, "active");
    assert.deepEqual(await revoked(`${name}@1.0.0`), []);
  });

  test("all versions change their status in one go", async () => {
    const name = "com.status/all";
    await published(...["1.0.0", "2.0.0", "3.0.0"].map((version) => serverJson(name, { version })));
    assert.equal((await setStatus(name, "2.0.0", { status: "deleted" })).status, 200);
    const { status, body } = await setStatus(name, null, { status: "deleted", statusMessage: "all of it" });
    assert.equal(status, 200);
    assert.equal(body.updatedCount, 3, "the message of one changed");
    assert.deepEqual(body.servers.map(({ server }) => server.version), ["1.0.0", "2.0.0", "3.0.0"]);
    for (const { _meta } of body.servers) {
      assert.equal(_meta[OFFICIAL].status, "deleted");
      assert.equal(_meta[OFFICIAL].statusMessage, "all of it");
    }
    assert.deepEqual(body.servers.map(({ _meta }) => _meta[OFFICIAL].isLatest), [false, false, true]);
    assertRefused(await setStatus(name, null, { status: "deleted", statusMessage: "all of it" }), 400, "No changes to apply");
    assert.deepEqual(await revoked(name), [], "nobody could connect to it");
    assert.equal((await setStatus(name, "1.0.0", { status: "active" })).status, 200);
    const restored = (await setStatus(name, null, { status: "active" })).body;
    assert.equal(restored.updatedCount, 2);
    assert.deepEqual(
      (await audited(name)).filter(({ subject }) => subject === name).map(({ action, detail }) => [action, detail]),
      [
        ["server.status", "deleted"],
        ["server.status", "active"],
      ],
    );
  });

  test("the feed hears of what is deleted where somebody may be connected, and once", async () => {
    const at = async (subject) =>
      (await database.prepare("SELECT revoked_at FROM revocations WHERE subject = ?").bind(subject).first())?.revoked_at;
    const [known, unknown] = ["com.feed/known", "com.feed/unknown"];
    for (const name of [known, unknown]) {
      await published(...["1.0.0", "2.0.0"].map((version) => serverJson(name, { version, remote: `https://mcp.example.com/${name}` })));
    }
    await authority.changeServer(known, "verify");
    for (const name of [known, unknown]) {
      assert.equal((await setStatus(name, "1.0.0", { status: "deleted" })).status, 200);
    }
    const first = await at(`${known}@1.0.0`);
    assert.ok(first);
    assert.equal(await at(`${unknown}@1.0.0`), undefined, "unverified, so without descriptors");
    assert.equal((await setStatus(known, "1.0.0", { status: "deleted", statusMessage: "other words" })).status, 200);
    assert.equal(await at(`${known}@1.0.0`), first);
    assert.equal((await setStatus(known, null, { status: "deleted", statusMessage: "all of it" })).status, 200);
    assert.ok(await at(known));
    assert.equal((await setStatus(unknown, null, { status: "deleted" })).status, 200);
    assert.equal(await at(unknown), undefined);
  });

  test("what is more than fits into one answer is told of, and can be read by itself", async () => {
    const name = "com.large/one";
    const versions = Array.from({ length: 40 }, (_, i) => `1.${i}.0`);
    for (let from = 0; from < versions.length; from += 3) {
      await authority.importServers(...versions.slice(from, from + 3).map((version) => {
        const imported = entry(name, { version });
        imported.server._meta = { [PUBLISHER_PROVIDED]: { text: "x".repeat(250_000) } };
        return imported;
      }));
    }
    const listed = await allVersions(name);
    assert.ok(listed.pages >= 3, `${listed.pages} pages`);
    assert.deepEqual(listed.versions, versions.toReversed());
    const { status, body } = await setStatus(name, null, { status: "deprecated" });
    assert.equal(status, 200);
    assert.equal(body.updatedCount, 40);
    assert.ok(body.servers.length >= 1 && body.servers.length < 40, `${body.servers.length}`);
    for (const version of versions) assert.equal((await get(name, version)).body._meta[OFFICIAL].status, "deprecated");

    const seen = [];
    let pages = 0;
    for (let more = "limit=100&search=com.large"; more; pages += 1) {
      const page = (await authority.request(`/v0.1/servers?${more}`)).body;
      seen.push(...page.servers.map(({ server }) => server.version));
      more = page.metadata.nextCursor && `limit=100&cursor=${encodeURIComponent(page.metadata.nextCursor)}`;
    }
    assert.deepEqual(seen, [...versions].sort());
    assert.ok(pages >= 3, `${pages} pages`);
  });

  test("whoever is revoked keeps no URL from others", async () => {
    const remote = "https://mcp.example.com/squatted";
    await published(serverJson("com.squatter/one", { remote }));
    const wanted = serverJson("com.owner/one", { remote });
    assertRefused(await publish(wanted), 400, "is already used by server com.squatter/one");
    await authority.changeServer("com.squatter/one", "revoke");
    await published(wanted);
  });

  test("a latest version that is held back leaves its place in a search to one that isn't", async () => {
    const name = "com.held/heldback";
    await published(...["1.0.0", "2.0.0-rc.1"].map((version) => serverJson(name, { version })));
    const found = async () =>
      (await authority.request("/v0.1/x/org.mcp-connect/search?q=heldback")).body.servers.map(({ server }) => server.version);
    assert.deepEqual(await found(), ["2.0.0-rc.1"]);
    await authority.changeServer(`${name}@2.0.0-rc.1`, "revoke");
    assert.deepEqual(await found(), ["1.0.0"]);
  });

  test("an edit is another edition, and moving away ends what leads to the old place", async () => {
    const name = "com.edit/one";
    const first = serverJson(name, { remote: "https://mcp.example.com/edit" });
    await published(first);
    const before = await official(name, "1.0.0");
    assertRefused(await authority.request(of(name, "1.0.0"), { method: "PUT", body: serverJson("com.edit/two"), bearer }), 400, "Cannot rename server");
    const other = { ...first, version: "1.0.1" };
    assertRefused(await authority.request(of(name, "1.0.0"), { method: "PUT", body: other, bearer }), 400, "must match URL path");
    assertRefused(await edit({ ...first, websiteUrl: "ftp://example.com" }), 422, "validate");

    const second = { ...first, description: "Edited" };
    const { status, body } = await edit(second);
    assert.equal(status, 200);
    assert.deepEqual(body.server, second);
    assertLater(body._meta[OFFICIAL].updatedAt, before.updatedAt);
    assert.equal(body._meta[OFFICIAL].publishedAt, before.publishedAt);
    assert.deepEqual(await revoked(`${name}@1.0.0`), []);
    assert.equal((await authority.request("/v1/servers?query=Edited")).body.servers[0]?.id, name, "it is found by what it says now");
    assert.deepEqual((await edit(second)).body, body, "the same once more changes nothing");

    const third = serverJson(name, { remote: "https://elsewhere.example.com/edit" });
    assert.equal((await edit(third)).status, 200);
    assert.deepEqual((await revoked(`${name}@1.0.0`)).map(({ reason }) => reason), ["its endpoint changed"]);
    const { results } = await database
      .prepare("SELECT e.edition, e.server_json FROM editions e JOIN versions v ON v.id = e.version_id JOIN servers s ON s.id = v.server_id WHERE s.name = ?")
      .bind(name)
      .all();
    assert.deepEqual(results.map(({ edition, server_json }) => [edition, JSON.parse(server_json)]), [[1, first], [2, second]]);
    assert.deepEqual((await audited(`${name}@1.0.0`)).map(({ action }) => action), ["version.publish", "version.edit", "version.edit"]);
    assert.equal((await setStatus(name, "1.0.0", { status: "deleted" })).status, 200);
    assertRefused(await edit(first), 404, "Server not found");
  });

  test("what is mirrored is changed where it comes from", async () => {
    const name = "com.mirrored/one";
    await published(serverJson(name));
    await database.prepare("UPDATE servers SET upstream = 'https://registry.example' WHERE name = ?").bind(name).run();
    assertRefused(await publish(serverJson(name, { version: "2.0.0" })), 400, "mirrored from https://registry.example");
    assertRefused(await edit(serverJson(name, { description: "other" })), 400, "mirrored from");
    assertRefused(await setStatus(name, "1.0.0", { status: "deleted" }), 400, "mirrored from");
    assertRefused(await setStatus(name, null, { status: "deleted" }), 400, "mirrored from");
    assert.equal((await audited(name)).length, 1);
  });

  test("a name has at most 10,000 versions", async () => {
    const name = "com.many/one";
    await published(serverJson(name, { version: "1.0.0" }));
    await database
      .prepare(
        `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 9998)
         INSERT INTO versions (server_id, version, sort_key, stable, status, description, content_hash, created_at, changed_at, server_json)
         SELECT s.id, '0.' || n || '.0', printf('1%020d%020d%020d~', 0, n, 0), 1, 'active', 'd', 'h', 1, n,
           json_object('name', s.name, 'version', '0.' || n || '.0', 'description', 'd') FROM n, servers s WHERE s.name = ?`,
      )
      .bind(name)
      .run();
    await published(serverJson(name, { version: "1.0.1" }));
    assertRefused(await publish(serverJson(name, { version: "1.0.2" })), 400, "maximum number of versions");
    assert.equal((await get(name, "latest")).body.server.version, "1.0.1");
    const listed = await allVersions(name);
    assert.equal(new Set(listed.versions).size, 10_000);
    assert.equal(listed.versions.length, 10_000);
    const page = await authority.request(`/v0/servers?limit=100&cursor=${encodeURIComponent(`${name}:0.9`)}`);
    assert.equal(page.body.servers[0].server.version, "0.9.0");
  });

  test("validating tells all that is wrong, and stores nothing", async () => {
    const validate = (body) => authority.request("/v0.1/validate", { body });
    const good = await validate(serverJson("com.valid/one"));
    assert.equal(good.status, 200);
    assert.deepEqual(good.body, { valid: true, issues: [] });
    const bad = await validate(serverJson("com.valid/one", { version: "^1", remote: "https://10.0.0.1/mcp" }));
    assert.equal(bad.status, 200);
    assert.equal(bad.body.valid, false);
    assert.deepEqual(bad.body.issues.map(({ path }) => path).sort(), ["remotes[0].url", "version"]);
    const old = { ...serverJson("com.valid/one"), $schema: "https://static.modelcontextprotocol.io/schemas/2025-09-29/server.schema.json" };
    const { valid, issues } = (await validate(old)).body;
    assert.equal(valid, true);
    assert.deepEqual(issues.map(({ severity, reference }) => [severity, reference]), [["warning", "schema-version-deprecated"]]);
    assertRefused(await validate({ name: "x" }), 422, "body.name");
    assert.equal((await get("com.valid/one", "latest")).status, 404);
  });
});

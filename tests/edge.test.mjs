// What many read: validators, how long it may be kept, and copies in KV that every write renews and
// that answer while D1 is out.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { entry, eventually, startAuthority } from "./support/authority.mjs";
import { connectctl } from "./support/programs.mjs";
import { registryToken } from "./support/registry.mjs";

const OFFICIAL = "io.modelcontextprotocol.registry/official";
const OURS = "org.mcp-connect/authority";
let authority;

before(async () => {
  authority = await startAuthority({ faults: true });
});
after(() => authority?.stop());
afterEach(() => authority.mend());

const get = (path, headers) => authority.request(path, { headers });
const latest = (name, more = "") => get(`/v0.1/servers/${encodeURIComponent(name)}/versions/latest${more}`);
const copyOf = async (name) => (await authority.kv()).get(`server:${name}`, "json");
const copied = (name, isIt = (copy) => copy) =>
  eventually(`a copy of ${name}`, async () => {
    const copy = await copyOf(name);
    return copy && isIt(copy) && copy;
  });
const rebuild = (...args) =>
  connectctl(["--authority", authority.url, `--operator-token=${authority.operatorToken}`, "cache", "rebuild", ...args]);

describe("what may be shown again", () => {
  const NAME = "com.example/tagged";
  const paths = [
    "/v0.1/servers",
    "/v0/servers?version=latest&limit=5",
    "/v0.1/servers?search=tagged",
    "/v0.1/x/org.mcp-connect/search?q=tagged",
    `/v0.1/servers/${encodeURIComponent(NAME)}/versions`,
    `/v0.1/servers/${encodeURIComponent(NAME)}/versions/latest`,
    `/v0/servers/${encodeURIComponent(NAME)}/versions/1.0.0`,
    "/v1/servers",
    "/v1/servers?query=tagged",
    `/v1/servers/${NAME}`,
    `/v1/servers/${NAME}@1.0.0`,
    "/.well-known/jwks.json",
    "/.well-known/mcp-connect-authority",
  ];
  before(() => authority.importServers(entry(NAME)));

  test("says for how long, and is not sent twice until it changes", async () => {
    const tags = {};
    for (const path of paths) {
      const first = await get(path);
      assert.equal(first.status, 200, path);
      assert.match(first.headers.get("cache-control"), /^public, max-age=\d+$/, path);
      tags[path] = first.headers.get("etag");
      assert.match(tags[path], /^"[\w-]+"$/, path);
      const again = await get(path, { "if-none-match": tags[path] });
      assert.deepEqual([again.status, again.text, again.headers.get("etag")], [304, "", tags[path]], path);
      assert.equal(again.headers.get("cache-control"), first.headers.get("cache-control"), path);
      if (path.startsWith("/v0")) assert.equal(again.headers.get("access-control-allow-origin"), "*", path);
      assert.equal((await get(path, { "if-none-match": '"other"' })).status, 200, path);
      const head = await authority.request(path, { method: "HEAD" });
      assert.deepEqual([head.status, head.headers.get("etag")], [200, tags[path]], path);
    }
    await authority.changeServer(NAME, "verify");
    for (const path of paths.filter((path) => !path.includes("well-known"))) {
      assert.equal((await get(path, { "if-none-match": tags[path] })).status, 200, `${path} has changed`);
    }
  });

  test("is nothing else", async () => {
    for (const path of ["/v0.1/servers/com.example%2Fnothing/versions/latest", "/v0.1/ping", "/v1/admin/clients"]) {
      const answer = await get(path, { "if-none-match": "*" });
      assert.notEqual(answer.status, 304, path);
      assert.equal(answer.headers.get("etag"), null, path);
    }
  });
});

describe("a copy", () => {
  // KV takes one write of a copy in a second, so a second change within that time reaches it later; what is read
  // is right at once.
  test("is renewed by each write, and no older one is shown meanwhile", async () => {
    const NAME = "com.example/renewed";
    await authority.importServers(entry(NAME));
    await copied(NAME);
    const standing = async () => (await latest(NAME)).body?._meta[OURS];

    await authority.changeServer(NAME, "verify");
    assert.equal((await standing()).verified, "operator");
    await copied(NAME, ({ versions }) => versions[0].level === "operator");
    await authority.changeServer(NAME, "unverify");
    assert.equal((await standing()).verified, "none");
    await copied(NAME, ({ versions }) => versions[0].level === "none");

    await authority.changeServer(NAME, "quarantine");
    assert.equal((await latest(NAME)).status, 404, "clients take what is shown for what may be used");
    await copied(NAME, ({ versions }) => versions[0].moderation === "quarantined");
    await authority.changeServer(NAME, "reinstate");
    assert.equal((await latest(NAME)).status, 200);

    await authority.importServers(entry(NAME, { version: "1.1.0" }));
    await copied(NAME, ({ versions }) => versions.length === 2);
    assert.equal((await latest(NAME)).body.server.version, "1.1.0");
    await authority.importServers(entry(NAME, { version: "1.1.0", status: "deleted" }));
    await copied(NAME, ({ versions }) => versions[0].status === "deleted");
    assert.equal((await latest(NAME)).body.server.version, "1.0.0");
  });

  test("is renewed when a hold ends by itself", async () => {
    const NAME = "com.example/held";
    await authority.importServers(entry(NAME));
    await authority.admin(`/servers/${NAME}/quarantine`, { reason: "a test wants it", expires_in: 4 });
    await copied(NAME, ({ versions }) => versions[0].moderation === "quarantined");
    await eventually("the hold is over", async () => {
      await authority.scheduled("* * * * *");
      return (await copyOf(NAME)).versions[0].moderation === "active";
    });
  });

  test("is not made by those who want to know what holds now", async () => {
    const [asked, other] = ["com.example/asked-exactly", "com.example/asked-otherwise"];
    await authority.importServers(entry(asked), entry(other));
    await Promise.all([copied(asked), copied(other)]);
    const kv = await authority.kv();
    await Promise.all([kv.delete(`server:${asked}`), kv.delete(`server:${other}`)]);
    const exact = await latest(asked, "?include_deleted=true");
    assert.equal(exact.headers.get("cache-control"), "public, no-cache");
    assert.equal((await latest(other)).status, 200);
    await copied(other);
    assert.equal(await copyOf(asked), null);
  });

  test("is renewed where D1 couldn't say whether a change was made", async () => {
    const NAME = "com.example/unconfirmed";
    const bearer = await registryToken(authority, { permissions: [{ action: "publish", resource: "com.example/*" }] });
    await authority.importServers(entry(NAME));
    await copied(NAME);
    await authority.break({ d1: "lost", containing: "version.status" });
    const path = `/v0.1/servers/${encodeURIComponent(NAME)}/versions/1.0.0/status`;
    const answer = await authority.request(path, { method: "PATCH", body: { status: "deleted" }, bearer });
    assert.equal(answer.status, 500);
    await copied(NAME, ({ versions }) => versions[0].status === "deleted");
  });

  test("goes where it can't be renewed", async () => {
    const NAME = "com.example/unrenewed";
    await authority.importServers(entry(NAME));
    await copied(NAME);
    await authority.break({ d1: "error", containing: "WITH newest" });
    await authority.changeServer(NAME, "verify");
    await eventually("the copy is gone", async () => (await copyOf(NAME)) === null);
  });

  test("has what registries and /v1 say of all versions", async () => {
    const NAME = "com.example/all";
    const ofUpstream = entry(NAME, { version: "1.0.0", publishedAt: "2025-01-01T10:20:30.123456Z" });
    await authority.importServers(ofUpstream, entry(NAME, { version: "2.0.0-beta" }), entry(NAME, { version: "0.9.0", status: "deprecated" }));
    await copied(NAME, ({ versions }) => versions.length === 3);
    const paths = [
      `/v1/servers/${NAME}`,
      `/v1/servers/${NAME}@1.0.0`,
      `/v0.1/servers/${encodeURIComponent(NAME)}/versions`,
      `/v0.1/servers/${encodeURIComponent(NAME)}/versions/latest`,
      `/v0.1/servers/${encodeURIComponent(NAME)}/versions/0.9.0`,
    ];
    const fromCopy = await Promise.all(paths.map((path) => get(path)));
    await authority.break({ kv: "error" });
    const fromD1 = await Promise.all(paths.map((path) => get(path)));
    assert.deepEqual(fromCopy.map(({ body }) => body), fromD1.map(({ body }) => body));
    assert.equal(fromD1[1].body.published_at, "2025-01-01T10:20:30.123Z");
    assert.equal(fromD1[3].body.server.version, "2.0.0-beta");
    assert.equal(fromD1[4].body._meta[OFFICIAL].status, "deprecated");
    assert.equal(fromD1[0].body.versions.length, 3);
  });

  test("of a server with more versions than fit still finds each of them", async () => {
    const NAME = "com.example/crowded";
    for (let from = 0; from < 130; from += 65) {
      await authority.importServers(...Array.from({ length: 65 }, (_, i) => entry(NAME, { version: `1.${from + i}.0` })));
    }
    await copied(NAME, ({ versions }) => versions[0].version_count === 130);
    const path = (version) => `/v0.1/servers/${encodeURIComponent(NAME)}/versions${version}`;
    for (const version of ["1.0.0", "1.129.0"]) {
      assert.equal((await get(path(`/${version}`))).body.server.version, version);
      assert.equal((await get(`/v1/servers/${NAME}@${version}`)).body.version, version);
    }
    assert.equal((await get(path(""))).body.servers.length, 130);
    assert.equal((await get(path("/9.9.9"))).status, 404);
    assert.equal((await get(`/v1/servers/${NAME}@9.9.9`)).status, 404);
    // What a copy has no room for is read from D1 alone.
    await authority.break({ d1: "error" });
    assert.equal((await get(path("/1.129.0"))).status, 200);
    assert.equal((await get(path("/1.0.0"))).status, 500);
  });
});

describe("while D1 is out", () => {
  const KNOWN = "com.example/known";
  before(async () => {
    await authority.importServers(entry(KNOWN), entry(KNOWN, { version: "1.1.0" }));
    const copy = await copied(KNOWN, ({ versions }) => versions.length === 2);
    // Older than what is served while D1 answers.
    await (await authority.kv()).put(`server:${KNOWN}`, JSON.stringify({ ...copy, loaded_at: copy.loaded_at - 3_600_000 }));
  });

  test("what is read of one server is still answered", async () => {
    const encoded = encodeURIComponent(KNOWN);
    for (const d1 of ["error", "hang"]) {
      await authority.break({ d1 });
      const answers = await Promise.all([
        latest(KNOWN),
        latest(KNOWN, "?include_deleted=true"),
        get(`/v0/servers/${encoded}/versions/1.0.0`),
        get(`/v0.1/servers/${encoded}/versions`),
        get(`/v1/servers/${KNOWN}`),
        get(`/v1/servers/${KNOWN}@1.0.0`),
      ]);
      assert.deepEqual(answers.map(({ status }) => status), Array(6).fill(200), d1);
      assert.equal(answers[0].body.server.version, "1.1.0");
      assert.equal(answers[2].body.server.version, "1.0.0");
    }
  });

  test("of a server nobody knows it is said that there is none, once every server was copied", async () => {
    await authority.break({ d1: "error" });
    const before = await latest("com.example/unknown");
    assert.equal(before.status, 500, "it may be one that was never copied");
    await authority.mend();

    const kv = await authority.kv();
    await kv.delete(`server:${KNOWN}`);
    const { code, stdout, stderr } = await rebuild();
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^\d+ copies renewed\n$/);
    assert.ok(await copyOf(KNOWN));

    await authority.break({ d1: "error" });
    const after = await latest("com.example/unknown");
    assert.deepEqual([after.status, after.headers.get("content-type")], [404, "application/problem+json"]);
    assert.equal((await get("/v1/servers/com.example/unknown")).status, 404);
    assert.equal((await latest(KNOWN)).status, 200);
    // Nor is a copy that KV can't give now one that was never made.
    await authority.break({ d1: "error", kv: "error" });
    assert.equal((await latest(KNOWN)).status, 500);
    await authority.mend();

    // One that can't be copied ends it.
    await authority.importServers(entry("com.example/uncopied"));
    await copied("com.example/uncopied");
    await authority.break({ d1: "error", containing: "WITH newest" });
    await authority.changeServer("com.example/uncopied", "verify");
    await authority.break({ d1: "error" });
    assert.equal((await latest("com.example/unknown")).status, 500);
  });

  test("the rebuild goes on where it stopped, in bounded calls", async () => {
    const names = Array.from({ length: 60 }, (_, i) => `org.rebuilt/server-${i}`);
    await authority.importServers(...names.map((name) => entry(name)));
    await copied(names.at(-1));
    const first = await authority.admin("/cache/rebuild", { after: "org" });
    assert.deepEqual([first.status, first.body.renewed], [200, 50]);
    const second = await authority.admin("/cache/rebuild", { after: first.body.next });
    assert.equal(second.body.renewed, 10);
    const last = await authority.admin("/cache/rebuild", { after: second.body.next });
    assert.deepEqual(last.body, { renewed: 0 });
    await authority.break({ d1: "error" });
    const { code, stderr } = await rebuild("--after", "org");
    assert.notEqual(code, 0);
    assert.match(stderr, /--after 'org'/);
    await authority.mend();
    const stranger = await authority.request("/v1/admin/cache/rebuild", { body: {} });
    assert.equal(stranger.status, 401);
  });
});

// The API that registries share, under /v0 and /v0.1: what is read of it.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { entry, startAuthority } from "./support/authority.mjs";
import { assertRefused, OFFICIAL, OURS, PREFIXES } from "./support/registry.mjs";

for (const prefix of PREFIXES) {
  describe(`reads under ${prefix}`, () => {
    let authority;
    before(async () => {
      authority = await startAuthority();
    });
    after(() => authority?.stop());

    const get = (path, options) => authority.request(`${prefix}${path}`, options);
    const version = (name, version, query = "") =>
      get(`/servers/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}${query}`);

    /// Name and version of every entry, page by page.
    async function walk(query) {
      const seen = [];
      for (let cursor = ""; cursor !== undefined; ) {
        const { status, body, text } = await get(`/servers?${query}${cursor && `&cursor=${cursor}`}`);
        assert.equal(status, 200, text);
        assert.equal(body.metadata.count, body.servers.length);
        seen.push(...body.servers.map(({ server }) => `${server.name}:${server.version}`));
        cursor = body.metadata.nextCursor;
        assert.match(cursor ?? "", /^[\w-]*$/, "a cursor goes into a URL as it is");
      }
      return seen;
    }

    test("an empty registry lists nothing", async () => {
      const { status, body } = await get("/servers");
      assert.equal(status, 200);
      assert.deepEqual(body, { servers: [], metadata: { count: 0, total: 0 } });
    });

    test("what is imported is shown with all that its registry said", async () => {
      const given = {
        server: {
          $schema: "",
          name: "com.example/all",
          version: "1.0.0+b",
          description: "All there is",
          repository: {},
          remotes: [{ type: "streamable-http", url: "https://mcp.example.com/all" }],
          custom: { big: 1e21 },
        },
        _meta: {
          [OFFICIAL]: {
            status: "deprecated",
            statusMessage: "use another",
            statusChangedAt: "2025-03-02T01:02:03.000004Z",
            publishedAt: "2025-01-02T03:04:05.678901Z",
            updatedAt: "2025-03-02T01:02:03.5Z",
            isLatest: false,
          },
          "com.example.other/notes": { stars: 4.0, list: [null, "é"] },
          [OURS]: { verified: "operator" },
        },
      };
      const [{ outcome }] = await authority.importServers(given);
      assert.equal(outcome, "imported");
      const { status, body, headers } = await version("com.example/all", "1.0.0+b");
      assert.equal(status, 200);
      assert.equal(headers.get("content-type"), "application/json");
      assert.deepEqual(body.server, given.server);
      assert.deepEqual(body._meta, {
        [OFFICIAL]: { ...given._meta[OFFICIAL], isLatest: true },
        "com.example.other/notes": given._meta["com.example.other/notes"],
        [OURS]: { verified: "none", connectable: false, moderation: "active" },
      });
      assert.deepEqual((await get("/servers")).body.servers, [body]);
      assert.equal((await authority.importServers(given))[0].outcome, "unchanged");

      given._meta[OFFICIAL].status = "active";
      delete given._meta[OFFICIAL].statusMessage;
      given._meta[OFFICIAL].updatedAt = "2025-03-03T00:00:00Z";
      assert.equal((await authority.importServers(given))[0].outcome, "updated");
      const official = (await version("com.example/all", "latest")).body._meta[OFFICIAL];
      assert.deepEqual(official, { ...given._meta[OFFICIAL], isLatest: true });
    });

    test("pages go by name and version, and a cursor carries the filter", async () => {
      const versions = ["1.0.0", "10.0.0", "2.0.0", "nightly"];
      for (const name of ["com.paged/one", "com.paged/two"]) {
        await authority.importServers(...versions.map((version) => entry(name, { version })));
      }
      const all = ["one", "two"].flatMap((name) => versions.map((version) => `com.paged/${name}:${version}`));
      assert.deepEqual(await walk("search=COM.PAGED%2F&limit=3"), all);
      assert.deepEqual(await walk("search=com.paged&limit=1&version=latest"), [
        "com.paged/one:10.0.0",
        "com.paged/two:10.0.0",
      ]);
      assert.deepEqual(await walk("search=com.paged&version=2.0.0&limit=1"), [
        "com.paged/one:2.0.0",
        "com.paged/two:2.0.0",
      ]);
      // A plus that nobody encoded arrives as a space.
      await authority.importServers(entry("com.plus/one", { version: "1.0.0+b" }), entry("com.plus/one", { version: "1.0.0+c" }));
      assert.deepEqual(await walk("search=com.plus&version=1.0.0+b"), ["com.plus/one:1.0.0+b"]);
      const behind = await get("/servers?search=com.plus&cursor=com.plus/one:1.0.0+b");
      assert.deepEqual(behind.body.servers.map(({ server }) => server.version), ["1.0.0+c"]);
      const first = await get("/servers?search=com.paged&version=latest&limit=1");
      const second = await get(`/servers?limit=1&cursor=${first.body.metadata.nextCursor}`);
      assert.deepEqual(second.body.servers.map(({ server }) => server.name), ["com.paged/two"]);
      assert.equal(second.body.metadata.nextCursor, undefined);
      const official = async (cursor) =>
        (await get(`/servers?limit=1&search=com.paged&cursor=${encodeURIComponent(cursor)}`)).body.servers[0]?.server;
      assert.equal((await official("com.paged/one:2.0.0")).version, "nightly");
      assert.equal((await official("com.paged/one")).name, "com.paged/two");
      assert.equal(await official("com.paged/two:nightly"), undefined);
      // Words are searched for, too, and no wildcard is one.
      const described = await walk("search=tests server&version=2.0.0");
      assert.ok(described.includes("com.paged/one:2.0.0"), described.join());
      for (const none of ["%25", "*"]) assert.deepEqual(await walk(`search=${none}`), [], none);
    });

    test("updated_since goes by what changed here, of what is the latest no more too; dates stay its registry's", async () => {
      const first = entry("com.since/one", { publishedAt: "2020-01-01T00:00:00Z" });
      first._meta[OFFICIAL].updatedAt = "2020-01-01T00:00:00Z";
      await authority.importServers(first);
      const since = async (date) => walk(`search=com.since&limit=1&updated_since=${encodeURIComponent(date)}`);
      const database = await authority.database();
      const { changed_at } = await database.prepare("SELECT max(changed_at) AS changed_at FROM versions").first();
      const date = new Date(Math.ceil(changed_at / 1000)).toISOString();
      assert.deepEqual(await since("2019-01-01T00:00:00+02:00"), ["com.since/one:1.0.0"]);
      // A plus that nobody encoded arrives as a space.
      assert.deepEqual(await walk("search=com.since&updated_since=2019-01-01T00:00:00+02:00"), ["com.since/one:1.0.0"]);
      assert.deepEqual(await since(date), []);
      await new Promise((resolve) => setTimeout(resolve, 5));
      await authority.importServers(entry("com.since/one", { version: "2.0.0" }));
      assert.deepEqual((await since(date)).sort(), ["com.since/one:1.0.0", "com.since/one:2.0.0"]);
      const { _meta } = (await version("com.since/one", "1.0.0")).body;
      assert.equal(_meta[OFFICIAL].isLatest, false);
      assert.equal(_meta[OFFICIAL].updatedAt, "2020-01-01T00:00:00Z", "nobody changed it");
      assert.equal((await authority.importServers(first))[0].outcome, "unchanged", "that it is the latest no more is known here");
    });

    test("what is deleted or held back is shown to whoever asks for it", async () => {
      const name = "com.hidden/one";
      await authority.importServers(
        entry(name, { version: "1.0.0", endpoint: "https://mcp.example.com/h" }),
        entry(name, { version: "2.0.0", endpoint: "https://mcp.example.com/h", status: "deleted" }),
      );
      assert.equal((await version(name, "latest")).body.server.version, "1.0.0");
      assertRefused(await version(name, "2.0.0"), 404, "Server not found");
      const deleted = (await version(name, "2.0.0", "?include_deleted=true")).body;
      assert.equal(deleted._meta[OFFICIAL].status, "deleted");
      assert.equal(deleted._meta[OFFICIAL].isLatest, false);
      const path = `/servers/${encodeURIComponent(name)}/versions`;
      assert.equal((await get(path)).body.servers.length, 1);
      assert.equal((await get(`${path}?include_deleted=true`)).body.servers.length, 2);

      await authority.changeServer(name, "verify");
      const ours = async () => (await version(name, "latest", "?include_deleted=1")).body._meta[OURS];
      assert.deepEqual(await ours(), { verified: "operator", connectable: true, moderation: "active" });
      await authority.changeServer(name, "quarantine");
      assertRefused(await version(name, "latest"), 404, "Server not found");
      assertRefused(await get(path), 404, "Server not found");
      assert.deepEqual(await walk("search=com.hidden"), []);
      assert.deepEqual(await ours(), { verified: "operator", connectable: false, moderation: "quarantined" });
      assert.equal((await walk("search=com.hidden&include_deleted=true")).length, 2);
    });

    test("all versions are listed, the newest first", async () => {
      const date = (day) => new Date(Date.UTC(2024, 0, 1 + day)).toISOString();
      const of = (n) => entry("com.many/one", { version: `0.${(n * 7) % 450}.0`, publishedAt: date((n * 7) % 450) });
      for (let from = 0; from < 450; from += 90) {
        await authority.importServers(...Array.from({ length: 90 }, (_, n) => of(from + n)));
      }
      const { body } = await get("/servers/com.many%2Fone/versions");
      const expected = Array.from({ length: 450 }, (_, n) => `0.${449 - n}.0`);
      assert.deepEqual(body.servers.map(({ server }) => server.version), expected);
      assert.deepEqual(body.metadata, { count: 450 });
      assert.equal(body.servers.filter(({ _meta }) => _meta[OFFICIAL].isLatest).length, 1);
    });

    test("what can't be meant is refused", async () => {
      for (const [query, status, detail] of [
        ["limit=0", 422, "query.limit"],
        ["limit=101", 422, "query.limit"],
        ["limit=-1", 422, "query.limit"],
        ["limit=1.5", 422, "query.limit"],
        ["include_deleted=maybe", 422, "query.include_deleted"],
        ["cursor=_spoilt", 422, "query.cursor"],
        ["updated_since=yesterday", 400, "RFC3339"],
        ["updated_since=2025-08-07", 400, "has no time zone; write it in full, as 2025-08-07T13:15:04Z"],
        ["updated_since=2025-08-07T13:15:04", 400, "has no time zone"],
        ["updated_since=2025-08-07T13:15:04 ", 400, "RFC3339"],
        ["updated_since=2025-01-01T00:00:00Z&include_deleted=false", 400, "include_deleted=false"],
      ]) {
        assertRefused(await get(`/servers?${query}`), status, detail);
      }
      assert.equal((await get("/servers?limit=&search=&cursor=&q=anything")).status, 200);
    });

    test("there is nothing where nothing is", async () => {
      assertRefused(await version("com.example/none", "latest"), 404, "Server not found");
      assertRefused(await version("no name at all", "1.0.0"), 404, "Server not found");
      assertRefused(await get("/servers/com.example%2Fnone/versions"), 404, "Server not found");
      assertRefused(await get("/nothing"), 404, "");
      assertRefused(await get("/servers", { method: "DELETE" }), 405, "");
      assertRefused(await get("/servers/com.example%2Fall/versions/1.0.0", { method: "DELETE" }), 501, "deleted");
    });

    test("the service says what it is", async () => {
      assert.equal((await get("/health")).body.status, "ok");
      assert.deepEqual((await get("/ping")).body, { pong: true });
      assert.deepEqual(Object.keys((await get("/version")).body).sort(), ["build_time", "git_commit", "version"]);
    });

    test("pages of any site may ask", async () => {
      const preflight = await get("/servers/com.example%2Fall/status", {
        method: "OPTIONS",
        headers: { origin: "vscode-file://vscode-app", "access-control-request-method": "PATCH" },
      });
      assert.equal(preflight.status, 204);
      assert.equal(preflight.headers.get("access-control-max-age"), "86400");
      for (const { headers } of [preflight, await get("/servers"), await get("/nothing"), await get("/servers?limit=0")]) {
        assert.equal(headers.get("access-control-allow-origin"), "*");
        for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
          assert.ok(headers.get("access-control-allow-methods").split(", ").includes(method), method);
        }
        assert.match(headers.get("access-control-allow-headers"), /Authorization, Content-Type/);
      }
      assert.equal((await authority.request("/v1/admin/clients")).headers.get("access-control-allow-origin"), null);
    });

    test("HEAD is GET without the body", async () => {
      const answer = await fetch(`${authority.url}${prefix}/servers`, { method: "HEAD" });
      assert.equal(answer.status, 200);
      assert.equal(await answer.text(), "");
    });
  });
}

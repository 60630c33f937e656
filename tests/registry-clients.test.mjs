// What stock clients of registries ask, as they ask it, over real HTTP.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startAuthority } from "./support/authority.mjs";
import { OFFICIAL, serverJson, tokenFor } from "./support/registry.mjs";

describe("stock clients", () => {
  let authority;
  before(async () => {
    authority = await startAuthority();
    const bearer = await tokenFor(authority, "*", "publish");
    const publish = async (server) => {
      const answer = await authority.request("/v0/publish", { body: server, bearer });
      assert.equal(answer.status, 200, answer.text);
    };
    // More than two pages of VS Code's, half of which a search finds.
    for (let n = 0; n < 120; n++) {
      await publish(serverJson(`com.example/${n % 2 ? "weather" : "other"}-${String(n).padStart(3, "0")}`));
    }
    await publish(serverJson("com.example/weather-001", { version: "1.1.0", description: "Newer" }));
    await publish(serverJson("com.example/weather-001", { version: "2.0.0-rc.1+b", description: "Newest" }));
  });
  after(() => authority?.stop());

  describe("VS Code", () => {
    const HEADERS = { origin: "vscode-file://vscode-app", accept: "*/*" };
    const ask = async (path) => {
      const answer = await authority.request(path, { headers: HEADERS });
      assert.equal(answer.headers.get("access-control-allow-origin"), "*");
      return answer;
    };

    /// As its parser takes a page: what it does not like it throws away.
    function parse({ status, body }) {
      assert.equal(status, 200);
      for (const { server, _meta } of body.servers) {
        for (const member of ["name", "description", "version"]) {
          assert.equal(typeof server[member], "string");
          assert.notEqual(server[member], "");
        }
        assert.equal(typeof _meta, "object");
        const { status, isLatest, publishedAt, updatedAt } = _meta[OFFICIAL];
        assert.equal(status, "active");
        assert.equal(isLatest, true);
        assert.ok(Date.parse(publishedAt) > 0 && Date.parse(updatedAt) > 0);
      }
      return body;
    }

    /// The cursor goes into the URL as it came, and the search is not sent again.
    async function gallery(search) {
      const names = [];
      let page = parse(await ask(`/v0.1/servers?limit=50&version=latest${search ? `&search=${encodeURIComponent(search)}` : ""}`));
      for (;;) {
        names.push(...page.servers.map(({ server }) => server.name));
        const { nextCursor } = page.metadata;
        if (!nextCursor) return names;
        page = parse(await ask(`/v0.1/servers?limit=50&version=latest&cursor=${nextCursor}`));
      }
    }

    test("probes", async () => {
      for (const version of ["v0.1", "v0"]) {
        const { status, body } = await ask(`/${version}/servers?limit=1`);
        assert.equal(status, 200);
        assert.equal(body.servers.length, 1);
      }
    });

    test("lists each server once", async () => {
      const names = await gallery();
      assert.equal(names.length, 120);
      assert.equal(new Set(names).size, 120);
    });

    test("searches, page by page", async () => {
      const names = await gallery("WEATHER");
      assert.equal(names.length, 60);
      assert.ok(names.every((name) => name.includes("weather")));
      assert.deepEqual(await gallery("nobody's"), []);
    });

    test("finds by name", async () => {
      const byName = (name) => ask(`/v0.1/servers/${encodeURIComponent(name)}/versions/latest`);
      const { status, body } = await byName("com.example/weather-001");
      assert.equal(status, 200);
      assert.equal(body.server.version, "2.0.0-rc.1+b");
      assert.equal((await byName("com.example/none")).status, 404);
    });
  });

  describe("Copilot CLI", () => {
    const latest = (name, suffix = "versions/latest") =>
      authority.request(`/v0.1/servers/${encodeURIComponent(name)}/${suffix}`, { headers: { accept: "application/json" } });

    test("allows what there is, and of all else hears a clean 404", async () => {
      const { status, headers, body } = await latest("com.example/weather-001");
      assert.equal(status, 200);
      assert.match(headers.get("content-type"), /^application\/json/);
      assert.equal(body.server.name, "com.example/weather-001");
      const nothing = ["com.example/none", "no name", "%", "../../etc/passwd", "é/è", "a".repeat(3000), "name@1.0.0"];
      for (const name of nothing) assert.equal((await latest(name)).status, 404, name);
    });

    test("asks for one version", async () => {
      assert.equal((await latest("com.example/weather-001", "versions/1.1.0")).body.server.description, "Newer");
      assert.equal((await latest("com.example/weather-001", "versions/2.0.0-rc.1%2Bb")).body.server.description, "Newest");
      assert.equal((await latest("com.example/weather-001", "versions/2.0.0-rc.1+b")).body.server.description, "Newest");
    });

    test("is let in by CORS", async () => {
      const { headers } = await latest("com.example/weather-001");
      assert.equal(headers.get("access-control-allow-origin"), "*");
      assert.match(headers.get("access-control-allow-methods"), /GET.*OPTIONS/);
      assert.match(headers.get("access-control-allow-headers"), /Authorization, Content-Type/);
    });
  });
});

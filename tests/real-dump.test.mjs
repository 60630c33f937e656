import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { join } from "node:path";

import { REPOSITORY, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";

// Every entry that the official registry had on that day. It is not part of the repository.
const DUMP = join(REPOSITORY, "../shared/data/official-registry-2025-12-12.json");
const skip = existsSync(DUMP) ? false : `there is no ${DUMP}`;

describe("the official registry's entries", { skip }, () => {
  let authority, entries;
  before(async () => {
    entries = JSON.parse(readFileSync(DUMP, "utf8")).servers;
    authority = await startAuthority();
  });
  after(() => authority?.stop());

  /// How often each outcome came, and why what was refused was.
  async function importAll() {
    const outcomes = {};
    const refused = [];
    for (let from = 0; from < entries.length; from += 100) {
      for (const result of await authority.importServers(...entries.slice(from, from + 100))) {
        outcomes[result.outcome] = (outcomes[result.outcome] ?? 0) + 1;
        if (result.outcome === "refused") refused.push(result);
      }
    }
    return { outcomes, refused };
  }

  test("are all imported, within a minute", async () => {
    assert.equal(entries.length, 2628);
    const begin = performance.now();
    const { outcomes, refused } = await importAll();
    assert.deepEqual(refused, []);
    assert.deepEqual(outcomes, { imported: 2628 });
    assert.ok(performance.now() - begin < 60_000);
  });

  test("are all unchanged the second time", async () => {
    assert.deepEqual((await importAll()).outcomes, { unchanged: 2628 });
  });

  test("can be found, read as they were published, and listed completely", async () => {
    const { body } = await authority.request("/v1/servers?query=payment");
    assert.ok(body.servers.length >= 3, `${body.servers.length} found`);
    for (const { id, title = "", description } of body.servers) {
      assert.match(`${id} ${title} ${description}`, /\bpayment/i);
    }

    const { id, version } = body.servers[0];
    const detail = await authority.request(`/v1/servers/${id}@${encodeURIComponent(version)}`);
    const published = entries.find(({ server }) => server.name === id && server.version === version);
    assert.deepEqual(detail.body.server, published.server);

    const listed = [];
    for (let cursor = ""; cursor !== undefined; ) {
      const page = (await authority.request(`/v1/servers?limit=100${cursor && `&cursor=${cursor}`}`)).body;
      listed.push(...page.servers.map((server) => server.id));
      cursor = page.next_cursor;
    }
    const deleted = (entry) => entry._meta["io.modelcontextprotocol.registry/official"].status === "deleted";
    const names = new Set(entries.filter((entry) => !deleted(entry)).map(({ server }) => server.name));
    assert.deepEqual(listed, [...names].sort());
  });

  test("are connected to only when verified, and where there is a remote", async () => {
    const { api_key } = await authority.createClient("desktop");
    const latest = (isFit) =>
      entries.find(({ server, _meta }) => _meta["io.modelcontextprotocol.registry/official"].isLatest && isFit(server)).server.name;
    const isPublic = ({ type, url }) => type === "streamable-http" && /^https:\/\/[\w.-]+\.com\/mcp$/.test(url);
    const remote = latest(({ remotes = [] }) => remotes.some(isPublic));
    const local = latest(({ remotes = [], packages = [] }) => remotes.length === 0 && packages.length > 0);

    assertProblem(await authority.connect(remote, api_key), 403, "server_unverified");
    assertProblem(await authority.connect(local, api_key), 403, "transport_not_supported");
    await authority.changeServer(remote, "verify");
    const { status, body } = await authority.connect(remote, api_key);
    assert.equal(status, 200);
    assert.match(body.endpoint, /^https:/);
  });
});

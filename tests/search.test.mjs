// What is found, in which order, at which cost: of registries' lists, of the search beside them, and of /v1.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { entry, startAuthority } from "./support/authority.mjs";

const OFFICIAL = "io.modelcontextprotocol.registry/official";
const PUBLISHER = "io.modelcontextprotocol.registry/publisher-provided";
const tagged = (members) => ({ _meta: { [PUBLISHER]: members } });

let authority;
before(async () => {
  authority = await startAuthority({ meterD1: true });
  await authority.importServers(
    entry("io.github.Acme/github", { description: "Repositories and issues" }),
    entry("com.acme/github-mcp", { title: "GitHub", description: "Pull requests" }),
    entry("com.acme/tickets", { description: "Tickets for GitHub and Jira" }),
    entry("com.verified/tickets", { description: "Tickets for github too" }),
    entry("com.acme/payments", { description: "Create payment links; invoices, too" }),
    entry("com.acme/links", { description: "Links to payment pages" }),
    entry("com.acme/stdio", { endpoint: null, description: "Payment by hand" }),
    entry("com.tagged/plain", { ...tagged({ tags: ["observability", "sre"], other: "unsearched" }), description: "x" }),
    entry("com.tagged/nested", { ...tagged({ github: { topics: ["kubernetes"] } }), description: "x" }),
    entry("com.acme/many", { version: "1.0.0", description: "Older words" }),
    entry("com.acme/many", { version: "1.1.0", description: "Newer words" }),
    entry("com.acme/gone", { status: "deleted", description: "Payment of yesterday" }),
    entry("com.acme/kubernetes-tools", { description: "Clusters" }),
  );
  await authority.changeServer("com.verified/tickets", "verify");
});
after(() => authority?.stop());

const get = async (path, parameters) => {
  const answer = await authority.request(`${path}?${new URLSearchParams(parameters)}`);
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
};
const ranked = (q, more) => get("/v0.1/x/org.mcp-connect/search", { q, ...more });
const listed = (search, more) => get("/v0.1/servers", { search, ...more });
/// What a request costs of D1.
const cost = async (ask) => {
  const { trips } = await authority.metered(ask);
  return { trips: trips.length, rows: trips.reduce((sum, { rows_read }) => sum + rows_read, 0) };
};
const names = ({ servers }) => servers.map(({ server }) => server.name);

describe("the search of registries", () => {
  test("has an exact name first, then what is called so, then names with the words, then all else", async () => {
    assert.deepEqual(names(await ranked("github")), [
      "io.github.Acme/github",
      "com.acme/github-mcp",
      "com.verified/tickets",
      "com.acme/tickets",
    ]);
    assert.equal(names(await ranked("COM.ACME/github-mcp"))[0], "com.acme/github-mcp");
    assert.equal(names(await ranked("io.github.acme/github"))[0], "io.github.Acme/github");
  });

  test("has what is verified, then what can be reached, before others", async () => {
    assert.deepEqual(names(await ranked("tickets")), ["com.verified/tickets", "com.acme/tickets"]);
    assert.equal(names(await ranked("payment")).at(-1), "com.acme/stdio");
    await authority.changeServer("com.verified/tickets", "unverify");
    assert.equal(names(await ranked("tickets")).length, 2);
    assert.deepEqual(names(await ranked("tickets jira")), ["com.acme/tickets"]);
    await authority.changeServer("com.verified/tickets", "verify");
    assert.deepEqual(names(await ranked("tickets"))[0], "com.verified/tickets");
  });

  test("finds prefixes, phrases, and tags wherever a publisher lists them", async () => {
    assert.deepEqual(names(await ranked("invoi")), ["com.acme/payments"]);
    assert.deepEqual(names(await ranked(`"payment links"`)), ["com.acme/payments"]);
    assert.deepEqual(names(await ranked("payment links")).sort(), ["com.acme/links", "com.acme/payments"]);
    assert.deepEqual(names(await ranked(`"links payment"`)), []);
    assert.deepEqual(names(await ranked("observability")), ["com.tagged/plain"]);
    assert.deepEqual(names(await ranked("unsearched")), []);
    assert.deepEqual(names(await ranked("kubernetes")), ["com.acme/kubernetes-tools", "com.tagged/nested"]);
  });

  test("finds what was probably meant, and says so", async () => {
    for (const [typed, meant, first] of [
      ["gihtub", "github", "io.github.Acme/github"],
      ["kuberntes", "kubernetes", "com.acme/kubernetes-tools"],
      ["paymet", "payment", "com.acme/payments"],
      ["tikets jira", "tickets jira", "com.acme/tickets"],
    ]) {
      const found = await ranked(typed);
      assert.equal(found.metadata.correctedQuery, meant);
      assert.ok(names(found).includes(first), `${typed}: ${names(found)}`);
    }
    assert.equal((await ranked("github")).metadata.correctedQuery, undefined);
    assert.deepEqual(await ranked("zzzzzzzzzz"), { servers: [], metadata: { count: 0, total: 0 } });
  });

  test("knows what was meant without asking, and asks whether it is there as typed", async () => {
    assert.equal((await ranked("gihtub")).metadata.correctedQuery, "github");
    for (const search of [ranked, listed]) {
      const { trips } = await cost(async () => {
        assert.equal((await search("observabilty")).metadata.correctedQuery, "observability");
      });
      assert.equal(trips, 1);
    }
    await authority.importServers(entry("com.typo/observabilty", { description: "New words" }));
    for (const search of [ranked, listed]) {
      const { trips } = await cost(async () => {
        const found = await search("observabilty");
        assert.deepEqual([names(found), found.metadata.correctedQuery], [["com.typo/observabilty"], undefined]);
      });
      assert.equal(trips, 2);
    }
    await authority.changeServer("com.typo/observabilty", "quarantine");
  });

  test("knows new words as soon as the catalogue has changed much", async () => {
    assert.equal((await ranked("gihtub")).metadata.correctedQuery, "github");
    assert.equal((await ranked("zeplin harbour")).metadata.total, 0);
    const many = Array.from({ length: 36 }, (_, i) => entry(`com.fresh/zeppelin-${i}`, { description: "Harbours of zeppelins" }));
    await authority.importServers(...many);
    for (const search of [ranked, listed]) {
      assert.equal((await search("zepplein")).metadata.correctedQuery, "zeppelin");
    }
    // One that finds nothing reads the words no more than once for all these changes.
    assert.equal((await ranked("qqqqqqqq")).metadata.total, 0);
    const { trips } = await cost(async () => assert.equal((await ranked("qqqqqqqq")).metadata.total, 0));
    assert.equal(trips, 1);
    for (const { _meta } of many) _meta[OFFICIAL].status = "deleted";
    await authority.importServers(...many);
  });

  test("says nothing of a correction that finds nothing either", async () => {
    await authority.changeServer("com.acme/tickets", "quarantine");
    for (const search of [ranked, listed]) {
      assert.deepEqual(await search("tikets jira"), { servers: [], metadata: { count: 0, total: 0 } });
    }
    await authority.changeServer("com.acme/tickets", "reinstate");
    assert.equal((await ranked("tikets jira")).metadata.correctedQuery, "tickets jira");
  });

  test("counts, and goes on by a cursor that carries the query", async () => {
    for (const q of ["payment", "paymnet"]) {
      const all = names(await ranked(q));
      const seen = [];
      let page = await ranked(q, { limit: "1" });
      for (;;) {
        assert.equal(page.metadata.total, all.length);
        seen.push(...names(page));
        if (page.metadata.nextCursor === undefined) break;
        assert.match(page.metadata.nextCursor, /^[\w-]+$/);
        page = await get("/v0.1/x/org.mcp-connect/search", { cursor: page.metadata.nextCursor, limit: "1" });
      }
      assert.equal(all.length, 3);
      assert.deepEqual(seen, all, q);
    }
  });

  test("shows what registries show: the latest version, nothing deleted, nothing held back", async () => {
    const [{ server, _meta }] = (await ranked("many")).servers;
    assert.deepEqual([server.version, _meta[OFFICIAL].isLatest], ["1.1.0", true]);
    assert.deepEqual(names(await ranked("older")), []);
    assert.deepEqual(names(await ranked("yesterday")), []);
    await authority.changeServer("com.acme/links", "quarantine");
    assert.deepEqual(names(await ranked("links")), ["com.acme/payments"]);
    assert.deepEqual(names(await listed("links")), ["com.acme/payments"]);
    await authority.changeServer("com.acme/links", "reinstate");
    assert.deepEqual(names(await ranked("links")), ["com.acme/links", "com.acme/payments"]);
  });

  test("refuses what can't be searched for", async () => {
    for (const query of ["", "q=", "q=%20", "q=*", `q=${"a".repeat(201)}`, "cursor=x", "q=a&limit=0", "q=a&limit=101"]) {
      const answer = await authority.request(`/v0.1/x/org.mcp-connect/search?${query}`);
      assert.equal(answer.status, 422, query);
    }
    const old = await authority.request("/v0/x/org.mcp-connect/search?q=github");
    assert.equal(old.status, 200, "under both prefixes");
  });
});

describe("a registry's list with search", () => {
  test("finds every part of a name, whatever its length and case, in the order of names", async () => {
    const all = names(await get("/v0.1/servers", { limit: "100", version: "latest" }));
    for (const part of ["a", "/", ".", "-", "ac", "me", "tp", "b-", "/p", "cp", "s", "acme", "m/p", "com.acme/", "github", "HUB", "ithub-mc", "qx", "com.acme/payments"]) {
      const answer = await listed(part, { limit: "100", version: "latest" });
      assert.equal(answer.metadata.correctedQuery, undefined, part);
      const found = names(answer);
      const having = all.filter((name) => name.toLowerCase().includes(part.toLowerCase()));
      assert.deepEqual(found.filter((name) => having.includes(name)), having, part);
      assert.deepEqual(found, found.toSorted(), part);
    }
  });

  test("finds words of titles, descriptions and tags, and what was probably meant", async () => {
    assert.deepEqual(names(await listed("jira")), ["com.acme/tickets"]);
    assert.deepEqual(names(await listed("payment links")), ["com.acme/links", "com.acme/payments"]);
    assert.deepEqual(names(await listed("sre")), ["com.tagged/plain"]);
    const found = await listed("gihtub", { limit: "2" });
    assert.equal(found.metadata.correctedQuery, "github");
    assert.deepEqual(names(found), ["com.acme/github-mcp", "com.acme/tickets"]);
    const second = await get("/v0.1/servers", { cursor: found.metadata.nextCursor, search: "gihtub", limit: "2" });
    assert.deepEqual(names(second), ["com.verified/tickets", "io.github.Acme/github"]);
    for (const filter of [{ version: "latest" }, { version: "1.0.0" }, { include_deleted: "true" }]) {
      assert.equal((await listed("gihtub", filter)).metadata.correctedQuery, "github");
    }
    assert.equal((await listed("gihtub", { version: "9.9.9" })).metadata.correctedQuery, undefined);
    assert.equal((await get("/v1/servers", { query: "gihtub" })).corrected_query, "github");
  });

  test("finds a part of a word in names, before it takes it for another word", async () => {
    await ranked("gihtub");
    for (const [part, first] of [["ithub", "com.acme/github-mcp"], ["ubernetes", "com.acme/kubernetes-tools"]]) {
      const { trips } = await cost(async () => {
        const found = await listed(part);
        assert.deepEqual([names(found)[0], found.metadata.correctedQuery], [first, undefined]);
      });
      assert.equal(trips, 1);
    }
    // The ranked search knows how words begin.
    assert.equal((await ranked("ithub")).metadata.correctedQuery, "github");
  });

  test("lists all versions, or the latest, once each over its pages", async () => {
    for (const [version, expected] of [
      [{}, ["com.acme/many 1.0.0", "com.acme/many 1.1.0"]],
      [{ version: "latest" }, ["com.acme/many 1.1.0"]],
      [{ version: "1.0.0" }, ["com.acme/many 1.0.0"]],
    ]) {
      const seen = [];
      for (let more = { search: "many", ...version }; more; ) {
        const { servers, metadata } = await get("/v0.1/servers", { limit: "1", ...more });
        seen.push(...servers.map(({ server }) => `${server.name} ${server.version}`));
        more = metadata.nextCursor && { cursor: metadata.nextCursor };
      }
      assert.deepEqual(seen, expected);
    }
  });

  test("is strict about nothing: what is no word finds nothing", async () => {
    for (const search of ["%", "_", "*", '"', "'; DROP TABLE servers", "a".repeat(3000), "ü", "a b c d e f g h i j k l"]) {
      assert.deepEqual(names(await listed(search)), [], search);
    }
  });

  test("counts servers", async () => {
    assert.equal((await get("/v0.1/servers", { limit: "1" })).metadata.total, 11);
    assert.equal((await get("/v0.1/servers", { limit: "1", version: "latest" })).metadata.total, 11);
    for (const [search, total] of [["payment", 3], ["many", 1], ["com.acme/", 7]]) {
      const { metadata } = await listed(search, { limit: "1", version: "latest" });
      assert.equal(metadata.total, total, search);
      const next = metadata.nextCursor && (await get("/v0.1/servers", { cursor: metadata.nextCursor, limit: "1" }));
      if (next) assert.equal(next.metadata.total, total, `${search}, second page`);
    }
    await authority.importServers(entry("com.acme/one-more"));
    assert.equal((await get("/v0.1/servers", { limit: "1" })).metadata.total, 12);
    await authority.importServers(entry("com.acme/one-more", { status: "deleted" }));
    assert.equal((await get("/v0.1/servers", { limit: "1" })).metadata.total, 11);
  });
});

describe("in a catalogue of thousands", () => {
  const COUNT = 3000;
  before(async () => {
    const database = await authority.database();
    await database.batch([
      database.prepare(
        `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO servers (name, created_at) SELECT printf('org.bulk%d/fleet-%d', i % 70, i), 0 FROM n`,
      ).bind(COUNT),
      database.prepare(
        `INSERT INTO versions (server_id, version, sort_key, stable, status, description, server_json, content_hash, created_at, changed_at)
         SELECT id, '1.0.0', '1', 1, 'active', 'Sails with ' || iif(id % 9, 'wind', 'steam'),
           json_object('name', name, 'version', '1.0.0', 'description', 'x'), '', 0, 1
         FROM servers WHERE name LIKE 'org.bulk%'`,
      ),
      database.prepare(
        `UPDATE servers SET latest_version = v.id, default_version = v.id FROM versions v
         WHERE v.server_id = servers.id AND servers.name LIKE 'org.bulk%'`,
      ),
    ]);
  });

  test("no search reads more than a few thousand rows in one round trip, whatever its page", async () => {
    for (const q of ["f", "fl", "fleet", "sails", "sails wind", "steam", "fleet-77", "org.bulk3/fleet-3", "org"]) {
      let cursor;
      for (let page = 0; page < 6; page += 1) {
        let found;
        const { trips, rows } = await cost(async () => {
          found = await get("/v0.1/x/org.mcp-connect/search", cursor ? { cursor, limit: "100" } : { q, limit: "100" });
        });
        assert.equal(trips, 1, q);
        assert.ok(rows <= 6500, `${q}, page ${page}: ${rows} rows`);
        cursor = found.metadata.nextCursor;
        if (!cursor) break;
      }
    }
  });

  test("a list of what there is hardly any of comes to its end in bounded steps", async () => {
    const rare = "org.bulk7/fleet-2877";
    const database = await authority.database();
    await database.prepare(
      `INSERT INTO versions (server_id, version, sort_key, stable, status, description, server_json, content_hash, created_at, changed_at)
       SELECT id, '7.7.7', '1', 1, 'active', 'rare', json_object('name', name, 'version', '7.7.7', 'description', 'x'), '', 0, 2
       FROM servers WHERE name = ?1`,
    ).bind(rare).run();
    const since = "updated_since=1970-01-01T00:00:00Z";
    for (const query of ["version=7.7.7", "version=7.7.7&search=fleet", `${since}&version=7.7.7`, `${since}&search=fleet-2877`]) {
      const seen = [];
      let pages = 0;
      for (let more = query; more; pages += 1) {
        let page;
        const { rows } = await cost(async () => {
          page = await (await fetch(`${authority.url}/v0.1/servers?limit=10&${more}`)).json();
        });
        assert.ok(rows <= 25_000, `${query}: ${rows} rows`);
        seen.push(...page.servers.map(({ server }) => `${server.name}@${server.version}`));
        more = page.metadata.nextCursor && `cursor=${encodeURIComponent(page.metadata.nextCursor)}`;
        assert.ok(pages < 10, query);
      }
      assert.deepEqual(seen.filter((found) => found === `${rare}@7.7.7`), [`${rare}@7.7.7`], query);
      assert.ok(pages >= 2, `${query}: ${pages} pages`);
    }
  });

  test("the total is exact or said to be a bound", async () => {
    const few = (await ranked("steam")).metadata;
    assert.deepEqual([few.total, few.totalIsLowerBound], [Math.round(COUNT / 9), undefined]);
    const many = (await ranked("sails")).metadata;
    assert.deepEqual([many.total, many.totalIsLowerBound], [500, true]);
  });

  test("a list with search has all, once, in the order of names", async () => {
    const database = await authority.database();
    for (const [search, like] of [["fleet", "%/fleet-%"], ["fleet-7", "%fleet-7%"], ["k3", "%k3%"], ["7", "%7%"]]) {
      const { results } = await database.prepare("SELECT name FROM servers WHERE name LIKE ?1 AND place IS NOT NULL ORDER BY name").bind(like).all();
      const seen = [];
      for (let more = { search, version: "latest" }; more; ) {
        const page = await get("/v0.1/servers", { limit: "100", ...more });
        seen.push(...names(page));
        more = page.metadata.nextCursor && { cursor: page.metadata.nextCursor };
      }
      assert.deepEqual(seen, results.map(({ name }) => name), search);
    }
  });

  test("knows the word of a single change after a quarter of an hour", async () => {
    const database = await authority.database();
    // What was written by SQL.
    await authority.scheduled("* * * * *");
    await authority.importServers(entry("com.acme/telescopes"));
    const ago = (minutes) => database.prepare("UPDATE search_vocabulary SET prepared_at = ?1").bind(Date.now() - minutes * 60_000).run();
    for (const [minutes, meant] of [[14, undefined], [16, "telescopes"]]) {
      await ago(minutes);
      await authority.scheduled("* * * * *");
      for (const search of [ranked, listed]) {
        assert.equal((await search("telescoeps")).metadata.correctedQuery, meant);
      }
    }
    const prepared = () => database.prepare("SELECT prepared_at FROM search_vocabulary").first("prepared_at");
    await ago(16);
    const before = await prepared();
    await authority.scheduled("* * * * *");
    assert.equal(await prepared(), before, "nothing changed since");
  });
});

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { entry, eventually, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";

// Names that are apart in byte order, and not in the order of their import.
const FLEET = Array.from({ length: 45 }, (_, index) => `org.fleet/ship-${(index * 7) % 45}`);
const LISTED = [...FLEET, "com.example/payments", "com.example/cafe", "com.example/quotes"].sort();

let authority;

before(async () => {
  authority = await startAuthority();
  await authority.importServers(...FLEET.map((name) => entry(name, { title: "Ship", description: "Sails the seven seas" })));
  await authority.importServers(
    entry("com.example/payments", { title: "Payments", description: "Invoices and payment links" }),
    entry("com.example/cafe", { title: "Café Zürich", description: "咖啡 and cake" }),
    entry("com.example/quotes", { title: `It's "quoted"`, description: "100% a OR b NOT c" }),
    entry("com.example/gone", { status: "deleted", description: "Payments of yesterday" }),
  );
});
after(() => authority?.stop());

const list = (parameters) => authority.request(`/v1/servers?${new URLSearchParams(parameters)}`);
const names = (answer) => {
  assert.equal(answer.status, 200, answer.text);
  return answer.body.servers.map(({ id }) => id);
};
async function pages(parameters) {
  const all = [];
  for (let next = parameters; next !== undefined; ) {
    const answer = await list(next);
    all.push(names(answer));
    const cursor = answer.body.next_cursor;
    next = cursor && { cursor, ...(parameters.limit && { limit: parameters.limit }) };
  }
  return all;
}

describe("the list", () => {
  test("shows of each server what a client needs", async () => {
    const answer = await list({ query: "payments" });
    assert.deepEqual(answer.body, {
      servers: [
        {
          id: "com.example/payments",
          version: "1.0.0",
          title: "Payments",
          description: "Invoices and payment links",
          endpoint: "https://mcp.example.com/mcp",
          transport: "streamable_http",
          verified: false,
          verification: "none",
          status: "active",
        },
      ],
      total: 1,
    });
    assert.match(answer.headers.get("cache-control"), /^public, max-age=\d+$/);
  });

  test("has every server exactly once over its pages, in the order of their names", async () => {
    for (const limit of ["1", "7", "48", "100"]) {
      const all = await pages({ limit });
      assert.deepEqual(all.flat(), LISTED, `limit ${limit}`);
      assert.equal(all.length, Math.ceil(LISTED.length / limit), `limit ${limit}: no empty last page`);
    }
    assert.deepEqual((await pages({})).map((page) => page.length), [30, 18], "30 where nothing is said");
  });

  test("takes a limit from 1 to 100", async () => {
    for (const limit of ["0", "101", "-1", "1.5", "ten", "", "99999999999999999999"]) {
      assertProblem(await list({ limit }), 400, "request_invalid", "limit");
    }
  });

  test("gives a cursor that is safe in a URL and carries the query", async () => {
    const first = await list({ query: "ship seas", limit: "10" });
    const cursor = first.body.next_cursor;
    assert.match(cursor, /^[\w-]+$/);
    assert.deepEqual((await pages({ query: "ship seas", limit: "10" })).flat(), FLEET, "in the order of registration");
    assert.deepEqual(names(await list({ cursor, query: "ship seas", limit: "10" })), FLEET.slice(10, 20));
    assertProblem(await list({ cursor, query: "payments" }), 400, "request_invalid", "cursor");
    for (const wrong of ["x", "", `${cursor}=`, Buffer.from("[]").toString("base64url"), "A".repeat(3000)]) {
      assertProblem(await list({ cursor: wrong }), 400, "request_invalid", "cursor");
    }
  });
});

describe("the search", () => {
  for (const [query, found] of [
    ["payments", ["com.example/payments"]],
    ["PAYM", ["com.example/payments"]],
    ["invoices payment", ["com.example/payments"]],
    ["invoices seas", []],
    ["example", ["com.example/payments", "com.example/cafe", "com.example/quotes"]],
    ["com.example/cafe", ["com.example/cafe"]],
    ["cafe zurich", ["com.example/cafe"]],
    ["咖啡", ["com.example/cafe"]],
    // What is an operator elsewhere is here a word, or nothing.
    [`"quoted"`, ["com.example/quotes"]],
    [`quoted"`, ["com.example/quotes"]],
    ["a OR b", ["com.example/quotes"]],
    ["payments OR cake", []],
    ["payments NOT invoices", []],
    ["-payments", ["com.example/payments"]],
    ["pay*", ["com.example/payments"]],
    ["NEAR(payment", []],
    ["title:payments", []],
    ["^payments", ["com.example/payments"]],
    ["100%", ["com.example/quotes"]],
    // Nothing begins like that; but it is nearly a word.
    ["_ayments", ["com.example/payments"]],
    ["'; DROP TABLE servers; --", []],
    ["payments' --", ["com.example/payments"]],
    ["payments\u{1F4B0}", ["com.example/payments"]],
  ]) {
    test(`finds for ${query}`, async () => {
      assert.deepEqual(names(await list({ query })).sort(), found.toSorted());
    });
  }

  test("refuses what holds nothing to search for, or too much", async () => {
    for (const query of [" ", "*", `"`, "''", "%", "NUL\0", "line\nbreak", "a".repeat(201), "é".repeat(201), "a b c d e f g h i j k"]) {
      assertProblem(await list({ query }), 400, "request_invalid", "query");
    }
    assert.deepEqual(names(await list({ query: "é".repeat(200) })), []);
    assert.deepEqual(names(await list({ query: "", limit: "100" })), LISTED, "an empty search box finds everything");
  });

  test("follows the version that is chosen", async () => {
    await authority.importServers(entry("com.example/renamed", { title: "Oldname" }));
    assert.deepEqual(names(await list({ query: "oldname" })), ["com.example/renamed"]);
    await authority.importServers(entry("com.example/renamed", { version: "2.0.0", title: "Newname" }));
    assert.deepEqual(names(await list({ query: "oldname" })), []);
    assert.deepEqual(names(await list({ query: "newname" })), ["com.example/renamed"]);
    await authority.importServers(
      entry("com.example/renamed", { status: "deleted", title: "Oldname" }),
      entry("com.example/renamed", { version: "2.0.0", status: "deleted", title: "Newname" }),
    );
    assert.deepEqual(names(await list({ query: "newname" })), []);
  });
});

describe("the detail", () => {
  const NAME = "org.detail/server";
  const older = entry(NAME, { version: "1.0.0", publishedAt: "2025-01-01T10:20:30Z", title: "One", custom: { kept: [1, null] } });
  const newer = entry(NAME, { version: "1.1.0", publishedAt: "2025-02-01T00:00:00.5Z", title: "Two" });
  const summary = {
    id: NAME,
    description: "A server of the tests",
    endpoint: "https://mcp.example.com/mcp",
    transport: "streamable_http",
    verified: false,
    verification: "none",
    status: "active",
  };

  /// SHA-256 of a server.json with its members sorted.
  const digest = (server) => {
    const sorted = (_, value) =>
      value !== null && typeof value === "object" && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
        : value;
    return createHash("sha256").update(JSON.stringify(server, sorted)).digest("base64url");
  };

  test("shows a server with its versions, and server.json as it was published", async () => {
    await authority.importServers(older, newer);
    const answer = await authority.request(`/v1/servers/${NAME}`);
    assert.deepEqual(answer.body, {
      ...summary,
      version: "1.1.0",
      title: "Two",
      published_at: "2025-02-01T00:00:00.500Z",
      digest: digest(newer.server),
      server: newer.server,
      versions: [
        { version: "1.1.0", status: "active", published_at: "2025-02-01T00:00:00.500Z" },
        { version: "1.0.0", status: "active", published_at: "2025-01-01T10:20:30.000Z" },
      ],
    });
  });

  test("shows one version, in each way to write the @", async () => {
    for (const reference of [`${NAME}@1.0.0`, `${NAME}%401.0.0`]) {
      const answer = await authority.request(`/v1/servers/${reference}`);
      assert.deepEqual(answer.body, {
        ...summary,
        version: "1.0.0",
        title: "One",
        published_at: "2025-01-01T10:20:30.000Z",
        digest: digest(older.server),
        server: older.server,
      });
    }
  });

  test("of a revoked server says so, and why, from then on", async () => {
    await authority.importServers(entry("org.detail/bad"));
    await eventually("an edge copy is there", async () => {
      await authority.request("/v1/servers/org.detail/bad");
      return (await (await authority.kv()).list()).keys.length > 0;
    });
    await authority.changeServer("org.detail/bad", "revoke", "leaks data");
    const { body } = await authority.request("/v1/servers/org.detail/bad");
    assert.deepEqual([body.status, body.status_reason], ["revoked", "leaks data"]);
    assert.equal((await list({ query: "org.detail/bad" })).body.servers[0].status, "revoked");
  });

  test("is not found where there is none, and says what is wrong with a name", async () => {
    for (const path of ["com.example/nothing", `${NAME}@9.9.9`]) {
      assertProblem(await authority.request(`/v1/servers/${path}`), 404, "server_not_found");
    }
    for (const path of ["com.example/x", "_/ab", `${NAME}@latest`, `${NAME}@`, "com.example/a%2Fb", "com.example/%00", "com.example/%ff"]) {
      assertProblem(await authority.request(`/v1/servers/${path}`), 400, "request_invalid", "the path");
    }
  });
});

describe("what is published of the authority", () => {
  test("is its key set, without private halves, which need not be fetched twice", async () => {
    const answer = await authority.request("/.well-known/jwks.json");
    assert.equal(answer.headers.get("content-type"), "application/jwk-set+json");
    assert.match(answer.headers.get("cache-control"), /^public, max-age=\d+$/);
    const { kty, crv, x, kid } = JSON.parse(authority.settings.SIGNING_KEYS).keys[0];
    assert.deepEqual(answer.body, { keys: [{ kty, crv, alg: "EdDSA", use: "sig", kid, x }] });

    const etag = answer.headers.get("etag");
    assert.match(etag, /^"[\w-]+"$/);
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
      const again = await authority.request("/.well-known/jwks.json", { headers: { "if-none-match": known } });
      assert.equal(again.status, 304, known);
      assert.equal(again.text, "");
      assert.equal(again.headers.get("etag"), etag);
    }
    const other = await authority.request("/.well-known/jwks.json", { headers: { "if-none-match": `"other"` } });
    assert.equal(other.status, 200);
  });

  test("is its metadata", async () => {
    const issuer = authority.url;
    assert.deepEqual((await authority.request("/.well-known/mcp-connect-authority")).body, {
      issuer,
      connect_endpoint: `${issuer}/v1/connect`,
      servers_endpoint: `${issuer}/v1/servers`,
      revocations_endpoint: `${issuer}/v1/revocations`,
      jwks_uri: `${issuer}/.well-known/jwks.json`,
      descriptor_lifetime_seconds: 60,
      descriptor_lifetime_seconds_min: 30,
      descriptor_lifetime_seconds_max: 120,
      signing_alg_values_supported: ["EdDSA"],
      dpop_signing_alg_values_supported: ["EdDSA", "ES256"],
      caller_auth_methods_supported: ["api_key", "access_token"],
      transports_supported: ["streamable_http"],
    });
  });

  test("is nothing else", async () => {
    for (const path of ["/", "/v1", "/v1/", "/v1/servers/", "/v1/servers/com.example", "/V1/servers", "/.dev.vars", "/v1/admin"]) {
      assertProblem(await authority.request(path), 404, "not_found");
    }
  });
});

describe("while D1 is out", () => {
  const KNOWN = "com.example/payments";
  const TABLES = ["servers", "versions", "clients", "api_keys", "audit"];
  const rename = async (from, to) => {
    const database = await authority.database();
    for (const table of TABLES) await database.prepare(`ALTER TABLE ${from(table)} RENAME TO ${to(table)}`).run();
  };
  let key;

  test("servers that were read before are still shown", async () => {
    key = (await authority.createClient("desktop")).api_key;
    await authority.changeServer(KNOWN, "verify");
    assert.equal((await authority.connect(KNOWN, key)).status, 200);
    const kv = await authority.kv();
    // What earlier changes left to be copied is copied by then.
    await authority.scheduled("* * * * *");
    const copy = `server:${KNOWN}`;
    for (const { name } of (await kv.list()).keys) await kv.delete(name);
    const before = await authority.request(`/v1/servers/${KNOWN}`);
    await eventually("the edge copy is there", () => kv.get(copy));

    await rename((table) => table, (table) => `lost_${table}`);
    const fresh = await authority.request(`/v1/servers/${KNOWN}`);
    assert.equal(fresh.text, before.text, "from a fresh copy");

    await kv.put(copy, JSON.stringify({ ...JSON.parse(await kv.get(copy)), loaded_at: 0 }));
    const stale = await authority.request(`/v1/servers/${KNOWN}`);
    assert.equal(stale.status, 200, stale.text);
    assert.deepEqual(stale.body, before.body, "from a copy that is older than it should be");
  });

  test("nothing is issued, and whatever needs D1 says that it can't answer", async () => {
    const server_ref = KNOWN;
    for (const answer of [
      await authority.connect(server_ref, key),
      await authority.request(`/v1/servers/com.example/cafe@1.0.0`),
      await authority.request("/v1/servers"),
      await authority.request("/v1/servers?query=payments"),
      await authority.request("/v1/servers/com.example/cafe"),
      await authority.admin("/clients"),
      await authority.admin("/audit"),
      await authority.admin(`/servers/${KNOWN}/revoke`, { reason: "now" }),
      await authority.admin("/import", { servers: [entry("com.example/late")] }),
    ]) {
      assertProblem(answer, 503, "authority_unavailable");
      assert.doesNotMatch(answer.text, /lost_|no such table|D1_|SQLITE|descriptor"/, "nothing of the inside");
    }
    assert.equal((await authority.request("/.well-known/jwks.json")).status, 200);
  });

  test("the health check names D1", async () => {
    const answer = await authority.request("/healthz");
    assert.equal(answer.status, 503);
    assert.equal(answer.body.status, "faulty");
    assert.deepEqual(answer.body.faults.map(({ setting }) => setting), ["DB"]);
  });

  test("and afterwards everything works again, without a restart", async () => {
    await rename((table) => `lost_${table}`, (table) => table);
    assert.equal((await authority.connect(KNOWN, key)).status, 200);
    assert.deepEqual((await authority.request("/healthz")).body, { status: "ok" });
  });
});

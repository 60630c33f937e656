import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { decodeJwt } from "jose";

import { entry, eventually, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";

const WEATHER = "com.example/weather";
let authority, key;

before(async () => {
  authority = await startAuthority({ meterD1: true });
  key = (await authority.createClient("desktop", { tenant_id: "acme" })).api_key;
  await authority.publish(WEATHER);
});
after(() => authority?.stop());

describe("a grant", () => {
  test("has exactly the members of the protocol, and is not to be stored", async () => {
    const answer = await authority.connect(WEATHER, key);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.headers.get("cache-control"), "no-store");
    assert.match(answer.headers.get("content-type"), /^application\/json/);
    const { descriptor, ...rest } = answer.body;
    assert.match(descriptor, /^[\w-]+\.[\w-]+\.[\w-]{86}$/);
    assert.deepEqual(rest, {
      endpoint: "https://mcp.example.com/mcp",
      expires_in: 60,
      refresh_after: 40,
      server: { id: WEATHER, version: "1.0.0", transport: "streamable_http", verified: true },
    });
  });

  test("is the same for the nested form of the body, and whatever the caller says it is, truly", async () => {
    for (const body of [
      { server_ref: WEATHER, client_id: "desktop", tenant_id: "acme" },
      { server_ref: WEATHER, client: { client_id: "desktop", tenant_id: "acme" } },
      { server_ref: WEATHER, client: { client_id: "desktop" }, tenant_id: "acme" },
      { server_ref: WEATHER, client: {} },
    ]) {
      const answer = await authority.connect(body, key);
      assert.equal(answer.status, 200, answer.text);
      const { client_id, tenant_id } = decodeJwt(answer.body.descriptor);
      assert.deepEqual({ client_id, tenant_id }, { client_id: "desktop", tenant_id: "acme" });
    }
  });

  test("is given to a client without a tenant, which then has none", async () => {
    const { api_key } = await authority.createClient("homeless");
    const answer = await authority.connect(WEATHER, api_key);
    const claims = decodeJwt(answer.body.descriptor);
    assert.equal(claims.client_id, "homeless");
    assert.ok(!("tenant_id" in claims));
  });
});

describe("the version", () => {
  const NAME = "com.example/versions";
  const publish = (version, day, status) =>
    authority.publish(NAME, {
      version,
      status,
      endpoint: `https://mcp.example.com/${version}`,
      publishedAt: `2025-01-${day}T00:00:00Z`,
    });
  const granted = async (reference) => {
    const answer = await authority.connect(reference, key);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.body.endpoint, `https://mcp.example.com/${answer.body.server.version}`);
    return answer.body.server.version;
  };

  test("is the latest stable one, not the one published last, and never a deleted one", async () => {
    await publish("2.0.0-rc.1", "01");
    assert.equal(await granted(NAME), "2.0.0-rc.1", "a prerelease is better than nothing");
    await publish("1.9.0", "02");
    assert.equal(await granted(NAME), "1.9.0", "stable before a later prerelease");
    await publish("1.10.0", "03");
    assert.equal(await granted(NAME), "1.10.0", "by number, not by letter");
    await publish("3.0.0-beta", "04");
    assert.equal(await granted(NAME), "1.10.0");
    await publish("1.9.1", "05");
    assert.equal(await granted(NAME), "1.10.0", "not the one published last");

    await publish("1.10.0", "03", "deleted");
    assert.equal(await granted(NAME), "1.9.1", "after a deletion");
    await publish("1.9.1", "05", "deprecated");
    assert.equal(await granted(NAME), "1.9.1", "a deprecated version still works");
  });

  test("may be named", async () => {
    for (const version of ["1.9.0", "2.0.0-rc.1", "3.0.0-beta"]) {
      assert.equal(await granted(`${NAME}@${version}`), version);
    }
    assertProblem(await authority.connect(`${NAME}@1.10.0`, key), 403, "server_revoked", "deleted");
    assertProblem(await authority.connect(`${NAME}@9.9.9`, key), 404, "server_not_found", "version");
  });

  test("is missing where the publisher deleted every one", async () => {
    await authority.publish("com.example/gone", { status: "deleted" });
    assertProblem(await authority.connect("com.example/gone", key), 403, "server_revoked", "deleted");
  });
});

describe("a request that is not as described", () => {
  const REF = `"server_ref":"${WEATHER}"`;
  for (const [body, detail] of [
    ["", "empty"],
    ["{", "body"],
    ["null", "not a JSON object"],
    [`["${WEATHER}",null,null,null]`, "not a JSON object"],
    ["{}", "server_ref"],
    [`{"server_ref":null}`, "server_ref"],
    [`{"server_ref":7}`, "server_ref"],
    [`{"server_ref":""}`, "server_ref"],
    [`{"server_ref":"weather"}`, "server_ref"],
    [`{"server_ref":"com.example/weather/x"}`, "server_ref"],
    [`{"server_ref":"com.example/weather@"}`, "server_ref"],
    [`{"server_ref":"com.example/weather@latest"}`, "server_ref"],
    [`{"server_ref":"com.example/weather@^1.0.0"}`, "server_ref"],
    [`{"server_ref":"com.example/we\\u0000ather"}`, "server_ref"],
    [`{${REF},${REF}}`, "server_ref"],
    [`{${REF},"scope":"all"}`, "scope"],
    [`{${REF},"client_id":7}`, "client_id"],
    [`{${REF},"client_id":"${"c".repeat(257)}"}`, "client_id"],
    [`{${REF},"client_id":"desktop","client":{"client_id":"desktop"}}`, "client_id"],
    [`{${REF},"tenant_id":{}}`, "tenant_id"],
    [`{${REF},"tenant_id":"${"t".repeat(257)}"}`, "tenant_id"],
    [`{${REF},"tenant_id":"acme","client":{"tenant_id":"acme"}}`, "tenant_id"],
    [`{${REF},"client":"desktop"}`, "client"],
    [`{${REF},"client":["desktop","acme"]}`, "client"],
    [`{${REF},"client":{"client_id":7}}`, "client_id"],
    [`{${REF},"client":{"name":"desktop"}}`, "name"],
  ]) {
    test(`is refused: ${body.slice(0, 70)}`, async () => {
      const answer = await authority.request("/v1/connect", { method: "POST", body, bearer: key });
      assertProblem(answer, 400, "request_invalid", detail);
    });
  }
});

describe("a caller", () => {
  const other = `mcpk_${"A".repeat(16)}_${"A".repeat(43)}`;
  const credentials = {
    "no credential": () => undefined,
    "an empty one": () => "",
    "no token": () => "Bearer",
    "garbage": () => "Bearer garbage",
    "an unknown key": () => `Bearer ${other}`,
    "a wrong secret": () => `Bearer ${key.slice(0, 22)}${other.slice(22)}`,
    "half a key": () => `Bearer ${key.slice(0, 40)}`,
    "two tokens": () => `Bearer ${key} ${key}`,
    "two tokens in two headers": () => `Bearer ${key}, Bearer ${key}`,
    "a key without scheme": () => key,
    "Basic": () => `Basic ${Buffer.from(`desktop:${key}`).toString("base64")}`,
    "the operator's token": () => `Bearer ${authority.operatorToken}`,
  };
  for (const [what, credential] of Object.entries(credentials)) {
    test(`with ${what} is not authenticated`, async () => {
      const authorization = credential();
      const headers = authorization === undefined ? {} : { authorization };
      const answer = await authority.request("/v1/connect", { body: { server_ref: WEATHER }, headers });
      assertProblem(answer, 401, "caller_unauthenticated");
      assert.equal(answer.headers.get("www-authenticate"), "Bearer");
    });
  }

  test("without a good credential learns nothing of what exists", async () => {
    for (const credential of [undefined, "garbage", other]) {
      const [known, unknown] = await Promise.all([
        authority.connect(WEATHER, credential),
        authority.connect("com.example/unknown", credential),
      ]);
      assert.equal(known.text, unknown.text);
    }
  });

  test("can't be another than it is", async () => {
    await authority.createClient("other", { tenant_id: "rival" });
    for (const [member, value] of [
      ["client_id", "other"],
      ["client_id", ""],
      ["client_id", "DESKTOP"],
      ["tenant_id", "rival"],
      ["tenant_id", ""],
    ]) {
      for (const claim of [{ [member]: value }, { client: { [member]: value } }]) {
        const answer = await authority.connect({ server_ref: WEATHER, ...claim }, key);
        assertProblem(answer, 400, "request_invalid", member);
      }
    }
    const { api_key } = await authority.createClient("tenantless");
    const answer = await authority.connect({ server_ref: WEATHER, tenant_id: "acme" }, api_key);
    assertProblem(answer, 400, "request_invalid", "tenant_id");
  });

  test("that is suspended is blocked until it is resumed", async () => {
    const { api_key } = await authority.createClient("naughty");
    await authority.admin("/clients/naughty/suspend", { reason: "misbehaved" });
    assertProblem(await authority.connect(WEATHER, api_key), 403, "policy_blocked", "suspended");
    await authority.admin("/clients/naughty/resume", { reason: "promised to behave" });
    assert.equal((await authority.connect(WEATHER, api_key)).status, 200);
  });
});

describe("a server", () => {
  test("that doesn't exist is not found", async () => {
    assertProblem(await authority.connect("com.example/nothing", key), 404, "server_not_found");
    // Names are case-sensitive.
    assertProblem(await authority.connect("com.example/Weather", key), 404, "server_not_found");
  });

  test("that was revoked is refused, at each of its versions", async () => {
    await authority.publish("com.example/bad");
    await authority.changeServer("com.example/bad", "revoke");
    for (const reference of ["com.example/bad", "com.example/bad@1.0.0"]) {
      assertProblem(await authority.connect(reference, key), 403, "server_revoked", "is revoked: ");
    }
  });

  test("that is quarantined is refused", async () => {
    await authority.publish("com.example/suspect");
    const database = await authority.database();
    await database.prepare("UPDATE servers SET moderation = 'quarantined' WHERE name = 'com.example/suspect'").run();
    assertProblem(await authority.connect("com.example/suspect", key), 403, "server_revoked", "the server is quarantined");
    await authority.admin("/servers/com.example/suspect/quarantine", { reason: "odd traffic", expires_in: 3600 });
    const { detail } = (await authority.connect("com.example/suspect", key)).body;
    assert.match(detail, /^the server is quarantined until \d{4}-\d\d-\d\dT[\d:.]+Z: odd traffic$/);
  });

  test("is verified where it was, and at no other origin", async () => {
    const name = "com.example/moved";
    const publish = (version, endpoint) => authority.importServers(entry(name, { version, endpoint }));
    await authority.publish(name, { endpoint: "https://mcp.example.com/mcp" });
    await publish("1.1.0", "https://mcp.example.com/v2/mcp");
    assert.equal((await authority.connect(name, key)).body.server?.version, "1.1.0");
    await publish("1.2.0", "https://mcp.example.com:8443/mcp");
    assertProblem(await authority.connect(name, key), 403, "server_unverified");
    assert.equal((await authority.connect(`${name}@1.1.0`, key)).status, 200);
    await authority.changeServer(name, "verify");
    assert.equal((await authority.connect(name, key)).body.server?.version, "1.2.0");
    assertProblem(await authority.connect(`${name}@1.1.0`, key), 403, "server_unverified");
  });

  test("without a streamable-http remote that is public can't be connected to", async () => {
    await authority.publish("com.example/local", { endpoint: null });
    await authority.publish("com.example/sse", { endpoint: null, remotes: [{ type: "sse", url: "https://mcp.example.com/sse" }] });
    await authority.publish("com.example/private", { endpoint: "https://10.0.0.1/mcp" });
    for (const name of ["local", "sse", "private"]) {
      assertProblem(await authority.connect(`com.example/${name}`, key), 403, "transport_not_supported");
    }
  });
});

test("one round trip to D1 decides, with 6 rows read at most and none written", async () => {
  const crowd = (count) => Array.from({ length: count }, (_, index) => index);
  await authority.importServers(...crowd(50).map((n) => entry(`com.example/crowd${n}`)));
  await authority.importServers(...crowd(50).map((n) => entry(WEATHER, { version: `0.${n}.0` })));
  for (const n of crowd(20)) await authority.createClient(`crowd${n}`);
  // An import of many servers goes on after its answer, until each has its copy.
  const kv = await authority.kv();
  await eventually("every server has its copy", async () => {
    const { keys } = await kv.list({ prefix: "server:com.example/crowd" });
    return keys.length === 50;
  });

  /// The log comes in its own time, but in order: what a connect asked of D1 stands before its
  /// decision.
  const decided = (reference, bearer) =>
    authority.metered(async () => {
      await authority.connect(reference, bearer);
      const [{ code }] = await eventually("the decision is logged", () => {
        const lines = authority.logged("connect");
        return lines.length > 0 && lines;
      });
      return code;
    });
  await decided(WEATHER, key);

  const stranger = key.slice(0, 22) + "A".repeat(43);
  for (const [reference, bearer, code, count] of [
    [WEATHER, key, "ok", 1],
    [`${WEATHER}@1.0.0`, key, "ok", 1],
    [`${WEATHER}@7.0.0`, key, "server_not_found", 1],
    ["com.example/nothing", key, "server_not_found", 1],
    [WEATHER, stranger, "caller_unauthenticated", 1],
    // Who shows nothing that could be a credential costs nothing.
    [WEATHER, "garbage", "caller_unauthenticated", 0],
    [WEATHER, undefined, "caller_unauthenticated", 0],
  ]) {
    const { found: decision, trips } = await decided(reference, bearer);
    const shown = `${reference}: ${JSON.stringify(trips)}`;
    assert.equal(decision, code, shown);
    assert.equal(trips.length, count, shown);
    for (const { rows_read, rows_written } of trips) {
      assert.ok(rows_read <= 6, shown);
      assert.equal(rows_written, 0, shown);
    }
  }
});

// From here on the Worker runs with other settings.

test("unverified servers are refused unless the operator lets them in", async () => {
  await authority.importServers(entry("com.example/new"));
  assertProblem(await authority.connect("com.example/new", key), 403, "server_unverified");
  await authority.configure({ REQUIRE_VERIFIED: "false" });
  const answer = await authority.connect("com.example/new", key);
  assert.equal(answer.body.server.verified, false);
  assert.equal(decodeJwt(answer.body.descriptor).mcp.server.verified, false);
});

test("where the operator allows anonymous callers, they are nobody and of no tenant", async () => {
  await authority.configure({ ALLOW_ANONYMOUS: "true" });
  const answer = await authority.connect(WEATHER);
  assert.equal(answer.status, 200, answer.text);
  const claims = decodeJwt(answer.body.descriptor);
  assert.ok(!("client_id" in claims) && !("tenant_id" in claims), JSON.stringify(claims));

  for (const claim of [{ tenant_id: "acme" }, { client_id: "desktop" }, { client: { tenant_id: "acme" } }]) {
    assertProblem(await authority.connect({ server_ref: WEATHER, ...claim }), 400, "request_invalid", "names another");
  }
  // Who shows a credential must show a good one.
  assertProblem(await authority.connect(WEATHER, "garbage"), 401, "caller_unauthenticated");
  assert.equal(decodeJwt((await authority.connect(WEATHER, key)).body.descriptor).client_id, "desktop");
});

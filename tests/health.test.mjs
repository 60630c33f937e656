// Health gating: endpoints are asked as real MCP servers, and those that don't answer as such are
// closed to connects, with the time of their last answer.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";

import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";

import { entry, eventually, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl, startReferenceServer } from "./support/programs.mjs";
import { readJson, Site } from "./support/site.mjs";

const EVERY_MINUTE = "* * * * *";

let authority, key, site;

before(async () => {
  authority = await startAuthority({ hosts: {} });
  key = (await authority.createClient("desktop")).api_key;
});
after(() => authority?.stop());
beforeEach(async () => {
  site = await Site.start();
});
afterEach(() => site.stop());

let servers = 0;
async function publish(endpoint = `${site.origin}/mcp`) {
  const name = `com.example/server-${++servers}`;
  await authority.publish(name, { endpoint });
  return name;
}

async function admin(name, verb) {
  const { status, text, body } = await authority.admin(`/servers/${name}/${verb}`, verb === "probe" ? {} : undefined);
  assert.equal(status, 200, text);
  return body;
}
const probe = (name) => admin(name, "probe");

/// Runs with this gating, from nothing: no verdicts, no isolate that remembers any.
async function gate(HEALTH_GATING) {
  const kv = await authority.kv();
  for (const { name } of (await kv.list()).keys) await kv.delete(name);
  await authority.configure({ HEALTH_GATING });
  authority.clearLog();
}

/// Changes the one verdict that KV has, under an isolate that remembers nothing.
async function rewriteVerdict(changes) {
  const [name] = await keysOf("health:");
  const known = await (await authority.kv()).get(name, "json");
  await authority.configure({ HEALTH_GATING: authority.settings.HEALTH_GATING });
  await (await authority.kv()).put(name, JSON.stringify({ ...known, ...changes }));
}

async function keysOf(prefix) {
  const kv = await authority.kv();
  return (await kv.list({ prefix })).keys.map(({ name }) => name);
}

const json = (response, status, body, headers = {}) =>
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
const error = (code, data) => ({ jsonrpc: "2.0", id: null, error: { code, message: "no", data } });

/// A server of MCP 2026-07-28 and nothing else.
async function modern(request, response) {
  const { id, method, params } = await readJson(request);
  const meta = params?._meta ?? {};
  const isModern =
    request.headers["mcp-protocol-version"] === "2026-07-28" &&
    request.headers["mcp-method"] === method &&
    meta["io.modelcontextprotocol/protocolVersion"] === "2026-07-28" &&
    meta["io.modelcontextprotocol/clientCapabilities"] !== undefined;
  if (!isModern) return json(response, 400, error(-32020));
  if (method !== "server/discover") return json(response, 404, error(-32601));
  json(response, 200, { jsonrpc: "2.0", id, result: { supportedVersions: ["2026-07-28"], capabilities: {} } });
}

/// The official SDK's server of 2025-11-25, with sessions; `open` are those that nobody ended.
function legacy() {
  const open = new Map();
  const answer = async (request, response) => {
    const session = open.get(request.headers["mcp-session-id"]);
    if (session) return session.handleRequest(request, response);
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => open.set(id, transport),
      onsessionclosed: (id) => open.delete(id),
    });
    await new McpServer({ name: "legacy", version: "1.0.0" }).connect(transport);
    await transport.handleRequest(request, response);
  };
  return { open, answer };
}

describe("a probe", () => {
  before(() => gate("off"));

  test("finds the reference server, governed or not", async () => {
    for (const mode of ["required", "optional"]) {
      const name = `com.example/reference-${mode}`;
      const server = await startReferenceServer(authority.url, name, ["--mode", mode]);
      try {
        await authority.publish(name, { endpoint: server.endpoint });
        assert.equal((await probe(name)).health, "healthy");
      } finally {
        await server.stop();
      }
      const { health, reason } = await probe(name);
      assert.deepEqual([health, reason], ["failing", "nobody answers there"]);
    }
  });

  test("finds a server of 2026-07-28, with one request", async () => {
    site.answer = modern;
    const { health, last_success, checked_at, failures, gating } = await probe(await publish());
    assert.deepEqual([health, failures, gating], ["healthy", 0, "off"]);
    assert.equal(last_success, checked_at);
    assert.equal(site.asked.length, 1);
  });

  test("finds a server of 2025-11-25, and leaves no session behind", async () => {
    const { open, answer } = legacy();
    site.answer = answer;
    assert.equal((await probe(await publish())).health, "healthy");
    assert.deepEqual(site.asked.map((asked) => asked.split(" ")[0]), ["POST", "POST", "DELETE"]);
    assert.equal(open.size, 0);
  });

  test("does not wait for the end of a stream", async () => {
    site.answer = async (request, response) => {
      const { id, method } = await readJson(request);
      if (method !== "initialize") return response.writeHead(400).end();
      const result = { protocolVersion: "2025-06-18", capabilities: {}, serverInfo: { name: "slow", version: "1" } };
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(`id: 1\ndata:\n\nevent: message\ndata: ${JSON.stringify({ jsonrpc: "2.0", id, result })}\n\n`);
    };
    assert.equal((await probe(await publish())).health, "healthy");
  });

  for (const [what, answer] of [
    ["asks for the user's token", (_, response) => response.writeHead(401, { "www-authenticate": 'Bearer resource_metadata="https://x"' }).end()],
    ["asks for a descriptor", (_, response) => json(response, 401, error(-32001, { code: "descriptor_missing" }))],
  ]) {
    test(`takes a server that ${what} for one`, async () => {
      site.answer = answer;
      assert.equal((await probe(await publish())).health, "healthy");
    });
  }

  for (const [what, answer, reason] of [
    ["a page", (_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<html>"), "HTTP 200, and no JSON-RPC"],
    ["nothing there", (_, response) => response.writeHead(404).end(), "HTTP 404, and no JSON-RPC"],
    ["a broken server", (_, response) => response.writeHead(500).end(), "HTTP 500"],
    ["another JSON-RPC service", (_, response) => json(response, 200, error(-32601)), "HTTP 200, JSON-RPC error -32601"],
    ["a password page", (_, response) => response.writeHead(401, { "www-authenticate": "Basic" }).end(), "HTTP 401, and no JSON-RPC"],
    ["a closed connection", (_, response) => response.destroy(), "nobody answers there"],
    ["too much", (_, response) => response.writeHead(200).end("x".repeat(300_000)), "the answer is longer than 262144 bytes"],
  ]) {
    test(`is not satisfied by ${what}`, async () => {
      site.answer = answer;
      const name = await publish();
      const first = await probe(name);
      assert.deepEqual([first.health, first.failures, first.reason, first.last_success], ["failing", 1, reason, undefined]);
      assert.equal((await probe(name)).health, "unhealthy");
      assert.deepEqual((await admin(name, "health")).failures, 2);
    });
  }

  test("follows no redirect", async () => {
    const other = await Site.start(modern);
    try {
      site.answer = (_, response) => response.writeHead(307, { location: `${other.origin}/mcp` }).end();
      const { health, reason } = await probe(await publish());
      assert.deepEqual([health, reason], ["failing", "HTTP 307"]);
      assert.deepEqual([site.asked.length, other.asked], [1, []]);
    } finally {
      await other.stop();
    }
  });

  test("waits three seconds, and no longer", async () => {
    site.answer = () => {};
    const asked = Date.now();
    const { health, reason } = await probe(await publish());
    const spent = Date.now() - asked;
    assert.deepEqual([health, reason], ["failing", "no answer within 3 s"]);
    assert.ok(spent > 2_500 && spent < 8_000, `${spent} ms`);
  });

  test("has nobody to ask where there is no remote", async () => {
    await authority.importServers(entry("com.example/local", { endpoint: null }));
    for (const verb of ["health", "probe"]) {
      const answer = await authority.admin(`/servers/com.example/local/${verb}`, verb === "probe" ? {} : undefined);
      assertProblem(answer, 403, "transport_not_supported");
    }
    assertProblem(await authority.admin("/servers/com.example/nobody/health"), 404, "server_not_found");
  });
});

test("without gating a connect asks nobody, and reads and writes no verdict", async () => {
  await gate("off");
  const name = await publish();
  assert.equal((await authority.connect(name, key)).status, 200);
  await authority.scheduled(EVERY_MINUTE);
  assert.deepEqual(site.asked, []);
  assert.deepEqual([...(await keysOf("health:")), ...(await keysOf("in-use:"))], []);
});

describe("cached gating", () => {
  beforeEach(() => gate("cached"));

  test("lets an unknown endpoint through, and finds out afterwards", async () => {
    site.answer = () => {};
    const name = await publish();
    assert.equal((await authority.connect(name, key)).status, 200);
    assert.deepEqual(await keysOf("health:"), [], "the caller did not wait");
    const verdict = await eventually("a verdict", async () => {
      const verdict = await admin(name, "health");
      return verdict.health !== "unknown" && verdict;
    });
    assert.deepEqual([verdict.health, verdict.gating], ["failing", "cached"]);
  });

  test("closes a server that was killed, names its last answer, and opens it when it is back", async () => {
    const name = "com.example/killed";
    const server = await startReferenceServer(authority.url, name);
    await authority.publish(name, { endpoint: server.endpoint });
    const { last_success } = await probe(name);
    assert.equal((await authority.connect(name, key)).status, 200);
    await server.stop();

    assert.equal((await probe(name)).health, "failing");
    assert.equal((await authority.connect(name, key)).status, 200, "one failure closes nothing");
    assert.equal((await probe(name)).health, "unhealthy");
    authority.clearLog();
    const refused = await authority.connect(name, key);
    assertProblem(refused, 503, "server_unavailable", `it last did at ${last_success}`);
    assert.equal(refused.headers.get("retry-after"), "30");
    const { decision, code, client_id } = authority.logged("connect").at(-1);
    assert.deepEqual([decision, code, client_id], ["denied", "server_unavailable", "desktop"]);
    assert.equal((await authority.request(`/v1/servers/${name}`)).status, 200, "discovery shows it still");

    const port = new URL(server.endpoint).port;
    const again = await startReferenceServer(authority.url, name, [], port);
    try {
      assert.equal((await probe(name)).health, "healthy");
      assert.equal((await authority.connect(name, key)).status, 200);
    } finally {
      await again.stop();
    }
  });

  test("is of those who may connect: who may not is told so, and asks nobody", async () => {
    const name = await publish();
    await authority.changeServer(name, "unverify");
    assertProblem(await authority.connect(name, key), 403, "server_unverified");
    assert.deepEqual(site.asked, []);
    assert.deepEqual(await keysOf("in-use:"), []);
  });

  test("is kept fresh by the cron, for what is in use and due", async () => {
    site.answer = modern;
    const [used, unused] = [await publish(), await publish(`${site.origin}/unused`)];
    await authority.connect(used, key);
    await eventually("a mark and a verdict", async () => (await keysOf("in-use:")).length + (await keysOf("health:")).length === 2);
    await authority.scheduled(EVERY_MINUTE);
    assert.equal(site.asked.length, 1, "it was asked just now");

    await rewriteVerdict({ checked_at: Date.now() - 60_000 });
    await site.stop();
    await authority.scheduled(EVERY_MINUTE);
    assert.equal((await admin(used, "health")).health, "failing");
    assert.match(authority.logged("upkeep").at(-1).done, /^0 healthy, 1 failing$/);
    assert.equal((await admin(unused, "health")).health, "unknown");
  });

  test("forgets a verdict that nobody renewed", async () => {
    const name = await publish();
    await probe(name);
    await probe(name);
    assertProblem(await authority.connect(name, key), 503, "server_unavailable", "it has not since this authority first asked");
    await rewriteVerdict({ checked_at: Date.now() - 11 * 60_000 });
    assert.equal((await authority.connect(name, key)).status, 200);
  });
});

describe("inline gating", () => {
  /// As if the last look were a minute ago.
  async function gateAt(verdict) {
    await gate("inline");
    const name = await publish();
    await probe(name);
    await rewriteVerdict({ checked_at: Date.now() - 60_000, ...verdict });
    site.asked = [];
    return name;
  }

  test("asks at once where nothing is known", async () => {
    await gate("inline");
    site.answer = modern;
    const name = await publish();
    assert.equal((await authority.connect(name, key)).status, 200);
    assert.equal(site.asked.length, 1);
    assert.equal((await authority.connect(name, key)).status, 200);
    assert.equal(site.asked.length, 1, "it was asked just now");
  });

  test("closes with the second failure, and opens with the first success", async () => {
    const last = Date.UTC(2026, 0, 2, 3, 4, 5);
    const name = await gateAt({ failures: 1, last_success: last });
    const refused = await authority.connect(name, key);
    assertProblem(refused, 503, "server_unavailable", "it last did at 2026-01-02T03:04:05.000Z");
    site.answer = modern;
    assertProblem(await authority.connect(name, key), 503, "server_unavailable");
    assert.equal((await probe(name)).health, "healthy");
    assert.equal((await authority.connect(name, key)).status, 200);
  });

  test("waits for a slow endpoint no longer than three seconds", async () => {
    site.answer = () => {};
    const name = await gateAt({ failures: 1, last_success: null });
    const asked = Date.now();
    assertProblem(await authority.connect(name, key), 503, "server_unavailable");
    assert.ok(Date.now() - asked < 8_000);
  });

  test("asks once, however many connect", async () => {
    let answerNow;
    let probes = 0;
    const name = await gateAt({ failures: 0, last_success: 1 });
    const held = new Promise((resolve) => (answerNow = resolve));
    site.answer = async (request, response) => {
      probes += request.headers["mcp-method"] === "server/discover";
      await held;
      modern(request, response);
    };
    const first = authority.connect(name, key);
    await eventually("the probe", () => probes === 1);
    const others = await Promise.all(Array.from({ length: 50 }, () => authority.connect(name, key)));
    assert.ok(others.every(({ status }) => status === 200), "by what was known before");
    answerNow();
    assert.equal((await first).status, 200);
    assert.equal(probes, 1);
  });
});

test("a wrong setting names itself and stops connects", async () => {
  await authority.configure({ HEALTH_GATING: "on" });
  const health = await authority.request("/healthz");
  assert.deepEqual(health.body.faults.map(({ setting }) => setting), ["HEALTH_GATING"]);
  assertProblem(await authority.connect("com.example/killed", key), 503, "authority_unavailable");
});

test("connectctl asks, and shows what was found", async () => {
  await gate("cached");
  site.answer = modern;
  const name = await publish();
  const run = (...args) => connectctl(["--authority", authority.url, "--operator-token", authority.operatorToken, "servers", ...args]);
  assert.match((await run("health", name)).stdout, /health +unknown/);
  const asked = await run("probe", name);
  assert.equal(asked.code, 0, asked.stderr);
  assert.match(asked.stdout, /health +healthy/);
  const { health, gating, endpoint } = JSON.parse((await run("health", name, "--json")).stdout);
  assert.deepEqual([health, gating, endpoint], ["healthy", "cached", `${site.origin}/mcp`]);
});

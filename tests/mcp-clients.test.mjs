// Real MCP clients against the reference server, governed by the Worker: the official TypeScript
// SDKs, in which nothing is ours but the `fetch` of docs/clients.md, and rmcp with our transport.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";

import { Client as Client2, StreamableHTTPClientTransport as Transport2 } from "@modelcontextprotocol/client";
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as Transport1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { decodeJwt } from "jose";

import { REPOSITORY, eventually, startAuthority } from "./support/authority.mjs";
import { connectctl, startReferenceServer } from "./support/programs.mjs";

const SERVER = "com.example/reference";
const SDKS = {
  "@modelcontextprotocol/sdk 1.x": { Client: Client1, Transport: Transport1, era: "2025-11-25" },
  "@modelcontextprotocol/client 2.x with sessions": { Client: Client2, Transport: Transport2, era: "2025-11-25" },
  "@modelcontextprotocol/client 2.x without sessions": {
    Client: Client2,
    Transport: Transport2,
    era: "2026-07-28",
    options: { versionNegotiation: { mode: "auto" } },
  },
};

/// Where an SDK looks for an authorization server (RFC 9728, RFC 8414, OpenID Connect Discovery).
const DISCOVERY = [
  "GET /.well-known/oauth-protected-resource/mcp",
  "GET /.well-known/oauth-protected-resource",
  "GET /.well-known/oauth-authorization-server",
  "GET /.well-known/openid-configuration",
];

let authority, server, key;

before(async () => {
  authority = await startAuthority({ settings: { DESCRIPTOR_LIFETIME_SECONDS: "30" } });
  server = await startReferenceServer(authority.url, SERVER);
  await authority.publish(SERVER, { endpoint: server.endpoint });
  key = (await authority.createClient("desktop", { tenant_id: "acme" })).api_key;
});
after(() => authority?.stop());
after(() => server?.stop());

async function connect() {
  const { status, text, body } = await authority.connect(SERVER, key);
  assert.equal(status, 200, text);
  return body.descriptor;
}

// Whatever way a client takes, it ends in this one.
const platformFetch = globalThis.fetch;
let sent = [];
globalThis.fetch = async (input, init = {}) => {
  const url = new URL(input.url ?? input);
  const headers = new Headers(init.headers);
  const response = await platformFetch(input, init);
  const isServer = server !== undefined && url.origin === new URL(server.endpoint).origin;
  sent.push({ isServer, request: `${init.method ?? "GET"} ${url.pathname}`, status: response.status, headers });
  return response;
};
beforeEach(() => (sent = []));
const toServer = () => sent.filter(({ isServer }) => isServer);
const toOthers = () => sent.filter(({ isServer }) => !isServer);

/// What docs/clients.md tells users of an SDK to write.
const { governedFetch: documentedFetch, withLastingClient } = await documented("clients.md");

async function documented(page) {
  const text = await readFile(join(REPOSITORY, "docs", page), "utf8");
  const blocks = [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);
  const code = blocks.filter((block) => block.includes("export function"));
  return import(`data:text/javascript,${encodeURIComponent(code.join("\n"))}`);
}

/// The documented fetch, with a descriptor to begin with.
function governedFetch(endpoint, descriptor) {
  const held = [descriptor].filter(Boolean);
  return documentedFetch(endpoint, async () => held.pop() ?? connect());
}

/// An OAuth client as an application brings it to an SDK, which notes what it is asked to do.
function oauthProvider({ registered = false, tokens } = {}) {
  const asked = [];
  const saved = { tokens, ...(registered && { clientInformation: { client_id: "app" } }) };
  return {
    asked,
    redirectUrl: "http://127.0.0.1:1/callback",
    clientMetadata: { client_name: "app", redirect_uris: ["http://127.0.0.1:1/callback"] },
    clientInformation: () => saved.clientInformation,
    saveClientInformation: (information) => (saved.clientInformation = information),
    tokens: () => saved.tokens,
    saveTokens: (fresh) => (saved.tokens = fresh),
    codeVerifier: () => saved.codeVerifier,
    saveCodeVerifier: (verifier) => (saved.codeVerifier = verifier),
    redirectToAuthorization: (url) => asked.push(`open ${url.origin}${url.pathname}`),
    invalidateCredentials: (which) => asked.push(`forget ${which}`),
  };
}

for (const [name, { Client, Transport, era, options }] of Object.entries(SDKS)) {
  const start = async (transportOptions, work = () => {}) => {
    const client = new Client({ name: "tests", version: "1.0.0" }, options);
    try {
      await client.connect(new Transport(new URL(server.endpoint), transportOptions));
      await work(client);
    } finally {
      await client.close();
    }
  };

  describe(name, { timeout: 20_000 }, () => {
    test("calls tools, each request under the descriptor", async () => {
      const descriptor = await connect();
      sent = [];
      await start({ fetch: governedFetch(server.endpoint, descriptor) }, async (client) => {
        const { tools } = await client.listTools();
        assert.deepEqual(tools.map((tool) => tool.name).sort(), ["add", "echo", "tick", "whoami"]);
        const echo = await client.callTool({ name: "echo", arguments: { text: "Grüße" } });
        assert.deepEqual(echo.content, [{ type: "text", text: "Grüße" }]);
        const add = await client.callTool({ name: "add", arguments: { a: 2, b: 40 } });
        assert.deepEqual(add.structuredContent, { sum: 42 });
        const { structuredContent } = await client.callTool({ name: "whoami", arguments: {} });
        assert.equal(structuredContent.server_id, SERVER);
        const { client_id, tenant_id, jti } = structuredContent.descriptor;
        assert.deepEqual({ client_id, tenant_id, jti }, { client_id: "desktop", tenant_id: "acme", jti: decodeJwt(descriptor).jti });
      });
      assert.ok(toServer().every(({ headers }) => headers.get("mcp-connect") === descriptor));
      assert.equal(toServer().at(-1).headers.get("mcp-protocol-version"), era);
      assert.deepEqual(toOthers(), [], "the traffic passes nobody else");
    });

    test("is refused without a descriptor, and leaves it at that", async () => {
      await assert.rejects(start({}), (error) => {
        // Each SDK has its own place for the status.
        assert.ok([error.code, error.status].includes(401), `${error.code} ${error.status}`);
        return true;
      });
      assert.deepEqual(toServer().map(({ request, status }) => `${request} ${status}`), ["POST /mcp 401"]);
      assert.deepEqual(toOthers(), []);
    });

    test("with OAuth looks once for an authorization server, finds none and gives up", async () => {
      // Both SDKs take each 401 for one of OAuth, whatever scheme the challenge names. This is what
      // they then do, and all of it; a loop would never come to the error.
      const authProvider = oauthProvider();
      await assert.rejects(start({ authProvider }));
      assert.deepEqual(toServer().map(({ request }) => request), [
        "POST /mcp",
        ...DISCOVERY,
        "POST /register",
      ]);
      assert.ok(toServer().slice(1).every(({ status }) => status >= 400 && status < 500));
      assert.deepEqual(toOthers(), [], "the authority is no authorization server, and is not asked");
      assert.deepEqual(authProvider.asked, []);
    });

    test("with OAuth and a descriptor that is no good is refused at once", async () => {
      const authProvider = oauthProvider();
      const fetch = governedFetch(server.endpoint, `${(await connect()).slice(0, -4)}AAAA`);
      sent = [];
      await assert.rejects(start({ authProvider, fetch }), /descriptor_invalid|403/);
      assert.deepEqual(toServer().map(({ request, status }) => `${request} ${status}`), ["POST /mcp 403"]);
      assert.deepEqual(toOthers(), []);
      assert.deepEqual(authProvider.asked, []);
    });

    test("never hears of a missing descriptor where its fetch sees to that", async () => {
      const authProvider = oauthProvider({ tokens: { access_token: "the-users", token_type: "Bearer" } });
      const governed = governedFetch(server.endpoint);
      let isFirst = true;
      // The first request goes without, as one would with a descriptor that has just expired.
      const forgetful = async (url, init) => {
        if (!isFirst) return governed(url, init);
        isFirst = false;
        const response = await fetch(url, init);
        assert.equal(response.status, 401);
        await response.body.cancel();
        return governed(url, init);
      };
      await start({ authProvider, fetch: forgetful }, async (client) => {
        const { structuredContent } = await client.callTool({ name: "whoami", arguments: {} });
        assert.equal(structuredContent.descriptor.client_id, "desktop");
      });
      assert.ok(toServer().every(({ request }) => request.endsWith(" /mcp")), "no OAuth");
      assert.ok(toServer().every(({ headers }) => headers.get("authorization") === "Bearer the-users"), "the user's token stays in its place");
      assert.deepEqual(authProvider.asked, []);
    });

    test("hears of no OAuth where even a fresh descriptor is refused, and its fetch asks once", async () => {
      const authProvider = oauthProvider();
      let asked = 0;
      const getDescriptor = async () => `expired-${++asked}`;
      // As a server whose clock is wrong, or an authority's whose is.
      const refusing = async (url, init) => {
        const challenge = 'MCP-Connect error="descriptor_expired", authority="x", server_ref="a/b"';
        const data = { code: "descriptor_expired", retryable: true };
        sent.push({ isServer: true, request: `${init?.method ?? "GET"} ${new URL(url).pathname}`, status: 401 });
        const body = { jsonrpc: "2.0", id: null, error: { code: -32002, message: "expired", data } };
        return Response.json(body, { status: 401, headers: { "www-authenticate": challenge } });
      };
      const recording = globalThis.fetch;
      globalThis.fetch = refusing;
      try {
        await assert.rejects(start({ authProvider, fetch: documentedFetch(server.endpoint, getDescriptor) }), (error) => {
          assert.ok([error.code, error.status].includes(403), `${error.code} ${error.status}`);
          return true;
        });
      } finally {
        globalThis.fetch = recording;
      }
      assert.equal(asked, 2);
      assert.deepEqual(toServer().map(({ request }) => request), ["POST /mcp", "POST /mcp"]);
      assert.deepEqual(authProvider.asked, []);
    });

    test("goes on after a revocation that is over, in a new session where there was one", async () => {
      const opened = [];
      const run = withLastingClient(async () => {
        const client = new Client({ name: "tests", version: "1.0.0" }, options);
        await client.connect(new Transport(new URL(server.endpoint), { fetch: governedFetch(server.endpoint) }));
        opened.push(client);
        return client;
      });
      const echo = () => run((client) => client.callTool({ name: "echo", arguments: { text: "again" } }));
      const expected = [{ type: "text", text: "again" }];
      assert.deepEqual((await echo()).content, expected);
      const before = toServer().at(-1).headers.get("mcp-connect");
      await authority.changeServer(SERVER, "revoke");
      await authority.changeServer(SERVER, "reinstate");
      // Descriptors of the second of a revocation are refused, too.
      const reinstated = Math.floor(Date.now() / 1000);
      await eventually("the next second", () => Math.floor(Date.now() / 1000) > reinstated);
      await eventually("the server knows of the revocation", async () => {
        const response = await platformFetch(server.endpoint, { method: "POST", headers: { "mcp-connect": before } });
        await response.body?.cancel();
        return response.status === 403;
      });
      assert.deepEqual((await echo()).content, expected);
      assert.ok(toServer().some(({ status }) => status === 403), "the descriptor was refused");
      assert.equal(opened.length, era === "2025-11-25" ? 2 : 1);
      await opened.at(-1).close();
    });

    test("loses the server when it is revoked and the descriptor is not renewed", async () => {
      await authority.changeServer(SERVER, "revoke");
      try {
        const { status, body } = await authority.connect(SERVER, key);
        assert.deepEqual([status, body.code], [403, "server_revoked"]);
        await assert.rejects(start({ fetch: governedFetch(server.endpoint) }), /server_revoked/);
        assert.deepEqual(toServer(), []);
      } finally {
        await authority.changeServer(SERVER, "reinstate");
      }
    });

    test("with OAuth and a client known beforehand takes the server for its authorization server", async () => {
      // Why a fetch as above belongs under an SDK that is given an OAuth provider: the user would
      // see a page that isn't there, and the user's refresh token would go to the server.
      const user = { access_token: "the-users", refresh_token: "the-users-too", token_type: "Bearer" };
      for (const [tokens, more] of [[undefined, []], [user, ["POST /token"]]]) {
        sent = [];
        const authProvider = oauthProvider({ registered: true, tokens });
        await assert.rejects(start({ authProvider }));
        assert.deepEqual(toServer().map(({ request }) => request), ["POST /mcp", ...DISCOVERY, ...more]);
        assert.deepEqual(authProvider.asked, [`open ${new URL(server.endpoint).origin}/authorize`]);
        assert.deepEqual(toOthers(), []);
      }
    });
  });
}

describe("rmcp, in connectctl", () => {
  const call = (...args) =>
    connectctl([`--authority=${authority.url}`, `--api-key=${key}`, "--json", "call", SERVER, ...args]);

  test("calls tools under the descriptor of its client", async () => {
    const sum = await call("add", '{"a":2,"b":40}');
    assert.equal(sum.code, 0, sum.stderr);
    assert.match(sum.stdout, /\\?"sum\\?":42/);
    const whoami = await call("whoami");
    assert.equal(whoami.code, 0, whoami.stderr);
    assert.match(whoami.stdout, /\\?"client_id\\?":\\?"desktop/);
    assert.match(whoami.stdout, /\\?"tenant_id\\?":\\?"acme/);
  });

  test("is told of a revocation, and back after the reinstatement", async () => {
    await authority.changeServer(SERVER, "revoke");
    const refused = await call("add", '{"a":2,"b":40}');
    assert.equal(refused.code, 1, refused.stdout);
    assert.match(refused.stderr, /server_revoked/);
    await authority.changeServer(SERVER, "reinstate");
    assert.equal((await call("echo", '{"text":"again"}')).code, 0);
  });
});

// What the authority withdraws ends at the servers: the reference server follows the Worker's feed, at
// the interval that verifiers have by default. No descriptor here expires before its test is over.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { decodeJwt, decodeProtectedHeader } from "jose";

import { eventually, generateKey, keySet, startAuthority } from "./support/authority.mjs";
import { connectctl, startReferenceServer } from "./support/programs.mjs";

const SERVER = "com.example/reference";
const OTHER = "com.example/other";
let authority, servers, bystander;

before(async () => {
  authority = await startAuthority({
    settings: { DESCRIPTOR_LIFETIME_SECONDS: "120", SIGNING_KEYS: keySet(generateKey(), generateKey("next")) },
  });
  servers = {};
  for (const name of [SERVER, OTHER]) {
    servers[name] = await startReferenceServer(authority.url, name);
    await authority.publish(name, { endpoint: servers[name].endpoint });
  }
  bystander = await join("bystander");
});
after(() => authority?.stop());
after(() => Promise.all(Object.values(servers ?? {}).map((server) => server.stop())));

const operate = async (...args) => {
  const run = await connectctl(["--authority", authority.url, "--operator-token", authority.operatorToken, ...args, "--reason", "a test"]);
  assert.equal(run.code, 0, run.stderr);
};

/// A client of its own tenant, in a session of the server, with a stream open.
async function join(client_id, server = SERVER) {
  const { endpoint } = servers[server];
  const { api_key } = await authority.createClient(client_id, { tenant_id: `${client_id}s` });
  const connect = async () => {
    const { status, text, body } = await authority.connect(server, api_key);
    assert.equal(status, 200, text);
    return body.descriptor;
  };
  const descriptor = await connect();

  const headers = { accept: "application/json, text/event-stream", "content-type": "application/json" };
  const send = async (descriptor, session, message) => {
    const response = await fetch(endpoint, {
      method: "POST",
      headers: { ...headers, "mcp-connect": descriptor, ...(session && { "mcp-session-id": session }) },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, ...message }),
    });
    const code = response.ok ? undefined : (await response.clone().json()).error.data.code;
    await response.text();
    return { status: response.status, code, session: response.headers.get("mcp-session-id") };
  };
  const begin = async (descriptor) => {
    const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "tests", version: "1" } };
    const { status, session } = await send(descriptor, undefined, { method: "initialize", params });
    assert.equal(status, 200);
    assert.ok(session);
    return session;
  };

  const session = await begin(descriptor);
  const stream = await fetch(endpoint, {
    headers: { accept: "text/event-stream", "mcp-connect": descriptor, "mcp-session-id": session },
  });
  assert.equal(stream.status, 200);
  let isOpen = true;
  stream.body
    .pipeTo(new WritableStream())
    .catch(() => {})
    .finally(() => (isOpen = false));

  return {
    descriptor,
    connect,
    begin,
    isOpen: () => isOpen,
    ask: async (fresh = descriptor) => {
      const { status, code } = await send(fresh, session, { method: "ping" });
      return code ? `${status} ${code}` : status;
    },
  };
}

async function isCutOff(member) {
  await eventually("the descriptor is refused", async () => (await member.ask()) === "403 descriptor_revoked");
  await eventually("the stream ends", () => !member.isOpen());
}

describe("withdrawn, within two polls of the feed", { concurrency: true }, () => {
  const withdrawn = (what, name, change, server) =>
    test(what, async () => {
      const member = await join(name, server);
      assert.equal(await member.ask(), 200);
      await change(member);
      await isCutOff(member);
    });

  withdrawn("a client", "client", () => operate("revoke", "client", "client", "--tenant", "clients"));
  withdrawn("a tenant", "tenant", () => operate("revoke", "tenant", "tenants"));
  withdrawn("a server", "guest", () => operate("servers", "revoke", OTHER), OTHER);

  test("a single descriptor: its session ends, and the client begins another one with a new descriptor", async () => {
    const member = await join("single");
    await operate("revoke", "jti", decodeJwt(member.descriptor).jti);
    await isCutOff(member);
    const fresh = await member.connect();
    assert.equal(await member.ask(fresh), "404 session_ended");
    await member.begin(fresh);
  });
});

test("nobody else notices", async () => {
  assert.equal(await bystander.ask(), 200);
  assert.ok(bystander.isOpen());
});

test("a version that is held ends what was granted for it, and nothing after its reinstatement", async () => {
  const member = await join("versioned");
  const { version } = decodeJwt(member.descriptor).mcp.server;
  await operate("servers", "quarantine", `${SERVER}@${version}`);
  await isCutOff(member);
  await operate("servers", "reinstate", `${SERVER}@${version}`);
  // The feed refuses what was issued in the second of the hold, too.
  const fresh = await eventually("a descriptor of a later second", async () => {
    const fresh = await member.connect();
    return decodeJwt(fresh).iat > decodeJwt(member.descriptor).iat + 1 && fresh;
  });
  await member.begin(fresh);
  assert.equal(await member.ask(fresh), "404 session_ended", "what has ended does not come back");
});

test("a signing key: everything that it signed, at once; the next one is good", async () => {
  const member = await join("last");
  const { kid } = decodeProtectedHeader(member.descriptor);
  await operate("keys", "revoke", kid);
  await isCutOff(member);
  const fresh = await member.connect();
  assert.notEqual(decodeProtectedHeader(fresh).kid, kid);
  await member.begin(fresh);
});

// `make demo`: the whole story in real time, with nothing mocked: the authority in workerd, the
// reference server, connectctl as operator and as client, and a live session of the official
// TypeScript SDK, which is cut off by a revocation. Fails at the first step that goes otherwise.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { styleText } from "node:util";

import { entry, eventually, startAuthority } from "../tests/support/authority.mjs";
import { connectctl, startReferenceServer } from "../tests/support/programs.mjs";

const LIFETIME = 30;
const LEEWAY = 5;
const GRACE = 5;
/** Two polls of the feed, in seconds. */
const FEED = 10;
/** Seconds that no stream outlives on one descriptor. */
const BOUND = LIFETIME + LEEWAY + GRACE;

const REFERENCE = "dev.localhost/reference";
const OTHER = "dev.localhost/other";
const PUBLISHED = "io.modelcontextprotocol.anonymous/demo";
const TENANT = "demo-tenant";

const cleanups = [];
let steps = 0;
let current;

async function play() {
  const started = performance.now();
  const { authority, server } = await step("Start the authority and the reference server", start);
  const apiKey = await step("The operator admits two servers, a tenant and its client", () => admit(authority, server));
  await step("A publisher logs in and publishes a server, which every registry client finds", () => publish(authority));
  await step("Discover: search for the server", () => search(authority));
  const grant = await step("Connect: ask the authority, check its answer as a server would", () =>
    connect(authority, apiKey, server),
  );
  await step("Call a tool: straight to the server, the authority sees none of it", () => call(authority, apiKey));
  await step("Without a descriptor: 401, and where to get one", () => withoutDescriptor(server, authority));
  await step("With a descriptor that somebody changed: 403", () => withChangedDescriptor(server, grant));
  await step("With another server's descriptor: 403", () => withAnothersDescriptor(authority, apiKey, server));
  await step("A policy of the tenant denies the server: refused, and the reason is told", () => deny(authority, apiKey));
  const session = await step(`A live session outlives its descriptors (${LIFETIME} s each)`, () =>
    liveSession(authority, apiKey, server),
  );
  await step("With the first descriptor again, now stale: 401", () => withStaleDescriptor(server, grant));
  const revoked = await step("Revoke the server: nobody gets in any more", () => revoke(authority, apiKey, session));
  await step("The live session dies within seconds", () => sessionEnds(server, session, revoked));
  await step("Reinstate: connecting works again", () => reinstate(authority, apiKey, server, session));
  await step("Everything that was changed stands in the audit trail", () => audit(authority));
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`\n${styleText("green", "✓ all as it should be")}, in ${seconds} s`);
  return 0;
}

// ── The steps ────────────────────────────────────────────────────────────────────────────────────

async function start() {
  const authority = await started(startAuthority({ settings: { DESCRIPTOR_LIFETIME_SECONDS: `${LIFETIME}`, PUBLISH_ANONYMOUS: "true" } }));
  got(`authority at ${authority.url}: Worker in workerd, empty D1 and KV, fresh keys, descriptors of ${LIFETIME} s`);
  const server = await started(startReferenceServer(authority.url, REFERENCE, ["--grace-seconds", `${GRACE}`]));
  got(`${REFERENCE} at ${server.endpoint}: leeway ${LEEWAY} s, grace ${GRACE} s`);
  return { authority, server };
}

async function admit(authority, { endpoint }) {
  const servers = [
    entry(REFERENCE, { endpoint, description: "The reference server of this demo" }),
    entry(OTHER, { endpoint: "http://127.0.0.1:9/mcp", description: "Another server, which nobody calls" }),
  ];
  await operate(authority, ["import", "-"], { servers });
  for (const name of [REFERENCE, OTHER]) {
    await operate(authority, ["servers", "verify", name, "--reason", "the demo's own"]);
  }
  await operate(authority, ["tenants", "create", TENANT, "--name", "The demo's own"]);
  const client = await operate(authority, ["clients", "create", "demo-client", "--tenant", TENANT]);
  return client.api_key;
}

async function publish(authority) {
  const server = {
    $schema: "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
    name: PUBLISHED,
    version: "1.0.0",
    description: "A server that somebody published in the demo",
    remotes: [{ type: "streamable-http", url: "https://mcp.example.com/demo" }],
  };
  await run(authority, ["login", "none"]);
  await run(authority, ["validate", "-"], JSON.stringify(server));
  await run(authority, ["publish", "-"], JSON.stringify(server));
  const path = `/v0.1/servers?search=${encodeURIComponent(PUBLISHED)}&version=latest`;
  sent(`GET ${authority.url}${path}, as VS Code does`);
  const { body } = await authority.request(path);
  got(printable(body));
  expect(body.servers.length === 1 && body.servers[0].server.name === PUBLISHED, "the registry lists it");
}

async function search(authority) {
  const { servers } = await run(authority, ["servers", "search", "reference"]);
  expect(servers.length === 1 && servers[0].id === REFERENCE, "the search finds the reference server alone");
  expect(servers[0].verified, "it is verified");
}

async function connect(authority, apiKey, { endpoint }) {
  const { body, status } = await askToConnect(authority, REFERENCE, apiKey);
  expect(status === 200, "the authority answers 200");
  const [header, claims] = body.descriptor.split(".", 2).map((part) => JSON.parse(Buffer.from(part, "base64url")));
  got(`header ${JSON.stringify(header)}`);
  for (const line of JSON.stringify(claims, null, 2).split("\n")) got(line);
  expect(claims.exp - claims.iat === LIFETIME, `it lives ${LIFETIME} s`);
  expect(claims.aud === endpoint && body.endpoint === endpoint, "it is for the server's endpoint");
  const inspected = await run(authority, ["inspect", "--audience", endpoint], body.descriptor);
  expect(inspected.good, "its signature and claims are good");
  return { descriptor: body.descriptor, expiresAt: claims.exp };
}

async function call(authority, apiKey) {
  const result = await run(authority, [`--api-key=${apiKey}`, "call", REFERENCE, "add", '{"a": 20, "b": 22}']);
  expect(result.structuredContent?.sum === 42, "20 + 22 is 42");
}

async function withoutDescriptor({ endpoint }, { url }) {
  const { headers } = await expectRefusal(endpoint, {}, 401, "descriptor_missing");
  const challenge = `MCP-Connect error="descriptor_missing", authority="${url}", server_ref="${REFERENCE}"`;
  expect(headers.get("www-authenticate") === challenge, `WWW-Authenticate is ${challenge}`);
  got(`WWW-Authenticate: ${challenge}`);
}

async function withChangedDescriptor({ endpoint }, { descriptor }) {
  const [header, payload, signature] = descriptor.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url"));
  const changed = Buffer.from(JSON.stringify({ ...claims, client_id: "somebody-else" })).toString("base64url");
  await expectRefusal(endpoint, { descriptor: `${header}.${changed}.${signature}` }, 403, "descriptor_invalid");
}

async function withAnothersDescriptor(authority, apiKey, { endpoint }) {
  const { body } = await askToConnect(authority, OTHER, apiKey);
  await expectRefusal(endpoint, { descriptor: body.descriptor }, 403, "descriptor_wrong_audience");
}

async function liveSession(authority, apiKey, { endpoint }) {
  const governed = await GovernedFetch.open(authority, REFERENCE, apiKey);
  const client = new Client({ name: "demo", version: "1.0.0" });
  const transport = new StreamableHTTPClientTransport(new URL(endpoint), { fetch: governed.fetch });
  cleanups.push(async () => {
    governed.stop("the demo is over");
    await client.close();
  });
  await client.connect(transport);
  await eventually("the session's standing stream is open", () => governed.streams.some(({ method }) => method === "GET"));
  got(`session ${shorten(transport.sessionId)} of ${transport.protocolVersion}, with a standing stream`);

  const seconds = BOUND + 5;
  sent(`tools/call tick ${JSON.stringify({ seconds })}: one answer, streamed all the while`);
  let ticks = 0;
  let finished = false;
  const long = client
    .callTool({ name: "tick", arguments: { seconds } }, { onprogress: () => (ticks += 1), timeout: 2 * seconds * 1000 })
    .finally(() => (finished = true));
  // Also when something else has failed before.
  long.catch(() => {});
  const jtis = new Set();
  while (!finished) {
    const { structuredContent: who } = await client.callTool({ name: "whoami", arguments: {} });
    jtis.add(who.descriptor.jti);
    got(`whoami: jti ${shorten(who.descriptor.jti)}, ${who.descriptor.seconds_left} s left; ${ticks} ticks so far`);
    await Promise.race([long, sleep(8_000)]);
  }
  const { structuredContent } = await long;
  got(`tick: ${JSON.stringify(structuredContent)}, with ${ticks} reports of progress`);
  expect(structuredContent.ticks === seconds, `the stream lived ${seconds} s, longer than the ${BOUND} s of one descriptor`);
  expect(jtis.size >= 3, "the session went on with several descriptors");
  expect(governed.standingStream.endedAt === undefined, "the standing stream is still open");
  return { client, transport, governed };
}

async function deny(authority, apiKey) {
  const policy = (deny) => ({ allow: ["*"], deny });
  const set = (deny, reason) => operate(authority, ["policy", "set", "-", "--tenant", TENANT, "--reason", reason], policy(deny));
  await set([REFERENCE], "the demo denies it");
  const { status, body } = await askToConnect(authority, REFERENCE, apiKey);
  expect(status === 403 && body.code === "policy_blocked", "the next connect is refused with policy_blocked");
  await operate(authority, ["policy", "explain", REFERENCE, "--client", "demo-client"]);
  await set([], "the demo allows it again");
  expect((await askToConnect(authority, REFERENCE, apiKey)).status === 200, "the next connect is granted");
}

async function audit(authority) {
  const { entries } = await operate(authority, ["audit", "list"]);
  expect(entries?.length > 0, "there are entries");
  await operate(authority, ["audit", "verify"]);
}

async function withStaleDescriptor({ endpoint }, { descriptor, expiresAt }) {
  await sleep(Math.max(0, (expiresAt + LEEWAY) * 1000 - Date.now()));
  got(`it expired ${Math.floor(Date.now() / 1000) - expiresAt} s ago, the leeway is ${LEEWAY} s`);
  const { headers } = await expectRefusal(endpoint, { descriptor }, 401, "descriptor_expired");
  expect(headers.get("www-authenticate")?.includes('error="descriptor_expired"'), "WWW-Authenticate says why");
}

async function revoke(authority, apiKey, { client, governed }) {
  sent(`tools/call tick ${JSON.stringify({ seconds: 300 })} in the live session: a second open stream`);
  // What becomes of it is seen on the wire.
  client.callTool({ name: "tick", arguments: { seconds: 300 } }, { onprogress() {}, timeout: 300_000 }).catch(() => {});
  await eventually("the call's stream is open", () => governed.openStreams.length === 2);

  await operate(authority, ["servers", "revoke", REFERENCE, "--reason", "the demo cuts it off"]);
  const acknowledged = Date.now();
  const { status, body } = await askToConnect(authority, REFERENCE, apiKey);
  expect(status === 403 && body.code === "server_revoked", "the next connect is refused with server_revoked");
  got(`refused ${Date.now() - acknowledged} ms after the revocation was acknowledged`);
  return acknowledged;
}

async function sessionEnds({ endpoint }, { transport, governed }, revokedAt) {
  got(`the server follows the authority's signed feed of revocations: it knows within ${FEED} s`);
  sent("whoami in that session with its last descriptor, as a client that does not obey");
  const session = { descriptor: governed.descriptor, session: transport.sessionId, version: transport.protocolVersion };
  let answer;
  await eventually(
    "a request with the last descriptor is refused",
    async () => {
      answer = await post(endpoint, session);
      await sleep(200);
      return answer.status !== 200;
    },
    FEED,
  );
  expect(answer.status === 403 && answer.code === "descriptor_revoked", "it is refused as descriptor_revoked");
  got(`${answer.status} ${answer.code}, ${since(revokedAt)} after the revocation; it would have been good for ${(governed.expiresAt - Date.now() / 1000).toFixed(0)} s more`);

  await eventually("the server ends both streams", () => governed.openStreams.length === 0, FEED);
  const took = (Math.max(...governed.streams.map(({ endedAt }) => endedAt)) - revokedAt) / 1000;
  got(`the server ended both streams ${took.toFixed(1)} s after the revocation`);
  expect(took <= FEED + 1, "that is within the bound, give or take a second");
  got(`without the feed it would have been at most ${BOUND} s: descriptor, leeway and grace`);

  await eventually("the client learns of it when it refreshes", () => governed.stopped, LIFETIME);
  got(`the client asked for its next descriptor, was told ${governed.stopped}, and stopped, ${since(revokedAt)} after the revocation`);
  const sentByClient = governed.sent;
  await sleep(4_000); // longer than the SDK waits before it opens a stream again
  expect(governed.sent === sentByClient, "the client that obeys does not come back");
  got("the client that obeys has not come back");
}

async function reinstate(authority, apiKey, { endpoint }, { transport }) {
  await operate(authority, ["servers", "reinstate", REFERENCE, "--reason", "the demo lets it in again"]);
  const reinstated = performance.now();
  const { status, body } = await askToConnect(authority, REFERENCE, apiKey);
  expect(status === 200, "the next connect is granted");
  got(`granted ${milliseconds(reinstated)} after the reinstatement was acknowledged`);
  const result = await run(authority, [`--api-key=${apiKey}`, "call", REFERENCE, "echo", '{"text": "here again"}']);
  expect(result.content?.[0]?.text === "here again", "the server answers");
  const session = { descriptor: body.descriptor, session: transport.sessionId, version: transport.protocolVersion };
  await expectRefusal(endpoint, session, 404, "session_ended");
}

// ── A client that keeps the rules ────────────────────────────────────────────────────────────────

/** The `fetch` of an MCP client: brings a fresh descriptor with each request, and stops when told. */
class GovernedFetch {
  /** Why no request is made any more. */
  stopped;
  sent = 0;
  streams = [];
  #askAgain;

  static async open(...access) {
    const governed = new GovernedFetch();
    await governed.#refresh(...access);
    if (governed.stopped) throw new Error(`no session: ${governed.stopped}`);
    return governed;
  }

  async #refresh(authority, serverRef, apiKey) {
    const { status, body } = await authority.connect(serverRef, apiKey);
    if (status !== 200) return this.stop(body.code);
    this.descriptor = body.descriptor;
    this.expiresAt = JSON.parse(Buffer.from(body.descriptor.split(".")[1], "base64url")).exp;
    this.#askAgain = setTimeout(() => {
      this.#refresh(authority, serverRef, apiKey).catch((error) => this.stop(error.message));
    }, body.refresh_after * 1000);
  }

  stop(reason) {
    this.stopped ??= reason;
    clearTimeout(this.#askAgain);
  }

  get openStreams() {
    return this.streams.filter(({ endedAt }) => endedAt === undefined);
  }

  get standingStream() {
    return this.streams.find(({ method }) => method === "GET");
  }

  fetch = async (url, init = {}) => {
    if (this.stopped) throw new Error(`this client has stopped: ${this.stopped}`);
    this.sent += 1;
    const headers = new Headers(init.headers);
    headers.set("MCP-Connect", this.descriptor);
    const response = await fetch(url, { ...init, headers, redirect: "error" });
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) return response;
    const [forClient, forUs] = response.body.tee();
    const stream = { method: init.method ?? "GET", endedAt: undefined };
    this.streams.push(stream);
    forUs.pipeTo(new WritableStream()).catch(() => {}).finally(() => (stream.endedAt = Date.now()));
    return new Response(forClient, response);
  };
}

// ── What is sent, and what comes back ────────────────────────────────────────────────────────────

async function step(name, action) {
  steps += 1;
  current = `step ${steps}, ${name}`;
  const start = performance.now();
  console.log(`\n${styleText(["bold", "cyan"], `${steps}. ${name}`)}`);
  const result = await action();
  console.log(`  ${styleText("green", "✓")} ${styleText("dim", milliseconds(start))}`);
  return result;
}

const sent = (text) => console.log(`  ${styleText("yellow", "→")} ${text}`);
const got = (text) => console.log(`  ${styleText("blue", "←")} ${text}`);
const milliseconds = (start) => `${(performance.now() - start).toFixed(0)} ms`;
const since = (date) => `${((Date.now() - date) / 1000).toFixed(1)} s`;

function expect(condition, expectation) {
  if (!condition) throw new Error(`this does not hold: ${expectation}`);
}

function shorten(secret) {
  return `${secret.slice(0, 12)}… (${secret.length} characters)`;
}

/** JSON with its secrets shortened. */
function printable(value) {
  return JSON.stringify(value, (name, member) => (["api_key", "descriptor", "registry_token"].includes(name) && typeof member === "string" ? shorten(member) : member));
}

function operate(authority, args, input) {
  return run(authority, [`--operator-token=${authority.operatorToken}`, ...args], input && JSON.stringify(input));
}

/** Runs connectctl; the JSON that it prints. */
async function run({ url, operatorToken }, args, input) {
  const shown = args.map((arg) => arg.replace(/(?<=^--(?:operator-token|api-key)=).*/, shorten));
  sent(`connectctl ${shown.join(" ")}`);
  const start = performance.now();
  const { code, stdout, stderr } = await connectctl(["--authority", url, "--json", ...args], input, {
    XDG_CONFIG_HOME: folder,
  });
  expect(code === 0, `connectctl succeeds: exit code ${code}, ${stderr.trim().replaceAll(operatorToken, "…")}`);
  const output = JSON.parse(stdout);
  got(`${printable(output)} ${styleText("dim", milliseconds(start))}`);
  return output;
}

async function askToConnect(authority, serverRef, apiKey) {
  sent(`POST ${authority.url}/v1/connect ${JSON.stringify({ server_ref: serverRef })} with the key ${shorten(apiKey)}`);
  const start = performance.now();
  const answer = await authority.connect(serverRef, apiKey);
  got(`${answer.status} ${printable(answer.body)} ${styleText("dim", milliseconds(start))}`);
  return answer;
}

/** One request to the MCP server by hand. */
async function post(endpoint, { descriptor, session, version }) {
  const headers = {
    accept: "application/json, text/event-stream",
    "content-type": "application/json",
    ...(descriptor && { "mcp-connect": descriptor }),
    ...(session && { "mcp-session-id": session, "mcp-protocol-version": version }),
  };
  const whoami = { jsonrpc: "2.0", id: "by hand", method: "tools/call", params: { name: "whoami", arguments: {} } };
  const response = await fetch(endpoint, { method: "POST", headers, body: JSON.stringify(whoami) });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  const code = isJson ? JSON.parse(text).error?.data?.code : undefined;
  return { status: response.status, headers: response.headers, text, code };
}

async function expectRefusal(endpoint, request, status, code) {
  sent(`POST ${endpoint} ${request.descriptor ? `MCP-Connect: ${shorten(request.descriptor)}` : "without MCP-Connect"}${request.session ? ` Mcp-Session-Id: ${shorten(request.session)}` : ""}`);
  const start = performance.now();
  const answer = await post(endpoint, request);
  got(`${answer.status} ${answer.text} ${styleText("dim", milliseconds(start))}`);
  expect(answer.status === status && answer.code === code, `the server answers ${status} ${code}`);
  return answer;
}

/** To be stopped at the end, even when that comes while it still starts. */
function started(program) {
  cleanups.push(async () => (await program).stop());
  return program;
}

/** In the reverse order of what was started. */
async function cleanUp() {
  for (const stop of cleanups.reverse()) {
    await stop().catch((error) => console.error(`while cleaning up: ${error.message}`));
  }
}

// All temporary state is within one folder, whoever makes it and however this ends.
const folder = mkdtempSync(join(tmpdir(), "connect-demo-"));
process.env.TMPDIR = folder;
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

const interrupted = new Promise((resolve) => {
  process.on("SIGINT", () => resolve(130));
  process.on("SIGTERM", () => resolve(143));
});
// wrangler's own handlers would end this process before everything is stopped.
process.on("newListener", (event, listener) => {
  if (["SIGINT", "SIGTERM"].includes(event)) queueMicrotask(() => process.off(event, listener));
});

const outcome = await Promise.race([play().catch((error) => error), interrupted]);
if (outcome instanceof Error) {
  console.error(`\n${styleText("red", "✗")} ${styleText("bold", current)}: ${outcome.message}`);
}
await cleanUp();
process.exit(outcome instanceof Error ? 1 : outcome);

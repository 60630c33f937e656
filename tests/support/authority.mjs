// One connect authority of its own for a test file: the built Worker in workerd, at a real port of
// this machine, with fresh keys, an empty migrated D1 and an empty KV.
//
// It runs in wrangler's createTestHarness, which gives all that is needed: our own wrangler.toml,
// a listening URL, overridden secrets, handles of D1 and KV, and the Worker's log.
import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { assertDescribed } from "./description.mjs";

// Loopback only: no usage statistics, no look-up of where this machine is.
process.env.WRANGLER_SEND_METRICS = "false";
process.env.CLOUDFLARE_CF_FETCH_ENABLED = "false";
const { createTestHarness } = await import("wrangler");

export const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));

// The harness sends what the Worker asks of the network through this process's fetch, which follows
// redirects and fails where there is no answer. Of what platform.worker.mjs marks, both are taken back.
const platformFetch = globalThis.fetch;
globalThis.fetch = async (input, init) => {
  // The harness has a Headers class of its own.
  if (!init?.headers?.has?.("x-test-host")) return platformFetch(input, init);
  const { method, headers, body, signal } = init;
  const request = { method, headers: [...headers], body, signal, redirect: "manual", ...(body && { duplex: "half" }) };
  return platformFetch(input, request).catch(
    () => new Response(null, { status: 502, headers: { "x-test-no-answer": "true" } }),
  );
};

const SECRETS = ["OPERATOR_TOKEN", "SIGNING_KEYS"];

/// A private JWK of the authority, for EdDSA or ES256.
export function generateKey(status = "active", alg = "EdDSA") {
  const pair = alg === "ES256" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("ed25519");
  const { kty, crv, x, y, d } = pair.privateKey.export({ format: "jwk" });
  const kid = createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");
  return { kty, crv, x, y, d, kid, status };
}

export function keySet(...keys) {
  return JSON.stringify({ keys });
}

/// An entry of a registry as it is imported. `endpoint: null` leaves out the remote.
export function entry(name, { version = "1.0.0", endpoint = "https://mcp.example.com/mcp", status, publishedAt, ...members } = {}) {
  const official = { status, publishedAt };
  return {
    server: {
      name,
      version,
      description: "A server of the tests",
      ...(endpoint && { remotes: [{ type: "streamable-http", url: endpoint }] }),
      ...members,
    },
    _meta: { "io.modelcontextprotocol.registry/official": official },
  };
}

/// More than any test asks for.
const NO_LIMITS = { CLIENT: 1_000_000, TENANT: 1_000_000, ADDRESS: 1_000_000, READER: 1_000_000 };

/// Starts an authority of its own. `settings` are vars and secrets by name; `undefined` takes one away. `limits` are how
/// many requests each binding of NO_LIMITS has in 10 s; `undefined` takes away the binding. The rest is told to
/// platform.worker.mjs, which says what each does; any of it may be combined: `meterD1`, `faults` (set by
/// `authority.break`), `certificates`, `hosts`.
export async function startAuthority(options = {}) {
  const { settings = {}, limits = {}, meterD1 = false, faults = false, certificates = false, hosts, ...unknown } = options;
  for (const name of Object.keys(unknown)) throw new Error(`startAuthority knows no option ${name}`);
  for (const name of Object.keys(limits)) if (!(name in NO_LIMITS)) throw new Error(`there is no rate limit ${name}`);
  // Only these files, so that a developer's .dev.vars doesn't reach the tests.
  const root = mkdtempSync(join(tmpdir(), "connect-authority-"));
  symlinkSync(join(REPOSITORY, "schema"), join(root, "schema"));
  writeFileSync(join(root, "wrangler.toml"), configuration({ ...NO_LIMITS, ...limits }));
  cpSync(join(REPOSITORY, "build"), join(root, "build"), { recursive: true });
  symlinkSync(join(REPOSITORY, "dist"), join(root, "dist"));
  renameSync(join(root, "build/index.js"), join(root, "build/authority.mjs"));
  for (const [file, name] of Object.entries(PLATFORM)) {
    cpSync(new URL(file, import.meta.url), join(root, "build", name));
  }

  const authority = new Authority(root, {
    ISSUER: "http://127.0.0.1:1",
    DEVELOPMENT: "true",
    PUBLISH_LOGINS: "dns http github github-oidc oidc",
    // Stand-ins for GitHub itself.
    ...(settings.GITHUB_API && { GITHUB_NAMESPACE: "io.github" }),
    ...(settings.GITHUB_ACTIONS_ISSUER && { GITHUB_ACTIONS_NAMESPACE: "io.github" }),
    OPERATOR_TOKEN: randomBytes(32).toString("base64url"),
    SIGNING_KEYS: keySet(generateKey()),
    TEST_PLATFORM: JSON.stringify({ meterD1, faults, certificates, hosts }),
    ...settings,
  });
  try {
    await authority.start(settings.ISSUER);
  } catch (error) {
    await authority.stop();
    throw error;
  }
  return authority;
}

/// What stands before the Worker, and under which name.
const PLATFORM = {
  "platform.worker.mjs": "index.js",
  "platform-limits.mjs": "platform-limits.mjs",
  "wasm-memory.worker.mjs": "wasm-memory.worker.mjs",
};

/// Our wrangler.toml, with other rate limits, and with the modules of PLATFORM.
function configuration(limits) {
  const toml = readFileSync(join(REPOSITORY, "wrangler.toml"), "utf8").replace(
    "rules = [",
    'rules = [{ type = "ESModule", globs = ["**/*.mjs"] }, ',
  );
  return toml.replace(/\[\[ratelimits\]\]\nname = "(\w+)_LIMIT"\n(.*\n)simple = .*\n/g, (_, name, namespace) =>
    limits[name] === undefined
      ? ""
      : `[[ratelimits]]\nname = "${name}_LIMIT"\n${namespace}simple = { limit = ${limits[name]}, period = 10 }\n`,
  );
}

class Authority {
  #root;
  #harness;
  #worker;
  #first;
  /// What the Worker runs with.
  settings;
  /// The origin at which the Worker listens.
  url;

  constructor(root, settings) {
    this.#root = root;
    this.#first = settings;
    this.settings = settings;
    this.#harness = createTestHarness(this.#options());
  }

  async start(issuer) {
    const { url } = await this.#harness.listen();
    this.url = url.origin;
    // Which port it is, and so the issuer, is known only now.
    if (issuer === undefined) {
      this.#first.ISSUER = this.url;
      await this.configure({});
    }
    this.#worker = this.#harness.getWorker();
    await this.#worker.applyD1Migrations("DB");
  }

  /// Starts the Worker anew, with these changes to what it first ran with; D1 and KV stay.
  async configure(changes) {
    this.settings = { ...this.#first, ...changes };
    await this.#harness.update(this.#options());
  }

  /// Starts another isolate in the place of the one that is there, as the platform may at any time: what it had in
  /// memory is gone. `fault` lets calls fail from its start, as `break` does.
  async restart(fault) {
    await this.configure({ TEST_PLATFORM: JSON.stringify({ ...JSON.parse(this.#first.TEST_PLATFORM), fault }) });
  }

  async stop() {
    await this.#harness.close();
    rmSync(this.#root, { recursive: true, force: true });
  }

  #options() {
    const given = Object.entries(this.settings).filter(([, value]) => value !== undefined);
    const [secrets, vars] = [true, false].map((secret) =>
      Object.fromEntries(given.filter(([name]) => SECRETS.includes(name) === secret)),
    );
    // Prebuilt, since wrangler would put the modules together first, which takes longer.
    const prebuiltWorkerDir = join(this.#root, "build");
    return { workers: [{ configPath: join(this.#root, "wrangler.toml"), prebuiltWorkerDir, vars, secrets }] };
  }

  /// One HTTP request. A body that is no string is sent as JSON; a JSON answer is read, and held against
  /// the API's description.
  async request(path, { method, headers = {}, body, bearer } = {}) {
    method ??= body === undefined ? "GET" : "POST";
    const request = {
      method,
      headers: { ...(bearer && { authorization: `Bearer ${bearer}` }), ...headers },
      body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
      redirect: "manual",
    };
    let response = await fetch(`${this.url}${path}`, request);
    let text = await response.text();
    // The harness's own answer, not the Worker's: `configure` starts that anew.
    while (response.status === 503 && text.startsWith("Your worker restarted mid-request")) {
      response = await fetch(`${this.url}${path}`, request);
      text = await response.text();
    }
    const isJson = /\bjson\b/.test(response.headers.get("content-type"));
    const answer = { status: response.status, headers: response.headers, text, body: isJson && text ? JSON.parse(text) : undefined };
    assertDescribed(method, path, answer);
    return answer;
  }

  get operatorToken() {
    return this.settings.OPERATOR_TOKEN;
  }

  /// A request of the operator, below /v1/admin.
  admin(path, body) {
    return this.request(`/v1/admin${path}`, { body, bearer: this.operatorToken });
  }

  /// A tenant, new or there already.
  async createTenant(tenant_id) {
    const answer = await this.admin("/tenants", { tenant_id });
    if (answer.status !== 409) succeeded(answer);
  }

  /// The policy of a tenant, or of all, from now on.
  async setPolicy(policy, { tenant, ...members } = {}) {
    const path = tenant === undefined ? "/policy" : `/tenants/${tenant}/policy`;
    return succeeded(await this.admin(path, { policy, reason: "a test wants it", ...members }));
  }

  /// A new client, with its key in `api_key`; and its tenant, if that is new.
  async createClient(client_id, members = {}) {
    if (members.tenant_id) await this.createTenant(members.tenant_id);
    return succeeded(await this.admin("/clients", { client_id, ...members }));
  }

  /// Imports entries; the outcome of each.
  async importServers(...servers) {
    return succeeded(await this.admin("/import", { servers })).results;
  }

  async changeServer(name, change, reason = "a test wants it") {
    return succeeded(await this.admin(`/servers/${name}/${change}`, { reason }));
  }

  /// A verified server.
  async publish(name, members) {
    await this.importServers(entry(name, members));
    await this.changeServer(name, "verify");
  }

  /// `request` is a server_ref or a whole body.
  connect(request, bearer) {
    const body = typeof request === "string" && !request.startsWith("{") ? { server_ref: request } : request;
    return this.request("/v1/connect", { body, bearer });
  }

  /// Lets calls of D1 or KV fail from now on, until `mend`; see platform.worker.mjs. Only with the option `faults`.
  async break(fault) {
    const { status } = await fetch(`${this.url}/test/faults`, { method: "POST", body: JSON.stringify(fault) });
    if (status !== 200) throw new Error("startAuthority was not told that there would be faults");
  }

  async mend() {
    await this.break({});
  }

  /// Runs the jobs of a cron of wrangler.toml, to their end.
  async scheduled(cron) {
    const { outcome } = await this.#worker.scheduled({ cron });
    if (outcome !== "ok") throw new Error(`the cron ${cron} ended as ${outcome}`);
  }

  async database() {
    return (await this.#worker.getEnv()).DB;
  }

  async kv() {
    return (await this.#worker.getEnv()).KV;
  }

  /// The most bytes of WebAssembly memory that the isolate had at once, since it was started.
  async memory() {
    return (await fetch(`${this.url}/test/memory`)).json();
  }

  /// What the Worker wrote to its log: the text of each line.
  log() {
    return this.#harness.getLogs().map(({ message }) => message);
  }

  /// The log's lines of one event, read.
  logged(event) {
    return this.log()
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line))
      .filter((line) => line.event === event);
  }

  clearLog() {
    this.#harness.clearLogs();
  }

  /// What `ask` found, with its round trips to D1. What a change left to do may ask D1 at the same moment, so this
  /// is the one of three that took the fewest.
  async metered(ask) {
    const asked = [];
    for (let n = 0; n < 3; n++) {
      this.clearLog();
      const found = await ask();
      asked.push({ found, trips: this.logged("d1") });
    }
    return asked.reduce((least, other) => (other.trips.length < least.trips.length ? other : least));
  }
}

function succeeded(answer) {
  if (answer.status >= 300) throw new Error(`the authority says ${answer.status}: ${answer.text}`);
  return answer.body;
}

/// Asks until `probe` gives something, for at most `seconds`.
export async function eventually(what, probe, seconds = 10) {
  const deadline = Date.now() + seconds * 1000;
  while (Date.now() < deadline) {
    const found = await probe();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`not within ${seconds} s: ${what}`);
}

// One workerd with Workers to measure, what is in their D1, and requests to them.
import { createHash, randomBytes } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { createRequire } from "node:module";
import { createLocalJWKSet, jwtVerify } from "jose";
import { unstable_readConfig, unstable_splitSqlQuery } from "wrangler";

import { entry, generateKey, keySet } from "../tests/support/authority.mjs";

const require = createRequire(import.meta.resolve("wrangler"));
// wrangler's own; not its test harness, whose proxy before the Worker would be measured, too.
const { Miniflare, NoOpLog, convertV4MiniflareOptions } = require("miniflare");

export const WORKERD = require("workerd/package.json").version;

const ISSUER = "http://127.0.0.1:1";
const TENANT = "bench-tenant";
const authorityKey = generateKey();

/** More than any benchmark asks for. */
export const NO_LIMITS = { CLIENT: Infinity, TENANT: Infinity, ADDRESS: Infinity, READER: Infinity };

/** One workerd for all; each Worker listens at a port of its own, with nothing before it. */
export async function startWorkerd(workers) {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({ log: new NoOpLog(), handleStructuredLogs: () => {}, cf: false, workers }),
  );
  await miniflare.ready;
  return miniflare;
}

const config = unstable_readConfig({ config: "wrangler.toml" }, { hideWarnings: true });
const common = {
  compatibilityDate: config.compatibility_date,
  compatibilityFlags: config.compatibility_flags,
  unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
};

export function authorityWorker(name, limits = NO_LIMITS) {
  // JSON has no infinity.
  const most = Object.fromEntries(Object.entries(limits).map(([scope, limit]) => [scope, Math.min(limit, 2 ** 53)]));
  return {
    ...common,
    name,
    modulesRoot: ".",
    modules: [
      { type: "ESModule", path: "bench/limits.worker.js" },
      { type: "ESModule", path: "build/index.js" },
      { type: "CompiledWasm", path: "build/index_bg.wasm" },
    ],
    bindings: {
      ...config.vars,
      ISSUER,
      DEVELOPMENT: "true",
      SIGNING_KEYS: keySet(authorityKey),
      OPERATOR_TOKEN: randomBytes(32).toString("base64url"),
      LIMITS: most,
    },
    kvNamespaces: { KV: `${name}-kv` },
    d1Databases: { DB: name },
  };
}

/** The floor, which reads the database of another Worker. */
export function floorWorker(name, database) {
  return {
    ...common,
    name,
    modules: [{ type: "ESModule", path: "bench/floor-worker.js" }],
    bindings: { ISSUER, SIGNING_KEY: JSON.stringify(authorityKey) },
    d1Databases: { DB: database },
  };
}

export async function originOf(miniflare, worker) {
  return (await miniflare.unsafeGetDirectURL(worker)).origin;
}

/**
 * Fills a Worker's D1 with so many servers, clients of one tenant, and rules of its policy and of the
 * authority's. Says how to connect there: each request for another server and client.
 */
export async function prepare(miniflare, worker, { servers, clients, rules = 0 }) {
  const database = await miniflare.getD1Database("DB", worker);
  const migrations = globSync("schema/migrations/*.sql").sort().map((file) => readFileSync(file, "utf8"));
  await database.batch(migrations.flatMap(unstable_splitSqlQuery).map((sql) => database.prepare(sql)));
  await seedServers(database, servers);
  const keys = await seedClients(database, clients);
  if (rules > 0) await seedPolicies(database, servers, rules);
  const requests = Array.from({ length: Math.max(servers, clients) }, (_, i) => ({
    authorization: `Bearer ${keys[i % clients]}`,
    body: JSON.stringify({ server_ref: serverName(1 + ((i * 7919) % servers)) }),
  }));
  return { url: `${await originOf(miniflare, worker)}/v1/connect`, requests, agent: keepAlive() };
}

export function keepAlive(maxSockets = 64) {
  return new Agent({ keepAlive: true, maxSockets });
}

const serverName = (number) => `com.example.bench/server-${number}`;

/** By SQL, since it is the cost of reading that is measured. */
async function seedServers(database, servers) {
  const { server } = entry(serverName(0));
  await database
    .prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
       INSERT INTO servers (name, title, description, namespace_proven, created_at)
       SELECT 'com.example.bench/server-' || i, 'Server ' || i, 'A server of the benchmark', 1, 0 FROM n`,
    )
    .bind(servers)
    .run();
  await database.batch([
    database
      .prepare(
        `INSERT INTO versions (server_id, version, sort_key, stable, status, description, endpoint, server_json, content_hash, created_at)
         SELECT id, ?1, ?1, 1, 'active', description, ?2, ?3, '', 0 FROM servers`,
      )
      .bind(server.version, server.remotes[0].url, JSON.stringify(server)),
    database.prepare("UPDATE servers SET default_version = (SELECT id FROM versions WHERE server_id = servers.id)"),
  ]);
}

/** Gives the clients' API keys. */
async function seedClients(database, clients) {
  const rows = Array.from({ length: clients }, (_, i) => ({
    client_id: `bench-client-${i + 1}`,
    key_id: randomBytes(12).toString("base64url"),
    secret: randomBytes(32).toString("base64url"),
  }));
  const json = JSON.stringify(
    rows.map(({ secret, ...row }) => ({ ...row, secret_hash: createHash("sha256").update(secret).digest("base64url") })),
  );
  await database.batch([
    database.prepare("INSERT INTO tenants (tenant_id, created_at) VALUES (?1, 0)").bind(TENANT),
    ...[
      `INSERT INTO clients (client_id, tenant_id, created_at)
       SELECT value ->> 'client_id', '${TENANT}', 0 FROM json_each(?1)`,
      `INSERT INTO api_keys (key_id, client_id, secret_hash, created_at)
       SELECT value ->> 'key_id', value ->> 'client_id', value ->> 'secret_hash', 0 FROM json_each(?1)`,
    ].map((sql) => database.prepare(sql).bind(json)),
  ]);
  return rows.map(({ key_id, secret }) => `mcpk_${key_id}_${secret}`);
}

/** A tenant's policy of so many rules of every kind, and one of ten for all. Both permit. */
async function seedPolicies(database, servers, rules) {
  const list = (count, rule) => Array.from({ length: count }, (_, i) => rule(i));
  const tenths = rules / 10;
  const ofTenant = {
    allow: ["com.example.bench/*", ...list(4 * tenths - 1, (i) => `com.example.allowed-${i}/*`)],
    deny: list(2 * tenths, (i) => `com.example.denied-${i}/server-${i}`),
    require_verification: "namespace",
    publishers: ["com.example", ...list(tenths - 1, (i) => `org.example.publisher-${i}`)],
    versions: [
      ...list(tenths, (i) => ({ servers: serverName(1 + ((i * 311) % servers)), pin: "1.0.0" })),
      ...list(tenths, (i) => ({ servers: `com.example.old-${i}/*`, minimum: "2.0.0" })),
    ],
    clients: { allow: ["*"], deny: list(tenths - 1, (i) => `denied-client-${i}`) },
  };
  const ofAuthority = { allow: ["*"], deny: list(9, (i) => `com.example.forbidden-${i}/*`) };
  const inForce = (policy) => {
    const document = JSON.stringify(policy);
    const pins = Object.fromEntries((policy.versions ?? []).filter(({ pin }) => pin).map(({ servers, pin }) => [servers, pin]));
    const digest = createHash("sha256").update(document).digest("base64url");
    return [digest, Object.keys(pins).length ? JSON.stringify(pins) : null, document];
  };
  await database.batch([
    database.prepare("UPDATE tenants SET policy_digest = ?, pins = ?, policy = ?").bind(...inForce(ofTenant)),
    database.prepare("UPDATE authority SET policy_digest = ?, pins = ?, policy = ?").bind(...inForce(ofAuthority)),
  ]);
}

/** That an answer is a descriptor, well signed. */
export async function verifyOneAnswer({ url, requests: [{ authorization, body }] }) {
  const response = await fetch(url, { method: "POST", headers: { authorization }, body });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${url} answers ${response.status}: ${text}`);
  const { d: _, status: __, ...jwk } = authorityKey;
  await jwtVerify(JSON.parse(text).descriptor, createLocalJWKSet({ keys: [jwk] }), {
    issuer: ISSUER,
    typ: "mcp-connect+jwt",
  });
}

/** Sends one request; gives the status. */
export function post(url, { authorization, body }, agent) {
  return new Promise((resolve, reject) => {
    const headers = { authorization, "content-type": "application/json", "content-length": body.length };
    const sent = request(url, { method: "POST", agent, headers }, (response) => {
      response.resume();
      response.once("error", reject);
      response.once("end", () => resolve(response.statusCode));
    });
    sent.once("error", reject);
    sent.end(body);
  });
}

/** Sends so many per second, whether those before were answered or not, for so long. */
export async function pace(forMs, perSecond, send) {
  const sent = [];
  const begun = performance.now();
  for (let elapsed = 0; perSecond > 0 && elapsed < forMs; elapsed = performance.now() - begun) {
    while (sent.length < (elapsed / 1000) * perSecond) sent.push(send());
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Promise.all(sent);
}

export function quantile(values, q) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(q * (sorted.length - 1))];
}

export function median(values) {
  return quantile(values, 0.5);
}

export function spread(values) {
  const [low, high] = [0.25, 0.75].map((q) => quantile(values, q).toFixed(2));
  return `${median(values).toFixed(2)} (half of the rounds within ${low} to ${high})`;
}

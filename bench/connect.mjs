// `make bench`: what a connect costs, against a floor that only reads one row and signs, and with a
// full registry against an almost empty one. It prints numbers; only a wrong answer makes it fail.
import { createHash, randomBytes } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { createRequire } from "node:module";
import { createLocalJWKSet, jwtVerify } from "jose";
import { unstable_readConfig, unstable_splitSqlQuery } from "wrangler";

import { entry, generateKey, keySet } from "../tests/support/authority.mjs";

// wrangler's own; not its test harness, whose proxy before the Worker would be measured, too.
const { Miniflare, NoOpLog, convertV4MiniflareOptions } = createRequire(import.meta.resolve("wrangler"))("miniflare");

const CONNECTIONS = 16;
const WARM_UP_MS = 3_000;
// Many short rounds: what else the machine does then disturbs neighbours alike.
const ROUNDS = 30;
const ROUND_MS = 700;
const SERVERS = 30_000;
const CLIENTS = 10_000;
const TARGET = 0.9;

const ISSUER = "http://127.0.0.1:1";
const OPERATOR_TOKEN = randomBytes(32).toString("base64url");

const authorityKey = generateKey();
const miniflare = startWorkerd();
try {
  await miniflare.ready;
  const small = await prepare("authority", 1, 1);
  const full = await prepare("authority-full", SERVERS, CLIENTS);
  const floor = { url: `${await originOf("floor")}/`, requests: small.requests, agent: keepAlive() };
  for (const target of [floor, small, full]) await verifyOneAnswer(target);
  await report({ floor, small, full });
  for (const { agent } of [floor, small, full]) agent.destroy();
} finally {
  await miniflare.dispose();
}

/** One workerd for all; each Worker listens at a port of its own, with nothing before it. */
function startWorkerd() {
  const config = unstable_readConfig({ config: "wrangler.toml" }, { hideWarnings: true });
  const common = {
    compatibilityDate: config.compatibility_date,
    compatibilityFlags: config.compatibility_flags,
    unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
  };
  const authority = {
    ...common,
    modules: [
      { type: "ESModule", path: "build/index.js" },
      { type: "CompiledWasm", path: "build/index_bg.wasm" },
    ],
    bindings: { ...config.vars, ISSUER, DEVELOPMENT: "true", SIGNING_KEYS: keySet(authorityKey), OPERATOR_TOKEN },
    kvNamespaces: { KV: "kv" },
  };
  const floor = {
    ...common,
    modules: [{ type: "ESModule", path: "bench/floor-worker.js" }],
    bindings: { ISSUER, SIGNING_KEY: JSON.stringify(authorityKey) },
  };
  return new Miniflare(
    convertV4MiniflareOptions({
      log: new NoOpLog(),
      handleStructuredLogs: () => {},
      cf: false,
      workers: [
        { ...authority, name: "authority", d1Databases: { DB: "small" } },
        { ...authority, name: "authority-full", d1Databases: { DB: "full" } },
        { ...floor, name: "floor", d1Databases: { DB: "small" } },
      ],
    }),
  );
}

async function originOf(worker) {
  return (await miniflare.unsafeGetDirectURL(worker)).origin;
}

/** Fills a Worker's D1, and says how to connect there: each request for another server and client. */
async function prepare(worker, servers, clients) {
  const database = await miniflare.getD1Database("DB", worker);
  const origin = await originOf(worker);
  const migrations = globSync("schema/migrations/*.sql").sort().map((file) => readFileSync(file, "utf8"));
  await database.batch(migrations.flatMap(unstable_splitSqlQuery).map((sql) => database.prepare(sql)));
  const keys = await seed(database, servers, clients);
  const requests = Array.from({ length: Math.max(servers, clients) }, (_, i) => ({
    authorization: `Bearer ${keys[i % clients]}`,
    body: JSON.stringify({ server_ref: `com.example.bench/server-${1 + ((i * 7919) % servers)}` }),
  }));
  return { url: `${origin}/v1/connect`, requests, agent: keepAlive() };
}

function keepAlive() {
  return new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
}

/** By SQL, since it is the cost of reading that is measured. Gives the clients' API keys. */
async function seed(database, servers, clients) {
  const { server } = entry("com.example.bench/server");
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

  const rows = Array.from({ length: clients }, (_, i) => ({
    client_id: `bench-client-${i + 1}`,
    key_id: randomBytes(12).toString("base64url"),
    secret: randomBytes(32).toString("base64url"),
  }));
  const json = JSON.stringify(
    rows.map(({ secret, ...row }) => ({ ...row, secret_hash: createHash("sha256").update(secret).digest("base64url") })),
  );
  await database.exec("INSERT OR IGNORE INTO tenants (tenant_id, created_at) VALUES ('bench-tenant', 0)");
  await database.batch(
    [
      `INSERT INTO clients (client_id, tenant_id, created_at)
       SELECT value ->> 'client_id', 'bench-tenant', 0 FROM json_each(?1)`,
      `INSERT INTO api_keys (key_id, client_id, secret_hash, created_at)
       SELECT value ->> 'key_id', value ->> 'client_id', value ->> 'secret_hash', 0 FROM json_each(?1)`,
    ].map((sql) => database.prepare(sql).bind(json)),
  );
  return rows.map(({ key_id, secret }) => `mcpk_${key_id}_${secret}`);
}

async function verifyOneAnswer({ url, requests: [{ authorization, body }] }) {
  const response = await fetch(url, { method: "POST", headers: { authorization }, body });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${url} answers ${response.status}: ${text}`);
  const { d: _, status: __, ...jwk } = authorityKey;
  await jwtVerify(JSON.parse(text).descriptor, createLocalJWKSet({ keys: [jwk] }), {
    issuer: ISSUER,
    typ: "mcp-connect+jwt",
  });
}

async function report(targets) {
  for (const target of Object.values(targets)) await load(target, WARM_UP_MS);
  const rounds = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const measured = {};
    // Each comes first, second and last equally often.
    const names = Object.keys(targets);
    for (let turn = 0; turn < names.length; turn += 1) {
      const name = names[(round + turn) % names.length];
      measured[name] = await load(targets[name], ROUND_MS);
    }
    rounds.push(measured);
  }

  console.log(`workerd ${createRequire(import.meta.resolve("wrangler"))("workerd/package.json").version}, each Worker at its own port (no proxy), D1 on this disk;
${ROUNDS} alternating rounds of ${ROUND_MS / 1000} s after ${WARM_UP_MS / 1000} s of warm-up, ${CONNECTIONS} connections kept alive
`);
  const labels = {
    floor: "floor: one row, one signature",
    small: "connect: 1 server, 1 client",
    full: `connect: ${SERVERS} servers, ${CLIENTS} clients`,
  };
  for (const [name, label] of Object.entries(labels)) {
    const perSecond = rounds.map((round) => round[name].perSecond);
    const latencies = rounds.flatMap((round) => round[name].latencies);
    const [p50, p99] = [0.5, 0.99].map((q) => `${quantile(latencies, q).toFixed(1).padStart(6)} ms`);
    console.log(`${label.padEnd(40)} ${median(perSecond).toFixed(0).padStart(6)} /s   p50 ${p50}   p99 ${p99}`);
  }
  const [againstFloor, againstSmall] = [
    ["small", "floor"],
    ["full", "small"],
  ].map(([a, b]) => rounds.map((round) => round[a].perSecond / round[b].perSecond));
  console.log(`
connect / floor   ${spread(againstFloor)}; the target is at least ${TARGET}: ${median(againstFloor) >= TARGET ? "met" : "missed"}
full / 1 server   ${spread(againstSmall)}`);
}

/** Keeps every connection busy for a while. Latencies are in milliseconds. */
async function load({ url, requests, agent }, milliseconds) {
  const latencies = [];
  const start = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (performance.now() - start < milliseconds) {
        const sent = performance.now();
        next = (next + 1) % requests.length;
        await post(url, requests[next], agent);
        latencies.push(performance.now() - sent);
      }
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  return { perSecond: latencies.length / seconds, latencies };
}

function post(url, { authorization, body }, agent) {
  return new Promise((resolve, reject) => {
    const headers = { authorization, "content-type": "application/json", "content-length": body.length };
    const sent = request(url, { method: "POST", agent, headers }, (response) => {
      response.resume();
      response.once("error", reject);
      response.once("end", () => {
        if (response.statusCode === 200) resolve();
        else reject(new Error(`${url} answered ${response.statusCode} under load`));
      });
    });
    sent.once("error", reject);
    sent.end(body);
  });
}

function quantile(values, q) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(q * (sorted.length - 1))];
}

function median(values) {
  return quantile(values, 0.5);
}

function spread(values) {
  const [low, high] = [0.25, 0.75].map((q) => quantile(values, q).toFixed(2));
  return `${median(values).toFixed(2)} (half of the rounds within ${low} to ${high})`;
}

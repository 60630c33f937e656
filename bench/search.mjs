// What reading a registry of 100,000 versions of 33,000 servers costs against reading one row by its key,
// and how many rows of D1 each kind of request reads. It prints numbers; only a wrong answer makes it fail.
import { globSync, readFileSync } from "node:fs";
import { unstable_splitSqlQuery } from "wrangler";

import { catalogue, serverJson } from "./catalogue.mjs";
import { WORKERD, authorityWorker, originOf, quantile, startWorkerd } from "./support.mjs";

const NAMES = Number(process.env.NAMES ?? 33_000);
const VERSIONS = Number(process.env.VERSIONS ?? 100_000);
const ROUNDS = Number(process.env.ROUNDS ?? 300);
const WARM_UP = 20;
const AT_MOST_OF_ONE_ROW = 3;

const worker = authorityWorker("search");
worker.modules.unshift({ type: "ESModule", path: "bench/rows.worker.js" });
const miniflare = await startWorkerd([worker]);
try {
  const servers = catalogue({ names: NAMES, versions: VERSIONS });
  const begun = performance.now();
  await fill(await miniflare.getD1Database("DB", "search"), servers);
  // Writing prepares the words that corrections come from; of what was written by SQL, the cron does.
  await (await miniflare.getWorker("search")).scheduled({ cron: "* * * * *" });
  console.log(`${NAMES} servers with ${VERSIONS} versions written, with their index, in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
  await measure(await originOf(miniflare, "search"), servers);
} finally {
  await miniflare.dispose();
}

/** By SQL, a thousand at a time; the triggers make the index. */
async function fill(database, servers) {
  const migrations = globSync("schema/migrations/*.sql").sort().map((file) => readFileSync(file, "utf8"));
  await database.batch(migrations.flatMap(unstable_splitSqlQuery).map((sql) => database.prepare(sql)));
  const insertServers = `INSERT INTO servers (name, namespace_proven, created_at)
    SELECT value ->> 'name', value ->> 'isVerified', 0 FROM json_each(?1)`;
  const insertVersions = `INSERT INTO versions (server_id, version, sort_key, stable, status, title, description, endpoint,
      server_json, content_hash, created_at, changed_at)
    SELECT s.id, value ->> 'version', value ->> 'sort', 1, 'active', value ->> 'title', value ->> 'description',
      value ->> 'endpoint', value ->> 'json', '', 0, 1
    FROM json_each(?1) JOIN servers s ON s.name = value ->> 'name'`;
  const choose = `UPDATE servers SET default_version = v.id, latest_version = v.id, title = v.title, description = v.description
    FROM (SELECT max(id) AS id, server_id, title, description FROM versions
          WHERE server_id IN (SELECT id FROM servers WHERE name IN (SELECT value ->> 'name' FROM json_each(?1)))
          GROUP BY server_id) v
    WHERE v.server_id = servers.id`;
  for (let from = 0; from < servers.length; from += 500) {
    const part = servers.slice(from, from + 500);
    const versions = part.flatMap((server) =>
      Array.from({ length: server.versions }, (_, n) => {
        const { name, title, description, endpoint } = server;
        const version = `1.${n}.0`;
        return { name, title, description, endpoint, version, sort: `1.${String(n).padStart(5, "0")}`, json: JSON.stringify(serverJson(server, version)) };
      }),
    );
    const names = JSON.stringify(part.map(({ name, isVerified }) => ({ name, isVerified })));
    const chunks = Array.from({ length: Math.ceil(versions.length / 1000) }, (_, n) => JSON.stringify(versions.slice(n * 1000, (n + 1) * 1000)));
    await database.batch([
      database.prepare(insertServers).bind(names),
      ...chunks.map((chunk) => database.prepare(insertVersions).bind(chunk)),
      database.prepare(choose).bind(names),
    ]);
  }
}

async function measure(origin, servers) {
  const get = async (path) => {
    const begun = performance.now();
    const response = await fetch(`${origin}${path}`);
    const text = await response.text();
    const took = performance.now() - begun;
    if (response.status !== 200) throw new Error(`${path} answers ${response.status}: ${text}`);
    const [rows, trips] = response.headers.get("x-d1").split(" ").map(Number);
    return { body: JSON.parse(text), took, rows, trips };
  };
  const lastPage = async (path) => {
    let last = path;
    for (;;) {
      const cursor = (await get(last)).body.metadata.nextCursor;
      if (!cursor) return last;
      last = `${path.split("?")[0]}?limit=${new URL(path, origin).searchParams.get("limit")}&cursor=${cursor}`;
    }
  };

  const some = Array.from({ length: 64 }, (_, n) => servers[(n * 7919) % servers.length].name);
  const encode = encodeURIComponent;
  const list = (search) => `/v0.1/servers?version=latest&limit=30&search=${encode(search)}`;
  const ranked = (q) => `/v0.1/x/org.mcp-connect/search?limit=30&q=${encode(q)}`;
  const sorted = servers.flatMap(({ name, versions }) => Array.from({ length: versions }, (_, n) => `${name}:1.${n}.0`)).sort();
  const one = ["a", "m", "s", "7", "x", "-"];
  const two = ["gi", "qu", "ma", "xe", "7-", "zz"];
  const more = ["git", "mcp", "sales", "salesforce", "postgres", "search", "kuber", "weather", "graph", "zelmel"];
  const together = ["mcp server", "salesforce tasks", "search web data", "postgres query", "github issues"];
  const typos = ["salesfroce", "postgers", "kuberntes", "weahter", "gihtub issues"];
  const inside = ["alesforce", "ostgres", "ubernetes", "eather", "ithub"];
  const phrases = ['"mcp server"', '"model context protocol"', '"server for" github', '"search assistants"'];
  await get(ranked(more[0]));
  const firstTypo = await get(ranked(typos[0]));
  const deep = (paths) => Promise.all(paths.map(lastPage));

  const kinds = {
    "one row by its key": some.map((name) => `/v1/servers/${name}/challenge`),
    "one version, from its copy": some.map((name) => `/v0.1/servers/${encode(name)}/versions/latest`),
    "list, first page": ["/v0.1/servers?limit=30"],
    "list, a page in the middle": some.map((name) => `/v0.1/servers?limit=30&cursor=${encode(name)}`),
    "list, last page": [`/v0.1/servers?limit=30&cursor=${encode(sorted.at(-31))}`],
    "list of the latest, last page": [await lastPage(`/v0.1/servers?version=latest&limit=30&cursor=${encode(sorted.at(-900))}`)],
    "list with search, 1 character": one.map(list),
    "list with search, 2 characters": two.map(list),
    "list with search, 3 and more": [...more, ...together].map(list),
    "list with search, last page": await deep(["sales", "postgres", "graph", "zelmel", "github issues"].map(list)),
    "list with search, ends of words": inside.map(list),
    "list with search, a typo": typos.map(list),
    "ranked, 1 character": one.slice(0, 5).map(ranked),
    "ranked, 2 characters": two.filter((q) => /^\w+$/.test(q)).map(ranked),
    "ranked, 3 and more": more.map(ranked),
    "ranked, words": together.map(ranked),
    "ranked, phrases": phrases.map(ranked),
    "ranked, exact name": some.map(ranked),
    "ranked, last page": await deep([...more, ...together].map(ranked)),
    "ranked, a typo": typos.map(ranked),
    "ranked, a letter left out": inside.map(ranked),
    "/v1/servers?query=": more.map((q) => `/v1/servers?query=${encode(q)}`),
  };

  const measured = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, { took: [], rows: 0, trips: 0 }]));
  // One of each kind in turn: what else the machine does then disturbs all alike.
  for (let round = -WARM_UP; round < ROUNDS; round += 1) {
    for (const [kind, paths] of Object.entries(kinds)) {
      const { took, rows, trips } = await get(paths[(round + WARM_UP) % paths.length]);
      if (round < 0) continue;
      const into = measured[kind];
      into.took.push(took);
      into.rows = Math.max(into.rows, rows);
      into.trips = Math.max(into.trips, trips);
    }
  }

  console.log(`workerd ${WORKERD}, D1 on this disk, ${ROUNDS} requests of each kind, one after the other\n`);
  const floor = quantile(measured["one row by its key"].took, 0.95);
  for (const [kind, { took, rows, trips }] of Object.entries(measured)) {
    const [p50, p95] = [0.5, 0.95].map((q) => quantile(took, q));
    const share = p95 / floor;
    console.log(
      `${kind.padEnd(32)} p50 ${p50.toFixed(1).padStart(6)} ms   p95 ${p95.toFixed(1).padStart(6)} ms   ${share.toFixed(2).padStart(5)} × one row` +
        ` ${share <= AT_MOST_OF_ONE_ROW ? "   " : "(!)"}  at most ${String(rows).padStart(6)} rows read in ${trips} round trips`,
    );
  }
  console.log(
    `\nthe first mistyped word of an isolate, for which it reads the words: ${firstTypo.took.toFixed(1)} ms,` +
      ` ${firstTypo.rows} rows read in ${firstTypo.trips} round trips`,
  );
  console.log(`the target is at most ${AT_MOST_OF_ONE_ROW} × one row; (!) marks what misses it`);
}

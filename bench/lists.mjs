// `make bench`: what callers of connect notice of a storm of the worst lists that anyone may ask for, on catalogues
// of 100,000 versions: their latency while it is quiet, and during the storm. It prints numbers; a wrong answer
// makes it fail.
import { CATALOGUES, VERSIONS, fill } from "../tests/support/catalogues.mjs";
import { authorityWorker, median, pace, post, prepare, quantile, spread, startWorkerd } from "./support.mjs";

const CALLERS = 50;
const CALLERS_PER_SECOND = 20;
const STORM = 48;
const ROUND_MS = 5_000;
const ROUNDS = Number(process.env.ROUNDS ?? 4);
const WORST = 8;
const TARGET = 2;

const SINCE = ["1970-01-01T00:00:00Z", "2099-01-01T00:00:00Z"];
const cursorAt = (micros, id) => `_${Buffer.from(JSON.stringify([null, null, null, false, null, null, micros, id])).toString("base64url")}`;
const ONE = encodeURIComponent("org.bulk1/fleet-1");
const LISTS = [
  "/v0.1/servers?limit=100",
  "/v0.1/servers?limit=100&include_deleted=true",
  "/v0.1/servers?limit=100&version=9.9.9",
  "/v0.1/servers?limit=100&version=9.9.9&include_deleted=true",
  ...SINCE.flatMap((since) => ["a", "org.bulk1/fleet-1:1.0.0", cursorAt(1, 50_000), cursorAt(0, 0)].flatMap((cursor) =>
    ["", "&version=9.9.9", "&search=nowhere", "&version=latest&search=f"].map((more) => `/v0.1/servers?limit=100&cursor=${cursor}&updated_since=${since}${more}`),
  )),
  ...["f", "q", "fl", "fleet", "steam", "leet-7", "sails wind"].flatMap((search) => [
    `/v0.1/servers?limit=100&search=${encodeURIComponent(search)}`,
    `/v0.1/servers?limit=100&version=9.9.9&search=${encodeURIComponent(search)}`,
    `/v0.1/x/org.mcp-connect/search?limit=100&q=${encodeURIComponent(search)}`,
    `/v1/servers?limit=100&query=${encodeURIComponent(search)}`,
  ]),
  `/v0.1/servers/${ONE}/versions`,
  `/v0.1/servers/${ONE}/versions?include_deleted=true`,
  `/v0.1/servers/${ONE}/versions?cursor=${cursorAt(0, VERSIONS)}`,
  "/v1/servers?limit=100",
  "/v1/changes?limit=100",
];

const names = CATALOGUES.map(([[, statements]], n) => [`lists${n}`, statements]);
const miniflare = await startWorkerd(names.map(([name]) => authorityWorker(name)));
try {
  for (const [name, statements] of names) {
    const target = await prepare(miniflare, name, { servers: 100, clients: CALLERS });
    await fill(await miniflare.getD1Database("DB", name), statements);
    const origin = new URL(target.url).origin;
    const worst = await worstOf(origin);
    const rounds = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      rounds.push({ quiet: await measure(target, origin, []), storm: await measure(target, origin, worst) });
    }
    report(name, worst, rounds);
    target.agent.destroy();
  }
} finally {
  await miniflare.dispose();
}

async function get(origin, path) {
  const begun = performance.now();
  const answer = await fetch(`${origin}${path}`);
  await answer.arrayBuffer();
  if (answer.status !== 200) throw new Error(`${path} answers ${answer.status}`);
  return performance.now() - begun;
}

/** The lists that take longest, the longest first. */
async function worstOf(origin) {
  const measured = [];
  for (const path of LISTS) {
    const took = [];
    for (let n = 0; n < 4; n += 1) took.push(await get(origin, path));
    measured.push({ path, took: median(took) });
  }
  return measured.sort((a, b) => b.took - a.took).slice(0, WORST);
}

async function measure({ requests, url, agent }, origin, worst) {
  const latencies = [];
  let turn = 0;
  let list = 0;
  await Promise.all([
    pace(ROUND_MS, CALLERS_PER_SECOND, async () => {
      turn += 1;
      const sent = performance.now();
      const status = await post(url, requests[turn % CALLERS], agent);
      if (status !== 200) throw new Error(`a caller was answered ${status}`);
      latencies.push(performance.now() - sent);
    }),
    pace(ROUND_MS, worst.length && STORM / (ROUND_MS / 1000), () => get(origin, worst[list++ % worst.length].path)),
  ]);
  return { p50: quantile(latencies, 0.5), p95: quantile(latencies, 0.95) };
}

function report(name, worst, rounds) {
  const [[catalogue]] = CATALOGUES[names.findIndex(([known]) => known === name)];
  console.log(`\n${VERSIONS} versions ${catalogue}; ${STORM} of these lists in ${ROUND_MS / 1000} s, ${ROUNDS} rounds of each kind:`);
  for (const { path, took } of worst) console.log(`  ${took.toFixed(1).padStart(6)} ms  ${decodeURIComponent(path)}`);
  for (const kind of ["quiet", "storm"]) {
    const [p50, p95] = ["p50", "p95"].map((q) => `${median(rounds.map((round) => round[kind][q])).toFixed(1).padStart(7)} ms`);
    console.log(`connect, ${kind.padEnd(6)} p50 ${p50}   p95 ${p95}`);
  }
  const ratios = rounds.map(({ quiet, storm }) => storm.p95 / quiet.p95);
  console.log(`connect's p95, storm / quiet   ${spread(ratios)}   the target is at most ${TARGET}${median(ratios) <= TARGET ? "" : " (!)"}`);
}

// `make bench`: what a connect costs, against a floor that only reads one row and signs, and with a
// full registry and a large policy against one of each. It prints numbers; only a wrong answer makes
// it fail.
import {
  WORKERD, authorityWorker, floorWorker, keepAlive, median, originOf, post, prepare, quantile, spread, startWorkerd,
  verifyOneAnswer,
} from "./support.mjs";

const CONNECTIONS = 16;
const WARM_UP_MS = 3_000;
// Many short rounds: what else the machine does then disturbs neighbours alike.
const ROUNDS = 30;
const ROUND_MS = 700;
const SERVERS = 30_000;
const CLIENTS = 10_000;
const RULES = 1_000;
const AT_LEAST_OF_FLOOR = 0.9;
const AT_MOST_OF_ONE = 1.2;

const miniflare = await startWorkerd([authorityWorker("one"), authorityWorker("full"), floorWorker("floor", "one")]);
try {
  const one = await prepare(miniflare, "one", { servers: 1, clients: 1 });
  const full = await prepare(miniflare, "full", { servers: SERVERS, clients: CLIENTS, rules: RULES });
  const floor = { url: `${await originOf(miniflare, "floor")}/`, requests: one.requests, agent: keepAlive() };
  for (const target of [floor, one, full]) await verifyOneAnswer(target);
  await report({ floor, one, full });
  for (const { agent } of [floor, one, full]) agent.destroy();
} finally {
  await miniflare.dispose();
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

  console.log(`workerd ${WORKERD}, each Worker at its own port (no proxy), D1 on this disk;
${ROUNDS} alternating rounds of ${ROUND_MS / 1000} s after ${WARM_UP_MS / 1000} s of warm-up, ${CONNECTIONS} connections kept alive
`);
  const labels = {
    floor: "floor: one row, one signature",
    one: "connect: 1 server, 1 client, no policy",
    full: `connect: ${SERVERS} servers, ${CLIENTS} clients, ${RULES} rules`,
  };
  for (const [name, label] of Object.entries(labels)) {
    const perSecond = rounds.map((round) => round[name].perSecond);
    const latencies = rounds.flatMap((round) => round[name].latencies);
    const [p50, p99] = [0.5, 0.99].map((q) => `${quantile(latencies, q).toFixed(1).padStart(6)} ms`);
    console.log(`${label.padEnd(54)} ${median(perSecond).toFixed(0).padStart(6)} /s   p50 ${p50}   p99 ${p99}`);
  }
  const shares = rounds.map((round) => round.one.perSecond / round.floor.perSecond);
  const costs = rounds.map((round) => round.one.perSecond / round.full.perSecond);
  const verdict = (isMet) => (isMet ? "met" : "missed");
  console.log(`
throughput, connect / floor   ${spread(shares)}; the target is at least ${AT_LEAST_OF_FLOOR}: ${verdict(median(shares) >= AT_LEAST_OF_FLOOR)}
cost, full / one of each      ${spread(costs)}; the target is at most ${AT_MOST_OF_ONE}: ${verdict(median(costs) <= AT_MOST_OF_ONE)}`);
}

/** Keeps every connection busy for a while, going on where the last round ended. Latencies are in milliseconds. */
async function load(target, milliseconds) {
  const { url, requests, agent } = target;
  const latencies = [];
  const start = performance.now();
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (performance.now() - start < milliseconds) {
        const sent = performance.now();
        target.next = ((target.next ?? 0) + 1) % requests.length;
        const status = await post(url, requests[target.next], agent);
        if (status !== 200) throw new Error(`${url} answered ${status} under load`);
        latencies.push(performance.now() - sent);
      }
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  return { perSecond: latencies.length / seconds, latencies };
}

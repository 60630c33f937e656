// `make bench`: what others notice of one client that asks again and again: their latency while it is
// quiet, during its storm, and during the same storm with no limits. All send at a fixed pace, so that
// only the Worker and its D1 can make somebody wait. It prints numbers; a wrong answer makes it fail.
import { NO_LIMITS, authorityWorker, median, pace, post, prepare, quantile, spread, startWorkerd } from "./support.mjs";

const OTHERS = 50;
const OTHERS_PER_SECOND = 20;
const STORM_PER_SECOND = Number(process.env.STORM_PER_SECOND ?? 300);
const STORM_LIMIT = 20;
const ROUNDS = 6;
// One period of a limit.
const ROUND_MS = 10_000;
// Of the client, which is first among the requests; the others stay below it.
const LIMITS = { ...NO_LIMITS, CLIENT: STORM_LIMIT };

const miniflare = await startWorkerd([authorityWorker("limited", LIMITS), authorityWorker("unlimited")]);
try {
  const targets = {};
  for (const name of ["limited", "unlimited"]) {
    targets[name] = await prepare(miniflare, name, { servers: 100, clients: OTHERS + 1 });
    // Everybody is known, as in an isolate that has run for a while.
    for (const request of targets[name].requests.slice(0, OTHERS + 1)) await post(targets[name].url, request, targets[name].agent);
  }
  const rounds = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    rounds.push({
      quiet: await measure(targets.limited, 0),
      limited: await measure(targets.limited, STORM_PER_SECOND),
      unlimited: await measure(targets.unlimited, STORM_PER_SECOND),
    });
  }
  report(rounds);
  for (const { agent } of Object.values(targets)) agent.destroy();
} finally {
  await miniflare.dispose();
}

/** The others' latencies in milliseconds, and how often the storm was answered with what. */
async function measure({ url, requests, agent }, stormPerSecond) {
  const latencies = [];
  const storm = {};
  let turn = 0;
  await Promise.all([
    pace(ROUND_MS, OTHERS_PER_SECOND, async () => {
      turn = (turn + 1) % OTHERS;
      const sent = performance.now();
      const status = await post(url, requests[1 + turn], agent);
      if (status !== 200) throw new Error(`another client was answered ${status}`);
      latencies.push(performance.now() - sent);
    }),
    pace(ROUND_MS, stormPerSecond, async () => {
      const status = await post(url, requests[0], agent);
      storm[status] = (storm[status] ?? 0) + 1;
    }),
  ]);
  return { p50: quantile(latencies, 0.5), p95: quantile(latencies, 0.95), storm };
}

function report(rounds) {
  console.log(`
one client asks ${STORM_PER_SECOND} times a second, where it may ${STORM_LIMIT} times in 10 s; ${OTHERS} others ask ${OTHERS_PER_SECOND} times a second;
${ROUNDS} rounds of ${ROUND_MS / 1000} s each
`);
  for (const [name, label] of [
    ["quiet", "no storm"],
    ["limited", "storm, limited"],
    ["unlimited", "storm, no limits"],
  ]) {
    const [p50, p95] = ["p50", "p95"].map((q) => `${median(rounds.map((round) => round[name][q])).toFixed(1).padStart(7)} ms`);
    const storm = Object.entries(rounds.at(-1)[name].storm).map(([status, count]) => `${count} × ${status}`);
    console.log(`others, ${label.padEnd(18)} p50 ${p50}   p95 ${p95}   ${storm.length ? `the storm got ${storm.join(", ")}` : ""}`);
  }
  for (const q of ["p50", "p95"]) {
    for (const name of ["limited", "unlimited"]) {
      console.log(`others' ${q}, storm ${name.padEnd(9)} / no storm   ${spread(rounds.map((round) => round[name][q] / round.quiet[q]))}`);
    }
  }
}

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { entry, eventually, startAuthority } from "./support/authority.mjs";
import { connectctl } from "./support/programs.mjs";

const WEATHER = "com.example/weather";
let authority, key;

before(async () => {
  authority = await startAuthority({ meterD1: true, limits: { CLIENT: 1_000_000, TENANT: 1_000_000, ADDRESS: 1_000_000 } });
  await authority.publish(WEATHER);
  await authority.importServers(entry("com.example/new"));
  key = (await authority.createClient("desktop", { tenant_id: "acme" })).api_key;
});
after(() => authority?.stop());

const stats = async () => {
  const answer = await authority.admin("/stats");
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
};

const connects = async () => (await stats()).counters.connects ?? {};

/// Each counter is handed over 10 s after it was counted, at the latest.
const handedOver = (what, probe) => eventually(what, probe, 30);

/// Prometheus' text format 0.0.4, strictly: a map of metrics, with `samples` by their labels.
function parsePrometheus(text) {
  assert.ok(text.endsWith("\n"), "the last line ends");
  const metrics = new Map();
  let metric;
  for (const line of text.slice(0, -1).split("\n")) {
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (comment) {
      const [, kind, name, rest] = comment;
      if (kind === "HELP") {
        assert.ok(!metrics.has(name), `${name} comes once`);
        metrics.set(name, (metric = { name, samples: new Map() }));
      } else {
        assert.equal(name, metric.name, "TYPE follows its HELP");
        assert.match(rest, /^(counter|gauge|histogram)$/);
        metric.type = rest;
      }
      continue;
    }
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="[^"\\\n]*"(?:,(?=[a-zA-Z_])|(?=\})))*)\})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)$/.exec(line);
    assert.ok(sample, `no sample: ${line}`);
    const [, name, labels = "", value] = sample;
    const suffixes = metric.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    assert.ok(suffixes.some((suffix) => name === metric.name + suffix), `${name} is of ${metric.name}`);
    const place = `${name.slice(metric.name.length)}{${labels}}`;
    assert.ok(!metric.samples.has(place), `${line} comes once`);
    metric.samples.set(place, Number(value));
  }
  return metrics;
}

test("what happened is counted, by its code, and shown to administrators", async () => {
  const before = await connects();
  for (const [count, code, ask] of [
    [5, "ok", () => authority.connect(WEATHER, key)],
    [2, "server_unverified", () => authority.connect("com.example/new", key)],
    [3, "caller_unauthenticated", () => authority.connect(WEATHER)],
    [1, "request_invalid", () => authority.connect("{", key)],
    [1, "request_invalid", () => authority.connect({ server_ref: 7 }, key)],
    [1, "server_not_found", () => authority.connect("com.example/nothing", key)],
  ]) {
    for (let n = 0; n < count; n += 1) assert.equal((await ask()).body.code ?? "ok", code);
  }
  const expected = { ok: 5, server_unverified: 2, caller_unauthenticated: 3, request_invalid: 2, server_not_found: 1 };
  const counted = await handedOver("all are counted", async () => {
    const now = await connects();
    const since = Object.fromEntries(Object.entries(now).map(([code, count]) => [code, count - (before[code] ?? 0)]));
    return Object.keys(expected).every((code) => (since[code] ?? 0) >= expected[code]) && since;
  });
  assert.deepEqual(counted, expected);

  const { registry, counters } = await stats();
  assert.equal(registry.servers, 2);
  assert.deepEqual(registry.versions, { active: 2 });
  assert.deepEqual(registry.clients, { active: 1 });
  assert.deepEqual(registry.tenants, { active: 1 });
  assert.ok(counters.answers.connect["2xx"] >= 5 && counters.answers.connect["4xx"] >= 8, JSON.stringify(counters));

  const shown = await connectctl(["--authority", authority.url, "--operator-token", authority.operatorToken, "stats"]);
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /^\s*registry servers\s+2\s*$/m);
  assert.match(shown.stdout, /^\s*counters connects ok\s+\d+\s*$/m);
});

test("Prometheus can read it, and its numbers are the same", async () => {
  const answer = await authority.admin("/metrics");
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const metrics = parsePrometheus(answer.text);
  const { counters } = await stats();
  const connects = metrics.get("connect_authority_connects_total");
  assert.equal(connects.type, "counter");
  for (const [code, count] of Object.entries(counters.connects)) {
    assert.equal(connects.samples.get(`{code="${code}"}`), count);
  }

  const latency = metrics.get("connect_authority_connect_seconds");
  assert.equal(latency.type, "histogram");
  const buckets = [...latency.samples].filter(([place]) => place.startsWith("_bucket"));
  const bounds = buckets.map(([place]) => Number(/le="(.*)"/.exec(place)[1].replace("+Inf", "Infinity")));
  assert.deepEqual(bounds, bounds.toSorted((a, b) => a - b));
  assert.equal(bounds.at(-1), Infinity);
  const counts = buckets.map(([, count]) => count);
  assert.deepEqual(counts, counts.toSorted((a, b) => a - b), "each holds those before it");
  assert.equal(counts.at(-1), latency.samples.get("_count{}"));
  const total = [...connects.samples.values()].reduce((sum, count) => sum + count, 0);
  assert.equal(latency.samples.get("_count{}"), total, "each connect was timed");
});

test("nobody waits for counting: not a connect writes, and an isolate hands over every 10 s at most", async () => {
  authority.clearLog();
  const begun = Date.now();
  while (Date.now() - begun < 21_000) {
    await Promise.all(Array.from({ length: 10 }, () => authority.connect(WEATHER, key)));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const seconds = (Date.now() - begun) / 1000;
  const trips = authority.logged("d1");
  assert.ok(trips.length > 100, `${trips.length} connects`);
  assert.ok(trips.every(({ rows_written }) => rows_written === 0));
  const handOvers = authority.logged("d1_counters");
  assert.ok(handOvers.length >= 1 && handOvers.length <= seconds / 10 + 1, `${handOvers.length} in ${seconds} s`);
  assert.ok(handOvers.every(({ rows_written }) => rows_written < 40), JSON.stringify(handOvers));
});

describe("Analytics Engine gets one point of each connect", () => {
  let limited, limitedKey;
  before(async () => {
    limited = await startAuthority({ meterD1: true, limits: { CLIENT: 2, TENANT: 1_000_000, ADDRESS: 2 } });
    await limited.publish(WEATHER);
    limitedKey = (await limited.createClient("desktop", { tenant_id: "acme" })).api_key;
  });
  after(() => limited?.stop());

  /// The point of what is asked; its milliseconds, and the rest.
  async function point(of, ask, code) {
    of.clearLog();
    assert.equal((await ask()).body.code ?? "ok", code);
    const { event, ...members } = await eventually("a point is written", () => of.logged("data_point")[0]);
    assert.deepEqual(members.doubles.map((value) => Number.isInteger(value) && value >= 0 && value < 10_000), [true]);
    assert.equal(of.logged("data_point").length, 1);
    delete members.doubles;
    return members;
  }
  const expected = (code, server, client = "desktop", tenant = "acme") => ({
    indexes: [tenant],
    blobs: [code, server, client, tenant],
  });

  test("that was granted or denied", async () => {
    for (const [request, bearer, code, ...who] of [
      [WEATHER, key, "ok", WEATHER],
      [`${WEATHER}@1.0.0`, key, "ok", WEATHER],
      ["com.example/new", key, "server_unverified", "com.example/new"],
      // Anybody can make up a name, or somebody.
      ["com.example/made-up", key, "server_not_found", ""],
      [{ server_ref: WEATHER, client_id: "other" }, key, "request_invalid", WEATHER],
      [WEATHER, `mcpk_${"S".repeat(16)}_${"s".repeat(43)}`, "caller_unauthenticated", WEATHER, "", ""],
      ["{", undefined, "caller_unauthenticated", "", "", ""],
    ]) {
      assert.deepEqual(await point(authority, () => authority.connect(request, bearer), code), expected(code, ...who));
    }
  });

  test("that a limit refused on entry, with the client that it is known to be", async () => {
    const left = 10_000 - (Date.now() % 10_000);
    if (left < 4000) await new Promise((resolve) => setTimeout(resolve, left + 20));
    for (const [bearer, code, ...who] of [
      [limitedKey, "rate_limited", ""],
      ["guess", "rate_limited", "", "", ""],
    ]) {
      for (let n = 0; n < 2; n += 1) await limited.connect(WEATHER, bearer);
      assert.deepEqual(await point(limited, () => limited.connect(WEATHER, bearer), code), expected(code, ...who));
    }
  });
});

test("who is no administrator sees nothing of it", async () => {
  for (const path of ["/v1/admin/stats", "/v1/admin/metrics"]) {
    for (const bearer of [undefined, key, "guess"]) {
      assert.equal((await authority.request(path, { bearer })).status, 401);
    }
  }
});

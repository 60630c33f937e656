// Stands before the unchanged Worker, within its isolate, in place of what Cloudflare's platform does and workerd
// doesn't do by itself. For all tests, KV takes one write of a key in a second and refuses others with 429, and D1 refuses
// what exceeds its limits. The var TEST_PLATFORM tells the rest, in JSON; any of it may be combined:
//
//   meterD1       Each round trip to D1 is a line of the log: {"event": "d1", "statements", "rows_read", "rows_written"}.
//                 Counters handed over are "d1_counters", last uses of keys "d1_last_use". Each read of KV is
//                 {"event": "kv"}. A data point is logged instead of written: {"event": "data_point", "indexes", "blobs",
//                 "doubles"}.
//   faults        `POST /test/faults` sets what fails from then on, and replaces what was set before:
//                   {"d1": "error"}  the call fails, and D1 has done nothing
//                   {"d1": "lost"}   the call fails, although D1 has done it
//                   {"d1": "hang"}   no answer ever comes; D1's own limit of 30 s is longer than anybody waits
//                   {"d1": "late", "millis": 400}  answers come up to so much later, and out of order
//                     "containing": only calls that contain this text; "times": only so many calls; "message": what
//                     the error says
//                   {"kv": "error" | "hang"}  all calls
//                   {"kv": "refuse"}  each write is refused as if its key had been written just before; "times": only so many
//                     "only": ["put", …] only these methods; "prefix": only keys that begin so
//                   {"kv": "behind", "seconds": 60}  reads are as old as that, as at a location far from the writer's
//                   {"panic": true}  timers can't be set, which the `worker` crate takes for impossible: the module panics
//   fault         What fails from the start, as above.
//   certificates  The header x-test-certificate has, in JSON, what `request.cf.tlsClientAuth` is to say.
//   hosts         An https host named here is a port of this machine, asked by plain http, with the host in x-test-host.
//                 Any other https host does not exist.
//
// `GET /test/memory` tells the bytes of the isolate's WebAssembly memory.
import { env } from "cloudflare:workers";

import { memoryBytes } from "./wasm-memory.worker.mjs";
import Authority from "./authority.mjs";
import { D1, KV } from "./platform-limits.mjs";

const told = JSON.parse(env.TEST_PLATFORM);
const log = (line) => console.log(JSON.stringify(line));
const fail = (message) => Promise.reject(new Error(message));
const hang = () => new Promise(() => {});
const later = (millis) => new Promise((resolve) => setTimer(resolve, millis));

let fault = told.fault ?? {};

// The timers of the Worker; what stands here has its own.

const setTimer = globalThis.setTimeout;
globalThis.setTimeout = (...values) => {
  if (fault.panic) throw new Error("no timer today");
  return setTimer(...values);
};

// D1: every query of a session leaves through one method.

const session = Object.getPrototypeOf(env.DB.withSession());
const sendOnce = session._sendOrThrow;

function beyondLimits(query) {
  for (const { sql = "", params = [] } of [query].flat(2).filter((part) => typeof part?.sql === "string")) {
    if (params.length > D1.boundParameters) return "D1_ERROR: too many SQL variables";
    if (sql.length > D1.sqlBytes) return "D1_ERROR: statement too long";
    if (params.some((value) => value?.length > D1.rowBytes)) return "D1_ERROR: string or blob too big: SQLITE_TOOBIG";
  }
}

let answers = 0;
async function send(database, query) {
  const { d1, containing = "", message = "D1_ERROR: Network connection lost.", millis } = fault;
  const isMeant = d1 && fault.times !== 0 && JSON.stringify(query).includes(containing);
  if (!isMeant) return sendOnce.apply(database, query);
  if (fault.times) fault.times -= 1;
  if (d1 === "hang") return hang();
  if (d1 === "error") return fail(message);
  const answer = await sendOnce.apply(database, query);
  if (d1 === "lost") return fail(message);
  answers += 1;
  await later((millis * ((answers * 2) % 5)) / 4);
  return answer;
}

session._sendOrThrow = async function (...query) {
  const problem = beyondLimits(query);
  if (problem) return fail(problem);
  const answer = await send(this, query);
  if (told.meterD1) meter(query, answer);
  return answer;
};

function meter(query, answer) {
  const results = [answer].flat();
  const sum = (count) => results.reduce((total, { meta }) => total + meta[count], 0);
  // What was counted is handed over now and then, on the way of no request.
  const sql = JSON.stringify(query);
  const event = sql.includes("INTO counters") ? "d1_counters" : sql.includes("SET last_used_at") ? "d1_last_use" : "d1";
  log({ event, statements: results.length, rows_read: sum("rows_read"), rows_written: sum("rows_written") });
}

// KV

const namespace = Object.getPrototypeOf(env.KV);
const kv = { ...Object.fromEntries(["get", "put", "delete", "list"].map((name) => [name, namespace[name]])) };
/// By key: when it was written last, and what it was then and before, newest last.
const written = new Map();

async function write(store, method, [key, value, ...options]) {
  const { last = 0, values } = written.get(key) ?? { values: [{ at: 0, value: await kv.get.call(store, key) }] };
  const isRefused = fault.kv === "refuse" && fault.times !== 0 && key.startsWith(fault.prefix ?? "");
  if (isRefused && fault.times) fault.times -= 1;
  if (isRefused || Date.now() - last < KV.millisPerWriteOfAKey) {
    return fail(`KV ${method.toUpperCase()} failed: 429 Too Many Requests`);
  }
  const at = Date.now();
  written.set(key, { last: at, values: [...values.slice(-100), { at, value: method === "put" ? value : null }] });
  return kv[method].call(store, key, ...(method === "put" ? [value, ...options] : []));
}

function read(store, [key, ...options]) {
  if (told.meterD1) log({ event: "kv" });
  const then = fault.kv === "behind" && Date.now() - (fault.seconds ?? KV.secondsBehind) * 1000;
  const known = then && written.get(key)?.values.findLast(({ at }) => at <= then);
  return known ? Promise.resolve(known.value) : kv.get.call(store, key, ...options);
}

for (const method of Object.keys(kv)) {
  namespace[method] = function (...values) {
    const key = method === "list" ? values[0].prefix : values[0];
    if (fault.kv && (fault.only ?? [method]).includes(method) && key.startsWith(fault.prefix ?? "")) {
      if (fault.kv === "hang") return hang();
      if (fault.kv === "error") return fail(`KV ${method.toUpperCase()} failed: 500 Internal Server Error`);
    }
    if (method === "get") return read(this, values);
    if (method === "list") return kv.list.apply(this, values);
    return write(this, method, values);
  };
}

if (told.meterD1) {
  Object.getPrototypeOf(env.METRICS).writeDataPoint = (point) => log({ event: "data_point", ...point });
}

// Other hosts

const platformFetch = globalThis.fetch;
if (told.hosts) {
  globalThis.fetch = async (input, init) => {
    const url = new URL(input);
    const port = url.protocol === "https:" ? told.hosts[url.hostname] : url.port;
    if (port === undefined) throw new TypeError("no such host");
    const headers = new Headers(init?.headers);
    headers.set("x-test-host", url.protocol === "https:" ? url.hostname : url.host);
    const response = await platformFetch(`http://127.0.0.1:${port}${url.pathname}${url.search}`, { ...init, headers });
    // The harness has no way to say that there was no answer; see authority.mjs.
    if (response.headers.has("x-test-no-answer")) throw new TypeError("Network connection lost.");
    return response;
  };
}

export default class extends Authority {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/test/memory") return Response.json(memoryBytes());
    if (told.faults && pathname === "/test/faults") {
      fault = await request.json();
      return new Response();
    }
    const facts = told.certificates && request.headers.get("x-test-certificate");
    if (!facts) return super.fetch(request);
    return super.fetch(new Request(request, { cf: { ...request.cf, tlsClientAuth: JSON.parse(facts) } }));
  }
}

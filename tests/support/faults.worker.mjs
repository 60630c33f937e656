// Stands before the unchanged Worker, within its isolate, and lets its calls of D1 and KV fail as
// the last `POST /test/faults` said:
//   {"d1": "error" | "hang" | "lost", "containing": "text"}   "lost": D1 does it and can't say so
//   {"kv": "error" | "hang"}
import { env } from "cloudflare:workers";

import Authority from "./authority.mjs";

let fault = {};

const hang = () => new Promise(() => {});
const fail = (message) => Promise.reject(new Error(message));

// Every query of a session leaves through this method.
const session = Object.getPrototypeOf(env.DB.withSession());
const send = session._sendOrThrow;
session._sendOrThrow = async function (...query) {
  const { d1, containing = "" } = fault;
  if (d1 && JSON.stringify(query).includes(containing)) {
    if (d1 === "hang") return hang();
    if (d1 === "lost") await send.apply(this, query);
    return fail("D1_ERROR: Network connection lost.");
  }
  return send.apply(this, query);
};

const namespace = Object.getPrototypeOf(env.KV);
for (const method of ["get", "put", "delete"]) {
  const call = namespace[method];
  namespace[method] = function (...values) {
    if (fault.kv === "hang") return hang();
    if (fault.kv) return fail("KV: 500 Internal Server Error");
    return call.apply(this, values);
  };
}

export default class extends Authority {
  async fetch(request) {
    if (new URL(request.url).pathname !== "/test/faults") return super.fetch(request);
    fault = await request.json();
    return new Response();
  }
}

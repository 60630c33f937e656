// Stands before the unchanged Worker, within its isolate, and logs each of its round trips to D1 as
// one line {"event": "d1", "statements", "rows_read", "rows_written"}, and each read of KV as one
// line {"event": "kv"}. Counters handed over are "d1_counters", last uses of keys "d1_last_use". A
// data point for Analytics Engine is logged instead of written, as {"event": "data_point", "indexes",
// "blobs", "doubles"}.
import { env } from "cloudflare:workers";

export { default } from "./authority.mjs";

// Every query of a session leaves through this method; each call of it is one request to D1.
const session = Object.getPrototypeOf(env.DB.withSession());
const send = session._sendOrThrow;
session._sendOrThrow = async function (...query) {
  const results = [await send.apply(this, query)].flat();
  const sum = (count) => results.reduce((total, { meta }) => total + meta[count], 0);
  const statements = results.length;
  // What was counted is handed over now and then, on the way of no request.
  const sql = JSON.stringify(query);
  const event = sql.includes("INTO counters") ? "d1_counters" : sql.includes("SET last_used_at") ? "d1_last_use" : "d1";
  console.log(JSON.stringify({ event, statements, rows_read: sum("rows_read"), rows_written: sum("rows_written") }));
  return results;
};

const namespace = Object.getPrototypeOf(env.KV);
const get = namespace.get;
namespace.get = function (...key) {
  console.log(JSON.stringify({ event: "kv" }));
  return get.apply(this, key);
};

Object.getPrototypeOf(env.METRICS).writeDataPoint = function (point) {
  console.log(JSON.stringify({ event: "data_point", ...point }));
};

// Stands before the unchanged Worker and says in a header of each answer how many rows of D1 were read
// for it and in how many round trips. One request at a time.
import { env } from "cloudflare:workers";
import Authority from "./limits.worker.js";

let rows = 0;
let trips = 0;

// Every query of a session leaves through this method; each call of it is one request to D1.
const session = Object.getPrototypeOf(env.DB.withSession());
const send = session._sendOrThrow;
session._sendOrThrow = async function (...query) {
  const results = [await send.apply(this, query)].flat();
  trips += 1;
  rows += results.reduce((sum, { meta }) => sum + meta.rows_read, 0);
  return results;
};

export default class extends Authority {
  async fetch(request) {
    rows = 0;
    trips = 0;
    const answer = new Response((await super.fetch(request)).body);
    answer.headers.set("x-d1", `${rows} ${trips}`);
    return answer;
  }
}

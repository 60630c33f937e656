import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { eventually, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";

const WEATHER = "com.example/weather";
const LIMITS = { CLIENT: 6, TENANT: 10, ADDRESS: 8 };
const PERIOD_MS = 10_000;
let authority;

before(async () => {
  authority = await startAuthority({ limits: LIMITS });
  await authority.publish(WEATHER);
});
after(() => authority?.stop());

/// Waits for a period of which at least `seconds` are left: all requests of a test count together.
async function freshPeriod(seconds = 8) {
  const left = () => PERIOD_MS - (Date.now() % PERIOD_MS);
  if (left() < seconds * 1000) await sleep(left() + 20);
}

let addresses = 0;
/// Another address for each use, so that tests don't count against each other.
const nextAddress = () => `192.0.2.${++addresses}`;

const from = (address) => ({ "cf-connecting-ip": address });

function connect(key, address) {
  return authority.request("/v1/connect", { body: { server_ref: WEATHER }, bearer: key, headers: from(address) });
}

/// The statuses of so many requests, one after the other.
async function statuses(count, ask) {
  const all = [];
  for (let n = 0; n < count; n += 1) all.push((await ask(n)).status);
  return all;
}

const times = (count, status) => Array(count).fill(status);

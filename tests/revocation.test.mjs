import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { eventually, startAuthority } from "./support/authority.mjs";

const SERVER = "com.example/weather";
const LOOPS = 16;
let authority, key;

before(async () => {
  authority = await startAuthority();
  await authority.publish(SERVER);
  key = (await authority.createClient("desktop")).api_key;
});
after(() => authority?.stop());

/// Asks again and again until told to stop; what each request was answered, and when it was sent.
async function ask(loop, record, signal) {
  while (!signal.aborted) {
    const sentAt = performance.now();
    const { status, body } = await authority.connect(SERVER, key);
    record.push({ loop, sentAt, status, code: body.code, hasDescriptor: "descriptor" in body });
  }
}

for (const round of [1, 2, 3]) {
  test(`once a revocation is acknowledged, no later request is granted (${round})`, async () => {
    const record = [];
    const stop = new AbortController();
    const loops = Array.from({ length: LOOPS }, (_, loop) => ask(loop, record, stop.signal));
    const everyLoopHas = (enough, those) =>
      eventually(enough, () => {
        const seen = Map.groupBy(record.filter(those), ({ loop }) => loop);
        return seen.size === LOOPS && [...seen.values()].every((answers) => answers.length >= 3);
      });

    let acknowledgedAt;
    try {
      await everyLoopHas("every loop is granted", ({ hasDescriptor }) => hasDescriptor);
      const answer = await authority.admin(`/servers/${SERVER}/revoke`, { reason: "hacked" });
      acknowledgedAt = performance.now();
      assert.equal(answer.body.changed, true, answer.text);
      await everyLoopHas("every loop is refused", ({ sentAt }) => sentAt > acknowledgedAt);
    } finally {
      stop.abort();
      await Promise.all(loops);
    }

    const [earlier, later] = [
      record.filter(({ sentAt }) => sentAt <= acknowledgedAt),
      record.filter(({ sentAt }) => sentAt > acknowledgedAt),
    ];
    assert.equal(later.filter(({ hasDescriptor }) => hasDescriptor).length, 0);
    assert.deepEqual([...new Set(later.map(({ status, code }) => `${status} ${code}`))], ["403 server_revoked"]);
    assert.ok(earlier.filter(({ hasDescriptor }) => hasDescriptor).length >= LOOPS * 3);
    assert.ok(later.length >= LOOPS * 3);

    await authority.changeServer(SERVER, "reinstate");
    assert.equal((await authority.connect(SERVER, key)).status, 200);
  });
}

// How much of the isolate's memory the heaviest answers take, twelve at once. The platform gives an isolate 128 MB
// for everything.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { startAuthority } from "./support/authority.mjs";
import { fill } from "./support/catalogues.mjs";
import { WORKER } from "./support/platform-limits.mjs";

const AT_ONCE = 12;
/// The rest is JavaScript's.
const MOST_BYTES = WORKER.memoryBytes / 4;
/// As long as what is imported may be.
const LONG = 250_000;
const NAME = "com.heavy/server-1";
// One server with 40 versions, 99 with one.
const CATALOGUE = [
  `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
   INSERT INTO servers (name, created_at) SELECT 'com.heavy/server-' || i, 0 FROM n`,
  `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
   INSERT INTO versions (server_id, version, sort_key, stable, status, description, server_json, content_hash, created_at, changed_at)
   SELECT s.id, i || '.0.0', printf('%03d', i), 1, 'active', 'Heavy',
     json_object('name', s.name, 'version', i || '.0.0', 'description', hex(zeroblob(${LONG / 2}))), '', 0, s.id
   FROM servers s JOIN n ON i = 1 OR s.name = '${NAME}'`,
  `UPDATE servers SET latest_version = v.id, default_version = v.id
   FROM (SELECT server_id, max(id) AS id FROM versions GROUP BY server_id) v WHERE v.server_id = servers.id`,
];

let authority;
before(async () => {
  authority = await startAuthority();
  await fill(await authority.database(), CATALOGUE);
});
after(() => authority?.stop());

test("the heaviest answers, twelve of each kind at once, leave the isolate most of its memory", async () => {
  const versions = `/v0.1/servers/${encodeURIComponent(NAME)}/versions`;
  for (const path of [
    versions,
    `${versions}?include_deleted=true`,
    "/v0.1/servers?limit=100",
    "/v0.1/servers?limit=100&updated_since=1970-01-01T00:00:00Z",
    "/v0.1/servers?limit=100&search=heavy",
    "/v0.1/x/org.mcp-connect/search?limit=100&q=heavy",
    "/v1/changes?limit=100",
    `${versions}/latest`,
    `/v1/servers/${NAME}`,
  ]) {
    const answers = await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        const answer = await fetch(`${authority.url}${path}`);
        return { status: answer.status, bytes: (await answer.arrayBuffer()).byteLength };
      }),
    );
    for (const { status, bytes } of answers) {
      assert.equal(status, 200, path);
      assert.ok(bytes > LONG, `${path}: ${bytes}`);
      assert.ok(bytes < 1_000_000 + 2 * LONG, `${path}: ${bytes} bytes in one answer`);
    }
    const taken = await authority.memory();
    assert.ok(taken <= MOST_BYTES, `${path}: ${taken} bytes of memory`);
  }
});

// How many rows of D1 a request of anyone reads at most, on the worst catalogues of 100,000 versions: what
// schema/openapi.yaml says as `x-max-rows-read`.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startAuthority } from "./support/authority.mjs";
import { CATALOGUES, fill, VERSIONS } from "./support/catalogues.mjs";
import { described, operations } from "./support/description.mjs";

const NAME = "org.bulk1/fleet-1";
const encoded = encodeURIComponent(NAME);
const OFTEN = "1970-01-01T00:00:00Z";
const NEVER = "2099-01-01T00:00:00Z";
/// Positions as other registries write them, and as this one does.
const cursorOf = (members) => `_${Buffer.from(JSON.stringify(members)).toString("base64url")}`;
const IN_THE_MIDDLE = cursorOf([null, null, null, false, null, null, 1, 50_000]);
const AT_THE_END = cursorOf([null, null, null, false, null, null, 2 ** 53, 2 ** 53]);
const SEARCHES = ["", "f", "fleet", "nowhere", "steam", "bulk1", "fleat"];
const LISTS = product({
  cursor: ["", `${NAME}:1.0.0`, IN_THE_MIDDLE],
  updated_since: ["", OFTEN, NEVER],
  version: ["", "latest", "9.9.9"],
  search: SEARCHES,
  include_deleted: ["", "true"],
}).filter(({ updated_since, include_deleted }) => !(updated_since && include_deleted));

/// What else anyone may read, each with its parameters.
const OTHERS = [
  ...SEARCHES.filter(Boolean).map((q) => `/v0.1/x/org.mcp-connect/search?limit=100&q=${encodeURIComponent(q)}`),
  ...SEARCHES.map((query) => `/v1/servers?limit=100&query=${encodeURIComponent(query)}`),
  `/v1/servers?limit=100&cursor=${Buffer.from(`{"a":"org.bulk"}`).toString("base64url")}`,
  ...["", IN_THE_MIDDLE, AT_THE_END].flatMap((cursor) =>
    ["", "true"].map((deleted) => `/v0.1/servers/${encoded}/versions?cursor=${cursor}&include_deleted=${deleted}`),
  ),
  ...["latest", "1.0.0", "3.0.0", "9.9.9"].flatMap((version) =>
    ["", "?include_deleted=true"].map((query) => `/v0.1/servers/${encoded}/versions/${version}${query}`),
  ),
  ...["", "@1.0.0", "@3.0.0", "@9.9.9", "/challenge"].map((rest) => `/v1/servers/${NAME}${rest}`),
  ...[0, 1, 50_000, VERSIONS].map((after) => `/v1/changes?limit=100&after=${after}`),
  "/v1/revocations",
  "/.well-known/jwks.json",
  "/.well-known/mcp-connect-authority",
  "/healthz",
  "/v0.1/health",
  "/v0.1/ping",
  "/v0.1/version",
];

function product(parameters) {
  return Object.entries(parameters).reduce(
    (all, [name, values]) => all.flatMap((one) => values.map((value) => ({ ...one, [name]: value }))),
    [{}],
  );
}

const maxRows = (path, method = "GET") => described(method, path).operation["x-max-rows-read"];

test("each endpoint that anyone may read says how many rows it reads at most", () => {
  const unbounded = operations()
    .filter(({ method, tags }) => method === "get" && !tags.includes("administration"))
    .filter(({ operation }) => !Number.isInteger(operation["x-max-rows-read"]));
  assert.deepEqual(unbounded.map(({ path }) => path), []);
});

for (const stages of CATALOGUES) {
  describe("on a catalogue", () => {
    let authority;
    before(async () => {
      authority = await startAuthority({ meterD1: true });
      const { api_key } = await authority.createClient("reader");
      bearer = api_key;
    });
    after(() => authority?.stop());
    let bearer;

    async function read(path, options) {
      authority.clearLog();
      const answer = await authority.request(path, options);
      const rows = authority.logged("d1").reduce((sum, { rows_read }) => sum + rows_read, 0);
      return { ...answer, rows };
    }

    async function assertBounded(path) {
      const { status, rows, text } = await read(path);
      assert.ok([200, 404].includes(status), `${path}: ${status} ${text}`);
      assert.ok(rows <= maxRows(path), `${path}: ${rows} rows`);
    }

    for (const [name, statements] of stages) {
      describe(name, () => {
        before(async () => {
          await fill(await authority.database(), statements);
          // Writing prepares the words that corrections come from; of what was written by SQL, the cron does.
          await authority.scheduled("* * * * *");
        });

        test("a list reads a bounded number of rows, whatever is asked for", async () => {
          for (const query of LISTS) await assertBounded(`/v0.1/servers?${new URLSearchParams({ ...query, limit: "100" })}`);
        });

        test("so does everything else that anyone may read", async () => {
          for (const path of OTHERS) await assertBounded(path);
        });

        const SEARCHED = ["/v0.1/servers?search=", "/v0.1/x/org.mcp-connect/search?q=", "/v1/servers?query="];

        test("so does a mistyped word, for which an isolate must read the words first", async () => {
          const database = await authority.database();
          for (const path of SEARCHED) {
            await database.prepare("UPDATE search_vocabulary SET prepared_at = prepared_at + 1").run();
            await assertBounded(`${path}fleat&limit=100`);
          }
          const prepared = await database.prepare("SELECT words FROM search_vocabulary").first("words");
          const indexed = await database.prepare("SELECT count(*) AS n FROM search_terms WHERE octet_length(term) BETWEEN 4 AND 30").first("n");
          assert.equal(prepared.split("\n").filter(Boolean).length, indexed, "all words were there to be read");
        });

        test("so does a word that looks mistyped, and is not", async () => {
          const database = await authority.database();
          await database.prepare("UPDATE search_vocabulary SET words = 'bulk2 1', prepared_at = prepared_at + 1").run();
          await authority.request("/v0.1/servers?search=qqqqqqqqqq");
          for (const path of SEARCHED) await assertBounded(`${path}bulk1&limit=100`);
        });

        test("so does connect", async () => {
          for (const server_ref of [NAME, `${NAME}@1.0.0`, `${NAME}@9.9.9`, "org.nowhere/none"]) {
            const { rows } = await read("/v1/connect", { body: { server_ref }, bearer });
            assert.ok(rows <= maxRows("/v1/connect", "POST"), `${server_ref}: ${rows} rows`);
          }
        });

        test("a list in which nothing is comes to its end, page by page", async () => {
          const query = `cursor=a&updated_since=${NEVER}`;
          let pages = 0;
          for (let more = query; more !== undefined; pages += 1) {
            const { body } = await read(`/v0.1/servers?limit=100&${more}`);
            assert.ok(pages <= VERSIONS / 1000 + 1, `${query}: it does not end`);
            more = body.metadata.nextCursor && `cursor=${body.metadata.nextCursor}`;
          }
        });
      });
    }
  });
}

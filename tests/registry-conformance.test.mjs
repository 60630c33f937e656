// The cases that the official registry is tested with, where they are there, asked of the built Worker under both
// prefixes.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { join } from "node:path";

import { REPOSITORY, startAuthority } from "./support/authority.mjs";
import { emptyRegistry, PREFIXES, registryToken } from "./support/registry.mjs";

const FOLDER = join(REPOSITORY, "../shared/conformance/registry");
const skip = existsSync(FOLDER) ? false : `there is no ${FOLDER}`;
const read = (file) => JSON.parse(readFileSync(join(FOLDER, file), "utf8"));
const ADMIN = [
  { action: "publish", resource: "*" },
  { action: "edit", resource: "*" },
];

/// What a JSON pointer finds, where `*` stands for each element.
function found(value, pointer) {
  const [, ...steps] = pointer.split("/").map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  let values = [value];
  for (const step of steps) values = values.flatMap((value) => (step === "*" ? value : [value?.[step]]));
  return steps.includes("*") ? values : values[0];
}

function check(body, { ptr, ...wanted }) {
  const value = found(body, ptr);
  for (const [kind, expected] of Object.entries(wanted)) {
    switch (kind) {
      case "equals":
        assert.deepEqual(value, expected, ptr);
        break;
      case "length":
        assert.equal(value.length, expected, ptr);
        break;
      case "contains":
        assert.ok(value.includes(expected), ptr);
        break;
      case "not_contains":
        assert.ok(!value.includes(expected), ptr);
        break;
      case "exists":
        assert.equal(value !== undefined, expected, ptr);
        break;
      case "empty_or_null":
        assert.equal((value ?? []).length === 0, expected, ptr);
        break;
      default:
        assert.fail(`nobody knows how to check ${kind}`);
    }
  }
}

for (const prefix of PREFIXES) {
  describe(`the official registry's cases under ${prefix}`, { skip }, () => {
    let authority;
    before(async () => {
      authority = await startAuthority({ settings: { PUBLISH_ANONYMOUS: "true" } });
    });
    after(() => authority?.stop());

    async function ask({ method, path, body, claims, authorization }) {
      const headers = {};
      if (claims) headers.authorization = `Bearer ${await registryToken(authority, claims)}`;
      else if (typeof authorization === "string") headers.authorization = authorization;
      return authority.request(path.replace(/^\/v0(?=\/)/, prefix), { method, headers, body });
    }

    async function setUp({ op, ...step }) {
      const claims = { auth_method: "none", permissions: ADMIN };
      const { name, version, server, body } = step;
      const path = `/v0/servers/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}/status`;
      const answer = await ask(
        op === "publish"
          ? { method: "POST", path: "/v0/publish", body: server, claims }
          : { method: "PATCH", path, body, claims },
      );
      assert.equal(answer.status, 200, `${op}: ${answer.text}`);
    }

    /// Names and versions of all pages.
    async function walk(path) {
      const seen = [];
      for (let cursor = ""; cursor !== undefined; ) {
        const { status, body } = await ask({ method: "GET", path: `${path}${cursor && `&cursor=${encodeURIComponent(cursor)}`}` });
        assert.equal(status, 200);
        seen.push(...body.servers.map(({ server }) => [server.name, server.version]));
        cursor = body.metadata.nextCursor;
      }
      return seen;
    }

    const scenarios = skip ? [] : read("http-cases.json").scenarios;
    scenarios.forEach(({ source, setup, cases }, n) => {
      test(`${n + 1} ${source}`, async (t) => {
        await emptyRegistry(authority);
        for (const step of setup) await setUp(step);
        for (const { name, request, expect } of cases) {
          await t.test(name, async () => {
            if (request.method === "WALK") {
              assert.deepEqual(await walk(request.path), expect.json[0].walk_equals);
              return;
            }
            const answer = await ask(request);
            assert.equal(answer.status, expect.status, answer.text);
            assert.ok(answer.text.includes(expect.body_contains ?? ""), answer.text);
            for (const wanted of expect.json ?? []) check(answer.body, wanted);
          });
        }
      });
    });

    test("a slash at the end of a path leads to the path without it", async (t) => {
      for (const { name, path, expectRedirect, expectedLocation } of skip ? [] : read("misc-cases.json").trailing_slash) {
        await t.test(name, async () => {
          const { status, headers } = await authority.request(path.replace(/^\/v0(?=\/)/, prefix));
          // What is then found there, if anything, is another matter.
          assert.equal(status === 308, expectRedirect, `${status}`);
          const location = headers.get("location");
          assert.equal(location, expectedLocation?.replace(/^\/v0(?=\/)/, prefix) ?? null);
        });
      }
    });

    test("no NUL gets in", async (t) => {
      for (const { target, status, body_contains, content_type } of skip ? [] : read("misc-cases.json").nul_byte) {
        await t.test(target, async () => {
          const answer = await authority.request(target.replace(/^\/v0(?=\/)/, prefix));
          assert.equal(answer.status, status, answer.text);
          assert.ok(answer.text.includes(body_contains ?? ""), answer.text);
          if (content_type) assert.equal(answer.headers.get("content-type"), content_type);
        });
      }
    });
  });
}

// What is served beside the Worker: the API's description, and the page that shows it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse } from "yaml";

import { REPOSITORY, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";

let authority;

before(async () => {
  authority = await startAuthority();
});
after(() => authority?.stop());

describe("the API's description", () => {
  const source = readFileSync(join(REPOSITORY, "schema/openapi.yaml"), "utf8");

  test("is served as it is written", async () => {
    const answer = await authority.request("/openapi.yaml");
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-type"), "application/yaml");
    assert.equal(answer.text, source);
  });

  test("is served as JSON too, which says the same", async () => {
    const answer = await authority.request("/openapi.json");
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-type"), "application/json");
    assert.deepEqual(answer.body, parse(source));
  });

  test("may be kept, asked for again, and read from any page", async () => {
    for (const path of ["/openapi.yaml", "/openapi.json"]) {
      const { headers } = await authority.request(path);
      assert.equal(headers.get("cache-control"), "public, max-age=300");
      assert.equal(headers.get("access-control-allow-origin"), "*");
      const again = await authority.request(path, { headers: { "if-none-match": headers.get("etag") } });
      assert.equal(again.status, 304);
    }
  });
});

describe("the first page", () => {
  test("says what this is, and leads to what there is", async () => {
    const page = await authority.request("/", { headers: { accept: "text/html", "sec-fetch-mode": "navigate" } });
    assert.equal(page.status, 200);
    assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
    assert.equal(page.headers.get("vary"), "Accept");
    assert.match(page.headers.get("content-security-policy"), /^default-src 'none'; style-src 'self'; /);
    assert.match(page.text, /registry of MCP servers/);
    const links = [...page.text.matchAll(/ (?:src|href)="([^"]*)"/g)].map(([, link]) => link);
    for (const link of ["/docs", "/openapi.yaml", "/v0.1/servers", "/healthz"]) assert.ok(links.includes(link), link);
    for (const link of links) assert.equal((await authority.request(link)).status, 200, link);
    assert.doesNotMatch(page.text, /<script|<style|style=/);
  });
});

describe("the page of the API", () => {
  test("loads our files only, and may do nothing else", async () => {
    const page = await authority.request("/docs");
    assert.equal(page.status, 200);
    assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
    assert.equal(page.headers.get("x-content-type-options"), "nosniff");
    const allowed = page.headers.get("content-security-policy").split("; ").map((directive) => directive.split(" "));
    assert.deepEqual(allowed.find(([directive]) => directive === "default-src"), ["default-src", "'none'"]);
    for (const source of allowed.flatMap(([, ...sources]) => sources)) {
      assert.ok(["'none'", "'self'", "data:"].includes(source), source);
    }
    const files = [...page.text.matchAll(/ (?:src|href)="([^"]*)"/g)].map(([, file]) => file);
    assert.ok(files.length >= 5, page.text);
    for (const file of files) {
      assert.match(file, /^\/\w/);
      assert.equal((await authority.request(file)).status, 200, file);
    }
    assert.doesNotMatch(page.text, /<script>|<style|style=/);
  });

  test("has one address", async () => {
    for (const other of ["/docs/", "/docs.html"]) {
      const answer = await authority.request(other);
      assert.equal(answer.status, 307);
      assert.equal(answer.headers.get("location"), "/docs");
    }
  });
});

test("what is no file is the Worker's to answer", async () => {
  for (const path of ["/", "/docs/nothing", "/_headers", "/site", "/openapi", "/v9", "/%00", "/docs%00"]) {
    assertProblem(await authority.request(path), 404, "not_found");
  }
  const navigation = { headers: { "sec-fetch-mode": "navigate", accept: "text/html" } };
  assertProblem(await authority.request("/nothing", navigation), 404, "not_found");
});

test("files are only read", async () => {
  for (const method of ["POST", "PUT", "DELETE"]) {
    const answer = await authority.request("/docs", { method });
    assert.equal(answer.status, 405);
    assert.equal(answer.headers.get("allow"), "GET, HEAD");
  }
  const head = await authority.request("/openapi.yaml", { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal(head.text, "");
});

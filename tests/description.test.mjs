// That what holds answers against the API's description would notice one that is not as described.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";

import { REPOSITORY } from "./support/authority.mjs";
import { assertDescribed, described } from "./support/description.mjs";

const SERVER = { id: "com.example/a", version: "1.0.0", description: "A", verified: true, verification: "endpoint", status: "active" };

function answered(path, body, { status = 200, type = "application/json" } = {}) {
  const answer = { status, headers: new Headers({ "content-type": type }), text: JSON.stringify(body), body };
  return () => assertDescribed("GET", path, answer);
}

const list = (server, options) => answered("/v1/servers?limit=1", { servers: [server] }, options);

test("what is as described passes", () => {
  list(SERVER)();
  answered("/v1/servers/com.example/a", { ...SERVER, server: {}, status_reason: "why" })();
});

test("what is not described is noticed", () => {
  const { version, ...incomplete } = SERVER;
  assert.throws(list(incomplete), /required property 'version'/);
  assert.throws(list({ ...SERVER, other: 1 }), /unevaluated properties/);
  assert.throws(answered("/v1/servers", { servers: [], other: 1 }), /unevaluated properties/);
  assert.throws(answered("/v1/servers/com.example/a", { ...SERVER, server: {}, other: 1 }), /unevaluated properties/);
  assert.throws(list({ ...SERVER, status: "odd" }), /allowed values/);
  assert.throws(list({ ...SERVER, jwks_uri: "no URI" }), /format "uri"/);
  assert.throws(list(SERVER, { status: 418 }), /status is not described/);
  assert.throws(list(SERVER, { type: "text/plain" }), /type text\/plain is not described/);
});

test("the more exact path is meant, and of {change} only what there is", () => {
  const template = (path) => described("POST", `/v1/admin/administrators/mona/${path}`)?.template;
  assert.equal(template("role"), "/v1/admin/administrators/{name}/role");
  assert.equal(template("suspend"), "/v1/admin/administrators/{name}/{change}");
  assert.equal(template("applaud"), undefined);
});

test("the description refers to nothing that it does not have", () => {
  const source = readFileSync(join(REPOSITORY, "schema/openapi.yaml"), "utf8");
  const document = parse(source);
  const references = [...source.matchAll(/\$ref: "#\/([^"]+)"/g)].map(([, pointer]) => pointer);
  assert.ok(references.length > 100);
  for (const pointer of references) {
    const names = pointer.split("/").map((name) => decodeURIComponent(name).replaceAll("~1", "/"));
    assert.ok(names.reduce((part, name) => part?.[name], document), pointer);
  }
});

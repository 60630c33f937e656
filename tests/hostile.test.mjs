import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";

import { REPOSITORY, startAuthority } from "./support/authority.mjs";
import { assertDescribed, operations } from "./support/description.mjs";
import { assertProblem } from "./support/problem.mjs";

const SERVER = "com.example/weather";
const agent = new Agent({ keepAlive: false });
let authority, key;

before(async () => {
  authority = await startAuthority();
  key = (await authority.createClient("client")).api_key;
  await authority.publish(SERVER);
});
after(() => authority?.stop());

/// Every endpoint of the API's description, with real names in its path; those of the registry, which refuse
/// in another form, have tests of their own.
const ENDPOINTS = describedEndpoints(readFileSync(`${REPOSITORY}/schema/openapi.yaml`, "utf8")).filter(
  ({ path }) => !path.startsWith("/v0"),
);

function describedEndpoints(openapi) {
  const paths = openapi.slice(openapi.indexOf("\npaths:"), openapi.indexOf("\ncomponents:"));
  return paths.split(/\n  (?=\/)/).slice(1).flatMap((text) => {
    const [template] = text.split(":\n", 1);
    const changes = text.match(/name: change,.*enum: \[(.*)\]/)?.[1].split(", ") ?? [""];
    const methods = [...text.matchAll(/^    (get|post|put|patch|delete):$/gm)].map(([, method]) => method.toUpperCase());
    return changes.flatMap((change) => {
      const path = template
        .replace("{namespace}/{name}", SERVER)
        .replace("{client_id}", "client")
        .replace("{change}", change);
      return methods.map((method) => ({ method, path }));
    });
  });
}

const bearer = (path) => (path.startsWith("/v1/admin") ? authority.operatorToken : key);

/// No answer for so long is one that the proxy lost.
const LOST_MS = 5_000;

/// By node:http, which sends what fetch refuses to send. The Worker answers, and hangs up, before it
/// has read all of a body that is too large; on the way through miniflare's own proxy, or to us, that
/// answer can get lost (RFC 9112, section 9.6). Then it is asked for again.
async function send(method, path, options = {}, attempts = 20) {
  const lost = (error) => attempts > 0 && ["ECONNRESET", "EPIPE"].includes(error.code);
  const response = await sendOnce(method, path, options).catch((error) => {
    if (!lost(error)) throw error;
  });
  const isLost = response === undefined || (attempts > 0 && /^Error: Network connection lost/.test(response.text));
  return isLost ? send(method, path, options, attempts - 1) : response;
}

function sendOnce(method, path, { body = "", chunked = false }) {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${bearer(path)}` };
    if (body && !chunked) headers["content-length"] = Buffer.byteLength(body);
    const sent = request(`${authority.url}${path}`, { agent, method, headers });
    sent.on("response", async (response) => {
      response.setEncoding("utf8");
      resolve(answer(response.statusCode, new Headers(response.headers), (await response.toArray()).join("")));
    });
    sent.on("error", reject);
    sent.setTimeout(LOST_MS, () => sent.destroy(Object.assign(new Error("no answer"), { code: "ECONNRESET" })));
    sent.end(body);
  });
}

/// By hand, byte for byte.
function sendBytes(head, body = "") {
  return new Promise((resolve, reject) => {
    const socket = connect(new URL(authority.url).port, "127.0.0.1");
    const received = [];
    socket.on("data", (bytes) => received.push(bytes));
    socket.on("error", reject);
    socket.on("close", () => {
      const [top, ...rest] = Buffer.concat(received).toString("latin1").split("\r\n\r\n");
      const [status, ...lines] = top.split("\r\n");
      const headers = new Headers(lines.map((line) => line.split(/: ?(.*)/s, 2)));
      const text = rest.join("\r\n\r\n");
      const isChunked = headers.get("transfer-encoding") === "chunked";
      resolve(answer(Number(status.split(" ")[1]), headers, isChunked ? unchunked(text) : text));
    });
    socket.end(Buffer.from(`${head}\r\nHost: authority.test\r\nConnection: close\r\n\r\n${body}`, "latin1"));
  });
}

function unchunked(text) {
  const [size, rest] = text.split(/\r\n(.*)/s, 2);
  const length = Number.parseInt(size, 16);
  return length > 0 ? rest.slice(0, length) + unchunked(rest.slice(length + 2)) : "";
}

function answer(status, headers, text) {
  const isJson = /\bjson\b/.test(headers.get("content-type"));
  return { status, headers, text, body: isJson ? JSON.parse(text) : undefined };
}

/// A refusal of the client, as a problem that says what to do.
function assertRefused(response, what, statuses = [400, 401, 403, 404, 405, 413]) {
  assert.ok(statuses.includes(response.status), `${what}: ${response.status} ${response.text}`);
  assertProblem(response, response.status, response.body?.code);
  assert.match(response.body.code, /^[a-z_]+$/, what);
}

const outcomes = (response) => response.body.results.map(({ outcome }) => outcome);
const nested = (depth) => "[".repeat(depth) + "]".repeat(depth);
const BODIES = {
  "no body": "",
  "a blank": " ",
  "half an object": `{"server_ref":"com.`,
  "no JSON": "server_ref=com.example/weather",
  "two objects": "{}{}",
  "a list": "[]",
  "a list of its members": `["${SERVER}","client","reason"]`,
  "a text": `"${SERVER}"`,
  "null": "null",
  "a number": "1e999",
  "wrong types": `{"server_ref":1,"client_id":[],"reason":{},"servers":"x"}`,
  "deep nesting": nested(100_000),
  "deep nesting within a member": `{"servers":[{"server":${nested(10_000)}}],"reason":${nested(10_000)},"server_ref":${nested(10_000)},"client_id":${nested(10_000)}}`,
  "no UTF-8": Buffer.from(`{"reason":"\xff\xfe","client_id":"\xff","server_ref":"\xff","servers":"\xff"}`, "latin1"),
  "a byte order mark": `\u{feff}{}`,
};

const QUERIES = [
  "%00", "%ff", "%", "%zz", "limit=%ff", "limit=1&limit=2", "cursor=%00", "cursor=AAAA", "query=%00", "query[]=x", "=", "&&&",
  `query=${"q".repeat(10_000)}`, `x=${"%41".repeat(4_000)}`,
];

test("the API's description names all the families of endpoints", () => {
  const shown = ENDPOINTS.map(({ method, path }) => `${method} ${path}`);
  assert.ok(shown.length >= 16, shown.join("\n"));
  for (const known of ["POST /v1/connect", "GET /v1/admin/audit", `POST /v1/admin/servers/${SERVER}/reinstate`, "POST /v1/admin/clients/client/resume"]) {
    assert.ok(shown.includes(known), known);
  }
});

for (const { method, path } of ENDPOINTS) {
  describe(`${method} ${path}`, () => {
    test("withstands each body", async () => {
      const usual = await send(method, path);
      for (const [what, body] of Object.entries(BODIES)) {
        const response = await send(method, path, { body });
        // Where no body is asked for, none is looked at.
        if (method === "GET") assert.equal(response.status, usual.status, what);
        // A probe takes no body, so none is looked at there either.
        else if (path.endsWith("/probe")) assert.ok([usual.status, 413].includes(response.status), what);
        // An import takes what it can, and refuses the rest entry by entry.
        else if (response.status === 200) assert.deepEqual(outcomes(response), ["refused"], what);
        else assertRefused(response, what, body.length > 8 * 1024 ? [400, 413] : [400]);
      }
    });

    test("refuses other methods, and says which it knows", async () => {
      const known = ENDPOINTS.filter((endpoint) => endpoint.path === path).map((endpoint) => endpoint.method);
      for (const other of ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "TRACE"]) {
        if (known.includes(other)) continue;
        const response = await send(other, path);
        assertProblem(response, 405, "method_not_allowed");
        const allowed = response.headers.get("allow").split(/, ?/).filter((name) => name !== "HEAD");
        assert.deepEqual(allowed.sort(), known.toSorted());
      }
    });
  });
}

for (const { path } of ENDPOINTS.filter(({ method }) => method === "GET")) {
  test(`odd queries of ${path} are refused, or not looked at`, async () => {
    const usual = await send("GET", path);
    for (const query of QUERIES) {
      const response = await send("GET", `${path}?${query}`);
      if (response.status !== usual.status) assertRefused(response, query);
    }
  });
}

test("a parameter that an endpoint does not have is refused by each that has some, or none", async () => {
  const real = (template) =>
    template.replace("{namespace}/{name}", SERVER).replace("{client_id}", "client")
      .replace("{change}", template.includes("/servers/") ? "revoke" : "suspend").replaceAll(/\{\w+\}/g, "x");
  for (const { path, method, query } of operations().filter(({ path }) => path.startsWith("/v1/"))) {
    const ask = (name) => send(method.toUpperCase(), `${real(path)}?${name}=1`);
    const refused = await ask("unheard_of");
    assertProblem(refused, 400, "request_invalid", "unheard_of: is not a parameter of this endpoint; there are ");
    assertDescribed(method, path, refused);
    const listed = refused.body.detail.replace(/.*; there are /, "").split(", ");
    assert.deepEqual(listed.toSorted(), query.length > 0 ? query.toSorted() : ["none"], `${method} ${path}`);
    for (const name of query) assert.doesNotMatch((await ask(name)).body?.detail ?? "", /is not a parameter/, `${path}?${name}`);
  }
  for (const path of ["/healthz", "/.well-known/jwks.json", "/.well-known/mcp-connect-authority", "/v0.1/servers", "/v0.1/ping"]) {
    assert.equal((await send("GET", `${path}?unheard_of=1`)).status, 200, path);
  }
});

describe("a body of the wrong shape", () => {
  const RUST = /struct|enum\b|variant|field|sequence|expected|invalid type|u32|u64|line \d/;
  const reason = "a test";
  const level = `"none", "namespace", "endpoint", "operator"`;
  for (const [method, path, body, detail] of [
    ["POST", "/administrators", { name: "ann", role: "viewer" }, `role: must be one of "metrics", "auditor", "moderator", "operator", but is "viewer"`],
    ["POST", "/administrators", { name: "ann", role: null }, "role: must be a string"],
    ["POST", "/administrators", { name: 7, role: "operator" }, "name: must be a string, but is 7"],
    ["POST", "/administrators", { role: "operator" }, "name: is missing"],
    ["POST", "/administrators", { name: "ann", role: "auditor", admin: true }, `admin: is no member; there are "name", "role", "label", "expires_in", "expires_at", "reason"`],
    ["POST", "/administrators/ann/role", [], "the body is not a JSON object"],
    ["POST", "/policy", { policy: [], reason }, "policy: must be an object, but is a list"],
    ["POST", "/policy", { policy: [["*"]], reason }, "policy: must be an object, but is a list"],
    ["POST", "/policy", { policy: null, reason }, "policy: must be an object, but is null"],
    ["POST", "/policy", { policy: { allow: ["*"], clients: [] }, reason }, "policy.clients: must be an object, but is a list"],
    ["POST", "/policy", { policy: { allow: ["*"], clients: [["*"], []] }, reason }, "policy.clients: must be an object, but is a list"],
    ["POST", "/policy", { policy: { allow: ["*"], clients: null }, reason }, "policy.clients: must be an object, but is null"],
    ["POST", "/policy", { policy: { allow: ["*"], clients: { allow: "*" } }, reason }, `policy.clients.allow: must be a list, but is the string "*"`],
    ["POST", "/policy", { policy: { allow: ["*"], versions: [["a/b"]] }, reason }, "policy.versions[0]: must be an object, but is a list"],
    ["POST", "/policy", { policy: { allow: ["*"], versions: [{ pin: "1" }] }, reason }, "policy.versions[0].servers: is missing"],
    ["POST", "/policy", { policy: { allow: ["*"], publishers: ["-"] }, reason }, "policy.publishers[0]: the namespace before"],
    ["POST", "/policy", { policy: { allow: ["*"], require_verification: "high" }, reason }, `policy.require_verification: must be one of ${level}, but is "high"`],
    ["POST", "/policy", { policy: { allow: ["*"] }, reason, if_version: -1 }, "if_version: must be a whole number from 0 to 4294967295, but is -1"],
    ["POST", "/clients", { client_id: "c", expires_in: 1.5 }, "expires_in: must be a whole number from 0 to 18446744073709551615, but is 1.5"],
    ["POST", "/clients", { client_id: "c", api_key: "no" }, `api_key: must be true or false, but is the string "no"`],
    ["POST", "/revocations", { kind: "server", id: "x", reason }, `kind: must be one of "client", "jti", "key", "tenant", but is "server"`],
    ["POST", "/purge", { reason, namespace: "-" }, "namespace: the namespace before"],
    ["POST", "/import", { servers: null }, "servers: must be a list, but is null"],
    ["POST", "/import", {}, "servers: is missing"],
    ["POST", "/tenants/acme/identity-providers", { issuer: "https://id.example", audience: "a", reason, required_claims: { a: 1 } }, "required_claims.a: must be a string, but is 1"],
    ["POST", "/servers/com.example/weather/prove", { level: "operator" }, "level: must be one of"],
  ]) {
    test(`${method} ${path} ${JSON.stringify(body)}`, async () => {
      const { status, body: problem } = await send(method, `/v1/admin${path}`, { body: JSON.stringify(body) });
      assert.deepEqual([status, problem.code], [400, "request_invalid"]);
      assert.ok(problem.detail.startsWith(detail), problem.detail);
      assert.doesNotMatch(problem.detail, RUST);
    });
  }

  test("syntax errors keep their place", async () => {
    const { body } = await send("POST", "/v1/connect", { body: `{"server_ref" "x"}` });
    assert.equal(body.detail, "the body: is not JSON: expected `:` at line 1 column 15");
  });

  test("of every endpoint is told without a word of Rust", async () => {
    for (const { method, path } of ENDPOINTS.filter(({ method, path }) => method !== "GET" && !path.endsWith("/probe"))) {
      for (const body of [`{"x":1}`, `{"reason":[]}`, `{"reason":null,"server_ref":{}}`, "[]", "{}", `{"client_id":1,"name":{},"issuer":[],"token":0}`]) {
        const { status, text, body: problem } = await send(method, path, { body });
        if (status === 400) assert.doesNotMatch(problem.detail, RUST, `${path} ${body}: ${text}`);
      }
    }
  });
});

test("what does not show has no place in what administrators write", async () => {
  const post = (path, body) => authority.admin(path, body);
  for (const hidden of ["\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u00ad", "\ufffe", "\ufdd0", "\u{1ffff}", "\u0007", "\n", "\u3164"]) {
    const text = `odd${hidden}traffic`;
    const code = `U+${hidden.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    for (const [path, body] of [
      [`/servers/${SERVER}/quarantine`, {}],
      [`/servers/${SERVER}@1.0.0/revoke`, {}],
      ["/clients/client/suspend", {}],
      ["/policy", { policy: { allow: ["*"] } }],
      ["/revocations", { kind: "jti", id: "x" }],
      ["/tenants", { tenant_id: "odd" }],
      ["/import", { servers: [{}] }],
    ]) {
      const refused = await post(path, { ...body, reason: text });
      assertProblem(refused, 400, "request_invalid", `reason: has the control, format or blank character ${code}`);
    }
    assertProblem(await post("/tenants", { tenant_id: "odd", name: text }), 400, "request_invalid", "name");
    assertProblem(await post("/clients", { client_id: "odd", label: text }), 400, "request_invalid", "label");
  }
  const shown = await post("/clients/client/suspend", { reason: "鍵が\u3000漏れた: 🎉 fuite\u00a0!" });
  assert.equal(shown.status, 200, shown.text);
  assert.equal((await post("/clients/client/resume", { reason: "well again" })).status, 200);
});

describe("a path", () => {
  for (const path of [
    "/%00", "/%ff", "/%", "/%zz", "/%2e%2e/%2e%2e/etc/passwd", "/v1/%2e%2e/%2e%2e/etc/passwd", "/v1//servers", "/v1/servers/%",
    "/v1/servers/%00/%00", "/v1/servers/com.example/%00", "/v1/servers/com.example/%ff", "/v1/servers/com.example/%2e%2e",
    "/v1/servers/%2e%2e/%2e%2e", "/v1/servers/com.example/weather%2F..%2F..", "/v1/servers/com.example/weather@%00",
    "/v1/servers/com.example/weather@%ff", "/v1/servers/com.example/weather%", "/v1/servers/com.example/%25%30%30",
    `/v1/servers/com.example/${"n".repeat(10_000)}`, `/${"p".repeat(10_000)}`, `/${"p/".repeat(5_000)}`,
    `/v1/servers/com.example/weather@${"9".repeat(5_000)}`,
    "/v1/admin/clients/%00/suspend", "/v1/admin/clients/%ff/suspend", "/v1/admin/clients/a%2Fb/suspend", `/v1/admin/clients/${"c".repeat(9_000)}/suspend`,
    "/v1/admin/servers/%ff/%ff/verify", "/v1/admin/servers/com.example/%00/revoke", "/v1/admin/servers/com.example/weather/destroy",
    "/v1/admin/../connect/../admin/nothing",
  ]) {
    test(`is refused: ${path.slice(0, 70)}`, async () => {
      for (const method of ["GET", "POST"]) {
        assertRefused(await send(method, path, method === "POST" ? { body: `{"reason":"r"}` } : {}), method);
      }
    });
  }
});

describe("a header", () => {
  const withAuthorization = (...values) =>
    sendBytes(
      ["POST /v1/connect HTTP/1.1", ...values.map((value) => `Authorization: ${value}`), `Content-Length: ${BODY.length}`].join("\r\n"),
      BODY,
    );
  const BODY = JSON.stringify({ server_ref: SERVER });

  test("of a good request, sent by hand, is understood", async () => {
    assert.equal((await withAuthorization(`Bearer ${key}`)).status, 200);
  });

  test("with bytes that are not ASCII is no credential", async () => {
    for (const value of ["Bearer \xff\xfe", `Bearer ${key}\xe4`, `Bearer \xc3\xa4${key}`, "\x80", `Bearer ${key}\x01`, `Bearer\xa0${key}`]) {
      const response = await withAuthorization(value);
      assertRefused(response, value, [400, 401]);
    }
  });

  test("that comes twice is no credential", async () => {
    for (const values of [[`Bearer ${key}`, `Bearer ${key}`], ["Bearer x", `Bearer ${key}`]]) {
      assertProblem(await withAuthorization(...values), 401, "caller_unauthenticated");
    }
  });

  test("that is very long is no credential", async () => {
    assertProblem(await withAuthorization(`Bearer ${"k".repeat(50_000)}`), 401, "caller_unauthenticated");
  });
});

test("a body over the limit is refused at each limit, with and without Content-Length", async () => {
  const padded = (bytes) => {
    const body = { server_ref: SERVER, client_id: "" };
    body.client_id = "c".repeat(bytes - JSON.stringify(body).length);
    return JSON.stringify(body);
  };
  for (const chunked of [false, true]) {
    assertProblem(await send("POST", "/v1/connect", { body: padded(8 * 1024), chunked }), 400, "request_invalid", "client_id");
    assertProblem(await send("POST", "/v1/connect", { body: padded(8 * 1024 + 1), chunked }), 413, "request_invalid", "8 KiB");
    const imported = (bytes) => `{"servers":["${"x".repeat(bytes - 16)}"]}`;
    assert.equal((await send("POST", "/v1/admin/import", { body: imported(1024 * 1024), chunked })).status, 200);
    assertProblem(await send("POST", "/v1/admin/import", { body: imported(1024 * 1024 + 1), chunked }), 413, "request_invalid", "1024 KiB");
    for (const { path } of ENDPOINTS.filter(({ method }) => method === "POST")) {
      assertProblem(await send("POST", path, { body: padded(2_000_000), chunked }), 413, "request_invalid");
    }
  }
});

test("after all of this the authority works, and never broke down", async () => {
  const answer = await authority.connect(SERVER, key);
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual((await authority.request("/healthz")).body, { status: "ok" });
  const broken = authority.log().filter((line) => /panic|Critical|Reinitializing|storage_failed|RuntimeError/.test(line));
  assert.deepEqual(broken, []);
});

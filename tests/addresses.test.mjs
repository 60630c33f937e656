// Paths that are spelled otherwise than ours are: base URLs that end in a slash or in a part of the API, names with
// a raw slash, upper case; and which pages may read the answers.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { serverJson, tokenFor } from "./support/registry.mjs";

const APP = "https://app.example";
const NAME = "com.example/weather";
const ENCODED = encodeURIComponent(NAME);

describe("addresses", () => {
  let authority;
  let bearer;
  before(async () => {
    authority = await startAuthority();
    bearer = await tokenFor(authority, "*", "publish");
    await authority.publish(NAME);
  });
  after(() => authority?.stop());

  /// An answer that any page may read.
  const ask = async (path, options) => {
    const answer = await authority.request(path, options);
    assert.equal(answer.headers.get("access-control-allow-origin"), "*", `${answer.status} ${path}`);
    return answer;
  };

  test("lead to the one endpoint that they can mean", async () => {
    for (const [path, location] of [
      ["//v0.1/servers", "/v0.1/servers"],
      ["///v0.1//servers/?limit=1&search=a%2Fb", "/v0.1/servers?limit=1&search=a%2Fb"],
      ["/v0.1//servers?limit=1", "/v0.1/servers?limit=1"],
      ["/v0.1/v0.1/servers", "/v0.1/servers"],
      ["/v0.1/servers/v0.1/servers?limit=1", "/v0.1/servers?limit=1"],
      ["/V0.1/servers", "/v0.1/servers"],
      ["/v1/revocations/", "/v1/revocations"],
      ["/v1/v1/servers", "/v1/servers"],
      ["//.well-known/jwks.json", "/.well-known/jwks.json"],
      ["/healthz/", "/healthz"],
      ["/v0.1/docs", "/docs"],
      ["/publish", "/v0.1/publish"],
      [`//v0.1/servers/${NAME}/versions/latest`, `/v0.1/servers/${ENCODED}/versions/latest`],
    ]) {
      const { status, headers, text } = await ask(path);
      assert.equal(status, 308, path);
      assert.equal(headers.get("location"), location, path);
      assert.equal(text, "");
      assert.notEqual((await authority.request(location)).status, 404, location);
    }
  });

  test("are followed with method, body and credential", async () => {
    for (const [n, path] of ["//v0.1/publish", "/v0.1//publish", "/v0.1/v0.1/publish", "/v0/publish/"].entries()) {
      const body = JSON.stringify(serverJson(`com.example/published-${n}`));
      const headers = { authorization: `Bearer ${bearer}`, "content-type": "application/json" };
      const response = await fetch(`${authority.url}${path}`, { method: "POST", headers, body });
      assert.equal(response.status, 200, `${path}: ${await response.text()}`);
      assert.ok(response.redirected, path);
    }
  });

  test("with the slash of a name in the other API's spelling are answered in place", async () => {
    for (const path of [
      `/v0.1/servers/${NAME}/versions/latest`,
      `/v0/servers/${NAME}/versions/1.0.0`,
      `/v0.1/servers/${NAME}/versions?include_deleted=true`,
      `/v0.1/servers/${encodeURIComponent(ENCODED)}/versions/latest`,
      `/v1/servers/${ENCODED}`,
    ]) {
      const answer = await ask(path);
      assert.equal(answer.status, 200, `${path}: ${answer.text}`);
    }
    // To the description this is the path of a server that is called "challenge".
    const challenge = await fetch(`${authority.url}/v1/servers/${ENCODED}/challenge`);
    assert.equal((await challenge.json()).namespace.subject, "example.com");
    const shown = (path) => authority.request(path).then(({ body }) => body);
    assert.deepEqual(await shown(`/v0.1/servers/${NAME}/versions/latest`), await shown(`/v0.1/servers/${ENCODED}/versions/latest`));
    const deprecated = await authority.request(`/v0.1/servers/${NAME}/status`, { method: "PATCH", bearer: await tokenFor(authority, "*", "publish", "edit"), body: { status: "deprecated" } });
    assert.equal(deprecated.status, 200, deprecated.text);
    assert.equal((await authority.admin(`/servers/${ENCODED}/quarantine`, { reason: "the same server" })).status, 200);
  });

  test("that mean nothing, or several things, say how addresses are built", async () => {
    for (const path of ["/servers", "/nothing", "/v2/servers", "//evil.com", "/v0.1", "/v1/servers/", "/v1/servers/com.example/%2e%2e", "/v0.1/servers/a/b/c/versions", "/api/v0.1/servers"]) {
      const answer = await ask(path);
      assert.equal(answer.status, 404, path);
      assert.match(answer.body.detail, /base URL .* \/v0\.1, .* %2F/, path);
    }
    // The bare address is a page for browsers; everybody else is told.
    assertProblem(await ask("/"), 404, "not_found", "base URL");
    assertProblem(await ask("/servers"), 404, "not_found", "did you mean /v0.1/servers or /v1/servers?");
  });

  test("never lead to another host", async () => {
    for (const path of ["//evil.com/", "///evil.com//", "/\\evil.com/", "//evil.com/v0.1/servers/", "//v0.1/servers/..//evil.com/", "/%2F/evil.com/", "/v0.1//evil.com/"]) {
      const { status, headers } = await ask(path);
      const location = headers.get("location");
      assert.ok([308, 404].includes(status), `${status} ${path}`);
      if (location !== null) assert.match(location, /^\/[^/\\]/, path);
    }
  });
});

describe("pages", () => {
  const ORIGINS = `${APP} vscode-webview://0k3`;
  let authority;
  let bearer;
  before(async () => {
    authority = await startAuthority({ settings: { CORS_ORIGINS: ORIGINS }, limits: { ADDRESS: 1_000 } });
    await authority.publish(NAME);
    bearer = (await authority.createClient("page")).api_key;
  });
  after(() => authority?.stop());

  const preflight = (path, origin, method, headers) =>
    authority.request(path, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": method, "access-control-request-headers": headers },
    });
  const list = (headers, name) => headers.get(name)?.toLowerCase().split(", ") ?? [];
  const PUBLIC = [
    "/.well-known/jwks.json", "/.well-known/mcp-connect-authority", "/v1/revocations", "/v1/servers", `/v1/servers/${NAME}`,
    `/v1/servers/${NAME}/challenge`, "/v1/changes", "/healthz", "/v0.1/servers",
  ];

  test("of any site may read what is public", async () => {
    for (const path of [...PUBLIC, "/openapi.yaml", "/openapi.json", "/", "/docs"]) {
      const { status, headers } = await authority.request(path, { headers: { origin: "https://any.example", accept: "text/html, */*" } });
      assert.equal(status, 200, path);
      assert.equal(headers.get("access-control-allow-origin"), "*", path);
      assert.equal(headers.get("access-control-allow-credentials"), null, path);
    }
    assert.equal((await authority.request("//openapi.yaml")).headers.get("access-control-allow-origin"), "*");
    for (const path of [...PUBLIC, "/openapi.yaml", "/openapi.json", "/", "/docs"]) {
      const { status, headers } = await preflight(path, "https://any.example", "GET", "if-none-match");
      assert.equal(status, 204, path);
      assert.equal(headers.get("access-control-allow-origin"), "*");
      assert.ok(list(headers, "access-control-allow-methods").includes("get"));
      assert.ok(list(headers, "access-control-allow-headers").includes("*"));
    }
  });

  test("are told the methods of whatever they ask without a preflight", async () => {
    for (const path of [...PUBLIC, "/openapi.yaml", "/openapi.json", "/docs"]) {
      for (const method of ["OPTIONS", "PROPFIND"]) {
        const answer = await authority.request(path, { method });
        assert.equal(answer.status, 405, `${method} ${path}`);
        assert.match(answer.headers.get("allow"), /^GET,.*HEAD/, path);
      }
    }
  });

  test("may read why something is refused, and what an unchanged answer says", async () => {
    const etag = (await authority.request("/v1/servers")).headers.get("etag");
    for (const [path, status, options] of [
      ["/v1/servers?limit=0", 400],
      ["/v1/servers/com.example/none", 404],
      ["/v1/servers", 304, { headers: { "if-none-match": etag } }],
      ["/v1/servers", 405, { method: "DELETE" }],
      ["/v1/changes?after=x", 400],
      ["/nothing", 404],
      ["/v1/servers/%ff/x", 400],
    ]) {
      const answer = await authority.request(path, options);
      assert.equal(answer.status, status, `${path}: ${answer.text}`);
      assert.equal(answer.headers.get("access-control-allow-origin"), "*", path);
      for (const name of ["retry-after", "www-authenticate", "etag", "allow"]) {
        assert.ok(list(answer.headers, "access-control-expose-headers").includes(name), name);
      }
    }
  });

  test("of configured origins may connect", async () => {
    for (const origin of ORIGINS.split(" ")) {
      const asked = await preflight("/v1/connect", origin, "POST", "authorization,content-type,dpop");
      assert.equal(asked.status, 204);
      assert.equal(asked.headers.get("access-control-allow-origin"), origin);
      assert.equal(asked.headers.get("vary"), "Origin");
      assert.deepEqual(list(asked.headers, "access-control-allow-headers"), ["authorization", "content-type", "dpop"]);
      assert.ok(list(asked.headers, "access-control-allow-methods").includes("post"));
      for (const [credential, status] of [[bearer, 200], ["mcpk_wrong", 401]]) {
        const answer = await authority.request("/v1/connect", { bearer: credential, headers: { origin }, body: { server_ref: NAME } });
        assert.equal(answer.status, status);
        assert.equal(answer.headers.get("access-control-allow-origin"), origin);
        assert.equal(answer.headers.get("vary"), "Origin");
      }
    }
  });

  test("of other origins may not", async () => {
    for (const origin of ["https://evil.example", "https://app.example.evil", "https://app.example:444", "http://app.example", "null", "https://APP.example"]) {
      const asked = await preflight("/v1/connect", origin, "POST", "authorization");
      assert.equal(asked.status, 405, origin);
      const answer = await authority.request("/v1/connect", { bearer, headers: { origin }, body: { server_ref: NAME } });
      assert.equal(answer.status, 200);
      for (const { headers } of [asked, answer]) {
        assert.equal(headers.get("access-control-allow-origin"), null, origin);
        assert.equal(headers.get("vary"), "Origin");
      }
    }
  });

  test("of no site administrate", async () => {
    for (const path of ["/v1/admin", "/v1/admin/clients", "/v1/admin/nothing", "//v1/admin/clients", "/V1/admin/clients", "/v1/admin/clients/"]) {
      for (const answer of [
        await authority.request(path, { bearer: authority.operatorToken, headers: { origin: APP } }),
        await preflight(path, APP, "GET", "authorization"),
      ]) {
        assert.equal(answer.headers.get("access-control-allow-origin"), null, `${answer.status} ${path}`);
        assert.notEqual(answer.status, 204, path);
      }
    }
  });

  test("of no origin may connect while the setting is wrong, and others go on", async () => {
    await authority.configure({ CORS_ORIGINS: "https://app.example/" });
    const answer = await authority.request("/v1/connect", { bearer, headers: { origin: APP }, body: { server_ref: NAME } });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("access-control-allow-origin"), null);
    const health = await authority.request("/healthz");
    assert.equal(health.status, 503);
    assert.match(health.text, /CORS_ORIGINS/);
    assert.equal(health.headers.get("access-control-allow-origin"), "*");
  });
});

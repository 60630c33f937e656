// Publishing over real HTTP: the calls of the stock publisher, in its order, and connectctl in its place.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { SignJWT } from "jose";

import { generateKey, keySet, startAuthority } from "./support/authority.mjs";
import { startIdentityProvider } from "./support/identity-provider.mjs";
import { connectctl } from "./support/programs.mjs";
import { DomainKey, membership, startGitHub, startResolver } from "./support/publishers.mjs";
import { Site } from "./support/site.mjs";

const OFFICIAL = "io.modelcontextprotocol.registry/official";
const SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json";
const signing = generateKey();
const domainKey = new DomainKey();
let authority, resolver, github, actions, site, home;

before(async () => {
  home = mkdtempSync(join(tmpdir(), "connectctl-"));
  [resolver, github, actions, site] = await Promise.all([
    startResolver(),
    startGitHub(),
    startIdentityProvider(["workflow"]),
    Site.start((_, response) => response.writeHead(200, { "content-type": "text/plain" }).end(domainKey.record)),
  ]);
  resolver.zones["example.com"] = [domainKey.record];
  github.users = { gho_octo: { login: "octo", orgs: [membership("octo-org", "admin")] } };
  github.apps = { Iv1: "gho_octo" };
  authority = await startAuthority({
    hosts: { "example.com": site.port },
    settings: {
      SIGNING_KEYS: keySet(signing),
      DNS_RESOLVER: resolver.url,
      GITHUB_API: github.origin,
      GITHUB_ACTIONS_ISSUER: actions.issuer,
      GITHUB_CLIENT_ID: "Iv1",
      PUBLISH_ANONYMOUS: "true",
    },
  });
});
after(() => Promise.all([authority, resolver, github, actions, site].map((service) => service?.stop())));
after(() => home && rmSync(home, { recursive: true }));

const serverJson = (name, version = "1.0.0", members = {}) => ({
  $schema: SCHEMA,
  name,
  description: "A server of the tests",
  version,
  ...members,
});

/// One call of the stock publisher: below /v0, JSON both ways.
async function call(path, { bearer, ...options } = {}) {
  const headers = { accept: "application/json", "content-type": "application/json" };
  return authority.request(`/v0${path}`, { headers, bearer, ...options });
}

async function succeeds(path, options) {
  const answer = await call(path, options);
  assert.ok([200, 201].includes(answer.status), `${path}: ${answer.status} ${answer.text}`);
  return answer.body;
}

const path = (name, version) => `/servers/${encodeURIComponent(name)}/versions${version ? `/${encodeURIComponent(version)}` : ""}`;

/// As the stock publisher does: what there is, then what it is to be.
async function setStatus(bearer, name, version, body) {
  const current = await succeeds(`${path(name, version)}?include_deleted=true`);
  assert.ok((current._meta ?? current.servers[0]._meta)[OFFICIAL].status, "the publisher reads this");
  const target = version ? `${path(name, version)}/status` : `/servers/${encodeURIComponent(name)}/status`;
  return succeeds(target, { method: "PATCH", body, bearer });
}

describe("the stock publisher", () => {
  test("logs in by GitHub's app", async () => {
    const { github_client_id } = await succeeds("/health");
    assert.equal(github_client_id, "Iv1");
    const { registry_token, expires_at } = await succeeds("/auth/github-at", { body: { github_token: "gho_octo" } });
    assert.ok(expires_at > Date.now() / 1000);
    for (const name of ["io.github.octo/server", "io.github.octo-org/server"]) {
      const { server } = await succeeds("/publish", { body: serverJson(name), bearer: registry_token });
      assert.equal(server.name, name);
    }
    const foreign = await call("/publish", { body: serverJson("io.github.octopus/server"), bearer: registry_token });
    assert.equal(foreign.status, 403, foreign.text);
  });

  for (const way of ["dns", "http"]) {
    test(`logs in by ${way}, publishes, and says what state that is in`, async () => {
      const name = `com.example/by-${way}`;
      const { registry_token: bearer } = await succeeds(`/auth/${way}`, { body: domainKey.proof("example.com") });
      await succeeds("/validate", { body: serverJson(name) });
      for (const version of ["1.0.0", "1.1.0"]) await succeeds("/publish", { body: serverJson(name, version), bearer });

      const deprecated = await setStatus(bearer, name, "1.0.0", { status: "deprecated", statusMessage: "use 1.1.0" });
      assert.equal(deprecated._meta[OFFICIAL].status, "deprecated");
      assert.equal(deprecated._meta[OFFICIAL].statusMessage, "use 1.1.0");
      const all = await setStatus(bearer, name, undefined, { status: "deleted" });
      assert.equal(all.updatedCount, 2);
      assert.equal((await call(path(name, "latest"))).status, 404);
      const restored = await setStatus(bearer, name, "1.1.0", { status: "active" });
      assert.equal(restored._meta[OFFICIAL].status, "active");

      const below = await call("/publish", { body: serverJson(`com.example.sub/by-${way}`), bearer });
      assert.equal(below.status, way === "dns" ? 200 : 403, below.text);
    });
  }

  test("asks what is wrong with what was not taken", async () => {
    const { registry_token: bearer } = await succeeds("/auth/none", { method: "POST", body: "{}" });
    const body = serverJson("io.modelcontextprotocol.anonymous/server", "latest");
    assert.equal((await call("/publish", { body, bearer })).status, 422);
    const verdict = await succeeds("/validate", { body });
    assert.equal(verdict.valid, false);
    const { type, path, message, severity, reference } = verdict.issues[0];
    for (const text of [type, path, message, severity, reference]) assert.equal(typeof text, "string");
  });
});

describe("a registry token is refused", () => {
  const now = () => Math.floor(Date.now() / 1000);
  const mint = (claims, { key = signing, ...header } = {}) =>
    new SignJWT({
      iss: authority.url,
      aud: authority.url,
      iat: now(),
      exp: now() + 300,
      jti: "of-the-tests",
      auth_method: "none",
      auth_method_sub: "anonymous",
      permissions: [{ action: "publish", resource: "*" }],
      ...claims,
    })
      .setProtectedHeader({ alg: "EdDSA", typ: "mcp-registry+jwt", kid: key.kid, ...header })
      .sign(key);
  let published = 0;
  const publish = (bearer) => call("/publish", { body: serverJson(`com.example/minted-${++published}`), bearer });
  const assertRefused = async (token, shown) => {
    const answer = await publish(token);
    assert.equal(answer.status, 401, `${shown}: ${answer.text}`);
  };

  test("that is not wholly the authority's own", async () => {
    assert.equal((await publish(await mint({}))).status, 200);
    const other = generateKey();
    for (const [shown, claims, header] of [
      ["another issuer", { iss: "https://registry.modelcontextprotocol.io" }],
      ["another audience", { aud: "https://registry.modelcontextprotocol.io" }],
      ["no audience", { aud: undefined }],
      ["no jti", { jti: undefined }],
      ["expired", { iat: now() - 400, exp: now() - 100 }],
      ["too long a life", { exp: now() + 3600 }],
      ["no permissions", { permissions: undefined }],
      ["a descriptor", {}, { typ: "mcp-connect+jwt" }],
      ["no type", {}, { typ: undefined }],
      ["another key", {}, { key: other }],
      ["another's signature", {}, { key: { ...other, kid: signing.kid }, kid: signing.kid }],
    ]) {
      await assertRefused(await mint(claims, header), shown);
    }
    const good = await mint({});
    const [head, payload, signature] = good.split(".");
    const flipped = Buffer.from(signature, "base64url");
    flipped[0] ^= 1;
    for (const token of [`${head}.${payload}.${flipped.toString("base64url")}`, `${head}.${payload}.`, `${good}x`, "x", "a.b.c"]) {
      await assertRefused(token, token);
    }
    const client = await authority.createClient("desktop");
    await assertRefused(client.api_key, "an API key");
    await assertRefused(authority.operatorToken, "the operator's token");
  });

  test("that was revoked, by its id", async () => {
    const token = await mint({ jti: "stolen" });
    assert.equal((await publish(token)).status, 200);
    const options = ["--authority", authority.url, "--operator-token", authority.operatorToken];
    const revoked = await connectctl(["revoke", "jti", "stolen", "--reason", "it was in a log", ...options]);
    assert.equal(revoked.code, 0, revoked.stderr);
    await assertRefused(token, "revoked");
    assert.equal((await publish(await mint({ jti: "another" }))).status, 200);
  });
});

describe("connectctl", () => {
  const file = (name) => join(home, name);
  const run = (args, input, env) => connectctl([...args, "--authority", authority.url, "--config", file("config.toml")], input, env);
  const session = () => JSON.parse(readFileSync(file("login.json"), "utf8"));
  const write = (name, content) => {
    writeFileSync(file(name), typeof content === "string" ? content : JSON.stringify(content), { mode: 0o600 });
    return file(name);
  };

  before(() => write("config.toml", ""));

  /// That a command succeeds and shows no secret.
  async function runs(args, input, env) {
    const ended = await run(args, input, env);
    assert.equal(ended.code, 0, `${args.join(" ")}: ${ended.stderr}`);
    assert.ok(!/eyJ|gho_|PRIVATE/.test(ended.stdout + ended.stderr), `a secret is shown: ${ended.stdout}${ended.stderr}`);
    return ended;
  }

  async function logsIn(method, args, env) {
    await runs(["login", ...args], "", env);
    assert.equal(session().method, method);
    assert.equal(statSync(file("login.json")).mode & 0o777, 0o600);
    const { auth_method_sub } = JSON.parse(Buffer.from(session().token.split(".")[1], "base64url"));
    return auth_method_sub;
  }

  test("logs in by a domain's key, bound to the registry", async () => {
    const p384 = new DomainKey("ecdsap384");
    resolver.zones["example.com"] = [domainKey.record, p384.record];
    const keys = { ed25519: write("ed25519.pem", domainKey.pem), p384: write("p384.pem", p384.pem) };
    for (const key of Object.values(keys)) {
      assert.equal(await logsIn("dns", ["dns", "example.com", "--key", key]), "example.com");
    }
    assert.equal(await logsIn("http", ["http", "example.com", "--key", keys.ed25519, "--unbound"]), "example.com");
    const record = await runs(["login", "dns", "example.com", "--key", keys.p384, "--record"]);
    assert.equal(record.stdout.trim(), p384.record);

    const unknown = await run(["login", "dns", "example.com", "--key", write("new.pem", new DomainKey().pem)]);
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /DNS authentication failed.*TXT record: v=MCPv1; k=ed25519; p=/s);
    const noKey = await run(["login", "dns", "example.com", "--key", write("no.pem", "nothing")]);
    assert.equal(noKey.code, 2);
  });

  test("logs in by GitHub: a token, a browser, a workflow", async () => {
    assert.equal(await logsIn("github-at", ["github"], { CONNECT_GITHUB_TOKEN: "gho_octo" }), "octo");
    const browser = await runs(["login", "github", "--github", github.origin]);
    assert.match(browser.stderr, /Open http.*\/login\/device and enter the code WDJB-MJHT/);
    assert.ok(github.asked.includes(`POST 127.0.0.1:${github.port} /login/device/code`));

    const runner = await Site.start(async (request, response) => {
      const url = new URL(request.url, "http://runner");
      const isRun = request.headers.authorization === "Bearer of-this-run" && url.searchParams.get("api-version") === "2.0";
      const claims = { aud: url.searchParams.get("audience"), sub: "repo:octo/app:ref:refs/heads/main", repository_owner: "octo" };
      const value = isRun && (await actions.forge(claims, { alg: "RS256", typ: "JWT" }));
      response.writeHead(isRun ? 200 : 401, { "content-type": "application/json" }).end(JSON.stringify({ value }));
    });
    const env = { ACTIONS_ID_TOKEN_REQUEST_URL: `${runner.origin}/token?api-version=2.0`, ACTIONS_ID_TOKEN_REQUEST_TOKEN: "of-this-run" };
    assert.equal(await logsIn("github-oidc", ["github-oidc"], env), "repo:octo/app:ref:refs/heads/main");
    await runner.stop();
    const elsewhere = await run(["login", "github-oidc"]);
    assert.equal(elsewhere.code, 2);
    assert.match(elsewhere.stderr, /ACTIONS_ID_TOKEN_REQUEST_URL is not set/);
  });

  test("publishes, says what state that is in, and logs out", async () => {
    const name = "io.modelcontextprotocol.anonymous/of-connectctl";
    await logsIn("none", ["none"]);
    for (const version of ["1.0.0", "1.1.0"]) {
      const good = write("server.json", serverJson(name, version));
      await runs(["validate", good]);
      const { stdout } = await runs(["publish", good]);
      assert.match(stdout, new RegExp(`${name}\\s+${version}\\s+active\\s+latest`));
    }
    const deprecated = await runs(["status", `${name}@1.0.0`, "deprecated", "--message", "use 1.1.0", "--json"]);
    assert.equal(JSON.parse(deprecated.stdout)._meta[OFFICIAL].statusMessage, "use 1.1.0");
    const all = await runs(["status", name, "deleted", "--all-versions"]);
    assert.equal(all.stdout.match(/deleted/g).length, 2);
    await runs(["status", `${name}@1.1.0`, "active"]);
    assert.equal((await call(path(name, "latest"))).body.server.version, "1.1.0");

    for (const args of [["status", name, "deleted"], ["status", `${name}@1.0.0`, "deleted", "--all-versions"]]) {
      assert.equal((await run(args)).code, 2, args.join(" "));
    }
    const foreign = await run(["publish", write("foreign.json", serverJson("com.example/foreign"))]);
    assert.equal(foreign.code, 1);
    assert.match(foreign.stderr, /permission/);
    for (const command of ["validate", "publish"]) {
      const bad = await run([command, write("bad.json", serverJson(name, "latest"))]);
      assert.equal(bad.code, 1);
      assert.match(bad.stdout, /error\s+version/);
    }

    await runs(["logout"]);
    assert.throws(() => statSync(file("login.json")));
    await runs(["logout"]);
    const stranger = await run(["publish", file("server.json")]);
    assert.equal(stranger.code, 1);
    assert.match(stranger.stderr, /nobody has logged in/);
  });

  test("shows the login to no other registry, and not when it has ended", async () => {
    await logsIn("none", ["none"]);
    const good = write("server.json", serverJson("io.modelcontextprotocol.anonymous/elsewhere"));
    site.asked = [];
    const elsewhere = await connectctl(["publish", good, "--authority", site.origin, "--config", file("config.toml")]);
    assert.equal(elsewhere.code, 1);
    assert.match(elsewhere.stderr, /the login is at/);
    assert.deepEqual(site.asked, []);
    write("login.json", { ...session(), expires_at: Math.floor(Date.now() / 1000) - 1 });
    assert.match((await run(["publish", good])).stderr, /the login has ended/);
    write("login.json", "{");
    const broken = await run(["publish", good]);
    assert.equal(broken.code, 1);
  });
});

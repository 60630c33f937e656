// Levels of verification: what publishers prove on sites of their own, what an operator decides, and what
// becomes of it when a site stops saying so.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";

import { entry, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl } from "./support/programs.mjs";
import { Site } from "./support/site.mjs";

const PATH = "/.well-known/mcp-connect-challenge";
const NIGHT = "17 1-5 * * *";
const reason = "a test wants it";

let authority, site, key;
/// What the site serves at the well-known path of each host: a text, or a function that answers.
let documents = {};

function answer(request, response) {
  const host = request.headers["x-test-host"] ?? request.headers.host;
  const document = request.url === PATH ? documents[host] : undefined;
  if (typeof document === "function") return document(response);
  if (document === undefined) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": "text/plain" }).end(document);
}

before(async () => {
  site = await Site.start(answer);
  const names = ["example.com", "mcp.example.com", "example.com.rival.net", "badexample.com", "eu.example.com", "shared.org"];
  const hosts = Object.fromEntries(names.map((name) => [name, site.port]));
  authority = await startAuthority({ hosts: { ...hosts, "dead.example.com": 1 } });
  key = (await authority.createClient("desktop")).api_key;
});
after(() => authority?.stop());
after(() => site?.stop());
beforeEach(() => {
  documents = {};
  site.asked = [];
});

const token = (level, subject) =>
  createHash("sha256").update(`mcp-connect-challenge\n${level}\n${authority.url}\n${subject}`).digest("base64url");

let servers = 0;
/// A server of its own for a test, below com.example where nothing else is said.
async function publish({ namespace = "com.example", ...members } = {}) {
  const name = `${namespace}/server-${++servers}`;
  const [{ outcome }] = await authority.importServers(entry(name, members));
  assert.equal(outcome, "imported");
  return name;
}

const admin = (name, change, body) => authority.admin(`/servers/${name}/${change}`, body);
const prove = (name, level) => admin(name, "prove", { level });

async function proven(name, level) {
  const { status, text, body } = await prove(name, level);
  assert.equal(status, 200, text);
  return body;
}

async function proofs(name) {
  const { status, text, body } = await admin(name, "proofs");
  assert.equal(status, 200, text);
  assert.equal(body.id, name);
  return body;
}

/// The level as discovery, and as connect, knows it.
async function level(ref) {
  const { body } = await authority.request(`/v1/servers/${ref}`);
  assert.equal(body.verified, body.verification !== "none");
  const connected = await authority.connect(ref, key);
  if (body.verified) assert.equal(connected.body.server?.verified, true, connected.text);
  else assertProblem(connected, 403, "server_unverified");
  return body.verification;
}

async function audit(name) {
  const { body } = await authority.admin("/audit?limit=100");
  return body.entries
    .filter(({ subject, action }) => subject === name && action !== "version.import")
    .map(({ seq, at, subject, ...rest }) => rest)
    .reverse();
}

/// As if the last look at a server's proofs were long ago.
async function age(name, columns = "checked_at = 0") {
  const database = await authority.database();
  await database
    .prepare(`UPDATE proofs SET ${columns} WHERE server_id = (SELECT id FROM servers WHERE name = ?1)`)
    .bind(name)
    .run();
}

describe("a challenge", () => {
  test("says what to serve, and where", async () => {
    const name = await publish({ endpoint: "https://mcp.example.com:8443/mcp?a=b" });
    const { status, headers, body } = await authority.request(`/v1/servers/${name}/challenge`);
    assert.equal(status, 200);
    assert.match(headers.get("cache-control"), /^public/);
    assert.deepEqual(body, {
      namespace: { subject: "example.com", url: `https://example.com${PATH}`, token: token("namespace", "com.example") },
      endpoint: {
        subject: "https://mcp.example.com:8443",
        url: `https://mcp.example.com:8443${PATH}`,
        token: token("endpoint", name),
      },
    });
  });

  test("leaves out what can't be proven", async () => {
    const name = await publish({ namespace: "localhost", endpoint: null });
    assert.deepEqual((await authority.request(`/v1/servers/${name}/challenge`)).body, {});
    for (const [level, detail] of [["namespace", "not the reverse of a public domain"], ["endpoint", "no endpoint"]]) {
      assertProblem(await prove(name, level), 422, "proof_failed", detail);
    }
    const unknown = await authority.request("/v1/servers/com.example/nobody/challenge");
    assertProblem(unknown, 404, "server_not_found");
  });
});

describe("a proof that fails", () => {
  const big = (response) => response.end(`${token("namespace", "com.example")}\n`.padEnd(70_000, "x"));
  const elsewhere = (response) => response.writeHead(302, { location: `https://shared.org${PATH}` }).end();
  for (const [what, document, detail] of [
    ["because nothing is there", undefined, "there is no such document (HTTP 404)"],
    ["because the document is another", "hello\n", "the token is not in the document"],
    ["because the token is within a line", () => `x${token("namespace", "com.example")}`, "the token is not in the document"],
    ["because the token is another level's", () => token("endpoint", "com.example"), "the token is not in the document"],
    ["because of a redirect, even to the right one", elsewhere, "a redirect (HTTP 302), which is not followed"],
    ["because it wants a login", (response) => response.writeHead(401).end(), "HTTP 401 instead of 200"],
    ["because the site is broken", (response) => response.writeHead(502).end(), "HTTP 502"],
    ["because there is too much", big, "longer than 65536 bytes"],
    ["because nobody is there", (response) => response.destroy(), "no answer"],
  ]) {
    test(`says that it does ${what}, and changes nothing`, async () => {
      const name = await publish();
      documents["shared.org"] = token("namespace", "com.example");
      documents["example.com"] = document?.length === 0 ? document() : document;
      assertProblem(await prove(name, "namespace"), 422, "proof_failed", detail);
      assert.deepEqual(site.asked, [`GET example.com ${PATH}`]);
      assert.deepEqual(await proofs(name), { id: name, verification: "none", proofs: [] });
      assert.equal(await level(name), "none");
      assert.deepEqual(await audit(name), []);
    });
  }

  test("says so when the site is too slow", async () => {
    const name = await publish();
    documents["example.com"] = (response) => response.writeHead(200).write("…");
    const asked = Date.now();
    assertProblem(await prove(name, "namespace"), 422, "proof_failed", "no answer within 5 s");
    assert.ok(Date.now() - asked < 10_000);
  });

  test("says which host can't be found", async () => {
    const name = await publish({ namespace: "org.nowhere" });
    assertProblem(await prove(name, "namespace"), 422, "proof_failed", `https://nowhere.org${PATH}: no answer`);
  });

  for (const [body, member] of [[{}, "level"], [{ level: "operator" }, "level"], [{ level: "endpoint", force: true }, "force"]]) {
    test(`is one of which ${member} is wrong: ${JSON.stringify(body)}`, async () => {
      assertProblem(await admin(await publish(), "prove", body), 400, "request_invalid", member);
    });
  }
});

describe("a namespace", () => {
  test("is proven by what its domain serves", async () => {
    const name = await publish();
    documents["example.com"] = `something else\r\n  ${token("namespace", "com.example")}\r\n`;
    const first = await proven(name, "namespace");
    assert.deepEqual([first.id, first.verification, first.verified, first.changed], [name, "namespace", true, true]);
    assert.equal((await proven(name, "namespace")).changed, false);
    assert.equal(await level(name), "namespace");
    const { proofs: [proof] } = await proofs(name);
    const { proven_at, confirmed_at, checked_at, ...rest } = proof;
    assert.deepEqual(rest, { level: "namespace", subject: "example.com", method: "challenge", actor: rest.actor, failures: 0 });
    assert.ok(proven_at < confirmed_at && confirmed_at === checked_at, JSON.stringify(proof));
    assert.deepEqual(await audit(name), [
      { actor: rest.actor, action: "server.prove", detail: "namespace example.com, by challenge" },
    ]);
  });

  test("proves none below it, nor beside it", async () => {
    documents["example.com"] = token("namespace", "com.example");
    documents["eu.example.com"] = token("namespace", "com.example");
    const below = await publish({ namespace: "com.example.eu" });
    assertProblem(await prove(below, "namespace"), 422, "proof_failed", `https://eu.example.com${PATH}`);
    const unproven = await publish();
    assert.equal(await level(unproven), "none", "a proof is of one server, asked for by name");
  });
});

describe("an endpoint", () => {
  beforeEach(() => {
    documents["example.com"] = token("namespace", "com.example");
  });

  for (const host of ["example.com", "mcp.example.com", "mcp.example.com:8443"]) {
    test(`at ${host} is proven by the namespace's domain`, async () => {
      const name = await publish({ endpoint: `https://${host}/mcp` });
      assertProblem(await prove(name, "endpoint"), 422, "proof_failed");
      await proven(name, "namespace");
      site.asked = [];
      assert.equal((await proven(name, "endpoint")).verification, "endpoint");
      assert.deepEqual(site.asked, []);
      assert.equal(await level(name), "endpoint");
      const { proofs: [, proof] } = await proofs(name);
      assert.deepEqual([proof.subject, proof.method], [`https://${host}`, "domain"]);
    });
  }

  for (const host of ["badexample.com", "example.com.rival.net"]) {
    test(`at ${host} is not, and proves itself`, async () => {
      const name = await publish({ endpoint: `https://${host}/mcp` });
      await proven(name, "namespace");
      assertProblem(await prove(name, "endpoint"), 422, "proof_failed", `https://${host}${PATH}`);
      documents[host] = token("endpoint", name);
      assert.equal((await proven(name, "endpoint")).verification, "endpoint");
      assert.equal((await proofs(name)).proofs[1].method, "challenge");
    });
  }

  test("that is proven by the domain goes with the namespace's proof", async () => {
    const name = await publish({ endpoint: "https://mcp.example.com/mcp" });
    await proven(name, "namespace");
    await proven(name, "endpoint");
    const answer = await admin(name, "unverify", { reason, level: "namespace" });
    assert.equal(answer.body.verification, "none", answer.text);
    assert.deepEqual((await proofs(name)).proofs, []);
  });

  test("of one version is not another's", async () => {
    const name = await publish({ endpoint: `${site.origin}/mcp` });
    documents[`127.0.0.1:${site.port}`] = token("endpoint", name);
    await proven(name, "endpoint");
    await authority.importServers(
      entry(name, { version: "1.0.1", endpoint: `${site.origin}/elsewhere` }),
      entry(name, { version: "2.0.0", endpoint: "https://mcp.example.com/mcp" }),
    );
    assert.equal(await level(`${name}@1.0.1`), "endpoint");
    assert.equal(await level(`${name}@2.0.0`), "none");
    await proven(name, "namespace");
    assert.equal(await level(`${name}@2.0.0`), "namespace");
    assert.equal(await level(`${name}@1.0.0`), "endpoint");
    // The new origin takes the place of the old one.
    assert.equal((await proven(name, "endpoint")).changed, true);
    assert.equal(await level(`${name}@2.0.0`), "endpoint");
    assert.equal(await level(`${name}@1.0.0`), "namespace");
  });
});

describe("levels", () => {
  test("fall back to the next that holds, one by one", async () => {
    const name = await publish({ endpoint: "https://mcp.example.com/mcp" });
    documents["example.com"] = token("namespace", "com.example");
    const jwks_uri = "https://mcp.example.com/jwks.json";
    const seen = [
      (await admin(name, "verify", { reason, jwks_uri })).body,
      await proven(name, "namespace"),
      await proven(name, "endpoint"),
      (await admin(name, "unverify", { reason, level: "operator" })).body,
      (await admin(name, "unverify", { reason, level: "operator" })).body,
      (await admin(name, "unverify", { reason, level: "endpoint" })).body,
      (await admin(name, "verify", { reason })).body,
      (await admin(name, "unverify", { reason })).body,
    ].map(({ verification, jwks_uri, changed }) => [verification, jwks_uri, changed]);
    assert.deepEqual(seen, [
      ["operator", jwks_uri, true],
      ["operator", jwks_uri, true],
      ["operator", jwks_uri, true],
      ["endpoint", undefined, true],
      ["endpoint", undefined, false],
      ["namespace", undefined, true],
      ["operator", undefined, true],
      ["none", undefined, true],
    ]);
    assert.deepEqual((await audit(name)).map(({ action, detail }) => [action, detail]), [
      ["server.verify", `jwks_uri ${jwks_uri}, tls_pin_sha256 as before`],
      ["server.prove", "namespace example.com, by challenge"],
      ["server.prove", "endpoint https://mcp.example.com, by domain"],
      ["server.unverify", "operator"],
      ["server.unverify", "endpoint"],
      ["server.verify", "jwks_uri as before, tls_pin_sha256 as before"],
      ["server.unverify", undefined],
    ]);
    assertProblem(await admin(name, "unverify", { reason, level: "none" }), 400, "request_invalid", "level");
  });

  test("are the operator's only at the origin that the operator saw", async () => {
    const name = await publish({ endpoint: "https://mcp.example.com/mcp" });
    await admin(name, "verify", { reason, jwks_uri: "https://mcp.example.com/jwks.json" });
    await authority.importServers(entry(name, { version: "2.0.0", endpoint: "https://badexample.com/mcp" }));
    documents["badexample.com"] = token("endpoint", name);
    const { verification, jwks_uri } = await proven(name, "endpoint");
    assert.deepEqual([verification, jwks_uri], ["endpoint", undefined], "what pins another origin is not said of this one");
    const granted = await authority.connect(name, key);
    assert.equal(granted.body.server.jwks_uri, undefined);
  });
});

describe("a person's decision", () => {
  const OLD = "https://mcp.example.com";
  const NEW = "https://badexample.com";

  test("is about the origin that was looked at", async () => {
    const name = await publish({ endpoint: `${OLD}/mcp` });
    const jwks_uri = `${OLD}/jwks.json`;
    await authority.importServers(entry(name, { version: "1.0.1", endpoint: `${NEW}/mcp` }));
    for (const origin of [OLD, `${OLD}/mcp`, "https://other.example.com"]) {
      const refused = await admin(name, "verify", { reason, origin, jwks_uri });
      assertProblem(refused, 409, "origin_changed", `the default version of ${name} is ${NEW} now, not https://`);
    }
    assert.deepEqual((await proofs(name)).proofs, []);
    assert.deepEqual(await audit(name), []);
    assert.equal(await level(name), "none");
    for (const origin of ["badexample.com", "", "ftp://badexample.com", 7]) {
      assertProblem(await admin(name, "verify", { reason, origin }), 400, "request_invalid");
    }
    for (const changed of [true, false]) {
      assert.equal((await admin(name, "verify", { reason, origin: `${NEW}:443/` })).body.changed, changed);
    }
    assert.equal(await level(name), "operator");
    assert.equal(await level(`${name}@1.0.0`), "none");
    assert.equal((await audit(name))[0].detail, `origin ${NEW}, jwks_uri as before, tls_pin_sha256 as before`);
  });

  test("is told by connectctl with the origin, and sent along with it", async () => {
    const name = await publish({ endpoint: `${OLD}/mcp` });
    const settings = ["--authority", authority.url, "--operator-token", authority.operatorToken];
    const run = (...args) => connectctl([...settings, "servers", "verify", name, "--reason", reason, ...args]);
    const verified = await run();
    assert.equal(verified.code, 0, verified.stderr);
    assert.match(verified.stderr, new RegExp(`${name} is reached at ${OLD}`));
    await authority.importServers(entry(name, { version: "1.0.1", endpoint: `${NEW}/mcp` }));
    const refused = await run("--origin", OLD);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, new RegExp(`${NEW} now, not ${OLD}`));
    assert.equal((await run("--origin", NEW)).code, 0);
    assert.equal((await proofs(name)).proofs[0].subject, NEW);
  });
});

describe("at night", () => {
  const site200 = () => token("namespace", "com.example");

  /// A server with a proven namespace that was looked at long ago.
  async function provenServer() {
    documents["example.com"] = site200();
    const name = await publish();
    await proven(name, "namespace");
    await age(name);
    site.asked = [];
    return name;
  }

  async function night(name) {
    await age(name);
    await authority.scheduled(NIGHT);
    return (await proofs(name)).proofs[0];
  }

  test("a proof is looked at once, and confirmed", async () => {
    const name = await provenServer();
    await authority.scheduled(NIGHT);
    await authority.scheduled(NIGHT);
    assert.deepEqual(site.asked, [`GET example.com ${PATH}`]);
    const { proofs: [proof] } = await proofs(name);
    assert.ok(Date.now() - Date.parse(proof.checked_at) < 10_000 && proof.failures === 0);
    assert.equal((await audit(name)).length, 1, "nothing but the proof itself");
  });

  test("three times without the token lose the level, audited, at once for connect and for discovery", async () => {
    const name = await provenServer();
    assert.equal(await level(name), "namespace");
    documents["example.com"] = "sold\n";
    assert.equal((await night(name)).failures, 1);
    assert.equal((await night(name)).failures, 2);
    assert.equal(await level(name), "namespace");
    assert.equal(await night(name), undefined);
    assert.equal(await level(name), "none");
    assert.deepEqual((await audit(name)).at(-1), {
      actor: "authority",
      action: "server.unverify",
      reason: "the proof of example.com no longer holds: the token is not in the document",
      detail: "namespace",
    });
    assert.equal(authority.logged("proof_lost").at(-1).server_id, name);
  });

  test("a token that comes back makes up for what was", async () => {
    const name = await provenServer();
    documents["example.com"] = undefined;
    await night(name);
    assert.equal((await night(name)).failures, 2);
    documents["example.com"] = site200();
    assert.equal((await night(name)).failures, 0);
    documents["example.com"] = undefined;
    assert.equal((await night(name)).failures, 1);
  });

  test("a site that is out, or slow to be fixed, loses nothing for two weeks", async () => {
    const name = await provenServer();
    for (const outage of [(response) => response.writeHead(503).end(), (response) => response.destroy()]) {
      documents["example.com"] = outage;
      for (let nights = 0; nights < 4; nights++) assert.equal((await night(name)).failures, 0);
    }
    assert.equal(await level(name), "namespace");
    await age(name, `confirmed_at = ${Date.now() - 14 * 24 * 60 * 60 * 1000 - 1000}`);
    assert.equal(await night(name), undefined);
    assert.equal(await level(name), "none");
  });

  test("what rests on a namespace's proof is lost with it, what a person decided is not", async () => {
    documents["example.com"] = site200();
    const name = await publish({ endpoint: "https://mcp.example.com/mcp" });
    await proven(name, "namespace");
    await proven(name, "endpoint");
    await admin(name, "verify", { reason });
    documents["example.com"] = undefined;
    for (let nights = 0; nights < 3; nights++) await night(name);
    assert.deepEqual((await proofs(name)).proofs.map(({ level }) => level), ["operator"]);
    assert.equal(await level(name), "operator");
  });

  test("a policy that wants more than is left refuses, from the next connect on", async () => {
    documents["example.com"] = site200();
    const name = await publish({ endpoint: `${site.origin}/mcp` });
    const origin = `127.0.0.1:${site.port}`;
    documents[origin] = token("endpoint", name);
    await proven(name, "namespace");
    await proven(name, "endpoint");
    await authority.setPolicy({ allow: ["*"], require_verification: "endpoint" });
    try {
      assert.equal((await authority.connect(name, key)).status, 200);
      documents[origin] = undefined;
      for (let nights = 0; nights < 3; nights++) await night(name);
      const refused = await authority.connect(name, key);
      assertProblem(refused, 403, "server_unverified", "its level is namespace, wanted is endpoint");
    } finally {
      await authority.setPolicy({ allow: ["*"] });
    }
    assert.equal(await level(name), "namespace");
  });

  test("an endpoint's proof is looked at, too", async () => {
    const name = await publish({ endpoint: `${site.origin}/mcp` });
    documents[`127.0.0.1:${site.port}`] = token("endpoint", name);
    await proven(name, "endpoint");
    documents = {};
    await night(name);
    await night(name);
    assert.equal(await level(name), "endpoint");
    await night(name);
    assert.equal(await level(name), "none");
  });

  test("many servers of one namespace cost few requests, and each is looked at", async () => {
    const names = Array.from({ length: 120 }, (_, index) => `org.shared/server-${index}`);
    for (const some of [names.slice(0, 60), names.slice(60)]) await authority.importServers(...some.map((name) => entry(name)));
    const database = await authority.database();
    await database
      .prepare(
        `INSERT INTO proofs (server_id, level, subject, method, actor, proven_at, confirmed_at, checked_at)
         SELECT id, 'namespace', 'shared.org', 'challenge', 'operator', 1, ?1, 1 FROM servers WHERE name LIKE 'org.shared/%'`,
      )
      .bind(Date.now())
      .run();
    documents["shared.org"] = token("namespace", "org.shared");
    await authority.scheduled(NIGHT);
    assert.deepEqual(new Set(site.asked), new Set([`GET shared.org ${PATH}`]));
    assert.equal(site.asked.length, 3, "once for each fifty");
    const { results } = await database
      .prepare("SELECT count(*) AS n FROM proofs WHERE subject = 'shared.org' AND checked_at > 1 AND failures = 0")
      .all();
    assert.equal(results[0].n, 120);
    const runs = authority.logged("upkeep").filter(({ job }) => job === "proofs");
    assert.match(runs.at(-1).done, /^120 confirmed, 0 gone/);
  });

  test("a job that fails says so, and keeps no other from its turn", async () => {
    const database = await authority.database();
    await database.exec("ALTER TABLE proofs RENAME TO elsewhere");
    authority.clearLog();
    try {
      await authority.scheduled(NIGHT);
    } finally {
      await database.exec("ALTER TABLE elsewhere RENAME TO proofs");
    }
    assert.deepEqual(authority.logged("upkeep_failed").map(({ job }) => job), ["proofs"]);
    assert.deepEqual(authority.logged("upkeep").map(({ job }) => job), ["audit"]);
  });

  test("a cron that nobody planned is said so, and does nothing", async () => {
    await authority.scheduled("0 0 * * *");
    assert.equal(authority.logged("upkeep_unknown").at(-1).cron, "0 0 * * *");
  });
});

describe("connectctl servers", () => {
  const run = (...args) => connectctl(["--authority", authority.url, "--operator-token", authority.operatorToken, "servers", ...args]);

  test("leads a publisher from the challenge to the proof, and back", async () => {
    const name = await publish({ endpoint: "https://mcp.example.com/mcp" });
    const shown = await run("challenge", name);
    assert.equal(shown.code, 0, shown.stderr);
    for (const part of [`https://example.com${PATH}`, token("namespace", "com.example"), token("endpoint", name)]) {
      assert.ok(shown.stdout.includes(part), shown.stdout);
    }
    const refused = await run("prove", name, "namespace");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /there is no such document \(HTTP 404\)/);

    documents["example.com"] = token("namespace", "com.example");
    for (const level of ["namespace", "endpoint"]) {
      const proven = await run("prove", name, level);
      assert.equal(proven.code, 0, proven.stderr);
      assert.match(proven.stdout, new RegExp(level));
    }
    const listed = await run("proofs", name);
    assert.match(listed.stdout, /namespace +example\.com +challenge/);
    assert.match(listed.stdout, /endpoint +https:\/\/mcp\.example\.com +domain/);
    const json = JSON.parse((await run("proofs", name, "--json")).stdout);
    assert.deepEqual([json.verification, json.proofs.length], ["endpoint", 2]);

    assert.equal((await run("unverify", name, "--level", "endpoint", "--reason", reason)).code, 0);
    assert.match((await run("show", name)).stdout, /verified +namespace/);
    assert.equal((await run("unverify", name, "--reason", reason)).code, 0);
    assert.equal(await level(name), "none");
  });
});

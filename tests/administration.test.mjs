import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { decodeJwt } from "jose";

import { entry, startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";

let authority;

before(async () => {
  authority = await startAuthority();
});
after(() => authority?.stop());

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const reason = "a test wants it";

async function audit() {
  const entries = [];
  for (let cursor = ""; cursor !== undefined; ) {
    const answer = await authority.admin(`/audit?limit=100${cursor && `&cursor=${cursor}`}`);
    assert.equal(answer.status, 200, answer.text);
    entries.push(...answer.body.entries);
    cursor = answer.body.next_cursor;
  }
  return entries.reverse();
}

/// What `work` adds to the audit trail, without its numbers and times.
async function audited(work) {
  const before = await audit();
  await work();
  const trail = await audit();
  assert.deepEqual(trail.slice(0, before.length), before, "what was there stays");
  return trail.slice(before.length).map(({ seq, at, ...rest }, index) => {
    assert.equal(seq, before.length + index + 1);
    assert.match(at, RFC_3339);
    return rest;
  });
}

describe("administration", () => {
  const routes = [
    ["/clients"],
    ["/clients", { client_id: "sneaked" }],
    ["/clients/desktop/suspend", { reason }],
    ["/clients/desktop/resume", { reason }],
    ["/servers/com.example/guarded/verify", { reason }],
    ["/servers/com.example/guarded/unverify", { reason }],
    ["/servers/com.example/guarded/revoke", { reason }],
    ["/servers/com.example/guarded/reinstate", { reason }],
    ["/import", { servers: [entry("com.example/sneaked")] }],
    ["/audit"],
  ];

  test("is for who shows the operator's token, and nobody else", async () => {
    await authority.importServers(entry("com.example/guarded"));
    const { api_key } = await authority.createClient("desktop");
    const token = authority.operatorToken;
    const added = await audited(async () => {
      for (const [path, body] of routes) {
        for (const authorization of [
          undefined,
          "",
          "Bearer",
          "Bearer wrong",
          `Bearer ${api_key}`,
          `Bearer ${token}x`,
          `Bearer ${token.slice(0, -1)}`,
          `Bearer  ${token}`,
          `Bearer ${token}, Bearer ${token}`,
          `Basic ${token}`,
          token,
        ]) {
          const headers = authorization === undefined ? {} : { authorization };
          const answer = await authority.request(`/v1/admin${path}`, { body, headers });
          assertProblem(answer, 401, "caller_unauthenticated");
          assert.equal(answer.headers.get("www-authenticate"), "Bearer");
        }
      }
    });
    assert.deepEqual(added, []);
    const { body } = await authority.admin("/clients");
    assert.deepEqual(body.clients.map(({ client_id }) => client_id), ["desktop"]);
  });

  test("looks at the credential before it looks at the request", async () => {
    const answer = await authority.request("/v1/admin/clients", { method: "POST", body: "{", bearer: "wrong" });
    assertProblem(answer, 401, "caller_unauthenticated");
  });
});

describe("a client", () => {
  test("is registered with a key that is shown once", async () => {
    await authority.createTenant("acme");
    const answer = await authority.admin("/clients", { client_id: "mobile", tenant_id: "acme", name: "Möbile" });
    assert.equal(answer.status, 201, answer.text);
    assert.equal(answer.headers.get("cache-control"), "no-store");
    const { api_key, created_at, ...rest } = answer.body;
    assert.deepEqual(rest, { client_id: "mobile", tenant_id: "acme", name: "Möbile", status: "active" });
    assert.match(api_key, /^mcpk_[\w-]{16}_[\w-]{43}$/);
    assert.match(created_at, RFC_3339);
    assert.ok(Math.abs(Date.parse(created_at) - Date.now()) < 60_000);

    const listed = await authority.admin("/clients");
    assert.deepEqual(listed.body.clients.at(-1), { ...rest, created_at });
    assert.ok(!listed.text.includes("mcpk_"));
  });

  test("has a secret that is nowhere stored, but for its hash", async () => {
    const { api_key } = await authority.createClient("careful");
    const [keyId, secret] = [api_key.slice(5, 21), api_key.slice(22)];
    const database = await authority.database();
    const rows = [];
    for (const table of ["servers", "versions", "clients", "api_keys", "audit"]) {
      rows.push(...(await database.prepare(`SELECT * FROM ${table}`).all()).results);
    }
    const stored = JSON.stringify(rows);
    assert.ok(!stored.includes(secret));
    assert.ok(!stored.includes(authority.operatorToken));
    assert.deepEqual(
      rows.filter((row) => row.key_id === keyId).map((row) => row.secret_hash),
      [createHash("sha256").update(secret).digest("base64url")],
    );
  });

  test("has an id of its own", async () => {
    const { api_key } = await authority.createClient("unique");
    await authority.createTenant("rival");
    const added = await audited(async () => {
      const answer = await authority.admin("/clients", { client_id: "unique", tenant_id: "rival" });
      assertProblem(answer, 409, "client_exists", "client_id");
    });
    assert.deepEqual(added, []);
    const database = await authority.database();
    const keys = await database.prepare("SELECT key_id FROM api_keys WHERE client_id = 'unique'").all();
    assert.deepEqual(keys.results, [{ key_id: api_key.slice(5, 21) }]);
  });

  test("is of no tenant, or of one that exists", async () => {
    const added = await audited(async () => {
      const answer = await authority.admin("/clients", { client_id: "stray", tenant_id: "nobodys" });
      assertProblem(answer, 404, "tenant_not_found", "create it first");
    });
    assert.deepEqual(added, []);
  });

  for (const [body, member] of [
    [{}, "client_id"],
    [{ client_id: "" }, "client_id"],
    [{ client_id: "a b" }, "client_id"],
    [{ client_id: "a\u202eb" }, "client_id"],
    [{ client_id: ".." }, "client_id"],
    [{ client_id: "*" }, "client_id"],
    [{ client_id: "ä" }, "client_id"],
    [{ client_id: "c".repeat(257) }, "client_id"],
    [{ client_id: "ok", tenant_id: "" }, "tenant_id"],
    [{ client_id: "ok", tenant_id: "t\n" }, "tenant_id"],
    [{ client_id: "ok", name: "" }, "name"],
    [{ client_id: "ok", name: "n".repeat(101) }, "name"],
    [{ client_id: "ok", name: "\u0007" }, "name"],
    [{ client_id: "ok", api_key: "mcpk_mine" }, "api_key"],
  ]) {
    test(`can't be ${JSON.stringify(body).slice(0, 60)}`, async () => {
      assertProblem(await authority.admin("/clients", body), 400, "request_invalid", member);
    });
  }

  test("is listed once, over all pages", async () => {
    for (let n = 0; n < 7; n += 1) await authority.createClient(`page${n}`);
    const everyone = (await authority.admin("/clients?limit=100")).body.clients;
    const paged = [];
    for (let cursor; ; ) {
      const { body } = await authority.admin(`/clients?limit=4${cursor ? `&cursor=${cursor}` : ""}`);
      paged.push(...body.clients);
      cursor = body.next_cursor;
      if (cursor === undefined) break;
      assert.equal(body.clients.length, 4);
    }
    assert.deepEqual(paged, everyone);
    const ids = everyone.map(({ client_id }) => client_id);
    assert.deepEqual(ids, [...new Set(ids)].sort());
    for (const query of ["limit=0", "limit=101", "cursor=a%20b"]) {
      assertProblem(await authority.admin(`/clients?${query}`), 400, "request_invalid", query.split("=")[0]);
    }
  });

  test("is suspended and resumed once, each with its reason in the trail", async () => {
    await authority.createClient("moody");
    const change = async (change, why) => {
      const answer = await authority.admin(`/clients/moody/${change}`, { reason: why });
      assert.equal(answer.status, 200, answer.text);
      return [answer.body.status, answer.body.changed];
    };
    const added = await audited(async () => {
      assert.deepEqual(await change("resume", "is not suspended"), ["active", false]);
      assert.deepEqual(await change("suspend", "  too loud "), ["suspended", true]);
      assert.deepEqual(await change("suspend", "again"), ["suspended", false]);
      assert.deepEqual(await change("resume", "quiet now"), ["active", true]);
    });
    assert.deepEqual(added, [
      { actor: "operator", action: "client.suspend", subject: "moody", reason: "too loud" },
      { actor: "operator", action: "client.resume", subject: "moody", reason: "quiet now" },
    ]);
    for (const change of ["suspend", "resume"]) {
      assertProblem(await authority.admin(`/clients/nobody/${change}`, { reason }), 404, "client_not_found");
    }
  });
});

describe("moderation", () => {
  const NAME = "org.moderated/server";

  test("changes a server once, each time with its reason in the trail", async () => {
    await authority.importServers(entry(NAME));
    const change = async (change, why) => {
      const answer = await authority.admin(`/servers/${NAME}/${change}`, { reason: why });
      assert.equal(answer.status, 200, answer.text);
      const { verified, status, changed } = answer.body;
      return { verified, status, changed };
    };
    const added = await audited(async () => {
      assert.deepEqual(await change("verify", "known"), { verified: true, status: "active", changed: true });
      assert.deepEqual(await change("verify", "known"), { verified: true, status: "active", changed: false });
      assert.deepEqual(await change("revoke", "hacked"), { verified: true, status: "revoked", changed: true });
      assert.deepEqual(await change("revoke", "still hacked"), { verified: true, status: "revoked", changed: false });
      assert.deepEqual(await change("reinstate", "fixed"), { verified: true, status: "active", changed: true });
      assert.deepEqual(await change("reinstate", "fixed"), { verified: true, status: "active", changed: false });
      assert.deepEqual(await change("unverify", "sold"), { verified: false, status: "active", changed: true });
      assert.deepEqual(await change("unverify", "sold"), { verified: false, status: "active", changed: false });
    });
    const row = (action, why, detail) => ({ actor: "operator", action, subject: NAME, reason: why, ...detail });
    assert.deepEqual(added, [
      row("server.verify", "known", { detail: "jwks_uri as before, tls_pin_sha256 as before" }),
      row("server.revoke", "hacked"),
      row("server.reinstate", "fixed"),
      row("server.unverify", "sold"),
    ]);
  });

  test("needs a reason, and a server", async () => {
    const added = await audited(async () => {
      for (const change of ["verify", "unverify", "revoke", "reinstate"]) {
        const path = `/servers/${NAME}/${change}`;
        for (const body of [{}, { reason: "" }, { reason: "  " }, { reason: "r".repeat(501) }, { reason: "a\0b" }, { reason: "a\nb" }]) {
          assertProblem(await authority.admin(path, body), 400, "request_invalid", "reason");
        }
        assertProblem(await authority.admin(path, { reason, force: true }), 400, "request_invalid", "force");
        assertProblem(await authority.admin(`/servers/org.moderated/nothing/${change}`, { reason }), 404, "server_not_found");
        assertProblem(await authority.admin(`/servers/org.moderated/x/${change}`, { reason }), 400, "request_invalid", "the path");
        if (change.endsWith("verify")) {
          assertProblem(await authority.admin(`/servers/${NAME}@1.0.0/${change}`, { reason }), 400, "request_invalid", "the path");
        }
      }
    });
    assert.deepEqual(added, []);
    const longest = await authority.admin(`/servers/${NAME}/verify`, { reason: "ä".repeat(500) });
    assert.equal(longest.status, 200, longest.text);
  });

  test("may pin a server's identity, which goes into its descriptors", async () => {
    const { api_key } = await authority.createClient("pinning");
    await authority.importServers(entry("org.moderated/pinned"));
    const path = "/servers/org.moderated/pinned";
    const jwks_uri = "https://mcp.example.com/.well-known/jwks.json";
    const tls_pin_sha256 = createHash("sha256").update("spki").digest("base64url");
    const pinned = async () => {
      const answer = await authority.connect("org.moderated/pinned", api_key);
      assert.equal(answer.status, 200, answer.text);
      const server = decodeJwt(answer.body.descriptor).mcp.server;
      assert.equal(answer.body.server.jwks_uri, server.jwks_uri);
      return server;
    };
    const bare = { id: "org.moderated/pinned", version: "1.0.0", verified: true };

    await authority.admin(`${path}/verify`, { reason });
    assert.deepEqual(await pinned(), bare);
    const answer = await authority.admin(`${path}/verify`, { reason, jwks_uri, tls_pin_sha256 });
    assert.deepEqual([answer.body.jwks_uri, answer.body.changed], [jwks_uri, true]);
    assert.deepEqual(await pinned(), { ...bare, jwks_uri, tls_pin_sha256 });
    assert.equal((await authority.admin(`${path}/verify`, { reason, jwks_uri })).body.changed, false);
    assert.deepEqual(await pinned(), { ...bare, jwks_uri, tls_pin_sha256 });

    // An identity belongs to a verification.
    await authority.changeServer("org.moderated/pinned", "unverify");
    await authority.changeServer("org.moderated/pinned", "verify");
    assert.deepEqual(await pinned(), bare);
  });

  test("refuses an identity that can't be one", async () => {
    for (const [member, value] of [
      ["jwks_uri", "jwks.json"],
      ["jwks_uri", "http://mcp.example.com/jwks.json"],
      ["jwks_uri", "https://10.0.0.1/jwks.json"],
      ["jwks_uri", "https://user:pw@mcp.example.com/jwks.json"],
      ["tls_pin_sha256", "abc"],
      ["tls_pin_sha256", "A".repeat(44)],
      ["tls_pin_sha256", `${"A".repeat(43)}=`],
      ["tls_pin_sha256", `${"A".repeat(42)}+`],
    ]) {
      const answer = await authority.admin(`/servers/${NAME}/verify`, { reason, [member]: value });
      assertProblem(answer, 400, "request_invalid", member);
    }
    assertProblem(await authority.admin(`/servers/${NAME}/revoke`, { reason, jwks_uri: "https://mcp.example.com/" }), 400, "request_invalid", "jwks_uri");
  });
});

describe("the audit trail", () => {
  test("is listed newest first, over its pages", async () => {
    for (let n = 0; n < 3; n += 1) await authority.createClient(`audited${n}`);
    const first = (await authority.admin("/audit?limit=2")).body;
    assert.deepEqual(first.entries.map(({ subject }) => subject), ["audited2", "audited1"]);
    const second = (await authority.admin(`/audit?limit=2&cursor=${first.next_cursor}`)).body;
    assert.equal(second.entries[0].subject, "audited0");
    assert.equal(second.entries[0].seq, first.entries[1].seq - 1);
    for (const query of ["cursor=x", "cursor=-1", "limit=0"]) {
      assertProblem(await authority.admin(`/audit?${query}`), 400, "request_invalid", query.split("=")[0]);
    }
  });

  test("can't be changed, not even by who holds the database", async () => {
    const database = await authority.database();
    const before = await audit();
    for (const sql of [
      "UPDATE audit SET actor = 'nobody' WHERE seq = 1",
      "DELETE FROM audit WHERE seq = 1",
      "DELETE FROM audit",
    ]) {
      await assert.rejects(database.prepare(sql).run(), /the audit trail is append-only/, sql);
    }
    assert.deepEqual(await audit(), before);
  });

  test("can't be overwritten by an insertion with a number that is taken", async () => {
    const database = await authority.database();
    const before = await audit();
    const sql = "INSERT OR REPLACE INTO audit (seq, at, actor, action, subject) VALUES (1, 0, 'nobody', 'nothing', 'x')";
    await database.prepare(sql).run().catch(() => {});
    assert.deepEqual(await audit(), before);
  });
});

describe("an import", () => {
  const outcomes = async (...servers) => {
    const answer = await authority.admin("/import", { servers });
    assert.equal(answer.status, 200, answer.text);
    return answer.body.results;
  };
  const result = (name, outcome, version = "1.0.0") => ({ name, version, outcome });

  test("takes what is new, knows what it has, and follows the publisher's status", async () => {
    const [one, two] = [entry("org.import/one"), entry("org.import/two", { version: "2.0.0" })];
    const added = await audited(async () => {
      assert.deepEqual(await outcomes(one, two), [result("org.import/one", "imported"), result("org.import/two", "imported", "2.0.0")]);
      assert.deepEqual(await outcomes(two, one), [result("org.import/two", "unchanged", "2.0.0"), result("org.import/one", "unchanged")]);
      const reordered = { server: Object.fromEntries(Object.entries(one.server).reverse()) };
      assert.deepEqual(await outcomes(reordered), [result("org.import/one", "unchanged")]);
      const deleted = entry("org.import/one", { status: "deleted" });
      assert.deepEqual(await outcomes(deleted), [result("org.import/one", "updated")]);
      assert.deepEqual(await outcomes(deleted), [result("org.import/one", "unchanged")]);
      assert.deepEqual(await outcomes(one), [result("org.import/one", "updated")]);
    });
    const row = (action, subject, detail) => ({ actor: "operator", action, subject, detail });
    assert.deepEqual(added, [
      row("version.import", "org.import/one@1.0.0", "active"),
      row("version.import", "org.import/two@2.0.0", "active"),
      row("version.status", "org.import/one@1.0.0", "deleted"),
      row("version.status", "org.import/one@1.0.0", "active"),
    ]);
  });

  test("refuses by itself what can't be represented, and says why", async () => {
    const good = entry("org.import/good");
    const refused = {
      "name:": { ...good, server: { ...good.server, name: "org.import" } },
      "version: is \"latest\"": { ...good, server: { ...good.server, version: "latest" } },
      "version: looks like a range": { ...good, server: { ...good.server, version: "^1.0.0" } },
      "server: version: is missing": { ...good, server: { ...good.server, version: undefined } },
      "not an object": "org.import/good",
      "server: is missing": { name: "org.import/good" },
      "server: not an object": { server: ["org.import/good", "1.0.0", null, "d", []] },
      "_meta publishedAt": entry("org.import/good", { publishedAt: "yesterday" }),
      'status: must be one of "active", "deleted", "deprecated", but is "odd"': entry("org.import/good", { status: "odd" }),
      "larger than 256 KiB": entry("org.import/large", { readme: "x".repeat(256 * 1024) }),
    };
    const results = await outcomes(...Object.values(refused), null, 7, [], good);
    for (const [index, why] of Object.keys(refused).entries()) {
      assert.equal(results[index].outcome, "refused", why);
      assert.ok(results[index].reason.includes(why), `${results[index].reason}: ${why}`);
    }
    assert.deepEqual(results.slice(-4).map(({ outcome }) => outcome), ["refused", "refused", "refused", "imported"]);
    assert.deepEqual([results[0].name, results[0].version], ["org.import", "1.0.0"], "named as well as it can be");
  });

  test("never changes a version", async () => {
    await outcomes(entry("org.import/fixed"));
    const added = await audited(async () => {
      for (const changed of [{ description: "Another" }, { endpoint: "https://evil.example.com/mcp" }, { extra: true }]) {
        const [refused] = await outcomes(entry("org.import/fixed", { ...changed, status: "deleted" }));
        assert.equal(refused.outcome, "refused");
        assert.match(refused.reason, /^version: .*never changes/);
      }
    });
    assert.deepEqual(added, []);
    const { body } = await authority.request("/v1/servers/org.import/fixed");
    assert.deepEqual(body.server, entry("org.import/fixed").server);
    assert.equal(body.status, "active");

    const database = await authority.database();
    for (const column of ["endpoint = 'https://evil.example.com/'", "server_json = '{}'", "version = '9.9.9'", "content_hash = 'x'"]) {
      await assert.rejects(database.prepare(`UPDATE versions SET ${column}`).run(), /a version never changes/, column);
    }
    await assert.rejects(database.prepare("DELETE FROM versions").run(), /a version never goes/);
  });

  test("with a version twice counts the first, and refuses what contradicts it", async () => {
    const [first, again, other, deleted] = [
      entry("org.import/twice"),
      entry("org.import/twice"),
      entry("org.import/twice", { description: "Another" }),
      entry("org.import/twice", { status: "deleted" }),
    ];
    const added = await audited(async () => {
      const results = await outcomes(first, again, other, deleted);
      assert.deepEqual(results.map(({ outcome }) => outcome), ["imported", "imported", "refused", "refused"]);
      for (const { reason } of results.slice(2)) assert.match(reason, /^version: given twice/);
    });
    assert.equal(added.length, 1);
    const { body } = await authority.request("/v1/servers/org.import/twice");
    assert.deepEqual([body.status, body.server], ["active", first.server]);
  });

  test("leaves verification and moderation as they are", async () => {
    await authority.publish("org.import/judged");
    await authority.changeServer("org.import/judged", "revoke", "bad");
    const { api_key } = await authority.createClient("importing");
    await outcomes(entry("org.import/judged"), entry("org.import/judged", { version: "2.0.0" }));
    assertProblem(await authority.connect("org.import/judged", api_key), 403, "server_revoked");
    const { body } = await authority.request("/v1/servers/org.import/judged");
    assert.deepEqual([body.version, body.verified, body.status, body.status_reason], ["2.0.0", true, "revoked", "bad"]);
  });

  test("takes 1 to 100 entries", async () => {
    const many = (count) => Array.from({ length: count }, (_, n) => entry(`org.import/many${n}`));
    assertProblem(await authority.admin("/import", { servers: [] }), 400, "request_invalid", "servers");
    assertProblem(await authority.admin("/import", { servers: many(101) }), 400, "request_invalid", "servers");
    assertProblem(await authority.admin("/import", { servers: entry("org.import/one") }), 400, "request_invalid", "servers");
    assert.equal((await outcomes(...many(100))).length, 100);
  });
});

test("without an operator's token, and without named operators, administration is closed, and nothing else", async () => {
  const { api_key } = await authority.createClient("open");
  await authority.publish("org.import/open");
  const token = authority.operatorToken;
  await authority.configure({ OPERATOR_TOKEN: undefined });
  for (const bearer of [token, "", "undefined", undefined]) {
    const answer = await authority.request("/v1/admin/clients", { bearer });
    assertProblem(answer, 401, "caller_unauthenticated");
  }
  const health = await authority.request("/healthz");
  assert.equal(health.status, 503);
  assert.deepEqual(health.body.faults.map(({ setting }) => setting), ["OPERATOR_TOKEN"]);
  assert.equal((await authority.connect("org.import/open", api_key)).status, 200);
});

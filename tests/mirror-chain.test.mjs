// Two mirrors in a chain: a registry, an authority that mirrors it, and another one that mirrors that.
// Whatever happens at the first, in whatever order the others hear of it, all come to say the same.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import fc from "fast-check";

import { entry, startAuthority } from "./support/authority.mjs";
import { serverJson, tokenFor } from "./support/registry.mjs";
import { Upstream } from "./support/upstream.mjs";

const OFFICIAL = "io.modelcontextprotocol.registry/official";
const OURS = "org.mcp-connect/authority";

/// Everything that a registry lists of these names, in its order, without what each says for itself.
async function list(origin, names) {
  const found = [];
  for (let cursor = ""; cursor !== undefined; ) {
    const query = new URLSearchParams({ limit: 100, include_deleted: true, search: names, ...(cursor && { cursor }) });
    const response = await fetch(`${origin}/v0.1/servers?${query}`);
    assert.equal(response.status, 200);
    const page = await response.json();
    found.push(...page.servers.filter(({ server }) => server.name.includes(names)));
    cursor = page.metadata.nextCursor;
  }
  for (const { _meta } of found) delete _meta[OURS];
  return found;
}

/// One of the names of this run of the property.
const nth = (names, which) => `${names}-${which}`;

const pick = (...values) => fc.constantFrom(...values);
const which = fc.integer({ min: 0, max: 2 });
const version = pick("1.0.0", "1.0.0+b", "v1.0.0", "1.1.0-rc.1", "1.1.0", "nightly", "2026.1");
const change = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("publish"), which, version }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("edit"), which, version, content: fc.integer({ min: 0, max: 9 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("status"), which, version, status: pick("active", "deprecated", "deleted") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("statusOfAll"), which, status: pick("active", "deleted") }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("follow"), mirror: pick(0, 1), sweep: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("moderate"), which, verb: pick("quarantine", "verify") }) },
);

/// `registry` takes the changes.
async function converges(registry, mirrors, runs) {
  const follow = async (mirror, sweep = false) => {
    for (let done = false; !done; sweep = false) {
      const { status, body, text } = await mirror.admin("/mirror/sync", { sweep });
      assert.equal(status, 200, text);
      done = body.done;
    }
  };
  const changes = fc.array(change, { minLength: 3, maxLength: 16 });
  const holds = fc.asyncProperty(changes, async (changes) => {
    const names = `com.example/n${Math.random().toString(36).slice(2)}`;
    for (const change of changes) {
      const name = nth(names, change.which);
      if (change.kind === "follow") await follow(mirrors[change.mirror], change.sweep);
      else if (change.kind === "moderate") await mirrors[0].admin(`/servers/${name}/${change.verb}`, { reason: "a test wants it" });
      else await registry[change.kind](name, change);
    }
    for (const mirror of mirrors) await follow(mirror);
    const [first, second] = await Promise.all(mirrors.map(({ url }) => list(url, names)));
    assert.deepEqual(second, first);
    assert.deepEqual(await registry.list(names), registry.saysLatest ? first : first.map(withoutLatest));
    // One of each name is the latest.
    const latest = first.filter(({ _meta }) => _meta[OFFICIAL].isLatest).map(({ server }) => server.name);
    assert.deepEqual(latest, [...new Set(first.map(({ server }) => server.name))]);
    for (const mirror of mirrors) assert.equal((await mirror.admin("/mirror")).body.poison, 0);
  });
  await fc.assert(holds, { numRuns: runs });
}

function withoutLatest({ server, _meta }) {
  const { isLatest, ...official } = _meta[OFFICIAL];
  return { server, _meta: { ..._meta, [OFFICIAL]: official } };
}

/// The official registry's stand-in.
class Official {
  saysLatest = false;
  #clock = 0;

  constructor(upstream) {
    this.upstream = upstream;
  }

  /// No two changes at the same moment, so that it is clear which was the first.
  #now() {
    this.#clock = Math.max(this.#clock + 1, Date.now());
    return new Date(this.#clock).toISOString().replace(/\.?0*Z$/, "Z");
  }

  #has(name, version) {
    return this.upstream.entries.has(`${name}:${version}`);
  }

  publish(name, { version }) {
    if (this.#has(name, version)) return;
    const at = this.#now();
    const { server } = entry(name, { version });
    const official = { status: "active", publishedAt: at, updatedAt: at, statusChangedAt: at };
    this.upstream.put({ server, _meta: { [OFFICIAL]: official, "com.example.other/notes": { version } } });
  }

  edit(name, { version, content }) {
    if (!this.#has(name, version)) return;
    const { server } = entry(name, { version, title: `Edited ${content}`, endpoint: `https://mcp${content}.example.com/mcp` });
    this.upstream.change(name, version, { updatedAt: this.#now() }, server);
  }

  status(name, { version, status }) {
    if (!this.#has(name, version)) return;
    const at = this.#now();
    const statusMessage = status === "active" ? undefined : `it is ${status}`;
    this.upstream.change(name, version, { status, statusMessage, statusChangedAt: at, updatedAt: at });
  }

  statusOfAll(name, { status }) {
    for (const key of this.upstream.entries.keys()) {
      if (key.startsWith(`${name}:`)) this.status(name, { version: key.slice(name.length + 1), status });
    }
  }

  list(names) {
    return list(this.upstream.origin, names);
  }
}

/// An authority that publishers publish at.
class Own {
  saysLatest = true;

  constructor(authority) {
    this.authority = authority;
  }

  async #write(method, path, body) {
    const bearer = await tokenFor(this.authority, "*", "publish", "edit");
    const { status, text } = await this.authority.request(`/v0.1${path}`, { method, body, bearer });
    // What is not there, there already, or already so, is no change.
    assert.ok([200, 400, 404].includes(status), text);
  }

  #version = (name, version) => `/servers/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}`;

  publish(name, { version }) {
    return this.#write("POST", "/publish", serverJson(name, { version, remote: `https://mcp.example.com/${name}` }));
  }

  edit(name, { version, content }) {
    const edited = serverJson(name, { version, remote: `https://mcp${content}.example.com/${name}`, title: `Edited ${content}` });
    return this.#write("PUT", this.#version(name, version), edited);
  }

  #change = (status) => ({ status, ...(status !== "active" && { statusMessage: `it is ${status}` }) });

  status(name, { version, status }) {
    return this.#write("PATCH", `${this.#version(name, version)}/status`, this.#change(status));
  }

  statusOfAll(name, { status }) {
    return this.#write("PATCH", `/servers/${encodeURIComponent(name)}/status`, this.#change(status));
  }

  list(names) {
    return list(this.authority.url, names);
  }
}

describe("two mirrors in a chain", () => {
  let upstream;
  const authorities = [];
  /// An authority that mirrors another registry, and one that mirrors that.
  async function chain(origin) {
    const mirrors = [];
    for (let upstream = origin; mirrors.length < 2; upstream = mirrors.at(-1).url) {
      mirrors.push(await startAuthority({ settings: { UPSTREAM_REGISTRY: upstream } }));
    }
    authorities.push(...mirrors);
    return mirrors;
  }
  before(async () => {
    upstream = await Upstream.start();
  });
  after(async () => {
    await Promise.all(authorities.map((authority) => authority.stop()));
    await upstream?.stop();
  });

  test("come to say what a registry like the official one says", async () => {
    await converges(new Official(upstream), await chain(upstream.origin), 12);
  });

  test("come to say what an authority says, the latest versions included", async () => {
    const authority = await startAuthority();
    authorities.push(authority);
    await converges(new Own(authority), await chain(authority.url), 12);
  });
});

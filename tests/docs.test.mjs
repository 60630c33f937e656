// Every command of README and docs, in its order, as a reader would type it. support/documents.mjs says how a block that
// can't be run as it stands is marked.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createPublicKey } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { parseEnv } from "node:util";

import { REPOSITORY, entry, startAuthority } from "./support/authority.mjs";
import { Shell, documents, run } from "./support/documents.mjs";
import { startIdentityProvider } from "./support/identity-provider.mjs";
import { startResolver } from "./support/publishers.mjs";
import { serverJson } from "./support/registry.mjs";
import { Site } from "./support/site.mjs";
import { Upstream } from "./support/upstream.mjs";

const stops = [];
after(async () => {
  for (const stop of stops.reverse()) await stop();
});
function started(program) {
  stops.push(() => program.stop());
  return program;
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

describe("the commands of", () => {
  for (const document of documents()) {
    test(document.name, { timeout: 900_000 }, async () => {
      const world = await World.start();
      const failures = await run(document, world.shell, {
        rewrite: (text) => world.rewrite(text),
        ran: (text) => world.follow(text),
      });
      assert.deepEqual(failures, [], `\n${failures.join("\n")}`);
    });
  }
});

test("no file that they write can be committed by accident", () => {
  const ignored = readFileSync(join(REPOSITORY, ".gitignore"), "utf8").split("\n");
  const isIgnored = (file) => ignored.some((line) => new RegExp(`^${line.replaceAll(".", "\\.").replaceAll("*", ".*")}$`).test(`/${file}`));
  const written = documents().flatMap(({ blocks }) =>
    blocks.flatMap(({ marks, statements }) =>
      [...marks.filter(({ kind }) => kind === "run"), ...statements].flatMap(({ text }) => [...text.matchAll(/(?:(?<![0-9&<])>\s*|-out |--output )([\w-][\w.-]*)/g)].map(([, file]) => file)),
    ),
  );
  assert.ok(written.includes("keys.json") && written.includes("key.pem"), `${written}`);
  assert.deepEqual(written.filter((file) => !isIgnored(file)), []);
});

/// An authority as `make dev` leaves it, the sites and services that the documents name, and a shell beside them.
class World {
  static async start() {
    const world = new World();
    const port = (world.referencePort = await freePort());
    const resolver = (world.resolver = started(await startResolver()));
    const upstream = started(await Upstream.start());
    upstream.put(entry("com.upstream/one"));
    const provider = started(await startIdentityProvider(["agent"]));
    const site = started(await Site.start((request, response) => world.serve(request, response)));
    const hosts = Object.fromEntries(["example.com", "weather.example.com"].map((host) => [host, site.port]));
    world.authority = started(
      await startAuthority({
        settings: { DNS_RESOLVER: resolver.url, UPSTREAM_REGISTRY: upstream.origin, PUBLISH_ANONYMOUS: "true" },
        hosts,
      }),
    );
    world.provider = provider;
    const seed = readFileSync(join(REPOSITORY, "schema/seed.json"), "utf8").replaceAll("127.0.0.1:8788", `127.0.0.1:${port}`);
    await world.authority.importServers(...JSON.parse(seed).servers);
    for (const name of ["dev.localhost/reference", "com.example/weather"]) await world.authority.changeServer(name, "verify");
    world.shell = started(
      new Shell({
        REFERENCE_PORT: `${port}`,
        CONNECT_AUTHORITY: world.authority.url,
        CONNECT_OPERATOR_TOKEN: world.authority.operatorToken,
      }),
    );
    const files = {
      ".dev.vars": `OPERATOR_TOKEN=${world.authority.operatorToken}\n`,
      "server.json": JSON.stringify(serverJson("com.example/weather", { version: "1.0.0" })),
      "registry-dump.json": JSON.stringify({ servers: [entry("com.example/imported")] }),
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(world.shell.folder, name), text);
    return world;
  }

  rewrite(text) {
    return text
      .replaceAll("https://authority.example", this.authority.url)
      .replaceAll("http://127.0.0.1:8787", this.authority.url)
      .replaceAll("http://127.0.0.1:8788", `http://127.0.0.1:${this.referencePort}`)
      .replaceAll("https://id.acme.example", this.provider.issuer);
  }

  /// The publisher's sites serve the line that the authority asks for.
  async serve(request, response) {
    const challenges = await fetch(`${this.authority.url}/v1/servers/com.example/weather/challenge`).then((answer) => answer.json());
    const level = request.headers["x-test-host"] === "example.com" ? "namespace" : "endpoint";
    const isAsked = request.url === "/.well-known/mcp-connect-challenge";
    response.writeHead(isAsked ? 200 : 404, { "content-type": "text/plain" }).end(isAsked ? challenges[level].token : "");
  }

  /// What a command leaves in the folder has its effect: a key becomes the domain's, a secret the authority's.
  async follow(text) {
    const file = (name) => join(this.shell.folder, name);
    if (text.includes("openssl genpkey")) {
      const { x } = createPublicKey(readFileSync(file("key.pem"))).export({ format: "jwk" });
      this.resolver.zones["example.com"] = [`v=MCPv1; k=ed25519; p=${Buffer.from(x, "base64url").toString("base64")}`];
    }
    if (text.includes("wrangler secret")) {
      const put = ["SIGNING_KEYS", "OPERATOR_TOKEN"].filter((name) => existsSync(file(`secret.${name}`)));
      const secrets = put.map((name) => [name, readFileSync(file(`secret.${name}`), "utf8") || undefined]);
      await this.authority.configure(Object.fromEntries(secrets));
    }
  }
}

test("make dev runs the authority that the README speaks of", async () => {
  const folder = mkdtempSync(join(tmpdir(), "connect-dev-"));
  for (const name of ["build", "dist", "node_modules", "schema", "wrangler.toml"]) symlinkSync(join(REPOSITORY, name), join(folder, name));
  const port = await freePort();
  const dev = spawn(process.execPath, [join(REPOSITORY, "scripts/dev.mjs")], { cwd: folder, env: { ...process.env, PORT: `${port}` } });
  const exited = once(dev, "exit");
  let output = "";
  const runs = new Promise((resolve) => {
    for (const stream of [dev.stdout, dev.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
        if (output.includes("Ctrl-C stops it")) resolve();
      });
    }
  });
  try {
    await Promise.race([runs, exited.then(() => assert.fail(output))]);
    const origin = `http://127.0.0.1:${port}`;
    for (const [, url] of output.matchAll(/curl (http:\S+)/g)) assert.equal((await fetch(url)).status, 200, url);
    const { OPERATOR_TOKEN } = parseEnv(readFileSync(join(folder, ".dev.vars"), "utf8"));
    const whoami = await fetch(`${origin}/v1/admin/whoami`, { headers: { authorization: `Bearer ${OPERATOR_TOKEN}` } });
    assert.equal(whoami.status, 200);
  } finally {
    dev.kill("SIGINT");
    await exited;
    rmSync(folder, { recursive: true, force: true });
  }
});

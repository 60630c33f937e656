// `make dev`: local keys on the first run, migrations, the Worker in workerd, a few servers.
import { spawn, spawnSync } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseEnv } from "node:util";

const PORT = process.env.PORT ?? "8787";
const ISSUER = `http://127.0.0.1:${PORT}`;
const VARS = ".dev.vars";
const WRANGLER = "node_modules/wrangler/bin/wrangler.js";
const environment = {
  ...process.env,
  CI: "true",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  WRANGLER_SEND_METRICS: "false",
};

function createLocalSecrets() {
  const key = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const lines = [
    "# Made by `make dev`, for this machine only. Delete it to get new keys.",
    "DEVELOPMENT=true",
    `SIGNING_KEYS='${JSON.stringify({ keys: [{ ...key, status: "active" }] })}'`,
    `OPERATOR_TOKEN=${randomBytes(32).toString("base64url")}`,
  ];
  writeFileSync(VARS, `${lines.join("\n")}\n`, { mode: 0o600, flag: "wx" });
  console.log(`• local keys and the operator's token, in ${VARS}`);
}

function migrate() {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [WRANGLER, "d1", "migrations", "apply", "DB", "--local"],
    { env: environment, encoding: "utf8" },
  );
  if (status !== 0) {
    console.error(stdout, stderr);
    throw new Error("the migrations could not be applied to the local D1");
  }
}

function startWorker() {
  const worker = spawn(
    process.execPath,
    [WRANGLER, "dev", "--ip", "127.0.0.1", "--port", PORT, "--var", `ISSUER:${ISSUER}`, "--log-level", "log", "--show-interactive-dev-session=false"],
    // A group of its own, since wrangler starts processes that must stop with it.
    { env: environment, stdio: ["ignore", "inherit", "inherit"], detached: true },
  );
  const stop = () => {
    if (worker.exitCode === null && worker.signalCode === null) process.kill(-worker.pid, "SIGTERM");
  };
  let asked = false;
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => {
      asked = true;
      stop();
    });
  }
  const stopped = new Promise((resolve, reject) => {
    worker.once("exit", (code) => {
      if (asked) resolve();
      else reject(new Error(`the Worker stopped (exit code ${code}); is port ${PORT} in use?`));
    });
  });
  return { stopped, stop };
}

async function answers(url) {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    // wrangler's proxy may take a request that it never answers while the Worker starts.
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
    const text = await response?.text().catch(() => undefined);
    if (response?.ok) return;
    if (response?.status === 503) throw new Error(`${url} says: ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${url} did not answer within 60 s`);
}

async function admin(path, body) {
  const { OPERATOR_TOKEN } = parseEnv(readFileSync(VARS, "utf8"));
  const response = await fetch(`${ISSUER}/v1/admin${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${OPERATOR_TOKEN}` },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
  return response.json();
}

async function seed() {
  await admin("/import", JSON.parse(readFileSync("schema/seed.json", "utf8")));
  for (const name of ["dev.localhost/reference", "com.example/weather"]) {
    await admin(`/servers/${name}/verify`, { reason: "seeded for local development" });
  }
}

let worker;
try {
  if (!existsSync(VARS)) createLocalSecrets();
  migrate();
  worker = startWorker();
  await Promise.race([answers(`${ISSUER}/healthz`), worker.stopped]);
  await seed();
  console.log(`
The authority runs at ${ISSUER}. Open it in a browser, or try:
  curl ${ISSUER}/v1/servers?query=weather
  curl ${ISSUER}/v1/servers/dev.localhost/reference
  curl ${ISSUER}/.well-known/jwks.json
  curl ${ISSUER}/healthz
The operator's token is in ${VARS}; the README shows a governed call. Ctrl-C stops it.
`);
  await worker.stopped;
  process.exit(0);
} catch (error) {
  console.error(`make dev: ${error.message}`);
  worker?.stop();
  process.exit(1);
}

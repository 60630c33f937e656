// `make schemathesis`: what schema/openapi.yaml says, tried on the built Worker in workerd by schemathesis, which
// sends what the description allows and what it doesn't. A path and more options may follow:
//   node_modules/.bin/node scripts/schemathesis.mjs --include-path-regex '^/v0.1/' --max-examples 50
import { spawn, spawnSync } from "node:child_process";

import { REPOSITORY, entry, startAuthority } from "../tests/support/authority.mjs";

const SERVER = "com.example/weather";
const VERSION = "4.32.5";

function fail(message) {
  console.error(`make schemathesis: ${message}`);
  process.exit(1);
}

const found = spawnSync("schemathesis", ["--version"], { encoding: "utf8" });
if (found.error) {
  fail(`schemathesis was not found. It is a Python program (3.10 or newer); to get it:\n  pipx install schemathesis==${VERSION}`);
}
console.log(`• ${found.stdout.trim()}; written for ${VERSION}`);

const authority = await startAuthority({ settings: { PUBLISH_ANONYMOUS: "true" } });
let code = 1;
try {
  for (const version of ["1.0.0", "1.1.0"]) await authority.publish(SERVER, { version });
  await authority.importServers(entry("com.example/other"));
  const { api_key } = await authority.createClient("desktop", { tenant_id: "acme" });

  const schemathesis = spawn(
    "schemathesis",
    ["--config-file", "scripts/schemathesis.toml", "run", "schema/openapi.yaml", "--url", authority.url, ...process.argv.slice(2)],
    {
      cwd: REPOSITORY,
      stdio: "inherit",
      env: { ...process.env, OPERATOR_TOKEN: authority.operatorToken, API_KEY: api_key },
    },
  );
  code = await new Promise((resolve) => schemathesis.once("exit", (status) => resolve(status ?? 1)));
} finally {
  await authority.stop();
}
process.exit(code);

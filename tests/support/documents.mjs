// The commands of the documentation: read from its blocks, and run in their order in one shell for each document.
//
// A block that can't be run as it stands has a comment directly before it, which readers don't see:
//
//   <!-- docs-test
//   run: connectctl tenants create acme          a command to run first, silently
//   fill KEY_ID: printed 'ck_[a-z0-9]+'          what stands for a placeholder: the output of a command
//   fails "prove": nobody serves the line here   commands with this text have to fail
//   skip "github": it needs an account           commands with this text are not run
//   skip: it needs an account                    nor is any of the block
//   -->
//
// `printed PATTERN` gives what the document's commands printed last that fits the pattern, `printed --first PATTERN` what
// they printed first; `json .keys[0].id` takes a member out of the JSON that it reads.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { REPOSITORY } from "./authority.mjs";

const LANGUAGES = ["sh", "bash", "console"];
const SECONDS = 120;

/// The documents that have commands, with the blocks of each.
export function documents() {
  const names = ["README.md", ...readdirSync(join(REPOSITORY, "docs"), { recursive: true }).map((name) => `docs/${name}`)];
  return names
    .filter((name) => name.endsWith(".md"))
    .sort()
    .map((name) => ({ name, blocks: blocks(readFileSync(join(REPOSITORY, name), "utf8")) }))
    .filter(({ blocks }) => blocks.length > 0);
}

function blocks(text) {
  const found = [];
  let marks = [];
  const lines = text.split("\n");
  for (let n = 0; n < lines.length; n++) {
    const line = lines[n].trim();
    const [, language] = /^```(\w*)/.exec(line) ?? [];
    if (line.startsWith("<!-- docs-test")) {
      const end = lines.findIndex((line, m) => m >= n && line.includes("-->"));
      marks = lines.slice(n, end + 1).join("\n").replace(/^\s*<!-- docs-test|-->$/g, "").split("\n").map((mark) => mark.trim()).filter(Boolean).map(parse);
      n = end;
    } else if (language !== undefined) {
      const end = lines.findIndex((line, m) => m > n && line.trim() === "```");
      if (LANGUAGES.includes(language)) {
        const source = lines.slice(n + 1, end).map((line) => line.replace(/^\s*\$ /, ""));
        found.push({ line: n + 1, marks, statements: statements(source, n + 2) });
      } else if (marks.length > 0) throw new Error(`line ${n + 1}: there is nothing to run in this block`);
      marks = [];
      n = end;
    }
  }
  return found;
}

function parse(mark) {
  const [, kind, subject, text] = /^(run|fill|fails|skip)(?: "([^"]+)"| (\S+))?: .+$/.exec(mark) ? /^(\w+)(?: ("[^"]+"|\S+))?: (.+)$/.exec(mark) : [];
  if (!kind) throw new Error(`no such mark: ${mark}`);
  return { kind, subject: subject?.replace(/^"|"$/g, ""), text };
}

/// The commands, each with its line; one may go over several.
function statements(source, first) {
  const found = [];
  let text = "";
  source.forEach((line, n) => {
    text += text ? `\n${line}` : line;
    if (!text.trim() || text.trim().startsWith("#")) text = "";
    const isWhole = text && !text.endsWith("\\") && spawnSync("bash", ["-n"], { input: text }).status === 0;
    if (!isWhole) return;
    found.push({ line: first + n, text: text.trim() });
    text = "";
  });
  if (text) throw new Error(`line ${first}: a command has no end: ${text}`);
  return found;
}

/// Runs the blocks of a document; `rewrite` puts the addresses of this machine in the place of those that are told;
/// `ran` hears of each command that was run.
export async function run({ blocks }, shell, { rewrite, ran }) {
  const failures = [];
  for (const { line, marks, statements } of blocks) {
    const of = (kind) => marks.filter((mark) => mark.kind === kind);
    if (of("skip").some(({ subject }) => !subject)) continue;
    for (const { text } of of("run")) {
      const { code, output } = await shell.run(rewrite(text));
      if (code !== 0) throw new Error(`line ${line}: the command of a mark fails (${code}): ${text}\n${output}`);
      await ran(text);
    }
    const used = new Set();
    for (const statement of statements) {
      const has = (mark) => statement.text.includes(mark.subject) && used.add(mark);
      if (of("skip").some(has)) continue;
      let text = rewrite(statement.text);
      for (const fill of of("fill").filter(has)) {
        const { code, output } = await shell.run(rewrite(fill.text));
        if (code !== 0 || !output.trim()) throw new Error(`line ${line}: nothing was found for ${fill.subject}: ${output}`);
        text = text.replaceAll(fill.subject, output.trim());
      }
      const mustFail = of("fails").some(has);
      const { code, output } = await shell.run(text);
      if ((code !== 0) !== mustFail) failures.push(`line ${statement.line}: ${statement.text}\n  exit code ${code}: ${output.trim()}`);
      await ran(statement.text);
    }
    for (const mark of marks) if (mark.kind !== "run" && !used.has(mark)) failures.push(`line ${line}: no command has ${mark.subject}`);
  }
  return failures;
}

/// A bash in a folder of its own, in which our programs, make, cargo and wrangler can be called by name. What they would
/// need an account or minutes for is checked as far as that goes without.
export class Shell {
  folder = mkdtempSync(join(tmpdir(), "connect-docs-"));
  #process;
  #output = "";
  #heard = () => {};

  constructor(env) {
    const bin = join(this.folder, "node_modules/.bin");
    mkdirSync(bin, { recursive: true });
    for (const name of ["build", "dist", "schema", "scripts"]) symlinkSync(join(REPOSITORY, name), join(this.folder, name));
    cpSync(join(REPOSITORY, "wrangler.toml"), join(this.folder, "wrangler.toml"));
    writeFileSync(join(this.folder, "printed"), "");
    for (const [name, script] of Object.entries(programs(this.folder, env))) {
      writeFileSync(join(bin, name), script);
      chmodSync(join(bin, name), 0o755);
    }
    this.#process = spawn("bash", ["--noprofile", "--norc"], {
      cwd: this.folder,
      detached: true,
      env: { PATH: `${bin}:${process.env.PATH}`, HOME: this.folder, EDITOR: "true", ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        this.#output += text;
        this.#heard();
      });
    }
    this.#process.stdin.write("shopt -s expand_aliases\nexec 2>&1\n");
  }

  /// Runs a command; what it leaves behind, variables and aliases included, the next one finds.
  async run(text) {
    this.#output = "";
    const end = /\x1e(\d+)\x1e/;
    const quoted = text.replaceAll("'", "'\\''");
    const done = new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`not within ${SECONDS} s: ${text}\n${this.#output}`)), SECONDS * 1000);
      this.#heard = () => {
        if (!end.test(this.#output)) return;
        clearTimeout(late);
        resolve();
      };
    });
    this.#process.stdin.write(`eval '${quoted}' </dev/null; printf '\\036%d\\036' $?\n`);
    await done;
    const [, code] = end.exec(this.#output);
    const output = this.#output.replace(end, "");
    appendFileSync(join(this.folder, "printed"), output);
    return { code: Number(code), output };
  }

  async stop() {
    const gone = once(this.#process, "close");
    process.kill(-this.#process.pid, "SIGTERM");
    this.#process.kill("SIGKILL");
    await gone;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function programs(folder, { REFERENCE_PORT }) {
  const built = (name) => join(REPOSITORY, "target/debug", name);
  const node = process.execPath;
  // A program that goes on: until it says that it listens.
  const server = (name, port) => `#!/bin/bash
exec 3< <(exec ${built(name)} "$@" --listen 127.0.0.1:${port})
read -r said <&3 && echo "$said"
`;
  const wrangler = `${node} ${join(REPOSITORY, "node_modules/wrangler/bin/wrangler.js")}`;
  return {
    connectctl: `#!/bin/bash\nexec ${built("connectctl")} "$@"\n`,
    "hapi-server": server("hapi-server", REFERENCE_PORT),
    "mcp-connect-guard": server("mcp-connect-guard", 0),
    node: `#!/bin/bash\nexec ${node} "$@"\n`,
    printed: `#!/bin/bash
end=tail; [ "$1" = --first ] && { end=head; shift; }
grep -oE -- "$1" ${folder}/printed | $end -n 1
`,
    json: `#!/bin/bash\nexec ${node} -e 'let text = ""; process.stdin.on("data", (part) => (text += part)).on("end", () => console.log(eval("JSON.parse(text)" + process.argv[1])))' "$1"\n`,
    make: `#!/bin/bash\nexec /usr/bin/make --dry-run --directory ${REPOSITORY} "$@" >/dev/null\n`,
    // Runs what is built, and of the rest looks whether there is such a package.
    cargo: `#!/bin/bash
if [[ "$*" =~ ^run\\ (-q\\ )?-p\\ ([a-z-]+)\\ --\\  ]]; then while [ "$1" != -- ]; do shift; done; shift; exec "\${BASH_REMATCH[2]}" "$@"; fi
while [ $# -gt 0 ]; do
  case "$1" in
    -p) [ -d ${REPOSITORY}/crates/"$2" ] || [ -d ${REPOSITORY}/crates/"\${2#mcp-connect-}" ] || exit 1;;
    --path) [ -f ${REPOSITORY}/"$2"/Cargo.toml ] || exit 1;;
  esac
  shift
done
`,
    // What needs no account is done here; secrets are put for the authority of the test; of the rest, wrangler says
    // whether it knows the command.
    wrangler: `#!/bin/bash
export WRANGLER_SEND_METRICS=false CI=true
case "$1 $2" in
  "secret put") cat >${folder}/secret.$3;;
  "secret delete") : >${folder}/secret.$3;;
  "d1 migrations") shift; args=("\${@/--remote/--local}"); exec ${wrangler} d1 "\${args[@]}";;
  "deploy "*) exec ${wrangler} "$@" --dry-run --outdir ${folder}/bundle;;
  *) exec ${wrangler} "$@" --help >/dev/null;;
esac
`,
  };
}

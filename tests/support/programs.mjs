// Our own programs, as cargo built them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { REPOSITORY } from "./authority.mjs";

const start = (name, args, stdio, env = {}) =>
  // No setting of the developer's reaches the program.
  spawn(join(REPOSITORY, "target/debug", name), args, { stdio, env: { HOME: "/nonexistent", ...env } });

/// Runs `connectctl` to its end with `input` as its standard input.
export async function connectctl(args, input = "", env = {}) {
  const program = start("connectctl", args, ["pipe", "pipe", "pipe"], env);
  const collect = async (stream) => (await stream.setEncoding("utf8").toArray()).join("");
  // Not every command reads it, and one that ended can't be written to.
  program.stdin.on("error", () => {}).end(input);
  const [[code], stdout, stderr] = await Promise.all([
    once(program, "close"),
    collect(program.stdout),
    collect(program.stderr),
  ]);
  return { code, stdout, stderr };
}

/// Starts the reference server, governed by the authority, on a free port or a given one.
export async function startReferenceServer(authority, serverId, options = [], port = 0) {
  const args = ["--listen", `127.0.0.1:${port}`, "--authority", authority, "--server-id", serverId, ...options];
  const program = start("hapi-server", args, ["ignore", "pipe", "ignore"]);
  const exited = once(program, "exit");
  const announced = once(createInterface(program.stdout), "line");
  const [line] = await Promise.race([
    announced,
    exited.then(([code]) => Promise.reject(new Error(`hapi-server stopped with ${code}`))),
  ]);
  return {
    endpoint: line.split(" at ").at(-1),
    async stop() {
      program.kill("SIGTERM");
      await exited;
    },
  };
}

// What a deployment uploads: the built WebAssembly module, and what becomes of it when it panics.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { REPOSITORY, startAuthority } from "./support/authority.mjs";

const MODULE = join(REPOSITORY, "build/index_bg.wasm");

describe("the module", () => {
  test("is read by V8 as Node.js and browsers have it", async () => {
    const module = await WebAssembly.compile(readFileSync(MODULE));
    const exports = WebAssembly.Module.exports(module).map(({ name }) => name);
    for (const name of ["fetch", "scheduled", "memory"]) assert.ok(exports.includes(name), name);
    for (const { kind } of WebAssembly.Module.imports(module)) assert.match(kind, /^(?:function|table|memory|global|tag)$/);
  });

  test("uses no feature of WebAssembly but those that its build names", () => {
    const script = readFileSync(join(REPOSITORY, "scripts/build-worker.sh"), "utf8");
    const features = /^features=\((.*)\)$/m.exec(script)[1].split(" ").map((name) => `--enable-${name}`);
    assert.ok(features.length >= 5);
    const { status, stderr } = spawnSync(
      process.execPath,
      [join(REPOSITORY, "node_modules/binaryen/bin/wasm-opt"), "--mvp-features", ...features, MODULE, "-o", "/dev/null"],
      { encoding: "utf8" },
    );
    assert.equal(status, 0, stderr);
  });
});

describe("a panic", () => {
  let authority;
  before(async () => {
    authority = await startAuthority({ faults: true });
  });
  after(() => authority?.stop());

  test("tells the log what happened and where, and the next request meets a new isolate", async () => {
    const check = () => fetch(`${authority.url}/healthz`);
    assert.equal((await check()).status, 200);
    authority.clearLog();
    await authority.break({ panic: true });
    const broken = await check().then(({ status }) => status, () => 0);
    assert.notEqual(broken, 200);
    await authority.mend();
    const told = authority.log().find((line) => line.includes("panicked at"));
    assert.match(told ?? authority.log().join("\n"), /panicked at .*\.rs:\d+:\d+:\n.*no timer today[^]*Stack:/);
    assert.equal((await check()).status, 200);
    assert.ok(authority.log().some((line) => line.includes("Reinitializing Wasm application")), authority.log().join("\n"));
  });
});

#!/usr/bin/env bash
# Builds the Worker into build/, unless nothing that it is made of has changed, and what is served beside it
# into dist/.
set -euo pipefail
cd "$(dirname "$0")/.."
node scripts/build-site.mjs

sources=(Cargo.toml Cargo.lock src crates/audit crates/descriptor crates/catalog crates/strict-json scripts/build-worker.sh)
if [ -f build/index_bg.wasm ] &&
  [ -z "$(find "${sources[@]}" -newer build/index_bg.wasm -type f -print -quit)" ]; then
  exit 0
fi

. scripts/progress.sh
printf '• the Worker (worker-build; two minutes the first time, most of it for the last crate)\n' >&2
export WASM_BINDGEN_BIN="$PWD/.tools/bin/wasm-bindgen"
export WASM_OPT_BIN="$PWD/node_modules/.bin/wasm-opt"
export ESBUILD_BIN="$PWD/node_modules/.bin/esbuild"
export PATH="$PWD/node_modules/.bin:$PATH"
# What the machine's folders are called is nobody's business, and shorter is smaller.
export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src= --remap-path-prefix=$PWD="
# What the Worker says that it is made of: the same for the same commit, so that a build can be repeated.
if GIT_COMMIT="$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)"; then
  export GIT_COMMIT
  BUILD_TIME="$(TZ=UTC git show -s --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)"
  export BUILD_TIME
fi
mkdir -p .tools
with_progress .tools/worker-build.log .tools/bin/worker-build --release ||
  { tr '\r' '\n' <.tools/worker-build.log | grep -v Building >&2; printf '\nThe Worker did not build.\n' >&2; exit 1; }
# The names of functions are a seventh of the module; a panic says its place without them. Of wasm's features
# those that the module uses, as worker-build names them: with all of them on, the module is written in forms that
# not every engine reads.
features=(mutable-globals sign-ext nontrapping-float-to-int bulk-memory multivalue reference-types exception-handling)
"$WASM_OPT_BIN" "${features[@]/#/--enable-}" --strip-debug build/index_bg.wasm -o build/index_bg.wasm
touch build/index_bg.wasm

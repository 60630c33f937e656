#!/usr/bin/env bash
# Gets everything a build needs into this checkout (.tools, node_modules) and the wasm target into
# the Rust toolchain. Each step is skipped when it is done already.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '• %s\n' "$*" >&2; }
fail() { printf '\nSet-up stopped: %s\n' "$1" >&2; exit 1; }

command -v cargo >/dev/null || fail "cargo was not found. Install Rust with rustup, then run make again."
command -v cc >/dev/null || fail "no C compiler (cc) was found. Install gcc or clang, then run make again."
command -v npm >/dev/null || fail "npm was not found. Install Node.js 20 or newer, then run make again."
node_major="$(node -p 'process.versions.node.split(".")[0]')"
[ "$node_major" -ge 20 ] || fail "Node.js $node_major is too old. Install Node.js 20 or newer, then run make again."

mkdir -p .tools
. scripts/progress.sh

if ! cmp -s package-lock.json .tools/package-lock.json || [ ! -x node_modules/.bin/node ]; then
  step "npm packages (wrangler, workerd, binaryen, esbuild, test clients: half a minute)"
  # wrangler wants a newer Node than the machine may have; the 'node' package brings that one.
  # Not 'npm ci': it demands that the lock file names workerd's builds for other systems, too.
  npm install --no-save --no-fund --no-audit --loglevel=error >.tools/npm.log 2>&1 ||
    { tail -n 20 .tools/npm.log >&2; fail "npm install failed (whole log: .tools/npm.log)."; }
  cp package-lock.json .tools/package-lock.json
fi

scripts/wasm-target.sh

cargo_tool() { # crate, version, the binary that shows it is there, more arguments of cargo install
  local stamp=".tools/$1-$2" crate="$1@=$2" log=".tools/$1.log" binary="$3"
  [ -f "$stamp" ] && [ -x ".tools/bin/$binary" ] && return
  step "$1 $2 (compiled once)"
  shift 3
  # Optimising a tool that runs for seconds costs more time than it saves.
  CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=0 \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_TARGET_DIR=.tools/target \
    with_progress "$log" cargo install --locked --force --root .tools "$@" "$crate" ||
    { tr '\r' '\n' <"$log" | grep -v Building | tail -n 20 >&2; fail "cargo install $crate failed (whole log: $log)."; }
  touch "$stamp"
}

# The CLI must be of exactly the wasm-bindgen version in Cargo.lock. It reaches no network, so it needs no TLS; what reads and
# writes the module is worth optimising.
optimised=()
for crate in walrus wasm-bindgen-cli-support wasm-encoder wasmparser; do
  optimised+=(--config "profile.release.package.$crate.opt-level=1")
done
cargo_tool wasm-bindgen-cli 0.2.129 wasm-bindgen-test-runner --no-default-features "${optimised[@]}"
if [ ! -x .tools/bin/worker-build ] && [ "$(uname)" = Linux ] && [ -z "${OPENSSL_DIR:-}" ]; then
  pkg-config --exists openssl 2>/dev/null ||
    fail "OpenSSL's headers were not found, which worker-build is compiled with. Install libssl-dev and pkg-config, then run make again."
fi
cargo_tool worker-build 0.8.7 worker-build
rm -rf .tools/target

#!/usr/bin/env bash
# Runs each fuzz target, or those that are named, for FUZZ_SECONDS each (60), or for FUZZ_RUNS
# executions. What it learns stays in fuzz/corpus, what it finds goes to fuzz/artifacts.
# FUZZ_SANITIZER is address (the default) or none, which is faster: no code of ours is unsafe.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${FUZZ_SECONDS:-60}"
runs="${FUZZ_RUNS:--1}"
sanitizer="${FUZZ_SANITIZER:-address}"
if [ "$runs" != -1 ]; then
  seconds="${FUZZ_SECONDS:-0}" # no bound
fi

if ! cargo +nightly --version >/dev/null 2>&1; then
  echo "fuzzing needs a nightly compiler: rustup toolchain install nightly --profile minimal" >&2
  exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "fuzzing needs cargo-fuzz: cargo install --locked cargo-fuzz" >&2
  exit 1
fi

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <(cargo +nightly fuzz list)
fi

cargo +nightly fuzz build --sanitizer "$sanitizer"
for target in "${targets[@]}"; do
  echo "== $target" >&2
  mkdir -p "fuzz/corpus/$target"
  cargo +nightly fuzz run --sanitizer "$sanitizer" "$target" \
    "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -dict=fuzz/json.dict -max_len=16384 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
    -max_total_time="$seconds" -runs="$runs"
done

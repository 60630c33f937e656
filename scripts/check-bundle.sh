#!/usr/bin/env bash
# Whether the Worker can be deployed as it is built, and keeps to its size.
set -euo pipefail
cd "$(dirname "$0")/.."
limit=$((640 * 1024))

rm -rf .tools/bundle
output="$(WRANGLER_SEND_METRICS=false CI=true node_modules/.bin/node node_modules/wrangler/bin/wrangler.js \
  deploy --dry-run --outdir .tools/bundle 2>&1)" || { printf '%s\n' "$output" >&2; exit 1; }
size="$(cat .tools/bundle/*.wasm .tools/bundle/*.js | gzip -9 | wc -c)"
printf 'Worker bundle: %d bytes gzipped, %d %% of %d\n' "$size" $((100 * size / limit)) "$limit"
[ "$size" -le "$limit" ] || { printf 'The bundle is over its limit of %d bytes.\n' "$limit" >&2; exit 1; }

#!/usr/bin/env bash
# Whether the Worker can be deployed as it is built, how large it is against the target, and that it
# has not grown past what it is allowed meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$((400 * 1024))
limit=$((560 * 1024))

rm -rf .tools/bundle
output="$(WRANGLER_SEND_METRICS=false CI=true node_modules/.bin/node node_modules/wrangler/bin/wrangler.js \
  deploy --dry-run --outdir .tools/bundle 2>&1)" || { printf '%s\n' "$output" >&2; exit 1; }
size="$(cat .tools/bundle/*.wasm .tools/bundle/*.js | gzip -9 | wc -c)"
printf 'Worker bundle: %d bytes gzipped, %d %% of the target of %d\n' "$size" $((100 * size / target)) "$target"
[ "$size" -le "$limit" ] || { printf 'The bundle is over its limit of %d bytes.\n' "$limit" >&2; exit 1; }

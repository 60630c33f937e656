# Thin on purpose: each target calls cargo, npm's tools or a script. All of them set up first.

NODE := node_modules/.bin/node

.PHONY: setup worker binaries dev test demo bench fuzz schemathesis check clean

setup:
	@scripts/setup.sh

worker: setup
	@scripts/build-worker.sh

dev: worker
	@$(NODE) scripts/dev.mjs

# Everything that cargo can test natively, the same crates in wasm, then the built Worker in workerd
# with real clients.
test: worker binaries
	cargo test --workspace --all-features
	PATH="$(CURDIR)/node_modules/.bin:$$PATH" \
	  CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$(CURDIR)/.tools/bin/wasm-bindgen-test-runner \
	  cargo test --target wasm32-unknown-unknown -p mcp-connect-descriptor -p mcp-connect-authority
	WRANGLER_SEND_METRICS=false $(NODE) --test --test-concurrency=2 --test-timeout=300000 tests/*.test.mjs

binaries: setup
	@cargo build -p connectctl -p hapi-server -p mcp-connect-guard

demo: worker binaries
	@$(NODE) scripts/demo.mjs

bench: worker
	@$(NODE) bench/connect.mjs
	@$(NODE) bench/storm.mjs
	@$(NODE) bench/lists.mjs
	@$(NODE) bench/search.mjs
	cargo bench -p mcp-connect-descriptor -p mcp-connect-verifier -p mcp-connect-guard -p hapi-server

# FUZZ_SECONDS for each target, 60 by default; needs a nightly compiler and cargo-fuzz.
fuzz:
	@scripts/fuzz.sh

# What schema/openapi.yaml says, tried on the Worker; needs schemathesis, a Python program.
schemathesis: worker
	@$(NODE) scripts/schemathesis.mjs

check: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	cargo clippy --target wasm32-unknown-unknown -p mcp-connect-authority -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --all-features --no-deps
	@scripts/build-worker.sh
	@scripts/check-bundle.sh

clean:
	rm -rf target fuzz/target build dist node_modules .tools .wrangler

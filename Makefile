# Thin on purpose: each target calls cargo, npm's tools or a script. All of them set up first.

NODE := node_modules/.bin/node

.PHONY: setup worker dev test demo bench check clean

setup:
	@scripts/setup.sh

worker: setup
	@scripts/build-worker.sh

dev: worker
	@$(NODE) scripts/dev.mjs

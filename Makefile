# nearside: `make run` and `make test` are all that a new user needs.
TARGET ?= $(or $(CARGO_TARGET_DIR),target)

.PHONY: run build test check bench conformance conformance-subset

run: build ## Start nearside with a redis-server of its own.
	exec $(TARGET)/release/nearside --listen 127.0.0.1:6380 --http 127.0.0.1:9480 --upstream private

build:
	@.ci/install redis-server
	cargo build --release --locked

test: ## Everything that tests nearside, with real servers and clients.
	@.ci/install redis-server redis-tools python3-venv
	cargo test --locked
	@test -x .venv/bin/pytest || (python3 -m venv .venv && .venv/bin/pip install --quiet redis==5.2.1 pytest==8.3.4)
	PROGRAM_UNDER_TEST=$(TARGET)/debug/nearside .venv/bin/pytest -q -p no:cacheprovider tests/clients
	@command -v npm >/dev/null || .ci/install nodejs npm
	@test -e tests/clients/node/node_modules || npm ci --silent --prefix tests/clients/node
	cd tests/clients/node && PROGRAM_UNDER_TEST=$(abspath $(TARGET))/debug/nearside node --test

MODES ?= direct dedicated lane defaults
conformance: build ## Redis's own test suite through nearside, four minutes a mode; MODES=lane for one.
	@.ci/install redis-server redis-tools tcl python3
	@failed=; for mode in $(MODES); do tests/conformance/run --binary $(TARGET)/release/nearside $$mode || failed=1; done; test -z "$$failed"

conformance-subset: build ## The same without its slowest files.
	@.ci/install redis-server redis-tools tcl python3
	tests/conformance/run --binary $(TARGET)/release/nearside dedicated --subset
	tests/conformance/run --binary $(TARGET)/release/nearside lane --subset

check: ## Format, lints, documentation, licences and duplicate versions.
	@.ci/install python3
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --quiet
	cargo metadata --locked --format-version 1 --filter-platform x86_64-unknown-linux-gnu >$(TARGET)/metadata.json
	python3 .ci/licences.py <$(TARGET)/metadata.json

bench: build ## redis-benchmark through nearside and straight to Redis, in turn.
	@.ci/install redis-server redis-tools
	python3 benches/bench.py $(TARGET)/release/nearside

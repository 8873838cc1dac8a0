# Portal's targets, the same by hand and in CI. `make echo` needs Rust and a C compiler; the others
# install what else they need, once, if it is missing.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# Settings, for example `make echo PORT=8080`.
PORT ?= 4433
URL ?= ws://localhost:$(PORT)/echo
SECONDS ?= 60
PREFIX ?= /usr/local
DESTDIR ?=
AUTOBAHN_HOME ?= $(or $(XDG_CACHE_HOME:%=%/portal),$(abspath $(BUILD)))/autobahn

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
BUILD := build
CMAKE := cmake -S . -G Ninja -DPORTAL_CARGO_TARGET_DIR=$(TARGET)
BENCH := --locked --manifest-path bench/Cargo.toml --target-dir $(TARGET)/bench --package bench-load

.PHONY: help
help:
	@sed -n 's/^## //p' Makefile

## echo          serve the echo example on port 4433; PORT=…
.PHONY: echo
echo: $(BUILD)/echo
	exec ./$< $(PORT)

## connect       connect the client example to URL=ws://localhost:4433/echo
.PHONY: connect
connect: $(BUILD)/client
	exec ./$< $(URL)

## test          everything: format, lints, tests in Rust and C, clients, soak, instructions, a short fuzz run
.PHONY: test
test:
	scripts/install-packages
	scripts/test 'lint, unit, fuzz SECONDS=10' 'c, clients, abi' 'lisp, soak, bench-callgrind'

## check         run this before a commit: lint, unit, abi
.PHONY: check
check: lint unit abi

## fmt           format the code
.PHONY: fmt
fmt:
	cargo fmt
	cargo fmt --manifest-path bench/Cargo.toml --all
	cargo fmt --manifest-path fuzz/Cargo.toml

## lint          check the format, the dependencies' licences, Clippy and rustdoc
.PHONY: lint
lint: docs
	cargo fmt --check
	cargo fmt --manifest-path bench/Cargo.toml --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	scripts/licences check
	scripts/install-cargo-command deny $(BUILD)/tools/deny
	scripts/deny $(BUILD)/tools/deny/bin/cargo-deny
	$(CLIPPY) --locked -- -D warnings
	$(CLIPPY) --locked --no-default-features -- -D warnings
	$(CLIPPY) --locked --no-default-features --features deflate -- -D warnings
	$(CLIPPY) --locked --no-default-features --features tls -- -D warnings
	$(CLIPPY) --locked --manifest-path bench/Cargo.toml --target-dir $(TARGET)/bench -- -D warnings
	CUSTOM_LIBFUZZER_PATH=/dev/null $(CLIPPY) --manifest-path fuzz/Cargo.toml --target-dir $(TARGET) -- -D warnings

# Clippy links nothing, so the fuzz targets need no engine for it.
CLIPPY = cargo clippy --all-targets

## oldest        compile with the minimum Rust version of Cargo.toml; needs rustup
.PHONY: oldest
oldest:
	if version=$$(scripts/install-oldest); then \
	  cargo +$$version check --locked --all-targets --target-dir $(TARGET)/oldest; \
	else echo 'The oldest Rust: not tested, because rustup cannot install it here'; fi

## unit          the tests in Rust
.PHONY: unit
unit:
	cargo test --locked
	cargo test --locked --lib --no-default-features
	cargo test $(BENCH)

## docs          the documentation of the Rust code
.PHONY: docs
docs:
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items

## header        rewrite portal.h, portal.json and portal.symbols in include from the source
.PHONY: header
header:
	scripts/header update

## abi           compare the header, its description, the exported names and the soname with the build
.PHONY: abi
abi: library
	scripts/header check $(BUILD)/lib/libportal.so

## c             the C and C++ programs and the install tests, through CMake and ctest
.PHONY: c
c: $(BUILD)/cmake/build.ninja
	cmake --build $(BUILD)/cmake
	ctest --test-dir $(BUILD)/cmake --output-on-failure --no-tests=error --parallel $(CTEST_JOBS)

# More than processors: most tests wait most of the time.
CTEST_JOBS := $(shell echo $$(($$(nproc) * 2)))

## install-test  the tests of `c` that install Portal and use it from other projects
.PHONY: install-test
install-test: $(BUILD)/cmake/build.ninja
	cmake --build $(BUILD)/cmake
	ctest --test-dir $(BUILD)/cmake --output-on-failure --no-tests=error -R install

$(BUILD)/cmake/build.ninja: CMakeLists.txt
	scripts/install-packages cmake ninja openssl pkg-config valgrind
	$(CMAKE) -B $(BUILD)/cmake

## clients       Python, Node, Chromium, curl and OpenSSL talk to servers; the README's example serves
.PHONY: clients
clients: $(BUILD)/echo $(BUILD)/client $(BUILD)/handover $(BUILD)/echo-server $(BUILD)/secure-server
	scripts/install-clients $(BUILD)/clients
	scripts/install-packages chromium certutil openssl systemd-socket-activate
	$(CLIENT_SERVERS) CC="$(CC)" LIBRARY_FOLDER=$(abspath $(BUILD)/lib) \
	  PYTHONPATH=$(BUILD)/clients/python PYTHONDONTWRITEBYTECODE=1 \
	  python3 -m pytest -q -W error -p no:cacheprovider -n 2 tests/clients
	$(CLIENT_SERVERS) NODE_PATH=$(abspath $(BUILD))/clients/node/node_modules \
	  node --test --test-reporter=spec tests/clients/*.test.js

CLIENT_SERVERS = ECHO_PROGRAM=$(BUILD)/echo ECHO_SERVER=$(BUILD)/echo-server SECURE_SERVER=$(BUILD)/secure-server \
  CLIENT_PROGRAM=$(BUILD)/client HANDOVER_PROGRAM=$(BUILD)/handover

## lisp          Portal for Common Lisp, on SBCL and ECL
.PHONY: lisp
lisp: library
	scripts/install-lisp $(BUILD)/lisp
	PORTAL_LIBRARY=$(abspath $(BUILD)/lib) PYTHONPATH=$(abspath $(BUILD))/lisp/python PYTHONDONTWRITEBYTECODE=1 \
	  scripts/test-lisp sbcl ecl

## faults        make the system calls of a server fail, one kind after another; a few minutes
.PHONY: faults
faults: $(BUILD)/faults-server
	scripts/install-packages strace
	PYTHONDONTWRITEBYTECODE=1 tests/faults/run $(BUILD)/faults-server

## conformance   the Autobahn testsuite for server and client: cases 1 to 10, and of 12 and 13, which compress, a few sizes
.PHONY: conformance
conformance: $(BUILD)/echo-server $(BUILD)/echo-client
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/install
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/run $(BUILD)/echo-server
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/run --deflate 1 $(BUILD)/echo-server
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/run --deflate 2 $(BUILD)/echo-server
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/run --client $(BUILD)/echo-client
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/run --client --deflate 1 $(BUILD)/echo-client
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/run --client --deflate 2 $(BUILD)/echo-client

## proxies       clients talk to a server through lighttpd, nginx, HAProxy, Apache and Caddy
.PHONY: proxies
proxies: $(BUILD)/proxied-server
	scripts/install-packages apache2 caddy haproxy lighttpd nginx /usr/lib/nginx/modules/ngx_stream_module.so
	scripts/install-clients $(BUILD)/clients
	PROXIED_SERVER=$(BUILD)/proxied-server \
	  PYTHONPATH=$(BUILD)/clients/python:tests/clients PYTHONDONTWRITEBYTECODE=1 \
	  python3 -m pytest -q -W error -p no:cacheprovider tests/proxies

## conformance-full  the same, and every size of 12 and 13; twenty minutes
.PHONY: conformance-full
conformance-full: conformance
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/run --deflate 1 --whole $(BUILD)/echo-server
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/run --deflate 2 --whole $(BUILD)/echo-server
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/run --client --deflate 1 --whole $(BUILD)/echo-client
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/run --client --deflate 2 --whole $(BUILD)/echo-client
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/run --client --settings 1,2 $(BUILD)/echo-client
	AUTOBAHN_HOME=$(AUTOBAHN_HOME) tests/conformance/run --client --settings 1,0,2 $(BUILD)/echo-client

## fuzz          every fuzz target, for SECONDS=60 each
.PHONY: fuzz
fuzz:
	scripts/install-cargo-command fuzz $(BUILD)/tools/fuzz
	CARGO_TARGET_DIR=$(TARGET)/fuzz PATH="$(abspath $(BUILD))/tools/fuzz/bin:$$PATH" scripts/run-fuzz $(SECONDS) $(BUILD)/fuzz

## miri          check the pointers of unsafe code with Miri; needs rustup's nightly toolchain
.PHONY: miri
miri:
	scripts/install-miri
	MIRIFLAGS='-Zmiri-disable-isolation -Zmiri-ignore-leaks' CARGO_TARGET_DIR=$(TARGET)/miri \
	  cargo +nightly miri test --locked --lib -- $(MIRI_TESTS)

# Tests without system calls; slots are never freed. The skipped test compares functions, whose addresses are
# not unique under Miri.
MIRI_TESTS = ffi:: server::handshake::request server::slot server::websocket::slot_arena --skip each_handler_is_copied_to_its_place

## loom          what threads share without a lock, in the orders that a few threads can run in
.PHONY: loom
loom:
	RUSTFLAGS="$${RUSTFLAGS:-} --cfg loom" cargo test --locked --lib --target-dir $(TARGET)/loom loom_tests

## sanitize      the C programs with AddressSanitizer, and with ThreadSanitizer where it is available
.PHONY: sanitize
sanitize:
	scripts/install-packages cmake ninja openssl
	scripts/sanitize $(BUILD)/sanitize $(TARGET)

## bench         compare the costs of servers; the better part of an hour; PEER="NAME='COMMAND {port} {mode}'"
.PHONY: bench
bench: bench-programs
	$(BENCH_MEASURE) --output $(BUILD)/bench/results.json

## bench-quick   a few shapes of it, in under two minutes
.PHONY: bench-quick
bench-quick: bench-programs
	$(BENCH_MEASURE) --quick --output $(BUILD)/bench/quick.json

## bench-report  write docs/benchmarks.md and its chart from the results of `make bench`
.PHONY: bench-report
bench-report:
	bench/run report $(BUILD)/bench/results.json

## bench-peers   build and check the servers that Portal is compared with
.PHONY: bench-peers
bench-peers:
	$(BUILD_PEERS)
	scripts/install-clients $(BUILD)/clients
	PYTHONPATH=$(BUILD)/clients/python PYTHONDONTWRITEBYTECODE=1 bench/peers/check $(BUILD)/peers/peers.json

BENCH_LOAD = $(TARGET)/bench/release/bench-load
BENCH_MEASURE = bench/run measure --load $(BENCH_LOAD) --portal $(BUILD)/bench/portal \
  --sends $(BUILD)/bench/sends --peers $(BUILD)/peers/peers.json $(if $(PEER),--peer $(PEER))

BUILD_PEERS = CARGO_TARGET_DIR=$(TARGET)/bench bench/peers/build $(BUILD)/peers

.PHONY: bench-programs
bench-programs: $(BUILD)/bench/portal $(BUILD)/bench/sends
	cargo build --quiet --release $(BENCH)
	$(BUILD_PEERS)

## soak          clients exchange messages in many ways, over epoll and io_uring; every byte is compared
.PHONY: soak
soak: $(BUILD)/bench/portal
	cargo build --quiet $(BENCH)
	bench/soak $(TEST_LOAD) $(BUILD)/bench/portal

# Of the profile that its tests have, which spares a second build where nothing is timed.
TEST_LOAD = $(TARGET)/bench/debug/bench-load

## bench-callgrind  user instructions per message, counted; fails on a regression
.PHONY: bench-callgrind
bench-callgrind: $(BUILD)/bench/portal
	scripts/install-packages valgrind
	cargo build --quiet $(BENCH)
	bench/instructions check $(TEST_LOAD) $(BUILD)/bench/portal

## bench-lisp    the cost of SBCL and ECL compared with C
.PHONY: bench-lisp
bench-lisp: $(BUILD)/echo-server
	scripts/install-lisp $(BUILD)/lisp
	cargo build --quiet --release $(BENCH)
	PORTAL_LIBRARY=$(abspath $(BUILD)/lib) bench/lisp $(BENCH_LOAD) $(BUILD)/echo-server

## install       header, libraries, pkg-config and CMake files; PREFIX=/usr/local DESTDIR=…
.PHONY: install
install:
	cmake -S . -B $(BUILD)/install -DPORTAL_CARGO_TARGET_DIR=$(TARGET) -DPORTAL_BUILD_TESTS=OFF -DPORTAL_BUILD_EXAMPLES=OFF \
	  -DCMAKE_INSTALL_PREFIX=$(PREFIX)
	cmake --build $(BUILD)/install
	DESTDIR=$(DESTDIR) cmake --install $(BUILD)/install

## clean         remove everything that was built
.PHONY: clean
clean:
	cargo clean
	rm -rf $(BUILD)

# Cargo is run each time, because it knows what is out of date. Only the libraries for C: a Rust library
# beside them would keep cargo from optimising across crates.
.PHONY: library
library:
	cargo rustc --locked --release --lib --crate-type=cdylib,staticlib
	mkdir -p $(BUILD)/lib
	ln -sf $(TARGET)/release/libportal.so $(BUILD)/lib/libportal.so
	ln -sf libportal.so $(BUILD)/lib/libportal-ws.so.0

CFLAGS ?= -O2
C_PROGRAM = $(CC) -std=gnu11 -Wall -Wextra $(CFLAGS) -Iinclude $< -o $@ -L$(BUILD)/lib -Wl,-rpath,$(abspath $(BUILD)/lib) -lportal -pthread

$(BUILD)/echo: c-examples/echo.c library
	$(C_PROGRAM)

$(BUILD)/handover: c-examples/handover.c library
	$(C_PROGRAM)

$(BUILD)/client: c-examples/client.c library
	$(C_PROGRAM)

$(BUILD)/echo-server: tests/conformance/server.c tests/server.h library
	$(C_PROGRAM)

$(BUILD)/echo-client: tests/conformance/client.c tests/server.h library
	$(C_PROGRAM)

$(BUILD)/secure-server: tests/clients/secure_server.c library
	$(C_PROGRAM)

$(BUILD)/proxied-server: tests/proxies/server.c tests/server.h library
	$(C_PROGRAM)

$(BUILD)/faults-server: tests/faults/server.c library
	$(C_PROGRAM)

$(BUILD)/bench/portal: bench/portal/server.c library
	mkdir -p $(@D)
	$(C_PROGRAM)

$(BUILD)/bench/sends: bench/portal/sends.c library
	mkdir -p $(@D)
	$(C_PROGRAM)

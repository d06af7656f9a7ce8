# The one place of commands. `make` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build cross dist demo test lint layer packages e2e targets machines inits fuzz bench binaries boards \
	everything clean

# Every build takes the whole workspace with the same features, so that dependencies are compiled once.
FEATURES := --features moorline-agent/fault-points
# What the bench runs; one selection for both of its commands, so that nothing is compiled twice.
BENCHED := -p moorline-server -p moorline-agent -p moorline-e2e
PROGRAMS := --bin moorline-server --bin moorline-agent --bin moorline
export PATH := $(CURDIR)/target/tools/bin:$(CURDIR)/target/tools/venv/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin

help: ## lists the commands
	@sed -nE 's/^([a-z0-9]+):[^#]*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do \
		printf '  make %-8s %s\n' "$$name" "$$what"; done

setup: ## installs what the tests need: Debian packages as root, tools into target/tools
	@tests/setup test

build: ## builds server, agent and CLI for this machine
	@tests/setup build
	cargo build --release --workspace $(PROGRAMS)

cross: ## builds the agent for every device target and prints their sizes; TARGETS="armv7 mipsel" for some
	@tests/setup cross
	cross/build $(TARGETS)
	cross/sizes $(TARGETS)

dist: ## packs what `make cross` built: archives, .deb, .ipk, bills of materials, SHA256SUMS; TARGETS as above
	cross/dist $(TARGETS)

demo: ## a server and a device on this machine: enrol, log in, survive a restart
	@tests/demo

test: setup lint fuzz cross dist layer packages everything ## set-up, checks and every test

lint: ## rustfmt, clippy, shellcheck, cargo-deny
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(FEATURES) -- -D warnings
	shellcheck $(shell git ls-files -z -- ':!tests/fuzz/seeds' | xargs -0 awk 'FNR == 1 && /^\#!.*sh$$/ { print FILENAME }')
	shellcheck -s dash server/src/api/provisioning/client_script.sh agent/dist/moorline-agent.procd
	tests/deny

layer: ## checks the Yocto layer; after a change of Cargo.lock: yocto-layer/scripts/generate
	tests/bare yocto-layer/check/run

packages: ## only the checks of packages, OpenWrt feed and Buildroot tree (root, for an installation in an overlay)
	tests/bare python3 -B -m unittest discover -s tests/packages -p '*.py'

e2e: binaries ## only the stories with real clients, servers and networks (root, for network namespaces)
	cargo test --workspace $(FEATURES) --test e2e

targets: cross binaries ## only the devices of cross/targets.toml, each under emulation
	cargo test --workspace $(FEATURES) --test targets

inits: binaries ## only the agent's unit and init scripts under the real init systems (root)
	cargo test --workspace $(FEATURES) --test inits

machines: cross binaries boards ## only the stories on whole emulated devices
	cargo test --workspace $(FEATURES) --test machines

fuzz: ## runs every fuzz target for a short while
	FUZZ_CARGO_ARGS="$(FEATURES)" tests/fuzz/run

bench: ## prints Moorline beside plain TCP, OpenSSH and rathole; ARGS="--help" tells more
	@tests/setup bench
	cargo build --release $(BENCHED) --bins --bench compare
	cargo bench $(BENCHED) --bench compare -- $(ARGS)

# The stories drive the real programs, so these are built before the tests start.
binaries:
	cargo build --workspace --bins --tests $(FEATURES)

# What the emulated devices boot.
boards: cross
	cross/machines/prepare

everything: binaries cross boards
	cargo test --workspace $(FEATURES)

clean: ## removes what was built
	rm -rf target moorline-data

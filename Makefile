# The two commands a newcomer needs are `make demo` and `make test`; both set up what they need.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := operator/src model_server/src localclouds/src demo benchmarks docs tests
WORKERS ?= 2

.PHONY: help
help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: demo
demo: binaries ## Run the main job end to end; KEEP=1 leaves the clouds running to look around
	@$(BIN)/python -m demo $(if $(KEEP),--keep) $(DEMO_ARGS)

.PHONY: test
test: binaries ## Run every test (ARGS="-k name" for some)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

.PHONY: check
check: $(READY) ## Check format, lint, types and import contracts
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy operator/src model_server/src localclouds/src
	$(BIN)/mypy demo benchmarks
	$(BIN)/mypy --allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls --no-warn-unreachable tests
	$(BIN)/lint-imports

.PHONY: format
format: $(READY) ## Format the code
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

.PHONY: clouds
clouds: binaries ## Start four local clouds in the background: hub, aws, gcp, azure
	@$(BIN)/localclouds up

.PHONY: clouds-down
clouds-down: $(READY) ## Stop them
	@$(BIN)/localclouds down

.PHONY: venv
venv: $(READY) ## Make .venv with every command of ours in .venv/bin

.PHONY: binaries
binaries: $(READY) ## Build the control-plane binaries once, into the user's cache
	@$(BIN)/localclouds build

.PHONY: bench
bench: $(READY) ## Repeat the figures of the documentation
	$(BIN)/python -m benchmarks.demo_seeds

.PHONY: fuzz
fuzz: $(READY) ## Fuzz everything that reads foreign bytes (FUZZ_SECONDS=60 each)
	$(BIN)/python -m benchmarks.fuzz all --seconds $(or $(FUZZ_SECONDS),60)

PIN := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

.PHONY: requirements
requirements: ## Pin the requirements anew (needs uv)
	for name in dev tools fuzz mlserver; do $(PIN) requirements/$$name.in -o requirements/$$name.txt; done
	for name in operator server train localclouds; do \
	  $(PIN) -c requirements/dev.txt requirements/$$name.in -o requirements/$$name.txt; \
	done
	$(PIN) --excludes requirements/clients.excludes requirements/clients.in -o requirements/clients.txt

.PHONY: clean
clean: ## Remove the virtual environment and what was built here (not the cached binaries)
	rm -rf $(VENV) build

$(READY): requirements/dev.txt operator/pyproject.toml model_server/pyproject.toml localclouds/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Pilotage needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || { echo "Making .venv"; $(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian and Ubuntu, apt-get install python3-venv"; rm -rf $(VENV); exit 1; }; }
	@echo "Installing the pinned requirements into .venv (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e operator -e model_server -e localclouds
	@touch $(READY)

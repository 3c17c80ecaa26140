# `make demo` and `make test` are all a newcomer needs: each sets up .venv from requirements.lock and runs.
# Nothing is installed globally. Needs Python 3.11 or newer as `python3`, or `make PYTHON=python3.12 …`.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST_WORKERS ?= 2

.PHONY: help
help:  ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: install
install: $(INSTALLED)  ## Set up .venv; again only when the lock or pyproject.toml changed.

.PHONY: demo
demo: $(INSTALLED)  ## Two tenants share one chip, from the terminal, in under a minute.
	$(BIN)/qpu demo

.PHONY: test
test: lint types contracts  ## What CI runs: lint, types, contracts, then every test that is not slow.
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) -m "not slow"

.PHONY: test-all
test-all: lint types contracts  ## Everything, slow tests included.
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS)

.PHONY: lint
lint: $(INSTALLED)  ## ruff: rules and format.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(INSTALLED)  ## basedpyright, strict.
	$(BIN)/basedpyright

.PHONY: contracts
contracts: $(INSTALLED)  ## The architecture (import-linter) and the declared dependencies (deptry).
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .

.PHONY: format
format: $(INSTALLED)  ## Let ruff rewrite what it can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: docs
docs: $(INSTALLED)  ## Build docs/_build/html; a warning is an error.
	$(BIN)/sphinx-build --fail-on-warning --keep-going --builder html docs docs/_build/html

.PHONY: modules
modules: $(INSTALLED)  ## Rewrite the list of modules in docs/explanation/architecture.md.
	$(BIN)/python docs/modules.py

.PHONY: devices
devices: $(INSTALLED)  ## Redraw the catalogue's devices for docs/reference/devices.md.
	$(BIN)/python docs/devices.py

.PHONY: bench
bench: $(INSTALLED)  ## Print the figures that docs/benchmarks.md describes.
	for name in imports latency throughput physics scheduling load; do echo "== $$name"; $(BIN)/python benchmarks/$$name.py --json; done

# The lock has hashes but no index addresses, so it installs from any index. uv is needed only here, and is installed
# separately (pipx install uv). After a change of the dependencies in pyproject.toml: make lock install test.
.PHONY: lock
lock:  ## Resolve pyproject.toml into requirements.lock (needs uv).
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --output-file requirements.lock

.PHONY: clean
clean:  ## Remove the environment and everything that can be made again.
	rm -rf $(VENV) docs/_build build dist out .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find qpu_sdk qpu_backend tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

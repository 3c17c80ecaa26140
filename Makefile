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
CLIENTS := .venv-clients .venv-clients-older
PYTEST_WORKERS ?= 2

.PHONY: help
help:  ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

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
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --hypothesis-profile=thorough

# Environments of their own: what these clients pin need not be what we develop with.
.venv-%/.installed: requirements-%.lock pyproject.toml
	@$(@D)/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || $(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: test-clients
test-clients: $(CLIENTS:=/.installed)  ## Qiskit's ecosystem on our backends, unmodified: docs/reference/clients.md (takes minutes).
	.venv-clients/bin/python -m pytest -c tests_clients/pytest.ini --junit-xml=out/clients.xml tests_clients
	.venv-clients/bin/python tests_clients/serving.py .venv-clients-older/bin/python -m pytest \
	  -c tests_clients/pytest.ini --junit-xml=out/clients-older.xml tests_clients/older tests_clients/test_qiskit.py

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
docs: $(INSTALLED)  ## Run the tutorials and build docs/_build/html; a warning is an error.
	$(BIN)/sphinx-build --fail-on-warning --keep-going --builder html docs docs/_build/html

.PHONY: modules
modules: $(INSTALLED)  ## Rewrite the list of modules in docs/explanation/architecture.md.
	$(BIN)/python docs/modules.py

.PHONY: pictures
pictures: $(INSTALLED)  ## Redraw the pictures of docs/how-to/see-your-device.md.
	$(BIN)/python docs/pictures.py

.PHONY: devices
devices: $(INSTALLED)  ## Redraw the catalogue's devices for docs/reference/devices.md.
	$(BIN)/python docs/devices.py

.PHONY: bench
bench: $(INSTALLED)  ## Print the figures that docs/benchmarks.md describes.
	for name in imports latency throughput physics scheduling load layout sdk; do echo "== $$name"; $(BIN)/python benchmarks/$$name.py --json; done

# The lock has hashes but no index addresses, so it installs from any index. uv is needed only here, and is installed
# separately (pipx install uv). After a change of the dependencies in pyproject.toml: make lock install test.
.PHONY: lock
lock:  ## Resolve pyproject.toml into requirements.lock (needs uv).
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --output-file requirements.lock

# Not --universal: from Python 3.14 on mitiq and mqt.bench want numpys that no two agree about.
.PHONY: lock-clients
lock-clients:  ## Resolve requirements-clients*.in into their locks (needs uv).
	uv pip compile pyproject.toml requirements-clients.in --extra server --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --output-file requirements-clients.lock
	uv pip compile pyproject.toml requirements-clients-older.in --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --output-file requirements-clients-older.lock

.PHONY: clean
clean:  ## Remove the environment and everything that can be made again.
	rm -rf $(VENV) $(CLIENTS) docs/_build build dist out .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find qpu_sdk qpu_backend tests tests_clients benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

# Hilum. `make help` lists the targets.
SHELL := /bin/bash
# Compiled modules are kept: without them each of the many processes of a run compiles everything again.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
DEV_READY := $(VENV)/.dev-ready
NODE_READY := tests/browser/node_modules/.ready

.PHONY: help run test check bench setup fmt lint types house docs lock clean distclean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

run: $(RUN_READY) ## set everything up, seed the sandbox and serve it (PORT=8000 SANDBOX_PORT=8001)
	@PORT=$${PORT:-8000} SANDBOX_PORT=$${SANDBOX_PORT:-8001} $(BIN)/hilum sandbox run

test: $(DEV_READY) $(NODE_READY) ## set everything up and run the whole suite (EFFORT=full for the promised counts, PACE=--within-budget)
	@tools/ensure postgresql chromium nginx
	@$(BIN)/python -m pytest -n $${JOBS:-3} --dist loadfile $(PACE) $(TESTS)

check: $(DEV_READY) ## format, lint, types and architecture
	@$(BIN)/ruff format --check -q src ehr tests tools examples && echo "format ok"
	@$(BIN)/ruff check -q src ehr tests tools examples && echo "lint ok"
	@$(BIN)/codespell README.md CONTRIBUTING.md CHANGELOG.md SECURITY.md docs src ehr tests tools examples && echo "spelling ok"
	@$(MAKE) --no-print-directory -j2 --output-sync=target types house

bench: $(DEV_READY) $(NODE_READY) ## measure, side by side with nginx, into .hilum/bench.json and a table
	@tools/ensure nginx wrk chromium
	@$(BIN)/python -m tests.bench

setup: $(DEV_READY) $(NODE_READY) ## everything but the running

fmt: $(DEV_READY) ## format and mend what can be mended
	@$(BIN)/ruff format -q src ehr tests tools examples
	@$(BIN)/ruff check -q --fix src ehr tests tools examples || true

lint: $(DEV_READY) ## ruff and codespell
	@$(BIN)/ruff check src ehr tests tools examples

types: $(DEV_READY) ## mypy --strict, tests too
	@$(BIN)/mypy && $(BIN)/mypy tools tests && echo "types ok"

house: $(DEV_READY) ## import rules, house lints, and the figures of size and shape
	@$(BIN)/lint-imports > $(VENV)/lint-imports.log 2>&1 && echo "architecture ok" || { cat $(VENV)/lint-imports.log; exit 1; }
	@$(BIN)/python -m pytest -q tests/house
	@$(BIN)/python -m tools.figures

docs: $(DEV_READY) ## write docs/reference again, with the pages that are not committed
	@$(BIN)/python -m tools.actions
	@$(BIN)/python -m tools.reference

lock: ## resolve dependencies again into the hashed lock files
	@$(PYTHON) -m venv $(VENV) && $(BIN)/pip install -q uv
	@for group in "requirements.lock --group build" "requirements-dev.lock --group build --group dev"; do \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url pyproject.toml -o $$group; done

clean: ## remove what a run or a test left (data in .hilum too)
	rm -rf .hilum .mypy_cache .ruff_cache .hypothesis .import_linter_cache

distclean: clean ## and the environments
	rm -rf $(VENV) tests/browser/node_modules

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Hilum needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: install the venv module (Debian: apt-get install python3-venv)"; exit 1; }

$(RUN_READY): requirements.lock pyproject.toml ehr/pyproject.toml | $(VENV)/bin/python
	@echo "installing the locked dependencies ..."
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . -e ehr
	@touch $@

$(DEV_READY): requirements-dev.lock $(RUN_READY)
	@echo "installing the locked development dependencies ..."
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(NODE_READY): tests/browser/package-lock.json
	@tools/ensure node
	@cd tests/browser && npm ci --silent --omit=optional --ignore-scripts --no-audit --no-fund
	@touch $@

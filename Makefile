# Every target has a help line; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
UV := env -u VIRTUAL_ENV $(shell command -v uv 2>/dev/null || echo $(PYTHON) -m uv)
PIP := $(PYTHON) -m pip --disable-pip-version-check install --quiet
RUN := $(UV) run --frozen
ARGS ?=

.PHONY: help setup demo test check lint fix simulate bench docs audit clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.venv/.ready: pyproject.toml uv.lock
	@command -v uv >/dev/null || $(PYTHON) -m uv --version >/dev/null 2>&1 || $(PIP) uv || $(PIP) --user --break-system-packages uv
	@echo "Installing what is locked in uv.lock into .venv (once) …"
	@$(UV) sync --frozen --quiet
	@touch $@

setup: .venv/.ready  ## Create the environment from the lock file

demo: setup  ## Run the everyday flow on real HTTP: simulator, bridge and a small shop
	@$(RUN) klaviyo-bridge demo $(ARGS)

simulate: setup  ## Serve a Klaviyo on http://127.0.0.1:8600
	@$(RUN) klaviyo-simulator serve $(ARGS)

test: setup  ## Run all tests (SQLite, real Postgres and Valkey included); ARGS="-k name" narrows
	$(RUN) pytest --numprocesses auto $(ARGS)

lint: setup  ## Format check, lint, types and import contracts
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) basedpyright
	$(RUN) lint-imports --no-logo

fix: setup  ## Format, and mend what the linter can
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

check: lint test  ## Everything CI runs

bench: setup  ## Print ratios of the benchmarks (not timed tests)
	@for b in benchmarks/bench_*.py; do echo "== $$b"; $(RUN) python $$b || exit 1; done

docs: setup  ## Build the documentation site into .site/
	$(RUN) --group docs mkdocs build --quiet

audit: setup  ## Look the locked packages up among known vulnerabilities, and write sbom.json (CycloneDX)
	@$(UV) export --frozen --quiet --no-dev --no-emit-project --all-extras -o .requirements.txt
	$(UV) export --frozen --quiet --no-dev --all-extras --format cyclonedx1.5 -o sbom.json --preview-features sbom-export
	$(UV) tool run pip-audit --require-hashes --disable-pip -r .requirements.txt

clean:  ## Remove the environment and caches
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .demo

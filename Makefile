# Everything here works on a fresh machine with Python >= 3.11 (with venv) and make.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
  if "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUNTIME := .venv/runtime.stamp
DEV := .venv/dev.stamp
UV := .venv-lock/bin/uv

.PHONY: help setup demo run check sync-schema test chaos bench lint types lock

help:  ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(RUNTIME)  ## The virtual environment, without the test tools

demo: $(RUNTIME)  ## All scenarios, end to end, against the bundled simulators
	@$(BIN)/ticket-worker demo

run: $(RUNTIME)  ## The daemon, configured by the environment or .env
	@exec $(BIN)/ticket-worker run

check: $(RUNTIME)  ## Check settings, database, platform, CRM, functions, clock, UTF-8
	@$(BIN)/ticket-worker check $(ARGS)

sync-schema: $(RUNTIME)  ## Update the assistants' functions to this version; ARGS=--dry-run only shows
	@$(BIN)/ticket-worker sync-schema $(ARGS)

# Some environments forbid Python to keep what it compiled; the suite's daemons would each compile it again.
test chaos: export PYTHONDONTWRITEBYTECODE =
test: $(DEV)  ## The whole test suite; ARGS are pytest's: ARGS=--cov measures coverage, which takes a third longer
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

chaos: $(DEV)  ## Kill real workers hundreds of times and count the tickets (some 20 minutes)
	@CHAOS=long $(BIN)/python -m pytest -v tests/chaos

bench: $(DEV)  ## How long calls wait and what runs cost, beside the SDK; 22 minutes, BENCH=quick eight
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench.tables

lint: $(DEV)  ## Ruff and the import floors
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

types: $(DEV)  ## mypy, strict
	@$(BIN)/mypy

lock: $(UV)  ## Write both lock files again from the floors in pyproject.toml
	@compile() { $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header --upgrade "$$@"; }; \
	  compile pyproject.toml --group build -o requirements.lock; \
	  compile pyproject.toml --group build --group dev -c requirements.lock -o requirements-dev.lock

# An environment of its own: .venv cannot be built while the locks lack a requirement that was just added.
$(UV):
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip --disable-pip-version-check --quiet install "$$(grep -o '^uv==[^ ]*' requirements-dev.lock)"

# The locks are complete, so nothing is resolved (--no-deps): older versions of pip look past a lock for a
# requirement with an extra. `pip check` proves that nothing is missing.
# The stamp comes last: an environment that was interrupted half-way has none, and is made again.
$(RUNTIME): requirements.lock pyproject.toml
	@test -n '$(PYTHON)' || { echo 'Instale o Python 3.11 ou mais novo, com o módulo venv (Debian: apt install python3 python3-venv).' >&2; exit 1; }
	@echo "Preparando .venv com $(PYTHON)…"
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@$(PIP) install --no-deps --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@$(PIP) check
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@echo "Instalando as ferramentas de teste…"
	@$(PIP) install --no-deps --require-hashes -r requirements-dev.lock
	@$(PIP) check
	@touch $@

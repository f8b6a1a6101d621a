# make dev         the whole platform in one process, on files, no server needed
# make test        the whole suite, on the embedded adapters and on real servers, which it starts
# make test-node   `maeari bench node` at a small size; needs Node.js, and fetches its packages with npm
# make faults      the fault tests alone, each ROUNDS (5) times as long
# make check       what must hold before a commit: format, lint, types, import directions, schema drift
# make install     the environment with the locked dependencies
# make stack-up    Kafka, PostgreSQL and Elasticsearch on this machine; also stack-down, -status, -logs, -wipe
# make schemas     the JSON Schema files and the AsyncAPI document, made from the code
# make lock        the locked dependencies anew (needs uv)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STACK := $(PYTHON) -m deploy.stack
# 1 or 3; empty keeps what the stack has.
BROKERS ?=

# Tests that mind neither one another nor a busy machine run so many at once; all others, one after the other.
WORKERS ?= 2
AT_ONCE := tests/unit tests/property tests/contract
IN_TURN := tests/system tests/faults

# How often each fault test does its harm under `make faults`.
ROUNDS ?= 5

.PHONY: help install dev test test-node faults check format schemas lock stack-up stack-down stack-status stack-wipe stack-logs clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

install: $(VENV)/runtime.stamp

dev: $(VENV)/runtime.stamp
	$(BIN)/maeari dev

# With PYTEST_ARGS that alone is run; otherwise both halves are, also when the first one failed.
test: $(VENV)/dev.stamp
	@settings=$$($(STACK) up $(if $(BROKERS),--brokers $(BROKERS))) || exit 1; \
	if [ -n "$(PYTEST_ARGS)" ]; then exec env $$settings $(BIN)/python -m pytest $(PYTEST_ARGS); fi; \
	env $$settings $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(AT_ONCE); at_once=$$?; \
	env $$settings $(BIN)/python -m pytest $(IN_TURN) && exit $$at_once

test-node: $(VENV)/dev.stamp
	@settings=$$($(STACK) up $(if $(BROKERS),--brokers $(BROKERS))) || exit 1; \
	env $$settings $(BIN)/python -m pytest -m npm $(PYTEST_ARGS)

# They bring up a stack of their own, with the programs of the other.
faults: $(VENV)/dev.stamp
	MAEARI_FAULT_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest tests/faults $(PYTEST_ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m schemas.generate --check

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: $(VENV)/dev.stamp
	$(BIN)/python -m schemas.generate

stack-up:
	@$(STACK) up $(if $(BROKERS),--brokers $(BROKERS))

stack-down:
	@$(STACK) down

stack-status:
	@$(STACK) status

stack-wipe:
	@$(STACK) wipe

stack-logs:
	@$(STACK) logs

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# The project itself is installed editable, its build backend from the same lock.
INSTALL_SELF = $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "maeari needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(INSTALL_SELF)
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/runtime.stamp
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

# Needs uv; the locks hold for every platform and name no index.
lock:
	uv pip compile --universal --generate-hashes --no-emit-index-url --quiet --python-version 3.11 \
		--extra s3 --group build --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	uv pip compile --universal --generate-hashes --no-emit-index-url --quiet --python-version 3.11 \
		--extra s3 --group build --group dev --constraint requirements.lock \
		--custom-compile-command "make lock" pyproject.toml -o requirements-dev.lock

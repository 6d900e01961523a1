# Harvest: every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-laboratory check format lock bench plots faults faults-long mutants wheels boot-test clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## build .venv from the lock file (needs Python 3.11 to 3.13)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "harvest: $(PYTHON) is not Python 3.11 to 3.13: run make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## real prices through real workers, in under a minute
	@$(BIN)/harvest demo $(ARGS)

PYTEST := $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

test: setup ## the product's tests (a given server: REDIS_SERVER=/usr/bin/redis-server)
	@$(PYTEST) $(ARGS)

test-laboratory: setup ## the tests of the fault harness itself, of mutants and of the model
	@$(PYTEST) tests/laboratory $(ARGS)

check: setup ## lint, format, types, import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/shellcheck systemd/*.sh

format: setup ## rewrite the code in the project's format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: setup ## pin all dependencies again, with hashes; systemd/ has those that run
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras \
	  --generate-hashes --no-emit-index-url --upgrade -o requirements.lock pyproject.toml
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
	  --generate-hashes --no-emit-index-url -c requirements.lock -o systemd/requirements.lock pyproject.toml

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Without the conditions of the lock: the server's Python 3.11 may be an older one than this.
wheels: setup ## build dist/wheels, from which systemd/install.sh installs without a network
	@rm -rf dist/wheels && mkdir -p dist/wheels
	@sed 's/ ;[^\\]*/ /' systemd/requirements.lock >dist/requirements.lock
	@$(PIP) download --require-hashes --no-deps --only-binary :all: --dest dist/wheels -r dist/requirements.lock
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist/wheels .

boot-test: wheels ## install, boot, break, roll back and uninstall Harvest in a Debian container (needs root)
	@$(BIN)/python -m pytest tests/boot/installed.py $(ARGS)

bench: setup ## against peers, on the same data and server (QUICK=1, ONLY=fills_vs_bare_loop,flower_overhead)
	@$(BIN)/python -m bench

plots: setup ## draw docs/img from the newest bench
	@$(BIN)/python -m bench.plots $(ARGS)

faults: setup ## inject faults and print what held (SEED=7 ONLY=F1,F15 SCALE=0.1)
	@PYTHONPATH=.:tests $(BIN)/python -m laboratory

faults-long: setup ## the same again and again, each time with a fresh seed (DURATION=3600, in seconds)
	@PYTHONPATH=.:tests DURATION=$(or $(DURATION),3600) $(BIN)/python -m laboratory

mutants: setup ## change kernel/ in every place, one at a time: does a test notice?
	@PYTHONPATH=.:tests $(BIN)/python -m laboratory.python_mutants

clean: ## remove what make built
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .bench .faults dist

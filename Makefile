# Harvest: each target first sets up what it needs. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
# .ci/set_up.py writes these when .venv is complete.
INSTALLED := .venv/.installed
INSTALLED_DEV := .venv/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-laboratory check format lock \
  bench plots faults faults-long mutants wheels boot-test clean
.NOTPARALLEL: # setup and setup-dev write the same .venv

help: ## show this list; in brackets: what runs first
	@awk -F ' ## ' '/^[a-z-]+:.* ## / {split($$1, rule, ": *"); sub(/\$$.*/, "", rule[2]); \
	  printf "  make %-15s %s%s\n", rule[1], $$2, rule[2] ? "  [" rule[2] "]" : ""}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## .venv with Harvest and an embedded server: 100 MB (needs Python 3.11 to 3.13)

setup-dev: $(INSTALLED_DEV) ## .venv with everything that tests, checks and bench need: 600 MB

$(INSTALLED): requirements.lock pyproject.toml
	@$(SUPPORTED)
	@$(PYTHON) .ci/set_up.py

$(INSTALLED_DEV): requirements.lock pyproject.toml
	@$(SUPPORTED)
	@$(PYTHON) .ci/set_up.py --dev

SUPPORTED = $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || \
  { echo "setup: $(PYTHON) is not Python 3.11 to 3.13. Fix: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }

demo: setup ## real prices through real workers, in under a minute
	@$(BIN)/harvest demo $(ARGS)

PYTEST := $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

test: setup-dev ## the product's tests (a given server: REDIS_SERVER=/usr/bin/redis-server)
	@$(PYTEST) $(ARGS)

test-laboratory: setup-dev ## the tests of the fault harness itself, of mutants and of the model
	@$(PYTEST) tests/laboratory $(ARGS)

check: setup-dev ## lint, format, types, import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/shellcheck systemd/*.sh

format: setup-dev ## rewrite the code in the project's format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: setup-dev ## pin the newest versions of all dependencies, with hashes
	@$(BIN)/python .ci/lock.py

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# With the first part of the lock. Downloaded without its conditions: the server's Python 3.11 may be an older one.
wheels: setup ## build dist/wheels, from which systemd/install.sh installs without a network
	@rm -rf dist/wheels && mkdir -p dist/wheels
	@sed '/^# What `make setup` adds/,$$d' requirements.lock >dist/wheels/requirements.lock
	@sed 's/ ;[^\\]*/ /' dist/wheels/requirements.lock >dist/requirements.lock
	@$(PIP) download --require-hashes --no-deps --only-binary :all: --dest dist/wheels -r dist/requirements.lock
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist/wheels .

boot-test: setup-dev wheels ## install, boot, break, roll back and uninstall Harvest in a Debian container (needs root)
	@$(BIN)/python -m pytest tests/boot/installed.py $(ARGS)

bench: setup-dev ## against peers, on the same data and server (QUICK=1, ONLY=fills_vs_bare_loop,flower_overhead)
	@$(BIN)/python -m bench

plots: setup-dev ## draw docs/img from the newest bench
	@$(BIN)/python -m bench.plots $(ARGS)

faults: setup-dev ## inject faults and print what held (SEED=7 ONLY=F1,F15 SCALE=0.1)
	@PYTHONPATH=.:tests $(BIN)/python -m laboratory

faults-long: setup-dev ## the same again and again, each time with a fresh seed (DURATION=3600, in seconds)
	@PYTHONPATH=.:tests DURATION=$(or $(DURATION),3600) $(BIN)/python -m laboratory

mutants: setup-dev ## change kernel/ in every place, one at a time: does a test notice?
	@PYTHONPATH=.:tests $(BIN)/python -m laboratory.python_mutants

clean: ## remove what make built
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .bench .faults dist

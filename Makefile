# One way in. `make` lists the targets.
UV_VERSION := 0.13.8
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo check test crash bench soak golden docs format

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## install everything into .venv

$(STAMP): uv.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	UV_PYTHON_DOWNLOADS=never $(BIN)/uv sync --frozen --inexact --quiet --python $(BIN)/python
	@touch $@

check: setup ## ruff, mypy, import-linter, size budgets
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > .venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }
	$(BIN)/python tools/sizes.py

format: setup ## rewrite the code's layout
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --fix --quiet .

test: setup ## the whole suite
	$(BIN)/python -m pytest -n 2 --dist worksteal


golden: setup ## rewrite what recorded streams are known to become
	$(BIN)/python tools/golden.py

bench: setup ## what a call costs beside nginx; PEERS=1 adds others, PAGE=1 writes the page
	$(BIN)/python -m benchmarks --json .bench/figures.json $(if $(PAGE),--page)

soak: setup ## ten thousand idle streams for ten minutes
	$(BIN)/python -m benchmarks.soak
demo: setup ## a chat through the relay, its ledger lines, then a server on port 3000
	@ONCE="$(ONCE)"; $(BIN)/posthouse demo $${ONCE:+--once}

crash: setup ## 200 random kills and a hundred thousand calls, then the report
	$(BIN)/python -m tests.crash

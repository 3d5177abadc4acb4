# One way in. `make` lists the targets.
UV_VERSION := 0.13.8
BIN := .venv/bin
STAMP := .venv/.ready

# The first of these that is new enough and can make an environment; `make
# PYTHON=…` names another. A distribution's own comes first: it is built with
# profile-guided and link-time optimisation, which most others here are not, and
# a call costs a sixth less CPU on it.
OLDEST := 3, 11
PYTHON ?= $(shell for name in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < ($(OLDEST)))' 2>/dev/null \
	&& echo "$$name" && break; done)

# Compiled modules make each start twice as quick.
unexport PYTHONDONTWRITEBYTECODE

# The stamp names the folder: an environment that was moved, or whose Python is
# gone, is made anew.
ifneq ($(shell test -x $(BIN)/python && cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo check test slow clients crash fuzz bench soak golden docs format

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## install everything into .venv

$(STAMP): uv.lock pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "Python 3.11 or newer with venv is needed: apt install python3-venv (or" >&2; \
		echo "python3-full); make PYTHON=… names another." >&2; exit 1; }
	@test "$$(cat $(STAMP) 2>/dev/null)" = "$(CURDIR)" && $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		echo "Making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear .venv; }
	@echo "Installing the locked dependencies"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	@UV_PYTHON_DOWNLOADS=never $(BIN)/uv sync --frozen --inexact --quiet --compile-bytecode --python $(BIN)/python
	@$(BIN)/python -m compileall -q src
	@echo "$(CURDIR)" > $@

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
	$(BIN)/python -m pytest -n 4 --dist worksteal -m "not slow and not clients"

slow: setup ## what the suite leaves out for its length
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow
	$(BIN)/python -m pytest -n 2 --hypothesis-profile long tests/unit tests/golden

clients: setup ## SDKs, frameworks, Claude Code and Codex, installed and run
	$(BIN)/python -m tests.clients.installing
	$(BIN)/python -m pytest -m clients tests/clients

golden: setup ## rewrite what recorded streams are known to become
	$(BIN)/python tools/golden.py
	$(BIN)/python tools/chat_golden.py

bench: setup ## what a call costs beside nginx; PEERS=1 adds others, PAGE=1 writes the page
	$(BIN)/python -m benchmarks --json .bench/figures.json $(if $(PAGE),--page)

soak: setup ## ten thousand idle streams for ten minutes, then storms of callers
	$(BIN)/python -m benchmarks.soak
	$(BIN)/python -m benchmarks.storms

demo: setup ## a chat through the relay, its ledger lines, then a server; ONCE=1 stops, PORT=3000
	@$(BIN)/posthouse demo $(if $(filter-out 0,$(ONCE)),--once) $(if $(PORT),--port $(PORT))

docs: setup ## rewrite the generated pages of docs/reference, and the dashboard
	$(BIN)/python tools/provider_reference.py
	$(BIN)/python tools/reference.py
	$(BIN)/python tools/dashboard.py

crash: setup ## 200 random kills and a hundred thousand calls, 200 power losses, storms over three nodes for MINUTES=10
	$(BIN)/python -m tests.crash
	$(BIN)/python -m tests.crash.power.losses
	$(BIN)/python -m tests.crash.storms $(if $(MINUTES),--minutes $(MINUTES))

fuzz: setup ## requests that nobody would write, for MINUTES=10; the provider sees what was sent
	$(BIN)/python -m tests.security $(if $(MINUTES),--minutes $(MINUTES))

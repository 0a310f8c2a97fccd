# make run    the default study, from text to report
# make test   every check that continuous integration runs
# Each sets up .venv first; that takes minutes once, and nothing afterwards.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test lint format docs hooks lock audit clean moved

# The interpreter that makes .venv: `make run PYTHON=python3.12`. Unset: the first one that will do.
PYTHON ?=
# A study file: `make run STUDY=config/mine.yaml`. Unset: the default study.
STUDY ?=
# More words for snakemake (make run) or pytest (make test): `make run ARGS=--dry-run`.
ARGS ?=

# Modules instead of .venv/bin/<program>: the first line of such a program holds the folder's name,
# which breaks on quotes and on long names.
PY := .venv/bin/python
STAMP := .venv/.ready
# An editable install points at one folder: set up again when the tree was moved or copied.
MOVED := $(shell [ "$$(cat $(STAMP) 2>/dev/null)" = "$$(pwd -P)" ] || echo moved)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## make .venv with the locked versions

run: $(STAMP) ## run the default study (STUDY=config/mine.yaml: another one)
	@$(if $(STUDY),$(PY) -m scalelab.config "$$STUDY")
	$(PY) -m snakemake --cores all $(if $(STUDY),--configfile "$$STUDY") $(ARGS)

# One process more than processors: some tests wait for other programs.
test: lint ## lint, then all tests
	processors=$$(getconf _NPROCESSORS_ONLN); $(PY) -m pytest --numprocesses $$((processors + 1)) \
	  --maxprocesses 5 --dist worksteal $(ARGS)

lint: $(STAMP) ## style, format and types, without changing a file
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m snakefmt --check Snakefile workflow
	$(PY) -m mypy

format: $(STAMP) ## put all files into the project's format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(PY) -m snakefmt Snakefile workflow

docs: $(STAMP) ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

hooks: $(STAMP) ## run the checks before each commit
	$(PY) -m pre_commit install

# What torch brings for one kind of accelerator is left to its own exact pins.
lock: ## write requirements.lock anew: the newest versions that pyproject.toml allows
	@$(FIND_PYTHON); rm -rf .lock; "$$python" -m venv .lock
	.lock/bin/python -m pip install '.[dev]'
	.lock/bin/python -m pip list --format=freeze --exclude pip --exclude scalelab > .lock/all
	grep '^#' requirements.lock > .lock/new
	sed -e 's/+[A-Za-z0-9.]*$$//' -e '/^nvidia-/d' -e '/^cuda-/d' -e '/^triton=/d' .lock/all >> .lock/new
	mv .lock/new requirements.lock
	rm -rf .lock

# A package that cannot be asked about is a failure too: silence is no clean bill.
audit: ## ask PyPI for known vulnerabilities of all locked versions
	@$(FIND_PYTHON); rm -rf .audit; "$$python" -m venv .audit
	.audit/bin/python -m pip install --quiet pip-audit
	for lock in requirements*.lock; do \
	  .audit/bin/python -m pip_audit --strict --disable-pip --no-deps -r "$$lock" || exit 1; \
	done
	rm -rf .audit

clean: ## remove .venv and caches; results stay
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis scalelab.egg-info build site
	find scalelab tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Starting a candidate tells more than finding it: a version manager's stand-in may refuse to start.
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
CANDIDATES = "$(or $(PYTHON),python3)" $(if $(PYTHON),,python3.11 python3.12 python3.13)
FIND_PYTHON = python=; \
  for candidate in $(CANDIDATES); do \
    if "$$candidate" $(NEW_ENOUGH) 2>/dev/null; then python="$$candidate"; break; fi; \
  done; \
  if [ -z "$$python" ]; then \
    found="$$("$(or $(PYTHON),python3)" --version 2>&1 | tail -n 1)"; \
    echo "scalelab needs Python 3.11 or newer and found '$$found':" \
      "name one with make PYTHON=/path/to/python3.11" >&2; \
    exit 2; \
  fi

# A tree that was moved or an interpreter that was named starts afresh; new pins alone do not.
$(STAMP): requirements.lock pyproject.toml $(MOVED)
	@if [ -n "$(PYTHON)" ] || ! $(PY) $(NEW_ENOUGH) 2>/dev/null || \
	    { [ -f $(STAMP) ] && [ "$$(cat $(STAMP))" != "$$(pwd -P)" ]; }; then \
	  $(FIND_PYTHON); rm -rf .venv; \
	  echo "Setting up .venv with $$("$$python" --version): some minutes, once."; \
	  "$$python" -m venv .venv; \
	fi
	$(PY) -m pip install --disable-pip-version-check -r requirements.lock
	$(PY) -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@pwd -P > $(STAMP)

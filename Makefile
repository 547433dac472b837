# make demo    install the core, train the demo recipe to the end
# make test    install everything, run the test suite
# make lint    style and the arrows between packages
# make docs    build the documentation, strictly
# make lock    renew constraints.txt after a change of dependencies
# make clean   forget the environment and everything built
#
# PYTHON is the interpreter that makes the environment, VENV where it goes, ARGS more words for train.py or pytest:
#   make demo ARGS="task=cola"      make test ARGS="-k masks"      make test PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint format docs lock setup clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

demo: $(VENV)/.installed-core
	$(BIN)/python train.py recipe=bert_glue $(ARGS)

# Two processes share the cores: one thread each, or every library starts as many as there are cores in both.
test: export OMP_NUM_THREADS = 1
test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=25 $(ARGS)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lock: setup
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.10 --all-extras --no-annotate --quiet \
	    --custom-compile-command "make lock" --output-file constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# Stamps: an install runs again only when the dependencies change. `setup` is all extras together, which tests need.
setup: $(VENV)/.installed-all

INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Trivium needs Python 3.10 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-core: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-all: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable ".[all]"
	touch $@ $(VENV)/.installed-core

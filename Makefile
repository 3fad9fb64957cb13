# The two commands: `make demo` and `make test`. Both set up what they need in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
export PATH := $(BIN):$(PATH)
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.PHONY: demo test bench lint format clean
.DEFAULT_GOAL := demo

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV) (the first time takes a few minutes)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.installed ## sample data, the whole pipeline, the score as a table
	@if [ -e data ]; then echo "data/ is there already: using it"; else hsdata sample data; fi
	dvc repro
	@hsmodels summary

test: $(VENV)/.installed-dev ## all tests, at most four at a time
	python -m pytest --numprocesses auto --maxprocesses 4

lint: $(VENV)/.installed-dev ## style, formatting, types
	ruff check .
	ruff format --check .
	mypy

format: $(VENV)/.installed-dev ## put the code into the house style
	ruff format .
	ruff check --fix .

bench: $(VENV)/.installed-dev ## what is measured, against its straightforward version, in one run
	@for script in benchmarks/*.py; do case $$script in */textbook_*) ;; *) echo "== $$script"; python $$script || exit 1;; esac; done

clean: ## remove what the pipeline made, not the data
	rm -rf derived outputs

# The commands: `make demo`, `make demo-salt` and `make test`. All set up what they need in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
export PATH := $(BIN):$(PATH)
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.PHONY: demo demo-salt test fuzz numeric bench lint format clean
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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,tasks,export]'
	@touch $@

demo: $(VENV)/.installed ## sample data, the whole pipeline, the score as a table
	@if [ -e data ]; then echo "data/ is there already: using it"; else hsdata sample data; fi
	dvc repro
	@hsmodels summary

$(VENV)/.installed-tasks: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[tasks]'
	@touch $@

demo-salt: $(VENV)/.installed-tasks ## the salt challenge: sample tiles, the whole pipeline, the scores
	@cd challenges/salt && if [ -e data ]; then echo "data/ is there already: using it"; else hstasks sample data; fi
	cd challenges/salt && dvc repro
	@cd challenges/salt && hstasks summary

test: $(VENV)/.installed-dev ## all tests, at most four at a time
	python -m pytest --numprocesses auto --maxprocesses 4

FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.installed-dev ## spoiled files for FUZZ_SECONDS a reader, paths that cannot be, kills
	HYPOTHESIS_PROFILE=campaign FUZZ_SECONDS=$(FUZZ_SECONDS) python -m pytest --timeout=7200 tests/campaign

# The tests of arithmetic, in what each kind of processor can do: torch's own kernels with those compiled here, then those
# of oneDNN.
NUMERIC := tests/hsdata/test_bytes.py tests/hsdata/camera tests/hsmodels/test_losses.py tests/hsmodels/test_inference.py \
  tests/hsmodels/test_compiled.py tests/hsmodels/zoo/test_kernel.py tests/hsmodels/zoo/test_baselines.py tests/hsengine/train/test_averaging.py
PROCESSORS := ATEN_CPU_CAPABILITY=default,NUMBA_CPU_NAME=generic ATEN_CPU_CAPABILITY=avx2,NUMBA_CPU_NAME=haswell \
  ATEN_CPU_CAPABILITY=avx512 ONEDNN_MAX_CPU_ISA=AVX2

numeric: $(VENV)/.installed-dev ## the tests of arithmetic as other processors run them, with one thread and with two
	@for processor in $(PROCESSORS); do for threads in 1 2; do \
	  echo "== $$processor OMP_NUM_THREADS=$$threads"; \
	  env $$(echo $$processor | tr , ' ') OMP_NUM_THREADS=$$threads python -m pytest -k 'not gradient_is_finite' $(NUMERIC) || exit 1; done; done

lint: $(VENV)/.installed-dev ## style, formatting, types, who imports whom
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	@for script in hsengine/report/assets/*.js hsdata/view/assets/*.js hstasks/report/assets/*.js; do \
	  ! command -v node >/dev/null || node --check $$script || exit 1; done

format: $(VENV)/.installed-dev ## put the code into the house style
	ruff format .
	ruff check --fix .

bench: $(VENV)/.installed-dev ## what is measured, against its straightforward version, in one run
	@for script in benchmarks/*.py; do case $$script in */textbook_*) ;; *) echo "== $$script"; python $$script || exit 1;; esac; done

clean: ## remove what the pipeline made, not the data
	rm -rf derived outputs

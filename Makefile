PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
ARGS ?=
# Best on the validation images of the digits. With ARGS for other data or defences: the defaults.
DIGITS_FLAGS := --strengths=0.1,0.2,0.3,0.4 --thresholds=6
PYTEST := $(VENV)/bin/python -m pytest --numprocesses=2

.PHONY: train test test-fast coverage check docs setup setup-dev clean

train: $(INSTALLED)  ## Trains APE-GAN++ on the embedded digits, evaluates, exports: make train ARGS="--dataset=mnist"
	bin/train --defense=apeganpp $(if $(findstring --dataset,$(ARGS))$(findstring --defense,$(ARGS)),,$(DIGITS_FLAGS)) $(ARGS)

test: check docs  ## Everything; with ARGS="tests/attacks -k linear" a part of the suite.
	$(PYTEST) --dist=loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(INSTALLED_DEV)  ## The daily loop: the suite without slow tests.
	$(PYTEST) --dist=worksteal -m "not slow" $(ARGS)

coverage: $(INSTALLED_DEV)  ## The whole suite with the coverage of the package: an error below 90 %.
	OPTIMIZE_GRAPHS=1 $(PYTEST) --dist=loadfile --no-loadscope-reorder --cov=tfdefense --cov-report=term:skip-covered

check: $(INSTALLED_DEV)  ## Style, import contracts, types.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	PYTHONPATH=. $(VENV)/bin/lint-imports
	$(VENV)/bin/mypy

docs: $(INSTALLED_DEV)  ## The documentation into site/; a warning is an error.
	NO_MKDOCS_2_WARNING=1 TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python -m mkdocs build --strict --quiet

setup: $(INSTALLED)  ## The environment for bin/.

setup-dev: $(INSTALLED_DEV)  ## The environment for tests, style checks and documentation.

$(INSTALLED): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	$(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true  # On all cores; pip would use one.
	@touch $@

$(INSTALLED_DEV): requirements-dev.txt $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) site

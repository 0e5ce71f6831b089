PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
ARGS ?=

.PHONY: train test setup clean

train: $(INSTALLED)  ## Trains APE-GAN++ on the embedded digits, evaluates, exports: make train ARGS="--dataset=mnist"
	bin/train --defense=apeganpp $(ARGS)

test: $(INSTALLED)  ## Style checks and the whole suite.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python -m pytest --numprocesses=2 --dist=loadfile $(ARGS)

setup: $(INSTALLED)  ## The environment alone.

$(INSTALLED): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV)

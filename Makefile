# Everything sets itself up: from a bare clone, `make demo` and `make test` need Python 3.11 or newer and a C compiler.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
ROUNDS ?= 5
# Tests wait for servers a fifth of their time, so one more than there are cores is quicker.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
LOOPS  := $(wildcard recsys/kernels/*.h recsys/kernels/*.pyx)

.PHONY: help setup demo test large soak gpu spark check lint types format docs bench clean

help:            ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

setup: $(VENV)/.dev  ## virtual environment with everything that developing needs

demo: $(VENV)/.demo  ## train on MovieLens 100K, publish, serve; ARGS=--once asks a few lists and stops
	$(BIN)/recsys demo $(ARGS)

# Each core has a worker already: threads of BLAS and OpenMP that spin for one another would make them wait for it.
test: export OPENBLAS_NUM_THREADS = 1
test: export OMP_WAIT_POLICY = PASSIVE
test: $(VENV)/.dev  ## all tests with branch coverage; ARGS=tests/test_api.py for some
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term $(ARGS)

large: $(VENV)/.dev  ## the tests at a million items that take minutes each; some 20 minutes, 4 GB
	$(BIN)/python -m pytest -m large -v $(ARGS)

soak: $(VENV)/.dev  ## what the stream must survive, again and again; ROUNDS=50 for longer, some minutes each
	RECSYS_SOAK=$(ROUNDS) $(BIN)/python -m pytest -m soak -v --no-cov $(ARGS)

gpu: $(VENV)/.dev  ## the tests that need an NVIDIA GPU and a torch that sees it; under a minute
	$(BIN)/python -m pytest -m gpu -v $(ARGS)

spark: $(VENV)/.dev .cache/spark/.done  ## playlists on a real Spark cluster of this machine; Java 17, some minutes
	PYTHONPATH=.cache/spark $(BIN)/python -m pytest -m spark -v --no-cov tests/test_playlists_spark.py $(ARGS)

check: lint types docs  ## everything but the tests

lint: $(VENV)/.dev  ## ruff, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev  ## strict mypy
	$(BIN)/mypy

format: $(VENV)/.dev  ## let ruff lay out the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.dev  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.dev  ## measure what the issues promise; results in benchmarks/results/
	$(BIN)/recsys bench speed --folder benchmarks/results $(ARGS)

clean:           ## remove what was built, keep data and releases
	rm -rf $(VENV) site build .mypy_cache .ruff_cache .coverage* *.egg-info recsys/kernels/*.c recsys/kernels/*.so

$(BIN)/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "recsys-engine needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt $(LOOPS) | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[serve,train]'
	touch $@

# torch first and pinned, so that a CPU build is taken where one is at hand.
$(VENV)/.dev: pyproject.toml constraints.txt $(LOOPS) | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.demo

# Beside the environment: what checks data frames would import it wherever it finds it.
.cache/spark/.done: | $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade --target .cache/spark 'pyspark>=4.0'
	touch $@

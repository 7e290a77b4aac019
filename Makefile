# Each target does its own set-up; `make` alone lists them.

PYTHON ?= python3
PORT ?= 3000
PREFECT_PORT ?= 4200
PRESET ?= $(if $(OWN),photos,dense-128)
FASHION_CATALOGUE ?= fashion-mnist
BIN := .venv/bin
# Not empty for a catalogue of your own: make run FASHION_CATALOGUE=shop FASHION_SOURCE=./photos
OWN := $(strip $(filter-out fashion-mnist,$(FASHION_CATALOGUE)))
# Most tests wait now and then, so that one worker more than cores gains; WORKERS=0 runs one test after the other.
# What pytest makes of the tests' files is kept, also where the environment says otherwise: each worker reads all of them.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --dist loadgroup --no-loadscope-reorder --numprocesses $(or $(WORKERS),3)

# The first of these that has all four archives: data/raw, or a folder shared beside the checkout.
ARCHIVES := train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1
if-whole = $(if $(filter 4,$(words $(wildcard $(ARCHIVES:%=$(1)/%-ubyte.gz)))),$(1))
FASHION_SOURCE ?= $(if $(OWN),auto,$(or $(call if-whole,data/raw),$(call if-whole,../shared/fashion-mnist),auto))
export FASHION_SOURCE FASHION_CATALOGUE

# The installers keep their caches inside the project.
export UV_CACHE_DIR ?= $(CURDIR)/.venv/cache

.PHONY: help setup run up status down test stress check lint serve bento bench lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; make PYTHON=python3.12 ...")'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-cache-dir --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python --editable .
	touch $@

run: .venv/ready ## train on the real data (PRESET=...) and put the model live if it is not worse
	$(BIN)/fashion train --preset $(PRESET) --sample-fallback

up: .venv/ready ## start the whole system: Prefect, deployments, worker, service (PORT=... PREFECT_PORT=... FASHION_CATALOGUES=...)
	@PORT=$(PORT) PREFECT_PORT=$(PREFECT_PORT) $(BIN)/fashion up

status: .venv/ready ## say how the system is, and where
	@PORT=$(PORT) PREFECT_PORT=$(PREFECT_PORT) $(BIN)/fashion status

down: .venv/ready ## stop the whole system
	@PORT=$(PORT) PREFECT_PORT=$(PREFECT_PORT) $(BIN)/fashion down

test: .venv/ready ## run the unit tests and the journeys: minutes
	$(PYTEST) tests/unit tests/journeys

stress: .venv/ready ## run the long tests: fuzzing, kills, load, faults
	$(PYTEST) tests/stress

check: lint ## lint, types, and the fast tests
	$(PYTEST) -m "not slow"

lint: .venv/ready ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

serve: .venv/ready ## serve the live model on http://127.0.0.1:3000 (PORT=...)
	@PORT=$(PORT) exec $(BIN)/fashion serve

bento: .venv/ready ## build a Bento that holds the live model
	$(BIN)/fashion bento

bench: .venv/ready .venv-bench/ready ## time the recipes beside Keras, a DataLoader loop and scikit-learn
	$(BIN)/python -m benchmarks.train

.venv-bench/ready: benchmarks/peers/requirements.txt | .venv/ready
	$(PYTHON) -m venv .venv-bench
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-bench/bin/python --requirements $<
	touch $@

lock: .venv/ready ## resolve every version anew
	$(BIN)/uv pip compile --quiet --universal --upgrade --no-header --group test --group lint --group edge --extra dask --extra s3 pyproject.toml --output-file requirements.lock

clean: ## remove the environment and everything made from data; the BentoML store and the Prefect home stay
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache *.egg-info data/audits data/cache data/checkpoints data/datasets data/exports data/reports data/sample data/validation
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

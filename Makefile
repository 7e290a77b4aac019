# Every target installs what it needs; `make` without a target lists them.

PYTHON ?= python3
PORT ?= 3000
PREFECT_PORT ?= 4200
PRESET ?=
FASHION_CATALOGUE ?= fashion-mnist
BIN := .venv/bin
# Set for a custom catalogue: make run FASHION_CATALOGUE=shop FASHION_SOURCE=./photos
OWN := $(strip $(filter-out fashion-mnist,$(FASHION_CATALOGUE)))
# Many tests wait for I/O, so one worker more than cores is faster; WORKERS=0 runs the tests serially.
# Pytest's bytecode cache stays enabled even if the environment disables it, because each worker reads all test files.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --dist loadgroup --no-loadscope-reorder --numprocesses $(or $(WORKERS),3)

# The first of these folders with all four archives: data/raw, or a shared folder next to the checkout.
ARCHIVES := train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1
if-complete = $(if $(filter 4,$(words $(wildcard $(ARCHIVES:%=$(1)/%-ubyte.gz)))),$(1))
FASHION_SOURCE ?= $(if $(OWN),auto,$(or $(call if-complete,data/raw),$(call if-complete,../shared/fashion-mnist),auto))
export FASHION_SOURCE FASHION_CATALOGUE

# On a terminal, uv shows its progress; make's own standard output is a pipe here.
QUIET := $(shell test -t 2 || echo --quiet)

# Keep installer caches inside the project.
export UV_CACHE_DIR ?= $(CURDIR)/.venv/cache

.PHONY: help setup run up status down test stress check lint serve bento bench docs lock clean

help: ## list all targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; make PYTHON=python3.12 ...")'
	@echo "setting up .venv: downloads and installs PyTorch, Prefect, BentoML and the rest, once, in one or two minutes"
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-cache-dir --disable-pip-version-check uv
	$(BIN)/uv pip sync $(QUIET) --compile-bytecode --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python --editable .
	$(BIN)/python -m compileall -q components fashion flows ops serving service.py
	$(BIN)/python -c 'from ops.server import TemporaryServer; TemporaryServer().wait()' # keeps its migrated database
	touch $@

run: .venv/ready ## train on the real data (PRESET=...) and promote the model if it passes the gate
	$(BIN)/fashion train $(if $(PRESET),--preset $(PRESET)) --sample-fallback

up: .venv/ready ## start the stack: Prefect, deployments, worker, service (PORT=... PREFECT_PORT=... FASHION_CATALOGUES=...)
	@PORT=$(PORT) PREFECT_PORT=$(PREFECT_PORT) $(BIN)/fashion up

status: .venv/ready ## show the status and URLs of the stack
	@PORT=$(PORT) PREFECT_PORT=$(PREFECT_PORT) $(BIN)/fashion status

down: .venv/ready ## stop the stack
	@PORT=$(PORT) PREFECT_PORT=$(PREFECT_PORT) $(BIN)/fashion down

test: .venv/ready ## run unit and end-to-end tests (takes minutes)
	$(PYTEST) tests/unit tests/journeys

stress: .venv/ready ## run the long tests: fuzzing, kills, load, fault injection
	$(PYTEST) tests/stress

check: lint ## run lint, type checks and the fast tests
	$(PYTEST) -m "not slow"

# What is checked for spelling, for words that have a plainer one (docs/terms.txt), and for prose.
PROSE := README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md examples/README.md $(wildcard docs/*.md docs/decisions/*.md)
WORDS := $(PROSE) components flows fashion ops serving ui examples benchmarks deploy service.py Makefile prefect.yaml bentofile.yaml

lint: .venv/ready ## check code style, types, spelling and prose
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell --dictionary - --dictionary docs/terms.txt $(WORDS)
	! $(BIN)/proselint check $(PROSE) | grep ':[0-9]*:[0-9]*: ' | grep -vE ': (typography|lexical_illusions|dates_times|misc)'
	$(BIN)/mypy

serve: .venv/ready ## serve the live model on http://127.0.0.1:3000 (PORT=...)
	@PORT=$(PORT) exec $(BIN)/fashion serve

bento: .venv/ready ## build a Bento with the live model
	$(BIN)/fashion bento

bench: .venv/ready .venv-bench/ready ## benchmark the presets against Keras, a DataLoader loop and scikit-learn
	$(BIN)/python -m benchmarks.train

.venv-bench/ready: benchmarks/peers/requirements.txt | .venv/ready
	$(PYTHON) -m venv .venv-bench
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-bench/bin/python --requirements $<
	touch $@

docs: .venv/ready .venv-docs/ready ## build the documentation site into site/
	$(BIN)/python -m docs.build .venv-docs/pages
	.venv-docs/bin/zensical build --clean --strict
	@echo "to read it: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site 8000"

.venv-docs/ready: docs/requirements.txt | .venv/ready
	$(PYTHON) -m venv --clear .venv-docs
	$(BIN)/uv pip install --quiet --python .venv-docs/bin/python --requirements $<
	touch $@

lock: .venv/ready ## update requirements.lock to the newest versions
	$(BIN)/uv pip compile --quiet --universal --upgrade --no-header --group test --group lint --group edge --extra dask --extra photos --extra s3 pyproject.toml --output-file requirements.lock

clean: ## remove the environment and all generated data, except the BentoML store and the Prefect home
	rm -rf build dist site .cache .venv .venv-bench .venv-docs .mypy_cache .ruff_cache .pytest_cache *.egg-info data/audits data/cache data/checkpoints data/datasets data/exports data/neighbours data/reports data/sample data/validation
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# `make demo` runs the main job; `make check`, `make test` and `make prove` show that it works, each with more patience
# than the one before. All of them set everything up first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Busy-waiting threads make a step many times slower as soon as a second process runs.
export OMP_WAIT_POLICY ?= passive
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help setup demo gpu sync lint check quick test every prove lock clean

help:
	@echo "make demo   set up, then run the main job: specs/digits.yaml, with a thread for each run"
	@echo "make gpu    what a GPU is asked first: waits, speed, and CIFAR-10 from data to students (about half an hour)"
	@echo "make sync   write params.yaml and code.yaml anew, after a change of specs or code"
	@echo "make check  lint, types and the quick tests that start no processes (2 minutes)"
	@echo "make test   lint, types and everything that has to hold at every commit (a quarter of an hour)"
	@echo "make prove  the long proofs: 100 kills, full disks, two at once, all exports (about half an hour)"
	@echo "make lock   resolve requirements.lock anew (needs uv)"
	@echo "make clean  remove the environment and everything that the pipeline can make again"

setup: $(VENV)/.installed

# --no-compile: compiling every package takes a third of the time, and most of them are never imported.
$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sfddm needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-compile -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	$(BIN)/sfddm run digits --jobs 0

gpu: setup
	$(BIN)/python -m bench.waits
	$(BIN)/python -m bench --quick --json gpu.json
	@test -e specs/cifar10-short.yaml || $(BIN)/sfddm new cifar10-short
	$(BIN)/dvc repro report@cifar10-short

sync: setup
	$(BIN)/sfddm spec sync

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A file of tests stays in one process. One thread each: as many run as there are processors.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: setup
	$(MAKE) --jobs=2 lint quick

quick: setup
	$(PYTEST) -m "not process and not prove and not heavy"

test: setup
	$(MAKE) --jobs=2 lint every

every: setup
	$(PYTEST)

# SFDDM_PROVE_KILLS and SFDDM_PROVE_SEED change the number of kills and their moments.
prove: setup
	$(BIN)/pytest -m prove -s

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --extra pipeline --extra shared --extra judges --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) runs reports scratch dvc_plots .dvc/cache .dvc/tmp mlflow.db mlartifacts

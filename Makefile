# Each target sets up what it needs: a virtual environment in .venv, the package, its extras.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
.DEFAULT_GOAL := test

.PHONY: test lint parity docs bench mutation clean

.venv/made:
	$(PYTHON) -m venv .venv
	touch $@

.venv/tested: .venv/made setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	touch $@

# torchvision's own requirements would replace the pinned torch, hence --no-deps.
.venv/parity: .venv/tested
	$(BIN)/python -m pip install --quiet --editable '.[parity]'
	$(BIN)/python -m pip install --quiet --no-deps torchvision
	touch $@

parity: .venv/parity

.venv/docs: .venv/tested
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

# The interface, from the docstrings; docs/README.md lists the other pages.
docs: .venv/docs
	$(BIN)/python docs/build.py build/docs

bench: .venv/parity
	$(BIN)/python benchmarks/bench_step.py
	$(BIN)/python benchmarks/bench_kernels.py

# For a machine with a GPU and its driver: parity, and times beside PyTorch if a build for CUDA is installed.
GPU ?= cuda12
.venv/gpu: .venv/tested
	$(BIN)/python -m pip install --quiet --editable '.[$(GPU)]'
	touch $@

.PHONY: test-gpu bench-gpu
test-gpu: .venv/gpu
	$(BIN)/python -m pytest -m gpu

bench-gpu: .venv/gpu
	$(BIN)/python benchmarks/bench_step.py --device cuda --record

.venv/mutation: .venv/tested
	$(BIN)/python -m pip install --quiet --editable '.[mutation]'
	touch $@

# How well the kernels' tests see, in half an hour; ONLY='*reference.conv.*' tries a part. Not for CI.
mutation: .venv/mutation
	WORKERS=$(WORKERS) $(BIN)/python tests/mutation/run.py $(if $(ONLY),'$(ONLY)')

.venv/plot: .venv/made setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[plot]'
	touch $@

# Goes on where an earlier `make train` was stopped; of a finished run it tells the result. `make train SEED=1` is
# another run.
SEED ?= 0
RUN ?= runs/fashion-mnist-mini-resnet20-seed$(SEED)

.PHONY: train
train: .venv/plot
	$(BIN)/minires train --model resnet20 --data fashion-mnist-mini --epochs 8 --batch-size 128 --lr 0.2 \
		--schedule one-cycle --weight-decay 5e-4 --augment flip --seed $(SEED) --device cpu --out $(RUN) \
		$(if $(wildcard $(RUN)/last.safetensors),--resume)

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The kernels on CuPy, which computes on the CPU here: docs/decisions/0011-cupy-on-the-cpu.md. Needs g++.
ON_CPU := $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m))

test: .venv/tested lint $(if $(ON_CPU),test-cupy)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

.venv/cupy: .venv/tested
	$(BIN)/python -m pip install --quiet --editable '.[cupy-on-cpu]'
	touch $@

.PHONY: test-cupy
test-cupy: .venv/cupy
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --cuda cpu tests/cupy_on_cpu tests/kernels/reference

# 10,000 examples of every operation: an hour of one core.
.PHONY: thorough
thorough: .venv/tested
	OPENBLAS_NUM_THREADS=1 HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n $(WORKERS) \
		tests/testing/catalogue/test_entries.py

clean:
	rm -rf .venv build *.egg-info

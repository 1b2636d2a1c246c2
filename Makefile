# Each target sets up what it needs: a virtual environment in .venv, the package, its extras. The first run of a target
# downloads them; later runs start at once.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --editable
PYTEST := OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)
.DEFAULT_GOAL := test

.PHONY: train test test-long test-cupy parity lint docs bench mutation thorough test-gpu bench-gpu clean

.venv/made:
	@echo "== A virtual environment in $(CURDIR)/.venv =="
	$(PYTHON) -m venv .venv
	touch $@

# Stamps of installed extras, and the extras of each.
.venv/trains .venv/tested .venv/compared .venv/cupy .venv/documented .venv/gpu .venv/mutated: .venv/made setup.cfg pyproject.toml
	@echo "== Installing minires with [$(EXTRAS)] into .venv =="
	$(INSTALL) '.[$(EXTRAS)]'
	touch $@

.venv/trains: EXTRAS := plot
.venv/tested: EXTRAS := test,lint
.venv/compared: EXTRAS := parity
.venv/cupy: EXTRAS := cupy-on-cpu
.venv/documented: EXTRAS := docs
.venv/mutated: EXTRAS := mutation
GPU ?= cuda12
.venv/gpu: EXTRAS := $(GPU)

# Resumes an interrupted run; prints the result of a finished one. `make train SEED=1` is another run.
SEED ?= 0
RUN ?= runs/fashion-mnist-mini-resnet20-seed$(SEED)

train: .venv/trains
	@echo "== A ResNet-20 learns 5,000 images of Fashion-MNIST: 8 epochs, a minute or two on two cores =="
	$(BIN)/minires train --model resnet20 --data fashion-mnist-mini --epochs 8 --batch-size 128 --lr 0.2 \
		--schedule one-cycle --weight-decay 5e-4 --augment flip --seed $(SEED) --device cpu --out $(RUN) \
		$(if $(wildcard $(RUN)/last.safetensors),--resume)

test: .venv/tested
	@echo "== make test: ruff, mypy and the import contracts (half a minute), then the tests in $(WORKERS) processes"
	@echo "== (4 to 5 minutes on 2 cores). Not included: make test-long, test-cupy (the CUDA path), parity (PyTorch) =="
	@$(MAKE) --no-print-directory lint
	$(PYTEST) --ignore tests/parity

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Tests the kernels on CuPy that computes on the CPU (docs/decisions/0011-cupy-on-the-cpu.md). Needs g++.
test-cupy: .venv/tested .venv/cupy
	@echo "== The CUDA path on CuPy, computed by the CPU: 2 to 5 minutes on 2 cores, longer while kernels are compiled =="
	$(PYTEST) --cuda cpu tests/cupy_on_cpu tests/kernels/reference

# --no-deps, since the requirements of torchvision would replace the pinned torch.
.venv/parity: .venv/tested .venv/compared
	$(BIN)/python -m pip install --no-deps torchvision
	touch $@

# Tests the same as the shorter tests, at more points: operations in all settings, deeper networks, more interruptions.
test-long: .venv/tested
	@echo "== The longer tests: 2 to 4 minutes on 2 cores =="
	$(PYTEST) -m "long and not gpu"

parity: .venv/parity
	@echo "== Comparing values, gradients, states and golden files with PyTorch and torchvision =="
	$(PYTEST) tests/parity tests/golden

# Checks 10,000 examples of every operation; takes an hour of one core.
thorough: .venv/tested
	HYPOTHESIS_PROFILE=thorough $(PYTEST) tests/testing/catalogue/test_entries.py

# Measures in half an hour which changes to the kernels the tests notice; ONLY='*reference.conv.*': a part. Not in CI.
mutation: .venv/tested .venv/mutated
	WORKERS=$(WORKERS) $(BIN)/python tests/mutation/run.py $(if $(ONLY),'$(ONLY)')

bench: .venv/parity
	$(BIN)/python benchmarks/bench_step.py
	$(BIN)/python benchmarks/bench_kernels.py

# For a machine with a GPU and its driver: the tests; and the times, beside PyTorch if its CUDA build is installed.
test-gpu: .venv/tested .venv/gpu
	$(BIN)/python -m pytest -m gpu

bench-gpu: .venv/tested .venv/gpu
	$(BIN)/python benchmarks/bench_step.py --device cuda --record

# Builds the API pages from the docstrings; docs/README.md lists the other pages.
docs: .venv/tested .venv/documented
	$(BIN)/python docs/build.py build/docs

clean:
	rm -rf .venv build *.egg-info

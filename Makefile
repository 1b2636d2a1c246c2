# Each target sets up what it needs: a virtual environment in .venv, the package, its extras.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.PHONY: test lint parity clean

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

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: .venv/tested lint
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

clean:
	rm -rf .venv build *.egg-info

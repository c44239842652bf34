# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# A file's tests stay together: they share what its fixtures build.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test unit slow lint format bench docs clean

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.ready
	$(BIN)/hclf demo

test: lint
	$(PYTEST)

unit: $(VENV)/.ready
	$(PYTEST) -m 'not slow'

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,bench]"
	$(BIN)/python benchmarks/taxonomy.py
	$(BIN)/python benchmarks/openfoodfacts.py
	$(BIN)/python benchmarks/linear.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/evaluate.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/operating_points.py
	$(BIN)/python benchmarks/guarantees.py
	$(BIN)/python benchmarks/lexicon.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/codiesp.py
	$(BIN)/python benchmarks/phrases.py
	$(BIN)/python benchmarks/constraint.py
	$(BIN)/python benchmarks/shopify.py
	$(BIN)/python benchmarks/clinc.py
	$(BIN)/python benchmarks/goemotions.py
	$(BIN)/python benchmarks/hmc.py
	$(BIN)/python benchmarks/prompts.py
	$(BIN)/python benchmarks/gpu.py
	test -d .bench/venv || $(BIN)/python benchmarks/peers.py --setup
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/frontier.py

docs: $(VENV)/.ready
	$(BIN)/python -m tests.make_docs

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache

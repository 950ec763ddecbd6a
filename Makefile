# Everything runs inside .venv, made from requirements.lock when it is missing. PYTHON=python3.12 make run picks another one.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: run test trial lab lint figures lock bench

run: $(READY)
	$(BIN)/sneakerlib run --out runs/default

# From here, so that JupyterLab's file browser shows runs/ and data/, too.
lab: $(READY)
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

# What every change has to pass, in minutes; each of two processes runs a file of tests at a time.
test: lint
	$(BIN)/pytest --numprocesses 2 --dist loadfile -m "not trial"

# What a release has to pass as well: statistics over whole samples, the real photographs, thousands of broken pictures.
trial: lint
	$(BIN)/pytest --numprocesses 2 --dist loadfile -m trial

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/lint_notebooks.py
	$(BIN)/lint-imports --no-cache

# The figures that README shows: of the default run, on drawn pictures only.
figures: run
	cp runs/default/figures/* figures/

# What is locked stays as it is where pyproject.toml allows it; UPGRADE=--upgrade make lock takes the newest of all.
lock: $(READY)
	$(BIN)/uv pip compile --universal $(UPGRADE) --python-version 3.11 --extra tensorflow --extra backbones --extra jupyter --extra scrape --extra serve --extra dev pyproject.toml -o requirements.lock

# Ratios, measured side by side in one run: benchmarks/README.md says what came out.
bench: $(READY)
	$(BIN)/python benchmarks/collect.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/twins.py

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "Python 3.11, 3.12 or 3.13 is needed: PYTHON=python3.12 make run" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

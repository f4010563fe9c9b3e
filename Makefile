# make demo: set everything up and run the main job. make test: set everything up, check and test. make help: what else.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: help demo test check docs pictures format bench fuzz soak mutants clean

help:
	@echo "make demo    set up .venv, simulate a crystal behind a beamstop, reconstruct it, write untwin_demo/report.html"
	@echo "make test    set up .venv, run the checks and the tests"
	@echo "make check   ruff format, ruff lint, pyright (basic)"
	@echo "make docs    set up .venv, build the site into docs/_build/html; a warning is an error"
	@echo "make pictures draw the pictures of the gallery again, which takes minutes"
	@echo "make format  let ruff format and sort"
	@echo "make bench   a quick round of the benchmarks"
	@echo "make fuzz    2000 damaged files of each kind, with a new seed that it prints"
	@echo "make soak    200 reconstructions in one process: does anything leak?"
	@echo "make mutants put faults into a copy of the code, and see the tests find them"
	@echo "make clean   remove .venv and caches"

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) -e ".[fast]"
	touch $@

.venv/developing: .venv/installed
	$(PIP) -e ".[dev]"
	touch $@

.venv/documenting: .venv/installed
	$(PIP) -e ".[docs]"
	touch $@

demo: .venv/installed
	$(BIN)/untwin demo --output untwin_demo --overwrite

check: .venv/developing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright

test: check
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

docs: .venv/documenting
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

pictures: .venv/installed
	mkdir -p docs/pictures
	for example in examples/*.py; do $(BIN)/python docs/extensions/pictures.py $$example || exit 1; done

format: .venv/developing
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed
	$(BIN)/python benchmarks/recover.py --quick
	$(BIN)/python benchmarks/crystal.py --quick

fuzz: .venv/developing
	$(BIN)/python tests/fuzz.py --count 2000

soak: .venv/installed
	$(BIN)/python benchmarks/soak.py --json benchmarks/results/soak.json

mutants: .venv/developing
	$(BIN)/python benchmarks/mutants.py

clean:
	rm -rf .venv .pytest_cache .ruff_cache untwin_demo docs/_build docs/reference docs/gallery docs/tutorials

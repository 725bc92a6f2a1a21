# `make demo` and `make test` set themselves up: Python 3.11 or later, pip and a package index are all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test quick coverage sbom install format clean

demo: $(VENV)/demo
	$(BIN)/bongsu demo
	@echo
	@echo "To use it from here on: . $(BIN)/activate"

PYTEST := $(BIN)/pytest -n 2 --dist worksteal

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(PYTEST)

# What tells most in little time: no test that trains, joins a Ray cluster or opens a browser.
quick: install
	$(BIN)/ruff check .
	$(PYTEST) -m "not (slow or ray or browser)"

# Against the floor in pyproject.toml; apart from `test`, which it would slow down.
coverage: install
	$(PYTEST) --cov

# What is installed, as CycloneDX lists it; the tool has an environment of its own.
sbom: install
	$(BIN)/python -m venv build/sbom
	build/sbom/bin/pip install --quiet cyclonedx-bom==7.5.0
	build/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file build/sbom.json $(BIN)/python

install: $(VENV)/dev

# The mark of an installation: `demo` holds what the demo and the next steps need, `dev` everything.
$(VENV)/demo: EXTRAS := train,serve,export
$(VENV)/dev: EXTRAS := dev
# torch goes first, alone, so that the version of constraints.txt is taken and no other build of it.
$(VENV)/demo $(VENV)/dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Bongsu needs Python 3.11 or later: make PYTHON=python3.11"; rm -rf $(VENV); exit 1; }
	@echo "Installing PyTorch and the rest into $(VENV); the first time this is a few hundred megabytes or more."
	$(BIN)/pip install --constraint constraints.txt torch
	$(BIN)/pip install --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs build *.egg-info

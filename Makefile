# `make demo` and `make test` set themselves up: Python 3.11 or later, pip and a package index are all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test install format clean

demo: $(VENV)/train
	$(BIN)/bongsu run recipes/demo.toml
	@echo
	$(BIN)/bongsu predict runs/demo \
	  "Wildfire jumped the highway near Silver Creek, all homes on Mill Road being evacuated now" \
	  "this new album is straight fire, burned through it twice already" \
	  "Bridge collapsed after the flood, two cars in the river, rescue teams on site" \
	  "my inbox exploded while I was at lunch, total disaster" \
	  "규모 5.1 지진으로 건물 외벽이 무너져 주민들이 대피했습니다" \
	  "오늘 신상 세일 폭탄 터졌다 지갑 붕괴"
	@echo
	@echo "report: runs/demo/evaluation/report.html"

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2

install: $(VENV)/dev

# The mark of an installation: `train` holds what the demo needs, `dev` everything.
# torch goes first, alone, so that the version of constraints.txt is taken and no other build of it.
$(VENV)/train $(VENV)/dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Bongsu needs Python 3.11 or later: make PYTHON=python3.11"; rm -rf $(VENV); exit 1; }
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(@F)]'
	touch $@

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs build *.egg-info

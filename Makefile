# `make` on a machine with make and Python 3.11 or newer: the rest is installed into .venv.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
PYTEST := $(RUN) pytest --ignore=tests/bench
BENCHES := $(sort $(wildcard tests/bench/bench_*.py))

.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint bench conformance cov mutants clean

help:
	@echo 'make demo         move the pages of a simulated process, and look at them'
	@echo 'make test         lint, then all tests but the slow ones (what CI runs)'
	@echo 'make test-long    the slow tests; with RUNS=10 ten times as many programs'
	@echo 'make lint         ruff and mypy'
	@echo 'make conformance  the recorded cases, with the matches of each group'
	@echo 'make bench        measurements'
	@echo 'make cov          branch coverage of mm/ and syscalls/'
	@echo 'make mutants      how many random mutants of mm/ the unit tests kill (N=20 SEED=1 JOBS=2)'
	@echo 'make clean        remove .venv and all that is made'

define OLD_PYTHON
pymigrate needs Python 3.11 or newer; `$(PYTHON)` is not. Name another: make PYTHON=python3.12 ...
endef
define NO_ENSUREPIP
`$(PYTHON)` cannot make environments. On Debian or Ubuntu: apt-get install python3-venv
endef
define DEMO
set -eu
dir=$$(mktemp -d)
trap 'rm -rf "$$dir"' EXIT
export PATH="$(CURDIR)/$(VENV)/bin:$$PATH" PYMIGRATE_STATE="$$dir/machine.db"
unset PYMIGRATE_SCENARIO
cd "$$dir"
run() { printf '\n$$ %s\n' "$$1"; eval "$$1"; }
run 'pymigrate boot'
run 'pymigrate numa_maps 4321'
run 'pymigrate vmstat --migration > before'
run 'pymigrate migratepages 4321 0 1'
run 'pymigrate vmstat --migration | diff before - || true'
run 'pymigrate numa_maps 4321'
run 'pymigrate show'
endef
export OLD_PYTHON NO_ENSUREPIP DEMO

$(VENV)/.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "$$OLD_PYTHON" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$$NO_ENSUREPIP" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(VENV)/.stamp
	@sh -c "$$DEMO"

test: lint
	$(PYTEST) -n auto -m 'not slow' --doctest-modules pymigrate tests

test-long: $(VENV)/.stamp
	$(PYTEST) -n auto -m slow

lint: $(VENV)/.stamp
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy

conformance: $(VENV)/.stamp
	$(PYTEST) -q -n auto tests/conformance

bench: $(VENV)/.stamp
	@for bench in $(BENCHES); do echo "$$bench"; PYTHONPATH=. $(VENV)/bin/python "$$bench" || exit 1; done

cov: $(VENV)/.stamp
	$(RUN) coverage run -m pytest -q -m 'not slow' --ignore=tests/bench
	$(RUN) coverage report --include='pymigrate/mm/*,pymigrate/syscalls/*' --fail-under=95

mutants: $(VENV)/.stamp
	$(RUN) tests.mutants $(or $(N),20) $(or $(SEED),1) $(or $(JOBS),2)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* dist build
	find pymigrate tests -name __pycache__ -type d -prune -exec rm -rf {} +

# `make` on a machine with make and Python 3.11 or newer: the rest is installed into .venv.

PYTHON ?= python3
PYTHON311 ?= python3.11
VENV := .venv
LOCK := tests/constraints.txt
# What is installed: the versions of the lock, the newest, or the lowest of pyproject.toml.
VERSIONS := locked
CONSTRAINTS_locked = cat $(LOCK)
CONSTRAINTS_newest = true
CONSTRAINTS_oldest = $(VENV)/bin/python -c "$$LOWEST"
EXTRAS_newest := ,dask
RUN = $(VENV)/bin/python -m
PIP = $(RUN) pip --quiet --disable-pip-version-check
INSTALL = $(PIP) install --constraint $(VENV)/constraints.txt
PYTEST = $(RUN) pytest --ignore=tests/bench
KERNEL := 6.12
# Those on which `make dist` tries what it has built: of these the ones that are there.
PYTHONS = $(or $(shell for minor in 11 12 13 14; do command -v python3.$$minor; done),$(PYTHON))
BENCHES := $(sort $(wildcard tests/bench/bench_*.py))

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-newest test-oldest lint docs bench bench-compare bench-kernel conformance cov mutants oracle record fuzz-kernel lock dist python311 clean

help:
	@echo 'make demo         move the pages of a simulated process, and look at them'
	@echo 'make test         lint, then all tests but the slow ones (what CI runs)'
	@echo 'make test-long    the slow tests; with RUNS=10 ten times as many programs'
	@echo 'make test-newest  `make test` with the newest versions of what it needs'
	@echo 'make test-oldest  `make test` with the lowest that pyproject.toml allows, on Python 3.11'
	@echo 'make lint         ruff and mypy'
	@echo 'make docs         write what commands print into README and the docs'
	@echo 'make conformance  the recorded cases, with the matches of each group'
	@echo 'make bench        measurements'
	@echo 'make bench-compare  large work here and at another revision, in turn (REV=HEAD~1)'
	@echo 'make bench-kernel  the same work here and on Linux 6.12 in QEMU (after make oracle)'
	@echo 'make cov          branch coverage of mm/ and syscalls/'
	@echo 'make mutants      how many random mutants of mm/ the unit tests kill (N=20 SEED=1 JOBS=2)'
	@echo 'make oracle       kernels 6.1, 6.12 and 7.2 for QEMU, in a cache folder (see tests/oracle)'
	@echo 'make record       what a kernel answers to a case (CASE=path.yaml KERNEL=6.12)'
	@echo 'make fuzz-kernel  random programs, on a kernel and here (N=500 SEED=1 KIND=any FOUND=folder)'
	@echo 'make lock         renew $(LOCK), the versions that are installed'
	@echo 'make dist         wheel, sdist and zipapp in dist/, each tried in clean environments (PYTHONS=...)'
	@echo 'make clean        remove .venv and all that is made'

define OLD_PYTHON
pymigrate needs Python 3.11 or newer; `$(PYTHON)` is not. Name another: make PYTHON=python3.12 ...
endef
define NO_ENSUREPIP
`$(PYTHON)` cannot make environments. On Debian or Ubuntu: apt-get install python3-venv
endef
define NO_PYTHON311
This needs Python 3.11, the oldest that is allowed; `$(PYTHON311)` is not. Name it: make PYTHON311=/path/to/it ...
endef
define LOWEST
import tomllib
with open('pyproject.toml', 'rb') as file:
    settings = tomllib.load(file)
project = settings['project']
extras = (needs for name, needs in project['optional-dependencies'].items() if name != 'dask')
for needs in (settings['build-system']['requires'], project['dependencies'], *extras):
    print('\n'.join(need.replace('>=', '==') for need in needs))
endef
define LOCK_HEADER
# What `make demo`, `make test` and `.ci/run` install: constraints for pip.
# Made by `make lock`, of the newest versions that Python 3.11 can have; not to be edited.
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
export OLD_PYTHON NO_ENSUREPIP NO_PYTHON311 LOWEST LOCK_HEADER DEMO

# The build backend is installed first, so that it is of the same versions: pip's own environment
# for a build would take the newest, or need another option in each of pip's versions.
$(VENV)/.stamp: pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "$$OLD_PYTHON" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$$NO_ENSUREPIP" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@$(CONSTRAINTS_$(VERSIONS)) > $(VENV)/constraints.txt
	$(INSTALL) hatchling editables
	$(INSTALL) --no-build-isolation --editable '.[dev,report$(EXTRAS_$(VERSIONS))]'
	@touch $@

demo: $(VENV)/.stamp
	@sh -c "$$DEMO"

test: lint
	$(PYTEST) -n auto -m 'not slow' --doctest-modules pymigrate tests

test-long: $(VENV)/.stamp
	$(PYTEST) -n auto -m slow

test-newest:
	rm -rf .venv-newest
	$(MAKE) test VENV=.venv-newest VERSIONS=newest

test-oldest: python311
	$(MAKE) test VENV=.venv-oldest VERSIONS=oldest PYTHON='$(PYTHON311)'

lint: $(VENV)/.stamp
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy

docs: $(VENV)/.stamp
	PYTHONPATH=. $(VENV)/bin/python tests/cli/test_readme.py

conformance: $(VENV)/.stamp
	$(PYTEST) -q -n auto tests/conformance

bench: $(VENV)/.stamp
	@for bench in $(BENCHES); do echo "$$bench"; PYTHONPATH=. $(VENV)/bin/python "$$bench" || exit 1; done

bench-compare: $(VENV)/.stamp
	@PYTHONPATH=. $(RUN) tests.bench.compare $(or $(REV),HEAD~1)

bench-kernel: $(VENV)/.stamp
	@PYTHONPATH=. $(RUN) tests.bench.kernel

cov: $(VENV)/.stamp
	$(RUN) coverage run -m pytest -q -m 'not slow' --ignore=tests/bench
	$(RUN) coverage report --include='pymigrate/mm/*,pymigrate/syscalls/*' --fail-under=95

mutants: $(VENV)/.stamp
	$(RUN) tests.mutants $(or $(N),20) $(or $(SEED),1) $(or $(JOBS),2)

oracle: $(VENV)/.stamp
	@$(RUN) tests.oracle prepare

record: $(VENV)/.stamp
	@$(RUN) tests.oracle record --kernel $(KERNEL) $(addprefix --,$(HOW)) $(CASE)

fuzz-kernel: $(VENV)/.stamp
	@$(RUN) tests.oracle fuzz --kernel $(KERNEL) --count $(or $(N),500) --seed $(or $(SEED),1) --kind $(or $(KIND),any) $(if $(ONLY),--only $(ONLY)) $(or $(FOUND),found)

lock: python311
	rm -rf .venv-lock
	$(MAKE) .venv-lock/.stamp VENV=.venv-lock VERSIONS=newest PYTHON='$(PYTHON311)'
	{ echo "$$LOCK_HEADER" && .venv-lock/bin/python -m pip freeze --exclude-editable; } > $(LOCK).new
	mv $(LOCK).new $(LOCK)
	rm -rf .venv-lock

dist:
	.ci/dist $(PYTHONS)

python311:
	@$(PYTHON311) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { echo "$$NO_PYTHON311" >&2; exit 1; }

clean:
	rm -rf $(VENV) .venv .venv-newest .venv-oldest .venv-lock .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* dist build
	find pymigrate tests -name __pycache__ -type d -prune -exec rm -rf {} +

# make demo    explain a real photo: sets up .venv, writes demo/
# make test    the whole suite
# make check   linters, types, import directions, then the long walks (browser, soak)
# make lint    the first half of make check
# make coverage  the suite, with the share of lines and branches that it runs: 95 and 90 % must not fall
# make versions  the suite on the lowest versions allowed, and on each Python of this machine: long, needs the network
# make mutants plants small faults in what measures, says and draws, and counts those that no test notices: minutes
# make docs    rebuild the generated pages
# make aviary-models  train the classifiers of the synthetic birds again: an hour of processor time on two cores
# make language-models  train the joint space and the decoder of explanations again
# make clean   remove what the above made

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test coverage versions check lint mutants long chromium docs pictures aviary-models language-models clean

VENV := .venv
BIN := $(VENV)/bin

# A stamp carries the hash of what it was made from: change pyproject.toml or constraints.txt and pip runs again.
HASH := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
FOR_USE := $(VENV)/.for-use-$(HASH)
FOR_TESTS := $(VENV)/.for-tests-$(HASH)
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

# PYTHON=/path/to/python make demo chooses another interpreter.
CANDIDATES := $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3 python

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(BIN)/python:
	@for p in $(CANDIDATES); do \
	  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$p; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "saywhy needs Python 3.11 or newer, and none of these is: $(CANDIDATES)." >&2; \
	  echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv), or say PYTHON=/path/to/python make demo" >&2; \
	  exit 1; \
	fi; \
	echo "creating $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "$$found cannot make a virtual environment (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }

# A virtual environment that someone else has made is used as it is.
$(FOR_USE): | $(BIN)/python
	@echo "installing saywhy: a minute or two, once (PyTorch is large; README.md: how to get its CPU build)"
	@$(PIP) -e .
	@rm -f $(VENV)/.for-use-* && touch $@

$(FOR_TESTS): | $(BIN)/python
	@echo "installing saywhy [test]: some minutes, once"
	@$(PIP) -e '.[test]'
	@rm -f $(VENV)/.for-tests-* $(VENV)/.for-use-* && touch $@ $(FOR_USE)

demo: $(FOR_USE)
	@photo=$$($(BIN)/python -c 'import skimage, pathlib; print(pathlib.Path(skimage.__file__).parent / "data" / "chelsea.png")'); \
	mkdir -p demo/photo && cp "$$photo" demo/photo/; \
	$(BIN)/saywhy explain "$$photo" --format text,json,png,html -o demo; \
	echo; \
	echo "demo/chelsea.html  the page: open it in a browser, it needs no network"; \
	echo "demo/chelsea.png   the picture"; \
	echo "demo/chelsea.json  the record"; \
	echo "Your turn:         $(BIN)/saywhy explain YOUR_PHOTO.jpg"

# One thread in each of two workers is faster than two that fight for the cores. In CI the same suite runs under a tracer,
# and fails where fewer lines or branches are run than were; what runs in processes of its own (torchrun, the command
# line) is not counted.
TRACED := --cov --cov-report=json:build/coverage.json --cov-report=
test: $(FOR_TESTS)
	@OMP_NUM_THREADS=1 PYTHONPATH=tests/shim $(BIN)/python -m pytest -n 2 --dist worksteal -m "not long" $(if $(CI),$(TRACED))
	@$(if $(CI),$(BIN)/python tests/coverage_gate.py build/coverage.json,true)

coverage:
	@$(MAKE) --no-print-directory test CI=true

# Each in an environment of its own, below build/, which is kept. On Python 3.12 and newer pip raises what has no wheel.
PYTHONS := $(foreach v,3.11 3.12 3.13,$(shell command -v python$(v)))
SUITE := OMP_NUM_THREADS=1 PYTHONPATH=tests/shim
versions:
	@test -n "$(PYTHONS)" || { echo "none of python3.11, python3.12, python3.13 is here" >&2; exit 1; }
	@set -e; first=1; for p in $(PYTHONS); do \
	  for limits in $${first:+constraints-lowest.txt} constraints.txt; do \
	    env=build/$$(basename $$p)-$${limits%.txt}; \
	    echo "== $$("$$p" --version), $$limits"; \
	    [ -x $$env/bin/python ] || "$$p" -m venv $$env; \
	    $$env/bin/python -m pip install -q --disable-pip-version-check -c $$limits -e '.[test]'; \
	    $(SUITE) $$env/bin/python -m pytest -n 2 -m "not long" --deselect tests/test_layers.py; \
	  done; first=; \
	done

lint: $(FOR_TESTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint long

mutants: $(FOR_TESTS)
	@OMP_NUM_THREADS=1 PYTHONPATH=tests/shim $(BIN)/python benchmarks/mutants.py

# pytest's exit code 5 says that nothing is marked long, which is no failure.
long: $(FOR_TESTS) chromium
	@OMP_NUM_THREADS=1 PYTHONPATH=tests/shim $(BIN)/python -m pytest -m long || [ $$? -eq 5 ]

chromium:
	@if command -v chromium >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else echo "no chromium here: the browser tests are skipped (Debian, Ubuntu: apt-get install chromium)"; fi

docs: $(FOR_TESTS)
	$(BIN)/python docs/make_reference.py

pictures: $(FOR_USE)
	$(BIN)/python docs/make_pictures.py

aviary-models: $(FOR_USE)
	OMP_NUM_THREADS=1 $(BIN)/python -m saywhy.train.aviary --jobs 2

language-models: $(FOR_USE)
	OMP_NUM_THREADS=2 $(BIN)/python -m saywhy.train.jointspace
	OMP_NUM_THREADS=2 $(BIN)/python -m saywhy.writing.teaching

clean:
	rm -rf $(VENV) demo build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

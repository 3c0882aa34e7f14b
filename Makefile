# make demo    track a synthetic recording and real clips live; pictures, report, in out/demo/
# make test    the fast tests (about nine minutes on two cores)
# make test-slow  rebuilds, downloads, documentation, a soak of 20 minutes; about an hour
# make lint    ruff and mypy
# make bench   timings and figures, in out/bench/
# make figures measures the tables of docs/ anew and draws their plots; half an hour, nothing beside it
# make docs    docs/ and the API as a web site, in out/docs/; a warning is an error
# make colcon  colcon build (plain and --symlink-install) and colcon test of a copy, in out/colcon/
# Everything is installed into .venv; PYTHON=python3.12 chooses the interpreter for it.

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALL_INPUTS := setup.py pyproject.toml package.xml CMakeLists.txt $(wildcard msg/*.msg packaging/*)
# What only draws pictures of docs/ is no benchmark.
BENCHMARKS := $(filter-out %_figures.py,$(shell grep -l __main__ benchmarks/*.py))
# MediaPipe pins packages that this one does not.
PEER := out/peer
export PYTHON

.PHONY: help demo test test-slow lint bench figures docs colcon clean

help:
	@sed -n '/^# make/,/^$$/s/^# //p' Makefile

$(VENV)/installed: $(INSTALL_INPUTS)
	packaging/bootstrap.sh $(VENV)
	@touch $@

$(VENV)/installed-dev: $(INSTALL_INPUTS)
	packaging/bootstrap.sh $(VENV) dev
	@touch $@ $(VENV)/installed

$(VENV)/installed-docs: $(INSTALL_INPUTS)
	packaging/bootstrap.sh $(VENV) docs
	@touch $@ $(VENV)/installed

demo: $(VENV)/installed
	$(BIN)/flowface demo --out out/demo

test: $(VENV)/installed-dev
	$(BIN)/pytest -m "not slow and not network"

test-slow: $(VENV)/installed-dev $(VENV)/installed-docs
	$(BIN)/pytest -m "slow or network"

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/installed-dev
	@for benchmark in $(BENCHMARKS); do \
	  name=$$(basename $$benchmark .py); echo "== $$name"; \
	  $(BIN)/python $$benchmark --json out/bench/$$name.json || exit 1; done

$(PEER)/installed: | $(VENV)/installed-dev
	$(BIN)/python -m venv $(PEER)
	$(PEER)/bin/pip install --quiet --disable-pip-version-check 'mediapipe==1.2.*'
	@touch $@

figures: $(VENV)/installed-dev $(PEER)/installed
	$(BIN)/python benchmarks/peers.py --mediapipe-python $(PEER)/bin/python --docs
	@for name in experiment_aligner experiment_conditions experiment_temporal experiment_views \
	    fit ssme_order; do \
	  echo "== $$name"; $(BIN)/python benchmarks/$$name.py --docs || exit 1; done
	$(BIN)/python benchmarks/track_figures.py
	$(BIN)/python tools/align_figures.py

docs: $(VENV)/installed-docs
	@rm -rf out/docs
	$(BIN)/sphinx-build -q -W --keep-going -j auto docs out/docs
	@echo out/docs/index.html

colcon: $(VENV)/installed-dev
	packaging/colcon.sh out/colcon $(CURDIR)/$(BIN)/python

clean:
	rm -rf $(VENV) build out *.egg-info flowface_ros/msg
	find flowface_ros -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

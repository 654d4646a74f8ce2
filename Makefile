# `make` lists the targets. Everything runs inside .venv, which is made on first use and again
# whenever pyproject.toml or constraints.txt change.

PYTHON ?= python3
# Extra arguments for pip, such as an index that holds CPU builds of torch.
PIP_FLAGS ?=

BIN := .venv/bin
STAMP := .venv/.installed
# Two test processes with one thread each: the fastest arrangement on a two-core machine.
PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/pytest

.DEFAULT_GOAL := help
.PHONY: help demo test check test-slow test-gpu train-miniature evaluate-miniature benchmark \
	equations format clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP) ## Draw a still and animate it, with the miniature that comes with the package.
	mkdir -p demo
	$(BIN)/stillmotion draw "a red balloon over green hills" --count 1 --seed 7 --force -o demo/balloon.png
	$(BIN)/stillmotion animate demo/balloon.png "a red balloon rising over green hills" --force -o demo/balloon.mp4
	$(BIN)/stillmotion animate demo/balloon.png "a red balloon rising over green hills" --force -o demo/balloon.gif
	@echo "The still is demo/balloon.png; the clip is demo/balloon.mp4 and, for viewers without video, demo/balloon.gif."

test: check ## Lint, types, architecture and the fast tests: what every change must pass.
	@$(PYTEST) -n 2

check: $(STAMP) ## Lint and types only.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-slow: $(STAMP) ## The tests that take longer than about ten seconds each.
	@$(PYTEST) -n 2 -m "slow and not gpu"

test-gpu: $(STAMP) ## The tests that need a CUDA device.
	@$(PYTEST) -m gpu

train-miniature: $(STAMP) ## Train the miniature again, all stages.
	$(BIN)/stillmotion train miniature

evaluate-miniature: $(STAMP) ## Measure the miniature.
	$(BIN)/stillmotion evaluate miniature

benchmark: $(STAMP) ## Both papers' benchmarks on the miniature, into docs/results; an hour at most.
	$(BIN)/stillmotion evaluate animatezero --samples 20 -o runs/results/animatezero
	$(BIN)/stillmotion evaluate dynamicrafter --samples 100 -o runs/results/dynamicrafter
	$(BIN)/python -m tools.results runs/results docs/results

equations: $(STAMP) ## Write docs/equations.md again from the docstrings.
	$(BIN)/python -m tools.equations

format: $(STAMP) ## Sort imports and lay out the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove caches, builds and the demo; .venv stays.
	rm -rf build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

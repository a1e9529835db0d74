# `make demo` and `make test` are the two commands of the README; the others serve them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# uv does not read pip's configuration: its find-links are handed on, so that a CPU wheel of torch is found where pip
# finds it. Without one the same lock gives the CUDA build.
LINKS   = UV_FIND_LINKS="$${UV_FIND_LINKS:-$$($(BIN)/python -m pip config get global.find-links 2>/dev/null || echo $$PIP_FIND_LINKS)}"
INSTALL = $(LINKS) $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python
COMPILE = $(LINKS) $(BIN)/uv pip compile -q --no-header --no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28
ARMS    = $(shell $(BIN)/python -c "import yaml; print(*yaml.safe_load(open('params.yaml'))['arms'])")
# Arms run side by side; DVC refuses ("is busy") where two of them look at a shared stage at once, so that is tried again.
ONE_ARM = 'for try in 1 2 3 4 5 6 7 8 9; do \
	dvc repro --glob "publish@ARM-*" "evaluate@ARM-*" 2>&1 | sed -u "s/^/ARM | /" | tee runs/ARM.log; \
	grep -q "is busy" runs/ARM.log || break; sleep $$try; done; rm -f runs/ARM.log'
RUNS    = $(wildcard runs/*/[0-9]*)
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help setup setup-dev setup-vllm setup-distilabel chromium demo experiment result test check tests bench bench-small fresh-demo lock

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/  -/'

setup: $(VENV)/base.done ## install what the demo needs, in .venv
setup-dev: $(VENV)/dev.done ## and what the tests need
setup-vllm: $(VENV)/vllm.done ## and the CPU build of vLLM

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q uv

$(VENV)/%.done: $(BIN)/uv %.lock pyproject.toml
	$(INSTALL) $(if $(filter vllm,$*),--excludes excludes.txt) -r $*.lock
	$(INSTALL) --no-deps -e .
	@touch $@

demo: setup ## run the pipeline on the embedded default and show what came out
	dvc repro embed@$(firstword $(ARMS))-round0 # what the arms share is done once
	-@printf '%s\n' $(ARMS) | OMP_NUM_THREADS=1 xargs -P 3 -I ARM sh -c $(ONE_ARM)
	dvc repro # whatever is left
	@$(MAKE) --no-print-directory result

result: ## the result table, and where the files are
	@wim stats $(RUNS)
	@echo
	@wim report $(RUNS) -o runs/report.html
	@echo "pairs: runs/ARM/ROUND/dataset   policies: runs/ARM/ROUND/policy   report: runs/report.html"

SEEDS ?= 42 43 44
experiment: setup ## the paper's four arms (configs/arms.yaml) for each of SEEDS, its tables and figures from what comes out
	@$(MAKE) --no-print-directory -j3 $(SEEDS:%=experiment/%)
	wim paper $(SEEDS:%=experiment/%/runs/*/[0-9]*) -o experiment/paper.html

# A seed has a pipeline of its own, with all that belongs to it: runs, kept rows, DVC's cache.
experiment/%: SHELL := bash -o pipefail
experiment/%: FORCE
	@mkdir -p $@
	@sed "s/^seed: .*/seed: $*/" configs/arms.yaml > $@/params.yaml
	@cp dvc.yaml $@ && ln -sfn $(CURDIR)/builder $(CURDIR)/train $(CURDIR)/data $@
	@test -d $@/.dvc || (cd $@ && dvc init -q --no-scm)
	@cd $@ && OMP_NUM_THREADS=1 dvc repro 2>&1 | sed -u "s/^/seed $* | /"
FORCE:

test: setup-dev setup-vllm check tests bench-small fresh-demo ## everything that CI runs

check: setup-dev ## format, lint, types
	ruff format --check .
	ruff check .
	mypy

# Without it the tests of pages are skipped, and say so.
chromium: ## the browser that the tests of pages drive, from Debian where root may install it
	@command -v chromium > /dev/null || command -v google-chrome > /dev/null \
		|| { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium > /dev/null; } \
		|| echo "no Chromium, and it cannot be installed here: the tests of pages will be skipped" >&2

tests: setup-dev chromium ## the tests, with the coverage of builder/
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile --cov --cov-report=term --cov-fail-under=90

# Goes on where it was stopped: make bench BENCH=--resume
bench: setup-dev setup-vllm ## speed and memory, as ratios measured side by side: docs/benchmarks.md
	python -m bench $(BENCH)
	python -m bench --small --record
	python bench/audit.py
	python bench/report.py
	python bench/online.py

bench-small: setup-dev ## the same ratios on little data: fails where one is 2 times worse than recorded
	python -m bench --small

setup-distilabel: .bench/distilabel/done # what we are measured against, with our engine, in a venv of its own
.bench/distilabel/done: $(BIN)/uv base.lock
	$(BIN)/python -m venv .bench/distilabel
	$(LINKS) $(BIN)/uv pip install -q --compile-bytecode --python .bench/distilabel/bin/python \
		-r base.lock distilabel==1.5.3 requests
	@touch $@

fresh-demo: ## the demo in a fresh clone with a new virtual environment, timed
	.ci/fresh-demo

lock: $(BIN)/uv ## the lock files: vllm first, the others inside it
	$(COMPILE) --excludes excludes.txt vllm.in -o vllm.lock
	$(COMPILE) --excludes excludes.txt -c vllm.lock base.in -o base.lock
	$(COMPILE) --excludes excludes.txt -c vllm.lock dev.in -o dev.lock
	$(subst $(LINKS),,$(COMPILE)) gpu.in -o gpu.lock
	sed -i 's/^\(torch==[0-9.]*\)+cpu$$/\1/' base.lock dev.lock vllm.lock

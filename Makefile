# `make demo` and `make test` are the two commands of the README; the others serve them.
PYTHON ?= python3
VENV   ?= .venv
UV     := $(VENV)/bin/uv
# uv does not read pip's configuration: hand its find-links on, so that a CPU wheel of torch is found where pip finds it.
LINKS   = UV_FIND_LINKS="$${UV_FIND_LINKS:-$$($(VENV)/bin/python -m pip config get global.find-links 2>/dev/null || echo $$PIP_FIND_LINKS)}"
INSTALL = $(LINKS) $(UV) pip install -q --compile-bytecode --python $(VENV)/bin/python
LOCK    = $(LINKS) $(UV) pip compile -q --no-header --no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28

.PHONY: setup setup-vllm setup-dev demo test check tests fresh-demo lock

setup: $(VENV)/base.done
setup-dev: $(VENV)/dev.done
setup-vllm: $(VENV)/vllm.done

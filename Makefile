# What people and CI run. Needs Python 3.11, 3.12 or 3.13 and make; all else is installed into .venv.
#
#   make demo        a prompt becomes a picture, with everything started and stopped again
#   make test        the whole suite without the long tests
#   make test-all    with them, and with clients of compatible APIs that it installs before
#   make smoke       imports, an example of each task, pictures end to end: for other Pythons
#   make chaos       a storm of faults over all processes: MINUTES=10, SEED=n to repeat one
#   make soak        whether memory grows under lasting load: MINUTES=60
#   make lint        ruff check, ruff format --check, mypy and, where npm's packages are, tsc
#   make bench       the benchmarks
#   make docs        the tables of docs/ from the code
#   make clients     the types of clients/typescript/ from the API, by npm
#   make vendor      the libraries of web/vendor/ from npm's packages
#   make constraints write constraints.txt anew from the newest versions
#
# PYTHON=python3.12        the Python to build .venv with
# TORCH_INDEX=URL          a package index with another build of torch (CPU only, another CUDA, ROCm)
# PYTEST="-k queue -x"     options for pytest
# JOBS=4                   tests at a time; 0: all in one process, to watch or debug them

PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
PYTEST ?=
JOBS ?= 3

# Several tests at a time, each with one thread of torch; on two cores a third works while others
# wait for what processes do.
SMOKE := tests/test_imports.py tests/darkroom/test_tasks.py tests/end_to_end/test_pictures.py
SPREAD := -n $(JOBS) --dist loadfile --no-loadscope-reorder
test test-all smoke: export OMP_NUM_THREADS := 1

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
INPUTS := pyproject.toml constraints.txt

# Clients with dependencies of their own, for `make test-all` alone.
NODE := $(patsubst %,%/node_modules/.package-lock.json,tests/clients/node clients/typescript tests/web/node)
PAGE := tests/web/node
GATEWAYS := tests/clients/python/.venv
CLIENTS := $(NODE) $(GATEWAYS)/.installed

# Nothing is written outside the checkout and nothing is downloaded behind the user's back.
demo test test-all smoke bench chaos soak: export HF_HUB_OFFLINE := 1
demo test test-all smoke bench chaos soak: export HF_HOME := $(CURDIR)/build/huggingface
test test-all smoke bench: export TMPDIR := $(CURDIR)/build/tmp

.PHONY: help install demo test test-all smoke chaos soak lint bench docs clients vendor constraints clean

help:
	@sed -n '/^#  *make /s/^#  *//p' Makefile

demo: $(VENV)/.installed
	@$(BIN)/darkroom demo

test: $(VENV)/.installed-dev
	@mkdir -p $(TMPDIR)
	@$(BIN)/python -m pytest $(SPREAD) -m "not long" $(PYTEST)

test-all: $(VENV)/.installed-dev $(CLIENTS)
	@mkdir -p $(TMPDIR)
	@$(BIN)/python -m pytest $(SPREAD) $(PYTEST)

# Where one cannot be had, its tests are skipped.
$(NODE): %/node_modules/.package-lock.json: %/package-lock.json
	@npm ci --no-audit --no-fund --silent --prefix $* \
		|| echo "Without npm's packages the tests of clients for Node are left out"

$(GATEWAYS)/.installed: tests/clients/python/requirements.txt | $(VENV)/bin/python
	@$(BIN)/python -m venv $(GATEWAYS) \
		&& $(GATEWAYS)/bin/python -m pip install --disable-pip-version-check --quiet -r $< \
		&& touch $@ || echo "Without its packages the tests of LiteLLM, LangChain and google-genai are left out"

smoke: $(VENV)/.installed-dev
	@mkdir -p $(TMPDIR)
	@$(BIN)/python -m pytest $(SPREAD) $(SMOKE) $(PYTEST)

SEED ?=
chaos soak: export OMP_NUM_THREADS := 1
chaos: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.chaos.storm --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

soak: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.chaos.soak --minutes $(or $(MINUTES),60)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	@if [ -d $(PAGE)/node_modules ]; then $(PAGE)/node_modules/.bin/tsc -p $(PAGE); \
		else echo "The page's types are not checked: npm ci --prefix $(PAGE)"; fi

bench: $(VENV)/.installed-dev
	@mkdir -p $(TMPDIR)
	@$(BIN)/python -m benchmarks.gathered
	@$(BIN)/python -m benchmarks.dispatch
	@if $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
		$(BIN)/python -m benchmarks.gpu_steps; \
	else echo "No CUDA device: benchmarks.gpu_steps is left out"; fi

docs: $(VENV)/.installed
	@$(BIN)/python docs/tables.py

clients: $(VENV)/.installed clients/typescript/node_modules/.package-lock.json
	@mkdir -p build
	@$(BIN)/python clients/typescript/shapes.py > build/shapes.json
	@npm run --silent --prefix clients/typescript types

# As npm has them, but for the line that names a map of their source.
VENDORED := preact/dist/preact.mjs preact/hooks/dist/hooks.mjs htm/dist/htm.mjs \
	@preact/signals/dist/signals.mjs @preact/signals-core/dist/signals-core.mjs
vendor: $(PAGE)/node_modules/.package-lock.json
	@for file in $(VENDORED); do \
		sed 's://# sourceMappingURL=.*::' $(PAGE)/node_modules/$$file > web/vendor/$$(basename $$file); done
	@for name in preact htm @preact/signals @preact/signals-core; do \
		echo "$$name $$(sed -n 's/^  "version": "\(.*\)",/\1/p' $(PAGE)/node_modules/$$name/package.json)"; \
		echo; cat $(PAGE)/node_modules/$$name/LICENSE; echo; done > web/vendor/LICENSES

install: $(VENV)/.installed

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
		echo "Darkroom needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Python could not make $(VENV); on Debian and Ubuntu: apt install python3-venv"; exit 1; }

# torch goes first and by itself: TORCH_INDEX is asked for nothing else, so that what torch needs
# is found where everything else is found.
$(VENV)/.torch: | $(VENV)/bin/python
	@$(BIN)/python -c 'import torch' 2> /dev/null || { \
		if [ "$$(uname)" = Linux ] && [ -z "$(TORCH_INDEX)" ]; then \
			echo "Installing $(TORCH). Once. Unless pip knows another build, it brings CUDA: about"; \
			echo "2.7 GB to download. For a smaller one stop here and name an index with"; \
			echo "CPU wheels: make TORCH_INDEX=URL"; \
		fi; \
		$(PIP) -c constraints.txt $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) \
			"$(TORCH)"; }
	@touch $@

$(VENV)/.installed: $(INPUTS) | $(VENV)/.torch
	@echo "Installing Darkroom and what it needs"
	@$(PIP) --quiet -c constraints.txt -e ".[service,worker]"
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) | $(VENV)/.torch
	@echo "Installing Darkroom, what it needs and what its tests need"
	@$(PIP) --quiet -c constraints.txt -e ".[service,worker,dev]"
	@touch $(VENV)/.installed $@

# Local version suffixes (torch+cpu) are left out: another machine has another build.
constraints: | $(VENV)/.torch
	@$(PIP) --quiet --upgrade --upgrade-strategy eager "$(TORCH)" -e ".[service,worker,dev]"
	@$(BIN)/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' > constraints.txt

clean:
	rm -rf $(VENV) $(dir $(NODE)) $(GATEWAYS) build .pytest_cache .ruff_cache .mypy_cache .hypothesis

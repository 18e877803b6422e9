# The two commands of a newcomer are `make demo` and `make test`; each makes its own .venv from a lock.
# PYTHON names the interpreter (3.11 or newer); uv is used where it is installed.
PYTHON ?= python3
PYTEST_ARGS ?=
# Files of tests at once.
WORKERS ?= 2
CLOUDS := tests/contract/aws tests/contract/gcp tests/contract/azure tests/contract/sky tests/e2e/test_clouds.py
# One at a time: machines of namespaces, and a real vLLM that takes every core.
BED := tests/e2e/test_bed.py tests/e2e/test_cloud_init.py
# Cloud tests run where no address but loopback is reached, as far as the user may make such a place.
NO_ROUTE := $(shell unshare -n true 2>/dev/null && command -v ip >/dev/null && \
  echo 'unshare -n sh -c "ip link set lo up && exec \"\$$@\"" sh')
NOT_CLOUDS := $(addprefix --ignore=,$(CLOUDS))
BIN := .venv/bin
PYTEST = $(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: demo demo-cast test check bench test-bed test-bed-down lock completions man screenshots native test-native clean help
help:
	@echo "make demo | demo-cast | test | test-native | check | bench | bench-SUBJECT | native | screenshots | man | completions"
	@echo "     test-bed | test-bed-down | lock | clean"

demo: .venv/.base
	$(BIN)/fleetctl demo

# A recording of it, from a real run in a terminal of its own; nothing is uploaded.
demo-cast: .venv/.base
	$(BIN)/python docs/demo/record.py docs/demo/demo.cast

test: .venv/.dev
	$(PYTEST) -n $(WORKERS) --dist loadfile tests/unit tests/sim tests/contract tests/tui $(NOT_CLOUDS)
	$(PYTEST) -n $(WORKERS) --dist loadfile tests/e2e $(NOT_CLOUDS) $(addprefix --ignore=,$(BED))
	$(PYTEST) $(BED)
	$(NO_ROUTE) $(PYTEST) -n $(WORKERS) --dist worksteal $(wildcard $(CLOUDS))

# The gateway's hot path compiled, about a minute; it is the same without, and slower. docs/gateway.md, "Native".
native: .venv/.dev
	$(BIN)/python -m fleetctl.gateway.native_build

test-native: .venv/.dev
	@$(BIN)/python -m fleetctl.gateway.native_build; case $$? in \
	  0) FLEETCTL_NATIVE=1 $(PYTEST) -n $(WORKERS) --dist loadfile $(wildcard tests/*/test_*gateway*.py) ;; \
	  69) echo "skipped" ;; \
	  *) exit 1 ;; \
	esac

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Three machines with links, sshd and dockerd of their own, a registry and a real vLLM, for hands: root on Debian.
# BED_ARGS="--rate 200mbit --no-vllm"
test-bed: .venv/.dev
	@PYTHONPATH=tests $(BIN)/python -m bed up $(BED_ARGS)

test-bed-down: .venv/.dev
	@PYTHONPATH=tests $(BIN)/python -m bed down

# Pictures of the dashboard, of a fleet of records and of the demo played back: three minutes, rsvg-convert and pngquant.
screenshots: .venv/.dev
	$(BIN)/python docs/screenshots/make.py

# bench/SUBJECT_*.py; JSON lines on stdout, tables on stderr, and what of the goals was met at the end
bench: .venv/.dev
	@$(BIN)/python bench/run.py

bench-%: .venv/.dev
	@$(BIN)/python bench/run.py $*

.venv/.base: requirements.lock pyproject.toml
	$(call install,requirements.lock)
	touch $@

.venv/.dev: requirements-dev.lock pyproject.toml
	$(call install,requirements-dev.lock)
	touch .venv/.base $@

# The interpreter is checked first, so that an old one is told in one sentence.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; hint: make PYTHON=python3.12 ...")'
	@if command -v uv >/dev/null 2>&1; then \
	  set -e; test -d .venv || uv venv -q --python $(PYTHON) .venv; \
	  uv pip install -q --python .venv/bin/python --require-hashes -r $(1); \
	  uv pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .; \
	else \
	  set -e; .venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv; \
	  .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $(1); \
	  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
endef

# Both locks hold for every Python from 3.11 on, with hashes; hatchling is in both, to install fleetctl itself.
lock:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --upgrade --group build -o requirements.lock pyproject.toml
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url -c requirements.lock --extra dev --group build -o requirements-dev.lock pyproject.toml

# options.py is read from the commands themselves; scripts and the manual page are written from it.
completions: .venv/.base
	$(BIN)/python -m fleetctl.cli.lines > fleetctl/cli/options.py.new
	mv fleetctl/cli/options.py.new fleetctl/cli/options.py
	$(BIN)/fleetctl completion bash > completions/fleetctl.bash
	$(BIN)/fleetctl completion zsh > completions/_fleetctl
	$(BIN)/fleetctl completion fish > completions/fleetctl.fish

man: build/man/man1/fleetctl.1
build/man/man1/fleetctl.1: .venv/.base fleetctl/cli/options.py
	mkdir -p $(@D)
	$(BIN)/fleetctl completion man > $@

clean:
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

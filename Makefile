# Two commands do everything on a fresh Debian machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
SPHINX := $(BIN)/sphinx-build -q -n -W --keep-going
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-synapse lab check format bench compiled fuzz clean

help:
	@echo "make demo    stand-in Synapse workers behind synproxy, and curl lines to try"
	@echo "make test    the whole test suite (installs nginx, PostgreSQL and Redis when root)"
	@echo "make test-synapse  the part with a real Synapse and its workers"
	@echo "make lab     that Synapse with synproxy in front, to try by hand"
	@echo "make check   format, lint, types, import contracts"
	@echo "make compiled  a wheel with the hot path compiled by mypyc, in dist/"
	@echo "make deb     a Debian package, in dist/"
	@echo "make docs    the site and the manual pages, in build/docs"
	@echo 'make bench   what requests cost beside nginx, HAProxy, Caddy (ARGS="--quick --only a")'

# --- what the commands need

.venv/.ready: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "synproxy needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory apt-python3-venv
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet 'uv>=0.8'
	$(BIN)/uv sync --quiet --frozen --inexact --group bench --group docs --python $(BIN)/python
	@touch $@

# One Debian package: installed when root, asked for otherwise.
apt-%:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing the Debian package $*"; \
	  { apt-get install -y -qq --no-install-recommends $* || \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $*; }; } \
	    >/dev/null 2>.apt.log || { cat .apt.log; exit 1; }; rm -f .apt.log; \
	else \
	  echo "please install the Debian package $*:  sudo apt-get install $*"; exit 1; \
	fi

.PHONY: test-tools bench-tools
test-tools:
	@command -v nginx >/dev/null || test -x /usr/sbin/nginx || $(MAKE) --no-print-directory apt-nginx
	@command -v systemd-analyze >/dev/null || $(MAKE) --no-print-directory apt-systemd
	@command -v wrk >/dev/null || $(MAKE) --no-print-directory apt-wrk
	@command -v curl >/dev/null || $(MAKE) --no-print-directory apt-curl
	@command -v h2load >/dev/null || $(MAKE) --no-print-directory apt-nghttp2-client
	@command -v chromium >/dev/null || $(MAKE) --no-print-directory apt-chromium
	@fc-list 2>/dev/null | grep -qi dejavu || $(MAKE) --no-print-directory apt-fonts-dejavu-core
	@command -v promtool >/dev/null || $(MAKE) --no-print-directory apt-prometheus
	@test -x /usr/sbin/haproxy || command -v haproxy >/dev/null || $(MAKE) --no-print-directory apt-haproxy
	@command -v ip >/dev/null || $(MAKE) --no-print-directory apt-iproute2

.PHONY: compile-tools
compile-tools:
	@command -v cc >/dev/null || $(MAKE) --no-print-directory apt-gcc
	@test -e /usr/include/stdlib.h || $(MAKE) --no-print-directory apt-libc6-dev
	@$(PYTHON) -c 'import os, sysconfig as s, sys; \
	  sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' || \
	  $(MAKE) --no-print-directory apt-python3-dev

bench-tools: test-tools
	@test -x /usr/sbin/haproxy || command -v haproxy >/dev/null || $(MAKE) --no-print-directory apt-haproxy
	@command -v caddy >/dev/null || $(MAKE) --no-print-directory apt-caddy
	@command -v h2load >/dev/null || $(MAKE) --no-print-directory apt-nghttp2-client
	@command -v openssl >/dev/null || $(MAKE) --no-print-directory apt-openssl

# The Synapse of the end-to-end tests, in an environment of its own: tests/e2e/README.md.
.venv-synapse/.ready: tests/e2e/synapse.txt | .venv/.ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-synapse
	VIRTUAL_ENV=.venv-synapse $(BIN)/uv pip sync --quiet --compile-bytecode tests/e2e/synapse.txt
	@touch $@

.PHONY: lab-tools
lab-tools: .venv-synapse/.ready
	@command -v redis-server >/dev/null || $(MAKE) --no-print-directory apt-redis-server
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || \
	  $(MAKE) --no-print-directory apt-postgresql
	@command -v openssl >/dev/null || $(MAKE) --no-print-directory apt-openssl

# --- the commands

demo: .venv/.ready
	$(BIN)/synproxy demo $(ARGS)

test: .venv/.ready test-tools compile-tools lab-tools
	$(BIN)/python -m pytest $(ARGS)

test-synapse: .venv/.ready lab-tools
	$(BIN)/python -m pytest tests/e2e $(ARGS)

lab: .venv/.ready lab-tools
	$(BIN)/python -m tests.e2e $(ARGS)

check: .venv/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/uv lock --quiet --check
	$(SPHINX) -b dummy docs build/docs/dummy
	$(MAKE) --no-print-directory audit

# Known holes in what is locked, asked of PyPI; skipped loudly where that cannot be reached.
.PHONY: audit
audit: .venv/.ready
	@$(BIN)/uv sync --quiet --frozen --inexact --group audit --python $(BIN)/python
	$(BIN)/python .ci/audit.py

# The site in build/docs/html, and the manual pages in build/docs/man.
.PHONY: docs completions
docs: .venv/.ready
	$(SPHINX) -b html docs build/docs/html
	$(SPHINX) -b man docs build/docs/man
	@echo "build/docs/html/index.html, build/docs/man"

completions: .venv/.ready
	$(BIN)/python packaging/completions.py build/completions

# A package for the Debian or Ubuntu that this runs on, in dist/; COMPILED=1: with the hot path
# compiled by mypyc.
.PHONY: deb
deb: .venv/.ready completions
	@command -v dpkg-shlibdeps >/dev/null || $(MAKE) --no-print-directory apt-dpkg-dev
	$(SPHINX) -b man docs build/docs/man
	packaging/deb/build

# Installs a package under a systemd that has booted, upgrades it to a compiled one while clients ask,
# and removes it. For root; some minutes.
.PHONY: deb-upgrade
deb-upgrade: compile-tools
	REVISION=1 ZIP=none $(MAKE) --no-print-directory deb
	REVISION=2 ZIP=none COMPILED=1 $(MAKE) --no-print-directory deb
	$(BIN)/python -m tests.process.deb_upgrade dist/synproxy_*-1_*.deb dist/synproxy_*-2_*.deb
	rm dist/synproxy_*-1_*.deb dist/synproxy_*-2_*.deb

format: .venv/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.ready bench-tools lab-tools compiled
	$(BIN)/python -m bench $(ARGS)

# Writes docs/hostile.md: what becomes of every collected hostile message.
.PHONY: hostile
hostile: .venv/.ready
	$(BIN)/python -m tests.hostile

# Pictures of the status page, for docs/status.md.
.PHONY: screenshots
screenshots: .venv/.ready test-tools
	$(BIN)/python -m tests.browser

# Writes docs/faults.md: what becomes of requests to servers that fail.
.PHONY: faults
faults: .venv/.ready
	$(BIN)/python -m tests.faults

# Reloads, binary upgrades and killed children under 2,000 held syncs and wrk: docs/processes.md.
.PHONY: endurance
endurance: .venv/.ready test-tools
	$(BIN)/python -m tests.process.endurance

# Mixed load with random faults for half an hour: docs/soak.md. ARGS="--minutes 10 --seed 7".
.PHONY: soak
soak: .venv/.ready
	$(BIN)/python -m tests.soak $(ARGS)

# Each fuzz target and the state machine for a minute: ARGS="--seconds 600 request chunked".
fuzz: .venv/.ready
	$(BIN)/uv sync --quiet --frozen --inexact --group fuzz --python $(BIN)/python
	$(BIN)/python -m tests.fuzz $(ARGS)

# The same source with its hot path compiled by mypyc: docs/adr/0016.
compiled: .venv/.ready compile-tools build/compiled/.ready
build/compiled/.ready: pyproject.toml $(shell find synproxy -name '*.py')
	rm -rf build/compiled dist
	HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(BIN)/uv build --quiet --out-dir dist
	$(BIN)/uv pip install --quiet --no-deps --target build/compiled dist/*.whl
	@touch $@
	@echo "the wheel is in dist/, and unpacked in build/compiled"

# nginx's own tests: NGINX_TESTS is a clone of https://github.com/nginx/nginx-tests
.PHONY: nginx-tests
nginx-tests: .venv/.ready test-tools
	@command -v perl >/dev/null || $(MAKE) --no-print-directory apt-perl
	$(BIN)/python -m tests.nginx_suite $(NGINX_TESTS) $(ARGS)

# The real templates of others, imported and compared with nginx: SYNAPSE and PLAYBOOK are clones of
# https://github.com/element-hq/synapse and https://github.com/spantaleev/matrix-docker-ansible-deploy
.PHONY: templates
templates: .venv/.ready test-tools
	$(BIN)/python -m tests.differential.templates --synapse $(SYNAPSE) --playbook $(PLAYBOOK) $(ARGS)

clean:
	rm -rf .venv .venv-synapse .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

# Everything that this checkout can do on a Debian machine. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
DEV := .dev
PY := .venv/bin/python
# Network namespaces need root; its files stay out of the checkout.
AS_ROOT := $(if $(SUDO),$(SUDO) --preserve-env env PATH="$$PATH:/usr/local/sbin:/usr/sbin:/sbin" HOME="$$HOME" \
	PYTHONDONTWRITEBYTECODE=1 PYTEST_ADDOPTS="-p no:cacheprovider")
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cgnat-relay
# The engine, its state and its passphrase, as `make up` set them.
ENV := . $(DEV)/env

LAB_PACKAGES := python3-venv qemu-system-x86 qemu-utils mmdebstrap genisoimage e2fsprogs \
	openssh-client curl ca-certificates procps
TEST_PACKAGES := wireguard-tools iptables nftables iproute2 iputils-ping shellcheck conntrack \
	libwrap0 libdbus-1-3 libgssapi-krb5-2 libbsd0 ufw socat openssl iperf3 zbar-tools distro-info-data

.PHONY: help up preview demo qr doctor image status test examples matrix lint bench bench-deps bench-full \
	bench-data bench-startup bench-scale bench-changes bench-timeline down clean lock deps test-deps engine stack

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

up: stack image ## set up all that is needed and bring the dev stack up: a relay in a VM here
	@$(ENV) && python3 -m demo resume dev && pulumi up --yes --skip-preview --stack dev
	@$(ENV) && python3 -m demo summary dev

preview: stack ## what `make up` would change
	@$(ENV) && pulumi preview --stack dev

demo: $(DEV)/env ## a home behind NAT joins with homeConfig alone; fetch its page through the relay
	@python3 -m lab image --variant home >/dev/null
	@$(ENV) && python3 -m demo run dev

qr: $(DEV)/env .venv/run ## a device's config as a QR code: make qr DEVICE=phone
	@$(ENV) && $(PY) -m handout --stack dev qr "$(DEVICE)"

doctor: $(DEV)/env .venv/run ## ask each forward from here, and the relay why one does not answer
	@$(ENV) && $(PY) -m doctor --stack dev

image: deps ## build the relay's disk image, or find it built
	@python3 -m lab image --variant vps >/dev/null

status: ## the VMs of this checkout
	@python3 -m lab status

down: ## destroy the dev stack, its VMs and its keys
	@if [ -e $(DEV)/env ]; then $(ENV) && python3 -m demo down dev; fi

clean: down ## `down`, and remove the caches: engine, images, virtual environment
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +
	@[ -n "$(HOME)" ] && $(SUDO) rm -rf "$(CACHE)"
	@echo "clean: the caches are gone"

test: test-deps engine image ## every test, in layers: unit, program, schema, clouds, netns, engine, vm
	@for variant in home net; do python3 -m lab image --variant $$variant >/dev/null; done
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy
	@$(AS_ROOT) $(PY) -m tests $(REPORTS)

examples: .venv/dev ## preview each example of examples/ under mocks, with the provider's real SDK
	@$(PY) -m tests.clouds

matrix: test-deps engine image ## take out each rule, kill at each step; neighbours, faults, distributions
	@$(AS_ROOT) $(PY) -m tests.netns.mutate
	@$(AS_ROOT) env CUT_SHORT_EVERY=1 $(PY) -m pytest -q tests/netns/test_cut_short.py \
		tests/netns/test_restart_cut_short.py tests/netns/test_rotate_cut_short.py \
		tests/netns/test_first_change.py tests/netns/test_undo_cut_short.py \
		tests/netns/test_firewall_cut_short.py
	@$(AS_ROOT) env MATRIX=1 $(PY) -m pytest tests/vm/test_kernel.py tests/vm/test_adopt.py \
		tests/vm/test_acceptance.py tests/vm/test_neighbours.py tests/vm/test_faults.py \
		tests/vm/test_distributions.py tests/vm/test_tunnel_only.py

lint: .venv/dev ## Ruff and strict types
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

# What is kept is made as whoever asks for it, before root measures.
bench-deps: test-deps engine image
	@mkdir -p $(DEV)/bench docs/bench
	@python3 -m lab image --variant net >/dev/null
	@$(PY) -c 'from bench import peers; peers.get()'

bench: bench-deps ## measure the relay against frp, rathole, chisel and ssh -R; tables and plots in .dev/bench
	@$(AS_ROOT) $(PY) -m bench $(DEV)/bench

bench-full: bench-deps ## the same with ten rounds and bad lines, over four hours; into docs/benchmark.md
	@$(AS_ROOT) $(PY) -m bench.compare --vm --cpu max --rounds 10 --json docs/bench/kernel-max.json
	@$(AS_ROOT) $(PY) -m bench.shares --vm --json docs/bench/kernel-shares.json
	@$(AS_ROOT) $(PY) -m bench.shares --vm --load opens --json docs/bench/kernel-opens.json
	@$(AS_ROOT) $(PY) -m bench --full --page docs/benchmark.md docs/bench

bench-startup: test-deps engine ## measure preview, no-op up, and up from nothing against a bare boot
	@$(PY) -m bench.startup

bench-data: bench-deps ## measure packets through the relay against the bare tunnel, here and in a VM
	@$(AS_ROOT) $(PY) -m bench.dataplane
	@$(AS_ROOT) $(PY) -m bench.dataplane --vm

bench-scale: bench-deps ## measure many forwards and peers: packets, connections, the engine's commands
	@$(AS_ROOT) $(PY) -m bench.scale --json docs/bench/scale.json
	@$(AS_ROOT) $(PY) -m bench.scale --vm --json docs/bench/scale-vm.json
	@$(AS_ROOT) $(PY) -m bench.growth --json docs/bench/growth.json
	@$(PY) -m bench.scale_page

bench-changes: bench-deps ## measure one port more, to its first packet, over a link of 50 ms
	@$(AS_ROOT) $(PY) -m bench.changes --json docs/bench/changes.json
	@$(PY) -m bench.changes --vm --pairs 5 --json docs/bench/changes-vm.json
	@$(PY) -m bench.scale_page

bench-timeline: test-deps engine image ## measure and draw where the time from power-on goes
	@mkdir -p docs/bench
	@$(PY) -m bench.timeline --json docs/bench/timeline.json
	@$(PY) -m bench.scale_page

lock: ## resolve the pinned requirements anew from pyproject.toml
	uv pip compile -q --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command 'make lock' pyproject.toml -o requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command 'make lock' -c requirements.txt --extra dev pyproject.toml \
		-o requirements-dev.txt

# --- what the targets above stand on ---

define apt_install
	@missing=$$({ dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(1) 2>/dev/null || :; } | \
		awk '$$2 == "installed" { print $$1 }' | sort | \
		comm -13 - <(printf '%s\n' $(1) | sort)); \
	if [ -n "$$missing" ]; then \
		echo "packages: installing" $$missing; start=$$SECONDS; \
		$(SUDO) apt-get -qq update; \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -qq -y --no-install-recommends \
			-o DPkg::Lock::Timeout=300 install $$missing >/dev/null; \
		echo "packages: installed in $$((SECONDS - start)) s"; \
	fi
endef

deps:
	$(call apt_install,$(LAB_PACKAGES))

test-deps: deps .venv/dev
	$(call apt_install,$(TEST_PACKAGES))

.venv/run: requirements.txt | deps
	@echo "python: a virtual environment with the locked requirements"
	@[ -x $(PY) ] || python3 -m venv .venv
	@$(PY) -m pip install -q --no-cache-dir --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/dev: requirements-dev.txt .venv/run
	@$(PY) -m pip install -q --no-cache-dir --disable-pip-version-check -r requirements-dev.txt
	@touch $@

engine: .venv/run
	@python3 -m engine get >/dev/null

stack: .venv/run
	@python3 -m engine init --stack dev --dir $(DEV)

$(DEV)/env:
	@echo "there is no dev stack yet; run: make up" >&2; exit 1

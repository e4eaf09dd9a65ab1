# Everything a contributor needs. `make help` lists it.

DEBUG := .build/debug/sidesocket
RELEASE := .build/release/sidesocket
PYTHON := .venv/bin/python
FORMAT := --configuration .swift-format --recursive --parallel Package.swift Sources Tests Benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup run run-cluster test build release conformance bench instructions format lint size clean need-swift

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

need-swift:
	@command -v swift >/dev/null 2>&1 || { \
	  echo "Swift 6.2 or later is needed: https://www.swift.org/install/" >&2; exit 1; }

setup: ## install the Debian packages needed to build and run
	@scripts/setup.sh run

run: setup need-swift ## build, start an example app behind Sidesocket, print the page's address
	swift build -c debug --product sidesocket
	@BINARY=$(DEBUG) scripts/run-example.sh

run-cluster: need-swift ## build, start two nodes with Redis and nginx before an example app
	@scripts/setup.sh cluster
	swift build -c debug --product sidesocket
	@BINARY=$(DEBUG) scripts/run-cluster.sh

build: setup need-swift ## debug build
	swift build

test: need-swift ## all tests: unit tests, fuzz seeds, integration tests
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory .venv/.installed
	swift build
	scripts/unit.sh
	SIDESOCKET_BINARY="$(CURDIR)/$(DEBUG)" PYTHON=$(PYTHON) scripts/integration.sh

.venv/.installed: Tests/requirements.txt
	python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r Tests/requirements.txt
	@touch $@

release: setup need-swift ## release build with the Swift runtime linked in
	swift build -c release --static-swift-stdlib --product sidesocket

conformance: need-swift ## RFC 6455 conformance; BINARY=… tests another build
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory .venv/.installed
	$(if $(BINARY),,swift build --product sidesocket)
	SIDESOCKET_BINARY="$(abspath $(or $(BINARY),$(DEBUG)))" $(PYTHON) Tests/Conformance/run.py $(ARGS)

bench: release ## CPU per bridged message, compared with nchan if it is installed
	python3 Benchmarks/bridge/run.py --binary $(RELEASE) $(ARGS)

instructions: need-swift ## instructions per message, checked against the budget
	@scripts/setup.sh instructions
	swift build -c release --static-swift-stdlib --product instruction-probe
	python3 Benchmarks/instructions/run.py --probe .build/release/instruction-probe $(ARGS)

format: need-swift ## format the Swift code
	swift format --in-place $(FORMAT)

lint: need-swift ## formatting, and dependencies between targets
	swift format lint --strict $(FORMAT)
	scripts/check-layers.sh --self-test
	scripts/check-layers.sh

size: release ## size of the stripped static release binary
	@cp $(RELEASE) .build/sidesocket.stripped
	@strip .build/sidesocket.stripped
	@printf 'stripped: %s\n' "$$(du -h --apparent-size .build/sidesocket.stripped | cut -f1)"

.PHONY: package
package: $(if $(BINARY),,release) ## build a .deb in .build/packages from the release build; BINARY=… takes another
	@packaging/build-deb.sh $(or $(BINARY),$(RELEASE)) .build/packages

clean: ## remove build output
	rm -rf .build .venv

# The few commands a contributor needs; each checks the set-up first. See README.md.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup archives build demo study test fuzz lint bench compare scaling checksums

# Own code is held to "no warnings"; the flag is the same everywhere so that nothing builds twice.
STRICT := -Xswiftc -warnings-as-errors

# With the Swift runtime and OpenBLAS inside, at fixed addresses, the command needs neither where it
# runs and starts 3 of 7 milliseconds sooner: no symbols to look up, no pages to relocate. The price is
# that its own code is not placed at random; what parses files is checked for bounds.
ifeq ($(shell uname),Linux)
RELEASE := -c release --static-swift-stdlib -Xswiftc -Xclang-linker -Xswiftc -no-pie
archives build bench compare scaling: export PKG_CONFIG_PATH := $(CURDIR)/.build/archives:$(PKG_CONFIG_PATH)
else
RELEASE := -c release
endif

# What SHA256SUMS has to say, run in fixtures/: every data file, none left out.
SUMS := find configs data digits golden hf hf_double training -type f | LC_ALL=C sort | xargs sha256sum

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## Check for Swift 6.1 or newer, install missing Debian packages
	@scripts/setup.sh

archives: setup
	@scripts/archives.sh .build/archives

build: archives ## Release build; the command is .build/release/eval-cli
	swift build $(RELEASE) --product eval-cli

demo: build ## Score one network at six stages of its training
	@scripts/demo.sh

study: build ## Train on the digits, score every stage, draw all figures into study/
	@scripts/setup.sh --figures
	@scripts/study.sh

test: ## Checksums of the fixtures, build without warnings, format, tests
	@scripts/setup.sh --figures
	cd fixtures && diff <($(SUMS)) SHA256SUMS
	swift build --build-tests $(STRICT)
	$(MAKE) --no-print-directory lint
	swift test $(STRICT)

fuzz: setup ## Feed every reader inputs made up for SECONDS each (60); TARGET=npz feeds one
	@scripts/fuzz.sh $(or $(SECONDS),60) $(TARGET)

lint: setup ## Check the format (swift format lint --strict)
	swift format lint --strict --parallel --recursive Package.swift Sources Tests Fuzzing Benchmarks/Package.swift Benchmarks/Sources Benchmarks/Benchmarks

bench: archives ## Time the engine against the machine's matrix products
	swift run $(RELEASE) --package-path Benchmarks report $(ARGUMENTS)

compare: build ## Time the whole evaluation, beside its peers with PEER_PYTHON=venv/bin/python
	swift run $(RELEASE) --package-path Benchmarks compare $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON)) -o comparison $(ARGUMENTS)

scaling: build ## Time and memory against the sizes of a problem
	swift run $(RELEASE) --package-path Benchmarks scaling $(ARGUMENTS)

checksums: ## Write fixtures/SHA256SUMS anew, after fixtures were meant to change
	cd fixtures && $(SUMS) > SHA256SUMS

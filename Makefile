# The few commands a contributor needs; each checks the set-up first. See README.md.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup archives build install dist demo study study-language docs test simulate sanitize fuzz lint bench compare scaling checksums
PREFIX ?= /usr/local

# Own code is held to "no warnings"; the flag is the same everywhere so that nothing builds twice.
STRICT := -Xswiftc -warnings-as-errors

# The command opens files that strangers made, so an error in it should be hard to use: code and data at
# random addresses (Swift links position-independent programs by itself), the table of functions read-only
# once it has started, guarded stacks in C, and no folder of its own (--disable-local-rpath) where shared
# libraries could be planted. scripts/check-binary.sh looks whether it is so. With the Swift runtime and
# OpenBLAS inside it needs neither where it runs, and has no symbols of theirs to look up at its start.
ifeq ($(shell uname),Linux)
RELEASE := -c release --static-swift-stdlib --disable-local-rpath \
	-Xcc -fstack-protector-strong \
	-Xlinker -z -Xlinker relro -Xlinker -z -Xlinker now -Xlinker -z -Xlinker noexecstack
archives build bench compare scaling: export PKG_CONFIG_PATH := $(CURDIR)/.build/archives:$(PKG_CONFIG_PATH)
else
RELEASE := -c release
endif

# What SHA256SUMS has to say, run in fixtures/: every data file, none left out.
SUMS := find configs data digits golden hf hf_double training -type f | LC_ALL=C sort | xargs sha256sum

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## Check for Swift 6.1 or newer, install missing Debian packages
	@scripts/setup.sh

archives: setup
	@scripts/archives.sh .build/archives

build: archives ## Release build; the command is .build/release/eval-cli
	swift build $(RELEASE) --product eval-cli
	@scripts/manual.sh .build/release/eval-cli .build/man

install: ## Install the command, without its symbols, manual and completions into PREFIX (/usr/local)
	@test -x .build/release/eval-cli -a -d .build/man || $(MAKE) --no-print-directory build
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/man/man1'
	install -m 644 .build/man/*.1 '$(DESTDIR)$(PREFIX)/share/man/man1'
	install -s -m 755 .build/release/eval-cli '$(DESTDIR)$(PREFIX)/bin/eval-cli'
	@scripts/completions.sh .build/release/eval-cli '$(DESTDIR)$(PREFIX)/share'

# What install makes, in one folder: bin and share, to be unpacked into any prefix.
dist: build ## A tarball of the installed command, for machines without Swift
	@scripts/dist.sh

demo: build ## Score one network at six stages of its training
	@scripts/demo.sh

study: build ## Train on the digits, score every stage, draw all figures into study/
	@scripts/setup.sh --figures
	@scripts/study.sh $(FOLDER)

study-language: build ## Train a small decoder on text, then LoRA; score both, into study-language/
	@scripts/study_language.sh $(FOLDER)

docs: setup ## The library's reference for a browser, into docs/
	swift build $(STRICT)
	@scripts/reference.sh .build/debug docs

test: ## Checksums of the fixtures, build without warnings, format, tests
	@scripts/setup.sh --figures
	cd fixtures && diff <($(SUMS)) SHA256SUMS
	swift build --build-tests $(STRICT)
	$(MAKE) --no-print-directory lint
	swift test $(STRICT)

simulate: setup ## Runs on a simulated disk that fails: RUNS=10000, one again by RUNS=1 SEED=N
	swift run -c release simulate $(or $(RUNS),10000) $(or $(SEED),0)

sanitize: setup ## Tests under AddressSanitizer, UndefinedBehaviorSanitizer (C) and ThreadSanitizer
	@scripts/sanitize.sh $(SANITIZERS)

fuzz: setup ## Feed every reader inputs made up for SECONDS each (60); TARGET=npz feeds one
	@scripts/fuzz.sh $(or $(SECONDS),60) $(TARGET)

lint: setup ## Check the format (swift format lint --strict) and the architecture
	@scripts/check-architecture.sh
	swift format lint --strict --parallel --recursive Package.swift Sources Tests Fuzzing Benchmarks/Package.swift Benchmarks/Sources Benchmarks/Benchmarks

# `swift run` has no --static-swift-stdlib: built first, run after.
BENCHMARK = swift build $(RELEASE) --package-path Benchmarks --product $(1) && Benchmarks/.build/release/$(1)

bench: archives ## Time the engine against the machine's matrix products
	$(call BENCHMARK,report) $(ARGUMENTS)

compare: build ## Time the whole evaluation, beside its peers with PEER_PYTHON=venv/bin/python
	$(call BENCHMARK,compare) $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON)) -o comparison $(ARGUMENTS)

scaling: build ## Time and memory against the sizes of a problem
	$(call BENCHMARK,scaling) $(ARGUMENTS)

checksums: ## Write fixtures/SHA256SUMS anew, after fixtures were meant to change
	cd fixtures && $(SUMS) > SHA256SUMS

#!/bin/sh
# The suite of references: how long each solver of the reference takes to a bracket of 1 %, and what it has
# proved, early and late in training, on networks that this script trains. For Documentation/references.md.
#
#   Benchmarks/reference-suite.sh [CLI...]     eval-cli of this build, or several to compare; the last is "after"
#   CASES='digits t5' SOLVERS='cg auto' BEFORE=auto PYTHON=python3 Benchmarks/reference-suite.sh
#   CASES=leading Benchmarks/reference-suite.sh        rows of leading classes and what they reach, for the page
#
# Data are made by a few lines of Python's standard library, from seeds. A row is the mean of several batches. For
# a solver it is the time of the command beyond that of the same command with --reference none, for "alg4" that of
# SGD, EF, iEF and SF without a reference; both with these four methods, so that what they share with the
# reference is counted once. Processor time on one thread, the least of ROUNDS runs, in milliseconds. A solver that
# would take SLOW seconds for all of them is measured on the first, and ended after LIMIT seconds.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
[ $# -gt 0 ] || set -- "$root/.build/release/eval-cli"
export GAP="${GAP:-0.01}" ROUNDS="${ROUNDS:-3}" CASES="${CASES:-all}" SLOW="${SLOW:-10}" LIMIT="${LIMIT:-40}"
WORK=${WORK:-$(mktemp -d)}
export WORK SOLVERS="${SOLVERS:-cg lsqr gram leading auto}" BEFORE="${BEFORE:-cg auto}"
mkdir -p "$WORK"
exec "${PYTHON:-python3}" "$root/Benchmarks/reference_suite.py" "$@"

#!/bin/sh
# The suite of references: how long each solver of the reference takes to a bracket of 1 %, and what it has
# proved, early and late in training, on networks that this script trains. For Documentation/references.md.
#
#   Benchmarks/reference-suite.sh [CLI...]     eval-cli of this build, or several to compare; the last is "after"
#   CASES='digits t5' PYTHON=python3 Benchmarks/reference-suite.sh
#
# Data are made by a few lines of Python's standard library, from seeds. A row is one batch: user and system
# time of the command beyond that of the same command with --reference none and --methods sgd, the least of
# ROUNDS runs, in milliseconds. "alg4" is that of the whole command with SGD, EF, iEF and SF and no reference.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
[ $# -gt 0 ] || set -- "$root/.build/release/eval-cli"
python=${PYTHON:-python3}
gap=${GAP:-0.01}
rounds=${ROUNDS:-3}
work=${WORK:-$(mktemp -d)}
mkdir -p "$work"
for cli; do :; done # the last one trains

echo "Bracket $gap, milliseconds of processor time for the reference of a batch (solver that auto took;"
echo "iterations, products alone; how far above the least gamma it is proved to be)."
echo
exec "$python" "$root/Benchmarks/reference_suite.py" "$work" "$gap" "$rounds" "${CASES:-all}" "$cli" "$@"

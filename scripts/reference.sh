#!/usr/bin/env bash
# Writes the reference of the library for a browser, by the docc of Swift's toolchain:
#
#   scripts/reference.sh BUILD-FOLDER FOLDER
set -euo pipefail

build=$1 folder=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$(dirname "${BASH_SOURCE[0]}")/symbols.sh" "$build" "$work"
rm -rf "$folder"
# A list of parameters names those that need words.
docc convert --additional-symbol-graph-dir "$work" --output-path "$folder" \
  --fallback-display-name ApproxEval --fallback-bundle-identifier approx-eval \
  --disable-parameters-and-returns-validation --transform-for-static-hosting
echo "written: $folder; to read it: python3 -m http.server -d $folder, then"
echo "http://localhost:8000/documentation/approxeval"

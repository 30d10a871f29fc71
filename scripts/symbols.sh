#!/usr/bin/env bash
# Writes the symbol graphs of the library's modules (JSON, a file for each with public symbols) from what
# a build has left:
#
#   scripts/symbols.sh BUILD-FOLDER FOLDER
set -euo pipefail

build=$1 folder=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(swift -print-target-info | sed -n 's/.*"unversionedTriple": "\(.*\)".*/\1/p')

# Where the compiler finds modules in C.
flags=(-I "$build/Modules")
for headers in "$root"/Sources/*/module.modulemap; do flags+=(-I "$(dirname "$headers")"); done
for map in "$build"/*.build/module.modulemap; do
  name=$(basename "$(dirname "$map")" .build)
  [ ! -d "$root/Sources/$name/include" ] ||
    flags+=(-Xcc "-fmodule-map-file=$map" -Xcc "-I$root/Sources/$name/include")
done

mkdir -p "$folder"
for sources in "$root"/Sources/*/; do
  module=$(basename "$sources")
  [ -f "$build/Modules/$module.swiftmodule" ] || continue
  swift symbolgraph-extract -module-name "$module" "${flags[@]}" -target "$target" \
    -minimum-access-level public -skip-synthesized-members -output-dir "$folder"
  # A module of the package's own use has nothing public.
  grep -q '"symbols":\[{' "$folder/$module.symbols.json" || rm "$folder/$module".symbols.json
done

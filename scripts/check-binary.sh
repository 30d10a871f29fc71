#!/usr/bin/env bash
# Whether the release build in folder $1 (and further copies of the command, such as the installed one)
# is as hard to exploit as the Makefile means it to be: it opens files that strangers made.
#
#   scripts/check-binary.sh .build/release [COMMAND...]
set -euo pipefail

folder=$1
failures=0

# Counts what does not hold: file, claim.
missing() {
  printf 'check-binary: %s: %s\n' "$1" "$2" >&2
  failures=$((failures + 1))
}

has() { grep -qE "$2" <<<"$1"; }

for command in "$folder/eval-cli" "${@:2}"; do
  header=$(LC_ALL=C readelf -hlW "$command")
  dynamic=$(LC_ALL=C readelf -dW "$command")
  symbols=$(LC_ALL=C readelf --dyn-syms -W "$command")
  has "$header" 'Type: +DYN' && has "$dynamic" 'FLAGS_1\).*\bPIE\b' ||
    missing "$command" "not position-independent: its code is always at the same addresses"
  has "$dynamic" '\(BIND_NOW\)|FLAGS\).*\bBIND_NOW\b|FLAGS_1\).*\bNOW\b' ||
    missing "$command" "no -z now: its table of functions stays writable"
  has "$header" '^ *GNU_RELRO ' || missing "$command" "no -z relro: its relocated data stay writable"
  has "$header" '^ *GNU_STACK .* RW +0x' || missing "$command" "its stack is executable"
  ! has "$header" '^ *LOAD .* RWE ' || missing "$command" "memory that is writable and executable"
  ! has "$dynamic" '\((RPATH|RUNPATH)\)' ||
    missing "$command" "looks for shared libraries where others may put theirs: $(grep -oE '(RPATH|RUNPATH).*' <<<"$dynamic")"
  ! has "$dynamic" '\(TEXTREL\)|FLAGS\).*\bTEXTREL\b' ||
    missing "$command" "its code is written to when it starts"
  has "$symbols" '__stack_chk_fail' || missing "$command" "no function has a stack protector"
  has "$symbols" '__memcpy_chk' || missing "$command" "no copy is checked against its buffer's size"
done

# In the command these names may come from OpenBLAS alone: our own C code has to ask for them too.
symbols=$(LC_ALL=C readelf -sW "$folder"/CKernels.build/*.o)
for name in __stack_chk_fail __memcpy_chk; do
  has "$symbols" " UND $name" || missing "$folder/CKernels.build" "no reference to $name"
done

[ "$failures" -eq 0 ] || exit 1

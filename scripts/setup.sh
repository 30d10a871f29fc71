#!/usr/bin/env bash
# Checks what the package needs, and installs the Debian packages that are missing.
# Says nothing when everything is there. With --figures also gnuplot, which building and scoring do
# not need, but drawing and the tests of drawing do.
set -euo pipefail

needed_swift=6.1
packages=(libopenblas-dev liblapacke-dev libzip-dev pkg-config perl-base)
programs=(perl)
if [ "${1:-}" = --figures ]; then
  packages+=(gnuplot-nox)
  programs+=(gnuplot)
fi

fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

# Whether version $1 is at least $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# MARK: Swift

command -v swift >/dev/null 2>&1 || fail \
  "there is no swift on the PATH; this package needs Swift $needed_swift or newer." \
  "Install it from https://www.swift.org/install/linux/ (swiftly, or a tarball whose usr/bin goes" \
  "on the PATH) and try again."

version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
[ -n "$version" ] || fail "swift is there, but 'swift --version' does not say which:" \
  "$(swift --version 2>&1 | head -n 3)"
at_least "$version" "$needed_swift" || fail \
  "swift $version is too old; this package needs $needed_swift or newer." \
  "Newer releases: https://www.swift.org/install/linux/"

# MARK: Libraries

# Whether the C libraries and programs can be used, however they were installed.
libraries_are_there() {
  local program
  for program in "${programs[@]}"; do
    command -v "$program" >/dev/null 2>&1 || return 1
  done
  command -v pkg-config >/dev/null 2>&1 || return 1
  pkg-config --exists openblas libzip || return 1
  printf '#include <cblas.h>\n#include <lapacke.h>\n#include <zip.h>\n' |
    ${CC:-clang} -fsyntax-only -x c $(pkg-config --cflags openblas libzip) - 2>/dev/null
}

# Whether Debian's packages are installed.
packages_are_there() {
  command -v dpkg-query >/dev/null 2>&1 || return 1
  local package
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -q '^installed$' || return 1
  done
}

packages_are_there && exit 0
libraries_are_there && exit 0

command -v apt-get >/dev/null 2>&1 || fail \
  "OpenBLAS (with LAPACKE), libzip, ${programs[*]:+${programs[*]}, }or pkg-config is missing, and" \
  "there is no apt-get to install it." \
  "On Debian and its relatives the packages are: ${packages[*]}." \
  "Elsewhere install their equivalents so that 'pkg-config --exists openblas libzip' succeeds${programs[*]:+ and ${programs[*]} is on the PATH}."

if [ "$(id -u)" = 0 ]; then
  root=()
elif command -v sudo >/dev/null 2>&1; then
  root=(sudo)
else
  fail "some of these packages are missing, and installing them needs root: ${packages[*]}." \
    "Run as root: apt-get update && apt-get install -y ${packages[*]}"
fi

echo "setup: installing ${packages[*]}" >&2
install() {
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${packages[@]}"
}
# A fresh machine has no package lists, an old one stale ones.
if ! install >/dev/null 2>&1; then
  "${root[@]}" apt-get update -q >&2 || fail "apt-get update failed; is there a network?"
  install >&2 || fail \
    "apt-get could not install the packages; its message is above." \
    "Install them by other means and try again: ${packages[*]}"
fi

#!/usr/bin/env bash
# Makes folder $1, from which pkg-config hands out OpenBLAS and LAPACKE as archives: a command with
# them inside has no twenty thousand symbols of shared libraries to look up when it starts. The
# folder stays empty, and the shared libraries are used, where there are no archives that link or a
# space in its path, at which flags are split.
set -euo pipefail

folder=$1
[ -d "$folder" ] && exit 0

compiler=${CC:-clang}
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# The Fortran runtime of LAPACK stays shared: its archive comes with a compiler that nobody needs here.
links() {
  local file found
  for file in libopenblas.a liblapacke.a libgfortran.so.5; do
    found=$($compiler -print-file-name="$file")
    [ -e "$found" ] || return 1
    ln -s "$(realpath "$found")" "$made/${file%.5}"
  done
}

can_be_linked() {
  printf '%s\n' '#include <cblas.h>' '#include <lapacke.h>' 'int main(void) {' \
    'double a = 1, w; return LAPACKE_dsyevd(102, 78, 76, cblas_idamax(1, &a, 1) + 1, &a, 1, &w); }' |
    $compiler -no-pie -x c - $(pkg-config --cflags openblas) -o "$made/program" \
      "-L$made" -llapacke -lopenblas -lgfortran -lm -lpthread 2>/dev/null && "$made/program"
}

# What pkg-config says of package $1, with other flags $2 for the linker.
description() {
  printf '%s\n' "Name: $1" "Description: $1 beside archives" "Version: $(pkg-config --modversion "$1")" \
    "Cflags: $(pkg-config --cflags "$1")" "Libs: $2"
}

mkdir -p "$folder"
if [[ $(realpath "$folder") != *[[:space:]]* ]] && links && can_be_linked; then
  rm "$made/program"
  mv "$made"/* "$folder"
  description openblas '-L${pcfiledir} -lopenblas -lgfortran' >"$folder/openblas.pc"
  # Without the folder of the system's libraries, which would be searched before this one.
  description libzip "$(pkg-config --libs libzip)" >"$folder/libzip.pc"
fi

#!/usr/bin/env bash
# Makes folder $1, from which pkg-config hands out OpenBLAS and LAPACKE as archives: a command with
# them inside has no twenty thousand symbols of shared libraries to look up when it starts. Where
# there are no archives that link there is no folder either, and the shared libraries are used.
set -euo pipefail

folder=$1
[ -e "$folder/libopenblas.a" ] && [ -e "$folder/openblas.pc" ] && exit 0
rm -rf "$folder"

# As it comes with Swift, where it is not on the PATH.
compiler=${CC:-$(command -v clang || echo "$(dirname "$(realpath "$(command -v swift)")")/clang")}
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

without() {
  printf 'archives: %s; the command will use the shared OpenBLAS\n' "$*" >&2
  exit 0
}

# At a space in a path pkg-config's flags are split.
case $(realpath -m "$folder") in *[[:space:]]*) without "a space in $(realpath -m "$folder")" ;; esac

# The Fortran runtime of LAPACK stays shared: its archive comes with a compiler that nobody needs here.
for file in \
  "$(pkg-config --variable=libdir openblas)/libopenblas.a" \
  "$("$compiler" -print-file-name=liblapacke.a)" "$("$compiler" -print-file-name=libgfortran.so.5)"; do
  [ -e "$file" ] || without "no $file"
  name=${file##*/}
  ln -s "$(realpath -s "$file")" "$made/${name%.5}"
done

printf '%s\n' '#include <cblas.h>' '#include <lapacke.h>' 'int main(void) {' \
  'double a = 1, w; return LAPACKE_dsyevd(102, 78, 76, cblas_idamax(1, &a, 1) + 1, &a, 1, &w); }' |
  "$compiler" -pie -x c - $(pkg-config --cflags openblas) -o "$made/program" \
    "-L$made" -llapacke -lopenblas -lgfortran -lm -lpthread 2>/dev/null && "$made/program" ||
  without "the archives of OpenBLAS and LAPACKE do not link"
rm "$made/program"

# What pkg-config says of package $1, with other flags $2 for the linker.
description() {
  printf '%s\n' "Name: $1" "Description: $1 beside archives" "Version: $(pkg-config --modversion "$1")" \
    "Cflags: $(pkg-config --cflags "$1")" "Libs: $2" >"$made/$1.pc"
}
# libzip without the folder of the system's libraries, which would be searched before this one.
description libzip "$(pkg-config --libs libzip)"
description openblas '-L${pcfiledir} -lopenblas -lgfortran'

mkdir -p "$folder"
mv "$made"/lib* "$folder"
mv "$made"/openblas.pc "$folder"

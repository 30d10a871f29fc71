#!/usr/bin/env bash
# Packs the release build as `make install` puts it: eval-cli-VERSION-SYSTEM.tar.gz, to be unpacked
# into a prefix. Debian needs libgfortran5 and libzip4 beside it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=eval-cli-$(.build/release/eval-cli --version)-$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
make --no-print-directory install DESTDIR="$folder/$name" PREFIX= >/dev/null
install -d "$folder/$name/share/doc/eval-cli"
cp -r README.md CHANGELOG.md Documentation "$folder/$name/share/doc/eval-cli"
tar -C "$folder" --owner=0 --group=0 --numeric-owner -czf "$name.tar.gz" "$name"
echo "written: $name.tar.gz"

#!/usr/bin/env bash
# Scores one network at six stages of its training, against the exact natural gradient. Needs the
# release build; `make demo` sees to that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

options=(--damping 1e-7 --reference dense)
echo "$ eval-cli score fixtures/digits/epoch-*.bin ${options[*]}"
.build/release/eval-cli score fixtures/digits/epoch-*.bin "${options[@]}"

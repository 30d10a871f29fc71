#!/usr/bin/env bash
# Scores one network at six stages of its training, against the exact natural gradient, and ends
# with the ratios side by side. Needs the release build; `make demo` sees to that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scores=$(mktemp)
trap 'rm -f "$scores"' EXIT

options=(--damping 1e-7 --reference dense)
echo "$ .build/release/eval-cli score fixtures/digits/epoch-*.bin ${options[*]}"
.build/release/eval-cli score fixtures/digits/epoch-*.bin "${options[@]}" --csv "$scores" --force

printf '\ngamma/gamma_SGD (below 1: better than plain gradient descent)\n\n'
awk -F, '
  NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
  {
    epoch = $column["epoch"]
    if (!(epoch in seen)) { seen[epoch]; order[++epochs] = epoch }
    ratio[epoch, $column["method"]] = $column["gamma_rel_sgd"]
  }
  END {
    methods = split("ef ief sf ng", method, " ")
    printf "epoch"; for (m = 1; m <= methods; m++) printf "%8s", method[m]; print ""
    for (e = 1; e <= epochs; e++) {
      printf "%5d", order[e]
      for (m = 1; m <= methods; m++) printf "%8.3f", ratio[order[e], method[m]]
      print ""
    }
  }' "$scores"

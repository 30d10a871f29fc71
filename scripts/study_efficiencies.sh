#!/usr/bin/env bash
# Prints the mean efficiency in per cent of every method of a folder of results, a column for each stage.
#
#   scripts/study_efficiencies.sh RESULTS
set -euo pipefail

awk -F, '
  { sub(/\r$/, "") }
  NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
  $column["role"] != "reference" {
    method = $column["method"]; epoch = $column["epoch"]
    if (!(epoch in known)) { known[epoch]; epochs[++stages] = epoch }
    if (!(method in seen)) { seen[method]; names[++count] = method }
    value[method, epoch] = $column["efficiency_mean"]
  }
  END {
    printf "%-20s", "epoch"
    for (s = 1; s <= stages; s++) printf " %7s", epochs[s]
    print ""
    for (m = 1; m <= count; m++) {
      printf "%-20s", names[m]
      for (s = 1; s <= stages; s++) {
        v = value[names[m], epochs[s]]
        printf " %7s", v == "" ? "" : sprintf("%.1f", 100 * v)
      }
      print ""
    }
  }' "$1/summary.csv"

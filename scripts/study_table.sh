#!/usr/bin/env bash
# Prints the two sides of E2 of a study: per optimiser the final training loss, and the mean ratio
# gamma/gamma_SGD of its direction at an epoch of the Adam run.
#
#   scripts/study_table.sh FOLDER EPOCH
set -euo pipefail

folder=$1 epoch=$2
printf '%-10s %12s %10s %16s\n' optimiser "final loss" accuracy gamma/gamma_SGD
for run in "$folder/adam" "$folder"/e2/*; do
  name=$(basename "$run")
  [ "$name" != indicators ] || continue
  ratio=$(awk -F, -v name="$name" -v epoch="$epoch" '
    { sub(/\r$/, "") }
    NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
    $column["method"] == name && $column["epoch"] == epoch { print $column["gamma_rel_sgd_mean"] }
    ' "$folder/e2/indicators/summary.csv")
  awk -F, -v name="$name" -v ratio="$ratio" '
    { sub(/\r$/, "") }
    NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
    { loss = $column["train_loss"]; accuracy = $column["train_accuracy"] }
    END {
      printf "%-10s %12.3g %10s %16s\n", name, loss,
        accuracy == "" ? "" : sprintf("%.1f %%", 100 * accuracy),
        ratio == "" ? "" : sprintf("%.3f", ratio)
    }' "$run/epochs.csv"
done | sort -k2g

#!/bin/sh
# The tables of Documentation/references.md: how many products each solver of the reference needs to
# come within 10 %, 1 % and 0.1 % of the least gamma, and in brackets how far above it the solve ends,
# on the cases under fixtures/.
# Counts are the same on every machine but for rounding; no clock has a part in them.
#
#   scripts/compare-references.sh [precision]        float32 (default) or float64
#   CASES='golden/mlp_tanh digits/epoch-40' scripts/compare-references.sh
set -eu
cd "$(dirname "$0")/.."
cli=.build/release/eval-cli
precision=${1:-float32}
tolerance=$([ "$precision" = float64 ] && echo 1e-9 || echo 1e-6)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A number of the metadata of a direction.
value() { head -c 20000 "$1" | tr ',{}' '\n\n\n' | sed -n "s/^\"$2\":\"\([^\"]*\)\"\$/\1/p"; }

# least gamma, trace, last gamma
cell() {
  awk -F, -v least="$1" -v last="$3" '
    NR > 1 {
      for (i = 1; i <= 3; i++) {
        if (!(i in first) && $5 <= least * (1 + 10 ^ -i)) first[i] = $3
      }
    }
    END {
      for (i = 1; i <= 3; i++) printf " %s", ((i in first) ? first[i] : "-")
      excess = 100 * (last / least - 1)
      printf " (%.1g %%) |", (excess > 0 ? excess : 0)
    }' "$2"
}

# name, checkpoint and options of one batch
compare() {
  name=$1
  shift
  "$cli" reference "$@" --reference dense --precision float64 --force -o "$work/dense.st" > /dev/null
  least=$(value "$work/dense.st" gamma)
  printf '| %s |' "$name"
  for solver in "cg none" "lsqr none" "cg jacobi" "cg sf"; do
    kind=${solver% *}
    preconditioner=${solver#* }
    "$cli" reference "$@" --reference "$kind" --cg-preconditioner "$preconditioner" \
      --precision "$precision" --cg-iterations 3000 --cg-gap 0 --cg-tolerance "$tolerance" \
      --force -o "$work/x.st" > /dev/null
    cell "$least" "$work/x.csv" "$(value "$work/x.st" gamma)"
  done
  "$cli" reference "$@" --reference gram --precision "$precision" --force -o "$work/x.st" > /dev/null
  awk -v least="$least" -v last="$(value "$work/x.st" gamma)" \
    'BEGIN { e = 100 * (last / least - 1); printf " (%.1g %%) |\n", (e > 0 ? e : 0) }'
}

echo "| case | cg | lsqr | cg, jacobi | cg, sf | gram |"
echo "| --- | --- | --- | --- | --- | --- |"
cases=$(cd fixtures && ls golden/*.bin digits/*.bin)
for name in ${CASES:-$cases hf/vit_lora hf/t5_lora hf/t5_prompt}; do
  case $name in
    hf/*)
      compare "$name" "fixtures/$name/base" --adapter "fixtures/$name/adapter" \
        --data "fixtures/$name/data.safetensors" --batch-size 4 ;;
    *) compare "${name%.bin}" "fixtures/${name%.bin}.bin" ;;
  esac
done

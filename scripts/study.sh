#!/usr/bin/env bash
# The worked study of Documentation/study.md, from random weights to figures:
#
#   scripts/study.sh [FOLDER]            the digits, into study/ or FOLDER
#   DATA=mine.npz MODEL=net.json scripts/study.sh mine/
#
# Without DATA and MODEL also every method on three networks, by study_methods.sh.
# DATA is an .npz or safetensors file with inputs and labels, MODEL the JSON description of a
# sequential model; EPOCHS, BATCHES (scored per checkpoint) and SEED may be set too. Needs the release
# build; `make study` sees to that. The folder must not exist: nothing is overwritten.
set -euo pipefail
# Only what is the checkout's own: the reader's files are where the reader is.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

folder=${1:-study}
data=${DATA:-$root/fixtures/digits/digits.safetensors}
model=${MODEL:-$root/fixtures/configs/digits-mlp.json}
epochs=${EPOCHS:-40}
batches=${BATCHES:-100}
seed=${SEED:-1337}
cli=$root/.build/release/eval-cli

if [ -e "$folder" ]; then
  printf 'study: %s exists already; remove it or name another folder\n' "$folder" >&2
  exit 73
fi

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

# The checkpoint of an epoch.
checkpoint() { printf '%s/adam/epoch-%0*d.bin' "$folder" "${#epochs}" "$1"; }

# Trains once more with another optimiser, for E2; its tables only matter.
rival() {
  local name=$1
  shift
  "$cli" train "$model" --data "$data" -o "$folder/e2/$name" --epochs "$epochs" --seed "$seed" \
    --optimizer "$name" --save-every "$epochs" --quiet "$@" >/dev/null
}

# Epochs are numbered with at least two digits.
[ "${#epochs}" -ge 2 ] || epochs=0$epochs
last=$((10#$epochs))

step "training with Adam: $last epochs"
"$cli" train "$model" --data "$data" -o "$folder/adam" --epochs "$last" --seed "$seed" \
  --optimizer adam --learning-rate 1e-3 --quiet >/dev/null

# Every other epoch, the first and the last.
stages=()
for ((e = 0; e < last; e += 2)); do stages+=("$(checkpoint "$e")"); done
stages+=("$(checkpoint "$last")")
# The start, the middle and the end, which are fewer in a short run.
ends=()
for e in $(printf '%d\n' 1 $((last / 2)) "$last" | sort -nu); do ends+=("$(checkpoint "$e")"); done
common=(--data "$data" --batches "$batches" --seed "$seed" --quiet)

step "E1: every method at near-zero damping, ${#stages[@]} checkpoints x $batches batches"
"$cli" score "${stages[@]}" "${common[@]}" --methods sgd,ef,ief,sf,kfac,ekfac,iekfac \
  --cg-iterations 1000 --cg-gap 0.01 --output "$folder/e1" >/dev/null

step "E3: dampings from 1e-9 to 1e3 at the start, in the middle and at the end"
"$cli" score "${ends[@]}" "${common[@]}" --methods sgd,ef,ief,sf \
  --damping 1e-9,1e-8,1e-7,1e-6,1e-5,1e-4,1e-3,1e-2,1e-1,1,1e1,1e2,1e3 --reference none \
  --output "$folder/e3" >/dev/null

step "F.2: conjugate gradients, and every parameter tensor on its own"
"$cli" score "${ends[@]}" --data "$data" --batches 1 --seed "$seed" --quiet \
  --methods sgd,ef,ief,sf --reference cg --cg-iterations 1000 --per-layer \
  --output "$folder/solver" >/dev/null

step "E2: SGD and exact EF, iEF and SF with steps of one length, so that directions alone differ"
for name in sgd ef ief sf; do
  rival "$name" --learning-rate 0.3 --schedule linear --normalize
done
# The indicators of these optimisers: of the batches that they see.
"$cli" score "${ends[@]}" "${common[@]}" --batch-size 32 --methods sgd,ef,ief,sf --reference none \
  --output "$folder/e2/indicators" >/dev/null

step "figures"
for results in e1 e3 solver; do
  # Without gnuplot (69) scripts and data are there all the same, and the message says what to do.
  "$cli" plot "$folder/$results" --quiet >/dev/null || [ $? -eq 69 ]
done
"$cli" report "$folder/e1" >/dev/null || [ $? -eq 69 ]

# The other networks are of the digits.
if [ -z "${DATA:-}${MODEL:-}" ]; then
  EPOCHS=$epochs BATCHES=$batches SEED=$seed "$root/scripts/study_methods.sh" "$folder/networks"
fi

step "E2: final training loss, and gamma/gamma_SGD with batches of 32 in the middle of the Adam run"
"$root/scripts/study_table.sh" "$folder" "$((last / 2))"
printf '\nfigures and tables: %s (%d s)\n' "$folder" "$SECONDS"

#!/usr/bin/env bash
# The second half of the worked study of Documentation/study.md: every method on an MLP, a CNN and a
# small transformer over their training on the digits, and what damping does to each.
#
#   scripts/study_methods.sh FOLDER
#
# EPOCHS, BATCHES and SEED as for study.sh, which runs this; of the batches a tenth of the MLP, fewer of the others,
# which take longer. BATCH_SIZE is that of all three. Needs the release build.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

folder=$1
epochs=${EPOCHS:-40}
seed=${SEED:-1337}
cli=$root/.build/release/eval-cli
digits=$root/fixtures/digits
last=$((10#$epochs))

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

# The digits as images [N, 1, 8, 8] under the name that a ViT gives its inputs: the same bytes under another header,
# which safetensors pads with spaces.
as_images() {
  perl -e '
    binmode STDIN; binmode STDOUT; local $/; my $file = <STDIN>;
    my $length = unpack "Q<", substr $file, 0, 8;
    my $header = substr $file, 8, $length;
    $header =~ s/"inputs"/"pixel_values"/ or die "no inputs\n";
    $header =~ s/\[1797,64\]/[1797,1,8,8]/ or die "no digits\n";
    $header =~ s/\s+\z//;
    $header .= " " x (-length($header) % 8);
    print pack("Q<", length $header), $header, substr $file, 8 + $length;
  ' <"$digits/digits.safetensors" >"$1"
}

# Stages of a training: the start, early, the first quarter and the end, as far as there are so many.
stages() {
  local e
  for e in $(printf '%d\n' 0 3 10 "$last" | awk -v last="$last" '$1 <= last' | sort -nu); do
    printf '%s/epoch-%0*d.bin\n' "$1" "$width" "$e"
  done
}

# What damping is swept at: the start, the middle and the end.
ends() {
  local e
  for e in $(printf '%d\n' 1 $((last / 2)) "$last" | sort -nu); do
    printf '%s/epoch-%0*d.bin\n' "$1" "$width" "$e"
  done
}

# So many per cent of all batches, one at the least.
share() { printf '%d' $(((${BATCHES:-100} * $1 + 99) / 100)); }

# Trains one network and scores it: NAME MODEL DATA, and the batches of a stage and of a stage of the sweep.
survey() {
  local name=$1 model=$2 data=$3 batches=$4 swept=$5
  "$cli" train "$model" --data "$data" -o "$folder/$name/run" --epochs "$last" --seed "$seed" \
    --optimizer adam --learning-rate 1e-3 --quiet >/dev/null
  local common=(--data "$data" --seed "$seed" --batch-size "${BATCH_SIZE:-160}" --quiet)
  step "$name: every method at near-zero damping, $batches batches a stage"
  "$cli" score $(stages "$folder/$name/run") "${common[@]}" --batches "$batches" --methods all \
    --output "$folder/$name/methods" >/dev/null
  step "$name: dampings, $swept batches a stage"
  "$cli" score $(ends "$folder/$name/run") "${common[@]}" --batches "$swept" --methods "$damped" \
    --damping 1e-7,1e-5,1e-3,1e-1,1e1 --output "$folder/$name/damping" >/dev/null
  for results in methods damping; do
    "$cli" plot "$folder/$name/$results" --quiet >/dev/null || [ $? -eq 69 ]
  done
}

[ "${#epochs}" -ge 2 ] || epochs=0$epochs
width=${#epochs}
damped=sgd,ef,ief,sf,kfac,ekfac,iekfac,evkfac,foof,soap,layer-ng,block-ng,layer-ef,layer-ief,layer-sf,diag-ng,diag-ef,diag-ief,adam

step "the digits table: one batch of 160 at epochs 0, 3, 10 and 40"
"$cli" score "$digits"/epoch-{00,03,10,40}.bin --reference gram --precision float64 --quiet \
  --methods sgd,layer-ng,kfac,kfac@exact,ekfac,evkfac,foof,soap,shampoo,shampoo@2,kl-shampoo,muon,muon@polar,sign,sophia \
  --output "$folder/digits" >/dev/null

mkdir -p "$folder/transformer"
as_images "$folder/transformer/images.safetensors"
"$cli" init "$root/fixtures/configs/digits-vit.json" -o "$folder/transformer/vit" --seed "$seed" >/dev/null

survey mlp "$root/fixtures/configs/digits-mlp.json" "$digits/digits.safetensors" "$(share 10)" "$(share 2)"
survey cnn "$root/fixtures/configs/digits-cnn.json" "$digits/digits.safetensors" "$(share 5)" "$(share 2)"
survey transformer "$folder/transformer/vit" "$folder/transformer/images.safetensors" "$(share 2)" \
  "$(share 1)"

step "efficiency in per cent: the digits table, then each network"
for results in digits mlp/methods cnn/methods transformer/methods; do
  printf '\n%s\n' "$results"
  "$root/scripts/study_efficiencies.sh" "$folder/$results"
done

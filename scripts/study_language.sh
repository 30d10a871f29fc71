#!/usr/bin/env bash
# The study of Documentation/language.md: a Llama of 21,664 weights learns the characters of the licences that
# every Debian has, then those of two others with LoRA; both runs are scored with the methods of today, once with
# sequences as samples and once with tokens.
#
#   scripts/study_language.sh [FOLDER]            into study-language/ or FOLDER
#   TEXT=mine.txt LORA_TEXT=other.txt scripts/study_language.sh mine/
#
# EPOCHS (10; with LoRA a fifth of them), BATCHES (4 a stage), BATCH_SIZE (8 sequences), SEQUENCES (2048) and SEED make it
# longer or shorter. Needs the release build, which `make study-language` sees to, and perl. The folder must not
# exist: nothing is overwritten.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

folder=${1:-study-language}
sequences=${SEQUENCES:-2048}
seed=${SEED:-1337}
cli=$root/.build/release/eval-cli
licences=/usr/share/common-licenses
config=$root/fixtures/configs/text-llama.json

if [ -e "$folder" ]; then
  printf 'study_language: %s exists already; remove it or name another folder\n' "$folder" >&2
  exit 73
fi
if [ -n "${TEXT:-}" ]; then text=("$TEXT"); else text=("$licences"/{Apache-2.0,GFDL-1.3,GPL-2,GPL-3,LGPL-2.1}); fi
if [ -n "${LORA_TEXT:-}" ]; then other=("$LORA_TEXT"); else other=("$licences"/MPL-{1.1,2.0}); fi
for file in "${text[@]}" "${other[@]}"; do
  if ! [ -r "$file" ]; then
    printf 'study_language: no %s here: name texts by TEXT and LORA_TEXT\n' "$file" >&2
    exit 66
  fi
done
mkdir -p "$folder"

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

# Printable characters as tokens 0 to 94, so many sequences of 32 that are spread over the text: input_ids and
# labels, which a decoder shifts by itself, in a file as safetensors has it.
tokens() {
  perl -e '
    use strict; binmode STDOUT; local $/;
    my ($length, $count) = splice @ARGV, 0, 2; my $text = join " ", <>;
    $text =~ s/\s+/ /g; $text =~ s/[^ -~]//g;
    my $all = int(length($text) / $length);
    die "study_language: $all sequences of text, $count are wanted\n" if $all < $count;
    my @ids = map { map { ord($_) - 32 } split //, substr $text, $length * int($_ * $all / $count), $length }
      0 .. $count - 1;
    my $bytes = 8 * @ids;
    my $header = sprintf
      q({"input_ids":{"dtype":"I64","shape":[%d,%d],"data_offsets":[0,%d]},) .
      q("labels":{"dtype":"I64","shape":[%d,%d],"data_offsets":[%d,%d]}}),
      $count, $length, $bytes, $count, $length, $bytes, 2 * $bytes;
    $header .= " " x (-length($header) % 8);
    print pack("Q<", length $header), $header, pack("q<*", @ids, @ids);
  ' 32 "$@"
}

# The parameters of a checkpoint as the model.safetensors of a folder: the same tensors without their prefix.
weights() {
  perl -e '
    use strict; binmode STDIN; binmode STDOUT; local $/; my $file = <STDIN>;
    my $length = unpack "Q<", substr $file, 0, 8;
    my ($header, $data) = (substr($file, 8, $length), substr($file, 8 + $length));
    my (@entries, $body); $body = "";
    while ($header =~ /"params\.([^"]+)":\{([^{}]*)"data_offsets":\[(\d+),(\d+)\]([^{}]*)\}/g) {
      push @entries, sprintf q("%s":{%s"data_offsets":[%d,%d]%s}), $1, $2, length($body),
        length($body) + $4 - $3, $5;
      $body .= substr $data, $3, $4 - $3;
    }
    my $new = "{" . join(",", @entries) . "}";
    $new .= " " x (-length($new) % 8);
    print pack("Q<", length $new), $new, $body;
  ' <"$1"
}

# The checkpoint of an epoch of so many, which are numbered with at least two digits: RUN EPOCH EPOCHS.
checkpoint() { printf '%s/epoch-%0*d.bin' "$1" "$((${#3} > 2 ? ${#3} : 2))" "$2"; }

# Scores some epochs of a run, the last of them named first, with sequences as samples and with tokens:
# NAME DATA LAST EPOCH...
survey() {
  local name=$1 data=$2 last=$3 sample e stages=()
  shift 2
  for e in $(printf '%d\n' "$@" | sort -nu); do
    stages+=("$(checkpoint "$folder/$name/run" "$e" "$last")")
  done
  for sample in sequence token; do
    step "$name: a sample is a $sample"
    # In double at once, where most of these batches end anyway.
    "$cli" score "${stages[@]}" --data "$data" --seed "$seed" --batch-size "${BATCH_SIZE:-8}" --batches "${BATCHES:-4}" \
      --sample "$sample" --reference cg --precision float64 \
      --methods sgd,ef,ief,sf,kfac,ekfac,foof,soap,shampoo,kl-shampoo,muon,adam,sign \
      --output "$folder/$name/$sample" --quiet >/dev/null
  done
}

last=$((10#${EPOCHS:-10}))
early=$((last < 3 ? last : 3))
lora_last=$(((last + 4) / 5))

step "a Llama with random weights, trained with Adam: $last epochs"
tokens "$sequences" "${text[@]}" >"$folder/text.safetensors"
"$cli" init "$config" -o "$folder/llama" --seed "$seed" >/dev/null
"$cli" train "$folder/llama" --data "$folder/text.safetensors" -o "$folder/full/run" --epochs "$last" \
  --seed "$seed" --optimizer adam --learning-rate 3e-3 --quiet >/dev/null
survey full "$folder/text.safetensors" "$last" 0 1 "$early"

step "LoRA of rank 4 on q and v, on what was learnt, another text: $lora_last epochs"
tokens "$((sequences / 2))" "${other[@]}" >"$folder/other.safetensors"
"$cli" init "$config" -o "$folder/tuned" --seed "$seed" --lora-rank 4 --lora-targets q_proj,v_proj >/dev/null
weights "$(checkpoint "$folder/full/run" "$last" "$last")" >"$folder/tuned/model.safetensors"
"$cli" train "$folder/tuned" --adapter "$folder/tuned/adapter" --data "$folder/other.safetensors" \
  -o "$folder/lora/run" --epochs "$lora_last" --seed "$seed" --optimizer adam --learning-rate 3e-3 \
  --quiet >/dev/null
survey lora "$folder/other.safetensors" "$lora_last" 0

step "efficiency in per cent of what conjugate gradients reach, mean over the batches"
for results in full/{sequence,token} lora/{sequence,token}; do
  printf '\n%s\n' "$results"
  "$root/scripts/study_efficiencies.sh" "$folder/$results"
done
printf '\nresults: %s (%d s)\n' "$folder" "$SECONDS"

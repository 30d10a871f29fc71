#!/usr/bin/env bash
# Runs every command in the code blocks of the documents, in the order in which they stand there, in a
# folder that has the checkout's files; each document begins with a fresh one. Commands that take long or
# need files of the reader's are listed below with what is run in their place. All others run as they are
# written: a new command that cannot is a failure, and so is a line of the list that no document has.
#
#   scripts/documented-commands.sh [DOCUMENT...]          needs the release build and gnuplot
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
all=(README.md CONTRIBUTING.md Documentation/*.md Benchmarks/README.md Benchmarks/peers/README.md)

declare -A replacement reason
instead() { replacement[$1]=$2; }
untried() { reason[$1]=$2; }

# Steps of the check itself.
untried 'make demo' 'a step of .ci/run'
untried 'make test' 'a step of .ci/run'
untried 'eval-cli score fixtures/digits/epoch-*.bin --damping 1e-7 --reference dense' \
  'make demo runs it'

# Into a folder of the check; and the command is on the PATH already.
instead 'make install PREFIX="$HOME/.local"' \
  "make -C '$root' install PREFIX=\"\$PWD/installed\" && installed/bin/eval-cli --version && rm -r installed"
untried 'export PATH="$HOME/.local/bin:$PATH"' 'the check has a PATH of its own'

# Files of the reader's.
instead 'eval-cli score checkpoint.bin' 'eval-cli score fixtures/golden/mlp_tanh.bin'
instead 'eval-cli score run/epoch-*.bin --data train.npz --batches 100 --output results/' \
  'eval-cli score fixtures/digits/epoch-*.bin --data fixtures/digits/digits.safetensors --batches 2 --output long/ && rm -r long'
instead 'eval-cli score run/epoch-*.bin --data train.npz --damping 1e-7,1e-5,1e-3,1e-1 --output results/' \
  'eval-cli score fixtures/digits/epoch-*.bin --data fixtures/digits/digits.safetensors --damping 1e-7,1e-5,1e-3,1e-1 --batches 2 --output results/'
digits='fixtures/digits/epoch-0[01].bin --data fixtures/digits/digits.safetensors --batch-size 16'
instead 'eval-cli score run/epoch-*.bin --data train.npz --output results/' \
  "eval-cli score $digits --batches 1 --output results/"
instead 'eval-cli score --model t5-base/ run/checkpoint-*/ --data sst2.safetensors --optimizer-state auto' \
  'mkdir -p run && cp -r fixtures/hf/t5_lora/adapter run/checkpoint-5 &&
   cp fixtures/data/optimizer/t5_lora.pt run/checkpoint-5/optimizer.pt &&
   eval-cli score --model fixtures/hf/t5_lora/base run/checkpoint-*/ --data fixtures/hf/t5_lora/data.safetensors --batch-size 4 --batches 1 --optimizer-state auto'
instead "eval-cli score run/epoch-*.bin --optimizer-state 'run/adam-{epoch}.pt'" \
  "cp fixtures/data/optimizer/checkpoint.bin epoch-01.bin && cp fixtures/data/optimizer/checkpoint.bin epoch-02.bin &&
   mkdir -p run && mv epoch-0[12].bin run && cp fixtures/data/optimizer/adam.pt run/adam-01.pt &&
   cp fixtures/data/optimizer/adam.pt run/adam-2.pt && eval-cli score run/epoch-*.bin --optimizer-state 'run/adam-{epoch}.pt'"
for part in 1 2; do
  instead "eval-cli score run/epoch-*.bin --data train.npz --batches 100 --memory 8GB --shard $part/2 --output parts/$part" \
    "eval-cli score $digits --batches 2 --memory 8GB --shard $part/2 --output parts/$part"
done
instead 'eval-cli merge parts/* -o results/' 'eval-cli merge parts/* -o whole/ && rm -r whole'
instead 'eval-cli report adam/ sgd/ -o both.html' \
  "eval-cli score $digits --batches 1 --output adam/ && eval-cli score $digits --batches 1 --output sgd/ &&
   eval-cli report adam/ sgd/ -o both.html && rm both.html"
instead 'eval-cli plot adam/ sgd/ -o figures/' 'eval-cli plot adam/ sgd/ -o figures/ && rm -r figures'
instead 'eval-cli diff adam/ sgd/ --tolerance 1e-3' \
  'eval-cli diff adam/ sgd/ --tolerance 1e-3 && rm -r adam sgd parts run'
instead 'eval-cli diff expected/ now/ --tolerance 1e-6' \
  'eval-cli diff expected/ now/ --tolerance 1e-6 && rm -r expected now'
instead 'gnuplot damping.gp' '(cd results/figures && gnuplot damping.gp)'
t5='fixtures/hf/t5_lora/base --adapter fixtures/hf/t5_lora/adapter --data fixtures/hf/t5_lora/data.safetensors'
instead 'eval-cli inspect t5-base/ --adapter run/epoch-11 --data sst2.safetensors --batch-size 160' \
  "eval-cli inspect $t5 --batch-size 4"
instead 'eval-cli score t5-base/ --adapter run/epoch-11 --data sst2.safetensors --batch-size 160 --batches 10 --output results/' \
  "eval-cli score $t5 --batch-size 4 --batches 1 --output results/"
instead 'eval-cli score --model t5-base/ run/checkpoint-*/ --data sst2.safetensors --optimizer-state auto --output training/' \
  'mkdir run && cp -r fixtures/hf/t5_lora/adapter run/checkpoint-5 &&
   cp fixtures/data/optimizer/t5_lora.pt run/checkpoint-5/optimizer.pt &&
   eval-cli score --model fixtures/hf/t5_lora/base run/checkpoint-*/ --data fixtures/hf/t5_lora/data.safetensors --batch-size 4 --batches 1 --optimizer-state auto --output training/ &&
   rm -r run training'
instead 'eval-cli score t5-base/ --adapter run/epoch-11 --data sst2.safetensors --optimizer-state run/epoch-11/optimizer.pt' \
  'eval-cli score fixtures/data/optimizer/checkpoint.bin --optimizer-state fixtures/data/optimizer/adam.pt'
instead 'eval-cli inspect base/ --adapter run/checkpoint-300/ --data batches.npz --batch-size 16' \
  'eval-cli inspect fixtures/hf_double/llama_longrope/base --adapter fixtures/hf_double/llama_longrope/adapter --data fixtures/hf_double/llama_longrope/data.safetensors --batch-size 2'
instead 'eval-cli score --model base/ run/checkpoint-*/ --data batches.npz --batch-size 16 --batches 10 --optimizer-state auto --output scores/' \
  'mkdir run && cp -r fixtures/hf_double/llama_longrope/adapter run/checkpoint-300 &&
   eval-cli score --model fixtures/hf_double/llama_longrope/base run/checkpoint-*/ --data fixtures/hf_double/llama_longrope/data.safetensors --batch-size 2 --batches 1 --output scores/ && rm -r run'
instead 'eval-cli report scores/' 'eval-cli report scores/ && rm -r scores'
prompt=fixtures/hf/t5_prompt
instead 'eval-cli train t5-base/ --adapter prompt/ --data sst2.safetensors -o ief/ --recipe t5-prompt-tuning --epochs 20' \
  "eval-cli train $prompt/base --adapter $prompt/adapter --data $prompt/data.safetensors -o ief/ --recipe t5-prompt-tuning --epochs 2 && rm -r ief"
instead 'eval-cli train t5-base/ --adapter lora/ --data sst2.safetensors -o adamw/ --recipe t5-lora --optimizer adamw --epochs 20' \
  "eval-cli train $t5 -o adamw/ --recipe t5-lora --optimizer adamw --epochs 2 && rm -r adamw"
network=fixtures/golden/exported/mlp_core_aten
instead 'eval-cli score --model net.pt2 run/epoch-*.pt --data train.npz' \
  "eval-cli score --model $network/model.pt2 $network/weights.pt --data $network/data.npz"
instead 'eval-cli inspect net.pt2 --data train.npz' \
  "eval-cli inspect $network/model.pt2 --data $network/data.npz"
instead 'eval-cli inspect net.pt2 --data train.npz --against logits.npz' \
  "eval-cli inspect $network/model.pt2 --data $network/data.npz --against $network/logits.npz"
instead 'eval-cli score tagger.pt2 --data tagged.npz --batch-size 20 --batches 2' \
  "eval-cli score $network/model.pt2 --data $network/data.npz --batch-size 4 --batches 2"
instead 'eval-cli inspect lora.pt2 --data lora.npz' \
  "eval-cli inspect $network/model.pt2 --data $network/data.npz"
instead 'eval-cli score lora.pt2 --data lora.npz --batch-size 32 --batches 2' \
  "eval-cli score $network/model.pt2 --data $network/data.npz --batch-size 4 --batches 2"
instead 'eval-cli score --model net.pt2 before.pt --data batch.npz --batch-size 64 --batches 1 --updates step.safetensors' \
  "eval-cli reference $network/weights.pt --model $network/model.pt2 --data $network/data.npz --batch-size 4 -o step.safetensors &&
   eval-cli score --model $network/model.pt2 $network/weights.pt --data $network/data.npz --batch-size 4 --batches 1 --updates step.safetensors &&
   rm step.*"
instead 'eval-cli prune cnn/epoch-20.bin --data fixtures/digits/digits.safetensors --sparsity 0.5,0.7,0.8,0.9 --update joint --damping rel:1e-5,rel:1e-3,rel:1e-2,rel:0.1,rel:10' \
  'eval-cli prune cnn/epoch-20.bin --data fixtures/digits/digits.safetensors --sparsity 0.5,0.9 --update joint --damping rel:1e-5,rel:1e-2 --batch-size 200'
instead 'DATA=mine.npz MODEL=net.json scripts/study.sh mine/' \
  'cp fixtures/digits/digits.safetensors mine.npz && cp fixtures/configs/digits-mlp.json net.json &&
   DATA=mine.npz MODEL=net.json EPOCHS=1 BATCHES=1 scripts/study.sh mine/'

# Minutes.
instead 'make study-language' "make -C '$root' study-language EPOCHS=1 BATCHES=1 BATCH_SIZE=4 SEQUENCES=128 FOLDER=\"\$PWD/short\" && rm -r short"
instead 'TEXT=mine.txt LORA_TEXT=other.txt scripts/study_language.sh mine/' \
  'cp /usr/share/common-licenses/GPL-3 mine.txt && cp /usr/share/common-licenses/MPL-2.0 other.txt &&
   TEXT=mine.txt LORA_TEXT=other.txt EPOCHS=1 BATCHES=1 BATCH_SIZE=2 SEQUENCES=128 scripts/study_language.sh mine/ && rm -r mine mine.txt other.txt'
instead 'make study' "make -C '$root' study EPOCHS=4 BATCHES=2 BATCH_SIZE=16 FOLDER=\"\$PWD/short\""
instead 'eval-cli score study/adam/epoch-?[02468].bin --data fixtures/digits/digits.safetensors --batches 100 --cg-iterations 1000 --cg-gap 0.01 --output study/e1' \
  'eval-cli score study/adam/epoch-?[02468].bin --data fixtures/digits/digits.safetensors --batches 1 --cg-iterations 1000 --cg-gap 0.01 --output study/e1'
instead 'eval-cli score study/adam/epoch-{01,20,40}.bin --data fixtures/digits/digits.safetensors --batches 100 --damping 1e-9,...,1e3 --reference none --output study/e3' \
  'eval-cli score study/adam/epoch-{01,20,40}.bin --data fixtures/digits/digits.safetensors --batches 2 --damping 1e-9,1,1e3 --reference none --output study/e3'
instead 'scripts/compare-references.sh' 'CASES=hf/vit_lora scripts/compare-references.sh'
instead 'scripts/compare-references.sh float64' 'CASES=golden/toy_logistic scripts/compare-references.sh float64'
instead 'make bench' "make -C '$root' bench ARGUMENTS='--only W2 --rounds 1'"
instead "make bench ARGUMENTS='--only W1 --step jvp --rounds 30'" \
  "make -C '$root' bench ARGUMENTS='--only W1 --step jvp --rounds 2'"
instead 'make scaling' "make -C '$root' scaling ARGUMENTS='--only Positions --rounds 1'"
untried "cd Benchmarks && swift package benchmark --filter 'W1 .*'" \
  'builds everything once more with flags of its own; make bench runs the same steps'

# Python packages of some gigabytes; what is ours of the comparison is run without them.
instead 'make compare PEER_PYTHON=venv/bin/python' \
  "make -C '$root' compare ARGUMENTS=\"--workloads W2 --tasks fvp,alg4 --rounds 1 -o \$PWD/comparison\""
untried 'python3 -m venv venv' 'for the packages of the next line'
untried 'venv/bin/pip install torch transformers peft curvlinops-for-pytorch backpack-for-pytorch jax scipy' \
  'gigabytes'
untried 'venv/bin/python Benchmarks/peers/run_peers.py --workload W1 --task fvp --variant authors' \
  'needs these packages'

# The commands of a document, one a line: of code blocks without a language all lines, or those behind
# "$ " where a block shows what is printed; continued lines joined, comments left out.
commands() {
  awk '
    function flush(  i) {
      for (i = 1; i <= count; i++)
        if (!prompts || sub(/^\$ /, "", line[i])) print line[i]
      count = prompts = 0
    }
    /^ *```/ { if (inside) { inside = 0; flush() } else { inside = 1; plain = $0 ~ /^ *```$/ }; next }
    !inside || !plain || /^ *$/ { next }
    {
      sub(/^ +/, ""); sub(/ +#.*$/, "")
      if (/^\$ /) prompts = 1
      if (open) line[count] = line[count] " " $0; else line[++count] = $0
      open = sub(/ *\\$/, "", line[count])
    }' "$1"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PATH="$root/.build/release:$PATH"
failures=0
declare -A met

for document in "${@:-${all[@]}}"; do
  folder=$work/${document//\//-}
  mkdir "$folder"
  ln -s "$root"/{.build,fixtures,scripts} "$folder"
  while IFS= read -r command; do
    met[$command]=1
    if [ -n "${reason[$command]:-}" ]; then
      printf '   not run: %s (%s)\n' "$command" "${reason[$command]}"
      continue
    fi
    printf '%s: %s\n' "$document" "${replacement[$command]:-$command}"
    before=$SECONDS
    if ! (cd "$folder" && eval "${replacement[$command]:-$command}") >"$work/log" 2>&1 </dev/null; then
      printf 'documented-commands: %s: this fails: %s\n' "$document" "$command" >&2
      tail -n 20 "$work/log" >&2
      failures=$((failures + 1))
    fi
    [ $((SECONDS - before)) -lt 5 ] || printf '   %d s\n' $((SECONDS - before))
  done < <(commands "$document")
  # What a reader who follows the document gets into the checkout.
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    for file in "$folder"/*; do
      name=${file##*/}
      [ ! -d "$file" ] || name=$name/
      if ! [ -L "$file" ] && ! git check-ignore -q "$name"; then
        printf 'documented-commands: %s: its commands leave %s, which .gitignore has not\n' \
          "$document" "$name" >&2
        failures=$((failures + 1))
      fi
    done
  fi
done

if [ $# -eq 0 ]; then
  for command in "${!replacement[@]}" "${!reason[@]}"; do
    if [ -z "${met[$command]:-}" ]; then
      printf 'documented-commands: no document has this any more: %s\n' "$command" >&2
      failures=$((failures + 1))
    fi
  done
fi
[ "$failures" -eq 0 ] || exit 1

#!/usr/bin/env bash
# Feeds every reader for so many seconds: scripts/fuzz.sh SECONDS [READER]. See Fuzzing/README.md.
# With EXECUTIONS=1000000 a reader stops, or is left out, at so many of them in the log of all runs; with
# PROGRAM=a program that was built before, nothing is built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:?seconds for each reader}
only=${2:-}
work=.build/fuzzing-work
program=${PROGRAM:-.build/fuzzing/release/fuzz}

[ -n "${PROGRAM:-}" ] ||
  APPROX_EVAL_FUZZING=1 swift build -c release --scratch-path .build/fuzzing --product fuzz

# Files of inputs are written in memory, where the system has a place for that.
TMPDIR=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
# What the Swift runtime keeps for ever is no leak; short memories make it twice as fast.
export ASAN_OPTIONS=detect_leaks=0:malloc_context_size=2:quarantine_size_mb=16
# The report of a crash is AddressSanitizer's or libFuzzer's.
export SWIFT_BACKTRACE=enable=no
# One thread: what an input does must not depend on others.
export OPENBLAS_NUM_THREADS=1

mkdir -p "$work/findings"
touch "$work/executions.log"
"$program" seeds fixtures "$work/seeds"
failed=()
for reader in $("$program" readers); do
  [ -z "$only" ] || [ "$reader" = "$only" ] || continue
  limit=()
  if [ -n "${EXECUTIONS:-}" ]; then
    so_far=$(awk -v reader="$reader" '$2 == reader { sum += $3 } END { print sum + 0 }' \
      "$work/executions.log")
    [ "$so_far" -lt "$EXECUTIONS" ] || continue
    limit=("-runs=$((EXECUTIONS - so_far))")
  fi
  mkdir -p "$work/corpus/$reader"
  corpora=("$work/corpus/$reader" "$work/seeds/$reader")
  # Inputs that once found something, and others worth to begin with.
  [ ! -d "Fuzzing/corpus/$reader" ] || corpora+=("Fuzzing/corpus/$reader")
  log=$work/$reader.log
  printf 'fuzz: %s, %s s: ' "$reader" "$seconds"
  status=0
  # The program itself looks at the 5 s of its processor; the timeout ends what has no end.
  nice -n ${NICE:-19} "$program" "$reader" -max_total_time="$seconds" "${limit[@]}" \
    -dict="Fuzzing/dictionaries/${reader%%-*}.dict" -timeout=100 -report_slow_units=100 -rss_limit_mb=2048 \
    -malloc_limit_mb=512 -max_len=8192 -print_final_stats=1 \
    -artifact_prefix="$work/findings/$reader-" "${corpora[@]}" >"$log" 2>&1 || status=$?
  count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  echo "$(date -u +%FT%TZ) $reader ${count:-0} $status" >>"$work/executions.log"
  echo "${count:-no} executions"
  if [ $status -ne 0 ]; then
    grep -E -m 3 'ERROR: |SUMMARY: |Fatal error|ALARM' "$log" || tail -n 3 "$log"
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    echo "  replay: ASAN_OPTIONS=detect_leaks=0 SWIFT_BACKTRACE=enable=no $program $reader ${input:-(no input was kept, see $log)}"
    failed+=("$reader")
  fi
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "fuzz: findings in ${failed[*]}; the logs are in $work" >&2
  exit 1
fi

#!/usr/bin/env bash
# Builds the tests with a sanitizer each and runs those that it has something to say about:
#
#   scripts/sanitize.sh [address] [thread]        both without arguments
#
# address: memory that is read or written out of bounds or too late, in Swift and C; in C also undefined
# behaviour (UndefinedBehaviorSanitizer). thread: memory that two threads use at once. FILTER, a regular
# expression over names of tests, takes the place of the ones chosen here; FILTER=. is all of them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

run() {
  local sanitizer=$1 filter=${FILTER:-$2}
  shift 2
  # Builds of their own, beside .build: every file differs.
  swift test --sanitize="$sanitizer" --scratch-path ".build-$sanitizer" "$@" --filter "$filter"
}

for sanitizer in ${@:-address thread}; do
  case $sanitizer in
    address)
      # Not leaks: what Swift's runtime keeps for good looks like them.
      ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
        run address '^(TensorModule|Checkpoints|GraphModule|Models|Curvature|Updates)Tests\.' \
        -Xcc -fsanitize=undefined -Xcc -fno-sanitize-recover=undefined ;;
    thread)
      TSAN_OPTIONS=halt_on_error=1 \
        run thread 'WorkerPoolTests|DeterminismTests|VectorOperationsTests|[tT]hreads' ;;
  esac
done

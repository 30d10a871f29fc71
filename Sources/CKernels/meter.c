// Counts of the work handed to BLAS. Every thread adds to a block of its own, so that counting
// costs a few nanoseconds and no thread waits for another; blocks are kept when threads end.

#include <stdatomic.h>
#include <stdlib.h>

#include "ckernels.h"

typedef struct block {
  _Atomic uint64_t operations;
  _Atomic uint64_t bytes;
  struct block *next;
} block;

static _Atomic(block *) blocks;
static _Thread_local block *own;

static block *make_block(void) {
  block *made = calloc(1, sizeof(block));
  if (!made) abort();
  made->next = atomic_load(&blocks);
  while (!atomic_compare_exchange_weak(&blocks, &made->next, made)) {
  }
  return made;
}

// One writer each: no read-modify-write is needed.
static void add(_Atomic uint64_t *total, uint64_t amount) {
  uint64_t before = atomic_load_explicit(total, memory_order_relaxed);
  atomic_store_explicit(total, before + amount, memory_order_relaxed);
}

void ck_meter_add(uint64_t operations, uint64_t bytes) {
  if (!own) own = make_block();
  add(&own->operations, operations);
  add(&own->bytes, bytes);
}

void ck_meter_read(uint64_t *operations, uint64_t *bytes) {
  *operations = *bytes = 0;
  for (block *b = atomic_load(&blocks); b; b = b->next) {
    *operations += atomic_load_explicit(&b->operations, memory_order_relaxed);
    *bytes += atomic_load_explicit(&b->bytes, memory_order_relaxed);
  }
}

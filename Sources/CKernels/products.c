// Products on processors with 512-bit registers, for a few hundred rows of activations and a large
// weight, and for Gram matrices. OpenBLAS brings the whole weight into an order of its own in every
// call, which at these heights is a tenth of the time; here it is read where it is.
//
// One factor runs along the vectors, as panels [depth][two vectors] of packed memory; elements of the
// other are broadcast from where they are. A tile is two vectors by 12, 24 sums in registers.
#include "tiles.h"

#if defined(__x86_64__)

#include <pthread.h>
#include <stdlib.h>

#define TILE 12       // broadcast elements for each of them
#define DEPTH 768     // of a panel
#define DEEPEST 1024  // of the last one
#define BLOCK 192     // rows of x that are packed at a time: half of a second-level cache
#define AHEAD 24      // rows of a weight that are fetched beforehand while it is packed
// Bytes between rows that push each other out of the first-level cache, as all meet in one set of it.
#define ALIASES(bytes) ((bytes) % 4096 == 0)
#define APART 1040    // from one copied row to the next

// A panel that is left with a quarter of the depth writes its sums for little work; the one before it
// takes that over. Parts of a sum that are cut at multiples of twice the depth have the same panels.
static inline size_t depth_of_panel(size_t left) { return left <= DEEPEST ? left : DEPTH; }

// Of so many rows or columns, how many are packed at a time: whole panels, and about as many each time.
static inline size_t block_of_panels(size_t count, size_t depth, size_t width) {
  size_t most = depth > DEPTH ? BLOCK * DEPTH / DEEPEST / PANEL : BLOCK / PANEL;
  size_t panels = (count + width - 1) / width, blocks = (panels + most - 1) / most;
  return (panels + blocks - 1) / blocks * width;
}

// What the following tile reads, to be fetched meanwhile: where its first stream is, or NULL, bytes from
// one stream to the next, and bytes of an element.
typedef struct {
  const char *first;
  size_t apart, size;
} ahead;

// MARK: Memory for panels

// One buffer for each thread that multiplies, from its first product to its end. As a thread-local
// array every thread of the process would pay for all of it when it starts.
static pthread_key_t buffer_key;

static void make_buffer_key(void) {
  if (pthread_key_create(&buffer_key, free) != 0) abort();
}

static void *own_buffer(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_buffer_key);
  void *own = pthread_getspecific(buffer_key);
  if (!own) {
    own = aligned_alloc(64, BLOCK * DEPTH * sizeof(float) + TILE * APART * sizeof(double));
    if (!own || pthread_setspecific(buffer_key, own) != 0) abort();
  }
  return own;
}

#include "real_f32.inc"
#define WIDTH (2 * LANES)
#include "products.inc"
#include "stored_own.inc"
#include "by_columns.inc"
#include "stored_end.inc"
#include "stored_bf16.inc"
#include "packing.inc"
#include "by_columns.inc"
#include "stored_end.inc"
#include "stored_f16.inc"
#include "packing.inc"
#include "by_columns.inc"
#include "stored_end.inc"
#undef WIDTH
#include "real_end.inc"

#include "real_f64.inc"
#define WIDTH (2 * LANES)
#include "products.inc"
#include "stored_own.inc"
#include "by_columns.inc"
#include "stored_end.inc"
#include "stored_bf16.inc"
#include "packing.inc"
#include "by_columns.inc"
#include "stored_end.inc"
#include "stored_f16.inc"
#include "packing.inc"
#include "by_columns.inc"
#include "stored_end.inc"
#undef WIDTH
#include "real_end.inc"

// MARK: y = x x^T, in double

WIDE static void symmetric_product(size_t n, size_t k, double alpha, const double *x, size_t ldx,
                                   double beta, double *y, size_t ldy) {
  double *packed = own_buffer();
  const size_t width = 16;  // of a panel
  for (size_t c = 0, depth; c < k; c += depth) {
    depth = depth_of_panel(k - c);
    double old = c == 0 ? beta : 1;
    for (size_t j = 0; j < n; j += width) {
      size_t columns = n - j < width ? n - j : width;
      pack_columns_f64(1, x, ldx, c, depth, j, columns, packed);
      panels_of_columns_f64(j, n, columns, depth, packed, x + c, ldx, NULL, alpha, old, y + j, ldy);
    }
  }
}

// MARK: y = x w^T: panels of rows of x

CK_INLINE void panels_of_rows(const int columns, size_t rows, size_t depth, const float *packed,
                              const float *w, size_t ldw, ahead next, float alpha, float beta,
                              float *y, size_t ldy) {
  f32x16 low[TILE], high[TILE];
  for (size_t r = 0; r < rows; r += PANEL) {
    size_t count = rows - r < PANEL ? rows - r : PANEL;
    const float *panel = packed + r * depth;
    float *to = y + r * ldy;
    if (r > 0) next.first = NULL;
    if (count > 16) {
      sum_tile_f32(columns, 2, depth, panel, w, ldw, next, low, high);
      store_columns(low, columns, 16, alpha, beta, to, ldy);
      store_columns(high, columns, count - 16, alpha, beta, to + 16 * ldy, ldy);
    } else {
      sum_tile_f32(columns, 1, depth, panel, w, ldw, next, low, high);
      store_columns(low, columns, count, alpha, beta, to, ldy);
    }
  }
}

#include "real_f32.inc"
#include "stored_own.inc"
#include "by_rows.inc"
#include "stored_end.inc"
#include "stored_bf16.inc"
#include "by_rows.inc"
#include "stored_end.inc"
#include "stored_f16.inc"
#include "by_rows.inc"
#include "stored_end.inc"
#include "real_end.inc"

int ck_has_product(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

// Of two factors whose elements follow each other along the sum, the smaller one is packed. The same
// choice for every kind of weight: results have the same bits.
#define SINGLE(kind)                                                                        \
  do {                                                                                      \
    if (transposed && n > m) {                                                              \
      product_by_rows##kind##_f32(m, n, k, (float)alpha, x, ldx, w, ldw, (float)beta, y, ldy); \
    } else {                                                                                \
      product_by_columns##kind##_f32(transposed, m, n, k, (float)alpha, x, ldx, w, ldw,     \
                                     (float)beta, y, ldy);                                  \
    }                                                                                       \
  } while (0)

void ck_product(int transposed, size_t m, size_t n, size_t k, float alpha, const float *x,
                size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy) {
  SINGLE();
}

void ck_product_double(int transposed, size_t m, size_t n, size_t k, double alpha, const double *x,
                       size_t ldx, const double *w, size_t ldw, double beta, double *y,
                       size_t ldy) {
  product_by_columns_f64(transposed, m, n, k, alpha, x, ldx, w, ldw, beta, y, ldy);
}

void ck_product_stored(ck_dtype t, ck_source stored, int transposed, size_t m, size_t n, size_t k,
                       double alpha, const void *x, size_t ldx, const void *w, size_t ldw,
                       double beta, void *y, size_t ldy) {
  if (t == CK_F32 && stored == CK_SOURCE_BF16) {
    SINGLE(_bf16);
  } else if (t == CK_F32) {
    SINGLE(_f16);
  } else if (stored == CK_SOURCE_BF16) {
    product_by_columns_bf16_f64(transposed, m, n, k, alpha, x, ldx, w, ldw, beta, y, ldy);
  } else {
    product_by_columns_f16_f64(transposed, m, n, k, alpha, x, ldx, w, ldw, beta, y, ldy);
  }
}

void ck_symmetric_product(size_t n, size_t k, double alpha, const double *x, size_t ldx,
                          double beta, double *y, size_t ldy) {
  symmetric_product(n, k, alpha, x, ldx, beta, y, ldy);
}

#else

int ck_has_product(void) { return 0; }

void ck_product(int transposed, size_t m, size_t n, size_t k, float alpha, const float *x,
                size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy) {
  __builtin_trap();
}

void ck_product_double(int transposed, size_t m, size_t n, size_t k, double alpha, const double *x,
                       size_t ldx, const double *w, size_t ldw, double beta, double *y,
                       size_t ldy) {
  __builtin_trap();
}

void ck_product_stored(ck_dtype t, ck_source stored, int transposed, size_t m, size_t n, size_t k,
                       double alpha, const void *x, size_t ldx, const void *w, size_t ldw,
                       double beta, void *y, size_t ldy) {
  __builtin_trap();
}

void ck_symmetric_product(size_t n, size_t k, double alpha, const double *x, size_t ldx,
                          double beta, double *y, size_t ldy) {
  __builtin_trap();
}

#endif

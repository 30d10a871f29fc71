// Products of single precision on processors with 512-bit registers, for a few hundred rows of
// activations and a large weight. OpenBLAS brings the whole weight into an order of its own in every
// call, which at these heights is a tenth of the time; here it is read where it is.
//
// One factor runs along the vectors, as panels [depth][32] of packed memory; elements of the other
// are broadcast from where they are. A tile is 32 by 12, 24 sums in registers.
#include "tiles.h"

#if defined(__x86_64__)

#define TILE 12    // broadcast elements for each of them
#define DEPTH 768  // of a panel
#define BLOCK 192  // rows of x that are packed at a time: half of a second-level cache
#define AHEAD 24   // rows of a weight that are fetched beforehand while it is packed

static _Thread_local float packed[BLOCK * DEPTH] __attribute__((aligned(64)));

// Sums over a panel for `count` streams of broadcast elements, `stride` apart, 1 from step to step.
// `next` is the stream that the following tile reads, to be fetched meanwhile, or NULL.
CK_INLINE void sum_tile(const int count, const int vectors, size_t depth, const float *panel,
                        const float *w, size_t stride, const float *next, f32x16 *low,
                        f32x16 *high) {
  UNROLL
  for (int j = 0; j < count; j++) low[j] = high[j] = 0;
  for (size_t c = 0; c < depth; c++) {
    f32x16 a = *(const f32x16 *)(panel + c * PANEL);
    f32x16 b = vectors > 1 ? *(const f32x16 *)(panel + c * PANEL + 16) : a;
    if (next && c % 16 == 0) {
      UNROLL
      for (int j = 0; j < count; j++) __builtin_prefetch(next + c + (size_t)j * stride);
    }
    UNROLL
    for (int j = 0; j < count; j++) {
      float f = w[c + (size_t)j * stride];
      low[j] += a * f;
      if (vectors > 1) high[j] += b * f;
    }
  }
}

// MARK: y = x w^T: panels of rows of x

CK_INLINE void panels_of_rows(const int columns, size_t rows, size_t depth, const float *w,
                              size_t ldw, const float *next, float alpha, float beta, float *y,
                              size_t ldy) {
  f32x16 low[TILE], high[TILE];
  for (size_t r = 0; r < rows; r += PANEL) {
    size_t count = rows - r < PANEL ? rows - r : PANEL;
    const float *panel = packed + r * depth, *ahead = r == 0 ? next : NULL;
    float *to = y + r * ldy;
    if (count > 16) {
      sum_tile(columns, 2, depth, panel, w, ldw, ahead, low, high);
      store_columns(low, columns, 16, alpha, beta, to, ldy);
      store_columns(high, columns, count - 16, alpha, beta, to + 16 * ldy, ldy);
    } else {
      sum_tile(columns, 1, depth, panel, w, ldw, ahead, low, high);
      store_columns(low, columns, count, alpha, beta, to, ldy);
    }
  }
}

WIDE static void product_by_rows(size_t m, size_t n, size_t k, float alpha, const float *x,
                                 size_t ldx, const float *w, size_t ldw, float beta, float *y,
                                 size_t ldy) {
  size_t blocks = (m + BLOCK - 1) / BLOCK;
  // Whole panels, and about as many in each block.
  size_t block = ((m + blocks - 1) / blocks + PANEL - 1) / PANEL * PANEL;
  for (size_t c = 0; c < k; c += DEPTH) {
    size_t depth = k - c < DEPTH ? k - c : DEPTH;
    float old = c == 0 ? beta : 1;
    for (size_t r = 0; r < m; r += block) {
      size_t rows = m - r < block ? m - r : block;
      pack_rows(x + r * ldx + c, ldx, rows, depth, packed);
      for (size_t j = 0; j < n;) {
        const float *from = w + j * ldw + c;
        float *to = y + r * ldy + j;
        if (n - j >= TILE) {
          const float *next = n - j >= 2 * TILE ? from + TILE * ldw : NULL;
          panels_of_rows(TILE, rows, depth, from, ldw, next, alpha, old, to, ldy);
          j += TILE;
        } else if (n - j >= 4) {
          panels_of_rows(4, rows, depth, from, ldw, NULL, alpha, old, to, ldy);
          j += 4;
        } else {
          panels_of_rows(1, rows, depth, from, ldw, NULL, alpha, old, to, ldy);
          j += 1;
        }
      }
    }
  }
}

// MARK: y = x op(w): panels of columns of op(w)

// The sums of a whole tile of rows, and of the first panel [depth, 32] of w, which is packed
// meanwhile: copying it alone would wait for memory.
CK_INLINE void sum_tile_packing(size_t depth, const float *w, size_t ldw, const float *x,
                                size_t stride, f32x16 *low, f32x16 *high) {
  UNROLL
  for (int i = 0; i < TILE; i++) low[i] = high[i] = 0;
  for (size_t c = 0; c < depth; c++) {
    const float *row = w + c * ldw;
    f32x16 a = *(const f32x16_u *)row;
    f32x16 b = *(const f32x16_u *)(row + 16);
    __builtin_prefetch(row + AHEAD * ldw);
    __builtin_prefetch(row + AHEAD * ldw + 16);
    *(f32x16 *)(packed + c * PANEL) = a;
    *(f32x16 *)(packed + c * PANEL + 16) = b;
    UNROLL
    for (int i = 0; i < TILE; i++) {
      float f = x[c + (size_t)i * stride];
      low[i] += a * f;
      high[i] += b * f;
    }
  }
}

CK_INLINE void store_rows(const f32x16 *low, const f32x16 *high, const int rows, size_t columns,
                          float alpha, float beta, float *y, size_t ldy) {
  UNROLL
  for (int i = 0; i < rows; i++) {
    float *row = y + (size_t)i * ldy;
    if (columns == PANEL) {
      store_row(&low[i], 16, alpha, beta, row);
      store_row(&high[i], 16, alpha, beta, row + 16);
    } else {
      store_row(&low[i], columns < 16 ? columns : 16, alpha, beta, row);
      if (columns > 16) store_row(&high[i], columns - 16, alpha, beta, row + 16);
    }
  }
}

CK_INLINE void rows_of_panel(const int rows, size_t columns, size_t depth, const float *x,
                             size_t ldx, const float *next, float alpha, float beta, float *y,
                             size_t ldy) {
  f32x16 low[TILE], high[TILE];
  sum_tile(rows, 2, depth, packed, x, ldx, next, low, high);
  store_rows(low, high, rows, columns, alpha, beta, y, ldy);
}

// Columns [j, j + columns) of rows [c, c + depth) of op(w), as a panel.
// A function of its own: within another one its copies became calls.
WIDE static __attribute__((noinline)) void pack_columns(int transposed, const float *w, size_t ldw,
                                                        size_t c, size_t depth, size_t j,
                                                        size_t columns) {
  if (transposed) {
    pack_rows(w + j * ldw + c, ldw, columns, depth, packed);
    return;
  }
  for (size_t i = 0; i < depth; i++) {
    const float *from = w + (c + i) * ldw + j;
    f32x16 *to = (f32x16 *)(packed + i * PANEL);
    if (columns == PANEL) {
      to[0] = *(const f32x16_u *)from;
      to[1] = *(const f32x16_u *)(from + 16);
    } else {
      to[0] = to[1] = 0;
      memcpy(to, from, columns * sizeof(float));
    }
  }
}

WIDE static void product_by_columns(int transposed, size_t m, size_t n, size_t k, float alpha,
                                    const float *x, size_t ldx, const float *w, size_t ldw,
                                    float beta, float *y, size_t ldy) {
  for (size_t c = 0; c < k; c += DEPTH) {
    size_t depth = k - c < DEPTH ? k - c : DEPTH;
    float old = c == 0 ? beta : 1;
    for (size_t j = 0; j < n; j += PANEL) {
      size_t columns = n - j < PANEL ? n - j : PANEL;
      size_t r = 0;
      if (!transposed && columns == PANEL && m >= TILE) {
        f32x16 low[TILE], high[TILE];
        sum_tile_packing(depth, w + c * ldw + j, ldw, x + c, ldx, low, high);
        store_rows(low, high, TILE, PANEL, alpha, old, y + j, ldy);
        r = TILE;
      } else {
        pack_columns(transposed, w, ldw, c, depth, j, columns);
      }
      while (r < m) {
        const float *from = x + r * ldx + c;
        float *to = y + r * ldy + j;
        if (m - r >= TILE) {
          const float *next = m - r >= 2 * TILE ? from + TILE * ldx : NULL;
          rows_of_panel(TILE, columns, depth, from, ldx, next, alpha, old, to, ldy);
          r += TILE;
        } else if (m - r >= 4) {
          rows_of_panel(4, columns, depth, from, ldx, NULL, alpha, old, to, ldy);
          r += 4;
        } else {
          rows_of_panel(1, columns, depth, from, ldx, NULL, alpha, old, to, ldy);
          r += 1;
        }
      }
    }
  }
}

int ck_has_product(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

void ck_product(int transposed, size_t m, size_t n, size_t k, float alpha, const float *x,
                size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy) {
  // Of two factors whose elements follow each other along the sum, the smaller one is packed.
  if (transposed && n > m) {
    product_by_rows(m, n, k, alpha, x, ldx, w, ldw, beta, y, ldy);
  } else {
    product_by_columns(transposed, m, n, k, alpha, x, ldx, w, ldw, beta, y, ldy);
  }
}

#else

int ck_has_product(void) { return 0; }

void ck_product(int transposed, size_t m, size_t n, size_t k, float alpha, const float *x,
                size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy) {
  __builtin_trap();
}

#endif

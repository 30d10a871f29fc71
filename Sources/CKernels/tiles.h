// What products on 512-bit registers share: panels, tiles and their stores.
//
// A panel is [depth][two vectors] of packed memory: one factor, along the vectors. Elements of the
// other are broadcast.
#ifndef CK_TILES_H
#define CK_TILES_H

#include "stored.h"

#define PANEL 32  // of single precision

#define WIDE __attribute__((target("arch=x86-64-v4"), min_vector_width(512)))
#define SHUFFLE __builtin_shufflevector
#define UNROLL _Pragma("clang loop unroll(full)")

// 16 x 16 elements, in place: vectors exchange ever larger parts.
CK_INLINE void transpose_f32(f32x16 *v) {
  f32x16 t[16];
  UNROLL
  for (int i = 0; i < 16; i += 2) {
    t[i] = SHUFFLE(v[i], v[i + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
    t[i + 1] = SHUFFLE(v[i], v[i + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
  }
  UNROLL
  for (int i = 0; i < 16; i += 4) {
    UNROLL
    for (int j = i; j < i + 2; j++) {
      v[j] = SHUFFLE(t[j], t[j + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      v[j + 2] = SHUFFLE(t[j], t[j + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
  }
  UNROLL
  for (int i = 0; i < 16; i += 8) {
    UNROLL
    for (int j = i; j < i + 4; j++) {
      t[j] = SHUFFLE(v[j], v[j + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
      t[j + 4] = SHUFFLE(v[j], v[j + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    }
  }
  UNROLL
  for (int j = 0; j < 8; j++) {
    v[j] = SHUFFLE(t[j], t[j + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    v[j + 8] = SHUFFLE(t[j], t[j + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
}

// 8 x 8 doubles, in place, likewise.
CK_INLINE void transpose_f64(f64x8 *v) {
  f64x8 t[8];
  UNROLL
  for (int i = 0; i < 8; i += 2) {
    t[i] = SHUFFLE(v[i], v[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    t[i + 1] = SHUFFLE(v[i], v[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  UNROLL
  for (int i = 0; i < 8; i += 4) {
    UNROLL
    for (int j = i; j < i + 2; j++) {
      v[j] = SHUFFLE(t[j], t[j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      v[j + 2] = SHUFFLE(t[j], t[j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  UNROLL
  for (int j = 0; j < 4; j++) {
    t[j] = SHUFFLE(v[j], v[j + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    t[j + 4] = SHUFFLE(v[j], v[j + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  UNROLL
  for (int j = 0; j < 8; j++) v[j] = t[j];
}

#include "real_f32.inc"
#include "tiles.inc"
#include "stored_own.inc"
#include "packing.inc"
#include "stored_end.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "tiles.inc"
#include "stored_own.inc"
#include "packing.inc"
#include "stored_end.inc"
#include "real_end.inc"

// A tile of y from sums by columns.
CK_INLINE void store_columns(const f32x16 *sums, const int columns, size_t rows, float alpha,
                             float beta, float *y, size_t ldy) {
  f32x16 v[16];
  UNROLL
  for (int j = 0; j < 16; j++) v[j] = j < columns ? sums[j] : (f32x16)(0.0f);
  transpose_f32(v);
  for (size_t i = 0; i < rows; i++) {
    store_row_f32(&v[i], (size_t)columns, alpha, beta, y + i * ldy);
  }
}

#endif

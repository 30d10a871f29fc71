// A few rows times a large matrix. The time is that of reading the matrix once, which a general
// product spends three times: it packs the matrix first.
#include "stored.h"

// Transposed: rows of x and of the weight at a time, 24 sums in registers.
#define ROWS 6
#define OUT 4
// Columns of the weight at a time, rows of the weight at a time, rows of x at a time.
#define STRIP 1024
#define STEP 8
#define GROUP 16

#include "real_f32.inc"
#include "stored_own.inc"
#include "few_rows.inc"
#include "stored_end.inc"
#include "stored_bf16.inc"
#include "few_rows.inc"
#include "stored_end.inc"
#include "stored_f16.inc"
#include "few_rows.inc"
#include "stored_end.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "stored_own.inc"
#include "few_rows.inc"
#include "stored_end.inc"
#include "stored_bf16.inc"
#include "few_rows.inc"
#include "stored_end.inc"
#include "stored_f16.inc"
#include "few_rows.inc"
#include "stored_end.inc"
#include "real_end.inc"

void ck_few_rows(ck_dtype t, int transposed, size_t m, size_t n, size_t k, double alpha,
                 const void *x, size_t ldx, const void *w, size_t ldw, double beta, void *y,
                 size_t ldy) {
  if (transposed) {
    CK_DISPATCH(t, few_rows_transposed, m, n, k, alpha, x, ldx, w, ldw, beta, y, ldy);
  } else {
    CK_DISPATCH(t, few_rows, m, n, k, alpha, x, ldx, w, ldw, beta, y, ldy);
  }
}

void ck_few_rows_stored(ck_dtype t, ck_source stored, int transposed, size_t m, size_t n, size_t k,
                        double alpha, const void *x, size_t ldx, const void *w, size_t ldw,
                        double beta, void *y, size_t ldy) {
  if (stored == CK_SOURCE_BF16) {
    if (transposed) {
      CK_DISPATCH_BF16(t, few_rows_transposed, m, n, k, alpha, x, ldx, w, ldw, beta, y, ldy);
    } else {
      CK_DISPATCH_BF16(t, few_rows, m, n, k, alpha, x, ldx, w, ldw, beta, y, ldy);
    }
  } else if (transposed) {
    CK_DISPATCH_F16(t, few_rows_transposed, m, n, k, alpha, x, ldx, w, ldw, beta, y, ldy);
  } else {
    CK_DISPATCH_F16(t, few_rows, m, n, k, alpha, x, ldx, w, ldw, beta, y, ldy);
  }
}

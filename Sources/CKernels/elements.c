// Element-wise functions that are seldom what a network spends its time in: one element at a time by
// the functions of libm, their derivatives beside them. Rows of softmax's logarithm and of extremes.
#include <tgmath.h>
// That of complex numbers; here it is a vector of integers.
#undef I

#include "lanes.h"

#include "real_f32.inc"
#include "elements.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "elements.inc"
#include "real_end.inc"

void ck_apply(ck_dtype t, ck_function f, double p, double q, const void *x, void *y, void *dydx,
              size_t n) {
  CK_DISPATCH(t, apply, f, p, q, x, y, dydx, n);
}

void ck_log_softmax(ck_dtype t, size_t rows, size_t columns, const void *x, void *y) {
  CK_DISPATCH(t, log_softmax, rows, columns, x, y);
}

void ck_row_extremes(ck_dtype t, int maximum, size_t rows, size_t columns, const void *x, void *y,
                     void *shares) {
  CK_DISPATCH(t, row_extremes, maximum, rows, columns, x, y, shares);
}

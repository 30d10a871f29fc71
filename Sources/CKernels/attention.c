// Softmax over rows of attention scores, and its derivative.
#include "coefficients.h"
#include "lanes.h"

#include "real_f32.inc"
#include "functions.inc"
#include "attention.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "functions.inc"
#include "attention.inc"
#include "real_end.inc"

void ck_softmax(ck_dtype t, const void *bias, const int32_t *mask, size_t rows, size_t columns,
                void *scores) {
  CK_DISPATCH(t, softmax, bias, mask, rows, columns, scores);
}

void ck_softmax_derivative(ck_dtype t, const void *p, size_t rows, size_t columns, double scale,
                           void *x) {
  CK_DISPATCH(t, softmax_derivative, p, rows, columns, scale, x);
}

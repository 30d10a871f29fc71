// Loops over the rows of a matrix [rows, columns].
#include "lanes.h"

#define STRIP 1024

#include "real_f32.inc"
#include "rows.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "rows.inc"
#include "real_end.inc"

void ck_add_to_rows(ck_dtype t, const void *bias, void *y, size_t rows, size_t columns) {
  CK_DISPATCH(t, add_to_rows, bias, y, rows, columns);
}

void ck_multiply_rows(ck_dtype t, const void *y, const void *scale, void *out, size_t rows,
                      size_t columns, int accumulate) {
  CK_DISPATCH(t, multiply_rows, y, scale, out, rows, columns, accumulate);
}

void ck_sum_rows(ck_dtype t, const void *y, size_t rows, size_t columns, void *out,
                 int accumulate) {
  CK_DISPATCH(t, sum_rows, y, rows, columns, out, accumulate);
}

void ck_sum_product_rows(ck_dtype t, const void *a, const void *b, size_t rows, size_t columns,
                         void *out, int accumulate) {
  CK_DISPATCH(t, sum_product_rows, a, b, rows, columns, out, accumulate);
}

void ck_scale_rows(ck_dtype t, const double *weight, size_t group, const void *y, size_t rows,
                   size_t columns, void *out) {
  CK_DISPATCH(t, scale_rows, weight, group, y, rows, columns, out);
}

size_t ck_unlike_multiple(ck_dtype t, double factor, const void *a, const void *b, size_t n,
                          size_t most, int32_t *places) {
  return t == CK_F32 ? unlike_multiple_f32((float)factor, a, b, n, most, places)
                     : unlike_multiple_f64(factor, a, b, n, most, places);
}

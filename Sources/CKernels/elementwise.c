// Plain loops over one, two or three arrays; the compiler vectorises them.
#include "lanes.h"

#include "real_f32.inc"
#include "elementwise.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "elementwise.inc"
#include "real_end.inc"

void ck_multiply(ck_dtype t, const void *a, const void *b, void *out, size_t n, int accumulate) {
  CK_DISPATCH(t, multiply, a, b, out, n, accumulate);
}

void ck_add(ck_dtype t, const void *a, const void *b, void *out, size_t n) {
  CK_DISPATCH(t, add, a, b, out, n);
}

void ck_axpby(ck_dtype t, double a, const void *x, double b, void *y, size_t n) {
  CK_DISPATCH(t, axpby, a, x, b, y, n);
}

void ck_add_rounded(ck_dtype t, const double *x, void *y, size_t n) {
  CK_DISPATCH(t, add_rounded, x, y, n);
}

void ck_fill(ck_dtype t, double value, void *x, size_t n) { CK_DISPATCH(t, fill, value, x, n); }

size_t ck_first_nonfinite(ck_dtype t, const void *x, size_t n) {
  return t == CK_F32 ? first_nonfinite_f32(x, n) : first_nonfinite_f64(x, n);
}

double ck_largest(ck_dtype t, const void *x, size_t n) {
  return t == CK_F32 ? largest_f32(x, n) : largest_f64(x, n);
}

// Layer, group and RMS norm, and their symmetric derivative. Two passes: a variance from sums of
// squares would cancel when the mean is large.
#include "lanes.h"

#include "real_f32.inc"
#include "normalization.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "normalization.inc"
#include "real_end.inc"

void ck_normalize(ck_dtype t, const ck_normalization *s, const void *x, void *xhat, double *rstd) {
  CK_DISPATCH(t, normalize, s, x, xhat, rstd);
}

void ck_normalize_derivative(ck_dtype t, const ck_normalization *s, const void *xhat,
                             const double *rstd, const void *dx, void *out, int accumulate) {
  CK_DISPATCH(t, normalize_derivative, s, xhat, rstd, dx, out, accumulate);
}

// Inner products of long vectors, in double: fixed lanes inside a block, blocks added pairwise.
#include "lanes.h"

#define BLOCK 4096

#include "real_f32.inc"
#include "vectors.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "vectors.inc"
#include "real_end.inc"

double ck_dot(ck_dtype t, const void *x, const void *y, size_t n) {
  return t == CK_F32 ? dot_f32(x, y, n) : dot_f64(x, y, n);
}

void ck_conjugate_gradient_step(ck_dtype t, double alpha, const void *v, const void *w, void *x,
                                void *r, const void *g, size_t n, double sums[3]) {
  CK_DISPATCH(t, conjugate_gradient_step, alpha, v, w, x, r, g, n, sums);
}

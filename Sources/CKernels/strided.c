// Products and sums over axes of arrays whose elements are any strides apart: broadcasting,
// transposition, slices and reductions are all this one loop.
#include "lanes.h"

#include "real_f32.inc"
#include "strided.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "strided.inc"
#include "real_end.inc"

void ck_contract(ck_dtype t, const ck_strides *s, double alpha, const void *a, const void *b,
                 const int32_t *gate, int open, void *out, int accumulate) {
  CK_DISPATCH(t, contract, s, alpha, a, b, gate, open, out, accumulate);
}

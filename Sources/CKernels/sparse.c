// Products of a constant sparse matrix, one row after the other.
#include "lanes.h"

#include "real_f32.inc"
#include "sparse.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "sparse.inc"
#include "real_end.inc"

void ck_sparse_product(ck_dtype t, const int32_t *starts, const int32_t *indices,
                       const double *weights, size_t rows, size_t columns, const void *x,
                       size_t items, size_t inner, void *out, int accumulate) {
  CK_DISPATCH(t, sparse_product, starts, indices, weights, rows, columns, x, items, inner, out,
              accumulate);
}

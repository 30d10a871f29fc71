// Products of the Kronecker product of constant sparse matrices, one row after the other.
#include "lanes.h"

#include "real_f32.inc"
#include "sparse.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "sparse.inc"
#include "real_end.inc"

void ck_sparse_product(ck_dtype t, const ptrdiff_t *row_counts, const int32_t *starts,
                       const ptrdiff_t *row_offsets, const ptrdiff_t *entry_offsets,
                       const double *weights, size_t rows, size_t columns, const void *x,
                       size_t items, size_t inner, void *out, int accumulate) {
  CK_DISPATCH(t, sparse_product, row_counts, starts, row_offsets, entry_offsets, weights, rows,
              columns, x, items, inner, out, accumulate);
}

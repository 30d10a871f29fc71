// Products of the Kronecker product of constant sparse matrices, one row after the other.
#include "lanes.h"

#define RUNS 8  // of rows that are copied at a time

// Where runs of rows end that have one entry each and lie side by side, as their entries do: of a rotation
// of heads, of what is rolled or padded. Returns how many there are; 0 for other rows, and for more runs.
static size_t find_runs(ptrdiff_t rows, const int32_t *starts, const ptrdiff_t *row_offsets,
                        const ptrdiff_t *entry_offsets, ptrdiff_t *ends) {
  size_t runs = 0;
  for (ptrdiff_t k = 0; k < rows; k++) {
    if (starts[k + 1] != k + 1) return 0;
    if (k == 0 || row_offsets[k] != row_offsets[k - 1] + 1 ||
        entry_offsets[k] != entry_offsets[k - 1] + 1) {
      if (runs == RUNS) return 0;
      runs++;
    }
    ends[runs - 1] = k + 1;
  }
  return runs;
}

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

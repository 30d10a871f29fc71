// Windows over channels-last images: a run of channels is contiguous, and so is a whole row of an
// undilated, ungrouped window, which is the fast path.
#include "lanes.h"

#define STRIP 256

typedef struct {
  size_t first, last;
} ck_range;

// Place in the image of tap k of output o. Left of the image it wraps to a huge number, so that
// one comparison with the extent tells both sides.
CK_INLINE size_t ck_source_index(size_t o, size_t k, size_t stride, size_t padding,
                                 size_t dilation) {
  return o * stride + k * dilation - padding;
}

// The taps of output o that fall into the image: they are contiguous.
CK_INLINE ck_range ck_inside(size_t o, size_t stride, size_t padding, size_t dilation,
                             size_t taps, size_t extent) {
  ck_range range = {0, taps};
  while (range.first < taps &&
         ck_source_index(o, range.first, stride, padding, dilation) >= extent) {
    range.first++;
  }
  while (range.last > range.first &&
         ck_source_index(o, range.last - 1, stride, padding, dilation) >= extent) {
    range.last--;
  }
  return range;
}

#include "real_f32.inc"
#include "windows.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "windows.inc"
#include "real_end.inc"

void ck_unfold(ck_dtype t, const ck_window *w, const void *image, void *rows) {
  CK_DISPATCH(t, unfold, w, image, rows);
}

void ck_fold(ck_dtype t, const ck_window *w, const void *rows, void *image) {
  CK_DISPATCH(t, fold, w, rows, image);
}

void ck_max_pool(ck_dtype t, const ck_window *w, const void *image, void *out, int32_t *index) {
  CK_DISPATCH(t, max_pool, w, image, out, index);
}

void ck_average_pool(ck_dtype t, const ck_window *w, const void *image, void *out) {
  CK_DISPATCH(t, average_pool, w, image, out);
}

void ck_average_pool_transpose(ck_dtype t, const ck_window *w, const void *out, void *image) {
  CK_DISPATCH(t, average_pool_transpose, w, out, image);
}

void ck_gather(ck_dtype t, const void *x, const int32_t *index, void *out, size_t n) {
  CK_DISPATCH(t, gather, x, index, out, n);
}

void ck_scatter_add(ck_dtype t, const void *out, const int32_t *index, void *x, size_t n) {
  CK_DISPATCH(t, scatter_add, out, index, x, n);
}

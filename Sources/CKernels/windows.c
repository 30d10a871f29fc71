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

// The product of some sizes, 0 if one is 0 or if there are 2^31 numbers or more.
static uint64_t product(const size_t *sizes, size_t count) {
  uint64_t numbers = 1;
  for (size_t i = 0; i < count; i++) {
    if (sizes[i] > INT32_MAX) return 0;
    numbers *= sizes[i];
    if (numbers > INT32_MAX) return 0;
  }
  return numbers;
}

// One axis: sizes of 31 bits, the padding at most the kernel with its dilation, and the outputs that
// follow. Every product of two sizes fits into 62 bits.
static int is_sound_axis(uint64_t size, uint64_t kernel, uint64_t stride, uint64_t padding,
                         uint64_t dilation, uint64_t out) {
  const uint64_t bound = INT32_MAX;
  if (size - 1 >= bound || kernel - 1 >= bound || stride - 1 >= bound || dilation - 1 >= bound) {
    return 0;
  }
  uint64_t extent = (kernel - 1) * dilation + 1;
  if (extent > bound || padding > extent || extent > size + 2 * padding) return 0;
  return out == (size + 2 * padding - extent) / stride + 1;
}

int ck_window_is_sound(const ck_window *w) {
  if (!is_sound_axis(w->height, w->kernel_height, w->stride_height, w->padding_height,
                     w->dilation_height, w->out_height) ||
      !is_sound_axis(w->width, w->kernel_width, w->stride_width, w->padding_width,
                     w->dilation_width, w->out_width)) {
    return 0;
  }
  if (w->channels == 0 || w->groups == 0 || w->channels % w->groups != 0) return 0;
  size_t padded[] = {w->height + 2 * w->padding_height, w->width + 2 * w->padding_width,
                     w->channels};
  size_t rows[] = {w->out_height, w->out_width, w->kernel_height, w->kernel_width, w->channels};
  return product(padded, 3) > 0 && product(rows, 5) > 0;
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

void ck_gather(ck_dtype t, const void *x, const int32_t *index, void *out, int accumulate,
               size_t n) {
  CK_DISPATCH(t, gather, x, index, out, accumulate, n);
}

void ck_scatter_add(ck_dtype t, const void *out, const int32_t *index, void *x, size_t n) {
  CK_DISPATCH(t, scatter_add, out, index, x, n);
}

void ck_places(const int32_t *index, const int32_t *first, int32_t stride, int32_t *places,
               size_t n) {
  for (size_t i = 0; i < n; i++) places[i] = first[i] + stride * index[i];
}

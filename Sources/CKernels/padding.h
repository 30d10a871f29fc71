// Images of a convolution with their borders of zeros, for the kernels that read windows where they
// are: row by row a run of kernel_width * channels floats.
#ifndef CK_PADDING_H
#define CK_PADDING_H

#include "tiles.h"

#define BLOCK (1 << 17) // floats of images that are padded at a time: half of a second-level cache

typedef uint32_t offset_t __attribute__((may_alias));  // of floats, in scratch memory

CK_INLINE size_t least(size_t a, size_t b) { return a < b ? a : b; }

// How the work on some images is laid out.
typedef struct {
  size_t row, image, positions;  // floats of a padded row and image, outputs of an image
  size_t step, step_row;         // between the windows of neighbours
  size_t block;                  // images that are padded at a time
  int is_padded;                 // or read where they are
} layout;

CK_INLINE layout layout_of(const ck_window *w, int needs_copy) {
  layout l;
  l.row = (w->width + 2 * w->padding_width) * w->channels;
  l.image = (w->height + 2 * w->padding_height) * l.row;
  l.positions = w->out_height * w->out_width;
  l.step = w->stride_width * w->channels;
  l.step_row = w->stride_height * l.row;
  size_t block = BLOCK / l.image;
  l.block = block > 0 ? block : 1;
  l.is_padded = needs_copy || w->padding_height > 0 || w->padding_width > 0;
  return l;
}

CK_INLINE void pad(const ck_window *w, const layout *l, size_t images, const float *x, float *to) {
  size_t side = w->padding_width * w->channels, inner = w->width * w->channels;
  size_t border = w->padding_height * l->row;
  for (size_t i = 0; i < images; i++) {
    memset(to, 0, border * sizeof(float));
    to += border;
    for (size_t h = 0; h < w->height; h++, x += inner, to += l->row) {
      memset(to, 0, side * sizeof(float));
      memcpy(to + side, x, inner * sizeof(float));
      memset(to + side + inner, 0, side * sizeof(float));
    }
    memset(to, 0, border * sizeof(float));
    to += border;
  }
}

CK_INLINE float *aligned(float *p) { return (float *)(((uintptr_t)p + 63) / 64 * 64); }

#endif

// Tangents of a convolution at the outputs that a max-pooling keeps: a fourth of them where windows are
// 2 by 2. Single precision, 512-bit registers.
//
// The winners of one window lie at other positions for every output, so vectors run along the window
// of the convolution, and every sum is an inner product. Eight at a time, of several winners of one
// output and up to two directions, which share what they load.
#include "padding.h"

#if defined(__x86_64__)

#define SUMS 8
#define WEIGHTS (1 << 16) // floats of weights that all images of a block go through: in cache

// The sums of the lanes of eight vectors, all in one order.
CK_INLINE void add_lanes(const f32x16 *v, float *sums) {
  f32x16 a[4], b[2];
  UNROLL
  for (int i = 0; i < 4; i++) {
    f32x16 x = v[2 * i], y = v[2 * i + 1];
    a[i] = SHUFFLE(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           SHUFFLE(x, y, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
  UNROLL
  for (int i = 0; i < 2; i++) {
    f32x16 x = a[2 * i], y = a[2 * i + 1];
    b[i] = SHUFFLE(x, y, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
           SHUFFLE(x, y, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  }
  f32x16 c = SHUFFLE(b[0], b[1], 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) +
             SHUFFLE(b[0], b[1], 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31);
  UNROLL
  for (int i = 0; i < SUMS; i++) sums[i] = c[2 * i] + c[2 * i + 1];
}

// One output of the convolution: its weight, those of the directions, and where winners' windows
// begin.
typedef struct {
  const float *weight, *tangents[2];
  const float *windows[SUMS];  // of x
} selection;

// sums[r * (SUMS / directions) + q] = weight . window q of t_r + tangents[r] . window q of x; images
// t_r lie `apart` from each other, the first of them `apart` from x.
CK_INLINE void multiply_selected(const int directions, size_t rows, size_t segment, size_t row,
                                 const selection *s, size_t apart, float *sums) {
  const int winners = SUMS / directions;
  f32x16 total[SUMS];
  UNROLL
  for (int i = 0; i < SUMS; i++) total[i] = 0;
  for (size_t h = 0; h < rows; h++) {
    for (size_t c = 0; c < segment; c += 16) {
      size_t k = h * segment + c, at = h * row + c;
      f32x16 weight = *(const f32x16_u *)(s->weight + k), tangent[2];
      UNROLL
      for (int r = 0; r < directions; r++) tangent[r] = *(const f32x16_u *)(s->tangents[r] + k);
      UNROLL
      for (int q = 0; q < winners; q++) {
        const float *window = s->windows[q] + at;
        f32x16 value = *(const f32x16_u *)window;
        UNROLL
        for (int r = 0; r < directions; r++) {
          f32x16 *sum = &total[r * winners + q];
          *sum += weight * *(const f32x16_u *)(window + (size_t)(r + 1) * apart);
          *sum += tangent[r] * value;
        }
      }
    }
  }
  add_lanes(total, sums);
}

// What the images of a block share.
typedef struct {
  const ck_window *w;
  layout l;
  size_t outputs, count, apart;
  const offset_t *starts;  // of the window of each position
  const float *weight, *const *tangents, *const *biases;
} work;

// Outputs [first, last) of one image, for one or two directions whose results lie `next` apart.
CK_INLINE void select_outputs(const int directions, const work *k, size_t first, size_t last,
                              const float *x, const int32_t *index, const float *factor, float *y,
                              size_t next) {
  const size_t winners = SUMS / directions, windows = k->count / k->outputs;
  size_t segment = k->w->kernel_width * k->w->channels, depth = k->w->kernel_height * segment;
  // Exact for whole numbers of 31 bits, and no division for every winner.
  double each = 1.0 / (double)k->outputs;
  for (size_t q = 0; q < windows; q += winners) {
    size_t taking = least(winners, windows - q);
    for (size_t o = first; o < last; o++) {
      selection s = {.weight = k->weight + o * depth};
      for (int r = 0; r < directions; r++) s.tangents[r] = k->tangents[r] + o * depth;
      const int32_t *winner = index + q * k->outputs + o;
      for (size_t i = 0; i < winners; i++) {
        int32_t at = winner[(i < taking ? i : 0) * k->outputs];
        s.windows[i] = x + k->starts[(size_t)((at + 0.5) * each)];
      }
      float sums[SUMS];
      multiply_selected(directions, k->w->kernel_height, segment, k->l.row, &s, k->apart, sums);
      for (int r = 0; r < directions; r++) {
        float bias = k->biases[r] ? k->biases[r][o] : 0;
        for (size_t i = 0; i < taking; i++) {
          float slope = factor ? factor[winner[i * k->outputs]] : 1;
          y[(size_t)r * next + (q + i) * k->outputs + o] = slope * (sums[r * winners + i] + bias);
        }
      }
    }
  }
}

// Images of x and of two directions of t that are padded at a time.
CK_INLINE size_t images_of_block(const layout *l) {
  size_t block = BLOCK / (3 * l->image);
  return block > 0 ? block : 1;
}

WIDE void ck_convolve_selected(const ck_window *w, size_t outputs, size_t images,
                               size_t directions, size_t count, const int32_t *index,
                               const float *x, const float *t, const float *weight,
                               const float *const *tangents, const float *const *biases,
                               const float *factor, float *y, float *scratch) {
  work k = {.w = w, .l = layout_of(w, 1), .outputs = outputs, .count = count, .weight = weight};
  size_t size = w->height * w->width * w->channels;
  size_t block = images_of_block(&k.l);
  size_t depth = w->kernel_height * w->kernel_width * w->channels;
  size_t step = WEIGHTS / (3 * depth) > 0 ? WEIGHTS / (3 * depth) : 1;
  float *padded = aligned(scratch);
  k.apart = block * k.l.image;
  offset_t *starts = (offset_t *)(padded + 3 * k.apart);
  k.starts = starts;
  for (size_t p = 0; p < k.l.positions; p++) {
    starts[p] = (offset_t)(p / w->out_width * k.l.step_row + p % w->out_width * k.l.step);
  }
  for (size_t n = 0; n < images; n += block) {
    size_t here = least(block, images - n);
    pad(w, &k.l, here, x + n * size, padded);
    for (size_t r = 0; r < directions; r += 2) {
      size_t pair = least(2, directions - r);
      for (size_t d = 0; d < pair; d++) {
        pad(w, &k.l, here, t + ((r + d) * images + n) * size, padded + (d + 1) * k.apart);
      }
      k.tangents = tangents + r;
      k.biases = biases + r;
      for (size_t o = 0; o < outputs; o += step) {
        size_t last = least(o + step, outputs);
        for (size_t i = 0; i < here; i++) {
          const float *image = padded + i * k.l.image;
          const int32_t *winners = index + (n + i) * count;
          const float *slopes = factor ? factor + (n + i) * k.l.positions * outputs : NULL;
          float *to = y + (r * images + n + i) * count;
          if (pair == 2) {
            select_outputs(2, &k, o, last, image, winners, slopes, to, images * count);
          } else {
            select_outputs(1, &k, o, last, image, winners, slopes, to, images * count);
          }
        }
      }
    }
  }
}

size_t ck_selected_scratch(const ck_window *w) {
  layout l = layout_of(w, 1);
  return 3 * images_of_block(&l) * l.image + l.positions + 16;
}

#else

void ck_convolve_selected(const ck_window *w, size_t outputs, size_t images, size_t directions,
                          size_t count, const int32_t *index, const float *x, const float *t,
                          const float *weight, const float *const *tangents,
                          const float *const *biases, const float *factor, float *y,
                          float *scratch) {
  __builtin_trap();
}

size_t ck_selected_scratch(const ck_window *w) { return 0; }

#endif

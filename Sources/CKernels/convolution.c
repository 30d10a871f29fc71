// Convolutions of channels-last images in single precision on processors with 512-bit registers,
// without unfolded rows: the window of a position is, row by row, a run of kernel_width * channels
// floats of the padded image, read where it is.
//
// All images of a block are padded first. A tile is 32 by 8, 16 sums in registers: enough to keep
// both multipliers busy, and few enough streams that each has its address in a register.
#include "padding.h"

#if defined(__x86_64__)

#define TILE 8          // positions, or outputs of a gradient
#define DEPTH 384       // of a panel: it stays in the first-level cache
#define BAND 2048       // positions that go through the whole window while the image is in cache
// Positions whose outer products are summed in registers before they are added to a gradient, at
// least and at most.
#define RUN 256
#define LONGEST_RUN 1024

// low, high += sums over rows and columns of steps of a vector or two at `a` times floats at b[j].
CK_INLINE void add_steps(const int vectors, size_t rows, size_t columns, const float *a,
                         size_t a_row, size_t a_column, const float *const *b, size_t b_row,
                         size_t b_column, f32x16 *low, f32x16 *high) {
  for (size_t r = 0; r < rows; r++) {
    const float *v = a + r * a_row;
    size_t at = r * b_row;
    for (size_t c = 0; c < columns; c++, v += a_column, at += b_column) {
      f32x16 l = *(const f32x16_u *)v, h = vectors > 1 ? *(const f32x16_u *)(v + 16) : l;
      UNROLL
      for (int j = 0; j < TILE; j++) {
        float f = b[j][at];
        low[j] += l * f;
        if (vectors > 1) high[j] += h * f;
      }
    }
  }
}

CK_INLINE void add_rows(const f32x16 *low, const f32x16 *high, size_t count, size_t width,
                        float beta, float *y, size_t ldy) {
  for (size_t j = 0; j < count; j++) {
    store_row_f32(&low[j], least(width, 16), 1, beta, y + j * ldy);
    if (width > 16) store_row_f32(&high[j], width - 16, 1, beta, y + j * ldy + 16);
  }
}

// MARK: y = windows * weight

// Columns [column, column + columns) of rows [row, row + rows) of the window.
typedef struct {
  size_t row, rows, column, columns;
} part;

// The weight of a part for outputs [first, first + count), as a panel. With `transposed` it is that
// of the convolution which this is the transpose of: [channels, window, outputs], turned by 180
// degrees.
CK_INLINE void pack_part(const ck_window *w, size_t outputs, const float *weight, int transposed,
                         const part *p, size_t first, size_t count, float *panel) {
  size_t taps = w->kernel_height * w->kernel_width, segment = w->kernel_width * w->channels;
  if (!transposed) {
    size_t depth = taps * w->channels;
    pack_rows_f32(weight + first * depth + p->row * segment + p->column, depth, count,
              p->rows * p->columns, panel);
    return;
  }
  if (count < PANEL) memset(panel, 0, p->rows * p->columns * PANEL * sizeof(float));
  for (size_t r = p->row; r < p->row + p->rows; r++) {
    size_t tap = taps - 1 - r * w->kernel_width - p->column / w->channels;
    size_t channel = p->column % w->channels;
    for (size_t c = 0; c < p->columns; c++, panel += PANEL) {
      const float *from = weight + (channel * taps + tap) * outputs + first;
      if (++channel == w->channels) {
        channel = 0;
        tap--;
      }
      if (count == PANEL) {
        memcpy(panel, from, PANEL * sizeof(float));
      } else {
        memcpy(panel, from, count * sizeof(float));
      }
    }
  }
}

CK_INLINE void multiply_part(const int vectors, const part *p, const layout *l, const float *x,
                             const offset_t *offsets, size_t positions, const float *panel,
                             const float *bias, size_t width, float beta, float *y, size_t ldy) {
  const float *start = x + p->row * l->row + p->column;
  for (size_t i = 0; i < positions; i += TILE) {
    size_t count = least(TILE, positions - i);
    const float *b[TILE];
    UNROLL
    for (size_t j = 0; j < TILE; j++) b[j] = start + offsets[i + (j < count ? j : 0)];
    f32x16 low[TILE], high[TILE];
    UNROLL
    for (int j = 0; j < TILE; j++) {
      low[j] = *(const f32x16 *)bias;
      high[j] = *(const f32x16 *)(bias + 16);
    }
    add_steps(vectors, p->rows, p->columns, panel, p->columns * PANEL, PANEL, b, l->row, 1, low,
              high);
    float *to = y + i * ldy;
    if (count == TILE && width == PANEL) {
      add_rows(low, high, TILE, PANEL, beta, to, ldy);
    } else {
      add_rows(low, high, count, width, beta, to, ldy);
    }
  }
}

CK_INLINE void convolve_band(const ck_window *w, const layout *l, size_t outputs, const float *x,
                             const float *weight, int transposed, const float *bias,
                             int accumulate, const offset_t *offsets, size_t positions,
                             float *panel, float *y) {
  // Parts of a depth that stays in the first-level cache as a panel: some rows of the window, or a
  // piece of one.
  size_t segment = w->kernel_width * w->channels, pieces = (segment + DEPTH - 1) / DEPTH;
  size_t columns = (segment + pieces - 1) / pieces, rows = pieces > 1 ? 1 : DEPTH / segment;
  float start[PANEL] __attribute__((aligned(64)));
  for (part p = {.row = 0}; p.row < w->kernel_height; p.row += rows) {
    p.rows = least(rows, w->kernel_height - p.row);
    for (p.column = 0; p.column < segment; p.column += columns) {
      p.columns = least(columns, segment - p.column);
      int is_first = p.row + p.column == 0;
      float beta = accumulate || !is_first ? 1 : 0;
      for (size_t o = 0; o < outputs; o += PANEL) {
        size_t width = least(PANEL, outputs - o);
        pack_part(w, outputs, weight, transposed, &p, o, width, panel);
        memset(start, 0, sizeof start);
        if (bias && is_first) memcpy(start, bias + o, width * sizeof(float));
        if (width > 16) {
          multiply_part(2, &p, l, x, offsets, positions, panel, start, width, beta, y + o, outputs);
        } else {
          multiply_part(1, &p, l, x, offsets, positions, panel, start, width, beta, y + o, outputs);
        }
      }
    }
  }
}

WIDE void ck_convolve(const ck_window *w, size_t outputs, size_t images, const float *x,
                      const float *weight, int transposed, const float *bias, int accumulate,
                      float *y, float *scratch) {
  layout l = layout_of(w, 0);
  float *panel = aligned(scratch), *padded = panel + DEPTH * PANEL;
  offset_t *offsets = (offset_t *)(padded + (l.is_padded ? l.block * l.image : 0));
  size_t size = w->height * w->width * w->channels;
  offset_t *next = offsets;
  for (size_t i = 0; i < least(l.block, images); i++) {
    for (size_t h = 0; h < w->out_height; h++) {
      for (size_t v = 0; v < w->out_width; v++) {
        *next++ = (offset_t)(i * l.image + h * l.step_row + v * l.step);
      }
    }
  }
  for (size_t n = 0; n < images; n += l.block) {
    size_t count = least(l.block, images - n), positions = count * l.positions;
    const float *from = x + n * size;
    if (l.is_padded) {
      pad(w, &l, count, from, padded);
      from = padded;
    }
    for (size_t i = 0; i < positions; i += BAND) {
      float *to = y + (n * l.positions + i) * outputs;
      convolve_band(w, &l, outputs, from, weight, transposed, bias, accumulate, offsets + i,
                    least(BAND, positions - i), panel, to);
    }
  }
}

// MARK: gradient += cotangents^T * windows

// Vectors along a row of the window.
CK_INLINE void add_outer_products(const int vectors, const ck_window *w, const layout *l,
                                  size_t outputs, size_t images, size_t rows, const float *x,
                                  const float *b, size_t width, float *out, size_t ldo) {
  for (size_t o = 0; o < outputs; o += TILE) {
    size_t count = least(TILE, outputs - o);
    f32x16 low[TILE], high[TILE];
    UNROLL
    for (size_t j = 0; j < TILE; j++) {
      low[j] = high[j] = 0;
      // A gradient is read once for many images: from a distant cache, if not from memory.
      if (j < count) {
        __builtin_prefetch(out + (o + j) * ldo, 1);
        __builtin_prefetch(out + (o + j) * ldo + 16, 1);
      }
    }
    for (size_t i = 0; i < images; i++) {
      const float *row = b + i * l->positions * outputs + o, *streams[TILE];
      UNROLL
      for (size_t j = 0; j < TILE; j++) streams[j] = row + (j < count ? j : 0);
      add_steps(vectors, rows, w->out_width, x + i * l->image, l->step_row, l->step,
                streams, w->out_width * outputs, outputs, low, high);
    }
    if (count == TILE && width == PANEL) {
      add_rows(low, high, TILE, PANEL, 1, out + o * ldo, ldo);
    } else {
      add_rows(low, high, count, width, 1, out + o * ldo, ldo);
    }
  }
}

// Vectors along the outputs, where rows of the window are short of one.
CK_INLINE void add_outer_columns(const int vectors, const ck_window *w, const layout *l,
                                 size_t outputs, size_t images, size_t rows, const float *x,
                                 const float *b, float *out, size_t depth) {
  size_t segment = w->kernel_width * w->channels;
  for (size_t k = 0; k < depth; k += TILE) {
    size_t count = least(TILE, depth - k);
    f32x16 low[TILE], high[TILE];
    UNROLL
    for (int j = 0; j < TILE; j++) low[j] = high[j] = 0;
    for (size_t i = 0; i < images; i++) {
      const float *image = x + i * l->image, *streams[TILE];
      UNROLL
      for (size_t j = 0; j < TILE; j++) {
        size_t c = k + (j < count ? j : 0);
        streams[j] = image + c / segment * l->row + c % segment;
      }
      add_steps(vectors, rows, w->out_width, b + i * l->positions * outputs,
                w->out_width * outputs, outputs, streams, l->step_row, l->step, low, high);
    }
    store_columns(low, (int)count, 16, 1, 1, out + k, depth);
    if (vectors > 1) store_columns(high, (int)count, 16, 1, 1, out + 16 * depth + k, depth);
  }
}

// Of some rows of positions of every image.
CK_INLINE void add_band(const ck_window *w, const layout *l, size_t outputs, size_t images,
                        size_t rows, const float *x, const float *b, int by_columns, float *out) {
  size_t segment = w->kernel_width * w->channels, depth = w->kernel_height * segment;
  if (by_columns) {
    for (size_t o = 0; o < outputs; o += PANEL) {
      if (o + PANEL <= outputs) {
        add_outer_columns(2, w, l, outputs, images, rows, x, b + o, out + o * depth, depth);
      } else {
        add_outer_columns(1, w, l, outputs, images, rows, x, b + o, out + o * depth, depth);
      }
    }
    return;
  }
  for (size_t r = 0; r < w->kernel_height; r++) {
    for (size_t c = 0; c < segment; c += PANEL) {
      size_t width = least(PANEL, segment - c);
      const float *start = x + r * l->row + c;
      float *to = out + r * segment + c;
      if (width > 16) {
        add_outer_products(2, w, l, outputs, images, rows, start, b, width, to, depth);
      } else {
        add_outer_products(1, w, l, outputs, images, rows, start, b, width, to, depth);
      }
    }
  }
}

WIDE void ck_convolution_gradient(const ck_window *w, size_t outputs, size_t images,
                                  const float *x, const float *b, float *out, float *scratch) {
  size_t segment = w->kernel_width * w->channels, filled = (segment + 15) / 16 * 16;
  int by_columns = outputs % 16 == 0 && 4 * segment < 3 * filled;
  // Vectors at the end of a segment read on: past the last image that is not ours to read.
  layout l = layout_of(w, !by_columns && segment < filled);
  size_t size = w->height * w->width * w->channels;
  size_t run = RUN > l.positions ? RUN / l.positions : 1;
  if (run < l.block) l.block = run;
  size_t band = w->out_height;
  if (l.positions > LONGEST_RUN) band = LONGEST_RUN > w->out_width ? LONGEST_RUN / w->out_width : 1;
  for (size_t n = 0; n < images; n += l.block) {
    size_t count = least(l.block, images - n);
    const float *from = x + n * size, *cotangents = b + n * l.positions * outputs;
    if (l.is_padded) {
      float *padded = aligned(scratch);
      pad(w, &l, count, from, padded);
      from = padded;
    }
    for (size_t h = 0; h < w->out_height; h += band) {
      add_band(w, &l, outputs, count, least(band, w->out_height - h), from + h * l.step_row,
               cotangents + h * w->out_width * outputs, by_columns, out);
    }
  }
}

size_t ck_convolution_scratch(const ck_window *w) {
  layout l = layout_of(w, 1);
  return l.block * (l.image + l.positions) + (DEPTH + 2) * PANEL;
}

#else

void ck_convolve(const ck_window *w, size_t outputs, size_t images, const float *x,
                 const float *weight, int transposed, const float *bias, int accumulate, float *y,
                 float *scratch) {
  __builtin_trap();
}

void ck_convolution_gradient(const ck_window *w, size_t outputs, size_t images, const float *x,
                             const float *b, float *out, float *scratch) {
  __builtin_trap();
}

size_t ck_convolution_scratch(const ck_window *w) { return 0; }

#endif

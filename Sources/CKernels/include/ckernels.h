// Vector loops that BLAS does not have. Every function works on float or double, told by its
// first argument; all arrays are dense and row-major; images are channels-last.
// Sizes are those of arrays that the caller has: their products fit into 63 bits. Sizes that describe
// more than one array, as those of a window do, are checked by a function that stands beside them.
// Sums over more than a few elements are taken in double in a fixed order, so that a result
// depends on nothing but the input. Nothing here allocates, locks or keeps state, but for the meter
// at the end.
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef enum { CK_F32 = 0, CK_F64 = 1 } ck_dtype;

// How files store numbers: little-endian, at any address.
typedef enum {
  CK_SOURCE_F32 = 0,
  CK_SOURCE_F64 = 1,
  CK_SOURCE_F16 = 2,
  CK_SOURCE_BF16 = 3
} ck_source;

// MARK: Element-wise

typedef enum {
  CK_RELU = 0,
  CK_LEAKY_RELU = 1,  // parameter: negative slope
  CK_GELU_ERF = 2,
  CK_GELU_TANH = 3,
  CK_SILU = 4,
  CK_TANH = 5,
  CK_SIGMOID = 6,
  CK_SOFTPLUS = 7  // parameter: beta, positive; as PyTorch, the identity where beta x > threshold
} ck_activation;

// y = f(x) and dydx = f'(x), n elements, within a few ulps (README.md); dydx may be NULL; y may be
// x. NaN gives NaN, infinity the limit. The derivative of relu and leaky relu at 0 is the one
// PyTorch takes (0, and the slope).
void ck_activate(ck_dtype t, ck_activation f, double parameter, double threshold, const void *x,
                 void *y, void *dydx, size_t n);

// Numbers p and q of a function, where it has any, behind its name.
typedef enum {
  CK_EXP, CK_EXPM1, CK_LOG, CK_LOG1P, CK_SQRT, CK_RSQRT, CK_RECIPROCAL, CK_ABS, CK_SIN, CK_COS,
  CK_ERF,
  CK_POW,       // x^p
  CK_CLAMP,     // to [p, q]; derivative 1 at the bounds
  CK_HARDTANH,  // the same; derivative 0 at the bounds
  CK_ELU,       // p (exp(x) - 1) below 0
  CK_CELU,      // p (exp(x / p) - 1) below 0
  CK_SELU, CK_HARDSIGMOID, CK_HARDSWISH, CK_LOG_SIGMOID, CK_SOFTSIGN, CK_MISH
} ck_function;

// y = f(x) and dydx = f'(x), as ck_activate; derivatives where there is none are PyTorch's.
void ck_apply(ck_dtype t, ck_function f, double p, double q, const void *x, void *y, void *dydx,
              size_t n);

// out = a * b, or out += a * b with accumulate; out may be a or b.
void ck_multiply(ck_dtype t, const void *a, const void *b, void *out, size_t n, int accumulate);
// out = a + b; out may be a or b.
void ck_add(ck_dtype t, const void *a, const void *b, void *out, size_t n);
// y = a x + b y. With b = 0, y is not read.
void ck_axpby(ck_dtype t, double a, const void *x, double b, void *y, size_t n);
// y += x with x in double, rounded once.
void ck_add_rounded(ck_dtype t, const double *x, void *y, size_t n);
// x = value
void ck_fill(ck_dtype t, double value, void *x, size_t n);
// Index of the first element that is NaN or infinite, n if there is none.
size_t ck_first_nonfinite(ck_dtype t, const void *x, size_t n);
// The largest |x|, 0 for n = 0; NaN or infinity if there is one.
double ck_largest(ck_dtype t, const void *x, size_t n);

// MARK: Rows  (y is [rows, columns])

// y[r, c] += bias[c]
void ck_add_to_rows(ck_dtype t, const void *bias, void *y, size_t rows, size_t columns);
// out[r, c] = y[r, c] * scale[c], or += with accumulate; out may be y when not accumulating.
void ck_multiply_rows(ck_dtype t, const void *y, const void *scale, void *out, size_t rows,
                      size_t columns, int accumulate);
// out[c] = sum_r y[r, c], or += with accumulate (sum in double, rounded once).
void ck_sum_rows(ck_dtype t, const void *y, size_t rows, size_t columns, void *out,
                 int accumulate);
// out[c] = sum_r a[r, c] b[r, c], or += with accumulate (sum in double, rounded once).
void ck_sum_product_rows(ck_dtype t, const void *a, const void *b, size_t rows, size_t columns,
                         void *out, int accumulate);
// out[r, c] = weight[r / group] * y[r, c], weights in double: each sample's rows times its weight.
void ck_scale_rows(ck_dtype t, const double *weight, size_t group, const void *y, size_t rows,
                   size_t columns, void *out);
// How many elements of b [n] are not factor * a to four units in the last place. The places of the first
// `most` of them are written to `places`; where there are more, the search ends, with most + 1.
size_t ck_unlike_multiple(ck_dtype t, double factor, const void *a, const void *b, size_t n,
                          size_t most, int32_t *places);

// MARK: Strided loops

#define CK_MAX_RANK 10

// Axes over which arrays are walked together: their sizes, and per array the elements from one index
// to the next.
typedef struct {
  size_t rank;  // at most CK_MAX_RANK
  size_t sizes[CK_MAX_RANK];
  ptrdiff_t a[CK_MAX_RANK], b[CK_MAX_RANK], gate[CK_MAX_RANK], out[CK_MAX_RANK];
} ck_strides;

// out = alpha a b, or += with accumulate; b NULL: ones. Axes along which out does not move are summed
// over (in double, rounded once), so every element of out is written once. With a gate, only the terms
// count where (gate != 0) == open; the others are left out, whatever they are.
void ck_contract(ck_dtype t, const ck_strides *s, double alpha, const void *a, const void *b,
                 const int32_t *gate, int open, void *out, int accumulate);

// MARK: Constant sparse matrices

// out = A x, or += with accumulate, for every item: x [items, columns, inner], out [items, rows, inner].
// A is the Kronecker product of three matrices, whose arrays are behind each other: of the first
// row_counts[0] rows, row r lies at row_offsets[r] and has the entries starts[r] <= e < starts[r + 1],
// weights[e] in the column at entry_offsets[e]; each has row_counts + 1 starts, from 0. A row of A is at
// the sum of the three rows' offsets, all of which are different and below rows; so are its columns.
void ck_sparse_product(ck_dtype t, const ptrdiff_t *row_counts, const int32_t *starts,
                       const ptrdiff_t *row_offsets, const ptrdiff_t *entry_offsets,
                       const double *weights, size_t rows, size_t columns, const void *x,
                       size_t items, size_t inner, void *out, int accumulate);

// MARK: Products of a few rows

// y = alpha x op(w) + beta y: x [m, k], y [m, n], rows ldx, ldy and ldw apart; op(w) [k, n] is w, or
// the transpose of w [n, k] with transposed. With beta = 0, y is not read. For m up to about 16, and
// a w that does not fit into the caches.
void ck_few_rows(ck_dtype t, int transposed, size_t m, size_t n, size_t k, double alpha,
                 const void *x, size_t ldx, const void *w, size_t ldw, double beta, void *y,
                 size_t ldy);

// The same with a w of 16-bit numbers, CK_SOURCE_F16 or CK_SOURCE_BF16, all finite, at any address; ldw
// counts them. They are widened as they are read: the result has the bits of the widened w's.
void ck_few_rows_stored(ck_dtype t, ck_source stored, int transposed, size_t m, size_t n, size_t k,
                        double alpha, const void *x, size_t ldx, const void *w, size_t ldw,
                        double beta, void *y, size_t ldy);

// MARK: Products of many rows with a large weight, and Gram matrices

// Whether this processor has them: 512-bit vectors.
int ck_has_product(void);

// Which clones of the kernels this processor runs: results of two of them differ in rounding.
const char *ck_processor_level(void);
// As ck_few_rows, for any m; fast from a few dozen rows and a w of some hundred thousand elements on.
// Uses 0.7 MB of memory of the calling thread. Only where ck_has_product() is 1.
void ck_product(int transposed, size_t m, size_t n, size_t k, float alpha, const float *x,
                size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
void ck_product_double(int transposed, size_t m, size_t n, size_t k, double alpha, const double *x,
                       size_t ldx, const double *w, size_t ldw, double beta, double *y,
                       size_t ldy);
// Both with a w as in ck_few_rows_stored.
void ck_product_stored(ck_dtype t, ck_source stored, int transposed, size_t m, size_t n, size_t k,
                       double alpha, const void *x, size_t ldx, const void *w, size_t ldw,
                       double beta, void *y, size_t ldy);
// The lower triangle of y = alpha x x^T + beta y, x [n, k]. Some of the elements next to the diagonal
// are written above it too.
void ck_symmetric_product(size_t n, size_t k, double alpha, const double *x, size_t ldx,
                          double beta, double *y, size_t ldy);

// MARK: Windows over channels-last images  ([height, width, channels])
//
// Every window is one of which ck_window_is_sound is true.

typedef struct {
  size_t height, width, channels;
  size_t kernel_height, kernel_width;
  size_t stride_height, stride_width;
  size_t padding_height, padding_width;
  size_t dilation_height, dilation_width;
  size_t groups;
  size_t out_height, out_width;
} ck_window;

// Whether the kernels below may be given these sizes, which none of them looks at again: all but the
// padding positive; the padding at most the kernel with its dilation; groups that divide the
// channels; as many outputs as there are windows; and fewer than 2^31 numbers in the image, in the
// padded image and in the unfolded rows.
int ck_window_is_sound(const ck_window *w);

// rows[oh * out_width + ow][group][kh][kw][channels / groups]: one row per output position,
// zero where the window leaves the image.
void ck_unfold(ck_dtype t, const ck_window *w, const void *image, void *rows);
// The transpose: image += fold(rows).
void ck_fold(ck_dtype t, const ck_window *w, const void *rows, void *image);
// out[oh, ow, c] = max over the window (padding counts as -infinity, the first of equals wins, the
// first NaN wins over numbers); index = offset of the winner in the image. Every window must touch
// the image, as it does where padding is at most half the window (PyTorch's condition).
void ck_max_pool(ck_dtype t, const ck_window *w, const void *image, void *out, int32_t *index);
// Mean over the window; padding counts as zeros (PyTorch's count_include_pad = true).
void ck_average_pool(ck_dtype t, const ck_window *w, const void *image, void *out);
// The transpose: image += its action on cotangents of the output.
void ck_average_pool_transpose(ck_dtype t, const ck_window *w, const void *out, void *image);
// out[i] = x[index[i]], or += with accumulate
void ck_gather(ck_dtype t, const void *x, const int32_t *index, void *out, int accumulate,
               size_t n);
// x[index[i]] += out[i]
void ck_scatter_add(ck_dtype t, const void *out, const int32_t *index, void *x, size_t n);
// places[i] = first[i] + stride * index[i]
void ck_places(const int32_t *index, const int32_t *first, int32_t stride, int32_t *places,
               size_t n);

// MARK: Convolutions in single precision  (undilated, one group; where ck_has_product() is 1)

// y[image, position, output] = bias[output] + sum over the window of x times weight, or += with
// accumulate; the weight is [outputs, kernel_height, kernel_width, channels], bias may be NULL.
// With `transposed` it is [channels, kernel_height, kernel_width, outputs], and the window is turned
// by 180 degrees: the transpose of a convolution of stride 1 with its channels and outputs, height
// and out_height exchanged, and padding of kernel - 1 - padding.
void ck_convolve(const ck_window *w, size_t outputs, size_t images, const float *x,
                 const float *weight, int transposed, const float *bias, int accumulate, float *y,
                 float *scratch);
// out[output, window] += sum over images and positions of b[position, output] times the window of x.
void ck_convolution_gradient(const ck_window *w, size_t outputs, size_t images, const float *x,
                             const float *b, float *out, float *scratch);
// Floats of scratch that both need.
size_t ck_convolution_scratch(const ck_window *w);
// Tangents of the outputs that a max-pooling keeps: of direction r, for element i of an image,
//   y[r, image, i] = factor[image, at] (biases[r][o] + tangents[r][o] . window of x
//                                       + weight[o] . window of t[r])
// with at = index[image, i] = position * outputs + o, o = i modulo outputs, and the windows of that
// position.
// t is [directions, images] images; the factor [images, positions * outputs] or NULL, each bias NULL
// or [outputs]. Rows of the window have a multiple of 16 floats; count is a multiple of outputs.
void ck_convolve_selected(const ck_window *w, size_t outputs, size_t images, size_t directions,
                          size_t count, const int32_t *index, const float *x, const float *t,
                          const float *weight, const float *const *tangents,
                          const float *const *biases, const float *factor, float *y,
                          float *scratch);
size_t ck_selected_scratch(const ck_window *w);

// MARK: Normalisation
//
// An item is [outer, stride]; group g of it is the elements [o * stride + g * inner + i] for
// o < outer, i < inner. Layer norm over rows of D: outer 1, inner = stride = D, groups 1, one
// item a row. Group norm of a channels-last image: outer = height * width, stride = channels,
// inner = channels / groups.
typedef struct {
  size_t items, groups, outer, inner, stride;
  int centered;  // 1: subtract the mean (layer, group norm); 0: RMS norm
  double epsilon;
} ck_normalization;

// xhat = (x - mean) * rstd with rstd = 1 / sqrt(biased variance + epsilon); two passes, in double.
// rstd is [items, groups] in double.
void ck_normalize(ck_dtype t, const ck_normalization *s, const void *x, void *xhat, double *rstd);
// out = D dx, or += with accumulate, where D = dxhat/dx. D is symmetric, so this is its jvp and
// its vjp. out may be dx when not accumulating.
void ck_normalize_derivative(ck_dtype t, const ck_normalization *s, const void *xhat,
                             const double *rstd, const void *dx, void *out, int accumulate);

// MARK: Attention

// scores [rows, columns] becomes softmax(scores + bias) row by row; bias [rows, columns] or NULL;
// mask [columns] or NULL, 0 where a key is hidden. A row without any key gets equal weights, as
// with a mask that adds a large negative number.
void ck_softmax(ck_dtype t, const void *bias, const int32_t *mask, size_t rows, size_t columns,
                void *scores);
// y = log softmax(x) row by row; y may be x.
void ck_log_softmax(ck_dtype t, size_t rows, size_t columns, const void *x, void *y);
// y[r] = the largest (or smallest) of row r of x, and shares [rows, columns]: 1 / k for the k entries
// that are equal to it, 0 for others; shares may be x.
void ck_row_extremes(ck_dtype t, int maximum, size_t rows, size_t columns, const void *x, void *y,
                     void *shares);
// x = scale * D x with D = diag(p) - p p^T the derivative of softmax, row by row: symmetric, so
// its jvp and its vjp.
void ck_softmax_derivative(ck_dtype t, const void *p, size_t rows, size_t columns, double scale,
                           void *x);

// MARK: Losses  (z, q, u are in the precision t, everything else in double)
//
// Softmax cross-entropy over rows of C logits. labels[r] < 0 marks a row that is not scored: its
// p is 0 and so is all that comes out of it. Cancellation-free forms throughout: the probability
// of the label minus one is minus the sum of the others, and differences of q are taken before
// they are averaged.

// p [rows, C]; loss[r] = -log p_y; rest[r] = 1 - p_y; certificate[r] = 1 / p_y - 1.
void ck_cross_entropy(ck_dtype t, const void *z, const int64_t *labels, size_t rows, size_t classes,
                      double *p, double *loss, double *rest, double *certificate);
// u = scale * weight (p - onehot(y)), and squares[r] = |u / scale|_2^2 of the row if not NULL.
// rest[r] = 1 - p[r, labels[r]].
void ck_cross_entropy_gradient(ck_dtype t, const double *p, const double *rest,
                               const int64_t *labels, size_t rows, size_t classes,
                               const double *weights, double scale, void *u, double *squares);
// The loss sum_c m_c (-log p_c) of masses m [rows, C], not negative: u holds m, and afterwards
// M p - m with M = sum_c m_c; weight[r] = M, certificate[r] = sum_c u_c^2 / (M p_c). A row of no
// mass is not scored.
void ck_cross_entropy_of_masses(ck_dtype t, const void *z, size_t rows, size_t classes, double *p,
                                double *u, double *weight, double *loss, double *certificate);
// dot[r] = u . q for rows of u that add up to zero.
void ck_centred_gradient_dot(ck_dtype t, const double *u, const void *q, size_t rows,
                             size_t classes, double *dot);
// rest[r] = sum of p[r, c] over c != labels[r]; for labels other than the true ones.
void ck_cross_entropy_rest(const double *p, const int64_t *labels, size_t rows, size_t classes,
                           double *rest);
// dot[r] = weight (p - onehot(y)) . q = weight sum_{c != y} p_c (q_c - q_y).
void ck_cross_entropy_gradient_dot(ck_dtype t, const double *p, const int64_t *labels,
                                   const void *q, size_t rows, size_t classes,
                                   const double *weights, double *dot);
// quadratic[r] = q^T H q with H = weight (diag(p) - p p^T) (if not NULL), and hq = scale * H q (if
// not NULL; may be q).
void ck_cross_entropy_hessian(ck_dtype t, const double *p, const void *q, size_t rows,
                              size_t classes, const double *weights, double scale,
                              double *quadratic, void *hq);

// Element-wise losses with gradient u and Hessian diag(h), both [rows, C] in double (h NULL: ones).
void ck_diagonal_gradient_dot(ck_dtype t, const double *u, const void *q, size_t rows,
                              size_t classes, double *dot);
void ck_diagonal_hessian(ck_dtype t, const double *h, const void *q, size_t rows, size_t classes,
                         double scale, double *quadratic, void *hq);

// MARK: Vectors

// x . y, in double; blocks of fixed size, added pairwise.
double ck_dot(ck_dtype t, const void *x, const void *y, size_t n);
// One step of conjugate gradients on a piece of the vectors: x += alpha v, r -= alpha w, and
// sums[0] = r . r, sums[1] = x . g, sums[2] = x . r, all after the step, in double.
void ck_conjugate_gradient_step(ck_dtype t, double alpha, const void *v, const void *w, void *x,
                                void *r, const void *g, size_t n, double sums[3]);

// MARK: Conversion

// n numbers from any (unaligned) source of the given kind.
void ck_convert(ck_source s, const void *source, ck_dtype t, void *destination, size_t n);
// The index of the first of n 16-bit numbers that is infinite or NaN; n if there is none.
size_t ck_first_nonfinite_stored(ck_source s, const void *source, size_t n);

// MARK: Meter

// Adds to the work counted for this process; ck_meter_read gives the sums over all threads.
void ck_meter_add(uint64_t operations, uint64_t bytes);
void ck_meter_read(uint64_t *operations, uint64_t *bytes);

#endif

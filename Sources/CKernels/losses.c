// Losses over rows of logits, in double throughout; formulas that do not cancel where a network
// is sure of its answer.
#include "coefficients.h"
#include "lanes.h"

CK_INLINE double ck_lanes_max(const f64x8 *v) {
  double best = (*v)[0];
  for (int k = 1; k < 8; k++) best = (*v)[k] > best ? (*v)[k] : best;
  return best;
}

CK_INLINE double ck_sum(const double *x, size_t n) {
  f64x8 lanes = 0;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) lanes += *(const f64x8_u *)(x + i);
  for (size_t k = 0; i < n; i++, k++) lanes[k] += x[i];
  return ck_lanes_sum(&lanes);
}

CK_INLINE double ck_sum_squares(const double *x, size_t n) {
  f64x8 lanes = 0;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) lanes += *(const f64x8_u *)(x + i) * *(const f64x8_u *)(x + i);
  for (size_t k = 0; i < n; i++, k++) lanes[k] += x[i] * x[i];
  return ck_lanes_sum(&lanes);
}

#include "real_f64.inc"
#include "functions.inc"
#include "losses.inc"
#include "real_end.inc"

#include "real_f32.inc"
#include "losses.inc"
#include "real_end.inc"

void ck_cross_entropy(ck_dtype t, const void *z, const int64_t *labels, size_t rows,
                      size_t classes, double *p, double *loss, double *rest,
                      double *certificate) {
  CK_DISPATCH(t, cross_entropy, z, labels, rows, classes, p, loss, rest, certificate);
}

void ck_cross_entropy_gradient(ck_dtype t, const double *p, const double *rest,
                               const int64_t *labels, size_t rows, size_t classes,
                               const double *weights, double scale, void *u, double *squares) {
  CK_DISPATCH(t, cross_entropy_gradient, p, rest, labels, rows, classes, weights, scale, u,
              squares);
}

void ck_cross_entropy_of_masses(ck_dtype t, const void *z, size_t rows, size_t classes, double *p,
                                double *u, double *weight, double *loss, double *certificate) {
  CK_DISPATCH(t, cross_entropy_of_masses, z, rows, classes, p, u, weight, loss, certificate);
}

void ck_centred_gradient_dot(ck_dtype t, const double *u, const void *q, size_t rows,
                             size_t classes, double *dot) {
  CK_DISPATCH(t, centred_gradient_dot, u, q, rows, classes, dot);
}

void ck_cross_entropy_rest(const double *p, const int64_t *labels, size_t rows, size_t classes,
                           double *rest) {
  for (size_t r = 0; r < rows; r++) {
    const double *row = p + r * classes;
    size_t y = (size_t)labels[r];
    rest[r] = labels[r] < 0 ? 0 : ck_sum(row, y) + ck_sum(row + y + 1, classes - y - 1);
  }
}

void ck_cross_entropy_gradient_dot(ck_dtype t, const double *p, const int64_t *labels,
                                   const void *q, size_t rows, size_t classes,
                                   const double *weights, double *dot) {
  CK_DISPATCH(t, cross_entropy_gradient_dot, p, labels, q, rows, classes, weights, dot);
}

void ck_cross_entropy_hessian(ck_dtype t, const double *p, const void *q, size_t rows,
                              size_t classes, const double *weights, double scale,
                              double *quadratic, void *hq) {
  CK_DISPATCH(t, cross_entropy_hessian, p, q, rows, classes, weights, scale, quadratic, hq);
}

void ck_diagonal_gradient_dot(ck_dtype t, const double *u, const void *q, size_t rows,
                              size_t classes, double *dot) {
  CK_DISPATCH(t, diagonal_gradient_dot, u, q, rows, classes, dot);
}

void ck_diagonal_hessian(ck_dtype t, const double *h, const void *q, size_t rows, size_t classes,
                         double scale, double *quadratic, void *hq) {
  CK_DISPATCH(t, diagonal_hessian, h, q, rows, classes, scale, quadratic, hq);
}

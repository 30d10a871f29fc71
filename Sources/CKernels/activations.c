// Activations with their derivatives. All are branch-free functions of one vector; the derivative
// comes from what the value needed anyway. NaN in, NaN out; at infinity the limit.
#include "coefficients.h"
#include "lanes.h"

#include "real_f32.inc"
#include "activations.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "activations.inc"
#include "real_end.inc"

void ck_activate(ck_dtype t, ck_activation f, double parameter, double threshold, const void *x,
                 void *y, void *dydx, size_t n) {
  CK_DISPATCH(t, activate, f, parameter, threshold, x, y, dydx, n);
}

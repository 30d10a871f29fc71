// Numbers as files store them to float or double. Every conversion but double to float is exact;
// that one rounds to nearest. Integer arithmetic for the 16-bit kinds: the same on every processor.
#include "lanes.h"

#include "real_f32.inc"
#include "conversion.inc"
#include "real_end.inc"

#include "real_f64.inc"
#include "conversion.inc"
#include "real_end.inc"

void ck_convert(ck_source s, const void *source, ck_dtype t, void *destination, size_t n) {
  CK_DISPATCH(t, convert, s, source, destination, n);
}

// Whether one of n numbers has the whole exponent set.
CK_CLONES static int has_nonfinite(const char *source, uint16_t exponent, size_t n) {
  uint16_t found = 0;
  CK_INDEPENDENT
  for (size_t i = 0; i < n; i++) {
    uint16_t half;
    memcpy(&half, source + 2 * i, sizeof half);
    found |= (half & exponent) == exponent ? 1 : 0;
  }
  return found;
}

size_t ck_first_nonfinite_stored(ck_source s, const void *source, size_t n) {
  const char *bytes = source;
  uint16_t exponent = s == CK_SOURCE_F16 ? 0x7c00 : 0x7f80;
  const size_t piece = 1 << 14;
  for (size_t i = 0; i < n; i += piece) {
    size_t count = n - i < piece ? n - i : piece;
    if (!has_nonfinite(bytes + 2 * i, exponent, count)) continue;
    for (size_t j = i; j < i + count; j++) {
      uint16_t half;
      memcpy(&half, bytes + 2 * j, sizeof half);
      if ((half & exponent) == exponent) return j;
    }
  }
  return n;
}

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

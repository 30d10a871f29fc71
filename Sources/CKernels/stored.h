// 16-bit numbers as files have them: at any address, little-endian, finite. Widening is exact, and the
// same on every processor.
#ifndef CK_STORED_H
#define CK_STORED_H

#include "lanes.h"

typedef struct __attribute__((packed, may_alias)) {
  uint16_t bits;
} ck_bf16;
typedef struct __attribute__((packed, may_alias)) {
  uint16_t bits;
} ck_f16;

typedef uint16_t u16x16 __attribute__((ext_vector_type(16)));
typedef uint32_t u32x16 __attribute__((ext_vector_type(16)));
typedef uint16_t u16x8 __attribute__((ext_vector_type(8)));
typedef uint32_t u32x8 __attribute__((ext_vector_type(8)));
typedef u16x16 u16x16_u __attribute__((aligned(1), may_alias));
typedef u16x8 u16x8_u __attribute__((aligned(1), may_alias));

// A vector of T from the numbers at p.
#define CK_BF16_f32(p) ((f32x16)(__builtin_convertvector(*(const u16x16_u *)(p), u32x16) << 16))
#define CK_BF16_f64(p)                                                                       \
  __builtin_convertvector(                                                                   \
      (f32x8)(__builtin_convertvector(*(const u16x8_u *)(p), u32x8) << 16), f64x8)

// The exponent and fraction of a half, moved to their places in a float, are the number times 2^-112,
// subnormals included.
#define CK_WIDENED_F16(h, U, F) \
  ((F)((U)((F)(((h) & 0x7fff) << 13) * 0x1p112f) | ((h) & 0x8000) << 16))
#define CK_F16_f32(p)                                                        \
  ({                                                                         \
    u32x16 half_ = __builtin_convertvector(*(const u16x16_u *)(p), u32x16); \
    CK_WIDENED_F16(half_, u32x16, f32x16);                                   \
  })
#define CK_F16_f64(p)                                                     \
  ({                                                                      \
    u32x8 half_ = __builtin_convertvector(*(const u16x8_u *)(p), u32x8); \
    __builtin_convertvector(CK_WIDENED_F16(half_, u32x8, f32x8), f64x8);  \
  })

// One of them.
CK_INLINE float ck_one_bf16(const ck_bf16 *p) {
  uint32_t bits = (uint32_t)p->bits << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

CK_INLINE float ck_one_f16(const ck_f16 *p) {
  uint32_t half = p->bits, bits = (half & 0x7fff) << 13;
  float x;
  memcpy(&x, &bits, sizeof x);
  x *= 0x1p112f;
  memcpy(&bits, &x, sizeof x);
  bits |= (half & 0x8000) << 16;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// f(arguments) for a weight in 16 bits.
#define CK_DISPATCH_BF16(t, f, ...) CK_DISPATCH(t, f##_bf16, __VA_ARGS__)
#define CK_DISPATCH_F16(t, f, ...) CK_DISPATCH(t, f##_f16, __VA_ARGS__)

#endif

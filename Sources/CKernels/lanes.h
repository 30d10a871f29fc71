// What all kernels share: vectors of fixed length, clones for several processors, fixed-order sums.
//
// A vector is 64 bytes on every processor (the compiler splits it where registers are shorter), so
// the order of every sum is the same in all clones, and loops are vectorised at -O0 too. Clang lets
// no vector cross a function boundary by value inside a clone, so helpers take pointers.
#ifndef CK_LANES_H
#define CK_LANES_H

#include <math.h>
#include <string.h>

#include "ckernels.h"

// The loader picks clones before ThreadSanitizer is there to be told of a call: then there is one.
#if defined(__x86_64__) && !__has_feature(thread_sanitizer)
#define CK_HAS_CLONES
#define CK_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CK_CLONES
#endif
#define CK_INLINE static inline __attribute__((always_inline, unused))
// The next loop's iterations do not depend on each other. Said where an output may be an input,
// which the vectoriser's own test for overlap would take for a dependence.
#define CK_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")

typedef float f32x16 __attribute__((ext_vector_type(16)));
typedef int32_t i32x16 __attribute__((ext_vector_type(16)));
typedef double f64x8 __attribute__((ext_vector_type(8)));
typedef int64_t i64x8 __attribute__((ext_vector_type(8)));
typedef float f32x8 __attribute__((ext_vector_type(8)));
typedef f32x16 f32x16_u __attribute__((aligned(4), may_alias));
typedef f64x8 f64x8_u __attribute__((aligned(8), may_alias));
typedef f32x8 f32x8_u __attribute__((aligned(4), may_alias));

// Lanes of doubles in the precision of the caller: widened on the way in, rounded on the way out.
#define CK_LOAD_f32(p) __builtin_convertvector(*(const f32x8_u *)(p), f64x8)
#define CK_LOAD_f64(p) (*(const f64x8_u *)(p))
#define CK_STORE_f32(p, v) (*(f32x8_u *)(p) = __builtin_convertvector(v, f32x8))
#define CK_STORE_f64(p, v) (*(f64x8_u *)(p) = (v))

CK_INLINE double ck_lanes_sum(const f64x8 *v) {
  return (((*v)[0] + (*v)[4]) + ((*v)[2] + (*v)[6])) + (((*v)[1] + (*v)[5]) + ((*v)[3] + (*v)[7]));
}

// Sums of blocks added as a balanced tree: the rounding error grows with the logarithm of their
// number, and the order depends on the number alone.
typedef struct {
  double partial[64];
  size_t depth, blocks;
} ck_pairwise;

CK_INLINE void ck_pairwise_add(ck_pairwise *s, double block) {
  s->partial[s->depth++] = block;
  for (size_t k = s->blocks++; k & 1; k >>= 1) {
    s->depth--;
    s->partial[s->depth - 1] += s->partial[s->depth];
  }
}

CK_INLINE double ck_pairwise_total(const ck_pairwise *s) {
  double total = 0;
  for (size_t k = s->depth; k > 0; k--) total += s->partial[k - 1];
  return total;
}

// f_f32(arguments) or f_f64(arguments), told by t.
#define CK_DISPATCH(t, f, ...)                                   \
  do {                                                           \
    if ((t) == CK_F32) {                                         \
      f##_f32(__VA_ARGS__);                                      \
    } else {                                                     \
      f##_f64(__VA_ARGS__);                                      \
    }                                                            \
  } while (0)

#endif

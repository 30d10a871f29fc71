#include "lanes.h"

const char *ck_processor_level(void) {
#if defined(CK_HAS_CLONES)
  // In the order in which the clones of lanes.h are chosen.
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3";
#endif
#if defined(__x86_64__)
  return "x86-64";
#elif defined(__aarch64__)
  return "aarch64";
#else
  return "portable";
#endif
}

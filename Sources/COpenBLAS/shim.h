#include <cblas.h>
#include <lapacke.h>

/* In every OpenBLAS that has threads, and in none of its headers. */
__attribute__((weak)) int blas_thread_shutdown_(void);

/* Ends the threads that OpenBLAS starts when it is loaded. Until they have work they spin for some
   25 milliseconds. */
static inline void openblas_end_threads(void) {
  if (blas_thread_shutdown_) blas_thread_shutdown_();
}

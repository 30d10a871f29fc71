// Limits of the process under which nothing would work, said before it is too late to say it.
//
// OpenBLAS maps the memory that it multiplies in when it is loaded, before main, and where the address
// space has no room for it, it tries again for ever at full load. So the limits are looked at in the
// preinit array, which runs before the initialisers of all libraries. Nothing but system calls is used
// here: the C library has not been initialised either.
//
// Measured with Debian's OpenBLAS 0.3.21: its buffer is 64 MB of address space, other builds map up to
// 128 MB. What more threads and a batch need is planned later (MemoryPlanner).

#ifdef __linux__
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "startup.h"

void cs_set_thread_stack(size_t bytes) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return;
  if (pthread_attr_setstacksize(&attributes, bytes) == 0) pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
}

// The exit code for wrong usage.
enum { USAGE = 64 };

static void say(const char *text) {
  if (write(STDERR_FILENO, text, strlen(text)) < 0) return;
}

static void check_limits(int argc, char **argv, char **environment) {
  (void)argc, (void)argv, (void)environment;
  struct rlimit limit;
  // The frames of a pass need some ten kilobytes, those of a dense factorisation more.
  if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur < (rlim_t)512 << 10) {
    say("error: the stack is limited to less than 512 kB\n  at ulimit -s\n"
        "  Raise the limit: ulimit -s 8192 is usual.\n");
    _exit(USAGE);
  }
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  // What OpenBLAS maps, and something for the heap and the stacks of its threads.
  const size_t needed = (size_t)160 << 20;
  void *room = mmap(NULL, needed, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room != MAP_FAILED) {
    munmap(room, needed);
    return;
  }
  say("error: the address space is too small for the linear algebra\n  at ulimit -v\n"
      "  Raise the limit to 400000 kB or more, and by 140000 kB for every thread beyond the first.\n");
  _exit(USAGE);
}

__attribute__((section(".preinit_array"), used)) static void (*const check)(
    int, char **, char **) = check_limits;
#else
#include "startup.h"

void cs_set_thread_stack(size_t bytes) { (void)bytes; }
#endif

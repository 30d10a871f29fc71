#include "cfiles.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// A note is in the list for ever and taken again for other bytes, so that the handler may walk the
// list at any moment. One with end == 0 is free.
typedef struct guard {
  _Atomic(uintptr_t) start, end;
  char *_Atomic message;
  struct guard *next;
} guard;

static guard *_Atomic guards;
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static char said_first[256];
static int status_at_end;
static atomic_flag is_ending = ATOMIC_FLAG_INIT;

void *cf_guard(const void *start, size_t count, const char *message) {
  char *copy = strdup(message);
  if (!copy) return NULL;
  pthread_mutex_lock(&writing);
  guard *g = atomic_load(&guards);
  while (g && atomic_load(&g->end)) g = g->next;
  int is_new = !g;
  if (is_new) g = calloc(1, sizeof *g);
  if (g) {
    atomic_store(&g->message, copy);
    atomic_store(&g->start, (uintptr_t)start);
    atomic_store(&g->end, (uintptr_t)start + count);
    if (is_new) {
      g->next = atomic_load(&guards);
      atomic_store(&guards, g);
    }
  } else {
    free(copy);
  }
  pthread_mutex_unlock(&writing);
  return g;
}

void cf_unguard(void *guarded) {
  guard *g = guarded;
  if (!g) return;
  pthread_mutex_lock(&writing);
  // Whoever could still fail on these bytes would be reading what its owner gives up.
  atomic_store(&g->end, 0);
  free(atomic_exchange(&g->message, NULL));
  pthread_mutex_unlock(&writing);
}

static void say(const char *text) {
  size_t rest = strlen(text);
  while (rest > 0) {
    ssize_t written = write(STDERR_FILENO, text, rest);
    if (written <= 0) return;
    text += written;
    rest -= (size_t)written;
  }
}

static void lost_bytes(int number, siginfo_t *info, void *context) {
  (void)context;
  uintptr_t address = (uintptr_t)info->si_addr;
  for (guard *g = atomic_load(&guards); g; g = g->next) {
    if (address < atomic_load(&g->start) || address >= atomic_load(&g->end)) continue;
    // Several threads may read the file: the first one speaks.
    if (atomic_flag_test_and_set(&is_ending))
      for (;;) pause();
    say(said_first);
    const char *message = atomic_load(&g->message);
    if (message) say(message);
    _exit(status_at_end);
  }
  // Not ours: the read is tried again and ends the process.
  signal(number, SIG_DFL);
}

void cf_end_on_lost_bytes(const char *prefix, int status) {
  strncpy(said_first, prefix, sizeof said_first - 1);
  status_at_end = status;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = lost_bytes;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, NULL);
}

void cf_touch(const void *start, size_t count) {
  const volatile char *bytes = start;
  for (size_t i = 0; i < count; i += 4096) (void)bytes[i];
  if (count > 0) (void)bytes[count - 1];
}

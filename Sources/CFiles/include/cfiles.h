#ifndef CFILES_H
#define CFILES_H

#include <stddef.h>

// Mapped files that shrink while they are read: the system answers a read beyond the new end with
// SIGBUS, which no Swift code may handle.

// Notes that these bytes are those of a file. `message` (copied) is what there is to say when they
// can no longer be read. NULL if there is no memory for the note.
void *cf_guard(const void *start, size_t count, const char *message);

// The bytes are about to be unmapped.
void cf_unguard(void *guard);

// From here on a read of noted bytes that fails ends the process with this status, after `prefix`
// and the message on standard error. Any other SIGBUS ends it as before.
void cf_end_on_lost_bytes(const char *prefix, int status);

// Reads a byte of every page: where they are lost, that is where the process ends. For after a system
// call that was handed the bytes, and which answers with EFAULT instead.
void cf_touch(const void *start, size_t count);

#endif

// What is looked at before anything else runs (limits.c).
#pragma once
#include <stddef.h>

// The stack of every thread that is started from here on, whatever `ulimit -s` says.
void cs_set_thread_stack(size_t bytes);

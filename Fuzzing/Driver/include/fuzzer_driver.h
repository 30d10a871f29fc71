#ifndef FUZZER_DRIVER_H
#define FUZZER_DRIVER_H

#include <stddef.h>
#include <stdint.h>

// libFuzzer's own loop (FuzzerMain.cpp in LLVM), with the arguments of its command line.
int LLVMFuzzerRunDriver(
    int *argument_count, char ***arguments, int (*run_one)(const uint8_t *data, size_t size));

// The mutation that libFuzzer would make by itself.
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

// AddressSanitizer's marks on memory that nobody may touch (sanitizer/asan_interface.h).
void __asan_poison_memory_region(void const volatile *address, size_t size);
void __asan_unpoison_memory_region(void const volatile *address, size_t size);

#endif

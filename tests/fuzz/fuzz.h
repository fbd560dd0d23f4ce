/* What a fuzz harness gives: libFuzzer calls it (make fuzz), and replay.c with the stored inputs (make fuzz-corpus). */
#ifndef AVIARY_TESTS_FUZZ_H
#define AVIARY_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif

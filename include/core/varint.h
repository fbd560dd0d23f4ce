/* Whole numbers in 1 to 9 bytes, 7 bits a byte, lowest first. One form a number, so that equal content is equal
 * bytes. */
#ifndef AVIARY_CORE_VARINT_H
#define AVIARY_CORE_VARINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VARINT_MAX 9 /* bytes */

size_t varint_put(uint8_t *out, int64_t v); /* v >= 0; returns the bytes written */
/* Reads one and moves *at; false at the end of the data, beyond 63 bits, or when it is not the shortest form. */
bool varint_get(const uint8_t **at, const uint8_t *end, int64_t *v);

/* Signed numbers in turn, small ones first: 0, -1, 1, -2... |v| < 2^62. */
static inline int64_t varint_zigzag(int64_t v)
{
	return v >= 0 ? 2 * v : -2 * v - 1;
}
static inline int64_t varint_unzigzag(int64_t v)
{
	return v % 2 == 0 ? v / 2 : -(v / 2) - 1;
}

#endif

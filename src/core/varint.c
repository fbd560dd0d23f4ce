#include "core/varint.h"

#include <assert.h>

size_t varint_put(uint8_t *out, int64_t v) {
	assert(v >= 0);
	uint64_t rest = (uint64_t)v;
	size_t len = 0;
	for (; rest >= 0x80; rest >>= 7)
		out[len++] = (uint8_t)(rest | 0x80);
	out[len++] = (uint8_t)rest;
	return len;
}

bool varint_get(const uint8_t **at, const uint8_t *end, int64_t *v) {
	uint64_t bits = 0;
	for (unsigned shift = 0; shift < 63 && *at < end; shift += 7) {
		uint8_t byte = *(*at)++;
		bits |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*v = (int64_t)bits;
			return byte != 0 || shift == 0;
		}
	}
	return false;
}

#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "base/jpull.h"

/* One byte is a set of the classes it belongs to. */
enum { ALNUM = 1, ALPHA_ = 2, DOT = 4, DASH = 8, COLON = 16, UNDER = 32, HEX = 64 };

static unsigned classes(char c)
{
	if (c >= 'a' && c <= 'f') return ALNUM | ALPHA_ | HEX;
	if ((c >= 'g' && c <= 'z') || (c >= 'A' && c <= 'Z')) return ALNUM | ALPHA_;
	if (c >= '0' && c <= '9') return ALNUM | HEX;
	switch (c) {
	case '_': return UNDER | ALPHA_;
	case '.': return DOT;
	case '-': return DASH;
	case ':': return COLON;
	default: return 0;
	}
}

static bool matches(const char *s, size_t len, unsigned first, unsigned rest, size_t max)
{
	if (len == 0 || len > max || !(classes(s[0]) & first)) return false;
	for (size_t i = 1; i < len; i++)
		if (!(classes(s[i]) & rest)) return false;
	return true;
}

bool str_is_utf8(const char *s, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = s[i] ? jp_utf8_len(s + i, len - i) : 0;
		if (n == 0) return false;
	}
	return true;
}

bool str_is_device_id(const char *s)
{
	return matches(s, strnlen(s, 65), ALNUM, ALNUM | DOT | UNDER | COLON | DASH, 64);
}

/* The first character is no dot, so a name is never "." or "..". */
bool str_is_name(const char *s)
{
	return matches(s, strnlen(s, 65), ALNUM, ALNUM | DOT | UNDER | DASH, 64);
}

bool str_is_metric(const char *s, size_t len)
{
	return matches(s, len, ALPHA_, ALNUM | UNDER | DOT, 48);
}

bool str_is_boot(const char *s)
{
	const unsigned any = ALNUM | DOT | UNDER | DASH;
	return matches(s, strnlen(s, 33), any, any, 32);
}

bool str_is_hex(const char *s, size_t len)
{
	return strnlen(s, len + 1) == len && (len == 0 || matches(s, len, HEX, HEX, len));
}

bool str_copy(char *out, size_t out_size, const char *s)
{
	if (out_size == 0) return false;
	size_t len = strnlen(s, out_size);
	bool fits = len < out_size;
	if (!fits) len = out_size - 1;
	memcpy(out, s, len);
	out[len] = '\0';
	return fits;
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

struct unit {
	const char *name;
	int64_t factor;
};

/* Digits, then exactly one of the units. */
static bool parse_quantity(const char *s, const struct unit *units, int64_t *out)
{
	int64_t v = 0;
	const char *at = s;
	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *at - '0', &v)) return false;
	if (at == s) return false;
	for (; units->name; units++) {
		if (strcmp(at, units->name) != 0) continue;
		if (__builtin_mul_overflow(v, units->factor, &v)) return false;
		*out = v;
		return true;
	}
	return false;
}

bool str_parse_duration_ms(const char *s, int64_t *ms)
{
	static const struct unit units[] = {{"ms", 1},       {"s", 1000},     {"m", 60000},
	                                    {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
	if (strcmp(s, "0") == 0) {
		*ms = 0;
		return true;
	}
	return parse_quantity(s, units, ms);
}

bool str_parse_size(const char *s, int64_t *bytes)
{
	static const struct unit units[] = {{"", 1},
	                                    {"B", 1},
	                                    {"KiB", INT64_C(1) << 10},
	                                    {"MiB", INT64_C(1) << 20},
	                                    {"GiB", INT64_C(1) << 30},
	                                    {"TiB", INT64_C(1) << 40},
	                                    {NULL, 0}};
	return parse_quantity(s, units, bytes);
}

static uint64_t seed[2];
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static void fill_seed(void)
{
	size_t got = 0;
	while (got < sizeof seed) {
		ssize_t n = getrandom((unsigned char *)seed + got, sizeof seed - got, 0);
		if (n > 0) got += (size_t)n;
	}
}

static uint64_t rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein 2012; the reduced rounds are what several languages use for hash tables). */
uint64_t str_hash(const char *s, size_t len)
{
	pthread_once(&seeded, fill_seed);
	uint64_t v[4] = {seed[0] ^ UINT64_C(0x736f6d6570736575), seed[1] ^ UINT64_C(0x646f72616e646f6d),
	                 seed[0] ^ UINT64_C(0x6c7967656e657261), seed[1] ^ UINT64_C(0x7465646279746573)};
	uint64_t word;
	size_t left = len;
	for (; left >= 8; left -= 8, s += 8) {
		memcpy(&word, s, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = 0;
	if (left > 0) memcpy(&word, s, left);
	word |= (uint64_t)len << 56;
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

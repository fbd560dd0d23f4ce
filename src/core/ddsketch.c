#include "core/ddsketch.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "core/varint.h"

#define FORMAT 1

static const double gamma_base = (1 + DDSKETCH_ALPHA) / (1 - DDSKETCH_ALPHA);

void ddsketch_init(struct ddsketch *s) {
	memset(s, 0, sizeof *s);
}

int ddsketch_key(double v) {
	if (!(v > 0))
		return DDSKETCH_KEY_MIN;
	double key = ceil(log(v) / log(gamma_base));
	if (key < DDSKETCH_KEY_MIN)
		return DDSKETCH_KEY_MIN;
	return key > DDSKETCH_KEY_MAX ? DDSKETCH_KEY_MAX : (int)key;
}

double ddsketch_key_value(int key) {
	return 2 * pow(gamma_base, key) / (1 + gamma_base);
}

enum err ddsketch_add_key(struct ddsketch *s, int64_t key, uint64_t count) {
	if (key < DDSKETCH_KEY_MIN || key > DDSKETCH_KEY_MAX || count == 0 || count > DDSKETCH_COUNT_MAX - s->n)
		return ERR_INVALID;
	if (s->n == 0 || key < s->lo)
		s->lo = (int)key;
	if (s->n == 0 || key > s->hi)
		s->hi = (int)key;
	s->bins[key - DDSKETCH_KEY_MIN] += count;
	s->n += count;
	return ERR_OK;
}

enum err ddsketch_add_value(struct ddsketch *s, double v) {
	if (!isfinite(v) || v < 0)
		return ERR_INVALID;
	return ddsketch_add_key(s, ddsketch_key(v), 1);
}

enum err ddsketch_merge(struct ddsketch *into, const struct ddsketch *from) {
	if (from->n > DDSKETCH_COUNT_MAX - into->n)
		return ERR_INVALID;
	if (from->n == 0)
		return ERR_OK;
	for (int key = from->lo; key <= from->hi; key++)
		into->bins[key - DDSKETCH_KEY_MIN] += from->bins[key - DDSKETCH_KEY_MIN];
	if (into->n == 0 || from->lo < into->lo)
		into->lo = from->lo;
	if (into->n == 0 || from->hi > into->hi)
		into->hi = from->hi;
	into->n += from->n;
	return ERR_OK;
}

double ddsketch_quantile(const struct ddsketch *s, double q) {
	if (s->n == 0)
		return NAN;
	assert(q >= 0 && q <= 1);
	double rank = q * (double)(s->n - 1);
	uint64_t running = 0;
	int key = s->lo;
	for (; key < s->hi; key++) {
		running += s->bins[key - DDSKETCH_KEY_MIN];
		if ((double)running > rank)
			break;
	}
	return ddsketch_key_value(key);
}

double ddsketch_share_above(const struct ddsketch *s, double v) {
	if (s->n == 0)
		return NAN;
	int at = ddsketch_key(v);
	uint64_t above = 0;
	for (int key = s->hi; key > at && key >= s->lo; key--)
		above += s->bins[key - DDSKETCH_KEY_MIN];
	return (double)above / (double)s->n;
}

/* Format byte, number of used keys, then for each key in rising order: step from the key before (the first: from
 * the lowest key), count. */
size_t ddsketch_encode(const struct ddsketch *s, uint8_t *out) {
	int64_t used = 0;
	for (int key = s->lo; s->n > 0 && key <= s->hi; key++)
		used += s->bins[key - DDSKETCH_KEY_MIN] > 0;
	size_t len = 0;
	out[len++] = FORMAT;
	len += varint_put(out + len, used);
	int before = DDSKETCH_KEY_MIN;
	for (int key = s->lo; s->n > 0 && key <= s->hi; key++) {
		uint64_t count = s->bins[key - DDSKETCH_KEY_MIN];
		if (count == 0)
			continue;
		len += varint_put(out + len, key - before);
		len += varint_put(out + len, (int64_t)count);
		before = key;
	}
	return len;
}

enum err ddsketch_decode(struct ddsketch *s, const uint8_t *data, size_t len) {
	ddsketch_init(s);
	const uint8_t *at = data, *end = data + len;
	int64_t used, step, count;
	if (len < 1 || *at++ != FORMAT || !varint_get(&at, end, &used) || used > DDSKETCH_BINS)
		return ERR_INVALID;
	int64_t key = DDSKETCH_KEY_MIN;
	for (int64_t i = 0; i < used; i++) {
		if (!varint_get(&at, end, &step) || !varint_get(&at, end, &count) || step >= DDSKETCH_BINS || (i > 0 &&
			step == 0))
			goto refuse;
		key += step;
		if (ddsketch_add_key(s, key, (uint64_t)count))
			goto refuse;
	}
	if (at == end)
		return ERR_OK;
refuse:
	ddsketch_init(s);
	return ERR_INVALID;
}

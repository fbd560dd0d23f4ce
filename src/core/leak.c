#include "core/leak.h"

#include <math.h>
#include <string.h>

_Static_assert(sizeof(struct leak) == 32, "24 minima and 8 bytes");

#define CODE_STEP 5.5e-4 /* of ln bytes: 1 byte to 4e15 in 65534 codes of a twentieth of a percent */
#define STEPS 254u       /* of a minimum's byte */
#define PAST 1000u       /* hours: what seems further back than this is a device that was away for years */
#define HOUR_CODES 65520u /* a multiple of 24 */
#define PAIRS (LEAK_HOURS * (LEAK_HOURS - 1) / 2)

static uint16_t code_of(float bytes)
{
	return (uint16_t)(1 + fmin(log((double)bytes) / CODE_STEP + 0.5, 65533));
}

static double bytes_of(unsigned code)
{
	return exp((code - 1.0) * CODE_STEP);
}

static unsigned minimum_of(const struct leak *l, unsigned slot) /* its code; 0: none */
{
	return l->minima[slot] == 0 ? 0 : l->base + ((l->minima[slot] - 1u) << l->shift);
}

/* Puts a minimum in its place. Its step widens when what is known does not fit, and narrows, without a loss, when much was forgotten. */
static void keep(struct leak *l, unsigned slot, unsigned code)
{
	unsigned codes[LEAK_HOURS], lowest = code, highest = code, shift = 0;
	for (unsigned i = 0; i < LEAK_HOURS; i++) {
		codes[i] = i == slot ? code : minimum_of(l, i);
		lowest = codes[i] != 0 && codes[i] < lowest ? codes[i] : lowest;
		highest = codes[i] > highest ? codes[i] : highest;
	}
	while ((highest - lowest + (1u << shift >> 1)) >> shift >= STEPS) shift++;
	if (lowest >= l->base && shift <= l->shift && shift + 2 > l->shift && (highest - l->base) >> l->shift < STEPS - 1) {
		lowest = l->base;
		shift = l->shift;
	}
	l->base = (uint16_t)lowest;
	l->shift = (uint8_t)shift;
	for (unsigned i = 0; i < LEAK_HOURS; i++)
		l->minima[i] = (uint8_t)(codes[i] != 0 ? ((codes[i] - lowest + (1u << shift >> 1)) >> shift) + 1 : 0);
}

bool leak_add(struct leak *l, uint32_t hour, float bytes, bool is_new_boot)
{
	uint16_t now = (uint16_t)(hour % HOUR_CODES + 1);
	uint32_t passed = l->hour != 0 ? (now + HOUR_CODES - l->hour) % HOUR_CODES : 0;
	if (!(bytes >= 1) || !isfinite(bytes) || hour == 0 || passed > HOUR_CODES - PAST)
		return false;
	if (is_new_boot || l->hour == 0 || passed > LEAK_HOURS) {
		memset(l, 0, sizeof *l);
		passed = 0;
	}
	uint16_t code = code_of(bytes);
	if (passed > 0) {
		keep(l, (hour - passed) % LEAK_HOURS, l->current);
		for (uint32_t gap = hour - passed + 1; gap < hour; gap++) l->minima[gap % LEAK_HOURS] = 0;
	}
	if (l->hour == 0 || passed > 0 || code < l->current)
		l->current = code;
	l->hour = now;
	return true;
}

/* The median of values that are few: by insertion, and the array is sorted afterwards. */
static double median(float *x, unsigned count)
{
	for (unsigned i = 1; i < count; i++) {
		float v = x[i];
		unsigned k = i;
		for (; k > 0 && x[k - 1] > v; k--) x[k] = x[k - 1];
		x[k] = v;
	}
	return count % 2 ? (double)x[count / 2] : ((double)x[count / 2 - 1] + (double)x[count / 2]) / 2;
}

void leak_judge(const struct leak *l, float limit, struct leak_result *out)
{
	*out = (struct leak_result){.bytes_per_hour = NAN, .bytes = NAN, .hours_left = INFINITY};
	double value[LEAK_HOURS];
	unsigned age[LEAK_HOURS]; /* hours since the oldest */
	for (unsigned i = 0; i < LEAK_HOURS && l->hour != 0; i++) { /* the running hour's place is still yesterday's */
		unsigned code = minimum_of(l, (l->hour - 1u + i) % LEAK_HOURS);
		if (code == 0)
			continue;
		value[out->hours] = bytes_of(code);
		age[out->hours++] = i;
	}
	if (out->hours > 0)
		out->bytes = (float)value[out->hours - 1];
	if (out->hours < LEAK_HOURS_MIN)
		return;
	float slopes[PAIRS];
	unsigned pairs = 0;
	int sign = 0;
	for (unsigned i = 0; i < out->hours; i++)
		for (unsigned k = i + 1; k < out->hours; k++) {
			sign += (value[k] > value[i]) - (value[k] < value[i]);
			slopes[pairs++] = (float)((value[k] - value[i]) / (age[k] - age[i]));
		}
	double slope = median(slopes, pairs), left = (double)limit - (double)out->bytes;
	out->bytes_per_hour = (float)slope;
	out->tau = (float)sign / (float)pairs;
	out->is_leak = out->tau >= LEAK_TAU; /* so its slope is positive */
	if (slope > 0 && limit > 0)
		out->hours_left = (float)fmax(left / slope, 0);
}

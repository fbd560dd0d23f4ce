#include "core/leak.h"

#include <math.h>
#include <string.h>

_Static_assert(sizeof(struct leak) == 56, "24 minima and 8 bytes");

#define CODE_STEP 5.5e-4 /* of ln bytes: 1 byte to 4e15 in 65534 codes of a twentieth of a percent */
#define PAIRS (LEAK_HOURS * (LEAK_HOURS - 1) / 2)

static uint16_t code_of(float bytes)
{
	return (uint16_t)(1 + fmin(log((double)bytes) / CODE_STEP + 0.5, 65533));
}

static double bytes_of(uint16_t code)
{
	return exp((code - 1) * CODE_STEP);
}

bool leak_add(struct leak *l, uint32_t hour, float bytes, bool is_new_boot)
{
	if (!(bytes >= 1) || !isfinite(bytes) || hour == 0 || hour < l->hour)
		return false;
	if (is_new_boot || l->hour == 0 || hour - l->hour > LEAK_HOURS)
		memset(l, 0, sizeof *l);
	uint16_t code = code_of(bytes);
	if (l->hour != 0 && hour > l->hour) {
		l->minima[l->hour % LEAK_HOURS] = l->current;
		for (uint32_t gap = l->hour + 1; gap < hour; gap++) l->minima[gap % LEAK_HOURS] = 0;
	}
	if (hour > l->hour || code < l->current)
		l->current = code;
	l->hour = hour;
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
		uint16_t code = l->minima[(l->hour + i) % LEAK_HOURS];
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

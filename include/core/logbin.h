/* Bins of a logarithmic scale in one byte: sixteen to the octave, 2^-4 to 2^12.
 *
 * A day's maximum of a statistic is kept as a bin (core/watch.h), and a cohort's histogram of such maxima has these
 * bins (core/budget.h). Bin 0 is "nothing": zero, negative, NaN or below 2^-4; the last bin holds what is larger.
 */
#ifndef AVIARY_CORE_LOGBIN_H
#define AVIARY_CORE_LOGBIN_H

#include <stdint.h>
#include <string.h>

#define LOGBINS 256
#define LOGBIN_MAX 3968.0f /* lower edge of the last bin */

/* Linear within an octave: the upper bits of the number itself. */
static inline uint8_t logbin_of(float v)
{
	uint32_t bits;
	v = v > 0x1p-4f ? v : 0x1p-4f; /* NAN too */
	v = v < LOGBIN_MAX ? v : LOGBIN_MAX;
	memcpy(&bits, &v, sizeof bits);
	return (uint8_t)((bits >> 19) - (123u << 4));
}

static inline float logbin_low(unsigned bin) /* lower edge, bin 0..256; bin 0: 2^-4 too, all of it is "nothing" */
{
	uint32_t bits = (bin + (123u << 4)) << 19;
	float v;
	memcpy(&v, &bits, sizeof v);
	return v;
}

static inline float logbin_middle(unsigned bin)
{
	return bin == 0 ? 0 : (logbin_low(bin) + logbin_low(bin + 1)) / 2;
}

#endif

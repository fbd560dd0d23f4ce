#include "core/decimal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Exact doubles, so that a quotient by one of them is rounded once: as a parser of decimal text does. */
static const double power[DECIMAL_PLACES_MAX + 1] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

double decimal_value(int64_t mantissa, unsigned places)
{
	assert(places <= DECIMAL_PLACES_MAX && mantissa <= DECIMAL_MANTISSA_MAX && mantissa >= -DECIMAL_MANTISSA_MAX);
	return (double)mantissa / power[places];
}

bool decimal_of(double v, int64_t *mantissa, unsigned *places)
{
	for (unsigned p = 0; p <= DECIMAL_PLACES_MAX; p++) {
		double scaled = v * power[p];
		if (!(fabs(scaled) < (double)DECIMAL_MANTISSA_MAX))
			return false; /* too large, or not a number */
		int64_t m = (int64_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
		double back = (double)m / power[p];
		if (memcmp(&back, &v, sizeof v) == 0) {
			*mantissa = m;
			*places = p;
			return true;
		}
	}
	return false;
}

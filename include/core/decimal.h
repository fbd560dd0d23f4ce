/* Numbers that people wrote with a few digits, as whole numbers: 21.35 is 2135 and two places. Sensors report such numbers; as doubles
 * they fill eight bytes, as a small whole number two or three. Exact, or not at all. */
#ifndef AVIARY_CORE_DECIMAL_H
#define AVIARY_CORE_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

#define DECIMAL_PLACES_MAX 9
#define DECIMAL_MANTISSA_MAX ((int64_t)1 << 53) /* in magnitude: below it every whole number is a double */

/* Whether v is mantissa / 10^places, bit by bit (so neither minus zero nor 1e300 nor 1/3 is); the fewest places. */
bool decimal_of(double v, int64_t *mantissa, unsigned *places);
/* The same double again; places at most DECIMAL_PLACES_MAX, mantissa within +-DECIMAL_MANTISSA_MAX. */
double decimal_value(int64_t mantissa, unsigned places);

#endif

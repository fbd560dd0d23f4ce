/* Time, asked in one place so that rules can take it as an argument. */
#ifndef AVIARY_BASE_CLOCK_H
#define AVIARY_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int64_t clock_wall_ms(void);  /* since 1970, UTC */
int64_t clock_mono_ms(void);  /* monotonic */
uint64_t clock_mono_ns(void);
/* RFC 3339 with milliseconds and Z into out (at least 25 bytes); returns out. */
char *clock_format(int64_t wall_ms, char *out, size_t out_size);
/* RFC 3339 (any offset) to milliseconds; false when it is not one. */
bool clock_parse(const char *text, int64_t *wall_ms);

#endif

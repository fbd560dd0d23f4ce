/* Semantic Versioning 2.0.0 (semver.org): strict parse and precedence. No ranges. */
#ifndef AVIARY_CORE_SEMVER_H
#define AVIARY_CORE_SEMVER_H

#include <stdbool.h>
#include <stddef.h>

#include "core/names.h"

#define SEMVER_BYTES 255 /* longest text */

struct semver {
	struct slice major, minor, patch; /* digits without leading zeros: any size compares exactly */
	struct slice pre, build;          /* without their - and +; empty when absent */
};

/* The slices live as long as the text. */
bool semver_parse(const char *text, size_t len, struct semver *out);
/* Precedence (section 11): negative, 0, positive. Build metadata does not count. */
int semver_compare(const struct semver *a, const struct semver *b);
/* Orders any two version texts: valid ones by precedence and then by bytes, invalid ones before all valid ones, by
 * bytes. A total order. */
int semver_compare_texts(const char *a, const char *b);

#endif

/* Versions of runtimes and firmware as people write them, and ranges of them.
 *
 * Wider than SemVer (core/semver.h): one to four numbers ("2023.1", "2", "1.4.2.7"), missing ones are 0, leading zeros
 * are of no matter, a pre-release after a minus ("2.1.0-rc.1") comes before its release and is ordered as SemVer does;
 * build metadata after a plus does not count. A leading v is passed over. Anything else is no version.
 */
#ifndef AVIARY_CORE_REQUIREMENT_VERSION_H
#define AVIARY_CORE_REQUIREMENT_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/names.h"

#define VERSION_PARTS 4
#define VERSION_PRE_BYTES 24  /* with NUL; a longer pre-release is no version here */
#define VERSION_TEXT_BYTES 32 /* with NUL; as written */
#define VERSION_RANGE_BYTES (2 * (VERSION_TEXT_BYTES + 3)) /* with NUL */

struct loose_version {
	uint32_t part[VERSION_PARTS];
	char pre[VERSION_PRE_BYTES]; /* "" when it is a release */
	char text[VERSION_TEXT_BYTES];
};

bool loose_version_parse(struct slice text, struct loose_version *out);
/* negative, 0, positive */
int loose_version_compare(const struct loose_version *a, const struct loose_version *b);

/* An interval; without bounds every version is in it, also an unknown one. == is an interval of one. */
struct version_range {
	bool has_lo, has_hi;
	bool lo_open, hi_open; /* the bound itself is outside */
	struct loose_version lo, hi;
};
/* "" or bounds separated by commas: ">=2.1,<3", "==2.1", "<=2". Also with blanks between. */
bool version_range_parse(struct slice text, struct version_range *out);
bool version_range_has(const struct version_range *r, const struct loose_version *v);
bool version_range_is_any(const struct version_range *r);
bool version_range_is_empty(const struct version_range *r); /* no version is in it */
bool version_range_same(const struct version_range *a, const struct version_range *b);
/* The versions that are in both. */
struct version_range version_range_join(const struct version_range *a, const struct version_range *b);
/* As version_range_parse reads it. */
void version_range_format(const struct version_range *r, char out[VERSION_RANGE_BYTES]);

#endif

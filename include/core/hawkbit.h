/* hawkBit's words in ours: names and versions that are free text there, and filters with other field names.
 *
 * What it is not: the device protocol (core/ddi.h).
 */
#ifndef AVIARY_CORE_HAWKBIT_H
#define AVIARY_CORE_HAWKBIT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/names.h"

#define HAWKBIT_SELECTOR_MAX 128

/* A name of ours (str_is_name, at most NAME_BYTES - 1) that people recognise: what it may not contain becomes '-'. Never empty ("x"). Two
 * texts may give the same: who needs it unique asks for `number` 2, 3, ..., which is put behind it; 0 and 1 put nothing. */
void hawkbit_name(const char *text, unsigned number, char out[NAME_BYTES]);

/* A SemVer for a version that may be any text: itself; "1.0" is 1.0.0 and "7" 7.0.0; everything else is 0.0.0-<slug>. With a `number`
 * above 1 (the one without is taken by another text) always the last form, with the number behind it. */
void hawkbit_version(const char *text, unsigned number, char out[NAME_BYTES]);

struct hawkbit_field {
	const char *theirs; /* lower case; a '.' at the end: a prefix, what follows is kept as it is */
	const char *ours;   /* likewise */
};
/* Rewrites the selectors of an RSQL text (in any case, as hawkBit takes them) to ours; ${NOW_TS} becomes `now`, ${OVERDUE_TS} `overdue`; the
 * rest, broken or not, is copied for the parser to judge. False with the selector in `bad` where it is in no row, or with an empty one where
 * `out` is too small. */
bool hawkbit_filter(const struct hawkbit_field *fields, size_t count, const char *text, const char *overdue, char *out, size_t out_size,
	char bad[HAWKBIT_SELECTOR_MAX]);

#endif

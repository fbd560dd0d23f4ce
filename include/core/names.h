/* Slices of input text and the protocol's name rules over them.
 *
 * base/str.h checks NUL-terminated names; parsers that work in place have slices, and check them here. A slice never
 * owns its bytes: they belong to the message that was parsed.
 */
#ifndef AVIARY_CORE_NAMES_H
#define AVIARY_CORE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#define NAME_DEVICE_BYTES 65 /* device id, with NUL */
#define NAME_BYTES 65        /* hardware class, model, version, release, tag, attribute key, with NUL */
#define NAME_BOOT_BYTES 33   /* boot id, with NUL */
#define NAME_METRIC_BYTES 49 /* metric name, with NUL */

struct slice {
	const char *data; /* not NUL-terminated; NULL only when len is 0 */
	size_t len;
};

bool slice_equals(struct slice s, const char *text);
bool slice_same(struct slice a, struct slice b);
/* Copies with NUL; false (and an empty text) when it does not fit. */
bool slice_copy(struct slice s, char *out, size_t out_size);

bool name_is_device_id(struct slice s); /* [A-Za-z0-9][A-Za-z0-9._:-]{0,63} */
bool name_is_name(struct slice s);      /* [A-Za-z0-9][A-Za-z0-9._-]{0,63} */
bool name_is_version(struct slice s);   /* [A-Za-z0-9][A-Za-z0-9._+-]{0,63}: wider than SemVer */
bool name_is_boot(struct slice s);      /* [A-Za-z0-9._-]{1,32} */
bool name_is_metric(struct slice s);    /* [A-Za-z_][A-Za-z0-9_.]{0,47} */

#endif

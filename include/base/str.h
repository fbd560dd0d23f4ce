/* Small rules about text that many rooms need: names, UTF-8, copies that cannot overflow, hash tables keyed by text
 * live elsewhere. */
#ifndef AVIARY_BASE_STR_H
#define AVIARY_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool str_is_utf8(const char *s, size_t len); /* RFC 3629: no surrogates, no overlong forms; NUL is refused */
bool str_is_device_id(const char *s);        /* [A-Za-z0-9][A-Za-z0-9._:-]{0,63} */
bool str_is_name(const char *s);             /* [A-Za-z0-9][A-Za-z0-9._-]{0,63}, and not only dots */
bool str_is_metric(const char *s, size_t len); /* [A-Za-z_][A-Za-z0-9_.]{0,47} */
bool str_is_boot(const char *s);             /* [A-Za-z0-9._-]{1,32} */
bool str_is_hex(const char *s, size_t len);  /* exactly len lower-case hex digits, then NUL */
/* Copies with a cut; returns false when it had to cut. out is always NUL-terminated. */
bool str_copy(char *out, size_t out_size, const char *s);
bool str_starts(const char *s, const char *prefix);
/* Durations as people write them: "250ms" "30s" "15m" "24h" "7d"; sizes: "64KiB" "1GiB" "512" ; false when it is not
 * one or overflows. */
bool str_parse_duration_ms(const char *s, int64_t *ms);
bool str_parse_size(const char *s, int64_t *bytes);
uint64_t str_hash(const char *s, size_t len); /* for tables; keyed by a per-process random seed against flooding */

#endif

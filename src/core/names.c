#include "core/names.h"

#include <string.h>

/* One byte is a set of the classes it belongs to. */
enum { ALNUM = 1, ALPHA = 2, UNDER = 4, DOT = 8, DASH = 16, COLON = 32, PLUS = 64 };

static unsigned classes(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return ALNUM | ALPHA;
	if (c >= '0' && c <= '9') return ALNUM;
	switch (c) {
	case '_': return UNDER;
	case '.': return DOT;
	case '-': return DASH;
	case ':': return COLON;
	case '+': return PLUS;
	default: return 0;
	}
}

static bool matches(struct slice s, unsigned first, unsigned rest, size_t max)
{
	if (s.len == 0 || s.len > max || !(classes(s.data[0]) & first)) return false;
	for (size_t i = 1; i < s.len; i++)
		if (!(classes(s.data[i]) & rest)) return false;
	return true;
}

bool slice_equals(struct slice s, const char *text)
{
	size_t n = strlen(text);
	return s.len == n && (n == 0 || memcmp(s.data, text, n) == 0);
}

bool slice_same(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool slice_copy(struct slice s, char *out, size_t out_size)
{
	if (out_size == 0) return false;
	out[0] = '\0';
	if (s.len >= out_size) return false;
	if (s.len > 0) memcpy(out, s.data, s.len);
	out[s.len] = '\0';
	return true;
}

bool name_is_device_id(struct slice s)
{
	return matches(s, ALNUM, ALNUM | DOT | UNDER | COLON | DASH, NAME_DEVICE_BYTES - 1);
}

bool name_is_name(struct slice s)
{
	return matches(s, ALNUM, ALNUM | DOT | UNDER | DASH, NAME_BYTES - 1);
}

bool name_is_version(struct slice s)
{
	return matches(s, ALNUM, ALNUM | DOT | UNDER | DASH | PLUS, NAME_BYTES - 1);
}

bool name_is_boot(struct slice s)
{
	const unsigned any = ALNUM | DOT | UNDER | DASH;
	return matches(s, any, any, NAME_BOOT_BYTES - 1);
}

bool name_is_metric(struct slice s)
{
	return matches(s, ALPHA | UNDER, ALNUM | UNDER | DOT, NAME_METRIC_BYTES - 1);
}

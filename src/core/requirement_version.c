#include "core/requirement_version.h"

#include <stdio.h>
#include <string.h>

#include "core/semver.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void skip(struct slice *s, size_t n)
{
	s->data += n;
	s->len -= n;
}

static bool take_number(struct slice *s, uint32_t *out)
{
	uint64_t v = 0;
	size_t n = 0;
	for (; n < s->len && is_digit(s->data[n]); n++) {
		v = v * 10 + (uint64_t)(s->data[n] - '0');
		if (v > UINT32_MAX) return false;
	}
	*out = (uint32_t)v;
	skip(s, n);
	return n > 0;
}

/* The pre-release of `v` as SemVer orders it, behind a version that is the same for all. */
static bool is_pre(const char *pre)
{
	char text[VERSION_PRE_BYTES + 8];
	struct semver parsed;
	int n = snprintf(text, sizeof text, "0.0.0-%s", pre);
	return semver_parse(text, (size_t)n, &parsed);
}

bool loose_version_parse(struct slice text, struct loose_version *out)
{
	memset(out, 0, sizeof *out);
	if (!slice_copy(text, out->text, sizeof out->text)) return false;
	if (text.len > 0 && (text.data[0] == 'v' || text.data[0] == 'V')) skip(&text, 1);
	for (unsigned i = 0; i < VERSION_PARTS; i++) {
		if (!take_number(&text, &out->part[i])) return false;
		if (text.len == 0 || text.data[0] != '.') break;
		skip(&text, 1);
		if (i == VERSION_PARTS - 1) return false;
	}
	const char *build = text.len > 0 ? memchr(text.data, '+', text.len) : NULL;
	if (build != NULL) text.len = (size_t)(build - text.data);
	if (text.len == 0) return true;
	if (text.data[0] != '-') return false;
	skip(&text, 1);
	return slice_copy(text, out->pre, sizeof out->pre) && is_pre(out->pre);
}

static int compare_pre(const char *a, const char *b)
{
	char texts[2][VERSION_PRE_BYTES + 8];
	if (a[0] == '\0' || b[0] == '\0') return (a[0] == '\0') - (b[0] == '\0');
	snprintf(texts[0], sizeof texts[0], "0.0.0-%s", a);
	snprintf(texts[1], sizeof texts[1], "0.0.0-%s", b);
	return semver_compare_texts(texts[0], texts[1]);
}

int loose_version_compare(const struct loose_version *a, const struct loose_version *b)
{
	for (unsigned i = 0; i < VERSION_PARTS; i++)
		if (a->part[i] != b->part[i]) return a->part[i] < b->part[i] ? -1 : 1;
	return compare_pre(a->pre, b->pre);
}

static void bound_below(struct version_range *r, const struct loose_version *v, bool is_open)
{
	int order = r->has_lo ? loose_version_compare(v, &r->lo) : 1;
	if (order < 0) return;
	r->lo_open = is_open || (order == 0 && r->lo_open);
	r->lo = *v;
	r->has_lo = true;
}

static void bound_above(struct version_range *r, const struct loose_version *v, bool is_open)
{
	int order = r->has_hi ? loose_version_compare(v, &r->hi) : -1;
	if (order > 0) return;
	r->hi_open = is_open || (order == 0 && r->hi_open);
	r->hi = *v;
	r->has_hi = true;
}

static struct slice trim(struct slice s)
{
	while (s.len > 0 && s.data[0] == ' ') skip(&s, 1);
	while (s.len > 0 && s.data[s.len - 1] == ' ') s.len--;
	return s;
}

/* One bound, as "==2.1". */
static bool add_bound(struct version_range *r, struct slice s)
{
	static const struct {
		const char *text;
		bool is_below, is_above, is_open;
	} ops[] = {{"==", true, true, false}, {">=", true, false, false}, {"<=", false, true, false},
		{">", true, false, true}, {"<", false, true, true}};
	for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
		size_t n = strlen(ops[i].text);
		struct loose_version v;
		if (s.len < n || memcmp(s.data, ops[i].text, n) != 0) continue;
		skip(&s, n);
		if (!loose_version_parse(trim(s), &v)) return false;
		if (ops[i].is_below) bound_below(r, &v, ops[i].is_open);
		if (ops[i].is_above) bound_above(r, &v, ops[i].is_open);
		return true;
	}
	return false;
}

bool version_range_parse(struct slice text, struct version_range *out)
{
	memset(out, 0, sizeof *out);
	text = trim(text);
	while (text.len > 0) {
		const char *comma = memchr(text.data, ',', text.len);
		struct slice bound = {text.data, comma != NULL ? (size_t)(comma - text.data) : text.len};
		if (!add_bound(out, trim(bound))) return false;
		skip(&text, bound.len);
		if (comma == NULL) break;
		skip(&text, 1);
		if (trim(text).len == 0) return false; /* a comma and nothing behind it */
	}
	return true;
}

bool version_range_has(const struct version_range *r, const struct loose_version *v)
{
	if (r->has_lo) {
		int order = loose_version_compare(v, &r->lo);
		if (order < 0 || (order == 0 && r->lo_open)) return false;
	}
	if (r->has_hi) {
		int order = loose_version_compare(v, &r->hi);
		if (order > 0 || (order == 0 && r->hi_open)) return false;
	}
	return true;
}

bool version_range_is_any(const struct version_range *r)
{
	return !r->has_lo && !r->has_hi;
}

bool version_range_is_empty(const struct version_range *r)
{
	if (!r->has_lo || !r->has_hi) return false;
	int order = loose_version_compare(&r->lo, &r->hi);
	return order > 0 || (order == 0 && (r->lo_open || r->hi_open));
}

bool version_range_same(const struct version_range *a, const struct version_range *b)
{
	if (a->has_lo != b->has_lo || a->has_hi != b->has_hi) return false;
	if (a->has_lo && (a->lo_open != b->lo_open || loose_version_compare(&a->lo, &b->lo) != 0)) return false;
	return !a->has_hi || (a->hi_open == b->hi_open && loose_version_compare(&a->hi, &b->hi) == 0);
}

struct version_range version_range_join(const struct version_range *a, const struct version_range *b)
{
	struct version_range r = *a;
	if (b->has_lo) bound_below(&r, &b->lo, b->lo_open);
	if (b->has_hi) bound_above(&r, &b->hi, b->hi_open);
	return r;
}

void version_range_format(const struct version_range *r, char out[VERSION_RANGE_BYTES])
{
	out[0] = '\0';
	bool is_one = r->has_lo && r->has_hi && !r->lo_open && !r->hi_open && loose_version_compare(&r->lo, &r->hi) == 0;
	if (is_one) {
		snprintf(out, VERSION_RANGE_BYTES, "==%s", r->lo.text);
		return;
	}
	int n = r->has_lo ? snprintf(out, VERSION_RANGE_BYTES, "%s%s", r->lo_open ? ">" : ">=", r->lo.text) : 0;
	if (r->has_hi)
		snprintf(out + n, VERSION_RANGE_BYTES - (size_t)n, "%s%s%s", n ? "," : "", r->hi_open ? "<" : "<=", r->hi.text);
}

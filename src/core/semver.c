#include "core/semver.h"

#include <string.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_identifier_char(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

static bool is_numeric(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_digit(s.data[i])) return false;
	return s.len > 0;
}

/* Digits without a leading zero, cut from the front of *text. */
static bool take_number(struct slice *text, struct slice *out)
{
	size_t n = 0;
	while (n < text->len && is_digit(text->data[n])) n++;
	*out = (struct slice){text->data, n};
	text->data += n;
	text->len -= n;
	return n == 1 || (n > 1 && out->data[0] != '0');
}

static bool take_char(struct slice *text, char c)
{
	if (text->len == 0 || text->data[0] != c) return false;
	text->data++;
	text->len--;
	return true;
}

/* The next identifier of a dotted list, cut from its front together with its dot. */
static struct slice next_identifier(struct slice *list)
{
	size_t n = 0;
	while (n < list->len && list->data[n] != '.') n++;
	struct slice id = {list->data, n};
	size_t cut = n < list->len ? n + 1 : n;
	list->data += cut;
	list->len -= cut;
	return id;
}

/* Dotted identifiers up to `end` or the end of the text; numeric ones of a pre-release have no leading zero. */
static bool take_identifiers(struct slice *text, char end, bool strict_numbers, struct slice *out)
{
	size_t n = 0;
	while (n < text->len && text->data[n] != end) n++;
	*out = (struct slice){text->data, n};
	text->data += n;
	text->len -= n;
	if (n == 0 || out->data[n - 1] == '.') return false;
	for (struct slice rest = *out; rest.len > 0;) {
		struct slice id = next_identifier(&rest);
		if (id.len == 0) return false;
		for (size_t i = 0; i < id.len; i++)
			if (!is_identifier_char(id.data[i])) return false;
		if (strict_numbers && is_numeric(id) && id.len > 1 && id.data[0] == '0') return false;
	}
	return true;
}

bool semver_parse(const char *text, size_t len, struct semver *out)
{
	struct slice rest = {text, len};
	*out = (struct semver){0};
	if (len > SEMVER_BYTES) return false;
	if (!take_number(&rest, &out->major) || !take_char(&rest, '.')) return false;
	if (!take_number(&rest, &out->minor) || !take_char(&rest, '.')) return false;
	if (!take_number(&rest, &out->patch)) return false;
	if (take_char(&rest, '-') && !take_identifiers(&rest, '+', true, &out->pre)) return false;
	if (take_char(&rest, '+') && !take_identifiers(&rest, '\0', false, &out->build)) return false;
	return rest.len == 0;
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

static int compare_bytes(struct slice a, struct slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n > 0 ? memcmp(a.data, b.data, n) : 0;
	return c ? sign(c) : (a.len > b.len) - (a.len < b.len);
}

/* Without leading zeros the longer one is the larger one. */
static int compare_numbers(struct slice a, struct slice b)
{
	if (a.len != b.len) return a.len < b.len ? -1 : 1;
	return compare_bytes(a, b);
}

/* Section 11.4: numeric identifiers are lower than others. */
static int compare_identifiers(struct slice a, struct slice b)
{
	bool a_numeric = is_numeric(a), b_numeric = is_numeric(b);
	if (a_numeric && b_numeric) return compare_numbers(a, b);
	if (a_numeric != b_numeric) return a_numeric ? -1 : 1;
	return compare_bytes(a, b);
}

/* A version with a pre-release is lower than the one without; a longer list is higher when all before is equal. */
static int compare_pre(struct slice a, struct slice b)
{
	if (a.len == 0 || b.len == 0) return (a.len == 0) - (b.len == 0);
	while (a.len > 0 && b.len > 0) {
		int c = compare_identifiers(next_identifier(&a), next_identifier(&b));
		if (c) return c;
	}
	return (a.len > 0) - (b.len > 0);
}

int semver_compare(const struct semver *a, const struct semver *b)
{
	int c = compare_numbers(a->major, b->major);
	if (c == 0) c = compare_numbers(a->minor, b->minor);
	if (c == 0) c = compare_numbers(a->patch, b->patch);
	return c ? c : compare_pre(a->pre, b->pre);
}

int semver_compare_texts(const char *a, const char *b)
{
	struct semver va, vb;
	bool a_valid = semver_parse(a, strlen(a), &va), b_valid = semver_parse(b, strlen(b), &vb);
	if (a_valid != b_valid) return a_valid ? 1 : -1;
	int c = a_valid ? semver_compare(&va, &vb) : 0;
	return c ? c : sign(strcmp(a, b));
}

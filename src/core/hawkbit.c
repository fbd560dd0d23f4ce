#include "core/hawkbit.h"

#include <stdio.h>
#include <string.h>

#include "core/semver.h"

/* ---- names ---- */

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* What is in neither set becomes one '-' for a run of such bytes; none at either end. */
static size_t slug(const char *text, const char *allowed, char *out, size_t room)
{
	size_t n = 0;
	for (; *text != '\0' && n + 1 < room; text++) {
		if (is_letter(*text) || is_digit(*text) || (n > 0 && strchr(allowed, *text) != NULL))
			out[n++] = *text;
		else if (n > 0 && out[n - 1] != '-')
			out[n++] = '-';
	}
	while (n > 0 && out[n - 1] == '-')
		n--;
	if (n == 0)
		out[n++] = 'x';
	out[n] = '\0';
	return n;
}

void hawkbit_name(const char *text, unsigned number, char out[NAME_BYTES])
{
	char tail[16] = "";
	if (number > 1)
		snprintf(tail, sizeof tail, "-%u", number);
	size_t n = slug(text, "._-", out, NAME_BYTES - strlen(tail));
	memcpy(out + n, tail, strlen(tail) + 1);
}

/* "1" or "1.0": numbers without leading zeros, fewer than three. */
static bool is_short_version(const char *text, size_t *numbers)
{
	*numbers = 0;
	for (;;) {
		size_t digits = strspn(text, "0123456789");
		if (digits == 0 || (digits > 1 && text[0] == '0') || digits > 9 || ++*numbers > 2)
			return false;
		text += digits;
		if (*text == '\0')
			return true;
		if (*text++ != '.')
			return false;
	}
}

void hawkbit_version(const char *text, unsigned number, char out[NAME_BYTES])
{
	struct semver v;
	size_t len = strlen(text), numbers;
	if (number <= 1 && len < NAME_BYTES && semver_parse(text, len, &v)) {
		memcpy(out, text, len + 1);
		return;
	}
	if (number <= 1 && is_short_version(text, &numbers)) {
		snprintf(out, NAME_BYTES, "%s%s", text, numbers == 1 ? ".0.0" : ".0");
		return;
	}
	char word[NAME_BYTES - 24];
	slug(text, "-", word, sizeof word);
	/* A letter before it: an identifier of digits may not begin with zero. */
	int n = snprintf(out, NAME_BYTES, "0.0.0-%s%s", is_digit(word[0]) ? "v" : "", word);
	if (number > 1)
		snprintf(out + n, NAME_BYTES - (size_t)n, ".%u", number);
}

/* ---- filters ---- */

struct writer {
	char *out;
	size_t len, room;
	bool is_full;
};

static void put(struct writer *w, const char *text, size_t len)
{
	if (w->is_full || len >= w->room - w->len) {
		w->is_full = true;
		return;
	}
	memcpy(w->out + w->len, text, len);
	w->len += len;
	w->out[w->len] = '\0';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Whether the selector is `theirs`, in any case; of a prefix: begins with it and goes on. */
static bool is_field(const struct hawkbit_field *f, const char *selector, size_t len, size_t *prefix)
{
	size_t n = strlen(f->theirs);
	bool is_prefix = n > 0 && f->theirs[n - 1] == '.';
	if (is_prefix ? len <= n : len != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (lower(selector[i]) != f->theirs[i])
			return false;
	}
	*prefix = n;
	return true;
}

static bool put_selector(struct writer *w, const struct hawkbit_field *fields, size_t count, const char *selector, size_t len)
{
	for (size_t i = 0; i < count; i++) {
		size_t prefix;
		if (is_field(&fields[i], selector, len, &prefix)) {
			put(w, fields[i].ours, strlen(fields[i].ours));
			put(w, selector + prefix, len - prefix);
			return true;
		}
	}
	return false;
}

/* The operator from here: "==", "!=", "<=", "=in=" ... in lower case. */
static size_t put_operator(struct writer *w, const char *at)
{
	size_t len = strspn(at, "<>!");
	if (at[len] == '=') {
		len++;
		size_t word = 0;
		while (is_letter(at[len + word]))
			word++;
		if (len == 1 && at[len + word] == '=')
			len += word + 1;
	}
	for (size_t i = 0; i < len; i++)
		put(w, &(char){lower(at[i])}, 1);
	return len;
}

static size_t quoted(const char *at)
{
	size_t i = 1;
	while (at[i] != '\0' && at[i] != at[0])
		i += at[i] == '\\' && at[i + 1] != '\0' ? 2 : 1;
	return at[i] == '\0' ? i : i + 1;
}

static bool put_placeholder(struct writer *w, const char *at, size_t len, const char *overdue)
{
	static const char now_word[] = "${NOW_TS}", overdue_word[] = "${OVERDUE_TS}";
	if (len >= 2 && (at[0] == '\'' || at[0] == '"')) {
		at++;
		len -= 2;
	}
	if (len == sizeof now_word - 1 && strncmp(at, now_word, len) == 0)
		put(w, "now", 3);
	else if (len == sizeof overdue_word - 1 && strncmp(at, overdue_word, len) == 0)
		put(w, overdue, strlen(overdue));
	else
		return false;
	return true;
}

/* One value or a list in parentheses. */
static size_t put_value(struct writer *w, const char *at, const char *overdue)
{
	size_t len = strspn(at, " \t"); /* blanks around an operator mean nothing */
	if (at[len] == '(') {
		size_t end = len;
		while (at[end] != '\0' && at[end] != ')')
			end += at[end] == '\'' || at[end] == '"' ? quoted(at + end) : 1;
		end += at[end] == ')';
		put(w, at + len, end - len);
		return end;
	}
	size_t word = at[len] == '\'' || at[len] == '"' ? quoted(at + len) : strcspn(at + len, ";,() \t");
	if (!put_placeholder(w, at + len, word, overdue))
		put(w, at + len, word);
	return len + word;
}

/* What stands between two constraints: blanks, parentheses, connectors. "and" and "or" are words only between blanks. */
static size_t between(const char *at)
{
	size_t len = strspn(at, " \t();,");
	bool is_blank = len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t');
	size_t word = strncmp(at + len, "and ", 4) == 0 ? 4 : strncmp(at + len, "or ", 3) == 0 ? 3 : 0;
	return is_blank && word > 0 ? len + word + between(at + len + word) : len;
}

bool hawkbit_filter(const struct hawkbit_field *fields, size_t count, const char *text, const char *overdue, char *out, size_t out_size,
	char bad[HAWKBIT_SELECTOR_MAX])
{
	struct writer w = {.out = out, .room = out_size};
	bad[0] = out[0] = '\0';
	for (;;) {
		size_t len = between(text);
		put(&w, text, len);
		text += len;
		if (*text == '\0' || w.is_full)
			return !w.is_full;
		len = strcspn(text, "=!<>();,'\" \t");
		if (!put_selector(&w, fields, count, text, len)) {
			snprintf(bad, HAWKBIT_SELECTOR_MAX, "%.*s", len == 0 ? 1 : (int)(len < 100 ? len : 100), len > 0 ? text : "?");
			return false;
		}
		text += len;
		len = strspn(text, " \t");
		text += len;
		len = put_operator(&w, text);
		text += len;
		text += put_value(&w, text, overdue);
	}
}

#include "base/buf.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpull.h"

static void out_of_memory(void)
{
	fputs("out of memory\n", stderr);
	abort();
}

void buf_done(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data) b->data[0] = '\0';
}

void buf_reserve(struct buf *b, size_t extra_bytes)
{
	if (extra_bytes > SIZE_MAX / 4 || b->len > SIZE_MAX / 4) out_of_memory();
	size_t need = b->len + extra_bytes + 1;
	if (need <= b->cap) return;
	size_t cap = b->cap ? b->cap * 2 : 64;
	if (cap < need) cap = need;
	char *data = realloc(b->data, cap);
	if (data == NULL) out_of_memory();
	if (b->data == NULL) data[0] = '\0';
	b->data = data;
	b->cap = cap;
}

/* Most often there is room, and it is not worth a call. */
static void make_room(struct buf *b, size_t extra_bytes)
{
	if (extra_bytes >= b->cap - b->len) buf_reserve(b, extra_bytes);
}

void buf_append(struct buf *b, const void *data, size_t len)
{
	make_room(b, len);
	if (len > 0) memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_str(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

void buf_char(struct buf *b, char c)
{
	make_room(b, 1);
	b->data[b->len++] = c;
	b->data[b->len] = '\0';
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args, again;
	buf_reserve(b, 64);
	va_start(args, fmt);
	va_copy(again, args);
	int len = vsnprintf(b->data + b->len, b->cap - b->len, fmt, args);
	va_end(args);
	assert(len >= 0);
	if ((size_t)len >= b->cap - b->len) {
		buf_reserve(b, (size_t)len);
		vsnprintf(b->data + b->len, b->cap - b->len, fmt, again);
	}
	va_end(again);
	b->len += (size_t)len;
}

char *buf_take(struct buf *b)
{
	if (b->data == NULL) buf_reserve(b, 0);
	char *data = b->data;
	*b = (struct buf)BUF_INIT;
	return data;
}

const char *buf_cstr(const struct buf *b)
{
	return b->data ? b->data : "";
}

/* A comma is due exactly where the text so far ends with a value. Every JSON value ends in one of these bytes, and no
 * opening bracket, colon, or framing before a document ("data: ", line feed) does. */
static void comma(struct buf *b)
{
	if (b->len == 0) return;
	char last = b->data[b->len - 1];
	if (last == '"' || last == '}' || last == ']' || (last >= '0' && last <= '9') || last == 'e' || last == 'l')
		buf_char(b, ',');
}

void json_open_object(struct buf *b)
{
	comma(b);
	buf_char(b, '{');
}

void json_close_object(struct buf *b)
{
	buf_char(b, '}');
}

void json_open_array(struct buf *b)
{
	comma(b);
	buf_char(b, '[');
}

void json_close_array(struct buf *b)
{
	buf_char(b, ']');
}

static void put_escape(struct buf *b, unsigned char c)
{
	static const char short_forms[128] = {
	    ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
	if (short_forms[c]) {
		char two[2] = {'\\', short_forms[c]};
		buf_append(b, two, 2);
	} else {
		buf_printf(b, "\\u%04x", c);
	}
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

static void put_quoted(struct buf *b, const char *s, size_t len)
{
	buf_reserve(b, len + 2);
	char *out = b->data + b->len;
	size_t begin = 0;
	*out++ = '"';
	while (begin < len && is_plain((unsigned char)s[begin])) *out++ = s[begin++]; /* all of it, most often */
	b->len += 1 + begin;
	for (size_t i = begin, run; i < len; i += run) {
		unsigned char c = (unsigned char)s[i];
		for (run = 0; i + run < len; run++) { /* the plain bytes that come next, in one copy */
			c = (unsigned char)s[i + run];
			if (!is_plain(c)) break;
		}
		if (run > 0) {
			buf_append(b, s + i, run);
		} else if (c < 0x80) {
			put_escape(b, c);
			run = 1;
		} else if ((run = jp_utf8_len(s + i, len - i)) > 0) {
			buf_append(b, s + i, run);
		} else {
			buf_str(b, "\xEF\xBF\xBD");
			run = 1;
		}
	}
	buf_char(b, '"');
}

void json_key(struct buf *b, const char *key)
{
	comma(b);
	put_quoted(b, key, strlen(key));
	buf_char(b, ':');
}

void json_put_strn(struct buf *b, const char *s, size_t len)
{
	comma(b);
	put_quoted(b, s, len);
}

void json_put_str(struct buf *b, const char *s)
{
	if (s == NULL) json_put_null(b);
	else json_put_strn(b, s, strlen(s));
}

void json_put_int(struct buf *b, int64_t v)
{
	char digits[20], *at = digits + sizeof digits;
	uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	comma(b);
	do *--at = (char)('0' + left % 10);
	while ((left /= 10) > 0);
	if (v < 0) *--at = '-';
	buf_append(b, at, (size_t)(digits + sizeof digits - at));
}

/* The programs never call setlocale, so printf and strtod use a point. */
void json_put_num(struct buf *b, double v)
{
	char text[32];
	if (!isfinite(v)) {
		json_put_null(b);
		return;
	}
	if (fabs(v) < 1e15 && v == (double)(int64_t)v && !(v == 0 && signbit(v))) {
		json_put_int(b, (int64_t)v);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, v);
		if (strtod(text, NULL) == v) break;
	}
	comma(b);
	buf_str(b, text);
}

void json_put_bool(struct buf *b, bool v)
{
	json_put_raw(b, v ? "true" : "false");
}

void json_put_null(struct buf *b)
{
	json_put_raw(b, "null");
}

void json_put_raw(struct buf *b, const char *json)
{
	if (json == NULL) json = "null";
	size_t len = strlen(json);
	while (len > 0 && strchr(" \t\r\n", json[len - 1])) len--; /* else the comma after it would be missed */
	comma(b);
	buf_append(b, json, len);
}

void json_str(struct buf *b, const char *key, const char *s)
{
	json_key(b, key);
	json_put_str(b, s);
}

void json_int(struct buf *b, const char *key, int64_t v)
{
	json_key(b, key);
	json_put_int(b, v);
}

void json_num(struct buf *b, const char *key, double v)
{
	json_key(b, key);
	json_put_num(b, v);
}

void json_bool(struct buf *b, const char *key, bool v)
{
	json_key(b, key);
	json_put_bool(b, v);
}

void json_raw(struct buf *b, const char *key, const char *json)
{
	json_key(b, key);
	json_put_raw(b, json);
}

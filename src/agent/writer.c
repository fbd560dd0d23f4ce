#include "agent/writer.h"

#include <assert.h>
#include <string.h>

void agent_writer_init(struct agent_writer *w, char *out, size_t size)
{
	assert(out && size > 0);
	w->out = out;
	w->size = size;
	w->len = 0;
	w->failed = false;
	out[0] = '\0';
}

void agent_writer_bytes(struct agent_writer *w, const char *text, size_t len)
{
	if (w->failed || len >= w->size - w->len) {
		w->failed = true;
		return;
	}
	memcpy(w->out + w->len, text, len);
	w->len += len;
	w->out[w->len] = '\0';
}

void agent_writer_text(struct agent_writer *w, const char *text)
{
	agent_writer_bytes(w, text, strlen(text));
}

static void put_char(struct agent_writer *w, char c)
{
	agent_writer_bytes(w, &c, 1);
}

static void put_uint(struct agent_writer *w, uint64_t v)
{
	char digits[20];
	size_t n = 0;
	do
		digits[sizeof(digits) - ++n] = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	agent_writer_bytes(w, digits + sizeof(digits) - n, n);
}

void agent_writer_int(struct agent_writer *w, int64_t v)
{
	if (v < 0)
		put_char(w, '-');
	put_uint(w, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

/* v = m * 10^exponent with m in [10^8, 10^9), rounded. Repeated scaling costs a few ulp, far below the ninth digit. */
static uint32_t split(double v, int *exponent)
{
	int e = 0;
	while (v >= 1e9) {
		v /= 10;
		e++;
	}
	while (v < 1e8) {
		v *= 10;
		e--;
	}
	uint32_t m = (uint32_t)(v + 0.5);
	if (m >= 1000000000u) {
		m /= 10;
		e++;
	}
	*exponent = e;
	return m;
}

/* m / 10^places as people write it */
static void put_fraction(struct agent_writer *w, uint32_t m, int places)
{
	char digits[9];
	for (int i = places; i > 0; i--, m /= 10)
		digits[i - 1] = (char)('0' + m % 10);
	put_uint(w, m);
	put_char(w, '.');
	agent_writer_bytes(w, digits, (size_t)places);
}

void agent_writer_number(struct agent_writer *w, double v)
{
	assert(v - v == 0); /* finite */
	if (v < 0) {
		put_char(w, '-');
		v = -v;
	}
	if (v < 9007199254740992.0 && v == (double)(uint64_t)v) {
		put_uint(w, (uint64_t)v);
		return;
	}
	if (v < 1e-300) { /* scaling would meet subnormal numbers; no metric means them */
		put_char(w, '0');
		return;
	}
	int e;
	uint32_t m = split(v, &e);
	while (m % 10 == 0) {
		m /= 10;
		e++;
	}
	if (e < 0 && e >= -9) {
		put_fraction(w, m, -e);
		return;
	}
	put_uint(w, m);
	if (e != 0) {
		put_char(w, 'e');
		agent_writer_int(w, e);
	}
}

static size_t utf8_len(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xC2 || s[0] > 0xF4 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	if (n >= 3 && ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90) ||
	               (s[0] == 0xF4 && s[1] > 0x8F)))
		return 0;
	return n;
}

void agent_writer_string(struct agent_writer *w, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	put_char(w, '"');
	while (*s) {
		size_t n = utf8_len(s);
		if (*s == '"' || *s == '\\')
			put_char(w, '\\');
		if (n == 0 || *s < 0x20)
			put_char(w, n ? ' ' : '?'); /* control bytes mean nothing in a name or a reason */
		else
			agent_writer_bytes(w, (const char *)s, n);
		s += n ? n : 1;
	}
	put_char(w, '"');
}

void agent_writer_key(struct agent_writer *w, const char *key)
{
	if (w->len > 0 && w->out[w->len - 1] != '{' && w->out[w->len - 1] != '[')
		put_char(w, ',');
	put_char(w, '"');
	agent_writer_text(w, key);
	agent_writer_text(w, "\":");
}

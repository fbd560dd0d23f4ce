#include "agent/codec.h"

#include <assert.h>
#include <string.h>

void agent_hex_encode(const uint8_t *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[data[i] >> 4];
		out[2 * i + 1] = digits[data[i] & 15];
	}
	out[2 * len] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool agent_hex_decode(const char *text, size_t text_len, uint8_t *out, size_t out_len)
{
	if (text_len != 2 * out_len)
		return false;
	for (size_t i = 0; i < out_len; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool agent_base64_decode(const char *text, size_t text_len, uint8_t *out, size_t out_size, size_t *out_len)
{
	uint32_t group = 0;
	unsigned digits = 0, padding = 0;
	size_t n = 0;
	for (size_t i = 0; i < text_len; i++) {
		if (text[i] == '\\' && i + 1 < text_len && text[i + 1] == '/')
			continue;
		int v = text[i] == '=' ? 0 : base64_value(text[i]);
		padding += text[i] == '=';
		if (v < 0 || (padding && text[i] != '='))
			return false;
		group = group << 6 | (uint32_t)v;
		if (++digits < 4)
			continue;
		if (padding > 2 || n + 3 - padding > out_size)
			return false;
		for (unsigned b = 0; b < 3 - padding; b++)
			out[n++] = (uint8_t)(group >> (16 - 8 * b));
		group = 0;
		digits = 0;
		if (padding && i + 1 != text_len)
			return false;
	}
	*out_len = n;
	return digits == 0;
}

void agent_put_uint(struct agent_cursor *c, uint64_t v, size_t bytes)
{
	assert((size_t)(c->end - c->at) >= bytes);
	for (size_t i = 0; i < bytes; i++, v >>= 8)
		*c->at++ = (uint8_t)v;
}

void agent_put_bytes(struct agent_cursor *c, const void *data, size_t len)
{
	assert((size_t)(c->end - c->at) >= len);
	memcpy(c->at, data, len);
	c->at += len;
}

uint64_t agent_get_uint(struct agent_cursor *c, size_t bytes)
{
	uint64_t v = 0;
	assert((size_t)(c->end - c->at) >= bytes);
	for (size_t i = 0; i < bytes; i++)
		v |= (uint64_t)*c->at++ << (8 * i);
	return v;
}

void agent_get_bytes(struct agent_cursor *c, void *data, size_t len)
{
	assert((size_t)(c->end - c->at) >= len);
	memcpy(data, c->at, len);
	c->at += len;
}

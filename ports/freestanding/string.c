/* The functions of string.h here, plainly; for firmware that links no C library. */
#include <string.h>

#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
	uint8_t *out = to;
	const uint8_t *in = from;
	while (len-- > 0)
		*out++ = *in++;
	return to;
}

void *memmove(void *to, const void *from, size_t len)
{
	uint8_t *out = to;
	const uint8_t *in = from;
	if ((uintptr_t)out <= (uintptr_t)in)
		return memcpy(to, from, len); /* ascending, a byte at a time: right for this overlap */
	while (len-- > 0)
		out[len] = in[len];
	return to;
}

void *memset(void *to, int byte, size_t len)
{
	for (uint8_t *out = to; len-- > 0;)
		*out++ = (uint8_t)byte;
	return to;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;
	for (; len-- > 0; x++, y++)
		if (*x != *y)
			return *x < *y ? -1 : 1;
	return 0;
}

void *memchr(const void *in, int byte, size_t len)
{
	for (const uint8_t *at = in; len-- > 0; at++)
		if (*at == (uint8_t)byte)
			return (void *)(uintptr_t)at;
	return NULL;
}

size_t strlen(const char *text)
{
	size_t len = 0;
	while (text[len])
		len++;
	return len;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (int)(uint8_t)*a - (int)(uint8_t)*b;
}

char *strchr(const char *text, int byte)
{
	for (; *text != (char)byte; text++)
		if (!*text)
			return NULL;
	return (char *)(uintptr_t)text;
}

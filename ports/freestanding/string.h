/* All that the agent core asks of a C library, for compilers that come without one. Who has a libc uses its own. The list
 * is checked: ports/cortex-m/measure.py fails when the core needs anything that is not in freestanding/allowed.txt. */
#ifndef AVIARY_PORTS_STRING_H
#define AVIARY_PORTS_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);
void *memchr(const void *in, int byte, size_t len);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);
char *strchr(const char *text, int byte);

#endif

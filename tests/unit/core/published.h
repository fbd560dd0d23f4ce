/* The published MLPerf Tiny table beside the checkout, for tests; they SKIP where it is not. */
#ifndef AVIARY_TESTS_PUBLISHED_H
#define AVIARY_TESTS_PUBLISHED_H

#include <stdio.h>
#include <stdlib.h>

/* Its text, to be freed, or NULL. Tests run from the checkout. */
static inline char *published_read(size_t *len)
{
	FILE *f = fopen("../shared/data/mlperf_tiny_published.csv", "rb");
	char *text = NULL;
	if (f == NULL) return NULL;
	text = malloc(1 << 20);
	if (text != NULL) *len = fread(text, 1, 1 << 20, f);
	fclose(f);
	return text;
}

#endif

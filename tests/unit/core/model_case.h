/* What the tests of the model readers share: room for a reading, and one reading. */
#ifndef AVIARY_TESTS_MODEL_CASE_H
#define AVIARY_TESTS_MODEL_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/model_file.h"

static struct model_facts *facts;
static void *work;
static struct fault fault;

static int open_room(void **state)
{
	(void)state;
	facts = malloc(sizeof *facts);
	work = malloc(model_work_bytes());
	return facts == NULL || work == NULL;
}

static int close_room(void **state)
{
	(void)state;
	free(facts);
	free(work);
	return 0;
}

/* In a block of its own length, filled with what no reader may rely on around it. */
static enum err read_bytes(const void *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);
	assert_non_null(copy);
	if (size > 0) memcpy(copy, data, size);
	memset(work, 0xa5, model_work_bytes());
	memset(facts, 0xa5, sizeof *facts);
	fault = (struct fault){0};
	enum err error = model_read(copy, size, work, facts, &fault);
	free(copy);
	return error;
}

/* Bytes of a file; NULL when it is not there. */
__attribute__((unused)) static uint8_t *load_file(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	if (f == NULL) return NULL;
	if (fseek(f, 0, SEEK_END) == 0) {
		*size = (size_t)ftell(f);
		rewind(f);
		data = malloc(*size);
		if (data != NULL && fread(data, 1, *size, f) != *size) {
			free(data);
			data = NULL;
		}
	}
	fclose(f);
	return data;
}

__attribute__((unused)) static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

#endif

/* Runs a harness over stored inputs, and over each with its bytes cut and flipped, without a fuzzing compiler:
 * replay <directory> */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { INPUT_MAX = 1 << 17 };

/* In a block of its own length, so that a sanitizer sees one byte too many. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	if (copy == NULL) abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static void run_variants(uint8_t *data, size_t size)
{
	run(data, size);
	for (size_t n = 0; n < size; n += 1 + size / 512) run(data, n);
	for (size_t i = 0; i < size; i += 1 + size / 512) {
		uint8_t kept = data[i];
		for (int bit = 0; bit < 8; bit++) {
			data[i] = (uint8_t)(kept ^ 1 << bit);
			run(data, size);
		}
		data[i] = kept;
	}
}

static int run_file(const char *directory, const char *name)
{
	static uint8_t data[INPUT_MAX];
	char path[1024];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	FILE *f = fopen(path, "rb");
	if (f == NULL) return 0;
	size_t size = fread(data, 1, sizeof data, f);
	fclose(f);
	run_variants(data, size);
	return 1;
}

int main(int argc, char **argv)
{
	int count = 0;
	DIR *d = argc == 2 ? opendir(argv[1]) : NULL;
	if (d == NULL) {
		fprintf(stderr, "usage: %s directory\n", argv[0]);
		return 2;
	}
	for (struct dirent *entry; (entry = readdir(d)) != NULL;)
		if (entry->d_name[0] != '.') count += run_file(argv[1], entry->d_name);
	closedir(d);
	printf("%s: %d inputs with their cuts and flips\n", argv[1], count);
	return count > 0 ? 0 : 1;
}

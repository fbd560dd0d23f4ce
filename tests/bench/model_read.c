/* Time to read model files: bench_model_read FILE...; the best of 50 readings of each, and of all of them a million bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/model_file.h"

enum { READINGS = 50 };

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static uint8_t *load(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	if (f == NULL || fseek(f, 0, SEEK_END) != 0) abort();
	*size = (size_t)ftell(f);
	rewind(f);
	uint8_t *data = malloc(*size + 1);
	if (data == NULL || fread(data, 1, *size, f) != *size) abort();
	fclose(f);
	return data;
}

int main(int argc, char **argv)
{
	struct model_facts *facts = malloc(sizeof *facts);
	void *work = malloc(model_work_bytes());
	double all_ms = 0, all_mb = 0;
	if (facts == NULL || work == NULL) abort();
	printf("working state: %zu bytes of the caller, %zu of facts, whatever the file\n", model_work_bytes(), sizeof *facts);
	for (int i = 1; i < argc; i++) {
		size_t size;
		uint8_t *data = load(argv[i], &size);
		double best = 1e9, ms;
		for (int n = 0; n < READINGS; n++) {
			struct fault f = {0};
			double begin = now_ms();
			if (model_read(data, size, work, facts, &f) != ERR_OK) {
				printf("%s: %s\n", argv[i], f.detail);
				return 1;
			}
			ms = now_ms() - begin;
			if (ms < best) best = ms;
		}
		printf("%9zu bytes %4u operators %8.3f ms  %s\n", size, (unsigned)facts->op_uses, best, argv[i]);
		all_ms += best;
		all_mb += (double)size / 1e6;
		free(data);
	}
	printf("%.3f ms for %.3f MB: %.3f ms a MB\n", all_ms, all_mb, all_ms / all_mb);
	free(work);
	free(facts);
	return argc > 1 && all_ms / all_mb < 1 ? 0 : 1;
}

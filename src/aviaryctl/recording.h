/* A recorded canary: rows of CSV, sorted so that the order in the file does not matter. Checked here; judged in
 * judge.c. */
#ifndef AVIARYCTL_RECORDING_H
#define AVIARYCTL_RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "command.h"

enum recording_form {
	RECORDING_COUNTS, /* block,device,canary,metric,baseline_n,baseline_sum,n,sum[,reports] */
	RECORDING_SCORES, /* block,device,canary,score[,metric][,reports] */
	RECORDING_INTEGERS /* the same, scores are integers */
};

struct recorded {
	const char *block, *device, *metric;
	bool is_canary;
	double baseline_n, baseline_sum, n, sum, score, reports;
	int line;
};

struct recording {
	struct buf text; /* rows point into it */
	struct recorded *rows;
	size_t count;
};

/* By metric, block (numbers by size), canary first, device. Refused with the line: unknown or missing columns, what
 * is not a number, negative counts, a device twice in a block, a block without exactly one canary (paired: each row
 * is a block of its own). */
enum result recording_read(const char *path, enum recording_form form, bool paired, struct recording *out);
void recording_done(struct recording *r);

#endif

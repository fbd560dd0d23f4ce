/* Rows of the fleet's silence history, and the rates that rollouts were planned with. No rules here. */
#ifndef AVIARY_STORE_SILENCE_STORE_H
#define AVIARY_STORE_SILENCE_STORE_H

#include <stdint.h>

#include "base/err.h"

struct db;
struct silence_store;

AVIARY_MUST_CHECK enum err silence_store_open(struct db *db, struct silence_store **out, struct fault *f);
void silence_store_close(struct silence_store *s); /* NULL is allowed */

/* One more counted hour of a day (days since 1970-01-01, UTC); hits <= trials. */
AVIARY_MUST_CHECK enum err silence_add_hour(struct silence_store *s, int64_t day, int64_t trials, int64_t hits, struct fault *f);
AVIARY_MUST_CHECK enum err silence_forget_before(struct silence_store *s, int64_t day, struct fault *f);
struct silence_sum {
	int64_t days, hours, trials, hits;
};
AVIARY_MUST_CHECK enum err silence_sum_since(struct silence_store *s, int64_t day, struct silence_sum *out, struct fault *f);

/* The rate of one rollout, and from how many days of history it is; written once. ERR_NOT_FOUND: of before there were any. */
AVIARY_MUST_CHECK enum err silence_rate_insert(struct silence_store *s, int64_t rollout, double rate, int64_t days, struct fault *f);
AVIARY_MUST_CHECK enum err silence_rate_get(struct silence_store *s, int64_t rollout, double *rate, int64_t *days, struct fault *f);

#endif

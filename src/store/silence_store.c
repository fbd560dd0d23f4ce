#include "store/silence_store.h"

#include <stdlib.h>

#include "store/db.h"

enum { ST_ADD, ST_FORGET, ST_SUM, ST_RATE_INSERT, ST_RATE_GET, ST_COUNT };

static const struct statement statements[ST_COUNT] = {
	[ST_ADD] = {"INSERT INTO silence_day (day, hours, trials, hits) VALUES (?1, 1, ?2, ?3) ON CONFLICT (day) DO UPDATE SET "
		"hours = hours + 1, trials = trials + ?2, hits = hits + ?3", false},
	[ST_FORGET] = {"DELETE FROM silence_day WHERE day < ?1", false},
	[ST_SUM] = {"SELECT count(*), coalesce(sum(hours), 0), coalesce(sum(trials), 0), coalesce(sum(hits), 0) FROM silence_day WHERE day >= ?1",
		false},
	[ST_RATE_INSERT] = {"INSERT INTO silence_rate (rollout, rate, days) VALUES (?1, ?2, ?3)", false},
	[ST_RATE_GET] = {"SELECT rate, days FROM silence_rate WHERE rollout = ?1", false},
};

struct silence_store {
	struct stmt *st[ST_COUNT];
};

enum err silence_store_open(struct db *db, struct silence_store **out, struct fault *f)
{
	struct silence_store *s = calloc(1, sizeof *s);
	if (!s)
		abort();
	enum err e = db_prepare(db, statements, ST_COUNT, s->st, f);
	if (e) {
		free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void silence_store_close(struct silence_store *s)
{
	free(s);
}

enum err silence_add_hour(struct silence_store *s, int64_t day, int64_t trials, int64_t hits, struct fault *f)
{
	stmt_bind_int(s->st[ST_ADD], 1, day);
	stmt_bind_int(s->st[ST_ADD], 2, trials);
	stmt_bind_int(s->st[ST_ADD], 3, hits);
	return stmt_run(s->st[ST_ADD], f);
}

enum err silence_forget_before(struct silence_store *s, int64_t day, struct fault *f)
{
	stmt_bind_int(s->st[ST_FORGET], 1, day);
	return stmt_run(s->st[ST_FORGET], f);
}

enum err silence_sum_since(struct silence_store *s, int64_t day, struct silence_sum *out, struct fault *f)
{
	struct stmt *st = s->st[ST_SUM];
	stmt_bind_int(st, 1, day);
	bool row = false;
	enum err e = stmt_step(st, &row, f);
	*out = (struct silence_sum){0};
	if (!e && row)
		*out = (struct silence_sum){stmt_int(st, 0), stmt_int(st, 1), stmt_int(st, 2), stmt_int(st, 3)};
	stmt_reset(st);
	return e;
}

enum err silence_rate_insert(struct silence_store *s, int64_t rollout, double rate, int64_t days, struct fault *f)
{
	stmt_bind_int(s->st[ST_RATE_INSERT], 1, rollout);
	stmt_bind_real(s->st[ST_RATE_INSERT], 2, rate);
	stmt_bind_int(s->st[ST_RATE_INSERT], 3, days);
	return stmt_run(s->st[ST_RATE_INSERT], f);
}

enum err silence_rate_get(struct silence_store *s, int64_t rollout, double *rate, int64_t *days, struct fault *f)
{
	struct stmt *st = s->st[ST_RATE_GET];
	stmt_bind_int(st, 1, rollout);
	bool row = false;
	enum err e = stmt_step(st, &row, f);
	*rate = !e && row ? stmt_real(st, 0) : 0;
	*days = !e && row ? stmt_int(st, 1) : 0;
	stmt_reset(st);
	return e ? e : row ? ERR_OK : ERR_NOT_FOUND;
}

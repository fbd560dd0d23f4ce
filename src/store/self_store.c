#include "store/self_store.h"

#include <stdbool.h>
#include <stdlib.h>

#include "store/db.h"

enum { ST_INSERT, ST_LIST, ST_COUNT };

static const struct statement statements[ST_COUNT] = {
	[ST_INSERT] = {"INSERT INTO self_window (rollout, stage, device, place, from_ms, length_ms, points) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		false},
	[ST_LIST] = {"SELECT place, from_ms, length_ms, points FROM self_window WHERE rollout = ?1 AND stage = ?2 AND device = ?3 ORDER BY place",
		false},
};

struct self_store {
	struct db *db;
	struct stmt *st[ST_COUNT];
};

enum err self_store_open(struct db *db, struct self_store **out, struct fault *f)
{
	struct self_store *s = calloc(1, sizeof *s);
	if (!s)
		abort();
	s->db = db;
	enum err e = db_prepare(db, statements, ST_COUNT, s->st, f);
	if (e) {
		free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void self_store_close(struct self_store *s)
{
	free(s);
}

enum err self_insert(struct self_store *s, const struct self_row *row, struct fault *f)
{
	struct stmt *st = s->st[ST_INSERT];
	stmt_bind_int(st, 1, row->rollout);
	stmt_bind_int(st, 2, row->stage);
	stmt_bind_int(st, 3, row->device);
	stmt_bind_int(st, 4, row->place);
	stmt_bind_int(st, 5, row->from_ms);
	stmt_bind_int(st, 6, row->length_ms);
	stmt_bind_blob(st, 7, row->points, row->len);
	return stmt_run(st, f);
}

enum err self_each(struct self_store *s, int64_t rollout, int64_t stage, int64_t device, void (*fn)(void *, const struct self_row *), void *ctx,
	struct fault *f)
{
	struct stmt *st = s->st[ST_LIST];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, device);
	for (;;) {
		bool has_row = false;
		enum err e = stmt_step(st, &has_row, f);
		if (e || !has_row)
			return e;
		struct self_row row = {.rollout = rollout, .stage = stage, .device = device, .place = stmt_int(st, 0),
			.from_ms = stmt_int(st, 1), .length_ms = stmt_int(st, 2)};
		row.points = stmt_blob(st, 3, &row.len);
		fn(ctx, &row);
	}
}

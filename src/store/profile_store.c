#include "store/profile_store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/db.h"

#define PUBLISHED                                                                                                      \
	"hardware, model, version, variant, origin, latency_ms, latency_p95_ms, energy_uj, memory_bytes, accuracy, top1, auc, " \
	"devices, samples, imported_at"

enum { EACH, PUT, WATERMARK, SET_WATERMARK, ARTIFACT, FIND_VERSION, PUB_PUT, PUB_COUNT, PUB_FIND, PUB_PAGE, PUB_REMOVE, STATEMENTS };

static const struct statement table[STATEMENTS] = {
	[EACH] = {"SELECT artifact, hardware, cell, figures, batch, updated_at FROM profile", true},
	[PUT] = {"INSERT INTO profile (artifact, hardware, cell, figures, batch, updated_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6 FROM artifact WHERE id = ?1"
		" ON CONFLICT (artifact, hardware, cell) DO UPDATE SET figures = ?4, batch = ?5, updated_at = ?6", false},
	[WATERMARK] = {"SELECT batch FROM profile_watermark WHERE id = 1", false},
	[SET_WATERMARK] = {"INSERT INTO profile_watermark (id, batch) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET batch = ?1", false},
	[ARTIFACT] = {"SELECT a.id, a.version, a.size_bytes, m.name, v.version, a.variant, a.hardware, coalesce(json_extract(a.facts, '$.macs'), 0)"
		" FROM artifact a JOIN version v ON v.id = a.version JOIN model m ON m.id = v.model WHERE a.id = ?1", false},
	[FIND_VERSION] = {"SELECT m.id, v.id FROM model m JOIN version v ON v.model = m.id WHERE m.name = ?1 AND v.version = ?2", false},
	[PUB_PUT] = {"INSERT INTO published_profile (" PUBLISHED ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
		" ON CONFLICT (hardware, model, version, variant) DO UPDATE SET origin = ?5, latency_ms = ?6, latency_p95_ms = ?7, energy_uj = ?8,"
		" memory_bytes = ?9, accuracy = ?10, top1 = ?11, auc = ?12, devices = ?13, samples = ?14, imported_at = ?15", false},
	[PUB_COUNT] = {"SELECT count(*) FROM published_profile", true},
	[PUB_FIND] = {"SELECT " PUBLISHED " FROM published_profile WHERE hardware = ?1 AND model = ?2 AND version IN (?3, '') AND variant = ?4"
		" ORDER BY version DESC LIMIT 1", false},
	/* Some thousand rows, for people. */
	[PUB_PAGE] = {"SELECT " PUBLISHED " FROM published_profile WHERE (hardware, model, version, variant) > (?1, ?2, ?3, ?4)"
		" AND (?5 IS NULL OR hardware = ?5) AND (?6 IS NULL OR model = ?6) ORDER BY hardware, model, version, variant LIMIT ?7", true},
	[PUB_REMOVE] = {"DELETE FROM published_profile WHERE origin = ?1", true},
};

struct profile_store {
	struct db *db;
	struct stmt *st[STATEMENTS];
};

enum err profile_store_open(struct db *db, struct profile_store **out, struct fault *f)
{
	struct profile_store *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	s->db = db;
	enum err e = db_prepare(db, table, STATEMENTS, s->st, f);
	if (e != ERR_OK) {
		free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void profile_store_close(struct profile_store *s)
{
	free(s); /* the connection owns the statements */
}

/* ---- learned ---- */

enum err profile_each(struct profile_store *s, void (*fn)(void *ctx, const struct learned_row *row), void *ctx, struct fault *f)
{
	struct stmt *q = s->st[EACH];
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK || !row)
			return e;
		struct learned_row r = {.artifact = stmt_int(q, 0), .hardware = stmt_text(q, 1), .cell = stmt_int(q, 2), .batch = stmt_int(q, 4),
			.updated_at = stmt_int(q, 5)};
		r.data = stmt_blob(q, 3, &r.len);
		fn(ctx, &r);
	}
}

enum err profile_put(struct profile_store *s, const struct learned_row *row, struct fault *f)
{
	struct stmt *q = s->st[PUT];
	stmt_bind_int(q, 1, row->artifact);
	stmt_bind_text(q, 2, row->hardware);
	stmt_bind_int(q, 3, row->cell);
	stmt_bind_blob(q, 4, row->data, row->len);
	stmt_bind_int(q, 5, row->batch);
	stmt_bind_int(q, 6, row->updated_at);
	return stmt_run(q, f);
}

enum err profile_watermark(struct profile_store *s, int64_t *batch, struct fault *f)
{
	*batch = 0;
	return stmt_read_int(s->st[WATERMARK], batch, f);
}

enum err profile_set_watermark(struct profile_store *s, int64_t batch, struct fault *f)
{
	stmt_bind_int(s->st[SET_WATERMARK], 1, batch);
	return stmt_run(s->st[SET_WATERMARK], f);
}

static enum err one(struct stmt *q, struct fault *f)
{
	bool row = false;
	enum err e = stmt_step(q, &row, f);
	return e == ERR_OK && !row ? ERR_NOT_FOUND : e;
}

enum err profile_artifact(struct profile_store *s, int64_t artifact, struct profiled_row *out, struct arena *a, struct fault *f)
{
	struct stmt *q = s->st[ARTIFACT];
	stmt_bind_int(q, 1, artifact);
	enum err e = one(q, f);
	if (e != ERR_OK)
		return e;
	*out = (struct profiled_row){.artifact = stmt_int(q, 0), .version = stmt_int(q, 1), .size_bytes = stmt_int(q, 2),
		.model = arena_strdup(a, stmt_text(q, 3)), .version_text = arena_strdup(a, stmt_text(q, 4)),
		.variant = arena_strdup(a, stmt_text(q, 5)), .hardware = arena_strdup(a, stmt_text(q, 6)), .macs = stmt_real(q, 7)};
	stmt_reset(q);
	return ERR_OK;
}

enum err profile_find_version(struct profile_store *s, const char *model, const char *version, int64_t *model_row, int64_t *version_row, struct fault *f)
{
	struct stmt *q = s->st[FIND_VERSION];
	stmt_bind_text(q, 1, model);
	stmt_bind_text(q, 2, version);
	enum err e = one(q, f);
	if (e != ERR_OK)
		return e;
	*model_row = stmt_int(q, 0);
	*version_row = stmt_int(q, 1);
	stmt_reset(q);
	return ERR_OK;
}

/* ---- published ---- */

static void bind_number(struct stmt *q, int at, double v)
{
	if (isnan(v))
		stmt_bind_null(q, at);
	else
		stmt_bind_real(q, at, v);
}

static double number(struct stmt *q, int col)
{
	return stmt_is_null(q, col) ? NAN : stmt_real(q, col);
}

enum err published_put(struct profile_store *s, const struct published_row *row, struct fault *f)
{
	struct stmt *q = s->st[PUB_PUT];
	const double numbers[] = {row->latency_ms, row->latency_p95_ms, row->energy_uj, row->memory_bytes, row->accuracy, row->top1, row->auc};
	stmt_bind_text(q, 1, row->hardware);
	stmt_bind_text(q, 2, row->model);
	stmt_bind_text(q, 3, row->version);
	stmt_bind_text(q, 4, row->variant);
	stmt_bind_text(q, 5, row->origin);
	for (int i = 0; i < (int)(sizeof numbers / sizeof numbers[0]); i++)
		bind_number(q, 6 + i, numbers[i]);
	stmt_bind_int(q, 13, row->devices);
	stmt_bind_int(q, 14, row->samples);
	stmt_bind_int(q, 15, row->imported_at);
	return stmt_run(q, f);
}

static void read_published(struct stmt *q, struct arena *a, struct published_row *r)
{
	*r = (struct published_row){.hardware = arena_strdup(a, stmt_text(q, 0)), .model = arena_strdup(a, stmt_text(q, 1)),
		.version = arena_strdup(a, stmt_text(q, 2)), .variant = arena_strdup(a, stmt_text(q, 3)), .origin = arena_strdup(a, stmt_text(q, 4)),
		.latency_ms = number(q, 5), .latency_p95_ms = number(q, 6), .energy_uj = number(q, 7), .memory_bytes = number(q, 8),
		.accuracy = number(q, 9), .top1 = number(q, 10), .auc = number(q, 11), .devices = stmt_int(q, 12), .samples = stmt_int(q, 13),
		.imported_at = stmt_int(q, 14)};
}

enum err published_count(struct profile_store *s, int64_t *count, struct fault *f)
{
	*count = 0;
	return stmt_read_int(s->st[PUB_COUNT], count, f);
}

enum err published_find(struct profile_store *s, const char *hardware, const char *model, const char *version, const char *variant,
	struct published_row *out, struct arena *a, struct fault *f)
{
	struct stmt *q = s->st[PUB_FIND];
	stmt_bind_text(q, 1, hardware);
	stmt_bind_text(q, 2, model);
	stmt_bind_text(q, 3, version);
	stmt_bind_text(q, 4, variant);
	enum err e = one(q, f);
	if (e != ERR_OK)
		return e;
	read_published(q, a, out);
	stmt_reset(q);
	return ERR_OK;
}

enum err published_page(struct profile_store *s, const char *hardware, const char *model, const struct published_row *after, int64_t limit,
	struct published_row **rows, size_t *count, struct arena *a, struct fault *f)
{
	struct stmt *q = s->st[PUB_PAGE];
	struct published_row *items = arena_array(a, (size_t)limit, sizeof *items);
	stmt_bind_text(q, 1, after->hardware);
	stmt_bind_text(q, 2, after->model);
	stmt_bind_text(q, 3, after->version);
	stmt_bind_text(q, 4, after->variant);
	stmt_bind_text(q, 5, hardware);
	stmt_bind_text(q, 6, model);
	stmt_bind_int(q, 7, limit);
	*rows = items;
	*count = 0;
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK || !row)
			return e;
		read_published(q, a, &items[(*count)++]);
	}
}

enum err published_remove(struct profile_store *s, const char *origin, int64_t *removed, struct fault *f)
{
	stmt_bind_text(s->st[PUB_REMOVE], 1, origin);
	enum err e = stmt_run(s->st[PUB_REMOVE], f);
	*removed = e == ERR_OK ? db_changes(s->db) : 0;
	return e;
}

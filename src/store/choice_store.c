#include "store/choice_store.h"

#include <stdlib.h>
#include <string.h>

#include "store/db.h"

#define CHOICE "device, model, artifact, version, since, prev_artifact, prev_version"
#define OVERRIDE "device, model, variant, reason, made_by, made_at"

enum {
	EACH, OF_DEVICE, GET, PUT, OVERRIDES, OVERRIDE_GET, OVERRIDE_PUT, OVERRIDE_REMOVE, OVERRIDE_DEVICE, TRAFFIC, TRAFFIC_PUT, CANDIDATES, NEWEST_RELEASE,
	SAME_VARIANT, OBJECTIVE, SET_OBJECTIVE, STATEMENTS
};

static const struct statement table[STATEMENTS] = {
	[EACH] = {"SELECT " CHOICE " FROM device_choice", true},
	[OF_DEVICE] = {"SELECT " CHOICE " FROM device_choice WHERE device = ?1", false},
	[GET] = {"SELECT " CHOICE " FROM device_choice WHERE device = ?1 AND model = ?2", false},
	[PUT] = {"INSERT INTO device_choice (" CHOICE ") VALUES (?1, ?2, ?3, ?4, ?5, nullif(?6, 0), nullif(?7, 0)) ON CONFLICT (device, model) DO UPDATE"
		" SET artifact = ?3, version = ?4, since = ?5, prev_artifact = nullif(?6, 0), prev_version = nullif(?7, 0)", false},
	[OVERRIDES] = {"SELECT " OVERRIDE " FROM device_override", true},
	[OVERRIDE_GET] = {"SELECT " OVERRIDE " FROM device_override WHERE device = ?1 AND model = ?2", false},
	[OVERRIDE_PUT] = {"INSERT INTO device_override (" OVERRIDE ") VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (device, model) DO UPDATE"
		" SET variant = ?3, reason = ?4, made_by = ?5, made_at = ?6", false},
	[OVERRIDE_REMOVE] = {"DELETE FROM device_override WHERE device = ?1 AND model = ?2", false},
	[OVERRIDE_DEVICE] = {"SELECT " OVERRIDE " FROM device_override WHERE device = ?1 ORDER BY model", false},
	[TRAFFIC] = {"SELECT bytes FROM device_traffic WHERE device = ?1 AND day = ?2", false},
	[TRAFFIC_PUT] = {"INSERT INTO device_traffic (device, day, bytes) VALUES (?1, ?2, ?3) ON CONFLICT (device) DO UPDATE SET day = ?2, bytes = ?3",
		false},
	[CANDIDATES] = {"SELECT a.id, a.size_bytes, a.hardware, a.variant, a.sha256, a.declared, coalesce(json_extract(a.facts, '$.macs'), 0)"
		" FROM artifact a JOIN release_artifact r ON r.artifact = a.id AND r.release = ?1 WHERE a.version = ?2 AND a.hardware = ?3"
		" ORDER BY a.variant, a.id", false},
	[NEWEST_RELEASE] = {"SELECT max(release) FROM release_component WHERE version = ?1", false},
	[SAME_VARIANT] = {"SELECT 1 FROM artifact a JOIN artifact b ON b.version = a.version AND b.hardware = a.hardware AND b.variant = a.variant"
		" WHERE a.id = ?1 AND b.id = ?2", false},
	[OBJECTIVE] = {"SELECT objective FROM release WHERE id = ?1", false},
	[SET_OBJECTIVE] = {"UPDATE release SET objective = ?2 WHERE id = ?1", false},
};

struct choice_store {
	struct db *db;
	struct stmt *st[STATEMENTS];
};

enum err choice_store_open(struct db *db, struct choice_store **out, struct fault *f)
{
	struct choice_store *s = calloc(1, sizeof *s);
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

void choice_store_close(struct choice_store *s)
{
	free(s); /* the connection owns the statements */
}

static enum err one(struct stmt *q, struct fault *f)
{
	bool row = false;
	enum err e = stmt_step(q, &row, f);
	return e == ERR_OK && !row ? ERR_NOT_FOUND : e;
}

/* ---- what devices run ---- */

static struct choice_row read_choice(struct stmt *q)
{
	return (struct choice_row){.device = stmt_int(q, 0), .model = stmt_int(q, 1), .artifact = stmt_int(q, 2), .version = stmt_int(q, 3),
		.since = stmt_int(q, 4), .prev_artifact = stmt_int(q, 5), .prev_version = stmt_int(q, 6)};
}

static enum err each_choice(struct stmt *q, void (*fn)(void *ctx, const struct choice_row *row), void *ctx, struct fault *f)
{
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK || !row)
			return e;
		struct choice_row r = read_choice(q);
		fn(ctx, &r);
	}
}

enum err choice_each(struct choice_store *s, void (*fn)(void *ctx, const struct choice_row *row), void *ctx, struct fault *f)
{
	return each_choice(s->st[EACH], fn, ctx, f);
}

enum err choice_of_device(struct choice_store *s, int64_t device, void (*fn)(void *ctx, const struct choice_row *row), void *ctx, struct fault *f)
{
	stmt_bind_int(s->st[OF_DEVICE], 1, device);
	return each_choice(s->st[OF_DEVICE], fn, ctx, f);
}

enum err choice_get(struct choice_store *s, int64_t device, int64_t model, struct choice_row *out, struct fault *f)
{
	struct stmt *q = s->st[GET];
	stmt_bind_int(q, 1, device);
	stmt_bind_int(q, 2, model);
	enum err e = one(q, f);
	if (e != ERR_OK)
		return e;
	*out = read_choice(q);
	stmt_reset(q);
	return ERR_OK;
}

enum err choice_put(struct choice_store *s, const struct choice_row *row, struct fault *f)
{
	struct stmt *q = s->st[PUT];
	stmt_bind_int(q, 1, row->device);
	stmt_bind_int(q, 2, row->model);
	stmt_bind_int(q, 3, row->artifact);
	stmt_bind_int(q, 4, row->version);
	stmt_bind_int(q, 5, row->since);
	stmt_bind_int(q, 6, row->prev_artifact);
	stmt_bind_int(q, 7, row->prev_version);
	return stmt_run(q, f);
}

/* ---- overrides ---- */

static struct override_row read_override(struct stmt *q)
{
	return (struct override_row){.device = stmt_int(q, 0), .model = stmt_int(q, 1), .variant = stmt_text(q, 2), .reason = stmt_text(q, 3),
		.made_by = stmt_text(q, 4), .made_at = stmt_int(q, 5)};
}

static struct override_row keep_override(struct stmt *q, struct arena *a)
{
	struct override_row r = read_override(q);
	r.variant = arena_strdup(a, r.variant);
	r.reason = arena_strdup(a, r.reason);
	r.made_by = arena_strdup(a, r.made_by);
	return r;
}

enum err override_each(struct choice_store *s, void (*fn)(void *ctx, const struct override_row *row), void *ctx, struct fault *f)
{
	for (;;) {
		bool row = false;
		enum err e = stmt_step(s->st[OVERRIDES], &row, f);
		if (e != ERR_OK || !row)
			return e;
		struct override_row r = read_override(s->st[OVERRIDES]);
		fn(ctx, &r);
	}
}

enum err override_get(struct choice_store *s, int64_t device, int64_t model, struct override_row *out, struct arena *a, struct fault *f)
{
	struct stmt *q = s->st[OVERRIDE_GET];
	stmt_bind_int(q, 1, device);
	stmt_bind_int(q, 2, model);
	enum err e = one(q, f);
	if (e != ERR_OK)
		return e;
	*out = keep_override(q, a);
	stmt_reset(q);
	return ERR_OK;
}

enum err override_put(struct choice_store *s, const struct override_row *row, struct fault *f)
{
	struct stmt *q = s->st[OVERRIDE_PUT];
	stmt_bind_int(q, 1, row->device);
	stmt_bind_int(q, 2, row->model);
	stmt_bind_text(q, 3, row->variant);
	stmt_bind_text(q, 4, row->reason);
	stmt_bind_text(q, 5, row->made_by);
	stmt_bind_int(q, 6, row->made_at);
	return stmt_run(q, f);
}

enum err override_remove(struct choice_store *s, int64_t device, int64_t model, bool *was_there, struct fault *f)
{
	struct stmt *q = s->st[OVERRIDE_REMOVE];
	stmt_bind_int(q, 1, device);
	stmt_bind_int(q, 2, model);
	enum err e = stmt_run(q, f);
	*was_there = e == ERR_OK && db_changes(s->db) > 0;
	return e;
}

#define OVERRIDES_MAX 32 /* of a device; it has at most so many models */

enum err override_of_device(struct choice_store *s, int64_t device, struct override_row **rows, size_t *count, struct arena *a, struct fault *f)
{
	struct stmt *q = s->st[OVERRIDE_DEVICE];
	*rows = arena_array(a, OVERRIDES_MAX, sizeof **rows);
	*count = 0;
	stmt_bind_int(q, 1, device);
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK || !row)
			return e;
		if (*count == OVERRIDES_MAX) {
			stmt_reset(q);
			return ERR_OK;
		}
		(*rows)[(*count)++] = keep_override(q, a);
	}
}

/* ---- budgets ---- */

enum err traffic_get(struct choice_store *s, int64_t device, int64_t day, int64_t *bytes, struct fault *f)
{
	*bytes = 0;
	stmt_bind_int(s->st[TRAFFIC], 1, device);
	stmt_bind_int(s->st[TRAFFIC], 2, day);
	return stmt_read_int(s->st[TRAFFIC], bytes, f);
}

enum err traffic_put(struct choice_store *s, int64_t device, int64_t day, int64_t bytes, struct fault *f)
{
	struct stmt *q = s->st[TRAFFIC_PUT];
	stmt_bind_int(q, 1, device);
	stmt_bind_int(q, 2, day);
	stmt_bind_int(q, 3, bytes);
	return stmt_run(q, f);
}

/* ---- what there is to choose from ---- */

enum err choice_candidates(struct choice_store *s, int64_t release, int64_t version, const char *hardware, struct candidate_row **rows, size_t *count,
	struct arena *a, struct fault *f)
{
	struct stmt *q = s->st[CANDIDATES];
	size_t room = 8;
	*rows = arena_array(a, room, sizeof **rows);
	*count = 0;
	stmt_bind_int(q, 1, release);
	stmt_bind_int(q, 2, version);
	stmt_bind_text(q, 3, hardware);
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK || !row)
			return e;
		if (*count == room) {
			struct candidate_row *more = arena_array(a, room * 2, sizeof *more);
			memcpy(more, *rows, room * sizeof *more);
			*rows = more;
			room *= 2;
		}
		(*rows)[(*count)++] = (struct candidate_row){.artifact = stmt_int(q, 0), .size_bytes = stmt_int(q, 1),
			.hardware = arena_strdup(a, stmt_text(q, 2)), .variant = arena_strdup(a, stmt_text(q, 3)),
			.sha256 = arena_strdup(a, stmt_text(q, 4)), .declared = arena_strdup(a, stmt_text(q, 5)), .macs = stmt_real(q, 6)};
	}
}

enum err choice_newest_release(struct choice_store *s, int64_t version, int64_t *release, struct fault *f)
{
	*release = 0;
	stmt_bind_int(s->st[NEWEST_RELEASE], 1, version);
	return stmt_read_int(s->st[NEWEST_RELEASE], release, f);
}

enum err choice_same_variant(struct choice_store *s, int64_t artifact, int64_t other, bool *is_same, struct fault *f)
{
	int64_t found = 0;
	stmt_bind_int(s->st[SAME_VARIANT], 1, artifact);
	stmt_bind_int(s->st[SAME_VARIANT], 2, other);
	enum err e = stmt_read_int(s->st[SAME_VARIANT], &found, f);
	*is_same = found != 0;
	return e;
}

enum err objective_get(struct choice_store *s, int64_t release, const char **json, struct arena *a, struct fault *f)
{
	struct stmt *q = s->st[OBJECTIVE];
	*json = NULL;
	stmt_bind_int(q, 1, release);
	enum err e = one(q, f);
	if (e != ERR_OK)
		return e;
	*json = arena_strdup(a, stmt_text(q, 0));
	stmt_reset(q);
	return ERR_OK;
}

enum err objective_set(struct choice_store *s, int64_t release, const char *json, struct fault *f)
{
	stmt_bind_int(s->st[SET_OBJECTIVE], 1, release);
	stmt_bind_text(s->st[SET_OBJECTIVE], 2, json);
	return stmt_run(s->st[SET_OBJECTIVE], f);
}

#include "store/capability_store.h"

#include <stdbool.h>
#include <stdlib.h>

#include "store/db.h"

enum { LOAD, PUT, DELETE, UNCLASSED, STATEMENT_COUNT };

static const struct statement statements[STATEMENT_COUNT] = {
	[LOAD] = {.sql = "SELECT id, words FROM capability_class ORDER BY id", .scans = true},
	[PUT] = {.sql = "INSERT INTO capability_class (id, words) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET words = excluded.words"},
	[DELETE] = {.sql = "DELETE FROM capability_class WHERE id = ?1"},
	[UNCLASSED] = {.sql = "SELECT id, capabilities, running_firmware FROM device WHERE id > ?1 AND capability_class = 0 "
	                      "AND (capabilities <> '{}' OR running_firmware IS NOT NULL) ORDER BY id LIMIT 1"},
};

struct capability_store {
	struct stmt *stmt[STATEMENT_COUNT];
};

enum err capability_store_open(struct db *db, struct capability_store **out, struct fault *f)
{
	struct capability_store *s = calloc(1, sizeof *s);
	if (!s)
		abort();
	enum err e = db_prepare(db, statements, STATEMENT_COUNT, s->stmt, f);
	if (e != ERR_OK) {
		free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void capability_store_close(struct capability_store *s)
{
	free(s); /* the connection owns the statements */
}

enum err capability_store_load(struct capability_store *s, void (*fn)(void *ctx, int64_t id, const char *words), void *ctx, struct fault *f)
{
	struct stmt *q = s->stmt[LOAD];
	bool row;
	enum err e;
	while ((e = stmt_step(q, &row, f)) == ERR_OK && row)
		fn(ctx, stmt_int(q, 0), stmt_text(q, 1));
	return e;
}

enum err capability_store_put(struct capability_store *s, int64_t id, const char *words, struct fault *f)
{
	struct stmt *q = s->stmt[PUT];
	stmt_bind_int(q, 1, id);
	stmt_bind_text(q, 2, words);
	return stmt_run(q, f);
}

enum err capability_store_delete(struct capability_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->stmt[DELETE], 1, id);
	return stmt_run(s->stmt[DELETE], f);
}

enum err capability_store_unclassed(struct capability_store *s, int64_t after,
	void (*fn)(void *ctx, int64_t device, const char *capabilities, const char *firmware), void *ctx, struct fault *f)
{
	struct stmt *q = s->stmt[UNCLASSED];
	bool row = false;
	stmt_bind_int(q, 1, after);
	enum err e = stmt_step(q, &row, f);
	if (e != ERR_OK || !row)
		return e;
	fn(ctx, stmt_int(q, 0), stmt_text(q, 1), stmt_is_null(q, 2) ? NULL : stmt_text(q, 2));
	stmt_reset(q);
	return ERR_OK;
}

#include "store/setting_store.h"

#include <stdbool.h>
#include <stdlib.h>

#include "store/db.h"

enum { EACH, PUT, DELETE, STATEMENT_COUNT };

static const struct statement statements[STATEMENT_COUNT] = {
	[EACH] = {.sql = "SELECT key, value FROM setting", .scans = true}, /* as many rows as the service has keys */
	[PUT] = {.sql = "INSERT INTO setting (key, value, updated_at) VALUES (?1, ?2, ?3) "
	                "ON CONFLICT (key) DO UPDATE SET value = ?2, updated_at = ?3"},
	[DELETE] = {.sql = "DELETE FROM setting WHERE key = ?1"},
};

struct setting_store {
	struct stmt *stmt[STATEMENT_COUNT];
};

enum err setting_store_open(struct db *db, struct setting_store **out, struct fault *f)
{
	struct setting_store *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	enum err e = db_prepare(db, statements, STATEMENT_COUNT, s->stmt, f);
	if (e != ERR_OK) {
		free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void setting_store_close(struct setting_store *s)
{
	free(s); /* the connection owns the statements */
}

enum err setting_store_each(struct setting_store *s, void (*fn)(void *ctx, const char *key, const char *value), void *ctx, struct fault *f)
{
	for (;;) {
		bool row = false;
		enum err e = stmt_step(s->stmt[EACH], &row, f);
		if (e != ERR_OK || !row)
			return e;
		fn(ctx, stmt_text(s->stmt[EACH], 0), stmt_text(s->stmt[EACH], 1));
	}
}

enum err setting_store_put(struct setting_store *s, const char *key, const char *value, int64_t now_ms, struct fault *f)
{
	stmt_bind_text(s->stmt[PUT], 1, key);
	stmt_bind_text(s->stmt[PUT], 2, value);
	stmt_bind_int(s->stmt[PUT], 3, now_ms);
	return stmt_run(s->stmt[PUT], f);
}

enum err setting_store_delete(struct setting_store *s, const char *key, struct fault *f)
{
	stmt_bind_text(s->stmt[DELETE], 1, key);
	return stmt_run(s->stmt[DELETE], f);
}

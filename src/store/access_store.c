#include "store/access_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/db.h"

enum {
	TOKEN_INSERT, TOKEN_GET, TOKEN_PAGE, TOKEN_REVOKE, TOKEN_USES, TOKEN_RETAIN,
	AUDIT_INSERT, AUDIT_PAGE, AUDIT_PAGE_RESOURCE, AUDIT_RETAIN,
	EVENT_INSERT, EVENT_PAGE, EVENT_PAGE_RESOURCE, EVENT_OLDEST, EVENT_NEWEST, EVENT_RETAIN,
	COUNTER_INCREMENT, COUNTER_READ, COUNTER_LEAST,
	REPLY_FIND, REPLY_PUT, REPLY_RETAIN,
	STATEMENTS
};

#define TOKEN_COLUMNS "id, name, kind, role, sha256, created_at, expires_at, uses_left, revoked_at"
#define AUDIT_COLUMNS "id, at, who, role, action, resource, before, after"
/* ?2 who, ?3 action, ?4 from, ?5 to; NULL: any */
#define AUDIT_CONDITIONS \
	" AND (?2 IS NULL OR who = ?2) AND (?3 IS NULL OR action = ?3) AND at BETWEEN ?4 AND ?5 ORDER BY id DESC LIMIT ?6"

static const struct statement table[STATEMENTS] = {
	[TOKEN_INSERT] = {"INSERT INTO token (name, kind, role, sha256, created_at, expires_at, uses_left) "
		"VALUES (?, ?, ?, ?, ?, ?, ?)", false},
	[TOKEN_GET] = {"SELECT " TOKEN_COLUMNS " FROM token WHERE id = ?", false},
	[TOKEN_PAGE] = {"SELECT " TOKEN_COLUMNS " FROM token WHERE id > ? ORDER BY id LIMIT ?", false},
	[TOKEN_REVOKE] = {"UPDATE token SET revoked_at = ? WHERE id = ?", false},
	[TOKEN_USES] = {"UPDATE token SET uses_left = ? WHERE id = ?", false},
	/* At most ACCESS_TOKENS_MAX live ones and a month of dead ones: small enough to read, once an hour. */
	[TOKEN_RETAIN] = {"DELETE FROM token WHERE id IN (SELECT id FROM token "
		"WHERE revoked_at < ?1 OR expires_at < ?1 LIMIT ?2)", true},
	[AUDIT_INSERT] = {"INSERT INTO audit (at, who, role, action, resource, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
		false},
	[AUDIT_PAGE] = {"SELECT " AUDIT_COLUMNS " FROM audit WHERE id < ?1" AUDIT_CONDITIONS, false},
	[AUDIT_PAGE_RESOURCE] = {"SELECT " AUDIT_COLUMNS " FROM audit WHERE resource = ?7 AND id < ?1" AUDIT_CONDITIONS,
		false},
	/* By id from the oldest: rows are appended in order of time, so the walk ends at the first young one. */
	[AUDIT_RETAIN] = {"DELETE FROM audit WHERE id IN (SELECT id FROM (SELECT id, at FROM audit WHERE id > 0 "
		"ORDER BY id LIMIT ?2) WHERE at < ?1 OR id <= (SELECT max(id) FROM audit) - ?3)", false},
	[EVENT_INSERT] = {"INSERT INTO event (at, kind, resource, data) VALUES (?, ?, ?, ?)", false},
	[EVENT_PAGE] = {"SELECT id, at, kind, resource, data FROM event WHERE id > ?1 ORDER BY id LIMIT ?2", false},
	[EVENT_PAGE_RESOURCE] = {"SELECT id, at, kind, resource, data FROM event WHERE resource = ?3 AND id > ?1 "
		"ORDER BY id LIMIT ?2", false},
	[EVENT_OLDEST] = {"SELECT id FROM event WHERE id > 0 ORDER BY id LIMIT 1", false},
	[EVENT_NEWEST] = {"SELECT id FROM event WHERE id > 0 ORDER BY id DESC LIMIT 1", false},
	[EVENT_RETAIN] = {"DELETE FROM event WHERE id IN (SELECT id FROM event WHERE id <= (SELECT max(id) "
		"FROM event) - ?1 ORDER BY id LIMIT ?2)", false},
	[COUNTER_INCREMENT] = {"INSERT INTO counter (name, value) VALUES (?, 1) ON CONFLICT (name) "
		"DO UPDATE SET value = value + 1 RETURNING value", false},
	[COUNTER_READ] = {"SELECT value FROM counter WHERE name = ?", false},
	[COUNTER_LEAST] = {"INSERT INTO counter (name, value) VALUES (?1, ?2) ON CONFLICT (name) "
		"DO UPDATE SET value = max(value, ?2)", false},
	[REPLY_FIND] = {"SELECT request_sha256, created_at, status, reply FROM idempotency WHERE principal = ? AND key = ?",
		false},
	[REPLY_PUT] = {"INSERT OR REPLACE INTO idempotency (principal, key, request_sha256, status, reply, created_at) "
		"VALUES (?, ?, ?, ?, ?, ?)", false},
	[REPLY_RETAIN] = {"DELETE FROM idempotency WHERE (principal, key) IN "
		"(SELECT principal, key FROM idempotency WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)",
		false},
};

struct access_store {
	struct db *db;
	struct stmt *st[STATEMENTS];
};

enum err access_store_open(struct db *db, struct access_store **out, struct fault *f)
{
	*out = NULL;
	struct access_store *s = calloc(1, sizeof *s);
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

void access_store_close(struct access_store *s)
{
	free(s);
}

static void bind_time(struct stmt *st, int at, int64_t v)
{
	if (v > 0)
		stmt_bind_int(st, at, v);
	else
		stmt_bind_null(st, at);
}

/* Runs a statement that gives at most one integer. */
static enum err one_int(struct stmt *st, int64_t *value, struct fault *f)
{
	bool row;
	enum err e = stmt_step(st, &row, f);
	if (e == ERR_OK && row) {
		*value = stmt_int(st, 0);
		e = stmt_step(st, &row, f); /* to the end: a RETURNING statement is done only then */
		assert(!row);
	}
	return e;
}

/* ---- tokens ---- */

enum err token_insert(struct access_store *s, struct token_row *row, struct fault *f)
{
	struct stmt *st = s->st[TOKEN_INSERT];
	stmt_bind_text(st, 1, row->name);
	stmt_bind_text(st, 2, row->kind);
	stmt_bind_text(st, 3, row->role);
	stmt_bind_blob(st, 4, row->sha256, sizeof row->sha256);
	stmt_bind_int(st, 5, row->created_at);
	bind_time(st, 6, row->expires_at);
	if (row->uses_left >= 0)
		stmt_bind_int(st, 7, row->uses_left);
	else
		stmt_bind_null(st, 7);
	enum err e = stmt_run(st, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

static void read_token(struct stmt *st, struct arena *a, struct token_row *row)
{
	row->id = stmt_int(st, 0);
	row->name = arena_strdup(a, stmt_text(st, 1));
	row->kind = arena_strdup(a, stmt_text(st, 2));
	row->role = arena_strdup(a, stmt_text(st, 3));
	size_t len;
	const void *sha256 = stmt_blob(st, 4, &len);
	assert(len == sizeof row->sha256);
	memcpy(row->sha256, sha256, len);
	row->created_at = stmt_int(st, 5);
	row->expires_at = stmt_int(st, 6);
	row->uses_left = stmt_is_null(st, 7) ? -1 : stmt_int(st, 7);
	row->revoked_at = stmt_int(st, 8);
}

enum err token_get(struct access_store *s, int64_t id, struct arena *a, struct token_row *row, struct fault *f)
{
	struct stmt *st = s->st[TOKEN_GET];
	bool found;
	stmt_bind_int(st, 1, id);
	enum err e = stmt_step(st, &found, f);
	if (e != ERR_OK)
		return e;
	if (!found)
		return fault_set(f, ERR_NOT_FOUND, "", "no token %lld", (long long)id);
	read_token(st, a, row);
	stmt_reset(st);
	return ERR_OK;
}

enum err token_page(struct access_store *s, int64_t after, int64_t limit, struct arena *a, struct token_row **rows,
	size_t *count, struct fault *f)
{
	struct stmt *st = s->st[TOKEN_PAGE];
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	stmt_bind_int(st, 1, after);
	stmt_bind_int(st, 2, limit);
	bool row;
	enum err e;
	while ((e = stmt_step(st, &row, f)) == ERR_OK && row)
		read_token(st, a, &(*rows)[(*count)++]);
	return e;
}

enum err token_set_revoked(struct access_store *s, int64_t id, int64_t at, struct fault *f)
{
	struct stmt *st = s->st[TOKEN_REVOKE];
	stmt_bind_int(st, 1, at);
	stmt_bind_int(st, 2, id);
	return stmt_run(st, f);
}

enum err token_set_uses(struct access_store *s, int64_t id, int64_t uses_left, struct fault *f)
{
	struct stmt *st = s->st[TOKEN_USES];
	stmt_bind_int(st, 1, uses_left);
	stmt_bind_int(st, 2, id);
	return stmt_run(st, f);
}

/* ---- audit and events ---- */

enum err audit_insert(struct access_store *s, const struct audit_row *row, struct fault *f)
{
	struct stmt *st = s->st[AUDIT_INSERT];
	stmt_bind_int(st, 1, row->at);
	stmt_bind_text(st, 2, row->who);
	stmt_bind_text(st, 3, row->role);
	stmt_bind_text(st, 4, row->action);
	stmt_bind_text(st, 5, row->resource);
	stmt_bind_text(st, 6, row->before);
	stmt_bind_text(st, 7, row->after);
	return stmt_run(st, f);
}

enum err audit_page(struct access_store *s, const struct audit_filter *filter, int64_t before, int64_t limit,
	struct arena *a,
	struct audit_row **rows, size_t *count, struct fault *f)
{
	struct stmt *st = s->st[filter->resource != NULL ? AUDIT_PAGE_RESOURCE : AUDIT_PAGE];
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	stmt_bind_int(st, 1, before > 0 ? before : INT64_MAX);
	stmt_bind_text(st, 2, filter->who);
	stmt_bind_text(st, 3, filter->action);
	stmt_bind_int(st, 4, filter->from);
	stmt_bind_int(st, 5, filter->to > 0 ? filter->to : INT64_MAX);
	stmt_bind_int(st, 6, limit);
	if (filter->resource != NULL)
		stmt_bind_text(st, 7, filter->resource);
	bool row;
	enum err e;
	while ((e = stmt_step(st, &row, f)) == ERR_OK && row) {
		struct audit_row *r = &(*rows)[(*count)++];
		r->id = stmt_int(st, 0);
		r->at = stmt_int(st, 1);
		const char **texts[] = {&r->who, &r->role, &r->action, &r->resource, &r->before, &r->after};
		for (int i = 0; i < 6; i++)
			*texts[i] = arena_strdup(a, stmt_text(st, 2 + i));
	}
	return e;
}

enum err event_insert(struct access_store *s, struct event_row *row, struct fault *f)
{
	struct stmt *st = s->st[EVENT_INSERT];
	stmt_bind_int(st, 1, row->at);
	stmt_bind_text(st, 2, row->kind);
	stmt_bind_text(st, 3, row->resource);
	stmt_bind_text(st, 4, row->data);
	enum err e = stmt_run(st, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

enum err event_page(struct access_store *s, const char *resource, int64_t after, int64_t limit, struct arena *a,
	struct event_row **rows, size_t *count, struct fault *f)
{
	struct stmt *st = s->st[resource != NULL ? EVENT_PAGE_RESOURCE : EVENT_PAGE];
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	stmt_bind_int(st, 1, after);
	stmt_bind_int(st, 2, limit);
	if (resource != NULL)
		stmt_bind_text(st, 3, resource);
	bool row;
	enum err e;
	while ((e = stmt_step(st, &row, f)) == ERR_OK && row) {
		struct event_row *r = &(*rows)[(*count)++];
		*r = (struct event_row){stmt_int(st, 0), stmt_int(st, 1), arena_strdup(a, stmt_text(st, 2)),
			arena_strdup(a, stmt_text(st, 3)),
		                        arena_strdup(a, stmt_text(st, 4))};
	}
	return e;
}

enum err event_range(struct access_store *s, int64_t *oldest, int64_t *newest, struct fault *f)
{
	*oldest = *newest = 0;
	enum err e = one_int(s->st[EVENT_OLDEST], oldest, f);
	return e == ERR_OK ? one_int(s->st[EVENT_NEWEST], newest, f) : e;
}

/* ---- counters and kept replies ---- */

enum err counter_increment(struct access_store *s, const char *name, int64_t *value, struct fault *f)
{
	stmt_bind_text(s->st[COUNTER_INCREMENT], 1, name);
	return one_int(s->st[COUNTER_INCREMENT], value, f);
}

enum err counter_read(struct access_store *s, const char *name, int64_t *value, struct fault *f)
{
	*value = 0;
	stmt_bind_text(s->st[COUNTER_READ], 1, name);
	return one_int(s->st[COUNTER_READ], value, f);
}

enum err counter_set_least(struct access_store *s, const char *name, int64_t least, struct fault *f)
{
	stmt_bind_text(s->st[COUNTER_LEAST], 1, name);
	stmt_bind_int(s->st[COUNTER_LEAST], 2, least);
	return stmt_run(s->st[COUNTER_LEAST], f);
}

enum err reply_find(struct access_store *s, const char *principal, const char *key, struct arena *a,
	struct kept_reply *r, bool *found, struct fault *f)
{
	struct stmt *st = s->st[REPLY_FIND];
	stmt_bind_text(st, 1, principal);
	stmt_bind_text(st, 2, key);
	enum err e = stmt_step(st, found, f);
	if (e != ERR_OK || !*found)
		return e;
	size_t len;
	const void *sha256 = stmt_blob(st, 0, &len);
	assert(len == sizeof r->request_sha256);
	memcpy(r->request_sha256, sha256, len);
	r->created_at = stmt_int(st, 1);
	r->status = (int)stmt_int(st, 2);
	const void *reply = stmt_blob(st, 3, &r->len);
	char *copy = arena_alloc(a, r->len + 1);
	if (r->len > 0)
		memcpy(copy, reply, r->len);
	r->reply = copy;
	stmt_reset(st);
	return ERR_OK;
}

enum err reply_put(struct access_store *s, const char *principal, const char *key, const struct kept_reply *r,
	struct fault *f)
{
	struct stmt *st = s->st[REPLY_PUT];
	stmt_bind_text(st, 1, principal);
	stmt_bind_text(st, 2, key);
	stmt_bind_blob(st, 3, r->request_sha256, sizeof r->request_sha256);
	stmt_bind_int(st, 4, r->status);
	stmt_bind_blob(st, 5, r->len > 0 ? r->reply : "", r->len);
	stmt_bind_int(st, 6, r->created_at);
	return stmt_run(st, f);
}

/* ---- retention ---- */

static enum err delete_rows(struct access_store *s, int which, int64_t *deleted, struct fault *f)
{
	enum err e = stmt_run(s->st[which], f);
	*deleted = e == ERR_OK ? db_changes(s->db) : 0;
	return e;
}

enum err reply_retain(struct access_store *s, int64_t older_than, int64_t rows, int64_t *deleted, struct fault *f)
{
	stmt_bind_int(s->st[REPLY_RETAIN], 1, older_than);
	stmt_bind_int(s->st[REPLY_RETAIN], 2, rows);
	return delete_rows(s, REPLY_RETAIN, deleted, f);
}

enum err event_retain(struct access_store *s, int64_t keep, int64_t rows, int64_t *deleted, struct fault *f)
{
	stmt_bind_int(s->st[EVENT_RETAIN], 1, keep);
	stmt_bind_int(s->st[EVENT_RETAIN], 2, rows);
	return delete_rows(s, EVENT_RETAIN, deleted, f);
}

enum err audit_retain(struct access_store *s, int64_t older_than, int64_t keep, int64_t rows, int64_t *deleted,
	struct fault *f)
{
	stmt_bind_int(s->st[AUDIT_RETAIN], 1, older_than);
	stmt_bind_int(s->st[AUDIT_RETAIN], 2, rows);
	stmt_bind_int(s->st[AUDIT_RETAIN], 3, keep);
	return delete_rows(s, AUDIT_RETAIN, deleted, f);
}

enum err token_retain(struct access_store *s, int64_t dead_before, int64_t rows, int64_t *deleted, struct fault *f)
{
	stmt_bind_int(s->st[TOKEN_RETAIN], 1, dead_before);
	stmt_bind_int(s->st[TOKEN_RETAIN], 2, rows);
	return delete_rows(s, TOKEN_RETAIN, deleted, f);
}

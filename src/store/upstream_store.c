#include "store/upstream_store.h"

#include <stdlib.h>
#include <string.h>

#include "store/db.h"

#define UPSTREAM \
	"id, name, model, kind, url, prefix, public_key, auth, user, secret, ca_file, policy, interval_ms, alert_after, is_enabled, revision," \
	" created_at, updated_at, etag, state, fault, reason, stopped_version, published, failures, checked_at, succeeded_at, next_at"
#define VERSION \
	"id, upstream, version, digest, withdrawn, status, fault, reason, table_json, attempts, next_at, release, rollout, seen_at, updated_at"

enum {
	INSERT, UPDATE, NOTE, DELETE, FIND, GET, LIST, VERSIONS, VERSION_GET, BUSY, VERSION_INSERT, VERSION_SET, FORGIVE, RUNNING, STATEMENTS
};

static const struct statement table[STATEMENTS] = {
	[INSERT] = {"INSERT INTO upstream (name, model, kind, url, prefix, public_key, auth, user, secret, ca_file, policy, interval_ms, alert_after,"
		" is_enabled, revision, created_at, updated_at, next_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
		false},
	[UPDATE] = {"UPDATE upstream SET name = ?1, model = ?2, kind = ?3, url = ?4, prefix = ?5, public_key = ?6, auth = ?7, user = ?8, secret = ?9,"
		" ca_file = ?10, policy = ?11, interval_ms = ?12, alert_after = ?13, is_enabled = ?14, revision = ?15, updated_at = ?17, next_at = ?18,"
		" etag = '' WHERE id = ?19", false},
	[NOTE] = {"UPDATE upstream SET etag = ?2, state = ?3, fault = ?4, reason = ?5, stopped_version = ?6, published = ?7, failures = ?8,"
		" checked_at = nullif(?9, 0), succeeded_at = nullif(?10, 0), next_at = ?11 WHERE id = ?1", false},
	[DELETE] = {"DELETE FROM upstream WHERE id = ?1", false},
	[FIND] = {"SELECT " UPSTREAM " FROM upstream WHERE name = ?1", false},
	[GET] = {"SELECT " UPSTREAM " FROM upstream WHERE id = ?1", false},
	[LIST] = {"SELECT " UPSTREAM " FROM upstream WHERE id > ?1 ORDER BY id LIMIT ?2", false},
	[VERSIONS] = {"SELECT " VERSION ", NULL FROM upstream_version WHERE upstream = ?1 ORDER BY id DESC", false},
	[VERSION_GET] = {"SELECT " VERSION ", record FROM upstream_version WHERE upstream = ?1 AND version = ?2", false},
	[BUSY] = {"SELECT " VERSION ", record FROM upstream_version WHERE upstream = ?1 AND status IN ('fetching', 'fetched', 'released', 'rolling')"
		" ORDER BY id LIMIT 1", false},
	[VERSION_INSERT] = {"INSERT INTO upstream_version (upstream, version, digest, withdrawn, record, status, seen_at, updated_at)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", false},
	[VERSION_SET] = {"UPDATE upstream_version SET digest = ?2, withdrawn = ?3, record = coalesce(?4, record), status = ?5, fault = ?6, reason = ?7,"
		" table_json = ?8, attempts = ?9, next_at = ?10, release = nullif(?11, 0), rollout = nullif(?12, 0), updated_at = ?13 WHERE id = ?1", false},
	[FORGIVE] = {"UPDATE upstream_version SET status = 'seen', fault = '', reason = '' WHERE upstream = ?1 AND status = 'refused' AND fault = ?2", false},
	[RUNNING] = {"SELECT v.version FROM model m JOIN version v ON v.model = m.id JOIN release_component c ON c.version = v.id"
		" JOIN release r ON r.id = c.release WHERE m.name = ?2 AND EXISTS (SELECT 1 FROM device d WHERE d.running_release = r.name)"
		" AND NOT EXISTS (SELECT 1 FROM upstream_version u WHERE u.upstream = ?1 AND u.version = v.version AND u.status IN ('rolling', 'reverted'))"
		" ORDER BY r.id DESC LIMIT 1", false},
};

struct upstream_store {
	struct db *db;
	struct stmt *st[STATEMENTS];
};

enum err upstream_store_open(struct db *db, struct upstream_store **out, struct fault *f)
{
	struct upstream_store *s = calloc(1, sizeof *s);
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

void upstream_store_close(struct upstream_store *s)
{
	free(s);
}

/* ---- upstreams ---- */

static void bind_settings(struct stmt *q, const struct upstream_row *r)
{
	const char *texts[] = {r->name, r->model, r->kind, r->url, r->prefix, r->public_key, r->auth, r->user};
	for (int i = 0; i < 8; i++)
		stmt_bind_text(q, i + 1, texts[i]);
	if (r->secret != NULL)
		stmt_bind_blob(q, 9, r->secret, r->secret_len);
	else
		stmt_bind_null(q, 9);
	stmt_bind_text(q, 10, r->ca_file);
	stmt_bind_text(q, 11, r->policy);
	stmt_bind_int(q, 12, r->interval_ms);
	stmt_bind_int(q, 13, r->alert_after);
	stmt_bind_int(q, 14, r->is_enabled);
	stmt_bind_int(q, 15, r->revision);
	stmt_bind_int(q, 17, r->updated_at);
	stmt_bind_int(q, 18, r->next_at);
}

enum err upstream_store_insert(struct upstream_store *s, struct upstream_row *row, struct fault *f)
{
	bind_settings(s->st[INSERT], row);
	stmt_bind_int(s->st[INSERT], 16, row->created_at);
	enum err e = stmt_run(s->st[INSERT], f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

enum err upstream_store_update(struct upstream_store *s, const struct upstream_row *row, struct fault *f)
{
	bind_settings(s->st[UPDATE], row);
	stmt_bind_int(s->st[UPDATE], 19, row->id);
	return stmt_run(s->st[UPDATE], f);
}

enum err upstream_store_note(struct upstream_store *s, const struct upstream_row *row, struct fault *f)
{
	struct stmt *q = s->st[NOTE];
	const char *texts[] = {row->etag, row->state, row->fault, row->reason, row->stopped_version};
	stmt_bind_int(q, 1, row->id);
	for (int i = 0; i < 5; i++)
		stmt_bind_text(q, i + 2, texts[i]);
	stmt_bind_int(q, 7, row->published);
	stmt_bind_int(q, 8, row->failures);
	stmt_bind_int(q, 9, row->checked_at);
	stmt_bind_int(q, 10, row->succeeded_at);
	stmt_bind_int(q, 11, row->next_at);
	return stmt_run(q, f);
}

enum err upstream_store_delete(struct upstream_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->st[DELETE], 1, id);
	return stmt_run(s->st[DELETE], f);
}

static void read_upstream(struct stmt *q, struct arena *a, struct upstream_row *r)
{
	size_t len = 0;
	const void *secret = stmt_blob(q, 9, &len);
	*r = (struct upstream_row){.id = stmt_int(q, 0), .name = arena_strdup(a, stmt_text(q, 1)), .model = arena_strdup(a, stmt_text(q, 2)),
		.kind = arena_strdup(a, stmt_text(q, 3)), .url = arena_strdup(a, stmt_text(q, 4)), .prefix = arena_strdup(a, stmt_text(q, 5)),
		.public_key = arena_strdup(a, stmt_text(q, 6)), .auth = arena_strdup(a, stmt_text(q, 7)), .user = arena_strdup(a, stmt_text(q, 8)),
		.ca_file = arena_strdup(a, stmt_text(q, 10)), .policy = arena_strdup(a, stmt_text(q, 11)), .interval_ms = stmt_int(q, 12),
		.alert_after = stmt_int(q, 13), .is_enabled = stmt_int(q, 14) != 0, .revision = stmt_int(q, 15), .created_at = stmt_int(q, 16),
		.updated_at = stmt_int(q, 17), .etag = arena_strdup(a, stmt_text(q, 18)), .state = arena_strdup(a, stmt_text(q, 19)),
		.fault = arena_strdup(a, stmt_text(q, 20)), .reason = arena_strdup(a, stmt_text(q, 21)),
		.stopped_version = arena_strdup(a, stmt_text(q, 22)), .published = stmt_int(q, 23), .failures = stmt_int(q, 24),
		.checked_at = stmt_int(q, 25), .succeeded_at = stmt_int(q, 26), .next_at = stmt_int(q, 27)};
	if (secret != NULL && len > 0) {
		void *copy = arena_alloc(a, len);
		memcpy(copy, secret, len);
		r->secret = copy;
		r->secret_len = len;
	}
}

static enum err one_upstream(struct stmt *q, struct arena *a, struct upstream_row *out, struct fault *f)
{
	bool row = false;
	enum err e = stmt_step(q, &row, f);
	if (e != ERR_OK || !row)
		return e != ERR_OK ? e : ERR_NOT_FOUND;
	read_upstream(q, a, out);
	stmt_reset(q);
	return ERR_OK;
}

enum err upstream_store_find(struct upstream_store *s, const char *name, struct arena *a, struct upstream_row *out, struct fault *f)
{
	stmt_bind_text(s->st[FIND], 1, name);
	return one_upstream(s->st[FIND], a, out, f);
}

enum err upstream_store_get(struct upstream_store *s, int64_t id, struct arena *a, struct upstream_row *out, struct fault *f)
{
	stmt_bind_int(s->st[GET], 1, id);
	return one_upstream(s->st[GET], a, out, f);
}

enum err upstream_store_list(struct upstream_store *s, int64_t after, int64_t limit, struct arena *a, struct upstream_row **rows, size_t *count,
	struct fault *f)
{
	struct stmt *q = s->st[LIST];
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	stmt_bind_int(q, 1, after);
	stmt_bind_int(q, 2, limit);
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK || !row)
			return e;
		read_upstream(q, a, &(*rows)[(*count)++]);
	}
}

/* ---- versions ---- */

static void read_version(struct stmt *q, struct arena *a, struct upstream_version_row *r)
{
	*r = (struct upstream_version_row){.id = stmt_int(q, 0), .upstream = stmt_int(q, 1), .version = arena_strdup(a, stmt_text(q, 2)),
		.digest = arena_strdup(a, stmt_text(q, 3)), .is_withdrawn = stmt_int(q, 4) != 0, .status = arena_strdup(a, stmt_text(q, 5)),
		.fault = arena_strdup(a, stmt_text(q, 6)), .reason = arena_strdup(a, stmt_text(q, 7)), .table_json = arena_strdup(a, stmt_text(q, 8)),
		.attempts = stmt_int(q, 9), .next_at = stmt_int(q, 10), .release = stmt_int(q, 11), .rollout = stmt_int(q, 12),
		.seen_at = stmt_int(q, 13), .updated_at = stmt_int(q, 14), .record = arena_strdup(a, stmt_text(q, 15))};
}

static enum err one_version(struct stmt *q, struct arena *a, struct upstream_version_row *out, struct fault *f)
{
	bool row = false;
	enum err e = stmt_step(q, &row, f);
	if (e != ERR_OK || !row)
		return e != ERR_OK ? e : ERR_NOT_FOUND;
	read_version(q, a, out);
	stmt_reset(q);
	return ERR_OK;
}

enum err upstream_store_versions(struct upstream_store *s, int64_t upstream, struct arena *a, struct upstream_version_row **rows, size_t *count,
	struct fault *f)
{
	struct stmt *q = s->st[VERSIONS];
	size_t room = 16;
	*rows = arena_array(a, room, sizeof **rows);
	*count = 0;
	stmt_bind_int(q, 1, upstream);
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK || !row)
			return e;
		if (*count == room) {
			struct upstream_version_row *more = arena_array(a, room * 2, sizeof *more);
			memcpy(more, *rows, room * sizeof *more);
			*rows = more;
			room *= 2;
		}
		read_version(q, a, &(*rows)[(*count)++]);
	}
}

enum err upstream_store_version(struct upstream_store *s, int64_t upstream, const char *version, struct arena *a, struct upstream_version_row *out,
	struct fault *f)
{
	stmt_bind_int(s->st[VERSION_GET], 1, upstream);
	stmt_bind_text(s->st[VERSION_GET], 2, version);
	return one_version(s->st[VERSION_GET], a, out, f);
}

enum err upstream_store_busy(struct upstream_store *s, int64_t upstream, struct arena *a, struct upstream_version_row *out, struct fault *f)
{
	stmt_bind_int(s->st[BUSY], 1, upstream);
	return one_version(s->st[BUSY], a, out, f);
}

enum err upstream_store_insert_version(struct upstream_store *s, const struct upstream_version_row *row, struct fault *f)
{
	struct stmt *q = s->st[VERSION_INSERT];
	stmt_bind_int(q, 1, row->upstream);
	stmt_bind_text(q, 2, row->version);
	stmt_bind_text(q, 3, row->digest);
	stmt_bind_int(q, 4, row->is_withdrawn);
	stmt_bind_text(q, 5, row->record);
	stmt_bind_text(q, 6, row->status);
	stmt_bind_int(q, 7, row->seen_at);
	stmt_bind_int(q, 8, row->updated_at);
	return stmt_run(q, f);
}

enum err upstream_store_set_version(struct upstream_store *s, const struct upstream_version_row *row, struct fault *f)
{
	struct stmt *q = s->st[VERSION_SET];
	const int64_t numbers[] = {row->attempts, row->next_at, row->release, row->rollout, row->updated_at};
	stmt_bind_int(q, 1, row->id);
	stmt_bind_text(q, 2, row->digest);
	stmt_bind_int(q, 3, row->is_withdrawn);
	stmt_bind_text(q, 4, row->record);
	stmt_bind_text(q, 5, row->status);
	stmt_bind_text(q, 6, row->fault);
	stmt_bind_text(q, 7, row->reason);
	stmt_bind_text(q, 8, row->table_json);
	for (int i = 0; i < 5; i++)
		stmt_bind_int(q, 9 + i, numbers[i]);
	return stmt_run(q, f);
}

enum err upstream_store_forgive(struct upstream_store *s, int64_t upstream, const char *fault, struct fault *f)
{
	stmt_bind_int(s->st[FORGIVE], 1, upstream);
	stmt_bind_text(s->st[FORGIVE], 2, fault);
	return stmt_run(s->st[FORGIVE], f);
}

enum err upstream_store_running(struct upstream_store *s, int64_t upstream, const char *model, struct arena *a, const char **version, struct fault *f)
{
	struct stmt *q = s->st[RUNNING];
	bool row = false;
	*version = NULL;
	stmt_bind_int(q, 1, upstream);
	stmt_bind_text(q, 2, model);
	enum err e = stmt_step(q, &row, f);
	if (e == ERR_OK && row) {
		*version = arena_strdup(a, stmt_text(q, 0));
		stmt_reset(q);
	}
	return e;
}

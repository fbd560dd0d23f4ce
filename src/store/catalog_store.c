#include "store/catalog_store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/db.h"

#define MODEL_COLUMNS "id, name, kind, description, revision, created_at, updated_at"
#define VERSION_COLUMNS "id, model, version, precedence, notes, created_at"
#define ARTIFACT_COLUMNS                                                                                               \
	"a.id, a.version, a.hardware, a.file_name, a.size_bytes, a.sha256, a.state, a.received_bytes, a.created_at, a.updated_at, " \
	"m.name, v.version, a.sha1, a.md5, m.kind, a.variant, a.declared, a.facts_state, a.facts_summary, a.facts_error, a.requires"
#define ARTIFACT_JOIN " FROM artifact a JOIN version v ON v.id = a.version JOIN model m ON m.id = v.model "

enum {
	INSERT_MODEL, FIND_MODEL, GET_MODEL, UPDATE_MODEL, DELETE_MODEL, LIST_MODELS_UP, LIST_MODELS_DOWN, COUNT_MODELS,
	INSERT_VERSION, FIND_VERSION, DELETE_VERSION, LIST_VERSIONS_UP, LIST_VERSIONS_DOWN, COUNT_VERSIONS, VERSION_RELEASED,
	INSERT_ARTIFACT, FIND_ARTIFACT, LIST_ARTIFACTS, SET_ARTIFACT, DELETE_ARTIFACT, ARTIFACT_RELEASED, STALE_ARTIFACTS,
	SET_DIGESTS, UNDIGESTED, SET_FACTS, FACTS, UNREAD,
	ADD_GARBAGE, LIST_GARBAGE, DROP_GARBAGE, BLOB_USED,
	STATEMENT_COUNT
};

static const struct statement statements[STATEMENT_COUNT] = {
	[INSERT_MODEL] = {.sql = "INSERT INTO model (name, kind, description, revision, created_at, updated_at) VALUES (?1, ?2, ?3, 1, ?4, ?4)"},
	[FIND_MODEL] = {.sql = "SELECT " MODEL_COLUMNS " FROM model WHERE name = ?1"},
	[GET_MODEL] = {.sql = "SELECT " MODEL_COLUMNS " FROM model WHERE id = ?1"},
	[UPDATE_MODEL] = {.sql = "UPDATE model SET description = ?2, revision = ?3, updated_at = ?4 WHERE id = ?1"},
	[DELETE_MODEL] = {.sql = "DELETE FROM model WHERE id = ?1"},
	[LIST_MODELS_UP] = {.sql = "SELECT " MODEL_COLUMNS " FROM model WHERE name > ?1 ORDER BY name LIMIT ?2"},
	[LIST_MODELS_DOWN] = {.sql = "SELECT " MODEL_COLUMNS " FROM model WHERE name < ?1 ORDER BY name DESC LIMIT ?2"},
	[COUNT_MODELS] = {.sql = "SELECT count(*) FROM model", .scans = true},

	[INSERT_VERSION] = {.sql = "INSERT INTO version (model, version, precedence, notes, created_at) VALUES (?1, ?2, ?3, ?4, ?5)"},
	[FIND_VERSION] = {.sql = "SELECT " VERSION_COLUMNS " FROM version WHERE model = ?1 AND version = ?2"},
	[DELETE_VERSION] = {.sql = "DELETE FROM version WHERE id = ?1"},
	[LIST_VERSIONS_UP] = {.sql = "SELECT " VERSION_COLUMNS " FROM version WHERE model = ?1 AND deleted_at IS NULL AND (precedence, version) > (?2, ?3) "
	                             "ORDER BY precedence, version LIMIT ?4"},
	[LIST_VERSIONS_DOWN] = {.sql = "SELECT " VERSION_COLUMNS " FROM version WHERE model = ?1 AND deleted_at IS NULL AND (precedence, version) < (?2, ?3) "
	                               "ORDER BY precedence DESC, version DESC LIMIT ?4"},
	[COUNT_VERSIONS] = {.sql = "SELECT count(*) FROM version WHERE model = ?1 AND deleted_at IS NULL"},
	[VERSION_RELEASED] = {.sql = "SELECT 1 FROM release_component WHERE version = ?1 LIMIT 1"},

	[INSERT_ARTIFACT] = {.sql = "INSERT INTO artifact (version, hardware, file_name, size_bytes, sha256, state, created_at, updated_at, variant, declared) "
	                            "VALUES (?1, ?2, ?3, ?4, ?5, 'uploading', ?6, ?6, ?7, ?8)"},
	[FIND_ARTIFACT] = {.sql = "SELECT " ARTIFACT_COLUMNS ARTIFACT_JOIN "WHERE a.id = ?1"},
	[LIST_ARTIFACTS] = {.sql = "SELECT " ARTIFACT_COLUMNS ARTIFACT_JOIN "WHERE a.version = ?1 ORDER BY a.hardware, a.id"},
	[SET_ARTIFACT] = {.sql = "UPDATE artifact SET state = ?2, received_bytes = ?3, updated_at = ?4 WHERE id = ?1"},
	[DELETE_ARTIFACT] = {.sql = "DELETE FROM artifact WHERE id = ?1"},
	[ARTIFACT_RELEASED] = {.sql = "SELECT 1 FROM release_artifact WHERE artifact = ?1 LIMIT 1"},
	[STALE_ARTIFACTS] = {.sql = "SELECT id FROM artifact WHERE state <> 'ready' AND updated_at < ?1 ORDER BY updated_at LIMIT ?2"},

	[SET_DIGESTS] = {.sql = "UPDATE artifact SET sha1 = ?2, md5 = ?3 WHERE sha256 = ?1"},
	[SET_FACTS] = {.sql = "UPDATE artifact SET facts_state = ?2, facts = ?3, facts_summary = ?4, facts_error = ?5, requires = ?6 WHERE id = ?1"},
	[FACTS] = {.sql = "SELECT facts FROM artifact WHERE id = ?1"},
	[UNREAD] = {.sql = "SELECT id FROM artifact WHERE facts_state = 'reading' AND id > ?1 ORDER BY id LIMIT 1"},
	[UNDIGESTED] = {.sql = "SELECT sha256 FROM artifact WHERE sha1 IS NULL AND state = 'ready' ORDER BY id LIMIT 1", .scans = true}, /* of a partial index: only those */

	[ADD_GARBAGE] = {.sql = "INSERT INTO blob_garbage (sha256, added_at) VALUES (?1, ?2) ON CONFLICT (sha256) DO UPDATE SET added_at = ?2"},
	[LIST_GARBAGE] = {.sql = "SELECT sha256 FROM blob_garbage WHERE added_at < ?1 ORDER BY added_at LIMIT ?2"},
	[DROP_GARBAGE] = {.sql = "DELETE FROM blob_garbage WHERE sha256 = ?1"},
	[BLOB_USED] = {.sql = "SELECT 1 FROM artifact WHERE sha256 = ?1 LIMIT 1"},
};

struct catalog_store {
	struct db *db;
	struct stmt *stmt[STATEMENT_COUNT];
};

enum err catalog_store_open(struct db *db, struct catalog_store **out, struct fault *f)
{
	struct catalog_store *s = calloc(1, sizeof *s);
	if (!s)
		abort();
	s->db = db;
	enum err e = db_prepare(db, statements, STATEMENT_COUNT, s->stmt, f);
	if (e != ERR_OK) {
		free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void catalog_store_close(struct catalog_store *s)
{
	free(s); /* the connection owns the statements */
}

/* ---- helpers: one row, all rows, a number, a yes or no ---- */

static enum err one_row(struct stmt *q, void (*read)(struct stmt *, struct arena *, void *), struct arena *a, void *out, struct fault *f)
{
	bool row = false;
	enum err e = stmt_step(q, &row, f);
	if (e != ERR_OK)
		return e;
	if (!row)
		return ERR_NOT_FOUND;
	read(q, a, out);
	stmt_reset(q);
	return ERR_OK;
}

/* The array doubles in the arena: what is left behind is bounded by the result's own size. */
static enum err all_rows(struct stmt *q, void (*read)(struct stmt *, struct arena *, void *), size_t row_bytes, struct arena *a, void **rows, size_t *count, struct fault *f)
{
	size_t n = 0, cap = 16;
	char *items = arena_array(a, cap, row_bytes);
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK)
			return e;
		if (!row)
			break;
		if (n == cap) {
			char *more = arena_array(a, cap * 2, row_bytes);
			memcpy(more, items, n * row_bytes);
			items = more;
			cap *= 2;
		}
		read(q, a, items + n++ * row_bytes);
	}
	*rows = items;
	*count = n;
	return ERR_OK;
}

static enum err one_int(struct stmt *q, int64_t *value, struct fault *f)
{
	bool row = false;
	enum err e = stmt_step(q, &row, f);
	if (e != ERR_OK)
		return e;
	assert(row);
	*value = stmt_int(q, 0);
	stmt_reset(q);
	return ERR_OK;
}

static enum err has_row(struct stmt *q, bool *has, struct fault *f)
{
	*has = false;
	enum err e = stmt_step(q, has, f);
	if (e == ERR_OK && *has)
		stmt_reset(q);
	return e;
}

static void read_model(struct stmt *q, struct arena *a, void *row)
{
	struct model_row *m = row;
	m->id = stmt_int(q, 0);
	m->name = arena_strdup(a, stmt_text(q, 1));
	m->kind = arena_strdup(a, stmt_text(q, 2));
	m->description = arena_strdup(a, stmt_text(q, 3));
	m->revision = stmt_int(q, 4);
	m->created_at = stmt_int(q, 5);
	m->updated_at = stmt_int(q, 6);
}

static void read_version(struct stmt *q, struct arena *a, void *row)
{
	struct version_row *v = row;
	v->id = stmt_int(q, 0);
	v->model = stmt_int(q, 1);
	v->version = arena_strdup(a, stmt_text(q, 2));
	v->precedence = arena_strdup(a, stmt_text(q, 3));
	v->notes = arena_strdup(a, stmt_text(q, 4));
	v->created_at = stmt_int(q, 5);
}

static const char *text_or_null(struct stmt *q, int col, struct arena *a)
{
	return stmt_is_null(q, col) ? NULL : arena_strdup(a, stmt_text(q, col));
}

static void read_artifact(struct stmt *q, struct arena *a, void *row)
{
	struct artifact_row *r = row;
	r->id = stmt_int(q, 0);
	r->version = stmt_int(q, 1);
	r->hardware = arena_strdup(a, stmt_text(q, 2));
	r->file_name = arena_strdup(a, stmt_text(q, 3));
	r->size_bytes = stmt_int(q, 4);
	r->sha256 = arena_strdup(a, stmt_text(q, 5));
	r->state = arena_strdup(a, stmt_text(q, 6));
	r->received_bytes = stmt_int(q, 7);
	r->created_at = stmt_int(q, 8);
	r->updated_at = stmt_int(q, 9);
	r->model_name = arena_strdup(a, stmt_text(q, 10));
	r->version_text = arena_strdup(a, stmt_text(q, 11));
	r->sha1 = text_or_null(q, 12, a);
	r->md5 = text_or_null(q, 13, a);
	r->model_kind = arena_strdup(a, stmt_text(q, 14));
	r->variant = arena_strdup(a, stmt_text(q, 15));
	r->declared = text_or_null(q, 16, a);
	r->facts_state = arena_strdup(a, stmt_text(q, 17));
	r->facts_summary = text_or_null(q, 18, a);
	r->facts_error = text_or_null(q, 19, a);
	r->requires = text_or_null(q, 20, a);
}

/* ---- models ---- */

enum err catalog_store_insert_model(struct catalog_store *s, struct model_row *row, struct fault *f)
{
	struct stmt *q = s->stmt[INSERT_MODEL];
	stmt_bind_text(q, 1, row->name);
	stmt_bind_text(q, 2, row->kind);
	stmt_bind_text(q, 3, row->description);
	stmt_bind_int(q, 4, row->created_at);
	enum err e = stmt_run(q, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

enum err catalog_store_find_model(struct catalog_store *s, const char *name, struct arena *a, struct model_row *out, struct fault *f)
{
	stmt_bind_text(s->stmt[FIND_MODEL], 1, name);
	return one_row(s->stmt[FIND_MODEL], read_model, a, out, f);
}

enum err catalog_store_get_model(struct catalog_store *s, int64_t id, struct arena *a, struct model_row *out, struct fault *f)
{
	stmt_bind_int(s->stmt[GET_MODEL], 1, id);
	return one_row(s->stmt[GET_MODEL], read_model, a, out, f);
}

enum err catalog_store_update_model(struct catalog_store *s, const struct model_row *row, struct fault *f)
{
	struct stmt *q = s->stmt[UPDATE_MODEL];
	stmt_bind_int(q, 1, row->id);
	stmt_bind_text(q, 2, row->description);
	stmt_bind_int(q, 3, row->revision);
	stmt_bind_int(q, 4, row->updated_at);
	return stmt_run(q, f);
}

enum err catalog_store_delete_model(struct catalog_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->stmt[DELETE_MODEL], 1, id);
	return stmt_run(s->stmt[DELETE_MODEL], f);
}

/* Names begin with a letter or digit, so "" is before and "~" behind all of them. */
enum err catalog_store_list_models(struct catalog_store *s, const struct page_request *page, struct arena *a, struct model_row **rows,
	size_t *count, struct fault *f)
{
	struct stmt *q = s->stmt[page->descending ? LIST_MODELS_DOWN : LIST_MODELS_UP];
	stmt_bind_text(q, 1, page->after ? page->after : page->descending ? "~" : "");
	stmt_bind_int(q, 2, page->limit);
	void *items = NULL;
	enum err e = all_rows(q, read_model, sizeof **rows, a, &items, count, f);
	*rows = items;
	return e;
}

enum err catalog_store_count_models(struct catalog_store *s, int64_t *total, struct fault *f)
{
	return one_int(s->stmt[COUNT_MODELS], total, f);
}

/* ---- versions ---- */

enum err catalog_store_insert_version(struct catalog_store *s, struct version_row *row, struct fault *f)
{
	struct stmt *q = s->stmt[INSERT_VERSION];
	stmt_bind_int(q, 1, row->model);
	stmt_bind_text(q, 2, row->version);
	stmt_bind_text(q, 3, row->precedence);
	stmt_bind_text(q, 4, row->notes);
	stmt_bind_int(q, 5, row->created_at);
	enum err e = stmt_run(q, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

enum err catalog_store_find_version(struct catalog_store *s, int64_t model, const char *version, struct arena *a, struct version_row *out,
	struct fault *f)
{
	struct stmt *q = s->stmt[FIND_VERSION];
	stmt_bind_int(q, 1, model);
	stmt_bind_text(q, 2, version);
	return one_row(q, read_version, a, out, f);
}

enum err catalog_store_delete_version(struct catalog_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->stmt[DELETE_VERSION], 1, id);
	return stmt_run(s->stmt[DELETE_VERSION], f);
}

/* Sort keys begin with a digit; a version's text has no space, so the last space of a cursor divides it. */
enum err catalog_store_list_versions(struct catalog_store *s, int64_t model, const struct page_request *page, struct arena *a,
	struct version_row **rows, size_t *count, struct fault *f)
{
	const char *after = page->after ? page->after : page->descending ? "~ ~" : " ";
	const char *space = strrchr(after, ' ');
	size_t key_len = space ? (size_t)(space - after) : strlen(after);
	struct stmt *q = s->stmt[page->descending ? LIST_VERSIONS_DOWN : LIST_VERSIONS_UP];
	stmt_bind_int(q, 1, model);
	stmt_bind_textn(q, 2, after, key_len);
	stmt_bind_text(q, 3, space ? space + 1 : "");
	stmt_bind_int(q, 4, page->limit);
	void *items = NULL;
	enum err e = all_rows(q, read_version, sizeof **rows, a, &items, count, f);
	*rows = items;
	return e;
}

enum err catalog_store_count_versions(struct catalog_store *s, int64_t model, int64_t *total, struct fault *f)
{
	stmt_bind_int(s->stmt[COUNT_VERSIONS], 1, model);
	return one_int(s->stmt[COUNT_VERSIONS], total, f);
}

enum err catalog_store_version_is_released(struct catalog_store *s, int64_t version, bool *is, struct fault *f)
{
	stmt_bind_int(s->stmt[VERSION_RELEASED], 1, version);
	return has_row(s->stmt[VERSION_RELEASED], is, f);
}

/* ---- artifacts ---- */

enum err catalog_store_insert_artifact(struct catalog_store *s, struct artifact_row *row, struct fault *f)
{
	struct stmt *q = s->stmt[INSERT_ARTIFACT];
	stmt_bind_int(q, 1, row->version);
	stmt_bind_text(q, 2, row->hardware);
	stmt_bind_text(q, 3, row->file_name);
	stmt_bind_int(q, 4, row->size_bytes);
	stmt_bind_text(q, 5, row->sha256);
	stmt_bind_int(q, 6, row->created_at);
	stmt_bind_text(q, 7, row->variant ? row->variant : "");
	stmt_bind_text(q, 8, row->declared);
	enum err e = stmt_run(q, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

enum err catalog_store_find_artifact(struct catalog_store *s, int64_t id, struct arena *a, struct artifact_row *out, struct fault *f)
{
	stmt_bind_int(s->stmt[FIND_ARTIFACT], 1, id);
	return one_row(s->stmt[FIND_ARTIFACT], read_artifact, a, out, f);
}

enum err catalog_store_list_artifacts(struct catalog_store *s, int64_t version, struct arena *a, struct artifact_row **rows, size_t *count,
	struct fault *f)
{
	stmt_bind_int(s->stmt[LIST_ARTIFACTS], 1, version);
	void *items = NULL;
	enum err e = all_rows(s->stmt[LIST_ARTIFACTS], read_artifact, sizeof **rows, a, &items, count, f);
	*rows = items;
	return e;
}

enum err catalog_store_set_artifact(struct catalog_store *s, int64_t id, const char *state, int64_t received_bytes, int64_t now_ms,
	struct fault *f)
{
	struct stmt *q = s->stmt[SET_ARTIFACT];
	stmt_bind_int(q, 1, id);
	stmt_bind_text(q, 2, state);
	stmt_bind_int(q, 3, received_bytes);
	stmt_bind_int(q, 4, now_ms);
	return stmt_run(q, f);
}

enum err catalog_store_set_digests(struct catalog_store *s, const char *sha256, const char *sha1, const char *md5, struct fault *f)
{
	struct stmt *q = s->stmt[SET_DIGESTS];
	stmt_bind_text(q, 1, sha256);
	stmt_bind_text(q, 2, sha1);
	stmt_bind_text(q, 3, md5);
	return stmt_run(q, f);
}

enum err catalog_store_undigested(struct catalog_store *s, char sha256[65], bool *found, struct fault *f)
{
	struct stmt *q = s->stmt[UNDIGESTED];
	enum err e = stmt_step(q, found, f);
	if (e == ERR_OK && *found) {
		const char *text = stmt_text(q, 0);
		memcpy(sha256, text, strlen(text) + 1); /* 64 digits: the table's CHECK */
		stmt_reset(q);
	}
	return e;
}

enum err catalog_store_set_facts(struct catalog_store *s, int64_t id, const struct artifact_facts *facts, struct fault *f)
{
	struct stmt *q = s->stmt[SET_FACTS];
	stmt_bind_int(q, 1, id);
	stmt_bind_text(q, 2, facts->state);
	stmt_bind_text(q, 3, facts->facts);
	stmt_bind_text(q, 4, facts->summary);
	stmt_bind_text(q, 5, facts->error);
	stmt_bind_text(q, 6, facts->requires);
	return stmt_run(q, f);
}

enum err catalog_store_facts(struct catalog_store *s, int64_t id, struct arena *a, const char **facts, struct fault *f)
{
	struct stmt *q = s->stmt[FACTS];
	bool row = false;
	stmt_bind_int(q, 1, id);
	enum err e = stmt_step(q, &row, f);
	if (e != ERR_OK || !row)
		return e != ERR_OK ? e : ERR_NOT_FOUND;
	*facts = text_or_null(q, 0, a);
	stmt_reset(q);
	return ERR_OK;
}

enum err catalog_store_unread(struct catalog_store *s, int64_t after, int64_t *id, struct fault *f)
{
	struct stmt *q = s->stmt[UNREAD];
	bool row = false;
	stmt_bind_int(q, 1, after);
	enum err e = stmt_step(q, &row, f);
	*id = e == ERR_OK && row ? stmt_int(q, 0) : 0;
	if (e == ERR_OK && row)
		stmt_reset(q);
	return e;
}

enum err catalog_store_delete_artifact(struct catalog_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->stmt[DELETE_ARTIFACT], 1, id);
	return stmt_run(s->stmt[DELETE_ARTIFACT], f);
}

enum err catalog_store_artifact_is_released(struct catalog_store *s, int64_t id, bool *is, struct fault *f)
{
	stmt_bind_int(s->stmt[ARTIFACT_RELEASED], 1, id);
	return has_row(s->stmt[ARTIFACT_RELEASED], is, f);
}

enum err catalog_store_stale_artifacts(struct catalog_store *s, int64_t before_ms, int64_t *ids, size_t max, size_t *count, struct fault *f)
{
	struct stmt *q = s->stmt[STALE_ARTIFACTS];
	stmt_bind_int(q, 1, before_ms);
	stmt_bind_int(q, 2, (int64_t)max);
	*count = 0;
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK || !row)
			return e;
		assert(*count < max);
		ids[(*count)++] = stmt_int(q, 0);
	}
}

/* ---- contents without a row ---- */

enum err catalog_store_add_garbage(struct catalog_store *s, const char *sha256, int64_t now_ms, struct fault *f)
{
	stmt_bind_text(s->stmt[ADD_GARBAGE], 1, sha256);
	stmt_bind_int(s->stmt[ADD_GARBAGE], 2, now_ms);
	return stmt_run(s->stmt[ADD_GARBAGE], f);
}

enum err catalog_store_list_garbage(struct catalog_store *s, int64_t before_ms, char (*sha256)[65], size_t max, size_t *count, struct fault *f)
{
	struct stmt *q = s->stmt[LIST_GARBAGE];
	stmt_bind_int(q, 1, before_ms);
	stmt_bind_int(q, 2, (int64_t)max);
	*count = 0;
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK || !row)
			return e;
		assert(*count < max);
		snprintf(sha256[(*count)++], 65, "%s", stmt_text(q, 0));
	}
}

enum err catalog_store_drop_garbage(struct catalog_store *s, const char *sha256, struct fault *f)
{
	stmt_bind_text(s->stmt[DROP_GARBAGE], 1, sha256);
	return stmt_run(s->stmt[DROP_GARBAGE], f);
}

enum err catalog_store_blob_is_used(struct catalog_store *s, const char *sha256, bool *is, struct fault *f)
{
	stmt_bind_text(s->stmt[BLOB_USED], 1, sha256);
	return has_row(s->stmt[BLOB_USED], is, f);
}

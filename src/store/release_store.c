#include "store/release_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/db.h"

#define RELEASE_COLUMNS "id, name, description, config, created_at, is_draft, deleted_at"
#define HELD_COLUMNS                                                                                                   \
	"a.id, a.version, a.hardware, a.file_name, a.size_bytes, a.sha256, a.state, a.received_bytes, a.created_at, a.updated_at, "  \
	"a.variant, a.facts_state, a.requires"

enum {
	INSERT, FIND, GET, DELETE_MANIFESTS, DELETE_ARTIFACTS, DELETE_COMPONENTS, DELETE, LIST_ID_UP, LIST_ID_DOWN, LIST_NAME_UP,
	LIST_NAME_DOWN, COUNT, IS_RUNNING, ADD_COMPONENT, ADD_ARTIFACTS, COMPONENTS, ARTIFACTS, PICK, INSERT_MANIFEST,
	NEWEST_MANIFEST, MANIFEST, STATEMENT_COUNT
};

static const struct statement statements[STATEMENT_COUNT] = {
	[INSERT] = {.sql = "INSERT INTO release (name, description, config, created_at) VALUES (?1, ?2, ?3, ?4)"},
	[FIND] = {.sql = "SELECT " RELEASE_COLUMNS " FROM release WHERE name = ?1"},
	[GET] = {.sql = "SELECT " RELEASE_COLUMNS " FROM release WHERE id = ?1"},
	[DELETE_MANIFESTS] = {.sql = "DELETE FROM manifest WHERE release = ?1"},
	[DELETE_ARTIFACTS] = {.sql = "DELETE FROM release_artifact WHERE release = ?1"},
	[DELETE_COMPONENTS] = {.sql = "DELETE FROM release_component WHERE release = ?1"},
	/* Rare, and the check of deployments' previous release would need an index that every deployment pays for. */
	[DELETE] = {.sql = "DELETE FROM release WHERE id = ?1", .scans = true},
	[LIST_ID_UP] = {.sql = "SELECT " RELEASE_COLUMNS " FROM release WHERE id > ?1 AND deleted_at IS NULL ORDER BY id LIMIT ?2"},
	[LIST_ID_DOWN] = {.sql = "SELECT " RELEASE_COLUMNS " FROM release WHERE id < ?1 AND deleted_at IS NULL ORDER BY id DESC LIMIT ?2"},
	[LIST_NAME_UP] = {.sql = "SELECT " RELEASE_COLUMNS " FROM release WHERE name > ?1 AND deleted_at IS NULL ORDER BY name LIMIT ?2"},
	[LIST_NAME_DOWN] = {.sql = "SELECT " RELEASE_COLUMNS " FROM release WHERE name < ?1 AND deleted_at IS NULL ORDER BY name DESC LIMIT ?2"},
	[COUNT] = {.sql = "SELECT count(*) FROM release WHERE deleted_at IS NULL", .scans = true},
	[IS_RUNNING] = {.sql = "SELECT 1 FROM device WHERE running_release = ?1 LIMIT 1"},
	[ADD_COMPONENT] = {.sql = "INSERT INTO release_component (release, version) VALUES (?1, ?2)"},
	[ADD_ARTIFACTS] = {.sql = "INSERT INTO release_artifact (release, artifact) "
	                          "SELECT ?1, id FROM artifact WHERE version = ?2 AND state = 'ready'"},
	[COMPONENTS] = {.sql = "SELECT v.id, m.kind, m.name, v.version FROM release_component c JOIN version v ON v.id = c.version "
	                       "JOIN model m ON m.id = v.model WHERE c.release = ?1 ORDER BY m.name"},
	[ARTIFACTS] = {.sql = "SELECT " HELD_COLUMNS " FROM artifact a JOIN release_artifact r ON r.artifact = a.id AND r.release = ?1 "
	                      "WHERE a.version = ?2 ORDER BY a.hardware, a.id"},
	/* '*' sorts before every name, so the exact class comes first in descending order. */
	[PICK] = {.sql = "SELECT " HELD_COLUMNS " FROM artifact a JOIN release_artifact r ON r.artifact = a.id AND r.release = ?1 "
	                 "WHERE a.version = ?2 AND a.hardware IN (?3, '*') ORDER BY a.hardware DESC, a.id LIMIT 1"},
	[INSERT_MANIFEST] = {.sql = "INSERT INTO manifest (counter, release, bytes, signature, key_id, created_at) "
	                            "VALUES (?1, ?2, ?3, ?4, ?5, ?6)"},
	[NEWEST_MANIFEST] = {.sql = "SELECT counter FROM manifest WHERE release = ?1 AND key_id = ?2 ORDER BY counter DESC LIMIT 1"},
	[MANIFEST] = {.sql = "SELECT counter, release, bytes, signature, key_id, created_at FROM manifest WHERE counter = ?1"},
};

struct release_store {
	struct db *db;
	struct stmt *stmt[STATEMENT_COUNT];
};

enum err release_store_open(struct db *db, struct release_store **out, struct fault *f)
{
	struct release_store *s = calloc(1, sizeof *s);
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

void release_store_close(struct release_store *s)
{
	free(s); /* the connection owns the statements */
}

static void read_release(struct stmt *q, struct arena *a, struct release_row *r)
{
	r->id = stmt_int(q, 0);
	r->name = arena_strdup(a, stmt_text(q, 1));
	r->description = arena_strdup(a, stmt_text(q, 2));
	r->config = arena_strdup(a, stmt_text(q, 3));
	r->created_at = stmt_int(q, 4);
	r->is_draft = stmt_int(q, 5) != 0;
	r->deleted_at = stmt_int(q, 6);
}

static void read_artifact(struct stmt *q, struct arena *a, struct artifact_row *r)
{
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
	r->model_name = r->version_text = NULL; /* the caller holds the component */
	r->sha1 = r->md5 = r->model_kind = r->declared = r->facts_summary = r->facts_error = NULL;
	r->variant = arena_strdup(a, stmt_text(q, 10));
	r->facts_state = arena_strdup(a, stmt_text(q, 11));
	r->requires = stmt_is_null(q, 12) ? NULL : arena_strdup(a, stmt_text(q, 12));
}

/* Steps a query of which one row is wanted. */
static enum err wanted(struct stmt *q, struct fault *f)
{
	bool row = false;
	enum err e = stmt_step(q, &row, f);
	return e == ERR_OK && !row ? ERR_NOT_FOUND : e;
}

enum err release_store_insert(struct release_store *s, struct release_row *row, struct fault *f)
{
	struct stmt *q = s->stmt[INSERT];
	stmt_bind_text(q, 1, row->name);
	stmt_bind_text(q, 2, row->description);
	stmt_bind_text(q, 3, row->config);
	stmt_bind_int(q, 4, row->created_at);
	enum err e = stmt_run(q, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

enum err release_store_find(struct release_store *s, const char *name, struct arena *a, struct release_row *out, struct fault *f)
{
	struct stmt *q = s->stmt[FIND];
	stmt_bind_text(q, 1, name);
	enum err e = wanted(q, f);
	if (e != ERR_OK)
		return e;
	read_release(q, a, out);
	stmt_reset(q);
	return ERR_OK;
}

enum err release_store_get(struct release_store *s, int64_t id, struct arena *a, struct release_row *out, struct fault *f)
{
	struct stmt *q = s->stmt[GET];
	stmt_bind_int(q, 1, id);
	enum err e = wanted(q, f);
	if (e != ERR_OK)
		return e;
	read_release(q, a, out);
	stmt_reset(q);
	return ERR_OK;
}

enum err release_store_delete(struct release_store *s, int64_t id, struct fault *f)
{
	static const int steps[] = {DELETE_MANIFESTS, DELETE_ARTIFACTS, DELETE_COMPONENTS, DELETE};
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < sizeof steps / sizeof *steps; i++) {
		stmt_bind_int(s->stmt[steps[i]], 1, id);
		e = stmt_run(s->stmt[steps[i]], f);
	}
	return e;
}

static struct stmt *list_query(struct release_store *s, const struct page_request *page, bool by_name)
{
	struct stmt *q = s->stmt[by_name ? (page->descending ? LIST_NAME_DOWN : LIST_NAME_UP) : (page->descending ? LIST_ID_DOWN : LIST_ID_UP)];
	if (by_name)
		stmt_bind_text(q, 1, page->after ? page->after : page->descending ? "~" : "");
	else
		stmt_bind_int(q, 1, page->after ? strtoll(page->after, NULL, 10) : page->descending ? INT64_MAX : 0);
	stmt_bind_int(q, 2, page->limit);
	return q;
}

enum err release_store_list(struct release_store *s, const struct page_request *page, bool by_name, struct arena *a,
	struct release_row **rows, size_t *count, struct fault *f)
{
	struct stmt *q = list_query(s, page, by_name);
	struct release_row *items = arena_array(a, (size_t)page->limit, sizeof *items);
	*count = 0;
	*rows = items;
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK || !row)
			return e;
		assert(*count < (size_t)page->limit);
		read_release(q, a, &items[(*count)++]);
	}
}

enum err release_store_count(struct release_store *s, int64_t *total, struct fault *f)
{
	enum err e = wanted(s->stmt[COUNT], f);
	if (e != ERR_OK)
		return e;
	*total = stmt_int(s->stmt[COUNT], 0);
	stmt_reset(s->stmt[COUNT]);
	return ERR_OK;
}

enum err release_store_is_running(struct release_store *s, const char *name, bool *is, struct fault *f)
{
	stmt_bind_text(s->stmt[IS_RUNNING], 1, name);
	*is = false;
	enum err e = stmt_step(s->stmt[IS_RUNNING], is, f);
	if (e == ERR_OK && *is)
		stmt_reset(s->stmt[IS_RUNNING]);
	return e;
}

enum err release_store_add_component(struct release_store *s, int64_t release, int64_t version, struct fault *f)
{
	static const int steps[] = {ADD_COMPONENT, ADD_ARTIFACTS};
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < sizeof steps / sizeof *steps; i++) {
		stmt_bind_int(s->stmt[steps[i]], 1, release);
		stmt_bind_int(s->stmt[steps[i]], 2, version);
		e = stmt_run(s->stmt[steps[i]], f);
	}
	return e;
}

enum err release_store_components(struct release_store *s, int64_t release, struct arena *a, struct component_row **rows, size_t *count,
	struct fault *f)
{
	struct stmt *q = s->stmt[COMPONENTS];
	size_t n = 0, cap = 8;
	struct component_row *items = arena_array(a, cap, sizeof *items);
	stmt_bind_int(q, 1, release);
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK)
			return e;
		if (!row)
			break;
		if (n == cap) {
			struct component_row *more = arena_array(a, cap * 2, sizeof *items);
			memcpy(more, items, n * sizeof *items);
			items = more;
			cap *= 2;
		}
		items[n].version = stmt_int(q, 0);
		items[n].kind = arena_strdup(a, stmt_text(q, 1));
		items[n].model = arena_strdup(a, stmt_text(q, 2));
		items[n++].version_text = arena_strdup(a, stmt_text(q, 3));
	}
	*rows = items;
	*count = n;
	return ERR_OK;
}

enum err release_store_artifacts(struct release_store *s, int64_t release, int64_t version, struct arena *a, struct artifact_row **rows,
	size_t *count, struct fault *f)
{
	struct stmt *q = s->stmt[ARTIFACTS];
	size_t n = 0, cap = 8;
	struct artifact_row *items = arena_array(a, cap, sizeof *items);
	stmt_bind_int(q, 1, release);
	stmt_bind_int(q, 2, version);
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK)
			return e;
		if (!row)
			break;
		if (n == cap) {
			struct artifact_row *more = arena_array(a, cap * 2, sizeof *items);
			memcpy(more, items, n * sizeof *items);
			items = more;
			cap *= 2;
		}
		read_artifact(q, a, &items[n++]);
	}
	*rows = items;
	*count = n;
	return ERR_OK;
}

enum err release_store_pick(struct release_store *s, int64_t release, int64_t version, const char *hardware, struct arena *a,
	struct artifact_row *out, struct fault *f)
{
	struct stmt *q = s->stmt[PICK];
	stmt_bind_int(q, 1, release);
	stmt_bind_int(q, 2, version);
	stmt_bind_text(q, 3, hardware);
	enum err e = wanted(q, f);
	if (e != ERR_OK)
		return e;
	read_artifact(q, a, out);
	stmt_reset(q);
	return ERR_OK;
}

/* ---- manifests ---- */

enum err release_store_insert_manifest(struct release_store *s, const struct manifest_row *row, struct fault *f)
{
	struct stmt *q = s->stmt[INSERT_MANIFEST];
	stmt_bind_int(q, 1, row->counter);
	stmt_bind_int(q, 2, row->release);
	stmt_bind_blob(q, 3, row->bytes, row->len);
	stmt_bind_blob(q, 4, row->signature, 64);
	stmt_bind_text(q, 5, row->key_id);
	stmt_bind_int(q, 6, row->created_at);
	return stmt_run(q, f);
}

enum err release_store_newest_manifest(struct release_store *s, int64_t release, const char *key_id, int64_t *counter, struct fault *f)
{
	struct stmt *q = s->stmt[NEWEST_MANIFEST];
	stmt_bind_int(q, 1, release);
	stmt_bind_text(q, 2, key_id);
	enum err e = wanted(q, f);
	if (e != ERR_OK)
		return e;
	*counter = stmt_int(q, 0);
	stmt_reset(q);
	return ERR_OK;
}

static const uint8_t *copy_blob(struct stmt *q, int col, struct arena *a, size_t *len)
{
	const void *data = stmt_blob(q, col, len);
	uint8_t *copy = arena_alloc(a, *len);
	if (*len > 0)
		memcpy(copy, data, *len);
	return copy;
}

enum err release_store_manifest(struct release_store *s, int64_t counter, struct arena *a, struct manifest_row *out, struct fault *f)
{
	struct stmt *q = s->stmt[MANIFEST];
	stmt_bind_int(q, 1, counter);
	enum err e = wanted(q, f);
	if (e != ERR_OK)
		return e;
	size_t signature_len;
	out->counter = stmt_int(q, 0);
	out->release = stmt_int(q, 1);
	out->bytes = copy_blob(q, 2, a, &out->len);
	out->signature = copy_blob(q, 3, a, &signature_len);
	assert(signature_len == 64); /* CHECK of the table */
	out->key_id = arena_strdup(a, stmt_text(q, 4));
	out->created_at = stmt_int(q, 5);
	stmt_reset(q);
	return ERR_OK;
}

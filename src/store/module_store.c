#include "store/module_store.h"

#include <stdlib.h>
#include <string.h>

#include "store/db.h"

#define MODULE_COLUMNS                                                                                                 \
	"v.id, v.model, m.name, m.kind, m.title, v.version, v.label, v.vendor, v.notes, v.created_at, v.deleted_at, EXISTS " \
	"(SELECT 1 FROM release_component c JOIN release r ON r.id = c.release WHERE c.version = v.id AND r.is_draft = 0)"
#define MODULE_FROM " FROM version v JOIN model m ON m.id = v.model "
#define SET_COLUMNS "id, name, title, label, description, kind, created_at, deleted_at, is_draft"

enum {
	MODULE_GET, MODULE_LIST, MODULE_OF_RELEASE, FIND_MODEL, MODEL_USED, FIND_LABEL, VERSION_USED, SET_TITLE, SET_LABEL, SET_TEXTS,
	SET_DELETED, IN_RELEASE, SET_GET, SET_LIST, SET_FIND, NAME_USED, SET_WRITE, ADD_MODULE, REMOVE_MODULE, COUNT_BARE, TAKE_ARTIFACTS,
	END_DRAFT, ROLLED_OUT, IS_RUN, STATEMENT_COUNT
};

static const struct statement statements[STATEMENT_COUNT] = {
	[MODULE_GET] = {.sql = "SELECT " MODULE_COLUMNS MODULE_FROM "WHERE v.id = ?1"},
	/* A catalog is small, and its list is sorted and filtered in memory by whatever was asked for. */
	[MODULE_LIST] = {.sql = "SELECT " MODULE_COLUMNS MODULE_FROM "WHERE v.deleted_at IS NULL ORDER BY v.id", .scans = true},
	[MODULE_OF_RELEASE] = {.sql = "SELECT " MODULE_COLUMNS " FROM release_component k JOIN version v ON v.id = k.version "
	                              "JOIN model m ON m.id = v.model WHERE k.release = ?1 ORDER BY k.version"},
	/* Titles have no index: models are few, and only names that are none of ours have one. */
	[FIND_MODEL] = {.sql = "SELECT id FROM model WHERE kind = ?2 AND (title = ?1 OR (title IS NULL AND name = ?1)) LIMIT 1", .scans = true},
	[MODEL_USED] = {.sql = "SELECT 1 FROM model WHERE name = ?1"},
	[FIND_LABEL] = {.sql = "SELECT id FROM version WHERE model = ?1 AND coalesce(label, version) = ?2 LIMIT 1"},
	[VERSION_USED] = {.sql = "SELECT 1 FROM version WHERE model = ?1 AND version = ?2"},
	[SET_TITLE] = {.sql = "UPDATE model SET title = ?2 WHERE id = ?1"},
	[SET_LABEL] = {.sql = "UPDATE version SET label = ?2, vendor = ?3 WHERE id = ?1"},
	[SET_TEXTS] = {.sql = "UPDATE version SET notes = ?2, vendor = ?3 WHERE id = ?1"},
	[SET_DELETED] = {.sql = "UPDATE version SET deleted_at = ?2 WHERE id = ?1"},
	[IN_RELEASE] = {.sql = "SELECT 1 FROM release_component WHERE version = ?1 LIMIT 1"},
	[SET_GET] = {.sql = "SELECT " SET_COLUMNS " FROM release WHERE id = ?1"},
	[SET_LIST] = {.sql = "SELECT " SET_COLUMNS " FROM release WHERE deleted_at IS NULL ORDER BY id", .scans = true},
	[SET_FIND] = {.sql = "SELECT id FROM release WHERE coalesce(title, name) = ?1 AND coalesce(label, '') = ?2 LIMIT 1", .scans = true},
	[NAME_USED] = {.sql = "SELECT 1 FROM release WHERE name = ?1"},
	[SET_WRITE] = {.sql = "UPDATE release SET title = ?2, label = ?3, description = ?4, kind = ?5, is_draft = ?6, deleted_at = ?7 WHERE id = ?1"},
	[ADD_MODULE] = {.sql = "INSERT OR IGNORE INTO release_component (release, version) VALUES (?1, ?2)"},
	[REMOVE_MODULE] = {.sql = "DELETE FROM release_component WHERE release = ?1 AND version = ?2"},
	[COUNT_BARE] = {.sql = "SELECT count(*) FROM release_component c WHERE c.release = ?1 AND NOT EXISTS "
	                       "(SELECT 1 FROM artifact a WHERE a.version = c.version AND a.state = 'ready')"},
	[TAKE_ARTIFACTS] = {.sql = "INSERT INTO release_artifact (release, artifact) SELECT c.release, a.id FROM release_component c "
	                           "JOIN artifact a ON a.version = c.version WHERE c.release = ?1 AND a.state = 'ready'"},
	[END_DRAFT] = {.sql = "UPDATE release SET is_draft = 0 WHERE id = ?1"},
	[ROLLED_OUT] = {.sql = "SELECT 1 FROM rollout WHERE release = ?1 LIMIT 1"},
	[IS_RUN] = {.sql = "SELECT 1 FROM device WHERE running_release = ?1 LIMIT 1"},
};

struct module_store {
	struct stmt *stmt[STATEMENT_COUNT];
};

enum err module_store_open(struct db *db, struct module_store **out, struct fault *f)
{
	struct module_store *s = calloc(1, sizeof *s);
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

void module_store_close(struct module_store *s)
{
	free(s); /* the connection owns the statements */
}

/* ---- reading ---- */

static const char *text_of(struct stmt *q, int col, struct arena *a)
{
	return stmt_is_null(q, col) ? NULL : arena_strdup(a, stmt_text(q, col));
}

static void read_module(struct stmt *q, struct arena *a, void *out)
{
	*(struct module_row *)out = (struct module_row){.id = stmt_int(q, 0), .model = stmt_int(q, 1), .model_name = text_of(q, 2, a),
		.kind = text_of(q, 3, a), .title = text_of(q, 4, a), .version = text_of(q, 5, a), .label = text_of(q, 6, a), .vendor = text_of(q, 7, a),
		.description = text_of(q, 8, a), .created_at = stmt_int(q, 9), .deleted_at = stmt_int(q, 10), .is_released = stmt_int(q, 11) != 0};
}

static void read_set(struct stmt *q, struct arena *a, void *out)
{
	*(struct set_row *)out = (struct set_row){.id = stmt_int(q, 0), .name = text_of(q, 1, a), .title = text_of(q, 2, a),
		.label = text_of(q, 3, a), .description = text_of(q, 4, a), .kind = text_of(q, 5, a), .created_at = stmt_int(q, 6),
		.deleted_at = stmt_int(q, 7), .is_draft = stmt_int(q, 8) != 0};
}

static enum err one(struct stmt *q, void (*read)(struct stmt *, struct arena *, void *), struct arena *a, void *out, struct fault *f)
{
	bool row = false;
	enum err e = stmt_step(q, &row, f);
	if (e != ERR_OK || !row)
		return e != ERR_OK ? e : ERR_NOT_FOUND;
	read(q, a, out);
	stmt_reset(q);
	return ERR_OK;
}

static enum err all(struct stmt *q, void (*read)(struct stmt *, struct arena *, void *), size_t row_bytes, struct arena *a, void **rows,
	size_t *count, struct fault *f)
{
	size_t n = 0, room = 16;
	char *items = arena_array(a, room, row_bytes);
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK)
			return e;
		if (!row)
			break;
		if (n == room) {
			char *more = arena_array(a, room * 2, row_bytes);
			memcpy(more, items, n * row_bytes);
			items = more;
			room *= 2;
		}
		read(q, a, items + n++ * row_bytes);
	}
	*rows = items;
	*count = n;
	return ERR_OK;
}

static enum err number(struct stmt *q, int64_t *value, struct fault *f)
{
	*value = 0;
	enum err e = stmt_read_int(q, value, f);
	return e == ERR_OK && *value == 0 ? ERR_NOT_FOUND : e;
}

static enum err exists(struct stmt *q, bool *is, struct fault *f)
{
	int64_t value = 0;
	enum err e = stmt_read_int(q, &value, f);
	*is = value != 0;
	return e;
}

/* ---- modules ---- */

enum err module_get(struct module_store *s, int64_t id, struct arena *a, struct module_row *out, struct fault *f)
{
	stmt_bind_int(s->stmt[MODULE_GET], 1, id);
	return one(s->stmt[MODULE_GET], read_module, a, out, f);
}

enum err module_list(struct module_store *s, int64_t release, struct arena *a, struct module_row **rows, size_t *count, struct fault *f)
{
	struct stmt *q = s->stmt[release != 0 ? MODULE_OF_RELEASE : MODULE_LIST];
	if (release != 0)
		stmt_bind_int(q, 1, release);
	void *items = NULL;
	enum err e = all(q, read_module, sizeof **rows, a, &items, count, f);
	*rows = items;
	return e;
}

enum err module_find_model(struct module_store *s, const char *title, const char *kind, int64_t *model, struct fault *f)
{
	stmt_bind_text(s->stmt[FIND_MODEL], 1, title);
	stmt_bind_text(s->stmt[FIND_MODEL], 2, kind);
	return number(s->stmt[FIND_MODEL], model, f);
}

enum err module_model_name_is_used(struct module_store *s, const char *name, bool *is, struct fault *f)
{
	stmt_bind_text(s->stmt[MODEL_USED], 1, name);
	return exists(s->stmt[MODEL_USED], is, f);
}

enum err module_find_label(struct module_store *s, int64_t model, const char *label, int64_t *id, struct fault *f)
{
	stmt_bind_int(s->stmt[FIND_LABEL], 1, model);
	stmt_bind_text(s->stmt[FIND_LABEL], 2, label);
	return number(s->stmt[FIND_LABEL], id, f);
}

enum err module_version_is_used(struct module_store *s, int64_t model, const char *version, bool *is, struct fault *f)
{
	stmt_bind_int(s->stmt[VERSION_USED], 1, model);
	stmt_bind_text(s->stmt[VERSION_USED], 2, version);
	return exists(s->stmt[VERSION_USED], is, f);
}

enum err module_set_title(struct module_store *s, int64_t model, const char *title, struct fault *f)
{
	stmt_bind_int(s->stmt[SET_TITLE], 1, model);
	stmt_bind_text(s->stmt[SET_TITLE], 2, title);
	return stmt_run(s->stmt[SET_TITLE], f);
}

enum err module_set_label(struct module_store *s, int64_t id, const char *label, const char *vendor, struct fault *f)
{
	stmt_bind_int(s->stmt[SET_LABEL], 1, id);
	stmt_bind_text(s->stmt[SET_LABEL], 2, label);
	stmt_bind_text(s->stmt[SET_LABEL], 3, vendor);
	return stmt_run(s->stmt[SET_LABEL], f);
}

enum err module_set_texts(struct module_store *s, int64_t id, const char *description, const char *vendor, struct fault *f)
{
	stmt_bind_int(s->stmt[SET_TEXTS], 1, id);
	stmt_bind_text(s->stmt[SET_TEXTS], 2, description);
	stmt_bind_text(s->stmt[SET_TEXTS], 3, vendor);
	return stmt_run(s->stmt[SET_TEXTS], f);
}

enum err module_set_deleted(struct module_store *s, int64_t id, int64_t at, struct fault *f)
{
	stmt_bind_int(s->stmt[SET_DELETED], 1, id);
	stmt_bind_int(s->stmt[SET_DELETED], 2, at);
	return stmt_run(s->stmt[SET_DELETED], f);
}

enum err module_is_in_release(struct module_store *s, int64_t id, bool *is, struct fault *f)
{
	stmt_bind_int(s->stmt[IN_RELEASE], 1, id);
	return exists(s->stmt[IN_RELEASE], is, f);
}

/* ---- sets ---- */

enum err set_get(struct module_store *s, int64_t id, struct arena *a, struct set_row *out, struct fault *f)
{
	stmt_bind_int(s->stmt[SET_GET], 1, id);
	return one(s->stmt[SET_GET], read_set, a, out, f);
}

enum err set_list(struct module_store *s, struct arena *a, struct set_row **rows, size_t *count, struct fault *f)
{
	void *items = NULL;
	enum err e = all(s->stmt[SET_LIST], read_set, sizeof **rows, a, &items, count, f);
	*rows = items;
	return e;
}

enum err set_find(struct module_store *s, const char *title, const char *label, int64_t *id, struct fault *f)
{
	stmt_bind_text(s->stmt[SET_FIND], 1, title);
	stmt_bind_text(s->stmt[SET_FIND], 2, label);
	return number(s->stmt[SET_FIND], id, f);
}

enum err set_name_is_used(struct module_store *s, const char *name, bool *is, struct fault *f)
{
	stmt_bind_text(s->stmt[NAME_USED], 1, name);
	return exists(s->stmt[NAME_USED], is, f);
}

enum err set_write(struct module_store *s, const struct set_row *row, struct fault *f)
{
	struct stmt *q = s->stmt[SET_WRITE];
	stmt_bind_int(q, 1, row->id);
	stmt_bind_text(q, 2, row->title);
	stmt_bind_text(q, 3, row->label);
	stmt_bind_text(q, 4, row->description);
	stmt_bind_text(q, 5, row->kind);
	stmt_bind_int(q, 6, row->is_draft);
	if (row->deleted_at != 0)
		stmt_bind_int(q, 7, row->deleted_at);
	else
		stmt_bind_null(q, 7);
	return stmt_run(q, f);
}

enum err set_add_module(struct module_store *s, int64_t set, int64_t module, struct fault *f)
{
	stmt_bind_int(s->stmt[ADD_MODULE], 1, set);
	stmt_bind_int(s->stmt[ADD_MODULE], 2, module);
	return stmt_run(s->stmt[ADD_MODULE], f);
}

enum err set_remove_module(struct module_store *s, int64_t set, int64_t module, bool *was, struct fault *f)
{
	bool found = false;
	struct module_row *rows;
	size_t count;
	struct arena *a = arena_new(1 << 18);
	enum err e = module_list(s, set, a, &rows, &count, f);
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		found = found || rows[i].id == module;
	arena_free(a);
	*was = found;
	if (e != ERR_OK || !found)
		return e;
	stmt_bind_int(s->stmt[REMOVE_MODULE], 1, set);
	stmt_bind_int(s->stmt[REMOVE_MODULE], 2, module);
	return stmt_run(s->stmt[REMOVE_MODULE], f);
}

enum err set_take_artifacts(struct module_store *s, int64_t set, int64_t *bare, struct fault *f)
{
	stmt_bind_int(s->stmt[COUNT_BARE], 1, set);
	enum err e = stmt_read_int(s->stmt[COUNT_BARE], bare, f);
	if (e != ERR_OK || *bare > 0)
		return e;
	stmt_bind_int(s->stmt[TAKE_ARTIFACTS], 1, set);
	e = stmt_run(s->stmt[TAKE_ARTIFACTS], f);
	if (e != ERR_OK)
		return e;
	stmt_bind_int(s->stmt[END_DRAFT], 1, set);
	return stmt_run(s->stmt[END_DRAFT], f);
}

enum err set_is_used(struct module_store *s, int64_t id, const char *name, bool *is, struct fault *f)
{
	stmt_bind_int(s->stmt[ROLLED_OUT], 1, id);
	enum err e = exists(s->stmt[ROLLED_OUT], is, f);
	if (e != ERR_OK || *is)
		return e;
	stmt_bind_text(s->stmt[IS_RUN], 1, name);
	return exists(s->stmt[IS_RUN], is, f);
}

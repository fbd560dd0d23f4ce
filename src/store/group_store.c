#include "store/group_store.h"

#include <stdlib.h>

#include "store/db.h"

enum { S_INSERT, S_UPDATE, S_DELETE, S_GET, S_FIND, S_LOOK_UP, S_LOOK_UP_NAME, S_PAGE, S_ADD, S_REMOVE, S_COUNT };

#define BARE_COLUMNS "SELECT g.id, g.name, g.description, g.filter, g.revision, g.created_at, g.updated_at, "
#define COLUMNS BARE_COLUMNS "(SELECT count(*) FROM group_member m WHERE m.device_group = g.id) FROM device_group g "
#define UNCOUNTED BARE_COLUMNS "-1 FROM device_group g "

static const struct statement statements[S_COUNT] = {
	[S_INSERT] = {"INSERT INTO device_group (name, description, filter, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)", false},
	[S_UPDATE] = {"UPDATE device_group SET description = ?2, filter = ?3, updated_at = ?4, revision = revision + 1 WHERE id = ?1", false},
	[S_DELETE] = {"DELETE FROM device_group WHERE id = ?1", false},
	[S_GET] = {COLUMNS "WHERE g.id = ?1", false},
	[S_FIND] = {COLUMNS "WHERE g.name = ?1", false},
	[S_LOOK_UP] = {UNCOUNTED "WHERE g.id = ?1", false},
	[S_LOOK_UP_NAME] = {UNCOUNTED "WHERE g.name = ?1", false},
	[S_PAGE] = {COLUMNS "WHERE g.id > ?1 ORDER BY g.id LIMIT ?2", false},
	[S_ADD] = {"INSERT INTO group_member (device_group, device) VALUES (?1, ?2) ON CONFLICT (device_group, device) DO NOTHING", false},
	[S_REMOVE] = {"DELETE FROM group_member WHERE device_group = ?1 AND device = ?2", false},
};

struct group_store {
	struct db *db;
	struct stmt *s[S_COUNT];
};

enum err group_store_open(struct db *db, struct group_store **out, struct fault *f)
{
	struct group_store *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	s->db = db;
	enum err e = db_prepare(db, statements, S_COUNT, s->s, f);
	if (e != ERR_OK) {
		group_store_close(s);
		s = NULL;
	}
	*out = s;
	return e;
}

void group_store_close(struct group_store *s)
{
	free(s); /* the statements belong to the connection */
}

static void read_row(struct stmt *q, struct arena *a, struct group_row *row)
{
	*row = (struct group_row){
		.id = stmt_int(q, 0),
		.name = arena_strdup(a, stmt_text(q, 1)),
		.description = arena_strdup(a, stmt_text(q, 2)),
		.filter = arena_strdup(a, stmt_text(q, 3)),
		.revision = stmt_int(q, 4), .created_at = stmt_int(q, 5), .updated_at = stmt_int(q, 6), .members = stmt_int(q, 7),
	};
}

enum err group_insert(struct group_store *s, struct group_row *row, struct fault *f)
{
	struct stmt *q = s->s[S_INSERT];
	stmt_bind_text(q, 1, row->name);
	stmt_bind_text(q, 2, row->description);
	stmt_bind_text(q, 3, row->filter);
	stmt_bind_int(q, 4, row->created_at);
	enum err e = stmt_run(q, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

enum err group_update(struct group_store *s, const struct group_row *row, struct fault *f)
{
	struct stmt *q = s->s[S_UPDATE];
	stmt_bind_int(q, 1, row->id);
	stmt_bind_text(q, 2, row->description);
	stmt_bind_text(q, 3, row->filter);
	stmt_bind_int(q, 4, row->updated_at);
	return stmt_run(q, f);
}

enum err group_delete(struct group_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->s[S_DELETE], 1, id);
	return stmt_run(s->s[S_DELETE], f);
}

static enum err read_one(struct stmt *q, struct arena *a, struct group_row *row, struct fault *f)
{
	bool found;
	enum err e = stmt_step(q, &found, f);
	if (e != ERR_OK)
		return e;
	if (!found)
		return fault_set(f, ERR_NOT_FOUND, "", "no such group");
	read_row(q, a, row);
	stmt_reset(q);
	return ERR_OK;
}

enum err group_get(struct group_store *s, int64_t id, struct arena *a, struct group_row *row, struct fault *f)
{
	stmt_bind_int(s->s[S_GET], 1, id);
	return read_one(s->s[S_GET], a, row, f);
}

enum err group_find(struct group_store *s, const char *name, struct arena *a, struct group_row *row, struct fault *f)
{
	stmt_bind_text(s->s[S_FIND], 1, name);
	return read_one(s->s[S_FIND], a, row, f);
}

enum err group_look_up(struct group_store *s, int64_t id, const char *name, struct arena *a, struct group_row *row, struct fault *f)
{
	struct stmt *q = s->s[name != NULL ? S_LOOK_UP_NAME : S_LOOK_UP];
	if (name != NULL)
		stmt_bind_text(q, 1, name);
	else
		stmt_bind_int(q, 1, id);
	return read_one(q, a, row, f);
}

enum err group_page(struct group_store *s, int64_t after, int64_t limit, struct arena *a, struct group_row **rows, size_t *count, struct fault *f)
{
	struct stmt *q = s->s[S_PAGE];
	bool more;
	enum err e;
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	stmt_bind_int(q, 1, after);
	stmt_bind_int(q, 2, limit);
	while ((e = stmt_step(q, &more, f)) == ERR_OK && more)
		read_row(q, a, &(*rows)[(*count)++]);
	return e;
}

static enum err change(struct group_store *s, struct stmt *q, int64_t id, int64_t device, bool *changed, struct fault *f)
{
	stmt_bind_int(q, 1, id);
	stmt_bind_int(q, 2, device);
	enum err e = stmt_run(q, f);
	*changed = e == ERR_OK && db_changes(s->db) > 0;
	return e;
}

enum err group_add(struct group_store *s, int64_t id, int64_t device, bool *changed, struct fault *f)
{
	return change(s, s->s[S_ADD], id, device, changed, f);
}

enum err group_remove(struct group_store *s, int64_t id, int64_t device, bool *changed, struct fault *f)
{
	return change(s, s->s[S_REMOVE], id, device, changed, f);
}

#include "store/action_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/db.h"

#define NOTE_COLUMNS "SELECT id, deployment, action, at, status, code, messages, release, is_revert FROM deployment_note "
#define FIRST_COLUMNS "SELECT n.action, n.deployment, d.device, d.rollout, n.release, n.at, n.is_revert "
#define FILE_COLUMNS "SELECT a.id, a.version, a.size_bytes, a.created_at, a.file_name, a.sha256, a.sha1, a.md5 "

enum {
	ST_INSERT,
	ST_COUNT_NOTES,
	ST_PAGE_UP,
	ST_PAGE_DOWN,
	ST_LAST_CODE,
	ST_HAS,
	ST_FIND,
	ST_OF_DEVICE_UP,
	ST_OF_DEVICE_DOWN,
	ST_ALL_UP,
	ST_ALL_DOWN,
	ST_COUNT_OF_DEVICE,
	ST_COUNT_ALL,
	ST_CANCELLING,
	ST_BUSY_ACTIVE,
	ST_BUSY_CANCELLING,
	ST_FILES,
	ST_TITLE,
	ST_FIND_SET,
	ST_COUNT
};

static const struct statement statements[ST_COUNT] = {
	[ST_INSERT] = {"INSERT INTO deployment_note (deployment, action, at, status, code, messages, release, is_revert) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", false},
	[ST_COUNT_NOTES] = {"SELECT count(*) FROM deployment_note WHERE action = ?1", false},
	[ST_PAGE_UP] = {NOTE_COLUMNS "WHERE action = ?1 ORDER BY id LIMIT ?3 OFFSET ?2", false},
	[ST_PAGE_DOWN] = {NOTE_COLUMNS "WHERE action = ?1 ORDER BY id DESC LIMIT ?3 OFFSET ?2", false},
	[ST_LAST_CODE] = {"SELECT code FROM deployment_note WHERE action = ?1 AND code IS NOT NULL ORDER BY id DESC LIMIT 1", false},
	[ST_HAS] = {"SELECT 1 FROM deployment_note WHERE action = ?1 AND status = ?2 LIMIT 1", false},
	[ST_FIND] = {FIRST_COLUMNS "FROM deployment_note n JOIN deployment d ON d.id = n.deployment WHERE n.action = ?1 ORDER BY n.id LIMIT 1", false},
	[ST_OF_DEVICE_UP] = {FIRST_COLUMNS "FROM deployment d JOIN deployment_note n ON n.deployment = d.id AND n.release IS NOT NULL "
		"WHERE d.device = ?1 AND n.action > ?2 ORDER BY n.action LIMIT ?3", false},
	[ST_OF_DEVICE_DOWN] = {FIRST_COLUMNS "FROM deployment d JOIN deployment_note n ON n.deployment = d.id AND n.release IS NOT NULL "
		"WHERE d.device = ?1 AND n.action < ?2 ORDER BY n.action DESC LIMIT ?3", false},
	[ST_ALL_UP] = {FIRST_COLUMNS "FROM deployment_note n JOIN deployment d ON d.id = n.deployment WHERE n.release IS NOT NULL AND "
		"n.action > ?2 AND ?1 = 0 ORDER BY n.action LIMIT ?3", false},
	[ST_ALL_DOWN] = {FIRST_COLUMNS "FROM deployment_note n JOIN deployment d ON d.id = n.deployment WHERE n.release IS NOT NULL AND "
		"n.action < ?2 AND ?1 = 0 ORDER BY n.action DESC LIMIT ?3", false},
	[ST_COUNT_OF_DEVICE] = {"SELECT count(*) FROM deployment d JOIN deployment_note n ON n.deployment = d.id AND n.release IS NOT NULL "
		"WHERE d.device = ?1", false},
	[ST_COUNT_ALL] = {"SELECT count(*) FROM deployment_note WHERE release IS NOT NULL AND ?1 = 0", true},
	[ST_CANCELLING] = {"SELECT id FROM deployment WHERE device = ?1 AND cancelling IS NOT NULL ORDER BY id LIMIT 1", false},
	[ST_BUSY_ACTIVE] = {"SELECT d.device FROM active_deployment a JOIN deployment d ON d.id = a.deployment WHERE d.action IS NOT NULL", true},
	[ST_BUSY_CANCELLING] = {"SELECT device FROM deployment WHERE cancelling IS NOT NULL", true},
	[ST_FILES] = {FILE_COLUMNS "FROM release_artifact r JOIN artifact a ON a.id = r.artifact WHERE r.release = ?1 AND a.version = ?2 AND "
		"a.hardware = ?3 ORDER BY a.id", false},
	[ST_TITLE] = {"SELECT coalesce(m.title, m.name), coalesce(v.label, v.version) FROM version v JOIN model m ON m.id = v.model WHERE v.id = ?1", false},
	[ST_FIND_SET] = {"SELECT id FROM release WHERE title = ?1 AND label = ?2 ORDER BY deleted_at IS NOT NULL, id DESC LIMIT 1", true},
};

struct action_store {
	struct stmt *st[ST_COUNT];
};

enum err action_store_open(struct db *db, struct action_store **out, struct fault *f)
{
	struct action_store *s = calloc(1, sizeof *s);
	if (!s)
		abort();
	enum err e = db_prepare(db, statements, ST_COUNT, s->st, f);
	if (e) {
		free(s);
		s = NULL;
	}
	*out = s;
	return e;
}

void action_store_close(struct action_store *s)
{
	free(s);
}

/* Rows of any kind into an arena array. */
static enum err read_all(struct stmt *st, size_t size, void (*read)(struct stmt *st, void *row, struct arena *a), void **rows, size_t *count,
	struct arena *a, struct fault *f)
{
	size_t room = 0;
	char *items = NULL;
	bool more;
	enum err e;
	*count = 0;
	while (!(e = stmt_step(st, &more, f)) && more) {
		if (*count == room) {
			room = room ? room * 2 : 8;
			char *grown = arena_array(a, room, size);
			if (*count)
				memcpy(grown, items, *count * size);
			items = grown;
		}
		read(st, items + *count * size, a);
		(*count)++;
	}
	*rows = items;
	return e;
}

/* ---- entries ---- */

enum err note_insert(struct action_store *s, const struct note_row *row, struct fault *f)
{
	struct stmt *st = s->st[ST_INSERT];
	stmt_bind_int(st, 1, row->deployment);
	stmt_bind_int(st, 2, row->action);
	stmt_bind_int(st, 3, row->at);
	stmt_bind_text(st, 4, action_status_text(row->status));
	if (row->has_code)
		stmt_bind_int(st, 5, row->code);
	else
		stmt_bind_null(st, 5);
	stmt_bind_text(st, 6, row->messages);
	if (row->release)
		stmt_bind_int(st, 7, row->release);
	else
		stmt_bind_null(st, 7);
	stmt_bind_int(st, 8, row->is_revert);
	return stmt_run(st, f);
}

static void read_note(struct stmt *st, void *out, struct arena *a)
{
	struct note_row *r = out;
	*r = (struct note_row){.id = stmt_int(st, 0), .deployment = stmt_int(st, 1), .action = stmt_int(st, 2), .at = stmt_int(st, 3),
		.has_code = !stmt_is_null(st, 5), .code = stmt_int(st, 5), .messages = arena_strdup(a, stmt_text(st, 6)),
		.release = stmt_int(st, 7), .is_revert = stmt_int(st, 8) != 0};
	bool is_known = action_status_parse(stmt_text(st, 4), &r->status);
	assert(is_known); /* only note_insert writes them */
}

static enum err count_of(struct stmt *st, int64_t key, int64_t *count, struct fault *f)
{
	*count = 0;
	stmt_bind_int(st, 1, key);
	return stmt_read_int(st, count, f);
}

enum err note_count(struct action_store *s, int64_t action, int64_t *count, struct fault *f)
{
	return count_of(s->st[ST_COUNT_NOTES], action, count, f);
}

enum err note_page(struct action_store *s, int64_t action, bool newest_first, int64_t offset, int64_t limit, struct note_row **rows, size_t *count,
	struct arena *a, struct fault *f)
{
	struct stmt *st = s->st[newest_first ? ST_PAGE_DOWN : ST_PAGE_UP];
	void *items;
	stmt_bind_int(st, 1, action);
	stmt_bind_int(st, 2, offset);
	stmt_bind_int(st, 3, limit);
	enum err e = read_all(st, sizeof **rows, read_note, &items, count, a, f);
	*rows = items;
	return e;
}

enum err note_last(struct action_store *s, int64_t action, struct note_row *out, struct arena *a, struct fault *f)
{
	struct note_row *rows;
	size_t count;
	enum err e = note_page(s, action, true, 0, 1, &rows, &count, a, f);
	if (!e && count == 0)
		return fault_set(f, ERR_NOT_FOUND, "", "no such action");
	if (!e)
		*out = rows[0];
	return e;
}

enum err note_last_code(struct action_store *s, int64_t action, bool *has, int64_t *code, struct fault *f)
{
	struct stmt *st = s->st[ST_LAST_CODE];
	stmt_bind_int(st, 1, action);
	enum err e = stmt_step(st, has, f);
	*code = !e && *has ? stmt_int(st, 0) : 0;
	stmt_reset(st);
	return e;
}

enum err note_has(struct action_store *s, int64_t action, enum action_status status, bool *has, struct fault *f)
{
	struct stmt *st = s->st[ST_HAS];
	stmt_bind_int(st, 1, action);
	stmt_bind_text(st, 2, action_status_text(status));
	enum err e = stmt_step(st, has, f);
	stmt_reset(st);
	return e;
}

/* ---- actions ---- */

static void read_action(struct stmt *st, void *out, struct arena *a)
{
	(void)a;
	*(struct action_row *)out = (struct action_row){.action = stmt_int(st, 0), .deployment = stmt_int(st, 1), .device = stmt_int(st, 2),
		.rollout = stmt_int(st, 3), .release = stmt_int(st, 4), .at = stmt_int(st, 5), .is_revert = stmt_int(st, 6) != 0};
}

enum err action_find(struct action_store *s, int64_t action, struct action_row *out, struct fault *f)
{
	struct stmt *st = s->st[ST_FIND];
	bool found = false;
	stmt_bind_int(st, 1, action);
	enum err e = stmt_step(st, &found, f);
	if (e)
		return e;
	if (!found)
		return fault_set(f, ERR_NOT_FOUND, "", "no such action");
	read_action(st, out, NULL);
	stmt_reset(st);
	return ERR_OK;
}

enum err action_page(struct action_store *s, int64_t device, int64_t after, bool is_descending, int64_t limit, struct action_row **rows,
	size_t *count, struct arena *a, struct fault *f)
{
	struct stmt *st = s->st[device ? is_descending ? ST_OF_DEVICE_DOWN : ST_OF_DEVICE_UP : is_descending ? ST_ALL_DOWN : ST_ALL_UP];
	void *items;
	stmt_bind_int(st, 1, device);
	stmt_bind_int(st, 2, is_descending && after <= 0 ? INT64_MAX : after);
	stmt_bind_int(st, 3, limit);
	enum err e = read_all(st, sizeof **rows, read_action, &items, count, a, f);
	*rows = items;
	return e;
}

enum err action_count(struct action_store *s, int64_t device, int64_t *count, struct fault *f)
{
	return count_of(s->st[device ? ST_COUNT_OF_DEVICE : ST_COUNT_ALL], device, count, f);
}

enum err action_cancelling(struct action_store *s, int64_t device, int64_t *deployment, struct fault *f)
{
	return count_of(s->st[ST_CANCELLING], device, deployment, f);
}

enum err action_each_busy(struct action_store *s, void (*fn)(void *ctx, int64_t device), void *ctx, struct fault *f)
{
	enum err e = ERR_OK;
	for (int i = ST_BUSY_ACTIVE; i <= ST_BUSY_CANCELLING && !e; i++) {
		bool row;
		while (!(e = stmt_step(s->st[i], &row, f)) && row)
			fn(ctx, stmt_int(s->st[i], 0));
	}
	return e;
}

/* ---- files ---- */

static void read_file(struct stmt *st, void *out, struct arena *a)
{
	*(struct file_row *)out = (struct file_row){.id = stmt_int(st, 0), .version = stmt_int(st, 1), .size_bytes = stmt_int(st, 2),
		.created_at = stmt_int(st, 3), .file_name = arena_strdup(a, stmt_text(st, 4)), .sha256 = arena_strdup(a, stmt_text(st, 5)),
		.sha1 = arena_strdup(a, stmt_text(st, 6)), .md5 = arena_strdup(a, stmt_text(st, 7))};
}

enum err action_files(struct action_store *s, int64_t release, int64_t version, const char *hardware, struct file_row **rows, size_t *count,
	struct arena *a, struct fault *f)
{
	struct stmt *st = s->st[ST_FILES];
	enum err e = ERR_OK;
	void *items = NULL;
	const char *classes[] = {hardware, "*"};
	*count = 0;
	for (size_t i = 0; i < 2 && !e && *count == 0; i++) {
		stmt_bind_int(st, 1, release);
		stmt_bind_int(st, 2, version);
		stmt_bind_text(st, 3, classes[i]);
		e = read_all(st, sizeof **rows, read_file, &items, count, a, f);
	}
	*rows = items;
	return e;
}

enum err action_title(struct action_store *s, int64_t version, const char **name, const char **label, struct arena *a, struct fault *f)
{
	struct stmt *st = s->st[ST_TITLE];
	bool found;
	stmt_bind_int(st, 1, version);
	enum err e = stmt_step(st, &found, f);
	if (!e && found) {
		*name = arena_strdup(a, stmt_text(st, 0));
		*label = arena_strdup(a, stmt_text(st, 1));
		stmt_reset(st);
	}
	return e;
}

enum err action_find_set(struct action_store *s, const char *title, const char *label, int64_t *release, struct fault *f)
{
	struct stmt *st = s->st[ST_FIND_SET];
	*release = 0;
	stmt_bind_text(st, 1, title);
	stmt_bind_text(st, 2, label);
	return stmt_read_int(st, release, f);
}

#include "store/target_store.h"

#include <stdlib.h>
#include <string.h>

#include "store/db.h"

#define FILTER_COLUMNS "id, name, title, filter, query, description, created_at, updated_at"
#define TAG_COLUMNS "id, name, title, description, colour, created_at, updated_at"

enum {
	GET_TEXTS, SET_DESCRIPTION, ASSIGNED, OF_STAGE, FILTER_LIST, FILTER_GET, FILTER_WORDS, FILTER_TITLE, TAG_LIST, TAG_GET, TAG_INSERT,
	TAG_UPDATE, TAG_DELETE, TAG_ADOPT, STATEMENT_COUNT
};

static const struct statement statements[STATEMENT_COUNT] = {
	[GET_TEXTS] = {.sql = "SELECT d.description, d.installed_at, r.release, p.prev_release, p.state, p.rollout, p.stage FROM device d "
	                      "LEFT JOIN deployment p ON p.id = (SELECT id FROM deployment WHERE device = d.id AND kind = 'install' "
	                      "ORDER BY id DESC LIMIT 1) LEFT JOIN rollout r ON r.id = p.rollout WHERE d.id = ?1"},
	[SET_DESCRIPTION] = {.sql = "UPDATE device SET description = ?2 WHERE id = ?1"},
	[ASSIGNED] = {.sql = "SELECT p.device FROM rollout r JOIN deployment p ON p.rollout = r.id WHERE r.release = ?1 AND p.kind = 'install' "
	                     "AND p.state IN ('waiting', 'offered', 'downloading', 'installing', 'trial', 'succeeded') AND NOT EXISTS "
	                     "(SELECT 1 FROM deployment n WHERE n.device = p.device AND n.id > p.id AND n.kind = 'install') "
	                     "UNION SELECT d.id FROM release r JOIN device d ON d.running_release = r.name WHERE r.id = ?1 AND NOT EXISTS "
	                     "(SELECT 1 FROM deployment n WHERE n.device = d.id AND n.kind = 'install') ORDER BY 1"},
	[OF_STAGE] = {.sql = "SELECT device FROM deployment WHERE rollout = ?1 AND stage = ?2 AND kind = 'install' ORDER BY 1"},
	[FILTER_LIST] = {.sql = "SELECT " FILTER_COLUMNS " FROM device_group WHERE filter IS NOT NULL ORDER BY id", .scans = true}, /* groups are few */
	[FILTER_GET] = {.sql = "SELECT " FILTER_COLUMNS " FROM device_group WHERE id = ?1 AND filter IS NOT NULL"},
	[FILTER_WORDS] = {.sql = "UPDATE device_group SET title = ?2, query = ?3 WHERE id = ?1"},
	[FILTER_TITLE] = {.sql = "SELECT id FROM device_group WHERE coalesce(title, name) = ?1", .scans = true},
	[TAG_LIST] = {.sql = "SELECT " TAG_COLUMNS " FROM tag ORDER BY id", .scans = true}, /* tags are few */
	[TAG_GET] = {.sql = "SELECT " TAG_COLUMNS " FROM tag WHERE id = ?1"},
	[TAG_INSERT] = {.sql = "INSERT INTO tag (name, title, description, colour, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)"},
	[TAG_UPDATE] = {.sql = "UPDATE tag SET title = ?2, description = ?3, colour = ?4, updated_at = ?5 WHERE id = ?1"},
	[TAG_DELETE] = {.sql = "DELETE FROM tag WHERE id = ?1"},
	/* A walk from one tag to the next along the index: as many steps as there are tags, however many devices carry them. */
	[TAG_ADOPT] = {.sql = "WITH RECURSIVE carried (tag) AS (SELECT min(tag) FROM device_tag UNION ALL "
	                      "SELECT (SELECT min(tag) FROM device_tag WHERE tag > c.tag) FROM carried c WHERE c.tag IS NOT NULL) "
	                      "INSERT OR IGNORE INTO tag (name, title, created_at, updated_at) SELECT tag, tag, ?1, ?1 FROM carried "
	                      "WHERE tag IS NOT NULL AND tag NOT IN (SELECT name FROM tag)", .scans = true},
};

struct target_store {
	struct db *db;
	struct stmt *stmt[STATEMENT_COUNT];
};

enum err target_store_open(struct db *db, struct target_store **out, struct fault *f)
{
	struct target_store *s = calloc(1, sizeof *s);
	if (s == NULL)
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

void target_store_close(struct target_store *s)
{
	free(s); /* the connection owns the statements */
}

static const char *text_of(struct stmt *q, int col, struct arena *a)
{
	return stmt_is_null(q, col) ? NULL : arena_strdup(a, stmt_text(q, col));
}

/* Steps a query of which one row is wanted. */
static enum err wanted(struct stmt *q, struct fault *f)
{
	bool row = false;
	enum err e = stmt_step(q, &row, f);
	return e == ERR_OK && !row ? ERR_NOT_FOUND : e;
}

/* ---- devices ---- */

enum err target_get_texts(struct target_store *s, int64_t device, struct arena *a, struct target_texts *out, struct fault *f)
{
	struct stmt *q = s->stmt[GET_TEXTS];
	stmt_bind_int(q, 1, device);
	enum err e = wanted(q, f);
	if (e != ERR_OK)
		return e;
	*out = (struct target_texts){.description = text_of(q, 0, a), .installed_at = stmt_int(q, 1), .release = stmt_int(q, 2),
		.previous = stmt_int(q, 3), .state = text_of(q, 4, a), .rollout = stmt_int(q, 5), .stage = stmt_int(q, 6)};
	if (out->state == NULL)
		out->state = "";
	stmt_reset(q);
	return ERR_OK;
}

enum err target_set_description(struct target_store *s, int64_t device, const char *text, struct fault *f)
{
	stmt_bind_int(s->stmt[SET_DESCRIPTION], 1, device);
	stmt_bind_text(s->stmt[SET_DESCRIPTION], 2, text);
	return stmt_run(s->stmt[SET_DESCRIPTION], f);
}

static enum err all_numbers(struct stmt *q, struct arena *a, int64_t **rows, size_t *count, struct fault *f)
{
	size_t n = 0, room = 64;
	int64_t *items = arena_array(a, room, sizeof *items);
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK)
			return e;
		if (!row)
			break;
		if (n == room) {
			int64_t *more = arena_array(a, room * 2, sizeof *items);
			memcpy(more, items, n * sizeof *items);
			items = more;
			room *= 2;
		}
		items[n++] = stmt_int(q, 0);
	}
	*rows = items;
	*count = n;
	return ERR_OK;
}

enum err target_assigned(struct target_store *s, int64_t release, struct arena *a, int64_t **rows, size_t *count, struct fault *f)
{
	stmt_bind_int(s->stmt[ASSIGNED], 1, release);
	return all_numbers(s->stmt[ASSIGNED], a, rows, count, f);
}

enum err target_of_stage(struct target_store *s, int64_t rollout, int64_t stage, struct arena *a, int64_t **rows, size_t *count, struct fault *f)
{
	stmt_bind_int(s->stmt[OF_STAGE], 1, rollout);
	stmt_bind_int(s->stmt[OF_STAGE], 2, stage);
	return all_numbers(s->stmt[OF_STAGE], a, rows, count, f);
}

/* ---- filters and tags ---- */

static void read_filter(struct stmt *q, struct arena *a, struct filter_row *out)
{
	*out = (struct filter_row){.id = stmt_int(q, 0), .name = text_of(q, 1, a), .title = text_of(q, 2, a), .filter = text_of(q, 3, a),
		.query = text_of(q, 4, a), .description = text_of(q, 5, a), .created_at = stmt_int(q, 6), .updated_at = stmt_int(q, 7)};
}

static void read_tag(struct stmt *q, struct arena *a, struct tag_row *out)
{
	*out = (struct tag_row){.id = stmt_int(q, 0), .name = text_of(q, 1, a), .title = text_of(q, 2, a), .description = text_of(q, 3, a),
		.colour = text_of(q, 4, a), .created_at = stmt_int(q, 5), .updated_at = stmt_int(q, 6)};
}

#define ALL_ROWS(q, type, read, a, rows, count, f)                                                                     \
	do {                                                                                                               \
		size_t n_ = 0, room_ = 16;                                                                                     \
		type *items_ = arena_array(a, room_, sizeof *items_);                                                          \
		for (;;) {                                                                                                     \
			bool row_ = false;                                                                                         \
			enum err e_ = stmt_step(q, &row_, f);                                                                      \
			if (e_ != ERR_OK)                                                                                          \
				return e_;                                                                                             \
			if (!row_)                                                                                                 \
				break;                                                                                                 \
			if (n_ == room_) {                                                                                         \
				type *more_ = arena_array(a, room_ * 2, sizeof *items_);                                               \
				memcpy(more_, items_, n_ * sizeof *items_);                                                            \
				items_ = more_;                                                                                        \
				room_ *= 2;                                                                                            \
			}                                                                                                          \
			read(q, a, &items_[n_++]);                                                                                 \
		}                                                                                                              \
		*rows = items_;                                                                                                \
		*count = n_;                                                                                                   \
		return ERR_OK;                                                                                                 \
	} while (0)

enum err filter_list(struct target_store *s, struct arena *a, struct filter_row **rows, size_t *count, struct fault *f)
{
	ALL_ROWS(s->stmt[FILTER_LIST], struct filter_row, read_filter, a, rows, count, f);
}

enum err filter_get(struct target_store *s, int64_t id, struct arena *a, struct filter_row *out, struct fault *f)
{
	stmt_bind_int(s->stmt[FILTER_GET], 1, id);
	enum err e = wanted(s->stmt[FILTER_GET], f);
	if (e != ERR_OK)
		return e;
	read_filter(s->stmt[FILTER_GET], a, out);
	stmt_reset(s->stmt[FILTER_GET]);
	return ERR_OK;
}

enum err filter_set_words(struct target_store *s, int64_t id, const char *title, const char *query, struct fault *f)
{
	struct stmt *q = s->stmt[FILTER_WORDS];
	stmt_bind_int(q, 1, id);
	stmt_bind_text(q, 2, title);
	stmt_bind_text(q, 3, query);
	return stmt_run(q, f);
}

enum err filter_find_title(struct target_store *s, const char *title, int64_t *id, struct fault *f)
{
	*id = 0;
	stmt_bind_text(s->stmt[FILTER_TITLE], 1, title);
	enum err e = stmt_read_int(s->stmt[FILTER_TITLE], id, f);
	return e == ERR_OK && *id == 0 ? ERR_NOT_FOUND : e;
}

enum err tag_list(struct target_store *s, struct arena *a, struct tag_row **rows, size_t *count, struct fault *f)
{
	ALL_ROWS(s->stmt[TAG_LIST], struct tag_row, read_tag, a, rows, count, f);
}

enum err tag_get(struct target_store *s, int64_t id, struct arena *a, struct tag_row *out, struct fault *f)
{
	stmt_bind_int(s->stmt[TAG_GET], 1, id);
	enum err e = wanted(s->stmt[TAG_GET], f);
	if (e != ERR_OK)
		return e;
	read_tag(s->stmt[TAG_GET], a, out);
	stmt_reset(s->stmt[TAG_GET]);
	return ERR_OK;
}

enum err tag_insert(struct target_store *s, struct tag_row *row, struct fault *f)
{
	struct stmt *q = s->stmt[TAG_INSERT];
	stmt_bind_text(q, 1, row->name);
	stmt_bind_text(q, 2, row->title);
	stmt_bind_text(q, 3, row->description);
	stmt_bind_text(q, 4, row->colour);
	stmt_bind_int(q, 5, row->created_at);
	enum err e = stmt_run(q, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

enum err tag_update(struct target_store *s, const struct tag_row *row, struct fault *f)
{
	struct stmt *q = s->stmt[TAG_UPDATE];
	stmt_bind_int(q, 1, row->id);
	stmt_bind_text(q, 2, row->title);
	stmt_bind_text(q, 3, row->description);
	stmt_bind_text(q, 4, row->colour);
	stmt_bind_int(q, 5, row->updated_at);
	return stmt_run(q, f);
}

enum err tag_delete(struct target_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->stmt[TAG_DELETE], 1, id);
	return stmt_run(s->stmt[TAG_DELETE], f);
}

enum err tag_adopt(struct target_store *s, int64_t now_ms, struct fault *f)
{
	stmt_bind_int(s->stmt[TAG_ADOPT], 1, now_ms);
	return stmt_run(s->stmt[TAG_ADOPT], f);
}

#include "store/command_store.h"

#include <assert.h>
#include <stdlib.h>

#include "store/db.h"

enum {
	INSERT, GET, PAGE, SPREADING, SET_SPREAD, SET_CANCELLED, MOVE, OLDEST, RETAIN_ERRANDS, RETAIN, ERRAND_INSERT, ERRAND_GET, ERRAND_UPDATE, ERRAND_OPEN,
	ERRAND_OF_COMMAND, ERRAND_OF_DEVICE, STATEMENTS
};

#define COLUMNS "id, kind, params, filter, created_by, device_id, device_group, health_check, timeout_ms, spread_ms, created_at, rate, is_spreading," \
	" is_cancelled, queued, sent, answered, failed, expired"
#define ERRAND "e.command, e.device, e.state, e.created_at, e.deadline_at, e.sent_at, e.ended_at, e.answer"
#define ERRAND_FULL "SELECT " ERRAND ", c.kind, c.params, d.device_id FROM errand e JOIN command c ON c.id = e.command JOIN device d ON d.id = e.device "
#define PLUS(state) #state " = " #state " + (?3 = '" #state "') - (?2 = '" #state "')"

static const struct statement table[STATEMENTS] = {
	[INSERT] = {"INSERT INTO command (kind, params, filter, created_by, device_id, device_group, health_check, timeout_ms, spread_ms, created_at, rate,"
	            " is_spreading) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)", false},
	[GET] = {"SELECT " COLUMNS " FROM command WHERE id = ?1", false},
	[PAGE] = {"SELECT " COLUMNS " FROM command WHERE id < ?1 ORDER BY id DESC LIMIT ?2", false},
	[SPREADING] = {"SELECT " COLUMNS " FROM command WHERE is_spreading = 1 ORDER BY id LIMIT ?1", false},
	[SET_SPREAD] = {"UPDATE command SET is_spreading = 0 WHERE id = ?1", false},
	[SET_CANCELLED] = {"UPDATE command SET is_cancelled = 1, is_spreading = 0 WHERE id = ?1", false},
	[MOVE] = {"UPDATE command SET " PLUS(queued) ", " PLUS(sent) ", " PLUS(answered) ", " PLUS(failed) ", " PLUS(expired)
	          " WHERE id = ?1", false},
	[OLDEST] = {"SELECT id, created_at, is_spreading + queued + sent FROM command WHERE id > 0 ORDER BY id LIMIT 1", false},
	[RETAIN_ERRANDS] = {"DELETE FROM errand WHERE command = ?1 AND device IN (SELECT device FROM errand WHERE command = ?1 LIMIT ?2)", false},
	[RETAIN] = {"DELETE FROM command WHERE id = ?1", false},
	[ERRAND_INSERT] = {"INSERT INTO errand (command, device, state, created_at, deadline_at, ended_at, answer) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
	                   " ON CONFLICT (command, device) DO NOTHING", false},
	[ERRAND_GET] = {ERRAND_FULL "WHERE e.command = ?1 AND e.device = ?2", false},
	[ERRAND_UPDATE] = {"UPDATE errand SET state = ?3, sent_at = ?4, ended_at = ?5, answer = ?6 WHERE command = ?1 AND device = ?2", false},
	[ERRAND_OPEN] = {"SELECT " ERRAND " FROM errand e WHERE e.state IN ('queued', 'sent') AND (e.command, e.device) > (?1, ?2)"
	                 " ORDER BY e.command, e.device LIMIT ?3", false},
	[ERRAND_OF_COMMAND] = {ERRAND_FULL "WHERE e.command = ?1 AND e.device > ?2 AND (?3 IS NULL OR e.state = ?3) ORDER BY e.device LIMIT ?4", false},
	[ERRAND_OF_DEVICE] = {ERRAND_FULL "WHERE e.device = ?1 AND e.command < ?2 AND (?3 IS NULL OR e.state = ?3) ORDER BY e.command DESC LIMIT ?4", false},
};

struct command_store {
	struct db *db;
	struct stmt *st[STATEMENTS];
};

enum err command_store_open(struct db *db, struct command_store **out, struct fault *f)
{
	*out = NULL;
	struct command_store *s = calloc(1, sizeof *s);
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

void command_store_close(struct command_store *s)
{
	free(s);
}

static void bind_id(struct stmt *st, int at, int64_t id) /* 0: NULL */
{
	if (id != 0)
		stmt_bind_int(st, at, id);
	else
		stmt_bind_null(st, at);
}

/* ---- commands ---- */

static void read_command(struct stmt *st, struct arena *a, struct command_row *row)
{
	*row = (struct command_row){
		.id = stmt_int(st, 0), .kind = arena_strdup(a, stmt_text(st, 1)), .params = arena_strdup(a, stmt_text(st, 2)),
		.filter = arena_strdup(a, stmt_text(st, 3)), .created_by = arena_strdup(a, stmt_text(st, 4)), .device_id = arena_strdup(a, stmt_text(st, 5)),
		.group = stmt_int(st, 6), .health_check = stmt_int(st, 7), .timeout_ms = stmt_int(st, 8), .spread_ms = stmt_int(st, 9),
		.created_at = stmt_int(st, 10), .rate = stmt_real(st, 11), .is_spreading = stmt_int(st, 12) != 0, .is_cancelled = stmt_int(st, 13) != 0,
	};
	for (int i = 0; i < COMMAND_STATE_COUNT; i++)
		row->counts[i] = stmt_int(st, 14 + i);
}

static enum err read_commands(struct stmt *st, int64_t limit, struct arena *a, struct command_row **rows, size_t *count, struct fault *f)
{
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	for (;;) {
		bool row;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		read_command(st, a, &(*rows)[(*count)++]);
	}
}

enum err command_insert(struct command_store *s, struct command_row *row, struct fault *f)
{
	struct stmt *st = s->st[INSERT];
	stmt_bind_text(st, 1, row->kind);
	stmt_bind_text(st, 2, row->params);
	stmt_bind_text(st, 3, row->filter);
	stmt_bind_text(st, 4, row->created_by);
	stmt_bind_text(st, 5, row->device_id);
	bind_id(st, 6, row->group);
	bind_id(st, 7, row->health_check);
	stmt_bind_int(st, 8, row->timeout_ms);
	stmt_bind_int(st, 9, row->spread_ms);
	stmt_bind_int(st, 10, row->created_at);
	stmt_bind_real(st, 11, row->rate);
	stmt_bind_int(st, 12, row->is_spreading);
	enum err e = stmt_run(st, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

enum err command_get(struct command_store *s, int64_t id, struct arena *a, struct command_row *row, struct fault *f)
{
	struct stmt *st = s->st[GET];
	bool found;
	stmt_bind_int(st, 1, id);
	enum err e = stmt_step(st, &found, f);
	if (e == ERR_OK && found)
		read_command(st, a, row);
	stmt_reset(st);
	return e == ERR_OK && !found ? fault_set(f, ERR_NOT_FOUND, "", "no such command") : e;
}

enum err command_page(struct command_store *s, int64_t before, int64_t limit, struct arena *a, struct command_row **rows, size_t *count,
	struct fault *f)
{
	stmt_bind_int(s->st[PAGE], 1, before > 0 ? before : INT64_MAX);
	stmt_bind_int(s->st[PAGE], 2, limit);
	return read_commands(s->st[PAGE], limit, a, rows, count, f);
}

enum err command_spreading(struct command_store *s, int64_t limit, struct arena *a, struct command_row **rows, size_t *count, struct fault *f)
{
	stmt_bind_int(s->st[SPREADING], 1, limit);
	return read_commands(s->st[SPREADING], limit, a, rows, count, f);
}

static enum err run_with_id(struct stmt *st, int64_t id, struct fault *f)
{
	stmt_bind_int(st, 1, id);
	return stmt_run(st, f);
}

enum err command_set_spread(struct command_store *s, int64_t id, struct fault *f)
{
	return run_with_id(s->st[SET_SPREAD], id, f);
}

enum err command_set_cancelled(struct command_store *s, int64_t id, struct fault *f)
{
	return run_with_id(s->st[SET_CANCELLED], id, f);
}

static const char *text_of(enum command_state state)
{
	return state < COMMAND_STATE_COUNT ? command_state_text(state) : "";
}

enum err command_move(struct command_store *s, int64_t id, enum command_state from, enum command_state to, struct fault *f)
{
	struct stmt *st = s->st[MOVE];
	stmt_bind_int(st, 1, id);
	stmt_bind_text(st, 2, text_of(from));
	stmt_bind_text(st, 3, text_of(to));
	return stmt_run(st, f);
}

enum err command_retain(struct command_store *s, int64_t made_before, int64_t rows, struct fault *f)
{
	struct stmt *st = s->st[OLDEST];
	bool found;
	enum err e = stmt_step(st, &found, f);
	bool is_due = e == ERR_OK && found && stmt_int(st, 1) < made_before && stmt_int(st, 2) == 0;
	int64_t id = is_due ? stmt_int(st, 0) : 0;
	stmt_reset(st);
	if (e != ERR_OK || !is_due)
		return e;
	stmt_bind_int(s->st[RETAIN_ERRANDS], 1, id);
	stmt_bind_int(s->st[RETAIN_ERRANDS], 2, rows);
	e = stmt_run(s->st[RETAIN_ERRANDS], f);
	return e == ERR_OK && db_changes(s->db) < rows ? run_with_id(s->st[RETAIN], id, f) : e;
}

/* ---- errands ---- */

static enum command_state state_of(const char *text)
{
	enum command_state state;
	bool known = command_state_of(text, &state);
	assert(known); /* the table's CHECK says so */
	return state;
}

static void read_errand(struct stmt *st, struct arena *a, bool is_full, struct errand_row *row)
{
	*row = (struct errand_row){
		.command = stmt_int(st, 0), .device = stmt_int(st, 1), .state = state_of(stmt_text(st, 2)), .created_at = stmt_int(st, 3),
		.deadline_at = stmt_int(st, 4), .sent_at = stmt_int(st, 5), .ended_at = stmt_int(st, 6), .answer = arena_strdup(a, stmt_text(st, 7)),
	};
	if (!is_full)
		return;
	row->kind = arena_strdup(a, stmt_text(st, 8));
	row->params = arena_strdup(a, stmt_text(st, 9));
	row->device_id = arena_strdup(a, stmt_text(st, 10));
}

static enum err read_errands(struct stmt *st, bool is_full, int64_t limit, struct arena *a, struct errand_row **rows, size_t *count, struct fault *f)
{
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	for (;;) {
		bool row;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		read_errand(st, a, is_full, &(*rows)[(*count)++]);
	}
}

enum err errand_insert(struct command_store *s, const struct errand_row *row, bool *is_new, struct fault *f)
{
	struct stmt *st = s->st[ERRAND_INSERT];
	stmt_bind_int(st, 1, row->command);
	stmt_bind_int(st, 2, row->device);
	stmt_bind_text(st, 3, command_state_text(row->state));
	stmt_bind_int(st, 4, row->created_at);
	stmt_bind_int(st, 5, row->deadline_at);
	bind_id(st, 6, row->ended_at);
	stmt_bind_text(st, 7, row->answer);
	enum err e = stmt_run(st, f);
	*is_new = e == ERR_OK && db_changes(s->db) > 0;
	return e;
}

enum err errand_get(struct command_store *s, int64_t command, int64_t device, struct arena *a, struct errand_row *row, bool *found, struct fault *f)
{
	struct stmt *st = s->st[ERRAND_GET];
	stmt_bind_int(st, 1, command);
	stmt_bind_int(st, 2, device);
	enum err e = stmt_step(st, found, f);
	if (e == ERR_OK && *found)
		read_errand(st, a, true, row);
	stmt_reset(st);
	return e;
}

enum err errand_update(struct command_store *s, const struct errand_row *row, struct fault *f)
{
	struct stmt *st = s->st[ERRAND_UPDATE];
	stmt_bind_int(st, 1, row->command);
	stmt_bind_int(st, 2, row->device);
	stmt_bind_text(st, 3, command_state_text(row->state));
	bind_id(st, 4, row->sent_at);
	bind_id(st, 5, row->ended_at);
	stmt_bind_text(st, 6, row->answer);
	return stmt_run(st, f);
}

enum err errand_open_page(struct command_store *s, int64_t command, int64_t device, int64_t limit, struct arena *a, struct errand_row **rows,
	size_t *count, struct fault *f)
{
	struct stmt *st = s->st[ERRAND_OPEN];
	stmt_bind_int(st, 1, command);
	stmt_bind_int(st, 2, device);
	stmt_bind_int(st, 3, limit);
	return read_errands(st, false, limit, a, rows, count, f);
}

enum err errand_page(struct command_store *s, int64_t command, int64_t device, enum command_state state, int64_t after, int64_t limit, struct arena *a,
	struct errand_row **rows, size_t *count, struct fault *f)
{
	bool of_device = command == 0;
	struct stmt *st = s->st[of_device ? ERRAND_OF_DEVICE : ERRAND_OF_COMMAND];
	stmt_bind_int(st, 1, of_device ? device : command);
	stmt_bind_int(st, 2, of_device && after == 0 ? INT64_MAX : after);
	stmt_bind_text(st, 3, state < COMMAND_STATE_COUNT ? command_state_text(state) : NULL);
	stmt_bind_int(st, 4, limit);
	return read_errands(st, true, limit, a, rows, count, f);
}

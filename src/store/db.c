#include "store/db.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "store/db_native.h"

#define BUSY_TIMEOUT_MS 5000        /* only a backup or a person with sqlite3 can ever hold the file */
/* cached run-time statements; a filter's shape is the client's, so they are bounded */
#define TEXT_STATEMENTS_MAX 128
#define DEADLINE_OPCODES 2000       /* virtual machine steps between two looks at the clock, about 0.1 ms */

struct stmt {
	sqlite3_stmt *sql3;
	struct db *db;
	struct statement row;  /* sql is owned when the statement is cached by text */
	struct stmt *next;     /* registered ones, newest first */
	uint64_t used;         /* cached ones: counter of the last use */
	uint64_t hash;
	bool is_read_only;
};

/* Statements of the transaction itself, prepared once. */
enum control { BEGIN_READ, BEGIN_WRITE, COMMIT, SAVEPOINT, RELEASE, ROLLBACK_TO, CONTROLS };
static const char *const control_sql[CONTROLS] = {
	/* Names nest: the newest savepoint of a name is meant. ROLLBACK TO leaves it on the stack. */
	[BEGIN_READ] = "BEGIN", [BEGIN_WRITE] = "BEGIN IMMEDIATE", [COMMIT] = "COMMIT", [SAVEPOINT] = "SAVEPOINT unit",
	[RELEASE] = "RELEASE unit", [ROLLBACK_TO] = "ROLLBACK TO unit",
};

struct db {
	sqlite3 *sql3;
	sqlite3_stmt *control[CONTROLS];
	struct stmt *registered;
	struct stmt *cached[TEXT_STATEMENTS_MAX];
	size_t cached_count;
	uint64_t use_counter;
	unsigned depth;        /* of savepoints */
	bool is_open;          /* the tick's transaction: units of work are in it */
	bool is_reading;       /* a transaction that was begun for reads; becomes the tick's with the first unit */
	bool holds_reads;
	int64_t changes;       /* rows changed before it was opened */
	bool is_read_only;
	/* SQLite rolled the transaction back by itself: nothing more until db_commit has reported it */
	enum err lost;
	int64_t deadline_mono_ms; /* 0: none */
	int64_t wal_pages;        /* after the last commit, where checkpoints are made elsewhere */
	bool wal_grew;
	uint64_t steps; /* of statements, for those who claim that they make none */
};

static enum err err_of(int rc)
{
	switch (rc) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return ERR_CONFLICT;
	default:
		break;
	}
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return ERR_OK;
	case SQLITE_FULL:
		return ERR_FULL;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_PROTOCOL:
		return ERR_UNAVAILABLE;
	case SQLITE_INTERRUPT:
		return ERR_TIMEOUT;
	case SQLITE_NOMEM:
		abort(); /* as everywhere: state is on disk */
	default:
		return ERR_INTERNAL;
	}
}

/* Turns the connection's last failure into a fault, and notices when SQLite has ended our transaction on its own (it
 * may do so for a full disk or an I/O error): from then on every unit of this tick is void. */
static enum err failed(struct db *db, int rc, struct fault *f)
{
	enum err e = err_of(rc);
	assert(e != ERR_OK);
	if (sqlite3_get_autocommit(db->sql3)) {
		if (db->is_open)
			db->lost = e;
		db->is_open = db->is_reading = false;
	}
	return fault_set(f, e, "", "database: %s", sqlite3_errmsg(db->sql3));
}

static enum err execute(struct db *db, const char *sql, struct fault *f)
{
	int rc = sqlite3_exec(db->sql3, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? ERR_OK : failed(db, sqlite3_extended_errcode(db->sql3), f);
}

static enum err run_control(struct db *db, enum control which, struct fault *f)
{
	int rc = sqlite3_step(db->control[which]);
	enum err e = rc == SQLITE_DONE ? ERR_OK : failed(db, sqlite3_extended_errcode(db->sql3), f);
	sqlite3_reset(db->control[which]);
	return e;
}

/* ---- opening and migrations ---- */

static enum err read_int(struct db *db, const char *sql, int64_t *value, struct fault *f)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db->sql3, sql, -1, &s, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		*value = sqlite3_column_int64(s, 0);
	enum err e = rc == SQLITE_ROW ? ERR_OK : failed(db, rc == SQLITE_DONE ? SQLITE_ERROR : rc, f);
	sqlite3_finalize(s);
	return e;
}

static enum err migrate_one(struct db *db, const struct migration *m, struct fault *f)
{
	char set_version[48];
	snprintf(set_version, sizeof set_version, "PRAGMA user_version = %d", m->number);
	enum err e = execute(db, "BEGIN IMMEDIATE", f);
	if (e == ERR_OK)
		e = execute(db, m->sql, f);
	if (e == ERR_OK)
		e = execute(db, set_version, f);
	if (e == ERR_OK)
		e = execute(db, "COMMIT", f);
	if (e != ERR_OK) {
		struct fault why = *(f ? f : &(struct fault){"", ""});
		if (!sqlite3_get_autocommit(db->sql3))
			sqlite3_exec(db->sql3, "ROLLBACK", NULL, NULL, NULL);
		return fault_set(f, e, "", "migration %s: %s", m->name, why.detail);
	}
	return ERR_OK;
}

static enum err migrate(struct db *db, const struct migration *set, struct fault *f)
{
	int64_t have = 0;
	int newest = 0;
	enum err e = read_int(db, "PRAGMA user_version", &have, f);
	for (const struct migration *m = set; e == ERR_OK && m->number != 0; m++) {
		assert(m->number > newest); /* they are ordered by their file names */
		newest = m->number;
	}
	if (e == ERR_OK && have > newest)
		return fault_set(f, ERR_CONFLICT, "",
			"the database has schema %lld, this program knows up to %d: it was written by a newer version",
		                 (long long)have, newest);
	for (const struct migration *m = set; e == ERR_OK && !db->is_read_only && m->number != 0; m++) {
		if (m->number > have)
			e = migrate_one(db, m, f);
	}
	return e;
}

static int watch_deadline(void *ctx)
{
	const struct db *db = ctx;
	return db->deadline_mono_ms != 0 && clock_mono_ms() > db->deadline_mono_ms;
}

static enum err configure(struct db *db, const struct migration *set, struct fault *f)
{
	sqlite3_extended_result_codes(db->sql3, 1);
	sqlite3_busy_timeout(db->sql3, BUSY_TIMEOUT_MS);
	sqlite3_progress_handler(db->sql3, DEADLINE_OPCODES, watch_deadline, db);
	enum err e = execute(db, "PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;", f);
	if (e == ERR_OK && !db->is_read_only) /* FULL: a commit that was answered survives a power cut */
		e = execute(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;"
			"PRAGMA cache_size = -65536;", /* KiB, as used: of a million devices the inner pages of all indexes, and more */
			f);
	for (int i = 0; e == ERR_OK && i < CONTROLS; i++) {
		int rc = sqlite3_prepare_v3(db->sql3, control_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &db->control[i], NULL);
		if (rc != SQLITE_OK)
			e = failed(db, rc, f);
	}
	if (e == ERR_OK && set != NULL)
		e = migrate(db, set, f);
	return e;
}

enum err db_open(const char *path, const struct migration *set, bool read_only, struct db **out, struct fault *f)
{
	*out = NULL;
	struct db *db = calloc(1, sizeof *db);
	if (db == NULL)
		abort();
	db->is_read_only = read_only;
	int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX;
	int rc = sqlite3_open_v2(path, &db->sql3, flags, NULL);
	if (db->sql3 == NULL)
		abort();
	enum err e = rc == SQLITE_OK ? configure(db, set, f) : failed(db, rc, f);
	if (e != ERR_OK) {
		struct fault why = *(f ? f : &(struct fault){"", ""});
		db_close(db);
		return fault_set(f, e, "", "%s: %s", path, why.detail);
	}
	*out = db;
	return ERR_OK;
}

static void stmt_free(struct stmt *s)
{
	sqlite3_finalize(s->sql3);
	free(s);
}

void db_close(struct db *db)
{
	if (db == NULL)
		return;
	for (struct stmt *s = db->registered, *next; s != NULL; s = next) {
		next = s->next;
		stmt_free(s);
	}
	for (size_t i = 0; i < db->cached_count; i++) {
		free((char *)(uintptr_t)db->cached[i]->row.sql);
		stmt_free(db->cached[i]);
	}
	for (int i = 0; i < CONTROLS; i++)
		sqlite3_finalize(db->control[i]);
	int rc = sqlite3_close(db->sql3); /* rolls back */
	assert(rc == SQLITE_OK);
	(void)rc;
	free(db);
}

void db_hold_reads(struct db *db)
{
	db->holds_reads = true;
}

static int note_wal(void *ctx, sqlite3 *sql3, const char *name, int pages)
{
	(void)sql3;
	(void)name;
	struct db *db = ctx;
	db->wal_pages = pages;
	db->wal_grew = true;
	return SQLITE_OK;
}

void db_checkpoint_elsewhere(struct db *db)
{
	sqlite3_wal_hook(db->sql3, note_wal, db); /* takes the place of the automatic checkpoint, which is such a hook */
}

bool db_wal_grew(struct db *db, int64_t *pages)
{
	bool grew = db->wal_grew;
	db->wal_grew = false;
	*pages = db->wal_pages;
	return grew;
}

void db_set_deadline(struct db *db, int64_t mono_ms)
{
	db->deadline_mono_ms = mono_ms;
}

/* ---- the tick's transaction ---- */

static enum err refuse_lost(struct db *db, struct fault *f)
{
	return fault_set(f, db->lost, "", "database: this tick's transaction was rolled back");
}

static enum err open_transaction(struct db *db, struct fault *f)
{
	if (db->lost != ERR_OK)
		return refuse_lost(db, f);
	if (db->is_open)
		return ERR_OK;
	enum err e = db->is_reading ? ERR_OK : run_control(db, BEGIN_WRITE, f); /* a read one rises with its first write */
	db->is_open = e == ERR_OK;
	db->is_reading = false;
	db->changes = sqlite3_total_changes64(db->sql3);
	return e;
}

static enum err begin_read(struct db *db, struct fault *f)
{
	enum err e = run_control(db, BEGIN_READ, f);
	db->is_reading = e == ERR_OK;
	return e;
}

enum err db_begin(struct db *db, struct fault *f)
{
	enum err e = open_transaction(db, f);
	if (e == ERR_OK)
		e = run_control(db, SAVEPOINT, f);
	if (e == ERR_OK)
		db->depth++;
	return e;
}

enum err db_end(struct db *db, bool keep, struct fault *f)
{
	assert(db->depth > 0);
	db->depth--;
	if (db->lost != ERR_OK)
		return keep ? refuse_lost(db, f) : ERR_OK;
	assert(db->is_open);
	enum err e = keep ? ERR_OK : run_control(db, ROLLBACK_TO, f);
	if (e == ERR_OK)
		e = run_control(db, RELEASE, f);
	return e;
}

enum err db_commit(struct db *db, struct fault *f)
{
	assert(db->depth == 0);
	if (db->lost != ERR_OK) {
		enum err e = refuse_lost(db, f);
		db->lost = ERR_OK;
		return e;
	}
	if (!db->is_open && !db->is_reading)
		return ERR_OK;
	enum err e = run_control(db, COMMIT, f);
	if (e != ERR_OK)
		db_rollback(db);
	db->is_open = db->is_reading = false;
	db->lost = ERR_OK;
	return e;
}

bool db_is_dirty(const struct db *db)
{
	return db->is_open || db->lost != ERR_OK;
}

bool db_is_changed(const struct db *db)
{
	return db->lost != ERR_OK || (db->is_open && sqlite3_total_changes64(db->sql3) != db->changes);
}

void db_rollback(struct db *db)
{
	if (!sqlite3_get_autocommit(db->sql3))
		sqlite3_exec(db->sql3, "ROLLBACK", NULL, NULL, NULL); /* it can only fail by having happened already */
	db->is_open = db->is_reading = false;
	db->depth = 0;
	db->lost = ERR_OK;
}

/* ---- statements ---- */

static enum err prepare(struct db *db, struct statement row, struct stmt **out, struct fault *f)
{
	sqlite3_stmt *sql3 = NULL;
	const char *tail = NULL;
	int rc = sqlite3_prepare_v3(db->sql3, row.sql, -1, SQLITE_PREPARE_PERSISTENT, &sql3, &tail);
	if (rc != SQLITE_OK) {
		char text[160];
		str_copy(text, sizeof text, sqlite3_errmsg(db->sql3));
		failed(db, rc, NULL);
		return fault_set(f, err_of(rc), "", "statement \"%.80s\": %s", row.sql, text);
	}
	assert(sql3 != NULL && tail[strspn(tail, " \t\n;")] == '\0'); /* exactly one statement */
	struct stmt *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	s->sql3 = sql3;
	s->db = db;
	s->row = row;
	s->is_read_only = sqlite3_stmt_readonly(sql3) != 0;
	*out = s;
	return ERR_OK;
}

enum err db_prepare(struct db *db, const struct statement *table, size_t count, struct stmt **out, struct fault *f)
{
	for (size_t i = 0; i < count; i++) {
		enum err e = prepare(db, table[i], &out[i], f);
		if (e != ERR_OK)
			return e;
		out[i]->next = db->registered;
		db->registered = out[i];
	}
	return ERR_OK;
}

/* The place of the next cached statement: a free one, else the least recently used one that is not being stepped. */
static size_t cache_place(struct db *db)
{
	if (db->cached_count < TEXT_STATEMENTS_MAX)
		return db->cached_count++;
	size_t oldest = TEXT_STATEMENTS_MAX;
	for (size_t i = 0; i < TEXT_STATEMENTS_MAX; i++) {
		if (!sqlite3_stmt_busy(db->cached[i]->sql3) && (oldest == TEXT_STATEMENTS_MAX ||
			db->cached[i]->used < db->cached[oldest]->used))
			oldest = i;
	}
	assert(oldest < TEXT_STATEMENTS_MAX);
	free((char *)(uintptr_t)db->cached[oldest]->row.sql);
	stmt_free(db->cached[oldest]);
	return oldest;
}

const char *db_path(const struct db *db)
{
	return sqlite3_db_filename(db->sql3, "main");
}

enum err db_prepare_text(struct db *db, const char *sql, struct stmt **out, struct fault *f)
{
	uint64_t hash = str_hash(sql, strlen(sql));
	for (size_t i = 0; i < db->cached_count; i++) {
		if (db->cached[i]->hash == hash && strcmp(db->cached[i]->row.sql, sql) == 0) {
			*out = db->cached[i];
			(*out)->used = ++db->use_counter;
			return ERR_OK;
		}
	}
	enum err e = prepare(db, (struct statement){sql, false}, out, f);
	if (e != ERR_OK)
		return e;
	(*out)->row.sql = strdup(sql);
	if ((*out)->row.sql == NULL)
		abort();
	(*out)->hash = hash;
	(*out)->used = ++db->use_counter;
	db->cached[cache_place(db)] = *out;
	return ERR_OK;
}

static void must_bind(int rc)
{
	assert(rc == SQLITE_OK); /* a wrong index, or a statement that is still being stepped: our mistake */
	(void)rc;
}

void stmt_bind_int(struct stmt *s, int at, int64_t v)
{
	must_bind(sqlite3_bind_int64(s->sql3, at, v));
}

void stmt_bind_real(struct stmt *s, int at, double v)
{
	must_bind(sqlite3_bind_double(s->sql3, at, v));
}

void stmt_bind_text(struct stmt *s, int at, const char *v)
{
	must_bind(sqlite3_bind_text(s->sql3, at, v, -1, SQLITE_STATIC));
}

void stmt_bind_textn(struct stmt *s, int at, const char *v, size_t len)
{
	must_bind(sqlite3_bind_text64(s->sql3, at, v, len, SQLITE_STATIC, SQLITE_UTF8));
}

void stmt_bind_blob(struct stmt *s, int at, const void *v, size_t len)
{
	must_bind(len == 0 && v != NULL ? sqlite3_bind_zeroblob(s->sql3, at, 0)
		: sqlite3_bind_blob64(s->sql3, at, v, len, SQLITE_STATIC));
}

void stmt_bind_null(struct stmt *s, int at)
{
	must_bind(sqlite3_bind_null(s->sql3, at));
}

void stmt_reset(struct stmt *s)
{
	sqlite3_reset(s->sql3);
	sqlite3_clear_bindings(s->sql3);
}

uint64_t db_steps(const struct db *db)
{
	return db->steps;
}

enum err stmt_step(struct stmt *s, bool *row, struct fault *f)
{
	*row = false;
	s->db->steps++;
	enum err begun = ERR_OK;
	if (!s->is_read_only) /* no write ever commits by itself */
		begun = open_transaction(s->db, f);
	else if (s->db->holds_reads && !s->db->is_open && !s->db->is_reading)
		begun = begin_read(s->db, f);
	if (begun != ERR_OK) {
		stmt_reset(s);
		return begun;
	}
	int rc = sqlite3_step(s->sql3);
	if (rc == SQLITE_ROW) {
		*row = true;
		return ERR_OK;
	}
	enum err e = rc == SQLITE_DONE ? ERR_OK : failed(s->db, rc, f);
	stmt_reset(s);
	return e;
}

enum err stmt_run(struct stmt *s, struct fault *f)
{
	bool row;
	enum err e = stmt_step(s, &row, f);
	assert(!row);
	return e;
}

enum err stmt_read_int(struct stmt *s, int64_t *value, struct fault *f)
{
	bool row;
	enum err e = stmt_step(s, &row, f);
	if (e == ERR_OK && row)
		*value = stmt_int(s, 0);
	stmt_reset(s);
	return e;
}

int64_t stmt_int(struct stmt *s, int col)
{
	return sqlite3_column_int64(s->sql3, col);
}

double stmt_real(struct stmt *s, int col)
{
	return sqlite3_column_double(s->sql3, col);
}

const char *stmt_text(struct stmt *s, int col)
{
	return (const char *)sqlite3_column_text(s->sql3, col);
}

const void *stmt_blob(struct stmt *s, int col, size_t *len)
{
	const void *v = sqlite3_column_blob(s->sql3, col);
	*len = (size_t)sqlite3_column_bytes(s->sql3, col);
	return v;
}

bool stmt_is_null(struct stmt *s, int col)
{
	return sqlite3_column_type(s->sql3, col) == SQLITE_NULL;
}

int64_t db_last_id(struct db *db)
{
	return sqlite3_last_insert_rowid(db->sql3);
}

int64_t db_changes(struct db *db)
{
	return sqlite3_changes64(db->sql3);
}

/* ---- backup, check, plans ---- */

enum err db_backup(struct db *db, const char *path, struct fault *f)
{
	if (access(path, F_OK) == 0)
		return fault_set(f, ERR_CONFLICT, "", "%s exists already", path);
	sqlite3 *to = NULL;
	int rc = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	if (to == NULL)
		abort();
	sqlite3_backup *b = rc == SQLITE_OK ? sqlite3_backup_init(to, "main", db->sql3, "main") : NULL;
	if (b != NULL) {
		/* All pages in one step: one read snapshot of the WAL, so writers go on and the copy is of one moment. */
		sqlite3_backup_step(b, -1);
		rc = sqlite3_backup_finish(b);
	} else {
		rc = sqlite3_extended_errcode(to);
	}
	enum err e = rc == SQLITE_OK ? ERR_OK : fault_set(f, err_of(rc), "", "backup to %s: %s", path, sqlite3_errmsg(to));
	sqlite3_close(to);
	if (e != ERR_OK)
		unlink(path);
	return e;
}

enum err db_check(struct db *db, char *out, size_t out_size, struct fault *f)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db->sql3, "SELECT integrity_check FROM pragma_integrity_check(5) UNION ALL "
	                            "SELECT 'foreign key of ' || \"table\" || ' row ' || ifnull(rowid, '?') "
									"FROM pragma_foreign_key_check LIMIT 5", -1, &s, NULL);
	size_t at = 0;
	out[0] = '\0';
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(s);
		const char *line = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : NULL;
		if (line != NULL && at < out_size)
			at += (size_t)snprintf(out + at, out_size - at, "%s%s", at > 0 ? "; " : "", line);
	}
	enum err e = rc == SQLITE_DONE ? ERR_OK : failed(db, rc, f);
	sqlite3_finalize(s);
	return e;
}

static void each_line(struct db *db, const struct stmt *s, void (*fn)(void *, const struct statement *, const char *),
	void *ctx)
{
	char *sql = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", s->row.sql);
	sqlite3_stmt *plan = NULL;
	int rc = sqlite3_prepare_v2(db->sql3, sql, -1, &plan, NULL);
	assert(rc == SQLITE_OK); /* it was prepared before */
	(void)rc;
	while (sqlite3_step(plan) == SQLITE_ROW)
		fn(ctx, &s->row, (const char *)sqlite3_column_text(plan, 3));
	sqlite3_finalize(plan);
	sqlite3_free(sql);
}

void db_each_plan(struct db *db, void (*fn)(void *ctx, const struct statement *statement, const char *plan_line),
	void *ctx)
{
	for (const struct stmt *s = db->registered; s != NULL; s = s->next)
		each_line(db, s, fn, ctx);
	for (size_t i = 0; i < db->cached_count; i++)
		each_line(db, db->cached[i], fn, ctx);
}

struct sqlite3 *db_native(struct db *db)
{
	return db->sql3;
}

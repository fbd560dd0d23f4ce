/* One SQLite connection with prepared statements and the tick's transaction.
 *
 * The first write of a tick opens a transaction; each unit of work (a request, a message) is a savepoint in it; the
 * tick commits once. So one fsync serves everybody, and a refused request leaves no trace.
 *
 * Statements: each *_store.c has one table of them on top, prepared when the store opens, so that a wrong statement
 * fails at boot.
 */
#ifndef AVIARY_STORE_DB_H
#define AVIARY_STORE_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "store/migration.h"

struct db;
struct stmt; /* a prepared statement */

/* Opens (and creates) the file in WAL mode with synchronous=FULL and foreign keys, runs the missing migrations, refuses
 * a database of a newer schema (ERR_CONFLICT). ":memory:" is for tests. `read_only` opens for queries and migrates
 * nothing; `set` may be NULL: no schema is looked at. */
AVIARY_MUST_CHECK enum err db_open(const char *path, const struct migration *set, bool read_only, struct db **out,
	struct fault *f);
void db_close(struct db *db); /* finalizes its statements; a transaction that is open is rolled back; NULL is allowed */

/* Statements that are still running at that monotonic time end with ERR_TIMEOUT; 0: no deadline. For queries of
 * clients. */
void db_set_deadline(struct db *db, int64_t mono_ms);

/* From now on the first read of a tick takes a snapshot that all reads of the tick share, until db_commit: locks are
 * taken once a tick, not once a statement (which is half the cost of a small read). For a connection whose owner calls
 * db_commit often; an open snapshot keeps the WAL from being reset. */
void db_hold_reads(struct db *db);

/* Commits of this connection make no checkpoints from now on: store/checkpoint.h does, or the log grows for ever. */
void db_checkpoint_elsewhere(struct db *db);
bool db_wal_grew(struct db *db, int64_t *pages); /* a commit since the last call, and how long it left the log */

/* Unit of work. db_begin opens the tick's transaction when there is none, then a savepoint; db_end releases it (keep)
 * or rolls back to it. They nest. */
AVIARY_MUST_CHECK enum err db_begin(struct db *db, struct fault *f);
AVIARY_MUST_CHECK enum err db_end(struct db *db, bool keep, struct fault *f);
/* Commits the tick's transaction, if one is open. On failure everything since the last commit is rolled back: the
 * caller must drop caches and outbox. ERR_FULL for a full disk. Where SQLite rolled the transaction back by itself in
 * the middle of a tick, every later unit and write of the tick is refused and this reports it. A write outside of a
 * unit opens the transaction too: nothing ever commits by itself. */
AVIARY_MUST_CHECK enum err db_commit(struct db *db, struct fault *f);
const char *db_path(const struct db *db); /* of the file, absolute */
uint64_t db_steps(const struct db *db);  /* steps of statements since it was opened */
bool db_is_dirty(const struct db *db);   /* a transaction is open */
bool db_is_changed(const struct db *db); /* and rows were changed in it, be it that they were rolled back */
void db_rollback(struct db *db);

/* A row of a store's statement table; `scans` marks the few that are allowed to read a whole table (tests/lint reads
 * plans). */
struct statement {
	const char *sql;
	bool scans;
};
/* Prepares `count` statements into `out`; they live as long as the connection. Also registers them for the query-plan
 * test. */
AVIARY_MUST_CHECK enum err db_prepare(struct db *db, const struct statement *table, size_t count, struct stmt **out,
	struct fault *f);
/* A statement made at run time (filters), cached by its text, with the same rules. */
AVIARY_MUST_CHECK enum err db_prepare_text(struct db *db, const char *sql, struct stmt **out, struct fault *f);

/* Parameters from 1, columns from 0. Texts and blobs are bound without a copy: they must live until the reset. */
void stmt_bind_int(struct stmt *s, int at, int64_t v);
void stmt_bind_real(struct stmt *s, int at, double v);
void stmt_bind_text(struct stmt *s, int at, const char *v); /* NULL binds NULL */
void stmt_bind_textn(struct stmt *s, int at, const char *v, size_t len);
void stmt_bind_blob(struct stmt *s, int at, const void *v, size_t len);
void stmt_bind_null(struct stmt *s, int at);
/* Steps: *row tells whether there is one. At the end, or on error, the statement is reset and its parameters cleared.
 * A broken UNIQUE or FOREIGN KEY gives ERR_CONFLICT, a full disk ERR_FULL, busy or I/O ERR_UNAVAILABLE. */
AVIARY_MUST_CHECK enum err stmt_step(struct stmt *s, bool *row, struct fault *f);
AVIARY_MUST_CHECK enum err stmt_run(struct stmt *s, struct fault *f); /* a statement without rows */
/* The first column of the first row; *value stays what it was when there is none. The statement is reset. */
AVIARY_MUST_CHECK enum err stmt_read_int(struct stmt *s, int64_t *value, struct fault *f);
void stmt_reset(struct stmt *s); /* leaves a row loop early */
int64_t stmt_int(struct stmt *s, int col);
double stmt_real(struct stmt *s, int col);
const char *stmt_text(struct stmt *s, int col); /* NULL for NULL; valid until the next step */
const void *stmt_blob(struct stmt *s, int col, size_t *len);
bool stmt_is_null(struct stmt *s, int col);
int64_t db_last_id(struct db *db);
int64_t db_changes(struct db *db);

/* Online copy of the database into a new file, for backups; call from a job with its own read-only connection. */
AVIARY_MUST_CHECK enum err db_backup(struct db *db, const char *path, struct fault *f);
/* "ok" or the first complaints of PRAGMA integrity_check. */
AVIARY_MUST_CHECK enum err db_check(struct db *db, char *out, size_t out_size, struct fault *f);
/* Calls `fn` with every registered statement and its plan lines (EXPLAIN QUERY PLAN): the query-plan test. */
void db_each_plan(struct db *db, void (*fn)(void *ctx, const struct statement *statement, const char *plan_line),
	void *ctx);

#endif

#include "store/history.h"

#include <string.h>

#include "store/alert_store.h"
#include "store/db.h"

static void read_alert(struct stmt *st, struct past_alert *a)
{
	struct alert_memory memory;
	size_t len;
	const void *life = stmt_blob(st, 10, &len);
	*a = (struct past_alert){.id = stmt_int(st, 0), .kind = stmt_text(st, 1), .resource = stmt_text(st, 2), .metric = stmt_text(st, 3), .data = stmt_text(st, 4),
		.rule = stmt_int(st, 5), .pending_at = stmt_int(st, 6), .fired_at = stmt_int(st, 7), .resolved_at = stmt_int(st, 8), .resolved_by = stmt_text(st, 9)};
	if (life == NULL || len != sizeof memory)
		return;
	memcpy(&memory, life, sizeof memory);
	a->delay_ms = memory.life.delay_ms;
}

enum err history_alerts(const char *fleet_path, const char *from_kind, const char *to_kind, int64_t from_ms, int64_t to_ms, int64_t deadline_mono_ms,
	void (*fn)(void *ctx, const struct past_alert *a), void *ctx, struct fault *f)
{
	struct db *db;
	struct stmt *st;
	enum err e = db_open(fleet_path, NULL, true, &db, f);
	if (e != ERR_OK)
		return e;
	/* by the index of kinds, in the order of ids within one */
	e = db_prepare_text(db, "SELECT id, kind, resource, metric, data, rule, pending_at, fired_at, resolved_at, resolved_by, life FROM alert"
	                        " WHERE kind >= ?1 AND kind < ?2 AND (resolved_at IS NULL OR resolved_at >= ?3) AND CASE WHEN pending_at > 0 THEN pending_at ELSE fired_at END < ?4"
	                        " ORDER BY kind, id", &st, f);
	bool row = e == ERR_OK;
	if (row) {
		db_set_deadline(db, deadline_mono_ms);
		stmt_bind_text(st, 1, from_kind);
		stmt_bind_text(st, 2, to_kind);
		stmt_bind_int(st, 3, from_ms);
		stmt_bind_int(st, 4, to_ms);
	}
	while (row) {
		struct past_alert a;
		e = stmt_step(st, &row, f);
		row = row && e == ERR_OK;
		if (row) {
			read_alert(st, &a);
			fn(ctx, &a);
		}
	}
	db_close(db);
	return e;
}

static enum err first_of(const char *path, const char *sql, int64_t *at_ms, struct fault *f)
{
	struct db *db;
	struct stmt *st;
	bool found = false;
	*at_ms = INT64_MAX;
	enum err e = db_open(path, NULL, true, &db, f);
	if (e != ERR_OK)
		return e;
	e = db_prepare_text(db, sql, &st, f);
	if (e == ERR_OK)
		e = stmt_step(st, &found, f);
	if (e == ERR_OK && found)
		*at_ms = stmt_int(st, 0);
	db_close(db);
	return e;
}

enum err history_first_device(const char *fleet_path, int64_t *at_ms, struct fault *f)
{
	return first_of(fleet_path, "SELECT created_at FROM device ORDER BY created_at LIMIT 1", at_ms, f);
}

enum err history_first_report(const char *telemetry_path, int64_t *at_ms, struct fault *f)
{
	return first_of(telemetry_path, "SELECT first_ms FROM raw ORDER BY last_ms LIMIT 1", at_ms, f);
}

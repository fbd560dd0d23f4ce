#include "store/rollout_store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/db.h"

#define ROLLOUT_COLUMNS                                                                                                \
	"r.id, r.name, r.release, e.name, r.target_filter, r.device_group, r.status, r.reason, r.spec, r.guarantee, "      \
	"r.seed_sha256, r.seed, r.created_by, r.approved_by, r.target, r.created_at, r.started_at, r.ended_at, r.revision, " \
	"r.retry_at, r.deleted_at"

enum {
	ST_ROLLOUT_INSERT,
	ST_ROLLOUT_GET,
	ST_ROLLOUT_PAGE,
	ST_ROLLOUT_PAGE_STATUS,
	ST_ROLLOUT_ACTIVE,
	ST_ROLLOUT_UPDATE,
	ST_ROLLOUT_DELETE,
	ST_ROLLOUT_HIDE,
	ST_ROLLOUT_HIDDEN,
	ST_ROLLOUT_REVERTED,
	ST_STAGE_INSERT,
	ST_STAGE_UPDATE,
	ST_STAGE_LIST,
	ST_BLOCK_INSERT,
	ST_BLOCK_LIST,
	ST_BLOCK_PAGE,
	ST_BLOCK_STARTED,
	ST_BLOCK_OF_CANARY,
	ST_BLOCK_OF_MEMBER,
	ST_BLOCK_CANARY,
	ST_BLOCK_START,
	ST_BLOCK_FORGET,
	ST_BASELINE_FORGET,
	ST_BASELINE_INSERT,
	ST_BASELINE_LIST,
	ST_BASELINE_OF,
	ST_LOOK_INSERT,
	ST_LOOK_LIST,
	ST_LOOK_SUMMARY,
	ST_PURGE_BLOCK,
	ST_PURGE_START,
	ST_PURGE_BASELINE,
	ST_PURGE_SELF,
	ST_PURGE_LOOK,
	ST_COUNT
};

static const struct statement statements[ST_COUNT] = {
	[ST_ROLLOUT_INSERT] = {"INSERT INTO rollout (name, release, target_filter, device_group, status, reason, spec, guarantee, seed_sha256, "
		"seed, created_by, target, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)", false},
	[ST_ROLLOUT_GET] = {"SELECT " ROLLOUT_COLUMNS " FROM rollout r JOIN release e ON e.id = r.release WHERE r.id = ?1", false},
	[ST_ROLLOUT_PAGE] = {"SELECT " ROLLOUT_COLUMNS " FROM rollout r JOIN release e ON e.id = r.release WHERE r.id < ?1 AND r.deleted_at IS NULL "
		"ORDER BY r.id DESC LIMIT ?2", false},
	[ST_ROLLOUT_PAGE_STATUS] = {"SELECT " ROLLOUT_COLUMNS " FROM rollout r JOIN release e ON e.id = r.release WHERE r.status = ?3 AND r.id < ?1 "
		"AND r.deleted_at IS NULL "
		"ORDER BY r.id DESC LIMIT ?2", false},
	[ST_ROLLOUT_ACTIVE] = {"SELECT id FROM rollout WHERE status NOT IN ('finished', 'stopped', 'reverted') AND deleted_at IS NULL ORDER BY id", true},
	[ST_ROLLOUT_UPDATE] = {"UPDATE rollout SET status = ?2, reason = ?3, guarantee = ?4, approved_by = ?5, target = ?6, started_at = ?7, "
		"ended_at = ?8, retry_at = ?9, revision = revision + 1 WHERE id = ?1", false},
	[ST_ROLLOUT_DELETE] = {"DELETE FROM rollout WHERE id = ?1", false},
	[ST_ROLLOUT_HIDE] = {"UPDATE rollout SET deleted_at = ?2, revision = revision + 1 WHERE id = ?1", false},
	[ST_ROLLOUT_HIDDEN] = {"SELECT id FROM rollout WHERE deleted_at IS NOT NULL ORDER BY id", true},
	[ST_ROLLOUT_REVERTED] = {"SELECT max(id) FROM rollout WHERE release = ?1 AND status IN ('reverting', 'reverted') AND deleted_at IS NULL", false},
	[ST_STAGE_INSERT] = {"INSERT INTO stage (rollout, stage, name, status, planned, mode) VALUES (?1, ?2, ?3, ?4, ?5, ?6)", false},
	[ST_STAGE_UPDATE] = {"UPDATE stage SET status = ?3, is_judged = ?4, started_at = ?5, baking_at = ?6, ended_at = ?7, error_floor = ?8, "
		"blocks = ?9, controls = ?10, verdict = ?11, look = ?12, extension = ?13, held = ?14, "
		"extension_drawn = ?15 WHERE rollout = ?1 AND stage = ?2", false},
	[ST_STAGE_LIST] = {"SELECT stage, name, status, planned, is_judged, started_at, baking_at, ended_at, error_floor, blocks, controls, "
		"verdict, look, extension, held, mode, extension_drawn FROM stage WHERE rollout = ?1 ORDER BY stage", false},
	[ST_BLOCK_INSERT] = {"INSERT INTO block_member (rollout, stage, block, device, is_canary, unit, stratum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", false},
	[ST_BLOCK_LIST] = {"SELECT m.block, m.device, m.is_canary, s.t0, m.unit, m.stratum FROM block_member m LEFT JOIN block_start s ON s.rollout = m.rollout AND "
		"s.stage = m.stage AND s.block = m.block WHERE m.rollout = ?1 AND m.stage = ?2 ORDER BY m.block, m.device", false},
	[ST_BLOCK_PAGE] = {"SELECT m.block, m.device, m.is_canary, s.t0, m.unit, s.silent_since, m.stratum FROM block_member m LEFT JOIN block_start s ON "
		"s.rollout = m.rollout AND s.stage = m.stage AND s.block = m.block WHERE m.rollout = ?1 AND m.stage = ?2 AND "
		"(m.block, m.device) > (?3, ?4) ORDER BY m.block, m.device LIMIT ?5", false},
	[ST_BLOCK_STARTED] = {"SELECT t0, silent_since FROM block_start WHERE rollout = ?1 AND stage = ?2 AND block = ?3", false},
	[ST_BLOCK_OF_CANARY] = {"SELECT block FROM block_member INDEXED BY block_member_device WHERE device = ?3 AND rollout = ?1 AND stage = ?2 AND is_canary = 1", false},
	[ST_BLOCK_CANARY] = {"SELECT device FROM block_member WHERE rollout = ?1 AND stage = ?2 AND block = ?3 AND is_canary = 1 LIMIT 1", false},
	[ST_BLOCK_OF_MEMBER] = {"SELECT block FROM block_member INDEXED BY block_member_device WHERE device = ?3 AND rollout = ?1 AND stage = ?2", false},
	[ST_BLOCK_START] = {"INSERT INTO block_start (rollout, stage, block, t0, silent_since) VALUES (?1, ?2, ?3, ?4, ?5) "
		"ON CONFLICT DO NOTHING", false},
	[ST_BLOCK_FORGET] = {"DELETE FROM block_member WHERE device = ?1", false},
	[ST_BASELINE_FORGET] = {"DELETE FROM baseline WHERE device = ?1", false},
	[ST_BASELINE_INSERT] = {"INSERT INTO baseline (rollout, stage, device, gate, accum) VALUES (?1, ?2, ?3, ?4, ?5)", false},
	[ST_BASELINE_LIST] = {"SELECT device, gate, accum FROM baseline WHERE rollout = ?1 AND stage = ?2 ORDER BY device, gate", false},
	[ST_BASELINE_OF] = {"SELECT gate, accum FROM baseline WHERE rollout = ?1 AND stage = ?2 AND device = ?3 ORDER BY gate", false},
	/* Rows of a stage, or with stage -1 of all. A row value finds its row by the key. */
	[ST_PURGE_BLOCK] = {"DELETE FROM block_member WHERE (rollout, stage, block, device) IN (SELECT rollout, stage, block, device FROM block_member "
		"WHERE rollout = ?1 AND stage >= ?2 AND stage <= ?3 LIMIT ?4)", false},
	[ST_PURGE_START] = {"DELETE FROM block_start WHERE (rollout, stage, block) IN (SELECT rollout, stage, block FROM block_start "
		"WHERE rollout = ?1 AND stage >= ?2 AND stage <= ?3 LIMIT ?4)", false},
	[ST_PURGE_BASELINE] = {"DELETE FROM baseline WHERE (rollout, stage, device, gate) IN (SELECT rollout, stage, device, gate FROM baseline "
		"WHERE rollout = ?1 AND stage >= ?2 AND stage <= ?3 LIMIT ?4)", false},
	[ST_PURGE_SELF] = {"DELETE FROM self_window WHERE (rollout, stage, device, place) IN (SELECT rollout, stage, device, place FROM self_window "
		"WHERE rollout = ?1 AND stage >= ?2 AND stage <= ?3 LIMIT ?4)", false},
	[ST_PURGE_LOOK] = {"DELETE FROM look WHERE (rollout, stage, look, gate) IN (SELECT rollout, stage, look, gate FROM look "
		"WHERE rollout = ?1 AND stage >= ?2 AND stage <= ?3 LIMIT ?4)", false},
	[ST_LOOK_INSERT] = {"INSERT INTO look (rollout, stage, look, gate, at, reports, blocks, devices, statistic, p, p_ni, alpha_look, spent, "
		"verdict, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)", false},
	[ST_LOOK_LIST] = {"SELECT stage, look, gate, at, reports, blocks, devices, statistic, p, p_ni, alpha_look, spent, verdict, data "
		"FROM look WHERE rollout = ?1 ORDER BY stage, look, gate", false},
	[ST_LOOK_SUMMARY] = {"SELECT coalesce(max(spent), 0.0), coalesce(min(p), 0.0) FROM look WHERE rollout = ?1 AND stage = ?2 AND gate = ?3", false},
};

struct rollout_store {
	struct db *db;
	struct stmt *st[ST_COUNT];
};

enum err rollout_store_open(struct db *db, struct rollout_store **out, struct fault *f)
{
	struct rollout_store *s = calloc(1, sizeof *s);
	if (!s)
		abort();
	s->db = db;
	enum err e = db_prepare(db, statements, ST_COUNT, s->st, f);
	if (e) {
		free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void rollout_store_close(struct rollout_store *s)
{
	free(s);
}

static void bind_time(struct stmt *st, int at, int64_t ms)
{
	if (ms)
		stmt_bind_int(st, at, ms);
	else
		stmt_bind_null(st, at);
}

/* A growing array in an arena: rows of a result whose number is not known before. */
static void *grow(void *items, size_t count, size_t size, struct arena *a)
{
	bool is_full = count == 0 || (count >= 8 && (count & (count - 1)) == 0);
	if (!is_full)
		return items;
	void *more = arena_array(a, count < 8 ? 8 : count * 2, size);
	if (count)
		memcpy(more, items, count * size);
	return more;
}

enum err rollout_insert(struct rollout_store *s, const struct rollout_row *row, int64_t *id, struct fault *f)
{
	struct stmt *st = s->st[ST_ROLLOUT_INSERT];
	stmt_bind_text(st, 1, row->name);
	stmt_bind_int(st, 2, row->release);
	stmt_bind_text(st, 3, row->target_filter);
	bind_time(st, 4, row->device_group);
	stmt_bind_text(st, 5, row->status);
	stmt_bind_text(st, 6, row->reason);
	stmt_bind_text(st, 7, row->spec);
	stmt_bind_text(st, 8, row->guarantee);
	stmt_bind_blob(st, 9, row->seed_sha256, sizeof row->seed_sha256);
	stmt_bind_blob(st, 10, row->seed, sizeof row->seed);
	stmt_bind_text(st, 11, row->created_by);
	stmt_bind_int(st, 12, row->target);
	stmt_bind_int(st, 13, row->created_at);
	enum err e = stmt_run(st, f);
	*id = e ? 0 : db_last_id(s->db);
	return e;
}

static void copy_blob(struct stmt *st, int col, uint8_t out[32])
{
	size_t len = 0;
	const void *data = stmt_blob(st, col, &len);
	memset(out, 0, 32);
	memcpy(out, data, len < 32 ? len : 32);
}

static void rollout_read(struct stmt *st, struct rollout_row *r, struct arena *a)
{
	*r = (struct rollout_row){
		.id = stmt_int(st, 0),
		.name = arena_strdup(a, stmt_text(st, 1)),
		.release = stmt_int(st, 2),
		.release_name = arena_strdup(a, stmt_text(st, 3)),
		.target_filter = arena_strdup(a, stmt_text(st, 4)),
		.device_group = stmt_int(st, 5),
		.status = arena_strdup(a, stmt_text(st, 6)),
		.reason = arena_strdup(a, stmt_text(st, 7)),
		.spec = arena_strdup(a, stmt_text(st, 8)),
		.guarantee = arena_strdup(a, stmt_text(st, 9)),
		.created_by = arena_strdup(a, stmt_text(st, 12)),
		.approved_by = arena_strdup(a, stmt_text(st, 13)),
		.target = stmt_int(st, 14),
		.created_at = stmt_int(st, 15),
		.started_at = stmt_int(st, 16),
		.ended_at = stmt_int(st, 17),
		.revision = stmt_int(st, 18),
		.retry_at = stmt_int(st, 19),
		.deleted_at = stmt_int(st, 20),
	};
	copy_blob(st, 10, r->seed_sha256);
	copy_blob(st, 11, r->seed);
}

enum err rollout_get(struct rollout_store *s, int64_t id, struct rollout_row *out, struct arena *a, struct fault *f)
{
	struct stmt *st = s->st[ST_ROLLOUT_GET];
	stmt_bind_int(st, 1, id);
	bool row = false;
	enum err e = stmt_step(st, &row, f);
	if (e)
		return e;
	if (!row)
		return fault_set(f, ERR_NOT_FOUND, "", "no rollout %lld", (long long)id);
	rollout_read(st, out, a);
	stmt_reset(st);
	return ERR_OK;
}

enum err rollout_page(struct rollout_store *s, const char *status, int64_t before, int64_t limit, struct rollout_row **rows, size_t *count,
	struct arena *a, struct fault *f)
{
	struct stmt *st = s->st[status ? ST_ROLLOUT_PAGE_STATUS : ST_ROLLOUT_PAGE];
	stmt_bind_int(st, 1, before ? before : INT64_MAX);
	stmt_bind_int(st, 2, limit);
	if (status)
		stmt_bind_text(st, 3, status);
	*rows = NULL;
	*count = 0;
	bool row;
	enum err e;
	while (!(e = stmt_step(st, &row, f)) && row) {
		*rows = grow(*rows, *count, sizeof **rows, a);
		rollout_read(st, &(*rows)[(*count)++], a);
	}
	return e;
}

static enum err list_ids(struct stmt *st, int64_t **ids, size_t *count, struct arena *a, struct fault *f)
{
	*ids = NULL;
	*count = 0;
	bool row;
	enum err e;
	while (!(e = stmt_step(st, &row, f)) && row) {
		*ids = grow(*ids, *count, sizeof **ids, a);
		(*ids)[(*count)++] = stmt_int(st, 0);
	}
	return e;
}

enum err rollout_active_ids(struct rollout_store *s, int64_t **ids, size_t *count, struct arena *a, struct fault *f)
{
	return list_ids(s->st[ST_ROLLOUT_ACTIVE], ids, count, a, f);
}

enum err rollout_hidden_ids(struct rollout_store *s, int64_t **ids, size_t *count, struct arena *a, struct fault *f)
{
	return list_ids(s->st[ST_ROLLOUT_HIDDEN], ids, count, a, f);
}

enum err rollout_update(struct rollout_store *s, const struct rollout_row *row, struct fault *f)
{
	struct stmt *st = s->st[ST_ROLLOUT_UPDATE];
	stmt_bind_int(st, 1, row->id);
	stmt_bind_text(st, 2, row->status);
	stmt_bind_text(st, 3, row->reason);
	stmt_bind_text(st, 4, row->guarantee);
	stmt_bind_text(st, 5, row->approved_by);
	stmt_bind_int(st, 6, row->target);
	bind_time(st, 7, row->started_at);
	bind_time(st, 8, row->ended_at);
	bind_time(st, 9, row->retry_at);
	return stmt_run(st, f);
}

enum err rollout_delete(struct rollout_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->st[ST_ROLLOUT_DELETE], 1, id);
	return stmt_run(s->st[ST_ROLLOUT_DELETE], f);
}

enum err rollout_hide(struct rollout_store *s, int64_t id, int64_t now_ms, struct fault *f)
{
	stmt_bind_int(s->st[ST_ROLLOUT_HIDE], 1, id);
	stmt_bind_int(s->st[ST_ROLLOUT_HIDE], 2, now_ms);
	return stmt_run(s->st[ST_ROLLOUT_HIDE], f);
}

enum err rollout_reverted_of(struct rollout_store *s, int64_t release, int64_t *id, struct fault *f)
{
	struct stmt *st = s->st[ST_ROLLOUT_REVERTED];
	stmt_bind_int(st, 1, release);
	bool row = false;
	enum err e = stmt_step(st, &row, f);
	*id = !e && row ? stmt_int(st, 0) : 0;
	stmt_reset(st);
	return e;
}

enum err stage_insert(struct rollout_store *s, const struct stage_row *row, struct fault *f)
{
	struct stmt *st = s->st[ST_STAGE_INSERT];
	stmt_bind_int(st, 1, row->rollout);
	stmt_bind_int(st, 2, row->stage);
	stmt_bind_text(st, 3, row->name);
	stmt_bind_text(st, 4, row->status);
	stmt_bind_int(st, 5, row->planned);
	stmt_bind_text(st, 6, row->is_shadow ? "shadow" : "live");
	return stmt_run(st, f);
}

enum err stage_update(struct rollout_store *s, const struct stage_row *row, struct fault *f)
{
	struct stmt *st = s->st[ST_STAGE_UPDATE];
	stmt_bind_int(st, 1, row->rollout);
	stmt_bind_int(st, 2, row->stage);
	stmt_bind_text(st, 3, row->status);
	stmt_bind_int(st, 4, row->is_judged);
	bind_time(st, 5, row->started_at);
	bind_time(st, 6, row->baking_at);
	bind_time(st, 7, row->ended_at);
	stmt_bind_int(st, 8, row->error_floor);
	stmt_bind_int(st, 9, row->blocks);
	stmt_bind_int(st, 10, row->controls);
	stmt_bind_text(st, 11, row->verdict);
	stmt_bind_int(st, 12, row->look);
	stmt_bind_int(st, 13, row->extension);
	stmt_bind_int(st, 14, row->held);
	stmt_bind_int(st, 15, row->extension_drawn);
	return stmt_run(st, f);
}

enum err stage_list(struct rollout_store *s, int64_t rollout, struct stage_row **rows, size_t *count, struct arena *a, struct fault *f)
{
	struct stmt *st = s->st[ST_STAGE_LIST];
	stmt_bind_int(st, 1, rollout);
	*rows = NULL;
	*count = 0;
	bool row;
	enum err e;
	while (!(e = stmt_step(st, &row, f)) && row) {
		*rows = grow(*rows, *count, sizeof **rows, a);
		(*rows)[(*count)++] = (struct stage_row){
			.rollout = rollout,
			.stage = stmt_int(st, 0),
			.name = arena_strdup(a, stmt_text(st, 1)),
			.status = arena_strdup(a, stmt_text(st, 2)),
			.planned = stmt_int(st, 3),
			.is_judged = stmt_int(st, 4) != 0,
			.started_at = stmt_int(st, 5),
			.baking_at = stmt_int(st, 6),
			.ended_at = stmt_int(st, 7),
			.error_floor = stmt_int(st, 8),
			.blocks = stmt_int(st, 9),
			.controls = stmt_int(st, 10),
			.verdict = arena_strdup(a, stmt_text(st, 11)),
			.look = stmt_int(st, 12),
			.extension = stmt_int(st, 13),
			.held = stmt_int(st, 14) != 0,
			.extension_drawn = stmt_int(st, 16),
			.is_shadow = strcmp(stmt_text(st, 15), "shadow") == 0,
		};
	}
	return e;
}

enum err block_insert(struct rollout_store *s, int64_t rollout, int64_t stage, const struct block_row *row, struct fault *f)
{
	struct stmt *st = s->st[ST_BLOCK_INSERT];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, row->block);
	stmt_bind_int(st, 4, row->device);
	stmt_bind_int(st, 5, row->is_canary);
	stmt_bind_int(st, 6, row->unit);
	stmt_bind_int(st, 7, row->stratum);
	return stmt_run(st, f);
}

enum err block_list(struct rollout_store *s, int64_t rollout, int64_t stage, struct block_row **rows, size_t *count, struct arena *a,
	struct fault *f)
{
	struct stmt *st = s->st[ST_BLOCK_LIST];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	*rows = NULL;
	*count = 0;
	bool row;
	enum err e;
	while (!(e = stmt_step(st, &row, f)) && row) {
		*rows = grow(*rows, *count, sizeof **rows, a);
		(*rows)[(*count)++] = (struct block_row){
			.block = stmt_int(st, 0), .device = stmt_int(st, 1), .is_canary = stmt_int(st, 2) != 0, .t0 = stmt_int(st, 3),
			.unit = stmt_int(st, 4), .stratum = stmt_int(st, 5)};
	}
	return e;
}

static enum err block_of(struct stmt *st, int64_t rollout, int64_t stage, int64_t device, int64_t *block, struct fault *f)
{
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, device);
	bool row = false;
	enum err e = stmt_step(st, &row, f);
	if (e)
		return e;
	if (!row)
		return ERR_NOT_FOUND;
	*block = stmt_int(st, 0);
	stmt_reset(st);
	return ERR_OK;
}

enum err block_page(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t after_block, int64_t after_device, struct block_row *rows,
	size_t limit, size_t *count, struct fault *f)
{
	struct stmt *st = s->st[ST_BLOCK_PAGE];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, after_block);
	stmt_bind_int(st, 4, after_device);
	stmt_bind_int(st, 5, (int64_t)limit);
	*count = 0;
	bool row;
	enum err e;
	while (!(e = stmt_step(st, &row, f)) && row)
		rows[(*count)++] = (struct block_row){
			.block = stmt_int(st, 0), .device = stmt_int(st, 1), .is_canary = stmt_int(st, 2) != 0, .t0 = stmt_int(st, 3),
			.unit = stmt_int(st, 4), .silent_since = stmt_int(st, 5), .stratum = stmt_int(st, 6)};
	return e;
}

enum err block_started(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t block, int64_t *t0, int64_t *silent_since, struct fault *f)
{
	struct stmt *st = s->st[ST_BLOCK_STARTED];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, block);
	bool row = false;
	enum err e = stmt_step(st, &row, f);
	*t0 = !e && row ? stmt_int(st, 0) : 0;
	*silent_since = !e && row ? stmt_int(st, 1) : 0;
	stmt_reset(st);
	return e;
}

enum err block_of_canary(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t device, int64_t *block, struct fault *f)
{
	return block_of(s->st[ST_BLOCK_OF_CANARY], rollout, stage, device, block, f);
}

enum err block_of_member(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t device, int64_t *block, struct fault *f)
{
	return block_of(s->st[ST_BLOCK_OF_MEMBER], rollout, stage, device, block, f);
}

enum err block_canary(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t block, int64_t *device, struct fault *f)
{
	return block_of(s->st[ST_BLOCK_CANARY], rollout, stage, block, device, f);
}

enum err block_forget_device(struct rollout_store *s, int64_t device, struct fault *f)
{
	stmt_bind_int(s->st[ST_BLOCK_FORGET], 1, device);
	enum err e = stmt_run(s->st[ST_BLOCK_FORGET], f);
	if (e)
		return e;
	stmt_bind_int(s->st[ST_BASELINE_FORGET], 1, device);
	return stmt_run(s->st[ST_BASELINE_FORGET], f);
}

enum err block_start(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t block, int64_t t0, int64_t silent_since, bool *is_new,
	struct fault *f)
{
	struct stmt *st = s->st[ST_BLOCK_START];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, block);
	stmt_bind_int(st, 4, t0);
	bind_time(st, 5, silent_since);
	enum err e = stmt_run(st, f);
	*is_new = !e && db_changes(s->db) == 1;
	return e;
}

enum err baseline_insert(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t device, int64_t gate, const void *accum, size_t len,
	struct fault *f)
{
	struct stmt *st = s->st[ST_BASELINE_INSERT];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, device);
	stmt_bind_int(st, 4, gate);
	stmt_bind_blob(st, 5, accum, len);
	return stmt_run(st, f);
}

enum err baseline_each(struct rollout_store *s, int64_t rollout, int64_t stage,
	void (*fn)(void *ctx, int64_t device, int64_t gate, const void *accum, size_t len), void *ctx, struct fault *f)
{
	struct stmt *st = s->st[ST_BASELINE_LIST];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	bool row;
	enum err e;
	while (!(e = stmt_step(st, &row, f)) && row) {
		size_t len = 0;
		const void *data = stmt_blob(st, 2, &len);
		fn(ctx, stmt_int(st, 0), stmt_int(st, 1), data, len);
	}
	return e;
}

enum err baseline_each_of(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t device,
	void (*fn)(void *ctx, int64_t device, int64_t gate, const void *accum, size_t len), void *ctx, struct fault *f)
{
	struct stmt *st = s->st[ST_BASELINE_OF];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, device);
	bool row;
	enum err e;
	while (!(e = stmt_step(st, &row, f)) && row) {
		size_t len = 0;
		const void *data = stmt_blob(st, 1, &len);
		fn(ctx, device, stmt_int(st, 0), data, len);
	}
	return e;
}

enum err look_insert(struct rollout_store *s, const struct look_row *row, struct fault *f)
{
	struct stmt *st = s->st[ST_LOOK_INSERT];
	const int64_t ints[] = {row->rollout, row->stage, row->look, row->gate, row->at, row->reports, row->blocks, row->devices, row->statistic};
	for (int i = 0; i < 9; i++)
		stmt_bind_int(st, i + 1, ints[i]);
	stmt_bind_real(st, 10, row->p);
	if (isnan(row->p_ni))
		stmt_bind_null(st, 11);
	else
		stmt_bind_real(st, 11, row->p_ni);
	stmt_bind_real(st, 12, row->alpha_look);
	stmt_bind_real(st, 13, row->spent);
	stmt_bind_text(st, 14, row->verdict);
	stmt_bind_text(st, 15, row->data);
	return stmt_run(st, f);
}

enum err look_list(struct rollout_store *s, int64_t rollout, struct look_row **rows, size_t *count, struct arena *a, struct fault *f)
{
	struct stmt *st = s->st[ST_LOOK_LIST];
	stmt_bind_int(st, 1, rollout);
	*rows = NULL;
	*count = 0;
	bool row;
	enum err e;
	while (!(e = stmt_step(st, &row, f)) && row) {
		*rows = grow(*rows, *count, sizeof **rows, a);
		(*rows)[(*count)++] = (struct look_row){
			.rollout = rollout,
			.stage = stmt_int(st, 0),
			.look = stmt_int(st, 1),
			.gate = stmt_int(st, 2),
			.at = stmt_int(st, 3),
			.reports = stmt_int(st, 4),
			.blocks = stmt_int(st, 5),
			.devices = stmt_int(st, 6),
			.statistic = stmt_int(st, 7),
			.p = stmt_real(st, 8),
			.p_ni = stmt_is_null(st, 9) ? (double)NAN : stmt_real(st, 9),
			.alpha_look = stmt_real(st, 10),
			.spent = stmt_real(st, 11),
			.verdict = arena_strdup(a, stmt_text(st, 12)),
			.data = arena_strdup(a, stmt_text(st, 13)),
		};
	}
	return e;
}

enum err look_summary(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t gate, double *spent, double *p_min, struct fault *f)
{
	struct stmt *st = s->st[ST_LOOK_SUMMARY];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, gate);
	bool row = false;
	enum err e = stmt_step(st, &row, f);
	*spent = !e && row ? stmt_real(st, 0) : 0;
	*p_min = !e && row ? stmt_real(st, 1) : 0;
	stmt_reset(st);
	return e;
}

enum err rollout_purge(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t limit, bool *is_empty, struct fault *f)
{
	*is_empty = false;
	for (int i = ST_PURGE_BLOCK; i <= ST_PURGE_LOOK; i++) {
		struct stmt *st = s->st[i];
		stmt_bind_int(st, 1, rollout);
		stmt_bind_int(st, 2, stage < 0 ? 0 : stage);
		stmt_bind_int(st, 3, stage < 0 ? INT64_MAX : stage);
		stmt_bind_int(st, 4, limit);
		enum err e = stmt_run(st, f);
		if (e || db_changes(s->db) > 0)
			return e;
	}
	*is_empty = true;
	return ERR_OK;
}

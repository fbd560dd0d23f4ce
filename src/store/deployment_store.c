#include "store/deployment_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/rollout.h"
#include "store/db.h"

#define COLUMNS                                                                                                        \
	"id, rollout, stage, device, role, state, attempt, prev_release, progress, reason, offered_at, deadline_at, "     \
	"ended_at, reverts, counter, updated_at, kind, action, cancelling, confirm, parts, prev_parts, not_before"

#define COLUMNS_D                                                                                                      \
	"d.id, d.rollout, d.stage, d.device, d.role, d.state, d.attempt, d.prev_release, d.progress, d.reason, d.offered_at, "  \
	"d.deadline_at, d.ended_at, d.reverts, d.counter, d.updated_at, d.kind, d.action, d.cancelling, d.confirm, " \
	"d.parts, d.prev_parts, d.not_before"

enum {
	ST_INSERT,
	ST_UPDATE,
	ST_GET,
	ST_NEWEST,
	ST_NEWEST_INSTALL,
	ST_EXISTS,
	ST_IN_STATE,
	ST_WAITING,
	ST_ASIDE,
	ST_SHAMS_OF_BLOCK,
	ST_UNFINISHED_OF_BLOCK,
	ST_OVERDUE,
	ST_PAGE,
	ST_PAGE_STATE,
	ST_FORGET,
	ST_OF_DEVICE,
	ST_COUNT_ADD,
	ST_COUNTS,
	ST_ACTIVATE,
	ST_DEACTIVATE,
	ST_ACTIVE_OF,
	ST_ACTIVE_EACH,
	ST_OF_STAGE,
	ST_COUNT
};

static const struct statement statements[ST_COUNT] = {
	[ST_INSERT] = {"INSERT INTO deployment (rollout, stage, device, role, state, attempt, prev_release, updated_at, kind) VALUES (?1, ?2, ?3, ?4, "
		"?5, ?6, ?7, ?8, ?9)", false},
	[ST_UPDATE] = {"UPDATE deployment SET stage = ?2, state = ?3, attempt = ?4, progress = ?5, reason = ?6, offered_at = ?7, deadline_at = ?8, "
		"ended_at = ?9, reverts = ?10, counter = ?11, updated_at = ?12, action = ?13, cancelling = ?14, confirm = ?15, "
		"parts = ?16, prev_parts = ?17, not_before = ?18 WHERE id = ?1", false},
	[ST_GET] = {"SELECT " COLUMNS " FROM deployment WHERE id = ?1", false},
	[ST_NEWEST] = {"SELECT " COLUMNS " FROM deployment WHERE device = ?1 ORDER BY id DESC LIMIT 1", false},
	[ST_NEWEST_INSTALL] = {"SELECT " COLUMNS " FROM deployment WHERE device = ?1 AND kind = 'install' ORDER BY id DESC LIMIT 1", false},
	[ST_EXISTS] = {"SELECT 1 FROM deployment WHERE rollout = ?1 AND device = ?2 AND kind = 'install'", false},
	[ST_IN_STATE] = {"SELECT " COLUMNS " FROM deployment WHERE rollout = ?1 AND stage = ?2 AND state = ?3 AND kind = ?5 "
		"AND id > ?6 ORDER BY id LIMIT ?4", false},
	[ST_WAITING] = {"SELECT " COLUMNS " FROM deployment WHERE rollout = ?1 AND stage = ?2 AND state = 'waiting' AND kind <> 'sham' "
		"AND (role = 'canary') = ?3 AND id > ?4 AND coalesce(not_before, 0) <= ?5 ORDER BY id LIMIT ?6", false},
	[ST_ASIDE] = {"SELECT " COLUMNS " FROM deployment WHERE rollout = ?1 AND stage = ?2 AND device > ?3 AND kind <> 'install' "
		"ORDER BY device LIMIT ?4", false},
	[ST_SHAMS_OF_BLOCK] = {"SELECT " COLUMNS_D " FROM block_member b JOIN deployment d ON d.rollout = b.rollout AND d.stage = b.stage AND "
		"d.device = b.device AND d.kind <> 'install' WHERE b.rollout = ?1 AND b.stage = ?2 AND b.block = ?3 AND d.kind = 'sham' AND d.state = 'waiting'",
		false},
	[ST_UNFINISHED_OF_BLOCK] = {"SELECT count(*) FROM block_member b JOIN deployment d ON d.device = b.device AND d.rollout = b.rollout AND "
		"d.stage = b.stage WHERE b.rollout = ?1 AND b.stage = ?2 AND b.block = ?3 AND d.ended_at IS NULL", false},
	[ST_OVERDUE] = {"SELECT " COLUMNS " FROM deployment WHERE deadline_at <= ?1 ORDER BY deadline_at LIMIT ?2", false},
	[ST_PAGE] = {"SELECT " COLUMNS " FROM deployment WHERE rollout = ?1 AND id > ?2 ORDER BY id LIMIT ?3", false},
	[ST_PAGE_STATE] = {"SELECT " COLUMNS " FROM deployment WHERE rollout = ?1 AND stage = ?2 AND state = ?3 AND kind = ?4 AND id > ?5 "
		"ORDER BY id LIMIT ?6", false},
	[ST_FORGET] = {"DELETE FROM deployment WHERE id = ?1", false},
	[ST_OF_DEVICE] = {"SELECT " COLUMNS " FROM deployment WHERE device = ?1 ORDER BY id", false},
	[ST_COUNT_ADD] = {"INSERT INTO stage_count (rollout, stage, state, n) VALUES (?1, ?2, ?3, max(?4, 0)) "
		"ON CONFLICT (rollout, stage, state) DO UPDATE SET n = n + ?4", false},
	[ST_COUNTS] = {"SELECT state, n FROM stage_count WHERE rollout = ?1 AND stage = ?2", false},
	[ST_ACTIVATE] = {"INSERT INTO active_deployment (device, deployment) VALUES (?1, ?2)", false},
	[ST_DEACTIVATE] = {"DELETE FROM active_deployment WHERE device = ?1", false},
	[ST_ACTIVE_OF] = {"SELECT deployment FROM active_deployment WHERE device = ?1", false},
	[ST_ACTIVE_EACH] = {"SELECT a.device, a.deployment, d.rollout FROM active_deployment a JOIN deployment d ON d.id = a.deployment", true},
	[ST_OF_STAGE] = {"SELECT " COLUMNS " FROM deployment WHERE rollout = ?1 AND stage = ?2 LIMIT ?3", false},
};

struct deployment_store {
	struct db *db;
	struct stmt *st[ST_COUNT];
};

enum err deployment_store_open(struct db *db, struct deployment_store **out, struct fault *f)
{
	struct deployment_store *s = calloc(1, sizeof *s);
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

void deployment_store_close(struct deployment_store *s)
{
	free(s);
}

static void bind_optional(struct stmt *st, int at, int64_t v)
{
	if (v)
		stmt_bind_int(st, at, v);
	else
		stmt_bind_null(st, at);
}

static void read_row(struct stmt *st, struct deployment_row *r, struct arena *a)
{
	*r = (struct deployment_row){
		.id = stmt_int(st, 0),
		.rollout = stmt_int(st, 1),
		.stage = stmt_int(st, 2),
		.device = stmt_int(st, 3),
		.is_canary = strcmp(stmt_text(st, 4), "canary") == 0,
		.attempt = stmt_int(st, 6),
		.prev_release = stmt_int(st, 7),
		.progress = stmt_int(st, 8),
		.reason = arena_strdup(a, stmt_text(st, 9)),
		.offered_at = stmt_int(st, 10),
		.deadline_at = stmt_int(st, 11),
		.ended_at = stmt_int(st, 12),
		.reverts = stmt_int(st, 13),
		.counter = stmt_int(st, 14),
		.updated_at = stmt_int(st, 15),
		.action = stmt_int(st, 17),
		.cancelling = stmt_int(st, 18),
		.confirm = (int)stmt_int(st, 19),
		.parts = arena_strdup(a, stmt_text(st, 20)),
		.prev_parts = arena_strdup(a, stmt_text(st, 21)),
		.not_before = stmt_int(st, 22),
	};
	bool is_known = deployment_status_parse(stmt_text(st, 5), &r->state);
	is_known = is_known && deployment_kind_parse(stmt_text(st, 16), &r->kind);
	assert(is_known); /* only deployment_update and deployment_insert write them */
}

static enum err read_one(struct stmt *st, struct deployment_row *out, struct arena *a, struct fault *f)
{
	bool row = false;
	enum err e = stmt_step(st, &row, f);
	if (e)
		return e;
	if (!row)
		return fault_set(f, ERR_NOT_FOUND, "", "no such deployment");
	read_row(st, out, a);
	stmt_reset(st);
	return ERR_OK;
}

static enum err read_all(struct stmt *st, struct deployment_row **rows, size_t *count, struct arena *a, struct fault *f)
{
	size_t room = 0;
	*rows = NULL;
	*count = 0;
	bool row;
	enum err e;
	while (!(e = stmt_step(st, &row, f)) && row) {
		if (*count == room) {
			struct deployment_row *more = arena_array(a, room ? room * 2 : 16, sizeof *more);
			if (room)
				memcpy(more, *rows, room * sizeof *more);
			*rows = more;
			room = room ? room * 2 : 16;
		}
		read_row(st, &(*rows)[(*count)++], a);
	}
	return e;
}

/* Shams are nobody's success: they are not counted. */
static enum err count_add(struct deployment_store *s, const struct deployment_row *row, enum deployment_status state, int n, struct fault *f)
{
	if (row->kind == DEPLOYMENT_SHAM)
		return ERR_OK;
	struct stmt *st = s->st[ST_COUNT_ADD];
	stmt_bind_int(st, 1, row->rollout);
	stmt_bind_int(st, 2, row->stage);
	stmt_bind_text(st, 3, deployment_status_text(state));
	stmt_bind_int(st, 4, n);
	return stmt_run(st, f);
}

enum err deployment_insert(struct deployment_store *s, struct deployment_row *row, struct fault *f)
{
	struct stmt *st = s->st[ST_INSERT];
	stmt_bind_int(st, 1, row->rollout);
	stmt_bind_int(st, 2, row->stage);
	stmt_bind_int(st, 3, row->device);
	stmt_bind_text(st, 4, row->is_canary ? "canary" : row->kind == DEPLOYMENT_SHAM ? "control" : "wave");
	stmt_bind_text(st, 5, deployment_status_text(row->state));
	stmt_bind_int(st, 6, row->attempt);
	bind_optional(st, 7, row->prev_release);
	stmt_bind_int(st, 8, row->updated_at);
	stmt_bind_text(st, 9, deployment_kind_text(row->kind));
	enum err e = stmt_run(st, f);
	if (e)
		return e;
	row->id = db_last_id(s->db);
	return count_add(s, row, row->state, 1, f);
}

enum err deployment_update(struct deployment_store *s, const struct deployment_row *row, enum deployment_status before, struct fault *f)
{
	struct stmt *st = s->st[ST_UPDATE];
	stmt_bind_int(st, 1, row->id);
	stmt_bind_int(st, 2, row->stage);
	stmt_bind_text(st, 3, deployment_status_text(row->state));
	stmt_bind_int(st, 4, row->attempt);
	stmt_bind_int(st, 5, row->progress);
	stmt_bind_text(st, 6, row->reason ? row->reason : "");
	bind_optional(st, 7, row->offered_at);
	bind_optional(st, 8, row->deadline_at);
	bind_optional(st, 9, row->ended_at);
	stmt_bind_int(st, 10, row->reverts);
	stmt_bind_int(st, 11, row->counter);
	stmt_bind_int(st, 12, row->updated_at);
	bind_optional(st, 13, row->action);
	bind_optional(st, 14, row->cancelling);
	stmt_bind_int(st, 15, row->confirm);
	stmt_bind_text(st, 16, row->parts);
	stmt_bind_text(st, 17, row->prev_parts);
	bind_optional(st, 18, row->not_before);
	enum err e = stmt_run(st, f);
	if (e || before == row->state)
		return e;
	e = count_add(s, row, before, -1, f);
	return e ? e : count_add(s, row, row->state, 1, f);
}

enum err deployment_get(struct deployment_store *s, int64_t id, struct deployment_row *out, struct arena *a, struct fault *f)
{
	stmt_bind_int(s->st[ST_GET], 1, id);
	return read_one(s->st[ST_GET], out, a, f);
}

enum err deployment_newest(struct deployment_store *s, int64_t device, struct deployment_row *out, struct arena *a, struct fault *f)
{
	stmt_bind_int(s->st[ST_NEWEST], 1, device);
	return read_one(s->st[ST_NEWEST], out, a, f);
}

enum err deployment_newest_install(struct deployment_store *s, int64_t device, struct deployment_row *out, struct arena *a, struct fault *f)
{
	stmt_bind_int(s->st[ST_NEWEST_INSTALL], 1, device);
	return read_one(s->st[ST_NEWEST_INSTALL], out, a, f);
}

enum err deployment_exists(struct deployment_store *s, int64_t rollout, int64_t device, bool *exists, struct fault *f)
{
	struct stmt *st = s->st[ST_EXISTS];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, device);
	*exists = false;
	enum err e = stmt_step(st, exists, f);
	stmt_reset(st);
	return e;
}

enum err deployment_waiting(struct deployment_store *s, int64_t rollout, int64_t stage, bool canaries, int64_t now_ms, int64_t after, int64_t limit,
	struct deployment_row **rows, size_t *count, struct arena *a, struct fault *f)
{
	struct stmt *st = s->st[ST_WAITING];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, canaries);
	stmt_bind_int(st, 4, after);
	stmt_bind_int(st, 5, now_ms);
	stmt_bind_int(st, 6, limit);
	return read_all(st, rows, count, a, f);
}

enum err deployment_in_state(struct deployment_store *s, int64_t rollout, int64_t stage, enum deployment_status state, int64_t limit,
	struct deployment_row **rows, size_t *count, struct arena *a, struct fault *f)
{
	return deployment_in_state_after(s, rollout, stage, state, 0, limit, rows, count, a, f);
}

enum err deployment_in_state_after(struct deployment_store *s, int64_t rollout, int64_t stage, enum deployment_status state, int64_t after,
	int64_t limit, struct deployment_row **rows, size_t *count, struct arena *a, struct fault *f)
{
	static const enum deployment_kind counted[] = {DEPLOYMENT_INSTALL, DEPLOYMENT_SHADOW};
	struct stmt *st = s->st[ST_IN_STATE];
	enum err e = ERR_OK;
	*count = 0;
	for (size_t k = 0; k < sizeof counted / sizeof counted[0] && !e && *count == 0; k++) { /* a stage has one of them */
		stmt_bind_int(st, 1, rollout);
		stmt_bind_int(st, 2, stage);
		stmt_bind_text(st, 3, deployment_status_text(state));
		stmt_bind_int(st, 4, limit);
		stmt_bind_text(st, 5, deployment_kind_text(counted[k]));
		stmt_bind_int(st, 6, after);
		e = read_all(st, rows, count, a, f);
	}
	return e;
}

enum err deployment_aside(struct deployment_store *s, int64_t rollout, int64_t stage, int64_t after, int64_t limit, struct deployment_row **rows,
	size_t *count, struct arena *a, struct fault *f)
{
	struct stmt *st = s->st[ST_ASIDE];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, after);
	stmt_bind_int(st, 4, limit);
	return read_all(st, rows, count, a, f);
}

static struct stmt *bind_block(struct deployment_store *s, int which, int64_t rollout, int64_t stage, int64_t block)
{
	struct stmt *st = s->st[which];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, block);
	return st;
}

enum err deployment_shams_of_block(struct deployment_store *s, int64_t rollout, int64_t stage, int64_t block, struct deployment_row **rows,
	size_t *count, struct arena *a, struct fault *f)
{
	return read_all(bind_block(s, ST_SHAMS_OF_BLOCK, rollout, stage, block), rows, count, a, f);
}

enum err deployment_unfinished_of_block(struct deployment_store *s, int64_t rollout, int64_t stage, int64_t block, int64_t *count, struct fault *f)
{
	struct stmt *st = bind_block(s, ST_UNFINISHED_OF_BLOCK, rollout, stage, block);
	bool row = false;
	enum err e = stmt_step(st, &row, f);
	*count = !e && row ? stmt_int(st, 0) : 0;
	stmt_reset(st);
	return e;
}

enum err deployment_overdue(struct deployment_store *s, int64_t now_ms, int64_t limit, struct deployment_row **rows, size_t *count,
	struct arena *a, struct fault *f)
{
	struct stmt *st = s->st[ST_OVERDUE];
	stmt_bind_int(st, 1, now_ms);
	stmt_bind_int(st, 2, limit);
	return read_all(st, rows, count, a, f);
}

struct page_key {
	int64_t rollout, stage, after, limit;
	enum deployment_status state;
	enum deployment_kind kind;
};

static int by_id(const void *a, const void *b)
{
	const struct deployment_row *x = a, *y = b;
	return x->id < y->id ? -1 : x->id > y->id;
}

static enum err page_of(struct deployment_store *s, const struct page_key *k, struct deployment_row **rows, size_t *count, struct arena *a,
	struct fault *f)
{
	struct stmt *st = s->st[ST_PAGE_STATE];
	stmt_bind_int(st, 1, k->rollout);
	stmt_bind_int(st, 2, k->stage);
	stmt_bind_text(st, 3, deployment_status_text(k->state));
	stmt_bind_text(st, 4, deployment_kind_text(k->kind));
	stmt_bind_int(st, 5, k->after);
	stmt_bind_int(st, 6, k->limit);
	return read_all(st, rows, count, a, f);
}

/* The index has stages, states and kinds before ids: a page of one each, and the smallest ids of them all. One statement over a few of them
 * would walk past all the others of a million. */
static enum err page_merged(struct deployment_store *s, struct page_key k, struct deployment_row **rows, size_t *count, struct arena *a,
	struct fault *f)
{
	int64_t first = k.stage < 0 ? 0 : k.stage, last = k.stage < 0 ? ROLLOUT_STAGES : k.stage;
	int from = k.state == DEPLOYMENT_STATUS_COUNT ? 0 : (int)k.state, to = k.state == DEPLOYMENT_STATUS_COUNT ? k.state - 1 : k.state;
	*rows = NULL;
	*count = 0;
	for (k.stage = first; k.stage <= last; k.stage++)
		for (int state = from; state <= to; state++)
			for (int kind = 0; kind < DEPLOYMENT_KIND_COUNT; kind++) {
				struct deployment_row *some;
				size_t n;
				k.state = (enum deployment_status)state;
				k.kind = (enum deployment_kind)kind;
				enum err e = page_of(s, &k, &some, &n, a, f);
				if (e)
					return e;
				if (n == 0)
					continue;
				struct deployment_row *all = arena_array(a, *count + n, sizeof *all);
				if (*count)
					memcpy(all, *rows, *count * sizeof *all);
				memcpy(all + *count, some, n * sizeof *all);
				*rows = all;
				*count += n;
			}
	if (*count)
		qsort(*rows, *count, sizeof **rows, by_id);
	if (*count > (size_t)k.limit)
		*count = (size_t)k.limit;
	return ERR_OK;
}

enum err deployment_page(struct deployment_store *s, int64_t rollout, int64_t stage, enum deployment_status state, int64_t after, int64_t limit,
	struct deployment_row **rows, size_t *count, struct arena *a, struct fault *f)
{
	if (state != DEPLOYMENT_STATUS_COUNT || stage >= 0)
		return page_merged(s, (struct page_key){rollout, stage, after, limit, state, DEPLOYMENT_INSTALL}, rows, count, a, f);
	struct stmt *st = s->st[ST_PAGE];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, after);
	stmt_bind_int(st, 3, limit);
	return read_all(st, rows, count, a, f);
}

enum err deployment_forget_device(struct deployment_store *s, int64_t device, struct fault *f)
{
	struct arena *a = arena_new(1 << 20);
	struct deployment_row *rows;
	size_t count;
	stmt_bind_int(s->st[ST_OF_DEVICE], 1, device);
	enum err e = read_all(s->st[ST_OF_DEVICE], &rows, &count, a, f);
	for (size_t i = 0; i < count && !e; i++) {
		e = count_add(s, &rows[i], rows[i].state, -1, f);
		if (e)
			break;
		stmt_bind_int(s->st[ST_FORGET], 1, rows[i].id);
		e = stmt_run(s->st[ST_FORGET], f);
	}
	arena_free(a);
	return e;
}

enum err deployment_counts(struct deployment_store *s, int64_t rollout, int64_t stage, uint32_t counts[DEPLOYMENT_STATUS_COUNT], struct fault *f)
{
	struct stmt *st = s->st[ST_COUNTS];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	memset(counts, 0, DEPLOYMENT_STATUS_COUNT * sizeof *counts);
	bool row;
	enum err e;
	while (!(e = stmt_step(st, &row, f)) && row) {
		enum deployment_status state;
		if (deployment_status_parse(stmt_text(st, 0), &state))
			counts[state] = (uint32_t)stmt_int(st, 1);
	}
	return e;
}

enum err deployment_activate(struct deployment_store *s, int64_t device, int64_t deployment, struct fault *f)
{
	stmt_bind_int(s->st[ST_ACTIVATE], 1, device);
	stmt_bind_int(s->st[ST_ACTIVATE], 2, deployment);
	return stmt_run(s->st[ST_ACTIVATE], f);
}

enum err deployment_deactivate(struct deployment_store *s, int64_t device, struct fault *f)
{
	stmt_bind_int(s->st[ST_DEACTIVATE], 1, device);
	return stmt_run(s->st[ST_DEACTIVATE], f);
}

enum err deployment_active_of(struct deployment_store *s, int64_t device, int64_t *deployment, struct fault *f)
{
	struct stmt *st = s->st[ST_ACTIVE_OF];
	stmt_bind_int(st, 1, device);
	bool row = false;
	enum err e = stmt_step(st, &row, f);
	*deployment = !e && row ? stmt_int(st, 0) : 0;
	stmt_reset(st);
	return e;
}

enum err deployment_of_stage(struct deployment_store *s, int64_t rollout, int64_t stage, int64_t limit, struct deployment_row **rows,
	size_t *count, struct arena *a, struct fault *f)
{
	struct stmt *st = s->st[ST_OF_STAGE];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, limit);
	return read_all(st, rows, count, a, f);
}

enum err deployment_remove(struct deployment_store *s, const struct deployment_row *row, struct fault *f)
{
	enum err e = count_add(s, row, row->state, -1, f);
	if (e)
		return e;
	stmt_bind_int(s->st[ST_FORGET], 1, row->id);
	return stmt_run(s->st[ST_FORGET], f);
}

enum err deployment_active_each(struct deployment_store *s, void (*fn)(void *ctx, int64_t device, int64_t deployment, int64_t rollout),
	void *ctx, struct fault *f)
{
	struct stmt *st = s->st[ST_ACTIVE_EACH];
	bool row;
	enum err e;
	while (!(e = stmt_step(st, &row, f)) && row)
		fn(ctx, stmt_int(st, 0), stmt_int(st, 1), stmt_int(st, 2));
	return e;
}

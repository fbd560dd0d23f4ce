#include "store/regroup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/chunk.h"
#include "store/db.h"
#include "store/report_log.h"

#define PASS_BYTES ((size_t)24 << 20)
#define STEP_NS 8000000
#define GRACE_MS 2000      /* a batch takes this long from its last report to its commit, at most, when nothing fails */
#define CHUNK_BYTES 800    /* then the next part begins; with its last report a chunk stays below a quarter of a page */
#define DROP_ROWS "2000"

enum {
	S_UPTO, S_SET, S_HEADS, S_PERIOD_NEWEST, S_PERIOD_ADD, S_NEXT_BATCH, S_CHUNK_ADD, S_PERIOD_OLDEST, S_DROP_TO, S_DROP, S_DROP_ALL, S_PERIOD_DELETE,
	S_COUNT
};
static const struct statement statements[S_COUNT] = {
	[S_UPTO] = {"SELECT value FROM progress WHERE name = 'regrouped_batch'", false},
	[S_SET] = {"UPDATE progress SET value = ?1 WHERE name = 'regrouped_batch'", false},
	[S_HEADS] = {"SELECT id, first_ms, last_ms, reports FROM raw WHERE id > ?1 ORDER BY id", false},
	[S_PERIOD_NEWEST] = {"SELECT id, first_batch, last_batch, first_ms FROM period ORDER BY id DESC LIMIT 1", true}, /* one row, as below */
	[S_PERIOD_ADD] = {"INSERT INTO period (first_batch, last_batch, first_ms, last_ms) VALUES (?1, ?2, ?3, ?4)", false},
	[S_NEXT_BATCH] = {"SELECT id, first_ms, data FROM raw WHERE id > ?1 ORDER BY id LIMIT 1", false},
	[S_CHUNK_ADD] = {"INSERT OR REPLACE INTO chunk (period, device, part, data) VALUES (?1, ?2, ?3, ?4)", false},
	[S_PERIOD_OLDEST] = {"SELECT id, last_batch, last_ms FROM period ORDER BY id LIMIT 1", true},
	[S_DROP_TO] = {"SELECT device FROM chunk WHERE period = ?1 ORDER BY device LIMIT 1 OFFSET " DROP_ROWS, false},
	[S_DROP] = {"DELETE FROM chunk WHERE period = ?1 AND device <= ?2", false},
	[S_DROP_ALL] = {"DELETE FROM chunk WHERE period = ?1", false},
	[S_PERIOD_DELETE] = {"DELETE FROM period WHERE id = ?1", false},
};

/* A report of the pass: where its record lies in the pass's memory. */
struct entry {
	int64_t device;
	int64_t base_ms; /* of its batch */
	size_t at, len;
};

enum phase { IDLE, COLLECTING, WRITING };

struct regroup {
	struct db *db;
	struct stmt *s[S_COUNT];
	int64_t upto;
	size_t pass_bytes, limit; /* limit: of this pass; grows for a single device that fills it */
	enum phase phase;
	struct {
		int64_t id, first_batch, last_batch, first_ms;
	} period;
	/* the pass */
	int64_t after, below; /* devices of it: above `after`, and below `below` once its memory was full */
	int64_t batch;        /* the last one that was read */
	struct buf records;
	struct entry *entries;
	size_t count, room, written;
	struct chunk_writer *writer;
	struct buf chunk;
};

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

enum err regroup_open(struct db *db, size_t pass_bytes, struct regroup **out, struct fault *f)
{
	struct regroup *r = must(calloc(1, sizeof *r));
	r->db = db;
	r->pass_bytes = pass_bytes > 0 ? pass_bytes : PASS_BYTES;
	enum err e = db_prepare(db, statements, S_COUNT, r->s, f);
	if (e == ERR_OK)
		e = stmt_read_int(r->s[S_UPTO], &r->upto, f);
	*out = e == ERR_OK ? r : NULL;
	if (e != ERR_OK)
		regroup_free(r);
	return e;
}

static void end_pass(struct regroup *r)
{
	buf_done(&r->records);
	buf_done(&r->chunk);
	free(r->entries);
	chunk_writer_free(r->writer);
	r->entries = NULL;
	r->writer = NULL;
	r->count = r->room = r->written = 0;
}

void regroup_free(struct regroup *r)
{
	if (r == NULL)
		return;
	end_pass(r);
	free(r);
}

int64_t regroup_upto(const struct regroup *r)
{
	return r->upto;
}

static enum err finish(struct regroup *r, enum err e, struct fault *f)
{
	if (e == ERR_OK)
		e = db_commit(r->db, f);
	if (e != ERR_OK)
		db_rollback(r->db);
	return e;
}

/* ---- which part of the log is next ---- */

struct span {
	int64_t first_batch, last_batch, first_ms, last_ms, reports;
};

/* The log's oldest batches that make a period; last_batch stays 0 while there is none. */
static enum err find_span(struct regroup *r, int64_t now_ms, bool hurry, struct span *out, struct fault *f)
{
	struct stmt *st = r->s[S_HEADS];
	struct span x = {0};
	bool row = true, is_full = false;
	enum err e = ERR_OK;
	*out = (struct span){0};
	stmt_bind_int(st, 1, r->upto);
	while (e == ERR_OK && !is_full && (e = stmt_step(st, &row, f)) == ERR_OK && row) {
		int64_t first_ms = stmt_int(st, 1), last_ms = stmt_int(st, 2);
		is_full = x.first_batch != 0 && (x.reports > REGROUP_REPORTS_MAX || last_ms >= x.first_ms + REGROUP_PERIOD_MS);
		if (is_full)
			break;
		if (x.first_batch == 0)
			x = (struct span){.first_batch = stmt_int(st, 0), .first_ms = first_ms, .last_ms = last_ms};
		x.last_batch = stmt_int(st, 0);
		x.first_ms = first_ms < x.first_ms ? first_ms : x.first_ms;
		x.last_ms = last_ms > x.last_ms ? last_ms : x.last_ms;
		x.reports += stmt_int(st, 3);
	}
	stmt_reset(st);
	if (is_full || (x.first_batch != 0 && (hurry || now_ms >= x.first_ms + REGROUP_PERIOD_MS + GRACE_MS)))
		*out = x;
	return e;
}

static void begin_pass(struct regroup *r)
{
	r->phase = COLLECTING;
	r->below = INT64_MAX;
	r->limit = r->pass_bytes;
	r->batch = r->period.first_batch - 1;
	r->count = r->written = 0;
	buf_clear(&r->records);
	if (r->writer == NULL)
		r->writer = chunk_writer_new();
}

/* A period that a kill broke off goes on; else the next one is written down. */
static enum err begin_period(struct regroup *r, int64_t now_ms, bool hurry, bool *did, struct fault *f)
{
	struct stmt *st = r->s[S_PERIOD_NEWEST];
	bool row = false;
	enum err e = stmt_step(st, &row, f);
	bool is_open = e == ERR_OK && row && stmt_int(st, 2) > r->upto;
	if (is_open) {
		r->period.id = stmt_int(st, 0);
		r->period.first_batch = stmt_int(st, 1);
		r->period.last_batch = stmt_int(st, 2);
		r->period.first_ms = stmt_int(st, 3);
		r->after = 0;
		begin_pass(r);
		*did = true;
	}
	stmt_reset(st);
	if (e != ERR_OK || is_open)
		return e;
	struct span next;
	e = find_span(r, now_ms, hurry, &next, f);
	if (e != ERR_OK || next.last_batch == 0)
		return e;
	st = r->s[S_PERIOD_ADD];
	stmt_bind_int(st, 1, next.first_batch);
	stmt_bind_int(st, 2, next.last_batch);
	stmt_bind_int(st, 3, next.first_ms);
	stmt_bind_int(st, 4, next.last_ms);
	*did = true;
	return finish(r, stmt_run(st, f), f);
}

/* ---- a pass: the next devices whose reports fit ---- */

static int by_device(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at); /* as they came */
}

static int by_place(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	return (x->at > y->at) - (x->at < y->at);
}

/* Memory is full: the upper half of the devices waits for a later pass. A device that fills it alone stays whole. */
static void make_room(struct regroup *r)
{
	qsort(r->entries, r->count, sizeof *r->entries, by_device);
	size_t keep = r->count / 2;
	int64_t cut = r->entries[keep].device;
	while (keep > 0 && r->entries[keep - 1].device == cut)
		keep--;
	if (keep == 0)
		while (keep < r->count && r->entries[keep].device == cut)
			keep++;
	if (keep == r->count)
		r->limit *= 2;
	r->below = keep < r->count ? r->entries[keep].device : r->below;
	r->count = keep;
	qsort(r->entries, r->count, sizeof *r->entries, by_place);
	size_t len = 0;
	for (size_t i = 0; i < r->count; i++) {
		memmove(r->records.data + len, r->records.data + r->entries[i].at, r->entries[i].len);
		r->entries[i].at = len;
		len += r->entries[i].len;
	}
	r->records.len = len;
}

static void take_record(struct regroup *r, const uint8_t *from, size_t len, int64_t device, int64_t base_ms)
{
	if (r->count == r->room) {
		r->room = r->room > 0 ? 2 * r->room : 1024;
		r->entries = must(realloc(r->entries, r->room * sizeof *r->entries));
	}
	r->entries[r->count++] = (struct entry){.device = device, .base_ms = base_ms, .at = r->records.len, .len = len};
	buf_append(&r->records, from, len);
}

static void take_batch(struct regroup *r, const void *data, size_t len, int64_t base_ms)
{
	struct report_log_reader l;
	struct log_report report;
	report_log_open(&l, data, len, base_ms);
	for (const uint8_t *from = l.at; report_log_next(&l, 0, &report); from = l.at) {
		if (report.device <= r->after || report.device >= r->below)
			continue;
		take_record(r, from, (size_t)(l.at - from), report.device, base_ms);
		if (r->records.len + r->count * sizeof *r->entries > r->limit)
			make_room(r);
	}
}

static enum err collect(struct regroup *r, struct fault *f)
{
	uint64_t end_ns = clock_mono_ns() + STEP_NS;
	struct stmt *st = r->s[S_NEXT_BATCH];
	while (r->batch < r->period.last_batch && clock_mono_ns() < end_ns) {
		bool row = false;
		size_t len;
		stmt_bind_int(st, 1, r->batch);
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK)
			return e;
		r->batch = row ? stmt_int(st, 0) : r->period.last_batch;
		if (row && r->batch <= r->period.last_batch) {
			const void *data = stmt_blob(st, 2, &len);
			take_batch(r, data, len, stmt_int(st, 1));
		}
		stmt_reset(st);
	}
	if (r->batch < r->period.last_batch)
		return ERR_OK;
	qsort(r->entries, r->count, sizeof *r->entries, by_device);
	r->phase = WRITING;
	return ERR_OK;
}

/* ---- writing ---- */

static enum err put_chunk(struct regroup *r, int64_t device, int64_t part, struct fault *f)
{
	struct stmt *st = r->s[S_CHUNK_ADD];
	stmt_bind_int(st, 1, r->period.id);
	stmt_bind_int(st, 2, device);
	stmt_bind_int(st, 3, part);
	stmt_bind_blob(st, 4, r->chunk.data, r->chunk.len);
	return stmt_run(st, f);
}

/* All chunks of the device at entries[written]. */
static enum err write_device(struct regroup *r, size_t *next, struct fault *f)
{
	const int64_t device = r->entries[r->written].device;
	size_t i = r->written;
	enum err e = ERR_OK;
	for (int64_t part = 0; e == ERR_OK && i < r->count && r->entries[i].device == device; part++) {
		buf_clear(&r->chunk);
		chunk_begin(r->writer, &r->chunk, device, r->period.first_ms);
		for (; i < r->count && r->entries[i].device == device && r->chunk.len < CHUNK_BYTES; i++) {
			struct report_log_reader l;
			struct log_report report;
			report_log_open(&l, r->records.data + r->entries[i].at, r->entries[i].len, r->entries[i].base_ms);
			if (report_log_next(&l, 0, &report))
				chunk_add(r->writer, &report);
		}
		e = put_chunk(r, device, part, f);
	}
	*next = i;
	return e;
}

static enum err end_period(struct regroup *r, struct fault *f)
{
	stmt_bind_int(r->s[S_SET], 1, r->period.last_batch);
	enum err e = finish(r, stmt_run(r->s[S_SET], f), f);
	if (e != ERR_OK)
		return e;
	r->upto = r->period.last_batch;
	r->phase = IDLE;
	end_pass(r);
	return ERR_OK;
}

static enum err write_some(struct regroup *r, struct fault *f)
{
	uint64_t end_ns = clock_mono_ns() + STEP_NS;
	size_t next = r->written;
	enum err e = ERR_OK;
	while (e == ERR_OK && r->written < r->count && clock_mono_ns() < end_ns) {
		e = write_device(r, &next, f);
		if (e == ERR_OK)
			r->written = next;
	}
	e = finish(r, e, f);
	if (e != ERR_OK) { /* the rows of this step are gone: the pass begins again */
		begin_pass(r);
		return e;
	}
	if (r->written < r->count)
		return ERR_OK;
	if (r->below == INT64_MAX)
		return end_period(r, f);
	r->after = r->count > 0 ? r->entries[r->count - 1].device : r->below - 1;
	begin_pass(r);
	return ERR_OK;
}

enum err regroup_step(struct regroup *r, int64_t now_ms, bool hurry, bool *did, struct fault *f)
{
	*did = r->phase != IDLE;
	switch (r->phase) {
	case IDLE:
		return begin_period(r, now_ms, hurry, did, f);
	case COLLECTING:
		return collect(r, f);
	case WRITING:
		return r->count == 0 && r->below == INT64_MAX ? end_period(r, f) : write_some(r, f);
	}
	return ERR_OK;
}

/* ---- retention ---- */

enum err regroup_drop(struct regroup *r, int64_t before_ms, bool *did, struct fault *f)
{
	struct stmt *st = r->s[S_PERIOD_OLDEST];
	bool row = false;
	int64_t id = 0, device = 0;
	enum err e = stmt_step(st, &row, f);
	bool is_due = e == ERR_OK && row && stmt_int(st, 1) <= r->upto && stmt_int(st, 2) < before_ms;
	if (is_due)
		id = stmt_int(st, 0);
	stmt_reset(st);
	if (!is_due)
		return e;
	stmt_bind_int(r->s[S_DROP_TO], 1, id);
	e = stmt_read_int(r->s[S_DROP_TO], &device, f);
	bool is_last = device == 0;
	st = r->s[is_last ? S_DROP_ALL : S_DROP];
	stmt_bind_int(st, 1, id);
	if (!is_last)
		stmt_bind_int(st, 2, device);
	if (e == ERR_OK)
		e = stmt_run(st, f);
	if (e == ERR_OK && is_last) {
		stmt_bind_int(r->s[S_PERIOD_DELETE], 1, id);
		e = stmt_run(r->s[S_PERIOD_DELETE], f);
	}
	*did = e == ERR_OK;
	return e;
}

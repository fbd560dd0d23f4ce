#include "store/notify_store.h"

#include <stdlib.h>

#include "store/db.h"

enum {
	RECEIVER_INSERT, RECEIVER_GET, RECEIVER_UPDATE, RECEIVER_DELETE, RECEIVER_PAGE, RECEIVER_DELAYED,
	MEMBER_PUT, MEMBER_MUTE, MEMBER_UNMUTE, MEMBER_TELL, MEMBER_CHANGED, MEMBER_FIRING, MEMBER_LAST, MEMBER_FORGET,
	TRACK_GET, TRACK_PUT, TRACK_DUE, TRACK_AHEAD, TRACK_RETAIN,
	DELIVERY_INSERT, DELIVERY_GET, DELIVERY_DUE, DELIVERY_UPDATE, DELIVERY_EXPIRE, DELIVERY_HASTEN, DELIVERY_PAGE, DELIVERY_PAGE_STATUS, DELIVERY_PAGE_RECEIVER,
	DELIVERY_NTH, DELIVERY_COUNT, DELIVERY_RETAIN,
	STATEMENTS
};

#define RECEIVER_COLUMNS "id, name, type, is_enabled, matchers, url, secret, settings, wait_ms, interval_ms, repeat_ms, timeout_ms, revision," \
	" created_at, updated_at, per_minute, delayed"
#define TRACK_COLUMNS "receiver, group_key, key, due_at, first_at, told_at, seq, told_change, was_firing, is_waiting, touched_at"
#define DELIVERY_HEAD "id, receiver, key, seq, group_key, status, subject, created_at, expires_at, next_at, attempts, reply, error, done_at"
#define DELIVERY_COLUMNS DELIVERY_HEAD ", body"
#define DELIVERY_WHERE " AND (?2 = 0 OR receiver = ?2) AND (?3 IS NULL OR status = ?3) ORDER BY id DESC LIMIT ?4"

static const struct statement table[STATEMENTS] = {
	[RECEIVER_INSERT] = {"INSERT INTO receiver (name, type, is_enabled, matchers, url, secret, settings, wait_ms, interval_ms, repeat_ms, timeout_ms,"
	                     " created_at, updated_at, per_minute) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13)", false},
	[RECEIVER_GET] = {"SELECT " RECEIVER_COLUMNS " FROM receiver WHERE id = ?1", false},
	[RECEIVER_UPDATE] = {"UPDATE receiver SET name = ?1, type = ?2, is_enabled = ?3, matchers = ?4, url = ?5, secret = ?6, settings = ?7, wait_ms = ?8,"
	                     " interval_ms = ?9, repeat_ms = ?10, timeout_ms = ?11, updated_at = ?12, per_minute = ?13, revision = revision + 1 WHERE id = ?14", false},
	[RECEIVER_DELETE] = {"DELETE FROM receiver WHERE id = ?1", false},
	[RECEIVER_DELAYED] = {"UPDATE receiver SET delayed = delayed + 1 WHERE id = ?1", false},
	[RECEIVER_PAGE] = {"SELECT " RECEIVER_COLUMNS " FROM receiver WHERE id > ?1 ORDER BY id LIMIT ?2", false},
	[MEMBER_PUT] = {"INSERT INTO notify_member (group_key, alert, change, is_firing) VALUES (?1, ?2, ?4, ?3)"
	                " ON CONFLICT (group_key, alert) DO UPDATE SET change = excluded.change, is_firing = excluded.is_firing", false},
	[MEMBER_MUTE] = {"UPDATE notify_member SET is_muted = 1 WHERE group_key = ?1 AND alert = ?2", false},
	[MEMBER_UNMUTE] = {"UPDATE notify_member SET is_muted = 0, change = ?3 WHERE group_key = ?1 AND alert = ?2", false},
	[MEMBER_TELL] = {"UPDATE notify_member SET is_told = 1 WHERE group_key = ?1 AND alert = ?2 AND is_told = 0", false},
	[MEMBER_CHANGED] = {"SELECT alert, change, is_firing, is_muted, is_told FROM notify_member WHERE group_key = ?1 AND change > ?2 ORDER BY change LIMIT ?3",
	                    false},
	[MEMBER_FIRING] = {"SELECT alert, change, is_firing, is_muted, is_told FROM notify_member WHERE group_key = ?1 AND change <= ?2 AND is_firing = 1"
	                   " ORDER BY change LIMIT ?3", false},
	[MEMBER_LAST] = {"SELECT coalesce(max(change), 0) FROM notify_member WHERE group_key = ?1", false},
	/* A track that has nothing to come knows everything that concerns it. */
	[MEMBER_FORGET] = {"DELETE FROM notify_member WHERE group_key = ?1 AND alert IN (SELECT alert FROM notify_member WHERE group_key = ?1 AND is_firing = 0"
	                   " AND change <= coalesce((SELECT min(told_change) FROM notify_track WHERE group_key = ?1 AND due_at IS NOT NULL), 9e18) ORDER BY change LIMIT ?2)",
	                   false},
	[TRACK_GET] = {"SELECT " TRACK_COLUMNS " FROM notify_track WHERE receiver = ?1 AND group_key = ?2", false},
	[TRACK_PUT] = {"INSERT OR REPLACE INTO notify_track (" TRACK_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)", false},
	[TRACK_DUE] = {"SELECT " TRACK_COLUMNS " FROM notify_track WHERE due_at <= ?1 ORDER BY due_at LIMIT 1", false},
	[TRACK_AHEAD] = {"SELECT " TRACK_COLUMNS " FROM notify_track WHERE touched_at > ?1 AND due_at IS NOT NULL ORDER BY touched_at LIMIT 1", false},
	[TRACK_RETAIN] = {"DELETE FROM notify_track WHERE (receiver, group_key) IN (SELECT receiver, group_key FROM notify_track WHERE touched_at < ?1"
	                  " AND due_at IS NULL ORDER BY touched_at LIMIT ?2)", false},
	[DELIVERY_INSERT] = {"INSERT INTO delivery (receiver, key, seq, group_key, status, subject, body, created_at, expires_at, next_at)"
	                     " VALUES (?1, ?2, ?3, ?4, 'pending', ?5, ?6, ?7, ?8, ?9)", false},
	[DELIVERY_GET] = {"SELECT " DELIVERY_COLUMNS " FROM delivery WHERE id = ?1", false},
	[DELIVERY_DUE] = {"SELECT " DELIVERY_COLUMNS " FROM delivery AS d WHERE receiver = ?1 AND status = 'pending' AND next_at <= ?2 AND NOT EXISTS"
	                  " (SELECT 1 FROM delivery AS e WHERE e.key = d.key AND e.status = 'pending' AND e.id < d.id) ORDER BY next_at LIMIT ?3", false},
	[DELIVERY_UPDATE] = {"UPDATE delivery SET status = ?2, expires_at = ?3, next_at = ?4, attempts = ?5, reply = ?6, error = ?7, done_at = ?8 WHERE id = ?1",
	                     false},
	[DELIVERY_EXPIRE] = {"UPDATE delivery SET status = 'dead', done_at = ?2, error = 'the receiver did not answer in time' WHERE id IN (SELECT id FROM delivery"
	                     " WHERE receiver = ?1 AND status = 'pending' AND expires_at <= ?2 LIMIT ?3)", false},
	[DELIVERY_HASTEN] = {"UPDATE delivery SET next_at = ?2, expires_at = min(expires_at, ?3) WHERE id IN (SELECT id FROM delivery WHERE receiver = ?1"
	                     " AND status = 'pending' AND next_at > ?4 AND (?5 OR reply NOT IN (429, 503)) LIMIT ?6)", false},
	[DELIVERY_PAGE] = {"SELECT " DELIVERY_HEAD " FROM delivery WHERE id < ?1" DELIVERY_WHERE, false},
	[DELIVERY_PAGE_STATUS] = {"SELECT " DELIVERY_HEAD " FROM delivery WHERE status = ?5 AND id < ?1" DELIVERY_WHERE, false},
	[DELIVERY_PAGE_RECEIVER] = {"SELECT " DELIVERY_HEAD " FROM delivery WHERE receiver = ?5 AND id < ?1" DELIVERY_WHERE, false},
	[DELIVERY_NTH] = {"SELECT created_at FROM delivery WHERE receiver = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2", false},
	[DELIVERY_COUNT] = {"SELECT count(*) FROM delivery WHERE status = ?1", false},
	[DELIVERY_RETAIN] = {"DELETE FROM delivery WHERE id IN (SELECT id FROM (SELECT id, done_at FROM delivery WHERE status = ?1 ORDER BY id LIMIT ?3)"
	                     " WHERE done_at < ?2)", false},
};

struct notify_store {
	struct db *db;
	struct stmt *st[STATEMENTS];
};

enum err notify_store_open(struct db *db, struct notify_store **out, struct fault *f)
{
	*out = NULL;
	struct notify_store *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	s->db = db;
	enum err e = db_prepare(db, table, STATEMENTS, s->st, f);
	if (e != ERR_OK)
		free(s);
	else
		*out = s;
	return e;
}

void notify_store_close(struct notify_store *s)
{
	free(s);
}

/* ---- receivers ---- */

static void bind_receiver(struct stmt *st, const struct receiver_row *r, int64_t at)
{
	stmt_bind_text(st, 1, r->name);
	stmt_bind_text(st, 2, r->type);
	stmt_bind_int(st, 3, r->is_enabled);
	stmt_bind_text(st, 4, r->matchers);
	stmt_bind_text(st, 5, r->url);
	stmt_bind_text(st, 6, r->secret);
	stmt_bind_text(st, 7, r->settings);
	stmt_bind_int(st, 8, r->timing.wait_ms);
	stmt_bind_int(st, 9, r->timing.interval_ms);
	stmt_bind_int(st, 10, r->timing.repeat_ms);
	stmt_bind_int(st, 11, r->timeout_ms);
	stmt_bind_int(st, 12, at);
	stmt_bind_int(st, 13, r->per_minute);
}

static void read_receiver(struct stmt *st, struct arena *a, struct receiver_row *r)
{
	*r = (struct receiver_row){.id = stmt_int(st, 0), .name = arena_strdup(a, stmt_text(st, 1)), .type = arena_strdup(a, stmt_text(st, 2)),
		.is_enabled = stmt_int(st, 3) != 0, .matchers = arena_strdup(a, stmt_text(st, 4)), .url = arena_strdup(a, stmt_text(st, 5)),
		.secret = arena_strdup(a, stmt_text(st, 6)), .settings = arena_strdup(a, stmt_text(st, 7)),
		.timing = {stmt_int(st, 8), stmt_int(st, 9), stmt_int(st, 10)}, .timeout_ms = stmt_int(st, 11), .revision = stmt_int(st, 12),
		.created_at = stmt_int(st, 13), .updated_at = stmt_int(st, 14), .per_minute = stmt_int(st, 15), .delayed = stmt_int(st, 16)};
}

enum err receiver_insert(struct notify_store *s, struct receiver_row *row, struct fault *f)
{
	bind_receiver(s->st[RECEIVER_INSERT], row, row->created_at);
	enum err e = stmt_run(s->st[RECEIVER_INSERT], f);
	if (e == ERR_CONFLICT)
		return fault_set(f, ERR_CONFLICT, "/name", "there is a receiver with that name");
	row->id = e == ERR_OK ? db_last_id(s->db) : 0;
	return e;
}

enum err receiver_get(struct notify_store *s, int64_t id, struct arena *a, struct receiver_row *row, struct fault *f)
{
	struct stmt *st = s->st[RECEIVER_GET];
	bool found;
	stmt_bind_int(st, 1, id);
	enum err e = stmt_step(st, &found, f);
	if (e == ERR_OK && found)
		read_receiver(st, a, row);
	stmt_reset(st);
	return e == ERR_OK && !found ? fault_set(f, ERR_NOT_FOUND, "", "no such receiver") : e;
}

enum err receiver_update(struct notify_store *s, const struct receiver_row *row, struct fault *f)
{
	bind_receiver(s->st[RECEIVER_UPDATE], row, row->updated_at);
	stmt_bind_int(s->st[RECEIVER_UPDATE], 14, row->id);
	enum err e = stmt_run(s->st[RECEIVER_UPDATE], f);
	return e == ERR_CONFLICT ? fault_set(f, ERR_CONFLICT, "/name", "there is a receiver with that name") : e;
}

enum err receiver_delete(struct notify_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->st[RECEIVER_DELETE], 1, id);
	return stmt_run(s->st[RECEIVER_DELETE], f);
}

enum err receiver_add_delayed(struct notify_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->st[RECEIVER_DELAYED], 1, id);
	return stmt_run(s->st[RECEIVER_DELAYED], f);
}

enum err receiver_page(struct notify_store *s, int64_t after, int64_t limit, struct arena *a, struct receiver_row **rows, size_t *count,
	struct fault *f)
{
	struct stmt *st = s->st[RECEIVER_PAGE];
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	stmt_bind_int(st, 1, after);
	stmt_bind_int(st, 2, limit);
	for (;;) {
		bool row;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		read_receiver(st, a, &(*rows)[(*count)++]);
	}
}

/* ---- members ---- */

enum err member_put(struct notify_store *s, const char *group, int64_t alert, bool is_firing, int64_t change, struct fault *f)
{
	struct stmt *st = s->st[MEMBER_PUT];
	stmt_bind_int(st, 4, change);
	stmt_bind_text(st, 1, group);
	stmt_bind_int(st, 2, alert);
	stmt_bind_int(st, 3, is_firing);
	return stmt_run(st, f);
}

static enum err change_member(struct stmt *st, const char *group, int64_t alert, struct fault *f)
{
	stmt_bind_text(st, 1, group);
	stmt_bind_int(st, 2, alert);
	return stmt_run(st, f);
}

enum err member_set_muted(struct notify_store *s, const char *group, int64_t alert, struct fault *f)
{
	return change_member(s->st[MEMBER_MUTE], group, alert, f);
}

enum err member_set_heard(struct notify_store *s, const char *group, int64_t alert, int64_t change, struct fault *f)
{
	stmt_bind_int(s->st[MEMBER_UNMUTE], 3, change);
	return change_member(s->st[MEMBER_UNMUTE], group, alert, f);
}

enum err member_set_told(struct notify_store *s, const char *group, int64_t alert, struct fault *f)
{
	return change_member(s->st[MEMBER_TELL], group, alert, f);
}

static enum err read_members(struct stmt *st, const char *group, int64_t change, int64_t limit, struct arena *a, struct member_row **rows, size_t *count,
	struct fault *f)
{
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	stmt_bind_text(st, 1, group);
	stmt_bind_int(st, 2, change);
	stmt_bind_int(st, 3, limit);
	for (;;) {
		bool row;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		(*rows)[(*count)++] = (struct member_row){stmt_int(st, 0), stmt_int(st, 1), stmt_int(st, 2) != 0, stmt_int(st, 3) != 0, stmt_int(st, 4) != 0};
	}
}

enum err member_changed(struct notify_store *s, const char *group, int64_t after, int64_t limit, struct arena *a, struct member_row **rows, size_t *count,
	struct fault *f)
{
	return read_members(s->st[MEMBER_CHANGED], group, after, limit, a, rows, count, f);
}

enum err member_firing(struct notify_store *s, const char *group, int64_t upto, int64_t limit, struct arena *a, struct member_row **rows, size_t *count,
	struct fault *f)
{
	return read_members(s->st[MEMBER_FIRING], group, upto, limit, a, rows, count, f);
}

enum err member_last_change(struct notify_store *s, const char *group, int64_t *change, struct fault *f)
{
	stmt_bind_text(s->st[MEMBER_LAST], 1, group);
	return stmt_read_int(s->st[MEMBER_LAST], change, f);
}

enum err member_forget(struct notify_store *s, const char *group, int64_t limit, struct fault *f)
{
	stmt_bind_text(s->st[MEMBER_FORGET], 1, group);
	stmt_bind_int(s->st[MEMBER_FORGET], 2, limit);
	return stmt_run(s->st[MEMBER_FORGET], f);
}

/* ---- tracks ---- */

static void read_track(struct stmt *st, struct arena *a, struct track_row *t)
{
	*t = (struct track_row){.receiver = stmt_int(st, 0), .group_key = arena_strdup(a, stmt_text(st, 1)), .key = arena_strdup(a, stmt_text(st, 2)),
		.due_ms = stmt_is_null(st, 3) ? NOTIFY_NEVER : stmt_int(st, 3), .told_change = stmt_int(st, 7), .touched_ms = stmt_int(st, 10),
		.state = {stmt_int(st, 4), stmt_int(st, 5), stmt_int(st, 6), stmt_int(st, 8) != 0, stmt_int(st, 9) != 0}};
}

static enum err one_track(struct stmt *st, struct arena *a, struct track_row *row, bool *found, struct fault *f)
{
	enum err e = stmt_step(st, found, f);
	if (e == ERR_OK && *found)
		read_track(st, a, row);
	stmt_reset(st);
	return e;
}

enum err track_get(struct notify_store *s, int64_t receiver, const char *group, struct arena *a, struct track_row *row, bool *found, struct fault *f)
{
	stmt_bind_int(s->st[TRACK_GET], 1, receiver);
	stmt_bind_text(s->st[TRACK_GET], 2, group);
	return one_track(s->st[TRACK_GET], a, row, found, f);
}

enum err track_due(struct notify_store *s, int64_t now_ms, struct arena *a, struct track_row *row, bool *found, struct fault *f)
{
	stmt_bind_int(s->st[TRACK_DUE], 1, now_ms);
	return one_track(s->st[TRACK_DUE], a, row, found, f);
}

enum err track_ahead(struct notify_store *s, int64_t now_ms, struct arena *a, struct track_row *row, bool *found, struct fault *f)
{
	stmt_bind_int(s->st[TRACK_AHEAD], 1, now_ms);
	return one_track(s->st[TRACK_AHEAD], a, row, found, f);
}

enum err track_put(struct notify_store *s, const struct track_row *t, struct fault *f)
{
	struct stmt *st = s->st[TRACK_PUT];
	stmt_bind_int(st, 1, t->receiver);
	stmt_bind_text(st, 2, t->group_key);
	stmt_bind_text(st, 3, t->key);
	if (t->due_ms == NOTIFY_NEVER)
		stmt_bind_null(st, 4);
	else
		stmt_bind_int(st, 4, t->due_ms);
	const int64_t numbers[] = {t->state.first_ms, t->state.told_ms, t->state.seq, t->told_change, t->state.was_firing, t->state.is_waiting, t->touched_ms};
	for (int i = 0; i < 7; i++)
		stmt_bind_int(st, 5 + i, numbers[i]);
	return stmt_run(st, f);
}

enum err track_retain(struct notify_store *s, int64_t older_than, int64_t rows, struct fault *f)
{
	stmt_bind_int(s->st[TRACK_RETAIN], 1, older_than);
	stmt_bind_int(s->st[TRACK_RETAIN], 2, rows);
	return stmt_run(s->st[TRACK_RETAIN], f);
}

/* ---- deliveries ---- */

static void read_delivery(struct stmt *st, struct arena *a, bool has_body, struct delivery_row *d)
{
	*d = (struct delivery_row){.id = stmt_int(st, 0), .receiver = stmt_int(st, 1), .key = arena_strdup(a, stmt_text(st, 2)), .seq = stmt_int(st, 3),
		.group_key = arena_strdup(a, stmt_text(st, 4)), .status = arena_strdup(a, stmt_text(st, 5)), .subject = arena_strdup(a, stmt_text(st, 6)),
		.created_at = stmt_int(st, 7), .expires_at = stmt_int(st, 8), .next_at = stmt_int(st, 9), .attempts = stmt_int(st, 10),
		.reply = stmt_int(st, 11), .error = arena_strdup(a, stmt_text(st, 12)), .done_at = stmt_int(st, 13)};
	if (has_body)
		d->body = arena_strdup(a, stmt_text(st, 14));
}

static enum err read_deliveries(struct stmt *st, bool has_body, int64_t limit, struct arena *a, struct delivery_row **rows, size_t *count, struct fault *f)
{
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	for (;;) {
		bool row;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		read_delivery(st, a, has_body, &(*rows)[(*count)++]);
	}
}

enum err delivery_insert(struct notify_store *s, struct delivery_row *d, struct fault *f)
{
	struct stmt *st = s->st[DELIVERY_INSERT];
	stmt_bind_int(st, 1, d->receiver);
	stmt_bind_text(st, 2, d->key);
	stmt_bind_int(st, 3, d->seq);
	stmt_bind_text(st, 4, d->group_key);
	stmt_bind_text(st, 5, d->subject);
	stmt_bind_text(st, 6, d->body);
	stmt_bind_int(st, 7, d->created_at);
	stmt_bind_int(st, 8, d->expires_at);
	stmt_bind_int(st, 9, d->next_at);
	enum err e = stmt_run(st, f);
	d->id = e == ERR_OK ? db_last_id(s->db) : 0;
	return e;
}

enum err delivery_get(struct notify_store *s, int64_t id, struct arena *a, struct delivery_row *row, struct fault *f)
{
	struct stmt *st = s->st[DELIVERY_GET];
	bool found;
	stmt_bind_int(st, 1, id);
	enum err e = stmt_step(st, &found, f);
	if (e == ERR_OK && found)
		read_delivery(st, a, true, row);
	stmt_reset(st);
	return e == ERR_OK && !found ? fault_set(f, ERR_NOT_FOUND, "", "no such delivery") : e;
}

enum err delivery_nth(struct notify_store *s, int64_t receiver, int64_t n, int64_t *created_at, struct fault *f)
{
	struct stmt *st = s->st[DELIVERY_NTH];
	bool found;
	stmt_bind_int(st, 1, receiver);
	stmt_bind_int(st, 2, n - 1);
	enum err e = stmt_step(st, &found, f);
	*created_at = e == ERR_OK && found ? stmt_int(st, 0) : 0;
	stmt_reset(st);
	return e;
}

enum err delivery_due(struct notify_store *s, int64_t receiver, int64_t now_ms, int64_t limit, struct arena *a, struct delivery_row **rows,
	size_t *count, struct fault *f)
{
	struct stmt *st = s->st[DELIVERY_DUE];
	stmt_bind_int(st, 1, receiver);
	stmt_bind_int(st, 2, now_ms);
	stmt_bind_int(st, 3, limit);
	return read_deliveries(st, true, limit, a, rows, count, f);
}

enum err delivery_update(struct notify_store *s, const struct delivery_row *d, struct fault *f)
{
	struct stmt *st = s->st[DELIVERY_UPDATE];
	stmt_bind_int(st, 1, d->id);
	stmt_bind_text(st, 2, d->status);
	stmt_bind_int(st, 3, d->expires_at);
	stmt_bind_int(st, 4, d->next_at);
	stmt_bind_int(st, 5, d->attempts);
	stmt_bind_int(st, 6, d->reply);
	stmt_bind_text(st, 7, d->error);
	if (d->done_at != 0)
		stmt_bind_int(st, 8, d->done_at);
	else
		stmt_bind_null(st, 8);
	return stmt_run(st, f);
}

enum err delivery_expire(struct notify_store *s, int64_t receiver, int64_t now_ms, int64_t limit, int64_t *count, struct fault *f)
{
	struct stmt *st = s->st[DELIVERY_EXPIRE];
	stmt_bind_int(st, 1, receiver);
	stmt_bind_int(st, 2, now_ms);
	stmt_bind_int(st, 3, limit);
	enum err e = stmt_run(st, f);
	*count = e == ERR_OK ? db_changes(s->db) : 0;
	return e;
}

enum err delivery_hasten(struct notify_store *s, const struct delivery_haste *h, int64_t limit, int64_t *count, struct fault *f)
{
	struct stmt *st = s->st[DELIVERY_HASTEN];
	stmt_bind_int(st, 1, h->receiver);
	stmt_bind_int(st, 2, h->now_ms);
	stmt_bind_int(st, 3, h->expires_ms);
	stmt_bind_int(st, 4, h->latest_ms);
	stmt_bind_int(st, 5, h->all);
	stmt_bind_int(st, 6, limit);
	enum err e = stmt_run(st, f);
	*count = e == ERR_OK ? db_changes(s->db) : 0;
	return e;
}

enum err delivery_page(struct notify_store *s, int64_t receiver, const char *status, int64_t before, int64_t limit, struct arena *a,
	struct delivery_row **rows, size_t *count, struct fault *f)
{
	struct stmt *st = s->st[receiver != 0 ? DELIVERY_PAGE_RECEIVER : status != NULL ? DELIVERY_PAGE_STATUS : DELIVERY_PAGE];
	stmt_bind_int(st, 1, before > 0 ? before : INT64_MAX);
	stmt_bind_int(st, 2, receiver);
	stmt_bind_text(st, 3, status);
	stmt_bind_int(st, 4, limit);
	if (receiver != 0)
		stmt_bind_int(st, 5, receiver);
	else if (status != NULL)
		stmt_bind_text(st, 5, status);
	return read_deliveries(st, false, limit, a, rows, count, f);
}

enum err delivery_count(struct notify_store *s, const char *status, int64_t *count, struct fault *f)
{
	stmt_bind_text(s->st[DELIVERY_COUNT], 1, status);
	return stmt_read_int(s->st[DELIVERY_COUNT], count, f);
}

enum err delivery_retain(struct notify_store *s, const char *status, int64_t older_than, int64_t rows, struct fault *f)
{
	stmt_bind_text(s->st[DELIVERY_RETAIN], 1, status);
	stmt_bind_int(s->st[DELIVERY_RETAIN], 2, older_than);
	stmt_bind_int(s->st[DELIVERY_RETAIN], 3, rows);
	return stmt_run(s->st[DELIVERY_RETAIN], f);
}

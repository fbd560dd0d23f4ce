#include "service/alerts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/access.h"
#include "service/alerts_inside.h"
#include "service/ingest.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/unit.h"

#define ARENA_BYTES (16u << 20)
#define PAGE 500
#define NOTICE_KEEP_MS ((int64_t)7 * 86400000) /* of those that nobody takes away */
#define RETAIN_EVERY_MS 10000
#define RETAIN_ROWS 100 /* in one go: some milliseconds where they are not in the cache */
#define RESOLVED_MAX 500000 /* rows, some 500 MB; above, the oldest go before their time */
#define SIEVE_ROWS 1000

static const char *const severities[] = {[ALERT_INFO] = "info", [ALERT_WARNING] = "warning", [ALERT_CRITICAL] = "critical"};

enum alert_severity alerts_severity(const char *name)
{
	for (int i = ALERT_INFO; i < ALERT_CRITICAL; i++) {
		if (strcmp(severities[i], name) == 0)
			return (enum alert_severity)i;
	}
	return ALERT_CRITICAL;
}

const char *alerts_severity_name(enum alert_severity s)
{
	return severities[s];
}

bool alerts_kind_is(const char *kind, const char *cause)
{
	const char *dot = strrchr(kind, '.');
	return strcmp(kind, cause) == 0 || (dot != NULL && strcmp(dot + 1, cause) == 0);
}

/* One backtrack point: linear in practice. */
bool alerts_glob(const char *pattern, const char *text)
{
	const char *star = NULL, *retry = NULL;
	while (*text != '\0') {
		if (*pattern == '*') {
			star = ++pattern;
			retry = text;
		} else if (*pattern == *text) {
			pattern++;
			text++;
		} else if (star != NULL) {
			pattern = star;
			text = ++retry;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

/* ---- what is in memory, from the database ---- */

static enum err restore_open(struct alerts *a, struct fault *f)
{
	int64_t after = 0;
	a->firing = 0;
	for (;;) {
		struct alert_row *rows;
		size_t count;
		arena_reset(a->arena);
		enum err e = alert_open(a->store, NULL, after, PAGE, a->arena, &rows, &count, f);
		if (e != ERR_OK || count == 0)
			return e;
		for (size_t i = 0; i < count; i++) {
			alerts_restore_live(a, &rows[i]);
			if (strcmp(rows[i].kind, ALERT_KIND_SILENT) == 0 && rows[i].rule == 0)
				alerts_restore_silent(a, &rows[i]);
			else if (rows[i].rule != 0)
				alerts_restore_breach(a, &rows[i]);
		}
		after = rows[count - 1].id;
	}
}

static enum err restore(struct alerts *a, int64_t now_ms, struct fault *f)
{
	if (a->silent != NULL)
		memset(a->silent, 0, a->silent_room);
	arena_reset(a->arena);
	alerts_free_lives(a);
	enum err e = alerts_load_rules(a, f);
	alerts_close_breaches(a);
	if (e == ERR_OK)
		e = alerts_load_silences(a, now_ms, f);
	if (e == ERR_OK)
		e = restore_open(a, f);
	if (e == ERR_OK)
		e = alert_count(a->store, "resolved", &a->resolved, f);
	if (e == ERR_OK)
		a->is_stale = a->is_old_rules = false;
	return e;
}

/* Rules alone: what fires stays as it is, be it a hundred thousand. */
static enum err reload_rules(struct alerts *a, struct fault *f)
{
	arena_reset(a->arena);
	enum err e = alerts_load_rules(a, f);
	a->is_old_rules = e != ERR_OK;
	return e;
}

enum err alerts_fresh(struct call *c)
{
	struct alerts *a = c->s->alerts;
	if (a->is_stale)
		return restore(a, c->now_ms, c->fault);
	return a->is_old_rules ? reload_rules(a, c->fault) : ERR_OK;
}

void alerts_touch(struct alerts *a)
{
	a->wrote = unit_newest(a->s);
}

static void on_committed(void *ctx)
{
	struct alerts *a = ctx;
	a->wrote = 0;
	alerts_values_committed(a);
}

static void on_undone(void *ctx)
{
	struct alerts *a = ctx;
	if (a->wrote != 0 && unit_undone_from(a->s) <= a->wrote)
		a->is_stale = true;
}

static void on_lost(void *ctx)
{
	struct alerts *a = ctx;
	a->is_stale = a->is_stale || a->wrote != 0;
	a->wrote = 0;
	alerts_values_lost(a);
}

struct alerts *alerts_open(struct services *s, struct fault *f)
{
	struct alerts *a = calloc(1, sizeof *a);
	if (a == NULL)
		abort();
	a->s = s;
	a->listening_ms = clock_wall_ms(); /* before that nobody could be heard */
	a->arena = arena_new(ARENA_BYTES);
	enum err e = alert_store_open(s->db, &a->store, f);
	if (e == ERR_OK)
		e = restore(a, a->listening_ms, f);
	if (e == ERR_OK)
		e = alerts_replay_values(a, a->listening_ms, f);
	if (e != ERR_OK) {
		alerts_close(a);
		return NULL;
	}
	units_listen(s->units, (struct unit_listener){on_committed, on_undone, on_lost, a});
	observe_on_reports(s->telemetry, alerts_on_reports, a);
	return a;
}

void alerts_close(struct alerts *a)
{
	if (a == NULL)
		return;
	alerts_free_values(a);
	alerts_free_rules(a);
	free(a->endings);
	alerts_free_lives(a);
	alerts_free_silences(a);
	alert_store_close(a->store);
	arena_free(a->arena);
	free(a->silent);
	free(a);
}

int64_t alerts_firing(const struct alerts *a)
{
	return a->firing;
}

/* ---- raising and resolving ---- */

enum err alerts_note(struct call *c, const struct alert_row *row, const char *status)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_int(&b, "id", row->id);
	json_str(&b, "kind", row->kind);
	json_str(&b, "status", status);
	json_str(&b, "severity", row->severity);
	json_str(&b, "summary", row->summary);
	json_close_object(&b);
	enum err e = event_append(c, "alert", row->resource, buf_cstr(&b));
	buf_done(&b);
	return e;
}

static const struct alert_policy at_once = {0};

enum err alert_raise(struct call *c, const char *kind, const char *resource, enum alert_severity severity, const char *summary, const char *data)
{
	return alert_signal(c, &(struct alert_signal){.kind = kind, .resource = resource, .severity = severity, .level = ALERT_LEVEL_OVER, .value = NAN,
		.expected = NAN, .score = NAN, .summary = summary, .data = data, .policy = &at_once});
}

enum err alert_resolve(struct call *c, const char *kind, const char *resource)
{
	return alert_signal(c, &(struct alert_signal){.kind = kind, .resource = resource, .level = ALERT_LEVEL_UNDER, .value = NAN, .expected = NAN,
		.score = NAN, .policy = &at_once});
}

enum err alert_install_failed(struct call *c, const char *device_id, int64_t rollout, const char *reason)
{
	struct buf data = BUF_INIT;
	json_open_object(&data);
	json_int(&data, "rollout", rollout);
	json_str(&data, "reason", reason);
	json_close_object(&data);
	enum err e = alert_raise(c, "install.failed", arena_printf(c->arena, "devices/%s", device_id), ALERT_WARNING,
	                         arena_printf(c->arena, "device %s could not install what rollout %lld brought: %s", device_id, (long long)rollout, reason),
	                         buf_cstr(&data));
	buf_done(&data);
	return e;
}

enum err alerts_forget_device(struct call *c, const char *device_id)
{
	struct alerts *a = c->s->alerts;
	const struct device_state *d = registry_find(c->s->registry, device_id);
	if (d != NULL && d->index < a->silent_room)
		a->silent[d->index] = 0; /* the index will be another device's */
	return alerts_end_resource(c, arena_printf(c->arena, "devices/%s", device_id));
}

/* ---- time ---- */

/* Old ones, and the oldest where there are too many; in pieces. */
static enum err retain_alerts(struct call *c, bool *more)
{
	struct alerts *a = c->s->alerts;
	int64_t count = 0, excess = a->resolved - RESOLVED_MAX;
	enum err e = alert_retain(a->store, c->now_ms - ALERT_KEEP_MS, RETAIN_ROWS, &count, c->fault);
	a->resolved -= count;
	*more = *more || count == RETAIN_ROWS;
	if (e != ERR_OK || count > 0 || excess <= 0)
		return e;
	e = alert_retain(a->store, INT64_MAX, excess < RETAIN_ROWS ? excess : RETAIN_ROWS, &count, c->fault);
	a->resolved -= count;
	*more = *more || excess > RETAIN_ROWS;
	return e;
}

static enum err retain(struct call *c, bool *more)
{
	struct alerts *a = c->s->alerts;
	if (c->now_ms < a->retain_at_ms && a->retain_at_ms < c->now_ms + 2 * RETAIN_EVERY_MS)
		return ERR_OK;
	bool again = false;
	enum err e = unit_begin(c->s, c->fault);
	if (e != ERR_OK)
		return e;
	alerts_touch(a);
	e = retain_alerts(c, &again);
	if (e == ERR_OK)
		e = notice_retain(a->store, c->now_ms - NOTICE_KEEP_MS, RETAIN_ROWS, c->fault);
	if (e == ERR_OK)
		e = silence_retain(a->store, c->now_ms - ALERT_KEEP_MS, RETAIN_ROWS, c->fault);
	e = unit_end(c->s, e, c->fault);
	if (e != ERR_OK)
		a->is_stale = true;
	a->retain_at_ms = e == ERR_OK && again ? c->now_ms : c->now_ms + RETAIN_EVERY_MS;
	*more = *more || (e == ERR_OK && again);
	return e;
}

enum err alerts_tick(struct call *c, bool *more)
{
	struct timebox box = timebox_begin(TIMEBOX_NS);
	*more = false;
	enum err e = alerts_fresh(c);
	if (e == ERR_OK)
		e = alerts_apply_rules(c, &box, more);
	if (e == ERR_OK)
		e = alerts_sweep_silent(c, &box, more);
	if (e == ERR_OK && c->s->ingest != NULL)
		e = ingest_tell_refused(c, &box, more);
	if (e == ERR_OK)
		e = alerts_lives_tick(c, &box, more);
	if (e == ERR_OK)
		e = alerts_endings_tick(c, &box, more);
	return e == ERR_OK && !timebox_is_over(&box) ? retain(c, more) : e;
}

/* ---- operators ---- */

static void encode_times(const struct alert_row *row, struct buf *out)
{
	if (row->pending_at != 0)
		json_int(out, "pending_at", row->pending_at);
	if (row->fired_at != 0)
		json_int(out, "fired_at", row->fired_at);
	if (row->resolved_at != 0) {
		json_int(out, "resolved_at", row->resolved_at);
		json_str(out, "resolved_by", row->resolved_by != NULL ? row->resolved_by : "cleared");
	}
	if (row->acknowledged_at != 0) {
		json_int(out, "acknowledged_at", row->acknowledged_at);
		json_str(out, "acknowledged_by", row->acknowledged_by);
	}
}

static void encode_figures(const struct alert_row *row, struct buf *out)
{
	if (isfinite(row->value))
		json_num(out, "value", row->value);
	if (isfinite(row->expected))
		json_num(out, "expected", row->expected);
	if (isfinite(row->score))
		json_num(out, "score", row->score);
}

static void encode(struct arena *arena, const struct alert_row *row, const struct alert_fate *fate, struct buf *out)
{
	json_open_object(out);
	json_int(out, "id", row->id);
	json_str(out, "kind", row->kind);
	json_str(out, "resource", row->resource);
	json_str(out, "severity", row->severity);
	json_str(out, "status", row->status);
	json_str(out, "summary", row->summary);
	if (row->description[0] != '\0')
		json_str(out, "description", row->description);
	json_raw(out, "data", row->data);
	if (row->rule != 0)
		json_int(out, "rule", row->rule);
	if (row->cohort[0] != '\0')
		json_str(out, "cohort", row->cohort);
	if (row->metric[0] != '\0')
		json_str(out, "metric", row->metric);
	encode_figures(row, out);
	json_raw(out, "labels", row->labels);
	json_str(out, "group", alerts_group_key(arena, row));
	json_int(out, "seq", row->seq);
	json_int(out, "flaps", row->flaps);
	json_bool(out, "suppressed", row->is_suppressed);
	json_bool(out, "stale", row->is_stale);
	if (fate->silenced_by != 0)
		json_int(out, "silenced_by", fate->silenced_by);
	if (fate->inhibited_by != 0)
		json_int(out, "inhibited_by", fate->inhibited_by);
	encode_times(row, out);
	json_close_object(out);
}

static void encode_now(struct call *c, const struct alert_row *row, struct buf *out)
{
	struct alert_fate fate = alerts_fate_of(c, row);
	encode(c->arena, row, &fate, out);
}

static bool is_wanted(enum alert_only only, int64_t by)
{
	return only == ALERT_ANY || (only == ALERT_YES) == (by != 0);
}

/* What is silenced or inhibited is known of each alert now, not of a table: so a page looks at so many rows, and may show fewer. */
enum err alerts_list(struct call *c, const struct alert_filter *q, struct buf *out, int64_t *next)
{
	bool sieves = q->silenced != ALERT_ANY || q->inhibited != ALERT_ANY;
	int64_t limit = sieves && q->limit < SIEVE_ROWS ? SIEVE_ROWS : q->limit, shown = 0;
	struct alert_row *rows;
	size_t count;
	struct alert_page page = {q->status, q->kind, q->severity, q->resource, q->cohort, q->metric, q->after, limit + 1};
	enum err e = alerts_fresh(c);
	if (e == ERR_OK)
		e = alert_page(c->s->alerts->store, &page, c->arena, &rows, &count, c->fault);
	*next = 0;
	if (e != ERR_OK)
		return e;
	for (size_t i = 0; i < count; i++) {
		if (shown == q->limit || i == (size_t)limit) {
			*next = rows[i - 1].id;
			break;
		}
		struct alert_fate fate = alerts_fate_of(c, &rows[i]);
		if (!is_wanted(q->silenced, fate.silenced_by) || !is_wanted(q->inhibited, fate.inhibited_by))
			continue;
		encode(c->arena, &rows[i], &fate, out);
		shown++;
	}
	return ERR_OK;
}

enum err alerts_show(struct call *c, int64_t id, struct buf *out)
{
	struct alert_row row;
	enum err e = alert_get(c->s->alerts->store, id, c->arena, &row, c->fault);
	if (e == ERR_OK)
		encode_now(c, &row, out);
	return e;
}

/* For the audit log. */
static const char *acknowledgement(struct call *c, const struct alert_row *row)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_int(&b, "acknowledged_at", row->acknowledged_at);
	json_str(&b, "acknowledged_by", row->acknowledged_by);
	json_close_object(&b);
	const char *text = arena_strndup(c->arena, b.data, b.len);
	buf_done(&b);
	return text;
}

static enum err acknowledge_row(struct call *c, struct alert_row *row)
{
	struct alerts *a = c->s->alerts;
	alerts_touch(a);
	enum err e = alert_set_acknowledged(a->store, row->id, c->now_ms, c->who->name, c->fault);
	row->seq++;
	alerts_note_acknowledged(a, row);
	if (e == ERR_OK && row->is_told && strcmp(row->status, "firing") == 0)
		e = notice_insert(a->store, &(struct notice_row){.alert = row->id, .seq = row->seq, .transition = "acknowledged", .at = c->now_ms,
			.group_key = alerts_group_key(c->arena, row)}, c->fault);
	return e == ERR_OK ? alerts_note(c, row, "acknowledged") : e;
}

enum err alert_fate(struct call *c, int64_t id, struct alert_fate *out)
{
	struct alert_row row;
	*out = (struct alert_fate){0};
	enum err e = alerts_fresh(c);
	if (e == ERR_OK)
		e = alert_get(c->s->alerts->store, id, c->arena, &row, c->fault);
	if (e == ERR_OK)
		*out = alerts_fate_of(c, &row);
	return e;
}

enum err alerts_acknowledge(struct call *c, int64_t id, struct buf *out)
{
	struct alerts *a = c->s->alerts;
	struct alert_row row;
	enum err e = alert_get(a->store, id, c->arena, &row, c->fault);
	if (e != ERR_OK)
		return e;
	if (row.acknowledged_at == 0) {
		const char *before = acknowledgement(c, &row);
		row.acknowledged_at = c->now_ms;
		row.acknowledged_by = c->who->name;
		e = acknowledge_row(c, &row);
		if (e == ERR_OK)
			e = audit_append(c, "alert.acknowledge", arena_printf(c->arena, "alerts/%lld", (long long)id), before, acknowledgement(c, &row));
	}
	if (e == ERR_OK)
		encode_now(c, &row, out);
	return e;
}

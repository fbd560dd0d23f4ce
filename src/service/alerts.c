#include "service/alerts.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/access.h"
#include "service/alerts_inside.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/unit.h"

#define ARENA_BYTES (16u << 20)
#define PAGE 500
#define KEEP_MS ((int64_t)90 * 86400000) /* how long a resolved alert is kept */
#define RETAIN_EVERY_MS 10000
#define RETAIN_ROWS 500

static const char *const severities[] = {[ALERT_INFO] = "info", [ALERT_WARNING] = "warning", [ALERT_CRITICAL] = "critical"};

enum alert_severity alerts_severity(const char *name)
{
	for (int i = ALERT_INFO; i < ALERT_CRITICAL; i++) {
		if (strcmp(severities[i], name) == 0)
			return (enum alert_severity)i;
	}
	return ALERT_CRITICAL;
}

/* ---- what is in memory, from the database ---- */

static enum err restore_firing(struct alerts *a, struct fault *f)
{
	int64_t after = 0;
	a->firing = 0;
	for (;;) {
		struct alert_row *rows;
		size_t count;
		arena_reset(a->arena);
		enum err e = alert_firing(a->store, NULL, 0, after, PAGE, a->arena, &rows, &count, f);
		if (e != ERR_OK || count == 0)
			return e;
		for (size_t i = 0; i < count; i++) {
			a->firing++;
			if (strcmp(rows[i].kind, ALERT_KIND_SILENT) == 0)
				alerts_restore_silent(a, &rows[i]);
			else if (strcmp(rows[i].kind, ALERT_KIND_THRESHOLD) == 0)
				alerts_restore_breach(a, &rows[i]);
		}
		after = rows[count - 1].id;
	}
}

static enum err restore(struct alerts *a, struct fault *f)
{
	if (a->silent != NULL)
		memset(a->silent, 0, a->silent_room);
	arena_reset(a->arena);
	enum err e = alerts_load_rules(a, f);
	if (e == ERR_OK)
		e = restore_firing(a, f);
	if (e == ERR_OK)
		a->is_stale = false;
	return e;
}

static void on_committed(void *ctx)
{
	((struct alerts *)ctx)->is_touched = false;
}

static void on_undone(void *ctx)
{
	struct alerts *a = ctx;
	a->is_stale = a->is_stale || a->is_touched;
}

static void on_lost(void *ctx)
{
	struct alerts *a = ctx;
	on_undone(a);
	a->is_touched = false;
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
		e = restore(a, f);
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
	observe_on_values(a->s->telemetry, NULL, NULL);
	alerts_free_rules(a);
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

static enum err note(struct call *c, const struct alert_row *row, const char *status)
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

static enum err fire(struct call *c, struct alert_row *row)
{
	struct alerts *a = c->s->alerts;
	enum err e = alert_insert(a->store, row, c->fault);
	if (e != ERR_OK)
		return e;
	a->firing++;
	return note(c, row, "firing");
}

enum err alerts_raise_for(struct call *c, const char *kind, const char *resource, int64_t rule, enum alert_severity severity, const char *summary,
	const char *data)
{
	struct alerts *a = c->s->alerts;
	struct alert_row have;
	bool found;
	enum err e = alert_find_firing(a->store, kind, resource, rule, c->arena, &have, &found, c->fault);
	if (e != ERR_OK)
		return e;
	struct alert_row row = {.kind = kind, .resource = resource, .severity = severities[severity], .summary = summary,
	                        .data = data != NULL ? data : "{}", .rule = rule, .fired_at = c->now_ms};
	a->is_touched = true;
	if (!found)
		return fire(c, &row);
	if (strcmp(have.severity, row.severity) == 0 && strcmp(have.summary, summary) == 0 && strcmp(have.data, row.data) == 0)
		return ERR_OK;
	return alert_set_content(a->store, have.id, row.severity, summary, row.data, c->fault);
}

static enum err resolve_row(struct call *c, const struct alert_row *row)
{
	struct alerts *a = c->s->alerts;
	enum err e = alert_set_resolved(a->store, row->id, c->now_ms, c->fault);
	if (e != ERR_OK)
		return e;
	a->is_touched = true;
	a->firing--;
	return note(c, row, "resolved");
}

enum err alerts_resolve_for(struct call *c, const char *kind, const char *resource, int64_t rule)
{
	struct alert_row have;
	bool found;
	enum err e = alert_find_firing(c->s->alerts->store, kind, resource, rule, c->arena, &have, &found, c->fault);
	return e == ERR_OK && found ? resolve_row(c, &have) : e;
}

enum err alert_raise(struct call *c, const char *kind, const char *resource, enum alert_severity severity, const char *summary, const char *data)
{
	return alerts_raise_for(c, kind, resource, 0, severity, summary, data);
}

enum err alert_resolve(struct call *c, const char *kind, const char *resource)
{
	return alerts_resolve_for(c, kind, resource, 0);
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

/* All that fire of a resource, or of a rule. */
static enum err resolve_all(struct call *c, const char *resource, int64_t rule)
{
	int64_t after = 0;
	for (;;) {
		struct alert_row *rows;
		size_t count;
		enum err e = alert_firing(c->s->alerts->store, resource, rule, after, PAGE, c->arena, &rows, &count, c->fault);
		for (size_t i = 0; i < count && e == ERR_OK; i++)
			e = resolve_row(c, &rows[i]);
		if (e != ERR_OK || count < PAGE)
			return e;
		after = rows[count - 1].id;
	}
}

enum err alerts_resolve_rule(struct call *c, int64_t rule)
{
	return resolve_all(c, NULL, rule);
}

enum err alerts_forget_device(struct call *c, const char *device_id)
{
	struct alerts *a = c->s->alerts;
	const struct device_state *d = registry_find(c->s->registry, device_id);
	if (d != NULL && d->index < a->silent_room)
		a->silent[d->index] = 0; /* the index will be another device's */
	a->is_touched = true;
	return resolve_all(c, arena_printf(c->arena, "devices/%s", device_id), 0);
}

/* ---- time ---- */

static enum err retain(struct call *c)
{
	struct alerts *a = c->s->alerts;
	if (c->now_ms < a->retain_at_ms && a->retain_at_ms < c->now_ms + 2 * RETAIN_EVERY_MS)
		return ERR_OK;
	a->retain_at_ms = c->now_ms + RETAIN_EVERY_MS;
	enum err e = unit_begin(c->s, c->fault);
	return e == ERR_OK ? unit_end(c->s, alert_retain(a->store, c->now_ms - KEEP_MS, RETAIN_ROWS, c->fault), c->fault) : e;
}

enum err alerts_tick(struct call *c)
{
	struct alerts *a = c->s->alerts;
	enum err e = a->is_stale ? restore(a, c->fault) : ERR_OK;
	if (e == ERR_OK)
		e = alerts_apply_rules(c);
	if (e == ERR_OK)
		e = alerts_sweep_silent(c);
	return e == ERR_OK ? retain(c) : e;
}

/* ---- operators ---- */

static void encode(const struct alert_row *row, struct buf *out)
{
	json_open_object(out);
	json_int(out, "id", row->id);
	json_str(out, "kind", row->kind);
	json_str(out, "resource", row->resource);
	json_str(out, "severity", row->severity);
	json_str(out, "status", row->status);
	json_str(out, "summary", row->summary);
	json_raw(out, "data", row->data);
	if (row->rule != 0)
		json_int(out, "rule", row->rule);
	json_int(out, "fired_at", row->fired_at);
	if (row->resolved_at != 0)
		json_int(out, "resolved_at", row->resolved_at);
	if (row->acknowledged_at != 0) {
		json_int(out, "acknowledged_at", row->acknowledged_at);
		json_str(out, "acknowledged_by", row->acknowledged_by);
	}
	json_close_object(out);
}

enum err alerts_list(struct call *c, const struct alert_filter *q, struct buf *out, int64_t *next)
{
	struct alert_row *rows;
	size_t count;
	struct alert_page page = {q->status, q->kind, q->severity, q->resource, q->after, q->limit + 1};
	enum err e = alert_page(c->s->alerts->store, &page, c->arena, &rows, &count, c->fault);
	if (e != ERR_OK)
		return e;
	bool more = count > (size_t)q->limit;
	count -= more;
	for (size_t i = 0; i < count; i++)
		encode(&rows[i], out);
	*next = more ? rows[count - 1].id : 0;
	return ERR_OK;
}

enum err alerts_show(struct call *c, int64_t id, struct buf *out)
{
	struct alert_row row;
	enum err e = alert_get(c->s->alerts->store, id, c->arena, &row, c->fault);
	if (e == ERR_OK)
		encode(&row, out);
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
		e = alert_set_acknowledged(a->store, id, c->now_ms, c->who->name, c->fault);
		if (e == ERR_OK)
			e = note(c, &row, "acknowledged");
		if (e == ERR_OK)
			e = audit_append(c, "alert.acknowledge", arena_printf(c->arena, "alerts/%lld", (long long)id), before, acknowledgement(c, &row));
	}
	if (e == ERR_OK)
		encode(&row, out);
	return e;
}

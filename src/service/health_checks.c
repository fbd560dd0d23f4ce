/* Health checks as operators declare, change, run and delete them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "service/access.h"
#include "service/alerts.h"
#include "service/commands.h"
#include "service/health_inside.h"
#include "service/registry.h"
#include "service/unit.h"

#define DAY_MS ((int64_t)86400000)
#define WINDOW_MAX_MS (30 * DAY_MS)
#define EVERY_MAX_MS (365 * DAY_MS)
#define DELETE_ROWS 200
#define THRESHOLD_MAX 1e12

/* ---- rules ---- */

static enum err check_limit(struct call *c, const struct health_spec *s, bool is_limit)
{
	bool has_op = s->op[0] != '\0';
	if (is_limit && !str_is_metric(s->metric, strlen(s->metric)))
		return fault_set(c->fault, ERR_INVALID, "/metric", "a limit is on a metric");
	if (!is_limit && s->metric[0] != '\0')
		return fault_set(c->fault, ERR_INVALID, "/metric", "only a limit has one");
	if ((is_limit || has_op) && strcmp(s->op, "gt") != 0 && strcmp(s->op, "lt") != 0)
		return fault_set(c->fault, ERR_INVALID, "/operator", "gt or lt is wanted: the bad side");
	if (!(fabs(s->threshold) <= THRESHOLD_MAX))
		return fault_set(c->fault, ERR_INVALID, "/threshold", "a number within %g is wanted", THRESHOLD_MAX);
	if (s->window_ms < 0 || s->window_ms > (is_limit ? WINDOW_MAX_MS : 0))
		return fault_set(c->fault, ERR_INVALID, "/window_ms", "0 to 30 days, of a limit only");
	return ERR_OK;
}

static enum err check_times(struct call *c, const struct health_spec *s, bool is_limit)
{
	if (s->every_ms < 0 || s->every_ms > EVERY_MAX_MS)
		return fault_set(c->fault, ERR_INVALID, "/every_ms", "at most a year");
	if (!is_limit && s->every_ms > 0 && s->every_ms < HEALTH_SCHEDULE_LEAST_MS)
		return fault_set(c->fault, ERR_INVALID, "/every_ms", "0, or at least %d", HEALTH_SCHEDULE_LEAST_MS);
	if (s->timeout_ms < 1 || s->timeout_ms > COMMAND_TIMEOUT_MAX_MS)
		return fault_set(c->fault, ERR_INVALID, "/timeout_ms", "1 ms to 30 days are wanted");
	if (isinf(s->hot_c) || isinf(s->battery_low) || isinf(s->rssi_bad))
		return fault_set(c->fault, ERR_INVALID, "/contexts", "numbers are wanted");
	return ERR_OK;
}

static enum err check_scope(struct call *c, const struct health_spec *s)
{
	if (s->hardware[0] != '\0' && !str_is_name(s->hardware))
		return fault_set(c->fault, ERR_INVALID, "/hardware", "not a hardware class");
	if (s->model[0] != '\0' && !str_is_name(s->model))
		return fault_set(c->fault, ERR_INVALID, "/model", "not a model's name");
	enum err e = registry_check_filter(c, s->filter);
	if (e != ERR_OK)
		fault_prefix(c->fault, "/filter");
	return e == ERR_BAD_REQUEST ? ERR_INVALID : e;
}

static enum err check_spec(struct call *c, const struct health_spec *s)
{
	enum command_check what;
	bool is_limit = strcmp(s->kind, HEALTH_LIMIT) == 0;
	if (!str_is_name(s->name) || strlen(s->name) > 48)
		return fault_set(c->fault, ERR_INVALID, "/name", "1 to 48 of A-Z a-z 0-9 . _ - are wanted, a letter or digit first");
	if (!is_limit && !command_check_of(s->kind, &what))
		return fault_set(c->fault, ERR_INVALID, "/kind", "one of limit model_hash inference storage memory connectivity custom is wanted");
	enum err e = check_limit(c, s, is_limit);
	if (e == ERR_OK)
		e = check_times(c, s, is_limit);
	return e == ERR_OK ? check_scope(c, s) : e;
}

/* ---- rows ---- */

static struct health_check_row row_of(const struct health_spec *s)
{
	return (struct health_check_row){
		.id = s->id, .window_ms = s->window_ms, .every_ms = s->every_ms, .timeout_ms = s->timeout_ms, .next_at = s->next_at, .revision = s->revision,
		.created_at = s->created_at, .updated_at = s->updated_at, .name = s->name, .kind = s->kind, .hardware = s->hardware, .model = s->model,
		.filter = s->filter, .metric = s->metric, .op = s->op, .severity = s->severity, .threshold = s->threshold, .hot_c = s->hot_c,
		.battery_low = s->battery_low, .rssi_bad = s->rssi_bad,
	};
}

static struct health_spec spec_of(struct call *c, const struct health_check_row *r)
{
	struct arena *a = c->arena;
	return (struct health_spec){
		.id = r->id, .window_ms = r->window_ms, .every_ms = r->every_ms, .timeout_ms = r->timeout_ms, .next_at = r->next_at, .revision = r->revision,
		.created_at = r->created_at, .updated_at = r->updated_at, .name = arena_strdup(a, r->name), .kind = arena_strdup(a, r->kind),
		.hardware = arena_strdup(a, r->hardware), .model = arena_strdup(a, r->model), .filter = arena_strdup(a, r->filter),
		.metric = arena_strdup(a, r->metric), .op = arena_strdup(a, r->op), .severity = arena_strdup(a, r->severity), .threshold = r->threshold,
		.hot_c = r->hot_c, .battery_low = r->battery_low, .rssi_bad = r->rssi_bad,
	};
}

static const char *as_json(struct call *c, const struct health_spec *s)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "name", s->name);
	json_str(&b, "kind", s->kind);
	json_str(&b, "metric", s->metric);
	json_str(&b, "operator", s->op);
	json_num(&b, "threshold", s->threshold);
	json_int(&b, "window_ms", s->window_ms);
	json_int(&b, "every_ms", s->every_ms);
	json_num(&b, "hot_c", s->hot_c);
	json_num(&b, "battery_low", s->battery_low);
	json_num(&b, "rssi_bad", s->rssi_bad);
	json_str(&b, "severity", s->severity);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

/* Memory follows at once, so that what is asked next is answered rightly; it is read again where the unit is undone. */
static enum err changed(struct call *c, int64_t id, const char *action, const char *before, const char *after)
{
	struct health *h = c->s->health;
	health_touch(h);
	enum err e = audit_append(c, action, arena_printf(c->arena, "health-checks/%lld", (long long)id), before, after);
	return e == ERR_OK ? health_load_checks(h, c->fault) : e;
}

static enum err look_up(struct call *c, int64_t id, struct health_check **k)
{
	*k = health_find(c->s->health, id);
	if (*k == NULL || (*k)->row.is_deleted)
		return fault_set(c->fault, ERR_NOT_FOUND, "", "no such health check");
	return ERR_OK;
}

/* ---- operators ---- */

enum err health_create(struct call *c, const struct health_spec *s, int64_t *id)
{
	struct health *h = c->s->health;
	enum err e = check_spec(c, s);
	if (e == ERR_OK && h->count == HEALTH_CHECKS_MAX)
		e = fault_set(c->fault, ERR_CONFLICT, "", "there are %d health checks already, which is the limit", HEALTH_CHECKS_MAX);
	if (e != ERR_OK)
		return e;
	struct health_check_row row = row_of(s);
	row.created_at = row.updated_at = c->now_ms;
	row.next_at = c->now_ms;
	e = health_check_insert(h->store, &row, c->fault);
	*id = row.id;
	return e == ERR_OK ? changed(c, row.id, "health_check.create", NULL, as_json(c, s)) : e;
}

enum err health_show(struct call *c, int64_t id, struct health_spec *out)
{
	struct health_check *k;
	enum err e = look_up(c, id, &k);
	if (e == ERR_OK)
		*out = spec_of(c, &k->row);
	return e;
}

enum err health_update(struct call *c, const struct health_spec *s)
{
	struct health_check *k;
	enum err e = look_up(c, s->id, &k);
	if (e == ERR_OK)
		e = check_spec(c, s);
	if (e != ERR_OK)
		return e;
	struct health_spec old = spec_of(c, &k->row);
	struct health_check_row row = row_of(s);
	row.updated_at = c->now_ms;
	row.next_at = old.every_ms != s->every_ms ? c->now_ms : old.next_at;
	e = health_check_update(c->s->health->store, &row, c->fault);
	return e == ERR_OK ? changed(c, s->id, "health_check.update", as_json(c, &old), as_json(c, s)) : e;
}

enum err health_delete(struct call *c, int64_t id)
{
	struct health_check *k;
	enum err e = look_up(c, id, &k);
	if (e != ERR_OK)
		return e;
	struct health_spec old = spec_of(c, &k->row);
	e = health_check_set_deleted(c->s->health->store, id, c->now_ms, c->fault);
	return e == ERR_OK ? changed(c, id, "health_check.delete", as_json(c, &old), NULL) : e;
}

enum err health_list(struct call *c, struct health_spec **items, size_t *count)
{
	const struct health *h = c->s->health;
	*items = arena_array(c->arena, HEALTH_CHECKS_MAX, sizeof **items);
	*count = 0;
	for (size_t i = 0; i < h->count; i++) {
		if (!h->checks[i]->row.is_deleted)
			(*items)[(*count)++] = spec_of(c, &h->checks[i]->row);
	}
	return ERR_OK;
}

/* ---- deleting, in pieces ---- */

enum err health_delete_some(struct call *c, struct health_check *k)
{
	struct health *h = c->s->health;
	struct health_result_row *rows;
	size_t count;
	enum err e = health_result_page(h->store, k->row.id, k->deleted_upto, DELETE_ROWS, c->arena, &rows, &count, c->fault);
	health_touch(h);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		const struct device_state *d = registry_by_row(c->s->registry, rows[i].device);
		if (d != NULL)
			e = health_tell_end(c, k, d);
		if (e == ERR_OK)
			e = health_result_delete(h->store, k->row.id, rows[i].device, c->fault);
	}
	if (e != ERR_OK || count > 0)
		return e;
	e = health_check_delete(h->store, k->row.id, c->fault);
	h->is_stale = true; /* the next tick reads the list */
	return e;
}

/* ---- running ---- */

/* The check's own scope and the target's filter as one. */
static const char *filter_of(struct call *c, const struct health_check_row *row, const char *filter)
{
	const char *parts[] = {
		row->hardware[0] != '\0' ? arena_printf(c->arena, "hardware==%s", row->hardware) : "",
		row->model[0] != '\0' ? arena_printf(c->arena, "model.%s==*", row->model) : "",
		row->filter[0] != '\0' ? arena_printf(c->arena, "(%s)", row->filter) : "",
		filter != NULL && filter[0] != '\0' ? arena_printf(c->arena, "(%s)", filter) : "",
	};
	const char *whole = "";
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		if (parts[i][0] != '\0')
			whole = arena_printf(c->arena, "%s%s%s", whole, whole[0] != '\0' ? ";" : "", parts[i]);
	}
	return whole;
}

static enum err run(struct call *c, const struct health_check *k, struct command_spec *s, const char *filter, int64_t *command)
{
	s->kind = command_kind_text(k->is_limit ? COMMAND_REPORT_NOW : COMMAND_CHECK);
	s->params = k->is_limit ? NULL : arena_printf(c->arena, "{\"check\":\"%s\",\"name\":\"%s\"}", k->row.kind, k->row.name);
	s->timeout_ms = k->row.timeout_ms;
	s->health_check = k->row.id;
	if (s->device == NULL)
		s->filter = filter_of(c, &k->row, filter);
	return commands_create(c, s, command);
}

enum err health_run(struct call *c, int64_t id, const char *device, const char *group, const char *filter, int64_t *command)
{
	struct health_check *k;
	struct command_spec s = {.device = device, .group = group};
	enum err e = look_up(c, id, &k);
	if (e == ERR_OK && device != NULL && (group != NULL || filter != NULL))
		e = fault_set(c->fault, ERR_INVALID, "/device", "a device, or a group or a filter");
	return e == ERR_OK ? run(c, k, &s, filter, command) : e;
}

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* The fleet is told over half of the period; the next run begins a tenth of it earlier or later, so that checks do not march in step. A limit on
 * commands being reached, or the last run still going on, only puts it off. */
enum err health_run_due(struct call *c, struct health_check *k)
{
	struct health *h = c->s->health;
	int64_t command, period = k->row.every_ms, jitter = (int64_t)(mix((uint64_t)(c->now_ms + k->row.id)) % (uint64_t)(period / 5)) - period / 10;
	struct command_spec s = {.spread_ms = period / 2};
	enum err e = ERR_TOO_MANY;
	if (!commands_is_spreading(c->s->commands, k->row.id))
		e = run(c, k, &s, NULL, &command);
	if (e != ERR_OK && e != ERR_TOO_MANY && e != ERR_INVALID)
		return e;
	k->row.next_at = c->now_ms + (e == ERR_OK ? period + jitter : period / 10);
	health_touch(h);
	return health_check_set_next(h->store, k->row.id, k->row.next_at, c->fault);
}

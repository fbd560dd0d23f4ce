/* One step of the version that is under way: contents, release, rollout, and what became of that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/rollout.h"
#include "service/alerts.h"
#include "service/catalog.h"
#include "service/compats.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/rollout_spec.h"
#include "service/rollouts.h"
#include "service/timebox.h"
#include "service/unit.h"
#include "service/upstreams_inside.h"

#define READING_MS 200
#define LOOK_MS 500           /* at a rollout */
#define PLANNING_ARENA_BYTES (16u << 20)
#define SETTLE_ATTEMPTS 10    /* of a release or rollout that is refused; then the version is */

void upstreams_free_planning(struct upstream_run *run)
{
	rollouts_plan_free(run->planning);
	run->planning = NULL;
	arena_free(run->planning_arena);
	run->planning_arena = NULL;
	run->request = NULL;
}

/* Tried again later, and given up in the end. */
static enum err later(struct call *c, const struct upstream_row *row, struct upstream_version_row *v, enum err why)
{
	uint64_t random;
	bool is_ours = why == ERR_FULL || why == ERR_UNAVAILABLE || why == ERR_TOO_MANY || why == ERR_TIMEOUT;
	const char *reason = arena_printf(c->arena, "%s%s%s", c->fault->pointer, c->fault->pointer[0] != '\0' ? ": " : "", c->fault->detail);
	if (!is_ours && v->attempts + 1 >= SETTLE_ATTEMPTS)
		return upstreams_refuse(c, row, v, UPSTREAM_FAULT_POLICY, reason);
	crypto_random(&random, sizeof random);
	v->attempts += !is_ours;
	v->reason = reason;
	v->next_at = upstream_next_ms(c->now_ms, row->interval_ms, (unsigned)v->attempts + 1, 0, random);
	v->updated_at = c->now_ms;
	log_event(LOG_WARN, "upstream.later", "upstream=%s version=%s reason=%s", row->name, v->version, log_quote(reason));
	enum err e = unit_begin(c->s, c->fault);
	return e == ERR_OK ? unit_end(c->s, upstream_store_set_version(c->s->upstreams->store, v, c->fault), c->fault) : e;
}

/* ---- fetching ---- */

static enum err move_in_unit(struct call *c, const struct upstream_row *row, struct upstream_version_row *v, enum upstream_status status,
	const char *reason)
{
	enum err e = unit_begin(c->s, c->fault);
	return e == ERR_OK ? unit_end(c->s, upstreams_move(c, row, v, status, reason), c->fault) : e;
}

static enum err ensure_again(struct call *c, const struct upstream_row *row, struct upstream_version_row *v)
{
	enum err e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, upstreams_ensure(c, row, v), c->fault);
	if (e == ERR_CONFLICT || e == ERR_INVALID)
		return upstreams_refuse(c, row, v, UPSTREAM_FAULT_CONFLICT, c->fault->detail);
	return e;
}

static enum err step_fetching(struct call *c, struct upstream_run *run, const struct upstream_row *row, struct upstream_version_row *v, int64_t *next_ms)
{
	struct upstream_missing m;
	enum err e = upstreams_missing(c, row, v, &m);
	if (e == ERR_NOT_FOUND) /* somebody deleted it, or it waited for too long */
		return ensure_again(c, row, v);
	if (e == ERR_INVALID)
		return upstreams_refuse(c, row, v, UPSTREAM_FAULT_FILE, c->fault->detail);
	if (e != ERR_OK)
		return e;
	if (m.is_all_there && m.is_reading) {
		*next_ms = c->now_ms + READING_MS;
		return ERR_OK;
	}
	*next_ms = 0;
	if (m.is_all_there)
		return move_in_unit(c, row, v, UPSTREAM_FETCHED, "");
	run->is_fetching = true;
	upstreams_want(c->s->upstreams, run, row, &(struct upstream_want){.is_content = true, .url = m.url, .artifact = m.artifact->id,
		.size_bytes = m.artifact->size_bytes});
	*next_ms = INT64_MAX;
	return ERR_OK;
}

/* ---- the release ---- */

static const char *release_name(struct call *c, const struct upstream_row *row, const struct upstream_version_row *v)
{
	char *name = arena_printf(c->arena, "%s-%s", row->model, v->version);
	for (char *p = name; *p != '\0'; p++)
		if (*p == '+')
			*p = '_';
	return name;
}

/* One that an operator made meanwhile is as good, when it is of the same parts. */
static enum err is_same_release(struct call *c, const struct release_row *release, const struct release_input *in, bool *is)
{
	struct component_row *there;
	size_t count = 0, same = 0;
	enum err e = releases_components(c, release->id, &there, &count);
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		for (size_t k = 0; k < in->component_count; k++)
			same += strcmp(there[i].model, in->components[k].model) == 0 && strcmp(there[i].version_text, in->components[k].version) == 0;
	*is = e == ERR_OK && count == in->component_count && same == count;
	return e;
}

static enum err make_release(struct call *c, const struct upstream_row *row, const struct upstream_policy *policy, const struct upstream_version_row *v,
	struct release_row *out)
{
	const struct upstream_component *others = policy->components.items;
	struct component_input *parts = arena_array(c->arena, policy->components.count + 1, sizeof *parts);
	struct fault none = {"", ""}, *f = c->fault;
	bool is_same = false;
	parts[0] = (struct component_input){row->model, v->version};
	for (size_t i = 0; i < policy->components.count; i++)
		parts[i + 1] = (struct component_input){others[i].model, others[i].version};
	struct release_input in = {.name = release_name(c, row, v), .description = arena_printf(c->arena, "from upstream %s", row->name),
		.components = parts, .component_count = policy->components.count + 1, .config = policy->config};
	c->fault = &none;
	enum err e = releases_find(c, in.name, out);
	c->fault = f;
	if (e == ERR_NOT_FOUND)
		return releases_create(c, &in, out);
	if (e == ERR_OK)
		e = is_same_release(c, out, &in, &is_same);
	return e == ERR_OK && !is_same ? fault_set(c->fault, ERR_CONFLICT, "", "there is a release %s of other parts", in.name) : e;
}

/* Who can run it. ERR_PRECONDITION: nobody of those that there are. */
static enum err check_fleet(struct call *c, int64_t release, struct upstream_version_row *v)
{
	struct compat_view *view = NULL;
	struct compat_table table;
	struct buf b = BUF_INIT;
	if (c->s->compats == NULL || registry_size(c->s->registry) == 0)
		return ERR_OK;
	enum err e = compat_view_new(c, release, &view);
	if (e == ERR_OK)
		e = compat_view_count_fleet(c, view);
	if (e != ERR_OK) {
		compat_view_free(view);
		return e;
	}
	compat_view_table(c, view, &table);
	compat_table_write(&table, false, &b);
	v->table_json = arena_strdup(c->arena, buf_cstr(&b));
	int64_t all = table.devices[0] + table.devices[1] + table.devices[2];
	if (all > 0 && table.excluded == all)
		e = fault_set(c->fault, ERR_PRECONDITION, "", "no device can run it: %s", compat_table_words(c, &table));
	buf_done(&b);
	compat_view_free(view);
	return e;
}

static enum err release_it(struct call *c, const struct upstream_row *row, const struct upstream_policy *policy, struct upstream_version_row *v)
{
	struct release_row release;
	enum err e = make_release(c, row, policy, v, &release);
	if (e == ERR_OK)
		e = check_fleet(c, release.id, v);
	if (e != ERR_OK)
		return e;
	v->release = release.id;
	bool goes_on = strcmp(policy->action, "rollout") == 0;
	return upstreams_move(c, row, v, goes_on ? UPSTREAM_RELEASED : UPSTREAM_DONE, "");
}

static enum err step_fetched(struct call *c, const struct upstream_row *row, const struct upstream_policy *policy, struct upstream_version_row *v)
{
	const char *why = NULL;
	enum err e = upstreams_check_quality(c, row, policy, v->record, &why); /* something better may run by now */
	if (e == ERR_OK && why != NULL)
		return upstreams_refuse(c, row, v, UPSTREAM_FAULT_QUALITY, why);
	if (e != ERR_OK)
		return e;
	if (strcmp(policy->action, "none") == 0)
		return move_in_unit(c, row, v, UPSTREAM_DONE, "");
	struct upstream_version_row tried = *v;
	e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, release_it(c, row, policy, &tried), c->fault);
	v->table_json = tried.table_json;
	if (e == ERR_PRECONDITION)
		return upstreams_refuse(c, row, v, UPSTREAM_FAULT_INCOMPATIBLE, c->fault->detail);
	return e != ERR_OK ? later(c, row, v, e) : ERR_OK;
}

/* ---- the rollout ---- */

static enum err write_request(struct call *c, const struct upstream_row *row, const struct upstream_policy *policy, const struct upstream_version_row *v,
	const char *release, struct buf *b)
{
	struct json *root = NULL;
	enum err e = policy->rollout != NULL ? json_parse(policy->rollout, strlen(policy->rollout), &root, c->fault) : ERR_OK;
	json_open_object(b);
	json_str(b, "release", release);
	if (json_get(root, "name") == NULL)
		json_str(b, "name", arena_printf(c->arena, "%s %s by upstream %s", row->model, v->version, row->name));
	if (json_get(root, "start") == NULL)
		json_bool(b, "start", true);
	for (const struct json *m = e == ERR_OK ? json_first(root) : NULL; m != NULL; m = json_next(m)) {
		struct buf value = BUF_INIT;
		json_print(m, &value);
		json_raw(b, json_name(m), value.data);
		buf_done(&value);
	}
	json_close_object(b);
	json_free(root);
	return e;
}

static enum err begin_planning(struct call *c, struct upstream_run *run, const struct upstream_row *row, const struct upstream_policy *policy,
	const struct upstream_version_row *v)
{
	struct release_row release;
	struct buf text = BUF_INIT;
	enum err e = releases_get(c, v->release, &release);
	if (e == ERR_OK)
		e = write_request(c, row, policy, v, release.name, &text);
	if (e == ERR_OK) {
		run->planning_arena = arena_new(PLANNING_ARENA_BYTES);
		run->request = arena_alloc(run->planning_arena, sizeof *run->request);
		e = rollout_request_read(text.data, run->request, run->planning_arena, c->fault);
	}
	if (e == ERR_OK)
		e = rollouts_plan_new(c, run->request, false, &run->planning);
	buf_done(&text);
	return e;
}

static enum err finish_planning(struct call *c, struct upstream_run *run, const struct upstream_row *row, struct upstream_version_row *v)
{
	struct buf shown = BUF_INIT;
	enum err e = rollouts_plan_finish(c, run->planning, &shown, &v->rollout);
	buf_done(&shown);
	return e == ERR_OK ? upstreams_move(c, row, v, UPSTREAM_ROLLING, "") : e;
}

static enum err step_released(struct call *c, struct upstream_run *run, const struct upstream_row *row, const struct upstream_policy *policy,
	struct upstream_version_row *v, int64_t *next_ms)
{
	bool is_done = false;
	enum err e = ERR_OK;
	if (strcmp(policy->action, "rollout") != 0) /* it was changed meanwhile */
		return move_in_unit(c, row, v, UPSTREAM_DONE, "");
	if (run->planning == NULL)
		e = begin_planning(c, run, row, policy, v);
	struct timebox box = timebox_begin(TIMEBOX_NS);
	if (e == ERR_OK)
		e = rollouts_plan_step(c, run->planning, &box, &is_done);
	*next_ms = 0;
	if (e == ERR_OK && !is_done)
		return ERR_OK;
	struct upstream_version_row tried = *v;
	if (e == ERR_OK)
		e = unit_begin(c->s, c->fault);
	if (e == ERR_OK && is_done)
		e = unit_end(c->s, finish_planning(c, run, row, &tried), c->fault);
	upstreams_free_planning(run);
	if (e == ERR_NOT_FOUND || e == ERR_INVALID)
		return upstreams_refuse(c, row, v, UPSTREAM_FAULT_POLICY, arena_printf(c->arena, "%s %s", c->fault->pointer, c->fault->detail));
	return e != ERR_OK ? later(c, row, v, e) : ERR_OK;
}

/* ---- what became of it ---- */

static enum err note_reverted(struct call *c, const struct upstream_row *row, struct upstream_version_row *v, const char *reason)
{
	struct upstream_row next = *row;
	const char *text = arena_printf(c->arena, "rollout %lld %s", (long long)v->rollout, reason);
	v->fault = upstream_fault_text(UPSTREAM_FAULT_REVERTED);
	enum err e = upstreams_move(c, row, v, UPSTREAM_REVERTED, text);
	next.stopped_version = v->version;
	next.state = strcmp(row->state, "failing") == 0 ? row->state : "stopped";
	if (e == ERR_OK)
		e = upstream_store_note(c->s->upstreams->store, &next, c->fault);
	if (e != ERR_OK)
		return e;
	return alert_raise(c, arena_printf(c->arena, UPSTREAM_ALERT_PREFIX "%s", v->fault), upstreams_resource(c, row), ALERT_WARNING,
		arena_printf(c->arena, "upstream %s stops: version %s of model %s was taken back (%s); a newer one is waited for", row->name, v->version,
			row->model, text), NULL);
}

static enum err read_status(struct call *c, int64_t rollout, enum rollout_status *status, const char **reason)
{
	struct buf b = BUF_INIT;
	struct json *root = NULL;
	int64_t revision;
	enum err e = rollouts_show(c, rollout, &b, &revision);
	if (e == ERR_OK)
		e = json_parse(b.data, b.len, &root, c->fault);
	if (e == ERR_OK) {
		const struct json *text = json_get(root, "status"), *why = json_get(root, "reason");
		if (text == NULL || json_text(text) == NULL || !rollout_status_parse(json_text(text), status))
			e = fault_set(c->fault, ERR_INTERNAL, "", "rollout %lld has no status", (long long)rollout);
		const char *said = why != NULL && json_text(why) != NULL ? json_text(why) : "";
		*reason = arena_strdup(c->arena, said);
	}
	json_free(root);
	buf_done(&b);
	return e;
}

static enum err step_rolling(struct call *c, struct upstream_run *run, const struct upstream_row *row, struct upstream_version_row *v, int64_t *next_ms)
{
	enum rollout_status status;
	const char *reason = "";
	*next_ms = c->now_ms + LOOK_MS;
	if (c->now_ms < run->look_at) {
		*next_ms = run->look_at;
		return ERR_OK;
	}
	run->look_at = c->now_ms + LOOK_MS;
	enum err e = read_status(c, v->rollout, &status, &reason);
	if (e == ERR_NOT_FOUND)
		return move_in_unit(c, row, v, UPSTREAM_DONE, "its rollout was deleted");
	if (e != ERR_OK || !rollout_status_is_final(status))
		return e;
	*next_ms = 0;
	if (status == ROLLOUT_FINISHED)
		return move_in_unit(c, row, v, UPSTREAM_DONE, "");
	e = unit_begin(c->s, c->fault);
	if (e != ERR_OK)
		return e;
	const char *said = arena_printf(c->arena, "%s%s%s", rollout_status_text(status), reason[0] != '\0' ? ": " : "", reason);
	return unit_end(c->s, note_reverted(c, row, v, said), c->fault);
}

enum err upstreams_step(struct call *c, struct upstream_run *run, const struct upstream_row *row, struct upstream_version_row *v, int64_t *next_ms)
{
	struct upstream_policy policy;
	enum upstream_status status;
	if (c->now_ms < v->next_at) {
		*next_ms = v->next_at;
		return ERR_OK;
	}
	enum err e = upstream_policy_read(row->policy, &policy, c->arena, c->fault);
	if (e != ERR_OK || !upstream_status_parse(v->status, &status))
		return e;
	if (v->is_withdrawn && (status == UPSTREAM_FETCHING || status == UPSTREAM_FETCHED)) {
		*next_ms = 0;
		return upstreams_refuse(c, row, v, UPSTREAM_FAULT_POLICY, "its publisher has withdrawn it");
	}
	switch (status) {
	case UPSTREAM_FETCHING:
		return step_fetching(c, run, row, v, next_ms);
	case UPSTREAM_FETCHED:
		*next_ms = 0;
		return step_fetched(c, row, &policy, v);
	case UPSTREAM_RELEASED:
		return step_released(c, run, row, &policy, v, next_ms);
	case UPSTREAM_ROLLING:
		return step_rolling(c, run, row, v, next_ms);
	default:
		return ERR_OK;
	}
}

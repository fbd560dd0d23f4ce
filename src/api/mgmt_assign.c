/* Assignments of distribution sets to targets. The rollout is planned, stored and begun while the request waits, since its answer has the
 * numbers of the actions: in steps, each a unit of its own. */
#include <stdlib.h>
#include <string.h>

#include "api/mgmt_rows.h"
#include "base/clock.h"
#include "service/actions.h"
#include "service/assignments.h"
#include "service/rollouts.h"
#include "service/targets.h"
#include "service/timebox.h"
#include "service/unit.h"

#define WAIT_MS 5000     /* for the actions of devices that are told at once; what is not there by then is not shown */
#define ARENA_BYTES ((size_t)64 << 20)

/* Devices that are told in the same way: one rollout. */
struct bunch {
	const struct json *how;
	const char *key; /* its text, to compare */
	const char **devices;
	size_t count, room;
	int64_t rollout;
};

struct assigning {
	struct arena *arena;
	struct set_row set;
	struct bunch *bunches;
	size_t bunch_count, at;
	enum { MAKE, PLAN, WAIT } phase;
	struct rollout_request request;
	struct rollout_planning *planning;
	uint64_t wait_since_ns;
	int64_t already, assigned;
	struct device_state **devices; /* all that were assigned: whose actions are told */
	int64_t *rows;                 /* and their rows, as a device may be deleted meanwhile */
	struct bunch **bunch_of;
	size_t device_count;
};

static void assigning_free(void *state)
{
	struct assigning *a = state;
	rollouts_plan_free(a->planning);
	arena_free(a->arena);
	free(a);
}

/* ---- what is asked for ---- */

static enum err read_window(struct api_request *rq, const struct json *window, struct delivery_input *out)
{
	enum err e = ERR_OK;
	if (window == NULL || json_type(window) == JSON_NULL)
		return ERR_OK;
	if (json_type(window) != JSON_OBJECT)
		return mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "maintenanceWindow: an object is wanted");
	e = mgmt_text(rq, window, "schedule", &out->schedule);
	if (e == ERR_OK)
		e = mgmt_text(rq, window, "duration", &out->duration);
	if (e == ERR_OK)
		e = mgmt_text(rq, window, "timezone", &out->timezone);
	if (e == ERR_OK && (out->schedule == NULL || out->duration == NULL || out->timezone == NULL))
		e = mgmt_refuse(rq, MGMT_SCHEDULE, ERR_BAD_REQUEST, "maintenanceWindow: schedule, duration and timezone are wanted");
	return e;
}

enum err mgmt_delivery(struct api_request *rq, const struct json *how, struct delivery_input *out)
{
	static const char *const types[] = {"forced", "soft", "timeforced", "downloadonly"};
	*out = (struct delivery_input){.weight = -1};
	const char *type = NULL;
	enum err e = mgmt_text(rq, how, "type", &type);
	for (size_t i = 0; type != NULL && i < sizeof types / sizeof *types; i++)
		out->type = strcmp(type, types[i]) == 0 ? types[i] : out->type;
	if (e == ERR_OK && type != NULL && out->type == NULL)
		e = mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "type: forced, soft, timeforced or downloadonly is wanted");
	if (e == ERR_OK)
		e = mgmt_number(rq, how, "forcetime", &out->forced_at);
	if (e == ERR_OK)
		e = mgmt_number(rq, how, "weight", &out->weight);
	const struct json *confirm = json_get(how, "confirmationRequired");
	out->has_confirm = confirm != NULL && json_type(confirm) != JSON_NULL;
	if (e == ERR_OK)
		e = mgmt_flag(rq, how, "confirmationRequired", &out->confirm);
	if (e == ERR_OK && out->type != NULL && strcmp(out->type, "timeforced") == 0 && out->forced_at <= 0)
		out->type = "forced"; /* as hawkBit: the time has come long ago */
	return e == ERR_OK ? read_window(rq, json_get(how, "maintenanceWindow"), out) : e;
}

/* The members that say how, in the order of the document. */
static const char *key_of(struct arena *a, const struct json *how)
{
	struct buf b = BUF_INIT;
	for (const struct json *j = json_first(how); j != NULL; j = json_next(j)) {
		if (strcmp(json_name(j), "id") == 0)
			continue;
		buf_printf(&b, "%s:", json_name(j));
		json_print_canonical(j, &b);
		buf_char(&b, ';');
	}
	const char *text = arena_strdup(a, buf_cstr(&b));
	buf_done(&b);
	return text;
}

static struct bunch *add(struct assigning *a, const struct json *how, const char *device)
{
	const char *key = key_of(a->arena, how);
	struct bunch *b = a->bunches;
	while (b < a->bunches + a->bunch_count && strcmp(b->key, key) != 0)
		b++;
	if (b == a->bunches + a->bunch_count) {
		*b = (struct bunch){.how = how, .key = key};
		a->bunch_count++;
	}
	if (b->count == b->room) {
		size_t room = b->room > 0 ? 2 * b->room : 16;
		const char **more = arena_array(a->arena, room, sizeof *more);
		if (b->count > 0)
			memcpy(more, b->devices, b->count * sizeof *more);
		b->devices = more;
		b->room = room;
	}
	b->devices[b->count++] = device;
	return b;
}

/* A target that is not there is left out, as in hawkBit; one that has the set already is counted. */
static enum err take(struct api_request *rq, struct assigning *a, const struct json *how, const char *id)
{
	struct target_view view;
	struct device_state *d = registry_find(rq->call.s->registry, id);
	if (d == NULL)
		return ERR_OK;
	for (size_t i = 0; i < a->device_count; i++) {
		if (a->devices[i] == d)
			return ERR_OK; /* named twice */
	}
	struct call c = rq->call;
	c.arena = a->arena;
	enum err e = targets_get(&c, d, &view);
	if (e != ERR_OK)
		return e;
	if (view.assigned == a->set.id) {
		a->already++;
		return ERR_OK;
	}
	a->bunch_of[a->device_count] = add(a, how, d->id);
	a->rows[a->device_count] = d->row;
	a->devices[a->device_count++] = d;
	return ERR_OK;
}

/* ---- the steps ---- */

/* What the services refuse here, in hawkBit's words. */
static enum err in_their_words(struct api_request *rq, enum err e)
{
	const char *at = rq->call.fault->pointer;
	if (rq->mgmt_error != MGMT_BY_ERR || e == ERR_OK)
		return e;
	if (strstr(at, "/delivery/maintenance") == at)
		return mgmt_refuse_as(rq, MGMT_SCHEDULE, e);
	if (strstr(rq->call.fault->detail, "incomplete") != NULL)
		return mgmt_refuse_as(rq, MGMT_INCOMPLETE, e);
	return e == ERR_CONFLICT || e == ERR_INVALID ? mgmt_refuse_as(rq, MGMT_CONSTRAINT, e) : e;
}

/* In a unit of its own: the set is a release from now on, and the request is made. */
static enum err make(struct api_request *rq, struct assigning *a)
{
	struct call c = rq->call;
	struct delivery_input how;
	struct bunch *b = &a->bunches[a->at];
	c.arena = a->arena;
	enum err e = mgmt_delivery(rq, b->how, &how);
	if (e == ERR_OK)
		e = unit_begin(c.s, c.fault);
	if (e != ERR_OK)
		return e;
	e = modules_lock(&c, a->set.id);
	if (e == ERR_OK)
		e = assignments_request(&c, &a->set, b->devices, b->count, &how, &a->request);
	if (e == ERR_OK)
		e = rollouts_plan_new(&c, &a->request, false, &a->planning);
	return in_their_words(rq, unit_end(c.s, e, c.fault));
}

static enum err plan(struct api_request *rq, struct assigning *a, const struct timebox *box, bool *is_done)
{
	struct call c = rq->call;
	struct buf ignored = BUF_INIT;
	c.arena = a->arena;
	enum err e = rollouts_plan_step(&c, a->planning, box, is_done);
	if (e != ERR_OK || !*is_done)
		return in_their_words(rq, e);
	e = unit_begin(c.s, c.fault);
	if (e == ERR_OK) {
		e = rollouts_plan_finish(&c, a->planning, &ignored, &a->bunches[a->at].rollout);
		e = unit_end(c.s, e, c.fault);
	}
	buf_done(&ignored);
	if (e == ERR_OK) {
		rollouts_plan_free(a->planning);
		a->planning = NULL;
	}
	return in_their_words(rq, e);
}

/* The number that the device has been told by this assignment; 0: not yet, or it speaks another protocol, or something else took it since. */
static enum err action_of(struct api_request *rq, const struct assigning *a, size_t at, bool *is_ddi, int64_t *action)
{
	int64_t rollout = 0;
	const struct device_state *d = registry_by_row(rq->call.s->registry, a->rows[at]);
	*action = 0;
	*is_ddi = d != NULL && d == a->devices[at] && d->is_ddi;
	if (!*is_ddi || d->deployment == 0)
		return ERR_OK;
	enum err e = rollouts_of_device(&rq->call, d->row, &rollout);
	if (e != ERR_OK || rollout != a->bunch_of[at]->rollout)
		return e;
	return actions_of_deployment(&rq->call, d->deployment, action);
}

/* Whether every device of DDI that was assigned has been told. */
static enum err are_offered(struct api_request *rq, struct assigning *a, bool *are)
{
	*are = true;
	for (size_t i = 0; i < a->device_count && *are; i++) {
		int64_t action;
		bool is_ddi;
		enum err e = action_of(rq, a, i, &is_ddi, &action);
		if (e != ERR_OK)
			return e;
		*are = action != 0 || !is_ddi;
	}
	return ERR_OK;
}

static enum err step(struct api_request *rq, void *state, const struct timebox *box, bool *is_done)
{
	struct assigning *a = state;
	bool is_ready = false, more;
	*is_done = false;
	if (a->phase == MAKE) {
		if (a->at == a->bunch_count) {
			a->phase = WAIT;
			a->wait_since_ns = clock_mono_ns();
			return ERR_OK;
		}
		enum err e = make(rq, a);
		a->phase = PLAN;
		return e;
	}
	if (a->phase == PLAN) {
		enum err e = plan(rq, a, box, &is_ready);
		if (e == ERR_OK && is_ready) {
			a->at++;
			a->phase = MAKE;
		}
		return e;
	}
	enum err e = are_offered(rq, a, &is_ready);
	*is_done = is_ready || clock_mono_ns() - a->wait_since_ns > (uint64_t)WAIT_MS * 1000000;
	return e != ERR_OK || *is_done ? e : rollouts_tick(&rq->call, &more);
}

static enum err finish(struct api_request *rq, void *state)
{
	struct assigning *a = state;
	struct buf *out = &rq->out;
	enum err e = ERR_OK;
	json_open_object(out);
	json_int(out, "alreadyAssigned", a->already);
	json_key(out, "assignedActions");
	json_open_array(out);
	for (size_t i = 0; i < a->device_count && e == ERR_OK; i++) {
		int64_t action;
		bool is_ddi;
		e = action_of(rq, a, i, &is_ddi, &action);
		if (e != ERR_OK || action == 0)
			continue;
		json_open_object(out);
		json_int(out, "id", action);
		mgmt_self(rq, mgmt_href(rq, "targets/%s/actions/%lld", a->devices[i]->id, (long long)action));
		json_close_object(out);
	}
	json_close_array(out);
	json_int(out, "assigned", (int64_t)a->device_count);
	json_int(out, "total", (int64_t)a->device_count + a->already);
	json_close_object(out);
	rq->content_type = MGMT_OK_TYPE;
	return e;
}

/* ---- */

static struct assigning *assigning_new(const struct set_row *set, size_t room)
{
	struct assigning *a = calloc(1, sizeof *a);
	if (a == NULL)
		abort();
	a->arena = arena_new(ARENA_BYTES);
	a->set = *set; /* texts are the request's, which outlives this */
	a->bunches = arena_array(a->arena, room + 1, sizeof *a->bunches);
	a->devices = arena_array(a->arena, room + 1, sizeof(struct device_state *));
	a->rows = arena_array(a->arena, room + 1, sizeof *a->rows);
	a->bunch_of = arena_array(a->arena, room + 1, sizeof(struct bunch *));
	return a;
}

static enum err go(struct api_request *rq, struct assigning *a, enum err e)
{
	static const struct api_steps steps = {step, finish, assigning_free};
	if (e == ERR_OK)
		return api_in_steps(rq, &steps, a);
	assigning_free(a);
	return e;
}

static enum err find_assignable(struct api_request *rq, int64_t id, struct set_row *set)
{
	enum err e = modules_get_set(&rq->call, id, set);
	if (e == ERR_OK && set->deleted_at != 0)
		e = mgmt_no_such(rq, "DistributionSet", arena_printf(rq->call.arena, "%lld", (long long)id));
	return e;
}

/* POST distributionsets/{id}/assignedTargets: [{"id": controllerId, type, forcetime, ...}] */
static enum err assign_targets(struct api_request *rq)
{
	struct set_row set;
	const struct json *item;
	size_t count;
	int64_t id;
	enum err e = mgmt_param(rq, 0, &id);
	if (e == ERR_OK)
		e = find_assignable(rq, id, &set);
	if (e == ERR_OK)
		e = mgmt_items(rq, &item, &count);
	if (e != ERR_OK)
		return e;
	if (count > ASSIGNMENT_DEVICES_MAX)
		return fault_set(rq->call.fault, ERR_TOO_MANY, "", "at most %d targets in one request", ASSIGNMENT_DEVICES_MAX);
	struct assigning *a = assigning_new(&set, count);
	for (size_t i = 0; e == ERR_OK && i < count; i++, item = i < count ? json_next(item) : NULL) {
		const char *target = NULL;
		e = mgmt_text(rq, item, "id", &target);
		if (e == ERR_OK && target == NULL)
			e = mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "id: the controllerId of a target is wanted");
		if (e == ERR_OK)
			e = take(rq, a, item, target);
	}
	return go(rq, a, e);
}

/* POST targets/{id}/assignedDS: {"id": set, type, ...}, or an array of one. */
static enum err assign_set(struct api_request *rq)
{
	struct device_state *d;
	struct set_row set;
	const struct json *item;
	size_t count;
	int64_t id = 0;
	enum err e = mgmt_find_target(rq, 0, &d);
	if (e == ERR_OK)
		e = mgmt_items(rq, &item, &count);
	if (e == ERR_OK && count != 1)
		e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "one distribution set at a time: a device has one release");
	if (e == ERR_OK)
		e = mgmt_number(rq, item, "id", &id);
	if (e == ERR_OK)
		e = find_assignable(rq, id, &set);
	if (e != ERR_OK)
		return e;
	struct assigning *a = assigning_new(&set, 1);
	return go(rq, a, take(rq, a, item, d->id));
}

extern const struct route routes_mgmt_assign[];
const struct route routes_mgmt_assign[] = {
	{.method = "POST", .path = MGMT "/distributionsets/{set}/assignedTargets", .role = ROLE_OPERATOR, .tag = "mgmt", .body_limit = MGMT_BODY_MAX,
	 .summary = "sends it to targets: a rollout of ours over exactly these", .handle = assign_targets},
	{.method = "POST", .path = MGMT "/targets/{target}/assignedDS", .role = ROLE_OPERATOR, .tag = "mgmt", .body_limit = MGMT_BODY_MAX,
	 .summary = "sends it a distribution set", .handle = assign_set},
	{.method = NULL},
};

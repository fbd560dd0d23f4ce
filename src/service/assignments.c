#include "service/assignments.h"

#include <string.h>

#include "base/buf.h"
#include "core/rsql.h"
#include "service/access.h"
#include "service/groups.h"
#include "service/settings.h"

#define TIMEOUT_MS INT64_C(2592000000) /* 30 days: hawkBit's actions have none */
#define FILTER_DEVICES_MAX 200         /* and as many bytes as a filter has */

void assignments_deliver(struct call *c, const struct delivery_input *how, struct rollout_request *q)
{
	if (how->type != NULL)
		q->delivery.type = how->type;
	q->delivery.forced_at = how->forced_at;
	if (how->weight >= 0)
		q->delivery.weight = how->weight;
	q->delivery.confirm = how->has_confirm ? how->confirm : settings_flag(c->s->settings, SETTING_CONFIRMATION);
	q->delivery.maintenance.schedule = how->schedule;
	q->delivery.maintenance.duration = how->duration;
	q->delivery.maintenance.timezone = how->timezone;
}

/* NULL: it would be too long. */
static const char *filter_of(struct call *c, const char *const *devices, size_t count)
{
	struct buf b = BUF_INIT;
	if (count == 0 || count > FILTER_DEVICES_MAX)
		return NULL;
	buf_str(&b, "id=in=(");
	for (size_t i = 0; i < count; i++)
		buf_printf(&b, "%s'%s'", i > 0 ? "," : "", devices[i]); /* ids have no quotes */
	buf_char(&b, ')');
	const char *text = b.len <= RSQL_TEXT_BYTES ? arena_strdup(c->arena, buf_cstr(&b)) : NULL;
	buf_done(&b);
	return text;
}

static enum err group_of(struct call *c, const char *name, const char *const *devices, size_t count)
{
	int64_t added, removed;
	struct group_row row = {.name = name, .description = "devices of an assignment"};
	enum err e = groups_create(c, &row);
	return e == ERR_OK ? groups_change_members(c, &row, devices, count, NULL, 0, &added, &removed) : e;
}

enum err assignments_request(struct call *c, const struct set_row *set, const char *const *devices, size_t count, const struct delivery_input *how,
	struct rollout_request *q)
{
	int64_t number;
	if (count > ASSIGNMENT_DEVICES_MAX)
		return fault_set(c->fault, ERR_TOO_MANY, "", "at most %d devices in one assignment", ASSIGNMENT_DEVICES_MAX);
	enum err e = counter_next(c, "assignment", &number);
	if (e != ERR_OK)
		return e;
	rollout_request_init(q);
	struct rollout_stage_request *stage = arena_array(c->arena, 1, sizeof *stage);
	*stage = (struct rollout_stage_request){.name = "all", .percent = 100, .has_percent = true};
	q->name = arena_printf(c->arena, "assignment %s %lld", set->name, (long long)number);
	q->release = set->name;
	q->stages = (struct json_objects){stage, 1};
	q->success.percent = 100;
	q->error.percent = 100;
	q->error.action = "promote";
	q->soak_ms = 0;
	q->timeout_ms = TIMEOUT_MS;
	q->retries = 0;
	q->start = true;
	q->judge.controls = false;
	q->judge.hard_stop.silent = 0;
	q->delivery.supersede = true;
	assignments_deliver(c, how, q);
	const char *filter = filter_of(c, devices, count);
	if (filter != NULL) {
		q->filter = filter;
		return ERR_OK;
	}
	q->group = arena_printf(c->arena, "assignment-%lld", (long long)number);
	return group_of(c, q->group, devices, count);
}

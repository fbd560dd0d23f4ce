/* /api/v1/rollouts */
#include <stddef.h>

#include "api/rollout_replies.h"
#include "api/route.h"
#include "service/access.h"
#include "service/rollout_spec.h"
#include "service/rollouts.h"

#define BLOCKS_DEFAULT 100 /* members of a page */
#define BLOCKS_MAX 1000

static void request_init(void *body)
{
	rollout_request_init(body);
}

static enum err create_step(struct api_request *rq, void *state, const struct timebox *box, bool *is_done)
{
	return rollouts_plan_step(&rq->call, state, box, is_done);
}

static enum err create_finish(struct api_request *rq, void *state)
{
	int64_t id;
	enum err e = rollouts_plan_finish(&rq->call, state, &rq->out, &id);
	if (e)
		return e;
	if (id == 0)
		rq->status = 200; /* a dry run */
	else
		rq->location = arena_printf(rq->call.arena, "/api/v1/rollouts/%lld", (long long)id);
	return ERR_OK;
}

static void create_free(void *state)
{
	rollouts_plan_free(state);
}

static enum err create(struct api_request *rq)
{
	static const struct api_steps steps = {create_step, create_finish, create_free};
	struct rollout_planning *planning;
	bool dry_run = false;
	enum err e = api_query_bool(rq, "dryRun", &dry_run);
	if (!e)
		e = rollouts_plan_new(&rq->call, rq->body, dry_run, &planning);
	return e ? e : api_in_steps(rq, &steps, planning);
}

static enum err show(struct api_request *rq)
{
	int64_t id, revision; /* of the row; counts of deployments change without it, so it is no ETag */
	enum err e = api_param_id(rq, 0, &id);
	return e ? e : rollouts_show(&rq->call, id, &rq->out, &revision);
}

static enum err list(struct api_request *rq)
{
	int64_t limit, after, next = 0;
	enum err e = api_query_page(rq, &limit, &after);
	if (e)
		return e;
	api_list_open(rq);
	e = rollouts_list(&rq->call, api_query(rq, "status"), after, limit, &rq->out, &next);
	api_list_close(rq, api_cursor_of(rq, next), -1);
	return e;
}

static enum err delete(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	return e ? e : rollouts_delete(&rq->call, id);
}

static enum err act(struct api_request *rq)
{
	int64_t id;
	enum rollout_command command;
	enum err e = api_param_id(rq, 0, &id);
	if (e)
		return e;
	if (!rollout_command_parse(rq->param[1], &command) || command == ROLLOUT_DO_PLAN)
		return fault_set(rq->call.fault, ERR_NOT_FOUND, "", "no such action: one of start pause resume abort revert approve retry promote");
	return rollouts_act(&rq->call, id, command, &rq->out);
}

static enum err stages(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	if (e)
		return e;
	api_list_open(rq);
	e = rollouts_stages(&rq->call, id, &rq->out);
	api_list_close(rq, NULL, -1);
	return e;
}

static enum err deployments(struct api_request *rq)
{
	int64_t id, limit, after, next = 0, stage = -1;
	enum err e = api_param_id(rq, 0, &id);
	if (!e)
		e = api_query_page(rq, &limit, &after);
	if (!e)
		e = api_query_int(rq, "stage", 0, ROLLOUT_STAGES_MAX, &stage);
	if (e)
		return e;
	api_list_open(rq);
	e = rollouts_deployments(&rq->call, id, api_query(rq, "state"), stage, after, limit, &rq->out, &next);
	api_list_close(rq, api_cursor_of(rq, next), -1);
	return e;
}

static enum err verdicts(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	if (e)
		return e;
	api_list_open(rq);
	e = rollouts_verdicts(&rq->call, id, &rq->out);
	api_list_close(rq, NULL, -1);
	return e;
}

static enum err blocks(struct api_request *rq)
{
	int64_t id, stage = 0, limit = BLOCKS_DEFAULT;
	const char *cursor = NULL, *next = NULL;
	enum err e = api_param_id(rq, 0, &id);
	if (!e)
		e = api_query_int(rq, "stage", 0, ROLLOUT_STAGES_MAX, &stage);
	if (!e)
		e = api_query_int(rq, "limit", 1, BLOCKS_MAX, &limit);
	if (!e)
		e = api_query_cursor(rq, &cursor);
	if (e)
		return e;
	api_list_open(rq);
	e = rollouts_blocks(&rq->call, id, stage, cursor, limit, &rq->out, &next);
	api_list_close(rq, api_cursor_of_text(rq, next), -1);
	return e;
}

static enum err events(struct api_request *rq)
{
	int64_t id, limit, after;
	struct event_row *rows;
	size_t count;
	enum err e = api_param_id(rq, 0, &id);
	if (!e)
		e = api_query_page(rq, &limit, &after);
	if (!e)
		e = event_list(&rq->call, arena_printf(rq->call.arena, "rollouts/%lld", (long long)id), after, limit, &rows, &count);
	if (e)
		return e;
	api_list_open(rq);
	for (size_t i = 0; i < count; i++) {
		json_open_object(&rq->out);
		json_int(&rq->out, "id", rows[i].id);
		json_int(&rq->out, "at", rows[i].at);
		json_str(&rq->out, "kind", rows[i].kind);
		json_raw(&rq->out, "data", rows[i].data);
		json_close_object(&rq->out);
	}
	api_list_close(rq, (int64_t)count == limit ? api_cursor_of(rq, rows[count - 1].id) : NULL, -1);
	return ERR_OK;
}

static const struct route_query query_dry[] = {{"dryRun", "true: show the plan, store nothing"}, {NULL, NULL}};
static const struct route_query query_list[] = {
	{"status", "only rollouts in this status"}, {"limit", "1 to 1000"}, {"cursor", "next of the page before"}, {NULL, NULL}};
static const struct route_query query_page[] = {{"limit", "1 to 1000"}, {"cursor", "next of the page before"}, {NULL, NULL}};
static const struct route_query query_deployments[] = {{"state", "only deployments in this state"}, {"stage", "only of this stage, from 0"},
	{"limit", "1 to 1000"}, {"cursor", "next of the page before"}, {NULL, NULL}};
static const struct route_query query_blocks[] = {{"stage", "from 0, the canary"}, {"limit", "1 to 1000"},
	{"cursor", "next of the page before"}, {NULL, NULL}};

#define BASE "/api/v1/rollouts"
const struct route routes_rollouts[] = {
	{.method = "GET", .path = BASE, .role = ROLE_VIEWER, .tag = "rollouts", .summary = "Rollouts, newest first", .query = query_list,
		.reply_is_list = true, .reply = rollout_reply_fields,
		.handle = list},
	{.method = "POST", .path = BASE, .role = ROLE_OPERATOR, .tag = "rollouts", .flags = ROUTE_WRITE | ROUTE_CREATED,
		.summary = "Plan a rollout, or show its plan with dryRun", .body = rollout_request_fields,
		.body_bytes = sizeof(struct rollout_request), .body_init = request_init, .query = query_dry, .reply = rollout_reply_fields, .shown = plan_reply_fields,
		.handle = create},
	{.method = "GET", .path = BASE "/{rollout}", .role = ROLE_VIEWER, .tag = "rollouts", .summary = "One rollout with its stages", .reply = rollout_reply_fields,
		.handle = show},
	{.method = "DELETE", .path = BASE "/{rollout}", .role = ROLE_OPERATOR, .tag = "rollouts", .flags = ROUTE_WRITE | ROUTE_NO_CONTENT,
		.summary = "Delete a rollout that has ended or never started", .handle = delete},
	{.method = "GET", .path = BASE "/{rollout}/stages", .role = ROLE_VIEWER, .tag = "rollouts", .summary = "Its stages with counts",
		.reply_is_list = true, .reply = stage_reply_fields,
		.handle = stages},
	{.method = "GET", .path = BASE "/{rollout}/deployments", .role = ROLE_VIEWER, .tag = "rollouts", .summary = "Its devices and how far they are",
		.query = query_deployments, .reply_is_list = true, .reply = deployment_reply_fields,
		.handle = deployments},
	{.method = "GET", .path = BASE "/{rollout}/verdicts", .role = ROLE_VIEWER, .tag = "rollouts", .summary = "The judge's looks: the evidence over time",
		.reply_is_list = true, .reply = look_reply_fields,
		.handle = verdicts},
	{.method = "GET", .path = BASE "/{rollout}/blocks", .role = ROLE_VIEWER, .tag = "rollouts", .summary = "Canaries and controls as they were drawn",
		.query = query_blocks, .reply_is_list = true, .reply = block_reply_fields,
		.handle = blocks},
	{.method = "GET", .path = BASE "/{rollout}/events", .role = ROLE_VIEWER, .tag = "rollouts", .summary = "What happened, oldest first",
		.query = query_page, .reply_is_list = true, .reply = happening_reply_fields,
		.handle = events},
	{.method = "POST", .path = BASE "/{rollout}/{action}", .role = ROLE_OPERATOR, .tag = "rollouts", .flags = ROUTE_WRITE,
		.summary = "start, pause, resume, abort, revert, approve, retry or promote", .reply = rollout_reply_fields,
		.handle = act},
	{.method = NULL},
};

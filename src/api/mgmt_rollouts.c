/* /rest/v1/rollouts: rollouts, whose groups are our stages. What is shown is made from our own documents (service/rollouts.h). */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/mgmt_rows.h"
#include "core/rollout.h"
#include "service/assignments.h"
#include "service/releases.h"
#include "service/rollouts.h"
#include "service/settings.h"
#include "service/targets.h"
#include "service/timebox.h"

#define ROLLOUTS MGMT "/rollouts"
#define ROLLOUT ROLLOUTS "/{rollout}"
#define GROUPS ROLLOUT "/deploygroups"
#define GROUP GROUPS "/{group}"
#define LIST_MAX 10000     /* rollouts that a filter or a sort looks at */
#define GROUP_FACTOR 100   /* a group's id: of its rollout, and of the stage from 1 */
#define TIMEOUT_MS INT64_C(2592000000)

/* ---- words ---- */

static const char *their_status(const char *ours)
{
	return strcmp(ours, "reverting") == 0 ? "stopping" : strcmp(ours, "reverted") == 0 ? "stopped" : ours;
}

static const char *their_group_status(const char *ours)
{
	if (strcmp(ours, "running") == 0 || strcmp(ours, "baking") == 0)
		return "running";
	if (strcmp(ours, "cancelled") == 0 || strcmp(ours, "reverted") == 0)
		return "finished";
	return ours; /* scheduled, finished, error */
}

static int64_t number_of(const struct json *doc, const char *name)
{
	int64_t n = 0;
	const struct json *j = json_get(doc, name);
	return j != NULL && json_is_integer(j, &n) ? n : 0;
}

static const char *text_of(const struct json *doc, const char *name)
{
	const struct json *j = json_get(doc, name);
	const char *text = j != NULL ? json_text(j) : NULL;
	return text != NULL ? text : "";
}

/* States of deployments, as hawkBit counts targets. */
static void put_counts(struct api_request *rq, const struct json *counts, int64_t total)
{
	static const struct {
		const char *theirs, *ours[4];
	} sums[] = {
		{"running", {"offered", "downloading", "installing", "trial"}}, {"error", {"failed", "timed_out", "revert_failed", "not_revertible"}},
		{"finished", {"succeeded", NULL, NULL, NULL}}, {"cancelled", {"cancelled", "reverted", "reverting", NULL}},
		{"scheduled", {"waiting", NULL, NULL, NULL}},
	};
	int64_t known = 0;
	json_key(&rq->out, "totalTargetsPerStatus");
	json_open_object(&rq->out);
	for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
		int64_t sum = 0;
		for (size_t j = 0; j < 4 && sums[i].ours[j] != NULL; j++)
			sum += number_of(counts, sums[i].ours[j]);
		json_int(&rq->out, sums[i].theirs, sum);
		known += sum;
	}
	json_int(&rq->out, "notstarted", total > known ? total - known : 0);
	json_close_object(&rq->out);
}

static enum err put_rollout(struct api_request *rq, const struct json *doc, bool in_full)
{
	const struct json *spec = json_get(doc, "spec"), *delivery = json_get(spec, "delivery");
	struct release_row release = {0};
	long long id = (long long)number_of(doc, "id");
	enum err e = releases_find(&rq->call, text_of(doc, "release"), &release);
	if (e != ERR_OK && e != ERR_NOT_FOUND)
		return e;
	int64_t changed = number_of(doc, "ended_at") > 0 ? number_of(doc, "ended_at") : number_of(doc, "started_at");
	json_open_object(&rq->out);
	json_str(&rq->out, "createdBy", text_of(doc, "created_by"));
	json_int(&rq->out, "createdAt", number_of(doc, "created_at"));
	json_str(&rq->out, "lastModifiedBy", text_of(doc, "created_by"));
	json_int(&rq->out, "lastModifiedAt", changed > 0 ? changed : number_of(doc, "created_at"));
	json_str(&rq->out, "name", text_of(doc, "name"));
	json_str(&rq->out, "description", text_of(doc, "reason"));
	json_int(&rq->out, "id", id);
	json_str(&rq->out, "targetFilterQuery", text_of(doc, "filter"));
	json_int(&rq->out, "distributionSetId", release.id);
	json_str(&rq->out, "status", their_status(text_of(doc, "status")));
	json_int(&rq->out, "totalTargets", number_of(doc, "target"));
	put_counts(rq, json_get(doc, "deployments"), number_of(doc, "target"));
	json_int(&rq->out, "totalGroups", (int64_t)json_count(json_get(doc, "stages")));
	if (number_of(doc, "started_at") > 0)
		json_int(&rq->out, "startAt", number_of(doc, "started_at"));
	json_bool(&rq->out, "deleted", false);
	json_str(&rq->out, "type", delivery != NULL ? text_of(delivery, "type") : "forced");
	json_int(&rq->out, "forcetime", delivery != NULL ? number_of(delivery, "forced_at") : 0);
	json_int(&rq->out, "weight", delivery != NULL ? number_of(delivery, "weight") : 1000);
	json_bool(&rq->out, "dynamic", false);
	if (text_of(doc, "approved_by")[0] != '\0')
		json_str(&rq->out, "approveDecidedBy", text_of(doc, "approved_by"));
	mgmt_links_open(rq);
	mgmt_link(rq, "self", mgmt_href(rq, "rollouts/%lld", id));
	static const char *const acts[] = {"start", "pause", "resume", "approve", "deny"};
	for (size_t i = 0; in_full && i < sizeof acts / sizeof *acts; i++)
		mgmt_link(rq, acts[i], mgmt_href(rq, "rollouts/%lld/%s", id, acts[i]));
	mgmt_link(rq, "groups", mgmt_href(rq, "rollouts/%lld/deploygroups?offset=0&limit=50", id));
	mgmt_link(rq, "distributionset", mgmt_href(rq, "distributionsets/%lld", (long long)release.id));
	mgmt_links_close(rq);
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
	return ERR_OK;
}

/* Our document of a rollout; the caller frees it. */
static enum err read_rollout(struct api_request *rq, int64_t *id, struct json **doc)
{
	struct buf text = BUF_INIT;
	int64_t revision;
	*doc = NULL;
	enum err e = mgmt_param(rq, 0, id);
	if (e == ERR_OK)
		e = rollouts_show(&rq->call, *id, &text, &revision);
	if (e == ERR_NOT_FOUND)
		e = mgmt_no_such(rq, "Rollout", rq->param[0]);
	if (e == ERR_OK)
		e = json_parse(text.data, text.len, doc, rq->call.fault);
	buf_done(&text);
	return e;
}

static enum err get_rollout(struct api_request *rq)
{
	int64_t id;
	struct json *doc;
	enum err e = read_rollout(rq, &id, &doc);
	if (e == ERR_OK)
		e = put_rollout(rq, doc, true);
	json_free(doc);
	return e;
}

/* ---- lists ---- */

enum { F_ID, F_NAME, F_STATUS, F_CREATED };
static const struct rsql_field fields[] = {{"id", false, RSQL_NUMBER, F_ID}, {"name", false, RSQL_TEXT, F_NAME},
	{"status", false, RSQL_TEXT, F_STATUS}, {"createdAt", false, RSQL_TIME, F_CREATED}};
static const struct hawkbit_field names[] = {{"id", "id"}, {"name", "name"}, {"status", "status"}, {"createdat", "createdAt"},
	{"lastmodifiedat", "createdAt"}};

static bool get_field(const void *row, const struct rsql_field *field, struct slice key, unsigned index, struct rsql_operand *out)
{
	const struct json *const *doc = row;
	(void)key;
	if (index > 0)
		return false;
	if (field->type == RSQL_TEXT)
		*out = mgmt_text_operand(field->column == F_NAME ? text_of(*doc, "name") : their_status(text_of(*doc, "status")));
	else
		*out = mgmt_number_operand(number_of(*doc, field->column == F_ID ? "id" : "created_at"));
	return true;
}

static enum err put_listed(struct api_request *rq, const void *row)
{
	return put_rollout(rq, *(const struct json *const *)row, false);
}

/* Those that an assignment made are no rollouts in hawkBit. */
static bool is_assignment(const struct json *doc)
{
	const struct json *delivery = json_get(json_get(doc, "spec"), "delivery");
	return strncmp(text_of(doc, "name"), "assignment ", 11) == 0 && delivery != NULL && json_is_true(json_get(delivery, "supersede"));
}

static enum err list_rollouts(struct api_request *rq)
{
	static const struct mgmt_list list = {names, sizeof names / sizeof *names, fields, sizeof fields / sizeof *fields, get_field,
		sizeof(const struct json *), put_listed};
	struct buf text = BUF_INIT;
	struct json *all = NULL;
	int64_t next;
	struct call c = rq->call;
	c.arena = arena_new(MGMT_LIST_ARENA);
	json_open_array(&text);
	enum err e = rollouts_list(&c, NULL, 0, LIST_MAX, &text, &next);
	json_close_array(&text);
	if (e == ERR_OK)
		e = json_parse(text.data, text.len, &all, rq->call.fault);
	if (e == ERR_OK) {
		size_t count = 0;
		const struct json **docs = arena_array(c.arena, json_count(all) + 1, sizeof *docs);
		for (const struct json *j = json_first(all); j != NULL; j = json_next(j)) {
			if (!is_assignment(j))
				docs[count++] = j;
		}
		e = mgmt_put_list(rq, &list, docs, count);
	}
	json_free(all);
	buf_done(&text);
	arena_free(c.arena);
	return e;
}

/* ---- groups ---- */

static enum err put_group(struct api_request *rq, const struct json *doc, const struct json *stage)
{
	const struct json *spec = json_get(doc, "spec"), *success = json_get(spec, "success"), *error = json_get(spec, "error");
	int64_t rollout = number_of(doc, "id"), id = rollout * GROUP_FACTOR + number_of(stage, "stage") + 1;
	json_open_object(&rq->out);
	mgmt_times(rq, number_of(doc, "created_at"), number_of(doc, "created_at"));
	json_str(&rq->out, "name", text_of(stage, "name"));
	json_str(&rq->out, "description", text_of(stage, "name"));
	json_int(&rq->out, "id", id);
	json_str(&rq->out, "status", their_group_status(text_of(stage, "status")));
	json_int(&rq->out, "totalTargets", number_of(stage, "planned"));
	put_counts(rq, json_get(stage, "deployments"), number_of(stage, "planned"));
	json_str(&rq->out, "targetFilterQuery", "");
	json_bool(&rq->out, "dynamic", false);
	json_key(&rq->out, "successCondition");
	json_open_object(&rq->out);
	json_str(&rq->out, "condition", "THRESHOLD");
	json_str(&rq->out, "expression", arena_printf(rq->call.arena, "%g", json_number(json_get(success, "percent"))));
	json_close_object(&rq->out);
	json_raw(&rq->out, "successAction", "{\"action\":\"NEXTGROUP\",\"expression\":\"\"}");
	json_key(&rq->out, "errorCondition");
	json_open_object(&rq->out);
	json_str(&rq->out, "condition", "THRESHOLD");
	json_str(&rq->out, "expression", arena_printf(rq->call.arena, "%g", json_number(json_get(error, "percent"))));
	json_close_object(&rq->out);
	json_raw(&rq->out, "errorAction", "{\"action\":\"PAUSE\",\"expression\":\"\"}");
	mgmt_self(rq, mgmt_href(rq, "rollouts/%lld/deploygroups/%lld", (long long)rollout, (long long)id));
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
	return ERR_OK;
}

static enum err list_groups(struct api_request *rq)
{
	int64_t id;
	struct json *doc;
	struct mgmt_page page;
	size_t size = 0;
	int64_t at = 0;
	enum err e = read_rollout(rq, &id, &doc);
	if (e == ERR_OK)
		e = mgmt_page(rq, &page);
	if (e == ERR_OK) {
		const struct json *stages = json_get(doc, "stages");
		mgmt_list_open(rq);
		for (const struct json *s = json_first(stages); s != NULL && e == ERR_OK; s = json_next(s), at++) {
			if (at >= page.offset && (int64_t)size < page.limit) {
				e = put_group(rq, doc, s);
				size++;
			}
		}
		mgmt_list_close(rq, size, (int64_t)json_count(stages));
	}
	json_free(doc);
	return e;
}

static enum err find_stage(struct api_request *rq, const struct json *doc, int64_t rollout, const struct json **stage)
{
	int64_t group;
	enum err e = mgmt_param(rq, 1, &group);
	const struct json *s = e == ERR_OK ? json_first(json_get(doc, "stages")) : NULL;
	while (s != NULL && rollout * GROUP_FACTOR + number_of(s, "stage") + 1 != group)
		s = json_next(s);
	*stage = s;
	return e == ERR_OK && s == NULL ? mgmt_no_such(rq, "RolloutGroup", rq->param[1]) : e;
}

static enum err get_group(struct api_request *rq)
{
	int64_t id;
	struct json *doc;
	const struct json *stage;
	enum err e = read_rollout(rq, &id, &doc);
	if (e == ERR_OK)
		e = find_stage(rq, doc, id, &stage);
	if (e == ERR_OK)
		e = put_group(rq, doc, stage);
	json_free(doc);
	return e;
}

static enum err list_group_targets(struct api_request *rq)
{
	int64_t id;
	struct json *doc;
	const struct json *stage;
	struct device_state **devices;
	struct mgmt_page page;
	size_t count, size = 0;
	enum err e = read_rollout(rq, &id, &doc);
	if (e == ERR_OK)
		e = find_stage(rq, doc, id, &stage);
	if (e == ERR_OK)
		e = mgmt_page(rq, &page);
	if (e == ERR_OK) {
		struct call c = rq->call;
		c.arena = arena_new(MGMT_LIST_ARENA);
		e = targets_of_stage(&c, id, number_of(stage, "stage"), &devices, &count);
		mgmt_list_open(rq);
		for (size_t i = (size_t)page.offset; e == ERR_OK && i < count && size < (size_t)page.limit; i++, size++)
			e = mgmt_put_target(rq, devices[i]);
		mgmt_list_close(rq, size, e == ERR_OK ? (int64_t)count : 0);
		arena_free(c.arena);
	}
	json_free(doc);
	return e;
}

/* ---- making one ---- */

struct conditions {
	double success, error;
	bool has_success, has_error;
};

static enum err read_threshold(struct api_request *rq, const struct json *holder, const char *name, double *percent, bool *has)
{
	const struct json *j = json_get(holder, name);
	const char *condition = "THRESHOLD";
	double value = 0;
	bool given;
	if (j == NULL || json_type(j) != JSON_OBJECT)
		return ERR_OK;
	enum err e = mgmt_text(rq, j, "condition", &condition);
	if (e == ERR_OK && strcasecmp(condition, "THRESHOLD") != 0)
		e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "%s: only THRESHOLD is known", name);
	if (e == ERR_OK)
		e = mgmt_real(rq, j, "expression", &value, &given);
	if (e == ERR_OK && (!given || value < 0 || value > 100))
		e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "%s: an expression from 0 to 100 is wanted", name);
	if (e == ERR_OK && *has && *percent != value)
		e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "%s: groups with different thresholds are not supported", name);
	*has = true;
	*percent = value;
	return e;
}

static enum err read_conditions(struct api_request *rq, const struct json *holder, struct conditions *c)
{
	const struct json *action = json_get(holder, "successAction");
	const char *word = "NEXTGROUP";
	enum err e = read_threshold(rq, holder, "successCondition", &c->success, &c->has_success);
	if (e == ERR_OK)
		e = read_threshold(rq, holder, "errorCondition", &c->error, &c->has_error);
	if (e == ERR_OK && action != NULL && json_type(action) == JSON_OBJECT)
		e = mgmt_text(rq, action, "action", &word);
	if (e == ERR_OK && strcasecmp(word, "NEXTGROUP") != 0)
		e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "successAction: only NEXTGROUP is supported");
	return e;
}

/* hawkBit's percentages are of the targets that no group before has; ours are of all, and add up. */
static enum err read_groups(struct api_request *rq, const struct json *groups, struct conditions *c, struct rollout_request *q)
{
	size_t count = json_count(groups), at = 0;
	double reached = 0;
	if (count > ROLLOUT_STAGES_MAX)
		return mgmt_refuse(rq, MGMT_QUOTA, ERR_TOO_MANY, "at most %d groups", ROLLOUT_STAGES_MAX);
	struct rollout_stage_request *stages = arena_array(rq->call.arena, count, sizeof *stages);
	for (const struct json *g = json_first(groups); g != NULL; g = json_next(g), at++) {
		double percent = 100;
		bool has;
		const char *name = NULL, *filter = NULL;
		if (json_type(g) != JSON_OBJECT)
			return mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "groups: objects are wanted");
		enum err e = mgmt_real(rq, g, "targetPercentage", &percent, &has);
		if (e == ERR_OK)
			e = mgmt_text(rq, g, "name", &name);
		if (e == ERR_OK)
			e = mgmt_text(rq, g, "targetFilterQuery", &filter);
		if (e == ERR_OK && filter != NULL && filter[0] != '\0')
			e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "groups: a targetFilterQuery of a group is not supported: use percentages");
		if (e == ERR_OK && (percent <= 0 || percent > 100))
			e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "groups: targetPercentage is above 0 and at most 100");
		if (e == ERR_OK)
			e = read_conditions(rq, g, c);
		if (e != ERR_OK)
			return e;
		reached += (100 - reached) * percent / 100;
		stages[at] = (struct rollout_stage_request){.name = name, .percent = reached > 99.999 ? 100 : reached, .has_percent = true};
	}
	if (reached < 99.999)
		return mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "Rollout groups don't match all targets that are targeted by the rollout");
	q->stages = (struct json_objects){stages, count};
	return ERR_OK;
}

static enum err split_evenly(struct api_request *rq, int64_t amount, struct rollout_request *q)
{
	if (amount < 1 || amount > ROLLOUT_STAGES_MAX)
		return mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "amountGroups: 1 to %d", ROLLOUT_STAGES_MAX);
	struct rollout_stage_request *stages = arena_array(rq->call.arena, (size_t)amount, sizeof *stages);
	for (int64_t i = 0; i < amount; i++)
		stages[i] = (struct rollout_stage_request){.name = arena_printf(rq->call.arena, "group-%lld", (long long)i + 1),
			.percent = 100.0 * (double)(i + 1) / (double)amount, .has_percent = true};
	q->stages = (struct json_objects){stages, (size_t)amount};
	return ERR_OK;
}

static enum err read_when(struct api_request *rq, const struct json *body, struct rollout_request *q)
{
	int64_t start_at = -1;
	bool dynamic = false;
	enum err e = mgmt_number(rq, body, "startAt", &start_at);
	if (e == ERR_OK)
		e = mgmt_flag(rq, body, "dynamic", &dynamic);
	if (e == ERR_OK && dynamic)
		e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "dynamic rollouts are not supported");
	if (e == ERR_OK && start_at > rq->call.now_ms)
		e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "startAt: a time to come is not supported: start it then");
	q->start = start_at >= 0;
	return e;
}

static enum err read_request(struct api_request *rq, const struct json *body, struct rollout_request *q)
{
	struct conditions c = {.success = 50, .error = 50}; /* hawkBit's defaults */
	struct delivery_input how;
	struct set_row set;
	const char *query = NULL;
	int64_t set_id = 0, amount = 0;
	enum err e = mgmt_text(rq, body, "name", &q->name);
	if (e == ERR_OK)
		e = mgmt_text(rq, body, "targetFilterQuery", &query);
	if (e == ERR_OK && (q->name == NULL || query == NULL))
		e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "name and targetFilterQuery are wanted");
	if (e == ERR_OK)
		e = mgmt_target_filter(rq, query, &q->filter);
	if (e == ERR_OK)
		e = mgmt_number(rq, body, "distributionSetId", &set_id);
	if (e == ERR_OK)
		e = modules_get_set(&rq->call, set_id, &set);
	if (e == ERR_OK)
		e = mgmt_number(rq, body, "amountGroups", &amount);
	if (e == ERR_OK)
		e = read_conditions(rq, body, &c);
	const struct json *groups = json_get(body, "groups");
	bool has_groups = groups != NULL && json_type(groups) == JSON_ARRAY && json_count(groups) > 0;
	if (e == ERR_OK)
		e = has_groups ? read_groups(rq, groups, &c, q) : split_evenly(rq, amount > 0 ? amount : 1, q);
	if (e == ERR_OK)
		e = mgmt_delivery(rq, body, &how);
	if (e == ERR_OK)
		e = read_when(rq, body, q);
	if (e != ERR_OK)
		return e;
	assignments_deliver(&rq->call, &how, q);
	q->release = set.name;
	q->success.percent = c.success;
	q->error.percent = c.error;
	q->error.min_count = 1;
	q->error.action = "pause";
	return ERR_OK;
}

struct creating {
	struct rollout_request request;
	struct rollout_planning *planning;
};

static enum err create_step(struct api_request *rq, void *state, const struct timebox *box, bool *is_done)
{
	return rollouts_plan_step(&rq->call, ((struct creating *)state)->planning, box, is_done);
}

static enum err in_their_words(struct api_request *rq, enum err e)
{
	if (rq->mgmt_error != MGMT_BY_ERR || e == ERR_OK)
		return e;
	if (strstr(rq->call.fault->detail, "incomplete") != NULL)
		return mgmt_refuse_as(rq, MGMT_INCOMPLETE, e);
	return e == ERR_CONFLICT || e == ERR_INVALID ? mgmt_refuse_as(rq, MGMT_CONSTRAINT, e) : e;
}

static enum err create_finish(struct api_request *rq, void *state)
{
	struct creating *s = state;
	struct buf text = BUF_INIT;
	struct json *doc = NULL;
	int64_t id;
	enum err e = in_their_words(rq, rollouts_plan_finish(&rq->call, s->planning, &text, &id));
	if (e == ERR_OK)
		e = json_parse(text.data, text.len, &doc, rq->call.fault);
	if (e == ERR_OK)
		e = put_rollout(rq, doc, true);
	json_free(doc);
	buf_done(&text);
	return e;
}

static void create_free(void *state)
{
	struct creating *s = state;
	rollouts_plan_free(s->planning);
	free(s);
}

static enum err create_rollout(struct api_request *rq)
{
	static const struct api_steps steps = {create_step, create_finish, create_free};
	const struct json *body;
	enum err e = mgmt_object(rq, &body);
	if (e != ERR_OK)
		return e;
	struct creating *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	rollout_request_init(&s->request);
	s->request.name = NULL;
	s->request.soak_ms = 0;
	s->request.timeout_ms = TIMEOUT_MS;
	s->request.retries = 0;
	s->request.judge.hard_stop.silent = 0;
	s->request.approval = settings_flag(rq->call.s->settings, SETTING_APPROVAL);
	e = read_request(rq, body, &s->request);
	if (e == ERR_OK)
		e = in_their_words(rq, rollouts_plan_new(&rq->call, &s->request, false, &s->planning));
	if (e == ERR_OK)
		return api_in_steps(rq, &steps, s);
	create_free(s);
	return e;
}

/* ---- doing ---- */

static const struct {
	const char *theirs;
	enum rollout_command ours;
} commands[] = {
	{"start", ROLLOUT_DO_START}, {"pause", ROLLOUT_DO_PAUSE}, {"resume", ROLLOUT_DO_RESUME}, {"approve", ROLLOUT_DO_APPROVE},
	{"deny", ROLLOUT_DO_ABORT}, {"stop", ROLLOUT_DO_ABORT}, {"retry", ROLLOUT_DO_RETRY}, {"triggerNextGroup", ROLLOUT_DO_PROMOTE},
};

static enum err act(struct api_request *rq)
{
	int64_t id;
	struct buf ignored = BUF_INIT;
	enum err e = mgmt_param(rq, 0, &id);
	size_t i = 0;
	while (i < sizeof commands / sizeof *commands && strcmp(commands[i].theirs, rq->param[1]) != 0)
		i++;
	if (e == ERR_OK && i == sizeof commands / sizeof *commands)
		e = mgmt_no_such(rq, "Action", rq->param[1]);
	if (e == ERR_OK)
		e = rollouts_act(&rq->call, id, commands[i].ours, &ignored);
	buf_done(&ignored);
	if (e == ERR_NOT_FOUND && rq->mgmt_error == MGMT_BY_ERR)
		return mgmt_no_such(rq, "Rollout", rq->param[0]);
	return e == ERR_CONFLICT || e == ERR_FORBIDDEN ? mgmt_refuse_as(rq, MGMT_ROLLOUT_STATE, e) : e;
}

/* hawkBit deletes running ones, too: they are stopped, and go when they have. */
static enum err delete_rollout(struct api_request *rq)
{
	int64_t id;
	struct buf ignored = BUF_INIT;
	enum err e = mgmt_param(rq, 0, &id);
	if (e == ERR_OK)
		e = rollouts_delete(&rq->call, id);
	if (e == ERR_CONFLICT) {
		e = rollouts_act(&rq->call, id, ROLLOUT_DO_ABORT, &ignored);
		buf_done(&ignored);
	}
	if (e == ERR_NOT_FOUND)
		return mgmt_no_such(rq, "Rollout", rq->param[0]);
	return e == ERR_CONFLICT ? mgmt_refuse_as(rq, MGMT_ROLLOUT_STATE, e) : e;
}

extern const struct route routes_mgmt_rollouts[];
const struct route routes_mgmt_rollouts[] = {
	{.method = "GET", .path = ROLLOUTS, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "rollouts, but for those of assignments (q, sort, offset, limit)",
	 .handle = list_rollouts},
	{.method = "POST", .path = ROLLOUTS, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED, .tag = "mgmt", .body_limit = 65536,
	 .summary = "makes one: amountGroups or groups, thresholds, type", .handle = create_rollout},
	{.method = "GET", .path = ROLLOUT, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "one of them", .handle = get_rollout},
	{.method = "DELETE", .path = ROLLOUT, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt",
	 .summary = "deletes it; stops it where it runs", .handle = delete_rollout},
	{.method = "POST", .path = ROLLOUT "/{command}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt", .body_limit = 65536,
	 .summary = "start, pause, resume, approve, deny, stop, retry, triggerNextGroup", .handle = act},
	{.method = "GET", .path = GROUPS, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "its groups: stages", .handle = list_groups},
	{.method = "GET", .path = GROUP, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "one of them", .handle = get_group},
	{.method = "GET", .path = GROUP "/targets", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "targets of a group", .handle = list_group_targets},
	{.method = NULL},
};

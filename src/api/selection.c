/* Which variant a device gets and why; overrides; what the fleet says about the variants of a version. */
#include <stddef.h>
#include <string.h>

#include "api/route.h"
#include "service/registry.h"
#include "service/selection.h"

#define OVERRIDE "/api/v1/devices/{device}/override"

struct override_body {
	const char *model, *variant, *reason;
};
static const struct field override_body[] = {
	{.name = "model", .type = FIELD_STR, .offset = offsetof(struct override_body, model), .min = 1, .max = 64, .flags = FIELD_REQUIRED,
	 .doc = "name of a model"},
	{.name = "variant", .type = FIELD_STR, .offset = offsetof(struct override_body, variant), .min = 1, .max = 64, .flags = FIELD_REQUIRED,
	 .doc = "the one that the device gets of each version that has it; default: the one without a name"},
	{.name = "reason", .type = FIELD_STR, .offset = offsetof(struct override_body, reason), .max = 512, .doc = "for people"},
	{.name = NULL},
};
static const struct field override_reply[] = {
	{.name = "model", .type = FIELD_STR, .doc = "name of the model"},
	{.name = "variant", .type = FIELD_STR, .doc = "what the device gets"},
	{.name = "reason", .type = FIELD_STR, .doc = "for people"},
	{.name = "made_by", .type = FIELD_STR, .doc = "who asked for it"},
	{.name = "made_at", .type = FIELD_INT, .doc = "when"},
	{.name = NULL},
};
static const struct field explained_variant[] = {
	{.name = "variant", .type = FIELD_STR, .doc = "default: it has no name"},
	{.name = "artifact", .type = FIELD_INT, .doc = "its number"},
	{.name = "hardware", .type = FIELD_STR, .doc = "class that the artifact is for"},
	{.name = "size_bytes", .type = FIELD_NUM, .doc = "of its files"},
	{.name = "fate", .type = FIELD_STR, .doc = "chosen, dominated, costlier, tie, better, incompatible, unknown, quality_low, quality_unknown, too_slow, ..."},
	{.name = "other", .type = FIELD_STR, .doc = "the variant that it lost to"},
	{.name = "why", .type = FIELD_STR, .doc = "one sentence, with figures and where they come from"},
	{.name = "incompatible", .type = FIELD_STR, .doc = "why the device cannot run it"},
	{.name = "installed", .type = FIELD_BOOL, .doc = "the device runs it"},
	{.name = "figures", .type = FIELD_ANY, .doc = "by name: value, source (device, class, declared, published, macs), context, devices, samples, age_ms"},
	{.name = NULL},
};
static const struct field explained_component[] = {
	{.name = "model", .type = FIELD_STR, .doc = "name"},
	{.name = "version", .type = FIELD_STR, .doc = "of the release"},
	{.name = "chosen", .type = FIELD_STR, .flags = FIELD_NULLABLE, .doc = "what the device would get now; null: nothing serves"},
	{.name = "why", .type = FIELD_STR, .doc = "best, installed and best, kept: the gain is too small, ..."},
	{.name = "best", .type = FIELD_STR, .doc = "without regard to what is installed; absent: the chosen one"},
	{.name = "gain", .type = FIELD_NUM, .doc = "share of the cost that the best saves over what is installed"},
	{.name = "handed_out", .type = FIELD_STR, .doc = "what the device's last deployment of the release chose; absent: there is none"},
	{.name = "override", .type = FIELD_ANY, .doc = "variant, reason, made_by, made_at, there_is_such; absent: none"},
	{.name = "omitted", .type = FIELD_INT, .doc = "variants that are too many to be looked at"},
	{.name = "variants", .type = FIELD_OBJECTS, .fields = explained_variant, .doc = "all of the device's hardware"},
	{.name = NULL},
};
static const struct field explain_reply[] = {
	{.name = "device", .type = FIELD_STR, .doc = "its id"},
	{.name = "hardware", .type = FIELD_STR, .doc = "its class"},
	{.name = "release", .type = FIELD_STR, .doc = "which one is explained"},
	{.name = "context", .type = FIELD_STR, .doc = "normal, or hot, low_battery, bad_link joined by +"},
	{.name = "objective", .type = FIELD_DOC, .doc = "what the release wants; absent: latency, then energy, then size"},
	{.name = "components", .type = FIELD_OBJECTS, .fields = explained_component, .doc = "its models"},
	{.name = NULL},
};
static const struct field report_variant[] = {
	{.name = "variant", .type = FIELD_STR, .doc = "name"},
	{.name = "eligible_devices", .type = FIELD_INT, .doc = "that it would serve"},
	{.name = "chosen_devices", .type = FIELD_INT, .doc = "that would get it"},
	{.name = "dominated_devices", .type = FIELD_INT, .doc = "for which another one is nowhere worse and somewhere better"},
	{.name = "dominated_by", .type = FIELD_STRS, .doc = "those others"},
	{.name = "retire", .type = FIELD_BOOL, .doc = "eligible somewhere, dominated wherever it is, chosen nowhere"},
	{.name = NULL},
};
static const struct field report_class[] = {
	{.name = "hardware", .type = FIELD_STR, .doc = "class of devices"},
	{.name = "devices", .type = FIELD_INT, .doc = "how many"},
	{.name = "served_devices", .type = FIELD_INT, .doc = "for which there is a variant"},
	{.name = "poor_devices", .type = FIELD_INT, .doc = "of them, above what the release wishes"},
	{.name = "reasons", .type = FIELD_ANY, .doc = "by variant: devices by what became of it"},
	{.name = "build", .type = FIELD_STR, .doc = "what to build next; absent: all are served well"},
	{.name = NULL},
};
static const struct field report_move[] = {
	{.name = "hardware", .type = FIELD_STR, .doc = "class of devices"},
	{.name = "from", .type = FIELD_STR, .doc = "what they run"},
	{.name = "to", .type = FIELD_STR, .doc = "what they would get by the next rollout of this version"},
	{.name = "devices", .type = FIELD_INT, .doc = "how many"},
	{.name = NULL},
};
static const struct field report_reply[] = {
	{.name = "model", .type = FIELD_STR, .doc = "name"},
	{.name = "version", .type = FIELD_STR, .doc = "of the model"},
	{.name = "release", .type = FIELD_STR, .doc = "whose objective and artifacts count"},
	{.name = "devices", .type = FIELD_INT, .doc = "that have variants for their hardware, or run the model"},
	{.name = "other_devices", .type = FIELD_INT, .doc = "neither"},
	{.name = "overridden", .type = FIELD_INT, .doc = "devices with an override"},
	{.name = "variants", .type = FIELD_OBJECTS, .fields = report_variant, .doc = "what became of each"},
	{.name = "classes", .type = FIELD_OBJECTS, .fields = report_class, .doc = "how each is served"},
	{.name = "moves", .type = FIELD_OBJECTS, .fields = report_move, .doc = "installed variants that figures of today would not choose"},
	{.name = NULL},
};

static const struct route_query explain_query[] = {
	{"release", "Name of a release; the one that the device is to run when absent."},
	{0},
};
static const struct route_query model_query[] = {
	{"model", "Name of the model."},
	{0},
};
static const struct route_query report_query[] = {
	{"release", "Name of a release with this version; its newest one when absent."},
	{0},
};

static enum err find_device(struct api_request *rq, struct device_state **d)
{
	*d = registry_find(rq->call.s->registry, rq->param[0]);
	return *d != NULL ? ERR_OK : fault_set(rq->call.fault, ERR_NOT_FOUND, "", "no device has this id");
}

static enum err explain(struct api_request *rq)
{
	struct device_state *d;
	enum err e = find_device(rq, &d);
	return e == ERR_OK ? selection_explain(&rq->call, d, api_query(rq, "release"), &rq->out) : e;
}

static enum err list_overrides(struct api_request *rq)
{
	struct device_state *d;
	enum err e = find_device(rq, &d);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	e = selection_overrides(&rq->call, d, &rq->out);
	api_list_close(rq, NULL, -1);
	return e;
}

static enum err put_override(struct api_request *rq)
{
	const struct override_body *b = rq->body;
	struct device_state *d;
	enum err e = find_device(rq, &d);
	return e == ERR_OK ? selection_override(&rq->call, d, b->model, b->variant, b->reason, &rq->out) : e;
}

static enum err delete_override(struct api_request *rq)
{
	struct device_state *d;
	const char *model = api_query(rq, "model");
	enum err e = find_device(rq, &d);
	if (e == ERR_OK && model == NULL)
		e = fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "query parameter model is expected");
	return e == ERR_OK ? selection_end_override(&rq->call, d, model) : e;
}

/* ---- the report of a version ---- */

static enum err report_step(struct api_request *rq, void *state, const struct timebox *box, bool *is_done)
{
	return selection_survey_step(&rq->call, state, box, is_done);
}

static enum err report_finish(struct api_request *rq, void *state)
{
	return selection_survey_write(&rq->call, state, &rq->out);
}

static void report_free(void *state)
{
	selection_survey_free(state);
}

static enum err report(struct api_request *rq)
{
	static const struct api_steps steps = {report_step, report_finish, report_free};
	struct selection_survey *survey;
	enum err e = selection_survey_new(&rq->call, rq->param[0], rq->param[1], api_query(rq, "release"), &survey);
	return e == ERR_OK ? api_in_steps(rq, &steps, survey) : e;
}

const struct route routes_selection[] = {
	{.method = "GET", .path = "/api/v1/devices/{device}/explain", .role = ROLE_VIEWER, .tag = "selection",
	 .summary = "Why the device gets which variant of a release", .reply = explain_reply, .query = explain_query, .handle = explain},
	{.method = "GET", .path = OVERRIDE, .role = ROLE_VIEWER, .tag = "selection", .summary = "Variants that operators asked for on the device",
	 .reply = override_reply, .reply_is_list = true, .handle = list_overrides},
	{.method = "PUT", .path = OVERRIDE, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "selection",
	 .summary = "Ask for one variant of a model on the device, from its next deployment on", .body = override_body,
	 .body_bytes = sizeof(struct override_body), .reply = override_reply, .handle = put_override},
	{.method = "DELETE", .path = OVERRIDE, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "selection",
	 .summary = "End such a wish", .query = model_query, .handle = delete_override},
	{.method = "GET", .path = "/api/v1/models/{model}/versions/{version}/report", .role = ROLE_VIEWER, .tag = "selection",
	 .summary = "Which variants could be retired, and what to build next, by what the fleet measured", .reply = report_reply, .query = report_query,
	 .handle = report},
	{.method = NULL},
};

/* /models/{model}/offload: what of a model may go to an operator's endpoint, and what comes of it. */
#include <math.h>
#include <stddef.h>

#include "api/route.h"
#include "service/offloading.h"

#define AT(member) .offset = offsetof(struct offload_input, member)
static const struct field policy_body[] = {
	{.name = "endpoint", .type = FIELD_STR, AT(endpoint), .min = 9, .max = 255, .flags = FIELD_REQUIRED, .doc = "URL of the operator, https."},
	{.name = "target_rate", .type = FIELD_NUM, AT(target_rate), .min = 0, .max = 1, .flags = FIELD_REQUIRED,
	 .doc = "Share of inferences to send; the margins of classes are fitted to it."},
	{.name = "margin", .type = FIELD_NUM, AT(margin), .min = 0, .max = 1,
	 .doc = "Where a class begins (0.1): below it an inference is hard. In steps of 1/10000."},
	{.name = "audit", .type = FIELD_NUM, AT(audit), .min = 0, .max = 1, .doc = "Share of the sure inferences that is sent all the same (0.01)."},
	{.name = "link", .type = FIELD_ENUM, AT(link), .choices = "bad metered good", .doc = "The least that will do (metered)."},
	{.name = "rssi_dbm", .type = FIELD_INT, AT(rssi_dbm), .present_offset = offsetof(struct offload_input, has_rssi), .min = -150, .max = 0,
	 .flags = FIELD_NULLABLE, .doc = "Least signal strength; absent: any."},
	{.name = "rate_kbps", .type = FIELD_INT, AT(rate_kbps), .min = 0, .max = 1000000000, .doc = "Least rate of the link, kbit/s (0: any)."},
	{.name = "battery_percent", .type = FIELD_INT, AT(battery_percent), .min = 0, .max = 100, .doc = "Least charge (0: any)."},
	{.name = "budget", .type = FIELD_INT, AT(budget), .min = 0, .max = 2000000000, .doc = "Of each device, in budget_unit (60); it comes back evenly."},
	{.name = "budget_unit", .type = FIELD_ENUM, AT(budget_unit), .choices = "per_hour per_day bytes_per_hour bytes_per_day",
	 .doc = "Inferences or bytes, for an hour or a day (per_hour)."},
	{.name = "fit_every_ms", .type = FIELD_INT, AT(fit_every_ms), .min = 1000, .max = 2592000000, .doc = "A margin changes at most so often (600000)."},
	{.name = "rate_max", .type = FIELD_NUM, AT(rate_max), .min = 0, .max = 1, .flags = FIELD_NULLABLE,
	 .doc = "Alert offload.rate: more than this share is sent, audits counted."},
	{.name = "agreement_min", .type = FIELD_NUM, AT(agreement_min), .min = 0, .max = 1, .flags = FIELD_NULLABLE,
	 .doc = "Alert offload.agreement: the endpoint agrees with less than this share of audits."},
	{.name = "agreement_max", .type = FIELD_NUM, AT(agreement_max), .min = 0, .max = 1, .flags = FIELD_NULLABLE,
	 .doc = "Alert offload.agreement: it agrees with more than this share of hard ones, so that sending them buys nothing."},
	{.name = "cost_max", .type = FIELD_NUM, AT(cost_max), .min = 0, .max = 1000000000, .flags = FIELD_NULLABLE,
	 .doc = "Mean cost of an inference, sent or not: lowers the target; alert offload.cost where that does not help."},
	{.name = NULL},
};
#undef AT

static const struct field class_reply[] = {
	{.name = "hardware", .type = FIELD_STR, .doc = "Hardware class."},
	{.name = "version", .type = FIELD_STR, .doc = "Of the model."},
	{.name = "margin", .type = FIELD_NUM, .doc = "That is distributed."},
	{.name = "rev", .type = FIELD_INT, .doc = "Of this margin; devices say which one they have."},
	{.name = "since", .type = FIELD_INT, .doc = "When it was made; the figures are of reports with it."},
	{.name = "fits", .type = FIELD_INT, .doc = "How often the margin was changed."},
	{.name = "fitted_at", .type = FIELD_INT, .doc = "When it was looked at last."},
	{.name = "why", .type = FIELD_ENUM, .choices = "wait stays quantile step cost", .doc = "What came of that (docs/models.md)."},
	{.name = "inferences", .type = FIELD_INT, .doc = "Of all devices of the class. Like all figures it fades: halved each hour."},
	{.name = "sent", .type = FIELD_INT, .doc = "Hard ones that were sent."},
	{.name = "kept", .type = FIELD_INT, .doc = "Hard ones that link, battery or budget kept at the device."},
	{.name = "audited", .type = FIELD_INT, .doc = "Sure ones that were sent."},
	{.name = "hard_rate", .type = FIELD_NUM, .doc = "(sent + kept) / inferences: what is fitted to the target."},
	{.name = "rate", .type = FIELD_NUM, .doc = "sent / inferences."},
	{.name = "kept_rate", .type = FIELD_NUM, .doc = "kept / inferences."},
	{.name = "agreement", .type = FIELD_NUM, .doc = "Share of hard ones where the endpoint said what the device said."},
	{.name = "sure_agreement", .type = FIELD_NUM, .doc = "Share of audits, likewise."},
	{.name = "cost", .type = FIELD_NUM, .doc = "Sum, in the operator's unit."},
	{.name = "cost_per_inference", .type = FIELD_NUM, .doc = "cost / inferences."},
	{.name = "cost_per_sent", .type = FIELD_NUM, .doc = "cost / (sent + audited)."},
	{.name = "alerts", .type = FIELD_STRS, .doc = "Kinds of alerts that are open."},
	{.name = NULL},
};

static const struct field policy_reply[] = {
	{.name = "model", .type = FIELD_STR, .doc = "Name of the model."},
	{.name = "endpoint", .type = FIELD_STR, .doc = "URL."},
	{.name = "target_rate", .type = FIELD_NUM, .doc = "Share of inferences to send."},
	{.name = "margin", .type = FIELD_NUM, .doc = "Where a class begins."},
	{.name = "audit", .type = FIELD_NUM, .doc = "Share of sure ones that is sent."},
	{.name = "link", .type = FIELD_ENUM, .choices = "bad metered good", .doc = "The least that will do."},
	{.name = "rssi_dbm", .type = FIELD_INT, .doc = "Least signal strength; absent: any."},
	{.name = "rate_kbps", .type = FIELD_INT, .doc = "Least rate of the link."},
	{.name = "battery_percent", .type = FIELD_INT, .doc = "Least charge."},
	{.name = "budget", .type = FIELD_INT, .doc = "Of each device."},
	{.name = "budget_unit", .type = FIELD_ENUM, .choices = "per_hour per_day bytes_per_hour bytes_per_day", .doc = "Of the budget."},
	{.name = "fit_every_ms", .type = FIELD_INT, .doc = "A margin changes at most so often."},
	{.name = "rate_max", .type = FIELD_NUM, .doc = "Bound; absent: not watched."},
	{.name = "agreement_min", .type = FIELD_NUM, .doc = "Bound; absent: not watched."},
	{.name = "agreement_max", .type = FIELD_NUM, .doc = "Bound; absent: not watched."},
	{.name = "cost_max", .type = FIELD_NUM, .doc = "Bound; absent: not watched."},
	{.name = "revision", .type = FIELD_INT, .doc = "Grows with each change by an operator; the ETag."},
	{.name = "created_at", .type = FIELD_INT, .doc = "When it was set first."},
	{.name = "updated_at", .type = FIELD_INT, .doc = "When it was set last."},
	{.name = "classes", .type = FIELD_OBJECTS, .fields = class_reply, .doc = "What came of it, by hardware class and version."},
	{.name = NULL},
};

static void init_body(void *body)
{
	offload_input_init(body);
}

static enum err show(struct api_request *rq)
{
	return offloading_show(&rq->call, rq->param[0], &rq->out, &rq->etag_revision);
}

static enum err set(struct api_request *rq)
{
	enum err e = offloading_set(&rq->call, rq->param[0], rq->body);
	return e == ERR_OK ? show(rq) : e;
}

static enum err drop(struct api_request *rq)
{
	return offloading_remove(&rq->call, rq->param[0]);
}

#define OFFLOAD "/api/v1/models/{model}/offload"

extern const struct route routes_offloading[];
const struct route routes_offloading[] = {
	{.method = "GET", .path = OFFLOAD, .role = ROLE_VIEWER, .flags = ROUTE_LIVE, .tag = "models",
	 .summary = "Show a model's policy of offloading, with margins, rates, agreement and cost by class", .reply = policy_reply, .handle = show},
	{.method = "PUT", .path = OFFLOAD, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "models",
	 .summary = "Set a model's policy of offloading; margins that were fitted stay", .body = policy_body, .body_bytes = sizeof(struct offload_input),
	 .body_init = init_body, .reply = policy_reply, .handle = set},
	{.method = "DELETE", .path = OFFLOAD, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "models",
	 .summary = "Remove it: nothing of the model is offloaded any more", .handle = drop},
	{.method = NULL},
};

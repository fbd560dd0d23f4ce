#include "service/ingest.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "core/report.h"
#include "core/telemetry.h"
#include "service/commands.h"
#include "service/health.h"
#include "service/registry.h"
#include "service/rollouts.h"
#include "service/running_hash.h"
#include "service/telemetry.h"
#include "service/unit.h"

#define SAMPLES_KEPT 32
#define CLOCK_WRONG_MS 86400000
#define MINUTE_MS 60000
#define DEPLOYMENT_PREFIX "d-"

/* Thousandths of a message that a device may still send now. */
struct bucket {
	int64_t tokens, last_ms;
};
struct device_flood { /* device_state.ingest_state */
	struct bucket reports, commands;
};

struct ingest {
	struct services *s;
	struct ingest_counters counters;
	struct telemetry_message message; /* workspace */
	struct device_report report;      /* workspace */
	struct ingest_sample samples[SAMPLES_KEPT];
	size_t sample_first, sample_count;
	int64_t sample_minute, sampled;
};

static const char *const refusal_names[INGEST_REFUSAL_COUNT] = {
#define X(name, text) [INGEST_##name] = text,
	INGEST_REFUSALS(X)
#undef X
};

const char *ingest_refusal_name(enum ingest_refusal r)
{
	return refusal_names[r];
}

void ingest_limits_init(struct ingest_limits *l)
{
	*l = (struct ingest_limits){
		.reports_per_second = 20,
		.reports_burst = 2000, /* a day of reports a minute that waited in a device */
		.commands_per_second = 5,
		.commands_burst = 50,
		.metrics_max = 1000,
		.versions_max = 10000,
		.batch_reports = 2000,
		.batch_window_ms = 20,
		.samples_per_minute = 10,
	};
}

/* ---- opening ---- */

static void forget(void *ctx, struct device_state *d)
{
	struct ingest *i = ctx;
	free(d->ingest_state);
	d->ingest_state = NULL;
	telemetry_forget_device(i->s->telemetry, d->row);
	if (i->s->commands != NULL)
		commands_forget(i->s->commands, d);
	if (i->s->health != NULL)
		health_forget(i->s->health, d);
}

static bool is_known(void *ctx, int64_t device)
{
	return registry_by_row(((struct ingest *)ctx)->s->registry, device) != NULL;
}

struct ingest *ingest_open(struct services *s, struct fault *f)
{
	(void)f;
	struct ingest *i = calloc(1, sizeof *i);
	if (i == NULL)
		abort();
	i->s = s;
	registry_on_forget(s->registry, forget, i);
	telemetry_forget_unknown(s->telemetry, is_known, i);
	return i;
}

void ingest_close(struct ingest *i)
{
	if (i == NULL)
		return;
	uint32_t at = 0;
	for (struct device_state *d; (d = registry_each(i->s->registry, &at)) != NULL;) {
		free(d->ingest_state);
		d->ingest_state = NULL;
	}
	registry_on_forget(i->s->registry, NULL, NULL);
	free(i);
}

const struct ingest_counters *ingest_counters(const struct ingest *i)
{
	return &i->counters;
}

/* ---- refusing ---- */

static void refuse(struct ingest *i, int64_t now_ms, enum ingest_refusal reason, const char *device, const char *detail)
{
	i->counters.refused[reason]++;
	if (reason == INGEST_DUPLICATE)
		return; /* normal */
	if (i->sample_minute != now_ms / MINUTE_MS) {
		i->sample_minute = now_ms / MINUTE_MS;
		i->sampled = 0;
	}
	if (i->sample_count == SAMPLES_KEPT || i->sampled >= i->s->limits->samples_per_minute)
		return;
	struct ingest_sample *sample = &i->samples[(i->sample_first + i->sample_count++) % SAMPLES_KEPT];
	i->sampled++;
	sample->reason = reason;
	str_copy(sample->device, sizeof sample->device, device);
	str_copy(sample->detail, sizeof sample->detail, detail);
}

bool ingest_next_sample(struct ingest *i, struct ingest_sample *out)
{
	if (i->sample_count == 0)
		return false;
	*out = i->samples[i->sample_first];
	i->sample_first = (i->sample_first + 1) % SAMPLES_KEPT;
	i->sample_count--;
	return true;
}

static bool take(struct bucket *b, int64_t per_second, int64_t burst, int64_t now_ms)
{
	if (per_second == 0)
		return true;
	int64_t passed = now_ms - b->last_ms;
	if (b->last_ms == 0 || passed > burst * 1000 / per_second)
		b->tokens = burst * 1000;
	else if (passed > 0) /* a clock that goes back gives nothing */
		b->tokens += passed * per_second;
	if (b->tokens > burst * 1000)
		b->tokens = burst * 1000;
	b->last_ms = now_ms;
	if (b->tokens < 1000)
		return false;
	b->tokens -= 1000;
	return true;
}

static struct device_flood *flood_of(struct device_state *d)
{
	if (d->ingest_state == NULL) {
		d->ingest_state = calloc(1, sizeof(struct device_flood));
		if (d->ingest_state == NULL)
			abort();
	}
	return d->ingest_state;
}

/* ---- telemetry ---- */

static enum ingest_refusal refusal_of(enum telemetry_error e)
{
	return e == TELEMETRY_MESSAGE_TOO_LARGE || e == TELEMETRY_REPORT_TOO_LARGE ? INGEST_TOO_LARGE : INGEST_MALFORMED;
}

static void refuse_malformed(struct ingest *i, int64_t now_ms, const char *device)
{
	const struct telemetry_message *m = &i->message;
	char detail[160];
	if (m->error != TELEMETRY_OK) {
		snprintf(detail, sizeof detail, "message, byte %zu: %s", m->error_at, telemetry_error_text(m->error));
		i->counters.malformed[m->error]++;
		refuse(i, now_ms, refusal_of(m->error), device, detail);
	}
	for (unsigned k = 0; k < m->reject_count; k++) {
		const struct telemetry_reject *r = &m->rejects[k];
		snprintf(detail, sizeof detail, "report %u, byte %zu: %s%s%.*s", r->index, r->at, telemetry_error_text(r->reason), r->member.len > 0 ? ": " : "",
		         (int)(r->member.len < 48 ? r->member.len : 48), r->member.len > 0 ? r->member.data : "");
		i->counters.malformed[r->reason]++;
		refuse(i, now_ms, refusal_of(r->reason), device, detail);
	}
}

/* "d-184" is 184; 0 for anything else, as no deployment has that number. */
static int64_t deployment_number(struct slice id)
{
	const size_t prefix = sizeof DEPLOYMENT_PREFIX - 1;
	if (id.len <= prefix || id.len > 20 || memcmp(id.data, DEPLOYMENT_PREFIX, prefix) != 0)
		return 0;
	int64_t n = 0;
	for (size_t at = prefix; at < id.len; at++) {
		if (id.data[at] < '0' || id.data[at] > '9')
			return 0;
		n = n * 10 + (id.data[at] - '0');
	}
	return n;
}

/* Reports that waited in a device may be of a shadow that ended long ago: as pairs of the one that runs now they would be judged with it. */
static void check_shadow(struct ingest *i, const struct device_state *d, struct telemetry_report *r, struct metric_value room[TELEMETRY_METRICS],
	int64_t now_ms)
{
	if (r->shadow.len == 0 || (d->deployment != 0 && deployment_number(r->shadow) == d->deployment))
		return;
	refuse(i, now_ms, INGEST_SHADOW, d->id, "metrics of a release in shadow that this device is not to run");
	telemetry_drop_shadow(r, room);
}

static void take_report(struct ingest *i, struct device_state *d, struct telemetry_report *r, int64_t now_ms)
{
	const struct ingest_limits *l = i->s->limits;
	struct metric_value room[TELEMETRY_METRICS];
	unsigned points;
	if (!take(&flood_of(d)->reports, l->reports_per_second, l->reports_burst, now_ms)) {
		refuse(i, now_ms, INGEST_FLOOD, d->id, "more reports than one device may send");
		return;
	}
	check_shadow(i, d, r, room, now_ms);
	enum telemetry_admission a = telemetry_admit(i->s->telemetry, d->row, r, now_ms, l, &points);
	if (a == TELEMETRY_REPEATED) {
		refuse(i, now_ms, INGEST_DUPLICATE, d->id, "");
		return;
	}
	if (a == TELEMETRY_NAMELESS)
		refuse(i, now_ms, INGEST_NAMES, d->id, "a metric or version was left out: the table of names is full");
	i->counters.reports++;
	i->counters.points += points;
	if (r->has_ts && (r->ts_ms < now_ms - CLOCK_WRONG_MS || r->ts_ms > now_ms + CLOCK_WRONG_MS))
		i->counters.clock_wrong++;
}

void ingest_telemetry(struct call *c, const char *device_id, const char *payload, size_t len)
{
	struct ingest *i = c->s->ingest;
	i->counters.messages++;
	struct device_state *d = registry_find(c->s->registry, device_id);
	if (d == NULL) {
		refuse(i, c->now_ms, INGEST_UNKNOWN_DEVICE, device_id, "telemetry of a device that is not registered");
		return;
	}
	registry_seen(c->s->registry, d, c->now_ms);
	if (!telemetry_parse(&i->message, payload, len))
		refuse_malformed(i, c->now_ms, d->id);
	for (unsigned k = 0; k < i->message.report_count; k++)
		take_report(i, d, &i->message.reports[k], c->now_ms);
}

/* ---- commands ---- */

static void refuse_fault(struct call *c, enum ingest_refusal reason, const char *device)
{
	char detail[160];
	bool has_pointer = c->fault->pointer[0] != '\0';
	snprintf(detail, sizeof detail, "%.60s%s%.90s", c->fault->pointer, has_pointer ? ": " : "", c->fault->detail);
	refuse(c->s->ingest, c->now_ms, reason, device, detail);
}

static bool take_command(struct call *c, struct device_state *d)
{
	const struct ingest_limits *l = c->s->limits;
	if (d == NULL || take(&flood_of(d)->commands, l->commands_per_second, l->commands_burst, c->now_ms))
		return true;
	refuse(c->s->ingest, c->now_ms, INGEST_FLOOD, d->id, "more messages than one device may send");
	return false;
}

enum err ingest_status(struct call *c, const char *device_id, const char *payload, size_t len)
{
	struct device_status status;
	struct ingest *i = c->s->ingest;
	if (len == 0)
		return ERR_OK; /* the retained message of a deleted device, erased */
	enum err e = status_parse(&status, payload, len, c->fault);
	if (e != ERR_OK) {
		refuse_fault(c, e == ERR_TOO_LARGE ? INGEST_TOO_LARGE : INGEST_MALFORMED, device_id);
		return ERR_OK;
	}
	struct device_state *d = registry_find(c->s->registry, device_id);
	if (d == NULL) {
		refuse(i, c->now_ms, INGEST_UNKNOWN_DEVICE, device_id, "status of a device that is not registered");
		return ERR_OK;
	}
	registry_set_online(c->s->registry, d, status.online, c->now_ms);
	if (status.online && c->s->commands != NULL)
		commands_tell(c->s->commands, d);
	i->counters.commands++;
	return ERR_OK;
}

/* One report inside its unit of work. *refusal says what a refusal is to be counted as. */
static enum err apply_report(struct call *c, const char *device_id, struct device_state *d, const struct device_report *r, enum ingest_refusal *refusal)
{
	bool is_new = false, was_known = d != NULL;
	*refusal = INGEST_ENROLMENT;
	enum err e = r->has_enrol ? registry_enrol(c, device_id, r, &d) : ERR_OK;
	if (e != ERR_OK)
		return e;
	*refusal = INGEST_MALFORMED;
	registry_seen(c->s->registry, d, c->now_ms);
	if (!was_known)
		registry_set_online(c->s->registry, d, true, c->now_ms); /* its status came before it was known */
	const char *before;
	e = running_hash_before(c, d, r, &before);
	if (e == ERR_OK)
		e = registry_apply_report(c, d, r, &is_new);
	if (e == ERR_OK && is_new)
		e = running_hash_check(c, d, r, before);
	if (e == ERR_OK && is_new && r->has_deployment)
		e = rollouts_on_progress(c, d->row, deployment_number((struct slice){r->deployment.id, strlen(r->deployment.id)}), r->deployment.attempt,
		                         report_state_text(r->deployment.state), r->deployment.progress, r->deployment.reason);
	if (e == ERR_OK && !is_new)
		refuse(c->s->ingest, c->now_ms, INGEST_DUPLICATE, device_id, "");
	return e;
}

static bool is_of_the_database(enum err e)
{
	return e == ERR_FULL || e == ERR_UNAVAILABLE;
}

/* What failed by the report's own fault is refused and acknowledged; else it would come for ever. */
static enum err conclude(struct call *c, const char *device_id, enum err e, enum ingest_refusal refusal)
{
	if (e == ERR_OK)
		c->s->ingest->counters.commands++;
	else
		refuse_fault(c, is_of_the_database(e) || e == ERR_INTERNAL ? INGEST_INTERNAL : refusal, device_id);
	return is_of_the_database(e) ? e : ERR_OK;
}

enum err ingest_report(struct call *c, const char *device_id, const char *payload, size_t len)
{
	struct ingest *i = c->s->ingest;
	struct device_report *r = &i->report;
	enum err e = report_parse(r, payload, len, c->fault);
	if (e != ERR_OK)
		return conclude(c, device_id, e, e == ERR_TOO_LARGE ? INGEST_TOO_LARGE : INGEST_MALFORMED);
	struct device_state *d = registry_find(c->s->registry, device_id);
	if (d == NULL && !r->has_enrol) {
		refuse(i, c->now_ms, INGEST_UNKNOWN_DEVICE, device_id, "report of a device that is not registered");
		return ERR_OK;
	}
	if (!take_command(c, d))
		return ERR_OK;
	struct principal who = {.role = ROLE_ENROL};
	snprintf(who.name, sizeof who.name, "device:%s", device_id);
	struct call mine = *c;
	mine.who = &who;
	enum ingest_refusal refusal = INGEST_INTERNAL;
	e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, apply_report(&mine, device_id, d, r, &refusal), c->fault);
	return conclude(c, device_id, e, refusal);
}

enum err ingest_answer(struct call *c, const char *device_id, const char *payload, size_t len)
{
	struct command_answer answer;
	enum err e = answer_parse(&answer, payload, len, c->fault);
	if (e != ERR_OK)
		return conclude(c, device_id, e, e == ERR_TOO_LARGE ? INGEST_TOO_LARGE : INGEST_MALFORMED);
	struct device_state *d = registry_find(c->s->registry, device_id);
	if (d == NULL) {
		refuse(c->s->ingest, c->now_ms, INGEST_UNKNOWN_DEVICE, device_id, "answer of a device that is not registered");
		return ERR_OK;
	}
	if (!take_command(c, d))
		return ERR_OK;
	registry_seen(c->s->registry, d, c->now_ms);
	e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, commands_answered(c, d, &answer), c->fault);
	return conclude(c, device_id, e, INGEST_ANSWER);
}

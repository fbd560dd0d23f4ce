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
#include "service/refusals.h"
#include "service/registry.h"
#include "service/rollouts.h"
#include "service/running_hash.h"
#include "service/telemetry_inside.h"
#include "service/unit.h"

#define SAMPLES_KEPT 32
#define CLOCK_WRONG_MS 86400000
#define MINUTE_MS 60000
#define DEPLOYMENT_PREFIX "d-"
#define DAY_MS 86400000
#define OUTDATED_MS 900000 /* so long nothing but numbers that were there: what waited in broker or device is through by then */
#define OUTDATED_GAP_MS 7200000 /* a device that is away for longer may begin with what it sent before */

/* Thousandths of a message that a device may still send now. */
struct bucket {
	int64_t tokens, last_ms;
};
/* Of the few devices of which something was refused, or that brought names. */
struct device_odd {
	struct refusal_note note;
	int64_t names_ms, names;  /* new ones since then, within a day */
	int64_t outdated_ms;      /* since when nothing came but outdated reports; 0: not so */
	int64_t outdated_last_ms; /* the newest of them */
};
struct device_flood { /* device_state.ingest_state */
	struct bucket reports, commands;
	struct device_odd *odd; /* NULL: none */
};

struct ingest {
	struct services *s;
	struct ingest_counters counters;
	struct telemetry_message message; /* workspace */
	struct device_report report;      /* workspace */
	struct ingest_sample samples[SAMPLES_KEPT];
	size_t sample_first, sample_count;
	int64_t sample_minute, sampled;
	struct refusals *refusals;
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
		.new_names = 64,
		.batch_reports = 2000,
		.batch_window_ms = 20,
		.samples_per_minute = 10,
	};
}

/* ---- opening ---- */

static void free_flood(struct device_state *d)
{
	struct device_flood *flood = d->ingest_state;
	if (flood != NULL)
		free(flood->odd);
	free(flood);
	d->ingest_state = NULL;
}

static void forget(void *ctx, struct device_state *d)
{
	struct ingest *i = ctx;
	free_flood(d);
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
	i->refusals = refusals_new();
	registry_on_forget(s->registry, forget, i);
	telemetry_forget_unknown(s->telemetry, is_known, i);
	return i;
}

void ingest_close(struct ingest *i)
{
	if (i == NULL)
		return;
	uint32_t at = 0;
	for (struct device_state *d; (d = registry_each(i->s->registry, &at)) != NULL;)
		free_flood(d);
	registry_on_forget(i->s->registry, NULL, NULL);
	refusals_free(i->refusals);
	free(i);
}

const struct ingest_counters *ingest_counters(const struct ingest *i)
{
	return &i->counters;
}

/* ---- refusing ---- */

static void *zeroed(size_t size)
{
	void *p = calloc(1, size);
	if (p == NULL)
		abort();
	return p;
}

static struct device_flood *flood_of(struct device_state *d)
{
	if (d->ingest_state == NULL)
		d->ingest_state = zeroed(sizeof(struct device_flood));
	return d->ingest_state;
}

static struct device_odd *odd_of(struct device_state *d)
{
	struct device_flood *flood = flood_of(d);
	if (flood->odd == NULL)
		flood->odd = zeroed(sizeof *flood->odd);
	return flood->odd;
}

/* What a device does wrong, and its owner does not see. The others are normal, somebody else's, or ours. */
static bool is_devices_own(enum ingest_refusal reason)
{
	return reason == INGEST_TOO_LARGE || reason == INGEST_MALFORMED || reason == INGEST_FLOOD || reason == INGEST_NAMES ||
	       reason == INGEST_NEW_NAMES || reason == INGEST_OUTDATED;
}

static void note_device(struct ingest *i, int64_t now_ms, enum ingest_refusal reason, const char *device, const char *detail)
{
	struct device_state *d = is_devices_own(reason) ? registry_find(i->s->registry, device) : NULL;
	bool is_lasting = reason == INGEST_NAMES || reason == INGEST_NEW_NAMES || reason == INGEST_OUTDATED;
	if (d != NULL)
		refusals_note(i->refusals, &odd_of(d)->note, d->row, reason, detail, is_lasting, now_ms);
}

static void sample(struct ingest *i, int64_t now_ms, enum ingest_refusal reason, const char *device, const char *detail)
{
	if (i->sample_minute != now_ms / MINUTE_MS) {
		i->sample_minute = now_ms / MINUTE_MS;
		i->sampled = 0;
	}
	if (i->sample_count == SAMPLES_KEPT || i->sampled >= i->s->limits->samples_per_minute)
		return;
	struct ingest_sample *to = &i->samples[(i->sample_first + i->sample_count++) % SAMPLES_KEPT];
	i->sampled++;
	to->reason = reason;
	str_copy(to->device, sizeof to->device, device);
	str_copy(to->detail, sizeof to->detail, detail);
}

static void refuse(struct ingest *i, int64_t now_ms, enum ingest_refusal reason, const char *device, const char *detail)
{
	i->counters.refused[reason]++;
	if (reason == INGEST_DUPLICATE)
		return; /* normal */
	sample(i, now_ms, reason, device, detail);
	note_device(i, now_ms, reason, device, detail);
}

enum err ingest_tell_refused(struct call *c, const struct timebox *box, bool *more)
{
	return refusals_tick(c, c->s->ingest->refusals, box, more);
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

/* ---- names ---- */

/* How many names this device may bring today. */
static int64_t names_left(const struct device_state *d, const struct ingest_limits *l, int64_t now_ms)
{
	const struct device_flood *flood = d->ingest_state;
	const struct device_odd *odd = flood->odd;
	bool is_today = odd != NULL && odd->names > 0 && now_ms >= odd->names_ms && now_ms - odd->names_ms < DAY_MS;
	int64_t used = is_today ? odd->names : 0;
	return used < l->new_names ? l->new_names - used : 0;
}

static void note_names(struct device_state *d, int64_t brought, int64_t now_ms)
{
	struct device_odd *odd = odd_of(d);
	if (odd->names == 0 || now_ms < odd->names_ms || now_ms - odd->names_ms >= DAY_MS) {
		odd->names_ms = now_ms;
		odd->names = 0;
	}
	odd->names += brought;
}

/* One device may not use up the names of all: the tables look as full to it as its share of the day is. */
static enum telemetry_admission admit(struct ingest *i, struct device_state *d, const struct telemetry_report *r, unsigned *points, int64_t now_ms)
{
	const struct ingest_limits *all = i->s->limits;
	const struct symbols *names = telemetry_symbols(i->s->telemetry);
	int64_t metrics = symbols_count_of(names, true), versions = symbols_count_of(names, false);
	struct ingest_limits l = *all;
	if (all->new_names > 0) {
		int64_t left = names_left(d, all, now_ms);
		l.metrics_max = metrics + left < all->metrics_max ? metrics + left : all->metrics_max;
		l.versions_max = versions + left < all->versions_max ? versions + left : all->versions_max;
	}
	enum telemetry_admission a = telemetry_admit(i->s->telemetry, d->row, r, now_ms, &l, points);
	int64_t metrics_now = symbols_count_of(names, true), versions_now = symbols_count_of(names, false), brought = metrics_now - metrics + versions_now - versions;
	if (brought > 0)
		note_names(d, brought, now_ms);
	if (a != TELEMETRY_NAMELESS)
		return a;
	if (metrics_now >= all->metrics_max || versions_now >= all->versions_max) {
		refuse(i, now_ms, INGEST_NAMES, d->id, "a metric or version was left out: the table of names is full ([limits] metrics, versions)");
	} else {
		char detail[160];
		snprintf(detail, sizeof detail, "a metric or version was left out: %lld names that nobody knew are as many as one device may bring in a day ([limits] new_names)",
		         (long long)all->new_names);
		refuse(i, now_ms, INGEST_NEW_NAMES, d->id, detail);
	}
	return a;
}

/* A report that is there already. Far below the newest number of its boot nobody can tell whether it is; what is sent again is through in
 * minutes. A counter that runs backwards goes on, and nothing of the device is taken. */
static void note_repeated(struct ingest *i, struct device_state *d, const struct telemetry_report *r, int64_t now_ms)
{
	const struct track *k = tracks_find(i->s->telemetry->tracks, d->row);
	if (k == NULL || dedupe_check(&k->dedupe, r->boot, r->seq) != DEDUPE_TOO_OLD) {
		refuse(i, now_ms, INGEST_DUPLICATE, d->id, "");
		return;
	}
	struct device_odd *odd = odd_of(d);
	if (odd->outdated_ms == 0 || now_ms < odd->outdated_ms || now_ms - odd->outdated_last_ms > OUTDATED_GAP_MS)
		odd->outdated_ms = now_ms;
	odd->outdated_last_ms = now_ms;
	i->counters.refused[INGEST_OUTDATED]++;
	if (now_ms - odd->outdated_ms < OUTDATED_MS)
		return;
	char detail[160];
	snprintf(detail, sizeof detail, "seq %lld is far below what came before in boot %.*s, for %lld minutes: a counter that runs backwards needs a new boot",
	         (long long)r->seq, (int)(r->boot.len < 32 ? r->boot.len : 32), r->boot.data, (long long)(now_ms - odd->outdated_ms) / MINUTE_MS);
	sample(i, now_ms, INGEST_OUTDATED, d->id, detail);
	note_device(i, now_ms, INGEST_OUTDATED, d->id, detail);
}

static void take_report(struct ingest *i, struct device_state *d, struct telemetry_report *r, int64_t now_ms)
{
	const struct ingest_limits *l = i->s->limits;
	struct metric_value room[TELEMETRY_METRICS];
	unsigned points;
	struct device_flood *flood = flood_of(d);
	if (!take(&flood->reports, l->reports_per_second, l->reports_burst, now_ms)) {
		refuse(i, now_ms, INGEST_FLOOD, d->id, "more reports than one device may send");
		return;
	}
	check_shadow(i, d, r, room, now_ms);
	if (admit(i, d, r, &points, now_ms) == TELEMETRY_REPEATED) {
		note_repeated(i, d, r, now_ms);
		return;
	}
	if (flood->odd != NULL)
		flood->odd->outdated_ms = 0;
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

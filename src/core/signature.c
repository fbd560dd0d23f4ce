#include "core/signature.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/tails.h"

_Static_assert(WATCH_STATISTICS <= 32, "findings have a bit for each statistic");

#define HOT_C 80.0f
#define BATTERY_LOW 0.15f
#define NAN_SHARE 0.01f       /* of outputs: one NaN in a million is the input's */
#define COLLAPSE_SHARE 0.9f   /* of outputs in one class ... */
#define COLLAPSE_USUAL 0.7f   /* ... which is not usual */
#define HEAT_EFFECT 0.2231436f /* ln 1.25: slower by a quarter */
#define DRAIN_RATIO 1.5f      /* of the cohort's median */
#define GAPS_MIN 0.05f
#define GAPS_RATIO 2.0f
#define BOOTS_P 1e-6          /* Poisson tail of a day's boots */
#define EXHAUSTION_H 24.0f    /* a leak that ends within it is critical */
#define SCORE_MAX 100.0f
#define SPIKE(m) (2u * (unsigned)(m))
#define CUSUM(m) (2u * (unsigned)(m) + 1)
#define OF_METRIC(m) (3u << SPIKE(m))
#define BIT(s) (1u << (unsigned)(s))
#define ERRORS (BIT(WATCH_ERRORS_BURST) | BIT(WATCH_ERRORS_CUSUM))
#define OUTPUTS (BIT(WATCH_CLASSES) | BIT(WATCH_DISPERSION) | OF_METRIC(WATCH_CONFIDENCE) | OF_METRIC(WATCH_ACCURACY))

/* ---- what is over, and which way ---- */

struct judging {
	const struct signature_facts *facts;
	uint32_t over;    /* statistics at or above their threshold */
	uint32_t claimed; /* explained by a finding */
	uint32_t causes;  /* found so far */
	unsigned novel;
};

static float known(float x, float otherwise)
{
	return isfinite(x) ? x : otherwise;
}

static uint32_t over_of(const struct signature_facts *f)
{
	uint32_t over = 0;
	for (unsigned s = 0; s < WATCH_STATISTICS; s++)
		if (f->threshold[s] > 0 && f->statistic[s] >= f->threshold[s] && isfinite(f->threshold[s]))
			over |= BIT(s);
	return over;
}

static int sign_of(float x)
{
	return (x > 0) - (x < 0); /* NAN: 0 */
}

/* Which way a metric went: its last z, or its value against what was expected. */
static int way_of_now(const struct signature_facts *f, enum watch_metric m)
{
	return sign_of(f->z[m]) != 0 ? sign_of(f->z[m]) : sign_of(f->value[m] - f->expected[m]);
}

static bool cusum_went(const struct judging *j, enum watch_metric m, int way)
{
	int side = j->facts->side[m] != 0 ? j->facts->side[m] : way_of_now(j->facts, m);
	return j->over & BIT(CUSUM(m)) && side == way;
}

static bool went(const struct judging *j, enum watch_metric m, int way)
{
	return (j->over & BIT(SPIKE(m)) && way_of_now(j->facts, m) == way) || cusum_went(j, m, way);
}

static bool was_found(const struct judging *j, enum signature_cause cause)
{
	return j->causes & BIT(cause);
}

/* ---- evidence ---- */

static void evidence(struct signature_finding *o, const char *name, float value, float expected)
{
	if (!isfinite(value) || o->evidence_count == SIGNATURE_EVIDENCE)
		return;
	o->evidence[o->evidence_count++] = (struct signature_evidence){name, value, isfinite(expected) ? expected : NAN};
}

static void evidence_metric(const struct judging *j, struct signature_finding *o, enum watch_metric m)
{
	evidence(o, m == WATCH_BATTERY ? "battery_drain" : watch_metric_name(m), j->facts->value[m], j->facts->expected[m]);
}

static void evidence_statistic(const struct judging *j, struct signature_finding *o, unsigned s)
{
	float threshold = j->facts->threshold[s];
	if (j->over & BIT(s)) /* an infinite one is shown as large */
		evidence(o, watch_statistic_name((enum watch_statistic)s), fminf(j->facts->statistic[s], threshold * SCORE_MAX), threshold);
}

/* Those of a mask that are over and that nobody explained before are this finding's. */
static void claim(const struct judging *j, struct signature_finding *o, uint32_t mask)
{
	o->statistics |= j->over & mask & ~j->claimed;
	for (unsigned s = 0; s < WATCH_STATISTICS; s++)
		if (o->statistics & BIT(s))
			o->score = fmaxf(o->score, fminf(j->facts->statistic[s] / j->facts->threshold[s], SCORE_MAX));
}

/* ---- the causes: true when found ---- */

static bool find_hash(const struct judging *j, struct signature_finding *o)
{
	if (!j->facts->is_hash_mismatch)
		return false;
	evidence(o, "hash_mismatch", 1, 0);
	return true;
}

static enum signature_kind corruption_of(const struct judging *j)
{
	const struct signature_facts *f = j->facts;
	if (f->nan_outputs >= 1 && f->nan_outputs >= NAN_SHARE * known(f->outputs, 0))
		return SIGNATURE_NAN;
	if (f->identical >= WATCH_IDENTICAL_CONSTANT)
		return SIGNATURE_CONSTANT;
	bool is_slow = went(j, WATCH_LATENCY, 1), is_shifted = j->over & BIT(WATCH_CLASSES);
	if (is_shifted && f->top_share > COLLAPSE_SHARE && !(f->top_usual > COLLAPSE_USUAL))
		return SIGNATURE_COLLAPSE;
	if (is_slow) /* a model that is merely wrong takes as long as ever */
		return SIGNATURE_PLAIN;
	if (j->over & BIT(WATCH_DISPERSION))
		return SIGNATURE_CONSTANT;
	return is_shifted && went(j, WATCH_CONFIDENCE, -1) ? SIGNATURE_SCRAMBLED : SIGNATURE_PLAIN;
}

static bool find_corrupt(const struct judging *j, struct signature_finding *o)
{
	const struct signature_facts *f = j->facts;
	o->kind = corruption_of(j);
	if (o->kind == SIGNATURE_PLAIN)
		return false;
	if (o->kind == SIGNATURE_NAN) {
		evidence(o, "nan_outputs", f->nan_outputs, 0);
		evidence(o, "outputs", f->outputs, NAN);
	}
	if (f->identical >= WATCH_IDENTICAL_CONSTANT)
		evidence(o, "identical_reports", (float)f->identical, 1);
	if (o->kind == SIGNATURE_COLLAPSE)
		evidence(o, "top_class_share", f->top_share, f->top_usual);
	evidence_metric(j, o, WATCH_CONFIDENCE);
	evidence_metric(j, o, WATCH_LATENCY);
	evidence_statistic(j, o, WATCH_CLASSES);
	evidence_statistic(j, o, WATCH_DISPERSION);
	claim(j, o, OUTPUTS | ERRORS);
	return true;
}

static bool find_silent(const struct judging *j, struct signature_finding *o)
{
	const struct signature_facts *f = j->facts;
	if (!(f->silent_limit_s > 0 && f->silent_s > f->silent_limit_s))
		return false;
	evidence(o, "silent_s", f->silent_s, f->silent_limit_s);
	evidence(o, "battery", f->battery, f->battery_low);
	evidence_metric(j, o, WATCH_RSSI);
	return true;
}

static bool find_reboots(const struct judging *j, struct signature_finding *o)
{
	const struct signature_facts *f = j->facts;
	bool is_loop = f->boots_in_hour >= WATCH_BOOTS_LOOP;
	/* P(X >= k) of a Poisson variable is a lower gamma function */
	if (!is_loop && f->boots_in_day >= WATCH_BOOTS_LOOP && f->boots_usual_day > 0)
		is_loop = 1 - tails_chi2(2 * (double)f->boots_usual_day, 2.0 * f->boots_in_day) < BOOTS_P;
	if (!is_loop)
		return false;
	evidence(o, "boots_in_hour", (float)f->boots_in_hour, known(f->boots_usual_day, 0) / 24);
	evidence(o, "boots_in_day", (float)(f->boots_in_day > f->boots_in_hour ? f->boots_in_day : f->boots_in_hour), f->boots_usual_day);
	claim(j, o, ERRORS);
	return true;
}

static bool is_hot(const struct judging *j)
{
	return went(j, WATCH_TEMPERATURE, 1) || j->facts->value[WATCH_TEMPERATURE] >= j->facts->hot_c;
}

static bool find_throttle(const struct judging *j, struct signature_finding *o)
{
	const struct signature_facts *f = j->facts;
	bool is_slow = went(j, WATCH_LATENCY, 1) || f->heat_effect >= HEAT_EFFECT;
	if (!is_slow || !is_hot(j))
		return false;
	evidence_metric(j, o, WATCH_LATENCY);
	evidence_metric(j, o, WATCH_TEMPERATURE);
	evidence(o, "hot_c", f->hot_c, NAN);
	evidence(o, "slower_by_heat", expf(f->heat_effect), 1);
	claim(j, o, OF_METRIC(WATCH_LATENCY) | OF_METRIC(WATCH_TEMPERATURE) | OF_METRIC(WATCH_ENERGY));
	return true;
}

static bool find_leak(const struct judging *j, struct signature_finding *o)
{
	const struct leak_result *l = &j->facts->leak;
	if (!cusum_went(j, WATCH_MEMORY, 1) || !l->is_leak)
		return false;
	o->severity = l->hours_left <= EXHAUSTION_H ? SIGNATURE_CRITICAL : SIGNATURE_WARNING;
	evidence_metric(j, o, WATCH_MEMORY);
	evidence(o, "bytes_per_hour", l->bytes_per_hour, 0);
	evidence(o, "monotone", l->tau, 0);
	evidence(o, "hours_left", l->hours_left, NAN);
	claim(j, o, OF_METRIC(WATCH_MEMORY) | OF_METRIC(WATCH_LATENCY));
	return true;
}

static bool find_drain(const struct judging *j, struct signature_finding *o)
{
	const struct signature_facts *f = j->facts;
	float drain = f->value[WATCH_BATTERY], cohort = known(f->drain_cohort, known(f->expected[WATCH_BATTERY], 0));
	if (f->is_charging || !went(j, WATCH_BATTERY, 1) || !(drain > DRAIN_RATIO * cohort))
		return false;
	evidence_metric(j, o, WATCH_BATTERY);
	evidence(o, "battery_drain_cohort", f->drain_cohort, NAN);
	evidence(o, "battery", f->battery, f->battery_low);
	evidence(o, "hours_left", f->battery / drain, NAN);
	claim(j, o, OF_METRIC(WATCH_BATTERY) | OF_METRIC(WATCH_ENERGY));
	return true;
}

/* Context more than cause: whoever saves power may be slow, and is not broken. */
static bool find_battery_low(const struct judging *j, struct signature_finding *o)
{
	const struct signature_facts *f = j->facts;
	if (f->is_charging || !(f->battery <= f->battery_low) || was_found(j, SIGNATURE_BATTERY_DRAIN))
		return false;
	evidence(o, "battery", f->battery, f->battery_low);
	evidence_metric(j, o, WATCH_BATTERY);
	if (went(j, WATCH_LATENCY, 1)) {
		evidence_metric(j, o, WATCH_LATENCY);
		claim(j, o, OF_METRIC(WATCH_LATENCY));
	}
	return true;
}

static bool find_degraded(const struct judging *j, struct signature_finding *o)
{
	const uint32_t explained = BIT(SIGNATURE_THERMAL_THROTTLE) | BIT(SIGNATURE_MEMORY_LEAK) | BIT(SIGNATURE_BATTERY_LOW);
	bool has_errors = j->over & ERRORS & ~j->claimed;
	bool is_slow = cusum_went(j, WATCH_LATENCY, 1);
	bool fails = has_errors && (went(j, WATCH_LATENCY, 1) || went(j, WATCH_ENERGY, 1));
	if (j->causes & explained || is_hot(j) || !(is_slow || fails))
		return false;
	evidence_metric(j, o, WATCH_LATENCY);
	evidence_metric(j, o, WATCH_TEMPERATURE);
	evidence_metric(j, o, WATCH_ENERGY);
	evidence_statistic(j, o, CUSUM(WATCH_LATENCY));
	evidence_statistic(j, o, WATCH_ERRORS_BURST);
	evidence_statistic(j, o, WATCH_ERRORS_CUSUM);
	claim(j, o, OF_METRIC(WATCH_LATENCY) | OF_METRIC(WATCH_ENERGY) | ERRORS);
	return true;
}

static bool find_network(const struct judging *j, struct signature_finding *o)
{
	const struct signature_facts *f = j->facts;
	bool has_gaps = f->gaps >= GAPS_MIN && f->gaps >= GAPS_RATIO * known(f->gaps_usual, 0);
	if (!went(j, WATCH_RSSI, -1) || !has_gaps || was_found(j, SIGNATURE_DEVICE_SILENT))
		return false;
	evidence_metric(j, o, WATCH_RSSI);
	evidence(o, "message_gaps", f->gaps, f->gaps_usual);
	claim(j, o, OF_METRIC(WATCH_RSSI));
	return true;
}

static bool find_drift(const struct judging *j, struct signature_finding *o)
{
	uint32_t over = j->over & ~j->claimed;
	bool is_drift = over & BIT(WATCH_CLASSES) || over & BIT(CUSUM(WATCH_CONFIDENCE)) || went(j, WATCH_ACCURACY, -1);
	if (was_found(j, SIGNATURE_MODEL_CORRUPT) || !is_drift)
		return false;
	evidence_metric(j, o, WATCH_CONFIDENCE);
	evidence_metric(j, o, WATCH_ACCURACY);
	evidence_statistic(j, o, WATCH_CLASSES);
	evidence_statistic(j, o, CUSUM(WATCH_CONFIDENCE));
	evidence_statistic(j, o, CUSUM(WATCH_ACCURACY));
	claim(j, o, OUTPUTS);
	return true;
}

/* What is over and nobody's; else, when nothing at all is over, several novelty scores at once. */
static bool find_anomaly(const struct judging *j, struct signature_finding *o)
{
	const struct signature_facts *f = j->facts;
	uint32_t left = j->over & ~j->claimed;
	if (left != 0) {
		o->kind = SIGNATURE_STATISTIC;
		claim(j, o, left);
		for (unsigned n = 0; n < SIGNATURE_EVIDENCE && left != 0; n++) { /* strongest first */
			unsigned best = (unsigned)__builtin_ctz(left);
			for (unsigned s = best; s < WATCH_STATISTICS; s++)
				if (left & BIT(s) && f->statistic[s] / f->threshold[s] > f->statistic[best] / f->threshold[best])
					best = s;
			evidence_statistic(j, o, best);
			left &= ~BIT(best);
		}
		return true;
	}
	if (j->causes != 0 || j->novel < SIGNATURE_NOVEL_METRICS)
		return false;
	o->kind = SIGNATURE_CORROBORATED;
	evidence(o, "novel_metrics", (float)j->novel, 0);
	for (unsigned i = 0; i < f->novel_count; i++)
		if (f->novel[i].score > SIGNATURE_NOVEL_SCORE && f->novel[i].age_s <= SIGNATURE_NOVEL_WINDOW_S)
			evidence(o, f->novel[i].metric, f->novel[i].score, SIGNATURE_NOVEL_SCORE);
	return true;
}

/* ---- the table ---- */

/* In sentences: {name} is the value of that evidence, {=name} what was expected, {%name} and {%=name} the same in
 * percent; * stands for the first evidence, {@*} for its name. */
static const struct rule {
	enum signature_cause cause;
	bool (*find)(const struct judging *j, struct signature_finding *o);
	enum signature_severity severity;
} rules[] = {
	{SIGNATURE_MODEL_HASH_MISMATCH, find_hash, SIGNATURE_CRITICAL},
	{SIGNATURE_MODEL_CORRUPT, find_corrupt, SIGNATURE_CRITICAL},
	{SIGNATURE_DEVICE_SILENT, find_silent, SIGNATURE_WARNING},
	{SIGNATURE_REBOOT_LOOP, find_reboots, SIGNATURE_CRITICAL},
	{SIGNATURE_THERMAL_THROTTLE, find_throttle, SIGNATURE_WARNING},
	{SIGNATURE_MEMORY_LEAK, find_leak, SIGNATURE_WARNING},
	{SIGNATURE_BATTERY_DRAIN, find_drain, SIGNATURE_WARNING},
	{SIGNATURE_BATTERY_LOW, find_battery_low, SIGNATURE_INFO},
	{SIGNATURE_HARDWARE_DEGRADED, find_degraded, SIGNATURE_WARNING},
	{SIGNATURE_NETWORK_DEGRADED, find_network, SIGNATURE_WARNING},
	{SIGNATURE_MODEL_DRIFT, find_drift, SIGNATURE_WARNING},
	{SIGNATURE_METRIC_ANOMALY, find_anomaly, SIGNATURE_WARNING},
};

static const struct {
	enum signature_cause cause;
	enum signature_kind kind;
	const char *text;
} sentences[] = {
	{SIGNATURE_MODEL_HASH_MISMATCH, SIGNATURE_PLAIN, "The model on the device is not the one that was released: its hash differs from the manifest's."},
	{SIGNATURE_MODEL_CORRUPT, SIGNATURE_NAN, "The model gives no numbers: {nan_outputs} of {outputs} outputs are NaN."},
	{SIGNATURE_MODEL_CORRUPT, SIGNATURE_CONSTANT, "The model gives the same output whatever it sees."},
	{SIGNATURE_MODEL_CORRUPT, SIGNATURE_COLLAPSE, "The model has collapsed: {%top_class_share} of its outputs are one class, usually {%=top_class_share}."},
	{SIGNATURE_MODEL_CORRUPT, SIGNATURE_SCRAMBLED, "The model seems corrupted: confidence {confidence} instead of {=confidence}, other classes than usual, latency as ever."},
	{SIGNATURE_DEVICE_SILENT, SIGNATURE_PLAIN, "No sign of life for {silent_s} s; by its habits {=silent_s} s would be long."},
	{SIGNATURE_REBOOT_LOOP, SIGNATURE_PLAIN, "The device keeps rebooting: {boots_in_hour} boots within an hour, {boots_in_day} within a day."},
	{SIGNATURE_THERMAL_THROTTLE, SIGNATURE_PLAIN, "Slow because it is hot: latency {latency_ms} ms at {temperature_c} C; it needs cooling, not repair."},
	{SIGNATURE_MEMORY_LEAK, SIGNATURE_PLAIN, "Memory leaks: {bytes_per_hour} bytes an hour; hours until there is none left: {hours_left}."},
	{SIGNATURE_BATTERY_DRAIN, SIGNATURE_PLAIN, "The battery drains at {%battery_drain} an hour instead of {%=battery_drain}; hours until it is empty: {hours_left}."},
	{SIGNATURE_BATTERY_LOW, SIGNATURE_PLAIN, "The battery is low ({%battery}) and drains as usual: delays are to be expected."},
	{SIGNATURE_HARDWARE_DEGRADED, SIGNATURE_PLAIN, "The hardware seems to fail: latency {latency_ms} ms instead of {=latency_ms} ms, and temperature does not explain it."},
	{SIGNATURE_NETWORK_DEGRADED, SIGNATURE_PLAIN, "A bad link: {link_rssi_dbm} dBm instead of {=link_rssi_dbm}, and {%message_gaps} of its messages are missing."},
	{SIGNATURE_MODEL_DRIFT, SIGNATURE_PLAIN, "The model's outputs on this device have drifted from their own past."},
	{SIGNATURE_METRIC_ANOMALY, SIGNATURE_STATISTIC, "Unusual: {@*} is {*}, and {=*} is the limit."},
	{SIGNATURE_METRIC_ANOMALY, SIGNATURE_CORROBORATED, "{novel_metrics} metrics became unusual within a quarter of an hour."},
	{SIGNATURE_FLEET_DRIFT, SIGNATURE_FLEET_CLASSES, "Outputs of the whole cohort have shifted: from class {class_down} to class {class_up} (T2 {t2}, limit {=t2}; {devices} devices)."},
	{SIGNATURE_FLEET_DRIFT, SIGNATURE_FLEET_METRIC, "{%*} of the cohort's devices are half way to the limit of {@*}, usually {%=*}."},
};

/* ---- doors ---- */

void signature_facts_init(struct signature_facts *f)
{
	*f = (struct signature_facts){.outputs = NAN, .nan_outputs = NAN, .top_share = NAN, .top_usual = NAN, .hot_c = HOT_C,
		.heat_effect = NAN, .battery = NAN, .battery_low = BATTERY_LOW, .drain_cohort = NAN, .gaps = NAN, .gaps_usual = NAN,
		.silent_s = NAN, .silent_limit_s = NAN, .boots_usual_day = NAN,
		.leak = {.bytes_per_hour = NAN, .bytes = NAN, .hours_left = INFINITY}};
	for (unsigned s = 0; s < WATCH_STATISTICS; s++) f->statistic[s] = f->threshold[s] = NAN;
	for (unsigned m = 0; m < WATCH_METRICS; m++) f->z[m] = f->value[m] = f->expected[m] = NAN;
}

unsigned signature_judge(const struct signature_facts *f, struct signature_finding out[SIGNATURE_CAUSES])
{
	struct judging j = {.facts = f, .over = over_of(f)};
	unsigned count = 0;
	for (unsigned i = 0; i < f->novel_count; i++)
		j.novel += f->novel[i].score > SIGNATURE_NOVEL_SCORE && f->novel[i].age_s <= SIGNATURE_NOVEL_WINDOW_S;
	for (unsigned i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		struct signature_finding *o = &out[count];
		*o = (struct signature_finding){.cause = rules[i].cause, .severity = rules[i].severity, .score = 1, .novel = j.novel};
		if (!rules[i].find(&j, o))
			continue;
		o->is_inhibited = o->statistics != 0 && (o->statistics & ~f->fleet) == 0;
		j.claimed |= o->statistics;
		j.causes |= BIT(o->cause);
		count++;
	}
	return count;
}

uint32_t signature_fleet_mask(const struct drift_result *r)
{
	uint32_t mask = r->metrics | (r->is_over ? BIT(WATCH_CLASSES) : 0);
	for (unsigned m = 0; m < WATCH_METRICS; m++)
		if (mask & OF_METRIC(m))
			mask |= OF_METRIC(m);
	return mask & ERRORS ? mask | ERRORS : mask;
}

static void fleet_classes(const struct drift_result *r, struct signature_finding *o)
{
	*o = (struct signature_finding){.cause = SIGNATURE_FLEET_DRIFT, .kind = SIGNATURE_FLEET_CLASSES, .severity = SIGNATURE_WARNING,
		.statistics = BIT(WATCH_CLASSES), .score = fminf(r->t2 / r->threshold, SCORE_MAX)};
	evidence(o, "t2", r->t2, r->threshold);
	evidence(o, "class_up", (float)r->class_up, NAN);
	evidence(o, "class_up_shift", r->shift[r->class_up], 0);
	evidence(o, "class_down", (float)r->class_down, NAN);
	evidence(o, "class_down_shift", r->shift[r->class_down], 0);
	evidence(o, "psi", r->psi, NAN);
	evidence(o, "kl", r->kl, NAN);
	evidence(o, "devices", (float)r->devices, NAN);
}

/* One finding for a metric (or for the counts), of the statistic that is least likely. */
static bool fleet_metric(const struct drift_result *r, uint32_t mask, struct signature_finding *o)
{
	uint32_t left = r->metrics & mask;
	if (left == 0)
		return false;
	unsigned best = (unsigned)__builtin_ctz(left);
	for (unsigned s = best; s < WATCH_STATISTICS; s++)
		if (left & BIT(s) && r->p[s] < r->p[best])
			best = s;
	*o = (struct signature_finding){.cause = SIGNATURE_FLEET_DRIFT, .kind = SIGNATURE_FLEET_METRIC, .severity = SIGNATURE_WARNING,
		.statistics = left, .score = fminf(fmaxf(r->share[best] / r->usual[best], 1), SCORE_MAX)};
	evidence(o, watch_statistic_name((enum watch_statistic)best), r->share[best], r->usual[best]);
	evidence(o, "p", r->p[best], NAN);
	return true;
}

unsigned signature_judge_cohort(const struct drift_result *r, struct signature_finding out[SIGNATURE_COHORT_MAX])
{
	unsigned count = 0;
	if (r->is_over)
		fleet_classes(r, &out[count++]);
	for (unsigned m = 0; m < WATCH_METRICS; m++) count += fleet_metric(r, OF_METRIC(m), &out[count]);
	count += fleet_metric(r, ERRORS, &out[count]);
	count += fleet_metric(r, r->is_over ? 0 : BIT(WATCH_CLASSES), &out[count]);
	count += fleet_metric(r, BIT(WATCH_DISPERSION), &out[count]);
	return count;
}

const char *signature_cause_name(enum signature_cause cause)
{
	static const char *const names[] = {
#define X(id, name) name,
		SIGNATURE_CAUSE_TABLE(X)
#undef X
	};
	assert((unsigned)cause < SIGNATURE_CAUSES);
	return names[cause];
}

const char *signature_kind_name(enum signature_kind kind)
{
	static const char *const names[SIGNATURE_KINDS] = {"", "nan", "constant", "collapse", "scrambled", "statistic", "corroborated",
		"classes", "metric"};
	assert((unsigned)kind < SIGNATURE_KINDS);
	return names[kind];
}

const char *signature_severity_name(enum signature_severity severity)
{
	static const char *const names[] = {"info", "warning", "critical"};
	assert((unsigned)severity <= SIGNATURE_CRITICAL);
	return names[severity];
}

/* ---- sentences ---- */

/* Four digits, without an exponent where people would write none. */
static int number_text(float v, bool is_percent, char *out, size_t size)
{
	double x = is_percent ? (double)v * 100 : (double)v;
	const char *unit = is_percent ? " %" : "";
	if (isnan(x))
		return snprintf(out, size, "unknown");
	return snprintf(out, size, fabs(x) >= 1000 && fabs(x) < 1e15 ? "%.0f%s" : "%.3g%s", x, unit);
}

/* What stands between braces, `len` characters. */
static int place_text(const struct signature_finding *f, const char *place, size_t len, char *out, size_t size)
{
	bool is_percent = len > 0 && *place == '%', is_name = len > 0 && *place == '@';
	place += is_percent || is_name;
	len -= is_percent || is_name;
	bool is_expected = len > 0 && *place == '=';
	place += is_expected;
	len -= is_expected;
	for (unsigned i = 0; i < f->evidence_count; i++) {
		const struct signature_evidence *e = &f->evidence[i];
		if (*place != '*' && (strlen(e->name) != len || memcmp(e->name, place, len) != 0))
			continue;
		if (is_name)
			return snprintf(out, size, "%s", e->name);
		return number_text(is_expected ? e->expected : e->value, is_percent, out, size);
	}
	return snprintf(out, size, "unknown");
}

static const char *sentence_of(const struct signature_finding *f)
{
	for (unsigned i = 0; i < sizeof sentences / sizeof sentences[0]; i++)
		if (sentences[i].cause == f->cause && sentences[i].kind == f->kind)
			return sentences[i].text;
	assert(!"a finding without a sentence");
	return "";
}

void signature_sentence(const struct signature_finding *f, char *out, size_t size)
{
	const char *text = sentence_of(f);
	assert(size > 0);
	size_t used = 0;
	while (*text != '\0' && used + 1 < size) {
		const char *end = *text == '{' ? strchr(text, '}') : NULL;
		if (end == NULL) {
			out[used++] = *text++;
			continue;
		}
		int n = place_text(f, text + 1, (size_t)(end - text - 1), out + used, size - used);
		used += n > 0 ? (size_t)n : 0;
		text = end + 1;
	}
	out[used < size ? used : size - 1] = '\0';
}

/* aviaryctl rollout explain: what a person on call wants to know, in sentences; and the plan of a dry run likewise. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rest.h"
#include "rollout.h"

#define STORY_MAX 64
#define LOOKS_MAX 4096

/* Paragraphs. */
struct story {
	struct buf text[STORY_MAX];
	size_t count;
};

static struct buf *paragraph(struct story *s)
{
	if (s->count < STORY_MAX)
		s->count++;
	return &s->text[s->count - 1];
}

static const char *text_of(const struct json *j, const char *name)
{
	const char *text = json_text(json_get(j, name));
	return text != NULL ? text : "";
}

static double number_of(const struct json *j, const char *name)
{
	const struct json *v = json_get(j, name);
	return v != NULL && json_type(v) == JSON_NUMBER ? json_number(v) : (double)NAN;
}

static int64_t count_of(const struct json *j, const char *name)
{
	return (int64_t)json_number(json_get(j, name));
}

/* ---- words for numbers ---- */

static void write_count(struct buf *out, int64_t n, const char *one, const char *many)
{
	buf_printf(out, "%lld %s", (long long)n, n == 1 ? one : many);
}

/* 1234567 as 1,234,567 */
static void write_grouped(struct buf *out, double v)
{
	char digits[40];
	int len = snprintf(digits, sizeof digits, "%.0f", v);
	for (int i = 0; i < len; i++) {
		buf_char(out, digits[i]);
		if ((len - 1 - i) % 3 == 0 && i + 1 < len)
			buf_char(out, ',');
	}
}

/* How likely, so that one can picture it. */
static void write_chance(struct buf *out, double p)
{
	if (!(p > 0)) {
		buf_str(out, "practically never");
	} else if (p >= 1) {
		buf_str(out, "always");
	} else if (p >= 0.1) {
		buf_printf(out, "in %.0f of 100 draws", p * 100);
	} else {
		double n = 1 / p, scale = pow(10, fmax(0, floor(log10(n)) - 1));
		buf_str(out, "in 1 of ");
		if (n < 1e12)
			write_grouped(out, round(n / scale) * scale);
		else
			buf_printf(out, "%.1e", n);
		buf_str(out, " draws");
	}
}

static bool is_share(const char *kind)
{
	return strcmp(kind, "ratio") == 0 || strcmp(kind, "silence") == 0;
}

static bool is_log(const char *kind)
{
	return strcmp(kind, "quantile") == 0 || strcmp(kind, "logmean") == 0;
}

static void write_value(struct buf *out, const char *kind, double v)
{
	if (isnan(v))
		buf_str(out, "unknown");
	else if (is_share(kind))
		buf_printf(out, "%.4g %%", v * 100);
	else if (strcmp(kind, "event") == 0)
		buf_printf(out, "%.3g events a device", v);
	else
		buf_printf(out, "%.4g", v);
}

/* A difference of scores: percentage points, percent, or the metric's unit. */
static void write_difference(struct buf *out, const char *kind, double v)
{
	if (is_share(kind))
		buf_printf(out, "%.3g percentage points", v * 100);
	else if (is_log(kind))
		buf_printf(out, "%.3g %%", expm1(v) * 100);
	else if (strcmp(kind, "event") == 0)
		buf_printf(out, "%.3g events a device", v);
	else
		buf_printf(out, "%.4g", v);
}

/* ---- what is known ---- */

struct facts {
	const struct json *rollout, *spec, *stage; /* the stage that matters now; NULL: none has begun */
	int64_t stage_at, stage_count;
	const struct json *looks[LOOKS_MAX]; /* oldest first */
	size_t look_count;
};

static const struct json *gate_spec(const struct facts *f, const char *metric)
{
	for (const struct json *g = json_first(json_get(f->spec, "gates")); g != NULL; g = json_next(g))
		if (strcmp(text_of(g, "metric"), metric) == 0)
			return g;
	return NULL;
}

/* The stage whose judge reverted, else the last one that has begun; of an ended rollout the last one that was judged.
  */
static void choose_stage(struct facts *f)
{
	bool is_ended = json_get(f->rollout, "ended_at") != NULL;
	for (const struct json *s = json_first(json_get(f->rollout, "stages")); s != NULL; s = json_next(s)) {
		bool is_decided = f->stage != NULL && strcmp(text_of(f->stage, "verdict"), "revert") == 0;
		bool is_less = is_ended && f->stage != NULL && json_is_true(json_get(f->stage, "judged"))
			&& !json_is_true(json_get(s, "judged"));
		if (json_get(s, "started_at") != NULL && !is_decided && !is_less) {
			f->stage = s;
			f->stage_at = count_of(s, "stage");
		}
		f->stage_count++;
	}
}

static const struct json *stage_at(const struct facts *f, int64_t at)
{
	for (const struct json *s = json_first(json_get(f->rollout, "stages")); s != NULL; s = json_next(s))
		if (count_of(s, "stage") == at)
			return s;
	return NULL;
}

/* The newest look of a gate in a stage; NULL: none. */
static const struct json *newest_look(const struct facts *f, int64_t stage, int64_t gate)
{
	const struct json *found = NULL;
	for (size_t i = 0; i < f->look_count; i++)
		if (count_of(f->looks[i], "stage") == stage && count_of(f->looks[i], "gate") == gate)
			found = f->looks[i];
	return found;
}

static const struct json *newest_look_of(const struct facts *f, int64_t stage)
{
	const struct json *found = NULL;
	for (size_t i = 0; i < f->look_count; i++)
		if (count_of(f->looks[i], "stage") == stage)
			found = f->looks[i];
	return found;
}

/* ---- paragraphs ---- */

static void tell_summary(const struct facts *f, struct story *s)
{
	struct buf *out = paragraph(s);
	const char *filter = text_of(f->rollout, "filter");
	buf_printf(out, "Rollout %lld \"", (long long)count_of(f->rollout, "id"));
	clean_text(out, text_of(f->rollout, "name"));
	buf_printf(out, "\" brings release %s to ", text_of(f->rollout, "release"));
	write_count(out, count_of(f->rollout, "target"), "device", "devices");
	if (filter[0] != '\0') {
		buf_str(out, " (");
		clean_text(out, filter);
		buf_char(out, ')');
	}
	buf_str(out, " in ");
	write_count(out, f->stage_count, "stage", "stages");
	buf_printf(out, ". It is %s", text_of(f->rollout, "status"));
	if (text_of(f->rollout, "reason")[0] != '\0') {
		buf_str(out, ": ");
		clean_text(out, text_of(f->rollout, "reason"));
	}
	buf_char(out, '.');
}

static bool is_shadow(const struct json *stage)
{
	return strcmp(text_of(stage, "mode"), "shadow") == 0;
}

/* Devices of live stages in a state: who ran the release in shadow never had it. */
static int64_t live_count(const struct facts *f, const char *state)
{
	int64_t sum = 0;
	for (const struct json *s = json_first(json_get(f->rollout, "stages")); s != NULL; s = json_next(s))
		if (!is_shadow(s))
			sum += count_of(json_get(s, "deployments"), state);
	return sum;
}

static int64_t failed_of(const struct json *d)
{
	return count_of(d, "failed") + count_of(d, "timed_out");
}

static void tell_shadow(const struct facts *f, struct story *s)
{
	struct buf *out = paragraph(s);
	const struct json *d = json_get(f->stage, "deployments");
	int64_t runs = count_of(d, "succeeded"), ran = runs + count_of(d, "reverted");
	bool is_over = json_get(f->stage, "ended_at") != NULL || json_get(f->rollout, "ended_at") != NULL;
	buf_printf(out, "Stage %lld of %lld, \"", (long long)f->stage_at + 1, (long long)f->stage_count);
	clean_text(out, text_of(f->stage, "name"));
	buf_printf(out, "\", is %s: ", text_of(f->stage, "status"));
	write_count(out, is_over ? ran : runs, "device", "devices");
	buf_printf(out, " of %lld %s %s beside the release that each of them %s, on the same inputs, and nobody %s what it said.",
		(long long)count_of(f->stage, "planned"), is_over ? "ran" : "run", text_of(f->rollout, "release"), is_over ? "had" : "has",
		is_over ? "acted on" : "acts on");
	if (failed_of(d) > 0)
		buf_printf(out, " On %lld it could not be brought to run, or crashed: what they run was not touched.", (long long)failed_of(d));
	if (is_over)
		buf_str(out, " They run it no more.");
}

static void tell_stage(const struct facts *f, struct story *s)
{
	if (is_shadow(f->stage)) {
		tell_shadow(f, s);
		return;
	}
	struct buf *out = paragraph(s);
	const struct json *d = json_get(f->stage, "deployments");
	int64_t back = count_of(d, "reverted");
	buf_printf(out, "Stage %lld of %lld, \"", (long long)f->stage_at + 1, (long long)f->stage_count);
	clean_text(out, text_of(f->stage, "name"));
	buf_printf(out, "\", is %s: %lld of ", text_of(f->stage, "status"), (long long)count_of(d, "succeeded"));
	write_count(out, count_of(f->stage, "planned"), "device", "devices");
	buf_str(out, back > 0 ? " have the release" : " have installed it");
	if (back > 0)
		buf_printf(out, ", %lld are back on what they ran before", (long long)back);
	if (failed_of(d) > 0)
		buf_printf(out, ", %lld could not install it", (long long)failed_of(d));
	buf_char(out, '.');
}

static bool is_self(const struct facts *f)
{
	return strcmp(text_of(json_get(f->spec, "judge"), "control"), "self") == 0;
}

static void tell_own_past(const struct facts *f, struct buf *out, int64_t blocks, int64_t windows)
{
	buf_str(out, "The judge compares ");
	write_count(out, blocks, "device", "devices");
	buf_str(out, " with their own past: each with ");
	write_count(out, windows, "earlier window", "earlier windows");
	buf_printf(out, " or so, as long as the bake, in which it ran the release that it had when the stage began. No device stays behind as a "
		"control, so a change of the world counts as harm. The guarantee is: %s.", text_of(f->rollout, "guarantee"));
}

static void tell_comparison(const struct facts *f, struct story *s)
{
	struct buf *out = paragraph(s);
	int64_t blocks = count_of(f->stage, "blocks"), controls = count_of(f->stage, "controls_per_block");
	const char *guarantee = text_of(f->rollout, "guarantee");
	if (!json_is_true(json_get(f->stage, "judged"))) {
		buf_str(out, "No devices are compared in this stage: only installations that fail count.");
		return;
	}
	if (is_shadow(f->stage)) {
		buf_str(out, "The judge compares the two releases within each of ");
		write_count(out, blocks, "device", "devices");
		buf_str(out, ", report by report, where both have measured the same inputs: so devices need not be alike. No device can be harmed in "
			"this stage.");
		const struct json *look = newest_look_of(f, f->stage_at);
		if (look != NULL)
			buf_printf(out, " The guarantee is: %s.", text_of(json_get(look, "data"), "guarantee"));
		return;
	}
	if (is_self(f)) {
		tell_own_past(f, out, blocks, controls);
		return;
	}
	buf_str(out, "The judge compares ");
	write_count(out, blocks, "canary", "canaries");
	buf_printf(out, " with about %lld devices that keep the old release, ", (long long)(blocks * controls));
	buf_printf(out, "in %lld blocks of alike devices with %lld of them each. ", (long long)blocks, (long long)controls);
	if (strncmp(guarantee, "none", 4) != 0)
		buf_str(out, "Which device of a block became the canary was drawn at random, with a seed that was committed "
			"before.");
	if (json_is_true(json_get(json_get(f->spec, "judge"), "sham")))
		buf_str(out, " The controls install again what they run when their canary installs, so that installing as such makes no difference.");
	if (strncmp(guarantee, "exact", 5) != 0)
		buf_printf(out, "%sThe guarantee is: %s.", strncmp(guarantee, "none", 4) != 0 ? " " : "", guarantee);
}

static void tell_pair(struct buf *out, const char *kind, const struct json *d)
{
	double effect = number_of(d, "effect"), margin = number_of(d, "margin");
	buf_str(out, "in shadow it stands at ");
	write_value(out, kind, number_of(d, "canary"));
	buf_str(out, ", what the devices run at ");
	write_value(out, kind, number_of(d, "control"));
	buf_str(out, ". ");
	if (isnan(effect))
		return;
	buf_printf(out, "On the same inputs the new release is %s", effect > 0 ? "worse by " : effect < 0 ? "better by " : "neither better nor worse");
	if (effect != 0)
		write_difference(out, kind, fabs(effect));
	if (margin > 0) {
		buf_str(out, "; tolerated is ");
		write_difference(out, kind, margin);
	}
	buf_str(out, ". ");
}

static void tell_windows(struct buf *out, const char *kind, const struct json *d)
{
	double effect = number_of(d, "effect"), margin = number_of(d, "margin");
	buf_str(out, "the devices stand at ");
	write_value(out, kind, number_of(d, "canary"));
	buf_str(out, ", in their earlier windows they stood at ");
	write_value(out, kind, number_of(d, "control"));
	buf_str(out, ". ");
	if (isnan(effect))
		return;
	buf_printf(out, "Compared with their own past they are %s", effect > 0 ? "worse by " : effect < 0 ? "better by " : "neither better nor worse");
	if (effect != 0)
		write_difference(out, kind, fabs(effect));
	if (margin > 0) {
		buf_str(out, "; tolerated is ");
		write_difference(out, kind, margin);
	}
	buf_str(out, ". ");
}

static void tell_values(struct buf *out, const char *kind, const struct json *d)
{
	double before = number_of(d, "canary_before"), effect = number_of(d, "effect"), margin = number_of(d, "margin");
	buf_str(out, "the canaries stand at ");
	write_value(out, kind, number_of(d, "canary"));
	buf_str(out, ", their controls at ");
	write_value(out, kind, number_of(d, "control"));
	if (!isnan(before)) {
		buf_str(out, " (before the update: ");
		write_value(out, kind, before);
		buf_str(out, " and ");
		write_value(out, kind, number_of(d, "control_before"));
		buf_char(out, ')');
	}
	buf_str(out, ". ");
	if (isnan(effect))
		return;
	buf_str(out, isnan(before) ? "Compared with their blocks" : "Compared with their own past and their blocks");
	buf_printf(out, ", the canaries are %s", effect > 0 ? "worse by " : effect < 0 ? "better by "
		: "neither better nor worse");
	if (effect != 0)
		write_difference(out, kind, fabs(effect));
	if (margin > 0) {
		buf_str(out, "; tolerated is ");
		write_difference(out, kind, margin);
	}
	buf_str(out, ". ");
}

static void tell_probability(struct buf *out, const struct json *look, const struct json *d)
{
	double p = number_of(look, "p"), budget = number_of(look, "alpha_look");
	const char *fraction = text_of(d, "p_fraction");
	buf_str(out, "If the new version did no more harm than is tolerated, chance alone would show at least this ");
	write_chance(out, p);
	buf_printf(out, " (p = %.3g", p);
	if (p < 1 && fraction[0] != '\0' && strlen(fraction) < 24)
		buf_printf(out, ", exactly %s", fraction);
	buf_str(out, json_is_true(json_get(d, "exact")) || fraction[0] != '\0' ? "). " : ", an upper bound). ");
	if (budget > 0)
		buf_printf(out, "This look was allowed to err with %.3g: ", budget);
}

/* One row an opinion. */
static const struct {
	const char *opinion, *with_budget;
} opinions[] = {
	{"no_data", "too few devices have reported it for a comparison."},
	{"quiet", "that is within chance, nothing speaks against the version."},
	{"suspect", "that is suspicious, but not beyond the error budget."},
	{"harm", "it is below, so harm is shown."},
	{"not_worse", "that is within chance, and harm of the non-inferiority margin is ruled out."},
};

static void tell_gate(const struct facts *f, struct story *s, int64_t gate)
{
	const struct json *look = newest_look(f, f->stage_at, gate);
	if (look == NULL)
		return;
	const struct json *d = json_get(look, "data");
	const char *metric = text_of(d, "metric"), *kind = text_of(gate_spec(f, metric), "kind"),
		*opinion = text_of(d, "opinion");
	struct buf *out = paragraph(s);
	buf_printf(out, "%s, at look %lld", metric, (long long)count_of(look, "look"));
	if (is_shadow(f->stage))
		buf_printf(out, " after %lld reports of %lld devices with both: ", (long long)count_of(look, "reports"), (long long)count_of(d, "canaries"));
	else if (is_self(f))
		buf_printf(out, ", of %lld devices and %lld earlier windows: ", (long long)count_of(d, "canaries"), (long long)count_of(d, "controls"));
	else
		buf_printf(out, " after %lld reports of %lld canaries and %lld controls: ", (long long)count_of(look, "reports"),
		           (long long)count_of(d, "canaries"), (long long)count_of(d, "controls"));
	if (strcmp(opinion, "no_data") != 0) {
		(is_shadow(f->stage) ? tell_pair : is_self(f) ? tell_windows : tell_values)(out, kind, d);
		tell_probability(out, look, d);
	}
	for (size_t i = 0; i < sizeof opinions / sizeof opinions[0]; i++)
		if (strcmp(opinions[i].opinion, opinion) == 0)
			buf_str(out, opinions[i].with_budget);
}

static void tell_budget(const struct facts *f, struct story *s)
{
	struct buf *out = paragraph(s);
	double alpha = number_of(json_get(f->spec, "judge"), "alpha"), spent = 0, bound = (double)NAN;
	for (int64_t stage = 0; stage < f->stage_count; stage++)
		for (size_t gate = 0; gate < json_count(json_get(f->spec, "gates")); gate++) {
			const struct json *look = newest_look(f, stage, (int64_t)gate);
			double v = number_of(look, "alpha_spent");
			spent += isnan(v) ? 0 : v;
			if (look != NULL)
				bound = number_of(json_get(look, "data"), "alpha_bound");
		}
	buf_printf(out, "Error budget: the chance that a harmless rollout is ever taken back is held below %.3g (alpha). "
		"", alpha);
	buf_printf(out, "Of that %.2g is spent by the looks so far, %.2g %%.", spent, alpha > 0 ? 100 * spent / alpha : 0);
	if (bound > alpha)
		buf_printf(out, " With the hard stop, which is the operator's wish, the bound is %.3g.", bound);
}

/* ---- what happens next ---- */

static void tell_bake(const struct facts *f, struct buf *out)
{
	int64_t soak = count_of(f->spec, "soak_ms"), extension = count_of(f->stage, "extensions"),
		baking = count_of(f->stage, "baking_at");
	int64_t left = baking + soak * (1 + extension) - clock_wall_ms();
	if (baking == 0) {
		buf_str(out, "The stage installs until its success condition is met; then it soaks for ");
		duration_text(soak, out);
	} else if (left > 0) {
		buf_str(out, "The stage soaks for another ");
		duration_text(left, out);
	} else {
		buf_str(out, "The soak time is over");
	}
	buf_str(out, ". ");
	const struct json *look = newest_look(f, f->stage_at, 0);
	double next = number_of(json_get(look, "data"), "next_look_reports");
	if (look != NULL && !isnan(next))
		buf_printf(out, "The judge looks again at %.0f reports (the last look was at %.0f). ", next,
			number_of(look, "reports"));
}

static void tell_after_bake(const struct facts *f, struct buf *out)
{
	const struct json *next = stage_at(f, f->stage_at + 1);
	if (next != NULL) {
		buf_str(out, "If nothing is found until then, stage \"");
		clean_text(out, text_of(next, "name"));
		buf_str(out, "\" follows with ");
		write_count(out, count_of(next, "planned"), "device", "devices");
		buf_str(out, ". ");
	} else {
		buf_str(out, "It is the last stage: then the rollout is finished. ");
	}
	if (is_shadow(f->stage))
		buf_str(out, "If a look finds harm, the rollout ends here: nothing has to go back, because no device has ever run it.");
	else if (json_is_true(json_get(f->stage, "judged")))
		buf_str(out, "If a look finds harm, every device goes back to the release it ran before, without anybody "
			"doing anything.");
}

static void tell_running(const struct facts *f, struct buf *out)
{
	const char *verdict = text_of(f->stage, "verdict");
	int64_t id = count_of(f->rollout, "id");
	if (f->stage == NULL) {
		buf_str(out, "The first stage begins.");
		return;
	}
	if (strcmp(verdict, "inconclusive") == 0) {
		buf_printf(out, "The bake is over and shows neither harm nor harmlessness. It waits for you: aviaryctl "
			"rollout promote %lld, or revert %lld.",
		           (long long)id, (long long)id);
		return;
	}
	if (json_is_true(json_get(f->stage, "held")))
		buf_str(out, "New installations wait, because a gate is suspicious; they go on when a later look clears it. ");
	tell_bake(f, out);
	tell_after_bake(f, out);
}

static void tell_reverting(const struct facts *f, struct buf *out)
{
	buf_printf(out, "%lld devices are on their way back, %lld are back.", (long long)live_count(f, "reverting"),
		(long long)live_count(f, "reverted"));
}

static void tell_reverted(const struct facts *f, struct buf *out)
{
	int64_t stuck = live_count(f, "revert_failed") + live_count(f, "not_revertible"), back = live_count(f, "reverted");
	if (back == 0 && stuck == 0)
		buf_str(out, "No device runs the release.");
	else {
		write_count(out, back, "device is", "devices are");
		buf_str(out, " back on the release of before.");
	}
	buf_str(out, " This release is not offered again: fix it and make a new one.");
	if (stuck > 0)
		buf_printf(out, " %lld could NOT go back: aviaryctl rollout deployments %lld --state revert_failed, or "
			"--state not_revertible.",
		           (long long)stuck, (long long)count_of(f->rollout, "id"));
}

static void tell_stopping(const struct facts *f, struct buf *out)
{
	(void)f;
	buf_str(out, "What has begun is waited for; nothing new is offered. What was installed stays.");
}

static void tell_stopped(const struct facts *f, struct buf *out)
{
	buf_printf(out, "Nothing more happens. What was installed stays; aviaryctl rollout revert %lld takes it back.",
	           (long long)count_of(f->rollout, "id"));
}

static void tell_finished(const struct facts *f, struct buf *out)
{
	int64_t failed = live_count(f, "failed") + live_count(f, "timed_out");
	write_count(out, live_count(f, "succeeded"), "device has", "devices have");
	buf_str(out, " it. Nothing more happens.");
	if (failed > 0)
		buf_printf(out, " %lld could not install it: aviaryctl rollout deployments %lld --state failed, and retry.",
			(long long)failed,
		           (long long)count_of(f->rollout, "id"));
}

static void tell_ready(const struct facts *f, struct buf *out)
{
	buf_printf(out, "It waits for you: aviaryctl rollout start %lld.", (long long)count_of(f->rollout, "id"));
}

static void tell_waiting(const struct facts *f, struct buf *out)
{
	buf_printf(out, "Somebody else than %s has to approve it: aviaryctl rollout approve %lld.",
		text_of(f->rollout, "created_by"),
	           (long long)count_of(f->rollout, "id"));
}

static void tell_paused(const struct facts *f, struct buf *out)
{
	int64_t id = count_of(f->rollout, "id");
	buf_printf(out, "Nothing is offered until somebody decides: aviaryctl rollout resume %lld goes on, revert %lld "
		"takes everything back, abort %lld "
	           "stops and leaves what is installed.", (long long)id, (long long)id, (long long)id);
}

/* One row a status. */
static const struct {
	const char *status;
	void (*tell)(const struct facts *f, struct buf *out);
} nexts[] = {
	{"creating", tell_running},   {"waiting_for_approval", tell_waiting}, {"ready", tell_ready},
	         {"starting", tell_running},
	{"running", tell_running},    {"paused", tell_paused},                {"finished", tell_finished},
	   {"stopping", tell_stopping},
	{"stopped", tell_stopped},    {"reverting", tell_reverting},          {"reverted", tell_reverted},
};

static void tell_next(const struct facts *f, struct story *s)
{
	const char *status = text_of(f->rollout, "status");
	for (size_t i = 0; i < sizeof nexts / sizeof nexts[0]; i++)
		if (strcmp(nexts[i].status, status) == 0)
			nexts[i].tell(f, paragraph(s));
}

/* ---- the story ---- */

static void tell(const struct facts *f, struct story *s)
{
	tell_summary(f, s);
	if (f->stage != NULL) {
		tell_stage(f, s);
		tell_comparison(f, s);
		for (size_t gate = 0; gate < json_count(json_get(f->spec, "gates")); gate++)
			tell_gate(f, s, (int64_t)gate);
		if (f->look_count == 0 && json_is_true(json_get(f->stage, "judged")))
			buf_str(paragraph(s), "No look was due yet: too few reports have come since the canaries installed.");
		if (json_is_true(json_get(f->stage, "judged")))
			tell_budget(f, s);
	}
	tell_next(f, s);
}

/* Words on lines of `width` columns. */
static void print_wrapped(const char *text, size_t width)
{
	size_t column = 0;
	for (const char *at = text; *at != '\0';) {
		size_t n = strcspn(at, " ");
		char *word = strndup(at, n);
		if (word == NULL)
			abort();
		size_t w = text_width(word);
		if (column > 0 && column + 1 + w > width) {
			putchar('\n');
			column = 0;
		}
		printf("%s%s", column > 0 ? " " : "", word);
		column += w + (column > 0);
		free(word);
		at += n + (at[n] == ' ');
	}
	putchar('\n');
}

static void print_story(const struct ctl *c, const struct story *s)
{
	unsigned width = output_width();
	struct buf b = BUF_INIT;
	if (c->settings.json) {
		json_open_object(&b);
		json_key(&b, "paragraphs");
		json_open_array(&b);
		for (size_t i = 0; i < s->count; i++)
			json_put_str(&b, buf_cstr(&s->text[i]));
		json_close_array(&b);
		json_close_object(&b);
		puts(b.data);
		buf_done(&b);
		return;
	}
	for (size_t i = 0; i < s->count; i++) {
		if (i > 0)
			putchar('\n');
		print_wrapped(buf_cstr(&s->text[i]), width == 0 || width > 100 ? 100 : width);
	}
}

enum result rollout_explain(struct ctl *c)
{
	static struct facts f; /* large */
	struct story s = {.count = 0};
	struct reply rollout = REPLY_INIT, looks = REPLY_INIT;
	char *path = path_format("/rollouts/{}", c->words, 1),
		*verdicts = path_format("/rollouts/{}/verdicts", c->words, 1);
	enum result result = client_get(c, path, &rollout);
	if (result == RESULT_OK)
		result = client_get(c, verdicts, &looks);
	if (result == RESULT_OK) {
		f.rollout = rollout.json;
		f.spec = json_get(rollout.json, "spec");
		for (const struct json *l = json_first(json_get(looks.json, "items")); l != NULL
			&& f.look_count < LOOKS_MAX; l = json_next(l))
			f.looks[f.look_count++] = l;
		choose_stage(&f);
		tell(&f, &s);
		print_story(c, &s);
	}
	for (size_t i = 0; i < s.count; i++)
		buf_done(&s.text[i]);
	reply_done(&rollout);
	reply_done(&looks);
	free(path);
	free(verdicts);
	return output_flush(result);
}

/* ---- the plan of a dry run ---- */

static const struct column plan_stages[] = {
	{"STAGE", "name", CELL_TEXT, false},
	{"MODE", "mode", CELL_TEXT, false},
	{"DEVICES", "devices", CELL_NUMBER, false},
	{"JUDGED", "judged", CELL_YES, false},
	{"BLOCKS", "blocks", CELL_NUMBER, false},
	{"CONTROLS PER BLOCK", "controls_per_block", CELL_NUMBER, false},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column plan_gates[] = {
	{"GATE", "metric", CELL_TEXT, false},
	{"KIND", "kind", CELL_TEXT, false},
	{"BUDGET A LOOK", "alpha_look", CELL_NUMBER, false},
	{"BLOCKS NEEDED", "n_min", CELL_NUMBER, false},
	{"CAN REVERT", "can_revert", CELL_YES, false},
	{"FINDS", "detectable", CELL_NUMBER, true},
	{"IN PERCENT", "detectable_percent", CELL_NUMBER, true},
	{"BLOCKS FOR MARGIN", "blocks_for_margin", CELL_NUMBER, true},
	{"DEVICES REPORTING", "devices_reporting", CELL_NUMBER, false},
	{NULL, NULL, CELL_TEXT, false},
};

static void print_items(const struct ctl *c, const struct column *columns, const struct json *items)
{
	struct table *t = table_new(columns);
	for (const struct json *i = json_first(items); i != NULL; i = json_next(i))
		table_add(t, i);
	table_print(t, c);
	table_free(t);
}

static void tell_plan_aside(const struct json *plan)
{
	const struct json *t = json_get(plan, "target"), *stages = json_get(plan, "stages");
	for (const struct json *s = json_first(stages); s != NULL; s = json_next(s))
		if (is_shadow(s))
			printf("%s: %lld of %lld devices that can run it in shadow (%lld of them are online now); at least %lld are needed.\n",
				text_of(s, "name"), (long long)count_of(s, "devices"), (long long)count_of(t, "can_shadow"),
				(long long)count_of(t, "shadow_ready"), (long long)count_of(s, "blocks_needed"));
	const struct json *self = json_get(plan, "self");
	if (self != NULL)
		printf("Each device is compared with its own past: %lld of %lld have earlier windows of %.4g s in the log of reports, typically %lld of them.\n",
			(long long)(count_of(self, "devices") - count_of(self, "without_windows")), (long long)count_of(self, "devices"),
			number_of(self, "window_ms") / 1000, (long long)count_of(self, "windows"));
	if (count_of(t, "unknown_release") > 0)
		printf("%lld run a release that this server does not have: no revert brings it back, and as controls they install nothing.\n",
			(long long)count_of(t, "unknown_release"));
}

static void tell_reason(const struct json *r)
{
	printf("  %lld: %s%s%s: ", (long long)count_of(r, "devices"), text_of(r, "model"), text_of(r, "variant")[0] != '\0' ? " " : "",
		text_of(r, "variant"));
	print_clean(text_of(r, "reason"), 0);
	putchar('\n');
}

void plan_print(const struct ctl *c, const struct json *plan)
{
	const struct json *t = json_get(plan, "target"), *j = json_get(plan, "judge");
	printf("%lld devices match: %lld get it, %lld run it already, %lld are in another rollout. %lld are online, %lld "
		"have no baseline yet.\n",
	       (long long)count_of(t, "matched"), (long long)count_of(t, "devices"), (long long)count_of(t, "already"),
	       	(long long)count_of(t, "busy"),
	       (long long)count_of(t, "online"), (long long)count_of(t, "without_baseline"));
	for (const struct json *i = json_first(json_get(t, "incompatible")); i != NULL; i = json_next(i))
		printf("%lld devices of hardware %s are left out: %s has no file for them.\n",
			(long long)count_of(i, "devices"), text_of(i, "hardware"),
		       text_of(i, "missing"));
	for (const struct json *i = json_first(json_get(t, "excluded_by")); i != NULL; i = json_next(i)) {
		printf("%lld devices of hardware %s are left out: ", (long long)count_of(i, "devices"), text_of(i, "hardware"));
		puts(strcmp(text_of(i, "verdict"), "unknown") == 0 ? "they did not tell whether they can run it." : "they cannot run it.");
		for (const struct json *r = json_first(json_get(i, "reasons")); r != NULL; r = json_next(r))
			tell_reason(r);
	}
	tell_plan_aside(plan);
	putchar('\n');
	print_items(c, plan_stages, json_get(plan, "stages"));
	if (json_first(json_get(j, "gates")) != NULL) {
		putchar('\n');
		print_items(c, plan_gates, json_get(j, "gates"));
		printf("\n%lld looks, the first at %lld and the last at %lld reports of all block members. A harmless rollout "
			"is reverted with at most %.3g"
		       " (hard stop: %.3g of it).\n", (long long)count_of(j, "looks"),
		       	(long long)count_of(j, "first_look_reports"),
		       (long long)count_of(j, "last_look_reports"), number_of(j, "alpha_bound"),
		       	number_of(j, "alpha_hard_stop"));
	}
	printf("Guarantee: %s. %s\n", text_of(j, "guarantee"), text_of(j, "guarantee_text"));
}

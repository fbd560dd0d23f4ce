/* aviaryctl judge: judges a recorded canary by the code that the server judges with, so that people can audit its
 * verdicts.
 *
 * The whole recording is one look: a gate may spend alpha times its weight, or what --alpha-look says (the server's
 * budget of a look is in `rollout verdicts`). Margins are 0 unless they are given.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/accum.h"
#include "core/judge.h"
#include "core/planning.h"
#include "core/randtest.h"
#include "core/score.h"
#include "core/verdict.h"
#include "recording.h"
#include "rest.h"

static enum result judge(struct ctl *c);

static const struct command_option options[] = {
	{.name = "scores", .kind = OPTION_FLAG, .help = "the columns are block,device,canary,score: ready scores, harm is "
	 "positive"},
	{.name = "integer", .kind = OPTION_FLAG, .help = "likewise, ready integers: no scaling"},
	{.name = "paired", .kind = OPTION_FLAG, .help = "shadow runs: blocks of one, each score could as well have had "
	 "the other sign"},
	{.name = "kind", .kind = OPTION_TEXTS, .value = "[METRIC=]KIND",
	 .help = "ratio (when absent), mean, logmean, event, silence; may be repeated"},
	{.name = "worse", .kind = OPTION_TEXTS, .value = "[METRIC=]WAY",
	 .help = "up or down; ratios: down when absent, others: up; may be repeated"},
	{.name = "margin", .kind = OPTION_TEXTS, .value = "[METRIC=]X",
	 .help = "harm that is tolerated, in units of the score; may be repeated"},
	{.name = "ni-margin", .kind = OPTION_TEXTS, .value = "[METRIC=]X",
	 .help = "harm that must be ruled out; may be repeated"},
	{.name = "weight", .kind = OPTION_TEXTS, .value = "[METRIC=]X",
	 .help = "share of alpha; by kind when absent; may be repeated"},
	{.name = "scale", .kind = OPTION_TEXTS, .value = "[METRIC=]X", .help = "s, fixed in advance; may be repeated"},
	{.name = "alpha", .kind = OPTION_NUM, .value = "P", .help = "over all metrics (0.01)"},
	{.name = "beta", .kind = OPTION_NUM, .value = "P", .help = "for the non-inferiority margin (0.05)"},
	{.name = "hold-p", .kind = OPTION_NUM, .value = "P", .help = "suspicion (0.001)"},
	{.name = "alpha-look", .kind = OPTION_NUM, .value = "P",
	 .help = "what each metric may spend, instead of its share of alpha"},
	{.name = NULL},
};
static const struct command commands[] = {
	{.args = "FILE", .help = "judge a recorded canary without the server: CSV "
	 "block,device,canary,metric,baseline_n,baseline_sum,n,sum",
	 .options = options, .run = judge},
	{.help = NULL},
};
extern const struct command_group group_judge;
const struct command_group group_judge = {"judge", "judge a recorded canary offline", commands};

struct trial {
	const struct recorded *rows; /* of one metric */
	size_t count;
	struct judge_gate gate;
	bool is_integer, paired;
	double budget, beta;
	/* filled */
	struct randtest_result result;
	int32_t *x;
	double p_ni, effect;
	uint32_t blocks, least_controls;
	enum judge_opinion opinion;
};

/* ---- options by metric ---- */

/* "accuracy=0.01" is for that metric alone and wins over "0.01". */
static const char *for_metric(const struct ctl *c, const char *option, const char *metric)
{
	const char *text, *found = NULL;
	size_t len = strlen(metric);
	for (size_t i = 0; (text = option_text_at(c, option, i)) != NULL; i++) {
		const char *eq = strchr(text, '=');
		if (eq == NULL && found == NULL)
			found = text;
		else if (eq != NULL && (size_t)(eq - text) == len && strncmp(text, metric, len) == 0)
			return eq + 1;
	}
	return found;
}

static enum result number_for(const struct ctl *c, const char *option, const char *metric, double *out)
{
	const char *text = for_metric(c, option, metric);
	char *end;
	if (text == NULL)
		return RESULT_OK;
	*out = strtod(text, &end);
	if (end == text || *end != '\0' || !isfinite(*out) || *out < 0)
		return complain(RESULT_USAGE, "--%s: a number from 0 is wanted, not \"%s\"", option, text);
	return RESULT_OK;
}

static enum result read_gate(const struct ctl *c, const char *metric, struct judge_gate *g)
{
	const char *kind_text = for_metric(c, "kind", metric), *worse = for_metric(c, "worse", metric);
	enum metric_kind kind = METRIC_RATIO;
	double quantile;
	if (kind_text != NULL && (!metric_kind_parse(kind_text, &kind, &quantile) || kind == METRIC_QUANTILE))
		return complain(RESULT_USAGE, "--kind %s: ratio, mean, logmean, event or silence is wanted; quantiles as "
			"--scores", kind_text);
	judge_gate_init(g, metric, kind);
	g->margin = g->ni_margin = 0;
	if (worse != NULL && strcmp(worse, "up") != 0 && strcmp(worse, "down") != 0)
		return complain(RESULT_USAGE, "--worse: up or down is wanted, not \"%s\"", worse);
	if (worse != NULL)
		g->worse = worse[0] == 'd' ? JUDGE_WORSE_DOWN : JUDGE_WORSE_UP;
	enum result r = number_for(c, "margin", metric, &g->margin);
	if (r == RESULT_OK)
		r = number_for(c, "ni-margin", metric, &g->ni_margin);
	if (r == RESULT_OK)
		r = number_for(c, "weight", metric, &g->weight);
	if (r == RESULT_OK)
		r = number_for(c, "scale", metric, &g->fixed_scale);
	if (r == RESULT_OK && score_is_count(kind) && (g->margin > 0 || g->ni_margin > 0))
		r = complain(RESULT_USAGE, "%s: events and silence have no margins", metric);
	return r;
}

/* ---- scores ---- */

static struct metric_point point_of(double n, double sum, double reports, bool is_count)
{
	if (is_count) /* a count is data even when it is 0 */
		return (struct metric_point){.reports = 1, .n = (int64_t)n, .value = sum};
	return (struct metric_point){.reports = n > 0 ? (int64_t)fmax(reports, 1) : 0, .n = (int64_t)n,
		.value = n > 0 ? sum / n : 0};
}

static enum result score_row(const char *path, const struct trial *t, const struct recorded *row,
	struct randtest_member *m)
{
	const struct judge_gate *g = &t->gate;
	bool is_count = score_is_count(g->kind);
	struct metric_point before = point_of(row->baseline_n, row->baseline_sum, 1, false),
		after = point_of(row->n, row->sum, row->reports, is_count);
	struct score_spec spec = {g->kind, g->worse == JUDGE_WORSE_DOWN};
	if (!score_is_valid(g->kind, &before, &after))
		return complain(RESULT_LOCAL, "%s:%d: not possible for kind %s (k of n needs 0 <= sum <= n)", path, row->line,
			metric_kind_name(g->kind));
	m->has_data = score_of(&spec, &before, &after, &m->score);
	m->reports = after.reports;
	return RESULT_OK;
}

static enum result fill_members(const char *path, const struct trial *t, enum recording_form form,
	struct randtest_member *m)
{
	uint32_t block = 0;
	for (size_t i = 0; i < t->count; i++) {
		const struct recorded *row = &t->rows[i];
		block += i > 0 && strcmp(row->block, row[-1].block) != 0;
		m[i] = (struct randtest_member){.score = row->score, .reports = (int64_t)row->reports, .block = block,
			.is_canary = row->is_canary, .has_data = true};
		enum result r = form == RECORDING_COUNTS ? score_row(path, t, row, &m[i]) : RESULT_OK;
		if (r != RESULT_OK)
			return r;
		if (form == RECORDING_INTEGERS && (row->score != floor(row->score) || fabs(row->score) > EXACT_TAIL_X_MAX))
			return complain(RESULT_LOCAL, "%s:%d: an integer within +-%d is wanted", path, row->line, EXACT_TAIL_X_MAX);
	}
	return RESULT_OK;
}

/* ---- the test ---- */

static void *allocate(size_t count, size_t size)
{
	void *p = calloc(count > 0 ? count : 1, size);
	if (p == NULL)
		abort();
	return p;
}

static void run_test(const struct trial *t, const struct randtest_member *m, const struct randtest_options *o,
	struct randtest_result *out, int32_t *x)
{
	size_t bytes = randtest_workspace_bytes(t->count);
	void *workspace = allocate(1, bytes);
	randtest_run(m, t->count, o, out, x, workspace, bytes);
	free(workspace);
}

/* Ready integers: the tail itself. */
static void run_integers(struct trial *t, const struct randtest_member *m)
{
	uint32_t *sizes = allocate(t->count, sizeof *sizes);
	int32_t *x = allocate(2 * t->count, sizeof *x), low = INT32_MAX, high = INT32_MIN;
	size_t at = 0;
	for (size_t i = 0; i < t->count; i++) {
		t->x[i] = (int32_t)m[i].score;
		x[at++] = t->x[i];
		if (t->paired)
			x[at++] = -t->x[i];
		sizes[m[i].block] += t->paired ? 2 : 1;
		t->result.score += m[i].is_canary || t->paired ? t->x[i] : 0;
	}
	for (size_t i = 0; i < at; i++) {
		low = x[i] < low ? x[i] : low;
		high = x[i] > high ? x[i] : high;
	}
	t->result.blocks = t->result.informative = t->blocks;
	size_t bytes = exact_tail_workspace_bytes(t->blocks, (uint32_t)(high - low));
	void *workspace = allocate(1, bytes);
	exact_tail(x, sizes, t->blocks, t->result.score, &t->result.tail, workspace, bytes);
	free(workspace);
	free(sizes);
	free(x);
}

/* Mean over blocks of the canary's score less the mean of its controls'. */
static double effect_of(const struct trial *t, const struct randtest_member *m)
{
	double sum = 0;
	size_t blocks = 0;
	for (size_t i = 0, n; i < t->count; i += n) {
		double canary = (double)NAN, controls = 0;
		size_t count = 0;
		for (n = 0; i + n < t->count && m[i + n].block == m[i].block; n++) {
			if (!m[i + n].has_data)
				continue;
			if (m[i + n].is_canary || t->paired)
				canary = m[i + n].score;
			else
				controls += m[i + n].score, count++;
		}
		if (isnan(canary) || (count == 0 && !t->paired))
			continue;
		sum += canary - (t->paired ? 0 : controls / (double)count);
		blocks++;
	}
	return blocks > 0 ? sum / (double)blocks : (double)NAN;
}

static void measure_blocks(struct trial *t, const struct randtest_member *m)
{
	t->blocks = t->count > 0 ? m[t->count - 1].block + 1 : 0;
	t->least_controls = UINT32_MAX;
	for (size_t i = 0, n; i < t->count; i += n) {
		for (n = 0; i + n < t->count && m[i + n].block == m[i].block; n++)
			;
		t->least_controls = n - 1 < t->least_controls ? (uint32_t)n - 1 : t->least_controls;
	}
	if (t->paired)
		t->least_controls = 1; /* two signs */
}

static enum result run_trial(const char *path, struct trial *t, enum recording_form form, double hold_p)
{
	struct randtest_member *m = allocate(t->count, sizeof *m);
	t->x = allocate(t->count, sizeof *t->x);
	enum result r = fill_members(path, t, form, m);
	if (r == RESULT_OK) {
		struct randtest_options o = {.shift = t->gate.margin, .counts = score_is_count(t->gate.kind),
			.paired = t->paired, .fixed_scale = t->gate.fixed_scale};
		struct randtest_options ni = {.shift = t->gate.ni_margin, .negate = true, .paired = t->paired,
			.fixed_scale = t->gate.fixed_scale};
		struct randtest_result not_worse;
		measure_blocks(t, m);
		t->effect = effect_of(t, m);
		t->p_ni = (double)NAN;
		if (t->is_integer)
			run_integers(t, m);
		else
			run_test(t, m, &o, &t->result, t->x);
		if (t->gate.ni_margin > 0 && !t->is_integer) {
			run_test(t, m, &ni, &not_worse, NULL);
			t->p_ni = not_worse.informative > 0 ? not_worse.tail.p : (double)NAN;
		}
		const struct exact_tail *tail = &t->result.tail;
		t->opinion = t->result.informative == 0 ? OPINION_NO_DATA : tail->p * (1 + tail->error) <= t->budget
			? OPINION_HARM
		             : tail->p <= hold_p ? OPINION_SUSPECT : t->p_ni <= t->beta ? OPINION_NOT_WORSE : OPINION_QUIET;
	}
	free(m);
	return r;
}

/* ---- the answer ---- */

static void write_x(const struct trial *t, struct buf *out)
{
	json_key(out, "x");
	json_open_array(out);
	for (size_t i = 0; i < t->count; i++) {
		if (i == 0 || strcmp(t->rows[i].block, t->rows[i - 1].block) != 0) {
			if (i > 0)
				json_close_array(out);
			json_open_array(out);
		}
		json_put_int(out, t->x[i]);
	}
	json_close_array(out);
	json_close_array(out);
}

static void write_trial(const struct trial *t, struct buf *out)
{
	const struct exact_tail *tail = &t->result.tail;
	json_str(out, "metric", t->gate.name);
	json_str(out, "opinion", judge_opinion_name(t->opinion));
	json_int(out, "blocks", t->blocks);
	json_int(out, "informative_blocks", t->result.informative);
	json_num(out, "effect", t->effect);
	json_num(out, "margin", t->gate.margin);
	if (t->is_integer)
		json_raw(out, "scale", NULL);
	else
		json_num(out, "scale", t->result.scale);
	write_x(t, out);
	json_int(out, "S", t->result.score);
	json_num(out, "p", tail->p);
	json_bool(out, "exact", tail->is_exact);
	json_num(out, "p_error", tail->error);
	if (tail->fraction[0] != '\0')
		json_str(out, "p_fraction", tail->fraction);
	json_num(out, "p_ni", t->p_ni);
	if (t->gate.ni_margin > 0)
		json_num(out, "ni_margin", t->gate.ni_margin);
	json_num(out, "alpha_look", t->budget);
	json_int(out, "n_min", t->least_controls > 0 ? planning_n_min(t->budget, t->least_controls) : 0);
}

static struct verdict_step decide(const struct trial *t, size_t count, double beta)
{
	struct verdict_facts f = {.bake_over = true, .exposure = true, .not_worse = true, .cleared = true};
	for (size_t i = 0; i < count; i++) {
		f.harm |= t[i].opinion == OPINION_HARM;
		f.suspicion |= t[i].opinion == OPINION_SUSPECT;
		f.exposure &= t[i].opinion != OPINION_NO_DATA;
		f.not_worse &= t[i].gate.ni_margin == 0 || t[i].p_ni <= beta;
	}
	return verdict_next(VERDICT_CONTINUE, false, &f);
}

/* One metric stands flat in the object; several in `gates`. */
static void print_verdict(const struct trial *t, size_t count, const struct verdict_step *step, double alpha,
	double beta)
{
	struct buf out = BUF_INIT;
	json_open_object(&out);
	json_str(&out, "verdict", verdict_name(step->verdict));
	json_str(&out, "reason", verdict_reason_text(step->reason));
	json_num(&out, "alpha", alpha);
	json_num(&out, "beta", beta);
	if (count == 1) {
		write_trial(t, &out);
	} else {
		json_key(&out, "gates");
		json_open_array(&out);
		for (size_t i = 0; i < count; i++) {
			json_open_object(&out);
			write_trial(&t[i], &out);
			json_close_object(&out);
		}
		json_close_array(&out);
	}
	json_close_object(&out);
	puts(out.data);
	buf_done(&out);
}

/* ---- the command ---- */

/* Rows of one metric are neighbours. */
static enum result make_trials(const struct ctl *c, const struct recording *rec, struct trial *t, size_t *count)
{
	*count = 0;
	for (size_t i = 0, n; i < rec->count; i += n) {
		for (n = 0; i + n < rec->count && strcmp(rec->rows[i].metric, rec->rows[i + n].metric) == 0; n++)
			;
		if (*count == JUDGE_GATES_MAX)
			return complain(RESULT_LOCAL, "more than %d metrics", JUDGE_GATES_MAX);
		t[*count] = (struct trial){.rows = &rec->rows[i], .count = n, .is_integer = option_given(c, "integer"),
			.paired = option_given(c, "paired")};
		enum result r = read_gate(c, rec->rows[i].metric, &t[(*count)++].gate);
		if (r != RESULT_OK)
			return r;
	}
	return RESULT_OK;
}

static void share_alpha(const struct ctl *c, struct trial *t, size_t count, double alpha, double beta)
{
	struct judge_gate gates[JUDGE_GATES_MAX];
	for (size_t i = 0; i < count; i++)
		gates[i] = t[i].gate;
	judge_gates_normalise(gates, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		t[i].budget = option_num(c, "alpha-look", alpha * gates[i].weight);
		t[i].beta = beta;
	}
}

static enum result check_options(const struct ctl *c, double alpha, double beta)
{
	double look = option_num(c, "alpha-look", 0.01);
	if (!(alpha > 0 && alpha < 0.5) || !(beta > 0 && beta < 0.5) || !(look > 0 && look < 0.5))
		return complain(RESULT_USAGE, "--alpha, --beta and --alpha-look: above 0 and below 0.5");
	if (option_given(c, "scores") && option_given(c, "integer"))
		return complain(RESULT_USAGE, "either --scores or --integer");
	if (option_given(c, "integer") && (option_given(c, "margin") || option_given(c, "ni-margin")
		|| option_given(c, "scale")))
		return complain(RESULT_USAGE, "integers are final: no --margin, --ni-margin or --scale");
	return RESULT_OK;
}

static enum result judge(struct ctl *c)
{
	enum recording_form form = option_given(c, "integer") ? RECORDING_INTEGERS : option_given(c, "scores")
		? RECORDING_SCORES : RECORDING_COUNTS;
	double alpha = option_num(c, "alpha", 0.01), beta = option_num(c, "beta", 0.05);
	struct recording rec = {BUF_INIT, NULL, 0};
	struct trial trials[JUDGE_GATES_MAX] = {{0}};
	size_t count = 0;
	const char *path = command_word(c, 0);
	enum result r = check_options(c, alpha, beta);
	if (r == RESULT_OK)
		r = recording_read(path, form, option_given(c, "paired"), &rec);
	if (r == RESULT_OK)
		r = make_trials(c, &rec, trials, &count);
	if (r == RESULT_OK)
		share_alpha(c, trials, count, alpha, beta);
	for (size_t i = 0; r == RESULT_OK && i < count; i++)
		r = run_trial(path, &trials[i], form, option_num(c, "hold-p", 0.001));
	if (r == RESULT_OK) {
		struct verdict_step step = decide(trials, count, beta);
		print_verdict(trials, count, &step, alpha, beta);
	}
	for (size_t i = 0; i < count; i++)
		free(trials[i].x);
	recording_done(&rec);
	return output_flush(r);
}

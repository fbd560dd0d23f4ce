/* A look at a stage: its figures are gathered, in pieces where there are many, and judged, in a job where it takes long.
 *
 * All members of a block are gathered in the same piece, so that whatever changes between two pieces falls on canary and controls alike.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "service/observe.h"
#include "service/offload.h"
#include "service/rollout_judged.h"
#include "service/rollout_self.h"

#define PEEK_ROWS 8192 /* canaries that are judged on the loop: a millisecond */

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static uint32_t silence_gate(const struct judge_config *config)
{
	uint32_t g = 0;
	while (g < config->gate_count && config->gates[g].kind != METRIC_SILENCE)
		g++;
	return g;
}

struct look_task *look_new(struct judged_stage *j, const struct judge_config *config, const struct judge_state *state, bool bake_over, bool is_peek)
{
	struct look_task *t = must(calloc(1, sizeof *t));
	t->judged = j;
	t->is_peek = is_peek;
	t->bake_over = bake_over;
	t->changes = j->changes;
	t->config = *config;
	t->before = t->after = *state;
	t->arena = arena_new(1 << 16);
	uint32_t silence = silence_gate(config);
	t->config.gate_count = is_peek ? (silence < config->gate_count ? 1 : 0) : config->gate_count;
	for (uint32_t g = 0; g < t->config.gate_count; g++) {
		t->gates[g] = config->gates[is_peek ? silence : g];
		t->gates[g].name = arena_strdup(t->arena, t->gates[g].name);
	}
	t->config.gates = t->gates;
	size_t rows = is_peek ? j->canary_count : j->count + (j->past ? self_past_rows(j->past) : 0);
	/* not touched before they are filled: clearing tens of megabytes would be a piece of its own */
	t->rows = must(malloc((rows + 1) * sizeof *t->rows));
	t->cells = must(malloc((rows * t->config.gate_count + 1) * sizeof *t->cells));
	return t;
}

void look_free(struct look_task *t)
{
	if (!t)
		return;
	free(t->rows);
	free(t->cells);
	arena_free(t->arena);
	free(t);
}

/* ---- gathering ---- */

static struct metric_point silence_point(struct call *c, int64_t device, int64_t since_ms)
{
	return (struct metric_point){.reports = 1, .n = 1, .value = judged_is_silent(c, device, since_ms)};
}

static struct metric_point window_point(const struct window *w, const struct judge_gate *g, int64_t metric)
{
	struct metric_accum a;
	struct ddsketch s;
	struct ddsketch *sketch = g->kind == METRIC_QUANTILE ? &s : NULL; /* the others need none, and it is large */
	struct metric_point v = {0};
	if (observe_window_cell(w, metric, &a, sketch))
		v = accum_point(&a, g->kind, sketch, g->quantile);
	if (g->kind == METRIC_EVENT && v.reports == 0)
		v.reports = observe_window_reports(w); /* an event that nobody tells of did not happen, as long as there are reports */
	return v;
}

/* Earlier windows of the device behind its row, cut to the age of its present one. */
static size_t add_past(struct call *c, const struct judged_stage *j, int64_t device, size_t row, struct judge_row *rows, struct judge_cell *cells)
{
	struct silence_habit habit;
	int64_t last_ms = observe_habit(c, device, &habit) ? habit.last_ms : 0;
	int64_t data_ms = last_ms > j->t0[row] ? last_ms - j->t0[row] : 0;
	return self_past_fill(j->past, row, data_ms, c->now_ms - j->silent_since[row], rows, cells);
}

/* One member, at the task's next free row. */
static void gather_row(struct call *c, const struct rollout_live *live, struct look_task *t, size_t row)
{
	const struct judged_stage *j = t->judged;
	uint32_t gates = t->config.gate_count;
	int64_t device = (int64_t)j->rows[row].device;
	const struct window *w = observe_find_window(c, live->id, j->stage, device);
	t->rows[t->count] = j->rows[row];
	t->rows[t->count].reports = observe_window_reports(w);
	for (uint32_t g = 0; g < gates; g++) {
		struct judge_cell *cell = &t->cells[t->count * gates + g];
		*cell = j->cells[row * gates + g];
		cell->window = t->gates[g].kind == METRIC_SILENCE ? silence_point(c, device, j->silent_since[row])
								  : window_point(w, &t->gates[g], t->metrics[g]);
	}
	t->count += j->is_self ? add_past(c, j, device, row, &t->rows[t->count], &t->cells[t->count * gates]) : 1;
}

/* One member that runs both versions: the old one's window stands where elsewhere the baseline is. */
static void gather_pair(struct call *c, const struct rollout_live *live, struct look_task *t, size_t row)
{
	const struct judged_stage *j = t->judged;
	uint32_t gates = t->config.gate_count;
	const struct window *w = observe_find_window(c, live->id, j->stage, (int64_t)j->rows[row].device);
	t->rows[t->count] = j->rows[row];
	t->rows[t->count].reports = observe_window_reports(w);
	for (uint32_t g = 0; g < gates; g++)
		t->cells[t->count * gates + g] = (struct judge_cell){
			.baseline = window_point(w, &t->gates[g], t->metrics[g]), .window = window_point(w, &t->gates[g], t->beside[g])};
	t->count++;
}

/* The rest of the block at t->at, if its window has begun. */
static void gather_block(struct call *c, const struct rollout_live *live, struct look_task *t)
{
	const struct judged_stage *j = t->judged;
	uint32_t block = j->rows[t->at].block;
	for (; t->at < j->count && j->rows[t->at].block == block; t->at++)
		if (j->t0[t->at] > 0 && j->t0[t->at] <= c->now_ms)
			(t->config.mode == JUDGE_SHADOW ? gather_pair : gather_row)(c, live, t, t->at);
}

/* A canary for the hard stop. Those that were silent before their block began count at once: there is nothing to warm up. */
static void gather_canary(struct call *c, struct look_task *t)
{
	const struct judged_stage *j = t->judged;
	size_t row = j->canaries[t->at++].row;
	if (j->t0[row] <= 0 || j->silent_since[row] > c->now_ms)
		return;
	t->rows[t->count] = j->rows[row];
	t->cells[t->count] = (struct judge_cell){.window = silence_point(c, (int64_t)j->rows[row].device, j->silent_since[row])};
	t->count++;
}

static void gather_piece(struct call *c, const struct rollout_live *live, struct look_task *t, struct rollout_piece *p, bool whole)
{
	size_t end = t->is_peek ? t->judged->canary_count : t->judged->count;
	for (uint32_t g = 0; g < t->config.gate_count; g++) { /* once a piece: a metric may be new */
		t->metrics[g] = observe_metric(c, t->gates[g].name);
		if (t->config.mode == JUDGE_SHADOW)
			t->beside[g] = observe_metric(c, arena_printf(c->arena, "shadow.%s", t->gates[g].name));
	}
	while (t->at < end && (whole || !rollout_piece_is_over(p))) {
		if (t->is_peek)
			gather_canary(c, t);
		else
			gather_block(c, live, t);
	}
	t->is_gathered = t->at == end;
}

/* ---- judging ---- */

/* Touches nothing but the task: it may run on another thread. */
static void judge_work(void *arg)
{
	struct look_task *t = arg;
	size_t bytes = judge_workspace_bytes(t->count, t->config.gate_count);
	void *workspace = must(malloc(bytes));
	t->err = judge_look(&t->config, &t->after, t->rows, t->cells, t->count, t->bake_over, &t->result, workspace, bytes, &t->fault);
	free(workspace);
}

static void judge_done(void *arg)
{
	struct look_task *t = arg;
	t->is_done = true;
	if (!t->judged)
		look_free(t);
}

enum err look_step(struct call *c, struct rollout_rows *x, struct look_task *t, struct rollout_piece *p, bool whole)
{
	if (t->is_done || t->is_submitted)
		return ERR_OK;
	if (!t->is_gathered)
		gather_piece(c, x->live, t, p, whole);
	if (!t->is_gathered)
		return ERR_OK;
	if (whole || (t->is_peek && t->count <= PEEK_ROWS)) {
		judge_work(t);
		t->is_done = true;
		return ERR_OK;
	}
	t->is_submitted = true; /* before: without a port it is done within the call */
	enum err e = offload_submit(c->s->offload, judge_work, judge_done, t);
	if (e) {
		t->is_submitted = false; /* no room: what was gathered waits for the next tick */
		return e == ERR_UNAVAILABLE ? ERR_OK : e;
	}
	return ERR_OK;
}

bool look_is_stale(const struct look_task *t, const struct judge_state *now)
{
	const struct judge_state *then = &t->before;
	bool is_same = t->changes == t->judged->changes && then->look == now->look && then->extension == now->extension &&
		then->bake_ends == now->bake_ends && then->verdict == now->verdict && then->held == now->held;
	for (uint32_t g = 0; g < t->config.gate_count && is_same && !t->is_peek; g++)
		is_same = memcmp(&then->spent[g], &now->spent[g], sizeof then->spent[g]) == 0;
	return !is_same;
}

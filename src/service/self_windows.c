/* Earlier windows of devices, measured from the log of reports when a stage begins. */
#include "service/self_windows.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/score.h"
#include "service/observe.h"
#include "service/self_windows_inside.h"
#include "service/telemetry_inside.h"

#define VERSIONS_MAX 8 /* models of one device */
#define DEFAULT_INTERVAL_MS 60000

struct job_version { /* what a device ran of a model at T */
	int64_t model, version, at_ms;
};
/* What was reported between two marks of a window. */
struct job_slice {
	int64_t reports, last_ms;
};
struct job_window {
	bool has_other; /* a report of a version that the device does not run at T */
	struct job_slice slices[SELF_MARKS];
	struct accum_cell cells[]; /* cells[slice * gate_count + gate] */
};
struct job_device {
	int64_t device;
	size_t place; /* in the question */
	struct silence_habit habit;
	int64_t interval_ms, limit_ms;
	int64_t before_ms; /* last report before the oldest window */
	struct job_version versions[VERSIONS_MAX];
	size_t version_count;
	struct job_window **windows; /* of self_job.windows; NULL: no report in it */
	struct buf *frozen;          /* the bytes of those that count; empty: it does not */
	uint32_t counted;
};
struct self_job {
	char *path;
	int64_t upto, at_ms, length_ms;
	uint32_t windows;
	struct judge_gate gates[JUDGE_GATES_MAX];
	int64_t metrics[JUDGE_GATES_MAX]; /* symbols; 0: nobody ever reported it */
	uint32_t gate_count;
	int64_t *models; /* of versions, by symbol */
	size_t symbol_count;
	struct job_device *devices; /* by row id */
	size_t *by_place;
	size_t count;
	struct ddsketch scratch;
	enum err error;
	struct fault fault;
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- the question, copied ---- */

static int by_row(const void *a, const void *b)
{
	const struct job_device *x = a, *y = b;
	return x->device < y->device ? -1 : x->device > y->device;
}

static void copy_devices(struct call *c, struct self_job *j, const struct self_question *q)
{
	j->count = q->device_count;
	j->devices = must(calloc(j->count + 1, sizeof *j->devices));
	j->by_place = must(calloc(j->count + 1, sizeof *j->by_place));
	for (size_t i = 0; i < j->count; i++) {
		struct job_device *d = &j->devices[i];
		d->device = q->devices[i];
		d->place = i;
		(void)observe_habit(c, d->device, &d->habit); /* one that never reported has no windows */
		d->interval_ms = d->habit.gap8_ms >= 8 ? d->habit.gap8_ms / 8 : DEFAULT_INTERVAL_MS;
		d->limit_ms = silence_limit_ms(&d->habit, d->interval_ms);
		d->windows = must(calloc(j->windows, sizeof(struct job_window *)));
		d->frozen = must(calloc(j->windows, sizeof *d->frozen));
	}
	qsort(j->devices, j->count, sizeof *j->devices, by_row);
	for (size_t i = 0; i < j->count; i++)
		j->by_place[j->devices[i].place] = i;
}

struct self_job *self_job_new(struct call *c, const struct self_question *q)
{
	const struct telemetry *t = c->s->telemetry;
	struct self_job *j = must(calloc(1, sizeof *j));
	assert(q->device_count <= SELF_DEVICES_MAX && q->windows >= 1 && q->length_ms >= 1 && q->gate_count <= JUDGE_GATES_MAX);
	j->path = must(strdup(t->path));
	j->upto = t->settled;
	j->at_ms = q->at_ms;
	j->length_ms = q->length_ms;
	size_t room = SELF_WINDOWS_MAX / (q->device_count ? q->device_count : 1);
	j->windows = q->windows < room ? q->windows : (uint32_t)room;
	j->gate_count = q->gate_count;
	for (uint32_t g = 0; g < q->gate_count; g++) {
		const struct symbol *y = symbols_find_metric(t->symbols, q->gates[g].name);
		j->gates[g] = q->gates[g];
		j->gates[g].name = NULL; /* borrowed from a rollout that may be gone when the work is done */
		j->metrics[g] = y ? y->id : 0;
	}
	j->symbol_count = symbols_count(t->symbols);
	j->models = must(calloc(j->symbol_count + 1, sizeof *j->models));
	for (size_t i = 1; i <= j->symbol_count; i++)
		j->models[i] = telemetry_model_of(t->symbols, (int64_t)i);
	copy_devices(c, j, q);
	return j;
}

static void free_window(const struct self_job *j, struct job_window *w)
{
	for (size_t i = 0; w && i < self_shape_points(j->gate_count); i++)
		free(w->cells[i].sketch.data);
	free(w);
}

void self_job_free(struct self_job *j)
{
	if (!j)
		return;
	for (size_t i = 0; i < j->count; i++) {
		for (uint32_t k = 0; k < j->windows; k++) {
			free_window(j, j->devices[i].windows[k]);
			buf_done(&j->devices[i].frozen[k]);
		}
		free(j->devices[i].windows);
		free(j->devices[i].frozen);
	}
	free(j->devices);
	free(j->by_place);
	free(j->models);
	free(j->path);
	free(j);
}

/* ---- the work: reading, in any order ---- */

static struct job_device *device_of(struct self_job *j, int64_t device)
{
	struct job_device key = {.device = device};
	return bsearch(&key, j->devices, j->count, sizeof key, by_row);
}

static int64_t model_of(const struct self_job *j, int64_t version)
{
	return version > 0 && (size_t)version <= j->symbol_count ? j->models[version] : 0;
}

static struct job_version *version_of(struct job_device *d, int64_t model)
{
	for (size_t i = 0; i < d->version_count; i++)
		if (d->versions[i].model == model)
			return &d->versions[i];
	return NULL;
}

static void note_version(struct self_job *j, struct job_device *d, const struct log_report *r)
{
	int64_t model = model_of(j, r->version);
	struct job_version *v = version_of(d, model);
	if (!v && d->version_count < VERSIONS_MAX) {
		v = &d->versions[d->version_count++];
		*v = (struct job_version){.model = model};
	}
	if (v && (r->received_ms > v->at_ms || (r->received_ms == v->at_ms && r->version > v->version)))
		*v = (struct job_version){model, r->version, r->received_ms};
}

static struct job_window *window_at(struct self_job *j, struct job_device *d, uint32_t place)
{
	if (!d->windows[place])
		d->windows[place] = must(calloc(1, sizeof(struct job_window) + self_shape_points(j->gate_count) * sizeof(struct accum_cell)));
	return d->windows[place];
}

/* The slice that a report `age_ms` after the window's start is in: slice m ends before mark m. */
static int slice_at(const struct self_job *j, int64_t age_ms)
{
	return self_mark_below(j->length_ms, age_ms) + 1;
}

static void add_report(struct self_job *j, struct job_device *d, struct log_report *r)
{
	int64_t back = j->at_ms - 1 - r->received_ms; /* 0: the last millisecond before T */
	if (back < 0)
		return;
	int64_t place = back / j->length_ms;
	if (place >= j->windows) {
		if (r->received_ms > d->before_ms)
			d->before_ms = r->received_ms;
		return;
	}
	struct job_window *w = window_at(j, d, (uint32_t)place);
	int slice = slice_at(j, r->received_ms - (j->at_ms - (place + 1) * j->length_ms));
	assert(slice >= 0 && slice < SELF_MARKS);
	const struct job_version *v = version_of(d, model_of(j, r->version));
	w->has_other |= !v || v->version != r->version;
	w->slices[slice].reports++;
	if (r->received_ms > w->slices[slice].last_ms)
		w->slices[slice].last_ms = r->received_ms;
	struct log_metric m;
	while (report_log_metric(r, &m))
		for (uint32_t g = 0; g < j->gate_count; g++)
			if (m.name == j->metrics[g] && m.type != VALUE_HIST)
				cell_put(&w->cells[(size_t)slice * j->gate_count + g], &m, &j->scratch);
}

static void each_report(struct self_job *j, const struct stored_batch *b, bool is_survey)
{
	struct report_log_reader reader;
	struct log_report r;
	report_log_open(&reader, b->data, b->len, b->first_ms);
	while (report_log_next(&reader, 0, &r)) {
		struct job_device *d = device_of(j, r.device);
		if (d && is_survey && r.received_ms < j->at_ms)
			note_version(j, d, &r);
		else if (d && !is_survey)
			add_report(j, d, &r);
	}
}

static void survey(void *ctx, const struct stored_batch *b)
{
	each_report(ctx, b, true);
}

static void add(void *ctx, const struct stored_batch *b)
{
	each_report(ctx, b, false);
}

/* ---- the work: what counts ---- */

static bool is_silent_at(const struct job_device *d, int64_t last_ms, int64_t since_ms, int64_t now_ms)
{
	struct silence_habit habit = d->habit;
	habit.last_ms = last_ms;
	struct silence_facts facts = {.now_ms = now_ms, .interval_ms = d->interval_ms, .since_ms = since_ms};
	return silence_is_silent(&habit, &facts);
}

/* Sums slices up to each mark. Returns the last report by the window's end. */
static int64_t shape_of(struct self_job *j, const struct job_device *d, const struct job_window *w, int64_t start_ms, int64_t last_ms,
	struct self_shape *out)
{
	for (uint32_t g = 0; g < j->gate_count; g++) {
		struct metric_accum a;
		accum_init(&a);
		ddsketch_init(&j->scratch);
		for (int m = 0; m < SELF_MARKS; m++) {
			if (w)
				cell_merge(&w->cells[(size_t)m * j->gate_count + g], &a, &j->scratch);
			out->points[(size_t)m * j->gate_count + g] = accum_point(&a, j->gates[g].kind, &j->scratch, j->gates[g].quantile);
		}
	}
	int64_t reports = 0;
	for (int m = 0; m < SELF_MARKS; m++) {
		reports += w ? w->slices[m].reports : 0;
		if (w && w->slices[m].last_ms > last_ms)
			last_ms = w->slices[m].last_ms;
		out->reports[m] = reports;
		out->is_silent[m] = is_silent_at(d, last_ms, start_ms, start_ms + self_mark_ms(m, j->length_ms));
	}
	return last_ms;
}

static bool has_all_gates(const struct self_job *j, const struct self_shape *w)
{
	const struct metric_point *end = &w->points[(size_t)(SELF_MARKS - 1) * j->gate_count];
	for (uint32_t g = 0; g < j->gate_count; g++)
		if (!score_is_count(j->gates[g].kind) && end[g].reports < SELF_REPORTS_MIN)
			return false;
	return w->reports[SELF_MARKS - 1] >= SELF_REPORTS_MIN;
}

/* From the oldest window to the newest: each has to know when the device was last heard of before it. */
static void freeze(struct self_job *j, struct job_device *d, struct self_shape *shape)
{
	int64_t last_ms = d->before_ms;
	for (uint32_t k = j->windows; k-- > 0;) {
		struct job_window *w = d->windows[k];
		int64_t start_ms = j->at_ms - ((int64_t)k + 1) * j->length_ms;
		bool was_there = last_ms > 0 && start_ms - last_ms <= d->limit_ms;
		last_ms = shape_of(j, d, w, start_ms, last_ms, shape);
		bool counts = was_there && !(w && w->has_other) && (has_all_gates(j, shape) || shape->is_silent[SELF_MARKS - 1]);
		if (counts) {
			self_shape_encode(shape, j->gate_count, &d->frozen[k]);
			d->counted++;
		}
		free_window(j, w);
		d->windows[k] = NULL;
	}
}

static int64_t longest_limit(const struct self_job *j)
{
	int64_t longest = 0;
	for (size_t i = 0; i < j->count; i++)
		longest = j->devices[i].limit_ms > longest ? j->devices[i].limit_ms : longest;
	return longest < j->length_ms ? longest : j->length_ms;
}

void self_job_work(void *job)
{
	struct self_job *j = job;
	int64_t oldest = j->at_ms - j->windows * j->length_ms - longest_limit(j);
	j->error = telemetry_log_since(j->path, j->at_ms - j->length_ms, j->upto, survey, j, &j->fault);
	if (!j->error)
		j->error = telemetry_log_since(j->path, oldest, j->upto, add, j, &j->fault);
	struct self_shape shape = {.points = must(calloc(self_shape_points(j->gate_count) + 1, sizeof *shape.points))};
	for (size_t i = 0; i < j->count && !j->error; i++)
		freeze(j, &j->devices[i], &shape);
	free(shape.points);
}

/* ---- the answer ---- */

enum err self_job_error(const struct self_job *j, struct fault *f)
{
	if (j->error)
		*f = j->fault;
	return j->error;
}

uint32_t self_job_windows(const struct self_job *j, size_t device)
{
	assert(device < j->count);
	return j->devices[j->by_place[device]].counted;
}

uint32_t self_job_typical(const struct self_job *j, size_t *with)
{
	double sum = 0;
	*with = 0;
	for (size_t i = 0; i < j->count; i++) {
		if (!j->devices[i].counted)
			continue;
		sum += log(j->devices[i].counted + 1.0);
		++*with;
	}
	if (!*with)
		return 0;
	double typical = floor(exp(sum / (double)*with) - 1 + 1e-9);
	return typical < 1 ? 1 : (uint32_t)typical;
}

enum err self_job_write(const struct self_job *j, struct self_store *s, int64_t rollout, int64_t stage, size_t device, struct fault *f)
{
	assert(device < j->count);
	const struct job_device *d = &j->devices[j->by_place[device]];
	enum err e = ERR_OK;
	for (uint32_t k = 0; k < j->windows && !e; k++) {
		if (!d->frozen[k].len)
			continue;
		struct self_row row = {.rollout = rollout, .stage = stage, .device = d->device, .place = (int64_t)k + 1,
			.from_ms = j->at_ms - ((int64_t)k + 1) * j->length_ms, .length_ms = j->length_ms, .points = d->frozen[k].data, .len = d->frozen[k].len};
		e = self_insert(s, &row, f);
	}
	return e;
}

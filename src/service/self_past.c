/* Earlier windows as the judge sees them: read back from their rows, cut to the mark that suits the window of now. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/score.h"
#include "service/self_windows.h"
#include "service/self_windows_inside.h"

/* In 32nds of a window: doubling at first, since looks grow by the half, then eighths, so that a bake cut short by its warm-up or by slow installs
 * loses little. */
static const int marks[SELF_MARKS] = {1, 2, 4, 8, 12, 16, 20, 24, 28, 32};
#define MARK_UNIT 32

/* ---- arithmetic ---- */

int64_t self_mark_ms(int mark, int64_t length_ms)
{
	assert(mark >= 0 && mark < SELF_MARKS && length_ms > 0);
	return length_ms / MARK_UNIT * marks[mark] + length_ms % MARK_UNIT * marks[mark] / MARK_UNIT;
}

int self_mark_below(int64_t length_ms, int64_t age_ms)
{
	int mark = SELF_MARKS - 1;
	while (mark >= 0 && self_mark_ms(mark, length_ms) > age_ms)
		mark--;
	return mark;
}

int self_mark_above(int64_t length_ms, int64_t age_ms)
{
	int mark = 0;
	while (mark < SELF_MARKS - 1 && self_mark_ms(mark, length_ms) < age_ms)
		mark++;
	return mark;
}

double self_scale_events(double events, int64_t length_ms, int64_t age_ms)
{
	return age_ms > length_ms ? floor(events * (double)length_ms / (double)age_ms) : events;
}

/* ---- bytes of a window: format, then at each mark: reports, 1 if silent, and a point of each gate (reports, n, value) ---- */

#define FORMAT 1

size_t self_shape_points(uint32_t gate_count)
{
	return (size_t)SELF_MARKS * gate_count;
}

static void put_int(struct buf *out, int64_t v)
{
	uint8_t bytes[VARINT_MAX];
	buf_append(out, bytes, varint_put(bytes, v));
}

void self_shape_encode(const struct self_shape *w, uint32_t gate_count, struct buf *out)
{
	put_int(out, FORMAT);
	for (int m = 0; m < SELF_MARKS; m++) {
		put_int(out, w->reports[m]);
		put_int(out, w->is_silent[m]);
		for (uint32_t g = 0; g < gate_count; g++) {
			const struct metric_point *p = &w->points[(size_t)m * gate_count + g];
			uint64_t bits;
			uint8_t value[8];
			memcpy(&bits, &p->value, sizeof bits);
			for (unsigned i = 0; i < 8; i++)
				value[i] = (uint8_t)(bits >> (8 * i));
			put_int(out, p->reports);
			put_int(out, p->n);
			buf_append(out, value, sizeof value);
		}
	}
}

static bool get_point(const uint8_t **at, const uint8_t *end, struct metric_point *p)
{
	uint64_t bits = 0;
	if (!varint_get(at, end, &p->reports) || !varint_get(at, end, &p->n) || end - *at < 8)
		return false;
	for (unsigned i = 0; i < 8; i++)
		bits |= (uint64_t)(*at)[i] << (8 * i);
	memcpy(&p->value, &bits, sizeof bits);
	*at += 8;
	return true;
}

bool self_shape_decode(struct self_shape *w, uint32_t gate_count, const void *data, size_t len)
{
	const uint8_t *at = data, *end = at + len;
	int64_t format, silent;
	if (len == 0 || !varint_get(&at, end, &format) || format != FORMAT)
		return false;
	for (int m = 0; m < SELF_MARKS; m++) {
		if (!varint_get(&at, end, &w->reports[m]) || !varint_get(&at, end, &silent) || silent > 1)
			return false;
		w->is_silent[m] = silent == 1;
		for (uint32_t g = 0; g < gate_count; g++)
			if (!get_point(&at, end, &w->points[(size_t)m * gate_count + g]))
				return false;
	}
	return at == end;
}

/* ---- a stage's windows ---- */

struct past_window {
	int64_t place;
	struct self_shape shape;
};
struct self_past {
	const struct judge_gate *gates;
	uint32_t gate_count;
	struct past_window *windows; /* device after device, by place */
	size_t count, room;
	size_t *ends; /* of each device's windows */
	size_t devices, devices_room;
	int64_t length_ms;
};

static void *bigger(void *items, size_t *room, size_t size)
{
	*room = *room ? *room * 2 : 64;
	items = realloc(items, *room * size);
	if (!items)
		abort();
	return items;
}

struct self_past *self_past_new(const struct judge_gate *gates, uint32_t gate_count)
{
	struct self_past *p = calloc(1, sizeof *p);
	if (!p)
		abort();
	p->gates = gates;
	p->gate_count = gate_count;
	return p;
}

void self_past_free(struct self_past *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->count; i++)
		free(p->windows[i].shape.points);
	free(p->windows);
	free(p->ends);
	free(p);
}

static void keep(void *ctx, const struct self_row *row)
{
	struct self_past *p = ctx;
	if (p->count == p->room)
		p->windows = bigger(p->windows, &p->room, sizeof *p->windows);
	struct past_window *w = &p->windows[p->count];
	*w = (struct past_window){.place = row->place};
	w->shape.points = calloc(self_shape_points(p->gate_count) + 1, sizeof *w->shape.points);
	if (!w->shape.points)
		abort();
	if (row->length_ms < 1 || !self_shape_decode(&w->shape, p->gate_count, row->points, row->len)) {
		free(w->shape.points); /* not ours: a window less */
		return;
	}
	p->length_ms = row->length_ms;
	p->count++;
}

enum err self_past_read(struct self_past *p, struct self_store *s, int64_t rollout, int64_t stage, int64_t device, struct fault *f)
{
	size_t from = p->count;
	enum err e = device ? self_each(s, rollout, stage, device, keep, p, f) : ERR_OK;
	while (e && p->count > from) /* all of it, or nothing */
		free(p->windows[--p->count].shape.points);
	if (e)
		return e;
	if (p->devices == p->devices_room)
		p->ends = bigger(p->ends, &p->devices_room, sizeof *p->ends);
	p->ends[p->devices++] = p->count;
	return ERR_OK;
}

size_t self_past_devices(const struct self_past *p)
{
	return p->devices;
}

size_t self_past_rows(const struct self_past *p)
{
	return p->count;
}

static size_t first_of(const struct self_past *p, size_t number)
{
	assert(number < p->devices);
	return number ? p->ends[number - 1] : 0;
}

size_t self_past_count(const struct self_past *p, size_t number)
{
	return p->ends[number] - first_of(p, number);
}

/* Whether every earlier window has the gate at that mark, but for those that were silent: one that had not yet come to report would count as
 * the middle of the block, and the window of now, which has, would stand out by having more. */
static bool is_comparable(const struct self_past *p, size_t first, size_t count, uint32_t gate, int mark)
{
	for (size_t i = first; i < first + count && mark >= 0; i++) {
		const struct self_shape *w = &p->windows[i].shape;
		if (!w->is_silent[mark] && w->points[(size_t)mark * p->gate_count + gate].reports == 0)
			return false;
	}
	return mark >= 0;
}

static struct metric_point point_at(const struct self_past *p, const struct self_shape *w, uint32_t gate, int mark)
{
	enum metric_kind kind = p->gates[gate].kind;
	if (kind == METRIC_SILENCE)
		return (struct metric_point){.reports = 1, .n = 1, .value = w->is_silent[mark]};
	struct metric_point v = w->points[(size_t)mark * p->gate_count + gate];
	if (kind == METRIC_EVENT && v.reports == 0)
		v = (struct metric_point){.reports = w->reports[mark]};
	return v;
}

static void fill_gate(const struct self_past *p, size_t first, size_t count, uint32_t gate, int64_t data_ms, int64_t age_ms,
	struct judge_cell *cells)
{
	enum metric_kind kind = p->gates[gate].kind;
	struct metric_point *now = &cells[gate].window;
	int mark = self_mark_below(p->length_ms, data_ms);
	if (kind == METRIC_SILENCE)
		mark = self_mark_above(p->length_ms, age_ms);
	else if (kind == METRIC_EVENT)
		mark = self_mark_above(p->length_ms, data_ms);
	if (kind == METRIC_EVENT)
		now->value = self_scale_events(now->value, p->length_ms, data_ms);
	bool is_known = score_is_count(kind) || is_comparable(p, first, count, gate, mark);
	if (!is_known)
		*now = (struct metric_point){0};
	for (size_t i = 0; i < count; i++) {
		struct judge_cell *cell = &cells[(i + 1) * p->gate_count + gate];
		cell->baseline = cells[gate].baseline;
		cell->window = is_known ? point_at(p, &p->windows[first + i].shape, gate, mark) : (struct metric_point){0};
	}
}

size_t self_past_fill(const struct self_past *p, size_t number, int64_t data_ms, int64_t age_ms, struct judge_row *rows, struct judge_cell *cells)
{
	size_t first = first_of(p, number), count = self_past_count(p, number);
	int mark = self_mark_below(p->count ? p->length_ms : 1, data_ms);
	for (size_t i = 0; i < count; i++) {
		const struct past_window *w = &p->windows[first + i];
		rows[i + 1] = rows[0];
		rows[i + 1].is_canary = false;
		rows[i + 1].device = rows[0].device | (uint64_t)w->place << SELF_PLACE_SHIFT; /* each window is a member of its own */
		rows[i + 1].reports = mark >= 0 ? w->shape.reports[mark] : 0;
	}
	for (uint32_t g = 0; g < p->gate_count && count > 0; g++)
		fill_gate(p, first, count, g, data_ms, age_ms, cells);
	return count + 1;
}
